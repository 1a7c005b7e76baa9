//! The action key: digest of everything that a pure node's result depends on.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::ArtifactRef;
use crate::digest::Digest;
use crate::event::Component;
use crate::grant::Grants;
use crate::id::PortName;
use crate::limits::Limits;
use crate::manifest::World;
use crate::pipeline::{Node, Poll};

/// Domain of action keys.
pub const KEY_DOMAIN: &str = "lockgate-action-v1";
/// The run's logical time where none is given: 2000-01-01T00:00:00Z, in milliseconds since 1970.
pub const DEFAULT_LOGICAL_TIME: u64 = 946_684_800_000;

/// The parts of an action key. Not among them: the node's id, `after`, retries, anything of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionKey {
    /// The component.
    pub component: Digest,
    /// Its world.
    pub world: World,
    /// The config, canonical JSON.
    pub config: serde_json::Value,
    /// Inputs by name.
    pub inputs: BTreeMap<PortName, ArtifactRef>,
    /// Limits.
    pub limits: Limits,
    /// Grants.
    pub grants: Grants,
    /// Repeated looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Poll>,
    /// The determinism version: our integer, wasmtime's version, hash of the semantic settings.
    pub determinism: String,
    /// Declared environment.
    pub env: BTreeMap<String, String>,
    /// The run's logical time, where the plugin imports the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_time: Option<u64>,
}

impl ActionKey {
    /// The parts of a node's key. Component and inputs are its own; `determinism` and `logical_time` are the run's.
    pub fn new(
        node: &Node,
        (component, world): (&Component, World),
        inputs: &BTreeMap<PortName, ArtifactRef>,
        determinism: &str,
        logical_time: u64,
    ) -> Self {
        Self {
            component: component.digest,
            world,
            config: Value::Object(node.config.clone()),
            inputs: inputs.clone(),
            limits: node.limits.clone(),
            grants: node.grants.clone(),
            poll: node.poll.clone(),
            determinism: determinism.to_owned(),
            env: node.env.clone(),
            logical_time: component.reads_time.then_some(logical_time),
        }
    }

    /// What differs between an earlier key and this one, in the order of the key's parts; empty where the digests are equal.
    pub fn differences(&self, earlier: &Self) -> Vec<Difference> {
        // Taken apart, so that a new part cannot be forgotten here.
        let Self { component, world, config, inputs, limits, grants, poll, determinism, env, logical_time } = self;
        let mut found = Vec::new();
        let mut compare = |part: Part, before: Option<Value>, after: Option<Value>| {
            if before != after {
                found.push(Difference { part, before, after });
            }
        };
        compare(Part::Component, json(&earlier.component), json(component));
        compare(Part::World, json(&earlier.world), json(world));
        leaves(String::new(), Some(&earlier.config), Some(config), &mut |path, before, after| {
            compare(Part::Config(path), before.cloned(), after.cloned());
        });
        for name in names(&earlier.inputs, inputs) {
            let [before, after] = [&earlier.inputs, inputs].map(|inputs| inputs.get(name).and_then(json));
            compare(Part::Input(name.clone()), before, after);
        }
        let [before, after] = [&earlier.limits, limits].map(|limits| match json(limits) {
            Some(Value::Object(members)) => members,
            _ => serde_json::Map::new(),
        });
        for (name, value) in &after {
            compare(Part::Limit(name.clone()), before.get(name).cloned(), Some(value.clone()));
        }
        compare(Part::Grants, json(&earlier.grants), json(grants));
        compare(Part::Poll, earlier.poll.as_ref().and_then(json), poll.as_ref().and_then(json));
        for name in names(&earlier.env, env) {
            let [before, after] = [&earlier.env, env].map(|env| env.get(name).and_then(json));
            compare(Part::Env(name.clone()), before, after);
        }
        compare(Part::Determinism, json(&earlier.determinism), json(determinism));
        let [before, after] = [&earlier.logical_time, logical_time].map(|time| time.as_ref().and_then(json));
        compare(Part::LogicalTime, before, after);
        found
    }

    /// The key's digest: of its canonical JSON under [`KEY_DOMAIN`].
    pub fn digest(&self) -> Digest {
        Digest::of_json(KEY_DOMAIN, self)
    }

    /// The digest of the key that [`ActionKey::new`] makes, without making it: each node that runs needs it.
    pub fn digest_of(
        node: &Node,
        (component, world): (&Component, World),
        inputs: &BTreeMap<PortName, ArtifactRef>,
        determinism: &str,
        logical_time: u64,
    ) -> Digest {
        let parts = Parts {
            component: component.digest,
            config: &node.config,
            determinism,
            env: &node.env,
            grants: &node.grants,
            inputs,
            limits: &node.limits,
            logical_time: component.reads_time.then_some(logical_time),
            poll: node.poll.as_ref(),
            world,
        };
        Digest::of_json(KEY_DOMAIN, &parts)
    }
}

/// The parts of an action key where they stand, in the order in which canonical JSON has them.
#[derive(Serialize)]
struct Parts<'a> {
    component: Digest,
    config: &'a serde_json::Map<String, Value>,
    determinism: &'a str,
    env: &'a BTreeMap<String, String>,
    grants: &'a Grants,
    inputs: &'a BTreeMap<PortName, ArtifactRef>,
    limits: &'a Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    logical_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    poll: Option<&'a Poll>,
    world: World,
}

/// One part of an action key that differs between two keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Which.
    pub part: Part,
    /// The earlier value, as the key's JSON has it; none where it had none.
    pub before: Option<Value>,
    /// The later value.
    pub after: Option<Value>,
}

/// A part of an action key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The component.
    Component,
    /// Its world.
    World,
    /// A value of the config, by its path: `.files["a.txt"][0]`; empty: the config itself.
    Config(String),
    /// An input.
    Input(PortName),
    /// A limit, by its name in pipeline files.
    Limit(String),
    /// The grants.
    Grants,
    /// Repeated looks.
    Poll,
    /// A declared variable of the environment.
    Env(String),
    /// The determinism version.
    Determinism,
    /// The run's logical time.
    LogicalTime,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Component => f.write_str("component"),
            Self::World => f.write_str("world"),
            Self::Config(path) => write!(f, "config{path}"),
            Self::Input(name) => write!(f, "input {name}"),
            Self::Limit(name) => write!(f, "limits.{name}"),
            Self::Grants => f.write_str("grants"),
            Self::Poll => f.write_str("poll"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Determinism => f.write_str("determinism version"),
            Self::LogicalTime => f.write_str("logical time"),
        }
    }
}

fn json(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}

/// The names of two maps, each once, sorted.
fn names<'a, K: Ord, V>(a: &'a BTreeMap<K, V>, b: &'a BTreeMap<K, V>) -> std::collections::BTreeSet<&'a K> {
    a.keys().chain(b.keys()).collect()
}

/// Takes a path, and what stood and stands there.
type Found<'a> = dyn FnMut(String, Option<&Value>, Option<&Value>) + 'a;

/// Calls `found` with the path of every innermost value that is not in both.
fn leaves(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Found<'_>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
                let step = if plain && !key.is_empty() {
                    format!(".{key}")
                } else {
                    format!("[{}]", Value::from(key.as_str()))
                };
                leaves(format!("{path}{step}"), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                leaves(format!("{path}[{index}]"), a.get(index), b.get(index), found);
            }
        }
        (before, after) => found(path, before, after),
    }
}

#[cfg(test)]
mod tests;
