//! What `run-resumed` does to a run.
//!
//! | a node that | becomes |
//! |---|---|
//! | succeeded | stays, unless its verdict is to be taken again |
//! | failed, errored, or was skipped because of another | pending |
//! | was skipped because it is not selected | stays |
//! | failed with an effect in doubt | pending; then it waits, and the same attempt goes on when it was said what to assume |
//! | was skipped by its own `when` | pending, if something that it needs is |
//! | runs after all others (`finally`) | pending, if any of those is not final; not with an effect in doubt |
//! | was between or in looks | pending: looks observe the world of now |
//! | runs | stays: the same attempt is executed again, against the effects that it recorded |
//! | backs off, waits, is pending | stays |
//!
//! What stays and had begun goes on when all that it needs is final again.

use std::collections::BTreeSet;

use super::{Counts, IllegalTransition, Marks, NodeState, Role, RunState, Skip, at, untouched};
use crate::id::NodeId;
use crate::outcome::Status;
use crate::pipeline::NodeKind;

impl RunState {
    pub(super) fn resume(&mut self, again: &[NodeId]) -> Result<(), IllegalTransition> {
        if let Some((Status::Succeeded, _)) = self.over {
            return Err(IllegalTransition::NothingLeft);
        }
        let again = self.verdicts(again)?;
        let reopened = self.reopened(&again);
        for index in reopened {
            let attempt = match &self.nodes[at(index)] {
                NodeState::Finished { attempt, .. } => *attempt,
                NodeState::Running(attempt) | NodeState::WaitingForLook(attempt) => attempt.number,
                _ => continue,
            };
            self.tried.insert(index, attempt);
            if !self.left.contains_key(&index) {
                self.effects.remove(&index);
                self.outside.forget(index);
            }
            self.nodes[at(index)] = NodeState::Pending;
        }
        self.over = None;
        self.paused = false;
        self.outside.go_on();
        self.digest = Default::default();
        self.derive();
        Ok(())
    }

    fn verdicts(&self, again: &[NodeId]) -> Result<BTreeSet<u32>, IllegalTransition> {
        let verdict = |node: &NodeId| {
            let index = self.find("run-resumed", node)?;
            let judges = matches!(self.node(index).kind, NodeKind::HealthCheck | NodeKind::Canary);
            let has_one = judges && self.receipt(at(index)).is_some_and(|receipt| receipt.verdict.is_some());
            if has_one { Ok(index) } else { Err(IllegalTransition::NoVerdict(node.clone())) }
        };
        again.iter().map(verdict).collect()
    }

    /// The nodes that begin again.
    fn reopened(&self, again: &BTreeSet<u32>) -> Vec<u32> {
        let mut open = vec![false; self.nodes.len()];
        let mut early_open = false;
        for &node in self.graph.order() {
            open[node] = match &self.nodes[node] {
                NodeState::Finished { receipt, skip, .. } => match (receipt.status, skip) {
                    _ if again.iter().any(|&index| at(index) == node) => true,
                    (Status::Succeeded, _) | (_, Some(Skip::NotSelected)) => false,
                    (_, Some(Skip::When)) => self.graph.needs(node).any(|(need, _)| open[need]),
                    _ => true,
                },
                NodeState::Running(_) => self.pipeline.nodes[node].poll.is_some(),
                NodeState::WaitingForLook(_) => true,
                NodeState::Pending | NodeState::BackingOff { .. } | NodeState::Waiting { .. } => false,
            };
            let unfinished = open[node] || !matches!(self.nodes[node], NodeState::Finished { .. });
            early_open |= unfinished && !self.late[node];
        }
        let reopens = |node: usize| self.role(node) != Role::LeftOut && !self.has_stopping_effect(node);
        let late = |node: usize| early_open && self.late[node] && reopens(node);
        (0u32..).zip(&open).filter(|&(index, &open)| open || late(at(index))).map(|(index, _)| index).collect()
    }

    /// Derives again what follows from the nodes' states.
    fn derive(&mut self) {
        (self.open, self.early_open) = untouched(&self.pipeline, &self.graph, &self.late);
        self.blocked.fill(false);
        self.marks = Marks::default();
        let mut counts = Counts::default();
        for state in &self.nodes {
            *counts.slot(state) += 1;
        }
        self.counts = counts;
        let graph = std::sync::Arc::clone(&self.graph);
        for &node in graph.order() {
            let NodeState::Finished { receipt, skip, .. } = &self.nodes[node] else { continue };
            let (receipt, skip) = (std::sync::Arc::clone(receipt), *skip);
            // Fewer than 100,000 nodes, so it fits.
            let index = node as u32;
            self.mark(index, &receipt, skip);
            self.settle(index);
        }
    }

    /// Number of the last attempt before the node began again; 0 where it did not.
    pub fn tried(&self, node: usize) -> u32 {
        u32::try_from(node).ok().and_then(|index| self.tried.get(&index)).copied().unwrap_or(0)
    }

    /// Whether only waiting nodes are left and nobody drives the run.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
}
