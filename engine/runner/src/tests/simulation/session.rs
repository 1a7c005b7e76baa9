//! One seed from its first process to the run's end: processes that are killed, interrupted, fail or end, and are followed by others.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lockgate_model::event::Signal;
use lockgate_model::outcome::Status;
use lockgate_model::run::NodeState;

use super::dice::Dice;
use super::guest::Guest;
use super::promises;
use super::scenario::Scenario;
use super::time::{For, VirtualClock};
use super::world::{Broken, FAULT, Promise, World};
use crate::ports::Stamped;
use crate::tests::spec;
use crate::{DriveError, DriveOptions, RunReport, RunSpec, Surroundings, drive, recover, resume};

/// Processes in which nothing goes wrong that a run may need to come to its end: it stops for each thing that is to be decided.
const MAX_CALM: u32 = 60;
/// Longer than any deadline, in milliseconds.
const FOR_EVER: u64 = 1 << 40;

/// What became of a seed.
pub(super) struct Ended {
    pub(super) broken: Option<Broken>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) story: Vec<String>,
    pub(super) journal: Vec<Stamped>,
}

/// Runs the world of a seed to its end, and checks what was promised.
pub(super) fn simulate(seed: u64, telling: bool) -> Ended {
    let dice = Dice::new(seed);
    let scenario = Arc::new(Scenario::new(&dice));
    let world = World::new(Arc::clone(&scenario), dice, telling, false);
    world.tell(|| promises::describe(&scenario));
    let spec = spec(&scenario.pipeline);
    if scenario.warm {
        let earlier = World::new(Arc::clone(&scenario), Dice::new(!seed), false, true);
        process(&earlier, &spec, options(&world, FOR_EVER), false, 0);
        let (mut earlier, mut inner) = (earlier.lock(), world.lock());
        inner.proofs = std::mem::take(&mut earlier.proofs);
        inner.blobs = std::mem::take(&mut earlier.blobs);
        inner.broken = earlier.broken.take();
    }
    processes(&world, &spec);
    if world.lock().broken.is_none() {
        let reference = without_faults(&world, &spec, seed);
        promises::check(&world, &reference);
    }
    let mut inner = world.lock();
    let journal = std::mem::take(&mut inner.journal);
    let (broken, counts) = (inner.broken.take(), std::mem::take(&mut inner.counts));
    Ended { broken, counts, story: inner.story.take().unwrap_or_default(), journal }
}

fn options(world: &World, stay: u64) -> DriveOptions {
    let jobs = NonZeroUsize::new(1 + world.dice.below(8) as usize).unwrap();
    DriveOptions {
        jobs,
        fail_fast: world.scenario.fail_fast,
        stay,
        check_determinism: world.scenario.check,
        ..DriveOptions::default()
    }
}

/// Runs processes until the run is over.
fn processes(world: &Arc<World>, spec: &RunSpec) {
    let rough = world.scenario.rough;
    for number in 0..rough + MAX_CALM {
        let rough = number < rough;
        let stay = *world.dice.pick(&[0, 700, FOR_EVER]);
        let behind = if rough && world.dice.chance(150) { world.dice.spread(25) } else { 0 };
        if behind > 0 {
            world.count("clocks that are behind");
        }
        if !rough {
            operate(world);
        }
        let result = process(world, spec, options(world, stay), rough, behind);
        judge(world, result, rough);
        if world.lock().broken.is_some() || is_done(world, rough) {
            return;
        }
        // The machine is down for a while.
        world.time.pass(world.dice.spread(24));
    }
    world.broke(Promise::Ends, format!("{MAX_CALM} processes without any fault did not bring the run to its end"));
}

/// Runs one process. None: it was killed.
fn process(
    world: &Arc<World>,
    spec: &RunSpec,
    options: DriveOptions,
    rough: bool,
    behind: u64,
) -> Option<Result<RunReport, DriveError>> {
    let interrupt = world.begin(rough, options.jobs.get());
    let records = world.lock().journal.clone();
    world.count(if records.is_empty() { "starts" } else { "resumes" });
    let (jobs, stay) = (options.jobs, options.stay);
    world.tell(|| format!("process: {} records, jobs {jobs}, stay {stay}, rough {rough}", records.len()));
    let mut surroundings = Surroundings::new(Arc::clone(world) as _, Arc::clone(world) as _);
    surroundings.cache = Some(Arc::clone(world) as _);
    surroundings.observer = Arc::clone(world) as _;
    surroundings.clock = Arc::new(VirtualClock { time: Arc::clone(&world.time), behind });
    surroundings.interrupt = interrupt;
    let executor = Arc::new(Guest(Arc::clone(world)));
    let (spec, scenario) = (spec.clone(), Arc::clone(&world.scenario));
    let driving = async {
        if rough {
            tokio::spawn(outside(Arc::clone(world)));
        }
        if !world.alone {
            tokio::spawn(operator(Arc::clone(world)));
        }
        if records.is_empty() {
            return drive(spec, executor, surroundings, options).await;
        }
        let events = records.iter().map(|stamped| (stamped.time, &stamped.event));
        let recovered = recover(Arc::clone(&scenario.pipeline), Arc::clone(&scenario.graph), events)?;
        promises::check_recovered(world, &recovered, surroundings.clock.now_ms());
        resume(spec, recovered, records.len() as u64, executor, surroundings, options).await
    };
    match catch_unwind(AssertUnwindSafe(|| world.time.run(driving))) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            world.broke(Promise::Ends, format!("the driver panicked: {}", text.unwrap_or_default()));
            None
        }
    }
}

/// People who say things while a process runs.
async fn outside(world: Arc<World>) {
    for _ in 0..world.dice.below(6) {
        let at = world.time.now() + world.dice.spread(23);
        world.time.sleep_until(at, For::Work).await;
        world.somebody_says();
    }
}

/// Somebody who comes by while a process stays.
async fn operator(world: Arc<World>) {
    for _ in 0..20 {
        let at = world.time.now() + 60_000_000;
        world.time.sleep_until(at, For::Work).await;
        operate(&world);
    }
}

/// Somebody says what is to be assumed of effects in doubt, and decides an approval now and then.
fn operate(world: &World) {
    for node in 0..world.scenario.pipeline.nodes.len() {
        let (doubt, waits) = {
            let inner = world.lock();
            let state = inner.durable.state(node);
            let held = matches!(state, NodeState::Waiting { attempt: Some(_), .. });
            (held || inner.durable.is_in_doubt(node), matches!(state, NodeState::Waiting { attempt: None, .. }))
        };
        if doubt {
            let said = [Signal::AssumeRepeat, Signal::AssumeRepeat, Signal::AssumeDone, Signal::Cancel];
            world.say(Some(node), *world.dice.pick(&said), "alice");
        } else if waits && world.dice.chance(300) {
            world.say(Some(node), *world.dice.pick(&[Signal::Approve, Signal::Reject]), "alice");
        }
    }
}

/// What must hold when a process has ended.
fn judge(world: &World, result: Option<Result<RunReport, DriveError>>, rough: bool) {
    if let Some(stuck) = world.time.stuck() {
        return world.broke(Promise::Ends, stuck.to_owned());
    }
    match result {
        None if rough => {}
        None => world.broke(Promise::Ends, "a process ended that nobody killed".to_owned()),
        Some(Ok(report)) => {
            world.tell(|| format!("process ends: {:?}", report.exit));
            promises::check_report(world, &report);
        }
        Some(Err(error)) => {
            world.tell(|| format!("process fails: {error:?}"));
            let permitted = matches!(error, DriveError::Journal(_) | DriveError::Pipeline(_)) && rough;
            let promise = if matches!(error, DriveError::Illegal(_)) { Promise::Legal } else { Promise::Ends };
            if !permitted {
                world.broke(promise, format!("{error:?}"));
            }
        }
    }
}

/// Whether the run has come to what resuming it would only repeat.
fn is_done(world: &World, rough: bool) -> bool {
    let inner = world.lock();
    let by_fault = |node: usize| {
        let failure = inner.durable.receipt(node).and_then(|receipt| receipt.failure.as_ref());
        failure.is_some_and(|failure| failure.message.contains(FAULT))
    };
    match inner.durable.over() {
        Some((Status::Succeeded, _)) => true,
        Some((Status::Failed | Status::Errored, _)) => {
            let again = rough && world.dice.chance(500);
            !again && !(0..world.scenario.pipeline.nodes.len()).any(by_fault)
        }
        _ => false,
    }
}

/// The same pipeline with the same decisions from outside, in one process, one execution at a time, without faults.
fn without_faults(world: &World, spec: &RunSpec, seed: u64) -> Arc<World> {
    let reference = World::new(Arc::clone(&world.scenario), Dice::new(seed ^ 1), false, true);
    {
        let (inner, mut other) = (world.lock(), reference.lock());
        for (node, made) in world.scenario.pipeline.nodes.iter().enumerate() {
            let Some(receipt) = inner.durable.receipt(node).filter(|_| made.plugin.is_none()) else { continue };
            let Some(decision) = &receipt.decision else { continue };
            let signal = match decision.word.as_str() {
                "approved" => Signal::Approve,
                "rejected" => Signal::Reject,
                _ => Signal::Cancel,
            };
            if let Some(by) = &decision.by {
                other.script.insert(made.id.clone(), (signal, by.clone(), decision.comment.clone()));
            }
        }
    }
    let jobs = NonZeroUsize::MIN;
    let options =
        DriveOptions { jobs, stay: FOR_EVER, check_determinism: world.scenario.check, ..DriveOptions::default() };
    let result = process(&reference, spec, options, false, 0);
    judge(&reference, result, false);
    reference
}
