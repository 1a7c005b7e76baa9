//! Holds the journal's record bodies, version 1, against stored text: what an engine of today wrote, every later one reads.

use lockgate_model::canonical_json;
use lockgate_model::event::Event;

const STORED: &str = include_str!("records-v1.jsonl");

#[test]
fn stored_records_are_read_and_written_back_the_same() {
    for line in STORED.lines() {
        let event: Event = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(canonical_json(&event), line);
        assert!(line.contains(&format!(r#""event":"{}""#, event.kind())), "{line}");
    }
}

#[test]
fn every_kind_of_event_is_stored() {
    let kinds: Vec<String> = STORED
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    let all = [
        "run-started",
        "attempt-started",
        "effect-intended",
        "effect-finished",
        "look-taken",
        "attempt-failed",
        "node-waiting",
        "signalled",
        "run-waiting",
        "run-resumed",
        "node-finished",
        "run-finished",
    ];
    for kind in all {
        assert!(kinds.iter().any(|k| k == kind), "{kind}");
    }
}

#[test]
fn unknown_kinds_and_keys_are_refused() {
    for line in [r#"{"event":"run-paused"}"#, r#"{"event":"run-finished","status":"failed","digest":null,"more":1}"#] {
        assert!(serde_json::from_str::<Event>(line).is_err(), "{line}");
    }
}
