//! Runs of a part of a pipeline: what executes, what gets an earlier result, what is asked again, what is refused.

use std::sync::Arc;

use lockgate_model::event::{AttemptFacts, Origin, Selection};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::{Approval, NodeKind, OnDeadline};
use lockgate_model::receipt::Receipt;
use lockgate_model::units::Millis;

use super::*;
use crate::forecast::{Foreseen, Prospect, Sources, forecast, forecast_resumed};
use crate::part::Absent;
use crate::ports::{Cached, Earlier, LastEnd};

/// What earlier runs left: each executed end, the last one last.
#[derive(Default)]
struct Ends(Vec<Cached>);

impl Ends {
    fn of(driven: &Driven) -> Self {
        let ended = driven.memory.events().into_iter().filter_map(|event| match event {
            Event::NodeFinished { receipt, facts, .. } if receipt.key.is_some() && !facts.cached => {
                Some(Cached { run: run_id(7, 7), receipt: Arc::unwrap_or_clone(receipt), facts, time: 1_000 })
            }
            _ => None,
        });
        Self(ended.collect())
    }
}

impl Cache for Ends {
    fn find(&self, key: &Digest) -> Option<Cached> {
        let proves = |end: &&Cached| end.receipt.key == Some(*key) && end.facts.pure && end.receipt.failure.is_none();
        self.0.iter().rfind(proves).cloned()
    }
}

impl Earlier for Ends {
    fn last_end(&self, node: &NodeId, key: &Digest) -> Option<LastEnd> {
        let same = |end: &&Cached| end.receipt.node == *node && end.receipt.key == Some(*key);
        self.0.iter().rfind(same).map(|found| LastEnd { found: found.clone(), whole: true })
    }
}

fn selection(only: &[&str], from: &[&str]) -> Selection {
    let [only, from] = [only, from].map(|ids| ids.iter().map(|text| id(text)).collect());
    Selection { only, from }
}

fn part_spec(pipeline: &Pipeline, only: &[&str], from: &[&str]) -> RunSpec {
    RunSpec { run: run_id(8, 8), selection: Some(selection(only, from)), ..spec(pipeline) }
}

fn foresee(spec: &RunSpec, ends: &Ends, fresh: bool, now: u64) -> Foreseen {
    let blobs: Arc<dyn Blobs> = Memory::new(usize::MAX);
    forecast(spec, &Sources { cache: ends, fresh, earlier: ends, blobs: &blobs, now }).unwrap()
}

fn absent(spec: &RunSpec, ends: &Ends, now: u64) -> Vec<(String, Absent)> {
    let found = foresee(spec, ends, false, now).prospects.into_iter().zip(&spec.pipeline.nodes);
    let absent = found.filter_map(|(prospect, node)| match prospect {
        Prospect::Absent(absent) => Some((node.id.to_string(), absent)),
        _ => None,
    });
    absent.collect()
}

/// Drives a part, from its start or from what an earlier process left in `memory`.
fn drive_part(spec: RunSpec, fake: &Arc<Fake>, ends: &Ends, memory: &Arc<Memory>) -> RunReport {
    let before: Vec<Stamped> = memory.events.lock().unwrap().clone();
    let mut surroundings = Surroundings::new(Arc::clone(memory) as _, Arc::clone(memory) as _);
    surroundings.clock = Arc::new(Jumping::default());
    let records = || before.iter().map(|stamped| (stamped.time, &stamped.event));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let executor = Arc::clone(fake) as _;
    let report = if before.is_empty() {
        surroundings.taken = foresee(&spec, ends, false, 0).taken;
        runtime.block_on(drive(spec.clone(), executor, surroundings, options(2)))
    } else {
        let recovered = recover(Arc::clone(&spec.pipeline), Arc::clone(&spec.graph), records()).unwrap();
        let blobs = Arc::clone(memory) as Arc<dyn Blobs>;
        let sources = Sources { cache: ends, fresh: false, earlier: ends, blobs: &blobs, now: 0 };
        surroundings.taken = forecast_resumed(&spec, &recovered, &sources).unwrap().taken;
        runtime.block_on(resume(spec.clone(), recovered, before.len() as u64, executor, surroundings, options(2)))
    };
    let mut folded = RunState::new(Arc::clone(&spec.pipeline), Arc::clone(&spec.graph));
    memory.events().iter().for_each(|event| folded.apply(event).unwrap());
    report.unwrap()
}

fn finished(memory: &Memory) -> BTreeMap<String, (Receipt, AttemptFacts, Option<String>)> {
    let ended = memory.events().into_iter().filter_map(|event| match event {
        Event::NodeFinished { receipt, facts, reason, .. } => {
            Some((receipt.node.to_string(), (Arc::unwrap_or_clone(receipt), facts, reason)))
        }
        _ => None,
    });
    ended.collect()
}

fn asks(name: &str) -> Node {
    let approval = Approval {
        message: "go?".to_owned(),
        approvers: Default::default(),
        deadline: Millis(1_000_000),
        on_deadline: OnDeadline::Reject,
    };
    Node { kind: NodeKind::Approval, plugin: None, config: Default::default(), approval: Some(approval), ..node(name) }
}

/// build -> deploy (POST) -> up -> promote, with `other` and a `finally` aside.
fn chain() -> Pipeline {
    let mut tidy = node("tidy");
    tidy.finally = true;
    pipeline(vec![
        node("build"),
        node("deploy").reads("build").granted(InDoubt::Stop),
        node("up").after("deploy").granted(InDoubt::Repeat),
        node("promote").after("up").reads("build"),
        node("other").after("build"),
        tidy,
    ])
}

#[test]
fn a_part_gets_what_it_needs_from_earlier_runs_and_executes_nothing_else() {
    let pipeline = chain();
    let whole = run(&pipeline, &Fake::with_effects(1, good), options(2));
    let (ends, fake, memory) = (Ends::of(&whole), Fake::with_effects(1, good), Memory::new(usize::MAX));
    let report = drive_part(part_spec(&pipeline, &["promote"], &[]), &fake, &ends, &memory);
    assert_eq!((report.status, report.digest, fake.order()), (Status::Succeeded, None, vec!["promote".to_owned()]));
    assert!(fake.issued.lock().unwrap().is_empty(), "no effect again");
    let (now, before) = (finished(&memory), finished(&whole.memory));
    for taken in ["build", "deploy", "up"] {
        let (receipt, facts, _) = &now[taken];
        assert_eq!(receipt, &before[taken].0, "the receipt is that of the earlier run");
        assert_eq!((facts.cached, &facts.taken_from), (true, &Some(Origin { run: run_id(7, 7), time: 1_000 })));
    }
    assert_eq!(now["promote"].0, before["promote"].0);
    for left in ["other", "tidy"] {
        assert_eq!((now[left].0.status, now[left].2.as_deref()), (Status::Skipped, Some("not selected")));
    }
    let proofs = memory.events().iter().filter_map(Event::proves).count();
    assert_eq!(proofs, 1, "only what was executed here proves anything");
}

#[test]
fn from_selects_what_depends_on_a_node() {
    let pipeline = chain();
    let whole = run(&pipeline, &Fake::with_effects(1, good), options(2));
    let (ends, fake) = (Ends::of(&whole), Fake::with_effects(1, good));
    drive_part(part_spec(&pipeline, &["tidy"], &["deploy"]), &fake, &ends, &Memory::new(usize::MAX));
    assert_eq!(fake.order(), ["deploy", "up", "promote", "tidy"], "`finally` only because it is selected");
}

#[test]
fn what_has_no_earlier_result_is_named_before_anything_runs() {
    let mut pipeline = chain();
    pipeline.nodes[2].max_age = Some(Millis(500));
    let none = absent(&part_spec(&pipeline, &["promote"], &[]), &Ends::default(), 0);
    let names: Vec<_> = none.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["build", "deploy", "up"]);
    assert!(matches!((&none[0].1, &none[2].1), (Absent::Unknown(_), Absent::Unknown(_))));
    assert_eq!(none[1].1, Absent::Inputs(vec![0]));
    let whole = run(&pipeline, &Fake::with_effects(1, good), options(2));
    let ends = Ends::of(&whole);
    let spec = part_spec(&pipeline, &["promote"], &[]);
    assert_eq!(absent(&spec, &ends, 1_500), []);
    assert_eq!(absent(&spec, &ends, 1_501), [("up".to_owned(), Absent::Stale { run: run_id(7, 7), age: 501 })]);
    // The world said no since: an older yes is worth nothing.
    let failing = |task: &Task| if task.node.as_str() == "up" { bad(FailureKind::Error) } else { good(task) };
    let mut later = Ends::of(&run(&pipeline, &Fake::with_effects(1, failing), options(2)));
    later.0.iter_mut().for_each(|end| end.run = run_id(9, 9));
    let both = Ends(ends.0.iter().chain(&later.0).cloned().collect());
    assert_eq!(absent(&spec, &both, 0), [("up".to_owned(), Absent::Failed(run_id(9, 9)))]);
    // A check between two selected nodes says nothing about what the first of them is about to do.
    let between = part_spec(&pipeline, &["deploy", "promote"], &[]);
    assert_eq!(absent(&between, &ends, 0), [("up".to_owned(), Absent::Between(1))]);
    // What is made of a selected node's output is known only if that is.
    let chained = super::pipeline(vec![node("a"), node("b").reads("a"), node("c").reads("b")]);
    let ends = Ends::of(&run(&chained, &Fake::new(good), options(1)));
    let ends_of = |fresh| foresee(&part_spec(&chained, &["a", "c"], &[]), &ends, fresh, 0).prospects[1].clone();
    assert!(matches!(ends_of(false), Prospect::Taken { .. }));
    assert_eq!(ends_of(true), Prospect::Absent(Absent::Inputs(vec![0])));
}

#[test]
fn a_part_is_no_way_around_an_approval() {
    let gated = pipeline(vec![node("build"), asks("ask").after("build"), node("deploy").after("ask").reads("build")]);
    let fake = Fake::new(good);
    let memory = Memory::new(usize::MAX);
    run_with(&gated, &fake, options(1), Arc::clone(&memory), usize::MAX);
    memory.say(Some("ask"), Signal::Approve, "alice");
    let whole = run_with(&gated, &fake, options(1), memory, usize::MAX);
    let ends = Ends::of(&whole);
    for (signal, status, executed) in
        [(Signal::Approve, Status::Succeeded, vec!["deploy".to_owned()]), (Signal::Reject, Status::Failed, vec![])]
    {
        let (fake, memory) = (Fake::new(good), Memory::new(usize::MAX));
        let spec = part_spec(&gated, &["deploy"], &[]);
        let waiting = drive_part(spec.clone(), &fake, &ends, &memory);
        assert!(waiting.state.is_paused() && fake.order().is_empty(), "it is asked again");
        memory.say(Some("ask"), signal, "bob");
        let report = drive_part(spec, &fake, &ends, &memory);
        assert_eq!((report.status, fake.order(), report.digest), (status, executed, None));
    }
}

#[test]
fn a_part_that_was_killed_anywhere_goes_on() {
    let pipeline = chain();
    let ends = Ends::of(&run(&pipeline, &Fake::with_effects(1, good), options(2)));
    let spec = part_spec(&pipeline, &["promote"], &["other"]);
    let whole = Memory::new(usize::MAX);
    drive_part(spec.clone(), &Fake::with_effects(1, good), &ends, &whole);
    let events = whole.events.lock().unwrap().clone();
    let expected = finished(&whole);
    for crash in 1..events.len() - 1 {
        let (memory, fake) = (Memory::left(&events[..crash]), Fake::with_effects(1, good));
        let report = drive_part(spec.clone(), &fake, &ends, &memory);
        assert_eq!((report.status, report.digest), (Status::Succeeded, None), "behind record {crash}");
        let receipts = |ended: &BTreeMap<String, (Receipt, _, _)>| -> Vec<Receipt> {
            ended.values().map(|(receipt, _, _): &(Receipt, AttemptFacts, Option<String>)| receipt.clone()).collect()
        };
        assert_eq!(receipts(&finished(&memory)), receipts(&expected), "behind record {crash}");
        assert!(fake.order().iter().all(|node| ["promote", "other"].contains(&node.as_str())));
    }
}

#[test]
fn executions_are_compared_with_the_cache() {
    let pipeline = pipeline(vec![node("a"), node("b").after("a")]);
    let ends = Arc::new(Ends::of(&run(&pipeline, &Fake::new(good), options(1))));
    let check = DriveOptions { check_cache: true, ..options(1) };
    let same = Fake::new(good);
    let driven = run_cached(&pipeline, &same, check, Memory::new(usize::MAX), usize::MAX, Some(Arc::clone(&ends) as _));
    assert_eq!((driven.report().exit.code(), same.order().len()), (0, 2));
    let other = Fake::new(|task| {
        let mut done = good(task);
        done.fuel = done.fuel.map(|fuel| fuel + u64::from(task.node.as_str() == "b"));
        done
    });
    let driven =
        run_cached(&pipeline, &other, check, Memory::new(usize::MAX), usize::MAX, Some(Arc::clone(&ends) as _));
    assert_eq!(driven.report().exit.code(), 4);
    let text = driven.text("b");
    let key = ends.0.iter().find(|end| end.receipt.node == id("b")).unwrap().receipt.clone();
    assert!(text.contains(&format!("something else than in run {}", run_id(7, 7))), "{text}");
    assert!(text.contains("fuel: ") && text.contains(&format!("receipt {} then", key.digest())), "{text}");
    let disproved: Vec<_> = driven.memory.events().iter().filter_map(Event::disproves).collect();
    assert_eq!(disproved, [key.key.unwrap()]);
}
