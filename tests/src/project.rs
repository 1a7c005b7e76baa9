//! A project in a temporary directory, and `lockgate` running in it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::binary;
use crate::done::Done;

/// No command of a test may last longer. Far above what any needs: compiling on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(180);
/// Variables that would change what the binary prints or where it keeps things.
const CLEARED: &[&str] = &[
    "CI",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "COLUMNS",
    "TERM",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "LOCKGATE_STATE",
    "LOCKGATE_KEY",
    "LOCKGATE_POLICY",
    "LOCKGATE_SECRETS",
    "LOCKGATE_IDENTITY",
    "LOCKGATE_CACHE",
    "LOCKGATE_OFFLINE",
    "LOCKGATE_REGISTRIES",
    "DOCKER_CONFIG",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "TRACEPARENT",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
];

/// A project: a directory with files, whose `lockgate` runs are looked at.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Project {
    /// An empty one.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("lockgate-").tempdir().expect("make a temporary directory");
        Self { dir }
    }

    /// One with this text as `pipeline.toml`; `schema` and `name` are put before it.
    pub fn with_pipeline(text: &str) -> Self {
        let project = Self::new();
        project.pipeline(text);
        project
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// Writes a file, and the directories above it.
    pub fn file(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.join(path);
        fs::create_dir_all(path.parent().unwrap_or(self.path())).expect("make directories");
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        self
    }

    /// Writes `pipeline.toml`: this text behind `schema = 1` and a name.
    pub fn pipeline(&self, text: &str) -> &Self {
        self.file("pipeline.toml", format!("schema = 1\nname = \"test\"\n{text}"))
    }

    /// Copies a guest of `tests/guests` to `<name>.wasm`.
    pub fn guest(&self, name: &str) -> &Self {
        self.file(format!("{name}.wasm"), fs::read(binary::guest(name)).expect("read a guest"))
    }

    /// Copies a WASI program to `<name>.wasm`.
    pub fn program(&self, name: &str) -> &Self {
        self.file(format!("{name}.wasm"), fs::read(binary::program(name)).expect("read a program"))
    }

    /// The text of a file.
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        String::from_utf8(self.bytes(path)).expect("a file of text")
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let path = self.join(path);
        fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    }

    /// Whether there is something at this path, a dangling link too.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.join(path).symlink_metadata().is_ok()
    }

    /// `lockgate` with these arguments, to be changed before it is started.
    pub fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        self.wrapped(&[], args)
    }

    /// `lockgate` behind a program that prepares its surroundings and then starts what follows.
    pub fn wrapped<I: AsRef<OsStr>>(&self, wrapper: &[&str], args: impl IntoIterator<Item = I>) -> Command {
        let mut command = match wrapper.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary::lockgate());
                command
            }
            None => Command::new(binary::lockgate()),
        };
        command.args(args);
        self.prepared(command)
    }

    /// Another program, in the surroundings that `lockgate` gets.
    pub fn program_like_lockgate(&self, program: &str) -> Command {
        self.prepared(Command::new(program))
    }

    fn prepared(&self, mut command: Command) -> Command {
        command.current_dir(self.path()).stdin(Stdio::null());
        for name in CLEARED {
            command.env_remove(name);
        }
        command
    }

    /// Runs `lockgate` with these arguments to its end.
    pub fn lockgate<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Done {
        finish(self.command(args))
    }

    /// Runs `pipeline.toml` with `--format json`.
    pub fn run<I: AsRef<OsStr>>(&self, more: impl IntoIterator<Item = I>) -> Done {
        self.lockgate(run_args(more))
    }

    /// Runs this text as the pipeline.
    pub fn run_text(&self, text: &str) -> Done {
        self.pipeline(text);
        self.run::<&str>([])
    }

    /// Starts `pipeline.toml` with `--format json`.
    pub fn start<I: AsRef<OsStr>>(&self, more: impl IntoIterator<Item = I>) -> Running {
        Running::start(self.command(run_args(more)))
    }

    /// Checks `pipeline.toml`.
    pub fn check(&self) -> Done {
        self.lockgate(["check", "pipeline.toml"])
    }

    /// Shows that nothing was lost: the list of runs can be read and each can be shown, a good run succeeds in the same state
    /// directory, and all its earlier runs are still there.
    #[track_caller]
    pub fn assert_usable(&self) {
        let before = self.runs();
        for run in &before {
            self.lockgate(["show", run]).code(0);
        }
        self.file("good.toml", "schema = 1\nname = \"good\"\n[[stage]]\nid = \"fine\"\nplugin = \"std:noop\"\n");
        self.lockgate(["run", "good.toml"]).code(0);
        let after = self.runs();
        assert_eq!(after.len(), before.len() + 1, "runs before: {before:?}, after: {after:?}");
        assert!(before.iter().all(|run| after.contains(run)), "runs before: {before:?}, after: {after:?}");
    }

    /// Ids of all runs, as `lockgate runs` lists them.
    #[track_caller]
    pub fn runs(&self) -> Vec<String> {
        let done = self.lockgate(["runs", "--format", "json", "--limit", "1000"]).code(0);
        done.events.iter().map(|run| run["run"].as_str().expect("a run's id").to_owned()).collect()
    }
}

fn run_args<I: AsRef<OsStr>>(more: impl IntoIterator<Item = I>) -> Vec<std::ffi::OsString> {
    let fixed = ["run", "pipeline.toml", "--format", "json"].map(Into::into);
    fixed.into_iter().chain(more.into_iter().map(|arg| arg.as_ref().to_owned())).collect()
}

/// Runs a command to its end.
pub fn finish(command: Command) -> Done {
    Running::start(command).finish()
}

/// A `lockgate` that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    stdout: Receiver<String>,
    stderr: JoinHandle<String>,
    seen: String,
    deadline: Instant,
}

impl Running {
    /// Starts a command; its output is read from the beginning.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {shown}: {error}"));
        let mut err = child.stderr.take().expect("a pipe was asked for");
        let out = child.stdout.take().expect("a pipe was asked for");
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            err.read_to_end(&mut bytes).expect("read a pipe");
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let (lines, stdout) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(out);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, shown, stdout, stderr, seen: String::new(), deadline: Instant::now() + PATIENCE }
    }

    /// Waits for a line on stdout that holds this text.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        loop {
            match self.stdout.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen += &line;
                    if line.contains(text) {
                        return self;
                    }
                }
                Err(_) => {
                    let _ = self.child.kill();
                    panic!("{} ended or hung before it said `{text}`; it said:\n{}", self.shown, self.seen);
                }
            }
        }
    }

    /// Waits for this many lines on stdout in all, or for its end.
    pub fn wait_for_lines(&mut self, count: usize) -> &mut Self {
        while self.seen.lines().count() < count {
            match self.stdout.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen += &line,
                Err(_) => break,
            }
        }
        self
    }

    /// The event on this line of stdout, from 0, if it was waited for.
    #[track_caller]
    pub fn event(&self, line: usize) -> serde_json::Value {
        let line = self.seen.lines().nth(line).unwrap_or_else(|| panic!("{} said only:\n{}", self.shown, self.seen));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Whether it ended already.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Sends a signal, as a terminal would.
    pub fn signal(&self, signal: Signal) -> &Self {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("send a signal");
        self
    }

    /// The same, with more time: for what compiles code of other languages while other tests run.
    #[must_use]
    pub fn patiently(mut self) -> Self {
        self.deadline += 4 * PATIENCE;
        self
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end in time; it is killed then.
    #[track_caller]
    pub fn finish(mut self) -> Done {
        loop {
            match self.stdout.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen += &line,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("{} did not end in time; it said:\n{}", self.shown, self.seen);
                }
            }
        }
        let status = self.child.wait().expect("wait for a child");
        let stderr = self.stderr.join().expect("read a pipe");
        Done::new(self.shown, status.code(), status.signal(), self.seen, stderr)
    }
}

/// Takes the superuser's right to read and write everything from a command, so that permissions mean something in tests that
/// run as root, too.
pub fn without_override(command: &mut Command) -> &mut Command {
    use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
    let drop = || {
        if rustix::process::geteuid().is_root() {
            remove_capability_from_bounding_set(CapabilitySet::DAC_OVERRIDE)?;
            remove_capability_from_bounding_set(CapabilitySet::DAC_READ_SEARCH)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls and nothing else: it allocates nothing and takes no lock.
    unsafe { command.pre_exec(drop) }
}
