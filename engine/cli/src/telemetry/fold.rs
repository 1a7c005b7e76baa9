//! From a run's events to its spans: a pure function, fed one event at a time, live or out of the journal.
//!
//! ```text
//! run                         root, or a child of TRACEPARENT's span; one for each time that the run is started or resumed
//! └─ node                     from its first attempt to its receipt
//!    └─ attempt N
//!       ├─ effect             below the look, where the node is polled
//!       └─ look N
//! ```
//!
//! A skipped node has no span: it is an event of the root. What is still open when the run ends or goes on elsewhere is closed
//! with an error; but a node that waits for somebody outside is one span, however many processes take the run up meanwhile: it
//! belongs to the session in which it ends. Signals are events of the node, or of the root. Spans are given when they end, so a
//! parent comes after its children.

mod root;

use std::collections::{BTreeMap, HashMap};

use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::outcome::{Failure, FailureKind, Status, Verdict};
use lockgate_model::pipeline::{NodeKind, Pipeline};
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, NodeId};
use serde_json::Value as Json;

use self::root::Root;
use super::context::{Ids, SpanId};
use super::span::{Attributes, Events, Kind, Span, SpanEvent};
use super::words;

/// Why a span was closed that nothing ended.
const UNFINISHED: &str = "it did not end";

/// Makes spans of events.
#[derive(Debug)]
pub(crate) struct Fold {
    ids: Ids,
    nodes: HashMap<NodeId, Known>,
    plugins: HashMap<Digest, String>,
    /// What the root of each session says.
    about: Attributes,
    name: String,
    /// Sessions that began.
    sessions: u32,
    root: Option<Root>,
    /// Nodes that began and have no receipt, in order, so that closing them gives the same spans every time.
    open: BTreeMap<NodeId, Open>,
    /// The time of the last event.
    last: u64,
}

/// What the pipeline says of a node.
#[derive(Debug, Clone, Copy)]
struct Known {
    kind: NodeKind,
    polled: bool,
    allow_failure: bool,
}

/// A node that began.
#[derive(Debug)]
struct Open {
    start: u64,
    attempt: Option<Attempt>,
    /// Whether it waits for somebody outside.
    waits: bool,
    events: Events,
}

#[derive(Debug)]
struct Attempt {
    number: u32,
    start: u64,
    /// Looks that are over.
    looks: u32,
    look_start: u64,
    effects: BTreeMap<u64, Intended>,
}

/// An effect without its outcome.
#[derive(Debug)]
struct Intended {
    start: u64,
    kind: String,
    summary: String,
    parent: SpanId,
}

impl Fold {
    /// For a run of this pipeline.
    pub(crate) fn new(ids: Ids, pipeline: &Pipeline) -> Self {
        let known = |node: &lockgate_model::pipeline::Node| Known {
            kind: node.kind,
            polled: node.poll.is_some(),
            allow_failure: node.allow_failure,
        };
        Self {
            ids,
            nodes: pipeline.nodes.iter().map(|node| (node.id.clone(), known(node))).collect(),
            plugins: HashMap::new(),
            about: Attributes::default(),
            name: pipeline.name.clone(),
            sessions: 0,
            root: None,
            open: BTreeMap::new(),
            last: 0,
        }
    }

    /// Takes in an event; gives the spans that it ends. Events that do not fit are passed over: they are the journal's affair.
    pub(crate) fn apply(&mut self, time: u64, event: &Event) -> Vec<Span> {
        let mut spans = Vec::new();
        match event {
            Event::RunStarted { pipeline_digest, file, components, engine, determinism, selection, .. } => {
                self.plugins = components.values().map(|plugin| (plugin.digest, plugin.name.clone())).collect();
                self.about
                    .put("cicd.pipeline.name", self.name.as_str())
                    .put("cicd.pipeline.run.id", self.ids.run().as_str())
                    .put("cicd.pipeline.action.name", "RUN")
                    .put("lockgate.pipeline.file", file.as_str())
                    .put("lockgate.pipeline.digest", pipeline_digest.to_string())
                    .put("lockgate.engine.version", engine.as_str())
                    .put("lockgate.engine.determinism", determinism.as_str());
                if let Some(selection) = selection {
                    self.about.put("lockgate.selection", selection.to_string());
                }
                self.begin(time, &mut spans);
            }
            Event::AttemptStarted { node, attempt, .. } => {
                self.attempt(node, *attempt, time);
            }
            Event::EffectIntended { node, attempt, sequence, kind, summary, .. } => {
                self.intended(node, *attempt, *sequence, time, kind, summary);
            }
            Event::EffectFinished { node, attempt, sequence, answer } => {
                if let Some(intended) = self.attempt(node, *attempt, time).effects.remove(sequence) {
                    spans.push(self.effect(node, *attempt, *sequence, intended, time, Some(answer)));
                }
            }
            Event::LookTaken { node, attempt, look, verdict, failure, next_in } => {
                let open = self.attempt(node, *attempt, time);
                let start = open.look_start;
                open.looks = look.saturating_add(1);
                open.look_start = time.saturating_add(*next_in);
                spans.push(self.look(node, *attempt, *look, (start, time), verdict.as_ref(), failure.as_ref()));
            }
            Event::AttemptFailed { node, attempt, failure, facts, .. } => {
                self.attempt(node, *attempt, time);
                let mut attributes = Attributes::default();
                words::usage(&mut attributes, facts, None);
                let error = words::failure(&mut attributes, failure);
                self.end_attempt(node, time, attributes, Some((None, Some(failure))), Some(error), &mut spans);
            }
            Event::NodeFinished { receipt, attempt, reason, facts, .. } => {
                self.node_finished(receipt, *attempt, reason.as_deref(), facts, time, &mut spans);
            }
            Event::NodeWaiting { node, until, .. } => {
                let mut attributes = Attributes::default();
                if let Some(until) = until {
                    attributes.put("lockgate.until_ms", *until);
                }
                let open = self.open(node, time);
                open.waits = true;
                open.events.push(SpanEvent { time, name: "lockgate.waiting", attributes });
            }
            Event::Signalled { node, signal, by, comment } => {
                let signal = words::signal(time, *signal, by, comment.as_deref());
                match (node.as_ref().and_then(|node| self.open.get_mut(node)), &mut self.root) {
                    (Some(open), _) => open.events.push(signal),
                    (None, Some(root)) => root.events.push(signal),
                    (None, None) => {}
                }
            }
            Event::RunWaiting { .. } => spans.extend(self.end_root(time, None, None)),
            Event::RunResumed { .. } => self.begin(time, &mut spans),
            Event::GraphProved { .. } | Event::GraphServed { .. } => {}
            Event::RunFinished { status, digest } => {
                self.end_open(time, if *status == Status::Cancelled { "cancelled" } else { UNFINISHED }, &mut spans);
                spans.extend(self.end_root(time, Some(*status), *digest));
            }
        }
        self.last = self.last.max(time);
        spans
    }

    /// Closes what is open at the time of the last event, if the session did not end: nothing more will be heard of it. What waits
    /// goes on waiting.
    pub(crate) fn abandon(&mut self) -> Vec<Span> {
        let mut spans = Vec::new();
        if self.root.is_some() {
            let waiting: BTreeMap<_, _> = self.open.extract_if(.., |_, open| open.waits).collect();
            self.end_open(self.last, UNFINISHED, &mut spans);
            self.open = waiting;
            spans.extend(self.end_root(self.last, Some(Status::Errored), None));
        }
        spans
    }

    /// Begins a session of the run. What an earlier one left open ended with its last event.
    fn begin(&mut self, time: u64, spans: &mut Vec<Span>) {
        spans.extend(self.abandon());
        self.sessions = self.sessions.saturating_add(1);
        self.root = Some(Root::new(time));
    }

    const fn session(&self) -> u32 {
        self.sessions.saturating_sub(1)
    }

    /// The open node; begun now, where nothing said so before.
    fn open(&mut self, node: &NodeId, time: u64) -> &mut Open {
        let begun = || Open { start: time, attempt: None, waits: false, events: Events::default() };
        self.open.entry(node.clone()).or_insert_with(begun)
    }

    /// The node's attempt of this number; begun now, where nothing said so before.
    fn attempt(&mut self, node: &NodeId, number: u32, time: u64) -> &mut Attempt {
        let open = self.open(node, time);
        // Whatever it waited for came.
        open.waits = false;
        if open.attempt.as_ref().is_some_and(|attempt| attempt.number != number) {
            open.attempt = None;
        }
        let begun = || Attempt { number, start: time, looks: 0, look_start: time, effects: BTreeMap::new() };
        open.attempt.get_or_insert_with(begun)
    }

    fn intended(&mut self, node: &NodeId, attempt: u32, sequence: u64, time: u64, kind: &str, summary: &str) {
        let session = self.session();
        let looks = self.attempt(node, attempt, time).looks;
        let polled = self.nodes.get(node).is_some_and(|known| known.polled);
        let parent = match polled {
            true => self.ids.look(session, node, attempt, looks),
            false => self.ids.attempt(session, node, attempt),
        };
        let intended = Intended { start: time, kind: kind.to_owned(), summary: summary.to_owned(), parent };
        self.attempt(node, attempt, time).effects.insert(sequence, intended);
    }

    fn effect(
        &self,
        node: &NodeId,
        attempt: u32,
        sequence: u64,
        intended: Intended,
        end: u64,
        answer: Option<&Json>,
    ) -> Span {
        let words::EffectWords { name, kind, mut attributes, error } =
            words::effect(&intended.kind, &intended.summary, answer);
        attributes.put("lockgate.effect.kind", intended.kind).put("lockgate.effect.sequence", sequence);
        Span {
            kind,
            attributes,
            error,
            ..span(self.ids.effect(node, attempt, sequence), intended.parent, name, (intended.start, end))
        }
    }

    fn look(
        &self,
        node: &NodeId,
        attempt: u32,
        look: u32,
        time: (u64, u64),
        verdict: Option<&Verdict>,
        failure: Option<&Failure>,
    ) -> Span {
        let session = self.session();
        let mut attributes = Attributes::default();
        attributes.put("lockgate.look", look);
        if let Some(verdict) = verdict {
            words::verdict(&mut attributes, verdict);
        }
        // A verdict that the node does not accept fails the node; the look did what it should.
        let failure = failure.filter(|failure| failure.kind != FailureKind::Verdict);
        let error = failure.map(|failure| words::failure(&mut attributes, failure));
        let (id, parent) = (self.ids.look(session, node, attempt, look), self.ids.attempt(session, node, attempt));
        Span { attributes, error, ..span(id, parent, format!("look {}", u64::from(look) + 1), time) }
    }

    /// Ends the open attempt of a node, if there is one, with its effects. `said` is the verdict and the failure of its last look.
    fn end_attempt(
        &mut self,
        node: &NodeId,
        time: u64,
        attributes: Attributes,
        said: Option<(Option<&Verdict>, Option<&Failure>)>,
        error: Option<String>,
        spans: &mut Vec<Span>,
    ) {
        let session = self.session();
        let Some(attempt) = self.open.get_mut(node).and_then(|open| open.attempt.take()) else { return };
        for (sequence, intended) in attempt.effects {
            spans.push(self.effect(node, attempt.number, sequence, intended, time, None));
        }
        if self.nodes.get(node).is_some_and(|known| known.polled) {
            let (verdict, failure) = said.unwrap_or_default();
            let mut look = self.look(node, attempt.number, attempt.looks, (attempt.look_start, time), verdict, failure);
            if said.is_none() {
                look.error.clone_from(&error);
            }
            // An attempt that ends while it waits for its next look has none.
            if look.start <= time {
                spans.push(look);
            }
        }
        let mut all = Attributes::default();
        all.put("lockgate.attempt", attempt.number);
        all.0.extend(attributes.0);
        let (id, parent) = (self.ids.attempt(session, node, attempt.number), self.ids.node(session, node));
        let name = format!("attempt {}", attempt.number);
        spans.push(Span { attributes: all, error, ..span(id, parent, name, (attempt.start, time)) });
    }

    fn node_finished(
        &mut self,
        receipt: &Receipt,
        attempt: u32,
        reason: Option<&str>,
        facts: &AttemptFacts,
        time: u64,
        spans: &mut Vec<Span>,
    ) {
        let id = &receipt.node;
        let known = self.nodes.get(id).copied();
        if let Some(root) = &mut self.root {
            root.count(receipt, known.is_some_and(|known| known.allow_failure), facts.cached);
            if receipt.status == Status::Skipped {
                root.skipped(id, reason, time);
            }
        }
        let mut used = Attributes::default();
        words::usage(&mut used, facts, receipt.fuel);
        let error = receipt.failure.as_ref().map(|failure| words::failure(&mut used, failure));
        let said = Some((receipt.verdict.as_ref(), receipt.failure.as_ref()));
        self.end_attempt(id, time, used, said, error.clone(), spans);
        let open = self.open.remove(id);
        if receipt.status == Status::Skipped && open.is_none() {
            return;
        }
        let mut attributes = self.task(id, words::result(receipt.status, receipt.failure.as_ref()));
        if let Some(failure) = &receipt.failure {
            words::failure(&mut attributes, failure);
        }
        if let Some(component) = &receipt.component {
            let name = self.plugins.get(component).map_or("", String::as_str);
            attributes.put("lockgate.plugin.name", name).put("lockgate.plugin.digest", component.to_string());
        }
        attributes.put("lockgate.node.attempts", attempt).put("lockgate.node.cached", facts.cached);
        words::receipt(&mut attributes, receipt, facts);
        let (start, events) = open.map_or((time, Events::default()), |open| (open.start, open.events));
        spans.push(self.node(id, (start, time), attributes, events, error));
    }

    /// What every span of a node says first.
    fn task(&self, node: &NodeId, result: &'static str) -> Attributes {
        let mut attributes = Attributes::default();
        attributes
            .put("cicd.pipeline.task.name", node.as_str())
            .put("cicd.pipeline.task.run.id", format!("{}/{node}", self.ids.run()))
            .put("cicd.pipeline.task.run.result", result);
        if let Some(known) = self.nodes.get(node) {
            attributes.put("lockgate.node.kind", known.kind.name());
        }
        attributes
    }

    fn node(
        &self,
        node: &NodeId,
        time: (u64, u64),
        attributes: Attributes,
        events: Events,
        error: Option<String>,
    ) -> Span {
        let session = self.session();
        let (id, parent) = (self.ids.node(session, node), self.ids.root(session));
        Span { attributes, events, error, ..span(id, parent, node.as_str().to_owned(), time) }
    }

    /// Closes every node that is open.
    fn end_open(&mut self, time: u64, why: &str, spans: &mut Vec<Span>) {
        let open: Vec<_> = self.open.keys().cloned().collect();
        for node in open {
            let mut attributes = Attributes::default();
            attributes.put("error.type", "cancelled");
            self.end_attempt(&node, time, attributes, None, Some(why.to_owned()), spans);
            let mut attributes = self.task(&node, words::result(Status::Cancelled, None));
            attributes.put("error.type", "cancelled");
            if let Some(open) = self.open.remove(&node) {
                spans.push(self.node(&node, (open.start, time), attributes, open.events, Some(why.to_owned())));
            }
        }
    }

    /// Ends the session's root; without a status the run waits.
    fn end_root(&mut self, time: u64, status: Option<Status>, digest: Option<Digest>) -> Option<Span> {
        let root = self.root.take()?;
        let session = self.session();
        let mut attributes = self.about.clone();
        let error = root.end(&mut attributes, status, digest, self.nodes.len());
        Some(Span {
            id: self.ids.root(session),
            parent: self.ids.parent,
            remote: self.ids.parent.is_some(),
            kind: Kind::Server,
            name: format!("RUN {}", self.name),
            start: root.start,
            end: time.max(root.start),
            attributes,
            events: root.events,
            link: session.checked_sub(1).map(|before| self.ids.root(before)),
            error,
        })
    }
}

/// A span inside of the run, with nothing said of it yet.
fn span(id: SpanId, parent: SpanId, name: String, (start, end): (u64, u64)) -> Span {
    Span {
        id,
        parent: Some(parent),
        remote: false,
        name,
        kind: Kind::Internal,
        start,
        end: end.max(start),
        attributes: Attributes::default(),
        events: Events::default(),
        link: None,
        error: None,
    }
}

#[cfg(test)]
mod tests;
