//! Who drives a run, and which run of a group goes on: locks of the file system, which end with the process that holds them, however
//! it ends.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use lockgate_model::{Digest, RunId};
use rustix::fs::{FlockOperation, flock};

use crate::disk::{At, Disk, PRIVATE, PRIVATE_DIR};
use crate::state::{Store, StoreError};

/// Domain of the names of groups' locks.
const GROUP_DOMAIN: &str = "lockgate-group-v1";

/// Something that this process has alone, until this is dropped.
#[derive(Debug)]
pub struct Hold {
    disk: Arc<dyn Disk>,
    file: File,
    path: PathBuf,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // While it is locked: whoever opened the file meanwhile finds out that it is gone. Failing only leaves an empty file.
        let _ = self.disk.remove_file(At::Path(&self.path));
    }
}

/// What became of asking for a group.
#[derive(Debug)]
pub enum GroupHold {
    /// This process has it.
    Held(Hold),
    /// Another run has it; which, where it said so already.
    Busy(Option<RunId>),
}

impl Store {
    /// Takes a run for this process to drive. None: another process drives it.
    pub fn hold_run(&self, run: &RunId) -> Result<Option<Hold>, StoreError> {
        self.hold(&format!("run-{run}"))
    }

    /// Whether a process drives a run. It takes nothing and writes nothing, but a process that begins to drive the run in the same moment
    /// may be told that another one does.
    pub fn is_held(&self, run: &RunId) -> Result<bool, StoreError> {
        let path = self.dir().join("locks").join(format!("run-{run}"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(true),
            Err(error) => Err(StoreError::io("lock", path)(error.into())),
        }
    }

    /// Takes a group for a run. Does not wait.
    pub fn hold_group(&self, group: &str, run: &RunId) -> Result<GroupHold, StoreError> {
        let name = format!("group-{}", Digest::tagged(GROUP_DOMAIN, group.as_bytes()).hex());
        let failed = |path: &PathBuf| StoreError::io("write", path.clone());
        match self.hold(&name)? {
            Some(mut hold) => {
                let start = hold.file.seek(SeekFrom::Start(0));
                let written = start.and_then(|_| hold.disk.write(&mut hold.file, run.as_str().as_bytes()));
                written.map_err(failed(&hold.path))?;
                Ok(GroupHold::Held(hold))
            }
            None => {
                let mut text = String::new();
                let path = self.dir().join("locks").join(name);
                // It may have been given back just now.
                let _ = File::open(path).and_then(|file| file.take(100).read_to_string(&mut text));
                Ok(GroupHold::Busy(RunId::new(&text).ok()))
            }
        }
    }

    fn hold(&self, name: &str) -> Result<Option<Hold>, StoreError> {
        let dir = self.dir().join("locks");
        match self.inner.disk.create_dir(At::Path(&dir), PRIVATE_DIR) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create the directory", dir)(error));
            }
            _ => {}
        }
        let path = dir.join(name);
        loop {
            let file = self.inner.open_lock(&path, PRIVATE)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => return Ok(None),
                Err(error) => return Err(StoreError::io("lock", path)(error.into())),
            }
            // The one who held it before may have removed the file between opening and locking: then the lock is worth nothing.
            let mine = file.metadata().map_err(StoreError::io("look at", &path))?;
            if fs::metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (mine.dev(), mine.ino())) {
                return Ok(Some(Hold { disk: self.inner.disk.clone(), file, path }));
            }
        }
    }
}
