//! Tests of the crate through its public interface, with what they share. Unit tests of a module stand beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, EntryKind};
use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::SnapshotSpec;
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, PortName, RunId};
use tempfile::TempDir;

use crate::Store;

mod artifacts;
mod audited;
mod clock;
mod collected;
mod disk;
mod exports;
mod faults;
mod full;
mod hashed;
mod holds;
mod journals;
mod power;
mod proofs;
mod rot;
mod roundtrip;
mod scenario;
mod snapshots;
mod versions;
mod wal;
mod wholes;

/// A project's root with a state directory inside.
struct Fixture {
    dir: TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join(".lockgate")).unwrap();
        Self { dir, store }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn snapshot(&self, dir: &str) -> Result<ArtifactRef, crate::SnapshotError> {
        self.store.snapshot(self.root(), &spec(dir), &[])
    }

    /// Paths of a tree, each with a letter for its kind.
    fn paths(&self, tree: &ArtifactRef) -> Vec<String> {
        assert_eq!(tree.kind, ArtifactKind::Tree);
        let letter = |kind| match kind {
            EntryKind::File => 'f',
            EntryKind::Executable => 'x',
            EntryKind::Directory => 'd',
            EntryKind::Symlink => 'l',
        };
        let entries = self.store.walk(&tree.digest).map(Result::unwrap);
        entries.map(|(path, entry)| format!("{} {path}", letter(entry.kind))).collect()
    }
}

fn spec(dir: &str) -> SnapshotSpec {
    SnapshotSpec { dir: dir.into(), include: vec![], exclude: vec![], ignore: true }
}

fn run(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

fn started(name: &str) -> Event {
    Event::RunStarted {
        pipeline: ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(b"{}"), size: 2 },
        pipeline_digest: Digest::of(b"p"),
        name: name.into(),
        file: format!("{name}.toml"),
        root: None,
        components: BTreeMap::new(),
        sources: vec![],
        logical_time: 0,
        engine: "0.1.0".into(),
        determinism: "1".into(),
        selection: None,
        commit: None,
        policies: Vec::new(),
    }
}

fn effect(sequence: u64) -> Event {
    Event::EffectFinished {
        node: "probe".parse().unwrap(),
        attempt: 1,
        sequence,
        answer: serde_json::json!({"status": 200, "body": "ok", "micros": 1.5}),
    }
}

fn finished() -> Event {
    Event::RunFinished { status: Status::Succeeded, digest: Some(Digest::of(b"run")) }
}

/// The end of a pure node that was executed: proof of what its key gives.
fn proved(node: &str, key: Digest, outputs: &[(&str, ArtifactRef)]) -> Event {
    let receipt = Receipt {
        node: node.parse().unwrap(),
        component: Some(Digest::of(b"component")),
        key: Some(key),
        status: Status::Succeeded,
        failure: None,
        outputs: outputs.iter().map(|(name, artifact)| (PortName::new(name).unwrap(), *artifact)).collect(),
        findings: None,
        verdict: None,
        decision: None,
        log: None,
        effects: None,
        fuel: Some(12),
    };
    let digest = receipt.digest();
    let facts = AttemptFacts { pure: true, ..AttemptFacts::default() };
    Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt: 1, reason: None, facts }
}

fn blob(store: &Store, bytes: &[u8]) -> ArtifactRef {
    ArtifactRef { kind: ArtifactKind::Blob, digest: store.put_blob(bytes).unwrap(), size: bytes.len() as u64 }
}

/// Takes the superuser's right to write everything from this process, so that permissions mean something.
fn without_override() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    if rustix::process::geteuid().is_root() {
        let mut sets = capabilities(None).unwrap();
        for set in [&mut sets.effective, &mut sets.permitted] {
            set.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        }
        set_capabilities(None, sets).unwrap();
    }
}

/// The test binary itself, to run the ignored test `name` of this crate in a process of its own.
fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("tests::{name}"), "--ignored", "--nocapture", "--test-threads=1"]);
    command
}
