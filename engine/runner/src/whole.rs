//! Whole graphs at once: a run in which every node would be served from the cache is served with one record.
//!
//! Nodes are served one by one in tens of microseconds each, which for thousands of nodes is longer than their file takes to read. So a
//! run that succeeded keeps what its nodes gave, under a key of all that they depend on, and a later run with that key takes it as it
//! is. Only graphs of pure nodes have a key: what they give again cannot differ, and nothing is left out by not executing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::event::Event;
use lockgate_model::graph_results::{self, Encoder, MAX_GRAPH_RESULTS, NodeResult, graph_key};
use lockgate_model::outcome::Status;
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, RunState};
use lockgate_model::{Digest, artifact::ArtifactRef};

use crate::blocking;
use crate::flight;
use crate::inputs::Inputs;
use crate::ports::Cache;
use crate::spec::{DriveOptions, RunSpec};

/// Graphs with fewer nodes have no key: their nodes are served one by one as fast.
pub(crate) const MIN_NODES: usize = 256;

/// The results of an earlier run.
pub(crate) struct Served {
    pub key: Digest,
    pub results: ArtifactRef,
    /// What happened in the nodes.
    pub events: Vec<Event>,
}

/// The key of a run's graph, if it has one.
pub(crate) fn key(spec: &RunSpec, pipeline: Digest, options: &DriveOptions) -> Option<Digest> {
    let whole = spec.selection.is_none() && !options.check_determinism && !options.check_cache;
    let nodes = &spec.pipeline.nodes;
    (whole && nodes.len() >= MIN_NODES && nodes.iter().all(flight::may_share))
        .then(|| graph_key(pipeline, &spec.components, &spec.sources, &spec.determinism, spec.logical_time))
}

/// What is known of a graph.
pub(crate) async fn find(cache: &Arc<dyn Cache>, key: Digest) -> Option<Served> {
    let cache = Arc::clone(cache);
    let found = blocking::spawn(move || {
        let (results, text) = cache.graph(&key)?;
        Some(Served { key, results, events: graph_results::events(&text).ok()? })
    });
    found.await.ok().flatten()
}

/// The text of what the nodes of a run gave, if all of it would come out again. `facts`: findings by severity and the
/// most memory in use, of each node.
pub(crate) fn proved(
    state: &RunState,
    inputs: &Inputs,
    mut facts: impl FnMut(usize) -> Option<(BTreeMap<String, u64>, u64)>,
) -> Option<String> {
    let nodes = || state.graph().order().iter().copied();
    let receipts = nodes().map(|node| state.receipt(node).filter(|receipt| receipt.status == Status::Succeeded));
    let receipts: Vec<&Receipt> = receipts.map(|receipt| receipt.map(|receipt| &**receipt)).collect::<Option<_>>()?;
    let mut text = Encoder::new(receipts.into_iter());
    // Those that are late may only begin behind all others.
    for late in [false, true] {
        for node in nodes().filter(|node| state.is_late(*node) == late) {
            let NodeState::Finished { receipt, digest, .. } = state.state(node) else { return None };
            let (findings, peak_memory) = facts(node)?;
            let inputs = inputs.resolve(node, state).ok()?;
            let fuel_limit = state.pipeline().nodes[node].limits.fuel.0;
            let receipt = Arc::clone(receipt);
            text.add(&NodeResult { receipt, digest: *digest, inputs, findings, peak_memory, fuel_limit });
        }
    }
    // More than is read back is of no use.
    Some(text.finish()).filter(|text| text.len() as u64 <= MAX_GRAPH_RESULTS)
}
