//! Every change that the store makes to files, behind one small trait: tests fill the disk behind it, and cut its power.
//!
//! SQLite writes its own files itself, and locks change nothing that outlives their holder.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::retry_on_intr;

/// Mode of files that only their owner may read.
pub(crate) const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Mode of directories that only their owner may enter.
pub(crate) const PRIVATE_DIR: Mode = Mode::RWXU;
/// Mode of what is the user's: narrowed by the umask.
pub(crate) const SHARED: Mode = PRIVATE.union(Mode::RGRP).union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);
/// The same of directories.
pub(crate) const SHARED_DIR: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);

/// Where something is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// At a path of the host.
    Path(&'a Path),
    /// Under one name in an open directory.
    In(&'a Dir, &'a Path),
}

impl At<'_> {
    /// As system calls take it.
    pub fn parts(&self) -> (BorrowedFd<'_>, &Path) {
        match self {
            Self::Path(path) => (CWD, path),
            Self::In(dir, name) => (dir.as_fd(), name),
        }
    }
}

/// What changes files. Nothing is durable before it is synced: a file's bytes by [`Disk::sync`] of the file, its name by that of
/// its directory.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Makes a file that must not be there, to read and to write.
    fn create(&self, at: At<'_>, mode: Mode) -> io::Result<File>;
    /// Appends to a file that was made by [`Disk::create`]. After an error some of the bytes may be there.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Sets the mode of a file or directory.
    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()>;
    /// Sets the time of modification of a file.
    fn set_modified(&self, file: &File, time: SystemTime) -> io::Result<()>;
    /// Makes the bytes of a file, or the names in a directory, durable. After an error what was written since the last time may
    /// be lost, even if a later call succeeds.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Makes everything on the file system of this file or directory durable.
    fn sync_all(&self, file: &File) -> io::Result<()>;
    /// Makes a directory that must not be there.
    fn create_dir(&self, at: At<'_>, mode: Mode) -> io::Result<()>;
    /// Makes a link that must not be there.
    fn symlink(&self, target: &str, at: At<'_>) -> io::Result<()>;
    /// Gives something another name; a file that had this name is gone.
    fn rename(&self, from: At<'_>, to: At<'_>) -> io::Result<()>;
    /// Makes two change their names at once.
    fn exchange(&self, one: At<'_>, other: At<'_>) -> io::Result<()>;
    /// Removes a file or link.
    fn remove_file(&self, at: At<'_>) -> io::Result<()>;
    /// Removes a directory with everything in it, following no link.
    fn remove_all(&self, at: At<'_>) -> io::Result<()>;
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, at: At<'_>, mode: Mode) -> io::Result<File> {
        let (dir, name) = at.parts();
        let how = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(retry_on_intr(|| rustix::fs::openat(dir, name, how, mode))?.into())
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(mode))
    }

    fn set_modified(&self, file: &File, time: SystemTime) -> io::Result<()> {
        file.set_modified(time)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_all(&self, file: &File) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return Ok(rustix::fs::syncfs(file)?);
        #[cfg(not(target_os = "linux"))]
        file.sync_all()
    }

    fn create_dir(&self, at: At<'_>, mode: Mode) -> io::Result<()> {
        let (dir, name) = at.parts();
        Ok(rustix::fs::mkdirat(dir, name, mode)?)
    }

    fn symlink(&self, target: &str, at: At<'_>) -> io::Result<()> {
        let (dir, name) = at.parts();
        Ok(rustix::fs::symlinkat(target, dir, name)?)
    }

    fn rename(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let ((dir, name), (to_dir, to_name)) = (from.parts(), to.parts());
        Ok(rustix::fs::renameat(dir, name, to_dir, to_name)?)
    }

    fn exchange(&self, one: At<'_>, other: At<'_>) -> io::Result<()> {
        let ((dir, name), (other_dir, other_name)) = (one.parts(), other.parts());
        Ok(rustix::fs::renameat_with(dir, name, other_dir, other_name, RenameFlags::EXCHANGE)?)
    }

    fn remove_file(&self, at: At<'_>) -> io::Result<()> {
        let (dir, name) = at.parts();
        Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
    }

    fn remove_all(&self, at: At<'_>) -> io::Result<()> {
        match at {
            At::Path(path) => fs::remove_dir_all(path),
            At::In(dir, name) => dir.remove_dir_all(name),
        }
    }
}

/// Makes a directory and those above it that are missing; the directories that have a new name in them.
pub(crate) fn create_dirs(disk: &dyn Disk, path: &Path, mode: Mode) -> io::Result<Vec<PathBuf>> {
    if path.is_dir() {
        return Ok(Vec::new());
    }
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut grown = Vec::new();
    let made = match disk.create_dir(At::Path(path), mode) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && parent != Path::new(".") => {
            grown = create_dirs(disk, parent, mode)?;
            disk.create_dir(At::Path(path), mode)
        }
        made => made,
    };
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => {
            grown.push(parent.to_owned());
            Ok(grown)
        }
    }
}

/// Syncs a directory by its path. One that may be written to but not be read cannot be.
pub(crate) fn sync_dir(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(dir) => disk.sync(&dir),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file being written, for those who write to any [`Write`].
pub(crate) struct Written<'a> {
    pub disk: &'a dyn Disk,
    pub file: File,
}

impl Write for Written<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&mut self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An unfinished file, removed when dropped.
#[derive(Debug)]
pub(crate) struct TempFile {
    disk: Arc<dyn Disk>,
    file: File,
    /// None once it is kept.
    path: Option<PathBuf>,
}

impl TempFile {
    pub fn create(disk: &Arc<dyn Disk>, path: PathBuf) -> io::Result<Self> {
        let file = disk.create(At::Path(&path), PRIVATE)?;
        Ok(Self { disk: disk.clone(), file, path: Some(path) })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(&mut self.file, bytes)
    }

    /// Leaves it where it is.
    pub fn keep(mut self) -> PathBuf {
        self.path.take().unwrap_or_default()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = self.disk.remove_file(At::Path(path));
        }
    }
}
