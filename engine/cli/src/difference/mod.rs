//! What differs between two runs: parameters, components, sources file by file, and each node's definition, end, outputs, fuel and
//! time. `lockgate diff` prints it, `lockgate show` sums it up.

mod files;

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::event::{Event, Selection, Source};
use lockgate_model::outcome::{Failure, Status};
use lockgate_model::pipeline::Node;
use lockgate_model::{Digest, NodeId, RunId};
use lockgate_store::Store;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::past::PastRun;
use crate::render::plan::source_text;
use crate::render::report::Ended;

pub(crate) use self::files::Files;

/// Version of the document that `lockgate diff --format json` prints.
const SCHEMA: u32 = 1;
/// A value before and after.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Change<T> {
    /// In the older run.
    pub(crate) before: T,
    /// In the newer run.
    pub(crate) after: T,
}

/// A named value that differs; null where the run does not have it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Named<T> {
    /// Its name.
    pub(crate) name: String,
    /// In the older run.
    pub(crate) before: Option<T>,
    /// In the newer run.
    pub(crate) after: Option<T>,
}

/// What differs between two runs.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Difference {
    /// Version of this format: 1.
    pub(crate) schema: u32,
    /// The older run.
    pub(crate) before: Side,
    /// The newer run.
    pub(crate) after: Side,
    /// Values of parameters.
    pub(crate) params: Vec<Named<Value>>,
    /// Digests of components, by the alias of their plugin.
    pub(crate) components: Vec<Named<Digest>>,
    /// Snapshots of the host.
    pub(crate) sources: Vec<Artifacts>,
    /// Engine, determinism version and logical time, where they differ.
    pub(crate) engine: Vec<Named<Value>>,
    /// All nodes of both runs; those that differ in nothing but time have `differs` = false.
    pub(crate) nodes: Vec<NodeDifference>,
}

/// One of the two runs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Side {
    /// Its id.
    pub(crate) run: RunId,
    /// Its pipeline's name.
    pub(crate) name: String,
    /// How it ended; null: it did not.
    pub(crate) status: Option<Status>,
    /// Its run digest.
    pub(crate) digest: Option<Digest>,
    /// The digest of the resolved pipeline.
    pub(crate) pipeline: Option<Digest>,
    /// When it began, in milliseconds since 1970.
    pub(crate) started: u64,
    /// How long it took, in microseconds.
    pub(crate) micros: Option<u64>,
    /// Which part of its pipeline it is of: nodes that are not selected are skipped; absent: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) selection: Option<Selection>,
}

/// An artifact that differs.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Artifacts {
    /// What it is: a source, or a port.
    pub(crate) name: String,
    /// In the older run.
    pub(crate) before: Option<ArtifactRef>,
    /// In the newer run.
    pub(crate) after: Option<ArtifactRef>,
    /// Which files of two trees differ.
    pub(crate) files: Option<Files>,
}

/// What differs at one node.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NodeDifference {
    /// The node.
    pub(crate) node: NodeId,
    /// Whether anything but its time differs.
    pub(crate) differs: bool,
    /// Which parts of its definition differ: `config.level`, `limits.fuel`, `inputs.src`; or that only one pipeline has the `node`.
    pub(crate) definition: Vec<String>,
    /// How it ended; null: it did not, or is not there.
    pub(crate) status: Change<Option<Status>>,
    /// Why it failed.
    pub(crate) failure: Change<Option<Failure>>,
    /// The word of its verdict.
    pub(crate) verdict: Change<Option<String>>,
    /// Its action key; two runs with one key do the same.
    pub(crate) key: Change<Option<Digest>>,
    /// Inputs that differ.
    pub(crate) inputs: Vec<Artifacts>,
    /// Outputs that differ.
    pub(crate) outputs: Vec<Artifacts>,
    /// Fuel of the call.
    pub(crate) fuel: Change<Option<u64>>,
    /// Wall time in microseconds.
    pub(crate) micros: Change<Option<u64>>,
    /// Whether it came out of the cache.
    pub(crate) cached: Change<bool>,
}

impl Difference {
    /// Compares two runs; which is older is found out.
    pub(crate) fn new(store: &Store, one: &PastRun, other: &PastRun) -> Self {
        let began = |run: &PastRun| run.records.first().map(|record| record.seq);
        let (before, after) = if began(one) <= began(other) { (one, other) } else { (other, one) };
        Self {
            schema: SCHEMA,
            before: side(before),
            after: side(after),
            params: named(&params(before), &params(after)),
            components: named(&components(before), &components(after)),
            sources: artifacts(store, &sources(before), &sources(after)),
            engine: named(&engine(before), &engine(after)),
            nodes: nodes(store, before, after),
        }
    }

    /// The nodes that differ in more than time.
    pub(crate) fn differing(&self) -> impl Iterator<Item = &NodeDifference> {
        self.nodes.iter().filter(|node| node.differs)
    }
}

fn side(run: &PastRun) -> Side {
    let pipeline = run.records.first().and_then(|record| match &record.event {
        Event::RunStarted { pipeline_digest, .. } => Some(*pipeline_digest),
        _ => None,
    });
    let summary = &run.summary;
    Side {
        run: summary.id.clone(),
        name: summary.name.clone(),
        status: summary.status,
        digest: summary.digest,
        pipeline,
        started: summary.started_ms,
        micros: run.micros(),
        selection: run.selection().cloned(),
    }
}

fn params(run: &PastRun) -> BTreeMap<String, Value> {
    let value = |value| serde_json::to_value(value).unwrap_or_default();
    run.pipeline.params.iter().map(|(name, param)| (name.clone(), value(param))).collect()
}

fn components(run: &PastRun) -> BTreeMap<String, Digest> {
    match run.records.first().map(|record| &record.event) {
        Some(Event::RunStarted { components, .. }) => {
            components.iter().map(|(alias, component)| (alias.to_string(), component.digest)).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn sources(run: &PastRun) -> BTreeMap<String, ArtifactRef> {
    match run.records.first().map(|record| &record.event) {
        Some(Event::RunStarted { sources, .. }) => {
            sources.iter().map(|Source { source, artifact }| (source_text(source), *artifact)).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn engine(run: &PastRun) -> BTreeMap<String, Value> {
    match run.records.first().map(|record| &record.event) {
        Some(Event::RunStarted { engine, determinism, logical_time, .. }) => [
            ("engine".to_owned(), Value::from(engine.as_str())),
            ("determinism".to_owned(), Value::from(determinism.as_str())),
            ("logical time".to_owned(), Value::from(*logical_time)),
        ]
        .into(),
        _ => BTreeMap::new(),
    }
}

/// What differs between two maps.
fn named<T: Clone + PartialEq>(before: &BTreeMap<String, T>, after: &BTreeMap<String, T>) -> Vec<Named<T>> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|&name| before.get(name) != after.get(name));
    differ
        .map(|name| Named { name: name.clone(), before: before.get(name).cloned(), after: after.get(name).cloned() })
        .collect()
}

fn artifacts(
    store: &Store,
    before: &BTreeMap<String, ArtifactRef>,
    after: &BTreeMap<String, ArtifactRef>,
) -> Vec<Artifacts> {
    let differing = named(before, after).into_iter();
    differing
        .map(|Named { name, before, after }| {
            let files = match (before, after) {
                (Some(a), Some(b)) if a.kind == ArtifactKind::Tree && b.kind == ArtifactKind::Tree => {
                    Some(Files::between(store, a.digest, b.digest))
                }
                _ => None,
            };
            Artifacts { name, before, after, files }
        })
        .collect()
}

fn nodes(store: &Store, before: &PastRun, after: &PastRun) -> Vec<NodeDifference> {
    let index = |run: &PastRun| -> BTreeMap<NodeId, Node> {
        run.pipeline.nodes.iter().map(|node| (node.id.clone(), node.clone())).collect()
    };
    let (old, new) = (index(before), index(after));
    let (old_inputs, new_inputs) = (inputs(before), inputs(after));
    // In the newer pipeline's order, then what it no longer has.
    let gone = before.pipeline.nodes.iter().map(|node| &node.id).filter(|id| !new.contains_key(*id));
    let all = after.pipeline.nodes.iter().map(|node| &node.id).chain(gone);
    all.map(|id| {
        let ended = Change { before: before.ended.get(id), after: after.ended.get(id) };
        let empty = BTreeMap::new();
        let ports = |inputs: &BTreeMap<NodeId, BTreeMap<String, ArtifactRef>>| inputs.get(id).cloned();
        let (a, b) = (ports(&old_inputs), ports(&new_inputs));
        // A node that did not run, in one of the runs, has no inputs that could be compared.
        let inputs = if a.is_some() && b.is_some() {
            (a.unwrap_or_default(), b.unwrap_or_default())
        } else {
            (empty.clone(), empty)
        };
        let definition = definition(old.get(id), new.get(id));
        let inputs = artifacts(store, &inputs.0, &inputs.1);
        node(store, id, &ended, definition, inputs)
    })
    .collect()
}

fn node(
    store: &Store,
    id: &NodeId,
    ended: &Change<Option<&Ended>>,
    definition: Vec<String>,
    inputs: Vec<Artifacts>,
) -> NodeDifference {
    fn both<T>(ended: &Change<Option<&Ended>>, of: impl Fn(&Ended) -> T) -> Change<Option<T>> {
        Change { before: ended.before.map(&of), after: ended.after.map(&of) }
    }
    fn flat<T>(change: Change<Option<Option<T>>>) -> Change<Option<T>> {
        Change { before: change.before.flatten(), after: change.after.flatten() }
    }
    let outputs = both(ended, |ended| {
        ended.receipt.outputs.iter().map(|(name, output)| (name.to_string(), *output)).collect::<BTreeMap<_, _>>()
    });
    let outputs = artifacts(store, &outputs.before.unwrap_or_default(), &outputs.after.unwrap_or_default());
    let status = both(ended, |ended| ended.receipt.status);
    let failure = flat(both(ended, |ended| ended.receipt.failure.clone()));
    let verdict = flat(both(ended, |ended| ended.receipt.verdict.as_ref().map(|verdict| verdict.word.clone())));
    let key = flat(both(ended, |ended| ended.receipt.key));
    let fuel = flat(both(ended, |ended| ended.receipt.fuel));
    let micros = both(ended, |ended| ended.facts.micros);
    let cached = both(ended, |ended| ended.facts.cached);
    let cached = Change { before: cached.before.unwrap_or_default(), after: cached.after.unwrap_or_default() };
    let receipts = both(ended, |ended| ended.receipt.digest());
    let differs = !definition.is_empty() || receipts.before != receipts.after;
    NodeDifference {
        node: id.clone(),
        differs,
        definition,
        status,
        failure,
        verdict,
        key,
        inputs,
        outputs,
        fuel,
        micros,
        cached,
    }
}

/// The inputs of each node's last attempt.
fn inputs(run: &PastRun) -> BTreeMap<NodeId, BTreeMap<String, ArtifactRef>> {
    let mut inputs = BTreeMap::new();
    for record in &run.records {
        if let Event::AttemptStarted { node, inputs: given, .. } = &record.event {
            let given = given.iter().map(|(name, artifact)| (name.to_string(), *artifact)).collect();
            inputs.insert(node.clone(), given);
        }
    }
    inputs
}

/// Which parts of a node's definition differ, one level deep where both are objects.
fn definition(before: Option<&Node>, after: Option<&Node>) -> Vec<String> {
    let (Some(before), Some(after)) = (before, after) else {
        return if before.is_none() && after.is_none() { Vec::new() } else { vec!["node".to_owned()] };
    };
    let fields = |node: &Node| match serde_json::to_value(node) {
        Ok(Value::Object(fields)) => fields.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let mut parts = Vec::new();
    for Named { name, before, after } in named(&fields(before), &fields(after)) {
        match (before, after) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let below = named(&a.into_iter().collect(), &b.into_iter().collect());
                parts.extend(below.into_iter().map(|part| format!("{name}.{}", part.name)));
            }
            _ => parts.push(name),
        }
    }
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::render::samples;

    pub(super) fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        (dir, store)
    }

    #[test]
    fn definitions_differ_by_their_parts() {
        let (pipeline, _) = crate::render::graph::tests::sample();
        let before = pipeline.nodes[0].clone();
        let mut after = before.clone();
        assert!(definition(Some(&before), Some(&after)).is_empty());
        after.config.insert("level".into(), 3.into());
        after.limits.fuel.0 += 1;
        after.repeat = 2;
        assert_eq!(definition(Some(&before), Some(&after)), ["config.level", "limits.fuel", "repeat"]);
        assert_eq!(definition(None, Some(&after)), ["node"]);
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let (_dir, store) = store();
        let (run, _) = samples::past();
        let same = Difference::new(&store, &run, &run);
        assert_eq!(same.differing().count(), 0);
        assert!(
            same.params.is_empty() && same.components.is_empty() && same.sources.is_empty() && same.engine.is_empty()
        );
        assert_eq!(same.nodes.len(), run.pipeline.nodes.len());
    }
}
