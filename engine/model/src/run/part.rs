//! Runs of a part of a pipeline: which nodes execute, which get an earlier result, which are left out.

use super::{IllegalTransition, RunState, at};
use crate::event::{AttemptFacts, Selection};
use crate::id::NodeId;
use crate::outcome::Status;
use crate::receipt::Receipt;

/// What becomes of a node in a run of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It runs as always: it is selected, or is an approval or a wait before a selected one. A part is never a way around a gate.
    Runs,
    /// It stands before a selected node: it gets the result of an earlier run, and is not executed.
    Taken,
    /// Nothing that is selected needs it: it is skipped.
    LeftOut,
}

/// A selection, and what follows from it for each node.
#[derive(Debug, Clone)]
pub(super) struct Part {
    selection: Selection,
    roles: Vec<Role>,
}

impl RunState {
    pub(super) fn part_of(&self, selection: &Selection) -> Result<Part, IllegalTransition> {
        let mut selected = vec![false; self.nodes.len()];
        let mark = |nodes: &mut Vec<bool>, ids: &std::collections::BTreeSet<NodeId>| {
            ids.iter().try_for_each(|id| {
                nodes[at(self.find("run-started", id)?)] = true;
                Ok(())
            })
        };
        mark(&mut selected, &selection.from)?;
        // Each node comes after all that it needs, so one walk in each direction sees every chain whole.
        for &node in self.graph.order() {
            selected[node] |= self.graph.needs(node).any(|(need, _)| selected[need]);
        }
        mark(&mut selected, &selection.only)?;
        let mut needed = selected.clone();
        for &node in self.graph.order().iter().rev() {
            needed[node] |= self.graph.dependants(node).any(|(dependant, _)| needed[dependant]);
        }
        let role = |node: usize| match (selected[node], needed[node]) {
            (true, _) => Role::Runs,
            (_, true) if self.pipeline.nodes[node].plugin.is_none() => Role::Runs,
            (_, true) => Role::Taken,
            _ => Role::LeftOut,
        };
        Ok(Part { selection: selection.clone(), roles: (0..selected.len()).map(role).collect() })
    }

    /// Which part of the pipeline is run; none: all of it.
    pub fn selection(&self) -> Option<&Selection> {
        self.part.as_ref().map(|part| &part.selection)
    }

    /// What becomes of a node in this run. Of a run of the whole pipeline every node runs.
    pub fn role(&self, node: usize) -> Role {
        self.part.as_ref().map_or(Role::Runs, |part| part.roles[node])
    }

    /// Checks that a node is one that executes.
    pub(super) fn check_executes(&self, event: &'static str, index: u32) -> Result<(), IllegalTransition> {
        match self.role(at(index)) {
            Role::Runs => Ok(()),
            Role::Taken | Role::LeftOut => {
                Err(IllegalTransition::NotSelected { event, node: self.node(index).id.clone() })
            }
        }
    }

    /// Checks that a result from elsewhere is one that the node may have: earlier effects serve only a node that a part left
    /// unselected, and such a node has no other results.
    pub(super) fn check_origin(&self, receipt: &Receipt, facts: &AttemptFacts) -> Result<(), IllegalTransition> {
        let index = self.find("node-finished", &receipt.node)?;
        let wrong = |wrong| Err(IllegalTransition::Receipt { node: receipt.node.clone(), wrong });
        match (self.role(at(index)), &facts.taken_from) {
            (Role::Taken, None) if receipt.key.is_some() => wrong("is no earlier result, but the node is not selected"),
            (Role::Taken, Some(_)) if receipt.status != Status::Succeeded || !facts.cached => {
                wrong("takes over what did not succeed")
            }
            (Role::Runs | Role::LeftOut, Some(_)) => wrong("takes over an earlier result, which this node may not"),
            (Role::Runs, None) if facts.cached && !self.node(index).grants.is_empty() => {
                wrong("comes from the cache, but the node has grants")
            }
            _ => Ok(()),
        }
    }
}
