//! The format: one table of all keys, their types, ranges and meanings. It drives the structural check of a file and the JSON
//! Schema for editors, so that the two cannot differ. The tables of nodes stand in `shape/node.rs`.
//!
//! How to add a key: put it into the table here, read it where its table is read (`nodes.rs`, `fields.rs`, ...), add a golden
//! pair under `tests/ui` for what can be wrong with it.

pub(crate) mod node;

use lockgate_model::pipeline::{MAX_NODES, OnConflict};

use self::node::{APPROVAL, CANARY, HEALTH_CHECK, STAGE, WAIT};
pub(crate) use self::node::{CANARY_WORDS, DECISION_WORDS, HEALTH_WORDS, NODE_KINDS, a_node, node, without_plugin};

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
    /// A moment: an offset date-time of TOML, or a string of the same form.
    Moment,
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

pub(crate) const fn key(name: &'static str, ty: Type, doc: &'static str) -> Key {
    Key { name, ty, required: false, doc }
}

pub(crate) const fn needed(name: &'static str, ty: Type, doc: &'static str) -> Key {
    Key { name, ty, required: true, doc }
}

/// Longest path, reference or glob: PATH_MAX, as in `model::artifact`.
const PATH: Type = Type::Text(4096);
/// Longest value of a parameter: what a command line carries.
pub(crate) const MAX_PARAM: usize = 64 << 10;
/// Most elements of an ordinary list: far beyond what people write, small enough to be walked at once.
pub(crate) const MANY: usize = 10_000;
/// Most looks of a poll: each is journaled.
pub(crate) const MAX_LOOKS: u64 = 10_000;
/// Longest text for people after its substitutions, in characters: what is asked fits on a screen.
pub(crate) const MAX_MESSAGE: usize = 4_000;
/// Longest name of an approver or a concurrency group after its substitutions, in characters.
pub(crate) const MAX_LABEL: usize = 200;

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
            "approval",
            Type::List(&Type::Table(&APPROVAL), MAX_NODES),
            "Nodes that wait until somebody says yes or no.",
        ),
        key("wait", Type::List(&Type::Table(&WAIT), MAX_NODES), "Nodes that wait for a time."),
        key(
            "export",
            Type::List(&Type::Table(&EXPORT), MANY),
            "Outputs that are copied to the host after the run succeeded.",
        ),
        key(
            "secrets",
            Type::Map(Keys::Names, &Type::Table(&SECRET)),
            "Where the values of secrets come from; `grants.secrets` and programs' environments name them.",
        ),
        key("concurrency", Type::Table(&CONCURRENCY), "Which runs do not go on at the same time as this one."),
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
    doc: "Where a plugin's component comes from: `std`, `path` or `oci`.",
    groups: &[&[
        key("std", Type::Name, "Name of a plugin shipped inside the engine."),
        key("path", PATH, "A component's file, relative to the pipeline's root."),
        key("digest", Type::Text(80), "`sha256:...` of the component; another one is refused."),
        key(
            "world",
            Type::Word(&["command"]),
            "`command` where it is a WASI program: stages run it, with `args`, inputs in `/in/<name>` and outputs in `/out/<name>`.",
        ),
        key(
            "missing_imports",
            Type::Word(&["refuse", "trap"]),
            "What happens to imports that it cannot have: an error before anything runs, or a trap when one is called. Default refuse.",
        ),
        key(
            "oci",
            PATH,
            "A component in a registry: `ghcr.io/acme/scan`. Which version it is stands in the lock file.",
        ),
        key("version", Type::Text(256), "Versions of it that will do: `^1.2`, `>=1.2, <3`, `=1.2.3`; any by default."),
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

static SECRET: Shape = Shape {
    name: "the secret",
    doc: "Where a secret's value comes from: `env`, `file` or `store`.",
    groups: &[&[
        key("env", Type::Name, "An environment variable of the engine."),
        key(
            "file",
            PATH,
            "A file: absolute, or relative to the pipeline's root. A line break at its end does not count.",
        ),
        key("store", Type::Name, "Its name in the encrypted store of `lockgate secret`."),
        key("environment", PATH, "The store's environment, with `store`. Default `default`."),
    ]],
    one_of: &["env", "file", "store"],
};

static CONCURRENCY: Shape = Shape {
    name: "`[concurrency]`",
    doc: "Of the runs of one group, on one state directory, only one goes on at a time.",
    groups: &[&[
        needed("group", PATH, "The group's name; takes `${params.x}` and `${git.x}`."),
        key(
            "on_conflict",
            Type::Word(&[OnConflict::Queue.name(), OnConflict::CancelOlder.name()]),
            "Whether a run waits for the one under way, or cancels it. Default queue.",
        ),
    ]],
    one_of: &[],
};
