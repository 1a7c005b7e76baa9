//! What became of an attempt: statuses, verdicts, findings, failures.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::id::PortName;

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It did what it should.
    Succeeded,
    /// It, or its verdict, said no; or it broke a limit or the contract.
    Failed,
    /// It did not run: `when` was false, or something it needs did not succeed.
    Skipped,
    /// Infrastructure kept it from saying anything: timeout, disk, host out of memory.
    Errored,
    /// It was stopped before it ended.
    Cancelled,
}

impl Status {
    /// The status's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Errored => "errored",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The plugin returned an error.
    Error,
    /// A verdict that the node does not accept.
    Verdict,
    /// The guest trapped.
    Trap,
    /// The fuel was spent.
    Fuel,
    /// Another limit was passed.
    Limit,
    /// The plugin broke the contract: garbage where JSON is promised, an output it did not declare, one it did not write.
    Contract,
    /// Repeated execution gave something else.
    NotReproducible,
    /// The wall time was over. Infrastructure: never cached, the run has no digest.
    Timeout,
    /// Disk, network of the engine itself, memory of the host, stack. The run has no digest.
    Infrastructure,
}

impl FailureKind {
    /// All kinds, for parsers and docs.
    pub const ALL: [Self; 9] = [
        Self::Error,
        Self::Verdict,
        Self::Trap,
        Self::Fuel,
        Self::Limit,
        Self::Contract,
        Self::NotReproducible,
        Self::Timeout,
        Self::Infrastructure,
    ];

    /// The kind's name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Verdict => "verdict",
            Self::Trap => "trap",
            Self::Fuel => "fuel",
            Self::Limit => "limit",
            Self::Contract => "contract",
            Self::NotReproducible => "not-reproducible",
            Self::Timeout => "timeout",
            Self::Infrastructure => "infrastructure",
        }
    }

    /// Whether the engine's surroundings are to blame, not the node.
    pub const fn is_infrastructure(self) -> bool {
        matches!(self, Self::Timeout | Self::Infrastructure)
    }
}

/// A failure, for receipts and people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// What happened, and where known what to do; deterministic, without addresses or times.
    pub message: String,
}

/// Something a stage found, whether it passes or fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// `error`, `warning` or `note`; others are shown like `note`.
    pub severity: String,
    /// What it is.
    pub message: String,
    /// The rule that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The file, as a path inside an input tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// What a health check or canary said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// `healthy`, `degraded`, `unhealthy`; `promote`, `hold`, `rollback`, `inconclusive`.
    pub word: String,
    /// The reasons, most important first.
    pub reasons: Vec<String>,
    /// Every figure that led there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// Further details of a health check: any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

impl Verdict {
    /// Words that a health check may say.
    pub const HEALTH: [&str; 3] = ["healthy", "degraded", "unhealthy"];
    /// Words that a canary evaluator may say.
    pub const CANARY: [&str; 4] = ["promote", "hold", "rollback", "inconclusive"];

    /// Whether the word never fails a node.
    pub fn is_good(&self) -> bool {
        self.word == "healthy" || self.word == "promote"
    }

    /// Whether the word is the worst of its kind.
    pub fn is_bad(&self) -> bool {
        self.word == "unhealthy" || self.word == "rollback"
    }
}

/// What was said to an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// `approved`, `rejected`, or `expired` where nobody said anything by the deadline.
    pub word: String,
    /// Who said it; none where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What else they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Decision {
    /// Words of a decision.
    pub const WORDS: [&str; 3] = ["approved", "rejected", "expired"];
}

/// One figure of a verdict; all numbers are finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// What was measured: `error-rate`, `p95`, ...
    pub name: String,
    /// The canary's value.
    pub value: f64,
    /// The baseline's value, where it was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The limit it was held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Unit of the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whether it is within its limit; none where it only informs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
}

/// What one execution of a task gave: by the host, by a cache, by a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Nothing: the call returned and did not say no. A verdict that is not accepted is judged by the runner, not here.
    pub failure: Option<Failure>,
    /// Outputs, complete and stored; empty after a failure.
    pub outputs: BTreeMap<PortName, ArtifactRef>,
    /// Findings: the JSON array of [`Finding`]s as a blob; none where there is none.
    pub findings: Option<ArtifactRef>,
    /// How many findings there are, by severity.
    pub finding_counts: BTreeMap<String, u64>,
    /// Its log as a blob of text, one line a record; none where it is empty.
    pub log: Option<ArtifactRef>,
    /// Its recorded effects as a blob (see [`crate::effect`]); none where there is none.
    pub effects: Option<ArtifactRef>,
    /// What a health check or canary said.
    pub verdict: Option<Verdict>,
    /// The evaluator's state for the next look.
    pub state: Option<Vec<u8>>,
    /// Fuel of the call; only if it returned.
    pub fuel: Option<u64>,
    /// The most linear memory in use, in bytes.
    pub peak_memory: u64,
    /// For people: a trap's wasm backtrace. Not part of the receipt.
    pub backtrace: Option<String>,
}

impl Completion {
    /// A completion that only says what went wrong.
    pub fn failed(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            failure: Some(Failure { kind, message: message.into() }),
            outputs: BTreeMap::new(),
            findings: None,
            finding_counts: BTreeMap::new(),
            log: None,
            effects: None,
            verdict: None,
            state: None,
            fuel: None,
            peak_memory: 0,
            backtrace: None,
        }
    }
}
