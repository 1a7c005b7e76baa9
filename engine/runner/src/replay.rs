//! Replay: executes a node of a past run again, from its record alone, and compares what comes of it with its receipt. Nothing is
//! scheduled and nothing is written to the journal: inputs, looks and answers of effects are those that are recorded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::effect::{self, Begun, Differs, Recorded};
use lockgate_model::event::Event;
use lockgate_model::outcome::{Failure, FailureKind, Status, Verdict};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, RunState};
use lockgate_model::{Digest, PortName, RunId};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::attempt::{Counted, Looks, MAX_JOINED, Step, Stepped, chain};
use crate::compare::{Difference, Proof, plain};
use crate::executor::{EffectSink, Executor, SinkError};
use crate::inputs::{self, Inputs};
use crate::ports::{Blobs, Clock};
use crate::spec::{DriveError, RunSpec};
use crate::writer::Count;

/// A run out of the journal, as replay needs it.
pub struct Past {
    spec: RunSpec,
    state: RunState,
    inputs: Inputs,
    /// The last attempt of each node that had one.
    attempts: HashMap<usize, Attempt>,
    /// Nodes whose results come from elsewhere.
    cached: HashSet<usize>,
    /// Engine and determinism version of each process that drove it.
    engines: Vec<(String, String)>,
}

#[derive(Default)]
struct Attempt {
    inputs: BTreeMap<PortName, ArtifactRef>,
    /// What each look but the last said, by its number.
    looks: BTreeMap<u32, Said>,
}

/// What a look said: its verdict, or why it failed.
type Said = (Option<Verdict>, Option<Failure>);

/// What became of a node's replay.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// It gave the same again.
    Same,
    /// It did not: each thing that differs, the record's side first.
    Different(Vec<Difference>),
    /// Its record holds nothing that could be done again.
    Left(Left),
    /// The surroundings failed: what it would have given is not known.
    Broken(Failure),
}

/// Why a node cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Left {
    /// It has no receipt: the run did not get there.
    Unfinished,
    /// It was skipped.
    Skipped,
    /// It is an approval or a wait: nothing was executed.
    NoPlugin,
    /// Infrastructure kept it from giving a result.
    Infrastructure,
    /// It failed before it could be executed, for want of an input.
    NotExecuted,
    /// It was not executed: the looks or effects that led to its result are in the record of an earlier run.
    Elsewhere,
    /// `repeat` found that its executions differ, so there is no one result to arrive at.
    NotReproducible,
}

impl Left {
    /// The reason for people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unfinished => "it did not end",
            Self::Skipped => "it was skipped",
            Self::NoPlugin => "it waits and executes nothing",
            Self::Infrastructure => "infrastructure kept it from giving a result",
            Self::NotExecuted => "it failed before it was executed",
            Self::Elsewhere => "it was executed in an earlier run, where it can be replayed",
            Self::NotReproducible => "its repeated executions differed already",
        }
    }
}

impl Past {
    /// A run as its records tell it; `state` is the fold over the same records.
    pub fn new<'a>(
        run: RunId,
        state: RunState,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Self, DriveError> {
        let mut spec = RunSpec {
            run,
            pipeline: Arc::clone(state.pipeline()),
            graph: Arc::clone(state.graph()),
            file: String::new(),
            root: None,
            components: BTreeMap::new(),
            sources: Vec::new(),
            logical_time: 0,
            engine: String::new(),
            determinism: String::new(),
            selection: None,
            commit: None,
            policies: Vec::new(),
        };
        let mut attempts: HashMap<usize, Attempt> = HashMap::new();
        let (mut engines, mut cached) = (Vec::new(), HashSet::new());
        for event in events {
            match event {
                Event::RunStarted {
                    file, components, sources, logical_time, engine, determinism, selection, ..
                } => {
                    spec.file.clone_from(file);
                    spec.components.clone_from(components);
                    spec.sources.clone_from(sources);
                    spec.logical_time = *logical_time;
                    spec.selection.clone_from(selection);
                    spec.engine.clone_from(engine);
                    spec.determinism.clone_from(determinism);
                    engines.push((engine.clone(), determinism.clone()));
                }
                // A run goes on under its own determinism version or not at all.
                Event::RunResumed { engine, .. } => engines.push((engine.clone(), spec.determinism.clone())),
                Event::AttemptStarted { node, inputs, .. } => {
                    let attempt = Attempt { inputs: inputs.clone(), looks: BTreeMap::new() };
                    attempts.extend(state.position(node.as_str()).map(|node| (node, attempt)));
                }
                Event::NodeFinished { receipt, facts, .. } => {
                    if let Some(node) = state.position(receipt.node.as_str()) {
                        if facts.cached {
                            cached.insert(node)
                        } else {
                            cached.remove(&node)
                        };
                    }
                }
                Event::LookTaken { node, look, verdict, failure, .. } => {
                    if let Some(node) = state.position(node.as_str()) {
                        let said = (verdict.clone(), failure.clone());
                        attempts.entry(node).or_default().looks.insert(*look, said);
                    }
                }
                _ => {}
            }
        }
        for node in &spec.pipeline.nodes {
            inputs::component(&spec, node)?;
        }
        let inputs = Inputs::new(&spec)?;
        Ok(Self { spec, state, inputs, attempts, cached, engines })
    }

    /// The run's state at its end.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// What the run was made of.
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }

    /// Whether this engine counts fuel and makes action keys as all those that recorded the run: then they are compared, too.
    pub fn is_of(&self, engine: &str, determinism: &str) -> bool {
        self.other_engine(engine, determinism).is_none()
    }

    /// Version and determinism version of the first engine that had a part in the run and is not this one.
    pub fn other_engine(&self, engine: &str, determinism: &str) -> Option<(&str, &str)> {
        let mut others = self.engines.iter().filter(|(other, version)| other != engine || version != determinism);
        others.next().map(|(other, version)| (other.as_str(), version.as_str()))
    }

    /// Why a node cannot be replayed, if it cannot.
    pub fn left(&self, node: usize) -> Option<Left> {
        let Some(receipt) = self.state.receipt(node) else { return Some(Left::Unfinished) };
        let kind = receipt.failure.as_ref().map(|failure| failure.kind);
        match receipt.status {
            Status::Skipped => Some(Left::Skipped),
            _ if receipt.component.is_none() => Some(Left::NoPlugin),
            _ if self.cached.contains(&node) && !self.is_repeatable(node) => Some(Left::Elsewhere),
            Status::Errored | Status::Cancelled => Some(Left::Infrastructure),
            Status::Succeeded | Status::Failed if receipt.key.is_none() => Some(Left::NotExecuted),
            Status::Succeeded | Status::Failed if kind == Some(FailureKind::NotReproducible) => {
                Some(Left::NotReproducible)
            }
            Status::Succeeded | Status::Failed => None,
        }
    }

    /// Whether a node's inputs are all that its result depends on: no effects, and one look.
    fn is_repeatable(&self, node: usize) -> bool {
        let node = &self.spec.pipeline.nodes[node];
        node.grants.is_empty() && node.poll.is_none()
    }
}

/// What replay works with. Cheap to clone.
#[derive(Clone)]
pub struct Replayer {
    /// The run.
    pub past: Arc<Past>,
    /// Who executes.
    pub executor: Arc<dyn Executor>,
    /// Where blobs are read and kept.
    pub blobs: Arc<dyn Blobs>,
    /// Whether fuel and action keys are compared: not where another engine recorded them.
    pub same_engine: bool,
}

impl Replayer {
    /// Replays nodes, so many at one time; `ended` hears of each as it ends. Must be called inside a tokio runtime; dropping the
    /// future ends it.
    pub async fn all(&self, nodes: &[usize], jobs: NonZeroUsize, mut ended: impl FnMut(usize, Replayed)) {
        let mut waiting = nodes.iter().copied();
        let mut running = JoinSet::new();
        let mut executing = HashMap::new();
        loop {
            while running.len() < jobs.get()
                && let Some(node) = waiting.next()
            {
                let this = self.clone();
                let task = running.spawn(async move { this.node(node).await });
                executing.insert(task.id(), node);
            }
            let Some(done) = running.join_next_with_id().await else { return };
            let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            let replayed = done.map_or_else(
                |error| Replayed::Broken(infrastructure(format!("its replay panicked: {error}"))),
                |(_, replayed)| replayed,
            );
            if let Some(node) = executing.remove(&id) {
                ended(node, replayed);
            }
        }
    }

    /// Replays one node, by its index in the pipeline.
    pub async fn node(&self, node: usize) -> Replayed {
        let past = &self.past;
        let (receipt, left) = (past.state.receipt(node).cloned(), past.left(node));
        let receipt = match (receipt, left) {
            (_, Some(left)) => return Replayed::Left(left),
            (Some(receipt), None) => receipt,
            (None, None) => return Replayed::Left(Left::Unfinished),
        };
        match self.again(node, &receipt).await {
            Ok(differences) if differences.is_empty() => Replayed::Same,
            Ok(differences) => Replayed::Different(differences),
            Err(failure) => Replayed::Broken(failure),
        }
    }

    async fn again(&self, node: usize, receipt: &Arc<Receipt>) -> Result<Vec<Difference>, Failure> {
        let past = &self.past;
        let spec = &past.spec.pipeline.nodes[node];
        let plugin = inputs::component(&past.spec, spec).map_err(|error| infrastructure(chain(&error)))?;
        let Some((component, world)) = plugin else { return Err(infrastructure("it has no plugin".to_owned())) };
        let attempt = past.attempts.get(&node);
        let inputs = match attempt {
            Some(attempt) => attempt.inputs.clone(),
            None => past.inputs.resolve(node, &past.state)?,
        };
        let number = match past.state.state(node) {
            NodeState::Finished { attempt, .. } => (*attempt).max(1),
            _ => 1,
        };
        let mut differences = Vec::new();
        if let Some(recorded) = receipt.component.filter(|recorded| *recorded != component.digest) {
            differences.push(plain("component", recorded.to_string(), component.digest.to_string()));
        }
        let key = inputs::key_digest(&past.spec, spec, (component, world), &inputs);
        if self.same_engine && receipt.key.is_some_and(|recorded| recorded != key) {
            let recorded = receipt.key.map_or_else(String::new, |key| key.to_string());
            differences.push(plain("key", recorded, key.to_string()));
        }
        let recorded = self.effects(receipt.effects).await?;
        let jobs = Arc::new(Semaphore::new(1));
        let sink = Arc::new(Answers { recorded, count: Mutex::default() });
        let none = BTreeMap::new();
        let said = attempt.map_or(&none, |attempt| &attempt.looks);
        let (mut looks, mut look) = (Looks::default(), 0u32);
        let stepped = loop {
            let mut task = inputs::task(&past.spec, spec, (component, world), inputs.clone(), number);
            task.look.index = look;
            let step = Step {
                pipeline: Arc::clone(&past.spec.pipeline),
                node,
                task,
                looks,
                repeat: 1,
                executor: Arc::clone(&self.executor),
                again: Arc::clone(&self.executor),
                blobs: Arc::clone(&self.blobs),
                clock: Arc::new(Still),
                sink: Arc::clone(&sink) as _,
                begun: None,
                jobs: Arc::clone(&jobs),
                cache: None,
                against: None,
            };
            let stepped = Box::new(step).run().await;
            if let Some(differs) = sink.differs() {
                // Whatever differs besides follows from it.
                differences.push(other_effect(differs));
                return Ok(differences);
            }
            match said.get(&look) {
                None if stepped.last => break stepped,
                None => {
                    differences.push(plain(
                        &format!("look {}", u64::from(look) + 1),
                        "the last".into(),
                        "not the last".into(),
                    ));
                    return Ok(differences);
                }
                Some(recorded) => {
                    let now = (stepped.completion.verdict.clone(), stepped.completion.failure.clone());
                    if stepped.last || *recorded != now {
                        if let Some(broken) = infrastructure_of(&stepped) {
                            return Err(broken);
                        }
                        let end = if stepped.last { " and was the last" } else { "" };
                        let what = format!("look {}", u64::from(look) + 1);
                        differences.push(plain(&what, words(recorded), words(&now) + end));
                        return Ok(differences);
                    }
                }
            }
            looks = stepped.looks;
            look = look.saturating_add(1);
        };
        if let Some(broken) = infrastructure_of(&stepped) {
            return Err(broken);
        }
        differences.extend(self.compare(Arc::clone(receipt), stepped).await?);
        Ok(differences)
    }

    async fn compare(&self, receipt: Arc<Receipt>, stepped: Stepped) -> Result<Vec<Difference>, Failure> {
        let (blobs, fuel) = (Arc::clone(&self.blobs), self.same_engine);
        let compared = tokio::task::spawn_blocking(move || {
            let Stepped { completion, failure, .. } = stepped;
            let recorded = Proof::from(&*receipt);
            let again = Proof::of_receipt(&completion, failure.as_ref());
            let (recorded, again) =
                if fuel { (recorded, again) } else { (recorded.without_fuel(), again.without_fuel()) };
            recorded.differences(&again, &*blobs)
        });
        compared.await.map_err(|_| infrastructure("comparing with the record panicked".to_owned()))
    }

    /// The recorded answers.
    async fn effects(&self, blob: Option<ArtifactRef>) -> Result<Recorded, Failure> {
        let Some(blob) = blob else { return Ok(Recorded::default()) };
        let blobs = Arc::clone(&self.blobs);
        let read = tokio::task::spawn_blocking(move || {
            let bytes = blobs.read(blob.digest, MAX_JOINED).map_err(|error| chain(&error))?;
            let text = String::from_utf8(bytes).map_err(|error| format!("failed to read recorded effects: {error}"))?;
            effect::decode(&text).map_err(|error| format!("failed to read recorded effects: {error}"))
        });
        let read = read.await.unwrap_or_else(|_| Err("reading recorded effects panicked".to_owned()));
        read.map(Recorded::new).map_err(infrastructure)
    }
}

fn infrastructure(message: String) -> Failure {
    Failure { kind: FailureKind::Infrastructure, message }
}

fn infrastructure_of(stepped: &Stepped) -> Option<Failure> {
    stepped.failure.clone().filter(|failure| failure.kind.is_infrastructure())
}

fn words((verdict, failure): &Said) -> String {
    match (verdict, failure) {
        (Some(verdict), _) => {
            let reason = verdict.reasons.first().map(|reason| format!(": {reason}"));
            format!("`{}`{}", verdict.word, reason.unwrap_or_default())
        }
        (None, Some(failure)) => format!("failed ({}: {})", failure.kind.name(), failure.message),
        (None, None) => "nothing".to_owned(),
    }
}

fn other_effect(differs: Differs) -> Difference {
    let Differs { sequence, recorded, asked } = differs;
    let first = recorded.map_or("none".to_owned(), |recorded| format!("`{recorded}`"));
    let place = Some(format!("effect {sequence}"));
    Difference { what: "effects".to_owned(), place, first, second: format!("`{asked}`") }
}

/// Answers from the record and from nothing else.
struct Answers {
    recorded: Recorded,
    count: Mutex<(u64, Option<Differs>)>,
}

impl Answers {
    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Option<Differs>)> {
        // Nothing under the lock can panic.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first effect that is not the recorded one.
    fn differs(&self) -> Option<Differs> {
        self.lock().1.clone()
    }
}

impl Counted for Answers {
    fn count(&self) -> Count {
        Count { next: self.lock().0, open: 0 }
    }
}

#[async_trait]
impl EffectSink for Answers {
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, SinkError> {
        let answer = self.recorded.answer(sequence, kind, request, summary);
        let mut count = self.lock();
        count.0 = count.0.max(sequence.saturating_add(1));
        match answer {
            Ok(answer) => Ok(Begun::Answered(answer)),
            Err(differs) => {
                count.1.get_or_insert(differs.clone());
                Err(differs.into())
            }
        }
    }

    async fn outcome(&self, _: u64, _: &serde_json::Value) -> Result<(), SinkError> {
        // Nothing is ever issued here.
        Err(SinkError::Ending)
    }

    fn has_waited(&self, _: u64) -> bool {
        true
    }
}

/// A clock that stands still: replay waits for nothing, and measures nothing.
struct Still;

#[async_trait]
impl Clock for Still {
    fn now_micros(&self) -> u64 {
        0
    }

    async fn sleep_until(&self, _: u64) {}
}
