//! Where each input of each node comes from, followed to its root once per run, and the tasks and action keys made of them.

use std::collections::{BTreeMap, HashMap};

use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::Component;
use lockgate_model::key::ActionKey;
use lockgate_model::manifest::World;
use lockgate_model::outcome::{Failure, FailureKind};
use lockgate_model::pipeline::{InputSource, Node, Pipeline};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::RunState;
use lockgate_model::task::{Look, Task};
use lockgate_model::{Digest, PortName, canonical_json};

use crate::spec::{DriveError, RunSpec};

/// The roots of all inputs, by node.
pub(crate) struct Inputs {
    roots: Vec<Vec<(PortName, Root)>>,
}

#[derive(Clone)]
enum Root {
    /// A snapshot.
    Source(ArtifactRef),
    /// Another node's output.
    Output { node: usize, output: PortName },
    /// An input that its node does not have: nothing that `syntax` lets through.
    Nothing,
}

impl Inputs {
    /// Follows every input to its root. Chains of inputs cost one step each: nodes come after what they need.
    pub(crate) fn new(spec: &RunSpec) -> Result<Self, DriveError> {
        let sources: HashMap<&InputSource, ArtifactRef> =
            spec.sources.iter().map(|source| (&source.source, source.artifact)).collect();
        let index: HashMap<_, _> = spec.pipeline.nodes.iter().enumerate().map(|(i, node)| (&node.id, i)).collect();
        let mut inputs = Self { roots: vec![Vec::new(); spec.pipeline.nodes.len()] };
        for &node in spec.graph.order() {
            let mut roots = Vec::with_capacity(spec.pipeline.nodes[node].inputs.len());
            for (name, source) in &spec.pipeline.nodes[node].inputs {
                let root = match source {
                    InputSource::Dir(_) | InputSource::File { .. } => {
                        sources.get(source).copied().map(Root::Source).ok_or_else(|| DriveError::NoSource {
                            node: spec.pipeline.nodes[node].id.clone(),
                            input: name.clone(),
                        })?
                    }
                    InputSource::Output { node, output } => match index.get(node) {
                        Some(&node) => Root::Output { node, output: output.clone() },
                        None => Root::Nothing,
                    },
                    InputSource::Input { node, input } => {
                        index.get(node).map_or(Root::Nothing, |&node| inputs.root(node, input))
                    }
                };
                roots.push((name.clone(), root));
            }
            inputs.roots[node] = roots;
        }
        Ok(inputs)
    }

    fn root(&self, node: usize, input: &PortName) -> Root {
        self.roots[node].iter().find(|(name, _)| name == input).map_or(Root::Nothing, |(_, root)| root.clone())
    }

    /// A node's inputs, once what it needs has succeeded. An output that its node may leave out and did fails the reader: a
    /// gate that lost its input must not pass.
    pub(crate) fn resolve(&self, node: usize, state: &RunState) -> Result<BTreeMap<PortName, ArtifactRef>, Failure> {
        self.resolve_with(node, state.pipeline(), |need| state.receipt(need).map(|receipt| &**receipt))
    }

    /// The same, with receipts from elsewhere.
    pub(crate) fn resolve_with<'a>(
        &self,
        node: usize,
        pipeline: &Pipeline,
        receipt: impl Fn(usize) -> Option<&'a Receipt>,
    ) -> Result<BTreeMap<PortName, ArtifactRef>, Failure> {
        let missing = |message| Failure { kind: FailureKind::Error, message };
        let resolve = |(name, root): &(PortName, Root)| match root {
            Root::Source(artifact) => Ok((name.clone(), *artifact)),
            Root::Output { node, output } => match receipt(*node).and_then(|receipt| receipt.outputs.get(output)) {
                Some(artifact) => Ok((name.clone(), *artifact)),
                None => {
                    let id = &pipeline.nodes[*node].id;
                    Err(missing(format!("input `{name}` is missing: node `{id}` made no output `{output}`")))
                }
            },
            Root::Nothing => Err(missing(format!("input `{name}` is missing: what it names does not exist"))),
        };
        self.roots[node].iter().map(resolve).collect()
    }
}

/// Finds a node's component and its world; none where nodes of this kind have no plugin.
pub(crate) fn component<'a>(spec: &'a RunSpec, node: &Node) -> Result<Option<(&'a Component, World)>, DriveError> {
    let (Some(alias), Some(world)) = (&node.plugin, node.kind.world()) else { return Ok(None) };
    match spec.components.get(alias) {
        Some(component) => Ok(Some((component, world))),
        None => Err(DriveError::NoComponent(alias.clone())),
    }
}

/// The action key of a node with these inputs.
pub(crate) fn action_key(
    spec: &RunSpec,
    node: &Node,
    component: (&Component, World),
    inputs: &BTreeMap<PortName, ArtifactRef>,
) -> ActionKey {
    ActionKey::new(node, component, inputs, &spec.determinism, spec.logical_time)
}

/// The digest of that key.
pub(crate) fn key_digest(
    spec: &RunSpec,
    node: &Node,
    component: (&Component, World),
    inputs: &BTreeMap<PortName, ArtifactRef>,
) -> Digest {
    ActionKey::digest_of(node, component, inputs, &spec.determinism, spec.logical_time)
}

/// The task of a node's first look; later ones change its look, state and first sequence.
pub(crate) fn task(
    spec: &RunSpec,
    node: &Node,
    (component, world): (&Component, World),
    inputs: BTreeMap<PortName, ArtifactRef>,
    attempt: u32,
) -> Task {
    Task {
        run: spec.run.clone(),
        node: node.id.clone(),
        attempt,
        component: component.digest,
        world,
        config: canonical_json(&node.config),
        inputs,
        env: node.env.clone(),
        limits: node.limits.clone(),
        grants: node.grants.clone(),
        logical_time: spec.logical_time,
        look: Look::default(),
        state: None,
        first_sequence: 0,
    }
}
