//! The stage against services made by the test.

use std::cell::RefCell;
use std::rc::Rc;

use lockgate_sdk::evaluation::Point;
use lockgate_sdk::http::{Response, Timings};
use lockgate_sdk::plugin::config_schema;
use lockgate_sdk::testing::{Harness, Outcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const BEFORE: &str = "http://127.0.0.1:8081/api/order";
const AFTER: &str = "http://127.0.0.1:8082/api/order";

type Answer = std::result::Result<Response, HttpError>;

fn answered(status: u16, total_us: u64, body: &str) -> Answer {
    let timings = Timings { total_us, ..Timings::default() };
    Ok(Response { status, timings, body: body.as_bytes().to_vec(), ..Response::default() })
}

fn failed(code: &str) -> Answer {
    Err(HttpError { code: code.into(), message: "connection refused".into() })
}

/// Samples two services; `rest` is the config without its URLs.
fn run(mut rest: Value, mut answer: impl FnMut(&str) -> Answer + 'static) -> Outcome<Findings> {
    rest["baseline"] = BEFORE.into();
    rest["canary"] = AFTER.into();
    Harness::new().http(move |request| answer(&request.url)).run::<HttpSample>(&rest.to_string())
}

fn observation(outcome: &Outcome<Findings>) -> Observation {
    assert!(outcome.ok().is_empty());
    serde_json::from_slice(outcome.blob("samples")).unwrap()
}

fn counts(outcome: &Outcome<Findings>, metric: &str, side: &str) -> Value {
    observation(outcome).sample(metric, side).map_or(Value::Null, |sample| json!(sample.counts))
}

#[test]
fn the_observation_holds_statuses_and_latencies_of_both_sides() {
    let outcome = run(json!({"requests": 2, "parallel": 1}), |url| {
        if url == BEFORE { answered(200, 1_500, "") } else { answered(301, 2_000, "") }
    });
    assert_eq!(
        serde_json::from_str::<Value>(outcome.text("samples")).unwrap(),
        json!({"schema": 1, "samples": [
            {"metric": "status", "side": "baseline", "counts": {"200": 2}},
            {"metric": "latency", "side": "baseline", "unit": "ms", "points": [{"t": 0, "v": 1.5}, {"t": 5, "v": 1.5}]},
            {"metric": "status", "side": "canary", "counts": {"301": 2}},
            {"metric": "latency", "side": "canary", "unit": "ms", "points": [{"t": 1, "v": 2.0}, {"t": 3, "v": 2.0}]},
        ]})
    );
    let log: Vec<_> = outcome.log.iter().map(|(_, message)| message.as_str()).collect();
    assert_eq!(
        log,
        [
            "baseline: 200: 2; 1500 to 1500 us, half within 1500 us",
            "canary: 301: 2; 2000 to 2000 us, half within 2000 us"
        ]
    );
}

#[test]
fn both_sides_are_asked_in_turn_as_often_as_told() {
    let asked = Rc::new(RefCell::new(String::new()));
    let record = Rc::clone(&asked);
    let outcome = run(json!({}), move |url| {
        record.borrow_mut().push(if url == BEFORE { 'b' } else { 'c' });
        answered(200, 1, "")
    });
    assert_eq!(*asked.borrow(), "bccb".repeat(25));
    assert_eq!(counts(&outcome, "status", BASELINE), json!({"200": 50}));
    assert_eq!(counts(&outcome, "status", CANARY), json!({"200": 50}));
}

#[test]
fn the_request_is_what_the_config_says() {
    let config =
        json!({"canary": AFTER, "requests": 1, "method": "POST", "headers": {"x": "1"}, "body": "{}", "timeout_ms": 9});
    let outcome = Harness::new()
        .http(|request| {
            let expected = Request::new("POST", AFTER).header("x", "1").body("{}").timeout_ms(9).max_body(MAX_BODY);
            assert_eq!(request, expected);
            answered(200, 1, "")
        })
        .run::<HttpSample>(&config.to_string());
    let sides: Vec<_> = observation(&outcome).samples.iter().map(|sample| sample.side.clone()).collect();
    assert_eq!(sides, ["canary", "canary"], "without a baseline there is only the canary");
}

#[test]
fn what_does_not_answer_is_counted_by_its_reason() {
    let mut number = 0;
    let outcome = run(json!({"requests": 4}), move |url| {
        number += u32::from(url == AFTER);
        match (url == AFTER, number) {
            (true, 1 | 2) => failed("connect"),
            (true, 3) => failed("timeout"),
            (true, _) => answered(500, 1, ""),
            _ => answered(200, 1, ""),
        }
    });
    assert_eq!(counts(&outcome, "status", CANARY), json!({"error:connect": 2, "error:timeout": 1, "500": 1}));
    assert!(observation(&outcome).sample("latency", CANARY).is_none(), "only successes have a latency");
    let warnings: Vec<_> =
        outcome.log.iter().filter(|(level, _)| level == "warn").map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        warnings,
        ["canary: first `error:connect`: connection refused", "canary: first `error:timeout`: connection refused"]
    );
}

#[test]
fn what_is_the_nodes_own_fault_fails_the_stage() {
    for code in OUR_OWN {
        let outcome = run(json!({}), move |_| failed(code));
        assert_eq!(outcome.failure(), "connection refused", "{code}");
        assert!(outcome.outputs.is_empty());
    }
}

#[test]
fn contract_violations_are_counted_by_rule() {
    let contract = json!({"requests": 4, "contract": {"status": [200], "json": {"/total_cents": "integer"}}});
    let mut number = 0;
    let outcome = run(contract, move |url| {
        number += u32::from(url == AFTER);
        match (url == AFTER, number) {
            (true, 1) => answered(200, 1, r#"{"id":1}"#),
            (true, 2) => answered(404, 1, ""),
            (true, 3) => answered(503, 1, ""),
            _ => answered(200, 1, r#"{"total_cents":1}"#),
        }
    });
    assert_eq!(counts(&outcome, "contract", BASELINE), json!({"ok": 4}));
    let canary = json!({"ok": 1, "violation:field:/total_cents": 1, "violation:status": 1});
    assert_eq!(counts(&outcome, "contract", CANARY), canary);
}

#[test]
fn numbers_beyond_their_bounds_are_refused() {
    for (key, value) in [("requests", 0), ("requests", 100_001), ("parallel", 0), ("parallel", 65)] {
        let outcome = run(json!({key: value}), |_| answered(200, 1, ""));
        assert!(outcome.failure().starts_with(&format!("`{key}` must be between 1 and ")), "{}", outcome.failure());
    }
}

#[test]
fn the_schema_holds_defaults_and_bounds() {
    let schema: Value = serde_json::from_str(&config_schema::<Config>()).unwrap();
    assert_eq!(schema["required"], json!(["canary"]));
    let requests = &schema["properties"]["requests"];
    assert_eq!((&requests["default"], &requests["maximum"]), (&json!(50), &json!(100_000)));
}

#[test]
fn beginnings_follow_from_durations() {
    assert_eq!(starts([5, 5, 5].into_iter(), 1, 10), (vec![10, 15, 20], 25));
    assert_eq!(starts([9, 2, 3, 1].into_iter(), 2, 0), (vec![0, 0, 2, 5], 9));
    assert_eq!(starts([].into_iter(), 4, 7), (vec![], 7));
    assert_eq!(starts([u64::MAX, 1].into_iter(), 1, 1), (vec![1, u64::MAX], u64::MAX));
}

proptest! {
    #[test]
    fn no_side_is_favoured(requests in 1..200_u32) {
        let order = schedule(requests, 2);
        prop_assert_eq!(order.len(), requests as usize * 2);
        for round in order.chunks(2) {
            prop_assert_eq!(round[0] + round[1], 1);
        }
        let firsts = order.iter().step_by(2).filter(|side| **side == 0).count();
        prop_assert!(firsts.abs_diff(requests as usize - firsts) <= 1);
    }

    #[test]
    fn beginnings_never_go_back_and_no_more_than_parallel_overlap(
        durations in prop::collection::vec(0..50_u64, 0..100),
        parallel in 1..8_u32,
    ) {
        let (starts, end) = starts(durations.iter().copied(), parallel, 3);
        prop_assert!(starts.is_sorted());
        let spans: Vec<_> = starts.iter().zip(&durations).map(|(start, duration)| (*start, start + duration)).collect();
        for (start, _) in &spans {
            let under_way = spans.iter().filter(|(from, to)| from <= start && start < to).count();
            prop_assert!(under_way <= parallel as usize);
        }
        prop_assert_eq!(end, spans.iter().map(|(_, to)| *to).max().unwrap_or(3));
    }
}

#[test]
fn many_requests_go_in_several_calls_and_time_goes_on() {
    let outcome = run(json!({"requests": 100, "parallel": 1}), |_| answered(200, 1_000, ""));
    let points: Vec<Point> = observation(&outcome).sample("latency", CANARY).unwrap().points.clone();
    assert_eq!(points.len(), 100);
    assert_eq!(points[99].time_ms, 198, "the last pair begins with the canary, after 198 exchanges of 1 ms");
}

#[test]
fn the_schema_file_is_what_the_config_derives() {
    lockgate_sdk::testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}
