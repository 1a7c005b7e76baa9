//! Events of a run: everything that the journal records, in the order in which it happened. Each event is written before it
//! has an effect; the state of a run is a fold over its events (see [`crate::run`]).
//!
//! The serialised form is the body of journal records, version 1. It is closed: a reader refuses kinds that it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::digest::Digest;
use crate::id::{NodeId, PluginAlias, PortName, RunId};
use crate::outcome::{Failure, FailureKind, Status, Verdict};
use crate::pipeline::InputSource;
use crate::receipt::Receipt;

/// Version of the record bodies that this engine writes.
pub const RECORD_VERSION: u32 = 1;

/// Something that happened in a run. The run's id and the time stand in the record around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The run began. Everything that it depends on is named here.
    RunStarted {
        /// The resolved pipeline: canonical JSON, a blob.
        pipeline: ArtifactRef,
        /// The pipeline's digest.
        pipeline_digest: Digest,
        /// Its name.
        name: String,
        /// The file as the user named it, for people.
        file: String,
        /// The pipeline's root on the machine where the run began, absolute: exports go there, also after a resume.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<String>,
        /// The component of each alias.
        components: BTreeMap<PluginAlias, Component>,
        /// Snapshots of directories and files, taken before any node.
        sources: Vec<Source>,
        /// The run's logical time in milliseconds since 1970.
        logical_time: u64,
        /// The engine's version.
        engine: String,
        /// The determinism version.
        determinism: String,
        /// Which part of the pipeline is run; none: all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selection: Option<Selection>,
        /// Git's commit of the root; only where the run was to be attested, and the root is in a repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<Commit>,
        /// Digests of the policy files that were in force, in their order; of none where there was none. They are in no other digest.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        policies: Vec<Digest>,
    },
    /// An attempt of a node is about to start.
    AttemptStarted {
        /// The node.
        node: NodeId,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The action key.
        key: Digest,
        /// Its inputs.
        inputs: BTreeMap<PortName, ArtifactRef>,
    },
    /// An effect is about to start.
    EffectIntended {
        /// The node.
        node: NodeId,
        /// Number of the attempt.
        attempt: u32,
        /// Number of the effect within the attempt, from 0.
        sequence: u64,
        /// `http`, `tcp`, `process`, `clock`.
        kind: String,
        /// Digest of the request.
        request: Digest,
        /// The request, for people.
        summary: String,
    },
    /// An effect ended; the plugin has not yet seen its answer.
    EffectFinished {
        /// The node.
        node: NodeId,
        /// Number of the attempt.
        attempt: u32,
        /// Number of the effect.
        sequence: u64,
        /// The answer, see [`crate::effect::EffectRecord`].
        answer: serde_json::Value,
    },
    /// One look of a polled node was taken and is not the last one.
    LookTaken {
        /// The node.
        node: NodeId,
        /// Number of the attempt.
        attempt: u32,
        /// Number of the look, from 0.
        look: u32,
        /// What it said; none where the look failed.
        verdict: Option<Verdict>,
        /// Why it failed, if it did.
        failure: Option<Failure>,
        /// Milliseconds until the next look begins.
        next_in: u64,
    },
    /// An attempt ended and another will follow.
    AttemptFailed {
        /// The node.
        node: NodeId,
        /// Number of the attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// Facts for people.
        facts: AttemptFacts,
        /// Milliseconds until the next attempt begins.
        next_in: u64,
    },
    /// A node waits for something outside: for a decision, a time, or, where an interruption left an effect in doubt, for what is
    /// to be assumed of it.
    NodeWaiting {
        /// The node.
        node: NodeId,
        /// Until when, in milliseconds since 1970; none where only a signal ends it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        /// Number of the attempt whose effect is in doubt; none of a node without a plugin.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// Somebody outside said something about the run or one of its nodes. Any process may append it, at any time; what comes too
    /// late, or from somebody who may not say it, changes nothing.
    Signalled {
        /// The node; none: the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// What was said.
        signal: Signal,
        /// Who said it.
        by: String,
        /// What else they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// Only waiting nodes are left, and the process that drove the run ends.
    RunWaiting {
        /// When the first of them ends by itself, in milliseconds since 1970, if one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
    /// The run goes on in another process. What had succeeded stays; what failed, was skipped or was left half done begins again.
    RunResumed {
        /// The engine's version.
        engine: String,
        /// Health checks and canaries that succeeded, but whose verdict is older than their `max_age`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        again: Vec<NodeId>,
        /// Digests of the policy files that are in force from here on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        policies: Vec<Digest>,
    },
    /// A node has its final receipt.
    NodeFinished {
        /// The receipt; it names the node. Shared, because the run's state and those who watch it keep it.
        #[serde(serialize_with = "shared::serialize", deserialize_with = "shared::deserialize")]
        #[schemars(with = "Receipt")]
        receipt: Arc<Receipt>,
        /// The receipt's digest.
        digest: Digest,
        /// Number of the last attempt; 0: none was made.
        attempt: u32,
        /// Why a skipped node was skipped, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Facts for people.
        facts: AttemptFacts,
    },
    /// Every node is final, and what each of them gave would come out again: it stands in a blob, from which later runs of the same
    /// graph are served at once.
    GraphProved {
        /// The graph's key, see [`crate::graph_results::graph_key`].
        key: Digest,
        /// What the nodes gave, see [`crate::graph_results`].
        results: ArtifactRef,
    },
    /// Every node gets what an earlier run of the same graph gave. Whoever reads the journal gets the events of the nodes, which the
    /// blob holds, behind this one.
    GraphServed {
        /// The graph's key.
        key: Digest,
        /// What the nodes get.
        results: ArtifactRef,
    },
    /// The run is over.
    RunFinished {
        /// `succeeded`, `failed`, `errored` or `cancelled`.
        status: Status,
        /// The run digest; none after an infrastructure error or a cancellation.
        digest: Option<Digest>,
    },
}

impl Event {
    /// Its kind, as the member `event` of its serialised form has it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run-started",
            Self::AttemptStarted { .. } => "attempt-started",
            Self::EffectIntended { .. } => "effect-intended",
            Self::EffectFinished { .. } => "effect-finished",
            Self::LookTaken { .. } => "look-taken",
            Self::AttemptFailed { .. } => "attempt-failed",
            Self::NodeWaiting { .. } => "node-waiting",
            Self::Signalled { .. } => "signalled",
            Self::RunWaiting { .. } => "run-waiting",
            Self::RunResumed { .. } => "run-resumed",
            Self::NodeFinished { .. } => "node-finished",
            Self::GraphProved { .. } => "graph-proved",
            Self::GraphServed { .. } => "graph-served",
            Self::RunFinished { .. } => "run-finished",
        }
    }

    /// The node that it is about, if it is about one.
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::RunStarted { .. }
            | Self::RunWaiting { .. }
            | Self::RunResumed { .. }
            | Self::GraphProved { .. }
            | Self::GraphServed { .. }
            | Self::RunFinished { .. } => None,
            Self::Signalled { node, .. } => node.as_ref(),
            Self::AttemptStarted { node, .. }
            | Self::EffectIntended { node, .. }
            | Self::EffectFinished { node, .. }
            | Self::LookTaken { node, .. }
            | Self::AttemptFailed { node, .. }
            | Self::NodeWaiting { node, .. } => Some(node),
            Self::NodeFinished { receipt, .. } => Some(&receipt.node),
        }
    }

    /// The action key that this event proves a result for. Only the success of a pure node that was really executed does.
    pub fn proves(&self) -> Option<Digest> {
        match self {
            Self::NodeFinished { receipt, facts, .. }
                if receipt.status == Status::Succeeded && facts.pure && !facts.cached && receipt.effects.is_none() =>
            {
                receipt.key
            }
            _ => None,
        }
    }

    /// The action key whose results turned out not to be reproducible: two executions of a pure node gave different ones.
    pub fn disproves(&self) -> Option<Digest> {
        match self {
            Self::NodeFinished { receipt, facts, .. } if facts.pure => {
                let kind = receipt.failure.as_ref().map(|failure| failure.kind);
                receipt.key.filter(|_| kind == Some(FailureKind::NotReproducible))
            }
            _ => None,
        }
    }
}

/// What can be said from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// Of an approval: yes.
    Approve,
    /// Of an approval: no.
    Reject,
    /// Of a waiting node: it fails now. Of a run: it stops.
    Cancel,
    /// Of a node with an effect in doubt: the effect took place, only its answer is lost.
    AssumeDone,
    /// Of a node with an effect in doubt: the effect is to be issued again, under the same idempotency key.
    AssumeRepeat,
}

impl Signal {
    /// The signal's name in the journal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Cancel => "cancel",
            Self::AssumeDone => "assume-done",
            Self::AssumeRepeat => "assume-repeat",
        }
    }
}

/// One component of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    /// Its digest.
    pub digest: Digest,
    /// Name and version by its manifest.
    pub name: String,
    /// Whether it imports the clock.
    pub reads_time: bool,
}

/// The commit that a root was at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Its name, in full.
    pub id: String,
    /// Whether files below the root differed from it, or were unknown to it.
    pub dirty: bool,
}

/// One snapshot of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// What was taken.
    pub source: InputSource,
    /// What came of it.
    pub artifact: ArtifactRef,
}

/// Part of a pipeline: the nodes that a run executes. Approvals and waits before them belong to it without being named; see
/// [`crate::run::Role`] for what becomes of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    /// Nodes that are selected alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<NodeId>,
    /// Nodes that are selected with all that depends on them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub from: BTreeSet<NodeId>,
}

impl fmt::Display for Selection {
    /// As it is given on the command line: `--only a --from b`. Of many nodes the first ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let named = self.only.iter().map(|node| ("--only", node)).chain(self.from.iter().map(|node| ("--from", node)));
        let words: Vec<_> = named.clone().take(SHOWN).map(|(option, node)| format!("{option} {node}")).collect();
        let more = if named.count() > SHOWN { " ..." } else { "" };
        write!(f, "{}{more}", words.join(" "))
    }
}

/// Where a result comes from that a part of a pipeline took over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The run in which it was executed.
    pub run: RunId,
    /// When that was recorded, in milliseconds since 1970.
    pub time: u64,
}

/// What people ask about an attempt, and no receipt holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptFacts {
    /// Wall time in microseconds.
    pub micros: u64,
    /// The most linear memory in use, in bytes.
    pub peak_memory: u64,
    /// Fuel in force, to compare what was used with.
    pub fuel_limit: u64,
    /// Whether the result came from the cache.
    #[serde(default)]
    pub cached: bool,
    /// Whether the node was pure: then its receipt may serve others with the same action key.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pure: bool,
    /// Where the result comes from, of a node that is not selected in a run of a part; then `cached`, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<Origin>,
    /// Findings by severity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<String, u64>,
    /// Log of a failed attempt, as a blob (the receipt has that of the last one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<ArtifactRef>,
    /// A trap's wasm backtrace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backtrace: Option<String>,
}

/// What stands behind an `Arc`, as if it stood there itself: serde's own feature for that would compile wasmtime anew.
pub(crate) mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
        T::serialize(value, serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_executed_success_of_a_pure_node_proves_anything() {
        let finished = |change: &dyn Fn(&mut Receipt, &mut AttemptFacts)| {
            let artifact = ArtifactRef { kind: crate::artifact::ArtifactKind::Blob, digest: Digest::of(b"e"), size: 1 };
            let mut receipt = Receipt {
                node: NodeId::new("a").unwrap(),
                component: Some(Digest::of(b"component")),
                key: Some(Digest::of(b"key")),
                status: Status::Succeeded,
                failure: None,
                outputs: BTreeMap::new(),
                findings: None,
                verdict: None,
                decision: None,
                log: Some(artifact),
                effects: None,
                fuel: Some(12),
            };
            let mut facts = AttemptFacts { pure: true, ..AttemptFacts::default() };
            change(&mut receipt, &mut facts);
            let digest = receipt.digest();
            Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt: 1, reason: None, facts }
        };
        assert_eq!(finished(&|_, _| {}).proves(), Some(Digest::of(b"key")));
        let changes: [fn(&mut Receipt, &mut AttemptFacts); 8] = [
            |receipt, _| receipt.status = Status::Failed,
            |receipt, _| receipt.status = Status::Errored,
            |receipt, _| receipt.status = Status::Skipped,
            |receipt, _| receipt.status = Status::Cancelled,
            |receipt, _| receipt.key = None,
            |receipt, _| receipt.effects = receipt.log,
            |_, facts| facts.pure = false,
            |_, facts| facts.cached = true,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_eq!(finished(&change).proves(), None, "change {number}");
        }
        assert_eq!(Event::RunFinished { status: Status::Succeeded, digest: None }.proves(), None);
    }
}
