//! The format: one table of all keys, their types, ranges and meanings. It drives the structural check of a file and the JSON
//! Schema for editors, so that the two cannot differ.
//!
//! How to add a key: put it into the table here, read it where its table is read (`nodes.rs`, `fields.rs`, ...), add a golden
//! pair under `tests/ui` for what can be wrong with it.

use lockgate_model::outcome::FailureKind;
use lockgate_model::pipeline::{MAX_NODES, NodeKind};

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    /// The version of the format: 1.
    Version,
    /// A string of at most this many bytes, without control characters except line breaks and tabs.
    Text(usize),
    /// A name: letters, digits, `_` and `-`, at most 64.
    Name,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number in a range.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// A number with a unit in a range.
    Quantity(Unit, u64, u64),
    /// A string, an integer or a boolean.
    Scalar,
    /// Anything that JSON can say.
    Value,
    /// An array of at most this many elements.
    List(&'static Type, usize),
    /// A table of known keys.
    Table(&'static Shape),
    /// A table of free names, or of free keys (`config`).
    Map(Keys, &'static Type),
    /// A string, or else a table or an array.
    Either(&'static Type, &'static Type),
}

/// What the keys of a free table may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Names, as [`Type::Name`].
    Names,
    /// Anything.
    Any,
}

/// The unit of a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Fuel,
    Bytes,
    Millis,
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) ty: Type,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
}

/// A table of known keys, in groups that several tables may share.
#[derive(Debug)]
pub(crate) struct Shape {
    /// As messages call it.
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) groups: &'static [&'static [Key]],
    /// Of these keys exactly one must be there; empty: no such rule.
    pub(crate) one_of: &'static [&'static str],
}

impl Shape {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static Key> + Clone {
        self.groups.iter().flat_map(|group| group.iter())
    }

    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, ty: Type, doc: &'static str) -> Key {
    Key { name, ty, required: false, doc }
}

const fn needed(name: &'static str, ty: Type, doc: &'static str) -> Key {
    Key { name, ty, required: true, doc }
}

/// Longest path, reference or glob: PATH_MAX, as in `model::artifact`.
const PATH: Type = Type::Text(4096);
/// Longest value of a parameter: what a command line carries.
pub(crate) const MAX_PARAM: usize = 64 << 10;
/// Most elements of an ordinary list: far beyond what people write, small enough to be walked at once.
const MANY: usize = 10_000;
/// Longest span of time anywhere: 30 days.
const MAX_SPAN: u64 = 30 * 86_400_000;
/// Most looks of a poll: each is journaled.
pub(crate) const MAX_LOOKS: u64 = 10_000;
/// Most executions that `repeat` compares.
const MAX_REPEAT: i64 = 10;

const KINDS: [&str; FailureKind::ALL.len()] = {
    let mut names = [""; FailureKind::ALL.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = FailureKind::ALL[i].name();
        i += 1;
    }
    names
};
/// Words that health checks say.
pub(crate) const HEALTH_WORDS: &[&str] = &["healthy", "degraded", "unhealthy"];
/// Words that canary evaluators say.
pub(crate) const CANARY_WORDS: &[&str] = &["promote", "hold", "rollback", "inconclusive"];

/// The whole file.
pub(crate) static PIPELINE: Shape = Shape {
    name: "the pipeline",
    doc: "A Lockgate pipeline: parameters, limits, plugins, nodes and exports.",
    groups: &[&[
        needed("schema", Type::Version, "Version of the format: 1."),
        needed("name", Type::Text(100), "The pipeline's name, for people."),
        key(
            "params",
            Type::Map(Keys::Names, &Type::Table(&PARAM)),
            "Parameters by name; `--param name=value` sets them.",
        ),
        key("limits", Type::Table(&LIMITS), "Limits of every node of the file; a node may lower or raise its own."),
        key(
            "plugins",
            Type::Map(Keys::Names, &Type::Either(&PATH, &Type::Table(&PLUGIN))),
            "Plugins by alias: `std:<name>` or a table.",
        ),
        key("stage", Type::List(&Type::Table(&STAGE), MAX_NODES), "Nodes that make outputs of inputs."),
        key(
            "health-check",
            Type::List(&Type::Table(&HEALTH_CHECK), MAX_NODES),
            "Nodes that say whether something is healthy.",
        ),
        key(
            "canary",
            Type::List(&Type::Table(&CANARY), MAX_NODES),
            "Nodes that judge an observation of a baseline and a canary.",
        ),
        key(
            "export",
            Type::List(&Type::Table(&EXPORT), MANY),
            "Outputs that are copied to the host after the run succeeded.",
        ),
    ]],
    one_of: &[],
};

static PARAM: Shape = Shape {
    name: "the parameter",
    doc: "A typed parameter. Without a default it must be given.",
    groups: &[&[
        needed("type", Type::Word(&["string", "integer", "boolean"]), "Type of its value."),
        key("description", Type::Text(1_000), "What it is for."),
        key("default", Type::Scalar, "Its value where none is given."),
        key("pattern", Type::Text(1_000), "Regular expression that a string must match; anchor it with `^` and `$`."),
        key("enum", Type::List(&Type::Scalar, 1_000), "The only possible values."),
        key("min", Type::Integer(i64::MIN, i64::MAX), "Smallest integer."),
        key("max", Type::Integer(i64::MIN, i64::MAX), "Largest integer."),
    ]],
    one_of: &[],
};

static PLUGIN: Shape = Shape {
    name: "the plugin",
    doc: "Where a plugin's component comes from: `std` or `path`.",
    groups: &[&[
        key("std", Type::Name, "Name of a plugin shipped inside the engine."),
        key("path", PATH, "A component's file, relative to the pipeline's root."),
        key("digest", Type::Text(80), "`sha256:...` of the component; another one is refused."),
        key("oci", PATH, "An image in a registry. Comes with a later version."),
        key("version", Type::Text(100), "Version of the image. Comes with a later version."),
    ]],
    one_of: &["std", "path", "oci"],
};

/// Limits: every field of `model::limits::Limits`. The upper bounds keep each finite and far above what real work needs.
pub(crate) static LIMITS: Shape = Shape {
    name: "`limits`",
    doc: "What one attempt of a node may use.",
    groups: &[&[
        key(
            "fuel",
            Type::Quantity(Unit::Fuel, 1, 100_000_000_000_000),
            "Fuel of the call, host calls included. Default 2G.",
        ),
        key("start_fuel", Type::Quantity(Unit::Fuel, 1, 1_000_000_000_000), "Fuel of instantiation. Default 100M."),
        key("memory", Type::Quantity(Unit::Bytes, 64 << 10, 4 << 30), "All linear memories together. Default 64MiB."),
        key("table_elements", Type::Integer(0, 10_000_000), "Elements of all tables together. Default 100000."),
        key("handles", Type::Integer(0, 100_000), "Open readers, writers and trees at once. Default 1000."),
        key("call_bytes", Type::Quantity(Unit::Bytes, 0, 1 << 40), "Bytes through host calls. Default 8GiB."),
        key("log", Type::Quantity(Unit::Bytes, 0, 256 << 20), "Bytes of log. Default 1MiB."),
        key("output", Type::Quantity(Unit::Bytes, 0, 1 << 40), "Bytes of all outputs. Default 4GiB."),
        key("output_entries", Type::Integer(0, 10_000_000), "Entries of all outputs. Default 100000."),
        key("findings", Type::Integer(0, 1_000_000), "Findings. Default 10000."),
        key("effects", Type::Integer(0, 1_000_000), "Effects. Default 1000."),
        key("timeout", Type::Quantity(Unit::Millis, 1, 86_400_000), "Wall time of one attempt. Default 30s."),
    ]],
    one_of: &[],
};

static COMMON: [Key; 14] = [
    needed("id", Type::Name, "The node's id, unique in the file."),
    needed("plugin", PATH, "An alias of `[plugins]`, or `std:<name>`."),
    key(
        "config",
        Type::Map(Keys::Any, &Type::Value),
        "The plugin's config; strings take `${params.x}`, `${matrix.x}` and `${git.x}`.",
    ),
    key(
        "inputs",
        Type::Map(Keys::Names, &Type::Either(&PATH, &Type::Table(&INPUT))),
        "Inputs by name: `{ dir = ... }`, `{ file = ... }` or `<node>.<output>`.",
    ),
    key("after", Type::List(&PATH, MANY), "Nodes that must be final before this one, without data."),
    key(
        "when",
        Type::Text(lockgate_model::expr::MAX_EXPR_LEN),
        "Runs only if this expression holds; otherwise the node is skipped.",
    ),
    key(
        "matrix",
        Type::Map(Keys::Names, &Type::List(&Type::Scalar, MANY)),
        "One node for each combination of these values.",
    ),
    key("limits", Type::Table(&LIMITS), "Limits of this node."),
    key("grants", Type::Table(&GRANTS), "What the node may do beyond computing."),
    key("retry", Type::Table(&RETRY), "How often and when a failed attempt is repeated."),
    key("allow_failure", Type::Boolean, "Whether the run succeeds although this node failed."),
    key("finally", Type::Boolean, "Whether it runs after all others, whatever became of them."),
    key(
        "env",
        Type::List(&Type::Text(200), 100),
        "Names of environment variables that the plugin may see; their values are part of the action key.",
    ),
    key("repeat", Type::Integer(1, MAX_REPEAT), "Executes the node so many times, uncached, and compares."),
];
const POLLED: Key = key("poll", Type::Table(&POLL), "Repeated looks.");

static STAGE: Shape = Shape { name: "`[[stage]]`", doc: "Makes outputs of inputs.", groups: &[&COMMON], one_of: &[] };
static HEALTH_CHECK: Shape = Shape {
    name: "`[[health-check]]`",
    doc: "Says whether something is healthy.",
    groups: &[
        &COMMON,
        &[
            POLLED,
            key(
                "accept",
                Type::List(&Type::Word(HEALTH_WORDS), 10),
                "Verdicts that do not fail the node, besides `healthy`.",
            ),
        ],
    ],
    one_of: &[],
};
static CANARY: Shape = Shape {
    name: "`[[canary]]`",
    doc: "Judges an observation of a baseline and a canary.",
    groups: &[
        &COMMON,
        &[
            POLLED,
            key(
                "accept",
                Type::List(&Type::Word(CANARY_WORDS), 10),
                "Verdicts that do not fail the node, besides `promote`.",
            ),
        ],
    ],
    one_of: &[],
};

/// The table of a kind of node.
pub(crate) fn node(kind: NodeKind) -> &'static Shape {
    match kind {
        NodeKind::Stage => &STAGE,
        NodeKind::HealthCheck => &HEALTH_CHECK,
        NodeKind::Canary => &CANARY,
    }
}

/// All kinds of nodes.
pub(crate) const NODE_KINDS: [NodeKind; 3] = [NodeKind::Stage, NodeKind::HealthCheck, NodeKind::Canary];

static INPUT: Shape = Shape {
    name: "the input",
    doc: "A snapshot of a directory or file of the host, taken at the run's start: `dir` or `file`.",
    groups: &[&[
        key("dir", PATH, "A directory inside of the pipeline's root; `.` is the root."),
        key("file", PATH, "A file inside of the pipeline's root."),
        key("include", Type::List(&PATH, MANY), "Globs of what is taken; without it everything."),
        key("exclude", Type::List(&PATH, MANY), "Globs of what is left out, after `include`."),
        key("ignore", Type::Boolean, "Whether `.gitignore` and `.lockgateignore` are honoured. Default true."),
    ]],
    one_of: &["dir", "file"],
};

static GRANTS: Shape = Shape {
    name: "`grants`",
    doc: "Permissions for effects. Nothing is granted by default.",
    groups: &[&[
        key("http", Type::List(&PATH, 1_000), "Permitted exchanges: `METHOD SCHEME://HOST[:PORT][/PATH-PREFIX]`."),
        key("clock", Type::Boolean, "The real clock instead of the logical one."),
        key("process", Type::Value, "Comes with a later version."),
        key("secrets", Type::Value, "Comes with a later version."),
        key("tcp", Type::Value, "Comes with a later version."),
    ]],
    one_of: &[],
};

static RETRY: Shape = Shape {
    name: "`retry`",
    doc: "How often and when a failed attempt is repeated.",
    groups: &[&[
        needed("attempts", Type::Integer(1, 100), "Attempts in all, the first included."),
        key(
            "backoff",
            Type::Quantity(Unit::Millis, 0, 3_600_000),
            "Pause before the second attempt; it doubles each time. Default 1s.",
        ),
        key("max_backoff", Type::Quantity(Unit::Millis, 0, 86_400_000), "The longest pause. Default 60s."),
        key(
            "on",
            Type::List(&Type::Word(&KINDS), 20),
            "Kinds of failure that are worth another attempt. Default error, verdict, timeout, infrastructure.",
        ),
    ]],
    one_of: &[],
};

static POLL: Shape = Shape {
    name: "`poll`",
    doc: "Repeated looks at a health check or canary.",
    groups: &[&[
        needed(
            "every",
            Type::Quantity(Unit::Millis, 10, MAX_SPAN),
            "From the start of one look to the start of the next.",
        ),
        needed("for", Type::Quantity(Unit::Millis, 10, MAX_SPAN), "The whole span; then the last look decides."),
        key("healthy", Type::Integer(1, MAX_LOOKS as i64), "Good verdicts in a row that end it early."),
        key("unhealthy", Type::Integer(1, MAX_LOOKS as i64), "Bad verdicts in a row that end it early."),
    ]],
    one_of: &[],
};

static EXPORT: Shape = Shape {
    name: "`[[export]]`",
    doc: "An output that is copied to the host after the run succeeded.",
    groups: &[&[
        needed("from", PATH, "`<node>.<output>`."),
        needed(
            "to",
            PATH,
            "The target: inside of the pipeline's root, or absolute (then `--allow-export` must name it).",
        ),
    ]],
    one_of: &[],
};
