//! Programs that embed the engine: the example, node kinds, event sinks, what is refused and what goes on after an interruption.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate::node_kind::{Answer, Call, Carries, Declaration, NodeFailure, NodeKind};
use lockgate::{
    Assumed, Canary, Class, Engine, EngineBuilder, Event, HealthCheck, Input, Pipeline, Stage, Status, What,
};
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

/// Has an effect, in which the whole process dies where it is meant to.
struct Ships {
    dies: bool,
    issued: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl NodeKind for Ships {
    fn declare(&self) -> Declaration {
        Declaration::stage("ship", "1.0.0").output("key", Carries::Blob)
    }

    async fn run(&self, call: &mut Call) -> Result<Answer, NodeFailure> {
        let (dies, issued) = (self.dies, self.issued.clone());
        let issue = |key: String| async move {
            if dies {
                // No destructor runs, and nothing more is written.
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
            issued.lock().unwrap().push(key.clone());
            Ok(json!(key))
        };
        let key = call.effect("ship it", &json!({ "to": "prod" }), issue).await?;
        call.write("key", key.as_str().unwrap_or_default())?;
        Ok(Answer::done())
    }
}

/// Says where [`dies_in_an_effect`] runs its pipeline.
const DIES_IN: &str = "LOCKGATE_TEST_DIES_IN";

#[test]
#[ignore = "it dies: `an_effect_in_doubt_waits_for_somebody_who_knows` starts it in a process of its own"]
fn dies_in_an_effect() {
    let dir = std::env::var_os(DIES_IN).expect("a directory");
    let engine = engine(dir.as_ref()).node_kind(Ships { dies: true, issued: Arc::default() }).build().unwrap();
    let pipeline = Pipeline::builder("p").stage(stage("ship", "ship").grant_app());
    let checked = engine.pipeline(&pipeline).root(&dir).check().unwrap();
    let _ = engine.run_blocking(&checked);
}

#[test]
fn an_effect_in_doubt_waits_for_somebody_who_knows() {
    use std::os::unix::process::ExitStatusExt as _;
    for assumed in [Assumed::Repeat, Assumed::Done] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "embed::dies_in_an_effect", "--ignored"]).env(DIES_IN, dir.path());
        let died = child.env_remove("LOCKGATE_POLICY").output().unwrap();
        assert_eq!(died.status.signal(), Some(9), "{}", String::from_utf8_lossy(&died.stdout));

        let issued: Arc<Mutex<Vec<String>>> = Arc::default();
        let kind = Ships { dies: false, issued: issued.clone() };
        let engine = engine(dir.path()).node_kind(kind).build().unwrap();
        let report = engine.resume_blocking("last").unwrap();
        assert_eq!((report.status, report.digest.as_deref()), (Status::Waiting, None));
        // However often: nobody has said anything yet.
        assert_eq!(engine.resume_blocking(&report.run).unwrap().status, Status::Waiting);
        assert!(issued.lock().unwrap().is_empty());
        engine.assume(&report.run, assumed, "me").unwrap();
        let done = engine.resume_blocking(&report.run).unwrap();
        let key = format!("{}/ship/1/0", report.run);
        match assumed {
            Assumed::Repeat => {
                assert_eq!(done.status, Status::Succeeded, "{done:?}");
                assert_eq!(
                    *issued.lock().unwrap(),
                    std::slice::from_ref(&key),
                    "the same attempt, and so the same key"
                );
                assert_eq!(done.output("ship", "key", 100).unwrap().unwrap(), key.as_bytes());
            }
            Assumed::Done => {
                let message = done.node("ship").unwrap().message.clone().unwrap();
                assert!(message.contains("its answer was lost"), "{message}");
                assert!(issued.lock().unwrap().is_empty());
            }
        }
        let error = engine.assume(&report.run, assumed, "me").unwrap_err();
        assert!(error.one_line().contains("no effect of it is in doubt"), "{error:?}");
        assert_eq!(error.class(), Class::Wrong);
    }
}

#[test]
fn a_node_kind_judges_a_canary_over_several_looks() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("seen.json"), r#"{"errors": 3}"#).unwrap();
    let judge = |call: &mut Call| {
        let seen: serde_json::Value = serde_json::from_slice(&call.input("observation").unwrap().bytes(100)?)?;
        let before: Vec<u8> = call.state().unwrap_or_default().to_vec();
        let reason = format!("{} errors, look {} after {}", seen["errors"], call.look(), before.len());
        let word = if before.len() < 2 { "hold" } else { "promote" };
        Ok(Answer::verdict(word, [reason]).state([&before[..], b"x"].concat()))
    };
    let judge = Kind(Declaration::canary("judge", "1.0.0").pure(), judge);
    let bad = Declaration::canary("bad", "1.0.0").pure();
    let bad = Kind(bad, |_: &mut Call| Ok(Answer::verdict("rollback", ["it is slow".to_owned()])));
    let wrong = Declaration::canary("wrong", "1.0.0").pure();
    let wrong = Kind(wrong, |_: &mut Call| Ok(Answer::verdict("healthy", [])));
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let heard = reasons.clone();
    let engine = engine(dir.path()).node_kind(judge).node_kind(bad).node_kind(wrong).on_event(move |event| {
        if let What::LookTaken { .. } = &event.what {
            heard.lock().unwrap().push(event.to_string());
        }
    });
    let engine = engine.build().unwrap();
    let canary = |id: &str| Canary::new(id).plugin(format!("app:{id}")).input("observation", Input::file("seen.json"));
    let poll = json!({ "every": "10ms", "for": "60s", "healthy": 1 });
    let pipeline = Pipeline::builder("p").canary(canary("judge").set("poll", poll));
    let report = engine.run_blocking(&engine.pipeline(&pipeline).root(dir.path()).check().unwrap()).unwrap();
    assert_eq!(report.status, Status::Succeeded, "{report:?}");
    assert_eq!(report.node("judge").unwrap().verdict.as_deref(), Some("promote"));
    let reasons = reasons.lock().unwrap();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[1].contains("hold"), "{reasons:?}");

    let pipeline = Pipeline::builder("p").canary(canary("bad")).canary(canary("wrong"));
    let report = engine.run_blocking(&engine.pipeline(&pipeline).root(dir.path()).check().unwrap()).unwrap();
    let node = |id: &str| report.node(id).unwrap();
    assert_eq!((node("bad").status, node("bad").verdict.as_deref()), (Status::Failed, Some("rollback")));
    let message = node("wrong").message.as_deref().unwrap();
    assert!(message.starts_with("its verdict is `healthy`, not one of promote"), "{message}");
}

#[test]
fn a_directory_becomes_an_output() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    std::fs::create_dir_all(made.join("sub/empty")).unwrap();
    std::fs::write(made.join("a.txt"), "first").unwrap();
    std::fs::write(made.join("sub/b.txt"), "second").unwrap();
    std::os::unix::fs::symlink("a.txt", made.join("link")).unwrap();
    let takes = |name: &str, from: std::path::PathBuf| {
        let declared = Declaration::stage(name, "1.0.0").output("site", Carries::Tree).pure();
        Kind(declared, move |call: &mut Call| {
            call.output_dir("site", &from)?;
            Ok(Answer::done())
        })
    };
    let builder = engine(dir.path()).node_kind(takes("takes", made.clone()));
    let builder = builder.node_kind(takes("file", made.join("a.txt"))).node_kind(takes("gone", made.join("gone")));
    let engine = builder.node_kind(takes("large", made)).build().unwrap();
    let pipeline = Pipeline::builder("p")
        .stage(stage("takes", "takes"))
        .stage(stage("file", "file"))
        .stage(stage("gone", "gone"))
        .stage(stage("large", "large").limit("output", 10));
    let checked = engine.pipeline(&pipeline).root(dir.path()).check().unwrap();
    let report = engine.run_blocking(&checked).unwrap();
    let message = |node: &str| report.node(node).unwrap().message.clone().unwrap_or_default();
    assert_eq!(message("file"), "there is no directory for the output `site`");
    assert_eq!(message("gone"), "there is no directory for the output `site`");
    assert!(message("large").starts_with("its outputs are larger than 10 B"), "{}", message("large"));
    assert_eq!(report.node("takes").unwrap().status, Status::Succeeded, "{}", message("takes"));
    let pipeline = Pipeline::builder("p").stage(stage("takes", "takes")).export("takes.site", "out/site");
    let report = engine.run_blocking(&engine.pipeline(&pipeline).root(dir.path()).check().unwrap()).unwrap();
    assert!(report.succeeded(), "{report:?}");
    let out = dir.path().join("out/site");
    assert_eq!(std::fs::read_to_string(out.join("sub/b.txt")).unwrap(), "second");
    assert_eq!(std::fs::read_link(out.join("link")).unwrap(), Path::new("a.txt"));
    assert!(out.join("sub/empty").is_dir());
}

#[test]
fn a_helper_compiles_repeats_and_starts_programs() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = Pipeline::builder("p")
        .stage(
            Stage::new("say")
                .plugin("std:command")
                .config(json!({ "program": "echo", "args": ["hello"] }))
                .grant_process([json!({ "program": "echo", "arguments": ["hello"] })]),
        )
        .stage(Stage::new("twice").plugin("std:noop").set("repeat", 2));
    let run = |builder: EngineBuilder| {
        let engine = builder.build().unwrap();
        engine.run_blocking(&engine.pipeline(&pipeline).root(dir.path()).check().unwrap()).unwrap()
    };
    let alone = run(engine(dir.path()));
    let message = alone.node("say").unwrap().message.clone().unwrap();
    assert!(message.contains("start programs"), "{message}");
    assert_eq!(alone.node("twice").unwrap().status, Status::Succeeded);
    let helped = run(engine(dir.path()).helper(binary::lockgate()));
    assert_eq!(helped.status, Status::Succeeded, "{helped:?}");
    assert_eq!(helped.output("say", "stdout", 100).unwrap().unwrap(), b"hello\n");
    // A helper that is none ends what it was needed for.
    let missing = run(engine(dir.path()).helper(dir.path().join("gone")));
    assert_ne!(missing.status, Status::Succeeded);
}
