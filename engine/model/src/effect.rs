//! Recorded effects: host calls whose answer is not a function of the node's inputs.
//!
//! A node's effects are one blob, version 1: canonical JSON, one [`EffectRecord`] a line, each ended by `\n`, in order of their
//! sequence numbers.

use serde::{Deserialize, Serialize};

use crate::{Digest, canonical_json};

/// One effect with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// Number within the node, from 0, over all looks.
    pub sequence: u64,
    /// `http` or `clock`.
    pub kind: String,
    /// Digest of the request's canonical JSON: on replay it must be the same.
    pub request: Digest,
    /// The request, for people: method and URL, ...
    pub summary: String,
    /// The answer as the guest got it. Bodies larger than 4 KiB are blobs named by digest.
    pub answer: serde_json::Value,
}

/// Encodes effects as the blob that the module's documentation describes.
pub fn encode(records: &[EffectRecord]) -> String {
    records.iter().map(|record| canonical_json(record) + "\n").collect()
}

/// Reads such a blob back.
pub fn decode(text: &str) -> Result<Vec<EffectRecord>, serde_json::Error> {
    text.lines().map(serde_json::from_str).collect()
}
