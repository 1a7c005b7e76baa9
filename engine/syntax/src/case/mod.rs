//! Case files: one `case.toml` of a plugin's tests to [`CaseFile`], with every diagnostic at once. Modules in reading order: `shape`
//! (the format), `read` (its meaning).

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
