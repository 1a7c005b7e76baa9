//! Tests of the planner and the driver, and the fakes that they share: an executor of closures, a journal and blobs in memory,
//! a clock that jumps.

mod compared;
mod driven;
mod faults;
mod looks;
mod parts;
mod planned;
mod raced;
mod random;
mod replays;
mod resumed;
mod shared;
pub(crate) mod simulation;
mod wholes;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, Directory};
use lockgate_model::effect::Begun;
use lockgate_model::event::{Component, Event, Signal};
use lockgate_model::grant::{HttpGrant, InDoubt};
use lockgate_model::graph::Graph;
use lockgate_model::graph_results;
use lockgate_model::outcome::{Completion, Failure, FailureKind, Verdict};
use lockgate_model::pipeline::{InputSource, Node, NodeKind, Pipeline, PluginSource, Retry};
use lockgate_model::run::RunState;
use lockgate_model::task::Task;
use lockgate_model::{Digest, NodeId, PortName, RunId};

use crate::ports::{BlobError, Blobs, Cache, Clock, Interrupt, JournalError, JournalSink, Observer, Stamped};
use crate::{
    DriveError, DriveOptions, EffectSink, Executor, RunReport, RunSpec, Surroundings, drive, recover, resume, run_id,
};

pub(crate) fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

pub(crate) fn port(text: &str) -> PortName {
    PortName::new(text).unwrap()
}

/// A stage that needs nothing.
pub(crate) fn node(name: &str) -> Node {
    Node {
        id: id(name),
        kind: NodeKind::Stage,
        plugin: Some("p".parse().unwrap()),
        // Nodes that are equal execute once: these are not.
        config: [("node".to_owned(), name.into())].into_iter().collect(),
        inputs: BTreeMap::new(),
        after: Default::default(),
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
    }
}

pub(crate) trait Build: Sized {
    fn after(self, need: &str) -> Self;
    fn reads(self, need: &str) -> Self;
    fn granted(self, in_doubt: InDoubt) -> Self;
}

impl Build for Node {
    fn after(mut self, need: &str) -> Self {
        self.after.insert(id(need));
        self
    }

    /// May send requests.
    fn granted(mut self, in_doubt: InDoubt) -> Self {
        self.grants.http.push(HttpGrant::parse("POST http://service/").unwrap().with_in_doubt(in_doubt));
        self
    }

    /// Reads the output `out` of a node.
    fn reads(mut self, need: &str) -> Self {
        let name = port(&format!("in-{need}"));
        self.inputs.insert(name, InputSource::Output { node: id(need), output: port("out") });
        self
    }
}

pub(crate) fn pipeline(nodes: Vec<Node>) -> Pipeline {
    let std = PluginSource::Std { name: "p".to_owned(), digest: None };
    Pipeline {
        schema: 1,
        name: "test".to_owned(),
        params: BTreeMap::new(),
        terms: BTreeMap::new(),
        plugins: [("p".parse().unwrap(), std)].into(),
        nodes,
        exports: Vec::new(),
        concurrency: None,
        secrets: Default::default(),
    }
}

pub(crate) fn state(pipeline: &Pipeline) -> RunState {
    RunState::new(Arc::new(pipeline.clone()), Arc::new(Graph::new(pipeline).unwrap()))
}

pub(crate) fn spec(pipeline: &Pipeline) -> RunSpec {
    let component = Component { digest: Digest::of(b"p"), name: "p 1".to_owned(), reads_time: false };
    RunSpec {
        run: run_id(1, 1),
        graph: Arc::new(Graph::new(pipeline).unwrap()),
        pipeline: Arc::new(pipeline.clone()),
        file: "test.toml".to_owned(),
        root: None,
        components: [("p".parse().unwrap(), component)].into(),
        sources: Vec::new(),
        logical_time: 0,
        engine: "test".to_owned(),
        determinism: "test".to_owned(),
        selection: None,
        commit: None,
        policies: Vec::new(),
    }
}

pub(crate) fn options(jobs: usize) -> DriveOptions {
    DriveOptions { jobs: NonZeroUsize::new(jobs).unwrap(), ..DriveOptions::default() }
}

/// An execution that succeeds with an output `out`, made of what it read.
pub(crate) fn good(task: &Task) -> Completion {
    let text = format!("{} {:?}", task.node, task.inputs);
    let mut completion = Completion::failed(FailureKind::Error, "");
    completion.failure = None;
    completion.fuel = Some(text.len() as u64);
    completion.outputs.insert(port("out"), blob_ref(text.as_bytes()));
    completion
}

pub(crate) fn bad(kind: FailureKind) -> Completion {
    Completion::failed(kind, "as told")
}

pub(crate) fn said(word: &str) -> Completion {
    let mut completion = bad(FailureKind::Error);
    completion.failure = None;
    completion.fuel = Some(7);
    completion.verdict =
        Some(Verdict { word: word.to_owned(), reasons: vec!["why".to_owned()], figures: Vec::new(), details: None });
    completion
}

pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure { kind, message: "as told".to_owned() }
}

pub(crate) fn blob_ref(bytes: &[u8]) -> ArtifactRef {
    ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(bytes), size: bytes.len() as u64 }
}

type Body = dyn Fn(&Task) -> Completion + Send + Sync;

/// Executes a closure, after letting the others run a little; counts how many run at once.
pub(crate) struct Fake {
    body: Box<Body>,
    running: AtomicUsize,
    pub(crate) most: AtomicUsize,
    pub(crate) order: Mutex<Vec<String>>,
    /// Effects that each execution of a node with grants makes.
    pub(crate) effects: u64,
    /// Effects that were issued, as `node/attempt/sequence`.
    pub(crate) issued: Mutex<Vec<String>>,
}

impl Fake {
    pub(crate) fn new(body: impl Fn(&Task) -> Completion + Send + Sync + 'static) -> Arc<Self> {
        Self::with_effects(0, body)
    }

    pub(crate) fn with_effects(effects: u64, body: impl Fn(&Task) -> Completion + Send + Sync + 'static) -> Arc<Self> {
        let (running, most, order, issued) = Default::default();
        Arc::new(Self { body: Box::new(body), running, most, order, effects, issued })
    }

    pub(crate) fn order(&self) -> Vec<String> {
        self.order.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Executor for Fake {
    async fn execute(&self, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.order.lock().unwrap().push(task.node.to_string());
        let mut completion = (self.body)(&task);
        let count = if task.grants.is_empty() { 0 } else { self.effects };
        for sequence in task.first_sequence..task.first_sequence + count {
            let answer = serde_json::json!({ "status": 200 });
            let summary = "POST http://service/";
            let begun = effects.intent(sequence, "http", Digest::of(b"request"), summary).await;
            if begun == Ok(Begun::Issue) {
                self.issued.lock().unwrap().push(format!("{}/{}/{sequence}", task.node, task.attempt));
            }
            let recorded = match begun {
                Ok(Begun::Issue) => effects.outcome(sequence, &answer).await.is_ok(),
                Ok(Begun::Answered(_)) => true,
                Err(_) => false,
            };
            if !recorded {
                completion = bad(FailureKind::Infrastructure);
                break;
            }
        }
        for _ in 0..task.node.as_str().len() % 3 {
            tokio::task::yield_now().await;
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        completion
    }
}

pub(crate) fn signalled(node: Option<&str>, signal: Signal, by: &str) -> Stamped {
    let event = Event::Signalled { node: node.map(id), signal, by: by.to_owned(), comment: None };
    Stamped { time: 0, event }
}

/// A journal and blobs in memory; refuses appends from a number on.
pub(crate) struct Memory {
    pub(crate) events: Mutex<Vec<Stamped>>,
    pub(crate) blobs: Mutex<HashMap<Digest, Vec<u8>>>,
    pub(crate) appends: AtomicUsize,
    fail_at: usize,
    /// What another process says just before the first records of this kind.
    pub(crate) says_before: Mutex<Option<Said>>,
}

/// Before which record somebody says what.
type Said = (fn(&Event) -> bool, Stamped);

impl Memory {
    pub(crate) fn new(fail_at: usize) -> Arc<Self> {
        let (events, blobs, appends, says_before) = Default::default();
        Arc::new(Self { events, blobs, appends, fail_at, says_before })
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().iter().map(|stamped| stamped.event.clone()).collect()
    }

    /// The same as readers of a journal get them: with what an event stands for behind it.
    pub(crate) fn unfolded(&self) -> Vec<Stamped> {
        let unfold = |stamped: &Stamped| {
            let time = stamped.time;
            let behind = match &stamped.event {
                Event::GraphServed { results, .. } => {
                    let text = self.read(results.digest, u64::MAX).unwrap();
                    graph_results::events(std::str::from_utf8(&text).unwrap()).unwrap()
                }
                _ => Vec::new(),
            };
            let behind = behind.into_iter().map(move |event| Stamped { time, event });
            [stamped.clone()].into_iter().chain(behind)
        };
        self.events.lock().unwrap().iter().flat_map(unfold).collect()
    }

    pub(crate) fn keep(&self, bytes: &[u8]) -> ArtifactRef {
        self.put(bytes).unwrap()
    }
}

impl JournalSink for Memory {
    fn append(&self, _: &RunId, events: &[Stamped]) -> Result<(), JournalError> {
        if self.appends.fetch_add(1, Ordering::SeqCst) >= self.fail_at {
            return Err(JournalError("no space left on device".into()));
        }
        let says = self.says_before.lock().unwrap().take_if(|(of, _)| events.iter().any(|stamped| of(&stamped.event)));
        let mut all = self.events.lock().unwrap();
        all.extend(says.map(|(_, said)| said));
        all.extend_from_slice(events);
        Ok(())
    }

    fn signals(&self, _: &RunId, after: u64) -> Result<(Vec<Stamped>, u64), JournalError> {
        let events = self.events.lock().unwrap();
        let behind = events.iter().skip(after as usize);
        let said = behind.filter(|stamped| matches!(stamped.event, Event::Signalled { .. })).cloned();
        Ok((said.collect(), events.len() as u64))
    }
}

impl Memory {
    /// A journal that another process left.
    pub(crate) fn left(events: &[Stamped]) -> Arc<Self> {
        let memory = Self::new(usize::MAX);
        memory.events.lock().unwrap().extend_from_slice(events);
        memory
    }

    /// Appends what somebody outside says.
    pub(crate) fn say(&self, node: Option<&str>, signal: Signal, by: &str) {
        self.events.lock().unwrap().push(signalled(node, signal, by));
    }
}

impl Blobs for Memory {
    fn read(&self, digest: Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let bytes =
            self.blobs.lock().unwrap().get(&digest).cloned().ok_or_else(|| BlobError::Store("no such blob".into()))?;
        let size = bytes.len() as u64;
        if size > max { Err(BlobError::TooLarge { digest, size, max }) } else { Ok(bytes) }
    }

    fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, BlobError> {
        self.blobs.lock().unwrap().insert(Digest::of(bytes), bytes.to_vec());
        Ok(blob_ref(bytes))
    }

    fn directory(&self, _: Digest) -> Result<Arc<Directory>, BlobError> {
        Err(BlobError::Store("no such directory".into()))
    }
}

/// A clock that stands still, and jumps to whatever is waited for.
#[derive(Default)]
pub(crate) struct Jumping(AtomicU64);

#[async_trait::async_trait]
impl Clock for Jumping {
    fn now_micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst) * 1_000
    }

    async fn sleep_until(&self, at: u64) {
        self.0.fetch_max(at, Ordering::SeqCst);
    }
}

/// Raises an interrupt when it has seen a number of events.
struct After {
    left: AtomicUsize,
    interrupt: Interrupt,
}

impl Observer for After {
    fn event(&self, _: u64, _: &Event) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.interrupt.raise();
        }
    }
}

/// Drives a pipeline on a small runtime, and checks that its events alone give the same state.
pub(crate) struct Driven {
    pub(crate) result: Result<RunReport, DriveError>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) replayed: RunState,
}

impl Driven {
    pub(crate) fn report(&self) -> &RunReport {
        self.result.as_ref().unwrap()
    }

    pub(crate) fn text(&self, node: &str) -> String {
        let state = &self.report().state;
        let receipt = state.receipt(state.position(node).unwrap()).unwrap();
        match &receipt.failure {
            Some(failure) => format!("{} {}: {}", receipt.status.name(), failure.kind.name(), failure.message),
            None => receipt.status.name().to_owned(),
        }
    }

    pub(crate) fn reason(&self, node: &str) -> String {
        let find = |event: Event| match event {
            Event::NodeFinished { receipt, reason, .. } if receipt.node == id(node) => reason,
            _ => None,
        };
        self.memory.events().into_iter().find_map(find).unwrap_or_default()
    }
}

pub(crate) fn run(pipeline: &Pipeline, executor: &Arc<Fake>, options: DriveOptions) -> Driven {
    run_with(pipeline, executor, options, Memory::new(usize::MAX), usize::MAX)
}

pub(crate) fn run_with(
    pipeline: &Pipeline,
    executor: &Arc<Fake>,
    options: DriveOptions,
    memory: Arc<Memory>,
    interrupt_after: usize,
) -> Driven {
    run_cached(pipeline, executor, options, memory, interrupt_after, None)
}

pub(crate) fn run_cached(
    pipeline: &Pipeline,
    executor: &Arc<Fake>,
    options: DriveOptions,
    memory: Arc<Memory>,
    interrupt_after: usize,
    cache: Option<Arc<dyn Cache>>,
) -> Driven {
    let mut surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    surroundings.cache = cache;
    surroundings.clock = Arc::new(Jumping::default());
    surroundings.observer =
        Arc::new(After { left: AtomicUsize::new(interrupt_after), interrupt: surroundings.interrupt.clone() });
    if interrupt_after == 0 {
        surroundings.interrupt.raise();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before: Vec<Stamped> = memory.events.lock().unwrap().clone();
    let result = runtime.block_on(async {
        let executor = Arc::clone(executor) as _;
        if before.is_empty() {
            return drive(spec(pipeline), executor, surroundings, options).await;
        }
        let (pipeline, graph) = (Arc::new(pipeline.clone()), Arc::new(Graph::new(pipeline).unwrap()));
        let unfolded = memory.unfolded();
        let records = unfolded.iter().map(|stamped| (stamped.time, &stamped.event));
        let recovered = recover(Arc::clone(&pipeline), graph, records).unwrap();
        resume(spec(&pipeline), recovered, before.len() as u64, executor, surroundings, options).await
    });
    let mut replayed = state(pipeline);
    for stamped in memory.unfolded() {
        replayed.apply(&stamped.event).unwrap();
    }
    if let Ok(report) = &result {
        let count = pipeline.nodes.len();
        for node in 0..count {
            assert_eq!(report.state.state(node), replayed.state(node), "node {node}");
        }
        assert_eq!(report.state.over(), replayed.over());
        assert_eq!(report.state.counts(), replayed.counts());
    }
    Driven { result, memory, replayed }
}
