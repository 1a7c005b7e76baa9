//! The private key's file, as `age-keygen` writes it: comments, and one X25519 key a line. The first key is the one that files are
//! encrypted to; while the key is changed, the old one stands behind the new one.

use std::io;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use lockgate_model::time::rfc3339;

use crate::disk;

/// Largest file: some hundred keys with comments.
const MAX_FILE: u64 = 64 << 10;

/// The keys of a file: at least one.
pub(crate) struct Identities {
    keys: Vec<Identity>,
}

/// Why there are no keys.
#[derive(Debug)]
pub(crate) enum NoKeys {
    /// There is no file.
    Missing,
    /// Others than its owner may read or change it, by these permissions.
    Exposed(u32),
    /// It is no file of keys, or of keys that cannot be used here.
    Wrong(String),
    /// It cannot be read.
    Io(io::Error),
}

impl Identities {
    /// One new key.
    pub(crate) fn generate() -> Self {
        Self { keys: vec![Identity::generate()] }
    }

    /// Reads a file, which only its owner may be able to read.
    pub(crate) fn load(path: &Path) -> Result<Self, NoKeys> {
        let (metadata, bytes) = match disk::read(path, MAX_FILE) {
            Ok(Some(read)) => read,
            Ok(None) => return Err(NoKeys::Missing),
            Err(error) => return Err(NoKeys::Io(error)),
        };
        if let Some(mode) = disk::others_may(&metadata, 0o077) {
            return Err(NoKeys::Exposed(mode));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| NoKeys::Wrong("it is not text".into()))?;
        Self::parse(text).map_err(NoKeys::Wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE") {
            return Err("it is encrypted itself, which is not supported: decrypt it into a file of its own".into());
        }
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line may be a private key with a mistake in it, so it is not shown.
            let key = line.parse().map_err(|_| format!("line {number} is no X25519 key (`AGE-SECRET-KEY-1...`)"))?;
            keys.push(key);
        }
        if keys.is_empty() {
            return Err("it holds no key".into());
        }
        Ok(Self { keys })
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Identity> {
        self.keys.iter()
    }

    /// The key that files are encrypted to.
    pub(crate) fn current(&self) -> &Identity {
        &self.keys[0]
    }

    /// The public half of the key that files are encrypted to.
    pub(crate) fn public(&self) -> String {
        self.current().to_public().to_string()
    }

    /// These keys behind a new one.
    pub(crate) fn behind(&self, new: &Self) -> Self {
        Self { keys: new.keys.iter().chain(&self.keys).cloned().collect() }
    }

    /// Writes the file, for its owner alone.
    pub(crate) fn save(&self, path: &Path, now_ms: u64) -> io::Result<()> {
        let mut text =
            "# Opens the secrets of lockgate. Keep a copy in a safe place: without it they are lost.\n".to_owned();
        text += &format!("# written: {}\n", rfc3339(now_ms));
        for key in &self.keys {
            text += &format!("# public key: {}\n{}\n", key.to_public(), key.to_string().expose_secret());
        }
        disk::replace(&target(path), text.as_bytes())
    }
}

/// What a link leads to, so that writing does not take the link's place.
fn target(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn keys_are_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("identity"), dir.path().join("link"));
        let first = Identities::generate();
        first.save(&path, 0).unwrap();
        symlink(&path, &link).unwrap();
        let second = Identities::generate();
        Identities::load(&link).unwrap().behind(&second).save(&link, 0).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let both = Identities::load(&path).unwrap();
        assert_eq!((both.keys().count(), both.public()), (2, second.public()));
        assert!(fs::read_to_string(&path).unwrap().contains("1970-01-01T00:00:00"));
    }

    #[test]
    fn files_of_no_use_are_named() {
        let wrong = |text: &str| Identities::parse(text).err().unwrap();
        assert!(wrong("").contains("no key"));
        assert!(wrong("# only words\n\n").contains("no key"));
        assert!(wrong("age-encryption.org/v1\n-> scrypt").contains("encrypted itself"));
        let key = Identities::generate().current().to_string().expose_secret().to_owned();
        assert!(Identities::parse(&format!("\r\n  {key}\r\n")).is_ok());
        let broken = wrong(&format!("# x\n{}", key.replace('1', "2")));
        assert!(broken.starts_with("line 2 ") && !broken.contains(&key[20..]), "{broken}");
    }

    #[test]
    fn keys_that_others_can_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        assert!(matches!(Identities::load(&path), Err(NoKeys::Missing)));
        Identities::generate().save(&path, 0).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(Identities::load(&path), Err(NoKeys::Exposed(found)) if found == mode), "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(Identities::load(&path).is_ok());
        assert!(matches!(Identities::load(dir.path()), Err(NoKeys::Io(_))));
    }
}
