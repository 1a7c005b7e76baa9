//! What a child process took.

use std::process::Child;
use std::time::{Duration, Instant};

/// What a process and those that it waited for took.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// From its start to its end.
    pub wall: Duration,
    /// Processor time, in user and in kernel mode.
    pub cpu: Duration,
    /// The most memory that one of them had in use at once, in bytes.
    pub peak: u64,
}

/// Waits for a child, whose pipes were read to their ends; its exit code, if it exited.
///
/// # Panics
/// If it cannot be waited for.
#[expect(clippy::needless_pass_by_value, reason = "nobody may wait for it again")]
pub fn wait(child: Child, begun: Instant) -> (Option<i32>, Usage) {
    let pid = libc::pid_t::try_from(child.id()).expect("a process id");
    let mut status = 0;
    // SAFETY: all fields of `rusage` are plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the right types; the child is ours and was not waited for.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid, "wait for a child: {}", std::io::Error::last_os_error());
    let wall = begun.elapsed();
    let time =
        |time: libc::timeval| Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs() as u32 * 1_000);
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    let exit = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    (exit, Usage { wall, cpu, peak: usage.ru_maxrss.unsigned_abs() << 10 })
}
