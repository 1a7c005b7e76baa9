//! One execution step of a node: a look, executed as often as `repeat` says, judged, and, where it is the last look, put
//! together with those before it.

use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::outcome::{Completion, Failure, FailureKind, Status};
use lockgate_model::pipeline::{Node, Pipeline};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::Rows;
use lockgate_model::task::{Look, Task};
use tokio::sync::{Semaphore, oneshot};

use crate::blocking;
use crate::compare::Proof;
use crate::executor::{EffectSink, Executor};
use crate::judge;
use crate::ports::{BlobError, Blobs, Cache, Cached, Clock};
use crate::writer::{Count, Sink};

/// Most bytes of the logs, and of the effects, of all looks of an attempt together: 64 MiB, as they are joined in memory.
pub(crate) const MAX_JOINED: u64 = 64 << 20;

/// What an attempt's looks have given up to now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Looks {
    /// The evaluator's state.
    pub(crate) state: Option<Vec<u8>>,
    /// The first sequence number that is free.
    pub(crate) next_sequence: u64,
    pub(crate) rows: Rows,
    pub(crate) micros: u64,
    taken: u32,
    peak_memory: u64,
    fuel: u64,
    effects: Vec<ArtifactRef>,
    logs: Vec<ArtifactRef>,
}

/// What is executed, and with what.
pub(crate) struct Step {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) node: usize,
    pub(crate) task: Task,
    pub(crate) looks: Looks,
    /// How often it is executed: more than once to compare.
    pub(crate) repeat: u32,
    pub(crate) executor: Arc<dyn Executor>,
    /// Who executes the second and later times.
    pub(crate) again: Arc<dyn Executor>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sink: Arc<dyn Counted>,
    /// Comes when the attempt's start is durable. A node with grants waits for it: its effects must not stand in the journal, or
    /// happen, before the attempt that makes them.
    pub(crate) begun: Option<oneshot::Receiver<()>>,
    /// Permits to execute.
    pub(crate) jobs: Arc<Semaphore>,
    /// Where the result may be found, and by which key; none where the node must be executed.
    pub(crate) cache: Option<(Arc<dyn Cache>, Digest)>,
    /// Likewise the earlier result that what is executed is compared with.
    pub(crate) against: Option<(Arc<dyn Cache>, Digest)>,
}

/// A sink that knows what the effects of its attempt have come to.
pub(crate) trait Counted: EffectSink {
    /// What they have come to.
    fn count(&self) -> Count;
}

impl Counted for Sink {
    fn count(&self) -> Count {
        self.count()
    }
}

/// What became of a step.
pub(crate) struct Stepped {
    pub(crate) completion: Completion,
    /// Why the node fails by this, a verdict that it does not accept included.
    pub(crate) failure: Option<Failure>,
    /// Whether the attempt is over.
    pub(crate) last: bool,
    /// How long it took, in microseconds, without waiting for its job.
    pub(crate) micros: u64,
    pub(crate) looks: Looks,
    /// Whether an earlier execution proved it, and nothing was executed.
    pub(crate) cached: bool,
}

impl Step {
    /// Executes the step. Boxed, so that handing it on moves little.
    pub(crate) async fn run(mut self: Box<Self>) -> Stepped {
        // Closed never: the driver keeps it open as long as steps run.
        let _job = Arc::clone(&self.jobs).acquire_owned().await;
        let node = &self.pipeline.nodes[self.node];
        let look = self.task.look.index;
        let start = self.clock.now_micros();
        if let Some((cache, key)) = &self.cache
            && let Some(completion) = cache.find(key).and_then(|found| served(node, found))
        {
            let micros = self.clock.now_micros().saturating_sub(start);
            let looks = Looks { micros, ..Looks::default() };
            return Stepped { completion, failure: None, last: true, micros, looks, cached: true };
        }
        self.task.state = self.looks.state.take();
        self.task.first_sequence = self.looks.next_sequence;
        if let Some(poll) = &node.poll {
            self.task.look = Look { index: look, elapsed: u64::from(look).saturating_mul(poll.every.0), step: None };
        }
        if let Some(begun) = self.begun.take() {
            // Without an answer the journal failed, and the driver ends the run.
            let _ = begun.await;
        }
        let again = (self.repeat > 1).then(|| self.task.clone());
        let mut completion = execute(&*self.executor, self.task, &self.sink).await;
        for number in 2..=self.repeat {
            let Some(task) = again.clone().filter(|_| !is_infrastructure(&completion)) else { break };
            let task = Task { first_sequence: self.sink.count().next, ..task };
            let again = execute(&*self.again, task, &self.sink).await;
            if is_infrastructure(&again) {
                completion = again;
            } else if !Proof::from(&completion).same(&Proof::from(&again)) {
                completion = differs(completion, again, number, self.repeat, &self.blobs).await;
                break;
            }
        }
        let mut looks = self.looks;
        looks.next_sequence = self.sink.count().next;
        looks.rows = looks.rows.after(completion.verdict.as_ref(), completion.failure.as_ref());
        looks.taken = looks.taken.saturating_add(1);
        looks.peak_memory = looks.peak_memory.max(completion.peak_memory);
        looks.fuel = looks.fuel.saturating_add(completion.fuel.unwrap_or(0));
        looks.effects.extend(completion.effects);
        looks.logs.extend(completion.log);
        looks.state = completion.state.take();
        let last = node
            .poll
            .as_ref()
            .is_none_or(|poll| judge::is_last_look(node.kind, poll, look, looks.rows, completion.failure.as_ref()));
        if last && looks.taken > 1 {
            completion = join(completion, &looks, &self.blobs).await;
        }
        if last
            && !is_infrastructure(&completion)
            && let Some((cache, key)) = self.against
            && let Some(found) = cache.find(&key)
        {
            completion = compared(completion, found, node, &self.blobs).await;
        }
        let micros = self.clock.now_micros().saturating_sub(start);
        looks.micros = looks.micros.saturating_add(micros);
        let failure = judge::judge(node, &completion);
        Stepped { completion, failure, last, micros, looks, cached: false }
    }
}

/// What an earlier execution gave, as this node would have it. A verdict that another node accepted and this one does not is
/// none: a failure always comes of an execution.
pub(crate) fn served(node: &Node, found: Cached) -> Option<Completion> {
    let Receipt { status, outputs, findings, verdict, log, effects, fuel, .. } = found.receipt;
    let completion = Completion {
        failure: None,
        outputs,
        findings,
        finding_counts: found.facts.findings,
        log,
        effects,
        verdict,
        state: None,
        fuel,
        peak_memory: found.facts.peak_memory,
        backtrace: None,
    };
    (status == Status::Succeeded && judge::judge(node, &completion).is_none()).then_some(completion)
}

fn is_infrastructure(completion: &Completion) -> bool {
    completion.failure.as_ref().is_some_and(|failure| failure.kind.is_infrastructure())
}

async fn execute(executor: &dyn Executor, task: Task, sink: &Arc<dyn Counted>) -> Completion {
    let completion = executor.execute(task, Arc::clone(sink) as _).await;
    if completion.failure.is_none() && sink.count().open > 0 {
        return Completion::failed(FailureKind::Infrastructure, "the executor left an effect without its outcome");
    }
    completion
}

/// What remains of an execution that another one of `repeat` contradicts: nothing that anybody could build on.
async fn differs(first: Completion, again: Completion, number: u32, repeat: u32, blobs: &Arc<dyn Blobs>) -> Completion {
    let blobs = Arc::clone(blobs);
    let compared = blocking::spawn(move || {
        let differences = Proof::from(&first).differences(&Proof::from(&again), &*blobs);
        let what = differences.first().map(ToString::to_string).unwrap_or_default();
        let message = format!("execution {number} of {repeat} gave something else than the first: {what}");
        not_reproducible(first, message)
    });
    compared.await.unwrap_or_else(|_| panicked())
}

/// An execution, if it gave what an earlier run proved; else what remains of it.
async fn compared(now: Completion, found: Cached, node: &Node, blobs: &Arc<dyn Blobs>) -> Completion {
    if Proof::from(&found.receipt).same(&Proof::from(&now)) {
        return now;
    }
    let (blobs, node) = (Arc::clone(blobs), node.id.clone());
    let compared = tokio::task::spawn_blocking(move || {
        let differences = Proof::from(&found.receipt).differences(&Proof::from(&now), &*blobs);
        let what = differences.first().map(ToString::to_string).unwrap_or_default();
        let before = Receipt { node, ..found.receipt };
        let receipt = Receipt {
            status: if now.failure.is_some() { Status::Failed } else { Status::Succeeded },
            failure: now.failure.clone(),
            outputs: now.outputs.clone(),
            findings: now.findings,
            verdict: now.verdict.clone(),
            log: now.log,
            effects: now.effects,
            fuel: now.fuel,
            ..before.clone()
        };
        let (run, before, receipt) = (found.run, before.digest(), receipt.digest());
        let digests = format!("receipt {before} then, {receipt} now");
        not_reproducible(now, format!("it gave something else than in run {run}: {what} ({digests})"))
    });
    compared.await.unwrap_or_else(|_| panicked())
}

/// What remains of an execution that gave something else than another one: nothing that anybody could build on.
fn not_reproducible(first: Completion, message: String) -> Completion {
    let failure = Some(Failure { kind: FailureKind::NotReproducible, message });
    Completion { failure, outputs: Default::default(), verdict: None, fuel: None, ..first }
}

fn panicked() -> Completion {
    Completion::failed(FailureKind::Infrastructure, "comparing two executions panicked")
}

/// Puts the looks of an attempt together: one log, one blob of effects, the fuel of all. The rest is the last look's.
async fn join(mut last: Completion, looks: &Looks, blobs: &Arc<dyn Blobs>) -> Completion {
    let (effects, logs, blobs) = (looks.effects.clone(), looks.logs.clone(), Arc::clone(blobs));
    let joined = blocking::spawn(move || {
        let effects = join_blobs(&effects, &*blobs)?;
        Ok((effects, join_blobs(&logs, &*blobs)?))
    });
    let panicked = |_| Err((FailureKind::Infrastructure, "joining the looks panicked".to_owned()));
    match joined.await.unwrap_or_else(panicked) {
        Ok((effects, log)) => {
            last.effects = effects;
            last.log = log;
            // Only a call that returned has fuel, and the last one decides whether there is any.
            last.fuel = last.fuel.map(|_| looks.fuel);
            last.peak_memory = looks.peak_memory;
            last
        }
        Err((kind, message)) => Completion::failed(kind, message),
    }
}

/// Both formats are lines of text, so joining them is putting them one after another.
fn join_blobs(parts: &[ArtifactRef], blobs: &dyn Blobs) -> Result<Option<ArtifactRef>, (FailureKind, String)> {
    if let [] | [_] = parts {
        return Ok(parts.first().copied());
    }
    let size = parts.iter().fold(0u64, |size, part| size.saturating_add(part.size));
    if size > MAX_JOINED {
        let message = format!("the looks' logs or effects are {size} bytes together: at most {MAX_JOINED}");
        return Err((FailureKind::Limit, message));
    }
    let broken = |error: BlobError| (FailureKind::Infrastructure, chain(&error));
    let mut joined = Vec::new();
    for part in parts {
        joined.extend(blobs.read(part.digest, MAX_JOINED).map_err(broken)?);
    }
    blobs.put(&joined).map(Some).map_err(broken)
}

/// An error with its sources, for a failure's message.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("failed to {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text += ": ";
        text += &error.to_string();
        source = error.source();
    }
    text
}
