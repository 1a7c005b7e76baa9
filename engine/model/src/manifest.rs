//! What a plugin says of itself by `describe`.

use serde::{Deserialize, Serialize};

use crate::id::PortName;

/// The world that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Makes outputs of inputs.
    Stage,
    /// Says whether something is healthy.
    HealthCheck,
    /// Judges an observation of a baseline and a canary.
    CanaryEvaluator,
    /// Not one of `wit/`: a program by WASI's `wasi:cli/run`, which does a stage's work.
    Command,
}

impl World {
    /// The world's name in `wit/`, or `command`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::HealthCheck => "health-check",
            Self::CanaryEvaluator => "canary-evaluator",
            Self::Command => "command",
        }
    }

    /// The function that the engine calls, besides `describe`; of a command its only one.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Stage | Self::Command => "run",
            Self::HealthCheck => "check",
            Self::CanaryEvaluator => "evaluate",
        }
    }

    /// Whether a node that needs `self` takes a plugin of the world `found`.
    pub const fn takes(self, found: Self) -> bool {
        matches!(
            (self, found),
            (Self::Stage, Self::Stage | Self::Command)
                | (Self::HealthCheck, Self::HealthCheck)
                | (Self::CanaryEvaluator, Self::CanaryEvaluator)
                | (Self::Command, Self::Command)
        )
    }
}

/// A plugin's manifest, checked by the host: names are valid, the schema is JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The world the component exports (found by the host, not claimed by the plugin).
    pub world: World,
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema of its config (an object).
    pub config_schema: serde_json::Value,
    /// What it reads.
    pub inputs: Ports,
    /// What it makes.
    pub outputs: Ports,
    /// Kinds of effects it asks for (`http`, `clock`, ...), sorted: those it names and those it imports.
    pub effects: Vec<String>,
    /// Those of them that it can do without, sorted: where they are not granted, what it asks for is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional_effects: Vec<String>,
    /// Whether it imports the clock: then the run's logical time is part of the action key.
    pub reads_time: bool,
}

impl Manifest {
    /// The kinds of effects that a node has to grant.
    pub fn needed_effects(&self) -> impl Iterator<Item = &str> {
        self.effects.iter().filter(|kind| !self.optional_effects.contains(kind)).map(String::as_str)
    }
}

/// The named ports of one direction, and whether others are taken besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Named ports.
    pub named: Vec<Port>,
    /// Where other names are taken too: of which kind.
    pub open: Option<PortKind>,
}

impl Ports {
    /// What a port of this name takes, if there is one.
    pub fn kind(&self, name: &str) -> Option<PortKind> {
        self.named.iter().find(|port| port.name.as_str() == name).map(|port| port.kind).or(self.open)
    }
}

/// One named port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: PortName,
    /// What it carries.
    pub kind: PortKind,
    /// Whether it may be left away.
    pub optional: bool,
    /// One line for people.
    pub summary: String,
}

/// What a port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortKind {
    /// Bytes.
    Blob,
    /// Paths, modes and blobs.
    Tree,
    /// Either.
    Any,
}

impl PortKind {
    /// Whether an artifact of this kind may go through the port.
    pub fn takes(self, kind: crate::artifact::ArtifactKind) -> bool {
        use crate::artifact::ArtifactKind;
        matches!((self, kind), (Self::Any, _) | (Self::Blob, ArtifactKind::Blob) | (Self::Tree, ArtifactKind::Tree))
    }

    /// The kind's name in a manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Any => "any",
        }
    }
}
