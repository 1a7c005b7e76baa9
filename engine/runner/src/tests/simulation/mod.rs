//! Whole runs in a world of faults, crashes and virtual time, all of it made from one number: the seed. The same seed gives the same
//! run, record by record, so a failure is repeated by its seed alone.
//!
//! `LOCKGATE_SIM_SEED=N` runs one seed and prints its story; `LOCKGATE_SIM_RUNS=N` runs so many, `LOCKGATE_SIM_FIRST=N` from another
//! one on. Modules in reading order:

mod dice;
mod guest;
mod promises;
mod scenario;
mod session;
mod time;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use session::{Ended, simulate};
pub(crate) use time::under_way;

/// Seeds of a plain test run.
const RUNS: u64 = 1_000;
/// The first of them.
const FIRST: u64 = 1;
/// Failures that are listed before it gives up.
const MAX_FAILURES: usize = 20;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{name}` is `{text}`: expected a number")))
}

/// Why a seed fails, and how to see it fail again.
fn failure(seed: u64, ended: &Ended) -> Option<String> {
    let broken = ended.broken.as_ref()?;
    Some(format!(
        "seed {seed}: the promise `{:?}` is broken: {}\n  to repeat it: LOCKGATE_SIM_SEED={seed} cargo test -p lockgate-runner \
         simulation::promises_are_kept -- --nocapture\n",
        broken.promise, broken.what
    ))
}

#[test]
fn promises_are_kept() {
    if let Some(seed) = number("LOCKGATE_SIM_SEED") {
        let ended = simulate(seed, true);
        println!("seed {seed}\n{}", ended.story.join("\n"));
        assert!(ended.broken.is_none(), "{}", failure(seed, &ended).unwrap_or_default());
        return;
    }
    let (runs, start) = (number("LOCKGATE_SIM_RUNS").unwrap_or(RUNS), Instant::now());
    let first = number("LOCKGATE_SIM_FIRST").unwrap_or(FIRST);
    let (mut counts, mut failures) = (BTreeMap::<&str, u64>::new(), Vec::new());
    for seed in first..first + runs {
        let ended = simulate(seed, false);
        failures.extend(failure(seed, &ended));
        if failures.len() == MAX_FAILURES {
            break;
        }
        for (what, count) in ended.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    println!("{runs} runs from seed {first}, {:.0} a minute", runs as f64 / minutes);
    counts.iter().for_each(|(what, count)| println!("{count:>9} {what}"));
    assert!(failures.is_empty(), "{}", failures.concat());
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in 0..20 {
        let [first, second] = [simulate(seed, false), simulate(seed, true)];
        assert_eq!(first.journal, second.journal, "seed {seed}");
    }
}
