//! Artifacts by digest, snapshots, exports and the journal: the only crate that knows a disk. (API first; bodies follow.)

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_model::artifact::{ArtifactRef, DirEntry, Directory};
use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::{GitFacts, SnapshotSpec};
use lockgate_model::{Digest, RunId};

/// The state directory: artifacts, journal, compiled code. Cheap to clone, may be used by many threads and processes at once.
#[derive(Clone)]
pub struct Store(Arc<()>);

/// What went wrong in the state directory: always infrastructure (exit code 5), except for the look-up of runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No run has this id or prefix.
    #[error("find run `{0}`")]
    UnknownRun(String),
}

/// What keeps a snapshot from being taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What keeps an artifact from being exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What keeps git facts from being known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no `git` program.
    #[error("run `git`: it is not installed")]
    NotInstalled,
}

/// Writes a blob; dropped without [`BlobWriter::finish`], it leaves nothing.
pub struct BlobWriter(());

/// Reads a blob and checks its digest: at the end, a damaged one is an error.
pub struct BlobReader(());

/// An exported artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of its files together.
    pub bytes: u64,
}

/// One event for the journal.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Milliseconds since 1970, by the caller's clock.
    pub time_ms: u64,
    /// What happened.
    pub event: &'a Event,
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number in the journal, from 1.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// What happened.
    pub event: Event,
}

/// What `lockgate runs` shows of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// The pipeline's name.
    pub name: String,
    /// The pipeline's file, as the user named it.
    pub file: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended; none: it is running or was interrupted.
    pub finished_ms: Option<u64>,
    /// How it ended.
    pub status: Option<Status>,
    /// Its run digest.
    pub digest: Option<Digest>,
    /// Records in the journal.
    pub records: u64,
}

/// Entries of a tree with their paths, ordered by the bytes of the paths; made by [`Store::walk`].
pub struct Walk(());

#[allow(unused_variables, missing_docs, clippy::todo)]
impl Store {
    pub fn open(dir: &Path) -> Result<Self, StoreError> { todo!() }
    pub fn dir(&self) -> &Path { todo!() }
    pub fn blob_writer(&self) -> BlobWriter { todo!() }
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> { todo!() }
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, StoreError> { todo!() }
    pub fn open_blob(&self, digest: &Digest) -> Result<BlobReader, StoreError> { todo!() }
    /// Whole content, refused beyond `max` bytes.
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> { todo!() }
    pub fn put_directory(&self, directory: &Directory) -> Result<Digest, StoreError> { todo!() }
    pub fn directory(&self, digest: &Digest) -> Result<Arc<Directory>, StoreError> { todo!() }
    pub fn walk(&self, tree: &Digest) -> Walk { todo!() }
    /// The reference to a stored tree, its size counted.
    pub fn tree(&self, digest: &Digest) -> Result<ArtifactRef, StoreError> { todo!() }
    /// Makes everything put so far durable; `append` does it by itself.
    pub fn flush(&self) -> Result<(), StoreError> { todo!() }
    pub fn snapshot(&self, root: &Path, spec: &SnapshotSpec, leave_out: &[PathBuf]) -> Result<ArtifactRef, SnapshotError> { todo!() }
    pub fn snapshot_file(&self, root: &Path, path: &str) -> Result<ArtifactRef, SnapshotError> { todo!() }
    pub fn export(&self, artifact: &ArtifactRef, root: &Path, to: &str, allow: &[PathBuf]) -> Result<Exported, ExportError> { todo!() }
    /// One transaction, durable at return; everything put before is durable then too. The numbers of the records.
    pub fn append(&self, run: &RunId, time_ms: u64, events: &[Event]) -> Result<Vec<u64>, StoreError> { todo!() }
    pub fn append_many(&self, entries: &[Entry<'_>]) -> Result<Vec<u64>, StoreError> { todo!() }
    /// The newest `limit` runs, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, StoreError> { todo!() }
    pub fn records(&self, run: &RunId) -> Result<Vec<Record>, StoreError> { todo!() }
    /// A run by its id, by a prefix of it that no other run has, or by `latest`.
    pub fn find_run(&self, text: &str) -> Result<RunSummary, StoreError> { todo!() }
    /// Walks the whole journal; the number of records.
    pub fn verify(&self) -> Result<u64, StoreError> { todo!() }
    pub fn code(&self, key: &str) -> Option<Vec<u8>> { todo!() }
    pub fn put_code(&self, key: &str, code: &[u8]) { todo!() }
}

#[allow(unused_variables, missing_docs, clippy::todo)]
impl BlobWriter {
    pub fn finish(self) -> Result<(Digest, u64), StoreError> { todo!() }
}

impl Write for BlobWriter {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> { todo!() }
    fn flush(&mut self) -> io::Result<()> { Ok(()) }
}

#[allow(unused_variables, missing_docs, clippy::todo)]
impl BlobReader {
    pub fn size(&self) -> u64 { todo!() }
}

impl Read for BlobReader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> { todo!() }
}

impl Iterator for Walk {
    type Item = Result<(String, DirEntry), StoreError>;
    fn next(&mut self) -> Option<Self::Item> { todo!() }
}

/// Facts about the git repository around `root`.
#[allow(clippy::todo)]
pub fn git_facts(_root: &Path) -> Result<GitFacts, GitError> { todo!() }
