//! Repeated looks: rows, spans, times, what the one receipt of all looks holds.

use lockgate_model::effect::{self, EffectRecord};
use lockgate_model::event::Event;
use lockgate_model::outcome::FailureKind;
use lockgate_model::pipeline::{NodeKind, Poll};
use lockgate_model::units::Millis;

use super::*;

fn polled(kind: NodeKind, poll: Poll) -> Pipeline {
    let mut node = node("up");
    node.kind = kind;
    node.poll = Some(poll);
    pipeline(vec![node])
}

fn poll(every: u64, span: u64, healthy: Option<u32>, unhealthy: Option<u32>) -> Poll {
    Poll { every: Millis(every), span: Millis(span), healthy, unhealthy }
}

/// Takes looks that say these words in turn; `!` fails. The end's text, and how many looks there were.
fn look(kind: NodeKind, poll: Poll, words: &'static [&'static str]) -> (String, usize) {
    let fake = Fake::new(move |task| match words[task.look.index as usize] {
        "!" => bad(FailureKind::Trap),
        "timeout" => bad(FailureKind::Timeout),
        word => said(word),
    });
    let driven = run(&polled(kind, poll), &fake, options(1));
    (driven.text("up"), fake.order().len())
}

#[test]
fn a_health_check_ends_at_its_rows() {
    use NodeKind::HealthCheck;
    let ok = |looks| ("succeeded".to_owned(), looks);
    let no = |word: &str, looks| (format!("failed verdict: the verdict is `{word}`: why"), looks);
    assert_eq!(look(HealthCheck, poll(10, 50, None, None), &["healthy"]), ok(1));
    assert_eq!(look(HealthCheck, poll(10, 50, None, None), &["degraded", "healthy"]), ok(2));
    assert_eq!(look(HealthCheck, poll(10, 50, None, None), &["unhealthy"]), no("unhealthy", 1));
    let rows = poll(10, 90, Some(3), Some(2));
    assert_eq!(
        look(HealthCheck, rows.clone(), &["healthy", "healthy", "unhealthy", "healthy", "healthy", "healthy"]),
        ok(6)
    );
    assert_eq!(
        look(HealthCheck, rows.clone(), &["unhealthy", "degraded", "unhealthy", "unhealthy"]),
        no("unhealthy", 4)
    );
    assert_eq!(look(HealthCheck, rows.clone(), &["unhealthy", "!"]).0, "failed trap: as told");
    assert_eq!(look(HealthCheck, rows, &["timeout"]), ("errored timeout: as told".to_owned(), 1));
}

#[test]
fn the_last_look_decides_where_no_row_does() {
    use NodeKind::{Canary, HealthCheck};
    assert_eq!(look(HealthCheck, poll(10, 25, Some(3), None), &["degraded", "healthy", "healthy"]).0, "succeeded");
    assert_eq!(look(HealthCheck, poll(10, 25, Some(3), None), &["healthy", "healthy", "degraded"]).1, 3);
    assert_eq!(look(Canary, poll(10, 20, None, None), &["promote", "promote", "promote"]), ("succeeded".to_owned(), 3));
    assert_eq!(look(Canary, poll(10, 20, Some(2), None), &["hold", "promote", "promote"]), ("succeeded".to_owned(), 3));
    assert_eq!(
        look(Canary, poll(10, 900, None, None), &["promote", "rollback"]).0,
        "failed verdict: the verdict is `rollback`: why"
    );
    assert_eq!(look(Canary, poll(0, 0, None, None), &["hold"]).0, "failed verdict: the verdict is `hold`: why");
}

#[test]
fn looks_come_by_the_schedule_and_are_journaled() {
    let fake = Fake::new(|task| said(["degraded", "degraded", "healthy"][task.look.index as usize]));
    let driven = run(&polled(NodeKind::HealthCheck, poll(1_000, 60_000, None, None)), &fake, options(1));
    let looks: Vec<_> = driven
        .memory
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|stamped| match &stamped.event {
            Event::LookTaken { look, next_in, verdict, .. } => {
                Some((stamped.time, *look, *next_in, verdict.clone().unwrap().word))
            }
            _ => None,
        })
        .collect();
    assert_eq!(looks, [(0, 0, 1_000, "degraded".to_owned()), (1_000, 1, 1_000, "degraded".to_owned())]);
    assert_eq!(driven.memory.events.lock().unwrap().last().unwrap().time, 2_000);
}

#[test]
fn one_receipt_holds_all_looks() {
    let memory = Memory::new(usize::MAX);
    let records: Vec<_> = (0..3)
        .map(|sequence| EffectRecord {
            sequence,
            kind: "http".to_owned(),
            request: Digest::of(b"request"),
            summary: "GET /".to_owned(),
            answer: serde_json::json!({ "status": sequence }),
        })
        .collect();
    let blobs: Vec<_> =
        records.iter().map(|record| memory.keep(effect::encode(std::slice::from_ref(record)).as_bytes())).collect();
    let logs: Vec<_> = (0..3).map(|i| memory.keep(format!("look {i}\n").as_bytes())).collect();
    let fake = Fake::with_effects(1, move |task| {
        let index = task.look.index;
        assert_eq!((task.first_sequence, task.look.elapsed), (u64::from(index), u64::from(index) * 10));
        assert_eq!(task.state, (index > 0).then(|| vec![index as u8 - 1]));
        let mut completion = said(if index == 2 { "promote" } else { "hold" });
        completion.state = Some(vec![index as u8]);
        completion.effects = Some(blobs[index as usize]);
        completion.log = Some(logs[index as usize]);
        completion
    });
    let mut canary = polled(NodeKind::Canary, poll(10, 20, None, None));
    canary.nodes[0].grants.clock = true;
    let driven = run_with(&canary, &fake, options(1), memory, usize::MAX);
    let receipt = driven.report().state.receipt(0).unwrap().clone();
    assert_eq!(receipt.fuel, Some(21));
    let blob = driven.memory.read(receipt.effects.unwrap().digest, 10_000).unwrap();
    assert_eq!(effect::decode(std::str::from_utf8(&blob).unwrap()).unwrap(), records);
    let log = driven.memory.read(receipt.log.unwrap().digest, 10_000).unwrap();
    assert_eq!(log, b"look 0\nlook 1\nlook 2\n");
}

#[test]
fn a_check_without_a_verdict_breaks_the_contract() {
    let mut up = node("up");
    up.kind = NodeKind::HealthCheck;
    let driven = run(&pipeline(vec![up]), &Fake::new(good), options(1));
    assert_eq!(driven.text("up"), "failed contract: it returned without a verdict");
}
