//! Private directories, files that are whole or not there, and the lock between processes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Name of the file that writers hold.
const LOCK: &str = "lock";
/// Beginning of the names of files that are being written.
const UNFINISHED: &str = ".unfinished-";

/// Makes a directory, and those above it, for its owner alone; one that is there stays as it is.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Without this a power cut could take the directory with all that comes into it.
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// The bits by which others may do something with a file or directory.
pub(crate) fn others_may(metadata: &fs::Metadata, bits: u32) -> Option<u32> {
    let mode = metadata.mode() & 0o777;
    (mode & bits != 0).then_some(mode)
}

/// Reads a file of at most this size; none where there is none.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<(fs::Metadata, Vec<u8>)>> {
    // A pipe in the place of a file must not stop the engine for ever: it is opened without waiting for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(Some((metadata, bytes)))
}

/// Puts a file, for its owner alone, in place of what has this name: after a crash one of both is there, whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Mode 600 is what tempfile makes.
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

/// Removes what writers that were killed left behind. Only who holds the lock may do so.
pub(crate) fn clean(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Waits until nobody else reads or writes, and keeps others away until it is dropped.
pub(crate) fn lock_to_write(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// Waits until nobody writes. None where nobody ever wrote, as in a copy: there is nothing to wait for then.
pub(crate) fn lock_to_read(dir: &Path) -> io::Result<Option<File>> {
    match File::open(dir.join(LOCK)) {
        Ok(file) => {
            file.lock_shared()?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_and_private_and_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        make_private(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o777, 0o700);
        let path = inner.join("x");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        let (metadata, bytes) = read(&path, 3).unwrap().unwrap();
        assert_eq!((metadata.mode() & 0o777, &bytes[..]), (0o600, &b"two"[..]));
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(&inner.join("y"), 2).unwrap().is_none());
        fs::write(inner.join(".unfinished-abc"), "half").unwrap();
        clean(&inner).unwrap();
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }

    #[test]
    fn writers_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        assert!(lock_to_read(dir.path()).unwrap().is_none());
        let held = lock_to_write(dir.path()).unwrap();
        let other = File::open(dir.path().join(LOCK)).unwrap();
        assert!(other.try_lock_shared().is_err() && other.try_lock().is_err());
        drop(held);
        let reading = lock_to_read(dir.path()).unwrap();
        assert!(other.try_lock_shared().is_ok());
        drop(other);
        drop(reading);
        lock_to_write(dir.path()).unwrap();
    }
}
