//! The action keys that nodes had in earlier runs, to say what changed since. They are made again from the journal: the pipeline,
//! the components and the inputs of each node stand there, so a running node pays nothing for it. A key that does not come out
//! with the digest that its receipt names is left out.

use std::collections::{BTreeMap, HashMap};

use lockgate_model::event::{AttemptFacts, Component, Event};
use lockgate_model::key::{ActionKey, Difference};
use lockgate_model::outcome::Status;
use lockgate_model::{NodeId, RunId};
use lockgate_store::Store;

use crate::past::{self, PastRun};

/// Runs that are looked into, newest first: reading one of 10,000 nodes takes a tenth of a second.
const RUNS: usize = 5;
/// Runs of any pipeline among which they are searched.
const SEARCHED: usize = 200;

/// Earlier runs of a pipeline, newest first.
pub(crate) struct History(Vec<Earlier>);

struct Earlier {
    run: RunId,
    nodes: HashMap<NodeId, Known>,
}

/// A node of an earlier run.
pub(crate) struct Known {
    key: ActionKey,
    /// How it ended.
    pub(crate) status: Status,
    /// Whether its success could serve others.
    pub(crate) pure: bool,
}

/// The earlier run whose key of a node is nearest to one.
pub(crate) struct Nearest<'a> {
    /// The run.
    pub(crate) run: &'a RunId,
    /// The node there.
    pub(crate) known: &'a Known,
    /// What differs; nothing: it had the same key.
    pub(crate) differences: Vec<Difference>,
}

impl History {
    /// The last runs of the pipeline with this name. One that cannot be read, or of which the collector took the pipeline, is
    /// passed over: it only explains less.
    pub(crate) fn read(store: &Store, name: &str) -> Self {
        let runs = store.runs(SEARCHED).unwrap_or_default().into_iter().filter(|run| run.name == name);
        let read = |run: lockgate_store::RunSummary| past::find(store, run.id.as_str()).ok().map(|run| earlier(&run));
        Self(runs.filter_map(read).take(RUNS).collect())
    }

    /// The run in which a node's key differs least, the newest of those.
    pub(crate) fn nearest(&self, node: &NodeId, key: &ActionKey) -> Option<Nearest<'_>> {
        let found = self.0.iter().filter_map(|earlier| {
            let known = earlier.nodes.get(node)?;
            Some(Nearest { run: &earlier.run, known, differences: key.differences(&known.key) })
        });
        found.min_by_key(|nearest| nearest.differences.len())
    }
}

fn earlier(run: &PastRun) -> Earlier {
    let mut inputs = HashMap::new();
    let mut began: Option<(&BTreeMap<_, Component>, u64, &str)> = None;
    for record in &run.records {
        match &record.event {
            Event::RunStarted { components, logical_time, determinism, .. } => {
                began = Some((components, *logical_time, determinism));
            }
            Event::AttemptStarted { node, inputs: given, .. } => {
                inputs.insert(node, given);
            }
            _ => {}
        }
    }
    let mut nodes = HashMap::new();
    for node in &run.pipeline.nodes {
        let Some((components, logical_time, determinism)) = began else { break };
        let (Some(ended), Some(given)) = (run.ended.get(&node.id), inputs.get(&node.id)) else { continue };
        let component = node.plugin.as_ref().and_then(|alias| components.get(alias));
        let (Some(component), Some(world)) = (component, node.kind.world()) else { continue };
        let key = ActionKey::new(node, (component, world), given, determinism, logical_time);
        if ended.receipt.key == Some(key.digest()) {
            let AttemptFacts { pure, .. } = ended.facts;
            nodes.insert(node.id.clone(), Known { key, status: ended.receipt.status, pure });
        }
    }
    Earlier { run: run.summary.id.clone(), nodes }
}
