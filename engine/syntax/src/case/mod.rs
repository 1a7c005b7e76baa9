//! Case files: one `case.toml` of a plugin's tests to [`CaseFile`], with every diagnostic at once. Modules in reading order: `shape`
//! (the format), `read` (its meaning), `effects` (that of recorded effects).

mod effects;
mod read;
pub(crate) mod shape;

use std::collections::BTreeMap;

use lockgate_model::PortName;
use lockgate_model::grant::Grants;
use lockgate_model::limits::Limits;
use lockgate_model::units::{Fuel, Millis};
use serde_json::{Map, Value};

use crate::problem::{Code, Problem, Source};

/// Largest case file: what is longer belongs into a file beside it.
pub const MAX_FILE: u64 = 4 << 20;

/// Why a case ended before its plugin was called, as `expect.kind` has it: what a pipeline would be refused for.
pub const REFUSALS: [&str; 3] = ["invalid-config", "invalid-input", "missing-grant"];

/// A case file without a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseFile {
    /// One line for people.
    pub summary: Option<String>,
    /// The plugin's config.
    pub config: Map<String, Value>,
    /// The time that the plugin sees, in milliseconds since 1970.
    pub logical_time: Option<u64>,
    /// The declared environment.
    pub env: BTreeMap<String, String>,
    /// Inputs, besides those in the folder `inputs`.
    pub inputs: BTreeMap<PortName, CaseInput>,
    /// Limits of the call.
    pub limits: Limits,
    /// What is granted. Nothing leaves the host all the same.
    pub grants: Grants,
    /// What is expected of the end.
    pub expect: Expect,
    /// Recorded answers, in the order of the requests.
    pub http: Vec<Exchange>,
    /// Recorded executions of programs, in their order.
    pub process: Vec<Execution>,
    /// Recorded exchanges over bare connections, in their order.
    pub tcp: Vec<Connection>,
    /// Which look the first one is; none where the case does not say.
    pub look: Option<FirstLook>,
    /// What an evaluator returned at the look before the first one.
    pub state: Option<CaseInput>,
    /// The looks, if there are several.
    pub looks: Vec<CaseLook>,
}

/// Which look the first one of a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstLook {
    /// Its number, from 0.
    pub index: u32,
    /// The time since look 0.
    pub elapsed: Millis,
    /// The step of a rollout.
    pub step: Option<u32>,
}

/// One of several looks.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseLook {
    /// The time since look 0.
    pub elapsed: Millis,
    /// The step of a rollout.
    pub step: Option<u32>,
    /// Inputs, in place of those of the case with their names and besides the others.
    pub inputs: BTreeMap<PortName, CaseInput>,
    /// What is expected of its end.
    pub expect: Expect,
}

/// One input of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum CaseInput {
    /// A blob with these bytes.
    Bytes(Vec<u8>),
    /// A file (a blob) or a directory (a tree), relative to the case's folder.
    Path(String),
}

/// What is expected of the end. What is absent is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expect {
    /// `succeeded`, `failed` or `errored`.
    pub status: Option<String>,
    /// The kind of failure, or one of [`REFUSALS`].
    pub kind: Option<String>,
    /// A part of the failure's message.
    pub message: Option<String>,
    /// The verdict's word.
    pub verdict: Option<String>,
    /// The most fuel that the call may take.
    pub max_fuel: Option<Fuel>,
}

/// A request that the plugin is expected to send, and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The line, from 1, on which it begins.
    pub line: usize,
    /// The method.
    pub method: String,
    /// The URL, in its normal form.
    pub url: String,
    /// Headers that must be among those of the request.
    pub headers: BTreeMap<String, String>,
    /// The body; absent: any.
    pub body: Option<RequestBody>,
    /// What comes back.
    pub answer: Answer,
}

/// A program that the plugin is expected to run, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The line, from 1, on which it begins.
    pub line: usize,
    /// The program and its arguments; never empty.
    pub run: Vec<String>,
    /// Its standard input; absent: any.
    pub stdin: Option<Vec<u8>>,
    /// Inputs that are laid into its directory, with their paths; absent: any.
    pub inputs: Option<BTreeMap<String, String>>,
    /// What came of it.
    pub end: ProgramEnd,
}

/// What came of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum ProgramEnd {
    /// It ran.
    Exited {
        /// Its exit code; none where a signal ended it.
        code: Option<i32>,
        /// What it printed.
        stdout: AnswerBody,
        /// What it complained about.
        stderr: AnswerBody,
        /// What it left at the paths of these outputs.
        outputs: BTreeMap<PortName, CaseInput>,
        /// How long it took.
        time: Millis,
    },
    /// It did not run, or not to its end: the code of the contract.
    Error(String),
}

/// An exchange over a bare connection that the plugin is expected to ask for, and what came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// The line, from 1, on which it begins.
    pub line: usize,
    /// The host, as grants name it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is sent; absent: anything.
    pub send: Option<Vec<u8>>,
    /// What came back.
    pub end: ConnectionEnd,
}

/// What came back over a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionEnd {
    /// Bytes. What the plugin asked for ends reading earlier, as it does with a server.
    Received {
        /// All that the other side sends.
        bytes: Vec<u8>,
        /// Whether the other side then says nothing more, over closing the connection.
        silent: bool,
        /// How long it took.
        time: Millis,
    },
    /// Nothing: the code of the contract.
    Error(String),
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestBody {
    /// These bytes.
    Text(String),
    /// JSON with this value, however it is laid out.
    Json(Value),
}

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// An answer of the server.
    Response {
        /// The status code.
        status: u16,
        /// Names and values, in order.
        headers: Vec<(String, String)>,
        /// The body.
        body: AnswerBody,
        /// How long it took.
        time: Millis,
    },
    /// No answer: the code of the contract.
    Error(String),
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerBody {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file, relative to the case's folder.
    File(String),
}

/// A read case file: the case if the file is right, and every problem if it is not.
#[derive(Debug)]
pub struct ParsedCase {
    /// The case; none if there is a problem.
    pub case: Option<CaseFile>,
    /// Every problem of the file, in the order of their places.
    pub problems: Vec<Problem>,
}

/// Reads a case file from its bytes. `name` is what diagnostics call it.
pub fn parse_case(name: &str, bytes: &[u8]) -> ParsedCase {
    let wrong = |problem| ParsedCase { case: None, problems: vec![problem] };
    if bytes.len() as u64 > MAX_FILE {
        let message = format!("`{name}` has {} bytes: at most {} MiB", bytes.len(), MAX_FILE >> 20);
        let hint = "put large inputs and bodies into files beside it".to_owned();
        return wrong(Problem::new(Code::TooLarge, message, Some(hint)));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => read::read(name, text),
        Err(error) => wrong(crate::not_utf8(&Source::new(name, &String::from_utf8_lossy(bytes)), error)),
    }
}
