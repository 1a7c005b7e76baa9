//! Envelopes of signatures as files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lockgate_trust::dsse::{self, Envelope};

use crate::error::{Class, Error};

/// What is put behind a component's file name to get that of its signatures.
pub const SIGNATURES: &str = ".dsse.json";
fn wrong(error: impl Into<anyhow::Error>) -> Error {
    Error::new(Class::Wrong, error)
}

/// A file up to a limit. One that is larger is an error, as is one that is no regular file or pipe.
pub fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let failed = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Class::Wrong,
            _ => Class::Infrastructure,
        };
        Error::new(exit, error).context(format!("read `{}`", path.display()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(wrong(anyhow::anyhow!("read `{}`: it has more than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

/// Largest file of signatures of a plugin, or of heads, in bytes: each signature is tried with each key, so there must not be many.
pub const MAX_SIGNATURES: usize = 256 << 10;

/// Reads the envelopes of a file of at most so many bytes.
pub fn read_envelopes(path: &Path, limit: usize) -> Result<Vec<Envelope>, Error> {
    let bytes = read_limited(path, limit)?;
    dsse::read(&bytes).map_err(|error| {
        wrong(error)
            .context(format!("read `{}`", path.display()))
            .hint("it should hold DSSE envelopes: JSON, one a line")
    })
}

/// Where the signatures of a component are.
pub fn signatures_beside(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(SIGNATURES);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_stand_beside_the_component() {
        assert_eq!(signatures_beside(Path::new("a/scan.wasm")), Path::new("a/scan.wasm.dsse.json"));
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(read_limited(&path, 3).unwrap_err().class(), Class::Wrong);
        assert_eq!(read_limited(dir.path(), 3).unwrap_err().class(), Class::Wrong);
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read_limited(&path, 3).unwrap(), b"abc");
        assert_eq!(read_limited(&path, 2).unwrap_err().class(), Class::Wrong);
    }
}
