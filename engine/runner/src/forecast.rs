//! What a run would do, without doing it: the planner and the one transition function, fed with what the cache proves. A node
//! that would have to be executed never ends here, so all that follows from its result stays open.

use std::collections::HashMap;
use std::sync::Arc;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::key::ActionKey;
use lockgate_model::outcome::{Decision, Failure, FailureKind};
use lockgate_model::pipeline::PIPELINE_DOMAIN;
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, Readiness, Role, RunState};
use lockgate_model::{Digest, RunId};

use crate::attempt::served;
use crate::facts;
use crate::flight::may_share;
use crate::inputs::{self, Inputs};
use crate::made::{ended_receipt, started_event};
use crate::part::{self, Absent, Finder, Taken};
use crate::plan::{Action, End, Planner};
use crate::ports::{Blobs, Cache, Cached, Earlier};
use crate::recover::Recovered;
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
    /// A part does not select it: it would get the result of an earlier run.
    Taken {
        /// Its action key.
        key: Box<ActionKey>,
        /// The run in which it was executed.
        run: RunId,
    },
    /// Likewise, but there is no such result: the part cannot be run.
    Absent(Absent),
    /// It would be skipped.
    Skipped(String),
    /// It would fail without being executed.
    Fails(Failure),
    /// Nobody can tell before these nodes are final: those it needs that would be executed, or wait themselves.
    Open(Vec<usize>),
    /// It has no plugin: it waits for something outside.
    Waits,
}

/// Where a forecast looks.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Results of pure nodes.
    pub cache: &'a dyn Cache,
    /// Whether nodes that execute are executed whatever the cache has. Nodes that are not selected get it all the same.
    pub fresh: bool,
    /// Results of nodes with grants, for those that a part does not select.
    pub earlier: &'a dyn Earlier,
    /// Outputs that `when` looks into.
    pub blobs: &'a Arc<dyn Blobs>,
    /// The time, in milliseconds since 1970: what has a `max_age` may be too old.
    pub now: u64,
}

/// What a run would do.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// What would become of each node.
    pub prospects: Vec<Prospect>,
    /// What nodes get that a part does not select: for [`Surroundings::taken`](crate::Surroundings::taken). Whole only if no
    /// prospect is [`Prospect::Absent`].
    pub taken: Taken,
}

/// Foresees a run. May block. Of a part it takes approvals and waits for answered with yes: whether all that it needs is there has
/// to be known before they are.
pub fn forecast(spec: &RunSpec, sources: &Sources<'_>) -> Result<Foreseen, DriveError> {
    let state = RunState::new(Arc::clone(&spec.pipeline), Arc::clone(&spec.graph));
    let text = spec.pipeline.canonical_json();
    let digest = Digest::tagged(PIPELINE_DOMAIN, text.as_bytes());
    let pipeline =
        ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
    foresee_from(spec, state, &started_event(spec, pipeline, digest), sources)
}

/// Foresees what is left of a run that goes on, see [`crate::resume`].
pub fn forecast_resumed(spec: &RunSpec, recovered: &Recovered, sources: &Sources<'_>) -> Result<Foreseen, DriveError> {
    let event = Event::RunResumed {
        engine: spec.engine.clone(),
        again: recovered.stale(sources.now),
        policies: spec.policies.clone(),
    };
    foresee_from(spec, recovered.state.clone(), &event, sources)
}

fn foresee_from(spec: &RunSpec, state: RunState, first: &Event, sources: &Sources<'_>) -> Result<Foreseen, DriveError> {
    let inputs = Inputs::new(spec)?;
    let jobs = std::num::NonZeroUsize::new(spec.pipeline.nodes.len()).unwrap_or(std::num::NonZeroUsize::MIN);
    let mut planner = Planner::new(state, DriveOptions { jobs, ..DriveOptions::default() });
    planner.apply(first, 0)?;
    let finder = Finder::new(spec, &inputs, (sources.cache, sources.earlier), planner.state(), sources.now);
    let prospects = vec![None; spec.pipeline.nodes.len()];
    let mut forecast = Forecast { spec, inputs: &inputs, sources, planner, finder, prospects, taken: Taken::default() };
    forecast.plan()?;
    forecast.what_comes_after()?;
    Ok(Foreseen { prospects: forecast.complete(), taken: forecast.taken })
}

struct Forecast<'a> {
    spec: &'a RunSpec,
    inputs: &'a Inputs,
    sources: &'a Sources<'a>,
    planner: Planner,
    finder: Finder<'a>,
    prospects: Vec<Option<Prospect>>,
    taken: Taken,
}

impl Forecast<'_> {
    /// Lets the planner go as far as it comes without executing anything.
    fn plan(&mut self) -> Result<(), DriveError> {
        let mut first = HashMap::new();
        loop {
            let Some(action) = self.planner.next(0) else { if self.open_a_gate()? { continue } else { return Ok(()) } };
            match action {
                Action::Execute { node, attempt, .. } => {
                    self.prospects[node] = Some(match self.foresee(node)? {
                        Foreseeing::Cached(key, found) => {
                            let run = found.run.clone();
                            self.finish_cached(node, attempt, &key, *found)?;
                            Prospect::Cached { key, run }
                        }
                        Foreseeing::Runs(key) => {
                            let shares = may_share(&self.spec.pipeline.nodes[node])
                                .then(|| *first.entry(key.digest()).or_insert(node))
                                .filter(|first| *first != node);
                            Prospect::Runs { key, shares }
                        }
                        Foreseeing::Fails(failure) => {
                            self.finish(node, attempt.saturating_sub(1), End::Failed(failure.clone()))?;
                            Prospect::Fails(failure)
                        }
                    });
                }
                Action::Take { node, attempt } => {
                    let state = self.planner.state();
                    let receipt = |need: usize| state.receipt(need).map(|receipt| &**receipt);
                    let found = self.finder.find(node, receipt)?;
                    self.prospects[node] = Some(self.take(node, found));
                    let (state, taken) = (self.planner.state(), &self.taken);
                    if taken.get(node).is_some()
                        && let Ok(events) = part::events(self.spec, self.inputs, state, taken, node, attempt)?
                    {
                        events.iter().try_for_each(|event| self.planner.apply(event, 0))?;
                    }
                }
                Action::ReadFacts { node } => {
                    let outputs = facts::read_now(facts::wanted(node, self.planner.state()), &**self.sources.blobs);
                    self.planner.ended();
                    self.planner.facts(node, outputs);
                }
                Action::Finish { node, attempt, end } => {
                    self.finish(node, attempt, end.clone())?;
                    self.prospects[node] = Some(match end {
                        End::Skipped(reason) => Prospect::Skipped(reason),
                        End::Failed(failure) => Prospect::Fails(failure),
                        End::Waited(..) => Prospect::Waits,
                    });
                }
                Action::Hold { node, until, attempt } => {
                    self.prospects[node] = Some(Prospect::Waits);
                    if self.spec.selection.is_some() {
                        let node = self.spec.pipeline.nodes[node].id.clone();
                        self.planner.apply(&Event::NodeWaiting { node, until, attempt }, 0)?;
                    }
                }
                Action::FinishRun { .. } => return Ok(()),
            }
        }
    }

    /// Of a part: ends the waiting of one approval or wait. Whether there was one.
    fn open_a_gate(&mut self) -> Result<bool, DriveError> {
        let state = self.planner.state();
        let waits = |node: &usize| matches!(state.state(*node), NodeState::Waiting { attempt: None, .. });
        let ready = |node: &usize| state.readiness(*node) == Readiness::Ready;
        let gate = (0..self.prospects.len()).filter(|_| self.spec.selection.is_some()).find(|n| waits(n) && ready(n));
        let Some(node) = gate else { return Ok(false) };
        let tried = state.tried(node);
        self.planner.let_go(node);
        let decision = Decision { word: "approved".to_owned(), by: None, comment: None };
        let approves = self.spec.pipeline.nodes[node].approval.is_some();
        self.finish(node, tried, End::Waited(approves.then_some(decision), None))?;
        Ok(true)
    }

    fn take(&mut self, node: usize, found: Result<(Box<ActionKey>, Cached), Absent>) -> Prospect {
        match found {
            Ok((key, found)) => {
                let run = found.run.clone();
                self.taken.insert(node, found);
                Prospect::Taken { key, run }
            }
            Err(absent) => Prospect::Absent(absent),
        }
    }

    /// What only comes after others has its key already. That it may be skipped yet does not change what it would give.
    fn what_comes_after(&mut self) -> Result<(), DriveError> {
        let graph = Arc::clone(&self.spec.graph);
        for &node in graph.order() {
            let state = self.planner.state();
            if self.prospects[node].is_some() || matches!(state.state(node), NodeState::Finished { .. }) {
                continue;
            }
            if state.role(node) == Role::Taken {
                let receipt = |need: usize| {
                    let known = state.receipt(need).map(|receipt| &**receipt);
                    known.or_else(|| self.taken.get(need).map(|found| &found.receipt))
                };
                let found = self.finder.find(node, receipt)?;
                self.prospects[node] = Some(self.take(node, found));
            } else if self.spec.pipeline.nodes[node].when.is_none() && self.inputs.resolve(node, state).is_ok() {
                self.prospects[node] = match self.foresee(node)? {
                    Foreseeing::Cached(key, found) => Some(Prospect::Cached { key, run: found.run }),
                    Foreseeing::Runs(key) => Some(Prospect::Runs { key, shares: None }),
                    Foreseeing::Fails(_) => None,
                };
            }
        }
        Ok(())
    }

    fn complete(&mut self) -> Vec<Prospect> {
        let state = self.planner.state();
        let open = |node: usize| {
            let is_open = |need: &usize| !matches!(state.state(*need), NodeState::Finished { .. });
            let mut needs: Vec<_> = self.spec.graph.needs(node).map(|(need, _)| need).filter(is_open).collect();
            needs.sort_unstable();
            needs.dedup();
            Prospect::Open(needs)
        };
        let found = std::mem::take(&mut self.prospects);
        found.into_iter().enumerate().map(|(node, found)| found.unwrap_or_else(|| open(node))).collect()
    }

    fn foresee(&self, index: usize) -> Result<Foreseeing, DriveError> {
        let node = &self.spec.pipeline.nodes[index];
        let given = match self.inputs.resolve(index, self.planner.state()) {
            Ok(given) => given,
            Err(failure) => return Ok(Foreseeing::Fails(failure)),
        };
        let Some(component) = inputs::component(self.spec, node)? else {
            let failure = Failure { kind: FailureKind::Infrastructure, message: "it has no plugin".to_owned() };
            return Ok(Foreseeing::Fails(failure));
        };
        let key = Box::new(inputs::action_key(self.spec, node, component, &given));
        // An attempt that an earlier process began is executed.
        let begun = matches!(self.planner.state().state(index), NodeState::Running(_));
        let may = may_share(node) && !self.sources.fresh && !begun;
        let found = may.then(|| self.sources.cache.find(&key.digest())).flatten();
        Ok(match found {
            Some(found) if served(node, found.clone()).is_some() => Foreseeing::Cached(key, Box::new(found)),
            _ => Foreseeing::Runs(key),
        })
    }

    fn finish_cached(&mut self, index: usize, attempt: u32, key: &ActionKey, found: Cached) -> Result<(), DriveError> {
        let node = self.spec.pipeline.nodes[index].id.clone();
        let given = self.inputs.resolve(index, self.planner.state()).unwrap_or_default();
        let started = Event::AttemptStarted { node: node.clone(), attempt, key: key.digest(), inputs: given };
        self.planner.apply(&started, 0)?;
        let receipt = Receipt { node, ..found.receipt };
        let digest = receipt.digest();
        let facts = AttemptFacts { cached: true, taken_from: None, ..found.facts };
        self.planner.ended();
        self.planner
            .apply(&Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt, reason: None, facts }, 0)?;
        Ok(())
    }

    fn finish(&mut self, index: usize, attempt: u32, end: End) -> Result<(), DriveError> {
        let (receipt, reason) = ended_receipt(self.spec, self.planner.state(), index, end)?;
        let digest = receipt.digest();
        let facts = AttemptFacts::default();
        self.planner.apply(&Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt, reason, facts }, 0)?;
        Ok(())
    }
}

enum Foreseeing {
    Cached(Box<ActionKey>, Box<Cached>),
    Runs(Box<ActionKey>),
    Fails(Failure),
}
