//! What is sent, what becomes of answers, and that places are filled once.

use std::cell::RefCell;
use std::rc::Rc;

use lockgate_sdk::http::{HttpError, Response};
use lockgate_sdk::testing::{self, Harness, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn harness() -> Harness {
    Harness::new()
        .blob("version", "1.2.3\n")
        .blob("result", r#"{"files": {"added": 2, "list": ["a"]}, "title": "{{version}}"}"#)
        .secret("token")
}

fn send(harness: Harness, config: &str, status: u16, body: &str) -> (Outcome<Findings>, Vec<Request>) {
    let seen: Rc<RefCell<Vec<Request>>> = Rc::default();
    let (taken, body) = (seen.clone(), body.as_bytes().to_vec());
    let harness = harness.http(move |request| {
        taken.borrow_mut().push(request);
        Ok(Response { status, body: body.clone(), ..Default::default() })
    });
    let outcome = harness.run::<Notify>(&format!(r#"{{"url": "https://chat.example/hook", {config}}}"#));
    (outcome, seen.take())
}

fn sent(config: &str) -> Value {
    let (outcome, seen) = send(harness(), config, 200, "ok");
    outcome.ok();
    assert_eq!(outcome.text("answer"), r#"{"body":"ok","status":200}"#);
    assert_eq!(seen[0].method, "POST");
    serde_json::from_slice(seen[0].body.as_deref().unwrap()).unwrap()
}

#[test]
fn a_message_is_filled_and_sent() {
    let body = sent(
        r#""text": "Released {{version}}: {{ result#/files/added }} files {{result#/files/list}} {{result#/title}}""#,
    );
    assert_eq!(
        body,
        json!({"text": "Released 1.2.3: 2 files [\"a\"] {{version}}"}),
        "what is filled in is not filled again"
    );
    let body = sent(
        r##""text": "x", "json": {"channel": "#{{version}}", "n": "{{result#/files/added}}", "l": ["{{result#/files}}", 1, null]}"##,
    );
    assert_eq!(body, json!({"channel": "#1.2.3", "n": 2, "l": [{"added": 2, "list": ["a"]}, 1, null], "text": "x"}));
    assert_eq!(sent(r#""json": ["{{version}}"]"#), json!(["1.2.3"]));
    let long = sent(&format!(r#""text": "{}""#, "ü".repeat(50_000)));
    assert!(long["text"].as_str().unwrap().ends_with("ü\n(cut off)"));
}

#[test]
fn headers_hold_secrets_and_keys() {
    let config = r#""text": "x", "headers": {"authorization": "Bearer {{secret:token}}", "x-v": "{{version}}"}, "idempotency_key": "r-{{version}}", "timeout_ms": 50"#;
    let (outcome, seen) = send(harness(), config, 204, "");
    outcome.ok();
    let header = |name: &str| {
        let found = seen[0].headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    assert!(header("authorization").starts_with("Bearer lockgate-secret-"), "{}", header("authorization"));
    assert_eq!(
        (header("x-v"), header("Idempotency-Key"), header("content-type")),
        ("1.2.3".into(), "\"r-1.2.3\"".into(), "application/json".into())
    );
    assert_eq!(seen[0].timeout_ms, Some(50));
    let (_, seen) = send(harness(), r#""text": "x", "headers": {"Content-Type": "text/x"}"#, 200, "");
    assert_eq!(seen[0].headers, [("Content-Type".to_owned(), b"text/x".to_vec())], "the engine adds its own key");
}

#[test]
fn a_body_is_sent_as_it_is() {
    let (outcome, seen) = send(harness().blob("body", "{{raw}}"), r#""method": "PUT""#, 200, "");
    outcome.ok();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].body.as_deref(), seen[0].headers.len()),
        ("PUT", Some(&b"{{raw}}"[..]), 0)
    );
    let (outcome, seen) = send(harness().blob("body", ""), r#""text": "x""#, 200, "");
    assert!(outcome.failure().starts_with("the input `body` is sent as it is") && seen.is_empty());
}

#[test]
fn answers_decide() {
    let fails = |config: &str, status: u16, body: &str| send(harness(), config, status, body).0.failure().to_owned();
    assert_eq!(
        fails(r#""text": "x""#, 404, "no_team\n"),
        "`https://chat.example/hook` answered with status 404: no_team"
    );
    assert_eq!(
        fails(r#""text": "x", "expect": [202]"#, 200, ""),
        "`https://chat.example/hook` answered with status 200"
    );
    assert!(send(harness(), r#""text": "x", "expect": [404]"#, 404, "").0.result.is_ok());
    let said = r#"{"ok": false, "error": "channel_not_found"}"#;
    assert_eq!(
        fails(r#""text": "x""#, 200, said),
        "`https://chat.example/hook` answered with `ok: false`: channel_not_found"
    );
    assert!(send(harness(), r#""text": "x""#, 200, r#"{"ok": true}"#).0.result.is_ok());
    let refused = harness().http(|_| Err(HttpError { code: "not-granted".into(), message: "not granted".into() }));
    let outcome = refused.run::<Notify>(r#"{"url": "https://chat.example/hook", "text": "x"}"#);
    assert_eq!(outcome.failure(), "notify `https://chat.example/hook`: not granted");
}

#[test]
fn what_cannot_be_filled_is_said_before_anything_is_sent() {
    for (config, message) in [
        (r#""json": {"a": "{{gone}}"}"#, "`{{gone}}` cannot be filled: there is no input `gone`"),
        (r#""text": "{{version#/a}}""#, "`text`: read the input `version` as JSON"),
        (r#""text": "{{result#/no/such}}""#, "`text`: the input `result` has nothing at `/no/such`"),
        (r#""text": "{{version""#, "`text`: `{{` is not closed by `}}`"),
        (r#""text": "x", "headers": {"a": "{{secret:other}}"}"#, "`headers.a`: the secret `other` is not granted"),
        (r#""text": "x", "headers": {"a": "b\nc"}"#, "`headers.a` has more than one line"),
        (
            r#""text": "x", "headers": {"idempotency-key": "b"}, "idempotency_key": "c""#,
            "the idempotency key is in `headers` and in",
        ),
        (r#""text": "x", "json": []"#, "`json` beside `text` has to be an object"),
        (r#""timeout_ms": 5"#, "there is nothing to send"),
    ] {
        let (outcome, seen) = send(harness(), config, 200, "");
        assert!(outcome.failure().starts_with(message), "{}", outcome.failure());
        assert!(seen.is_empty());
    }
    let outcome = harness().run::<Notify>(r#"{"url": "https://hooks.example/{{version}}", "text": "x"}"#);
    assert_eq!(outcome.failure(), "`url`: `{{version}}` cannot stand there: it takes `{{secret:name}}` alone");
}

#[test]
fn a_url_holds_secrets_that_nobody_is_shown() {
    let seen: Rc<RefCell<Vec<Request>>> = Rc::default();
    let taken = seen.clone();
    let harness = harness().http(move |request| {
        taken.borrow_mut().push(request);
        Ok(Response { status: 404, ..Default::default() })
    });
    let outcome = harness.run::<Notify>(r#"{"url": "https://hooks.example/services/{{secret:token}}", "text": "x"}"#);
    assert_eq!(outcome.failure(), "`https://hooks.example/services/{{secret:token}}` answered with status 404");
    assert!(seen.borrow()[0].url.starts_with("https://hooks.example/services/lockgate-secret-"), "{:?}", seen.borrow());
}
