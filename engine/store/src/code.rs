//! The cache of compiled components and manifests: files that can be lost, but never be wrong.
//!
//! A file is the sha-256 of the rest, then the rest: length of the key (4 bytes, little-endian), key, content. Loading compiled
//! code runs it, so only files of this user, with the right checksum and key, are handed out.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use lockgate_model::Digest;
use lockgate_model::digest::Hasher;

use crate::disk::At;
use crate::state::{Store, StoreError};

/// Largest file that is read back: the largest component compiles to less.
const MAX_CODE: u64 = 1 << 30;

impl Store {
    /// Looks compiled code up; a damaged or foreign file is a miss.
    pub fn code(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.code_path(key);
        let found = fs::symlink_metadata(&path).ok()?;
        if !found.is_file() || found.len() > MAX_CODE || found.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        let mut bytes = fs::read(&path).ok()?;
        let head = head(key);
        let start = 32 + head.len();
        if bytes.len() < start || bytes[32..start] != head || Digest::of(&bytes[32..]).as_bytes() != &bytes[..32] {
            return None;
        }
        bytes.drain(..start);
        // When it was last used decides when it goes; where that cannot be noted, it goes early.
        let touch = |file: fs::File| self.inner.disk.set_modified(&file, SystemTime::now());
        let _ = fs::File::options().append(true).open(&path).and_then(touch);
        Some(bytes)
    }

    /// Keeps compiled code, mode 600, whole or not at all. An error costs time only: the code is compiled again next time.
    pub fn put_code(&self, key: &str, code: &[u8]) -> Result<(), StoreError> {
        let path = self.code_path(key);
        let mut file = self.inner.temp_file()?;
        let head = head(key);
        let mut hasher = Hasher::new();
        hasher.update(&head);
        hasher.update(code);
        // Not synced: after a crash a torn file fails its checksum.
        [&hasher.finish().as_bytes()[..], &head, code]
            .iter()
            .try_for_each(|part| file.write(part))
            .map_err(StoreError::io("write", &path))?;
        self.inner.disk.rename(At::Path(file.path()), At::Path(&path)).map_err(StoreError::io("write", &path))?;
        file.keep();
        Ok(())
    }

    fn code_path(&self, key: &str) -> PathBuf {
        self.dir().join("code").join(Digest::of(key.as_bytes()).hex())
    }
}

fn head(key: &str) -> Vec<u8> {
    // Keys are digests and version numbers, far below 4 GiB.
    let mut head = (key.len() as u32).to_le_bytes().to_vec();
    head.extend_from_slice(key.as_bytes());
    head
}
