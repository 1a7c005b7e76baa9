//! Compiling components that do not come with the engine in a process of its own, under limits on memory and on both kinds of time:
//! code can be made to take any of them, or to end the compiler, and none of that is the engine's end.
//!
//! The protocol, version 1: the child is the `lockgate` binary with the hidden command `compile-component`; it reads a line of JSON, the
//! limits, and then the component from stdin to its end, limits itself before it looks at the component, and writes what
//! [`lockgate_host::encode`] makes of the result to stdout.

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lockgate_host::{Compiler, LoadError, Prepared};
use lockgate_model::Digest;
use lockgate_model::limits::ComponentLimits;
use rustix::process::Signal;

use crate::wiring::child::Helper;
use crate::wiring::std_plugins::EMBEDDED;

/// The hidden command.
pub const COMMAND: &str = "compile-component";
/// What a child may take beyond the time of compiling: starting, and asking the component what it is, which has its own fuel.
const GRACE: Duration = Duration::from_secs(10);
/// What of a child's complaints is kept for the message.
const MAX_STDERR: u64 = 4 << 10;
/// What Rust says where memory is refused: the only sign of it besides the abort.
const NO_MEMORY: &str = "memory allocation of";

/// Compiles in children of this process.
#[derive(Debug, Clone)]
pub struct ChildCompiler(Helper);

impl ChildCompiler {
    /// A compiler whose children are this helper.
    pub fn new(helper: Helper) -> Self {
        Self(helper)
    }
}

impl Compiler for ChildCompiler {
    fn is_trusted(&self, component: Digest) -> bool {
        static OURS: OnceLock<Vec<Digest>> = OnceLock::new();
        OURS.get_or_init(|| EMBEDDED.iter().map(|plugin| Digest::of(plugin.bytes)).collect()).contains(&component)
    }

    fn prepare(&self, component: &[u8], limits: &ComponentLimits) -> Result<Prepared, LoadError> {
        let child = start(Command::new(self.0.program()).arg(COMMAND));
        let child = child.map_err(|error| LoadError::Engine(error.into()))?;
        let mut head = serde_json::to_vec(limits).map_err(|error| LoadError::Engine(error.into()))?;
        head.push(b'\n');
        ask(child, &head, component, limits)
    }
}

/// Starts a child without our environment. A terminal's interrupt does not reach it: the engine decides.
fn start(command: &mut Command) -> std::io::Result<Child> {
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn()
}

/// How a child ended.
struct Ended {
    answer: Vec<u8>,
    complaint: Vec<u8>,
    status: ExitStatus,
}

fn ask(child: Child, head: &[u8], component: &[u8], limits: &ComponentLimits) -> Result<Prepared, LoadError> {
    let patience = Duration::from_millis(limits.compile_time.0).saturating_add(GRACE);
    // Code lies in the child's memory before it is written, so it is no larger than that.
    let ended = talk(child, head, component, patience, limits.compile_memory.0);
    let Ended { answer, complaint, status } = match ended {
        Ok(Some(ended)) => ended,
        Ok(None) => return Err(LoadError::CompileTime { limit: limits.compile_time }),
        Err(error) => return Err(LoadError::Engine(error.into())),
    };
    if answer.len() as u64 > limits.compile_memory.0 {
        return Err(LoadError::CompileMemory { limit: limits.compile_memory });
    }
    let complaint = String::from_utf8_lossy(&complaint);
    if status.success() {
        return match lockgate_host::decode(&answer) {
            Some(result) => result,
            None => Err(LoadError::CompileCrash { how: "gave no answer".to_owned() }),
        };
    }
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Err(LoadError::CompileCpu { limit: limits.compile_cpu });
    }
    if complaint.contains(NO_MEMORY) {
        return Err(LoadError::CompileMemory { limit: limits.compile_memory });
    }
    Err(LoadError::CompileCrash { how: how(status, &complaint) })
}

/// Gives a child what it is to read and waits for its end; none where that takes too long. It is over when this returns.
fn talk(
    mut child: Child,
    head: &[u8],
    component: &[u8],
    patience: Duration,
    most: u64,
) -> std::io::Result<Option<Ended>> {
    let missing = || std::io::Error::other("it has no pipes");
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut stdin = stdin.ok_or_else(missing)?;
    let (sender, receiver) = sync_channel(1);
    let stdout = read(stdout.ok_or_else(missing)?, most, move || drop(sender))?;
    let stderr = read(stderr.ok_or_else(missing)?, MAX_STDERR, || ())?;
    let timed_out = thread::scope(|scope| {
        // A child that does not read says why in its end.
        scope.spawn(move || stdin.write_all(head).and_then(|()| stdin.write_all(component)));
        // Nothing is ever sent: the reader's end closes the channel.
        let over: Result<(), _> = receiver.recv_timeout(patience);
        let timed_out = over == Err(RecvTimeoutError::Timeout);
        if timed_out {
            let _ = child.kill();
        }
        timed_out
    });
    let (answer, complaint) = (joined(stdout), joined(stderr));
    if answer.len() as u64 > most {
        let _ = child.kill();
    }
    let status = child.wait()?;
    Ok((!timed_out).then_some(Ended { answer, complaint, status }))
}

/// Reads a pipe on a thread, up to one byte more than permitted; says so when it is over.
fn read(
    pipe: impl Read + Send + 'static,
    most: u64,
    over: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<Vec<u8>>> {
    thread::Builder::new().name("lockgate-compiler".into()).spawn(move || {
        let mut bytes = Vec::new();
        // What came until a pipe broke is as much as there is.
        let _ = pipe.take(most.saturating_add(1)).read_to_end(&mut bytes);
        over();
        bytes
    })
}

fn joined(thread: JoinHandle<Vec<u8>>) -> Vec<u8> {
    thread.join().unwrap_or_default()
}

/// How a child ended, as the rest of a sentence.
fn how(status: ExitStatus, complaint: &str) -> String {
    let words: Vec<_> = complaint.split_whitespace().collect();
    let said = if words.is_empty() { String::new() } else { format!(": {}", words.join(" ")) };
    format!("ended with {status}{said}")
}

#[cfg(test)]
mod tests {
    use lockgate_model::units::{Bytes, Millis};

    use super::*;

    fn shell(script: &str, limits: &ComponentLimits) -> LoadError {
        let child = start(Command::new("/bin/sh").arg("-c").arg(script)).unwrap();
        ask(child, b"{}\n", &[7; 200_000], limits).unwrap_err()
    }

    #[test]
    fn every_end_of_a_child_is_told() {
        let limits = ComponentLimits { compile_memory: Bytes(1 << 20), ..ComponentLimits::default() };
        let end = |script: &str| shell(script, &limits).to_string();
        assert!(matches!(shell("kill -XCPU $$", &limits), LoadError::CompileCpu { limit: Millis(240_000) }));
        let memory = "echo 'memory allocation of 64 bytes failed' >&2; kill -ABRT $$";
        assert!(matches!(shell(memory, &limits), LoadError::CompileMemory { limit: Bytes(0x10_0000) }));
        assert!(end("kill -SEGV $$").contains("the process that compiles it ended with signal: 11"));
        assert!(end("echo of all things >&2; exit 5").ends_with("exit status: 5: of all things"));
        assert!(end("true").ends_with("the process that compiles it gave no answer"));
        assert!(end("exec tr '\\0' x < /dev/zero").contains("within 1 MiB of memory"));
        assert!(end("cat").ends_with("the process that compiles it gave no answer"));
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let limits = ComponentLimits { compile_time: Millis(1), ..ComponentLimits::default() };
        let child = start(Command::new("/bin/sh").args(["-c", "exec sleep 1000"])).unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let ended = talk(child, b"", b"", Duration::from_millis(1), limits.compile_memory.0).unwrap();
        assert!(ended.is_none());
        assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone");
    }

    #[test]
    fn what_comes_with_the_engine_is_trusted() {
        for plugin in EMBEDDED {
            assert!(ChildCompiler(Helper::at("lockgate")).is_trusted(Digest::of(plugin.bytes)), "{}", plugin.name);
        }
        assert!(!ChildCompiler(Helper::at("lockgate")).is_trusted(Digest::of(b"a stranger")));
    }
}
