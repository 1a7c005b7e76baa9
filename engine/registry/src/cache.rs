//! Components that were pulled once, with their signatures: files named by digest, for all projects of a user. What is read is what the name
//! says, or it is not there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lockgate_model::Digest;

use crate::error::RegistryError;

/// What is put behind a component's file name to get that of its signatures, here as anywhere.
const SIGNATURES: &str = ".dsse.json";

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// A component of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Its file. Its signatures, if there are any, lie beside it.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Cache {
    /// The cache in a directory, which is made when something is put there.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a component lies, or would.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{}.wasm", digest.hex()))
    }

    /// Finds a component. A damaged one is not there.
    pub fn find(&self, digest: Digest) -> Result<Option<Cached>, RegistryError> {
        let path = self.path(digest);
        match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == digest => Ok(Some(Cached { path, bytes })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(format!("read `{}`", path.display()), error)),
        }
    }

    /// Keeps a component with its signatures: lines of envelopes, which may be none.
    pub fn keep(&self, bytes: Vec<u8>, signatures: &[u8]) -> Result<Cached, RegistryError> {
        let path = self.path(Digest::of(&bytes));
        fs::create_dir_all(&self.dir).map_err(|error| failed(format!("make `{}`", self.dir.display()), error))?;
        // The signatures first: whoever finds the component finds them, too.
        let mut beside = path.clone().into_os_string();
        beside.push(SIGNATURES);
        let beside = PathBuf::from(beside);
        if signatures.is_empty() {
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(format!("remove `{}`", beside.display()), error));
                }
                _ => {}
            }
        } else {
            self.put(&beside, signatures)?;
        }
        self.put(&path, &bytes)?;
        Ok(Cached { path, bytes })
    }

    /// Writes a file as a whole or not at all.
    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| failed(format!("write `{}`", path.display()), error))
    }
}

fn failed(doing: String, error: io::Error) -> RegistryError {
    RegistryError::Disk { doing, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_until_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("a/b"));
        let digest = Digest::of(b"wasm");
        assert_eq!(cache.find(digest).unwrap(), None);
        let kept = cache.keep(b"wasm".to_vec(), b"{}\n").unwrap();
        assert_eq!(cache.find(digest).unwrap(), Some(kept.clone()));
        let beside = format!("{}{SIGNATURES}", kept.path.display());
        assert_eq!(fs::read(&beside).unwrap(), b"{}\n");
        cache.keep(b"wasm".to_vec(), b"").unwrap();
        assert!(!Path::new(&beside).exists(), "signatures that were taken back are gone");
        fs::write(&kept.path, b"wa?m").unwrap();
        assert_eq!(cache.find(digest).unwrap(), None);
    }
}
