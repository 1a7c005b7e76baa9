//! What a run's records tell its next process: where each node stands, what interrupted attempts did already, and how old verdicts
//! are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lockgate_model::effect::{Differs, EffectRecord, Recorded};
use lockgate_model::event::Event;
use lockgate_model::graph::Graph;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::{IllegalTransition, NodeState, RunState};
use lockgate_model::{Digest, NodeId};

/// A run out of its records.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// Its state.
    pub state: RunState,
    /// When each final node got its receipt, in milliseconds since 1970; of one taken over from an earlier run, when that was.
    pub finished_at: HashMap<NodeId, u64>,
    /// The time of its latest record, in milliseconds since 1970: it goes on no earlier.
    pub(crate) latest: u64,
    /// Effects of attempts that were under way, or that ended with one in doubt.
    pub(crate) effects: HashMap<NodeId, Interrupted>,
}

/// The effects of an interrupted attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupted {
    /// Those with an outcome.
    pub(crate) recorded: Vec<EffectRecord>,
    /// Those without one, by sequence number.
    pub(crate) open: BTreeMap<u64, Intent>,
}

/// An effect that was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) kind: String,
    pub(crate) request: Digest,
    pub(crate) summary: String,
}

impl Intent {
    /// Fails where another effect is asked for in its place.
    pub(crate) fn check(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<(), Differs> {
        let answer = serde_json::Value::Null;
        let (own_kind, own_summary) = (self.kind.clone(), self.summary.clone());
        let record = EffectRecord { sequence, kind: own_kind, request: self.request, summary: own_summary, answer };
        Recorded::new([record]).begin(sequence, kind, request, summary).map(drop)
    }
}

impl Interrupted {
    /// What to answer from.
    pub(crate) fn recorded(&self) -> Recorded {
        Recorded::new(self.recorded.iter().cloned())
    }
}

/// Folds a run's records: the one way in which a run is shown, resumed, or told how it stands.
pub fn recover<'a>(
    pipeline: Arc<Pipeline>,
    graph: Arc<Graph>,
    records: impl IntoIterator<Item = (u64, &'a Event)>,
) -> Result<Recovered, IllegalTransition> {
    let mut recovered = Recovered {
        state: RunState::new(pipeline, graph),
        finished_at: HashMap::new(),
        latest: 0,
        effects: HashMap::new(),
    };
    for (time, event) in records {
        recovered.state.apply(event)?;
        recovered.take(time, event);
    }
    let Recovered { state, effects, .. } = &mut recovered;
    effects.retain(|node, _| {
        let index = state.position(node.as_str());
        index.is_some_and(|index| {
            let under_way =
                matches!(state.state(index), NodeState::Running(_) | NodeState::Waiting { attempt: Some(_), .. });
            under_way || state.left(index).is_some()
        })
    });
    Ok(recovered)
}

impl Recovered {
    fn take(&mut self, time: u64, event: &Event) {
        self.latest = self.latest.max(time);
        match event {
            Event::AttemptStarted { node, .. } | Event::AttemptFailed { node, .. } => {
                self.effects.remove(node);
            }
            Event::EffectIntended { node, sequence, kind, request, summary, .. } => {
                let intent = Intent { kind: kind.clone(), request: *request, summary: summary.clone() };
                self.effects.entry(node.clone()).or_default().open.insert(*sequence, intent);
            }
            Event::EffectFinished { node, sequence, answer, .. } => {
                let effects = self.effects.entry(node.clone()).or_default();
                if let Some(Intent { kind, request, summary }) = effects.open.remove(sequence) {
                    let (sequence, answer) = (*sequence, answer.clone());
                    effects.recorded.push(EffectRecord { sequence, kind, request, summary, answer });
                }
            }
            Event::NodeFinished { receipt, facts, .. } => {
                // A verdict that was taken over is as old as it was there.
                let time = facts.taken_from.as_ref().map_or(time, |origin| origin.time);
                self.finished_at.insert(receipt.node.clone(), time);
            }
            _ => {}
        }
    }

    /// Nodes that succeeded with a verdict older than their `max_age` at this time (milliseconds since 1970).
    pub fn stale(&self, now: u64) -> Vec<NodeId> {
        let is_stale = |(index, node): &(usize, &lockgate_model::pipeline::Node)| {
            let Some(max_age) = node.max_age else { return false };
            let has_verdict = self.state.receipt(*index).is_some_and(|receipt| receipt.verdict.is_some());
            let taken = self.finished_at.get(&node.id).copied().unwrap_or(0);
            has_verdict && now.saturating_sub(taken) > max_age.0
        };
        let nodes = &self.state.pipeline().nodes;
        nodes.iter().enumerate().filter(is_stale).map(|(_, node)| node.id.clone()).collect()
    }
}
