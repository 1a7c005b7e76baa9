//! Nodes that wait for something outside, and what is said from there.
//!
//! Who says something does not know what the run's own process is just writing: so a signal changes what is known of a node, and never
//! where it stands. Then no event of that process becomes illegal by a signal that came before it.

use std::collections::{BTreeSet, HashMap};

use super::{Attempt, IllegalTransition, NodeState, Readiness, RunState, at};
use crate::event::Signal;
use crate::grant::InDoubt;
use crate::id::NodeId;
use crate::outcome::{Decision, Status};
use crate::pipeline::NodeKind;
use crate::receipt::Receipt;

/// What somebody said about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub signal: Signal,
    /// Who.
    pub by: String,
    /// What else.
    pub comment: Option<String>,
}

/// What was said from outside and counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Outside {
    /// Of nodes: the first thing that somebody said who may.
    said: HashMap<u32, Said>,
    /// Of nodes: everybody who may and said anything, at any time. A process that takes a run up may hear before its `run-resumed` is
    /// durable what stands in front of that.
    spoke: HashMap<u32, BTreeSet<String>>,
    /// Of nodes with effects in doubt: what is to be assumed of those that are open.
    assumed: HashMap<u32, Signal>,
    /// Who stopped the run.
    stopped: Option<String>,
}

impl Outside {
    /// Forgets what was said about an earlier turn of a node, or about other effects than those that come now.
    pub(super) fn forget(&mut self, index: u32) {
        self.said.remove(&index);
        self.assumed.remove(&index);
    }

    /// Forgets that the run was to stop: it goes on.
    pub(super) fn go_on(&mut self) {
        self.stopped = None;
    }
}

impl RunState {
    pub(super) fn hold(
        &mut self,
        name: &'static str,
        node: &NodeId,
        until: Option<u64>,
        attempt: Option<u32>,
    ) -> Result<(), IllegalTransition> {
        let index = self.find(name, node)?;
        let attempt = match (&self.nodes[at(index)], attempt) {
            (NodeState::Pending, None) if self.node(index).plugin.is_none() => {
                self.check_ready(name, index)?;
                None
            }
            (NodeState::Pending, Some(number)) if self.left(at(index)).is_some_and(|left| left.number == number) => {
                self.check_ready(name, index)?;
                self.left.get(&index).copied()
            }
            (NodeState::Running(current), Some(number)) if self.has_stopping_effect(at(index)) => {
                let current: Attempt = *current;
                self.current(name, index, number)?;
                Some(current)
            }
            _ => return Err(self.state_error(name, index)),
        };
        self.set(index, NodeState::Waiting { until, attempt });
        Ok(())
    }

    pub(super) fn signal(
        &mut self,
        node: Option<&NodeId>,
        signal: Signal,
        by: &str,
        comment: Option<&str>,
    ) -> Result<(), IllegalTransition> {
        // An interrupted run is over, and the effects that it left in doubt are not.
        let assumes = matches!(signal, Signal::AssumeDone | Signal::AssumeRepeat);
        let over = self.over.is_some() && !assumes;
        let Some(node) = node else {
            if signal == Signal::Cancel && !over {
                self.outside.stopped.get_or_insert_with(|| by.to_owned());
            }
            return Ok(());
        };
        let index = self.find("signalled", node)?;
        let finished = matches!(self.nodes[at(index)], NodeState::Finished { .. });
        if !self.may_say(index, signal, by) {
            return Ok(());
        }
        self.outside.spoke.entry(index).or_default().insert(by.to_owned());
        if over || finished && !assumes {
            return Ok(());
        }
        match signal {
            Signal::AssumeDone | Signal::AssumeRepeat => {
                self.outside.assumed.insert(index, signal);
            }
            Signal::Approve | Signal::Reject | Signal::Cancel => {
                let said = Said { signal, by: by.to_owned(), comment: comment.map(str::to_owned) };
                self.outside.said.entry(index).or_insert(said);
            }
        }
        Ok(())
    }

    /// An attempt has no effects any longer that anything is to be said of.
    pub(super) fn close(&mut self, index: u32) {
        self.effects.remove(&index);
        self.left.remove(&index);
        if self.node(index).plugin.is_some() {
            self.outside.forget(index);
        }
    }

    /// A node ends. An attempt that leaves an effect in doubt is kept for `resume`, unless somebody had it end so. One of looks is not:
    /// they begin again.
    pub(super) fn leave(&mut self, index: u32, attempt: Option<Attempt>) {
        let polled = self.node(index).poll.is_some();
        let waits = matches!(self.nodes[at(index)], NodeState::Waiting { .. });
        let settled = waits && self.said(at(index)).is_some();
        let keeps = self.has_stopping_effect(at(index)) && !polled && !settled;
        match attempt {
            _ if !keeps => self.close(index),
            Some(attempt) => {
                self.left.insert(index, attempt);
                self.outside.forget(index);
            }
            None => {}
        }
    }

    /// The attempt with an effect in doubt by which a node ended, as far as that is not settled.
    pub fn left(&self, node: usize) -> Option<&Attempt> {
        self.left.get(&u32::try_from(node).ok()?)
    }

    /// Whether this person may say this of a node.
    fn may_say(&self, index: u32, signal: Signal, by: &str) -> bool {
        let node = self.node(index);
        match (signal, &node.approval) {
            (Signal::Approve | Signal::Reject, Some(approval)) => {
                approval.approvers.is_empty() || approval.approvers.contains(by)
            }
            (Signal::Approve | Signal::Reject, None) => false,
            (Signal::Cancel, _) => node.plugin.is_none() || self.is_in_doubt(at(index)),
            (Signal::AssumeDone | Signal::AssumeRepeat, _) => self.is_in_doubt(at(index)),
        }
    }

    pub(super) fn pause(&mut self) -> Result<(), IllegalTransition> {
        // What was under way when a need of it began again waits for that.
        let stalls = |node: usize| self.readiness(node) == Readiness::Waiting;
        let runs = |state: &NodeState| {
            matches!(state, NodeState::Running(_) | NodeState::WaitingForLook(_) | NodeState::BackingOff { .. })
        };
        let mut nodes = self.nodes.iter().enumerate();
        if self.counts.running + self.counts.waiting > 0 && nodes.any(|(node, state)| runs(state) && !stalls(node)) {
            return Err(IllegalTransition::CannotWait("something still runs"));
        }
        if self.counts.held == 0 {
            return Err(IllegalTransition::CannotWait("no node waits"));
        }
        self.paused = true;
        Ok(())
    }

    /// An approval's receipt says what was said, and by whom.
    pub(super) fn check_decision(&self, index: u32, receipt: &Receipt) -> Result<(), IllegalTransition> {
        let wrong = |wrong| Err(IllegalTransition::Receipt { node: receipt.node.clone(), wrong });
        let held = matches!(self.nodes[at(index)], NodeState::Waiting { attempt: None, .. });
        let approves = self.node(index).kind == NodeKind::Approval && held && receipt.status != Status::Skipped;
        let spoke = self.outside.spoke.get(&index);
        match (&receipt.decision, spoke) {
            (None, _) if approves => wrong("holds no decision, but the node is an approval"),
            (Some(_), _) if !approves => wrong("holds a decision, but nothing was to be decided"),
            (Some(Decision { by: Some(by), .. }), spoke) if spoke.is_none_or(|names| !names.contains(by)) => {
                wrong("names somebody who said nothing")
            }
            _ => Ok(()),
        }
    }

    /// What was said about a node and counts: the first word of somebody who may.
    pub fn said(&self, node: usize) -> Option<&Said> {
        self.outside.said.get(&u32::try_from(node).ok()?)
    }

    /// Who stopped the run from outside, if somebody did.
    pub fn stopped_by(&self) -> Option<&str> {
        self.outside.stopped.as_deref()
    }

    /// What is to be assumed of a node's effects in doubt, once that was said.
    pub fn assumed(&self, node: usize) -> Option<Signal> {
        self.outside.assumed.get(&u32::try_from(node).ok()?).copied()
    }

    /// Whether an attempt under way has an effect without an outcome that must not simply be issued again, and nobody said what to
    /// assume. Only an interruption leaves such an effect behind: of a run that goes on, the effect is under way.
    pub fn is_in_doubt(&self, node: usize) -> bool {
        let Ok(index) = u32::try_from(node) else { return false };
        !self.outside.assumed.contains_key(&index) && self.has_stopping_effect(node)
    }

    /// Whether an attempt under way has an effect without an outcome that must not simply be issued again.
    pub fn has_stopping_effect(&self, node: usize) -> bool {
        let Ok(index) = u32::try_from(node) else { return false };
        let grants = &self.pipeline.nodes[node].grants;
        let Some(effects) = self.effects.get(&index) else { return false };
        effects.open.values().any(|(kind, summary)| grants.in_doubt(kind, summary) == InDoubt::Stop)
    }

    /// The effects of the attempt under way that have no outcome, by sequence number: kind and summary.
    pub fn open_effects(&self, node: usize) -> impl Iterator<Item = (u64, &str, &str)> {
        let effects = u32::try_from(node).ok().and_then(|index| self.effects.get(&index));
        effects
            .into_iter()
            .flat_map(|effects| &effects.open)
            .map(|(sequence, (kind, summary))| (*sequence, kind.as_str(), summary.as_str()))
    }
}
