//! What the runner itself costs a node: an executor that does nothing, over the layered graph that every peer runs and over a
//! chain, with a journal in memory and with the real one. Items are nodes.

#![expect(clippy::expect_used, reason = "a bench that cannot set itself up has nothing to measure")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use divan::Bencher;
use divan::counter::ItemsCount;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, Directory};
use lockgate_model::event::Component;
use lockgate_model::graph::Graph;
use lockgate_model::outcome::{Completion, Status};
use lockgate_model::pipeline::{Node, NodeKind, Pipeline, Retry};
use lockgate_model::task::Task;
use lockgate_model::{Digest, NodeId, RunId};
use lockgate_runner::{
    BlobError, Blobs, DriveOptions, EffectSink, Executor, JournalError, JournalSink, RunSpec, Stamped, Surroundings,
    drive, entropy, run_id,
};
use lockgate_store::Store;

fn main() {
    divan::main();
}

/// Steps of one layer, as in the peers' graph.
const WIDTH: usize = 100;

#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 3, sample_size = 1)]
fn layered_in_memory(bencher: Bencher<'_, '_>, count: usize) {
    let spec = spec(count, layered);
    let memory = Arc::new(Memory::default());
    bench(bencher, spec, Surroundings::new(Arc::clone(&memory) as _, memory as _));
}

#[divan::bench(args = [1_000, 10_000], sample_count = 3, sample_size = 1)]
fn chain_in_memory(bencher: Bencher<'_, '_>, count: usize) {
    let spec = spec(count, |i| i.checked_sub(1).into_iter().collect());
    let memory = Arc::new(Memory::default());
    bench(bencher, spec, Surroundings::new(Arc::clone(&memory) as _, memory as _));
}

#[divan::bench(args = [1_000, 10_000], sample_count = 3, sample_size = 1)]
fn layered_in_store(bencher: Bencher<'_, '_>, count: usize) {
    let spec = spec(count, layered);
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    bench(bencher, spec, Surroundings::new(Arc::new(store.clone()) as _, Arc::new(store) as _));
}

fn bench(bencher: Bencher<'_, '_>, spec: RunSpec, surroundings: Surroundings) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    bencher.counter(ItemsCount::new(spec.pipeline.nodes.len())).bench_local(|| {
        let spec = RunSpec { run: run_id(1, entropy()), ..spec.clone() };
        let run = drive(spec, Arc::new(Nothing), surroundings.clone(), DriveOptions::default());
        let report = runtime.block_on(run).expect("the run ends");
        assert_eq!(report.status, Status::Succeeded);
    });
}

fn layered(i: usize) -> Vec<usize> {
    let (layer, column) = (i / WIDTH, i % WIDTH);
    let Some(above) = layer.checked_sub(1) else { return Vec::new() };
    let columns = [column, (column + 1 + (7 * layer) % 49) % WIDTH, (column + 51 + (3 * layer) % 49) % WIDTH];
    columns.map(|column| above * WIDTH + column).to_vec()
}

fn spec(count: usize, needs: impl Fn(usize) -> Vec<usize>) -> RunSpec {
    let id = |i: usize| NodeId::new(&format!("n{i}")).expect("a name");
    let node = |i| Node {
        id: id(i),
        kind: NodeKind::Stage,
        plugin: Some("noop".parse().expect("a name")),
        config: serde_json::Map::from_iter([("n".to_owned(), i.into())]),
        inputs: BTreeMap::new(),
        after: needs(i).into_iter().map(id).collect(),
        when: None,
        limits: Default::default(),
        grants: Default::default(),
        retry: Retry::default(),
        poll: None,
        accept: Default::default(),
        allow_failure: false,
        finally: false,
        repeat: 1,
        env: BTreeMap::new(),
        approval: None,
        wait: None,
        max_age: None,
    };
    let pipeline = Pipeline {
        schema: 1,
        name: "bench".to_owned(),
        params: BTreeMap::new(),
        terms: BTreeMap::new(),
        plugins: BTreeMap::new(),
        nodes: (0..count).map(node).collect(),
        exports: Vec::new(),
        concurrency: None,
        secrets: Default::default(),
    };
    let component = Component { digest: Digest::of(b"noop"), name: "noop 1".to_owned(), reads_time: false };
    RunSpec {
        run: run_id(1, 1),
        graph: Arc::new(Graph::new(&pipeline).expect("no cycle")),
        pipeline: Arc::new(pipeline),
        file: "bench.toml".to_owned(),
        root: None,
        components: [("noop".parse().expect("a name"), component)].into(),
        sources: Vec::new(),
        logical_time: 0,
        engine: "bench".to_owned(),
        determinism: "bench".to_owned(),
        selection: None,
        commit: None,
        policies: Vec::new(),
    }
}

struct Nothing;

#[async_trait::async_trait]
impl Executor for Nothing {
    async fn execute(&self, _: Task, _: Arc<dyn EffectSink>) -> Completion {
        Completion {
            failure: None,
            outputs: BTreeMap::new(),
            findings: None,
            finding_counts: BTreeMap::new(),
            log: None,
            effects: None,
            verdict: None,
            state: None,
            fuel: Some(1_000),
            peak_memory: 65_536,
            backtrace: None,
        }
    }
}

#[derive(Default)]
struct Memory {
    blobs: Mutex<HashMap<Digest, Vec<u8>>>,
}

impl JournalSink for Memory {
    fn append(&self, _: &RunId, events: &[Stamped]) -> Result<(), JournalError> {
        divan::black_box(events);
        Ok(())
    }
}

impl Blobs for Memory {
    fn read(&self, digest: Digest, _: u64) -> Result<Vec<u8>, BlobError> {
        let blobs = self.blobs.lock().expect("nobody panicked");
        blobs.get(&digest).cloned().ok_or_else(|| BlobError::Store("no such blob".into()))
    }

    fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, BlobError> {
        let digest = Digest::of(bytes);
        self.blobs.lock().expect("nobody panicked").insert(digest, bytes.to_vec());
        Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size: bytes.len() as u64 })
    }

    fn directory(&self, _: Digest) -> Result<Arc<Directory>, BlobError> {
        Err(BlobError::Store("no such directory".into()))
    }
}
