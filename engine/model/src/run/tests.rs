//! Tests of the run's state machine: what is legal, and that everything else is refused by name and changes nothing.

mod doubt;

use std::sync::Arc;

use super::*;
use crate::artifact::{ArtifactKind, ArtifactRef};
use crate::event::AttemptFacts;
use crate::pipeline::{NodeKind, PluginSource, Poll, Retry};
use crate::receipt::run_digest;
use crate::units::Millis;

fn id(text: &str) -> NodeId {
    NodeId::new(text).unwrap()
}

fn node(name: &str, after: &[&str]) -> Node {
    Node {
        id: id(name),
        kind: NodeKind::HealthCheck,
        plugin: Some("p".parse().unwrap()),
        config: serde_json::Map::new(),
        inputs: BTreeMap::new(),
        after: after.iter().map(|need| id(need)).collect(),
        when: None,
        limits: Default::default(),
        grants: Default::default(),
        retry: Retry { attempts: 2, ..Retry::default() },
        poll: None,
        accept: BTreeSet::new(),
        allow_failure: false,
        finally: false,
        repeat: 1,
        env: BTreeMap::new(),
        approval: None,
        wait: None,
        max_age: None,
    }
}

/// `b` comes after `a`; `when` has a condition, `up` is polled, `last` is `finally`.
fn fresh() -> RunState {
    let mut when = node("when", &[]);
    when.when = Some(crate::expr::Expr::Value(false.into()));
    let mut up = node("up", &[]);
    up.poll = Some(Poll { every: Millis(1), span: Millis(9), healthy: None, unhealthy: None });
    let mut last = node("last", &[]);
    last.finally = true;
    let pipeline = Pipeline {
        schema: 1,
        name: "test".to_owned(),
        params: BTreeMap::new(),
        terms: BTreeMap::new(),
        plugins: [("p".parse().unwrap(), PluginSource::Std { name: "p".to_owned(), digest: None })].into(),
        nodes: vec![node("a", &[]), node("b", &["a"]), when, up, last],
        exports: Vec::new(),
        concurrency: None,
        secrets: Default::default(),
    };
    let graph = Graph::new(&pipeline).unwrap();
    RunState::new(Arc::new(pipeline), Arc::new(graph))
}

fn started() -> RunState {
    let mut state = fresh();
    state.apply(&run_started(true)).unwrap();
    state
}

fn run_started(complete: bool) -> Event {
    let component = Component { digest: Digest::of(b"p"), name: "p 1".to_owned(), reads_time: false };
    Event::RunStarted {
        pipeline: ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(b""), size: 0 },
        pipeline_digest: Digest::of(b"pipeline"),
        name: String::new(),
        file: String::new(),
        root: None,
        components: complete.then(|| ("p".parse().unwrap(), component)).into_iter().collect(),
        sources: Vec::new(),
        logical_time: 0,
        engine: String::new(),
        determinism: String::new(),
        selection: None,
        commit: None,
        policies: Vec::new(),
    }
}

fn begin(node: &str, attempt: u32) -> Event {
    Event::AttemptStarted { node: id(node), attempt, key: Digest::of(b"key"), inputs: BTreeMap::new() }
}

fn intend(node: &str, sequence: u64) -> Event {
    let (kind, summary) = Default::default();
    Event::EffectIntended { node: id(node), attempt: 1, sequence, kind, request: Digest::of(b""), summary }
}

fn answered(node: &str, sequence: u64) -> Event {
    Event::EffectFinished { node: id(node), attempt: 1, sequence, answer: serde_json::Value::Null }
}

fn looked(node: &str, look: u32, word: &str) -> Event {
    let verdict = Verdict { word: word.to_owned(), reasons: Vec::new(), figures: Vec::new(), details: None };
    Event::LookTaken { node: id(node), attempt: 1, look, verdict: Some(verdict), failure: None, next_in: 1 }
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, message: String::new() }
}

fn attempt_failed(node: &str, attempt: u32, kind: FailureKind) -> Event {
    Event::AttemptFailed { node: id(node), attempt, failure: failure(kind), facts: AttemptFacts::default(), next_in: 1 }
}

fn receipt(node: &str, status: Status, kind: Option<FailureKind>, keyed: bool) -> Receipt {
    Receipt {
        node: id(node),
        component: Some(Digest::of(b"p")),
        key: keyed.then(|| Digest::of(b"key")),
        status,
        failure: kind.map(failure),
        outputs: BTreeMap::new(),
        findings: None,
        verdict: None,
        decision: None,
        log: None,
        effects: None,
        fuel: None,
    }
}

fn end(receipt: Receipt, attempt: u32, reason: Option<&str>) -> Event {
    let (digest, reason) = (receipt.digest(), reason.map(str::to_owned));
    Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt, reason, facts: AttemptFacts::default() }
}

fn done(node: &str) -> Event {
    end(receipt(node, Status::Succeeded, None, true), 1, None)
}

fn broke(node: &str, kind: FailureKind) -> Event {
    let status = if kind.is_infrastructure() { Status::Errored } else { Status::Failed };
    end(receipt(node, status, Some(kind), true), 1, None)
}

fn skipped(node: &str, attempt: u32, reason: &str) -> Event {
    end(receipt(node, Status::Skipped, None, false), attempt, Some(reason))
}

fn over(status: Status, digest: Option<Digest>) -> Event {
    Event::RunFinished { status, digest }
}

/// Applies the events, all but the last of which are legal, and gives the refusal's text.
#[track_caller]
fn refusal(events: &[Event]) -> String {
    let mut state = started();
    let (last, before) = events.split_last().unwrap();
    before.iter().for_each(|event| state.apply(event).unwrap());
    let (nodes, counts, over) = (state.nodes.clone(), state.counts, state.over);
    let text = state.apply(last).unwrap_err().to_string();
    assert_eq!((nodes, counts, over), (state.nodes, state.counts, state.over), "a refusal changes nothing");
    text
}

#[test]
fn a_run_goes_its_way() {
    let mut state = started();
    assert_eq!(state.counts(), Counts { pending: 5, ..Counts::default() });
    let events = [
        begin("a", 1),
        intend("a", 0),
        answered("a", 0),
        attempt_failed("a", 1, FailureKind::Error),
        begin("a", 2),
        end(receipt("a", Status::Succeeded, None, true), 2, None),
        begin("up", 1),
        looked("up", 0, "degraded"),
        looked("up", 1, "degraded"),
        intend("up", 4),
        answered("up", 4),
        done("up"),
        skipped("when", 0, "its `when` is false"),
        begin("b", 1),
    ];
    events.iter().for_each(|event| state.apply(event).unwrap());
    assert_eq!(state.counts(), Counts { pending: 1, running: 1, succeeded: 2, skipped: 1, ..Counts::default() });
    assert_eq!((state.early_done(), state.readiness(4)), (false, Readiness::Waiting));
    state.apply(&done("b")).unwrap();
    assert_eq!((state.early_done(), state.readiness(4)), (true, Readiness::Ready));
    assert_eq!(state.run_digest(), None);
    state.apply(&begin("last", 1)).unwrap();
    state.apply(&done("last")).unwrap();
    let digest = run_digest(Digest::of(b"pipeline"), &state.receipts());
    assert_eq!(
        (state.status(), state.run_digest(), state.exit_class()),
        (Status::Succeeded, Some(digest), ExitClass::Succeeded)
    );
    state.apply(&over(Status::Succeeded, Some(digest))).unwrap();
    assert_eq!(state.over(), Some((Status::Succeeded, Some(digest))));
}

#[test]
fn runs_begin_once_and_end_once() {
    assert_eq!(fresh().apply(&begin("a", 1)).unwrap_err(), IllegalTransition::NotStarted("attempt-started"));
    assert_eq!(fresh().apply(&run_started(false)).unwrap_err(), IllegalTransition::NoComponent("p".parse().unwrap()));
    assert_eq!(refusal(&[run_started(true)]), "apply `run-started`: the run has already started");
    assert_eq!(refusal(&[over(Status::Cancelled, None), begin("a", 1)]), "apply `attempt-started`: the run is over");
    assert_eq!(refusal(&[over(Status::Succeeded, None)]), "apply `run-finished`: node `a` is not final");
    let digest = Some(Digest::of(b""));
    assert_eq!(
        refusal(&[over(Status::Cancelled, digest)]),
        "apply `run-finished`: its run digest is not that of its receipts"
    );
    let all = |events: &[Event]| {
        let mut all = vec![begin("a", 1), done("a"), begin("b", 1), done("b"), begin("up", 1), done("up")];
        all.extend([skipped("when", 0, ""), begin("last", 1), done("last")]);
        all.extend_from_slice(events);
        refusal(&all)
    };
    assert_eq!(
        all(&[over(Status::Failed, None)]),
        "apply `run-finished`: its status is `failed`, expected `succeeded`"
    );
    assert_eq!(
        all(&[over(Status::Succeeded, digest)]),
        "apply `run-finished`: its run digest is not that of its receipts"
    );
}

#[test]
fn attempts_come_in_order() {
    assert_eq!(refusal(&[begin("zz", 1)]), "apply `attempt-started`: the pipeline has no node `zz`");
    assert_eq!(refusal(&[begin("a", 2)]), "apply `attempt-started` of node `a`: it is attempt 2, expected 1");
    assert_eq!(refusal(&[begin("a", 1), begin("a", 1)]), "apply `attempt-started` of node `a`: it is running");
    assert_eq!(refusal(&[begin("b", 1)]), "apply `attempt-started` of node `b`: something it needs is not final");
    assert_eq!(refusal(&[begin("last", 1)]), "apply `attempt-started` of node `last`: something it needs is not final");
    let failed = [begin("a", 1), broke("a", FailureKind::Error), begin("b", 1)];
    assert_eq!(refusal(&failed), "apply `attempt-started` of node `b`: something it needs did not succeed");
    assert_eq!(
        refusal(&[attempt_failed("a", 1, FailureKind::Error)]),
        "apply `attempt-failed` of node `a`: it is pending"
    );
    let trap = [begin("a", 1), attempt_failed("a", 1, FailureKind::Trap)];
    assert_eq!(refusal(&trap), "apply `attempt-failed` of node `a`: its `retry` permits no further attempt");
    let failed = attempt_failed("a", 1, FailureKind::Error);
    let third = [begin("a", 1), failed.clone(), begin("a", 2), attempt_failed("a", 2, FailureKind::Error)];
    assert_eq!(refusal(&third), "apply `attempt-failed` of node `a`: its `retry` permits no further attempt");
    assert_eq!(refusal(&[begin("a", 1), failed, done("a")]), "apply `node-finished` of node `a`: it is backing-off");
    let second = end(receipt("a", Status::Succeeded, None, true), 2, None);
    assert_eq!(refusal(&[begin("a", 1), second]), "apply `node-finished` of node `a`: it is attempt 2, expected 1");
}

#[test]
fn looks_and_effects_come_in_order() {
    assert_eq!(refusal(&[begin("a", 1), looked("a", 0, "hold")]), "apply `look-taken` of node `a`: it is not polled");
    assert_eq!(
        refusal(&[begin("up", 1), looked("up", 1, "x")]),
        "apply `look-taken` of node `up`: it is look 1, expected 0"
    );
    assert_eq!(refusal(&[intend("a", 0)]), "apply `effect-intended` of node `a`: it is pending");
    let twice = [begin("a", 1), intend("a", 0), answered("a", 0), intend("a", 0)];
    assert_eq!(refusal(&twice), "apply `effect-intended` of node `a`: effect 0 was already intended");
    let unknown = [begin("a", 1), intend("a", 0), answered("a", 1)];
    assert_eq!(refusal(&unknown), "apply `effect-finished` of node `a`: effect 1 is not under way");
    let open = [begin("a", 1), intend("a", 3), done("a")];
    assert_eq!(refusal(&open), "apply `node-finished` of node `a`: it succeeded, but effect 3 has no outcome");
    // A new attempt begins with no effects.
    let mut state = started();
    for event in [begin("a", 1), intend("a", 0), attempt_failed("a", 1, FailureKind::Timeout), begin("a", 2)] {
        state.apply(&event).unwrap();
    }
    let again = match intend("a", 0) {
        Event::EffectIntended { node, sequence, kind, request, summary, .. } => {
            Event::EffectIntended { node, attempt: 2, sequence, kind, request, summary }
        }
        other => other,
    };
    state.apply(&again).unwrap();
}

#[test]
fn rows_count_looks() {
    let mut state = started();
    state.apply(&begin("up", 1)).unwrap();
    let mut rows = Vec::new();
    for (look, word) in (0..).zip(["healthy", "promote", "degraded", "rollback", "unhealthy", "healthy"]) {
        state.apply(&looked("up", look, word)).unwrap();
        let NodeState::WaitingForLook(attempt) = state.state(3) else { panic!("{:?}", state.state(3)) };
        rows.push((attempt.rows.good, attempt.rows.bad));
    }
    assert_eq!(rows, [(1, 0), (2, 0), (0, 0), (0, 1), (0, 2), (1, 0)]);
}

#[test]
fn receipts_fit_their_nodes() {
    let wrong = |receipt| refusal(&[begin("a", 1), end(receipt, 1, None)]);
    let made = |status, kind| receipt("a", status, kind, true);
    let text = |wrong: &str| format!("apply `node-finished` of node `a`: its receipt {wrong}");
    let kind = Some(FailureKind::Error);
    assert_eq!(wrong(made(Status::Cancelled, None)), text("says `cancelled`, which only a run can be"));
    assert_eq!(wrong(made(Status::Succeeded, kind)), text("holds a failure although it did not fail"));
    assert_eq!(wrong(made(Status::Failed, None)), text("holds no failure although it failed"));
    assert_eq!(
        wrong(made(Status::Failed, Some(FailureKind::Timeout))),
        text("says `failed`, but the failure is infrastructure")
    );
    assert_eq!(wrong(made(Status::Errored, kind)), text("says `errored`, but the failure is not infrastructure"));
    assert_eq!(wrong(receipt("a", Status::Succeeded, None, false)), text("has another action key than its attempt"));
    let other = Receipt { component: Some(Digest::of(b"q")), ..made(Status::Succeeded, None) };
    assert_eq!(wrong(other), text("names another component than the run"));
    let Event::NodeFinished { receipt, attempt, reason, facts, .. } = done("a") else { unreachable!() };
    let event = Event::NodeFinished { receipt, digest: Digest::of(b""), attempt, reason, facts };
    assert_eq!(refusal(&[begin("a", 1), event]), text("has another digest than the event says"));
    let never = end(super::tests::receipt("a", Status::Succeeded, None, false), 0, None);
    assert_eq!(refusal(&[never]), "apply `node-finished` of node `a`: it is pending");
    assert_eq!(refusal(&[begin("a", 1), done("a"), done("a")]), "apply `node-finished` of node `a`: it is finished");
}

#[test]
fn a_node_without_a_plugin_has_no_component() {
    let mut ask = node("ask", &[]);
    (ask.kind, ask.plugin) = (NodeKind::Approval, None);
    let mut pipeline = (**fresh().pipeline()).clone();
    pipeline.nodes = vec![ask];
    let graph = Graph::new(&pipeline).unwrap();
    let mut state = RunState::new(Arc::new(pipeline), Arc::new(graph));
    // It needs no component to start either.
    state.apply(&run_started(false)).unwrap();
    let with = receipt("ask", Status::Failed, Some(FailureKind::Error), false);
    let without = Receipt { component: None, ..with.clone() };
    let refused = state.apply(&end(with, 0, None)).unwrap_err().to_string();
    assert_eq!(refused, "apply `node-finished` of node `ask`: its receipt names another component than the run");
    state.apply(&end(without, 0, None)).unwrap();
    assert!(state.all_final());
    let none = Receipt { component: None, ..receipt("a", Status::Succeeded, None, true) };
    assert!(started().apply(&begin("a", 1)).is_ok());
    assert_eq!(
        refusal(&[begin("a", 1), end(none, 1, None)]),
        "apply `node-finished` of node `a`: its receipt names another component than the run"
    );
}

#[test]
fn skips_have_a_ground() {
    let text = |rest: &str| format!("apply `node-finished` of node {rest}");
    assert_eq!(
        refusal(&[skipped("a", 0, "")]),
        text("`a`: its receipt says `skipped`, but nothing kept it from running")
    );
    assert_eq!(refusal(&[skipped("b", 0, "")]), text("`b`: something it needs is not final"));
    assert_eq!(refusal(&[skipped("a", 0, FAIL_FAST)]), text("`a`: it is pending"));
    assert_eq!(refusal(&[begin("a", 1), skipped("a", 1, "")]), text("`a`: it is running"));
    let cut = [begin("up", 1), begin("a", 1), broke("a", FailureKind::Error), skipped("up", 1, FAIL_FAST)];
    assert_eq!(refusal(&cut), text("`up`: it is running"));

    let mut state = started();
    for event in [begin("up", 1), looked("up", 0, "degraded"), begin("a", 1), broke("a", FailureKind::Error)] {
        state.apply(&event).unwrap();
    }
    assert_eq!((state.readiness(1), state.blocker(1)), (Readiness::Blocked, Some(0)));
    for event in [
        skipped("up", 1, FAIL_FAST),
        skipped("b", 0, "it needs `a`"),
        skipped("when", 0, ""),
        begin("last", 1),
        done("last"),
    ] {
        state.apply(&event).unwrap();
    }
    assert_eq!((state.status(), state.run_digest()), (Status::Failed, None), "what fail-fast hits depends on speed");
    let skip = |node: usize| match state.state(node) {
        NodeState::Finished { skip, .. } => *skip,
        _ => None,
    };
    assert_eq!([skip(3), skip(1), skip(2), skip(4)], [Some(Skip::FailFast), Some(Skip::Need), Some(Skip::When), None]);
}

#[test]
fn an_infrastructure_error_outweighs_a_difference_and_that_a_failure() {
    let exit = |kinds: &[(&str, FailureKind)]| {
        let mut state = started();
        for (node, kind) in kinds {
            state.apply(&begin(node, 1)).unwrap();
            state.apply(&broke(node, *kind)).unwrap();
        }
        (state.exit_class(), state.exit_class().code())
    };
    let (error, differs, timeout) = (FailureKind::Error, FailureKind::NotReproducible, FailureKind::Timeout);
    assert_eq!(exit(&[]), (ExitClass::Succeeded, 0));
    assert_eq!(exit(&[("a", error)]), (ExitClass::Failed, 1));
    assert_eq!(exit(&[("a", differs), ("when", error)]), (ExitClass::NotReproducible, 4));
    assert_eq!(exit(&[("a", differs), ("when", timeout)]), (ExitClass::Infrastructure, 5));
    let mut state = started();
    state.apply(&over(Status::Cancelled, None)).unwrap();
    assert_eq!((state.status(), state.exit_class().code()), (Status::Cancelled, 130));
}

/// A part: `b` alone, which needs `a`; the others are left out.
fn part(grants: bool) -> RunState {
    let fresh = fresh();
    let mut pipeline = (*fresh.pipeline).clone();
    if grants {
        pipeline.nodes[0].grants.http = vec![crate::grant::HttpGrant::parse("GET http://a/").unwrap()];
    }
    let mut state = RunState::new(Arc::new(pipeline), fresh.graph);
    let mut event = run_started(true);
    let Event::RunStarted { selection, .. } = &mut event else { unreachable!() };
    *selection = Some(crate::event::Selection { only: [id("b")].into(), from: BTreeSet::new() });
    state.apply(&event).unwrap();
    state
}

fn taken(node: &str) -> Event {
    let origin = crate::event::Origin { run: "r1".parse().unwrap(), time: 1 };
    let mut event = done(node);
    let Event::NodeFinished { facts, .. } = &mut event else { unreachable!() };
    (facts.cached, facts.taken_from) = (true, Some(origin));
    event
}

#[test]
fn a_part_executes_what_is_selected_and_nothing_else() {
    use super::Role;
    let refused = |state: &RunState, events: &[Event]| {
        let mut state = state.clone();
        let mut result = Ok(());
        events.iter().for_each(|event| result = result.clone().and_then(|()| state.apply(event)));
        result.unwrap_err().to_string()
    };
    for grants in [false, true] {
        let state = part(grants);
        let roles: Vec<_> = (0..5).map(|node| state.role(node)).collect();
        assert_eq!(roles, [Role::Taken, Role::Runs, Role::LeftOut, Role::LeftOut, Role::LeftOut]);
        let not = "part of the pipeline that does not execute it";
        assert!(refused(&state, &[begin("up", 1)]).contains(not));
        assert!(refused(&state, &[begin("a", 1), intend("a", 0)]).contains(not));
        assert!(refused(&state, &[begin("a", 1), attempt_failed("a", 1, FailureKind::Trap)]).contains(not));
        assert!(refused(&state, &[begin("a", 1), done("a")]).contains("is no earlier result"));
        assert!(refused(&state, &[begin("a", 1), taken("a"), begin("b", 1), taken("b")]).contains("this node may not"));
        assert!(refused(&state, &[skipped("up", 0, "because")]).contains("it is pending"));
        assert!(refused(&state, &[skipped("b", 0, NOT_SELECTED)]).contains("something it needs is not final"));
        let mut state = state;
        for event in [begin("a", 1), taken("a"), begin("b", 1), done("b")] {
            state.apply(&event).unwrap();
        }
        for node in ["when", "up", "last"] {
            state.apply(&skipped(node, 0, NOT_SELECTED)).unwrap();
        }
        assert_eq!((state.status(), state.run_digest()), (Status::Succeeded, None));
        let digest = Some(run_digest(Digest::of(b"pipeline"), &state.receipts()));
        assert_eq!(
            refused(&state, &[over(Status::Succeeded, digest)]),
            "apply `run-finished`: its run digest is not that of its receipts"
        );
        state.apply(&over(Status::Succeeded, None)).unwrap();
    }
}

#[test]
fn what_has_grants_is_never_out_of_the_cache() {
    let mut pipeline = (*fresh().pipeline).clone();
    pipeline.nodes[0].grants.http = vec![crate::grant::HttpGrant::parse("GET http://a/").unwrap()];
    let graph = Arc::new(Graph::new(&pipeline).unwrap());
    let mut state = RunState::new(Arc::new(pipeline), graph);
    state.apply(&run_started(true)).unwrap();
    state.apply(&begin("a", 1)).unwrap();
    let mut cached = done("a");
    let Event::NodeFinished { facts, .. } = &mut cached else { unreachable!() };
    facts.cached = true;
    assert!(state.apply(&cached).unwrap_err().to_string().contains("but the node has grants"));
    state.apply(&done("a")).unwrap();
}

#[test]
fn what_is_not_selected_stays_so_when_a_part_is_resumed() {
    let mut state = part(false);
    for node in ["when", "up", "last"] {
        state.apply(&skipped(node, 0, NOT_SELECTED)).unwrap();
    }
    for event in [begin("a", 1), taken("a"), begin("b", 1), broke("b", FailureKind::Error), over(Status::Failed, None)]
    {
        state.apply(&event).unwrap();
    }
    state.apply(&Event::RunResumed { engine: String::new(), again: Vec::new(), policies: Vec::new() }).unwrap();
    let pending: Vec<_> = (0..5).filter(|node| matches!(state.state(*node), NodeState::Pending)).collect();
    assert_eq!(pending, [1]);
}
