//! Exports: an artifact becomes a file or directory of the host, whole or not at all.
//!
//! Everything is written beside the target, synced, and renamed into place. The way there goes by directory handles (cap-std):
//! no link on it leaves the project's root, or the directory that the operator allowed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cap_fs_ext::DirExt as _;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, EntryKind, MAX_PATH, link_stays_inside};

use crate::disk::{At, Disk, PRIVATE, PRIVATE_DIR, SHARED_DIR, Written, create_dirs, sync_dir};
use crate::state::{Store, StoreError};
use crate::tree::leaving_link;

/// From this many entries on one sync of the whole file system is cheaper than one sync an entry.
#[cfg(target_os = "linux")]
const SYNC_ALL_FROM: u64 = 16;
#[cfg(not(target_os = "linux"))]
const SYNC_ALL_FROM: u64 = u64::MAX;

/// An exported artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Where it is: absolute.
    pub path: PathBuf,
    /// Bytes of its files together.
    pub bytes: u64,
}

/// What keeps an artifact from being exported. The target is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The target is outside of the root, by itself or by a link on its way.
    #[error(
        "export to `{0}`: it is outside of the pipeline's root; only an absolute path that `--allow-export` names may be"
    )]
    Outside(String),
    /// The target is one that no export may replace.
    #[error("export to `{to}`: {reason}")]
    Protected {
        /// The target as written.
        to: String,
        /// What it is.
        reason: &'static str,
    },
    /// A link of the tree leaves it.
    #[error("export to `{to}`: the link `{link}` of the tree leaves it")]
    Link {
        /// The target as written.
        to: String,
        /// Path of the link inside the tree.
        link: String,
    },
    /// A file cannot be written: rights, space, the disk.
    #[error("export to `{to}`")]
    Io {
        /// The target as written.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The artifact cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Copies an artifact to `to`: a path below `root`, or an absolute one at or below one of `allow`, which are absolute. A blob
    /// becomes a file of mode 644 and replaces a file; a tree becomes a directory and replaces a whole directory. Missing parent
    /// directories are made.
    pub fn export(
        &self,
        artifact: &ArtifactRef,
        root: &Path,
        to: &str,
        allow: &[PathBuf],
    ) -> Result<Exported, ExportError> {
        let failed = |source| ExportError::Io { to: to.to_owned(), source };
        let target = Target::find(self, root, to, allow)?;
        let disk = &*self.inner.disk;
        let temp = Temp::new(disk, &target, artifact.kind);
        let bytes = match artifact.kind {
            ArtifactKind::Blob => {
                target.refuse_directory(to)?;
                let bytes = self
                    .write_file(&target.parent, &temp.name, &artifact.digest, 0o644, true)
                    .map_err(|error| error.at(to))?;
                disk.rename(target.at(&temp.name), target.at(&target.name)).map_err(failed)?;
                bytes
            }
            ArtifactKind::Tree => {
                let replaces = target.holds_directory(to)?;
                let bytes = self.write_tree(&target, &temp.name, &artifact.digest, to)?;
                target.swap(disk, &temp.name, replaces).map_err(failed)?;
                bytes
            }
        };
        readable(&target.parent).and_then(|dir| disk.sync(&dir)).map_err(failed)?;
        // After a swap the name holds the old directory. It goes only now: nobody may find a half of it under the target's name.
        drop(temp);
        Ok(Exported { path: target.path, bytes })
    }

    fn write_tree(&self, target: &Target, name: &OsString, digest: &Digest, to: &str) -> Result<u64, ExportError> {
        let failed = |source| ExportError::Io { to: to.to_owned(), source };
        let (_, entries) = self.measure(digest)?;
        let dir = create_dir(&*self.inner.disk, &target.parent, name).map_err(failed)?;
        let mut writer =
            TreeWriter { store: self, sync: entries < SYNC_ALL_FROM, to, bytes: 0, links: BTreeMap::new() };
        writer.directory(&dir, digest, "")?;
        if let Some(link) = leaving_link(&writer.links) {
            return Err(ExportError::Link { to: to.to_owned(), link: link.to_owned() });
        }
        let bytes = writer.bytes;
        #[cfg(target_os = "linux")]
        if entries >= SYNC_ALL_FROM {
            readable(&dir).and_then(|dir| self.inner.disk.sync_all(&dir)).map_err(failed)?;
        }
        Ok(bytes)
    }

    fn write_file(
        &self,
        dir: &Dir,
        name: impl AsRef<Path>,
        digest: &Digest,
        mode: u32,
        sync: bool,
    ) -> Result<u64, WriteError> {
        let mut blob = self.open_blob(digest)?;
        let disk = &*self.inner.disk;
        let mut to = Written { disk, file: disk.create(At::In(dir, name.as_ref()), PRIVATE)? };
        let bytes = blob.copy_to(&mut to)??;
        // Not when it is made: that mode is narrowed by the umask.
        disk.set_mode(&to.file, mode)?;
        if sync {
            disk.sync(&to.file)?;
        }
        Ok(bytes)
    }
}

/// The source's or the target's error.
enum WriteError {
    Store(StoreError),
    Io(io::Error),
}

impl WriteError {
    fn at(self, to: &str) -> ExportError {
        match self {
            Self::Store(error) => ExportError::Store(error),
            Self::Io(source) => ExportError::Io { to: to.to_owned(), source },
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct TreeWriter<'a> {
    store: &'a Store,
    sync: bool,
    to: &'a str,
    bytes: u64,
    links: BTreeMap<String, String>,
}

impl TreeWriter<'_> {
    /// Fills a new directory, which nobody else knows. Nesting and number of entries were measured before.
    fn directory(&mut self, dir: &Dir, digest: &Digest, path: &str) -> Result<(), ExportError> {
        let (to, disk) = (self.to, &*self.store.inner.disk);
        let failed = |source| ExportError::Io { to: to.to_owned(), source };
        for entry in self.store.directory(digest)?.entries() {
            let path = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
            match entry.kind {
                EntryKind::File | EntryKind::Executable => {
                    let mode = if entry.kind == EntryKind::File { 0o644 } else { 0o755 };
                    let bytes = self.store.write_file(dir, &entry.name, &entry.digest, mode, self.sync);
                    self.bytes += bytes.map_err(|error| error.at(to))?;
                }
                EntryKind::Symlink => {
                    let target = self.store.read_blob(&entry.digest, MAX_PATH as u64)?;
                    let target = String::from_utf8(target).ok().filter(|target| link_stays_inside(&path, target));
                    let target = target.ok_or_else(|| ExportError::Link { to: to.to_owned(), link: path.clone() })?;
                    disk.symlink(&target, At::In(dir, Path::new(&entry.name))).map_err(failed)?;
                    self.links.insert(path, target);
                }
                EntryKind::Directory => {
                    let below = create_dir(disk, dir, &entry.name).map_err(failed)?;
                    self.directory(&below, &entry.digest, &path)?;
                }
            }
        }
        let dir = readable(dir).map_err(failed)?;
        disk.set_mode(&dir, 0o755).map_err(failed)?;
        if self.sync { disk.sync(&dir).map_err(failed) } else { Ok(()) }
    }
}

/// Makes a directory and opens it, following no link.
fn create_dir(disk: &dyn Disk, dir: &Dir, name: impl AsRef<Path>) -> io::Result<Dir> {
    disk.create_dir(At::In(dir, name.as_ref()), PRIVATE_DIR)?;
    dir.open_dir_nofollow(name.as_ref())
}

/// Opens a directory by a relative path, and makes those on the way that are missing, durably.
fn open_or_create(disk: &dyn Disk, dir: &Dir, path: &Path) -> io::Result<Dir> {
    // Opened first, because of a link that leaves making one says only that it exists.
    let error = match dir.open_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        opened => return opened,
    };
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
    let above = match above == Path::new("") {
        true => dir.try_clone()?,
        false => open_or_create(disk, dir, above)?,
    };
    match disk.create_dir(At::In(&above, Path::new(name)), SHARED_DIR) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match readable(&above) {
        Ok(above) => disk.sync(&above)?,
        // It may be written to, but not be read: then it cannot be synced.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error),
    }
    dir.open_dir(path)
}

/// The directory as a handle that can be synced: that of cap-std may only stand for a path (O_PATH).
fn readable(dir: &Dir) -> io::Result<File> {
    Ok(dir.open(".")?.into_std())
}

/// Where an export goes.
struct Target {
    parent: Dir,
    name: OsString,
    path: PathBuf,
}

impl Target {
    fn find(store: &Store, root: &Path, to: &str, allow: &[PathBuf]) -> Result<Self, ExportError> {
        let failed = |error: io::Error| match error.kind() {
            // What cap-std says of a way out; it carries no code of the system, a lack of rights does.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => ExportError::Outside(to.to_owned()),
            _ => ExportError::Io { to: to.to_owned(), source: error },
        };
        let protected = |reason| ExportError::Protected { to: to.to_owned(), reason };
        let disk = &*store.inner.disk;
        let root = root.canonicalize().map_err(failed)?;
        let (base, rest) = split(&root, to, allow).ok_or_else(|| ExportError::Outside(to.to_owned()))?;
        if base != root {
            let grown = create_dirs(disk, &base, SHARED_DIR).map_err(failed)?;
            grown.iter().try_for_each(|parent| sync_dir(disk, parent)).map_err(failed)?;
        }
        let base = base.canonicalize().map_err(failed)?;
        let Some(name) = rest.file_name().map(OsString::from) else {
            return Err(protected("it is the root itself"));
        };
        if rest.components().any(|part| part.as_os_str() == ".git") {
            return Err(protected("it is inside of a git repository's own directory"));
        }
        let dir = Dir::open_ambient_dir(&base, ambient_authority()).map_err(failed)?;
        let parent = rest.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let opened = open_or_create(disk, &dir, parent).map_err(failed)?;
        let path: PathBuf = base.join(dir.canonicalize(parent).map_err(failed)?).components().collect();
        let path = path.join(&name);
        if path.starts_with(store.dir()) || store.dir().starts_with(&path) {
            return Err(protected("it is or holds the state directory, or is inside of it"));
        }
        if root.starts_with(&path) {
            return Err(protected("it holds the pipeline's root"));
        }
        Ok(Self { parent: opened, name, path })
    }

    /// A name beside the target.
    fn at<'a>(&'a self, name: &'a OsString) -> At<'a> {
        At::In(&self.parent, Path::new(name))
    }

    fn refuse_directory(&self, to: &str) -> Result<(), ExportError> {
        match self.parent.symlink_metadata(&self.name) {
            Ok(found) if found.is_dir() => Err(ExportError::Protected {
                to: to.to_owned(),
                reason: "it is a directory, and the artifact is a file",
            }),
            _ => Ok(()),
        }
    }

    /// Whether a directory is there that may be replaced.
    fn holds_directory(&self, to: &str) -> Result<bool, ExportError> {
        let protected = |reason| Err(ExportError::Protected { to: to.to_owned(), reason });
        match self.parent.symlink_metadata(&self.name) {
            Ok(found) if !found.is_dir() => protected("it is a file, and the artifact is a tree"),
            Ok(_) if self.parent.symlink_metadata(Path::new(&self.name).join(".git")).is_ok() => {
                protected("it is a git repository")
            }
            Ok(_) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Puts the finished directory `new` in the target's place; a directory that was there has the name `new` afterwards.
    fn swap(&self, disk: &dyn Disk, new: &OsString, replaces: bool) -> io::Result<()> {
        if !replaces {
            return disk.rename(self.at(new), self.at(&self.name));
        }
        match disk.exchange(self.at(new), self.at(&self.name)) {
            Ok(()) => return Ok(()),
            Err(error) => match rustix::io::Errno::from_io_error(&error) {
                Some(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {}
                _ => return Err(error),
            },
        }
        // A file system that cannot exchange: a moment without the target, but never without its content.
        let old = temp_name(&self.name);
        disk.rename(self.at(&self.name), self.at(&old))?;
        if let Err(error) = disk.rename(self.at(new), self.at(&self.name)) {
            disk.rename(self.at(&old), self.at(&self.name))?;
            return Err(error);
        }
        disk.rename(self.at(&old), self.at(new))
    }
}

/// The directory that must not be left, and the path below it; none if the target is not permitted.
fn split(root: &Path, to: &str, allow: &[PathBuf]) -> Option<(PathBuf, PathBuf)> {
    let to = plain(Path::new(to))?;
    if to.is_relative() {
        return Some((root.to_owned(), to));
    }
    let bases = allow.iter().filter_map(|allowed| plain(allowed)).filter(|allowed| allowed.is_absolute());
    let allowed = bases.filter(|allowed| to.starts_with(allowed)).max_by_key(|allowed| allowed.components().count())?;
    // Allowed by its own name, it is replaced inside of its parent.
    let base = if allowed == to { allowed.parent()?.to_owned() } else { allowed };
    let rest = to.strip_prefix(&base).ok()?.to_owned();
    Some((base, rest))
}

/// The path without `.`; none if it holds `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    match path.components().any(|part| part == Component::ParentDir) {
        true => None,
        false => Some(path.components().filter(|part| *part != Component::CurDir).collect()),
    }
}

/// A name beside the target that nobody uses: hidden, and telling what it was should the machine stop here.
fn temp_name(name: &OsString) -> OsString {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    // Names have 255 bytes at most; 4 bytes a character.
    let short: String = name.to_string_lossy().chars().take(40).collect();
    format!(".{short}.lockgate-{}-{number}", std::process::id()).into()
}

/// The unfinished file or directory; deleted when dropped, if it is still there.
struct Temp<'a> {
    disk: &'a dyn Disk,
    parent: &'a Dir,
    name: OsString,
    kind: ArtifactKind,
}

impl<'a> Temp<'a> {
    fn new(disk: &'a dyn Disk, target: &'a Target, kind: ArtifactKind) -> Self {
        Self { disk, parent: &target.parent, name: temp_name(&target.name), kind }
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        let at = At::In(self.parent, Path::new(&self.name));
        let _ = match self.kind {
            ArtifactKind::Blob => self.disk.remove_file(at),
            ArtifactKind::Tree => self.disk.remove_all(at),
        };
    }
}
