//! Runs as records of a journal, and the spans that they give. The snapshots beside `telemetry` hold names, ids, times and
//! attributes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use lockgate_model::RunId;
use lockgate_syntax::Inputs;
use serde_json::{Value as Json, json};

use super::super::context::TraceParent;
use super::super::span::MAX_EVENTS;
use super::*;

const PIPELINE: &str = r#"
schema = 1
name = "sample"
[plugins]
p = { path = "p.wasm" }
[[stage]]
id = "pack"
plugin = "p"
[[stage]]
id = "fetch"
plugin = "p"
grants.http = ["GET http://127.0.0.1:80/"]
[[stage]]
id = "maybe"
plugin = "p"
allow_failure = true
[[health-check]]
id = "up"
plugin = "p"
poll = { every = "10s", for = "60s" }
grants.http = ["GET http://127.0.0.1:80/"]
"#;

fn fold(parent: Option<&str>) -> Fold {
    let inputs = Inputs { params: &BTreeMap::new(), env: &|_| None, git: &|| Err(String::new()) };
    let pipeline = lockgate_syntax::parse("p.toml", PIPELINE, &inputs).pipeline.unwrap();
    let run = RunId::new("r0123456789ab").unwrap();
    Fold::new(Ids::new(&run, parent.and_then(TraceParent::parse)), &pipeline)
}

/// A record's body.
fn event(body: Json) -> Event {
    serde_json::from_value(body).unwrap()
}

fn digest(text: &str) -> Json {
    json!(Digest::of(text.as_bytes()))
}

fn started() -> Event {
    event(json!({
        "event": "run-started", "pipeline": { "kind": "blob", "digest": digest("pipeline"), "size": 1 },
        "pipeline_digest": digest("pipeline"), "name": "sample", "file": "p.toml",
        "components": { "p": { "digest": digest("p"), "name": "plugin 1.0.0", "reads_time": false } },
        "sources": [], "logical_time": 0, "engine": "0.1.0", "determinism": "1",
    }))
}

fn attempt(node: &str, attempt: u32) -> Event {
    event(json!({ "event": "attempt-started", "node": node, "attempt": attempt, "key": digest("key"), "inputs": {} }))
}

fn intended(node: &str, sequence: u64, url: &str) -> Event {
    event(json!({
        "event": "effect-intended", "node": node, "attempt": 1, "sequence": sequence, "kind": "http",
        "request": digest("request"), "summary": format!("GET {url}"),
    }))
}

fn answered(node: &str, sequence: u64, answer: Json) -> Event {
    event(json!({ "event": "effect-finished", "node": node, "attempt": 1, "sequence": sequence, "answer": answer }))
}

fn facts() -> Json {
    json!({ "micros": 1_234, "peak_memory": 65_536, "fuel_limit": 1_000, "findings": { "warning": 2 } })
}

fn finished(node: &str, status: &str, attempt: u32, more: Json) -> Event {
    let mut receipt = json!({
        "node": node, "component": digest("p"), "status": status, "key": digest("key"), "fuel": 900,
    });
    receipt.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event(json!({
        "event": "node-finished", "receipt": receipt, "digest": digest("receipt"), "attempt": attempt, "facts": facts(),
    }))
}

fn ended(status: &str) -> Event {
    let digest = (status == "succeeded").then(|| digest("run"));
    event(json!({ "event": "run-finished", "status": status, "digest": digest }))
}

/// A run with everything: effects, a retried attempt, looks, a skipped node, a failed one.
fn run() -> Vec<(u64, Event)> {
    let failure = |kind: &str, message: &str| json!({ "kind": kind, "message": message });
    let skipped = event(json!({
        "event": "node-finished", "attempt": 0, "digest": digest("receipt"), "facts": { "micros": 0, "peak_memory": 0, "fuel_limit": 0 },
        "reason": "`when` is false", "receipt": { "node": "maybe", "component": digest("p"), "status": "skipped" },
    }));
    vec![
        (1_000, started()),
        (1_001, attempt("pack", 1)),
        (1_002, attempt("fetch", 1)),
        (1_003, intended("fetch", 0, "http://127.0.0.1/a?sig=secret")),
        (1_004, intended("fetch", 1, "http://127.0.0.1/b")),
        (1_010, answered("fetch", 1, json!({ "error": { "code": "connect", "message": "refused" } }))),
        (1_011, answered("fetch", 0, json!({ "status": 200 }))),
        (
            1_012,
            event(json!({
                "event": "attempt-failed", "node": "fetch", "attempt": 1, "failure": failure("error", "no luck"), "facts": facts(),
                "next_in": 100,
            })),
        ),
        (1_020, finished("pack", "succeeded", 1, json!({}))),
        (1_021, skipped),
        (1_112, attempt("fetch", 2)),
        (1_120, finished("fetch", "failed", 2, json!({ "failure": failure("fuel", "its fuel is spent") }))),
        (2_000, attempt("up", 1)),
        (2_001, intended("up", 0, "http://127.0.0.1/up")),
        (2_002, answered("up", 0, json!({ "status": 503 }))),
        (
            2_003,
            event(json!({
                "event": "look-taken", "node": "up", "attempt": 1, "look": 0, "failure": null, "next_in": 9_997,
                "verdict": { "word": "degraded", "reasons": ["slow"], "figures": [{ "name": "p95", "value": 2.5, "limit": 1.0 }] },
            })),
        ),
        (12_001, intended("up", 1, "http://127.0.0.1/up")),
        (12_002, answered("up", 1, json!({ "status": 200 }))),
        (
            12_005,
            finished(
                "up",
                "failed",
                1,
                json!({
                    "verdict": { "word": "unhealthy", "reasons": ["answered 500"] }, "failure": failure("verdict", "unhealthy: answered 500"),
                }),
            ),
        ),
        (12_006, ended("failed")),
    ]
}

fn spans_of(mut fold: Fold, records: &[(u64, Event)]) -> Vec<Span> {
    records.iter().flat_map(|(time, event)| fold.apply(*time, event)).collect()
}

/// Spans as text, parents first, each below its parent.
fn tree(spans: &[Span]) -> String {
    let ids: HashSet<_> = spans.iter().map(|span| span.id).collect();
    let mut children: HashMap<_, Vec<&Span>> = HashMap::new();
    for span in spans {
        children.entry(span.parent.filter(|parent| ids.contains(parent))).or_default().push(span);
    }
    fn show(text: &mut String, span: &Span, children: &HashMap<Option<SpanId>, Vec<&Span>>, depth: usize) {
        let pad = "  ".repeat(depth);
        let error = span.error.as_ref().map(|error| format!(" error={error:?}")).unwrap_or_default();
        let parent = span.parent.map(|parent| format!(" in {parent}")).unwrap_or_default();
        let link = span.link.map(|link| format!(" after {link}")).unwrap_or_default();
        let remote = if span.remote { " remote" } else { "" };
        let Span { id, name, kind, start, end, .. } = span;
        let _ = writeln!(text, "{pad}{name} {kind:?} {start}..{end} {id}{parent}{remote}{link}{error}");
        for (key, value) in &span.attributes.0 {
            let _ = writeln!(text, "{pad}  . {key} = {value:?}");
        }
        for event in &span.events.kept {
            let _ = writeln!(text, "{pad}  ! {} {} {:?}", event.time, event.name, event.attributes.0);
        }
        for child in children.get(&Some(span.id)).into_iter().flatten() {
            show(text, child, children, depth + 1);
        }
    }
    let mut text = String::new();
    for root in children.get(&None).into_iter().flatten() {
        show(&mut text, root, &children, 0);
    }
    text
}

#[test]
fn a_run_gives_its_spans() {
    insta::assert_snapshot!(tree(&spans_of(fold(None), &run())));
}

#[test]
fn a_decision_is_on_its_nodes_span() {
    let mut fold = fold(None);
    fold.apply(1, &started());
    let decision = json!({ "word": "approved", "by": "ada", "comment": "go" });
    let span = fold
        .apply(2, &finished("pack", "succeeded", 0, json!({ "component": null, "decision": decision })))
        .pop()
        .unwrap();
    let text = format!("{:?}", span.attributes.0);
    for part in ["(\"lockgate.decision\", Text(\"approved\"))", "Text(\"ada\")", "Text(\"go\")"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("lockgate.plugin"), "{text}");
}

#[test]
fn one_journal_gives_one_set_of_spans_however_it_is_fed() {
    let records = run();
    let once = spans_of(fold(None), &records);
    let mut fed = fold(None);
    let (first, second) = records.split_at(9);
    let mut twice: Vec<_> = first.iter().flat_map(|(time, event)| fed.apply(*time, event)).collect();
    twice.extend(second.iter().flat_map(|(time, event)| fed.apply(*time, event)));
    assert_eq!(once, twice);
    assert!(fed.abandon().is_empty(), "nothing is open after the end");
}

#[test]
fn every_span_has_its_parent_in_the_trace_and_lies_within_it() {
    let spans = spans_of(fold(None), &run());
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "no id twice");
    for span in &spans {
        let Some(parent) = span.parent else { continue };
        let parent = by_id[&parent];
        assert!(parent.start <= span.start && span.end <= parent.end, "{} in {}", span.name, parent.name);
    }
    assert_eq!(spans.iter().filter(|span| span.parent.is_none()).count(), 1);
}

#[test]
fn below_a_parent_only_the_root_changes() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (alone, below) = (spans_of(fold(None), &run()), spans_of(fold(Some(text)), &run()));
    let (root, others) = below.split_last().unwrap();
    assert_eq!(root.parent.unwrap().to_string(), "00f067aa0ba902b7");
    assert!(root.remote);
    assert_eq!(others, &alone[..others.len()]);
}

#[test]
fn an_interrupted_run_closes_everything() {
    let mut records = run();
    // In the middle of the attempt of `fetch`, with an exchange under way.
    records.truncate(6);
    records.push((1_500, ended("cancelled")));
    insta::assert_snapshot!(tree(&spans_of(fold(None), &records)));
}

#[test]
fn a_run_that_never_ended_is_closed_at_its_last_event() {
    let records = run();
    for cut in 1..records.len() - 1 {
        let mut fold = fold(None);
        let mut spans: Vec<_> = records[..cut].iter().flat_map(|(time, event)| fold.apply(*time, event)).collect();
        spans.extend(fold.abandon());
        let root = spans.last().unwrap();
        assert_eq!((root.kind, root.end), (Kind::Server, records[cut - 1].0));
        assert!(root.error.is_some());
        let known: HashSet<_> = spans.iter().map(|span| span.id).collect();
        assert!(spans.iter().filter_map(|span| span.parent).all(|parent| known.contains(&parent)), "cut at {cut}");
    }
}

fn resumed() -> Event {
    event(json!({ "event": "run-resumed", "engine": "0.1.0" }))
}

#[test]
fn a_second_session_has_spans_of_its_own_that_go_on_from_the_first() {
    // Killed in the middle of things, then taken up.
    let mut fold = fold(None);
    let mut first: Vec<_> = run()[..6].iter().flat_map(|(time, event)| fold.apply(*time, event)).collect();
    first.extend(fold.apply(5_000, &resumed()));
    let mut second = fold.apply(5_001, &attempt("pack", 1));
    second.extend(fold.apply(5_002, &finished("pack", "succeeded", 1, json!({}))));
    second.extend(fold.apply(5_003, &ended("succeeded")));
    let ids: HashSet<_> = first.iter().map(|span| span.id).collect();
    assert!(second.iter().all(|span| !ids.contains(&span.id)));
    let (before, after) = (first.last().unwrap(), second.last().unwrap());
    assert_eq!((before.kind, before.end, after.link), (Kind::Server, 1_010, Some(before.id)));
    assert!(before.error.is_some() && after.error.is_none());
}

#[test]
fn a_node_that_waits_is_one_span_over_all_sessions() {
    let waiting = event(json!({ "event": "node-waiting", "node": "pack", "until": 9_000 }));
    let signal =
        event(json!({ "event": "signalled", "node": "pack", "signal": "approve", "by": "ada", "comment": "go" }));
    let to_run = event(json!({ "event": "signalled", "signal": "cancel", "by": "bob" }));
    let mut fold = fold(None);
    fold.apply(1_000, &started());
    assert!(fold.apply(1_001, &waiting).is_empty());
    let first = fold.apply(1_002, &event(json!({ "event": "run-waiting", "until": 9_000 })));
    assert_eq!(first.len(), 1, "the root alone");
    assert!(fold.abandon().is_empty(), "what waits goes on waiting");
    assert!(fold.apply(5_000, &resumed()).is_empty());
    fold.apply(5_001, &signal);
    fold.apply(5_002, &to_run);
    let decision = json!({ "component": null, "decision": { "word": "approved", "by": "ada" } });
    let mut second = fold.apply(5_003, &finished("pack", "succeeded", 0, decision));
    second.extend(fold.apply(5_004, &ended("succeeded")));
    insta::assert_snapshot!(tree(&first) + &tree(&second));
}

#[test]
fn what_does_not_fit_is_passed_over() {
    // Each record alone, all backwards, all twice: never a panic, and never an id of nothing.
    let records = run();
    for (time, event) in &records {
        fold(None).apply(*time, event);
    }
    let backwards: Vec<_> = records.iter().rev().cloned().collect();
    spans_of(fold(None), &backwards);
    spans_of(fold(None), &[records.clone(), records].concat());
}

#[test]
fn a_root_keeps_a_bounded_number_of_events() {
    let mut fold = fold(None);
    fold.apply(1, &started());
    let skipped = run().into_iter().find(|(time, _)| *time == 1_021).unwrap().1;
    for time in 2..302 {
        assert!(fold.apply(time, &skipped).is_empty());
    }
    let root = fold.apply(400, &ended("succeeded")).pop().unwrap();
    assert_eq!((root.events.kept.len(), root.events.dropped), (MAX_EVENTS, 300 - MAX_EVENTS as u32));
}
