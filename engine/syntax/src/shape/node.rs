//! The tables of nodes, and the tables inside of them.

use lockgate_model::grant::{InDoubt, SecretPlace};
use lockgate_model::outcome::{Decision, FailureKind};
use lockgate_model::pipeline::{NodeKind, OnDeadline};

use super::{Key, Keys, LIMITS, MANY, MAX_LOOKS, MAX_PARAM, PATH, Shape, Type, Unit, key, needed};

/// Longest span of looks, and oldest verdict: 30 days.
const MAX_SPAN: u64 = 30 * 86_400_000;
/// Longest time that a node waits for somebody or something: a year.
const MAX_WAIT: u64 = 365 * 86_400_000;
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
/// Words of approvals' decisions.
pub(crate) const DECISION_WORDS: &[&str] = &Decision::WORDS;

const ID: Key = needed("id", Type::Name, "The node's id, unique in the file.");
/// What every node has besides.
static COMMON: [Key; 5] = [
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
    key("allow_failure", Type::Boolean, "Whether the run succeeds although this node failed."),
    key("finally", Type::Boolean, "Whether it runs after all others, whatever became of them."),
];
/// What nodes with a plugin have.
static PLUGGED: [Key; 8] = [
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
    key("limits", Type::Table(&LIMITS), "Limits of this node."),
    key("grants", Type::Table(&GRANTS), "What the node may do beyond computing."),
    key("retry", Type::Table(&RETRY), "How often and when a failed attempt is repeated."),
    key(
        "env",
        Type::List(&Type::Text(200), 100),
        "Names of environment variables that the plugin may see; their values are part of the action key.",
    ),
    key("repeat", Type::Integer(1, MAX_REPEAT), "Executes the node so many times, uncached, and compares."),
];
/// What nodes with a verdict have.
static JUDGING: [Key; 2] = [
    key("poll", Type::Table(&POLL), "Repeated looks."),
    key(
        "max_age",
        Type::Quantity(Unit::Millis, 1_000, MAX_SPAN),
        "A verdict older than this is taken again when the run is resumed. Default: none is.",
    ),
];

/// What stages have whose plugin is a command.
static COMMANDED: [Key; 2] = [
    key(
        "args",
        Type::List(&Type::Scalar, lockgate_model::command::MAX_ARGS),
        "Arguments of a command; strings take `${params.x}`, `${matrix.x}` and `${git.x}`.",
    ),
    key(
        "outputs",
        Type::Map(Keys::Names, &Type::Word(&["blob", "tree", "any"])),
        "What a command leaves in `/out`, by name, besides `stdout` and `stderr`, which it always has.",
    ),
];

pub(super) static STAGE: Shape = Shape {
    name: "`[[stage]]`",
    doc: "Makes outputs of inputs.",
    groups: &[&[ID], &PLUGGED, &COMMANDED, &COMMON],
    one_of: &[],
};
pub(super) static HEALTH_CHECK: Shape = Shape {
    name: "`[[health-check]]`",
    doc: "Says whether something is healthy.",
    groups: &[
        &[ID],
        &PLUGGED,
        &JUDGING,
        &[key(
            "accept",
            Type::List(&Type::Word(HEALTH_WORDS), 10),
            "Verdicts that do not fail the node, besides `healthy`.",
        )],
        &COMMON,
    ],
    one_of: &[],
};
pub(super) static CANARY: Shape = Shape {
    name: "`[[canary]]`",
    doc: "Judges an observation of a baseline and a canary.",
    groups: &[
        &[ID],
        &PLUGGED,
        &JUDGING,
        &[key(
            "accept",
            Type::List(&Type::Word(CANARY_WORDS), 10),
            "Verdicts that do not fail the node, besides `promote`.",
        )],
        &COMMON,
    ],
    one_of: &[],
};

pub(super) static APPROVAL: Shape = Shape {
    name: "`[[approval]]`",
    doc: "Waits until somebody says yes or no.",
    groups: &[
        &[
            ID,
            needed("message", PATH, "What is to be decided; takes `${params.x}`, `${matrix.x}` and `${git.x}`."),
            key(
                "approvers",
                Type::List(&PATH, 1_000),
                "Names of those who may decide. Default: anybody who may write the state directory.",
            ),
            key(
                "deadline",
                Type::Quantity(Unit::Millis, 1, MAX_WAIT),
                "How long it waits, from the moment at which it asks. Default 7d.",
            ),
            key(
                "on_deadline",
                Type::Word(&[OnDeadline::Reject.name(), OnDeadline::Approve.name()]),
                "What silence counts as. Default reject.",
            ),
        ],
        &COMMON,
    ],
    one_of: &[],
};
pub(super) static WAIT: Shape = Shape {
    name: "`[[wait]]`",
    doc: "Waits for a time: `for` or `until`.",
    groups: &[
        &[
            ID,
            key(
                "for",
                Type::Quantity(Unit::Millis, 1, MAX_WAIT),
                "How long, from the moment at which the node begins.",
            ),
            key("until", Type::Moment, "Until when, as in `2026-12-01T08:00:00Z`, always with an offset."),
        ],
        &COMMON,
    ],
    one_of: &["for", "until"],
};

/// The table of a kind of node.
pub(crate) fn node(kind: NodeKind) -> &'static Shape {
    match kind {
        NodeKind::Stage => &STAGE,
        NodeKind::HealthCheck => &HEALTH_CHECK,
        NodeKind::Canary => &CANARY,
        NodeKind::Approval => &APPROVAL,
        NodeKind::Wait => &WAIT,
    }
}

/// Why a node of this table lacks what nodes with a plugin have; none where it has a plugin.
pub(crate) fn without_plugin(shape: &'static Shape) -> Option<&'static str> {
    if std::ptr::eq(shape, &APPROVAL) {
        Some("an approval runs nothing: it waits for a decision, and is asked once")
    } else if std::ptr::eq(shape, &WAIT) {
        Some("a wait runs nothing: it waits for a time")
    } else {
        None
    }
}

/// A kind of node as messages call it.
pub(crate) const fn a_node(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Stage => "a stage",
        NodeKind::HealthCheck => "a health check",
        NodeKind::Canary => "a canary",
        NodeKind::Approval => "an approval",
        NodeKind::Wait => "a wait",
    }
}

/// All kinds of nodes.
pub(crate) const NODE_KINDS: [NodeKind; 5] =
    [NodeKind::Stage, NodeKind::HealthCheck, NodeKind::Canary, NodeKind::Approval, NodeKind::Wait];

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

pub(crate) static GRANTS: Shape = Shape {
    name: "`grants`",
    doc: "Permissions for effects. Nothing is granted by default.",
    groups: &[&[
        key(
            "http",
            Type::List(&Type::Either(&PATH, &Type::Table(&HTTP_GRANT)), 1_000),
            "Permitted exchanges: `METHOD SCHEME://HOST[:PORT][/PATH-PREFIX]`, or tables.",
        ),
        key(
            "app",
            Type::Boolean,
            "Whatever a node kind of the embedding program, `app:<name>`, does beyond computing.",
        ),
        key("clock", Type::Boolean, "The real clock instead of the logical one."),
        key("process", Type::List(&Type::Table(&PROCESS_GRANT), 1_000), "Programs of the host that it may run."),
        key(
            "secrets",
            Type::List(&Type::Either(&PATH, &Type::Table(&SECRET_GRANT)), 1_000),
            "Secrets of `[secrets]` that it may have placed into what it sends: names, or tables.",
        ),
        key(
            "tcp",
            Type::List(&Type::Either(&PATH, &Type::Table(&TCP_GRANT)), 1_000),
            "Servers that it may connect to: `HOST:PORT`, or tables.",
        ),
    ]],
    one_of: &[],
};

const IN_DOUBT: Type = Type::Word(&[InDoubt::Repeat.name(), InDoubt::Stop.name()]);

/// `in_doubt`, of every grant that has it.
const fn in_doubt(doc: &'static str) -> Key {
    key("in_doubt", IN_DOUBT, doc)
}

/// `networks`, likewise.
const fn networks() -> Key {
    key(
        "networks",
        Type::List(&PATH, 100),
        "Networks that are not public, in which the host may have its addresses: `10.0.0.0/8`.",
    )
}

static PROCESS_GRANT: Shape = Shape {
    name: "the `process` grant",
    doc: "A program that may be run: in an empty working directory, with this environment and nothing else.",
    groups: &[&[
        needed("program", PATH, "An absolute path, or a name that is looked for in /usr/local/bin, /usr/bin and /bin."),
        key(
            "arguments",
            Type::List(&PATH, 1_000),
            "One pattern for each argument. `*` stands for any text, at the beginning of a pattern for any that is no option; `**` for any argument; `...` at the end for any further ones that are no options. Default: no arguments.",
        ),
        key(
            "env",
            Type::Map(Keys::Any, &Type::Either(&Type::Text(MAX_PARAM), &Type::Table(&PROCESS_ENV))),
            "Its environment: texts, or `{ secret = \"...\" }`.",
        ),
        key("read", Type::List(&PATH, 100), "Absolute paths that it may read, besides the system's own."),
        key(
            "write",
            Type::List(&PATH, 100),
            "Absolute paths that it may read and write, besides its working directory.",
        ),
        key("network", Type::Boolean, "Whether it may open network connections. Default false."),
        in_doubt(
            "Whether an execution that an interruption left in doubt is repeated, or the node waits. Default stop.",
        ),
    ]],
    one_of: &[],
};

static PROCESS_ENV: Shape = Shape {
    name: "the environment variable",
    doc: "A variable with the value of a secret.",
    groups: &[&[needed("secret", Type::Name, "Its name in `[secrets]`.")]],
    one_of: &[],
};

static SECRET_GRANT: Shape = Shape {
    name: "the `secrets` grant",
    doc: "A secret, the hosts that may get it, and where it may stand.",
    groups: &[&[
        needed("name", Type::Name, "Its name in `[secrets]`."),
        key("to", Type::List(&PATH, 100), "`HOST` or `HOST:PORT`; default: whatever `http` and `tcp` permit."),
        key(
            "place",
            Type::Word(&[SecretPlace::Message.name(), SecretPlace::Url.name()]),
            "`message`: in headers, bodies and what `tcp` sends. `url`: in paths and queries of URLs alone, which servers write into their logs. Default `message`.",
        ),
    ]],
    one_of: &[],
};

static TCP_GRANT: Shape = Shape {
    name: "the `tcp` grant",
    doc: "A server that may be connected to.",
    groups: &[&[
        needed("server", PATH, "`HOST:PORT`."),
        networks(),
        in_doubt(
            "Whether an exchange that an interruption left in doubt is repeated, or the node waits. Default repeat where nothing is sent, else stop.",
        ),
    ]],
    one_of: &[],
};

static HTTP_GRANT: Shape = Shape {
    name: "the `http` grant",
    doc: "A permitted exchange, and what happens to one of which nobody knows whether it took place.",
    groups: &[&[
        needed("request", PATH, "`METHOD SCHEME://HOST[:PORT][/PATH-PREFIX]`."),
        networks(),
        in_doubt(
            "Whether a request that an interruption left in doubt is sent again, or the node waits for an answer. Default repeat for GET and HEAD, else stop.",
        ),
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
