//! What `resume` does about results that were damaged or lost since: what nodes still to be run, and exports, read of finished nodes
//! is read whole before anything runs. A node whose result is not whole is executed again, offline, from its record; what comes
//! of it must be the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::Event;
use lockgate_model::pipeline::{InputSource, Pipeline};
use lockgate_model::run::{NodeState, RunState};
use lockgate_model::{NodeId, PortName};
use lockgate_runner::{Clock as _, Past, Recovered, Replayed, Replayer, RunSpec, SystemClock};
use lockgate_store::{Store, StoreError};
use tokio::runtime::Handle;

use crate::error::{Class, Error};
use crate::wiring::executor::{HostExecutor, StoreBlobs};
use crate::wiring::notices::Notices;
use crate::wiring::past::PastRun;

/// Reads the snapshots of a run, so that those that are damaged are set aside and can be taken again.
pub fn read_sources(store: &Store, spec: &RunSpec) -> Result<(), StoreError> {
    let thorough = store.thorough();
    spec.sources.iter().try_for_each(|source| thorough.is_whole(&source.artifact).map(drop))
}

/// What is looked at, and what it takes to make it again.
pub struct Mend<'a> {
    /// The store.
    pub store: &'a Store,
    /// The run.
    pub found: &'a PastRun,
    /// What it is made of.
    pub spec: &'a RunSpec,
    /// Where it stands.
    pub recovered: &'a Recovered,
    /// On what nodes are executed; not one of its threads calls this.
    pub runtime: &'a Handle,
    /// Who hears what is made again.
    pub notices: &'a dyn Notices,
}

/// Makes what is not whole again.
pub fn mend(of: &Mend<'_>, executor: HostExecutor) -> Result<(), Error> {
    let Mend { store, found, spec, recovered, runtime, notices } = *of;
    let store = store.thorough();
    let lost = Lost::find(&store, spec, &resumed(spec, recovered))?;
    if lost.nodes.is_empty() {
        return Ok(());
    }
    let events = found.records.iter().map(|record| &record.event);
    let past = Past::new(found.summary.id.clone(), found.state.clone(), events)?;
    let same_engine = past.is_of(env!("CARGO_PKG_VERSION"), &lockgate_host::determinism());
    let blobs = Arc::new(StoreBlobs(store.clone()));
    let replayer = Replayer { past: Arc::new(past), executor: Arc::new(executor), blobs, same_engine };
    for &node in spec.graph.order().iter().filter(|node| lost.nodes.contains(node)) {
        let id = &spec.pipeline.nodes[node].id;
        let which = |(_, name, artifact): &&(usize, PortName, ArtifactRef)| format!("`{name}` ({})", artifact.digest);
        let outputs: Vec<_> = lost.outputs.iter().filter(|(of, ..)| *of == node).collect();
        let named = outputs.iter().map(which).collect::<Vec<_>>().join(", ");
        notices.warning(&format!("node `{id}`: what it made is damaged or lost: {named}; it is executed again"));
        let replayed = runtime.block_on(replayer.node(node));
        let error = match &replayed {
            Replayed::Same => {
                for (_, name, artifact) in outputs {
                    if !store.is_whole(artifact)? {
                        return Err(gone(id, name, artifact));
                    }
                }
                continue;
            }
            Replayed::Different(_) => {
                let error =
                    anyhow::anyhow!("make the result of node `{id}` again: it made {named}, and now another one");
                let hint = "what the run was made of is lost; run the pipeline again";
                Error::new(Class::NotReproducible, error).hint(hint)
            }
            Replayed::Left(left) => broken(id, left.reason()),
            Replayed::Broken(failure) => broken(id, &failure.message),
        };
        notices.replayed(id, &replayed);
        return Err(error);
    }
    Ok(())
}

fn broken(node: &NodeId, why: &str) -> Error {
    let error = anyhow::anyhow!("make the result of node `{node}` again: {why}");
    Error::new(Class::Infrastructure, error).hint("what the run was made of is lost; run the pipeline again")
}

fn gone(node: &NodeId, name: &PortName, artifact: &ArtifactRef) -> Error {
    broken(node, &format!("its output `{name}` ({}) is not whole afterwards", artifact.digest))
}

/// The state that the run goes on from.
pub fn resumed(spec: &RunSpec, recovered: &Recovered) -> RunState {
    let (mut state, now) = (recovered.state.clone(), SystemClock::default().now_ms());
    // Where this is not legal, the driver says so.
    let (engine, policies) = (spec.engine.clone(), spec.policies.clone());
    let _ = state.apply(&Event::RunResumed { engine, again: recovered.stale(now), policies });
    state
}

/// Finished nodes that have to be executed again, and why.
#[derive(Default)]
struct Lost {
    nodes: BTreeSet<usize>,
    outputs: Vec<(usize, PortName, ArtifactRef)>,
}

impl Lost {
    fn find(store: &Store, spec: &RunSpec, state: &RunState) -> Result<Self, Error> {
        let pipeline = &spec.pipeline;
        let mut lost = Self::default();
        let mut looked: BTreeSet<(usize, PortName)> = BTreeSet::new();
        let exported = pipeline.exports.iter();
        let exported =
            exported.filter_map(|export| Some((state.position(export.node.as_str())?, export.output.clone())));
        let mut todo: Vec<(usize, PortName)> = exported.collect();
        let unfinished = |node: &usize| !matches!(state.state(*node), NodeState::Finished { .. });
        for node in (0..pipeline.nodes.len()).filter(unfinished) {
            reads(store, spec, state, node, &mut todo)?;
        }
        while let Some((node, name)) = todo.pop() {
            if !looked.insert((node, name.clone())) {
                continue;
            }
            let artifact = state.receipt(node).and_then(|receipt| receipt.outputs.get(&name)).copied();
            let Some(artifact) = artifact else { continue };
            if store.is_whole(&artifact)? {
                continue;
            }
            lost.outputs.push((node, name, artifact));
            if lost.nodes.insert(node) {
                // To execute it again takes what it read.
                reads(store, spec, state, node, &mut todo)?;
            }
        }
        Ok(lost)
    }
}

/// Adds the outputs of other nodes that a node reads. Fails where it reads a snapshot that is not whole.
fn reads(
    store: &Store,
    spec: &RunSpec,
    state: &RunState,
    node: usize,
    todo: &mut Vec<(usize, PortName)>,
) -> Result<(), Error> {
    let reader = &spec.pipeline.nodes[node];
    for (name, source) in &reader.inputs {
        match root(&spec.pipeline, state, source) {
            Some(InputSource::Output { node, output }) => {
                todo.extend(state.position(node.as_str()).map(|node| (node, output.clone())));
            }
            Some(source) => {
                let taken = spec.sources.iter().find(|taken| taken.source == *source);
                let Some(taken) = taken.filter(|_| !matches!(source, InputSource::Input { .. })) else { continue };
                if !store.is_whole(&taken.artifact)? {
                    let digest = taken.artifact.digest;
                    let error = anyhow::anyhow!(
                        "give node `{}` its input `{name}`: the snapshot {digest} is damaged or lost, and what it was taken of \
                         changed",
                        reader.id
                    );
                    let hint = "run the pipeline again: it takes new snapshots";
                    return Err(Error::new(Class::Infrastructure, error).hint(hint));
                }
            }
            None => {}
        }
    }
    let facts = reader.when.iter().flat_map(|when| when.outputs());
    todo.extend(facts.filter_map(|(node, output)| Some((state.position(node.as_str())?, output))));
    Ok(())
}

/// Where an input comes from in the end.
fn root<'a>(pipeline: &'a Pipeline, state: &RunState, source: &'a InputSource) -> Option<&'a InputSource> {
    let mut source = source;
    // Each step leads to a node before: there are no cycles.
    while let InputSource::Input { node, input } = source {
        source = pipeline.nodes[state.position(node.as_str())?].inputs.get(input)?;
    }
    Some(source)
}
