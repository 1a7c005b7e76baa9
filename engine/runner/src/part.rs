//! Runs of a part of a pipeline: where the nodes that are not selected, and that a selected one needs, have their results from.
//!
//! All of them are found before anything runs, so a part either has everything that it needs or does not begin. A pure node gets
//! what the cache proves for its action key; one with grants how it last ended under its key, if that was a success.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::{AttemptFacts, Event, Origin};
use lockgate_model::key::ActionKey;
use lockgate_model::outcome::{Failure, FailureKind, Status};
use lockgate_model::pipeline::Node;
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, Role, RunState};
use lockgate_model::{PortName, RunId};

use crate::attempt::served;
use crate::inputs::{self, Inputs};
use crate::ports::{Cache, Cached, Earlier};
use crate::spec::{DriveError, RunSpec};

/// Earlier results by node, for the nodes of a part that are not selected.
#[derive(Debug, Clone, Default)]
pub struct Taken(HashMap<usize, Cached>);

impl Taken {
    /// What a node gets.
    pub fn get(&self, node: usize) -> Option<&Cached> {
        self.0.get(&node)
    }

    pub(crate) fn insert(&mut self, node: usize, found: Cached) {
        self.0.insert(node, found);
    }
}

/// Why a node that a part needs has no earlier result to get.
#[derive(Debug, Clone, PartialEq)]
pub enum Absent {
    /// No execution under its key succeeded, or what it gave is not accepted here.
    Unknown(Box<ActionKey>),
    /// It succeeded, but an artifact of the result is gone or damaged.
    Gone(RunId),
    /// The last time that it was executed under its key it did not succeed.
    Failed(RunId),
    /// Its verdict is older than `max_age`.
    Stale {
        /// The run in which it was taken.
        run: RunId,
        /// Its age in milliseconds.
        age: u64,
    },
    /// Its inputs are not known before these nodes are final.
    Inputs(Vec<usize>),
    /// It has grants, and comes after this selected node, which has grants as well: what it said before is about another world.
    Between(usize),
}

/// Finds earlier results.
pub(crate) struct Finder<'a> {
    pub(crate) spec: &'a RunSpec,
    pub(crate) inputs: &'a Inputs,
    pub(crate) cache: &'a dyn Cache,
    pub(crate) earlier: &'a dyn Earlier,
    /// In milliseconds since 1970.
    pub(crate) now: u64,
    /// A node with grants that executes and comes before each node, if one does.
    behind: Vec<Option<usize>>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(
        spec: &'a RunSpec,
        inputs: &'a Inputs,
        (cache, earlier): (&'a dyn Cache, &'a dyn Earlier),
        state: &RunState,
        now: u64,
    ) -> Self {
        let mut behind = vec![None; spec.pipeline.nodes.len()];
        let acts = |node: usize| state.role(node) == Role::Runs && !spec.pipeline.nodes[node].grants.is_empty();
        for &node in spec.graph.order() {
            behind[node] =
                spec.graph.needs(node).find_map(|(need, _)| if acts(need) { Some(need) } else { behind[need] });
        }
        Self { spec, inputs, cache, earlier, now, behind }
    }

    /// The earlier result of a node, or why it has none. `receipt` gives what is known of the nodes that it needs.
    pub(crate) fn find<'r>(
        &self,
        index: usize,
        receipt: impl Fn(usize) -> Option<&'r Receipt>,
    ) -> Result<Result<(Box<ActionKey>, Cached), Absent>, DriveError> {
        let node = &self.spec.pipeline.nodes[index];
        if let Some(before) = self.behind[index].filter(|_| !node.grants.is_empty()) {
            return Ok(Err(Absent::Between(before)));
        }
        let (Ok(given), Some(component)) =
            (self.inputs.resolve_with(index, &self.spec.pipeline, &receipt), inputs::component(self.spec, node)?)
        else {
            let mut needs: Vec<_> = self.spec.graph.needs(index).map(|(need, _)| need).collect();
            needs.retain(|need| receipt(*need).is_none_or(|receipt| receipt.status != Status::Succeeded));
            needs.sort_unstable();
            return Ok(Err(Absent::Inputs(needs)));
        };
        let key = Box::new(inputs::action_key(self.spec, node, component, &given));
        Ok(if node.grants.is_empty() { self.pure(node, key) } else { self.effectful(node, key) })
    }

    fn pure(&self, node: &Node, key: Box<ActionKey>) -> Result<(Box<ActionKey>, Cached), Absent> {
        match self.cache.find(&key.digest()) {
            Some(found) if served(node, found.clone()).is_some() => Ok((key, found)),
            _ => Err(Absent::Unknown(key)),
        }
    }

    fn effectful(&self, node: &Node, key: Box<ActionKey>) -> Result<(Box<ActionKey>, Cached), Absent> {
        let Some(last) = self.earlier.last_end(&node.id, &key.digest()) else { return Err(Absent::Unknown(key)) };
        let found = last.found;
        if found.receipt.status != Status::Succeeded {
            return Err(Absent::Failed(found.run));
        }
        let age = self.now.saturating_sub(found.time);
        if node.max_age.is_some_and(|max| age > max.0) {
            return Err(Absent::Stale { run: found.run, age });
        }
        if !last.whole {
            return Err(Absent::Gone(found.run));
        }
        if served(node, found.clone()).is_none() { Err(Absent::Unknown(key)) } else { Ok((key, found)) }
    }
}

/// What the journal says of a node that gets an earlier result; a failure where what was found before the run no longer fits.
pub(crate) fn events(
    spec: &RunSpec,
    inputs: &Inputs,
    state: &RunState,
    taken: &Taken,
    index: usize,
    attempt: u32,
) -> Result<Result<Vec<Event>, Failure>, DriveError> {
    let node = &spec.pipeline.nodes[index];
    let given = match inputs.resolve(index, state) {
        Ok(given) => given,
        Err(failure) => return Ok(Err(failure)),
    };
    let key = inputs::component(spec, node)?.map(|component| inputs::key_digest(spec, node, component, &given));
    match taken.get(index).filter(|found| key.is_some() && found.receipt.key == key) {
        Some(found) => Ok(Ok(finished(node, state.state(index), found, given, attempt))),
        None => {
            let message = "no earlier result was foreseen for it: select it, too".to_owned();
            Ok(Err(Failure { kind: FailureKind::Infrastructure, message }))
        }
    }
}

fn finished(
    node: &Node,
    state: &NodeState,
    found: &Cached,
    inputs: BTreeMap<PortName, ArtifactRef>,
    attempt: u32,
) -> Vec<Event> {
    let receipt = Receipt { node: node.id.clone(), ..found.receipt.clone() };
    let facts = AttemptFacts {
        peak_memory: found.facts.peak_memory,
        fuel_limit: node.limits.fuel.0,
        cached: true,
        pure: node.grants.is_empty(),
        taken_from: Some(Origin { run: found.run.clone(), time: found.time }),
        findings: found.facts.findings.clone(),
        ..AttemptFacts::default()
    };
    let digest = receipt.digest();
    // An earlier process may have written the first of the two.
    let started = receipt.key.filter(|_| !matches!(state, NodeState::Running(_)));
    let started = started.map(|key| Event::AttemptStarted { node: node.id.clone(), attempt, key, inputs });
    let finished = Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt, reason: None, facts };
    started.into_iter().chain([finished]).collect()
}
