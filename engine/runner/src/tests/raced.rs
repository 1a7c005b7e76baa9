//! What the simulation found, each as small as it gets: signals that come between two records of the run's own process, and attempts
//! that are under way when what they need begins again.

use lockgate_model::outcome::Status;
use lockgate_model::pipeline::{Approval, OnDeadline, Wait};
use lockgate_model::run::{ExitClass, NodeState};
use lockgate_model::units::Millis;

use super::*;
use crate::plan::{Action, Planner};

fn wait(name: &str, wait: Wait) -> Node {
    Node { kind: NodeKind::Wait, plugin: None, wait: Some(wait), ..node(name) }
}

fn approval(name: &str) -> Node {
    let on_deadline = OnDeadline::Reject;
    let approval = Approval { message: "Go?".to_owned(), approvers: [].into(), deadline: Millis(1_000), on_deadline };
    Node { kind: NodeKind::Approval, plugin: None, approval: Some(approval), ..node(name) }
}

fn events(driven: &Driven) -> Vec<Stamped> {
    driven.memory.events.lock().unwrap().clone()
}

/// The records up to the beginning of a node's first attempt.
fn until_begun(driven: &Driven, name: &str) -> Vec<Stamped> {
    let all = events(driven);
    let begun = |stamped: &Stamped| matches!(&stamped.event, Event::AttemptStarted { node, .. } if *node == id(name));
    let at = all.iter().position(begun).unwrap();
    all[..=at].to_vec()
}

fn resume_from(pipeline: &Pipeline, fake: &Arc<Fake>, options: DriveOptions, records: &[Stamped]) -> Driven {
    run_with(pipeline, fake, options, Memory::left(records), usize::MAX)
}

#[test]
fn what_is_heard_when_the_run_would_wait_comes_first() {
    let pipeline = pipeline(vec![wait("a", Wait::For(Millis(500))), wait("b", Wait::For(Millis(900)))]);
    let first = run(&pipeline, &Fake::new(good), options(1));
    assert_eq!(first.report().exit, ExitClass::Waiting);
    // It takes up the run, and hears this only when it looks for the last time.
    let memory = Memory::left(&events(&first));
    let of = |event: &Event| matches!(event, Event::RunResumed { .. });
    *memory.says_before.lock().unwrap() = Some((of, signalled(Some("a"), Signal::Cancel, "alice")));
    let second = run_with(&pipeline, &Fake::new(good), options(1), memory, usize::MAX);
    assert_eq!(
        (second.report().exit, second.text("a").as_str()),
        (ExitClass::Waiting, "failed verdict: cancelled by alice")
    );
    assert!(matches!(second.memory.events().last(), Some(Event::RunWaiting { until: Some(900) })));
}

#[test]
fn an_assumption_that_comes_before_the_node_waits_counts() {
    let pipeline = pipeline(vec![node("deploy").granted(InDoubt::Stop)]);
    let whole = run(&pipeline, &Fake::with_effects(2, good), options(1));
    let all = events(&whole);
    let intended = |stamped: &Stamped| matches!(stamped.event, Event::EffectIntended { sequence: 1, .. });
    let memory = Memory::left(&all[..=all.iter().position(intended).unwrap()]);
    let of = |event: &Event| matches!(event, Event::NodeWaiting { .. });
    *memory.says_before.lock().unwrap() = Some((of, signalled(Some("deploy"), Signal::AssumeRepeat, "alice")));
    let fake = Fake::with_effects(2, good);
    let driven = run_with(&pipeline, &fake, options(1), memory, usize::MAX);
    assert_eq!(driven.report().digest, whole.report().digest);
    assert_eq!(*fake.issued.lock().unwrap(), ["deploy/1/1"]);
}

#[test]
fn an_attempt_under_way_is_not_cut_by_fail_fast() {
    let pipeline = pipeline(vec![approval("ask"), node("deploy").granted(InDoubt::Repeat), node("x").after("ask")]);
    let first = run(&pipeline, &Fake::new(good), options(2));
    let memory = Memory::left(&until_begun(&first, "deploy"));
    memory.say(Some("ask"), Signal::Reject, "alice");
    let fail_fast = DriveOptions { fail_fast: true, ..options(1) };
    let driven = run_with(&pipeline, &Fake::new(good), fail_fast, memory, usize::MAX);
    assert_eq!(driven.report().exit, ExitClass::Failed);
    assert_eq!((driven.text("deploy").as_str(), driven.text("x").as_str()), ("succeeded", "skipped"));
}

#[test]
fn what_was_under_way_waits_for_a_verdict_that_is_taken_again() {
    let up = Node { kind: NodeKind::HealthCheck, max_age: Some(Millis(60)), ..node("up") };
    let pipeline = pipeline(vec![up, node("deploy").after("up").granted(InDoubt::Repeat)]);
    let answer = |word: &'static str| move |task: &Task| if task.node == id("up") { said(word) } else { good(task) };
    let first = run(&pipeline, &Fake::new(answer("healthy")), options(1));
    let records = until_begun(&first, "deploy");
    for (word, order, end) in [("healthy", vec!["up", "deploy"], "succeeded"), ("unhealthy", vec!["up"], "skipped")] {
        let (fake, memory) = (Fake::new(answer(word)), Memory::left(&records));
        let mut surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
        surroundings.clock = Arc::new(Jumping(AtomicU64::new(100)));
        let graph = Arc::new(Graph::new(&pipeline).unwrap());
        let told = records.iter().map(|stamped| (stamped.time, &stamped.event));
        let recovered = recover(Arc::new(pipeline.clone()), graph, told).unwrap();
        let heard = records.len() as u64;
        let resuming = resume(spec(&pipeline), recovered, heard, Arc::clone(&fake) as _, surroundings, options(2));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = runtime.block_on(resuming).unwrap().state;
        assert_eq!(fake.order(), order);
        assert_eq!(state.receipt(1).unwrap().status.name(), end);
        let mut replayed = super::state(&pipeline);
        memory.events().iter().for_each(|event| replayed.apply(event).unwrap());
    }
}

#[test]
fn a_wait_that_is_over_does_not_wake_the_run_while_its_need_begins_again() {
    // Of the approval, the failure is permitted: so `soak` waits, until the run is resumed and asks again.
    let ask = Node { allow_failure: true, ..approval("ask") };
    let pipeline = pipeline(vec![ask, wait("soak", Wait::For(Millis(10))).after("ask")]);
    let mut memory = Memory::left(&events(&run(&pipeline, &Fake::new(good), options(1))));
    memory.say(Some("ask"), Signal::Reject, "alice");
    memory = run_with(&pipeline, &Fake::new(good), options(1), memory, usize::MAX).memory;
    let records = memory.events.lock().unwrap().clone();
    let told = records.iter().map(|stamped| (stamped.time, &stamped.event));
    let graph = Arc::new(Graph::new(&pipeline).unwrap());
    let recovered = recover(Arc::new(pipeline.clone()), graph, told).unwrap();
    assert!(matches!(recovered.state.state(1), NodeState::Waiting { until: Some(10), .. }));
    let mut planner = Planner::new(recovered.state, options(1));
    planner
        .apply(&Event::RunResumed { engine: "test".to_owned(), again: Vec::new(), policies: Vec::new() }, 500)
        .unwrap();
    assert_eq!(planner.next(500), Some(Action::Hold { node: 0, until: Some(1_500), attempt: None }));
    planner.apply(&Event::NodeWaiting { node: id("ask"), until: Some(1_500), attempt: None }, 500).unwrap();
    assert_eq!((planner.next(500), planner.held_until()), (None, Some(1_500)));
}

#[test]
fn an_attempt_that_ends_in_the_middle_of_an_effect_is_followed_by_none_unasked() {
    /// Sends a request; the first time it hears nothing in time.
    #[derive(Default)]
    struct Slow(Mutex<Vec<u32>>);

    #[async_trait::async_trait]
    impl Executor for Slow {
        async fn execute(&self, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
            let summary = "POST http://service/";
            effects.intent(0, "http", Digest::of(b"request"), summary).await.unwrap();
            self.0.lock().unwrap().push(task.attempt);
            if self.0.lock().unwrap().len() == 1 {
                return bad(FailureKind::Timeout);
            }
            effects.outcome(0, &serde_json::json!({ "status": 200 })).await.unwrap();
            good(&task)
        }
    }

    let mut deploy = node("deploy").granted(InDoubt::Stop);
    deploy.retry = Retry { attempts: 3, ..Retry::default() };
    let pipeline = pipeline(vec![deploy]);
    let slow = Arc::new(Slow::default());
    let memory = Memory::new(usize::MAX);
    let process = || {
        let mut surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
        surroundings.clock = Arc::new(Jumping::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let records = memory.events.lock().unwrap().clone();
        let executor = Arc::clone(&slow) as _;
        let result = runtime.block_on(async {
            if records.is_empty() {
                return drive(spec(&pipeline), executor, surroundings, options(1)).await;
            }
            let told = records.iter().map(|stamped| (stamped.time, &stamped.event));
            let graph = Arc::new(Graph::new(&pipeline).unwrap());
            let recovered = recover(Arc::new(pipeline.clone()), graph, told).unwrap();
            resume(spec(&pipeline), recovered, records.len() as u64, executor, surroundings, options(1)).await
        });
        result.unwrap().exit
    };
    assert_eq!(process(), ExitClass::Infrastructure);
    assert_eq!(process(), ExitClass::Waiting);
    assert_eq!(*slow.0.lock().unwrap(), [1]);
    memory.say(Some("deploy"), Signal::AssumeRepeat, "alice");
    assert_eq!(process(), ExitClass::Succeeded);
    assert_eq!(*slow.0.lock().unwrap(), [1, 1], "the same attempt, so the same idempotency key");
}

#[test]
fn a_finally_node_that_backs_off_waits_for_the_others_to_begin_again() {
    let mut last = node("last").granted(InDoubt::Repeat);
    (last.finally, last.retry) = (true, Retry { attempts: 2, ..Retry::default() });
    let pipeline = pipeline(vec![node("a"), last]);
    let first = run(&pipeline, &Fake::new(|_| bad(FailureKind::Error)), options(2));
    let all = events(&first);
    let failed = all.iter().position(|stamped| matches!(stamped.event, Event::AttemptFailed { .. })).unwrap();
    let fake = Fake::new(good);
    let driven = resume_from(&pipeline, &fake, options(2), &all[..=failed]);
    assert_eq!((driven.report().status, fake.order()), (Status::Succeeded, vec!["a".to_owned(), "last".to_owned()]));
}
