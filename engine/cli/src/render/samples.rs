//! A run for tests: one event of every kind, hostile texts in all that a guest may write. A new kind of event is put in here.

use std::sync::Arc;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::event::{AttemptFacts, Commit, Component, Event, Origin, Selection, Signal, Source};
use lockgate_model::outcome::{Decision, Failure, FailureKind, Figure, Finding, Status, Verdict};
use lockgate_model::pipeline::{InputSource, SnapshotSpec};
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, NodeId, RunId};
use lockgate_store::{Record, RunSummary};
use serde_json::json;

use super::report::tests::Memory;
use crate::past::PastRun;

/// What no report may let through.
pub(crate) const HOSTILE: &str =
    "</script><script>alert(1)</script>]]>&\"'`|\u{1b}[2J\u{202e}\r\n::error::x\n##[add-path]x\n<!--";

fn blob(bytes: &[u8]) -> ArtifactRef {
    ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn node(id: &str) -> NodeId {
    NodeId::new(id).unwrap()
}

/// The log of `judge`.
pub(crate) fn log() -> String {
    format!("info begins\n{HOSTILE}\nwarn ends\n")
}

/// The findings of `judge`.
pub(crate) fn findings() -> Vec<Finding> {
    let finding = |severity: &str, message: &str, path: Option<&str>, line, column| Finding {
        severity: severity.into(),
        message: message.into(),
        rule: Some("a/b c".into()),
        path: path.map(Into::into),
        line,
        column,
    };
    let mut findings = vec![
        finding("error", "expected `=`", Some("src/a b%.toml"), Some(3), Some(7)),
        finding("warning", HOSTILE, Some("../\"<x>.rs"), Some(1), None),
        finding("odd", "nowhere", None, None, None),
        // What a guest may say, and no format may be broken by.
        finding("note", "", Some(""), Some(0), Some(0)),
    ];
    findings[2].rule = None;
    findings
}

fn receipt(id: &str, status: Status) -> Receipt {
    Receipt {
        node: node(id),
        component: Some(Digest::of(b"component")),
        key: Some(Digest::of(b"key")),
        status,
        failure: None,
        outputs: [].into(),
        findings: None,
        verdict: None,
        decision: None,
        log: None,
        effects: None,
        fuel: Some(1_500_000_000),
    }
}

fn finished(receipt: Receipt, facts: AttemptFacts) -> Event {
    Event::NodeFinished { digest: receipt.digest(), receipt: Arc::new(receipt), attempt: 1, reason: None, facts }
}

fn verdict() -> Verdict {
    Verdict {
        word: "rollback".into(),
        reasons: vec![HOSTILE.into()],
        figures: vec![Figure {
            name: "error-rate".into(),
            value: 0.125,
            baseline: Some(0.01),
            limit: Some(0.1),
            unit: Some("<b>".into()),
            passed: Some(false),
        }],
        details: Some(json!({ "a": [HOSTILE] })),
    }
}

/// A run of the pipeline of [`graph::tests::sample`](super::graph::tests::sample), with every kind of event and every field.
pub(crate) fn events() -> Vec<Event> {
    let (pipeline, _) = super::graph::tests::sample();
    let facts =
        AttemptFacts { micros: 12_345, peak_memory: 1 << 20, fuel_limit: 2_000_000_000, ..AttemptFacts::default() };
    let failure = Failure { kind: FailureKind::Verdict, message: HOSTILE.into() };
    let spec = SnapshotSpec { dir: ".".into(), include: vec!["src/**".into()], exclude: vec![], ignore: true };
    let attempt = |id: &str| Event::AttemptStarted {
        node: node(id),
        attempt: 1,
        key: Digest::of(b"key"),
        inputs: [("src".parse().unwrap(), blob(b"tree"))].into(),
    };
    let mut built = receipt("build[os=linux]", Status::Succeeded);
    built.outputs = [("archive".parse().unwrap(), blob(b"archive"))].into();
    let mut judged = receipt("judge", Status::Failed);
    judged.failure = Some(failure.clone());
    judged.verdict = Some(verdict());
    judged.log = Some(blob(log().as_bytes()));
    judged.findings = Some(blob(&serde_json::to_vec(&findings()).unwrap()));
    judged.effects = Some(blob(b"effects"));
    let mut decided = receipt("release", Status::Succeeded);
    decided.decision =
        Some(Decision { word: "approved".into(), by: Some("alice".into()), comment: Some(HOSTILE.into()) });
    (decided.component, decided.key, decided.fuel) = (None, None, None);
    let mut skipped = receipt("up", Status::Skipped);
    (skipped.fuel, skipped.key) = (None, None);
    let counts = [("error".to_owned(), 1), ("warning".to_owned(), 1)].into();
    let judged_facts = AttemptFacts {
        cached: true,
        taken_from: Some(Origin { run: RunId::new("r0").unwrap(), time: 1_763_710_400_000 }),
        findings: counts,
        log: Some(blob(b"log of an attempt")),
        backtrace: Some(format!("0: {HOSTILE}")),
        ..facts.clone()
    };
    let mut events = vec![
        Event::RunStarted {
            pipeline: blob(&serde_json::to_vec(&pipeline).unwrap()),
            pipeline_digest: pipeline.digest(),
            name: pipeline.name.clone(),
            file: "pipelines/a \"b\".toml".into(),
            root: Some("/srv/<b>".into()),
            components: [(
                pipeline.nodes[0].plugin.clone().unwrap(),
                Component { digest: Digest::of(b"component"), name: "pack 0.1.0".into(), reads_time: false },
            )]
            .into(),
            sources: vec![
                Source { source: InputSource::Dir(spec), artifact: blob(b"tree") },
                Source { source: InputSource::File { path: "Cargo.toml".into() }, artifact: blob(b"file") },
            ],
            logical_time: 946_684_800_000,
            engine: "0.1.0".into(),
            determinism: "1-48.0.8-0123456789ab".into(),
            selection: Some(Selection { only: [node("judge")].into(), from: [node("up")].into() }),
            commit: Some(Commit { id: "0123456789012345678901234567890123456789".into(), dirty: true }),
            policies: vec![Digest::of(b"policy")],
        },
        attempt("build[os=linux]"),
        finished(built, facts.clone()),
        attempt("up"),
        Event::EffectIntended {
            node: node("up"),
            attempt: 1,
            sequence: 0,
            kind: "http".into(),
            request: Digest::of(b"request"),
            summary: "GET http://127.0.0.1:1/".into(),
        },
        Event::EffectFinished { node: node("up"), attempt: 1, sequence: 0, answer: json!({ "status": 200 }) },
        Event::LookTaken {
            node: node("up"),
            attempt: 1,
            look: 0,
            verdict: Some(verdict()),
            failure: Some(failure.clone()),
            next_in: 10_000,
        },
        Event::AttemptFailed { node: node("up"), attempt: 1, failure, facts: facts.clone(), next_in: 1_000 },
        finished(judged, judged_facts),
        Event::NodeWaiting { node: node("release"), until: Some(1_763_710_500_000), attempt: Some(1) },
        Event::RunWaiting { until: Some(1_763_710_500_000) },
        Event::GraphProved { key: Digest::of(b"graph"), results: blob(b"results") },
        Event::GraphServed { key: Digest::of(b"graph"), results: blob(b"results") },
        Event::Signalled {
            node: Some(node("release")),
            signal: Signal::Approve,
            by: "alice".into(),
            comment: Some(HOSTILE.into()),
        },
        Event::RunResumed { engine: "0.1.0".into(), again: vec![node("up")], policies: vec![Digest::of(b"policy")] },
        finished(decided, AttemptFacts::default()),
    ];
    let reason = Some("`build` failed".to_owned());
    let digest = skipped.digest();
    events.push(Event::NodeFinished {
        receipt: Arc::new(skipped),
        digest,
        attempt: 0,
        reason,
        facts: AttemptFacts::default(),
    });
    events.push(Event::RunFinished { status: Status::Failed, digest: None });
    events
}

/// The run out of these events, one each 100 ms, with the blobs that they name. It holds what may not follow each other, so its
/// state is not folded.
pub(crate) fn past() -> (PastRun, Memory) {
    let (pipeline, graph) = super::graph::tests::sample();
    let mut blobs = Memory::default();
    blobs.put(log().as_bytes());
    blobs.put(&serde_json::to_vec(&findings()).unwrap());
    let events = events();
    let records: Vec<Record> = events
        .into_iter()
        .enumerate()
        .map(|(i, event)| Record { seq: i as u64 + 1, time_ms: 1_763_710_463_000 + 100 * i as u64, event })
        .collect();
    let summary = RunSummary {
        id: RunId::new("r01jd74vjm00000001").unwrap(),
        name: pipeline.name.clone(),
        file: "pipelines/a \"b\".toml".into(),
        started_ms: records[0].time_ms,
        finished_ms: records.last().map(|record| record.time_ms),
        status: Some(Status::Failed),
        digest: None,
        records: records.len() as u64,
    };
    (PastRun::unchecked(summary, records, pipeline, graph), blobs)
}
