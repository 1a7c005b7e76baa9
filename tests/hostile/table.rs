//! All cases at once, and the table of what came of them.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Case, Outcome, cases};

/// Cases that are tried at the same time: some of them wait more than they compute.
const AT_ONCE: usize = 3;

/// Tries all cases whose names have this in them, those that take long only where that is asked for.
///
/// # Panics
/// If any of them does not end as it has to.
pub fn attempt_all(filter: &str, slow: bool) -> Vec<(Case, Outcome)> {
    let cases: Vec<_> = cases().into_iter().filter(|case| case.name.contains(filter) && (slow || !case.slow)).collect();
    let outcomes: Vec<Mutex<Option<Outcome>>> = cases.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.attempt())) {
                        Ok(outcome) => *outcomes[index].lock().expect("no panic") = Some(outcome),
                        Err(_) => failed.lock().expect("no panic").push(case.name),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "these did not end as they have to: {failed:?}");
    let outcomes = outcomes.into_iter().filter_map(|outcome| outcome.into_inner().expect("no panic"));
    cases.into_iter().zip(outcomes).collect()
}

/// The table without times, as the documentation has it.
pub fn markdown(outcomes: &[(Case, Outcome)]) -> String {
    let mut text = String::from(
        "# Hostile plugins\n\n\
         What hostile components try, and what becomes of it. Made by `LOCKGATE_UPDATE=1 cargo test -p lockgate-tests hostile`, and compared by\n\
         each test run; `cargo run -p lockgate-tests --bin hostile` prints it with the engine's time and peak memory. In each case an honest node\n\
         beside it succeeds, and the engine's memory, that of the process that compiles included, stays below\n         400 MiB; where compiling is the attack, the process that compiles may take up to its own limit.\n\n\
         | name | tries | stopped by | ends as | message |\n|---|---|---|---|---|\n",
    );
    for (case, outcome) in outcomes {
        let message = outcome.message.replace('|', "\\|").replace(['\n', '\r'], " ");
        let clean: String = message.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            case.name,
            case.tries.replace('|', "\\|"),
            case.stopped_by,
            outcome.kind,
            clean.trim()
        );
    }
    text
}

/// The table with times and memory.
pub fn report(outcomes: &[(Case, Outcome)]) -> String {
    let mut text = format!(
        "{:<32} {:>8} {:>8} {:>9}  {:<14} {}\n",
        "case", "wall ms", "cpu ms", "peak MiB", "ends as", "stopped by"
    );
    for (case, Outcome { kind, wall, cpu, peak, .. }) in outcomes {
        let (wall, cpu, peak) = (wall.as_millis(), cpu.as_millis(), peak >> 20);
        let _ = writeln!(text, "{:<32} {wall:>8} {cpu:>8} {peak:>9}  {kind:<14} {}", case.name, case.stopped_by);
    }
    let (cpu, most) =
        outcomes.iter().fold((0, 0), |(cpu, most), (_, one)| (cpu + one.cpu.as_millis(), most.max(one.peak)));
    let _ = writeln!(text, "{} cases, {cpu} ms of processor time, at most {} MiB", outcomes.len(), most >> 20);
    text
}
