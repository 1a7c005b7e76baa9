//! Whether artifacts are there and undamaged, and what becomes of those that are not.
//!
//! Reading gigabytes to find out would cost more than many a node. So a finished file is *sealed*: its modification time is set to
//! one second after 1970, which any later write changes. A sealed file of the right size is believed; one that lost its seal
//! is hashed, and sealed again if it is right. Small artifacts are always hashed. What a disk alters behind the file system's back is
//! found when it is read: reading checks the digest to the last byte ([`crate::BlobReader`]). Either way the damaged bytes are set
//! aside in `damaged/`, so that the artifact counts as not there and is made again.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, Directory, EntryKind, MAX_DEPTH};
use rusqlite::{OptionalExtension as _, params};

use crate::disk::{At, PRIVATE, PRIVATE_DIR};
use crate::pending::{INLINE_MAX, Key, Space};
use crate::state::{Inner, Store, StoreError, lock};

/// Modification time of finished files, in seconds since 1970: nothing else makes files of then.
const SEAL: i64 = 1;
/// Where damaged artifacts go.
pub(crate) const DAMAGED: &str = "damaged";

/// Whether nobody wrote to a file since it was sealed.
pub(crate) fn is_sealed(metadata: &Metadata) -> bool {
    metadata.mtime() == SEAL && metadata.mtime_nsec() == 0
}

impl Store {
    /// Whether an artifact is there, with everything in it, and undamaged as far as can be told without reading large files; from
    /// [`Store::thorough`], by reading all of it. What is damaged is set aside.
    pub fn is_whole(&self, artifact: &ArtifactRef) -> Result<bool, StoreError> {
        match artifact.kind {
            ArtifactKind::Blob => self.blob_is_whole(&artifact.digest, artifact.size),
            ArtifactKind::Tree => {
                if !self.thorough && lock(&self.inner.whole).contains(&artifact.digest) {
                    return Ok(true);
                }
                let whole = self.tree_is_whole(&artifact.digest, 0, &mut HashSet::new())?;
                if whole {
                    lock(&self.inner.whole).insert(artifact.digest);
                }
                Ok(whole)
            }
        }
    }

    fn tree_is_whole(&self, digest: &Digest, depth: usize, seen: &mut HashSet<Digest>) -> Result<bool, StoreError> {
        if depth > MAX_DEPTH {
            return Ok(false);
        }
        if !seen.insert(*digest) {
            return Ok(true);
        }
        let directory = if self.thorough { self.read_directory(digest) } else { self.directory(digest) };
        let directory = match directory {
            Ok(directory) => directory,
            Err(error) if error.is_lost() => return Ok(false),
            Err(error) => return Err(error),
        };
        for entry in Directory::entries(&directory) {
            let whole = match entry.kind {
                EntryKind::Directory => self.tree_is_whole(&entry.digest, depth + 1, seen)?,
                EntryKind::File | EntryKind::Executable | EntryKind::Symlink => {
                    self.blob_is_whole(&entry.digest, entry.size)?
                }
            };
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn blob_is_whole(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        let key = (Space::Blob, *digest);
        if self.waiting(&key).is_some() {
            return Ok(true);
        }
        if size <= INLINE_MAX as u64 {
            let Some(bytes) = self.inline(&key)? else { return Ok(false) };
            let whole = bytes.len() as u64 == size && Digest::of(&bytes) == *digest;
            if !whole {
                self.inner.set_aside(&key);
            }
            return Ok(whole);
        }
        let path = self.inner.object_path(&key);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.len() == size && is_sealed(&found) && !self.thorough => Ok(true),
            Ok(_) => self.hash_file(&key, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("open", path)(error)),
        }
    }

    /// Hashes a file that lost its seal, and seals it again or sets it aside.
    fn hash_file(&self, key: &Key, path: &Path) -> Result<bool, StoreError> {
        let read = self.open_object(*key).and_then(|mut reader| {
            reader.copy_to(&mut io::sink()).map_err(StoreError::io("read", path)).and_then(|result| result)
        });
        match read {
            Ok(_) => {
                // Only the owner may; for others it stays as it is.
                if let Ok(file) = File::open(path) {
                    self.inner.seal(&file);
                }
                Ok(true)
            }
            Err(error) if error.is_lost() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a blob is there with the right size and, if it is a file, sealed. Reads nothing.
    pub(crate) fn blob_is_there(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        let key = (Space::Blob, *digest);
        if self.waiting(&key).is_some() {
            return Ok(true);
        }
        if size > INLINE_MAX as u64 {
            let found = fs::symlink_metadata(self.inner.object_path(&key));
            return Ok(found.is_ok_and(|found| found.is_file() && found.len() == size && is_sealed(&found)));
        }
        self.inner.read(|connection| {
            let failed = || self.inner.db_error("read");
            let mut statement = connection
                .prepare_cached("SELECT length(bytes) FROM objects WHERE space = ?1 AND digest = ?2")
                .map_err(failed())?;
            let row = statement.query_row(params![Space::Blob.number(), digest.as_bytes()], |row| row.get::<_, i64>(0));
            Ok(row.optional().map_err(failed())? == i64::try_from(size).ok())
        })
    }

    /// Why an artifact is not there.
    pub(crate) fn why_gone(&self, (space, digest): &Key) -> StoreError {
        if self.inner.dir.join(DAMAGED).join(digest.hex()).exists() {
            return StoreError::Damaged(*digest);
        }
        let removed = |connection: &mut rusqlite::Connection| {
            let mut statement = connection
                .prepare_cached("SELECT time_ms FROM removed WHERE space = ?1 AND digest = ?2")
                .map_err(self.inner.db_error("read"))?;
            let row = statement.query_row(params![space.number(), digest.as_bytes()], |row| row.get::<_, i64>(0));
            row.optional().map_err(self.inner.db_error("read"))
        };
        match self.inner.version >= 2 {
            true => match self.inner.read(removed) {
                Ok(Some(time)) => StoreError::Removed { digest: *digest, time_ms: time.max(0) as u64 },
                Ok(None) => StoreError::Missing(*digest),
                Err(error) => error,
            },
            false => StoreError::Missing(*digest),
        }
    }
}

impl StoreError {
    /// Whether an artifact is not there or not as it was: it can only be made again.
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Missing(_) | Self::Damaged(_) | Self::Removed { .. } | Self::Tree { .. } | Self::TreeTooLarge(_)
        )
    }
}

impl Inner {
    /// Marks a finished file. A file system that cannot only costs time: such files are hashed each time.
    pub fn seal(&self, file: &File) {
        let _ = self.disk.set_modified(file, SystemTime::UNIX_EPOCH + Duration::from_secs(SEAL.unsigned_abs()));
    }

    /// Takes a damaged artifact out of the way, so that it is made again. Failing leaves it where it is: it is found again.
    pub fn set_aside(&self, key: &Key) {
        lock(&self.whole).clear();
        *lock(&self.directories) = Default::default();
        let aside = self.dir.join(DAMAGED);
        let _ = self.disk.create_dir(At::Path(&aside), PRIVATE_DIR);
        let target = aside.join(key.1.hex());
        if self.disk.rename(At::Path(&self.object_path(key)), At::Path(&target)).is_ok() {
            return;
        }
        let at = params![key.0.number(), key.1.as_bytes()];
        let _ = self.commit(|transaction| {
            let failed = || self.db_error("set an artifact aside in");
            let bytes = transaction
                .query_row("SELECT bytes FROM objects WHERE space = ?1 AND digest = ?2", at, |row| {
                    row.get::<_, Vec<u8>>(0)
                })
                .optional()
                .map_err(failed())?;
            if let Some(bytes) = bytes {
                self.write_aside(&target, &bytes).map_err(StoreError::io("write", &target))?;
                transaction.execute("DELETE FROM objects WHERE space = ?1 AND digest = ?2", at).map_err(failed())?;
            }
            Ok(())
        });
    }

    /// Keeps damaged bytes to look into; those of an earlier damage go.
    fn write_aside(&self, target: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.disk.remove_file(At::Path(target)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.disk.create(At::Path(target), PRIVATE).and_then(|mut file| self.disk.write(&mut file, bytes))
    }
}
