//! A pipeline after its parameters and matrices were put in: what the planner works on, and what a run keeps for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canonical::canonical_json;
use crate::digest::Digest;
use crate::expr::Expr;
use crate::grant::{Grants, SecretName, SecretSource};
use crate::id::{NodeId, PluginAlias, PortName};
use crate::limits::Limits;
use crate::manifest::World;
use crate::oci::{OciName, VersionRange};
use crate::outcome::FailureKind;
use crate::units::Millis;

/// Domain of pipeline digests.
pub const PIPELINE_DOMAIN: &str = "lockgate-pipeline-v1";
/// Most nodes of one pipeline after its matrices were unfolded.
pub const MAX_NODES: usize = 100_000;
/// Largest pipeline file in bytes.
pub const MAX_FILE: u64 = 16 << 20;

/// Nodes whose text one thread makes at a time.
const ALONE: usize = 1_024;
/// Most threads that make the text of a pipeline.
const MAX_THREADS: usize = 8;

/// A whole pipeline, ready to be planned. Its serialised form is part of the journal's format, version 1.
///
/// Its members stand in the order in which canonical JSON has them: putting them in order would move the text of all nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Which runs do not go on at the same time as this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// What goes out after the run succeeded.
    pub exports: Vec<Export>,
    /// Its name.
    pub name: String,
    /// Nodes in the file's order, a matrix's in the order of its values.
    pub nodes: Vec<Node>,
    /// Parameters with their final values.
    pub params: BTreeMap<String, ParamValue>,
    /// Plugins by alias, all that any node names. A node that says `plugin = "std:pack"` without a table of its own makes the
    /// alias `std-pack`.
    pub plugins: BTreeMap<PluginAlias, PluginSource>,
    /// Version of the file's format: 1.
    pub schema: u32,
    /// Where the values of secrets come from, by name: all that any node's grants name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<SecretName, SecretSource>,
    /// As what plugins are taken, those of which the file says anything about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<PluginAlias, PluginTerms>,
}

impl Pipeline {
    /// The pipeline's digest: of its canonical JSON, so that comments and layout of the file do not matter.
    pub fn digest(&self) -> Digest {
        Digest::tagged(PIPELINE_DOMAIN, self.canonical_json().as_bytes())
    }

    /// The pipeline as canonical JSON. That of a large one is made on all cores.
    pub fn canonical_json(&self) -> String {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        match threads > 1 && self.nodes.len() > ALONE {
            true => self.canonical_json_on(threads),
            false => canonical_json(self),
        }
    }

    fn canonical_json_on(&self, threads: usize) -> String {
        /// The members before the nodes.
        #[derive(Serialize)]
        struct Before<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            concurrency: Option<&'a Concurrency>,
            exports: &'a [Export],
            name: &'a str,
        }
        let Self { concurrency, exports, name, nodes, params, plugins, schema, secrets, terms } = self;
        let before = canonical_json(&Before { concurrency: concurrency.as_ref(), exports, name });
        let rest = Self {
            concurrency: concurrency.clone(),
            exports: exports.clone(),
            name: name.clone(),
            nodes: Vec::new(),
            params: params.clone(),
            plugins: plugins.clone(),
            schema: *schema,
            secrets: secrets.clone(),
            terms: terms.clone(),
        };
        let rest = canonical_json(&rest);
        // Behind the bracket that opens the list of nodes.
        let (start, end) = rest.split_at(before.len() - 1 + r#","nodes":["#.len());
        let mut text = start.to_owned();
        let mut add = |nodes: &str| {
            if text.len() > start.len() {
                text.push(',');
            }
            text += &nodes[1..nodes.len() - 1];
        };
        // As much at a time as each thread does at once: what they made is not kept beside the whole.
        for round in nodes.chunks(ALONE * threads) {
            std::thread::scope(|scope| {
                let mut parts = round.chunks(ALONE);
                let first = parts.next().unwrap_or_default();
                let others: Vec<_> = parts.map(|part| (part, scope.spawn(|| canonical_json(part)))).collect();
                add(&canonical_json(first));
                for (part, other) in others {
                    add(&other.join().unwrap_or_else(|_| canonical_json(part)));
                }
            });
        }
        text + end
    }
}

/// A parameter's or matrix's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ParamValue {
    /// Text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Boolean(bool),
}

impl Serialize for ParamValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::String(text) => serializer.serialize_str(text),
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Boolean(value) => serializer.serialize_bool(*value),
        }
    }
}

impl<'de> Deserialize<'de> for ParamValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self::String(text)),
            serde_json::Value::Bool(value) => Ok(Self::Boolean(value)),
            other => other
                .as_i64()
                .map(Self::Integer)
                .ok_or_else(|| serde::de::Error::custom("expected a string, an integer or a boolean")),
        }
    }
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::String(text) => f.pad(text),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
        }
    }
}

/// As what a plugin is taken, wherever it comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginTerms {
    /// It is a WASI program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub command: bool,
    /// What it imports and cannot have traps when it is called, instead of being an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trap_missing: bool,
}

/// Where a plugin's component comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginSource {
    /// Shipped inside the engine: `std:<name>`.
    Std {
        /// The name behind `std:`.
        name: String,
        /// The digest that the pipeline demands, if it does.
        digest: Option<Digest>,
    },
    /// A file, relative to the pipeline's root.
    Path {
        /// The path as written, with `/`.
        path: String,
        /// The digest that the pipeline demands, if it does.
        digest: Option<Digest>,
    },
    /// A component in a registry. Which one it is stands in the lock file, unless a digest is demanded.
    Oci {
        /// Its name.
        name: OciName,
        /// The versions that will do.
        version: VersionRange,
        /// The digest that the pipeline demands, if it does.
        digest: Option<Digest>,
    },
    /// A node kind of the program that embeds the engine: `app:<name>`. It is native code, outside of the sandbox.
    App {
        /// The name behind `app:`.
        name: String,
    },
}

impl PluginSource {
    /// Whether it comes with the program that runs, so that whoever pins the program pins it.
    pub const fn is_built_in(&self) -> bool {
        matches!(self, Self::Std { .. } | Self::App { .. })
    }

    /// The digest that the pipeline demands, if it does.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Std { digest, .. } | Self::Path { digest, .. } | Self::Oci { digest, .. } => *digest,
            Self::App { .. } => None,
        }
    }
}

/// As lock files and policies write it, without version and digest: `std:pack`, `path:plugins/scan.wasm`, `oci:ghcr.io/acme/scan`.
impl fmt::Display for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Std { name, .. } => write!(f, "std:{name}"),
            Self::Path { path, .. } => write!(f, "path:{path}"),
            Self::Oci { name, .. } => write!(f, "oci:{name}"),
            Self::App { name } => write!(f, "app:{name}"),
        }
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// `[[stage]]`
    Stage,
    /// `[[health-check]]`
    HealthCheck,
    /// `[[canary]]`
    Canary,
    /// `[[approval]]`: waits until somebody outside says yes or no. It has no plugin.
    Approval,
    /// `[[wait]]`: waits for a time. It has no plugin.
    Wait,
}

impl NodeKind {
    /// The table's name in a pipeline file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::HealthCheck => "health-check",
            Self::Canary => "canary",
            Self::Approval => "approval",
            Self::Wait => "wait",
        }
    }

    /// The world that the node's plugin must export; none where a node of this kind has no plugin.
    pub const fn world(self) -> Option<World> {
        match self {
            Self::Stage => Some(World::Stage),
            Self::HealthCheck => Some(World::HealthCheck),
            Self::Canary => Some(World::CanaryEvaluator),
            Self::Approval | Self::Wait => None,
        }
    }
}

/// One vertex of the DAG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, unique in the pipeline.
    pub id: NodeId,
    /// What it is.
    pub kind: NodeKind,
    /// Alias of its plugin; none exactly where its kind has no world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginAlias>,
    /// Its config: always a JSON object.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Where its inputs come from.
    pub inputs: BTreeMap<PortName, InputSource>,
    /// Nodes that must be final before this one, without data.
    pub after: BTreeSet<NodeId>,
    /// Runs only if this holds; otherwise it is skipped.
    pub when: Option<Expr>,
    /// Limits in force for each attempt.
    pub limits: Limits,
    /// What it may do beyond computing.
    pub grants: Grants,
    /// How often it is tried.
    pub retry: Retry,
    /// Repeated looks, of a health check or canary.
    pub poll: Option<Poll>,
    /// Verdicts that do not fail the node, besides `healthy` and `promote`.
    pub accept: BTreeSet<String>,
    /// Whether its failure lets the run succeed all the same.
    pub allow_failure: bool,
    /// Whether it runs after all others, whatever became of them.
    pub finally: bool,
    /// How many times it is executed and compared; 1: once.
    pub repeat: u32,
    /// Declared environment: names with the values of this run. A name that was not set is absent.
    pub env: BTreeMap<String, String>,
    /// Of an approval, and only of it: who is asked what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Of a wait, and only of it: for what time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// Of a health check or canary: a verdict older than this is taken again when the run is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Millis>,
}

/// What an approval asks, and whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What is to be decided, for people.
    pub message: String,
    /// Who may decide; empty: anybody who may write the state directory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub approvers: BTreeSet<String>,
    /// How long it waits, from the moment at which it asks.
    pub deadline: Millis,
    /// What counts as said when nobody has said anything by then.
    pub on_deadline: OnDeadline,
}

/// What an approval takes for granted at its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDeadline {
    /// Silence is a no.
    Reject,
    /// Silence is a yes.
    Approve,
}

impl OnDeadline {
    /// The word in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Approve => "approve",
        }
    }
}

/// What time a wait waits for. Serialised as `{"for":1800000}` or `{"until":1796112000000}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// A span, from the moment at which the node begins.
    For(Millis),
    /// A moment, in milliseconds since 1970; one that is over lets the node succeed at once.
    Until(u64),
}

/// Of the runs of one group, on one state directory, only one goes on at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The group: 1 to 200 characters, none of them a control character.
    pub group: String,
    /// What happens when a run of the group is under way.
    pub on_conflict: OnConflict,
}

/// What a run does that finds another of its group under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnConflict {
    /// It waits until the other is over.
    Queue,
    /// It cancels the other.
    CancelOlder,
}

impl OnConflict {
    /// The word in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::CancelOlder => "cancel-older",
        }
    }
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InputSource {
    /// A snapshot of a directory of the host, taken at the run's start: a tree.
    Dir(SnapshotSpec),
    /// One file of the host, read at the run's start: a blob. Relative to the pipeline's root.
    File {
        /// The path as written, with `/`.
        path: String,
    },
    /// An output of another node.
    Output {
        /// The node.
        node: NodeId,
        /// Its output.
        output: PortName,
    },
    /// The same artifact that another node gets as an input.
    Input {
        /// The node.
        node: NodeId,
        /// Its input.
        input: PortName,
    },
}

impl InputSource {
    /// The node it comes from, if it is not the host.
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Output { node, .. } | Self::Input { node, .. } => Some(node),
            Self::Dir(_) | Self::File { .. } => None,
        }
    }
}

/// Which part of a directory becomes a tree. Equal specifications are taken once per run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotSpec {
    /// The directory, relative to the pipeline's root, with `/`; `.` is the root.
    pub dir: String,
    /// Globs (`*`, `**`, `?`, `[...]`, `{a,b}`) over paths inside of it; empty: everything.
    pub include: Vec<String>,
    /// Globs of what is left out, after `include`.
    pub exclude: Vec<String>,
    /// Whether `.gitignore` and `.lockgateignore` are honoured.
    pub ignore: bool,
}

/// How often and when a failed attempt is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, the first included; 1: no repetition.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles each time.
    pub backoff: Millis,
    /// The longest pause.
    pub max_backoff: Millis,
    /// Kinds of failure that are worth another attempt.
    pub on: BTreeSet<FailureKind>,
}

impl Default for Retry {
    /// One attempt; where there are more: pauses of 1 s doubling up to 60 s, after errors that a plugin returned, verdicts,
    /// timeouts and infrastructure errors. A trap or a spent budget comes back the same, so it is not repeated.
    fn default() -> Self {
        let on = [FailureKind::Error, FailureKind::Verdict, FailureKind::Timeout, FailureKind::Infrastructure];
        Self { attempts: 1, backoff: Millis(1_000), max_backoff: Millis(60_000), on: on.into() }
    }
}

impl Retry {
    /// The pause after the given attempt (1 is the first) failed.
    pub fn pause_after(&self, attempt: u32) -> Millis {
        let doublings = attempt.saturating_sub(1).min(32);
        Millis(self.backoff.0.saturating_mul(1 << doublings).min(self.max_backoff.0))
    }
}

/// Repeated looks at a health check or canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// From the start of one look to the start of the next.
    pub every: Millis,
    /// The whole span; then the last look decides.
    pub span: Millis,
    /// Good verdicts in a row that end it early: `healthy` (default 1) or `promote` (default: none, it lasts the span).
    pub healthy: Option<u32>,
    /// Bad verdicts in a row that end it early: `unhealthy` or `rollback`. Default 1.
    pub unhealthy: Option<u32>,
}

/// An output that is copied to the host after the run succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The node.
    pub node: NodeId,
    /// Its output.
    pub output: PortName,
    /// The target: relative to the pipeline's root and inside of it, or absolute (then `--allow-export` must name it).
    pub to: String,
}

/// What git says of the pipeline's root; the `${git.*}` of a pipeline file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitFacts {
    /// The commit that is checked out, in full.
    pub commit: String,
    /// The branch that is checked out, if one is.
    pub branch: Option<String>,
    /// A tag that points to the commit; where there are several, the last by name.
    pub tag: Option<String>,
    /// Whether tracked files differ from the commit.
    pub dirty: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> Node {
        Node {
            id: NodeId::new(&format!("n{number}")).unwrap(),
            kind: NodeKind::Stage,
            plugin: Some("p".parse().unwrap()),
            config: [("n".to_owned(), number.into())].into_iter().collect(),
            inputs: BTreeMap::new(),
            after: BTreeSet::new(),
            when: None,
            limits: Limits::default(),
            grants: Grants::default(),
            retry: Retry::default(),
            poll: None,
            accept: BTreeSet::new(),
            allow_failure: false,
            finally: false,
            repeat: 1,
            env: BTreeMap::new(),
            approval: None,
            wait: None,
            max_age: None,
        }
    }

    #[test]
    fn a_pipeline_has_one_text_however_many_threads_make_it() {
        let mut pipeline = Pipeline {
            name: r#"x","nodes":["#.to_owned(),
            exports: vec![Export {
                node: NodeId::new("n0").unwrap(),
                output: "o".parse().unwrap(),
                to: "nodes".to_owned(),
            }],
            params: [("nodes".to_owned(), ParamValue::String(String::new()))].into(),
            plugins: [("nodes".parse().unwrap(), PluginSource::Std { name: "p".to_owned(), digest: None })].into(),
            schema: 1,
            ..Pipeline::default()
        };
        for count in [0, 1, ALONE, ALONE + 1, 3 * ALONE + 7] {
            pipeline.nodes = (0..count).map(node).collect();
            for threads in [2, 3] {
                assert!(pipeline.canonical_json_on(threads) == canonical_json(&pipeline), "{count} on {threads}");
            }
        }
        pipeline.concurrency = Some(Concurrency { group: "nodes".to_owned(), on_conflict: OnConflict::Queue });
        assert!(pipeline.canonical_json_on(2) == canonical_json(&pipeline));
        assert_eq!(pipeline.digest(), Digest::of_json(PIPELINE_DOMAIN, &pipeline));
    }
}
