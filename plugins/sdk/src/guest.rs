//! The backend of a plugin in the engine: calls the host through the contract's imports. Only what a plugin reaches from here
//! is imported by its component.

use crate::artifact::{ArtifactError, Entry, EntryKind, Input, Kind};
use crate::bindings::stage::lockgate::plugin::{
    artifacts, clock, environment, http as wit, log as wit_log, process as wit_process, secrets as wit_secrets,
    tcp as wit_tcp,
};
use crate::http::{HttpError, Request, Response, Timings};
use crate::process::{Command, Exit, ProcessError};
use crate::tcp::{Answer, Exchange, TcpError};

type Result<T, E = ArtifactError> = std::result::Result<T, E>;

pub(crate) fn log(level: &str, message: &str) {
    wit_log::log(level, message);
}

/// Makes a panic say its message and place in the log before it traps; the trap itself tells only where.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log("error", &format!("panic at {place}: {}", message(panic.payload())));
    }));
}

pub(crate) fn variables() -> Vec<(String, String)> {
    environment::variables()
}

pub(crate) fn now_ms() -> u64 {
    clock::now_ms()
}

pub(crate) fn sleep_ms(duration: u32) {
    clock::sleep_ms(duration);
}

fn error(error: artifacts::Error) -> ArtifactError {
    ArtifactError { code: error.code, message: error.message }
}

pub(crate) fn inputs() -> Vec<Input> {
    let input = |input: artifacts::Input| Input {
        name: input.name,
        kind: if input.kind == "tree" { Kind::Tree } else { Kind::Blob },
        digest: input.digest,
        size: input.size,
    };
    artifacts::inputs().into_iter().map(input).collect()
}

pub(crate) fn open_blob(name: &str) -> Result<RawReader> {
    artifacts::open_blob(name).map(RawReader).map_err(error)
}

pub(crate) fn open_tree(name: &str) -> Result<RawTree> {
    artifacts::open_tree(name).map(RawTree).map_err(error)
}

pub(crate) fn create_blob(name: &str) -> Result<RawWriter> {
    artifacts::create_blob(name).map(RawWriter).map_err(error)
}

pub(crate) fn create_tree(name: &str) -> Result<RawTreeBuilder> {
    artifacts::create_tree(name).map(RawTreeBuilder).map_err(error)
}

pub(crate) fn forward(input: &str, output: &str) -> Result<()> {
    artifacts::forward(input, output).map_err(error)
}

pub(crate) struct RawReader(artifacts::Reader);

impl RawReader {
    pub(crate) fn read(&self, max: u32) -> Result<Vec<u8>> {
        self.0.read(max).map_err(error)
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.size()
    }
}

pub(crate) struct RawTree(artifacts::Tree);

impl RawTree {
    pub(crate) fn entries(&self, start: u64, max: u32) -> Vec<Entry> {
        self.0.entries(start, max).into_iter().map(entry).collect()
    }

    pub(crate) fn lookup(&self, path: &str) -> Option<Entry> {
        self.0.lookup(path).map(entry)
    }

    pub(crate) fn open(&self, path: &str) -> Result<RawReader> {
        self.0.open(path).map(RawReader).map_err(error)
    }
}

fn entry(entry: artifacts::Entry) -> Entry {
    let kind = match entry.kind.as_str() {
        "directory" => EntryKind::Directory,
        "symlink" => EntryKind::Symlink { target: entry.target.unwrap_or_default() },
        _ => {
            EntryKind::File { executable: entry.executable, size: entry.size, digest: entry.digest.unwrap_or_default() }
        }
    };
    Entry { path: entry.path, kind }
}

pub(crate) struct RawWriter(artifacts::Writer);

impl RawWriter {
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.0.write(bytes).map_err(error)
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish().map_err(error)
    }
}

pub(crate) struct RawTreeBuilder(artifacts::TreeBuilder);

impl RawTreeBuilder {
    pub(crate) fn file(&self, path: &str, executable: bool) -> Result<RawWriter> {
        self.0.file(path, executable).map(RawWriter).map_err(error)
    }

    pub(crate) fn copy(&self, input: &str, from: &str, to: &str) -> Result<()> {
        self.0.copy(input, from, to).map_err(error)
    }

    pub(crate) fn symlink(&self, path: &str, target: &str) -> Result<()> {
        self.0.symlink(path, target).map_err(error)
    }

    pub(crate) fn directory(&self, path: &str) -> Result<()> {
        self.0.directory(path).map_err(error)
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish().map_err(error)
    }
}

pub(crate) fn send(request: Request) -> Result<Response, HttpError> {
    answer(wit::send(&ask(request)))
}

pub(crate) fn send_all(requests: Vec<Request>, parallel: u32) -> Vec<Result<Response, HttpError>> {
    let requests: Vec<_> = requests.into_iter().map(ask).collect();
    wit::send_all(&requests, parallel).into_iter().map(answer).collect()
}

fn ask(request: Request) -> wit::Request {
    wit::Request {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|(name, value)| wit::Header { name, value }).collect(),
        body: request.body,
        body_input: request.body_input,
        save_as: request.save_as,
        timeout_ms: request.timeout_ms,
        max_body: request.max_body,
    }
}

fn answer(answer: Result<wit::Response, wit::Error>) -> Result<Response, HttpError> {
    let response = answer.map_err(|error| HttpError { code: error.code, message: error.message })?;
    let timings = response.timings;
    Ok(Response {
        status: response.status,
        headers: response.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: response.body,
        truncated: response.truncated,
        timings: Timings {
            connect_us: timings.connect_us,
            first_byte_us: timings.first_byte_us,
            total_us: timings.total_us,
        },
    })
}

pub(crate) fn run(command: Command) -> Result<Exit, ProcessError> {
    let Command { program, arguments, stdin, inputs, outputs, timeout_ms } = command;
    let command = wit_process::Command { program, arguments, stdin, inputs, outputs, timeout_ms };
    match wit_process::run(&command) {
        Ok(wit_process::Exit { code, stdout, stderr, truncated, total_us }) => {
            Ok(Exit { code, stdout, stderr, truncated, total_us })
        }
        Err(error) => Err(ProcessError { code: error.code, message: error.message }),
    }
}

pub(crate) fn connect(exchange: Exchange) -> Result<Answer, TcpError> {
    let Exchange { host, port, send, end, until, max_bytes, timeout_ms } = exchange;
    let request = wit_tcp::Request { host, port, send, end, until, max_bytes, timeout_ms };
    match wit_tcp::exchange(&request) {
        Ok(wit_tcp::Response { received, ended_by, connect_us, total_us }) => {
            Ok(Answer { received, ended_by, connect_us, total_us })
        }
        Err(error) => Err(TcpError { code: error.code, message: error.message }),
    }
}

pub(crate) fn placeholder(name: &str) -> Option<String> {
    wit_secrets::placeholder(name)
}

/// What a panic says. Its own method for that is younger than the oldest compiler that guests are built with.
fn message(payload: &dyn std::any::Any) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
