//! Properties over random pipelines: the run digest is the same at any number of jobs, and the journal gives the state back.

use lockgate_model::outcome::FailureKind;
use lockgate_model::run::ExitClass;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// Per node: for each earlier node 0: no edge, 1: order, 2: data; what becomes of it; flags.
    nodes: Vec<(Vec<u8>, u8, u8)>,
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let node = (prop::collection::vec(0u8..8, 24), 0u8..10, any::<u8>());
    prop::collection::vec(node, 1..24).prop_map(|nodes| Shape { nodes })
}

pub(super) fn build(shape: &Shape) -> Pipeline {
    let name = |i: usize| format!("n{i}{}", "-".repeat(i % 3));
    let mut nodes = Vec::new();
    for (i, (edges, fate, flags)) in shape.nodes.iter().enumerate() {
        let mut node = node(&name(i));
        for (j, edge) in edges.iter().enumerate().take(i) {
            node = match edge {
                1 => node.after(&name(j)),
                2 => node.reads(&name(j)),
                _ => node,
            };
        }
        node.allow_failure = flags & 1 > 0;
        node.finally = flags & 14 == 14;
        node.retry.attempts = if flags & 16 > 0 { 3 } else { 1 };
        node.when = (flags & 224 == 224).then(|| lockgate_model::expr::Expr::Value(serde_json::json!(i % 2 == 0)));
        node.env.insert("fate".to_owned(), fate.to_string());
        nodes.push(if i % 3 == 1 { node.granted(InDoubt::Repeat) } else { node });
    }
    pipeline(nodes)
}

pub(super) fn fated(task: &Task) -> Completion {
    match task.env["fate"].as_str() {
        "0" => bad(FailureKind::Error),
        "1" => bad(FailureKind::Trap),
        "2" if task.attempt < 2 => bad(FailureKind::Error),
        _ => good(task),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_run_digest_is_the_same_at_any_number_of_jobs(shape in shape()) {
        let pipeline = build(&shape);
        let one = run(&pipeline, &Fake::new(fated), options(1));
        prop_assert!(one.report().digest.is_some());
        for jobs in [2, 16] {
            let fake = Fake::new(fated);
            let many = run(&pipeline, &fake, options(jobs));
            prop_assert_eq!(many.report().digest, one.report().digest);
            prop_assert_eq!(many.report().exit, one.report().exit);
            prop_assert!(fake.most.load(Ordering::SeqCst) <= jobs);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fail_fast_ends_every_node_too(shape in shape(), jobs in 1usize..8) {
        let pipeline = build(&shape);
        let driven = run(&pipeline, &Fake::new(fated), DriveOptions { fail_fast: true, ..options(jobs) });
        let slow = run(&pipeline, &Fake::new(fated), options(jobs));
        prop_assert!(driven.report().state.all_final());
        prop_assert_eq!(driven.report().exit, slow.report().exit);
        prop_assert!(slow.report().exit != ExitClass::Infrastructure);
    }

    #[test]
    fn an_interrupt_anywhere_leaves_a_legal_journal(shape in shape(), after in 0usize..60) {
        let pipeline = build(&shape);
        // That the journal can be applied and gives the same state is checked inside.
        let driven = run_with(&pipeline, &Fake::with_effects(1, fated), options(3), Memory::new(usize::MAX), after);
        prop_assert!(driven.report().state.over().is_some());
    }

    #[test]
    fn a_crash_behind_any_record_loses_nothing(shape in shape(), crash in 1usize..80, again in 1usize..40) {
        let mut pipeline = build(&shape);
        // What fails once only would not fail again after the crash.
        pipeline.nodes.iter_mut().for_each(|node| {
            let fate = node.env.get_mut("fate").unwrap();
            if fate == "2" { *fate = "3".to_owned(); }
        });
        let whole = run(&pipeline, &Fake::with_effects(1, fated), options(3));
        let mut events = whole.memory.events.lock().unwrap().clone();
        events.truncate(crash.min(events.len() - 1));
        // It crashes twice, the second time after a few more records.
        let (count, memory) = (events.len(), Memory::left(&events));
        let first = Fake::with_effects(1, fated);
        run_with(&pipeline, &first, options(2), Arc::clone(&memory), usize::MAX);
        let mut events = memory.events.lock().unwrap().clone();
        events.truncate((count + again).min(events.len() - 1));
        let resumed = Fake::with_effects(1, fated);
        let driven = run_with(&pipeline, &resumed, options(2), Memory::left(&events), usize::MAX);
        prop_assert_eq!(driven.report().digest, whole.report().digest);
        prop_assert_eq!(driven.report().exit, whole.report().exit);
        for stamped in &events {
            if let Event::NodeFinished { receipt, .. } = &stamped.event
                && receipt.status == lockgate_model::outcome::Status::Succeeded
                && !pipeline.nodes.iter().any(|node| node.id == receipt.node && node.finally)
            {
                let name = receipt.node.to_string();
                prop_assert!(is_late(&pipeline, &receipt.node) || !resumed.order().contains(&name), "{name} ran again");
            }
        }
    }
}

/// Whether a node runs after all others.
fn is_late(pipeline: &Pipeline, node: &NodeId) -> bool {
    let state = state(pipeline);
    state.is_late(state.position(node.as_str()).unwrap())
}
