//! What a run would do, without doing it: the planner and the one transition function, fed with what the cache proves. A node
//! that would have to be executed never ends here, so all that follows from its result stays open.

use std::sync::Arc;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::key::ActionKey;
use lockgate_model::outcome::{Failure, FailureKind};
use lockgate_model::pipeline::PIPELINE_DOMAIN;
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, RunState};
use lockgate_model::{Digest, RunId, canonical_json};

use crate::attempt::served;
use crate::drive::{ended_receipt, started_event};
use crate::facts;
use crate::flight::may_share;
use crate::inputs::{self, Inputs};
use crate::plan::{Action, End, Planner};
use crate::ports::{Blobs, Cache};
use crate::spec::{DriveError, DriveOptions, RunSpec};

/// What would become of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Prospect {
    /// Its result is there.
    Cached {
        /// Its action key.
        key: Box<ActionKey>,
        /// The run in which it was executed.
        run: RunId,
    },
    /// It would be executed.
    Runs {
        /// Its action key.
        key: Box<ActionKey>,
        /// The earlier node of the pipeline that has the same key: what that one proves would serve this one, too.
        shares: Option<usize>,
    },
    /// It would be skipped.
    Skipped(String),
    /// It would fail without being executed.
    Fails(Failure),
    /// Nobody can tell before these nodes are final: those it needs that would be executed, or wait themselves.
    Open(Vec<usize>),
    /// It has no plugin: it waits for something outside.
    Waits,
}

/// Foresees a run, by node. It reads the cache and the outputs that `when` looks into, and may block.
pub fn forecast(spec: &RunSpec, cache: &dyn Cache, blobs: &Arc<dyn Blobs>) -> Result<Vec<Prospect>, DriveError> {
    let inputs = Inputs::new(spec)?;
    let nodes = spec.pipeline.nodes.len();
    let state = RunState::new(Arc::clone(&spec.pipeline), Arc::clone(&spec.graph));
    let jobs = std::num::NonZeroUsize::new(nodes).unwrap_or(std::num::NonZeroUsize::MIN);
    let mut planner = Planner::new(state, DriveOptions { jobs, ..DriveOptions::default() });
    let text = canonical_json(&*spec.pipeline);
    let digest = Digest::tagged(PIPELINE_DOMAIN, text.as_bytes());
    let pipeline =
        ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
    planner.apply(&started_event(spec, pipeline, digest), 0)?;
    let mut prospects: Vec<Option<Prospect>> = vec![None; nodes];
    let mut first = std::collections::HashMap::new();
    while let Some(action) = planner.next(0) {
        match action {
            Action::Execute { node, .. } => {
                let found = foresee(spec, &inputs, &planner, cache, node)?;
                match found {
                    Foreseen::Cached(key, found) => {
                        let run = found.run.clone();
                        finish_cached(spec, &mut planner, &inputs, node, &key, *found)?;
                        prospects[node] = Some(Prospect::Cached { key, run });
                    }
                    Foreseen::Runs(key) => {
                        let shares = may_share(&spec.pipeline.nodes[node])
                            .then(|| *first.entry(key.digest()).or_insert(node))
                            .filter(|first| *first != node);
                        prospects[node] = Some(Prospect::Runs { key, shares });
                    }
                    Foreseen::Fails(failure) => {
                        finish(spec, &mut planner, node, 0, End::Failed(failure.clone()))?;
                        prospects[node] = Some(Prospect::Fails(failure));
                    }
                }
            }
            Action::ReadFacts { node } => {
                let outputs = facts::read_now(facts::wanted(node, planner.state()), &**blobs);
                planner.ended();
                planner.facts(node, outputs);
            }
            Action::Finish { node, attempt, end } => {
                finish(spec, &mut planner, node, attempt, end.clone())?;
                prospects[node] = Some(match end {
                    End::Skipped(reason) => Prospect::Skipped(reason),
                    End::Failed(failure) => Prospect::Fails(failure),
                    End::Waited(..) => Prospect::Waits,
                });
            }
            Action::Hold { node, .. } => prospects[node] = Some(Prospect::Waits),
            Action::FinishRun { .. } => break,
        }
    }
    // What only comes after others has its key already. That it may be skipped yet does not change what it would give.
    for (node, prospect) in prospects.iter_mut().enumerate() {
        let known = prospect.is_none() && spec.pipeline.nodes[node].when.is_none();
        if known && inputs.resolve(node, planner.state()).is_ok() {
            *prospect = match foresee(spec, &inputs, &planner, cache, node)? {
                Foreseen::Cached(key, found) => Some(Prospect::Cached { key, run: found.run }),
                Foreseen::Runs(key) => Some(Prospect::Runs { key, shares: None }),
                Foreseen::Fails(_) => None,
            };
        }
    }
    let open = |node: usize| {
        let is_open = |need: &usize| !matches!(planner.state().state(*need), NodeState::Finished { .. });
        let mut needs: Vec<_> = spec.graph.needs(node).map(|(need, _)| need).filter(is_open).collect();
        needs.sort_unstable();
        needs.dedup();
        Prospect::Open(needs)
    };
    Ok(prospects.into_iter().enumerate().map(|(node, found)| found.unwrap_or_else(|| open(node))).collect())
}

enum Foreseen {
    Cached(Box<ActionKey>, Box<crate::ports::Cached>),
    Runs(Box<ActionKey>),
    Fails(Failure),
}

fn foresee(
    spec: &RunSpec,
    inputs: &Inputs,
    planner: &Planner,
    cache: &dyn Cache,
    index: usize,
) -> Result<Foreseen, DriveError> {
    let node = &spec.pipeline.nodes[index];
    let given = match inputs.resolve(index, planner.state()) {
        Ok(given) => given,
        Err(failure) => return Ok(Foreseen::Fails(failure)),
    };
    let Some(component) = inputs::component(spec, node)? else {
        let failure = Failure { kind: FailureKind::Infrastructure, message: "it has no plugin".to_owned() };
        return Ok(Foreseen::Fails(failure));
    };
    let key = Box::new(inputs::action_key(spec, node, component, &given));
    let found = may_share(node).then(|| cache.find(&key.digest())).flatten();
    Ok(match found {
        Some(found) if served(node, found.clone()).is_some() => Foreseen::Cached(key, Box::new(found)),
        _ => Foreseen::Runs(key),
    })
}

fn finish_cached(
    spec: &RunSpec,
    planner: &mut Planner,
    inputs: &Inputs,
    index: usize,
    key: &ActionKey,
    found: crate::ports::Cached,
) -> Result<(), DriveError> {
    let node = spec.pipeline.nodes[index].id.clone();
    let given = inputs.resolve(index, planner.state()).unwrap_or_default();
    planner.apply(&Event::AttemptStarted { node: node.clone(), attempt: 1, key: key.digest(), inputs: given }, 0)?;
    let receipt = Receipt { node, ..found.receipt };
    let digest = receipt.digest();
    let facts = AttemptFacts { cached: true, ..found.facts };
    planner.ended();
    planner.apply(&Event::NodeFinished { receipt: Box::new(receipt), digest, attempt: 1, reason: None, facts }, 0)?;
    Ok(())
}

fn finish(spec: &RunSpec, planner: &mut Planner, index: usize, attempt: u32, end: End) -> Result<(), DriveError> {
    let (receipt, reason) = ended_receipt(spec, planner.state(), index, end)?;
    let digest = receipt.digest();
    let facts = AttemptFacts::default();
    planner.apply(&Event::NodeFinished { receipt: Box::new(receipt), digest, attempt, reason, facts }, 0)?;
    Ok(())
}
