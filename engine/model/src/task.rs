//! A task: one execution of a node, self-contained, everything named by digest, so that any executor can do it anywhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::digest::Digest;
use crate::grant::Grants;
use crate::id::{NodeId, PortName, RunId};
use crate::limits::Limits;
use crate::manifest::World;

/// One execution of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The run, for idempotency keys and logs; never seen by the guest.
    pub run: RunId,
    /// The node, likewise.
    pub node: NodeId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The component.
    pub component: Digest,
    /// Its world.
    pub world: World,
    /// The config: canonical JSON of an object.
    pub config: String,
    /// Inputs by name.
    pub inputs: BTreeMap<PortName, ArtifactRef>,
    /// Declared environment.
    pub env: BTreeMap<String, String>,
    /// Limits in force.
    pub limits: Limits,
    /// Grants in force.
    pub grants: Grants,
    /// The run's logical time in milliseconds since 1970.
    pub logical_time: u64,
    /// The look; the first and only one where a node is not polled. Stages do not see it.
    pub look: Look,
    /// What a canary evaluator returned at the look before.
    pub state: Option<Vec<u8>>,
    /// Sequence number of the first effect: looks of one attempt count on.
    pub first_sequence: u64,
}

/// Which of several looks over time a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Number of the look, from 0.
    pub index: u32,
    /// Milliseconds since the first look, by schedule: `index * every`.
    pub elapsed: u64,
    /// Step of a rollout, from 0, where there is one.
    pub step: Option<u32>,
}
