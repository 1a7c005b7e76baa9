//! The state of a run: a fold over its events, by one transition function that starting, resuming and showing all use.
//!
//! A [`RunState`] follows from a pipeline and the events alone. [`RunState::apply`] refuses, by name, every event that cannot
//! have happened: so a damaged journal and a bug of the scheduler are found at the first wrong record.
//!
//! States of a node:
//!
//! ```text
//! pending --AttemptStarted--> running --LookTaken--> waiting-for-look --any event of the attempt--> running
//!    |                           |  \--AttemptFailed--> backing-off --AttemptStarted--> running
//!    +------NodeFinished---------+-----------NodeFinished-----------> finished
//!    +------NodeWaiting--> waiting --NodeFinished--> finished
//!                          \--any event of the attempt, once it was said what to assume--> running
//! ```
//!
//! `RunResumed` brings nodes back to pending (see `resume.rs`); what is said from outside is kept beside the nodes' states (see
//! `gate.rs`).
//!
//! To add an event: a variant of [`Event`], an arm of [`RunState::apply`], a variant of [`IllegalTransition`] for each way in
//! which it can be wrong, and a test of each.

mod gate;
mod illegal;
mod part;
mod query;
mod resume;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use crate::digest::Digest;
use crate::event::{Component, Event};
use crate::graph::{Edge, Graph};
use crate::id::{NodeId, PluginAlias};
use crate::outcome::{Failure, FailureKind, Status, Verdict};
use crate::pipeline::{Node, Pipeline};
use crate::receipt::Receipt;

use gate::Outside;
use part::Part;

pub use gate::Said;
pub use illegal::IllegalTransition;
pub use part::Role;

/// The reason of a skip by `--fail-fast`. Other reasons are for people only; this one also takes the run digest away, because
/// which nodes it hits depends on how fast the others were.
pub const FAIL_FAST: &str = "fail-fast";
/// The reason of a skip because the run is of a part of the pipeline that the node does not belong to.
pub const NOT_SELECTED: &str = "not selected";

/// Good and bad looks in a row, up to now. A look that failed counts as a bad one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    /// Good ones: `healthy` or `promote`.
    pub good: u32,
    /// Bad ones: `unhealthy`, `rollback`, or none because the look failed.
    pub bad: u32,
}

impl Rows {
    /// The rows after one more look.
    pub fn after(self, verdict: Option<&Verdict>, failure: Option<&Failure>) -> Self {
        let bad = failure.is_some() || verdict.is_some_and(Verdict::is_bad);
        let good = !bad && verdict.is_some_and(Verdict::is_good);
        let next = |row: u32, counts: bool| if counts { row.saturating_add(1) } else { 0 };
        Self { good: next(self.good, good), bad: next(self.bad, bad) }
    }
}

/// One attempt that has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// The action key.
    pub key: Digest,
    /// The look that is taken, or comes next, from 0.
    pub look: u32,
    /// What the looks before it said.
    pub rows: Rows,
}

/// Why a node was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Its own `when` was false. What comes after it goes on.
    When,
    /// Something it needs did not succeed. It passes its skip on.
    Need,
    /// Another node failed and the run was to fail fast.
    FailFast,
    /// The run is of a part of the pipeline, and the node is neither selected nor needed.
    NotSelected,
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeState {
    /// Nothing happened yet.
    Pending,
    /// An attempt runs.
    Running(Attempt),
    /// A look was taken; the next one comes.
    WaitingForLook(Attempt),
    /// An attempt failed; another will follow.
    BackingOff {
        /// Number of the attempt that failed.
        attempt: u32,
    },
    /// It waits for something outside.
    Waiting {
        /// Until when, in milliseconds since 1970; none: a signal ends it.
        until: Option<u64>,
        /// The attempt with an effect in doubt; none of a node without a plugin.
        attempt: Option<Attempt>,
    },
    /// It has its final receipt.
    Finished {
        /// The receipt's digest.
        digest: Digest,
        /// The receipt.
        receipt: Arc<Receipt>,
        /// Number of its last attempt; 0: none was made.
        attempt: u32,
        /// Why it was skipped, if it was.
        skip: Option<Skip>,
    },
}

impl NodeState {
    /// The state's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running(_) => "running",
            Self::WaitingForLook(_) => "waiting-for-look",
            Self::BackingOff { .. } => "backing-off",
            Self::Waiting { .. } => "waiting",
            Self::Finished { .. } => "finished",
        }
    }
}

/// How many nodes stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not begun.
    pub pending: usize,
    /// An attempt runs.
    pub running: usize,
    /// Between two looks or two attempts.
    pub waiting: usize,
    /// Waiting for something outside.
    pub held: usize,
    /// Final: succeeded.
    pub succeeded: usize,
    /// Final: failed.
    pub failed: usize,
    /// Final: skipped.
    pub skipped: usize,
    /// Final: errored.
    pub errored: usize,
}

impl Counts {
    /// Nodes that are final.
    pub const fn finished(&self) -> usize {
        self.succeeded + self.failed + self.skipped + self.errored
    }

    fn slot(&mut self, state: &NodeState) -> &mut usize {
        match state {
            NodeState::Pending => &mut self.pending,
            NodeState::Running(_) => &mut self.running,
            NodeState::WaitingForLook(_) | NodeState::BackingOff { .. } => &mut self.waiting,
            NodeState::Waiting { .. } => &mut self.held,
            NodeState::Finished { receipt, .. } => match receipt.status {
                Status::Succeeded => &mut self.succeeded,
                Status::Failed => &mut self.failed,
                Status::Skipped => &mut self.skipped,
                Status::Errored | Status::Cancelled => &mut self.errored,
            },
        }
    }
}

/// Whether a node's needs let it start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Something it needs is not final, or it is `finally` and others are not.
    Waiting,
    /// It may start.
    Ready,
    /// Something it needs is final and did not end as this node needs it: it is to be skipped.
    Blocked,
}

/// How a run ended, for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitClass {
    /// Everything that counts succeeded.
    Succeeded,
    /// A node said no.
    Failed,
    /// Repeated execution of a node gave something else.
    NotReproducible,
    /// Infrastructure kept a node from saying anything.
    Infrastructure,
    /// Only waiting nodes are left; `resume` goes on when that is answered.
    Waiting,
    /// It was interrupted; `resume` goes on.
    Interrupted,
}

impl ExitClass {
    /// The exit code of the command line.
    pub const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::NotReproducible => 4,
            Self::Infrastructure => 5,
            Self::Waiting => 6,
            Self::Interrupted => 130,
        }
    }
}

/// The state of a run.
///
/// Each event costs one look-up of its node, and a node's end as much as it has dependants: a whole run costs O(nodes + edges).
#[derive(Debug, Clone)]
pub struct RunState {
    pipeline: Arc<Pipeline>,
    graph: Arc<Graph>,
    index: HashMap<NodeId, u32, foldhash::quality::RandomState>,
    components: BTreeMap<PluginAlias, Component>,
    pipeline_digest: Option<Digest>,
    over: Option<(Status, Option<Digest>)>,
    /// Only waiting nodes are left, and nobody drives the run.
    paused: bool,
    nodes: Vec<NodeState>,
    /// Number of the last attempt of nodes that began again.
    tried: HashMap<u32, u32>,
    outside: Outside,
    /// Which part of the pipeline is run; none: all of it.
    part: Option<Box<Part>>,
    /// What each node still waits for: its needs, and for a `finally` node one more, for all that is not late.
    open: Vec<u32>,
    /// Nodes of which something needed did not end as they need it.
    blocked: Vec<bool>,
    /// `finally` nodes and what needs them: they run when all others are final.
    late: Vec<bool>,
    /// Nodes that are not late and not final.
    early_open: usize,
    /// Effects of attempts under way, of nodes that have any, and of the attempts in `left`.
    effects: HashMap<u32, Effects>,
    /// Attempts that failed with an effect in doubt, of nodes that ended by that: they go on once it was said what to assume.
    left: HashMap<u32, Attempt>,
    counts: Counts,
    marks: Marks,
    digest: OnceLock<Digest>,
}

#[derive(Debug, Clone, Default)]
struct Effects {
    intended: BTreeSet<u64>,
    /// Kind and summary of those without an outcome.
    open: BTreeMap<u64, (String, String)>,
}

/// What decides a run's status.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    errored: bool,
    failed: bool,
    early_failed: bool,
    not_reproducible: bool,
    cut: bool,
}

impl RunState {
    /// The state before the first event. The graph must be the pipeline's own.
    pub fn new(pipeline: Arc<Pipeline>, graph: Arc<Graph>) -> Self {
        let count = pipeline.nodes.len();
        let mut late = vec![false; count];
        for &node in graph.order() {
            late[node] = pipeline.nodes[node].finally || graph.needs(node).any(|(need, _)| late[need]);
        }
        let (open, early_open) = untouched(&pipeline, &graph, &late);
        Self {
            index: (0u32..).zip(&pipeline.nodes).map(|(i, node)| (node.id.clone(), i)).collect(),
            components: BTreeMap::new(),
            pipeline_digest: None,
            over: None,
            paused: false,
            nodes: vec![NodeState::Pending; count],
            tried: HashMap::new(),
            outside: Outside::default(),
            part: None,
            open,
            blocked: vec![false; count],
            late,
            early_open,
            effects: HashMap::new(),
            left: HashMap::new(),
            counts: Counts { pending: count, ..Counts::default() },
            marks: Marks::default(),
            digest: OnceLock::new(),
            pipeline,
            graph,
        }
    }

    /// Takes in one event, or refuses it and stays as it was. The one transition function: what runs, what is shown and what
    /// is recovered all go through it.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        let name = event.kind();
        match (&self.pipeline_digest, &self.over, event) {
            (Some(_), _, Event::RunStarted { .. }) => return Err(IllegalTransition::StartedTwice),
            (None, _, Event::RunStarted { .. }) => {}
            (None, _, _) => return Err(IllegalTransition::NotStarted(name)),
            (_, _, Event::RunResumed { .. } | Event::Signalled { .. }) => {}
            (_, Some(_), _) => return Err(IllegalTransition::Over(name)),
            (_, None, Event::RunFinished { status: Status::Cancelled, .. }) => {}
            (_, None, _) if self.paused => return Err(IllegalTransition::Paused(name)),
            _ => {}
        }
        match event {
            Event::RunStarted { pipeline_digest, components, selection, .. } => {
                let part = selection.as_ref().map(|selection| self.part_of(selection)).transpose()?;
                self.start(*pipeline_digest, components)?;
                self.part = part.map(Box::new);
                Ok(())
            }
            Event::AttemptStarted { node, attempt, key, .. } => self.start_attempt(name, node, *attempt, *key),
            Event::EffectIntended { node, attempt, sequence, kind, summary, .. } => {
                self.intend(name, node, *attempt, *sequence, (kind, summary))
            }
            Event::EffectFinished { node, attempt, sequence, .. } => {
                let index = self.find(name, node)?;
                let current = self.current(name, index, *attempt)?;
                let known = self.effects.get_mut(&index).is_some_and(|effects| effects.open.remove(sequence).is_some());
                let unknown = || IllegalTransition::EffectUnknown { node: node.clone(), sequence: *sequence };
                if !known {
                    return Err(unknown());
                }
                self.set(index, NodeState::Running(current));
                Ok(())
            }
            Event::LookTaken { node, attempt, look, verdict, failure, .. } => {
                let index = self.find(name, node)?;
                let current = self.current(name, index, *attempt)?;
                self.check_executes(name, index)?;
                if self.node(index).poll.is_none() {
                    return Err(IllegalTransition::NotPolled(node.clone()));
                }
                if current.look != *look {
                    return Err(IllegalTransition::Look { node: node.clone(), expected: current.look, found: *look });
                }
                let rows = current.rows.after(verdict.as_ref(), failure.as_ref());
                let next = Attempt { look: look.saturating_add(1), rows, ..current };
                self.set(index, NodeState::WaitingForLook(next));
                Ok(())
            }
            Event::AttemptFailed { node, attempt, failure, .. } => {
                let index = self.find(name, node)?;
                self.current(name, index, *attempt)?;
                self.check_executes(name, index)?;
                let retry = &self.node(index).retry;
                if attempt.saturating_sub(self.tried(at(index))) >= retry.attempts || !retry.on.contains(&failure.kind)
                {
                    return Err(IllegalTransition::NoRetry(node.clone()));
                }
                self.close(index);
                self.set(index, NodeState::BackingOff { attempt: *attempt });
                Ok(())
            }
            Event::NodeWaiting { node, until, attempt } => self.hold(name, node, *until, *attempt),
            Event::Signalled { node, signal, by, comment } => {
                self.signal(node.as_ref(), *signal, by, comment.as_deref())
            }
            Event::RunWaiting { .. } => self.pause(),
            Event::RunResumed { again, .. } => self.resume(again),
            Event::NodeFinished { receipt, digest, attempt, reason, facts } => {
                self.check_origin(receipt, facts)?;
                self.finish_node(name, receipt, *digest, *attempt, reason.as_deref())
            }
            // The nodes' own events stand behind it.
            Event::GraphProved { .. } | Event::GraphServed { .. } => Ok(()),
            Event::RunFinished { status, digest } => self.finish(*status, *digest),
        }
    }

    fn start(
        &mut self,
        digest: Digest,
        components: &BTreeMap<PluginAlias, Component>,
    ) -> Result<(), IllegalTransition> {
        let mut aliases = self.pipeline.nodes.iter().filter_map(|node| node.plugin.as_ref());
        if let Some(alias) = aliases.find(|alias| !components.contains_key(*alias)) {
            return Err(IllegalTransition::NoComponent(alias.clone()));
        }
        self.components = components.clone();
        self.pipeline_digest = Some(digest);
        Ok(())
    }

    fn start_attempt(
        &mut self,
        name: &'static str,
        node: &NodeId,
        found: u32,
        key: Digest,
    ) -> Result<(), IllegalTransition> {
        let index = self.find(name, node)?;
        let expected = match self.nodes[at(index)] {
            NodeState::Pending => self.tried(at(index)).saturating_add(1),
            NodeState::BackingOff { attempt } => attempt.saturating_add(1),
            _ => return Err(self.state_error(name, index)),
        };
        if found != expected {
            return Err(IllegalTransition::Attempt { event: name, node: node.clone(), expected, found });
        }
        self.check_ready(name, index)?;
        if self.node(index).plugin.is_none() {
            return Err(self.state_error(name, index));
        }
        self.close(index);
        self.set(index, NodeState::Running(Attempt { number: found, key, look: 0, rows: Rows::default() }));
        Ok(())
    }

    fn intend(
        &mut self,
        name: &'static str,
        node: &NodeId,
        attempt: u32,
        sequence: u64,
        (kind, summary): (&str, &str),
    ) -> Result<(), IllegalTransition> {
        let index = self.find(name, node)?;
        let current = self.current(name, index, attempt)?;
        self.check_executes(name, index)?;
        let effects = self.effects.entry(index).or_default();
        if !effects.intended.insert(sequence) {
            return Err(IllegalTransition::EffectTwice { node: node.clone(), sequence });
        }
        effects.open.insert(sequence, (kind.to_owned(), summary.to_owned()));
        self.outside.forget(index);
        self.set(index, NodeState::Running(current));
        Ok(())
    }

    fn finish_node(
        &mut self,
        name: &'static str,
        receipt: &Arc<Receipt>,
        digest: Digest,
        attempt: u32,
        reason: Option<&str>,
    ) -> Result<(), IllegalTransition> {
        let node = &receipt.node;
        let index = self.find(name, node)?;
        let tried = self.tried(at(index));
        let (last, key) = match &self.nodes[at(index)] {
            NodeState::Pending | NodeState::Waiting { attempt: None, .. } => (tried, None),
            NodeState::BackingOff { attempt } => (*attempt, None),
            NodeState::Running(current)
            | NodeState::WaitingForLook(current)
            | NodeState::Waiting { attempt: Some(current), .. } => (current.number, Some(current.key)),
            NodeState::Finished { .. } => return Err(self.state_error(name, index)),
        };
        if attempt != last {
            return Err(IllegalTransition::Attempt { event: name, node: node.clone(), expected: last, found: attempt });
        }
        let skip = match receipt.status {
            Status::Skipped => Some(self.why_skipped(name, index, reason)?),
            _ => None,
        };
        let wrong = |wrong| Err(IllegalTransition::Receipt { node: node.clone(), wrong });
        match (receipt.status, &receipt.failure) {
            (Status::Cancelled, _) => return wrong("says `cancelled`, which only a run can be"),
            (Status::Succeeded | Status::Skipped, Some(_)) => return wrong("holds a failure although it did not fail"),
            (Status::Failed | Status::Errored, None) => return wrong("holds no failure although it failed"),
            (Status::Failed, Some(failure)) if failure.kind.is_infrastructure() => {
                return wrong("says `failed`, but the failure is infrastructure");
            }
            (Status::Errored, Some(failure)) if !failure.kind.is_infrastructure() => {
                return wrong("says `errored`, but the failure is not infrastructure");
            }
            _ => {}
        }
        self.check_decision(index, receipt)?;
        if skip.is_none() {
            // A node that was never attempted ends so only where its `when` or its inputs could not be had.
            self.check_ready(name, index)?;
            let held = matches!(self.nodes[at(index)], NodeState::Waiting { .. });
            if key.is_none() && !held && (last > tried || receipt.status == Status::Succeeded) {
                return Err(self.state_error(name, index));
            }
        }
        if receipt.key != key.filter(|_| skip.is_none()) {
            return wrong("has another action key than its attempt");
        }
        // Every alias has a component since the run started; a node without a plugin has none, and its receipt neither.
        let component = self.node(index).plugin.as_ref().and_then(|alias| self.components.get(alias));
        if receipt.component != component.map(|component| component.digest) {
            return wrong("names another component than the run");
        }
        let open = self.effects.get(&index).and_then(|effects| effects.open.first_key_value());
        if let (Status::Succeeded, Some((&sequence, _))) = (receipt.status, open) {
            return Err(IllegalTransition::EffectOpen { node: node.clone(), sequence });
        }
        if receipt.digest() != digest {
            return wrong("has another digest than the event says");
        }
        let left = key.map(|key| Attempt { number: last, key, look: 0, rows: Rows::default() });
        self.leave(index, left.filter(|_| receipt.status != Status::Succeeded));
        self.set(index, NodeState::Finished { digest, receipt: Arc::clone(receipt), attempt, skip });
        self.mark(index, receipt, skip);
        self.settle(index);
        Ok(())
    }

    /// Why a node that is skipped now is skipped, if it may be.
    fn why_skipped(&self, name: &'static str, index: u32, reason: Option<&str>) -> Result<Skip, IllegalTransition> {
        if self.role(at(index)) == Role::LeftOut {
            let may = reason == Some(NOT_SELECTED) && matches!(self.nodes[at(index)], NodeState::Pending);
            return if may { Ok(Skip::NotSelected) } else { Err(self.state_error(name, index)) };
        }
        if reason == Some(FAIL_FAST) {
            let running = matches!(self.nodes[at(index)], NodeState::Running(_));
            let may = (self.marks.failed || self.marks.errored) && !running;
            return if may { Ok(Skip::FailFast) } else { Err(self.state_error(name, index)) };
        }
        let began = !matches!(self.nodes[at(index)], NodeState::Pending | NodeState::Waiting { attempt: None, .. });
        match self.readiness(at(index)) {
            // Also where it had begun, if what it needs began again and ended otherwise.
            Readiness::Blocked => Ok(Skip::Need),
            _ if began => Err(self.state_error(name, index)),
            Readiness::Ready if self.node(index).when.is_some() => Ok(Skip::When),
            Readiness::Ready => Err(IllegalTransition::Receipt {
                node: self.node(index).id.clone(),
                wrong: "says `skipped`, but nothing kept it from running",
            }),
            Readiness::Waiting => Err(IllegalTransition::NotReady { event: name, node: self.node(index).id.clone() }),
        }
    }

    fn mark(&mut self, index: u32, receipt: &Receipt, skip: Option<Skip>) {
        let not_reproducible = is_not_reproducible(receipt);
        let errored = receipt.status == Status::Errored;
        let failed = !errored && self.fails_run(at(index), receipt);
        self.marks.errored |= errored;
        self.marks.failed |= failed;
        self.marks.early_failed |= (failed || errored) && !self.late[at(index)];
        self.marks.not_reproducible |= not_reproducible;
        self.marks.cut |= skip == Some(Skip::FailFast);
    }

    /// Whether a node that ends with this receipt fails the run.
    pub fn fails_run(&self, node: usize, receipt: &Receipt) -> bool {
        // A difference between two executions is a fact about every result of the node: no `allow_failure` covers it.
        let covered = self.pipeline.nodes[node].allow_failure && !is_not_reproducible(receipt);
        receipt.status == Status::Errored || receipt.status == Status::Failed && !covered
    }

    /// Tells a final node's dependants.
    fn settle(&mut self, index: u32) {
        let graph = Arc::clone(&self.graph);
        for (dependant, edge) in graph.dependants(at(index)) {
            if self.satisfies(at(index), dependant, edge) {
                self.open[dependant] = self.open[dependant].saturating_sub(1);
            } else {
                self.blocked[dependant] = true;
            }
        }
        if !self.late[at(index)] {
            self.early_open = self.early_open.saturating_sub(1);
            if self.early_open == 0 {
                for (open, node) in self.open.iter_mut().zip(&self.pipeline.nodes) {
                    *open = open.saturating_sub(u32::from(node.finally));
                }
            }
        }
    }

    /// Whether a final node lets a dependant start.
    fn satisfies(&self, need: usize, dependant: usize, edge: Edge) -> bool {
        let NodeState::Finished { receipt, skip, .. } = &self.nodes[need] else { return false };
        match (edge, receipt.status) {
            (_, Status::Succeeded) => true,
            (Edge::Data, _) => false,
            (Edge::Order, _) if self.pipeline.nodes[dependant].finally => true,
            (Edge::Order, Status::Skipped) => *skip == Some(Skip::When),
            (Edge::Order, Status::Failed) => self.pipeline.nodes[need].allow_failure,
            (Edge::Order, Status::Errored | Status::Cancelled) => false,
        }
    }

    fn finish(&mut self, status: Status, digest: Option<Digest>) -> Result<(), IllegalTransition> {
        if status == Status::Cancelled {
            if digest.is_some() {
                return Err(IllegalTransition::RunDigest);
            }
        } else {
            if let Some(node) = self.nodes.iter().position(|state| !matches!(state, NodeState::Finished { .. })) {
                return Err(IllegalTransition::Unfinished(self.pipeline.nodes[node].id.clone()));
            }
            if status != self.status() {
                return Err(IllegalTransition::RunStatus { expected: self.status(), found: status });
            }
            if digest != self.run_digest() {
                return Err(IllegalTransition::RunDigest);
            }
        }
        self.over = Some((status, digest));
        self.paused = false;
        Ok(())
    }

    fn find(&self, event: &'static str, node: &NodeId) -> Result<u32, IllegalTransition> {
        self.index.get(node).copied().ok_or_else(|| IllegalTransition::UnknownNode { event, node: node.clone() })
    }

    /// The attempt under way, which must have this number.
    fn current(&self, event: &'static str, index: u32, found: u32) -> Result<Attempt, IllegalTransition> {
        let assumed = self.assumed(at(index)).is_some();
        match &self.nodes[at(index)] {
            NodeState::Waiting { attempt: Some(attempt), .. } if assumed && attempt.number == found => Ok(*attempt),
            NodeState::Running(attempt) | NodeState::WaitingForLook(attempt) if attempt.number == found => Ok(*attempt),
            NodeState::Running(attempt) | NodeState::WaitingForLook(attempt) => {
                let node = self.node(index).id.clone();
                Err(IllegalTransition::Attempt { event, node, expected: attempt.number, found })
            }
            _ => Err(self.state_error(event, index)),
        }
    }

    /// Checks that a node's needs let it begin. One that has begun may go on, even if a resumed run takes a need again.
    fn check_ready(&self, event: &'static str, index: u32) -> Result<(), IllegalTransition> {
        if !matches!(self.nodes[at(index)], NodeState::Pending) {
            return Ok(());
        }
        let node = || self.node(index).id.clone();
        if self.role(at(index)) == Role::LeftOut {
            return Err(IllegalTransition::NotSelected { event, node: node() });
        }
        match self.readiness(at(index)) {
            Readiness::Ready => Ok(()),
            Readiness::Waiting => Err(IllegalTransition::NotReady { event, node: node() }),
            Readiness::Blocked => Err(IllegalTransition::Blocked { event, node: node() }),
        }
    }

    fn state_error(&self, event: &'static str, index: u32) -> IllegalTransition {
        let node = self.node(index).id.clone();
        IllegalTransition::State { event, node, state: self.nodes[at(index)].name() }
    }

    fn set(&mut self, index: u32, state: NodeState) {
        *self.counts.slot(&self.nodes[at(index)]) -= 1;
        *self.counts.slot(&state) += 1;
        self.nodes[at(index)] = state;
    }

    fn node(&self, index: u32) -> &Node {
        &self.pipeline.nodes[at(index)]
    }
}

/// What each node of a run waits for before anything is final, and how many nodes are not late.
fn untouched(pipeline: &Pipeline, graph: &Graph, late: &[bool]) -> (Vec<u32>, usize) {
    let early = late.iter().filter(|late| !**late).count();
    let open = (0..late.len()).map(|node| {
        let gate = u32::from(pipeline.nodes[node].finally && early > 0);
        graph.needs(node).fold(gate, |open, _| open.saturating_add(1))
    });
    (open.collect(), early)
}

/// An index that came from the pipeline: at most 100,000, so it fits.
const fn at(index: u32) -> usize {
    index as usize
}

fn is_not_reproducible(receipt: &Receipt) -> bool {
    receipt.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::NotReproducible)
}
