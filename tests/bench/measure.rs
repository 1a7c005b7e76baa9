//! Measures: wall time and peak memory of child processes, medians.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From start to exit.
    pub(crate) wall: Duration,
    /// Processor time, in user and in kernel mode.
    pub(crate) cpu: Duration,
    /// The most memory in use at once, in KiB.
    pub(crate) peak: u64,
}

/// Runs a command, its output thrown away.
///
/// # Panics
/// If it does not succeed.
pub(crate) fn run(mut command: Command) -> Cost {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let (status, usage) = wait(child);
    let wall = start.elapsed();
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{command:?} ended with status {status}");
    let time =
        |time: libc::timeval| Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs() as u32 * 1_000);
    Cost { wall, cpu: time(usage.ru_utime) + time(usage.ru_stime), peak: usage.ru_maxrss.unsigned_abs() }
}

#[expect(clippy::needless_pass_by_value, reason = "nobody may wait for it again")]
fn wait(child: Child) -> (i32, libc::rusage) {
    let pid = libc::pid_t::try_from(child.id()).expect("a process id");
    let mut status = 0;
    // SAFETY: all fields of `rusage` are plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the right types; the child is ours and was not waited for.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid, "wait for a child: {}", std::io::Error::last_os_error());
    (status, usage)
}

/// The median.
pub(crate) fn median<T: Copy + PartialOrd>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN among measures"));
    values[values.len() / 2]
}

/// Milliseconds, for people.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Prints a line: a figure, and its goal if there is one.
pub(crate) fn line(what: &str, figure: &str, goal: &str) {
    let goal = if goal.is_empty() { String::new() } else { format!("   (goal: {goal})") };
    println!("  {what:<58} {figure:>14}{goal}");
}

/// How many times one time is another.
pub(crate) fn ratio(one: Duration, other: Duration) -> String {
    format!("{:.2} x", one.as_secs_f64() / other.as_secs_f64())
}
