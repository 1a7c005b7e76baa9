//! Faults and interruptions at every point: what the journal holds is always a legal beginning of the run.

use lockgate_model::outcome::{FailureKind, Status};
use lockgate_model::pipeline::{NodeKind, Poll, Retry};
use lockgate_model::run::ExitClass;
use lockgate_model::units::Millis;

use super::*;

/// A pipeline with effects, a retry, looks, a failure and a `finally` node.
pub(super) fn mixed() -> (Pipeline, Arc<Fake>) {
    let mut flaky = node("flaky").reads("a");
    flaky.retry = Retry { attempts: 2, ..Retry::default() };
    let mut up = node("up").after("flaky");
    up.kind = NodeKind::HealthCheck;
    up.poll = Some(Poll { every: Millis(10), span: Millis(50), healthy: Some(2), unhealthy: None });
    let mut last = node("last");
    last.finally = true;
    let a = node("a").granted(InDoubt::Repeat);
    let (flaky, up) = (flaky.granted(InDoubt::Repeat), up.granted(InDoubt::Repeat));
    let pipeline = pipeline(vec![a, flaky, up, node("bad"), node("skipped").reads("bad"), last]);
    let fake = Fake::with_effects(2, |task| match (task.node.as_str(), task.attempt) {
        ("flaky", 1) | ("bad", _) => bad(FailureKind::Error),
        ("up", _) => said("healthy"),
        _ => good(task),
    });
    (pipeline, fake)
}

#[test]
fn a_journal_that_fails_at_any_append_ends_the_run_cleanly() {
    let (pipeline, fake) = mixed();
    let whole = run(&pipeline, &fake, options(2));
    assert_eq!(whole.report().exit, ExitClass::Failed);
    let appends = whole.memory.appends.load(Ordering::SeqCst);
    assert!(appends > 10, "{appends}");
    for fail_at in 0..appends {
        let (pipeline, fake) = mixed();
        let driven = run_with(&pipeline, &fake, options(2), Memory::new(fail_at), usize::MAX);
        // How many appends there are depends on what came together; a run that needed fewer went through.
        match &driven.result {
            Ok(report) => assert_eq!(report.digest, whole.report().digest),
            Err(error) => {
                assert!(matches!(error, DriveError::Journal(_)), "{error}");
                assert_eq!(error.exit(), ExitClass::Infrastructure);
                assert_eq!(std::error::Error::source(error).unwrap().to_string(), "no space left on device");
                assert_eq!(driven.replayed.over(), None);
                // Nothing was tried after the failure.
                assert_eq!(driven.memory.appends.load(Ordering::SeqCst), fail_at + 1);
            }
        }
    }
}

#[test]
fn an_interrupt_at_any_event_cancels_the_run() {
    let (pipeline, fake) = mixed();
    let whole = run(&pipeline, &fake, options(2));
    let count = whole.memory.events().len();
    let mut cancelled = 0;
    for after in 0..=count {
        let (pipeline, fake) = mixed();
        let driven = run_with(&pipeline, &fake, options(2), Memory::new(usize::MAX), after);
        let report = driven.report();
        if report.status == Status::Cancelled {
            cancelled += 1;
            assert_eq!((report.exit, report.digest), (ExitClass::Interrupted, None));
            assert!(!report.state.all_final());
            let last = pipeline.nodes.len() - 1;
            assert!(report.state.receipt(last).is_none(), "`finally` nodes are left to `resume`");
        } else {
            assert_eq!(report.digest, whole.report().digest);
        }
    }
    assert!(cancelled > count / 2, "{cancelled} of {count}");
}

#[test]
fn an_interrupt_drops_what_runs() {
    struct Forever(Interrupt, Arc<()>);

    #[async_trait::async_trait]
    impl Executor for Forever {
        async fn execute(&self, _: Task, _: Arc<dyn EffectSink>) -> Completion {
            let _alive = Arc::clone(&self.1);
            self.0.raise();
            std::future::pending().await
        }
    }

    let pipeline = pipeline(vec![node("a"), node("b")]);
    let memory = Memory::new(usize::MAX);
    let surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    let alive = Arc::new(());
    let executor = Arc::new(Forever(surroundings.interrupt.clone(), Arc::clone(&alive)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report =
        runtime.block_on(drive(spec(&pipeline), Arc::clone(&executor) as _, surroundings, options(2))).unwrap();
    assert_eq!((report.status, report.counts.succeeded), (Status::Cancelled, 0));
    assert_eq!(Arc::strong_count(&alive), 2, "the executions were dropped");
}

#[test]
fn a_sink_refuses_once_the_journal_failed() {
    // Fails at the third append: the first effect's intent or its outcome.
    let fake = Fake::with_effects(50, good);
    let driven =
        run_with(&pipeline(vec![node("a").granted(InDoubt::Stop)]), &fake, options(1), Memory::new(3), usize::MAX);
    assert!(matches!(driven.result, Err(DriveError::Journal(_))));
    assert!(!driven.replayed.all_final());
}

#[test]
fn an_effect_without_an_outcome_is_infrastructure() {
    struct Careless;

    #[async_trait::async_trait]
    impl Executor for Careless {
        async fn execute(&self, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
            effects.intent(0, "http", Digest::of(b"request"), "GET /").await.unwrap();
            good(&task)
        }
    }

    let pipeline = pipeline(vec![node("a").granted(InDoubt::Stop)]);
    let memory = Memory::new(usize::MAX);
    let surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(drive(spec(&pipeline), Arc::new(Careless), surroundings, options(1))).unwrap();
    assert_eq!(report.exit, ExitClass::Infrastructure);
}

#[test]
fn no_effect_is_recorded_before_the_attempt_that_makes_it() {
    // Several threads, so that tasks and the driver really race for the journal.
    let mut nodes: Vec<_> = (0..300).map(|i| node(&format!("n{i}"))).collect();
    nodes.iter_mut().for_each(|node| node.grants.clock = true);
    let pipeline = pipeline(nodes);
    let memory = Memory::new(usize::MAX);
    let surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let fake = Fake::with_effects(2, good);
    let report = runtime.block_on(drive(spec(&pipeline), fake, surroundings, options(16))).unwrap();
    assert_eq!(report.counts.succeeded, 300);
}
