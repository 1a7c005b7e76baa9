//! Provenance of a run's results: the predicate of SLSA, version 1 (<https://slsa.dev/spec/v1.0/provenance>), with a build type of ours.
//!
//! The build type `urn:lockgate:run:v1` means: the engine `runDetails.builder` executed a pipeline, once.
//!
//! ```text
//! externalParameters   {"params":{...},"pipeline":{"digest":PIPELINE DIGEST,"file":TEXT,"name":TEXT},"selection":{...}}
//! internalParameters   {"determinism":TEXT,"logicalTime":MILLISECONDS}
//! resolvedDependencies plugins   {"name":ALIAS,"uri":"std:pack","digest":{"sha256":HEX},"annotations":{"version":"pack 0.1.0"}}
//!                      inputs    {"name":"dir:." or "file:a.txt","digest":{"lockgate-tree-v1" or "sha256":HEX}}
//!                      the pipeline, resolved: {"name":"pipeline","digest":{"sha256":HEX}}
//!                      git       {"name":"git","digest":{"gitCommit":HEX},"annotations":{"dirty":BOOLEAN}}, of a run
//!                      that began with `--attest` in a repository
//! metadata             {"invocationId":RUN,"startedOn":TIME,"finishedOn":TIME}
//! byproducts           {"name":"run","digest":{"lockgate-run-v1":HEX OF THE RUN DIGEST}}
//! ```
//!
//! `selection` is there only of a part of a pipeline, which has no run digest and so no byproduct. The subjects are the exported
//! artifacts by the names that they were exported to: blobs by `sha256`, trees by `lockgate-tree-v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::statement::{Predicate, Resource};

/// What a run of a pipeline is called as a way of building.
pub const BUILD_TYPE: &str = "urn:lockgate:run:v1";
/// Who built: this engine, wherever it runs. Whose machine that was is said by the key.
pub const BUILDER: &str = "urn:lockgate:engine:v1";
/// Algorithm of run digests.
pub const RUN: &str = lockgate_model::receipt::RUN_DOMAIN;
/// Algorithm of git's names of commits.
pub const GIT_COMMIT: &str = "gitCommit";

/// What is said of results. Members of later versions are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was asked for.
    pub build_definition: BuildDefinition,
    /// What was done.
    pub run_details: RunDetails,
}

impl Predicate for Provenance {
    const TYPE: &'static str = "https://slsa.dev/provenance/v1";
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// How the rest is to be read: [`BUILD_TYPE`].
    pub build_type: String,
    /// What the user chose.
    pub external_parameters: Value,
    /// What the engine chose.
    #[serde(default)]
    pub internal_parameters: Value,
    /// What was used.
    #[serde(default)]
    pub resolved_dependencies: Vec<Resource>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// Who did it.
    pub builder: Builder,
    /// When, and under which name.
    pub metadata: Metadata,
    /// What else came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<Resource>,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// A URI.
    pub id: String,
    /// Versions of its parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

/// When, and under which name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The run's id.
    pub invocation_id: String,
    /// RFC 3339.
    pub started_on: String,
    /// RFC 3339.
    pub finished_on: String,
}
