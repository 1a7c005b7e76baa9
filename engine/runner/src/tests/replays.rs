//! Replay over fakes: every run replays to the same, and what lies is found; who executes the second time.

use std::collections::BTreeSet;

use lockgate_model::effect::{Begun, EffectRecord, encode};
use lockgate_model::pipeline::Poll;
use lockgate_model::units::Millis;
use proptest::prelude::*;

use super::random::{build, fated, shape};
use super::*;
use crate::{Difference, Left, Past, Replayed, Replayer, SinkError};

fn replay(driven: &Driven, executor: Arc<dyn Executor>, jobs: usize) -> Vec<Replayed> {
    let events = driven.memory.events();
    let past = Past::new(RunId::new("r1").unwrap(), driven.replayed.clone(), &events).unwrap();
    let nodes: Vec<usize> = (0..driven.replayed.pipeline().nodes.len()).collect();
    let blobs = Arc::clone(&driven.memory) as _;
    let same_engine = past.is_of("test", "test");
    let replayer = Replayer { past: Arc::new(past), executor, blobs, same_engine };
    let mut ended = BTreeMap::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let jobs = NonZeroUsize::new(jobs).unwrap();
    runtime.block_on(replayer.all(&nodes, jobs, |node, replayed| drop(ended.insert(node, replayed))));
    assert_eq!(ended.keys().copied().collect::<Vec<_>>(), nodes);
    ended.into_values().collect()
}

fn differences(replayed: &Replayed) -> Vec<String> {
    match replayed {
        Replayed::Different(differences) => differences.iter().map(Difference::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_replays_and_every_lie_is_found(shape in shape(), liars in prop::collection::btree_set(0usize..24, 0..4)) {
        let pipeline = build(&shape);
        let driven = run(&pipeline, &Fake::new(fated), options(3));
        let left = |node: usize| {
            let receipt = driven.replayed.receipt(node).unwrap();
            receipt.key.is_none()
        };
        let replayed = replay(&driven, Fake::new(fated), 4);
        for (node, replayed) in replayed.iter().enumerate() {
            prop_assert_eq!(matches!(replayed, Replayed::Left(_)), left(node), "{:?}", replayed);
            prop_assert!(matches!(replayed, Replayed::Same | Replayed::Left(_)), "{:?}", replayed);
        }
        let names: BTreeSet<NodeId> =
            pipeline.nodes.iter().enumerate().filter(|(i, _)| liars.contains(i)).map(|(_, node)| node.id.clone()).collect();
        let liar = Fake::new(move |task| {
            let mut done = fated(task);
            if names.contains(&task.node) {
                done.fuel = Some(123_456_789);
            }
            done
        });
        for (node, replayed) in replay(&driven, liar, 2).iter().enumerate() {
            let lies = liars.contains(&node) && !left(node);
            prop_assert_eq!(matches!(replayed, Replayed::Different(_)), lies, "{:?}", replayed);
        }
    }
}

#[test]
fn what_cannot_be_replayed_is_left_out_with_its_reason() {
    let mut nodes = vec![node("slow"), node("twice"), node("after").after("slow")];
    nodes[1].repeat = 2;
    let count = AtomicUsize::new(0);
    let fake = Fake::new(move |task| match task.node.as_str() {
        "slow" => bad(FailureKind::Timeout),
        _ => {
            let mut done = good(task);
            done.fuel = Some(count.fetch_add(1, Ordering::SeqCst) as u64);
            done
        }
    });
    let driven = run(&pipeline(nodes), &fake, options(1));
    let left = [Left::Infrastructure, Left::NotReproducible, Left::Skipped].map(Replayed::Left);
    assert_eq!(replay(&driven, fake, 1), left);
}

#[test]
fn what_breaks_a_replay_is_no_difference() {
    let driven = run(&pipeline(vec![node("a"), node("b")]), &Fake::new(good), options(1));
    let broken =
        Fake::new(|task| if task.node.as_str() == "a" { panic!("on purpose") } else { bad(FailureKind::Timeout) });
    let replayed = replay(&driven, broken, 2);
    let reason = |replayed: &Replayed| match replayed {
        Replayed::Broken(failure) => failure.message.clone(),
        other => panic!("{other:?}"),
    };
    assert!(reason(&replayed[0]).contains("panicked"), "{replayed:?}");
    assert_eq!(reason(&replayed[1]), "as told");
}

/// Makes effects, and puts their answers into its output and its record.
struct Asking {
    requests: Vec<&'static str>,
    blobs: Arc<Memory>,
}

#[async_trait::async_trait]
impl Executor for Asking {
    async fn execute(&self, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
        let mut records = Vec::new();
        for (sequence, summary) in (task.first_sequence..).zip(&self.requests) {
            let request = Digest::of(summary.as_bytes());
            let answer = match effects.intent(sequence, "http", request, summary).await {
                Ok(Begun::Issue) => {
                    let answer = serde_json::json!({ "look": task.look.index, "to": summary });
                    effects.outcome(sequence, &answer).await.unwrap();
                    answer
                }
                Ok(Begun::Answered(answer)) => answer,
                Err(SinkError::Differs(differs)) => {
                    return Completion::failed(FailureKind::NotReproducible, differs.to_string());
                }
                Err(error) => return Completion::failed(FailureKind::Infrastructure, error.to_string()),
            };
            let (kind, summary) = ("http".to_owned(), (*summary).to_owned());
            records.push(EffectRecord { sequence, kind, request, summary, answer });
        }
        let mut done = said(if task.look.index == 2 { "healthy" } else { "degraded" });
        done.effects = Some(self.blobs.keep(encode(&records).as_bytes()));
        done.log = Some(self.blobs.keep(format!("info look {}\n", task.look.index).as_bytes()));
        done
    }
}

#[test]
fn looks_replay_in_their_order_with_their_answers() {
    let mut up = node("up");
    up.kind = NodeKind::HealthCheck;
    up.grants.clock = true;
    up.poll = Some(Poll { every: Millis(10), span: Millis(1_000), healthy: None, unhealthy: None });
    let memory = Memory::new(usize::MAX);
    let asking = |requests: &[&'static str]| -> Arc<dyn Executor> {
        Arc::new(Asking { requests: requests.to_vec(), blobs: Arc::clone(&memory) })
    };
    let mut surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    surroundings.clock = Arc::new(Jumping::default());
    let pipeline = pipeline(vec![up]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report =
        runtime.block_on(drive(spec(&pipeline), asking(&["GET a", "GET b"]), surroundings, options(1))).unwrap();
    let driven = Driven { replayed: report.state.clone(), result: Ok(report), memory: Arc::clone(&memory) };
    assert_eq!(replay(&driven, asking(&["GET a", "GET b"]), 1), [Replayed::Same]);

    let other = replay(&driven, asking(&["GET a", "GET c"]), 1);
    let found = differences(&other[0]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("effects at effect 1: `http GET b ("), "{found:?}");
    let more = differences(&replay(&driven, asking(&["GET a", "GET b", "GET c"]), 1)[0]);
    assert!(more[0].starts_with("effects at effect 2: `http GET a ("), "the next look's first: {more:?}");
    let fewer = differences(&replay(&driven, asking(&["GET a"]), 1)[0]);
    assert!(fewer[0].starts_with("effects at effect 1: `http GET b ("), "{fewer:?}");

    // Looks that say something else, or come to an end too early or too late.
    let say = |words: &'static [&'static str]| Fake::new(move |task: &Task| said(words[task.look.index as usize]));
    let early = differences(&replay(&driven, say(&["degraded", "healthy"]), 1)[0]);
    assert_eq!(early, ["look 2: `degraded`: why and `healthy`: why and was the last"]);
    let late = differences(&replay(&driven, say(&["degraded", "degraded", "degraded"]), 1)[0]);
    assert_eq!(late, ["look 3: the last and not the last"]);
}

#[test]
fn the_second_time_is_for_who_is_given_for_it() {
    let mut nodes = vec![node("pure"), node("twice"), node("granted")];
    nodes[1].repeat = 3;
    nodes[2].grants.clock = true;
    let pipeline = pipeline(nodes);
    let (first, again) = (Fake::new(good), Fake::new(good));
    let run = |check_determinism| {
        let memory = Memory::new(usize::MAX);
        let mut surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
        surroundings.again = Some(Arc::clone(&again) as _);
        let options = DriveOptions { check_determinism, ..options(1) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(drive(spec(&pipeline), Arc::clone(&first) as _, surroundings, options)).unwrap().digest
    };
    let plain = run(false);
    assert_eq!((first.order(), again.order()), (names(&["pure", "twice", "granted"]), names(&["twice", "twice"])));
    assert_eq!(run(true), plain, "it proves the same");
    assert_eq!(again.order()[2..], names(&["pure", "twice", "twice"]));

    let other = Fake::new(|task| {
        let mut done = good(task);
        done.fuel = Some(1);
        done
    });
    let memory = Memory::new(usize::MAX);
    let mut surroundings = Surroundings::new(Arc::clone(&memory) as _, Arc::clone(&memory) as _);
    surroundings.again = Some(other);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = DriveOptions { check_determinism: true, ..options(1) };
    let report = runtime.block_on(drive(spec(&pipeline), first, surroundings, options)).unwrap();
    let receipt = report.state.receipt(0).unwrap();
    let message = &receipt.failure.as_ref().unwrap().message;
    assert!(message.starts_with("execution 2 of 2 gave something else than the first: fuel: "), "{message}");
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
