//! The driver with a fake executor: order, jobs, failures, skips, retries, `finally`, fail-fast, `when`, repetition.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::event::Event;
use lockgate_model::expr::{Compare, Expr, Step};
use lockgate_model::outcome::{FailureKind, Status};
use lockgate_model::pipeline::{InputSource, NodeKind, Retry};
use lockgate_model::run::ExitClass;
use lockgate_model::units::Millis;
use serde_json::json;

use super::*;

fn failing(names: &'static [&'static str]) -> Arc<Fake> {
    Fake::new(move |task| if names.contains(&task.node.as_str()) { bad(FailureKind::Error) } else { good(task) })
}

fn equals(expr: Expr, value: serde_json::Value) -> Option<Expr> {
    Some(Expr::Compare(Compare::Equal, Box::new(expr), Box::new(Expr::Value(value))))
}

#[test]
fn a_diamond_runs_in_order_and_passes_data_on() {
    let pipeline =
        pipeline(vec![node("d").reads("b").reads("c"), node("b").reads("a"), node("c").reads("a"), node("a")]);
    let fake = Fake::new(good);
    let driven = run(&pipeline, &fake, options(2));
    let report = driven.report();
    assert_eq!((report.status, report.exit), (Status::Succeeded, ExitClass::Succeeded));
    assert_eq!(report.counts.succeeded, 4);
    assert!(report.digest.is_some());
    let order = fake.order();
    assert_eq!((order[0].as_str(), order[3].as_str()), ("a", "d"));
    let inputs = driven.memory.events().into_iter().find_map(|event| match event {
        Event::AttemptStarted { node, inputs, .. } if node == id("b") => Some(inputs),
        _ => None,
    });
    assert_eq!(inputs, Some(BTreeMap::from([(port("in-a"), blob_ref(b"a {}"))])));
}

#[test]
fn an_empty_pipeline_succeeds() {
    let driven = run(&pipeline(vec![]), &Fake::new(good), options(1));
    assert_eq!(driven.report().status, Status::Succeeded);
}

#[test]
fn jobs_bound_what_runs_at_once() {
    let pipeline = pipeline((0..40).map(|i| node(&format!("n{i:02}-x"))).collect());
    for jobs in [1, 3, 16] {
        let fake = Fake::new(good);
        run(&pipeline, &fake, options(jobs));
        assert_eq!(fake.most.load(Ordering::SeqCst), jobs);
    }
}

#[test]
fn a_failure_skips_what_needs_it_and_nothing_else() {
    let pipeline =
        pipeline(vec![node("a"), node("b").reads("a"), node("c").after("b"), node("x"), node("y").reads("x")]);
    let driven = run(&pipeline, &failing(&["a"]), options(2));
    assert_eq!((driven.report().status, driven.report().exit), (Status::Failed, ExitClass::Failed));
    assert_eq!(driven.text("a"), "failed error: as told");
    assert_eq!(
        (driven.text("b"), driven.text("c"), driven.text("y")),
        ("skipped".into(), "skipped".into(), "succeeded".into())
    );
    assert_eq!(driven.reason("b"), "it needs `a`, which is failed");
    assert_eq!(driven.reason("c"), "it needs `b`, which is skipped");
    assert!(driven.report().digest.is_some());
}

#[test]
fn a_permitted_failure_lets_what_comes_after_it_go_on_but_not_what_reads_it() {
    let mut a = node("a");
    a.allow_failure = true;
    let pipeline = pipeline(vec![a, node("after").after("a"), node("reader").reads("a")]);
    let driven = run(&pipeline, &failing(&["a"]), options(2));
    assert_eq!(driven.report().exit, ExitClass::Succeeded);
    assert_eq!((driven.text("after"), driven.text("reader")), ("succeeded".into(), "skipped".into()));
}

#[test]
fn an_infrastructure_failure_takes_the_digest() {
    let mut a = node("a");
    a.allow_failure = true;
    for kind in [FailureKind::Timeout, FailureKind::Infrastructure] {
        let driven = run(&pipeline(vec![a.clone(), node("b").after("a")]), &Fake::new(move |_| bad(kind)), options(1));
        let report = driven.report();
        assert_eq!((report.status, report.exit, report.digest), (Status::Errored, ExitClass::Infrastructure, None));
        assert_eq!(report.counts.errored, 1);
        assert_eq!(driven.text("b"), "skipped");
    }
}

#[test]
fn finally_runs_after_everything_whatever_became_of_it() {
    let mut last = node("last").after("b");
    last.finally = true;
    let mut reader = node("reader").reads("a");
    reader.finally = true;
    let mut tidy = node("tidy").after("reader");
    tidy.finally = true;
    let pipeline = pipeline(vec![last, reader, tidy, node("a"), node("b").after("a"), node("c")]);
    let fake = failing(&["a"]);
    let driven = run(&pipeline, &fake, options(1));
    assert_eq!(fake.order(), ["a", "c", "last", "tidy"]);
    assert_eq!((driven.text("last"), driven.text("reader")), ("succeeded".into(), "skipped".into()));
    assert_eq!(driven.report().exit, ExitClass::Failed);
    let driven = run(&pipeline, &failing(&["tidy"]), options(1));
    assert_eq!(driven.report().exit, ExitClass::Failed);
}

#[test]
fn what_needs_a_finally_node_runs_with_them() {
    let mut f = node("f");
    f.finally = true;
    let fake = Fake::new(good);
    let driven = run(&pipeline(vec![node("x").after("f"), f, node("a")]), &fake, options(2));
    assert_eq!(fake.order(), ["a", "f", "x"]);
    assert_eq!(driven.report().exit, ExitClass::Succeeded);
}

#[test]
fn fail_fast_starts_nothing_new_but_finally() {
    let mut last = node("last");
    last.finally = true;
    let mut when = node("when").after("b");
    when.when = equals(Expr::RunStatus, json!("succeeded"));
    let pipeline = pipeline(vec![node("a"), node("b"), node("c").after("b"), when, last]);
    let fake = failing(&["a"]);
    let driven = run(&pipeline, &fake, DriveOptions { fail_fast: true, ..options(1) });
    let order = fake.order();
    assert_eq!((order[0].as_str(), order.last().unwrap().as_str()), ("a", "last"));
    let report = driven.report();
    assert_eq!(report.exit, ExitClass::Failed);
    assert_eq!(report.counts.skipped + report.counts.succeeded + report.counts.failed, 5);
    assert!(report.counts.skipped >= 1);
    assert_eq!(report.digest, None);
}

#[test]
fn when_sees_statuses_verdicts_and_json() {
    let memory = Memory::new(usize::MAX);
    let json = memory.keep(br#"{"version": "1.2.3", "list": [1, 2]}"#);
    let fake = Fake::new(move |task| match task.node.as_str() {
        "make" => {
            let mut completion = good(task);
            completion.outputs.insert(port("out"), json);
            completion
        }
        "judge" => said("rollback"),
        _ => good(task),
    });
    let mut judge = node("judge");
    judge.kind = NodeKind::Canary;
    judge.accept.insert("rollback".to_owned());
    let output = |path| Expr::Output { node: id("make"), output: port("out"), path };
    let with = |name, when| {
        let mut node = node(name);
        node.when = when;
        node
    };
    let pipeline = pipeline(vec![
        node("make"),
        judge,
        with("json", equals(output(vec![Step::Key("list".into()), Step::Index(1)]), json!(2))),
        with("json-not", equals(output(vec![Step::Key("version".into())]), json!("2"))),
        with("verdict", equals(Expr::Verdict(id("judge")), json!("rollback"))),
        with("status", equals(Expr::Status(id("json-not")), json!("skipped"))),
        with("wrong", Some(output(vec![]))),
        node("after-not").after("json-not"),
        node("reads-not").reads("json-not"),
    ]);
    let driven = run_with(&pipeline, &fake, options(2), memory, usize::MAX);
    for name in ["json", "verdict", "status", "after-not", "judge"] {
        assert_eq!(driven.text(name), "succeeded", "{name}");
    }
    assert_eq!((driven.text("json-not"), driven.text("reads-not")), ("skipped".into(), "skipped".into()));
    assert_eq!(driven.reason("json-not"), "its `when` is false");
    assert_eq!(driven.text("wrong"), "failed error: failed to decide `when`: it is an object, not true or false");
}

#[test]
fn outputs_that_are_no_json_fail_the_node_and_lost_ones_are_infrastructure() {
    let memory = Memory::new(usize::MAX);
    let garbage = memory.keep(b"{");
    let fake = Fake::new(move |task| {
        let mut completion = good(task);
        if task.node.as_str() == "garbage" {
            completion.outputs.insert(port("out"), garbage);
        }
        completion
    });
    let looks = |name: &str, other: &str| {
        let mut node = node(name);
        node.when = equals(Expr::Output { node: id(other), output: port("out"), path: vec![] }, json!(1));
        node
    };
    let pipeline = pipeline(vec![node("garbage"), node("lost"), looks("a", "garbage"), looks("b", "lost")]);
    let driven = run_with(&pipeline, &fake, options(2), memory, usize::MAX);
    assert!(
        driven
            .text("a")
            .starts_with("failed error: failed to decide `when`: output `out` of node `garbage`: it is not JSON")
    );
    assert!(
        driven.text("b").starts_with("errored infrastructure: failed to decide `when`: output `out` of node `lost`")
    );
    assert_eq!(driven.report().exit, ExitClass::Infrastructure);
}

#[test]
fn a_missing_optional_output_fails_its_reader() {
    let fake = Fake::new(|task| {
        let mut completion = good(task);
        completion.outputs.clear();
        completion
    });
    let mut chained = node("c");
    chained.inputs.insert(port("x"), InputSource::Input { node: id("b"), input: port("in-a") });
    let driven = run(&pipeline(vec![node("a"), node("b").reads("a"), chained]), &fake, options(2));
    assert_eq!(driven.text("b"), "failed error: input `in-a` is missing: node `a` made no output `out`");
    assert_eq!(driven.text("c"), "skipped");
}

#[test]
fn inputs_are_followed_to_their_root() {
    let mut b = node("b");
    b.inputs.insert(port("x"), InputSource::Input { node: id("a"), input: port("in-z") });
    let mut c = node("c");
    c.inputs.insert(port("y"), InputSource::Input { node: id("b"), input: port("x") });
    let driven = run(&pipeline(vec![c, b, node("a").reads("z"), node("z")]), &Fake::new(good), options(2));
    let inputs = driven.memory.events().into_iter().find_map(|event| match event {
        Event::AttemptStarted { node, inputs, .. } if node == id("c") => Some(inputs),
        _ => None,
    });
    assert_eq!(inputs, Some(BTreeMap::from([(port("y"), blob_ref(b"z {}"))])));
}

#[test]
fn attempts_are_repeated_by_kind_with_growing_pauses() {
    let mut a = node("a");
    a.retry = Retry { attempts: 4, backoff: Millis(100), max_backoff: Millis(300), ..Retry::default() };
    let fake = Fake::new(|task| if task.attempt < 4 { bad(FailureKind::Error) } else { good(task) });
    let driven = run(&pipeline(vec![a.clone()]), &fake, options(1));
    assert_eq!(driven.text("a"), "succeeded");
    let starts: Vec<_> = driven
        .memory
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|stamped| match stamped.event {
            Event::AttemptStarted { attempt, .. } => Some((attempt, stamped.time)),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [(1, 0), (2, 100), (3, 300), (4, 600)]);

    let fake = Fake::new(|_| bad(FailureKind::Trap));
    run(&pipeline(vec![a.clone()]), &fake, options(1));
    assert_eq!(fake.order().len(), 1);

    let fake = Fake::new(|_| bad(FailureKind::Timeout));
    let driven = run(&pipeline(vec![a]), &fake, options(1));
    assert_eq!((fake.order().len(), driven.text("a")), (4, "errored timeout: as told".into()));
}

#[test]
fn a_node_that_backs_off_gives_its_job_to_others() {
    let mut a = node("a");
    a.retry = Retry { attempts: 2, ..Retry::default() };
    let fake =
        Fake::new(
            |task| if task.node.as_str() == "a" && task.attempt == 1 { bad(FailureKind::Error) } else { good(task) },
        );
    run(&pipeline(vec![a, node("b")]), &fake, options(1));
    assert_eq!(fake.order(), ["a", "b", "a"]);
}

#[test]
fn repetition_finds_what_differs() {
    let memory = Memory::new(usize::MAX);
    let outputs = [memory.keep(b"the same, then A"), memory.keep(b"the same, then B")];
    let count = AtomicUsize::new(0);
    let fake = Fake::new(move |task| {
        let mut completion = good(task);
        completion.outputs.insert(port("out"), outputs[count.fetch_add(1, Ordering::SeqCst) % 2]);
        completion
    });
    let mut a = node("a");
    a.repeat = 3;
    a.allow_failure = true;
    let driven = run_with(&pipeline(vec![a.clone()]), &fake, options(1), memory, usize::MAX);
    let text = "failed not-reproducible: execution 2 of 3 gave something else than the first: \
                output `out` at byte 15: 41 in \"e, then A\" of 16 bytes and 42 in \"e, then B\" of 16 bytes";
    assert_eq!(driven.text("a"), text);
    assert_eq!((driven.report().status, driven.report().exit), (Status::Failed, ExitClass::NotReproducible));

    let fake = Fake::new(good);
    let driven = run(&pipeline(vec![a]), &fake, options(1));
    assert_eq!((fake.order().len(), driven.text("a")), (3, "succeeded".into()));
}

#[test]
fn a_panicking_executor_is_infrastructure() {
    let fake = Fake::new(|task| if task.node.as_str() == "a" { panic!("a defect") } else { good(task) });
    let driven = run(&pipeline(vec![node("a"), node("b")]), &fake, options(2));
    assert_eq!(driven.text("a"), "errored infrastructure: the executor panicked: a defect");
    assert_eq!(driven.text("b"), "succeeded");
    assert_eq!(driven.report().exit, ExitClass::Infrastructure);
}

#[test]
fn what_the_run_is_made_of_is_checked_first() {
    let pipeline = pipeline(vec![node("a")]);
    let memory = Memory::new(usize::MAX);
    let surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut spec = spec(&pipeline);
    spec.components.clear();
    let error = runtime.block_on(drive(spec, Fake::new(good), surroundings, options(1))).unwrap_err();
    assert_eq!(error.to_string(), "start the run: plugin `p` has no component");
    assert!(memory.events().is_empty());
}
