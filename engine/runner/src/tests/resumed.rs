//! Runs that another process left: killed, waiting, failed, cancelled.

use lockgate_model::outcome::{Decision, Status};
use lockgate_model::pipeline::{Approval, OnDeadline, Wait};
use lockgate_model::run::{ExitClass, NodeState};
use lockgate_model::units::Millis;

use super::faults::mixed;
use super::*;

/// Resumes from these records.
fn resumed(pipeline: &Pipeline, fake: &Arc<Fake>, events: &[Stamped]) -> Driven {
    run_with(pipeline, fake, options(2), Memory::left(events), usize::MAX)
}

fn events(driven: &Driven) -> Vec<Stamped> {
    driven.memory.events.lock().unwrap().clone()
}

fn approval(approvers: &[&str], on_deadline: OnDeadline) -> Node {
    let approvers = approvers.iter().map(|name| (*name).to_owned()).collect();
    let message = "Go?".to_owned();
    let approval = Approval { message, approvers, deadline: Millis(1_000), on_deadline };
    Node { kind: NodeKind::Approval, plugin: None, approval: Some(approval), ..node("ask") }
}

fn wait(wait: Wait) -> Node {
    Node { kind: NodeKind::Wait, plugin: None, wait: Some(wait), ..node("soak") }
}

/// Builds, then asks, then deploys.
fn gated(gate: Node) -> Pipeline {
    let id = gate.id.to_string();
    pipeline(vec![node("build"), gate.after("build"), node("deploy").after(&id)])
}

#[test]
fn a_crash_behind_every_record_ends_like_a_run_without_one() {
    let (pipeline, fake) = mixed();
    let whole = run(&pipeline, &fake, options(2));
    let all = events(&whole);
    assert!(all.len() > 20, "{}", all.len());
    for count in 1..all.len() {
        let (_, fake) = mixed();
        let driven = resumed(&pipeline, &fake, &all[..count]);
        let report = driven.report();
        // `flaky` fails once per process that attempts it first; its receipt is the same, as receipts hold no attempts.
        assert_eq!((report.digest, report.exit), (whole.report().digest, ExitClass::Failed), "crash behind {count}");
        // No effect with an outcome on record is issued again.
        for stamped in &all[..count] {
            if let Event::EffectFinished { node, attempt, sequence, .. } = &stamped.event
                && node.as_str() != "up"
            {
                let key = format!("{node}/{attempt}/{sequence}");
                assert!(!fake.issued.lock().unwrap().contains(&key), "{key} was issued twice, crash behind {count}");
            }
        }
    }
}

#[test]
fn what_failed_runs_again_and_what_succeeded_does_not() {
    let pipeline = pipeline(vec![node("a"), node("b").reads("a"), node("c").reads("b"), node("d")]);
    let first = run(
        &pipeline,
        &Fake::new(|task| if task.node == id("b") { bad(FailureKind::Trap) } else { good(task) }),
        options(2),
    );
    assert_eq!(first.report().exit, ExitClass::Failed);
    let fake = Fake::new(good);
    let second = resumed(&pipeline, &fake, &events(&first));
    assert_eq!(second.report().exit, ExitClass::Succeeded);
    assert_eq!(fake.order(), ["b", "c"]);
    let whole = run(&pipeline, &Fake::new(good), options(2));
    assert_eq!(second.report().digest, whole.report().digest);
    let attempts = |driven: &Driven| {
        let b = driven.memory.events().into_iter().rev().find_map(|event| match event {
            Event::NodeFinished { receipt, attempt, .. } if receipt.node == id("b") => Some(attempt),
            _ => None,
        });
        b.unwrap()
    };
    assert_eq!(
        (attempts(&first), attempts(&second)),
        (1, 2),
        "attempts go on counting, so idempotency keys stay apart"
    );
}

#[test]
fn a_run_that_succeeded_has_nothing_left() {
    let pipeline = pipeline(vec![node("a")]);
    let first = run(&pipeline, &Fake::new(good), options(1));
    let second = resumed(&pipeline, &Fake::new(good), &events(&first));
    let error = second.result.unwrap_err();
    assert!(matches!(error, DriveError::Illegal(_)), "{error}");
}

#[test]
fn an_effect_in_doubt_stops_the_node_until_somebody_says() {
    let pipeline = pipeline(vec![node("deploy").granted(InDoubt::Stop), node("report").after("deploy")]);
    let whole = run(&pipeline, &Fake::with_effects(2, good), options(1));
    let all = events(&whole);
    let open =
        all.iter().position(|stamped| matches!(stamped.event, Event::EffectIntended { sequence: 1, .. })).unwrap();
    let fake = Fake::with_effects(2, good);
    let stopped = resumed(&pipeline, &fake, &all[..=open]);
    assert_eq!(stopped.report().exit, ExitClass::Waiting);
    assert!(fake.order().is_empty(), "nothing was executed");
    assert!(matches!(stopped.report().state.state(0), NodeState::Waiting { attempt: Some(_), until: None }));
    for (signal, issued) in [(Signal::AssumeDone, vec![]), (Signal::AssumeRepeat, vec!["deploy/1/1"])] {
        let memory = Memory::left(&events(&stopped));
        memory.say(Some("deploy"), signal, "alice");
        let fake = Fake::with_effects(2, good);
        let driven = run_with(&pipeline, &fake, options(1), memory, usize::MAX);
        assert_eq!(driven.report().exit, ExitClass::Succeeded);
        assert_eq!(*fake.issued.lock().unwrap(), issued, "{signal:?}");
    }
}

#[test]
fn an_approval_waits_and_its_receipt_names_who_decided() {
    let gated = gated(approval(&["alice"], OnDeadline::Reject));
    let first = run(&gated, &Fake::new(good), options(2));
    assert_eq!(first.report().exit, ExitClass::Waiting);
    assert_eq!(first.memory.events().last(), Some(&Event::RunWaiting { until: Some(1_000) }));
    // Nobody asked bob.
    let memory = Memory::left(&events(&first));
    memory.say(Some("ask"), Signal::Approve, "bob");
    let second = run_with(&gated, &Fake::new(good), options(2), memory, usize::MAX);
    assert_eq!(second.report().exit, ExitClass::Waiting);
    for (signal, word, exit) in
        [(Signal::Approve, "approved", ExitClass::Succeeded), (Signal::Reject, "rejected", ExitClass::Failed)]
    {
        let memory = Memory::left(&events(&second));
        memory.say(Some("ask"), signal, "alice");
        let fake = Fake::new(good);
        let third = run_with(&gated, &fake, options(2), memory, usize::MAX);
        assert_eq!(third.report().exit, exit);
        let decision = third.report().state.receipt(1).unwrap().decision.clone();
        assert_eq!(decision, Some(Decision { word: word.to_owned(), by: Some("alice".to_owned()), comment: None }));
        assert_eq!(fake.order().len(), usize::from(signal == Signal::Approve));
    }
}

#[test]
fn deadlines_are_absolute() {
    for (on_deadline, exit) in [(OnDeadline::Reject, ExitClass::Failed), (OnDeadline::Approve, ExitClass::Succeeded)] {
        let gated = gated(approval(&[], on_deadline));
        let first = run(&gated, &Fake::new(good), options(2));
        assert_eq!(first.report().exit, ExitClass::Waiting);
        // The clock of these tests jumps to what is waited for.
        let stay = DriveOptions { stay: 1_000, ..options(2) };
        let driven = run_with(&gated, &Fake::new(good), stay, Memory::left(&events(&first)), usize::MAX);
        assert_eq!(driven.report().exit, exit);
        let decision = driven.report().state.receipt(1).unwrap().decision.clone().unwrap();
        assert_eq!((decision.word.as_str(), decision.by), ("expired", None));
    }
}

#[test]
fn a_wait_ends_by_itself_where_the_run_stays() {
    for time in [Wait::For(Millis(500)), Wait::Until(400)] {
        let gated = gated(wait(time));
        let left = run(&gated, &Fake::new(good), options(1));
        assert_eq!(left.report().exit, ExitClass::Waiting);
        let stay = DriveOptions { stay: 600, ..options(1) };
        let stayed = run_with(&gated, &Fake::new(good), stay, Memory::new(usize::MAX), usize::MAX);
        assert_eq!(stayed.report().exit, ExitClass::Succeeded);
        let later = run_with(&gated, &Fake::new(good), stay, Memory::left(&events(&left)), usize::MAX);
        assert_eq!(later.report().digest, stayed.report().digest, "a receipt holds no times");
    }
    // A moment that is over is no wait at all.
    assert_eq!(run(&gated(wait(Wait::Until(0))), &Fake::new(good), options(1)).report().exit, ExitClass::Succeeded);
}

#[test]
fn a_waiting_node_and_a_run_can_be_cancelled() {
    let gated = gated(wait(Wait::For(Millis(500))));
    let first = run(&gated, &Fake::new(good), options(1));
    let memory = Memory::left(&events(&first));
    memory.say(Some("soak"), Signal::Cancel, "alice");
    let driven = run_with(&gated, &Fake::new(good), options(1), memory, usize::MAX);
    assert_eq!(driven.text("soak"), "failed verdict: cancelled by alice");
    assert_eq!(driven.text("deploy"), "skipped");
}

#[test]
fn an_old_verdict_is_taken_again() {
    let mut up = Node { kind: NodeKind::HealthCheck, max_age: Some(Millis(60)), ..node("up") };
    let gate = wait(Wait::For(Millis(100))).after("up");
    for (max_age, expected) in [(60, vec!["up", "deploy"]), (200, vec!["deploy"])] {
        up.max_age = Some(Millis(max_age));
        let pipeline = pipeline(vec![up.clone(), gate.clone(), node("deploy").after("soak")]);
        let body = |task: &Task| if task.node == id("up") { said("healthy") } else { good(task) };
        let first = run(&pipeline, &Fake::new(body), options(1));
        assert_eq!(first.report().exit, ExitClass::Waiting);
        let fake = Fake::new(body);
        let memory = Memory::left(&events(&first));
        let mut surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
        surroundings.clock = Arc::new(Jumping(AtomicU64::new(100)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let graph = Arc::new(Graph::new(&pipeline).unwrap());
        let before = events(&first);
        let records = before.iter().map(|stamped| (stamped.time, &stamped.event));
        let recovered = recover(Arc::new(pipeline.clone()), graph, records).unwrap();
        let resuming =
            resume(spec(&pipeline), recovered, before.len() as u64, Arc::clone(&fake) as _, surroundings, options(1));
        assert_eq!(runtime.block_on(resuming).unwrap().status, Status::Succeeded);
        assert_eq!(fake.order(), expected);
    }
}

#[test]
fn attempts_under_way_with_one_key_are_both_executed() {
    let alike = |name| Node { config: serde_json::Map::new(), ..node(name) };
    let pipeline = pipeline(vec![alike("a"), alike("b")]);
    let whole = run(&pipeline, &Fake::new(good), options(1));
    // Both were under way, as after a first one with their key that failed.
    let all = events(&whole);
    let begin = |name: &str| {
        let started = all.iter().find_map(|stamped| match &stamped.event {
            Event::AttemptStarted { key, inputs, .. } => Some((*key, inputs.clone())),
            _ => None,
        });
        let (key, inputs) = started.unwrap();
        Stamped { time: 0, event: Event::AttemptStarted { node: id(name), attempt: 1, key, inputs } }
    };
    let left = [all[0].clone(), begin("a"), begin("b")];
    let fake = Fake::new(good);
    assert_eq!(resumed(&pipeline, &fake, &left).report().exit, ExitClass::Succeeded);
    assert_eq!(fake.order().len(), 2);
}

#[test]
fn a_clock_that_was_set_back_disturbs_nothing() {
    const TEN_YEARS: u64 = 315_576_000_000;
    let (mixed, fake) = mixed();
    let soaking = gated(wait(Wait::For(Millis(500))));
    let asking = gated(approval(&[], OnDeadline::Approve));
    let mut resumes = 0;
    // The clock of these tests begins at 0 in each process: the first one ran an hour, or ten years, later than the second.
    for ahead in [3_600_000, TEN_YEARS] {
        for (pipeline, fake) in [(&mixed, &fake), (&soaking, &Fake::new(good)), (&asking, &Fake::new(good))] {
            let stay = DriveOptions { stay: 2_000, ..options(2) };
            let whole = run_with(pipeline, fake, stay, Memory::new(usize::MAX), usize::MAX);
            let mut all = events(&whole);
            for stamped in &mut all {
                stamped.time += ahead;
                if let Event::NodeWaiting { until: Some(until), .. } | Event::RunWaiting { until: Some(until) } =
                    &mut stamped.event
                {
                    *until += ahead;
                }
            }
            for count in 1..all.len() {
                let again = if std::ptr::eq(pipeline, &mixed) { super::faults::mixed().1 } else { Fake::new(good) };
                let driven = run_with(pipeline, &again, stay, Memory::left(&all[..count]), usize::MAX);
                assert_eq!(driven.report().digest, whole.report().digest, "behind {count}");
                let times: Vec<_> = events(&driven).iter().map(|stamped| stamped.time).collect();
                assert!(times.is_sorted(), "behind {count}: {times:?}");
                // What waited did so for what was left of its time.
                assert!(times[times.len() - 1] - all[count - 1].time < 60_000, "behind {count}: {times:?}");
                resumes += 1;
            }
        }
    }
    eprintln!("{resumes} resumes with a clock an hour or ten years behind, 0 different");
}
