//! Blobs: a writer that hashes while it writes, and a reader that hashes while it reads and refuses damaged bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::digest::Hasher;
use rusqlite::{OptionalExtension as _, params};

use crate::disk::TempFile;
use crate::pending::{INLINE_MAX, Key, Space, Waiting};
use crate::state::{Store, StoreError};

/// Bytes copied at a time: beyond this, larger pieces are not faster.
const BUFFER: usize = 256 << 10;

impl Store {
    /// Begins a blob.
    pub fn blob_writer(&self) -> BlobWriter {
        self.writer(Space::Blob)
    }

    /// An empty file in the state directory that has no name and is gone with the handle. It is no part of the store.
    pub fn scratch(&self) -> Result<File, StoreError> {
        let named = self.inner.temp_file()?;
        named.file().try_clone().map_err(StoreError::io("make a file in", self.dir()))
    }

    /// Stores a blob that is in memory.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.put_object(Space::Blob, bytes)
    }

    /// Whether a blob is stored. Its bytes are not looked at.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        match self.open_blob(digest) {
            Ok(_) => Ok(true),
            Err(error) if error.is_lost() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobReader, StoreError> {
        self.open_object((Space::Blob, *digest))
    }

    /// Reads a whole blob of at most `max` bytes.
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        self.read_object((Space::Blob, *digest), max)
    }

    pub(crate) fn writer(&self, space: Space) -> BlobWriter {
        BlobWriter { store: self.clone(), space, hasher: space.hasher(), size: 0, buffer: Vec::new(), file: None }
    }

    pub(crate) fn put_object(&self, space: Space, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut hasher = space.hasher();
        hasher.update(bytes);
        let key = (space, hasher.finish());
        let size = bytes.len() as u64;
        if bytes.len() <= INLINE_MAX {
            self.inner.put_small(key, bytes.to_vec())?;
        } else if !self.inner.is_placed(&key, size) {
            let mut file = self.inner.temp_file()?;
            file.write(bytes).map_err(StoreError::io("write an artifact to", self.dir()))?;
            self.inner.put_file(key, file, size)?;
        }
        Ok(key.1)
    }

    pub(crate) fn open_object(&self, key: Key) -> Result<BlobReader, StoreError> {
        // What waits is renamed by another thread now and then: look again, it has moved one way only.
        for _ in 0..2 {
            match self.waiting(&key) {
                Some(Waiting::Memory(bytes)) => return BlobReader::memory(self, key, bytes),
                Some(Waiting::File(path)) => {
                    if let Ok(file) = File::open(path) {
                        return BlobReader::file(self, key, file);
                    }
                }
                None => break,
            }
        }
        if let Some(bytes) = self.inline(&key)? {
            return BlobReader::memory(self, key, bytes.into());
        }
        let path = self.inner.object_path(&key);
        match File::open(&path) {
            Ok(file) => BlobReader::file(self, key, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.why_gone(&key)),
            Err(error) => Err(StoreError::io("open", path)(error)),
        }
    }

    pub(crate) fn read_object(&self, key: Key, max: u64) -> Result<Vec<u8>, StoreError> {
        let mut reader = self.open_object(key)?;
        if reader.size() > max {
            return Err(StoreError::TooLarge { digest: key.1, size: reader.size(), max });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(reader.size()).unwrap_or(0));
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(reader.explain(error)),
        }
    }

    pub(crate) fn inline(&self, (space, digest): &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT bytes FROM objects WHERE space = ?1 AND digest = ?2")
                .map_err(self.inner.db_error("read"))?;
            let row = statement.query_row(params![space.number(), digest.as_bytes()], |row| row.get(0));
            row.optional().map_err(self.inner.db_error("read an artifact from"))
        })
    }
}

/// Writes one blob, hashing as it goes. Dropped without [`BlobWriter::finish`], it leaves nothing behind.
pub struct BlobWriter {
    store: Store,
    space: Space,
    hasher: Hasher,
    size: u64,
    /// Not yet written; all of it as long as there is no file.
    buffer: Vec<u8>,
    file: Option<TempFile>,
}

impl BlobWriter {
    /// Stores the blob: its digest and its size in bytes. It is readable at once, and durable before any record that is
    /// appended from now on.
    pub fn finish(mut self) -> Result<(Digest, u64), StoreError> {
        let failed = StoreError::io("write an artifact to", self.store.dir());
        if let Some(file) = &mut self.file {
            file.write(&self.buffer).map_err(failed)?;
        }
        let digest = self.hasher.finish();
        let key = (self.space, digest);
        match self.file {
            None => self.store.inner.put_small(key, self.buffer)?,
            Some(file) => self.store.inner.put_file(key, file, self.size)?,
        }
        Ok((digest, self.size))
    }

    /// Like [`BlobWriter::finish`], as a reference.
    pub fn finish_ref(self) -> Result<ArtifactRef, StoreError> {
        let (digest, size) = self.finish()?;
        Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size })
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let whole = self.buffer.len() + bytes.len();
        if whole > if self.file.is_some() { BUFFER } else { INLINE_MAX } {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(self.store.inner.temp_file().map_err(io::Error::other)?),
            };
            if whole >= BUFFER {
                file.write(&self.buffer)?;
                self.buffer.clear();
            }
            if bytes.len() >= BUFFER {
                file.write(bytes)?;
            } else {
                self.buffer.extend_from_slice(bytes);
            }
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads one blob from front to back. With its last bytes the digest is checked: where it differs, the read that would have
/// given them is an error of kind `InvalidData` around [`StoreError::Damaged`], and the blob is set aside.
pub struct BlobReader {
    store: Store,
    key: Key,
    source: Source,
    hasher: Option<Hasher>,
    size: u64,
    taken: u64,
}

enum Source {
    Memory(Arc<[u8]>),
    File(File),
}

impl BlobReader {
    fn memory(store: &Store, key: Key, bytes: Arc<[u8]>) -> Result<Self, StoreError> {
        let size = bytes.len() as u64;
        let store = store.clone();
        Ok(Self { store, key, source: Source::Memory(bytes), hasher: Some(key.0.hasher()), size, taken: 0 })
    }

    fn file(store: &Store, key: Key, file: File) -> Result<Self, StoreError> {
        let size = file.metadata().map_err(StoreError::io("read", store.inner.object_path(&key)))?.len();
        let store = store.clone();
        Ok(Self { store, key, source: Source::File(file), hasher: Some(key.0.hasher()), size, taken: 0 })
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes all that is left to `to`, in pieces of 256 KiB; the number of bytes. The outer error is the target's.
    pub fn copy_to(&mut self, to: &mut dyn Write) -> io::Result<Result<u64, StoreError>> {
        let mut buffer = vec![0; BUFFER.min(usize::try_from(self.size).unwrap_or(BUFFER)).max(1)];
        let mut bytes = 0;
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(Ok(bytes)),
                Ok(count) => to.write_all(&buffer[..count])?,
                Err(error) => return Ok(Err(self.explain(error))),
            }
            bytes = self.taken;
        }
    }

    /// The store's error behind an error of [`Read::read`].
    pub fn explain(&self, error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::InvalidData => StoreError::Damaged(self.key.1),
            _ => StoreError::Io { action: "read artifact", path: self.key.1.to_string().into(), source: error },
        }
    }

    fn check(&mut self) -> io::Result<()> {
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.key.1 => {
                self.store.inner.set_aside(&self.key);
                Err(io::Error::new(io::ErrorKind::InvalidData, StoreError::Damaged(self.key.1)))
            }
            _ => Ok(()),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = usize::try_from(self.size - self.taken).unwrap_or(usize::MAX).min(buffer.len());
        let count = match &mut self.source {
            Source::Memory(bytes) => {
                // Fits: the whole of it is at most 16 KiB.
                let start = self.taken as usize;
                buffer[..left].copy_from_slice(&bytes[start..start + left]);
                left
            }
            Source::File(file) => file.read(&mut buffer[..left])?,
        };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.taken += count as u64;
        // `count == 0` before the end: the file was cut while it was read.
        if count == 0 || self.taken == self.size {
            self.check()?;
        }
        Ok(count)
    }
}
