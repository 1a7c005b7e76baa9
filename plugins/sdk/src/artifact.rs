//! Inputs and outputs as the standard library's readers and writers.
//!
//! Everything streams: a reader or a writer holds one buffer of [`CHUNK`] bytes, whatever the size of the artifact.

use std::io::{self, BufRead, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend;
use crate::error::{Context, Error, Result};

/// Bytes moved by one host call: large enough that the calls cost nothing beside the bytes, small enough that a plugin may
/// hold a dozen readers within its 64 MiB.
pub const CHUNK: usize = 256 << 10;

/// The most that the helpers which read a whole artifact take into memory: 16 MiB, a quarter of a node's default memory.
pub const MAX_WHOLE: u64 = 16 << 20;

/// How many entries of a tree are fetched at once.
const ENTRIES: u32 = 1024;

/// Why the host refused something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactError {
    /// `no-such-input`, `no-such-output`, `no-such-path`, `wrong-kind`, `bad-path`, `duplicate`, `closed`, `limit`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl std::fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ArtifactError {}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Blob,
    /// A directory.
    Tree,
}

/// One input of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The port's name.
    pub name: String,
    /// Whether it is a blob or a tree.
    pub kind: Kind,
    /// `sha256:...`; equal digests mean equal content. A blob's is the sha-256 of its bytes.
    pub digest: String,
    /// Bytes of a blob, or of all files of a tree.
    pub size: u64,
}

/// The inputs of this node, sorted by name.
pub fn inputs() -> Vec<Input> {
    backend::inputs()
}

/// The input of this name.
pub fn input(name: &str) -> Result<Input> {
    inputs().into_iter().find(|input| input.name == name).with_context(|| format!("there is no input `{name}`"))
}

impl Input {
    /// Opens a blob.
    pub fn blob(&self) -> Result<Reader> {
        Ok(Reader::new(backend::open_blob(&self.name)?))
    }

    /// Opens a tree.
    pub fn tree(&self) -> Result<Tree> {
        Ok(Tree { raw: backend::open_tree(&self.name)? })
    }

    /// All bytes of a blob of at most [`MAX_WHOLE`] bytes.
    pub fn read(&self) -> Result<Vec<u8>> {
        self.blob()?.whole().with_context(|| format!("read the input `{}`", self.name))
    }

    /// A blob of at most [`MAX_WHOLE`] bytes as UTF-8.
    pub fn read_text(&self) -> Result<String> {
        String::from_utf8(self.read()?).with_context(|| format!("read the input `{}` as text", self.name))
    }

    /// A blob of at most [`MAX_WHOLE`] bytes as JSON.
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.read()?).with_context(|| format!("read the input `{}` as JSON", self.name))
    }
}

/// Reads bytes from front to back. Buffered, so that it needs no `BufReader`.
pub struct Reader {
    raw: backend::RawReader,
    buffer: Vec<u8>,
    position: usize,
}

impl Reader {
    fn new(raw: backend::RawReader) -> Self {
        Self { raw, buffer: Vec::new(), position: 0 }
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.raw.size()
    }

    /// All bytes that are left, if they are at most [`MAX_WHOLE`].
    fn whole(mut self) -> Result<Vec<u8>> {
        let size = self.size();
        if size > MAX_WHOLE {
            return Err(Error::new(format!("{size} bytes are too many to hold at once: at most {MAX_WHOLE}")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size)?);
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.buffer.len() {
            self.buffer = self.raw.read(CHUNK as u32).map_err(io::Error::other)?;
            self.position = 0;
        }
        Ok(&self.buffer[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.buffer.len());
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// An input that is a tree.
pub struct Tree {
    raw: backend::RawTree,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path inside the tree, with `/`.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What stands at a path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// Whether it is executable.
        executable: bool,
        /// Bytes.
        size: u64,
        /// `sha256:...` of its bytes; the host knows it without reading them.
        digest: String,
    },
    /// A symbolic link.
    Symlink {
        /// Its target.
        target: String,
    },
    /// A directory.
    Directory,
}

impl Entry {
    /// Whether it is a file.
    pub const fn is_file(&self) -> bool {
        matches!(self.kind, EntryKind::File { .. })
    }

    /// Bytes of a file; 0 for others.
    pub const fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        }
    }
}

impl Tree {
    /// All entries, sorted by the bytes of their paths, parents before children.
    pub fn entries(&self) -> Entries<'_> {
        Entries { tree: self, fetched: Vec::new().into_iter(), next: 0 }
    }

    /// The files alone, in the same order.
    pub fn files(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries().filter(Entry::is_file)
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<Entry> {
        self.raw.lookup(path)
    }

    /// Opens a file.
    pub fn open(&self, path: &str) -> Result<Reader> {
        Ok(Reader::new(self.raw.open(path).with_context(|| format!("open `{path}`"))?))
    }

    /// All bytes of a file of at most [`MAX_WHOLE`] bytes.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.open(path)?.whole().with_context(|| format!("read `{path}`"))
    }

    /// A file of at most [`MAX_WHOLE`] bytes as UTF-8.
    pub fn read_text(&self, path: &str) -> Result<String> {
        String::from_utf8(self.read(path)?).with_context(|| format!("read `{path}` as text"))
    }

    /// A file of at most [`MAX_WHOLE`] bytes as JSON.
    pub fn read_json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        serde_json::from_slice(&self.read(path)?).with_context(|| format!("read `{path}` as JSON"))
    }
}

/// The entries of a tree, fetched piece by piece.
pub struct Entries<'a> {
    tree: &'a Tree,
    fetched: std::vec::IntoIter<Entry>,
    next: u64,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.fetched.len() == 0 {
            let entries = self.tree.raw.entries(self.next, ENTRIES);
            self.next += entries.len() as u64;
            self.fetched = entries.into_iter();
        }
        self.fetched.next()
    }
}

/// An output of this node, by name.
#[derive(Debug, Clone)]
pub struct Output<'a> {
    name: &'a str,
}

/// The output of this name. Nothing is made until one of its methods is called.
pub const fn output(name: &str) -> Output<'_> {
    Output { name }
}

impl Output<'_> {
    /// Begins a blob.
    pub fn blob(&self) -> Result<Writer> {
        Ok(Writer::new(backend::create_blob(self.name)?))
    }

    /// Begins a tree.
    pub fn tree(&self) -> Result<TreeBuilder> {
        Ok(TreeBuilder { raw: backend::create_tree(self.name)? })
    }

    /// Makes a blob of these bytes.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let mut writer = self.blob()?;
        writer.write_all(bytes.as_ref())?;
        writer.finish()
    }

    /// Makes a blob of a value's JSON.
    pub fn write_json(&self, value: &impl Serialize) -> Result<()> {
        self.write(serde_json::to_vec(value)?)
    }

    /// Hands an input on as this output, without moving a byte.
    pub fn forward(&self, input: &Input) -> Result<()> {
        Ok(backend::forward(&input.name, self.name)?)
    }
}

/// Writes bytes; buffered. What is not finished leaves nothing behind.
pub struct Writer {
    raw: backend::RawWriter,
    buffer: Vec<u8>,
}

impl Writer {
    fn new(raw: backend::RawWriter) -> Self {
        Self { raw, buffer: Vec::new() }
    }

    /// Writes what is buffered and ends it.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        Ok(self.raw.finish()?)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        if bytes.len() >= CHUNK {
            let count = bytes.len().min(CHUNK);
            self.raw.write(&bytes[..count]).map_err(io::Error::other)?;
            return Ok(count);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.raw.write(&self.buffer).map_err(io::Error::other)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Builds a tree. Directories above an entry come by themselves. What is not finished leaves nothing behind.
pub struct TreeBuilder {
    raw: backend::RawTreeBuilder,
}

impl TreeBuilder {
    /// Begins a file; it is there once the writer was finished.
    pub fn file(&self, path: &str, executable: bool) -> Result<Writer> {
        Ok(Writer::new(self.raw.file(path, executable).with_context(|| format!("make `{path}`"))?))
    }

    /// Adds a file with these bytes, not executable.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        let mut writer = self.file(path, false)?;
        writer.write_all(bytes.as_ref())?;
        writer.finish()
    }

    /// Adds a file or a directory of an input tree, without moving a byte; an empty `from` is the whole input.
    pub fn copy(&self, input: &Input, from: &str, to: &str) -> Result<()> {
        self.raw.copy(&input.name, from, to).with_context(|| format!("copy `{from}` to `{to}`"))
    }

    /// Adds a symbolic link; its target must stay inside the tree.
    pub fn symlink(&self, path: &str, target: &str) -> Result<()> {
        self.raw.symlink(path, target).with_context(|| format!("link `{path}`"))
    }

    /// Adds a directory, which may stay empty.
    pub fn directory(&self, path: &str) -> Result<()> {
        self.raw.directory(path).with_context(|| format!("make the directory `{path}`"))
    }

    /// Ends it.
    pub fn finish(self) -> Result<()> {
        Ok(self.raw.finish()?)
    }
}
