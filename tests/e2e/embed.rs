//! Programs that embed the engine: the example, node kinds, event sinks, what is refused and what goes on after an interruption.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate::node_kind::{Answer, Call, Carries, Declaration, NodeFailure, NodeKind};
use lockgate::{Class, Engine, EngineBuilder, Event, HealthCheck, Input, Pipeline, Stage, Status, What};
use lockgate_tests::binary;
use serde_json::json;

/// A node kind made of a declaration and what it does.
struct Kind<F>(Declaration, F);

#[async_trait::async_trait]
impl<F: Fn(&mut Call) -> Result<Answer, NodeFailure> + Send + Sync + 'static> NodeKind for Kind<F> {
    fn declare(&self) -> Declaration {
        self.0.clone()
    }

    async fn run(&self, call: &mut Call) -> Result<Answer, NodeFailure> {
        (self.1)(call)
    }
}

fn engine(dir: &Path) -> EngineBuilder {
    Engine::builder().state(dir.join("state")).jobs(2)
}

fn stage(id: &str, kind: &str) -> Stage {
    Stage::new(id).plugin(format!("app:{kind}"))
}

#[test]
fn the_example_runs_a_pipeline_with_a_node_kind_and_a_sink_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("docs")).unwrap();
    std::fs::write(dir.path().join("docs/a.txt"), "two words\n").unwrap();
    std::fs::write(dir.path().join("docs/b.txt"), "and three more").unwrap();
    let program = binary::embed();
    let run = || {
        let output = Command::new(&program).arg(dir.path()).env_remove("LOCKGATE_POLICY").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        // Two nodes may end in any order; the last lines hold a digest, which changes with the plugins.
        let digest = lines.pop().unwrap();
        assert_eq!(lines.pop().unwrap().replace("run succeeded ", "succeeded: "), digest);
        assert_eq!(lines.remove(0), "run of `embedded` started");
        lines.sort();
        (lines, digest)
    };
    let (lines, digest) = run();
    let expected =
        ["pack: started", "pack: succeeded", "sum: started", "sum: succeeded", "words: started", "words: succeeded"];
    assert_eq!(lines, expected);
    assert!(digest.starts_with("succeeded: sha256:"), "{digest}");
    assert_eq!(std::fs::read_to_string(dir.path().join("out/words.json")).unwrap(), r#"{"files":2,"words":5}"#);
    let (again, same) = run();
    assert_eq!(same, digest);
    assert!(again.iter().filter(|line| line.ends_with(": succeeded, cached")).count() == 3, "{again:?}");
    // The binary knows the run, and not the node kind.
    let lockgate = |arguments: &[&str]| {
        let output = Command::new(binary::lockgate()).args(arguments).current_dir(dir.path()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, shown) = lockgate(&["show", "last", "words"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("app:count-words"), "{shown}");
    let file = dir.path().join("p.toml");
    std::fs::write(&file, "schema = 1\nname = 'x'\n[[stage]]\nid = 'a'\nplugin = 'app:count-words'\n").unwrap();
    let (code, said) = lockgate(&["check", "p.toml"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("a node kind of the program that embeds Lockgate"), "{said}");
}

#[test]
fn effects_are_recorded_and_a_run_goes_on_from_them() {
    let dir = tempfile::tempdir().unwrap();
    let (issued, fails) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
    struct Deploy(Arc<AtomicUsize>, Arc<AtomicUsize>);
    #[async_trait::async_trait]
    impl NodeKind for Deploy {
        fn declare(&self) -> Declaration {
            Declaration::stage("deploy", "1.0.0").output("answer", Carries::Blob)
        }

        async fn run(&self, call: &mut Call) -> Result<Answer, NodeFailure> {
            let issued = &self.0;
            let issue = |key| async move {
                issued.fetch_add(1, Ordering::SeqCst);
                Ok(json!({ "key": key }))
            };
            let answer = call.effect("deploy it", &json!({ "to": "prod" }), issue).await?;
            if self.1.swap(0, Ordering::SeqCst) == 1 {
                return Err(NodeFailure::new("not yet"));
            }
            call.write("answer", answer["key"].as_str().unwrap_or_default())?;
            Ok(Answer::done())
        }
    }
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let sink = move |event: &Event| heard.lock().unwrap().push(event.clone());
    let engine = engine(dir.path()).node_kind(Deploy(issued.clone(), fails)).on_event(sink).build().unwrap();
    let ungranted = Pipeline::builder("p").stage(stage("ship", "deploy"));
    let error = engine.pipeline(&ungranted).root(dir.path()).check().err().unwrap();
    assert_eq!((error.class(), error.problems()[0].code), (Class::Wrong, "lockgate::missing-grant"));
    let granted = Pipeline::builder("p").stage(stage("ship", "deploy").grant_app());
    let checked = engine.pipeline(&granted).root(dir.path()).check().unwrap();
    let report = engine.run_blocking(&checked).unwrap();
    assert_eq!((report.status, report.nodes[0].message.as_deref()), (Status::Failed, Some("not yet")));
    let report = engine.resume_blocking(&report.run).unwrap();
    assert_eq!(report.status, Status::Succeeded, "{report:?}");
    // A failed attempt is over: the next one is another attempt, with an effect of its own.
    assert_eq!(issued.load(Ordering::SeqCst), 2);
    let key = String::from_utf8(report.output("ship", "answer", 100).unwrap().unwrap()).unwrap();
    assert!(key.starts_with(&report.run) && key.contains("/ship/"), "{key}");
    let events = events.lock().unwrap();
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq), "in order, each once");
    let intended =
        events.iter().filter(|event| matches!(&event.what, What::EffectIntended { kind, .. } if kind == "app"));
    assert_eq!(intended.count(), 2);
    assert!(matches!(
        events.last().map(|event| &event.what),
        Some(What::RunFinished { status: Status::Succeeded, .. })
    ));
}

#[test]
fn a_node_kind_that_panics_hangs_or_lies_ends_its_node_alone() {
    let dir = tempfile::tempdir().unwrap();
    struct Hangs;
    #[async_trait::async_trait]
    impl NodeKind for Hangs {
        fn declare(&self) -> Declaration {
            Declaration::stage("hangs", "1.0.0").pure()
        }

        async fn run(&self, call: &mut Call) -> Result<Answer, NodeFailure> {
            call.log("info", "before");
            std::future::pending().await
        }
    }
    let builder = engine(dir.path()).node_kind(Hangs);
    let builder =
        builder.node_kind(Kind(Declaration::stage("panics", "1.0.0").pure(), |_: &mut Call| panic!("by intent")));
    let lies = Declaration::stage("lies", "1.0.0").output("promised", Carries::Blob).pure();
    let builder = builder.node_kind(Kind(lies, |_: &mut Call| Ok(Answer::done())));
    let builder = builder.node_kind(Kind(Declaration::stage("strays", "1.0.0").pure(), |call: &mut Call| {
        let _ = call.write("undeclared", "x");
        Ok(Answer::done())
    }));
    let sick = Declaration::health_check("sick", "1.0.0").pure();
    let builder =
        builder.node_kind(Kind(sick, |_: &mut Call| Ok(Answer::verdict("unhealthy", ["it coughs".to_owned()]))));
    let engine = builder.build().unwrap();
    let pipeline = Pipeline::builder("p")
        .stage(stage("hangs", "hangs").limit("timeout", "50ms"))
        .stage(stage("panics", "panics"))
        .stage(stage("lies", "lies"))
        .stage(stage("strays", "strays"))
        .health_check(HealthCheck::new("sick").plugin("app:sick"));
    let checked = engine.pipeline(&pipeline).root(dir.path()).check().unwrap();
    let report = engine.run_blocking(&checked).unwrap();
    let message = |node: &str| report.node(node).unwrap().message.clone().unwrap();
    assert!(message("hangs").contains("did not end within 50 ms"), "{}", message("hangs"));
    assert_eq!(report.node("hangs").unwrap().status, Status::Errored);
    assert_eq!(report.log("hangs").unwrap().as_deref(), Some("info before\n"));
    assert_eq!(message("panics"), "it panicked: by intent");
    assert_eq!(message("lies"), "it did not write the output `promised`, which it declares");
    assert!(message("strays").contains("`undeclared`"), "{}", message("strays"));
    assert_eq!(report.node("sick").unwrap().verdict.as_deref(), Some("unhealthy"));
}

#[test]
fn approvals_wait_policies_refuse_and_cancelled_runs_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Arc::new(tokio::sync::Notify::new());
    struct Once(Arc<tokio::sync::Notify>, AtomicUsize);
    #[async_trait::async_trait]
    impl NodeKind for Once {
        fn declare(&self) -> Declaration {
            Declaration::stage("once", "1.0.0").pure()
        }

        async fn run(&self, _: &mut Call) -> Result<Answer, NodeFailure> {
            if self.1.fetch_add(1, Ordering::SeqCst) == 0 {
                self.0.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(Answer::done())
        }
    }
    let kind = Once(begun.clone(), AtomicUsize::new(0));
    let engine = engine(dir.path()).node_kind(kind).build().unwrap();
    let approval = lockgate::Approval::new("ok").set("message", "ship it?").after(["work"]);
    let pipeline = Pipeline::builder("p").stage(stage("work", "once")).approval(approval);
    let checked = engine.pipeline(&pipeline).root(dir.path()).check().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cancel = lockgate::Cancel::default();
    let report = runtime.block_on(async {
        let stop = async {
            begun.notified().await;
            cancel.now();
        };
        tokio::join!(engine.run_until(&checked, &cancel), stop).0
    });
    let report = report.unwrap();
    assert_eq!((report.status, report.digest.as_deref()), (Status::Cancelled, None));
    let report = runtime.block_on(engine.resume(&report.run)).unwrap();
    assert_eq!(report.status, Status::Waiting);
    assert_eq!(engine.approve(&report.run, "work", "me").unwrap_err().class(), Class::Wrong);
    engine.approve(&report.run, "ok", "me").unwrap();
    let report = runtime.block_on(engine.resume(&report.run)).unwrap();
    assert_eq!(report.status, Status::Succeeded);

    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, "schema = 1\nname = 'narrow'\n").unwrap();
    let kind = Once(begun, AtomicUsize::new(1));
    let narrow = Engine::builder().state(dir.path().join("state")).node_kind(kind).policy(&policy).build().unwrap();
    let error = narrow.pipeline(&pipeline).root(dir.path()).check().err().unwrap();
    assert_eq!(error.class(), Class::Refused, "{error:?}");
}

#[test]
fn a_slow_sink_loses_nothing_and_a_broken_one_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, wait) = std::sync::mpsc::channel::<()>();
    let (count, warned) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counted, warnings) = (count.clone(), warned.clone());
    let quick = Declaration::stage("quick", "1.0.0").pure();
    let engine = engine(dir.path())
        .node_kind(Kind(quick, move |_: &mut Call| {
            // The run is at its end before the sink hears of its beginning.
            let _ = gate.send(());
            Ok(Answer::done())
        }))
        .on_event(move |_| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                let _ = wait.recv_timeout(Duration::from_secs(20));
            }
        })
        .on_event(|_| panic!("by intent"))
        .on_warning(move |text| warnings.lock().unwrap().push(text.to_owned()))
        .build()
        .unwrap();
    let pipeline = Pipeline::builder("p").stage(stage("a", "quick"));
    let checked = engine.pipeline(&pipeline).root(dir.path()).check().unwrap();
    assert_eq!(engine.run_blocking(&checked).unwrap().status, Status::Succeeded);
    // run-started, attempt-started, node-finished, run-finished
    assert_eq!(count.load(Ordering::SeqCst), 4);
    assert_eq!(*warned.lock().unwrap(), ["an event sink panicked; it hears no more of this run"]);
}

#[test]
fn problems_of_a_built_pipeline_name_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).build().unwrap();
    let pipeline = Pipeline::builder("p")
        .stage(
            Stage::new("a")
                .plugin("std:pack")
                .input("src", Input::dir("missing"))
                .set("retri", json!({ "attempts": 2 })),
        )
        .stage(Stage::new("b").plugin("app:nothing"));
    let error = engine.pipeline(&pipeline).root(dir.path()).check().err().unwrap();
    let shown: Vec<_> = error.problems().iter().map(|problem| (problem.place.as_deref(), problem.code)).collect();
    assert!(shown.contains(&(Some("stage `a`, `retri`"), "lockgate::unknown-key")), "{shown:?}");
    let null = Pipeline::builder("p").stage(Stage::new("a").plugin("std:pack").config(json!({ "x": null })));
    let error = engine.pipeline(&null).root(dir.path()).check().err().unwrap();
    assert!(error.one_line().contains("stage `a`, `config`"), "{error:?}");
}
