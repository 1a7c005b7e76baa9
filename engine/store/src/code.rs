//! The cache of compiled components and manifests: files that can be lost, but never be wrong.
//!
//! A file is the content, the key, the length of the key (4 bytes, little-endian), and the XXH3 with 128 bits (16 bytes,
//! little-endian) of all that. The content stands first, so that compiled code can be mapped as it lies there. Loading compiled code
//! runs it, so only files of this user, with the right checksum and key, are handed out. What the checksum finds is what a crash or a
//! disk does; somebody who writes as this user could put a right one there as well, so a slower one would be of no more use.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use lockgate_model::Digest;
use twox_hash::xxhash3_128::Hasher;

use crate::disk::At;
use crate::state::{Store, StoreError};

/// Largest file that is read back: the largest component compiles to less.
const MAX_CODE: u64 = 1 << 30;
/// Bytes of the checksum.
const CHECKSUM: usize = 16;
/// Most bytes that are read at once.
const PIECE: u64 = 256 << 10;

impl Store {
    /// Looks compiled code up; a damaged or foreign file is a miss.
    pub fn code(&self, key: &str) -> Option<Vec<u8>> {
        let mut code = Vec::new();
        self.checked_code(key, |piece| code.extend_from_slice(piece))?;
        Some(code)
    }

    /// The same, as the path of a file that begins with it.
    pub fn code_file(&self, key: &str) -> Option<PathBuf> {
        self.checked_code(key, |_| ())
    }

    /// Reads a file piece by piece; where it lies, if it is right.
    fn checked_code(&self, key: &str, mut take: impl FnMut(&[u8])) -> Option<PathBuf> {
        let path = self.code_path(key);
        let found = fs::symlink_metadata(&path).ok()?;
        if !found.is_file() || found.len() > MAX_CODE || found.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        let mut file = fs::File::open(&path).ok()?;
        let foot = foot(key);
        let mut left = found.len().checked_sub((foot.len() + CHECKSUM) as u64)?;
        let (mut hasher, mut buffer) = (Hasher::new(), vec![0; left.min(PIECE) as usize]);
        while left > 0 {
            let piece = &mut buffer[..left.min(PIECE) as usize];
            file.read_exact(piece).ok()?;
            hasher.write(piece);
            take(piece);
            left -= piece.len() as u64;
        }
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).ok()?;
        hasher.write(&foot);
        let (found, checksum) = rest.split_at_checked(foot.len())?;
        if found != foot || checksum != hasher.finish_128().to_le_bytes() {
            return None;
        }
        // When it was last used decides when it goes; where that cannot be noted, it goes early.
        let touch = |file: fs::File| self.inner.disk.set_modified(&file, SystemTime::now());
        let _ = fs::File::options().append(true).open(&path).and_then(touch);
        Some(path)
    }

    /// Keeps compiled code, mode 600, whole or not at all. An error costs time only: the code is compiled again next time.
    pub fn put_code(&self, key: &str, code: &[u8]) -> Result<(), StoreError> {
        let path = self.code_path(key);
        let mut file = self.inner.temp_file()?;
        let foot = foot(key);
        let mut hasher = Hasher::new();
        hasher.write(code);
        hasher.write(&foot);
        // Not synced: after a crash a torn file fails its checksum.
        [code, &foot, &hasher.finish_128().to_le_bytes()]
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

/// What stands behind the content, in front of the checksum.
fn foot(key: &str) -> Vec<u8> {
    // Keys are digests and version numbers, far below 4 GiB.
    let length = key.len() as u32;
    [key.as_bytes(), &length.to_le_bytes()].concat()
}
