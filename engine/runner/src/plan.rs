//! The planner: which action comes next, from the state of the run alone. No I/O, no clock (the time is an argument), no
//! async: every case of the semantics is a plain unit test.
//!
//! The driver gets actions from [`Planner::next`], does them, and brings back events by [`Planner::apply`] once they are
//! durable. Queues are kept as events come, never found by looking at all nodes: a run costs O(nodes + edges).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};

use lockgate_model::event::Event;
use lockgate_model::expr::Facts;
use lockgate_model::outcome::{Decision, Failure, FailureKind, Status};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{FAIL_FAST, IllegalTransition, NOT_SELECTED, NodeState, Readiness, Role, RunState};
use lockgate_model::{Digest, NodeId, PortName};
use serde_json::Value;

use crate::spec::DriveOptions;
use crate::{gates, judge};

/// What the driver is to do. Nodes are indices into the pipeline's.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Execute a node; takes one of the jobs until [`Planner::ended`].
    Execute {
        /// The node.
        node: usize,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Number of the look, from 0; the attempt starts with look 0.
        look: u32,
    },
    /// Read the JSON outputs that the node's `when` looks into, and bring them by [`Planner::facts`]; takes one of the jobs
    /// until [`Planner::ended`].
    ReadFacts {
        /// The node.
        node: usize,
    },
    /// Give a node that is not selected the result of an earlier run.
    Take {
        /// The node.
        node: usize,
        /// Number of the attempt that the journal shows for it.
        attempt: u32,
    },
    /// Give a node that is never attempted, or never again, its final receipt.
    Finish {
        /// The node.
        node: usize,
        /// Number of its last attempt; 0: none was made.
        attempt: u32,
        /// How it ends.
        end: End,
    },
    /// Let a node wait for something outside.
    Hold {
        /// The node.
        node: usize,
        /// Until when, in milliseconds since 1970; none where only a signal ends it.
        until: Option<u64>,
        /// The attempt with an effect in doubt; none of a node without a plugin.
        attempt: Option<u32>,
    },
    /// End the run: every node is final.
    FinishRun {
        /// Its status.
        status: Status,
        /// Its digest.
        digest: Option<Digest>,
    },
}

/// How a node ends without being executed.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Skipped, with the reason.
    Skipped(String),
    /// Failed or, where the failure is infrastructure, errored.
    Failed(Failure),
    /// Its waiting is over: with the decision of an approval, and why it fails, if it does.
    Waited(Option<Decision>, Option<Failure>),
}

/// JSON outputs by node and name.
pub type JsonOutputs = HashMap<(NodeId, PortName), Value>;

/// Plans a run.
#[derive(Debug)]
pub struct Planner {
    state: RunState,
    jobs: usize,
    /// Executions beyond the jobs that may be handed out.
    ahead: usize,
    fail_fast: bool,
    running: usize,
    /// Nodes that are in a queue, with the driver, or final.
    claimed: Vec<bool>,
    ends: VecDeque<(usize, End)>,
    facts: VecDeque<usize>,
    /// Nodes whose look or repeated attempt is due: they come before those that never ran.
    due: VecDeque<usize>,
    ready: VecDeque<usize>,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    /// Nodes that are to begin to wait: those without a plugin, and those with an effect in doubt.
    gates: VecDeque<usize>,
    /// Nodes that are to get an earlier result.
    taken: VecDeque<usize>,
    /// Nodes that wait, with their deadlines.
    held: BTreeMap<usize, Option<u64>>,
    /// Nodes that had begun when something that they need began again, with the run's resumption.
    stalled: BTreeSet<usize>,
    late_released: bool,
    cutting: bool,
    stopped: bool,
    /// Whether the run's start, or its resumption, is durable.
    begun: bool,
    done: bool,
}

impl Planner {
    /// A planner over a state before its first event, or before `run-resumed`.
    pub fn new(state: RunState, options: DriveOptions) -> Self {
        Self {
            jobs: options.jobs.get(),
            ahead: 0,
            fail_fast: options.fail_fast,
            running: 0,
            claimed: vec![false; state.pipeline().nodes.len()],
            ends: VecDeque::new(),
            facts: VecDeque::new(),
            due: VecDeque::new(),
            ready: VecDeque::new(),
            timers: BinaryHeap::new(),
            gates: VecDeque::new(),
            taken: VecDeque::new(),
            held: BTreeMap::new(),
            stalled: BTreeSet::new(),
            late_released: false,
            cutting: false,
            stopped: false,
            begun: false,
            done: false,
            state,
        }
    }

    /// The run's state.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The run's state, at its end.
    pub fn into_state(self) -> RunState {
        self.state
    }

    /// Takes in how a run began whose nodes are served at once, and what happened in them. False, and nothing is taken in, where that
    /// is not how such a run can go.
    pub fn served(&mut self, started: &Event, events: &[Event]) -> bool {
        let mut state = RunState::new(self.state.pipeline().clone(), self.state.graph().clone());
        let legal = [started].into_iter().chain(events).all(|event| state.apply(event).is_ok());
        let fits = legal && state.all_final();
        if fits {
            self.state = state;
            self.begin();
        }
        fits
    }

    /// Takes in an event that is durable since `time` (milliseconds).
    pub fn apply(&mut self, event: &Event, time: u64) -> Result<(), IllegalTransition> {
        self.state.apply(event)?;
        match event {
            Event::RunStarted { .. } | Event::RunResumed { .. } => self.begin(),
            Event::NodeWaiting { node, until, .. } => {
                if let Some(node) = self.state.position(node.as_str()) {
                    self.hold(node, *until);
                }
            }
            Event::Signalled { node: Some(node), .. } => {
                if let Some(node) = self.state.position(node.as_str()) {
                    self.heard(node);
                }
            }
            Event::LookTaken { node, next_in, .. } | Event::AttemptFailed { node, next_in, .. } => {
                if let Some(node) = self.state.position(node.as_str()) {
                    self.wait(node, time.saturating_add(*next_in));
                }
            }
            Event::NodeFinished { receipt, .. } => {
                if let Some(node) = self.state.position(receipt.node.as_str()) {
                    self.ending(node, receipt);
                    self.after(node);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Queues every node by where it stands.
    fn begin(&mut self) {
        self.begun = true;
        self.late_released = self.state.early_done();
        for node in 0..self.claimed.len() {
            self.claimed[node] = !matches!(self.state.state(node), NodeState::Pending);
            match self.state.state(node) {
                NodeState::Pending if self.state.role(node) == Role::LeftOut => {
                    self.claimed[node] = true;
                    self.ends.push_back((node, End::Skipped(NOT_SELECTED.to_owned())));
                }
                NodeState::Pending => self.consider(node),
                NodeState::Running(_) | NodeState::WaitingForLook(_) | NodeState::BackingOff { .. } => {
                    self.stalled.insert(node);
                    self.consider(node);
                }
                NodeState::Waiting { until, .. } => {
                    let until = *until;
                    self.hold(node, until);
                }
                NodeState::Finished { .. } => {}
            }
        }
    }

    /// Keeps a node that waits for something outside, unless that has come already.
    fn hold(&mut self, node: usize, until: Option<u64>) {
        if self.is_cut(node) {
            self.ready.push_back(node);
        } else {
            self.held.insert(node, until);
            self.heard(node);
        }
    }

    /// Ends a node's waiting if somebody said what ends it.
    fn heard(&mut self, node: usize) {
        if !self.held.contains_key(&node) || self.state.readiness(node) == Readiness::Waiting {
            return;
        }
        if let Some(said) = self.state.said(node) {
            let end = gates::answered(&self.state.pipeline().nodes[node], said);
            self.release(node, end);
        } else if self.state.assumed(node).is_some() {
            self.held.remove(&node);
            self.due.push_back(node);
        }
    }

    fn release(&mut self, node: usize, end: End) {
        if self.held.remove(&node).is_some() {
            self.ends.push_back((node, end));
        }
    }

    /// Ends what waited until now.
    fn expire(&mut self, now: u64) {
        let over = |until: &Option<u64>| until.is_some_and(|until| until <= now);
        let ready = |node: usize| self.state.readiness(node) == Readiness::Ready;
        let expired = self.held.iter().filter(|(node, until)| over(until) && ready(**node)).map(|(node, _)| *node);
        for node in expired.collect::<Vec<_>>() {
            let end = gates::expired(&self.state.pipeline().nodes[node]);
            self.release(node, end);
        }
    }

    /// When the first of the waiting nodes ends by itself, in milliseconds; none: only signals end them. One whose needs begin
    /// again does not, however long its time is over.
    pub fn held_until(&self) -> Option<u64> {
        let ready = |node: &usize| self.state.readiness(*node) == Readiness::Ready;
        self.held.iter().filter(|(node, _)| ready(node)).filter_map(|(_, until)| *until).min()
    }

    /// Whether nodes wait for something outside.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What a final node sets free.
    fn after(&mut self, node: usize) {
        self.claimed[node] = true;
        let graph = std::sync::Arc::clone(self.state.graph());
        graph.dependants(node).for_each(|(dependant, _)| self.consider(dependant));
        if self.state.early_done() && !self.late_released {
            self.late_released = true;
            (0..self.claimed.len()).for_each(|node| self.consider(node));
        }
    }

    /// Hears of a final receipt on its way to the journal: if it fails the run and that is to fail fast, nothing new starts
    /// from now on, and not only once it is durable.
    pub fn ending(&mut self, node: usize, receipt: &Receipt) {
        if self.fail_fast && !self.cutting && self.state.fails_run(node, receipt) {
            self.cutting = true;
            std::mem::take(&mut self.timers).into_iter().for_each(|Reverse((at, node))| self.wait(node, at));
            let cut: Vec<usize> = self.held.keys().copied().filter(|&node| self.is_cut(node)).collect();
            for node in cut {
                self.held.remove(&node);
                self.ready.push_back(node);
            }
        }
    }

    /// Keeps a node until its next look or attempt is due.
    fn wait(&mut self, node: usize, at: u64) {
        if self.is_cut(node) {
            self.due.push_back(node);
        } else {
            self.timers.push(Reverse((at, node)));
        }
    }

    /// Puts a node into its queue if its needs let it.
    fn consider(&mut self, node: usize) {
        if self.held.contains_key(&node) {
            // What it needs was taken again, while it waited.
            if self.state.readiness(node) == Readiness::Blocked {
                let reason = self.blocked_reason(node);
                self.release(node, End::Skipped(reason));
            } else {
                self.heard(node);
            }
        }
        if self.stalled.contains(&node) {
            self.go_on(node);
        }
        if self.claimed[node] || !matches!(self.state.state(node), NodeState::Pending) {
            return;
        }
        match self.state.readiness(node) {
            Readiness::Waiting => {}
            Readiness::Blocked => {
                self.claimed[node] = true;
                let reason = self.blocked_reason(node);
                self.ends.push_back((node, End::Skipped(reason)));
            }
            Readiness::Ready => {
                self.claimed[node] = true;
                self.decide_when(node);
            }
        }
    }

    /// Queues a node that had begun, once what it needs is final.
    fn go_on(&mut self, node: usize) {
        let readiness = self.state.readiness(node);
        if readiness == Readiness::Waiting {
            return;
        }
        self.stalled.remove(&node);
        if readiness == Readiness::Blocked {
            let reason = self.blocked_reason(node);
            self.ends.push_back((node, End::Skipped(reason)));
        } else if self.state.role(node) == Role::Taken {
            self.taken.push_back(node);
        } else if self.state.is_in_doubt(node) {
            self.gates.push_back(node);
        } else {
            self.due.push_back(node);
        }
    }

    fn blocked_reason(&self, node: usize) -> String {
        let Some(need) = self.state.blocker(node) else { return "something it needs did not succeed".to_owned() };
        let status = self.state.receipt(need).map_or("did not run", |receipt| receipt.status.name());
        format!("it needs `{}`, which is {status}", self.state.pipeline().nodes[need].id)
    }

    fn decide_when(&mut self, node: usize) {
        match &self.state.pipeline().nodes[node].when {
            None => self.go(node),
            // Only what is about to start is cut; what needs it is skipped for that reason.
            Some(_) if self.is_cut(node) => self.ready.push_back(node),
            Some(when) if when.outputs().is_empty() => self.decided(node, &JsonOutputs::new()),
            Some(_) => self.facts.push_back(node),
        }
    }

    /// Queues a node that may begin.
    fn go(&mut self, node: usize) {
        if self.is_cut(node) {
            self.ready.push_back(node);
        } else if self.state.role(node) == Role::Taken {
            self.taken.push_back(node);
        } else if self.state.pipeline().nodes[node].plugin.is_none() || self.state.left(node).is_some() {
            self.gates.push_back(node);
        } else {
            self.ready.push_back(node);
        }
    }

    fn decided(&mut self, node: usize, outputs: &JsonOutputs) {
        let Some(when) = &self.state.pipeline().nodes[node].when else { return };
        match when.decide(&RunFacts { state: &self.state, outputs }) {
            Ok(true) => self.go(node),
            Ok(false) => self.ends.push_back((node, End::Skipped("its `when` is false".to_owned()))),
            Err(error) => {
                let failure = Failure { kind: FailureKind::Error, message: format!("failed to {error}") };
                self.ends.push_back((node, End::Failed(failure)));
            }
        }
    }

    /// Brings what [`Action::ReadFacts`] asked for, or why it cannot be had.
    pub fn facts(&mut self, node: usize, outputs: Result<JsonOutputs, Failure>) {
        match outputs {
            Ok(outputs) => self.decided(node, &outputs),
            Err(failure) => self.ends.push_back((node, End::Failed(failure))),
        }
    }

    /// Lets this many executions be handed out beyond the jobs, where the driver has them wait for one. Not where the run is to
    /// fail fast: what was handed out is not taken back.
    pub fn hand_out_ahead(&mut self, ahead: usize) {
        self.ahead = if self.fail_fast { 0 } else { ahead };
    }

    /// Gives one job back.
    pub fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Milliseconds until the next attempt of a node, if this failure is to be followed by one.
    pub fn retry_after(&self, node: usize, attempt: u32, failure: &Failure) -> Option<u64> {
        if self.is_cut(node) {
            return None;
        }
        let attempt = attempt.saturating_sub(self.state.tried(node));
        judge::retry_after(&self.state.pipeline().nodes[node].retry, attempt, failure)
    }

    /// Starts nothing more: the run was interrupted.
    pub fn interrupt(&mut self) {
        self.stopped = true;
    }

    /// When the next look or attempt is due, in milliseconds; none while nothing waits for a time.
    pub fn wake_at(&self) -> Option<u64> {
        self.timers.peek().filter(|_| !self.stopped).map(|Reverse((at, _))| *at)
    }

    /// The next action at this time (milliseconds), if there is one. To be asked until it has none.
    pub fn next(&mut self, now: u64) -> Option<Action> {
        if self.done || !self.begun {
            return None;
        }
        if self.state.all_final() {
            self.done = true;
            return Some(Action::FinishRun { status: self.state.status(), digest: self.state.run_digest() });
        }
        if self.stopped {
            return None;
        }
        self.expire(now);
        if let Some((node, end)) = self.ends.pop_front() {
            return Some(self.finish(node, end));
        }
        while let Some(node) = self.taken.pop_front() {
            if self.is_cut(node) && matches!(self.state.state(node), NodeState::Pending) {
                self.ready.push_back(node);
                continue;
            }
            return Some(Action::Take { node, attempt: self.coming(node).0 });
        }
        if let Some(node) = self.gates.pop_front() {
            let attempt = match self.state.state(node) {
                NodeState::Running(attempt) => Some(attempt.number),
                _ => self.state.left(node).map(|attempt| attempt.number),
            };
            return Some(Action::Hold { node, until: gates::until(&self.state.pipeline().nodes[node], now), attempt });
        }
        while let Some(Reverse((_, node))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.timers.pop();
            self.due.push_back(node);
        }
        let waiting = [&mut self.due, &mut self.ready].into_iter().find_map(|queue| {
            // A skip takes no job, and comes when the failure that it follows from counts.
            let cut = queue.front().is_some_and(|&node| self.cutting && is_skipped(&self.state, node));
            if cut && !self.state.has_failed() {
                return None;
            }
            if cut || self.running < self.jobs.saturating_add(self.ahead) { queue.pop_front() } else { None }
        });
        if let Some(node) = waiting {
            if self.cutting && is_skipped(&self.state, node) {
                return Some(self.finish(node, End::Skipped(FAIL_FAST.to_owned())));
            }
            self.running += 1;
            return Some(self.execute(node));
        }
        if self.running < self.jobs
            && let Some(node) = self.facts.pop_front()
        {
            self.running += 1;
            return Some(Action::ReadFacts { node });
        }
        None
    }

    /// Forgets that a node waits: somebody else ends it.
    pub(crate) fn let_go(&mut self, node: usize) {
        self.held.remove(&node);
    }

    /// Takes back a node that was to be executed and was not: it comes again, after those that are ready.
    pub fn again(&mut self, node: usize) {
        self.ready.push_back(node);
    }

    fn is_cut(&self, node: usize) -> bool {
        self.cutting && !self.state.is_late(node)
    }

    fn finish(&self, node: usize, end: End) -> Action {
        let attempt = match self.state.state(node) {
            NodeState::BackingOff { attempt } => *attempt,
            NodeState::Running(attempt)
            | NodeState::WaitingForLook(attempt)
            | NodeState::Waiting { attempt: Some(attempt), .. } => attempt.number,
            NodeState::Pending | NodeState::Waiting { .. } | NodeState::Finished { .. } => self.state.tried(node),
        };
        Action::Finish { node, attempt, end }
    }

    fn execute(&self, node: usize) -> Action {
        let (attempt, look) = self.coming(node);
        Action::Execute { node, attempt, look }
    }

    /// Number of the attempt and of the look that come next.
    fn coming(&self, node: usize) -> (u32, u32) {
        match self.state.state(node) {
            NodeState::BackingOff { attempt } => (attempt.saturating_add(1), 0),
            NodeState::Running(attempt)
            | NodeState::WaitingForLook(attempt)
            | NodeState::Waiting { attempt: Some(attempt), .. } => (attempt.number, attempt.look),
            NodeState::Pending | NodeState::Waiting { .. } | NodeState::Finished { .. } => {
                (self.state.tried(node).saturating_add(1), 0)
            }
        }
    }
}

/// Whether a node that is due is skipped where nothing new is to start. An attempt that an earlier process began is not new.
fn is_skipped(state: &RunState, node: usize) -> bool {
    !state.is_late(node) && !matches!(state.state(node), NodeState::Running(_))
}

/// What `when` may ask: receipts and the JSON outputs that were read for it.
struct RunFacts<'a> {
    state: &'a RunState,
    outputs: &'a JsonOutputs,
}

impl Facts for RunFacts<'_> {
    fn status(&self, node: &NodeId) -> Option<String> {
        let receipt = self.state.receipt(self.state.position(node.as_str())?)?;
        Some(receipt.status.name().to_owned())
    }

    fn verdict(&self, node: &NodeId) -> Option<String> {
        let receipt = self.state.receipt(self.state.position(node.as_str())?)?;
        let decided = || receipt.decision.as_ref().map(|decision| decision.word.clone());
        receipt.verdict.as_ref().map(|verdict| verdict.word.clone()).or_else(decided)
    }

    fn output(&self, node: &NodeId, output: &PortName) -> Option<Value> {
        self.outputs.get(&(node.clone(), output.clone())).cloned()
    }

    fn run_status(&self) -> String {
        self.state.early_status().name().to_owned()
    }
}
