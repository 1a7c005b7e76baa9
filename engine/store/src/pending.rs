//! Artifacts that were put but are not durable yet, and the temporary files they are written to.
//!
//! Syncing each small artifact would cost a disk's round trip each. So small ones wait in memory and files of medium size wait
//! unsynced in the process's own temporary directory, both readable from there, until the next transaction takes all of them:
//! files are synced, renamed to their digest, their directories synced, and only then does the transaction commit that holds
//! the small ones and the records. A crash before that loses nothing that a record names.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lockgate_model::Digest;
use lockgate_model::digest::Hasher;
use rusqlite::{Transaction, params};
use rustix::fs::{FlockOperation, flock};

use crate::disk::{At, Disk, PRIVATE_DIR, TempFile, create_dirs};
use crate::files::{self, FileState};
use crate::state::{Inner, Store, StoreError, lock};
use crate::whole::is_sealed;

/// Largest artifact that lives inside SQLite: up to about this size a row is cheaper than a file.
pub(crate) const INLINE_MAX: usize = 16 << 10;
/// Largest file that waits for the next transaction to be synced. Larger ones are synced by the thread that wrote them, so that
/// the journal's writer does not wait for megabytes.
pub(crate) const DEFER_MAX: u64 = 1 << 20;
/// What may wait in memory, in bytes; and how many artifacts may wait in all, so that one transaction stays short.
const PENDING_BYTES: usize = 8 << 20;
const PENDING_COUNT: usize = 4096;
/// From this many files on one sync of the whole file system is cheaper than one sync a file.
const SYNC_ALL_FROM: usize = 16;

/// Blobs and directory objects: same treatment, but what is hashed differs, and one is never taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Space {
    Blob,
    Tree,
}

impl Space {
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Blob => "blobs",
            Self::Tree => "trees",
        }
    }

    pub const fn number(self) -> i64 {
        match self {
            Self::Blob => 0,
            Self::Tree => 1,
        }
    }

    pub fn hasher(self) -> Hasher {
        match self {
            Self::Blob => Hasher::new(),
            Self::Tree => Hasher::tagged(lockgate_model::artifact::TREE_DOMAIN),
        }
    }
}

pub(crate) type Key = (Space, Digest);

/// What waits for the next transaction.
#[derive(Default)]
pub(crate) struct Pending {
    small: HashMap<Key, Arc<[u8]>>,
    bytes: usize,
    files: HashMap<Key, PathBuf>,
    /// Directories in which a file was renamed, not synced since.
    folders: BTreeSet<PathBuf>,
    /// Files of the host that were hashed, by device and inode.
    hashed: HashMap<(i64, i64), (FileState, Digest)>,
}

/// What one transaction takes.
pub(crate) struct Batch {
    small: Vec<(Key, Arc<[u8]>)>,
    files: Vec<(Key, PathBuf)>,
    folders: BTreeSet<PathBuf>,
    hashed: Vec<(FileState, Digest)>,
}

/// Where an artifact waits.
pub(crate) enum Waiting {
    Memory(Arc<[u8]>),
    File(PathBuf),
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.files.is_empty() && self.folders.is_empty() && self.hashed.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES || self.small.len() >= PENDING_COUNT || self.files.len() >= PENDING_COUNT
    }

    pub fn find(&self, key: &Key) -> Option<Waiting> {
        let memory = self.small.get(key).cloned().map(Waiting::Memory);
        memory.or_else(|| self.files.get(key).cloned().map(Waiting::File))
    }

    pub fn batch(&self) -> Batch {
        Batch {
            small: self.small.iter().map(|(key, bytes)| (*key, bytes.clone())).collect(),
            files: self.files.iter().map(|(key, path)| (*key, path.clone())).collect(),
            folders: self.folders.clone(),
            hashed: self.hashed.values().copied().collect(),
        }
    }

    /// Keeps the digest of a file of the host for the next transaction.
    pub fn hashed(&mut self, state: FileState, digest: Digest) {
        self.hashed.insert(state.id, (state, digest));
    }

    pub fn forget(&mut self, batch: &Batch) {
        for (state, digest) in &batch.hashed {
            if self.hashed.get(&state.id) == Some(&(*state, *digest)) {
                self.hashed.remove(&state.id);
            }
        }
        for (key, bytes) in &batch.small {
            if self.small.remove(key).is_some() {
                self.bytes -= bytes.len();
            }
        }
    }
}

impl Batch {
    /// Writes the small ones. One that is there already is written again only if its bytes differ: then it was damaged.
    pub fn insert(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        files::insert(transaction, &self.hashed)?;
        if self.small.is_empty() {
            return Ok(());
        }
        let mut statement = transaction.prepare_cached(
            "INSERT INTO objects(space, digest, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT(space, digest) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes",
        )?;
        for ((space, digest), bytes) in &self.small {
            statement.execute(params![space.number(), digest.as_bytes(), &**bytes])?;
        }
        Ok(())
    }
}

impl Inner {
    /// The final path of an artifact that is a file.
    pub fn object_path(&self, (space, digest): &Key) -> PathBuf {
        let hex = digest.hex();
        self.dir.join(space.folder()).join(&hex[..2]).join(hex)
    }

    /// Keeps a small artifact until the next transaction.
    pub fn put_small(&self, key: Key, bytes: Vec<u8>) -> Result<(), StoreError> {
        let full = {
            let mut pending = lock(&self.pending);
            let size = bytes.len();
            if pending.small.insert(key, bytes.into()).is_none() {
                pending.bytes += size;
            }
            pending.is_full()
        };
        if full { self.commit(|_| Ok(())) } else { Ok(()) }
    }

    /// Whether a file holds this artifact already. It is durable then before any record that is appended from now on.
    pub fn is_placed(&self, key: &Key, size: u64) -> bool {
        let path = self.object_path(key);
        let is_there =
            fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == size && is_sealed(&found));
        if is_there {
            // Another process may have renamed it a moment ago and not yet synced the directory.
            self.renamed(&path);
        }
        is_there
    }

    /// Takes over a finished temporary file of `size` bytes.
    pub fn put_file(&self, key: Key, file: TempFile, size: u64) -> Result<(), StoreError> {
        if self.is_placed(&key, size) {
            return Ok(());
        }
        let path = self.object_path(&key);
        let temp = file.path().to_owned();
        self.seal(file.file());
        if size > DEFER_MAX {
            self.disk.sync(file.file()).map_err(StoreError::io("sync", &temp))?;
            self.place(&temp, &path)?;
            // Renamed away: nothing to delete.
            file.keep();
            return Ok(());
        }
        let full = {
            let mut pending = lock(&self.pending);
            if pending.files.contains_key(&key) {
                return Ok(());
            }
            pending.files.insert(key, file.keep());
            pending.is_full()
        };
        if full { self.commit(|_| Ok(())) } else { Ok(()) }
    }

    /// Syncs and renames the files of a batch; afterwards they are no longer pending. Runs under the writer's lock.
    pub fn settle(&self, batch: &Batch) -> Result<(), StoreError> {
        if !batch.files.is_empty() {
            let temps: Vec<_> = batch.files.iter().map(|(_, path)| path.as_path()).collect();
            self.sync_paths(&temps)?;
            for (key, temp) in &batch.files {
                self.place(temp, &self.object_path(key))?;
                lock(&self.pending).files.remove(key);
            }
        }
        let mut folders = batch.folders.clone();
        folders.extend(lock(&self.pending).folders.iter().cloned());
        if folders.is_empty() {
            return Ok(());
        }
        self.sync_paths(&folders.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        lock(&self.pending).folders.retain(|folder| !folders.contains(folder));
        Ok(())
    }

    fn place(&self, temp: &Path, path: &Path) -> Result<(), StoreError> {
        let rename = || self.disk.rename(At::Path(temp), At::Path(path));
        if let Err(error) = rename() {
            let folder = path.parent().unwrap_or(path);
            if error.kind() != io::ErrorKind::NotFound {
                return Err(StoreError::io("write", path)(error));
            }
            create_dirs(&*self.disk, folder, PRIVATE_DIR).map_err(StoreError::io("create the directory", folder))?;
            rename().map_err(StoreError::io("write", path))?;
        }
        self.renamed(path);
        Ok(())
    }

    /// Notes that the directory of `path`, and the one above it, must be synced.
    fn renamed(&self, path: &Path) {
        let mut pending = lock(&self.pending);
        pending.folders.extend(path.ancestors().skip(1).take(2).map(Path::to_owned));
    }

    fn sync_paths(&self, paths: &[&Path]) -> Result<(), StoreError> {
        #[cfg(target_os = "linux")]
        if paths.len() >= SYNC_ALL_FROM {
            let dir = File::open(&self.dir).map_err(StoreError::io("open", &self.dir))?;
            return self.disk.sync_all(&dir).map_err(|error| self.unsynced(&self.dir, error));
        }
        for path in paths {
            let file = File::open(path).map_err(StoreError::io("open", *path))?;
            self.disk.sync(&file).map_err(|error| self.unsynced(path, error))?;
        }
        Ok(())
    }

    /// Notes that what was written may be lost: syncing once more would succeed and bring nothing back.
    fn unsynced(&self, path: &Path, error: io::Error) -> StoreError {
        self.unsynced.store(true, Ordering::Relaxed);
        StoreError::io("sync", path)(error)
    }

    /// A new temporary file beside the artifacts, deleted when dropped; if the process dies, by the next one that comes here.
    pub fn temp_file(&self) -> Result<TempFile, StoreError> {
        let mut temps = lock(&self.temps);
        let area = match &mut *temps {
            Some(area) => area,
            none => none.insert(TempArea::create(&self.disk, &self.dir.join("tmp"))?),
        };
        area.files += 1;
        let path = area.path.join(area.files.to_string());
        TempFile::create(&self.disk, path).map_err(StoreError::io("create a file in", &area.path))
    }
}

impl Store {
    /// Where an artifact waits, if it does.
    pub(crate) fn waiting(&self, key: &Key) -> Option<Waiting> {
        lock(&self.inner.pending).find(key)
    }
}

/// A process's own directory of temporary files. A lock on it tells others that it lives; they delete it otherwise.
pub(crate) struct TempArea {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Files made in it so far.
    files: u64,
    _lock: File,
}

impl TempArea {
    fn create(disk: &Arc<dyn Disk>, parent: &Path) -> Result<Self, StoreError> {
        sweep(&**disk, parent);
        // Another process may sweep between creation and lock; each try has a new name, so a handful is plenty.
        for _ in 0..16 {
            let random = RandomState::new().build_hasher().finish();
            let path = parent.join(format!("p{random:016x}"));
            match disk.create_dir(At::Path(&path), PRIVATE_DIR) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(StoreError::io("create a directory in", parent))?,
            }
            let Ok(file) = File::open(&path) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && path.is_dir() {
                return Ok(Self { disk: disk.clone(), path, files: 0, _lock: file });
            }
        }
        Err(StoreError::io("lock a directory in", parent)(io::ErrorKind::ResourceBusy.into()))
    }
}

impl Drop for TempArea {
    fn drop(&mut self) {
        let _ = self.disk.remove_all(At::Path(&self.path));
    }
}

/// Deletes what dead processes left. Failing is harmless: the next one tries again.
pub(crate) fn sweep(disk: &dyn Disk, parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if let Ok(file) = File::open(entry.path())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = disk.remove_all(At::Path(&entry.path()));
        }
    }
}
