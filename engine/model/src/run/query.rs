//! What can be asked of a run's state.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Counts, ExitClass, Marks, NodeState, Readiness, RunState, at};
use crate::digest::Digest;
use crate::graph::{Edge, Graph};
use crate::id::NodeId;
use crate::outcome::Status;
use crate::pipeline::Pipeline;
use crate::receipt::{Receipt, run_digest};

/// Queries. Nodes are given by their index in [`Pipeline::nodes`]; an index beyond panics, as it does there.
impl RunState {
    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Its graph.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// A node's index, if the pipeline has it.
    pub fn position(&self, node: &str) -> Option<usize> {
        self.index.get(node).map(|&index| at(index))
    }

    /// Whether `run-started` was applied.
    pub fn has_started(&self) -> bool {
        self.pipeline_digest.is_some()
    }

    /// How the run ended, once it has: its status and digest.
    pub fn over(&self) -> Option<(Status, Option<Digest>)> {
        self.over
    }

    /// Where a node stands.
    pub fn state(&self, node: usize) -> &NodeState {
        &self.nodes[node]
    }

    /// A final node's receipt.
    pub fn receipt(&self, node: usize) -> Option<&Arc<Receipt>> {
        match &self.nodes[node] {
            NodeState::Finished { receipt, .. } => Some(receipt),
            _ => None,
        }
    }

    /// Whether a node's needs let it start.
    pub fn readiness(&self, node: usize) -> Readiness {
        match (self.blocked[node], self.open[node]) {
            (true, _) => Readiness::Blocked,
            (false, 0) => Readiness::Ready,
            (false, _) => Readiness::Waiting,
        }
    }

    /// A need that keeps the node from ever starting, if there is one: the first in the pipeline's order.
    pub fn blocker(&self, node: usize) -> Option<usize> {
        let blocks = |&(need, edge): &(usize, Edge)| self.receipt(need).is_some() && !self.satisfies(need, node, edge);
        self.graph.needs(node).filter(blocks).map(|(need, _)| need).min()
    }

    /// Whether a node runs only when all others are final: it is `finally`, or needs such a node.
    pub fn is_late(&self, node: usize) -> bool {
        self.late[node]
    }

    /// Whether all nodes that are not late are final.
    pub fn early_done(&self) -> bool {
        self.early_open == 0
    }

    /// Whether a failure was final that fails the run.
    pub fn has_failed(&self) -> bool {
        self.marks.failed || self.marks.errored
    }

    /// `succeeded` or `failed` over all nodes that are not late, as far as the run has come: what `run.status` says in `when`.
    pub fn early_status(&self) -> Status {
        if self.marks.early_failed { Status::Failed } else { Status::Succeeded }
    }

    /// How many nodes stand where.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether every node is final.
    pub fn all_final(&self) -> bool {
        self.counts.finished() == self.nodes.len()
    }

    /// The receipts' digests of all final nodes, by node.
    pub fn receipts(&self) -> BTreeMap<NodeId, Digest> {
        let finals = self.pipeline.nodes.iter().zip(&self.nodes).filter_map(|(node, state)| match state {
            NodeState::Finished { digest, .. } => Some((node.id.clone(), *digest)),
            _ => None,
        });
        finals.collect()
    }

    /// The run's status as its final nodes make it; after a cancellation that.
    pub fn status(&self) -> Status {
        match (self.over, self.marks) {
            (Some((status, _)), _) => status,
            (None, Marks { errored: true, .. }) => Status::Errored,
            (None, Marks { failed: true, .. }) => Status::Failed,
            (None, _) => Status::Succeeded,
        }
    }

    /// The run digest. None before every node is final, after an infrastructure error, of a part of a pipeline, and where
    /// `--fail-fast` skipped a node: then what was skipped depends on speed, and two runs of the same may differ.
    pub fn run_digest(&self) -> Option<Digest> {
        let pipeline = self.pipeline_digest?;
        if !self.all_final() || self.marks.errored || self.marks.cut || self.part.is_some() {
            return None;
        }
        Some(*self.digest.get_or_init(|| run_digest(pipeline, &self.receipts())))
    }

    /// How the run ended or stopped, for exit codes. An infrastructure error outweighs a difference, a difference another failure.
    pub fn exit_class(&self) -> ExitClass {
        if self.paused {
            return ExitClass::Waiting;
        }
        match self.status() {
            Status::Cancelled => ExitClass::Interrupted,
            Status::Errored => ExitClass::Infrastructure,
            _ if self.marks.not_reproducible => ExitClass::NotReproducible,
            Status::Failed => ExitClass::Failed,
            Status::Succeeded | Status::Skipped => ExitClass::Succeeded,
        }
    }
}
