//! What the host needs of the world outside: artifacts, a cache for compiled code, and a durable record of effects. Traits,
//! so that this crate knows neither disk nor journal.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactRef, Directory};
use lockgate_model::effect::{Begun, Differs};
use lockgate_model::limits::ComponentLimits;

use crate::load::{LoadError, Prepared};

use crate::secret::Secrets;

/// Artifacts by digest. An error of any of these is an infrastructure failure of the node.
///
/// The calls may block for as long as a disk takes; the host makes them on the thread that polls [`Host::call`](crate::Host::call).
pub trait Artifacts: Send + Sync {
    /// Opens a blob for reading from its start; the number is its size in bytes.
    fn open_blob(&self, digest: Digest) -> io::Result<(Box<dyn Read + Send>, u64)>;

    /// Begins a blob. Dropped without [`BlobWriter::finish`] it leaves nothing behind.
    fn blob_writer(&self) -> io::Result<Box<dyn BlobWriter>>;

    /// An empty file that nobody else sees and that is gone with the handle, for what a command writes out of order. By default in the
    /// directory of the system for such files.
    fn scratch(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(tempfile::tempfile()?))
    }

    /// Stores a small blob at once.
    fn put_blob(&self, bytes: &[u8]) -> io::Result<Digest>;

    /// Reads one directory of a tree.
    fn directory(&self, digest: Digest) -> io::Result<Arc<Directory>>;

    /// Stores one directory of a tree; what it names must be stored already.
    fn put_directory(&self, directory: &Directory) -> io::Result<Digest>;

    /// Writes an artifact to a path below a directory of the host, for a program to find it there. Never leaves the directory, by
    /// whatever links stand in it.
    fn lay(&self, artifact: &ArtifactRef, dir: &Path, path: &str) -> io::Result<()>;

    /// Takes the file or directory at a path below a directory of the host as an artifact; none where there is none. Follows no
    /// link. An error of the kind `InvalidData` speaks of what stands there, any other of the store.
    fn take(&self, dir: &Path, path: &str) -> io::Result<Option<ArtifactRef>>;
}

/// A blob that is being written.
pub trait BlobWriter: Write + Send {
    /// Ends it: it is stored when this returns. Gives its digest and its size in bytes.
    fn finish(self: Box<Self>) -> io::Result<(Digest, u64)>;
}

/// A file without a name.
pub trait Scratch: Send {
    /// Fills the buffer with the bytes at an offset; what is beyond the end is an error.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes bytes at an offset; what is between it and the end becomes zeros.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts it, or adds zeros.
    fn set_len(&mut self, size: u64) -> io::Result<()>;
}

impl Scratch for std::fs::File {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        std::fs::File::set_len(self, size)
    }
}

/// A cache of bytes by key; losing any entry costs time only.
///
/// Compiled code is loaded from it without another check, so an implementation must hand out only bytes that this engine put
/// there, unaltered: it verifies a checksum of them on reading, and nobody else may write to where it keeps them.
pub trait CodeCache: Send + Sync {
    /// The bytes kept under a key: up to 80 characters of letters, digits and `-`.
    fn get(&self, key: &str) -> Option<Vec<u8>>;

    /// The same, as a file that begins with them, verified now, and which nobody alters where it lies. None also where it keeps no files.
    fn file(&self, _key: &str) -> Option<PathBuf> {
        None
    }

    /// Keeps bytes under a key. Failing to is no error.
    fn put(&self, key: &str, code: &[u8]);
}

/// Compiles components outside of this process, and finds out what they are: compiling hostile ones may take any time and memory,
/// and may end the process that does it.
pub trait Compiler: std::fmt::Debug + Send + Sync {
    /// Whether a component is compiled in this process after all, because it comes with the engine.
    fn is_trusted(&self, component: Digest) -> bool;

    /// Compiles a component within the limits, by [`Host::prepare`](crate::Host::prepare) of this same program, and blocks
    /// until that is over.
    ///
    /// Its code is loaded without another check, so an implementation hands out only what a process gave that it started itself
    /// from the program that runs, over a channel that nobody else has.
    fn prepare(&self, component: &[u8], limits: &ComponentLimits) -> Result<Prepared, LoadError>;
}

/// A cache that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

impl CodeCache for NoCache {
    fn get(&self, _key: &str) -> Option<Vec<u8>> {
        None
    }

    fn put(&self, _key: &str, _code: &[u8]) {}
}

/// Where the intent and the outcome of each effect become durable, or where it is answered from a record.
#[async_trait]
pub trait Effects: Send + Sync {
    /// Records that an effect is about to start. It starts when this returned [`Begun::Issue`]; on [`Begun::Answered`] the guest
    /// gets the recorded answer instead, and nothing leaves the host.
    ///
    /// `request` is the digest of the request's canonical JSON, `summary` is for people, at most 300 characters.
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, EffectsError>;

    /// Records the answer of an effect that was issued. The guest sees it when this returned without an error.
    async fn outcome(&self, sequence: u64, answer: &serde_json::Value) -> Result<(), EffectsError>;

    /// Sees each request in full, permitted or not, before its intent: for those who answer from somewhere else than a record of this
    /// very plugin, and must tell what was asked.
    fn asked(&self, request: &Asked<'_>) {
        let _ = request;
    }

    /// The values of the run's secrets. None where nothing is sent.
    fn secrets(&self) -> Arc<Secrets> {
        Arc::default()
    }

    /// Whether waiting is over already where the effect of this number comes next: true as far as a record reaches, since the
    /// time between two recorded effects has passed. A granted `sleep-ms` then returns at once.
    fn has_waited(&self, next: u64) -> bool {
        let _ = next;
        false
    }

    /// What a request is told of the trace that it belongs to: the text of a `traceparent` header, if there is a trace. It is
    /// sent beside the request and is no part of it: neither its digest nor its record knows of it.
    fn trace_parent(&self, sequence: u64) -> Option<String> {
        let _ = sequence;
        None
    }
}

/// A request as a plugin makes it. Secrets stand in it as their placeholders.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// One over HTTP.
    Http(AskedHttp<'a>),
    /// A program that is to run.
    Process(AskedProcess<'a>),
    /// An exchange over a bare connection.
    Tcp(AskedTcp<'a>),
}

/// A program that a plugin wants to run.
#[derive(Debug, Clone, Copy)]
pub struct AskedProcess<'a> {
    /// The program.
    pub program: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Its standard input.
    pub stdin: &'a [u8],
    /// Inputs that are laid into its directory: name, path.
    pub inputs: &'a [(String, String)],
    /// Paths that become outputs: path, name.
    pub outputs: &'a [(String, String)],
    /// The digest that its intent will have, or the code with which it is refused.
    pub effect: Result<Digest, &'a str>,
}

/// An exchange over a bare connection that a plugin asks for.
#[derive(Debug, Clone, Copy)]
pub struct AskedTcp<'a> {
    /// The host.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// What is sent.
    pub send: &'a [u8],
    /// What reading ends behind.
    pub until: Option<&'a [u8]>,
    /// The most bytes that are read; none where it is refused.
    pub max_bytes: Option<u64>,
    /// The digest that its intent will have, or the code with which it is refused.
    pub effect: Result<Digest, &'a str>,
}

/// A request over HTTP as a plugin makes it. Secrets stand in it as their placeholders.
#[derive(Debug, Clone, Copy)]
pub struct AskedHttp<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL as the plugin wrote it.
    pub url: &'a str,
    /// Names and values of its headers.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Its body, if it is not an input.
    pub body: Option<&'a [u8]>,
    /// The input that is its body.
    pub body_input: Option<Digest>,
    /// The output that gets the answer's body.
    pub save_as: Option<&'a str>,
    /// The most bytes of the answer's body that the plugin gets, where it is not saved.
    pub max_body: Option<u64>,
    /// The digest that its intent will have, or the code with which it is refused.
    pub effect: Result<Digest, &'a str>,
}

/// Why an effect does not start, or its answer is not shown.
#[derive(Debug, thiserror::Error)]
pub enum EffectsError {
    /// It could not be recorded: an infrastructure failure of the node.
    #[error("record an effect: {0}")]
    Record(String),
    /// Another effect is recorded in its place: the node is not reproducible.
    #[error(transparent)]
    Differs(#[from] Differs),
}

/// Records nothing: for calls without a run, as `lockgate plugin call` makes them.
#[derive(Debug, Clone, Default)]
pub struct NoEffects {
    /// The secrets that may be placed.
    pub secrets: Arc<Secrets>,
}

#[async_trait]
impl Effects for NoEffects {
    async fn intent(&self, _: u64, _: &str, _: Digest, _: &str) -> Result<Begun, EffectsError> {
        Ok(Begun::Issue)
    }

    async fn outcome(&self, _: u64, _: &serde_json::Value) -> Result<(), EffectsError> {
        Ok(())
    }

    fn secrets(&self) -> Arc<Secrets> {
        self.secrets.clone()
    }
}
