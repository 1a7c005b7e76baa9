//! Measures: wall time and peak memory of child processes, medians.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_tests::usage::{self, Usage};

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
    let (exit, Usage { wall, cpu, peak }) = usage::wait(child, start);
    assert_eq!(exit, Some(0), "how {command:?} ended");
    Cost { wall, cpu, peak: peak >> 10 }
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
