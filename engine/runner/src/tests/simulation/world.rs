//! The world of one seed: a journal and blobs that survive processes, storage that fails, a server that remembers what it was asked,
//! people who say things. Every promise that can be broken at a moment is checked at that moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use lockgate_model::artifact::{ArtifactRef, Directory};
use lockgate_model::event::{Event, Signal};
use lockgate_model::outcome::Status;
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{FAIL_FAST, NodeState, RunState};
use lockgate_model::{Digest, NodeId, RunId};

use super::dice::Dice;
use super::scenario::Scenario;
use super::time::Time;
use crate::ports::{BlobError, Blobs, Cache, Cached, Interrupt, JournalError, JournalSink, Observer, Stamped};
use crate::run_id;
use crate::tests::{blob_ref, said};

/// Stands in every failure that is the simulation's doing.
pub(super) const FAULT: &str = "sim-fault";
pub(super) const PEOPLE: [&str; 3] = ["alice", "bob", "mallory"];

/// What the engine promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// The journal folds: no event that cannot have happened.
    Legal,
    /// What was acknowledged, or shown, is in the journal.
    Acknowledged,
    /// What succeeded is not executed again.
    Once,
    /// An effect is not repeated, or only under its key, and only where that is permitted.
    Effects,
    /// Nothing outside sees what is not durable.
    Durable,
    /// Failed nodes skip their dependants, and only them.
    Skips,
    /// `finally` nodes run after all others, and always end.
    Finally,
    /// No more executions at once than jobs.
    Jobs,
    /// Receipts and run digest are those of a run without faults.
    Digest,
    /// Only who may decides.
    Decisions,
    /// The run ends.
    Ends,
    /// The driver's last state is that of the journal.
    State,
}

/// A promise that was not kept.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) what: String,
}

/// Number of an effect: node, attempt, sequence.
pub(super) type Number = (usize, u32, u64);

/// An effect in the journal.
#[derive(Debug, Clone)]
pub(super) struct Intended {
    /// Where its intent stands.
    pub(super) at: usize,
    pub(super) answer: Option<serde_json::Value>,
}

/// One process.
#[derive(Default)]
pub(super) struct Process {
    pub(super) rough: bool,
    /// Moments until it is killed or interrupted.
    fuse: Option<(u64, Fuse)>,
    pub(super) interrupt: Interrupt,
    pub(super) jobs: usize,
    pub(super) running: usize,
    /// The first record that the observer has not seen.
    observed: usize,
    /// Nodes with an attempt that an earlier process began.
    pub(super) under_way: BTreeSet<usize>,
    /// Verdicts that are too old when it begins.
    pub(super) again: BTreeSet<usize>,
    /// Requests sent by it.
    sent: BTreeSet<Number>,
    /// Executions of each look of each attempt.
    pub(super) executed: HashMap<(usize, u32, u32), u32>,
    /// Looks that failed.
    pub(super) failed: BTreeSet<(usize, u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fuse {
    Crash,
    Interrupt,
}

pub(super) struct Inner {
    pub(super) journal: Vec<Stamped>,
    /// The fold of the journal.
    pub(super) durable: RunState,
    pub(super) intents: BTreeMap<Number, Intended>,
    pub(super) blobs: HashMap<Digest, Vec<u8>>,
    pub(super) proofs: HashMap<Digest, Cached>,
    pub(super) process: Process,
    /// What the server got, by effect.
    pub(super) served: BTreeMap<Number, u32>,
    pub(super) broken: Option<Broken>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) story: Option<Vec<String>>,
    /// What is said of a node once it waits: in the run without faults.
    pub(super) script: HashMap<NodeId, (Signal, String, Option<String>)>,
    /// Whether a verdict was taken again.
    pub(super) again: bool,
}

pub(super) struct World {
    pub(super) scenario: Arc<Scenario>,
    pub(super) time: Arc<Time>,
    pub(super) dice: Dice,
    /// Nobody comes by.
    pub(super) alone: bool,
    inner: Mutex<Inner>,
}

impl World {
    pub(super) fn new(scenario: Arc<Scenario>, dice: Dice, telling: bool, alone: bool) -> Arc<Self> {
        let durable = RunState::new(Arc::clone(&scenario.pipeline), Arc::clone(&scenario.graph));
        let inner = Inner {
            journal: Vec::new(),
            durable,
            intents: BTreeMap::new(),
            blobs: HashMap::new(),
            proofs: HashMap::new(),
            process: Process::default(),
            served: BTreeMap::new(),
            broken: None,
            counts: BTreeMap::new(),
            story: telling.then(Vec::new),
            script: HashMap::new(),
            again: false,
        };
        Arc::new(Self { scenario, time: Time::new(dice.clone()), dice, alone, inner: Mutex::new(inner) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn position(&self, node: &NodeId) -> usize {
        self.scenario.pipeline.nodes.iter().position(|made| made.id == *node).unwrap()
    }

    /// A process takes the run up.
    pub(super) fn begin(&self, rough: bool, jobs: usize) -> Interrupt {
        self.time.begin(rough);
        let rates = &self.scenario.rates;
        let fuse = match rough {
            true if self.dice.chance(rates.crash) => Some((self.dice.spread(9), Fuse::Crash)),
            true if self.dice.chance(rates.interrupt) => Some((self.dice.spread(9), Fuse::Interrupt)),
            _ => None,
        };
        let mut inner = self.lock();
        let observed = inner.journal.len();
        let running =
            |node: &usize| !matches!(inner.durable.state(*node), NodeState::Pending | NodeState::Finished { .. });
        let under_way = (0..self.scenario.pipeline.nodes.len()).filter(running).collect();
        inner.process = Process { rough, fuse, jobs, observed, under_way, ..Process::default() };
        inner.process.interrupt.clone()
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        let mut inner = self.lock();
        self.tell_in(&mut inner, what);
    }

    fn tell_in(&self, inner: &mut Inner, what: impl FnOnce() -> String) {
        if let Some(story) = &mut inner.story {
            story.push(format!("{:>12.3} {}", (self.time.now() % 1_000_000_000_000) as f64 / 1_000.0, what()));
        }
    }

    pub(super) fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    /// Notes that a promise was broken, and ends the process.
    pub(super) fn broke(&self, promise: Promise, what: String) {
        self.break_in(&mut self.lock(), promise, what);
    }

    fn break_in(&self, inner: &mut Inner, promise: Promise, what: String) {
        self.tell_in(inner, || format!("BROKEN {promise:?}: {what}"));
        inner.broken.get_or_insert(Broken { promise, what });
        self.time.die();
    }

    /// Whether the process goes on past this moment: it may be killed or interrupted here.
    pub(super) fn moment(&self, place: &str) -> bool {
        if self.time.is_dead() {
            return false;
        }
        let mut inner = self.lock();
        let burnt = match &mut inner.process.fuse {
            Some((left, fuse)) => {
                *left = left.saturating_sub(1);
                (*left == 0).then_some(*fuse)
            }
            None => None,
        };
        match burnt {
            None => true,
            Some(fuse) => {
                inner.process.fuse = None;
                let what = if fuse == Fuse::Crash { "crashes" } else { "interrupts" };
                *inner.counts.entry(what).or_default() += 1;
                self.tell_in(&mut inner, || format!("{fuse:?} {place}"));
                if fuse == Fuse::Crash {
                    self.time.die();
                } else {
                    inner.process.interrupt.raise();
                }
                fuse == Fuse::Interrupt
            }
        }
    }

    /// Whether something of this kind goes wrong now.
    pub(super) fn fault(&self, permille: u64, what: &'static str) -> bool {
        let hit = permille > 0 && self.lock().process.rough && self.dice.chance(permille);
        if hit {
            self.count(what);
            self.tell(|| format!("fault: {what}"));
        }
        hit
    }

    /// Appends a record that another process writes.
    pub(super) fn say(&self, node: Option<usize>, signal: Signal, by: &str) {
        let node = node.map(|node| self.scenario.pipeline.nodes[node].id.clone());
        let event = Event::Signalled { node, signal, by: by.to_owned(), comment: None };
        let time = self.time.now() / 1_000;
        let mut inner = self.lock();
        *inner.counts.entry("signals").or_default() += 1;
        self.record(&mut inner, Stamped { time, event });
    }

    /// Somebody says something: of a node that waits, if one does; sometimes nonsense.
    pub(super) fn somebody_says(&self) {
        if self.time.is_dead() || self.lock().journal.is_empty() {
            return;
        }
        let waiting: Vec<usize> = {
            let inner = self.lock();
            let waits = |node: &usize| {
                matches!(inner.durable.state(*node), NodeState::Waiting { .. }) || inner.durable.is_in_doubt(*node)
            };
            (0..self.scenario.pipeline.nodes.len()).filter(waits).collect()
        };
        let count = self.scenario.pipeline.nodes.len() as u64;
        let node = match waiting.is_empty() || self.dice.chance(200) {
            true => self.dice.below(count) as usize,
            false => *self.dice.pick(&waiting),
        };
        let signals = [Signal::Approve, Signal::Reject, Signal::Cancel, Signal::AssumeDone, Signal::AssumeRepeat];
        let node = (!self.dice.chance(20)).then_some(node);
        self.say(node, *self.dice.pick(&signals), self.dice.word(&PEOPLE));
    }

    /// Puts one record behind the others.
    fn record(&self, inner: &mut Inner, stamped: Stamped) {
        if inner.broken.is_some() {
            return;
        }
        self.tell_in(inner, || told(&stamped.event));
        self.check_record(inner, &stamped.event);
        if let Err(error) = inner.durable.apply(&stamped.event) {
            self.break_in(inner, Promise::Legal, format!("failed to {error}"));
        }
        let at = inner.journal.len();
        match &stamped.event {
            Event::EffectIntended { node, attempt, sequence, .. } => {
                if let Some(node) = inner.durable.position(node.as_str()) {
                    inner.intents.insert((node, *attempt, *sequence), Intended { at, answer: None });
                }
            }
            Event::EffectFinished { node, attempt, sequence, answer } => {
                let number = inner.durable.position(node.as_str()).map(|node| (node, *attempt, *sequence));
                if let Some(intended) = number.and_then(|number| inner.intents.get_mut(&number)) {
                    intended.answer = Some(answer.clone());
                }
            }
            Event::NodeFinished { receipt, facts, .. } => {
                if let Some(key) = stamped.event.proves() {
                    let cached =
                        Cached { run: run_id(1, 1), receipt: Receipt::clone(receipt), facts: facts.clone(), time: 0 };
                    inner.proofs.insert(key, cached);
                }
            }
            _ => {}
        }
        inner.journal.push(stamped);
    }

    /// What must hold when a record comes, besides that it is legal.
    fn check_record(&self, inner: &mut Inner, event: &Event) {
        match event {
            Event::EffectFinished { node, attempt, sequence, answer } if is_lost(answer) => {
                let Some(node) = inner.durable.position(node.as_str()) else { return };
                let intended = inner.intents.get(&(node, *attempt, *sequence));
                let said = intended.is_some_and(|intended| self.was_said(inner, node, intended.at, Signal::AssumeDone));
                if !said {
                    let name = self.scenario.name(node);
                    let what = format!("effect {sequence} of `{name}` counts as done, and nobody said so");
                    self.break_in(inner, Promise::Effects, what);
                }
            }
            Event::AttemptStarted { node, .. } => {
                let Some(node) = inner.durable.position(node.as_str()) else { return };
                if inner.durable.is_late(node) && !inner.durable.early_done() {
                    self.break_in(inner, Promise::Finally, format!("`{}` starts early", self.scenario.name(node)));
                }
            }
            Event::NodeFinished { receipt, reason, .. } if reason.as_deref() == Some(FAIL_FAST) => {
                let Some(node) = inner.durable.position(receipt.node.as_str()) else { return };
                if inner.durable.is_late(node) {
                    self.break_in(inner, Promise::Finally, format!("`{}` is cut", self.scenario.name(node)));
                }
            }
            Event::RunResumed { again, .. } => {
                inner.again |= !again.is_empty();
                let found: BTreeSet<_> = again.iter().filter_map(|id| inner.durable.position(id.as_str())).collect();
                if found != inner.process.again {
                    let what = format!("{found:?} are taken again, too old are {:?}", inner.process.again);
                    self.break_in(inner, Promise::Once, what);
                }
            }
            _ => {}
        }
    }

    /// Whether this was said of a node behind a record.
    pub(super) fn was_said(&self, inner: &Inner, node: usize, behind: usize, what: Signal) -> bool {
        let id = &self.scenario.pipeline.nodes[node].id;
        let says = |stamped: &Stamped| match &stamped.event {
            Event::Signalled { node: Some(node), signal, .. } => node == id && *signal == what,
            _ => false,
        };
        inner.journal.iter().skip(behind).any(says)
    }

    /// The server gets a request.
    pub(super) fn serve(&self, number: Number, key: &str) {
        if self.time.is_dead() {
            return;
        }
        let (node, attempt, sequence) = number;
        let effect = self.scenario.effect(node, sequence);
        let mut inner = self.lock();
        let name = self.scenario.name(node);
        self.tell_in(&mut inner, || format!("the server gets {key}: {}", effect.summary));
        *inner.counts.entry("requests").or_default() += 1;
        let mut broken = None;
        let stops = self.scenario.stops(node, &effect);
        let again = !inner.process.sent.insert(number);
        match inner.intents.get(&number) {
            None => broken = Some((Promise::Durable, "is sent before its intent is on disk".to_owned())),
            Some(Intended { answer: Some(_), .. }) => {
                broken = Some((Promise::Effects, "is sent although its outcome is on record".to_owned()));
            }
            Some(Intended { at, .. }) => {
                let before = inner.served.get(&number).copied().unwrap_or(0);
                if again {
                    broken = Some((Promise::Effects, "is sent twice by one process".to_owned()));
                } else if before > 0 && stops && !self.was_said(&inner, node, *at, Signal::AssumeRepeat) {
                    broken = Some((Promise::Effects, "is in doubt, and is sent again unasked".to_owned()));
                }
            }
        }
        let earlier = inner.intents.range((node, 0, 0)..(node, attempt, 0));
        let doubted = earlier.filter(|((_, _, earlier), _)| *earlier == sequence).find(|(number, intended)| {
            let asked = [Signal::AssumeRepeat, Signal::AssumeDone, Signal::Cancel]
                .into_iter()
                .any(|signal| self.was_said(&inner, node, intended.at, signal));
            intended.answer.is_none() && inner.served.contains_key(number) && !asked
        });
        if let Some(((_, earlier, _), _)) = doubted
            && stops
            && self.scenario.pipeline.nodes[node].poll.is_none()
        {
            let what = format!("is sent under a new key, while attempt {earlier} left it in doubt");
            broken.get_or_insert((Promise::Effects, what));
        }
        *inner.served.entry(number).or_default() += 1;
        if let Some((promise, what)) = broken {
            self.break_in(&mut inner, promise, format!("effect {sequence} of attempt {attempt} of `{name}` {what}"));
        }
    }
}

/// Whether an answer says that nobody knows it.
pub(super) fn is_lost(answer: &serde_json::Value) -> bool {
    answer["error"]["code"] == "answer-lost"
}

/// One record for people.
fn told(event: &Event) -> String {
    let node = event.node().map_or(String::new(), |node| format!(" {node}"));
    let more = match event {
        Event::AttemptStarted { attempt, .. } => format!(" attempt {attempt}"),
        Event::EffectIntended { attempt, sequence, .. } | Event::EffectFinished { attempt, sequence, .. } => {
            format!(" {attempt}/{sequence}")
        }
        Event::LookTaken { attempt, look, .. } => format!(" attempt {attempt}, look {look}"),
        Event::AttemptFailed { attempt, failure, next_in, .. } => {
            format!(" attempt {attempt}: {}: {}, next in {next_in}", failure.kind.name(), failure.message)
        }
        Event::NodeWaiting { until, attempt, .. } => format!(" until {until:?}, attempt {attempt:?}"),
        Event::Signalled { signal, by, .. } => format!(" {} by {by}", signal.name()),
        Event::RunResumed { again, .. } => format!(" again {again:?}"),
        Event::NodeFinished { receipt, attempt, reason, facts, .. } => {
            let failure =
                receipt.failure.as_ref().map(|failure| format!("{}: {}", failure.kind.name(), failure.message));
            let cached = if facts.cached { ", cached" } else { "" };
            let reason = reason.iter().chain(&failure).map(|text| format!(", {text}")).collect::<String>();
            format!(" {} behind attempt {attempt}{cached}{reason}", receipt.status.name())
        }
        Event::RunFinished { status, digest } => {
            format!(" {} {}", status.name(), digest.map_or(String::new(), |digest| digest.short().to_string()))
        }
        _ => String::new(),
    };
    format!("  {}{node}{more}", event.kind())
}

fn storage_failed() -> Box<dyn std::error::Error + Send + Sync> {
    format!("{FAULT}: input/output error").into()
}

impl JournalSink for World {
    fn append(&self, _: &RunId, events: &[Stamped]) -> Result<(), JournalError> {
        if !self.moment("before records are written") {
            return Err(JournalError(storage_failed()));
        }
        if self.fault(self.scenario.rates.append, "failed appends") {
            return Err(JournalError(storage_failed()));
        }
        if self.fault(self.scenario.rates.said, "signals beside an append") {
            self.somebody_says();
        }
        {
            let mut inner = self.lock();
            for stamped in events {
                self.record(&mut inner, stamped.clone());
                let script = stamped.event.node().and_then(|node| inner.script.get(node).cloned());
                if let (Event::NodeWaiting { node, .. }, Some((signal, by, comment))) = (&stamped.event, script) {
                    let event = Event::Signalled { node: Some(node.clone()), signal, by, comment };
                    self.record(&mut inner, Stamped { time: stamped.time, event });
                }
            }
        }
        if self.fault(self.scenario.rates.said, "signals beside an append") {
            self.somebody_says();
        }
        if self.moment("when records are written, and nobody knows") {
            Ok(())
        } else {
            Err(JournalError(storage_failed()))
        }
    }

    fn signals(&self, _: &RunId, after: u64) -> Result<(Vec<Stamped>, u64), JournalError> {
        if !self.moment("looking for signals") || self.fault(self.scenario.rates.signals, "failed reads of signals") {
            return Err(JournalError(storage_failed()));
        }
        let inner = self.lock();
        let behind = inner.journal.iter().skip(after as usize);
        let said = behind.filter(|stamped| matches!(stamped.event, Event::Signalled { .. })).cloned().collect();
        Ok((said, inner.journal.len() as u64))
    }
}

impl Blobs for World {
    fn read(&self, digest: Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        if !self.moment("reading a blob") || self.fault(self.scenario.rates.blob, "failed reads of blobs") {
            return Err(BlobError::Store(storage_failed()));
        }
        let bytes = self.lock().blobs.get(&digest).cloned();
        let bytes = bytes.ok_or_else(|| BlobError::Store(format!("no such blob: {digest}").into()))?;
        let size = bytes.len() as u64;
        if size > max { Err(BlobError::TooLarge { digest, size, max }) } else { Ok(bytes) }
    }

    fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, BlobError> {
        if !self.moment("writing a blob") || self.fault(self.scenario.rates.blob, "failed writes of blobs") {
            return Err(BlobError::Store(storage_failed()));
        }
        Ok(self.keep(bytes))
    }

    fn directory(&self, _: Digest) -> Result<Arc<Directory>, BlobError> {
        Err(BlobError::Store("no such directory".into()))
    }
}

impl World {
    /// Keeps a blob.
    pub(super) fn keep(&self, bytes: &[u8]) -> ArtifactRef {
        self.lock().blobs.insert(Digest::of(bytes), bytes.to_vec());
        blob_ref(bytes)
    }
}

impl Cache for World {
    fn find(&self, key: &Digest) -> Option<Cached> {
        if !self.moment("looking into the cache") {
            return None;
        }
        let found = self.lock().proofs.get(key).cloned()?;
        if self.fault(self.scenario.rates.cache, "cache entries that are not there") {
            return None;
        }
        if self.fault(self.scenario.rates.cache, "cache entries that prove nothing") {
            // Whoever takes it all the same gets another result than the node's.
            let mut found = found;
            (found.receipt.fuel, found.receipt.outputs) = (Some(1), Default::default());
            if self.dice.chance(300) {
                found.receipt.verdict = said("nonsense").verdict;
            } else {
                found.receipt.status = *self.dice.pick(&[Status::Failed, Status::Errored, Status::Skipped]);
            }
            return Some(found);
        }
        Some(found)
    }
}

impl Observer for World {
    fn event(&self, _: u64, event: &Event) {
        if !self.moment("showing an event") {
            return;
        }
        let mut inner = self.lock();
        if matches!(event, Event::Signalled { .. }) {
            if !inner.journal.iter().any(|stamped| stamped.event == *event) {
                self.break_in(&mut inner, Promise::Acknowledged, "a signal is shown that nobody gave".to_owned());
            }
            return;
        }
        let seen = inner.process.observed;
        let own = |stamped: &&Stamped| !matches!(stamped.event, Event::Signalled { .. });
        let next = inner.journal.iter().enumerate().skip(seen).find(|(_, stamped)| own(stamped));
        match next {
            Some((at, stamped)) if stamped.event == *event => inner.process.observed = at + 1,
            _ => {
                let what = format!("`{}` is shown, and is not the journal's next", event.kind());
                self.break_in(&mut inner, Promise::Acknowledged, what);
            }
        }
    }
}
