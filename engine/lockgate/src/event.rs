//! What is told of a run while it goes on, and how it gets to those who listen.
//!
//! Each sink has a thread of its own, which reads the journal: the engine only says that there is more. So a sink hears every event,
//! in order, after it is durable, and however slow it is, the run does not wait for it and no event is lost. Only at the end
//! [`Engine::run`](crate::Engine::run) waits until all sinks heard everything, at most [`PATIENCE`]; what a sink still has not heard
//! then, it hears later.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockgate_model::RunId;
use lockgate_model::event;
use lockgate_runner::Observer;
use lockgate_store::Store;

use crate::report::Status;
use crate::wiring::text::clean_line;

/// How long a finished run waits for its sinks: who is slower than this hears the rest in the background.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Events that a sink's thread has in memory at once.
const BATCH: usize = 256;

/// One event of a run, as the journal has it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// Its number in the journal of the state directory, rising.
    pub seq: u64,
    /// When it was put in order, in milliseconds since 1970.
    pub time_ms: u64,
    /// The run.
    pub run: String,
    /// What happened.
    pub what: What,
    /// The event in full, as `lockgate run --format json` prints it; its form is that of the journal.
    pub json: serde_json::Value,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A run began.
    RunStarted {
        /// Name of the pipeline.
        pipeline: String,
    },
    /// A run goes on in this process.
    RunResumed,
    /// An attempt of a node began.
    NodeStarted {
        /// The node.
        node: String,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// An effect is about to start.
    EffectIntended {
        /// The node.
        node: String,
        /// `http`, `tcp`, `process`, `clock`, `app`.
        kind: String,
        /// The request, for people.
        summary: String,
    },
    /// An effect ended.
    EffectFinished {
        /// The node.
        node: String,
    },
    /// A look of a polled node was taken and is not the last one.
    LookTaken {
        /// The node.
        node: String,
        /// What it said, if it did.
        verdict: Option<String>,
    },
    /// An attempt failed and another one follows.
    AttemptFailed {
        /// The node.
        node: String,
        /// Why.
        message: String,
    },
    /// A node waits for something outside.
    NodeWaiting {
        /// The node.
        node: String,
    },
    /// Somebody said something about the run or one of its nodes.
    Signalled {
        /// The node; none: the run.
        node: Option<String>,
        /// `approve`, `reject`, `cancel`, `assume-done`, `assume-repeat`.
        signal: String,
        /// Who.
        by: String,
    },
    /// A node has its receipt.
    NodeFinished {
        /// The node.
        node: String,
        /// How it ended.
        status: Status,
        /// Whether an earlier execution proved it, and nothing was executed.
        cached: bool,
        /// Why it failed, if it did.
        message: Option<String>,
    },
    /// Only waiting nodes are left, and this process lets go of the run.
    RunWaiting,
    /// The run is over.
    RunFinished {
        /// How it ended.
        status: Status,
        /// Its digest, if it has one.
        digest: Option<String>,
    },
    /// Something that this version of the library has no name for; see [`Event::json`].
    Other,
}

impl Event {
    pub(crate) fn of(run: &RunId, record: lockgate_store::Record) -> Self {
        use event::Event as E;
        let name = ToString::to_string;
        let what = match &record.event {
            E::RunStarted { name, .. } => What::RunStarted { pipeline: name.clone() },
            E::RunResumed { .. } => What::RunResumed,
            E::AttemptStarted { node, attempt, .. } => What::NodeStarted { node: name(node), attempt: *attempt },
            E::EffectIntended { node, kind, summary, .. } => {
                What::EffectIntended { node: name(node), kind: kind.clone(), summary: summary.clone() }
            }
            E::EffectFinished { node, .. } => What::EffectFinished { node: name(node) },
            E::LookTaken { node, verdict, .. } => {
                What::LookTaken { node: name(node), verdict: verdict.as_ref().map(|verdict| verdict.word.clone()) }
            }
            E::AttemptFailed { node, failure, .. } => {
                What::AttemptFailed { node: name(node), message: failure.message.clone() }
            }
            E::NodeWaiting { node, .. } => What::NodeWaiting { node: name(node) },
            E::Signalled { node, signal, by, .. } => {
                What::Signalled { node: node.as_ref().map(name), signal: signal.name().to_owned(), by: by.clone() }
            }
            E::NodeFinished { receipt, facts, .. } => What::NodeFinished {
                node: name(&receipt.node),
                status: receipt.status.into(),
                cached: facts.cached,
                message: receipt.failure.as_ref().map(|failure| failure.message.clone()),
            },
            E::RunWaiting { .. } => What::RunWaiting,
            // Sinks hear what happened in the nodes.
            E::GraphProved { .. } | E::GraphServed { .. } => What::Other,
            E::RunFinished { status, digest } => {
                What::RunFinished { status: (*status).into(), digest: digest.map(|digest| digest.to_string()) }
            }
        };
        let json = serde_json::to_value(&record.event).unwrap_or_default();
        Self { seq: record.seq, time_ms: record.time_ms, run: run.to_string(), what, json }
    }
}

/// One line without times, for people: what guests wrote is shown without control characters.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.what {
            What::RunStarted { pipeline } => format!("run of `{pipeline}` started"),
            What::RunResumed => "run resumed".to_owned(),
            What::NodeStarted { node, attempt: 1 } => format!("{node}: started"),
            What::NodeStarted { node, attempt } => format!("{node}: attempt {attempt} started"),
            What::EffectIntended { node, kind, summary } => format!("{node}: {kind} {summary}"),
            What::EffectFinished { node } => format!("{node}: effect finished"),
            What::LookTaken { node, verdict } => format!("{node}: {}", verdict.as_deref().unwrap_or("look failed")),
            What::AttemptFailed { node, message } => format!("{node}: attempt failed: {message}"),
            What::NodeWaiting { node } => format!("{node}: waiting"),
            What::Signalled { node, signal, by } => format!("{}: {signal} by {by}", node.as_deref().unwrap_or("run")),
            What::NodeFinished { node, status, cached, message } => {
                let cached = if *cached { ", cached" } else { "" };
                let why = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
                format!("{node}: {status}{cached}{why}")
            }
            What::RunWaiting => "run waiting".to_owned(),
            What::RunFinished { status, digest: None } => format!("run {status}"),
            What::RunFinished { status, digest: Some(digest) } => format!("run {status} {digest}"),
            What::Other => self.json["event"].as_str().unwrap_or("event").to_owned(),
        };
        f.pad(&clean_line(&text))
    }
}

/// Who hears events. Shared by the runs of an engine, one event at a time.
pub(crate) type Sink = Arc<Mutex<dyn FnMut(&Event) + Send>>;

/// Tells sinks' threads that there is more.
pub(crate) struct Bell(Vec<SyncSender<()>>);

impl Observer for Bell {
    fn event(&self, _: u64, _: &event::Event) {
        for sink in &self.0 {
            // A full channel says the same already; a closed one is a sink that panicked.
            let _: Result<(), TrySendError<()>> = sink.try_send(());
        }
    }
}

/// The threads of the sinks of one run.
pub(crate) struct Listeners(Vec<Receiver<Option<String>>>);

impl Listeners {
    /// Starts a thread for each sink. What stands in the journal up to `heard` was heard before.
    pub(crate) fn start(sinks: &[Sink], store: &Store, run: &RunId, heard: u64) -> std::io::Result<(Bell, Self)> {
        let (mut bells, mut ends) = (Vec::new(), Vec::new());
        for sink in sinks {
            // One is enough: it says that there is more, not how much.
            let (bell, rung) = sync_channel(1);
            let (end, ended) = sync_channel(1);
            let (sink, store, run) = (sink.clone(), store.clone(), run.clone());
            std::thread::Builder::new().name("lockgate-events".to_owned()).spawn(move || {
                let told = catch_unwind(AssertUnwindSafe(|| listen(&sink, &store, &run, heard, &rung)));
                let _ = end.send(match told {
                    Ok(told) => told.err(),
                    Err(_) => Some("an event sink panicked; it hears no more of this run".to_owned()),
                });
            })?;
            bells.push(bell);
            ends.push(ended);
        }
        Ok((Bell(bells), Self(ends)))
    }

    /// Waits until every sink heard everything, for a while. Gives what went wrong with any. May block.
    pub(crate) fn finish(self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        let end = |ended: Receiver<Option<String>>| match ended
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => Some(format!(
                "an event sink is slow: after {} s it hears the rest in the background",
                patience.as_secs()
            )),
            Err(RecvTimeoutError::Disconnected) => Some("an event sink ended without a word".to_owned()),
        };
        self.0.into_iter().filter_map(end).collect()
    }
}

/// Tells a sink what is new in the journal, each time the bell rings, until nobody can ring it any more.
fn listen(sink: &Sink, store: &Store, run: &RunId, mut heard: u64, rung: &Receiver<()>) -> Result<(), String> {
    loop {
        let over = rung.recv().is_err();
        loop {
            let new = store.records_after(run, heard, BATCH);
            let new =
                new.map_err(|error| format!("an event sink cannot go on: failed to read the journal: {error}"))?;
            let last = new.len() < BATCH;
            for record in new {
                heard = record.seq;
                let event = Event::of(run, record);
                sink.lock().unwrap_or_else(PoisonError::into_inner)(&event);
            }
            if last {
                break;
            }
        }
        if over {
            return Ok(());
        }
    }
}
