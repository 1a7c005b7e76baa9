//! Starting a process so that nothing of it stays behind.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The group of a process: all that it started and that did not leave it. Killed when this is dropped.
pub(super) struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody is left in it, mostly.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

struct Job {
    command: Command,
    runtime: Handle,
    done: oneshot::Sender<io::Result<Child>>,
}

/// Starts a command as the leader of a group of its own.
///
/// Always from one thread, which lives as long as the engine: a launcher asks the kernel to be killed when its parent ends, and to the
/// kernel the parent is the thread that started it.
pub(super) async fn spawn(command: Command) -> io::Result<(Child, Group)> {
    static JOBS: OnceLock<io::Result<Sender<Job>>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, receiver) = channel::<Job>();
        let work = move || {
            for Job { mut command, runtime, done } in receiver {
                let _runtime = runtime.enter();
                // Nobody waits any more where the node was stopped: then the child is killed as it is dropped.
                let _ = done.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("lockgate-spawn".into()).spawn(work).map(|_| sender)
    });
    let jobs = jobs.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let (done, spawned) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts programs is gone");
    jobs.send(Job { command, runtime: Handle::current(), done }).map_err(|_| gone())?;
    let child = spawned.await.map_err(|_| gone())??;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    Ok((child, Group(leader)))
}
