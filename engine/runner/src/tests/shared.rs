//! Results that come from elsewhere: from another node of the run with the same key, or from an earlier run.

use std::sync::Arc;

use lockgate_model::event::AttemptFacts;
use lockgate_model::grant::HttpGrant;
use lockgate_model::receipt::Receipt;
use lockgate_model::units::Millis;
use proptest::prelude::*;

use super::*;
use crate::forecast::{Prospect, Sources, forecast};
use crate::ports::{Cached, Earlier, LastEnd};

/// What earlier runs proved, as the store finds it: by the events of their journals.
#[derive(Default)]
struct Proofs(HashMap<Digest, Cached>);

impl Proofs {
    fn of(driven: &Driven) -> Arc<Self> {
        let mut proofs = HashMap::new();
        for event in driven.memory.events() {
            if let (Some(key), Event::NodeFinished { receipt, facts, .. }) = (event.proves(), event) {
                proofs
                    .insert(key, Cached { run: run_id(7, 7), receipt: Arc::unwrap_or_clone(receipt), facts, time: 0 });
            }
        }
        Arc::new(Self(proofs))
    }
}

/// No node with grants ever ended.
struct NoEarlier;

impl Earlier for NoEarlier {
    fn last_end(&self, _: &NodeId, _: &Digest) -> Option<LastEnd> {
        None
    }
}

impl Cache for Proofs {
    fn find(&self, key: &Digest) -> Option<Cached> {
        self.0.get(key).cloned()
    }
}

/// A node that is like every other one made here.
fn alike(name: &str) -> Node {
    Node { config: serde_json::Map::new(), ..node(name) }
}

/// A result that depends on nothing but what stands in the key.
fn pure(task: &Task) -> Completion {
    let text = format!("{} {:?} {:?}", task.config, task.env, task.inputs);
    let mut completion = said("healthy");
    completion.verdict = None;
    completion.fuel = Some(text.len() as u64);
    completion.finding_counts = [("note".to_owned(), 2)].into();
    completion.outputs.insert(port("out"), blob_ref(text.as_bytes()));
    completion
}

fn with_cache(pipeline: &Pipeline, fake: &Arc<Fake>, jobs: usize, cache: &Arc<Proofs>) -> Driven {
    let memory = Memory::new(usize::MAX);
    run_cached(pipeline, fake, options(jobs), memory, usize::MAX, Some(Arc::clone(cache) as _))
}

fn ends(driven: &Driven) -> Vec<(Receipt, AttemptFacts)> {
    let ends = driven.memory.events().into_iter().filter_map(|event| match event {
        Event::NodeFinished { receipt, facts, .. } => Some((Arc::unwrap_or_clone(receipt), facts)),
        _ => None,
    });
    ends.collect()
}

#[test]
fn a_thousand_equal_nodes_execute_once() {
    let mut nodes: Vec<_> = (0..1_000).map(|number| alike(&format!("n{number}"))).collect();
    nodes.push(alike("after").reads("n999"));
    let pipeline = pipeline(nodes);
    let mut digests = Vec::new();
    for jobs in [1, 2, 16] {
        let fake = Fake::new(pure);
        let driven = run(&pipeline, &fake, options(jobs));
        assert_eq!(fake.order().len(), 2, "one of the thousand, and the one after them");
        assert_eq!(driven.report().counts.succeeded, 1_001);
        let ends = ends(&driven);
        assert_eq!(ends.iter().filter(|(_, facts)| facts.cached).count(), 999);
        let first = &ends[0].0;
        let alike = ends.iter().filter(|(end, _)| Receipt { node: first.node.clone(), ..end.clone() } == *first);
        assert_eq!(alike.count(), 1_000, "the same receipt but for the node");
        assert!(ends.iter().all(|(_, facts)| facts.findings["note"] == 2 && facts.pure));
        digests.push(driven.report().digest);
    }
    assert!(digests[0].is_some() && digests.iter().all(|digest| *digest == digests[0]));
}

#[test]
fn if_the_first_one_fails_each_fails_by_itself() {
    let pipeline = pipeline((0..50).map(|number| alike(&format!("n{number}"))).collect());
    let fake = Fake::new(|_| bad(FailureKind::Trap));
    let driven = run(&pipeline, &fake, options(8));
    assert_eq!((fake.order().len(), driven.report().counts.failed), (50, 50));
    assert!(fake.most.load(Ordering::SeqCst) > 1, "not one after the other");
    let failure = |end: &Receipt| end.failure.clone();
    assert!(
        ends(&driven)
            .iter()
            .all(|(end, facts)| failure(end) == Some(super::failure(FailureKind::Trap)) && !facts.cached)
    );
}

#[test]
fn the_others_wait_for_every_attempt_of_the_first() {
    let mut nodes: Vec<_> = (0..5).map(|number| alike(&format!("n{number}"))).collect();
    nodes.iter_mut().for_each(|node| node.retry.attempts = 3);
    let fake = Fake::new(|task| if task.attempt < 3 { bad(FailureKind::Timeout) } else { pure(task) });
    let driven = run(&pipeline(nodes), &fake, options(8));
    assert_eq!((fake.order().len(), driven.report().counts.succeeded), (3, 5));
}

#[test]
fn what_has_effects_or_is_repeated_is_always_executed() {
    let mut granted = [alike("g0"), alike("g1")];
    granted.iter_mut().for_each(|node| node.grants.http = vec![HttpGrant::parse("GET http://a/").unwrap()]);
    let mut repeated = [alike("r0"), alike("r1")];
    repeated.iter_mut().for_each(|node| node.repeat = 2);
    let pipeline = pipeline(granted.into_iter().chain(repeated).collect());
    let fake = Fake::new(pure);
    let first = run(&pipeline, &fake, options(4));
    assert_eq!(fake.order().len(), 2 + 4);
    // What repeated nodes prove serves others; they are served by nobody.
    let proofs = Proofs::of(&first);
    assert_eq!(proofs.0.len(), 1);
    let again = Fake::new(pure);
    let second = with_cache(&pipeline, &again, 4, &proofs);
    assert_eq!((again.order().len(), second.report().digest), (6, first.report().digest));
    let single = super::pipeline(vec![alike("single")]);
    let never = Fake::new(|_| bad(FailureKind::Trap));
    assert_eq!(with_cache(&single, &never, 1, &proofs).report().counts.succeeded, 1);
}

#[test]
fn what_one_accepts_another_may_not() {
    let check = |name: &str, accepts: bool| {
        let accept = if accepts { ["degraded".to_owned()].into() } else { Default::default() };
        Node { kind: NodeKind::HealthCheck, accept, ..alike(name) }
    };
    let pipeline = pipeline(vec![check("mild", true), check("strict", false), check("mild-too", true)]);
    let fake = Fake::new(|_| said("degraded"));
    let driven = run(&pipeline, &fake, options(1));
    assert_eq!(driven.text("mild-too"), "succeeded");
    assert_eq!(driven.text("strict"), "failed verdict: the verdict is `degraded`: why");
    let proofs = Proofs::of(&driven);
    let again = Fake::new(|_| said("degraded"));
    let second = with_cache(&pipeline, &again, 3, &proofs);
    assert_eq!((again.order(), second.report().digest), (vec!["strict".to_owned()], driven.report().digest));
}

#[test]
fn an_earlier_run_spares_every_execution_and_without_a_cache_none() {
    let nodes = vec![node("a"), node("b").reads("a"), node("c").reads("b").after("a"), node("d")];
    let pipeline = pipeline(nodes);
    let first = run(&pipeline, &Fake::new(pure), options(2));
    let proofs = Proofs::of(&first);
    let fake = Fake::new(|_| bad(FailureKind::Trap));
    let second = with_cache(&pipeline, &fake, 2, &proofs);
    assert_eq!((fake.order().len(), second.report().digest), (0, first.report().digest));
    assert!(ends(&second).iter().all(|(_, facts)| facts.cached && facts.findings["note"] == 2));
    let third = Fake::new(pure);
    run(&pipeline, &third, options(2));
    assert_eq!(third.order().len(), 4);
}

#[test]
fn nodes_that_wait_for_another_are_cut_with_it_and_left_alone_by_an_interrupt() {
    let mut nodes: Vec<_> = (0..4).map(|number| alike(&format!("n{number}"))).collect();
    nodes[0].config.insert("first".to_owned(), true.into());
    let pipeline = pipeline(nodes);
    let fake = Fake::new(|task| if task.config.contains("first") { bad(FailureKind::Trap) } else { pure(task) });
    let driven = run(&pipeline, &fake, DriveOptions { fail_fast: true, ..options(1) });
    assert!(driven.report().state.all_final());
    for after in 0..12 {
        let driven = run_with(&pipeline, &Fake::new(pure), options(2), Memory::new(usize::MAX), after);
        assert!(driven.report().state.over().is_some());
    }
}

#[test]
fn what_would_happen_is_foreseen() {
    let mut when = node("maybe").after("b");
    let verdict = lockgate_model::expr::Expr::Status(id("b"));
    when.when = Some(lockgate_model::expr::Expr::Not(Box::new(lockgate_model::expr::Expr::Compare(
        lockgate_model::expr::Compare::Equal,
        Box::new(verdict),
        Box::new(lockgate_model::expr::Expr::Value("succeeded".into())),
    ))));
    let late = node("late").after("b");
    let nodes = vec![node("a"), node("b").reads("a"), when, node("c").reads("b"), alike("x"), alike("y"), late];
    let mut pipeline = pipeline(nodes);
    let first = run(&pipeline, &Fake::new(pure), options(2));
    let proofs = Proofs::of(&first);
    let foresee = |pipeline: &Pipeline, proofs: &Proofs| {
        let blobs: Arc<dyn Blobs> = Memory::new(usize::MAX);
        let sources = Sources { cache: proofs, fresh: false, earlier: &NoEarlier, blobs: &blobs, now: 0 };
        forecast(&spec(pipeline), &sources).unwrap().prospects
    };
    let cached = foresee(&pipeline, &proofs);
    assert!(
        [0, 1, 3, 4, 5]
            .iter()
            .all(|node| matches!(&cached[*node], Prospect::Cached { run, .. } if *run == run_id(7, 7)))
    );
    assert_eq!(cached[2], Prospect::Skipped("its `when` is false".to_owned()));
    // A change in the middle: what comes before is cached, what comes after is open.
    pipeline.nodes[1].limits.timeout = Millis(7);
    let changed = foresee(&pipeline, &proofs);
    assert!(matches!(changed[0], Prospect::Cached { .. }));
    let Prospect::Runs { key, shares: None } = &changed[1] else { panic!("{:?}", changed[1]) };
    assert_eq!((key.limits.timeout, key.inputs.len()), (Millis(7), 1));
    assert_eq!(changed[2..4], [Prospect::Open(vec![1]), Prospect::Open(vec![1])]);
    assert!(matches!(changed[6], Prospect::Cached { .. }), "an order changes no key");
    // Nothing is known: equal nodes would execute once.
    let nothing = foresee(&pipeline, &Proofs::default());
    assert!(matches!(nothing[0], Prospect::Runs { shares: None, .. }));
    assert!(matches!(nothing[4], Prospect::Runs { shares: None, .. }));
    assert!(matches!(nothing[5], Prospect::Runs { shares: Some(4), .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Edges, kinds of content of which several nodes have the same, failures that come back the same.
    #[test]
    fn cold_cached_and_shared_runs_have_one_digest(
        shape in prop::collection::vec((prop::collection::vec(0u8..8, 16), 0u8..5), 1..16),
    ) {
        let name = |i: usize| format!("n{i}{}", "-".repeat(i % 3));
        let build = |(i, (edges, content)): (usize, &(Vec<u8>, u8))| {
            let mut node = alike(&name(i));
            for (j, edge) in edges.iter().enumerate().take(i) {
                node = match edge { 1 => node.after(&name(j)), 2 => node.reads(&name(j)), _ => node };
            }
            node.env.insert("content".to_owned(), content.to_string());
            node
        };
        let pipeline = pipeline(shape.iter().enumerate().map(build).collect());
        let body = |task: &Task| if task.env["content"] == "0" { bad(FailureKind::Error) } else { pure(task) };
        let one = run(&pipeline, &Fake::new(body), options(1));
        let proofs = Proofs::of(&one);
        for jobs in [1, 2, 16] {
            prop_assert_eq!(run(&pipeline, &Fake::new(body), options(jobs)).report().digest, one.report().digest);
            let fake = Fake::new(body);
            let cached = with_cache(&pipeline, &fake, jobs, &proofs);
            prop_assert_eq!(cached.report().digest, one.report().digest);
            let failed = cached.report().counts.failed;
            prop_assert_eq!(fake.order().len(), failed, "only what failed is executed again");
        }
    }
}
