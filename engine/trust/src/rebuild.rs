//! Rebuild attestations: the predicate `urn:lockgate:rebuild:v1` says that a node's outputs, the subjects, were made several times from
//! the same inputs, each time in another process and without the cache, and were the same each time.
//!
//! ```text
//! {"component":"sha256:HEX","executions":2,"key":"sha256:HEX","node":TEXT,"receipt":"sha256:HEX","run":RUN}
//! ```
//!
//! `component` and `key` are those of the receipt; the action key stands for all that the result depends on.

use lockgate_model::{Digest, NodeId, RunId};
use serde::{Deserialize, Serialize};

use crate::statement::Predicate;

/// What is said of a node's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuild {
    /// The run.
    pub run: RunId,
    /// The node.
    pub node: NodeId,
    /// Digest of its component.
    pub component: Digest,
    /// Its action key.
    pub key: Digest,
    /// How many times it was executed; at least 2.
    pub executions: u32,
    /// Digest of the receipt that all executions gave.
    pub receipt: Digest,
}

impl Predicate for Rebuild {
    const TYPE: &'static str = "urn:lockgate:rebuild:v1";
}
