//! Effects in doubt, and signals that stand in the journal before what the run's own process was just writing.

use super::*;
use crate::event::Signal;
use crate::grant::HttpGrant;
use crate::pipeline::{Approval, OnDeadline};

const EFFECT: &str = "POST http://service/";

/// `deploy` posts; `late` does so when all others are final; `ask` is an approval; `next` comes after `deploy`.
fn state() -> RunState {
    let mut deploy = node("deploy", &[]);
    deploy.kind = NodeKind::Stage;
    deploy.grants.http.push(HttpGrant::parse(EFFECT).unwrap());
    let mut late = Node { id: id("late"), finally: true, ..deploy.clone() };
    late.retry.attempts = 2;
    let approval = Approval {
        message: String::new(),
        approvers: BTreeSet::new(),
        deadline: Millis(9),
        on_deadline: OnDeadline::Reject,
    };
    let ask = Node { kind: NodeKind::Approval, plugin: None, approval: Some(approval), ..node("ask", &[]) };
    let pipeline =
        Pipeline { nodes: vec![deploy, late, ask, node("next", &["deploy"])], ..(*fresh().pipeline).clone() };
    let graph = Graph::new(&pipeline).unwrap();
    let mut state = RunState::new(Arc::new(pipeline), Arc::new(graph));
    state.apply(&run_started(true)).unwrap();
    state
}

fn posted(node: &str, sequence: u64) -> Event {
    let (kind, summary) = ("http".to_owned(), EFFECT.to_owned());
    Event::EffectIntended { node: id(node), attempt: 1, sequence, kind, request: Digest::of(b""), summary }
}

fn says(node: &str, signal: Signal) -> Event {
    Event::Signalled { node: Some(id(node)), signal, by: "alice".to_owned(), comment: None }
}

fn waits(node: &str, attempt: Option<u32>) -> Event {
    Event::NodeWaiting { node: id(node), until: None, attempt }
}

fn resumed() -> Event {
    Event::RunResumed { engine: String::new(), again: Vec::new(), policies: Vec::new() }
}

fn left() -> RunState {
    let mut state = state();
    for event in [begin("deploy", 1), posted("deploy", 0), over(Status::Cancelled, None)] {
        state.apply(&event).unwrap();
    }
    state
}

fn apply(state: &mut RunState, events: &[Event]) {
    for event in events {
        state.apply(event).unwrap_or_else(|error| panic!("{}: {error}", event.kind()));
    }
}

#[test]
fn what_is_assumed_of_an_interrupted_run_counts() {
    let mut state = left();
    assert!(state.is_in_doubt(0));
    apply(&mut state, &[says("deploy", Signal::AssumeRepeat), resumed()]);
    assert_eq!((state.assumed(0), state.is_in_doubt(0)), (Some(Signal::AssumeRepeat), false));
}

#[test]
fn an_assumption_may_stand_before_the_node_waits_and_before_the_run_does() {
    let mut before = left();
    apply(&mut before, &[resumed(), says("deploy", Signal::AssumeDone), waits("deploy", Some(1))]);
    let mut behind = left();
    apply(&mut behind, &[resumed(), waits("deploy", Some(1)), says("deploy", Signal::AssumeDone)]);
    for mut state in [before, behind] {
        assert!(matches!(state.state(0), NodeState::Waiting { .. }), "a signal moves nothing");
        apply(&mut state, &[waits("ask", None), Event::RunWaiting { until: None }, resumed()]);
        apply(&mut state, &[answered("deploy", 0)]);
        assert!(matches!(state.state(0), NodeState::Running(attempt) if attempt.number == 1));
    }
}

#[test]
fn an_attempt_goes_on_only_when_it_was_said_what_to_assume() {
    let mut state = left();
    apply(&mut state, &[resumed(), waits("deploy", Some(1))]);
    assert!(matches!(state.apply(&answered("deploy", 0)), Err(IllegalTransition::State { .. })));
}

#[test]
fn an_assumption_does_not_cover_effects_that_come_after_it() {
    let mut state = left();
    apply(&mut state, &[resumed(), waits("deploy", Some(1)), says("deploy", Signal::AssumeRepeat)]);
    apply(&mut state, &[answered("deploy", 0), posted("deploy", 1), over(Status::Cancelled, None), resumed()]);
    assert!(state.is_in_doubt(0));
}

#[test]
fn an_attempt_that_fails_with_an_effect_in_doubt_goes_on_under_its_number() {
    let mut state = state();
    let errored = receipt("deploy", Status::Errored, Some(FailureKind::Timeout), true);
    apply(&mut state, &[begin("deploy", 1), posted("deploy", 0), end(errored.clone(), 1, None)]);
    apply(&mut state, &[resumed()]);
    assert!(state.is_in_doubt(0) && state.left(0).is_some_and(|attempt| attempt.number == 1));
    // Journals of before begin another attempt here.
    apply(&mut state.clone(), &[begin("deploy", 2)]);
    apply(&mut state, &[waits("deploy", Some(1)), says("deploy", Signal::AssumeRepeat), answered("deploy", 0)]);
    apply(&mut state, &[done("deploy")]);
    assert_eq!((state.left(0), state.has_stopping_effect(0)), (None, false));
    // An attempt without one is over.
    let mut state = self::state();
    let mut events = vec![begin("deploy", 1), posted("deploy", 0), answered("deploy", 0), end(errored, 1, None)];
    events.push(resumed());
    apply(&mut state, &events);
    assert_eq!((state.left(0), state.state(0)), (None, &NodeState::Pending));
}

#[test]
fn an_effect_in_doubt_outlives_that_its_node_begins_again() {
    let mut state = state();
    apply(&mut state, &[waits("ask", None), begin("deploy", 1), broke("deploy", FailureKind::Error)]);
    apply(&mut state, &[skipped("next", 0, "deploy")]);
    let mut rejected = receipt("ask", Status::Failed, Some(FailureKind::Verdict), false);
    (rejected.component, rejected.decision) =
        (None, Some(crate::outcome::Decision { word: "expired".to_owned(), by: None, comment: None }));
    apply(&mut state, &[end(rejected, 0, None), begin("late", 1), posted("late", 0), resumed()]);
    assert!(matches!(state.state(0), NodeState::Pending));
    assert!(state.is_in_doubt(1) && matches!(state.state(1), NodeState::Running(_)), "`late` is not forgotten");
}

#[test]
fn who_speaks_just_before_a_run_is_resumed_is_known() {
    let mut state = left();
    // The process that resumes hears it behind `run-resumed`, which it has not written yet.
    apply(&mut state, &[says("ask", Signal::Approve), resumed(), waits("ask", None)]);
    let mut approved = receipt("ask", Status::Succeeded, None, false);
    approved.component = None;
    approved.fuel = None;
    approved.decision =
        Some(crate::outcome::Decision { word: "approved".to_owned(), by: Some("alice".to_owned()), comment: None });
    apply(&mut state, &[end(approved, 0, None)]);
}
