//! Runs whose nodes are all served at once.

use lockgate_model::outcome::Status;

use super::*;
use crate::ports::Cached;
use crate::whole::MIN_NODES;

/// What one run proved of its graph, and of no node alone.
struct Whole {
    key: Digest,
    results: ArtifactRef,
    text: String,
}

impl Whole {
    fn of(driven: &Driven) -> Option<Arc<Self>> {
        let find = |event: Event| match event {
            Event::GraphProved { key, results } => Some((key, results)),
            _ => None,
        };
        let (key, results) = driven.memory.events().into_iter().find_map(find)?;
        let text = String::from_utf8(driven.memory.read(results.digest, u64::MAX).unwrap()).unwrap();
        Some(Arc::new(Self { key, results, text }))
    }
}

impl Cache for Whole {
    fn find(&self, _: &Digest) -> Option<Cached> {
        None
    }

    fn graph(&self, key: &Digest) -> Option<(ArtifactRef, String)> {
        (*key == self.key).then(|| (self.results, self.text.clone()))
    }
}

fn pure(task: &Task) -> Completion {
    let mut completion = said("healthy");
    completion.verdict = None;
    completion.fuel = Some(7);
    completion.peak_memory = 65_536;
    completion.finding_counts = [("note".to_owned(), 2)].into();
    completion.outputs.insert(port("out"), blob_ref(format!("{} {:?}", task.config, task.inputs).as_bytes()));
    completion
}

/// A graph of several layers, with a node that runs after all others in the middle of the file.
fn graph(more: usize) -> Pipeline {
    let mut nodes: Vec<_> = (0..MIN_NODES + more).map(|number| node(&format!("n{number}"))).collect();
    nodes[3] = node("n3").reads("n200");
    nodes[5].finally = true;
    pipeline(nodes)
}

fn drive_with(pipeline: &Pipeline, cache: Option<Arc<Whole>>, options: DriveOptions, memory: Arc<Memory>) -> Driven {
    let fake = Fake::new(pure);
    // What a cache finds, its store has.
    if let Some(cache) = &cache {
        memory.keep(cache.text.as_bytes());
    }
    run_cached(pipeline, &fake, options, memory, usize::MAX, cache.map(|cache| cache as _))
}

fn fresh(pipeline: &Pipeline, cache: Option<Arc<Whole>>) -> Driven {
    drive_with(pipeline, cache, options(2), Memory::new(usize::MAX))
}

fn kinds(driven: &Driven) -> Vec<&'static str> {
    driven.memory.events().iter().map(Event::kind).collect()
}

/// The journal of a served run that ends behind the record which serves it, as a killed process leaves it.
fn killed(proved: &Driven, served: &Driven) -> Arc<Memory> {
    let memory = Memory::new(usize::MAX);
    *memory.blobs.lock().unwrap() = proved.memory.blobs.lock().unwrap().clone();
    *memory.events.lock().unwrap() = served.memory.events.lock().unwrap()[..2].to_vec();
    memory
}

#[test]
fn a_known_graph_is_served_with_one_record() {
    let pipeline = graph(0);
    let first = fresh(&pipeline, None);
    assert_eq!(kinds(&first).iter().filter(|kind| **kind == "graph-proved").count(), 1);
    let whole = Whole::of(&first).unwrap();
    let second = fresh(&pipeline, Some(whole.clone()));
    assert_eq!(kinds(&second), ["run-started", "graph-served", "run-finished"]);
    let (one, two) = (first.report(), second.report());
    assert_eq!((one.digest, one.counts), (two.digest, two.counts));
    assert!(one.digest.is_some());
    for stamped in second.memory.unfolded() {
        if let Event::NodeFinished { facts, .. } = stamped.event {
            assert!(facts.cached && facts.peak_memory == 65_536 && facts.findings["note"] == 2);
        }
    }
    // One that was killed before its end is resumed to the same end, without executing anything.
    let resumed = drive_with(&pipeline, None, options(2), killed(&first, &second));
    assert_eq!(resumed.report().digest, one.digest);
    assert_eq!(kinds(&resumed)[2..], ["run-resumed", "run-finished"]);
}

#[test]
fn only_the_same_graph_is_served_and_only_where_the_cache_may_be() {
    let pipeline = graph(0);
    let whole = Whole::of(&fresh(&pipeline, None)).unwrap();
    let served = |pipeline: &Pipeline, options: DriveOptions| {
        let driven = drive_with(pipeline, Some(whole.clone()), options, Memory::new(usize::MAX));
        kinds(&driven).contains(&"graph-served")
    };
    assert!(served(&pipeline, options(1)));
    assert!(!served(&graph(1), options(1)), "another graph");
    let mut other = pipeline.clone();
    other.nodes[7].config.insert("x".to_owned(), 1.into());
    assert!(!served(&other, options(1)), "another config");
    assert!(!served(&pipeline, DriveOptions { check_cache: true, ..options(1) }));
    assert!(!served(&pipeline, DriveOptions { check_determinism: true, ..options(1) }));
    // What does not fit is no reason to fail.
    let torn = |change: fn(&str) -> String| {
        Arc::new(Whole { key: whole.key, results: whole.results, text: change(&whole.text) })
    };
    for change in
        [(|_| String::new()) as fn(&str) -> String, |text| text.lines().take(9).collect::<Vec<_>>().join("\n")]
    {
        let driven = fresh(&pipeline, Some(torn(change)));
        assert_eq!(driven.report().status, Status::Succeeded);
    }
}

#[test]
fn graphs_that_might_give_something_else_are_not_proved() {
    let small = pipeline((0..MIN_NODES - 1).map(|number| node(&format!("n{number}"))).collect());
    let mut repeated = graph(0);
    repeated.nodes[9].repeat = 2;
    let mut failing = graph(0);
    failing.nodes[9].allow_failure = true;
    failing.nodes[9].config.insert("fail".to_owned(), true.into());
    let mut granted = graph(0);
    granted.nodes[9].grants.clock = true;
    for pipeline in [small, repeated, granted] {
        assert!(Whole::of(&fresh(&pipeline, None)).is_none());
    }
    let fake =
        Fake::new(
            |task: &Task| {
                if task.config.contains("fail") { Completion::failed(FailureKind::Trap, "no") } else { pure(task) }
            },
        );
    let failed = run(&failing, &fake, options(2));
    assert_eq!((failed.report().status, Whole::of(&failed).is_none()), (Status::Succeeded, true));
}
