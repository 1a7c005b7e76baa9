//! Programs of the host, where the pipeline grants them. Each runs in a working directory of its own, which holds the inputs that the
//! command lays there and nothing else, and finds in `LOCKGATE_IDEMPOTENCY_KEY` the key that is the same where it is run again after a crash.

use std::fmt;

use crate::backend;

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program, as the grant names it.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Bytes for its standard input.
    pub stdin: Option<Vec<u8>>,
    /// Inputs that are laid into its working directory: name of the input, relative path.
    pub inputs: Vec<(String, String)>,
    /// Paths in its working directory that become outputs: relative path, name of the output. What is not there becomes none.
    pub outputs: Vec<(String, String)>,
    /// Limit in milliseconds; by default 10,000, at most the node's own.
    pub timeout_ms: Option<u32>,
}

impl Command {
    /// A program without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Gives it these bytes as its standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Lays an input into its working directory.
    pub fn lay(mut self, input: impl Into<String>, path: impl Into<String>) -> Self {
        self.inputs.push((input.into(), path.into()));
        self
    }

    /// Makes an output of what it leaves at a path.
    pub fn take(mut self, path: impl Into<String>, output: impl Into<String>) -> Self {
        self.outputs.push((path.into(), output.into()));
        self
    }

    /// Bounds its time.
    pub fn timeout_ms(mut self, limit: u32) -> Self {
        self.timeout_ms = Some(limit);
        self
    }

    /// Runs it to its end. A program that fails is no error: see [`Exit::success`].
    pub fn run(self) -> Result<Exit, ProcessError> {
        backend::run(self)
    }
}

/// How a program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output, the first MiB of it.
    pub stdout: Vec<u8>,
    /// Standard error, likewise.
    pub stderr: Vec<u8>,
    /// Whether either was longer.
    pub truncated: bool,
    /// How long it ran, in microseconds, by the host's clock.
    pub total_us: u64,
}

impl Exit {
    /// Whether its exit code is 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Its standard output as text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Why a program did not run, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessError {
    /// `bad-request`, `not-granted`, `not-found`, `timeout`, `secret`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ProcessError {}
