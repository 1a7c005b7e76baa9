//! Repeated executions in a process of their own: another address space, another heap, another allocator of instances, one thread.
//! What depends on any of them gives something else there.
//!
//! The protocol, version 1: the child is the `lockgate` binary with the hidden command `execute-task`; it reads one [`Request`] as JSON
//! from stdin to its end, and writes one [`Answer`] as JSON to stdout. Everything large goes through the state directory.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_host::Launcher;
use lockgate_model::outcome::{Completion, FailureKind};
use lockgate_model::task::Task;
use lockgate_runner::{EffectSink, Executor};
use lockgate_store::Store;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::wiring::text::one_line;

/// The hidden command.
pub const COMMAND: &str = "execute-task";
/// What a child may take beyond the task's own timeout: starting, and compiling where the cache lost the code.
const START: Duration = Duration::from_secs(120);
/// Largest answer: a verdict, and a state of 1 MiB as an array of numbers.
const MAX_ANSWER: u64 = 64 << 20;
/// What of a child's complaints is kept for the message.
const MAX_STDERR: u64 = 4 << 10;

/// What a child is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The state directory.
    pub state: PathBuf,
    /// The task; its component's bytes are a blob of the state directory.
    pub task: Task,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Its determinism version: the file of the binary may have been replaced meanwhile.
    pub determinism: String,
    /// What came of the task.
    pub completion: Completion,
}

/// Executes each task in a process of its own. Only tasks without grants: effects stay in the process that records them.
pub struct ChildExecutor {
    store: Store,
    helper: Helper,
}

impl ChildExecutor {
    /// An executor over a state directory, which holds the components' bytes.
    pub fn new(store: Store, helper: Helper) -> Self {
        Self { store, helper }
    }

    async fn ask(&self, task: Task) -> Result<Completion, String> {
        if !task.grants.is_empty() {
            return Err("a node with grants is not executed in another process".to_owned());
        }
        let time = Duration::from_millis(task.limits.timeout.0) + START;
        let store = self.store.clone();
        let request = tokio::task::spawn_blocking(move || {
            // The child reads what is durable; nothing waits as a rule.
            store.flush().map_err(|error| format!("failed to {}", one_line(&error)))?;
            let state = store.dir().to_owned();
            serde_json::to_vec(&Request { state, task }).map_err(|error| error.to_string())
        });
        let request = request.await.map_err(|error| error.to_string())??;
        let child = start(&self.helper).map_err(|error| format!("failed to start: {error}"))?;
        match tokio::time::timeout(time, talk(child, &request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("did not end within {} s", time.as_secs())),
        }
    }
}

#[async_trait]
impl Executor for ChildExecutor {
    async fn execute(&self, task: Task, _: Arc<dyn EffectSink>) -> Completion {
        self.ask(task).await.unwrap_or_else(|error| {
            let message = format!("the process that executes it again {error}");
            Completion::failed(FailureKind::Infrastructure, message)
        })
    }
}

/// The hidden command that limits itself and becomes a program.
pub const CONFINE: &str = "confine";

/// The program whose hidden commands compile, execute and confine in processes of their own: a `lockgate` binary.
#[derive(Debug, Clone)]
pub struct Helper {
    program: PathBuf,
    /// By which name it is started to become a program: there `/proc/self/exe` would be that of the child.
    launched: Option<PathBuf>,
}

impl Helper {
    /// This same program, which must be a `lockgate` binary.
    pub fn own() -> std::io::Result<Self> {
        Ok(Self { program: own_program()?, launched: std::env::current_exe().ok() })
    }

    /// A `lockgate` binary.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        Self { launched: Some(program.clone()), program }
    }

    /// What is started.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What starts confined programs.
    pub fn launcher(&self) -> Option<Launcher> {
        let program = self.launched.clone()?;
        Some(Launcher { program, arguments: vec![CONFINE.into()] })
    }
}

/// This same binary: on Linux the very file that runs, even where another one has its name by now.
pub fn own_program() -> std::io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}

/// Starts the helper. Dropping the child kills it; a terminal's interrupt does not reach it, so that the engine decides.
fn start(helper: &Helper) -> std::io::Result<Child> {
    Command::new(helper.program())
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn talk(mut child: Child, request: &[u8]) -> Result<Completion, String> {
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("has no pipes".to_owned());
    };
    let ask = async {
        // A child that does not read says why in its end.
        let _ = stdin.write_all(request).await;
        drop(stdin);
    };
    let ((), answer, complaint) = tokio::join!(ask, read(stdout, MAX_ANSWER), read(stderr, MAX_STDERR));
    let answer = answer.map_err(|error| format!("cannot be read from: {error}"))?;
    if answer.len() as u64 > MAX_ANSWER {
        return Err(format!("answered with more than {MAX_ANSWER} bytes"));
    }
    let status = child.wait().await.map_err(|error| format!("cannot be waited for: {error}"))?;
    if !status.success() {
        return Err(ended(status, &complaint.unwrap_or_default()));
    }
    let answer: Answer =
        serde_json::from_slice(&answer).map_err(|error| format!("answered with what is no completion: {error}"))?;
    let own = lockgate_host::determinism();
    if answer.determinism != own {
        return Err(format!("is of another engine: its determinism version is {}, not {own}", answer.determinism));
    }
    Ok(answer.completion)
}

/// Reads up to one byte more than permitted, and takes no more: a child that goes on writing is killed when it is dropped.
async fn read(from: impl AsyncRead + Unpin, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn ended(status: ExitStatus, complaint: &[u8]) -> String {
    let complaint = String::from_utf8_lossy(complaint);
    let words: Vec<_> = complaint.split_whitespace().collect();
    let said = if words.is_empty() { String::new() } else { format!(": {}", words.join(" ")) };
    format!("ended with {status}{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).spawn().unwrap()
    }

    async fn answer(script: &str) -> String {
        talk(shell(script), b"{}").await.unwrap_err()
    }

    #[tokio::test]
    async fn what_children_do_wrong_is_told() {
        assert!(answer("cat > /dev/null; echo nonsense").await.starts_with("answered with what is no completion"));
        assert!(answer("true").await.starts_with("answered with what is no completion"));
        assert_eq!(answer("echo no such file >&2; exit 3").await, "ended with exit status: 3: no such file");
        assert!(answer("kill -9 $$").await.starts_with("ended with signal: 9"));
        assert_eq!(answer("exec tr '\\0' x < /dev/zero").await, format!("answered with more than {MAX_ANSWER} bytes"));
        let completion = serde_json::to_string(&Completion::failed(FailureKind::Error, "x")).unwrap();
        let other = format!("echo '{{\"determinism\":\"0\",\"completion\":{completion}}}'");
        assert!(answer(&other).await.starts_with("is of another engine: its determinism version is 0"));
        let own =
            format!("echo '{{\"determinism\":\"{}\",\"completion\":{completion}}}'", lockgate_host::determinism());
        assert_eq!(talk(shell(&own), b"{}").await, Ok(Completion::failed(FailureKind::Error, "x")));
    }

    #[tokio::test]
    async fn a_child_that_nobody_waits_for_any_more_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let script = format!("mkfifo {0} && exec sleep 1000 > {0}", pipe.display());
        let mut talking = Box::pin(talk(shell(&script), b"{}"));
        // Opening waits for the other end, which is open until the child is dead.
        let waiting = tokio::task::spawn_blocking(move || {
            while !pipe.exists() {
                std::thread::yield_now();
            }
            std::fs::File::open(&pipe).unwrap()
        });
        let mut open = tokio::select! {
            _ = &mut talking => panic!("the child never answers"),
            opened = waiting => opened.unwrap(),
        };
        drop(talking);
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut open, &mut rest).unwrap();
        assert_eq!(rest, b"");
    }
}
