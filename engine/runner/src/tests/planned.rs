//! The planner alone: which actions it gives, at which times, without a driver.

use std::sync::Arc;

use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::outcome::{FailureKind, Status};
use lockgate_model::pipeline::{NodeKind, Poll, Retry};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::FAIL_FAST;
use lockgate_model::units::Millis;

use super::*;
use crate::plan::{Action, End, Planner};

fn planner(pipeline: &Pipeline, options: DriveOptions) -> Planner {
    let mut planner = Planner::new(state(pipeline), options);
    assert_eq!(planner.next(0), None, "nothing before the run's start is durable");
    let spec = spec(pipeline);
    let started = Event::RunStarted {
        pipeline: blob_ref(b""),
        pipeline_digest: pipeline.digest(),
        name: String::new(),
        file: String::new(),
        root: None,
        components: spec.components,
        sources: Vec::new(),
        logical_time: 0,
        engine: String::new(),
        determinism: String::new(),
        selection: None,
        commit: None,
        policies: Vec::new(),
    };
    planner.apply(&started, 0).unwrap();
    planner
}

fn execute(node: usize, attempt: u32, look: u32) -> Option<Action> {
    Some(Action::Execute { node, attempt, look })
}

fn skip(node: usize, reason: &str) -> Option<Action> {
    Some(Action::Finish { node, attempt: 0, end: End::Skipped(reason.to_owned()) })
}

fn start(planner: &mut Planner, node: usize, attempt: u32) {
    let node = planner.state().pipeline().nodes[node].id.clone();
    planner
        .apply(&Event::AttemptStarted { node, attempt, key: Digest::of(b"key"), inputs: BTreeMap::new() }, 0)
        .unwrap();
}

/// A node ends: with an attempt and this failure, or without one and this reason.
fn end(planner: &mut Planner, node: usize, attempt: u32, failed: Option<FailureKind>, reason: Option<&str>) {
    let failure = failed.map(failure);
    let receipt = Receipt {
        node: planner.state().pipeline().nodes[node].id.clone(),
        component: Some(Digest::of(b"p")),
        key: reason.is_none().then(|| Digest::of(b"key")),
        status: match (&failure, reason) {
            (_, Some(_)) => Status::Skipped,
            (Some(failure), None) if failure.kind.is_infrastructure() => Status::Errored,
            (Some(_), None) => Status::Failed,
            (None, None) => Status::Succeeded,
        },
        failure,
        outputs: BTreeMap::new(),
        findings: None,
        verdict: None,
        decision: None,
        log: None,
        effects: None,
        fuel: None,
    };
    let digest = receipt.digest();
    let reason = reason.map(str::to_owned);
    let event =
        Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt, reason, facts: AttemptFacts::default() };
    planner.apply(&event, 0).unwrap();
}

#[test]
fn jobs_are_given_in_the_files_order_and_come_back() {
    let mut planner = planner(&pipeline(vec![node("a"), node("b"), node("c")]), options(2));
    assert_eq!((planner.next(0), planner.next(0), planner.next(0)), (execute(0, 1, 0), execute(1, 1, 0), None));
    planner.ended();
    assert_eq!((planner.next(0), planner.next(0)), (execute(2, 1, 0), None));
}

#[test]
fn a_node_starts_when_the_last_need_is_durable() {
    let mut planner = planner(&pipeline(vec![node("a"), node("b"), node("c").after("a").after("b")]), options(9));
    assert_eq!((planner.next(0), planner.next(0)), (execute(0, 1, 0), execute(1, 1, 0)));
    for i in [0, 1] {
        start(&mut planner, i, 1);
        planner.ended();
        assert_eq!(planner.next(0), None, "an execution that ended sets nothing free before its receipt is durable");
    }
    end(&mut planner, 1, 1, None, None);
    assert_eq!(planner.next(0), None);
    end(&mut planner, 0, 1, None, None);
    assert_eq!((planner.next(0), planner.next(0)), (execute(2, 1, 0), None));
}

#[test]
fn a_skip_does_not_wait_for_other_needs_and_is_passed_on() {
    let mut planner = planner(
        &pipeline(vec![node("a"), node("b"), node("c").after("a").after("b"), node("d").after("c")]),
        options(9),
    );
    planner.next(0);
    planner.next(0);
    start(&mut planner, 0, 1);
    end(&mut planner, 0, 1, Some(FailureKind::Trap), None);
    assert_eq!((planner.next(0), planner.next(0)), (skip(2, "it needs `a`, which is failed"), None));
    end(&mut planner, 2, 0, None, Some("why"));
    assert_eq!((planner.next(0), planner.next(0)), (skip(3, "it needs `c`, which is skipped"), None));
    end(&mut planner, 3, 0, None, Some("why"));
    start(&mut planner, 1, 1);
    end(&mut planner, 1, 1, None, None);
    let digest = planner.state().run_digest();
    assert_eq!(planner.next(0), Some(Action::FinishRun { status: Status::Failed, digest }));
    assert_eq!(planner.next(0), None);
}

#[test]
fn a_retry_waits_for_its_time_and_then_comes_first() {
    let mut a = node("a");
    a.retry = Retry { attempts: 2, backoff: Millis(500), ..Retry::default() };
    let mut planner = planner(&pipeline(vec![a, node("b"), node("c")]), options(1));
    assert_eq!(planner.next(1_000), execute(0, 1, 0));
    start(&mut planner, 0, 1);
    let next_in = planner.retry_after(0, 1, &failure(FailureKind::Error)).unwrap();
    assert_eq!((next_in, planner.retry_after(0, 2, &failure(FailureKind::Error))), (500, None));
    assert_eq!(planner.retry_after(0, 1, &failure(FailureKind::Fuel)), None);
    planner.ended();
    let facts = AttemptFacts::default();
    let failed =
        Event::AttemptFailed { node: id("a"), attempt: 1, failure: failure(FailureKind::Error), facts, next_in };
    planner.apply(&failed, 1_100).unwrap();
    assert_eq!(planner.wake_at(), Some(1_600));
    assert_eq!((planner.next(1_100), planner.next(1_600)), (execute(1, 1, 0), None));
    assert_eq!(planner.wake_at(), None, "what is due and waits for a job needs no timer");
    planner.ended();
    assert_eq!((planner.next(1_700), planner.next(1_700)), (execute(0, 2, 0), None));
}

#[test]
fn looks_wait_without_a_job() {
    let mut up = node("up");
    up.kind = NodeKind::HealthCheck;
    up.poll = Some(Poll { every: Millis(10), span: Millis(100), healthy: None, unhealthy: None });
    let mut planner = planner(&pipeline(vec![up, node("b")]), options(1));
    assert_eq!(planner.next(0), execute(0, 1, 0));
    start(&mut planner, 0, 1);
    planner.ended();
    let verdict = said("degraded").verdict;
    planner
        .apply(&Event::LookTaken { node: id("up"), attempt: 1, look: 0, verdict, failure: None, next_in: 7 }, 3)
        .unwrap();
    assert_eq!((planner.next(3), planner.wake_at()), (execute(1, 1, 0), Some(10)));
    planner.ended();
    assert_eq!((planner.next(9), planner.next(10)), (None, execute(0, 1, 1)));
}

#[test]
fn fail_fast_skips_what_is_about_to_start_or_waits_but_not_what_runs() {
    let mut slow = node("slow");
    slow.retry.attempts = 2;
    let mut last = node("last");
    last.finally = true;
    let nodes = vec![slow, node("bad"), node("runs"), node("ready"), node("below").after("ready"), last];
    let mut planner = planner(&pipeline(nodes), DriveOptions { fail_fast: true, ..options(3) });
    for node in 0..3 {
        assert_eq!(planner.next(0), execute(node, 1, 0));
        start(&mut planner, node, 1);
    }
    let facts = AttemptFacts::default();
    let failed = Event::AttemptFailed {
        node: id("slow"),
        attempt: 1,
        failure: failure(FailureKind::Error),
        facts,
        next_in: 500,
    };
    planner.apply(&failed, 0).unwrap();
    end(&mut planner, 1, 1, Some(FailureKind::Error), None);
    assert_eq!(planner.retry_after(2, 1, &failure(FailureKind::Error)), None);
    let cut = |node, attempt| Some(Action::Finish { node, attempt, end: End::Skipped(FAIL_FAST.to_owned()) });
    assert_eq!((planner.next(0), planner.next(0), planner.next(0)), (cut(0, 1), cut(3, 0), None));
    end(&mut planner, 0, 1, None, Some(FAIL_FAST));
    end(&mut planner, 3, 0, None, Some(FAIL_FAST));
    assert_eq!((planner.next(0), planner.next(0)), (skip(4, "it needs `ready`, which is skipped"), None));
    end(&mut planner, 4, 0, None, Some("why"));
    end(&mut planner, 2, 1, None, None);
    planner.ended();
    assert_eq!((planner.next(0), planner.next(0)), (execute(5, 1, 0), None));
    start(&mut planner, 5, 1);
    end(&mut planner, 5, 1, None, None);
    assert_eq!(planner.next(0), Some(Action::FinishRun { status: Status::Failed, digest: None }));
}

#[test]
fn after_an_interrupt_nothing_starts() {
    let mut planner = planner(&pipeline(vec![node("a"), node("b")]), options(1));
    assert_eq!(planner.next(0), execute(0, 1, 0));
    planner.interrupt();
    start(&mut planner, 0, 1);
    end(&mut planner, 0, 1, None, None);
    planner.ended();
    assert_eq!((planner.next(0), planner.wake_at()), (None, None));
}
