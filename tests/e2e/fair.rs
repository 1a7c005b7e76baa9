//! Five hundred hostile nodes beside an honest run: in the same engine, and beside one in another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use lockgate_runner::{NoObserver, Observer, RunReport};
use lockgate_store::Store;
use lockgate_tests::handmade::Handmade;
use lockgate_tests::{Project, embedded};

/// Hostile nodes.
const MANY: usize = 500;
/// Honest nodes: together they take about as much fuel as fifty hostile ones.
const FEW: usize = 5;

/// A stage that counts to its end: some 20M of fuel.
fn honest() -> Vec<u8> {
    let count = "(local $i i32) (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000000))))";
    Handmade::stage().run(count).build()
}

/// A pipeline of so many nodes, none of which has another's key.
fn pipeline(nodes: usize, fuel: &str) -> String {
    let mut text = format!(
        "schema = 1\nname = \"nodes\"\nlimits.fuel = \"{fuel}\"\nlimits.timeout = \"600s\"\nplugins.it.path = \"it.wasm\"\n"
    );
    for node in 0..nodes {
        text += &format!("[[stage]]\nid = \"n{node}\"\nplugin = \"it\"\nconfig.n = {node}\n");
    }
    text
}

/// Counts nodes that ended.
#[derive(Default)]
struct Ended(AtomicUsize);

impl Observer for Ended {
    fn event(&self, _: u64, event: &Event) {
        if matches!(event, Event::NodeFinished { .. }) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    (dir, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_run_in_the_same_engine_gets_its_share() {
    // As many calls of a run as are under way at once: the hostile one has all of its nodes there at the same time, nearly.
    let host = embedded::host(64, 2);
    let good = embedded::load(&host, &honest());
    let bad = embedded::load(&host, &Handmade::stage().run("(loop $l (br $l))").build());
    let run = |plugin: &Arc<lockgate_host::Plugin>, text: String, jobs, observer: Arc<dyn Observer>| {
        let (host, plugin) = (host.clone(), plugin.clone());
        async move {
            let (_dir, store) = store();
            let begun = Instant::now();
            let report: RunReport = embedded::drive(host, plugin, store, &text, jobs, observer).await;
            (report, begun.elapsed())
        }
    };
    let few = pipeline(FEW, "2G");
    let (alone, first) = run(&good, few.clone(), 2, Arc::new(NoObserver)).await;
    assert_eq!(alone.status, Status::Succeeded);
    let ended = Arc::new(Ended::default());
    let hostile = tokio::spawn(run(&bad, pipeline(MANY, "3M"), 64, ended.clone()));
    while ended.0.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let before = ended.0.load(Ordering::SeqCst);
    let (beside, second) = run(&good, few, 2, Arc::new(NoObserver)).await;
    let meanwhile = ended.0.load(Ordering::SeqCst) - before;
    assert_eq!(beside.digest, alone.digest, "the usual digest");
    assert!(alone.digest.is_some());
    println!(
        "alone {} ms, beside {MANY} hostile nodes {} ms ({:.2} times), of which {meanwhile} ended meanwhile",
        first.as_millis(),
        second.as_millis(),
        second.as_secs_f64() / first.as_secs_f64()
    );
    // By its fuel the honest run takes what some thirty hostile nodes take; what comes on top are nodes that had nearly ended.
    // Without turns by run it would wait for nearly all of them.
    assert!(meanwhile < MANY / 2, "{meanwhile} hostile nodes ended while the honest run took its turns");
    let (report, _) = hostile.await.unwrap();
    assert_eq!(report.status, Status::Failed);
    assert!(report.digest.is_some(), "to spend all of one's fuel is a result");
}

#[test]
fn an_honest_run_in_another_process_is_not_harmed() {
    let bad = Project::new();
    bad.file("it.wasm", Handmade::stage().run("(loop $l (br $l))").build());
    bad.file("pipeline.toml", pipeline(MANY, "3M"));
    let good = Project::new();
    good.file("it.wasm", honest()).file("pipeline.toml", pipeline(FEW, "2G"));
    let begun = Instant::now();
    let alone = good.run(["--no-cache"]).code(0);
    let first = begun.elapsed();
    let mut hostile = bad.start(["--jobs", "64"]);
    hostile.wait_for("node-finished");
    let begun = Instant::now();
    let beside = good.run(["--no-cache"]).code(0);
    let second = begun.elapsed();
    println!("alone {} ms, beside a hostile run in another process {} ms", first.as_millis(), second.as_millis());
    assert_eq!(beside.digest(), alone.digest());
    let done = hostile.finish().code(1);
    assert!(done.digest().starts_with("sha256:"));
    assert_eq!(done.events("node-finished").count(), MANY);
}
