//! What joins the crates: the host as the runner's executor, the store as the host's artifacts and code cache, as the runner's journal
//! and blobs, and as what reports read from. Only adapters; each decision is elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_host::{Artifacts, BlobWriter, CodeCache, Effects, EffectsError, Host, Plugin, Scratch, Secrets};
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, Directory};
use lockgate_model::effect::Begun;
use lockgate_model::outcome::{Completion, FailureKind};
use lockgate_model::pipeline::SnapshotSpec;
use lockgate_model::task::Task;
use lockgate_model::{Digest, NodeId};
use lockgate_runner::{BlobError, Blobs, EffectSink, Executor, SinkError};
use lockgate_store::{SnapshotError, Store};

use crate::node_kind::Native;
use crate::wiring::policy::Guard;

/// The W3C `traceparent` of an effect: of its node, attempt and sequence number.
pub type TraceParent = Arc<dyn Fn(&NodeId, u32, u64) -> String + Send + Sync>;

/// Executes tasks in this process.
pub struct HostExecutor {
    host: Arc<Host>,
    plugins: BTreeMap<Digest, Arc<Plugin>>,
    natives: BTreeMap<Digest, Arc<Native>>,
    artifacts: Arc<StoreArtifacts>,
    trace: Option<TraceParent>,
    guard: Option<Guard>,
    secrets: Arc<Secrets>,
}

impl HostExecutor {
    /// An executor for these plugins over a store.
    pub fn new(host: Arc<Host>, plugins: impl IntoIterator<Item = Arc<Plugin>>, store: Store) -> Self {
        let plugins = plugins.into_iter().map(|plugin| (plugin.digest(), plugin)).collect();
        let artifacts = Arc::new(StoreArtifacts(store));
        Self { host, plugins, natives: BTreeMap::new(), artifacts, trace: None, guard: None, secrets: Arc::default() }
    }

    /// The same, which executes nothing beyond what policies allow. A replay needs none: it causes no effects.
    pub fn under(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// The same, which executes these node kinds of the program, too.
    pub fn with_natives(self, natives: impl IntoIterator<Item = Arc<Native>>) -> Self {
        let natives = natives.into_iter().map(|native| (native.digest(), native)).collect();
        Self { natives, ..self }
    }

    /// The same, whose requests tell the trace that they belong to.
    pub fn traced(self, trace: Option<TraceParent>) -> Self {
        Self { trace, ..self }
    }

    /// The same, which may place these secrets.
    pub fn with_secrets(self, secrets: Arc<Secrets>) -> Self {
        Self { secrets, ..self }
    }
}

#[async_trait]
impl Executor for HostExecutor {
    async fn execute(&self, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
        let task = match &self.guard {
            Some(guard) => guard.within(task),
            None => task,
        };
        if let Some(native) = self.natives.get(&task.component) {
            return native.execute(task, self.artifacts.clone(), effects).await;
        }
        let Some(plugin) = self.plugins.get(&task.component) else {
            let message = format!("the component {} is not loaded", task.component);
            return Completion::failed(FailureKind::Infrastructure, message);
        };
        let trace = self.trace.as_ref().map(|trace| (trace.clone(), task.node.clone(), task.attempt));
        let secrets = self.secrets.clone();
        self.host.call(plugin, task, self.artifacts.clone(), Arc::new(Recorded { effects, trace, secrets })).await
    }
}

/// The runner's record of effects, as the host writes it.
struct Recorded {
    effects: Arc<dyn EffectSink>,
    /// The trace, and the node and attempt that make the effects.
    trace: Option<(TraceParent, NodeId, u32)>,
    secrets: Arc<Secrets>,
}

#[async_trait]
impl Effects for Recorded {
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, EffectsError> {
        self.effects.intent(sequence, kind, request, summary).await.map_err(effects_error)
    }

    async fn outcome(&self, sequence: u64, answer: &serde_json::Value) -> Result<(), EffectsError> {
        self.effects.outcome(sequence, answer).await.map_err(effects_error)
    }

    fn secrets(&self) -> Arc<Secrets> {
        self.secrets.clone()
    }

    fn has_waited(&self, next: u64) -> bool {
        self.effects.has_waited(next)
    }

    fn trace_parent(&self, sequence: u64) -> Option<String> {
        let (trace, node, attempt) = self.trace.as_ref()?;
        Some(trace(node, *attempt, sequence))
    }
}

fn effects_error(error: SinkError) -> EffectsError {
    match error {
        SinkError::Ending => EffectsError::Record("the run is ending".to_owned()),
        SinkError::Differs(differs) => EffectsError::Differs(differs),
    }
}

/// The store, as the host reads and writes artifacts.
pub struct StoreArtifacts(
    /// The store.
    pub Store,
);

impl Artifacts for StoreArtifacts {
    fn open_blob(&self, digest: Digest) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let reader = self.0.open_blob(&digest).map_err(io::Error::other)?;
        let size = reader.size();
        Ok((Box::new(reader), size))
    }

    fn blob_writer(&self) -> io::Result<Box<dyn BlobWriter>> {
        Ok(Box::new(Writer(self.0.blob_writer())))
    }

    fn scratch(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(self.0.scratch().map_err(io::Error::other)?))
    }

    fn put_blob(&self, bytes: &[u8]) -> io::Result<Digest> {
        self.0.put_blob(bytes).map_err(io::Error::other)
    }

    fn directory(&self, digest: Digest) -> io::Result<Arc<Directory>> {
        self.0.directory(&digest).map_err(io::Error::other)
    }

    fn put_directory(&self, directory: &Directory) -> io::Result<Digest> {
        self.0.put_directory(directory).map_err(io::Error::other)
    }

    fn lay(&self, artifact: &ArtifactRef, dir: &Path, path: &str) -> io::Result<()> {
        self.0.export(artifact, dir, path, &[]).map(drop).map_err(io::Error::other)
    }

    fn take(&self, dir: &Path, path: &str) -> io::Result<Option<ArtifactRef>> {
        let found = match std::fs::symlink_metadata(dir.join(path)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            found => found?,
        };
        let taken = match found.is_dir() {
            true => {
                let all = SnapshotSpec { dir: path.into(), include: Vec::new(), exclude: Vec::new(), ignore: false };
                self.0.snapshot(dir, &all, &[])
            }
            false => self.0.snapshot_file(dir, path),
        };
        taken.map(Some).map_err(|error| match error {
            SnapshotError::Store(error) => io::Error::other(error),
            SnapshotError::Io { source, .. } => source,
            what => io::Error::new(io::ErrorKind::InvalidData, what),
        })
    }
}

struct Writer(lockgate_store::BlobWriter);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl BlobWriter for Writer {
    fn finish(self: Box<Self>) -> io::Result<(Digest, u64)> {
        self.0.finish().map_err(io::Error::other)
    }
}

/// The store, as the host keeps compiled code.
pub struct StoreCode(
    /// The store.
    pub Store,
);

impl CodeCache for StoreCode {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.code(key)
    }

    fn file(&self, key: &str) -> Option<PathBuf> {
        self.0.code_file(key)
    }

    fn put(&self, key: &str, code: &[u8]) {
        // Losing an entry costs time only.
        let _ = self.0.put_code(key, code);
    }
}

/// The store, as the runner and reports read it.
pub struct StoreBlobs(
    /// The store.
    pub Store,
);

impl Blobs for StoreBlobs {
    fn read(&self, digest: Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let failed = |error: lockgate_store::StoreError| BlobError::Store(error.into());
        let size = self.0.open_blob(&digest).map_err(failed)?.size();
        if size > max {
            return Err(BlobError::TooLarge { digest, size, max });
        }
        self.0.read_blob(&digest, max).map_err(failed)
    }

    fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, BlobError> {
        let digest = self.0.put_blob(bytes).map_err(|error| BlobError::Store(error.into()))?;
        Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size: bytes.len() as u64 })
    }

    fn directory(&self, digest: Digest) -> Result<Arc<Directory>, BlobError> {
        self.0.directory(&digest).map_err(|error| BlobError::Store(error.into()))
    }
}
