//! The format of case files as data: the structural check, the JSON Schema and the hints follow from it.

use lockgate_model::outcome::FailureKind;

use super::REFUSALS;
use crate::shape::node::GRANTS;
use crate::shape::{Key, Keys, LIMITS, Shape, Type, Unit, key, needed};

/// Longest text that stands in the file itself.
const TEXT: Type = Type::Text(1 << 20);
const PATH: Type = Type::Text(4096);
/// Most recorded exchanges: as many effects as a node has by default.
const MANY: usize = 1_000;
/// Codes of the contract's `http.error` that a network can cause.
const ERRORS: &[&str] = &["resolve", "connect", "tls", "timeout", "protocol"];
/// The same of its `tcp.error`.
const TCP_ERRORS: &[&str] = &["resolve", "connect", "timeout", "broken"];
/// Codes of its `process.error` that a machine, or a program, can cause.
const PROCESS_ERRORS: &[&str] = &["not-found", "timeout", "secret"];
/// Most looks of a case: what people read.
const LOOKS: usize = 100;
/// Largest number of a look or a step.
const NUMBER: i64 = u32::MAX as i64;
/// Longest time: a day.
const TIME: Type = Type::Quantity(Unit::Millis, 0, 86_400_000);
/// Longest time of a look: a year.
const ELAPSED: Type = Type::Quantity(Unit::Millis, 0, 31_536_000_000);

const KINDS: [&str; FailureKind::ALL.len() + REFUSALS.len()] = {
    let mut names = [""; FailureKind::ALL.len() + REFUSALS.len()];
    let mut i = 0;
    while i < FailureKind::ALL.len() {
        names[i] = FailureKind::ALL[i].name();
        i += 1;
    }
    while i < names.len() {
        names[i] = REFUSALS[i - FailureKind::ALL.len()];
        i += 1;
    }
    names
};

const MAX_FUEL: Key = key(
    "max_fuel",
    Type::Quantity(Unit::Fuel, 1, 100_000_000_000_000),
    "The most fuel that the call may take: passing it fails the case.",
);

/// The whole file.
pub(crate) static CASE: Shape = Shape {
    name: "the case",
    doc: "A case of a plugin's tests: what it is called with, and what is expected of it.",
    groups: &[&[
        key("schema", Type::Version, "Version of the format: 1."),
        key("summary", Type::Text(1_000), "What it shows, in one line."),
        key("config", Type::Map(Keys::Any, &Type::Value), "The plugin's config. Default: empty."),
        key(
            "logical_time",
            Type::Moment,
            "The time that the plugin sees, as in `2026-12-01T08:00:00Z`. Default: that of runs.",
        ),
        key("env", Type::Map(Keys::Any, &TEXT), "The declared environment: names and values."),
        key(
            "inputs",
            Type::Map(Keys::Names, &Type::Table(&INPUT)),
            "Inputs by name, besides the files and directories of the folder `inputs`.",
        ),
        key("limits", Type::Table(&LIMITS), "Limits of the call, as in a pipeline."),
        key(
            "grants",
            Type::Table(&GRANTS),
            "Grants, as in a pipeline. `http`, `process` and `tcp` follow from what is recorded where they are absent.",
        ),
        MAX_FUEL,
        key("expect", Type::Table(&EXPECT), "What is expected of the end, besides the golden files of `expected`."),
        key("http", Type::List(&Type::Table(&EXCHANGE), MANY), "Exchanges over HTTP, in the order of the requests."),
        key("process", Type::List(&Type::Table(&EXECUTION), MANY), "Programs that are run, in their order."),
        key("tcp", Type::List(&Type::Table(&CONNECTION), MANY), "Exchanges over bare connections, in their order."),
        key("look", Type::Table(&FIRST_LOOK), "Which look it is; of several, the first. Default: look 0."),
        key(
            "state",
            Type::Table(&STATE),
            "What the evaluator returned at the look before. Default: none, as at the first look.",
        ),
        key(
            "looks",
            Type::List(&Type::Table(&LOOK), LOOKS),
            "Several looks in a row: each gets the state of the one before. `expect` of the case speaks of the last one.",
        ),
    ]],
    one_of: &[],
};

static INPUT: Shape = Shape {
    name: "the input",
    doc: "An input: `json`, `text`, `hex` or `path`.",
    groups: &[&[
        key("json", Type::Value, "A blob with this value as JSON."),
        key("text", TEXT, "A blob with this text."),
        key("hex", TEXT, "A blob with these bytes, in hexadecimal digits."),
        key("path", PATH, "A file (a blob) or a directory (a tree), relative to the case's folder."),
    ]],
    one_of: &["json", "text", "hex", "path"],
};

static STATE: Shape = Shape {
    name: "the state",
    doc: "A state: `json`, `text`, `hex` or `path`.",
    groups: &[&[
        key("json", Type::Value, "This value as JSON."),
        key("text", TEXT, "This text."),
        key("hex", TEXT, "These bytes, in hexadecimal digits."),
        key("path", PATH, "A file, relative to the case's folder."),
    ]],
    one_of: &["json", "text", "hex", "path"],
};

static FIRST_LOOK: Shape = Shape {
    name: "the first look",
    doc: "Which look it is.",
    groups: &[&[
        key("index", Type::Integer(0, NUMBER), "Its number, from 0. Default 0."),
        key("elapsed", ELAPSED, "The time since look 0. Default: ten seconds for each look before it."),
        key("step", Type::Integer(0, NUMBER), "The step of a rollout, from 0. Default: none."),
    ]],
    one_of: &[],
};

static LOOK: Shape = Shape {
    name: "the look",
    doc: "One of several looks.",
    groups: &[&[
        key("elapsed", ELAPSED, "The time since look 0. Default: ten seconds more than at the look before."),
        key("step", Type::Integer(0, NUMBER), "The step of a rollout, from 0. Default: that of the look before."),
        key(
            "inputs",
            Type::Map(Keys::Names, &Type::Table(&INPUT)),
            "Inputs by name, in place of the case's own with the same names.",
        ),
        key("expect", Type::Table(&EXPECT), "What is expected of its end."),
    ]],
    one_of: &[],
};

static EXPECT: Shape = Shape {
    name: "`expect`",
    doc: "What is expected of the end.",
    groups: &[&[
        key(
            "status",
            Type::Word(&["succeeded", "failed", "errored"]),
            "How the call ends. Default: what the golden result says, else succeeded.",
        ),
        key("kind", Type::Word(&KINDS), "The kind of failure, or why the plugin was not called."),
        key("message", Type::Text(4_000), "A part of the failure's message."),
        key(
            "verdict",
            Type::Word(&["healthy", "degraded", "unhealthy", "promote", "hold", "rollback", "inconclusive"]),
            "The verdict. Default: what the golden result says, else `healthy` or `promote`.",
        ),
        MAX_FUEL,
    ]],
    one_of: &[],
};

static EXCHANGE: Shape = Shape {
    name: "`[[http]]`",
    doc: "A request that the plugin sends, and its answer.",
    groups: &[&[
        needed("request", Type::Table(&REQUEST), "What the plugin must ask."),
        needed("response", Type::Table(&RESPONSE), "What comes back."),
    ]],
    one_of: &[],
};

static REQUEST: Shape = Shape {
    name: "the request",
    doc: "What the plugin must ask.",
    groups: &[&[
        needed("method", Type::Text(20), "`GET`, `POST`, ..."),
        needed("url", Type::Text(8 << 10), "The URL, with its query."),
        key("headers", Type::Map(Keys::Any, &TEXT), "Headers that it must have; others do not matter."),
        key(
            "body",
            Type::Either(&TEXT, &Type::Value),
            "The body: a text, or a table or an array that it must be as JSON. Default: any.",
        ),
    ]],
    one_of: &[],
};

static RESPONSE: Shape = Shape {
    name: "the response",
    doc: "What comes back: `status`, or an `error` instead of an answer.",
    groups: &[&[
        key("status", Type::Integer(100, 599), "The status code."),
        key("headers", Type::Map(Keys::Any, &TEXT), "Headers."),
        key("body", Type::Either(&TEXT, &Type::Value), "The body: a text, or a table or an array as JSON."),
        key("body_file", PATH, "A file with the body, relative to the case's folder."),
        key("time", TIME, "How long it took. Default 0."),
        key("error", Type::Word(ERRORS), "There is no answer, and the plugin gets this code."),
    ]],
    one_of: &["status", "error"],
};

static EXECUTION: Shape = Shape {
    name: "`[[process]]`",
    doc: "A program that the plugin runs, and what comes of it: `exit`, `signal`, or an `error` instead.",
    groups: &[&[
        needed("run", Type::List(&Type::Text(64 << 10), 10_000), "The program and its arguments."),
        key("stdin", TEXT, "What its standard input must be. Default: any."),
        key(
            "inputs",
            Type::Map(Keys::Names, &PATH),
            "Inputs that must lie in its directory, with their paths. Default: any.",
        ),
        key("exit", Type::Integer(0, 255), "Its exit code."),
        key("signal", Type::Integer(1, 64), "The signal that ends it: the plugin gets no exit code."),
        key("stdout", TEXT, "What it prints."),
        key("stdout_file", PATH, "A file with what it prints, relative to the case's folder."),
        key("stderr", TEXT, "What it complains about."),
        key("stderr_file", PATH, "A file with what it complains about."),
        key(
            "outputs",
            Type::Map(Keys::Names, &Type::Table(&INPUT)),
            "What it leaves at the paths that the plugin names for these outputs.",
        ),
        key("time", TIME, "How long it took. Default 0."),
        key("error", Type::Word(PROCESS_ERRORS), "It does not run to its end, and the plugin gets this code."),
    ]],
    one_of: &["exit", "signal", "error"],
};

static CONNECTION: Shape = Shape {
    name: "`[[tcp]]`",
    doc: "An exchange over a bare connection: `receive` or `receive_hex`, or an `error` instead.",
    groups: &[&[
        needed("connect", Type::Text(300), "Host and port, as in `db.example:5432`."),
        key("send", TEXT, "What must be sent, as text. Default: anything."),
        key("send_hex", TEXT, "What must be sent, in hexadecimal digits."),
        key("receive", TEXT, "What comes back, as text."),
        key("receive_hex", TEXT, "What comes back, in hexadecimal digits."),
        key(
            "then",
            Type::Word(&["close", "silence"]),
            "What the other side does behind it, where the plugin still reads. Default `close`.",
        ),
        key("time", TIME, "How long it took. Default 0."),
        key("error", Type::Word(TCP_ERRORS), "Nothing comes back, and the plugin gets this code."),
    ]],
    one_of: &["receive", "receive_hex", "error"],
};
