//! What a node kind has of its node: config, inputs, outputs, log, findings, effects. All of it is limited like a plugin's.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockgate_host::{Artifacts as _, BlobWriter, Log};
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, EntryKind};
use lockgate_model::effect::{Begun, EffectRecord};
use lockgate_model::manifest::Manifest;
use lockgate_model::outcome::{FailureKind, Finding};
use lockgate_model::task::Task;
use lockgate_model::units::Bytes;
use lockgate_model::{Digest, PortName, canonical_json};
use lockgate_runner::{EffectSink, SinkError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::NodeFailure;
use crate::wiring::executor::StoreArtifacts;

/// Longest summary of an effect in characters.
const MAX_SUMMARY: usize = 300;
/// Largest answer of an effect in bytes: it stands in the journal.
const MAX_ANSWER: usize = 1 << 20;

/// One execution of a node.
pub struct Call {
    task: Task,
    config: Value,
    manifest: Arc<Manifest>,
    artifacts: Arc<StoreArtifacts>,
    effects: Arc<dyn EffectSink>,
    made: Arc<Mutex<Made>>,
}

/// What an execution made so far. It outlives the node kind's own code, however that ends.
pub(super) struct Made {
    pub(super) log: Log,
    pub(super) findings: Vec<Finding>,
    pub(super) outputs: BTreeMap<PortName, ArtifactRef>,
    pub(super) records: Vec<EffectRecord>,
    /// The first breach of what was declared.
    pub(super) breach: Option<String>,
    written: u64,
    begun: u64,
    /// Whether the execution is over, and nothing is taken any more.
    closed: bool,
}

impl Made {
    pub(super) fn new(task: &Task) -> Self {
        Self {
            log: Log::new(task.limits.log),
            findings: Vec::new(),
            outputs: BTreeMap::new(),
            records: Vec::new(),
            breach: None,
            written: 0,
            begun: 0,
            closed: false,
        }
    }

    pub(super) fn closed() -> Self {
        Self {
            log: Log::new(Bytes(0)),
            findings: Vec::new(),
            outputs: BTreeMap::new(),
            records: Vec::new(),
            breach: None,
            written: 0,
            begun: 0,
            closed: true,
        }
    }
}

fn lock(made: &Mutex<Made>) -> MutexGuard<'_, Made> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(doing: &str, error: io::Error) -> NodeFailure {
    NodeFailure::engine(FailureKind::Infrastructure, format!("failed to {doing}: {error}"))
}

fn limit(what: String, key: &str) -> NodeFailure {
    NodeFailure::engine(FailureKind::Limit, format!("{what}; raise `limits.{key}` of the node if it is right"))
}

impl Call {
    pub(super) fn new(
        task: Task,
        manifest: Arc<Manifest>,
        artifacts: Arc<StoreArtifacts>,
        effects: Arc<dyn EffectSink>,
        made: Arc<Mutex<Made>>,
    ) -> Result<Self, NodeFailure> {
        let config = serde_json::from_str(&task.config).map_err(|error| {
            NodeFailure::engine(FailureKind::Infrastructure, format!("failed to read its config: {error}"))
        })?;
        Ok(Self { task, config, manifest, artifacts, effects, made })
    }

    /// The id of the run.
    pub fn run(&self) -> &str {
        self.task.run.as_str()
    }

    /// The id of the node.
    pub fn node(&self) -> &str {
        self.task.node.as_str()
    }

    /// Number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.task.attempt
    }

    /// Number of the look of a polled node, from 0.
    pub fn look(&self) -> u32 {
        self.task.look.index
    }

    /// What a canary evaluator answered as its state at the look before.
    pub fn state(&self) -> Option<&[u8]> {
        self.task.state.as_deref()
    }

    /// A variable of the environment that the node declares.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.task.env.get(name).map(String::as_str)
    }

    /// The node's config, which is an object that fits the declared schema.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The node's config as a type.
    pub fn config_as<T: DeserializeOwned>(&self) -> Result<T, NodeFailure> {
        T::deserialize(&self.config)
            .map_err(|error| NodeFailure::engine(FailureKind::Contract, format!("it cannot read its config: {error}")))
    }

    /// Names of the inputs that are there.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.task.inputs.keys().map(PortName::as_str)
    }

    /// An input; none where the node does not have it.
    pub fn input(&self, name: &str) -> Option<Input> {
        let artifact = PortName::new(name).ok().and_then(|name| self.task.inputs.get(&name).copied())?;
        Some(Input { artifact, artifacts: self.artifacts.clone() })
    }

    /// Begins an output of bytes. It is there once it is [finished](OutputWriter::finish).
    pub fn output(&self, name: &str) -> Result<OutputWriter, NodeFailure> {
        let name = self.port(name, ArtifactKind::Blob)?;
        let writer = self.artifacts.blob_writer().map_err(|error| broken("begin an output", error))?;
        Ok(OutputWriter { name, writer, made: self.made.clone(), limit: self.task.limits.output })
    }

    /// Writes an output at once.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), NodeFailure> {
        let mut writer = self.output(name)?;
        writer.write_all(bytes.as_ref()).map_err(|error| broken("write an output", error))?;
        writer.finish()
    }

    /// Takes a directory of the host, with all below it, as an output. It is read where it is, and nothing of it is changed.
    pub fn output_dir(&self, name: &str, dir: &Path) -> Result<(), NodeFailure> {
        let name = self.port(name, ArtifactKind::Tree)?;
        let taken = self.artifacts.take(dir, ".").map_err(|error| broken("take an output", error))?;
        let Some(artifact) = taken.filter(|artifact| artifact.kind == ArtifactKind::Tree) else {
            return Err(NodeFailure::new(format!("there is no directory for the output `{name}`")));
        };
        let mut made = lock(&self.made);
        made.written = made.written.saturating_add(artifact.size);
        if made.written > self.task.limits.output.0 {
            return Err(limit(format!("its outputs are larger than {}", self.task.limits.output), "output"));
        }
        made.outputs.insert(name, artifact);
        Ok(())
    }

    /// Adds a line to the node's log. Levels are `error`, `warn`, `info`, `debug`.
    pub fn log(&self, level: &str, message: &str) {
        lock(&self.made).log.add(level, message);
    }

    /// Adds a finding: `severity` is `error`, `warning` or `note`; `path` is one inside of an input tree, `line` counts from 1.
    pub fn finding(
        &self,
        severity: &str,
        message: impl Into<String>,
        place: Option<(&str, u32)>,
    ) -> Result<(), NodeFailure> {
        let mut made = lock(&self.made);
        if made.findings.len() as u64 >= self.task.limits.findings {
            return Err(limit(format!("it has more than {} findings", self.task.limits.findings), "findings"));
        }
        made.findings.push(Finding {
            severity: severity.to_owned(),
            message: message.into(),
            rule: None,
            path: place.map(|(path, _)| path.to_owned()),
            line: place.map(|(_, line)| line),
            column: None,
        });
        Ok(())
    }

    /// Does something whose answer is not a function of the inputs, and keeps it on record.
    ///
    /// `request` says what is asked, completely; `summary` says it for people. The intent is durable before `issue` is called, the
    /// answer before this returns. Where the run goes on after an interruption, what is on record is answered from there and `issue`
    /// is not called. Where the interruption fell between the two, the node waits for somebody who says whether it took place
    /// ([`Engine::assume`](crate::Engine::assume)).
    /// `issue` gets a key that is the same for the same effect: a server that knows it can tell a repetition.
    pub async fn effect<F, A>(&self, summary: &str, request: &Value, issue: F) -> Result<Value, NodeFailure>
    where
        F: FnOnce(String) -> A + Send,
        A: Future<Output = Result<Value, NodeFailure>> + Send,
    {
        if !self.task.grants.app {
            let what = "it has an effect, but its declaration is pure, or `grants.app` does not reach it";
            return Err(NodeFailure::engine(FailureKind::Contract, what));
        }
        let sequence = {
            let mut made = lock(&self.made);
            if made.begun >= self.task.limits.effects {
                return Err(limit(format!("it has more than {} effects", self.task.limits.effects), "effects"));
            }
            made.begun += 1;
            self.task.first_sequence.saturating_add(made.begun - 1)
        };
        let digest = Digest::of(canonical_json(request).as_bytes());
        let summary: String = summary.chars().filter(|c| !c.is_control()).take(MAX_SUMMARY).collect();
        let begun = self.effects.intent(sequence, "app", digest, &summary).await.map_err(sink)?;
        let answer = match begun {
            Begun::Answered(answer) => answer,
            Begun::Issue => {
                let Task { run, node, attempt, .. } = &self.task;
                let answer = match issue(format!("{run}/{node}/{attempt}/{sequence}")).await {
                    Ok(value) => json!({ "ok": value }),
                    Err(NodeFailure(super::Failed::Said(message) | super::Failed::Engine(_, message))) => {
                        json!({ "error": message })
                    }
                };
                let answer = match answer.to_string().len() {
                    long if long > MAX_ANSWER => {
                        json!({ "error": format!("its answer has more than {MAX_ANSWER} bytes") })
                    }
                    _ => answer,
                };
                self.effects.outcome(sequence, &answer).await.map_err(sink)?;
                answer
            }
        };
        let record =
            EffectRecord { sequence, kind: "app".to_owned(), request: digest, summary, answer: answer.clone() };
        lock(&self.made).records.push(record);
        match (answer.get("ok"), answer.get("error")) {
            (Some(value), _) => Ok(value.clone()),
            // What a node kind said is a text; the engine, where the answer was lost, says more.
            (None, error) => {
                let message = error.map(|error| error.get("message").unwrap_or(error)).and_then(Value::as_str);
                Err(NodeFailure::new(message.unwrap_or("its record holds no answer")))
            }
        }
    }

    fn port(&self, name: &str, kind: ArtifactKind) -> Result<PortName, NodeFailure> {
        let port =
            PortName::new(name).ok().filter(|_| self.manifest.outputs.kind(name).is_some_and(|port| port.takes(kind)));
        let wrong = || {
            let shown: String = name.chars().take(80).collect();
            format!("it writes the output `{shown}` of the kind `{}`, which it does not declare", kind.name())
        };
        let port = port.ok_or_else(|| {
            lock(&self.made).breach.get_or_insert_with(wrong);
            NodeFailure::engine(FailureKind::Contract, wrong())
        })?;
        match lock(&self.made).closed {
            true => Err(NodeFailure::new("its time is over")),
            false => Ok(port),
        }
    }
}

fn sink(error: SinkError) -> NodeFailure {
    match error {
        SinkError::Ending => NodeFailure::engine(FailureKind::Infrastructure, "the run is ending"),
        SinkError::Differs(differs) => {
            NodeFailure::engine(FailureKind::NotReproducible, format!("failed to {differs}"))
        }
    }
}

/// An input of a node: bytes, or files by path.
pub struct Input {
    artifact: ArtifactRef,
    artifacts: Arc<StoreArtifacts>,
}

/// A file of an input tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Its path, with `/`.
    pub path: String,
    /// Whether it may be executed.
    pub executable: bool,
    /// Its size in bytes.
    pub size: u64,
    digest: Digest,
}

impl Input {
    /// Its digest, `sha256:` and 64 hex digits.
    pub fn digest(&self) -> String {
        self.artifact.digest.to_string()
    }

    /// Its size in bytes; of a tree that of all files together.
    pub fn size(&self) -> u64 {
        self.artifact.size
    }

    /// Whether it is a tree.
    pub fn is_tree(&self) -> bool {
        self.artifact.kind == ArtifactKind::Tree
    }

    /// Reads its bytes from the start. A tree has none.
    pub fn reader(&self) -> io::Result<impl Read + Send + use<>> {
        if self.is_tree() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "the input is a tree"));
        }
        Ok(self.artifacts.open_blob(self.artifact.digest)?.0)
    }

    /// All its bytes, if they are at most so many.
    pub fn bytes(&self, max: u64) -> io::Result<Vec<u8>> {
        read_all(self.reader()?, self.size(), max)
    }

    /// Its files, sorted by path. Links and empty directories are left out.
    pub fn files(&self) -> io::Result<Vec<InputFile>> {
        let mut files = Vec::new();
        if !self.is_tree() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "the input is no tree"));
        }
        let mut open = vec![(String::new(), self.artifact.digest)];
        while let Some((prefix, digest)) = open.pop() {
            for entry in self.artifacts.directory(digest)?.entries() {
                let path = format!("{prefix}{}", entry.name);
                match entry.kind {
                    EntryKind::Directory => open.push((path + "/", entry.digest)),
                    EntryKind::File | EntryKind::Executable => {
                        let executable = entry.kind == EntryKind::Executable;
                        files.push(InputFile { path, executable, size: entry.size, digest: entry.digest });
                    }
                    EntryKind::Symlink => {}
                }
            }
        }
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// All bytes of one of its files, if they are at most so many.
    pub fn file(&self, file: &InputFile, max: u64) -> io::Result<Vec<u8>> {
        read_all(self.artifacts.open_blob(file.digest)?.0, file.size, max)
    }

    /// Writes it to a path below a directory of the host, for programs to find it there; never outside of the directory.
    pub fn lay(&self, dir: &Path, path: &str) -> io::Result<()> {
        self.artifacts.lay(&self.artifact, dir, path)
    }
}

fn read_all(reader: impl Read, size: u64, max: u64) -> io::Result<Vec<u8>> {
    if size > max {
        let what = format!("it has {size} bytes; at most {max} are taken here");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    let mut bytes = Vec::new();
    reader.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An output that is being written. Dropped without [`OutputWriter::finish`] it leaves nothing behind.
pub struct OutputWriter {
    name: PortName,
    writer: Box<dyn BlobWriter>,
    made: Arc<Mutex<Made>>,
    limit: Bytes,
}

impl Write for OutputWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut made = lock(&self.made);
        if made.closed {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its time is over"));
        }
        if made.written.saturating_add(bytes.len() as u64) > self.limit.0 {
            let what =
                format!("its outputs are larger than {}; raise `limits.output` of the node if it is right", self.limit);
            made.breach.get_or_insert_with(|| what.clone());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        let written = self.writer.write(bytes)?;
        made.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl OutputWriter {
    /// Ends it. One that was written before under this name is replaced.
    pub fn finish(self) -> Result<(), NodeFailure> {
        let (digest, size) = self.writer.finish().map_err(|error| broken("store an output", error))?;
        let mut made = lock(&self.made);
        if !made.closed {
            made.outputs.insert(self.name, ArtifactRef { kind: ArtifactKind::Blob, digest, size });
        }
        Ok(())
    }
}
