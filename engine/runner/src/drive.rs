//! The driver: does what the planner says, and brings back what came of it. One task owns the run's state; executions, the
//! journal's writer and reads of blobs run beside it and talk to it over bounded channels.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::{AttemptFacts, Event, Signal};
use lockgate_model::outcome::{Completion, Failure, FailureKind, Status};
use lockgate_model::pipeline::PIPELINE_DOMAIN;
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, RunState};
use lockgate_model::{Digest, NodeId, PortName};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use crate::attempt::{self, Looks, Step, Stepped};
use crate::blocking;
use crate::executor::Executor;
use crate::facts;
use crate::flight::{self, Flights, Turn};
use crate::inputs::{self, Inputs};
use crate::made::{ended_receipt, started_event, status_of};
use crate::part;
use crate::plan::{Action, End, JsonOutputs, Planner};
use crate::ports::{Cached, Notice, Stamped, not_before};
use crate::recover::{Interrupted, Recovered};
use crate::spec::{DriveError, DriveOptions, RunReport, RunSpec, Surroundings};
use crate::whole::{self, Served};
use crate::writer::{self, Ack, Before, MAX_BATCH, Message, Sink};

/// Work handed out ahead of a free job, in microseconds of one job.
const AHEAD_MICROS: u64 = 2_000;
/// Most steps handed out ahead of a free job.
const MAX_AHEAD: u64 = 128;
/// Events that may be applied and not yet durable: beyond, the scheduler waits for the disk.
const MAX_IN_FLIGHT: usize = 8_192;

/// How often the journal is looked through for what other processes said: people wait for an answer about this long anyway.
const HEAR_EVERY: Duration = Duration::from_millis(500);

/// Drives a run from its start to its end: every node has its receipt, or the run was interrupted.
///
/// Must be called inside a tokio runtime. Fails where the journal takes no more or the engine contradicts itself; then nothing
/// runs any longer, and the journal holds a legal beginning of the run. Dropping the future ends the run as `kill -9` would.
pub async fn drive(
    spec: RunSpec,
    executor: Arc<dyn Executor>,
    surroundings: Surroundings,
    options: DriveOptions,
) -> Result<RunReport, DriveError> {
    let inputs = checked(&spec)?;
    let (event, pipeline) = run_started(&spec, &surroundings).await?;
    let state = RunState::new(Arc::clone(&spec.pipeline), Arc::clone(&spec.graph));
    let graph = whole::key(&spec, pipeline, &options);
    let served = match (&surroundings.cache, graph) {
        (Some(cache), Some(key)) => whole::find(cache, key).await,
        _ => None,
    };
    let from = From { state, effects: HashMap::new(), heard: 0, event, graph, served };
    go(spec, inputs, executor, surroundings, options, from).await
}

/// Drives a run on that another process left: interrupted, waiting, cancelled, failed or errored. `spec` is that of its start, made
/// of its records; `heard` is the number of the last of them. Otherwise like [`drive()`].
///
/// What had succeeded is not executed again. An attempt that was under way is executed again under its own number: effects with an
/// outcome on record are answered from there, one without is issued again under its idempotency key, or its node waits.
///
/// A clock that was set back since counts from the run's latest record on: times of records never fall, and what waits for a time
/// waits no longer than it would have.
pub async fn resume(
    spec: RunSpec,
    recovered: Recovered,
    heard: u64,
    executor: Arc<dyn Executor>,
    mut surroundings: Surroundings,
    options: DriveOptions,
) -> Result<RunReport, DriveError> {
    let inputs = checked(&spec)?;
    surroundings.clock = not_before(surroundings.clock, recovered.latest);
    let again = recovered.stale(surroundings.clock.now_ms());
    let event = Event::RunResumed { engine: spec.engine.clone(), again, policies: spec.policies.clone() };
    let (state, effects) = (recovered.state, recovered.effects);
    let from = From { state, effects, heard, event, graph: None, served: None };
    go(spec, inputs, executor, surroundings, options, from).await
}

/// Where a process takes a run up.
struct From {
    state: RunState,
    effects: HashMap<NodeId, Interrupted>,
    /// Number of the last record whose signals the state has.
    heard: u64,
    /// The first event.
    event: Event,
    /// The key of its graph, if it has one.
    graph: Option<Digest>,
    /// What all nodes get, if that is known.
    served: Option<Served>,
}

fn checked(spec: &RunSpec) -> Result<Inputs, DriveError> {
    let (nodes, vertices) = (spec.pipeline.nodes.len(), spec.graph.len());
    if nodes != vertices {
        return Err(DriveError::Graph { graph: vertices, pipeline: nodes });
    }
    for node in &spec.pipeline.nodes {
        inputs::component(spec, node)?;
    }
    Inputs::new(spec)
}

async fn go(
    spec: RunSpec,
    inputs: Inputs,
    executor: Arc<dyn Executor>,
    surroundings: Surroundings,
    options: DriveOptions,
    from: From,
) -> Result<RunReport, DriveError> {
    let (messages, acks) =
        writer::start(spec.run.clone(), Arc::clone(&surroundings.journal), Arc::clone(&surroundings.clock));
    let mut driver = Driver {
        check: options.check_determinism,
        check_cache: options.check_cache,
        planner: Planner::new(from.state, options),
        inputs,
        executor,
        surroundings,
        messages,
        tasks: JoinSet::new(),
        executing: HashMap::new(),
        looks: HashMap::new(),
        begins: HashMap::new(),
        before: from.effects,
        outbox: Vec::new(),
        urgent: false,
        in_flight: 0,
        heard: from.heard,
        stay: options.stay,
        jobs: Arc::new(Semaphore::new(options.jobs.get())),
        pace: Pace::default(),
        flights: Flights::default(),
        proved: HashMap::new(),
        graph: from.graph,
        served: Vec::new(),
        spec,
    };
    let resumed = matches!(from.event, Event::RunResumed { .. });
    driver.start(from.event, from.served)?;
    if resumed {
        // An attempt that goes on has its start on disk, and so does not wait for one: its effects must not overtake this.
        driver.flush();
    }
    let result = driver.run(acks).await;
    // Whatever still runs ends before anybody hears of the run's end.
    driver.tasks.shutdown().await;
    result?;
    let state = driver.planner.into_state();
    let status = state.status();
    Ok(RunReport {
        status,
        digest: state.over().and_then(|(_, digest)| digest),
        exit: state.exit_class(),
        counts: state.counts(),
        state,
    })
}

/// The first event of a run, and the pipeline's digest.
async fn run_started(spec: &RunSpec, surroundings: &Surroundings) -> Result<(Event, Digest), DriveError> {
    let text = Arc::new(spec.pipeline.canonical_json());
    let (blobs, kept) = (Arc::clone(&surroundings.blobs), Arc::clone(&text));
    let stored = blocking::spawn(move || blobs.put(kept.as_bytes()));
    let pipeline_digest = Digest::tagged(PIPELINE_DOMAIN, text.as_bytes());
    drop(text);
    let pipeline = stored.await.map_err(|_| DriveError::WriterGone)?.map_err(DriveError::Pipeline)?;
    Ok((started_event(spec, pipeline, pipeline_digest), pipeline_digest))
}

struct Driver {
    spec: RunSpec,
    check: bool,
    check_cache: bool,
    planner: Planner,
    inputs: Inputs,
    executor: Arc<dyn Executor>,
    surroundings: Surroundings,
    messages: mpsc::Sender<Message>,
    tasks: JoinSet<Done>,
    /// What each task does, for those that panic.
    executing: HashMap<Id, Executing>,
    /// Looks of attempts that wait for the next one.
    looks: HashMap<usize, Looks>,
    /// Attempts of nodes with grants, which begin when their start is durable.
    begins: HashMap<NodeId, oneshot::Sender<()>>,
    /// What interrupted attempts did before.
    before: HashMap<NodeId, Interrupted>,
    /// Events that the writer does not have yet: at most [`MAX_BATCH`] and those of one round of ended tasks.
    outbox: Vec<Stamped>,
    /// Whether something in the outbox counts only when it is durable.
    urgent: bool,
    /// Events of the driver that are not durable yet.
    in_flight: usize,
    /// Number of the last record that was looked through for signals.
    heard: u64,
    /// Milliseconds to stay while only waiting nodes are left.
    stay: u64,
    /// One permit for each execution at a time; steps beyond wait for one.
    jobs: Arc<Semaphore>,
    pace: Pace,
    flights: Flights,
    /// What receipts of nodes that others may share do not hold.
    proved: HashMap<usize, Proved>,
    /// The key of the graph, as long as its results may become known.
    graph: Option<Digest>,
    /// What happens in the nodes of a graph that is served at once, until those who watch have heard of it.
    served: Vec<Event>,
}

/// How long steps take, so that quick ones can be handed out ahead of a free job: a worker that ends one then begins the next
/// without waiting for the driver.
#[derive(Debug, Default)]
struct Pace {
    /// Moving average in microseconds; none before the first step ended.
    micros: Option<u64>,
}

impl Pace {
    fn step(&mut self, micros: u64) {
        self.micros = Some(self.micros.map_or(micros, |average| (average * 7 + micros) / 8));
    }

    /// Steps that may wait for a job: as many as one job ends in about [`AHEAD_MICROS`].
    fn ahead(&self) -> usize {
        self.micros.map_or(0, |micros| (AHEAD_MICROS / micros.max(1)).min(MAX_AHEAD) as usize)
    }
}

struct Executing {
    node: usize,
    attempt: u32,
    look: u32,
    key: Digest,
    component: Digest,
    /// When it started, in milliseconds.
    start: u64,
    facts: bool,
    /// Takes its effects; none where it has none.
    sink: Option<Arc<Sink>>,
}

/// Facts of a result that those share who are served with it.
struct Proved {
    findings: BTreeMap<String, u64>,
    peak_memory: u64,
}

enum Done {
    Stepped(Box<Stepped>),
    Facts(Result<JsonOutputs, Failure>),
}

impl Driver {
    async fn run(&mut self, mut acks: mpsc::Receiver<Ack>) -> Result<(), DriveError> {
        let interrupt = self.surroundings.interrupt.clone();
        let clock = Arc::clone(&self.surroundings.clock);
        let messages = self.messages.clone();
        let mut raised = std::pin::pin!(interrupt.raised());
        let mut interrupted = false;
        let mut leave_at = None;
        let mut tick = clock.pause(HEAR_EVERY);
        loop {
            self.planner.hand_out_ahead(self.pace.ahead());
            while self.outbox.len() < MAX_BATCH
                && self.in_flight < MAX_IN_FLIGHT
                && let Some(action) = self.planner.next(clock.now_ms())
            {
                if let Action::FinishRun { status: Status::Succeeded, .. } = &action {
                    self.prove().await?;
                }
                self.act(action)?;
            }
            self.flush();
            if self.planner.state().over().is_some() || self.planner.state().is_paused() {
                return Ok(());
            }
            let mut wake_at = self.planner.wake_at();
            let idle = self.tasks.is_empty() && self.in_flight == 0;
            if idle && interrupted {
                self.submit(Event::RunFinished { status: Status::Cancelled, digest: None })?;
                continue;
            }
            let waits = idle && wake_at.is_none() && self.planner.holds();
            if waits {
                let now = clock.now_ms();
                let leave = *leave_at.get_or_insert(now.saturating_add(self.stay));
                let until = self.planner.held_until();
                // Staying in vain helps nobody: nothing ends by itself before it is over, unless somebody says something.
                if now >= leave {
                    // What was said may have set something free.
                    if !self.hear().await? {
                        self.planner.interrupt();
                        self.submit(Event::RunWaiting { until })?;
                    }
                    continue;
                }
                wake_at = Some(until.map_or(leave, |until| until.min(leave)));
            } else if !idle {
                leave_at = None;
            }
            if idle && wake_at.is_none() {
                let counts = self.planner.state().counts();
                return Err(DriveError::Stuck(counts.pending + counts.running + counts.waiting + counts.held));
            }
            tokio::select! {
                biased;
                () = &mut raised, if !interrupted => {
                    interrupted = true;
                    self.interrupt().await?;
                }
                ack = acks.recv() => {
                    self.durable(ack.ok_or(DriveError::WriterGone)?)?;
                    while let Ok(ack) = acks.try_recv() {
                        self.durable(ack)?;
                    }
                }
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.done(done)?;
                    while let Some(done) = self.tasks.try_join_next_with_id() {
                        self.done(done)?;
                    }
                }
                permit = messages.reserve(), if !self.outbox.is_empty() => {
                    // Refused: the writer ended, and why stands in its last answer.
                    if let Ok(permit) = permit {
                        let waits = self.waits();
                        permit.send(Message::Batch(std::mem::take(&mut self.outbox), waits));
                        self.urgent = false;
                    } else {
                        self.outbox.clear();
                    }
                }
                () = &mut tick => {
                    self.hear().await?;
                    // For what the writer has kept back.
                    if let Ok(permit) = messages.try_reserve() {
                        permit.send(Message::Batch(Vec::new(), false));
                    }
                    tick = clock.pause(HEAR_EVERY);
                    if self.planner.state().stopped_by().is_some() {
                        interrupt.raise();
                    }
                }
                () = clock.sleep_until(wake_at.unwrap_or(u64::MAX)), if wake_at.is_some() => {}
            }
        }
    }

    /// Takes in what other processes said, if they said anything.
    async fn hear(&mut self) -> Result<bool, DriveError> {
        let (journal, run, after) = (Arc::clone(&self.surroundings.journal), self.spec.run.clone(), self.heard);
        let heard = blocking::spawn(move || journal.signals(&run, after)).await;
        let (signals, last) = heard.map_err(|_| DriveError::WriterGone)?.map_err(DriveError::Journal)?;
        self.heard = last;
        let said = !signals.is_empty();
        for stamped in signals {
            self.planner.apply(&stamped.event, stamped.time)?;
            self.surroundings.observer.event(stamped.time, &stamped.event);
        }
        Ok(said)
    }

    /// Begins: with what all nodes get, if that is known.
    fn start(&mut self, event: Event, served: Option<Served>) -> Result<(), DriveError> {
        let Some(Served { key, results, events }) = served.filter(|served| self.planner.served(&event, &served.events))
        else {
            return self.submit(event);
        };
        self.graph = None;
        self.served = events;
        let time = self.surroundings.clock.now_ms();
        self.in_flight += 2;
        self.outbox.extend([event, Event::GraphServed { key, results }].map(|event| Stamped { time, event }));
        Ok(())
    }

    /// Keeps what the nodes gave, if another run of the graph may get it at once. A store that does not take it fails what follows.
    async fn prove(&mut self) -> Result<(), DriveError> {
        let Some(key) = self.graph.take() else { return Ok(()) };
        // Nothing is executed any more, and what follows takes as much memory.
        self.flights = Flights::default();
        let proved = &mut self.proved;
        let facts = |node| proved.remove(&node).map(|Proved { findings, peak_memory }| (findings, peak_memory));
        let Some(text) = whole::proved(self.planner.state(), &self.inputs, facts) else { return Ok(()) };
        let blobs = Arc::clone(&self.surroundings.blobs);
        let kept = blocking::spawn(move || blobs.put(text.as_bytes())).await.map_err(|_| DriveError::WriterGone)?;
        match kept {
            Ok(results) => self.submit(Event::GraphProved { key, results }),
            Err(_) => Ok(()),
        }
    }

    /// Puts an event into the outbox. Where the run begins, and what a pure node does, counts at once: it touches nothing, and what
    /// builds on it stands behind it in the journal. All else counts when it is durable.
    fn submit(&mut self, event: Event) -> Result<(), DriveError> {
        let stamped = Stamped { time: self.surroundings.clock.now_ms(), event };
        if self.counts_at_once(&stamped.event) {
            self.planner.apply(&stamped.event, stamped.time)?;
        } else {
            self.urgent = true;
        }
        self.in_flight += 1;
        self.outbox.push(stamped);
        Ok(())
    }

    fn counts_at_once(&self, event: &Event) -> bool {
        // Effects come from the executor, not from the driver.
        if matches!(event, Event::EffectIntended { .. } | Event::EffectFinished { .. }) {
            return false;
        }
        let Some(node) = event.node() else {
            return matches!(
                event,
                Event::RunStarted { .. }
                    | Event::RunResumed { .. }
                    | Event::GraphProved { .. }
                    | Event::GraphServed { .. }
            );
        };
        let position = self.planner.state().position(node.as_str());
        position.is_some_and(|node| self.spec.pipeline.nodes[node].grants.is_empty())
    }

    /// Hands the outbox to the writer, if that has room at once.
    fn flush(&mut self) {
        if !self.outbox.is_empty() {
            let waits = self.waits();
            if let Ok(permit) = self.messages.try_reserve() {
                permit.send(Message::Batch(std::mem::take(&mut self.outbox), waits));
                self.urgent = false;
            }
        }
    }

    /// Whether anybody waits for what is in the outbox: where something in it counts only when it is durable, and where nothing
    /// runs that could bring more.
    fn waits(&self) -> bool {
        self.tasks.is_empty() || self.urgent
    }

    /// Takes in what is durable.
    fn durable(&mut self, ack: Ack) -> Result<(), DriveError> {
        for stamped in ack.map_err(DriveError::Journal)? {
            if !self.counts_at_once(&stamped.event) {
                self.planner.apply(&stamped.event, stamped.time)?;
            }
            if let Event::AttemptStarted { node, .. } = &stamped.event
                && let Some(begin) = self.begins.remove(node)
            {
                // One that was cancelled meanwhile no longer waits.
                let _ = begin.send(());
            }
            if !matches!(stamped.event, Event::EffectIntended { .. } | Event::EffectFinished { .. }) {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            self.surroundings.observer.event(stamped.time, &stamped.event);
            if matches!(stamped.event, Event::GraphServed { .. }) {
                let served = std::mem::take(&mut self.served);
                served.iter().for_each(|event| self.surroundings.observer.event(stamped.time, event));
            }
        }
        Ok(())
    }

    /// Cancels what runs. What has ended by then still counts.
    async fn interrupt(&mut self) -> Result<(), DriveError> {
        self.surroundings.observer.notice(&Notice::Interrupted);
        self.planner.interrupt();
        self.tasks.abort_all();
        while let Some(done) = self.tasks.join_next_with_id().await {
            match done {
                Err(error) if error.is_cancelled() => {
                    self.executing.remove(&error.id());
                    self.planner.ended();
                }
                done => self.done(done)?,
            }
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), DriveError> {
        match action {
            Action::Execute { node, attempt, look } => self.execute(node, attempt, look)?,
            Action::ReadFacts { node } => {
                let wanted = facts::wanted(node, self.planner.state());
                let reading = facts::read(wanted, Arc::clone(&self.surroundings.blobs));
                let id = self.tasks.spawn(async move { Done::Facts(reading.await) }).id();
                let none = Digest::from_bytes([0; 32]);
                let (key, component) = (none, none);
                let executing =
                    Executing { node, attempt: 0, look: 0, key, component, start: 0, facts: true, sink: None };
                self.executing.insert(id, executing);
            }
            Action::Take { node, attempt } => self.take(node, attempt)?,
            Action::Finish { node, attempt, end } => self.end(node, attempt, end)?,
            Action::Hold { node, until, attempt } => {
                let node = self.spec.pipeline.nodes[node].id.clone();
                self.submit(Event::NodeWaiting { node, until, attempt })?;
            }
            Action::FinishRun { status, digest } => self.submit(Event::RunFinished { status, digest })?,
        }
        Ok(())
    }

    /// Gives a node the result of an earlier run.
    fn take(&mut self, node: usize, attempt: u32) -> Result<(), DriveError> {
        match part::events(&self.spec, &self.inputs, self.planner.state(), &self.surroundings.taken, node, attempt)? {
            Ok(events) => events.into_iter().try_for_each(|event| self.submit(event)),
            Err(failure) => {
                let pending = matches!(self.planner.state().state(node), NodeState::Pending);
                self.end(node, attempt.saturating_sub(u32::from(pending)), End::Failed(failure))
            }
        }
    }

    fn end(&mut self, node: usize, attempt: u32, end: End) -> Result<(), DriveError> {
        self.looks.remove(&node);
        let (receipt, reason) = ended_receipt(&self.spec, self.planner.state(), node, end)?;
        let digest = receipt.digest();
        self.planner.ending(node, &receipt);
        self.submit(Event::NodeFinished {
            receipt: Arc::new(receipt),
            digest,
            attempt,
            reason,
            facts: AttemptFacts::default(),
        })?;
        self.land(node, None);
        Ok(())
    }

    /// A node is final: those that waited for it come again, to be served or executed.
    fn land(&mut self, node: usize, proved: Option<&AttemptFacts>) {
        if let Some(facts) = proved
            && flight::may_share(&self.spec.pipeline.nodes[node])
        {
            self.proved.insert(node, Proved { findings: facts.findings.clone(), peak_memory: facts.peak_memory });
        }
        for waiting in self.flights.landed(node, proved.is_some()) {
            self.planner.again(waiting);
        }
    }

    /// Gives a node what another with its key proved, if it takes that.
    fn serve(
        &mut self,
        executing: Executing,
        inputs: &BTreeMap<PortName, ArtifactRef>,
        proved: usize,
    ) -> Result<bool, DriveError> {
        let (Some(receipt), Some(facts)) = (self.planner.state().receipt(proved), self.proved.get(&proved)) else {
            return Ok(false);
        };
        let facts = AttemptFacts {
            findings: facts.findings.clone(),
            peak_memory: facts.peak_memory,
            ..AttemptFacts::default()
        };
        let proved = Cached { run: self.spec.run.clone(), receipt: Receipt::clone(receipt), facts, time: 0 };
        let spec = &self.spec.pipeline.nodes[executing.node];
        let Some(completion) = attempt::served(spec, proved) else { return Ok(false) };
        self.planner.ended();
        let Executing { attempt, key, .. } = executing;
        self.submit(Event::AttemptStarted { node: spec.id.clone(), attempt, key, inputs: inputs.clone() })?;
        let looks = Looks::default();
        self.stepped(executing, Stepped { completion, failure: None, last: true, micros: 0, looks, cached: true })?;
        Ok(true)
    }

    fn execute(&mut self, node: usize, attempt: u32, look: u32) -> Result<(), DriveError> {
        let inputs = match self.inputs.resolve(node, self.planner.state()) {
            Ok(inputs) => inputs,
            Err(failure) => {
                self.planner.ended();
                return self.end(node, attempt.saturating_sub(1), End::Failed(failure));
            }
        };
        let spec = &self.spec.pipeline.nodes[node];
        let Some((component, world)) = inputs::component(&self.spec, spec)? else {
            // A node without a plugin waits, and is never executed.
            let failure = Failure { kind: FailureKind::Infrastructure, message: "it has no plugin".to_owned() };
            self.planner.ended();
            return self.end(node, attempt.saturating_sub(1), End::Failed(failure));
        };
        let looks = self.looks.remove(&node).filter(|_| look > 0).unwrap_or_default();
        let started = match self.planner.state().state(node) {
            NodeState::WaitingForLook(attempt)
            | NodeState::Running(attempt)
            | NodeState::Waiting { attempt: Some(attempt), .. } => Err(attempt.key),
            _ => Ok(inputs::key_digest(&self.spec, spec, (component, world), &inputs)),
        };
        if let Err(key) = started
            && look == 0
            && key != inputs::key_digest(&self.spec, spec, (component, world), &inputs)
        {
            let message = "what it reads is not what its attempt began with; `resume` begins another".to_owned();
            let failure = Failure { kind: FailureKind::Infrastructure, message };
            self.planner.ended();
            return self.end(node, attempt, End::Failed(failure));
        }
        let (Ok(key) | Err(key)) = started;
        // An attempt that an earlier process began is executed: it has its record already.
        let shares = look == 0 && started.is_ok() && !self.check && flight::may_share(spec);
        if shares {
            let component = component.digest;
            let executing = Executing { node, attempt, look, key, component, start: 0, facts: false, sink: None };
            match self.flights.turn(node, key) {
                Turn::Wait => {
                    self.planner.ended();
                    return Ok(());
                }
                Turn::Serve(proved) if self.serve(executing, &inputs, proved)? => return Ok(()),
                Turn::Serve(_) | Turn::Execute => {}
            }
        }
        let spec = &self.spec.pipeline.nodes[node];
        let Some((component, world)) = inputs::component(&self.spec, spec)? else { return Ok(()) };
        let known = self.surroundings.cache.as_ref().map(|cache| (Arc::clone(cache), key));
        let (cache, against) = if self.check_cache {
            (None, known.filter(|_| spec.grants.is_empty()))
        } else {
            (known.filter(|_| shares), None)
        };
        let id = spec.id.clone();
        let event =
            started.is_ok().then(|| Event::AttemptStarted { node: id.clone(), attempt, key, inputs: inputs.clone() });
        let mut task = inputs::task(&self.spec, spec, (component, world), inputs, attempt);
        let component = component.digest;
        task.look.index = look;
        let before = match self.before.remove(&id) {
            Some(interrupted) if event.is_none() => Before {
                recorded: interrupted.recorded(),
                open: interrupted.open,
                assume_done: self.planner.state().assumed(node) == Some(Signal::AssumeDone),
            },
            _ => Before::default(),
        };
        let sink = Arc::new(Sink::new(self.messages.clone(), spec, attempt, looks.next_sequence, before));
        let begun = (event.is_some() && !spec.grants.is_empty()).then(|| {
            let (begin, begun) = oneshot::channel();
            self.begins.insert(id.clone(), begin);
            begun
        });
        let step = Box::new(Step {
            pipeline: Arc::clone(&self.spec.pipeline),
            node,
            task,
            looks,
            repeat: if self.check && spec.grants.is_empty() { spec.repeat.max(2) } else { spec.repeat },
            executor: Arc::clone(&self.executor),
            again: Arc::clone(self.surroundings.again.as_ref().unwrap_or(&self.executor)),
            blobs: Arc::clone(&self.surroundings.blobs),
            clock: Arc::clone(&self.surroundings.clock),
            sink: Arc::clone(&sink) as _,
            begun,
            jobs: Arc::clone(&self.jobs),
            cache,
            against,
        });
        if let Some(event) = event {
            self.submit(event)?;
        }
        let start = self.surroundings.clock.now_ms();
        self.surroundings.observer.notice(&Notice::Executing { node: id, attempt, look, time: start });
        let id = self.tasks.spawn(async move { Done::Stepped(Box::new(step.run().await)) }).id();
        let sink = Some(sink);
        self.executing.insert(id, Executing { node, attempt, look, key, component, start, facts: false, sink });
        Ok(())
    }

    /// Takes in a task that ended.
    fn done(&mut self, done: Result<(Id, Done), JoinError>) -> Result<(), DriveError> {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(executing) = self.executing.remove(&id) else { return Ok(()) };
        self.planner.ended();
        match done {
            Ok((_, Done::Facts(outputs))) => self.planner.facts(executing.node, outputs),
            Ok((_, Done::Stepped(stepped))) => {
                self.pace.step(stepped.micros);
                self.stepped(executing, *stepped)?;
            }
            Err(error) => {
                let message = panic_text(error);
                if executing.facts {
                    let failure = Failure { kind: FailureKind::Infrastructure, message };
                    self.planner.facts(executing.node, Err(failure));
                    return Ok(());
                }
                let completion = Completion::failed(FailureKind::Infrastructure, message);
                let failure = completion.failure.clone();
                let looks = Looks::default();
                let stepped = Stepped { completion, failure, last: true, micros: 0, looks, cached: false };
                self.stepped(executing, stepped)?;
            }
        }
        Ok(())
    }

    fn stepped(&mut self, executing: Executing, stepped: Stepped) -> Result<(), DriveError> {
        let Executing { node, attempt, look, key, component, start, sink, .. } = executing;
        let Stepped { completion, failure, last, looks, cached, .. } = stepped;
        let spec = &self.spec.pipeline.nodes[node];
        let id = spec.id.clone();
        if !last {
            let every = spec.poll.as_ref().map_or(0, |poll| poll.every.0);
            let next_in = start.saturating_add(every).saturating_sub(self.surroundings.clock.now_ms());
            let (verdict, failure) = (completion.verdict, completion.failure);
            self.looks.insert(node, looks);
            return self.submit(Event::LookTaken { node: id, attempt, look, verdict, failure, next_in });
        }
        let mut facts = AttemptFacts {
            micros: looks.micros,
            peak_memory: completion.peak_memory,
            fuel_limit: spec.limits.fuel.0,
            cached,
            pure: spec.grants.is_empty(),
            taken_from: None,
            findings: completion.finding_counts,
            log: None,
            backtrace: completion.backtrace,
        };
        // A further attempt would issue an effect in doubt again, and under another key: that is asked for by `resume`.
        let doubted = spec.poll.is_none() && sink.is_some_and(|sink| sink.is_in_doubt());
        if !doubted
            && let Some(failure) = &failure
            && let Some(next_in) = self.planner.retry_after(node, attempt, failure)
        {
            facts.log = completion.log;
            let failure = failure.clone();
            return self.submit(Event::AttemptFailed { node: id, attempt, failure, facts, next_in });
        }
        let receipt = Receipt {
            node: id,
            component: Some(component),
            key: Some(key),
            status: status_of(failure.as_ref()),
            failure,
            outputs: completion.outputs,
            findings: completion.findings,
            verdict: completion.verdict,
            decision: None,
            log: completion.log,
            effects: completion.effects,
            fuel: completion.fuel,
        };
        let digest = receipt.digest();
        self.planner.ending(node, &receipt);
        let proved = (receipt.status == Status::Succeeded).then(|| facts.clone());
        self.submit(Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt, reason: None, facts })?;
        self.land(node, proved.as_ref());
        Ok(())
    }
}

fn panic_text(error: JoinError) -> String {
    let payload = match error.try_into_panic() {
        Ok(payload) => payload,
        Err(_) => return "the executor was cancelled".to_owned(),
    };
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    format!("the executor panicked: {}", text.unwrap_or_else(|| "without a text".to_owned()))
}
