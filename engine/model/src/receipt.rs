//! Receipts and the run digest.
//!
//! A receipt's digest is the tagged digest (see [`Digest::tagged`]) of its canonical JSON (RFC 8785) under `lockgate-receipt-v1`.
//! The run digest is the tagged digest under `lockgate-run-v1` of the 32 bytes of the pipeline's digest followed by the 32
//! bytes of the Merkle root (RFC 6962) over the receipts' digests, ordered by the bytes of the nodes' ids.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::digest::{Digest, Hasher, merkle_root};
use crate::id::{NodeId, PortName};
use crate::outcome::{Decision, Failure, Status, Verdict};

/// Domain of receipt digests.
pub const RECEIPT_DOMAIN: &str = "lockgate-receipt-v1";
/// Domain of run digests.
pub const RUN_DOMAIN: &str = "lockgate-run-v1";

/// What one node's execution proved: the same bytes whether it ran, was cached or was replayed. Never in it: times, hosts,
/// attempts, the run's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// The node.
    pub node: NodeId,
    /// Its component; none exactly where the node has no plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Digest>,
    /// Its action key; none where its inputs never came to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// How it ended.
    pub status: Status,
    /// Why, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Its outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<PortName, ArtifactRef>,
    /// Its findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<ArtifactRef>,
    /// Its verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What was decided, of an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<ArtifactRef>,
    /// Its recorded effects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effects: Option<ArtifactRef>,
    /// Fuel of the call, only if it returned. Over several looks: their sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl Receipt {
    /// The receipt's digest.
    pub fn digest(&self) -> Digest {
        Digest::of_json(RECEIPT_DOMAIN, self)
    }
}

/// The run digest of a pipeline and its receipts' digests, in any order.
pub fn run_digest(pipeline: Digest, receipts: &BTreeMap<NodeId, Digest>) -> Digest {
    let leaves: Vec<_> = receipts.values().copied().collect();
    let mut hasher = Hasher::tagged(RUN_DOMAIN);
    hasher.update(pipeline.as_bytes());
    hasher.update(merkle_root(&leaves).as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical_json;

    #[test]
    fn the_format_of_version_1_is_fixed() {
        let receipt = Receipt {
            node: NodeId::new("a").unwrap(),
            component: Some(Digest::of(b"component")),
            key: None,
            status: Status::Succeeded,
            failure: None,
            outputs: BTreeMap::new(),
            findings: None,
            verdict: None,
            decision: None,
            log: None,
            effects: None,
            fuel: Some(12),
        };
        let json = canonical_json(&receipt);
        assert_eq!(
            json,
            format!(r#"{{"component":"{}","fuel":12,"node":"a","status":"succeeded"}}"#, Digest::of(b"component"))
        );
        // Recomputed with nothing but sha-256, as another program would.
        let mut bytes = b"lockgate-receipt-v1\0".to_vec();
        bytes.extend(json.as_bytes());
        assert_eq!(receipt.digest(), Digest::of(&bytes));
        let receipts = BTreeMap::from([(receipt.node.clone(), receipt.digest())]);
        let leaf = Digest::of(&[&[0], receipt.digest().as_bytes().as_slice()].concat());
        let root = [b"lockgate-run-v1\0".as_slice(), Digest::of(b"p").as_bytes(), leaf.as_bytes()].concat();
        assert_eq!(run_digest(Digest::of(b"p"), &receipts), Digest::of(&root));
        // The example of ARCHITECTURE.md.
        let vectors = [
            (receipt.digest(), "59d408fdb216ad8e6f118646df9fef5a5dcb8cff9638af700107f4bd3711704c"),
            (
                run_digest(Digest::of(b"p"), &receipts),
                "c400f4e794e3ddb45432ca0c06e14f7739bf9d26a0348d813173fefdb69e7b2d",
            ),
            (
                run_digest(Digest::of(b"p"), &BTreeMap::new()),
                "25f9850b5986926208d7eb35811b03ecbb021cbfd37bea3a140e7e06c25ed03f",
            ),
        ];
        let documented = include_str!("../../../ARCHITECTURE.md");
        for (found, expected) in vectors {
            assert_eq!(found.hex(), expected);
            assert!(documented.contains(expected), "{expected}");
        }
        assert!(documented.contains(&json));
    }
}
