//! The action key: digest of everything that a pure node's result depends on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::digest::Digest;
use crate::grant::Grants;
use crate::id::PortName;
use crate::limits::Limits;
use crate::manifest::World;
use crate::pipeline::Poll;

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
    /// The key's digest: of its canonical JSON under [`KEY_DOMAIN`].
    pub fn digest(&self) -> Digest {
        Digest::of_json(KEY_DOMAIN, self)
    }
}
