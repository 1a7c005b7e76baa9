//! The probe against answers made by the test.

use lockgate_sdk::http::{HttpError, Timings};
use lockgate_sdk::plugin::config_schema;
use lockgate_sdk::testing::{Harness, Outcome};

use super::*;

const URL: &str = "http://127.0.0.1:8080/health";

fn answer(status: u16, body: &str, total_us: u64) -> Response {
    let timings = Timings { connect_us: 100, first_byte_us: 200, total_us };
    Response { status, body: body.as_bytes().to_vec(), timings, ..Response::default() }
}

/// Probes a service that answers so; `rest` is the config without its URL.
fn probe(rest: Value, response: std::result::Result<Response, HttpError>) -> Outcome<Health> {
    let mut config = rest;
    config["url"] = URL.into();
    Harness::new().http(move |_| response.clone()).check::<HttpProbe>(&config.to_string(), Look::default())
}

#[track_caller]
fn says(rest: Value, response: Response, status: HealthStatus, reason: &str) {
    let outcome = probe(rest, Ok(response));
    assert_eq!((outcome.ok().status, outcome.ok().reason.as_str()), (status, reason));
}

use HealthStatus::{Degraded, Healthy, Unhealthy};

#[test]
fn the_status_is_checked() {
    says(json!({}), answer(200, "", 1500), Healthy, "answered 200 in 1.5 ms");
    says(json!({}), answer(204, "", 0), Unhealthy, "answered 204 instead of 200");
    says(json!({"expect": 204}), answer(204, "", 0), Healthy, "answered 204 in 0 ms");
    says(json!({"expect": [200, 204]}), answer(204, "", 0), Healthy, "answered 204 in 0 ms");
    says(json!({"expect": [200, 204]}), answer(301, "", 0), Unhealthy, "answered 301 instead of 200 or 204");
}

#[test]
fn the_request_is_what_the_config_says() {
    let config = json!({"url": URL, "method": "HEAD", "headers": {"x-probe": "1"}, "timeout_ms": 700});
    let outcome = Harness::new()
        .http(|request| {
            let expected = Request::new("HEAD", URL).header("x-probe", "1").timeout_ms(700).max_body(MAX_BODY);
            assert_eq!(request, expected);
            Ok(answer(200, "", 0))
        })
        .check::<HttpProbe>(&config.to_string(), Look::default());
    assert_eq!(outcome.ok().status, Healthy);
}

#[test]
fn the_body_is_checked() {
    let contains = json!({"body": {"contains": "ok"}});
    says(contains.clone(), answer(200, "all is ok", 0), Healthy, "answered 200 in 0 ms");
    says(contains, answer(200, "all is well", 0), Unhealthy, r#"the body does not contain "ok""#);
    let equals = json!({"body": {"equals": "ok\n"}});
    says(equals.clone(), answer(200, "ok\n", 0), Healthy, "answered 200 in 0 ms");
    says(equals, answer(200, "ok", 0), Unhealthy, r#"the body is "ok""#);
}

#[test]
fn values_in_json_are_checked() {
    let config = || json!({"body": {"json": {"/status": "ok", "/queue/0/size": 1.0}}});
    says(config(), answer(200, r#"{"status":"ok","queue":[{"size":1}]}"#, 0), Healthy, "answered 200 in 0 ms");
    says(
        config(),
        answer(200, r#"{"status":"bad"}"#, 0),
        Unhealthy,
        r#"`/queue/0/size` is not in the body; `/status` is "bad" instead of "ok""#,
    );
    says(config(), answer(200, "", 0), Unhealthy, "the body is no JSON: EOF while parsing a value at line 1 column 0");
    assert!(equal(&json!({"a": [1, {"b": 2.0}]}), &json!({"a": [1.0, {"b": 2}]})));
    assert!(!equal(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
}

#[test]
fn latency_degrades_and_then_fails() {
    let config = || json!({"degraded_ms": 100, "max_latency_ms": 500});
    says(config(), answer(200, "", 100_000), Healthy, "answered 200 in 100 ms");
    says(config(), answer(200, "", 100_001), Degraded, "took 100.001 ms: at most 100 ms");
    says(config(), answer(200, "", 500_000), Degraded, "took 500 ms: at most 100 ms");
    says(config(), answer(200, "", 500_001), Unhealthy, "took 500.001 ms: at most 500 ms");
    says(config(), answer(503, "", 200_000), Unhealthy, "answered 503 instead of 200");
}

#[test]
fn all_that_is_wrong_is_said() {
    let outcome = probe(json!({"body": {"contains": "ok"}, "max_latency_ms": 1}), Ok(answer(500, "", 2_000)));
    assert_eq!(
        outcome.ok().reason,
        r#"answered 500 instead of 200; the body does not contain "ok"; took 2 ms: at most 1 ms"#
    );
    let details: Value = serde_json::from_str(&outcome.ok().details).unwrap();
    assert_eq!(details["status"], 500);
    assert_eq!(details["latency_ms"], 2.0);
    assert_eq!(details["connect_ms"], 0.1);
    assert_eq!(details["wrong"].as_array().unwrap().len(), 3);
}

#[test]
fn a_service_that_does_not_answer_is_unhealthy() {
    for code in ["connect", "resolve", "timeout", "tls", "protocol", "of-tomorrow"] {
        let outcome = probe(json!({}), Err(HttpError { code: code.into(), message: "connection refused".into() }));
        let reason = format!("no answer ({code}): connection refused");
        assert_eq!((outcome.ok().status, outcome.ok().reason.as_str()), (Unhealthy, reason.as_str()));
        assert!(outcome.ok().details.contains(code));
    }
}

#[test]
fn what_is_the_nodes_own_fault_is_an_error() {
    for code in OUR_OWN {
        let outcome = probe(json!({}), Err(HttpError { code: code.into(), message: "because".into() }));
        assert_eq!(outcome.failure(), "because", "{code}");
    }
}

#[test]
fn long_and_cut_bodies_do_not_fill_the_reason() {
    let outcome = probe(json!({"body": {"equals": "ok"}}), Ok(answer(200, &"é".repeat(100_000), 0)));
    assert!(outcome.ok().reason.chars().count() < 120, "{}", outcome.ok().reason);
    let cut = Response { truncated: true, ..answer(200, "ok", 0) };
    says(json!({"body": {"equals": "ok"}}), cut.clone(), Unhealthy, "the body is longer than 1048576 bytes");
    says(json!({"body": {"contains": "ok"}}), cut, Healthy, "answered 200 in 0 ms");
}

#[test]
fn configs_that_cannot_be_meant_are_refused() {
    for (rest, part) in [
        (json!({"expect": []}), "the list of status codes is empty"),
        (json!({"expect": 42}), "42 is no status code"),
        (json!({"expect": "200"}), "a status code or a list of them"),
        (json!({"exepct": 200}), "exepct"),
        (json!({"body": {"contain": "x"}}), "contain"),
    ] {
        let outcome = probe(rest, Ok(answer(200, "", 0)));
        assert!(outcome.failure().contains(part), "{}", outcome.failure());
    }
}

#[test]
fn the_schema_takes_one_status_or_a_list() {
    let schema: Value = serde_json::from_str(&config_schema::<Config>()).unwrap();
    assert_eq!(schema["properties"]["expect"]["type"], json!(["integer", "array"]));
    assert_eq!(schema["properties"]["expect"]["default"], 200);
    assert_eq!(schema["required"], json!(["url"]));
    assert_eq!(schema["properties"]["timeout_ms"]["default"], 5000);
}

#[test]
fn the_schema_file_is_what_the_config_derives() {
    lockgate_sdk::testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}
