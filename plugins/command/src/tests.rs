//! What a program gets, and what becomes of how it ends.

use std::cell::RefCell;
use std::rc::Rc;

use lockgate_sdk::process::ProcessError;
use lockgate_sdk::testing::{self, Harness, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn exit(code: Option<i32>, stdout: &str, stderr: &str) -> Exit {
    Exit { code, stdout: stdout.into(), stderr: stderr.into(), ..Default::default() }
}

fn run(config: &str, answer: Result<Exit, ProcessError>) -> (Outcome<Findings>, Vec<Command>) {
    let seen: Rc<RefCell<Vec<Command>>> = Rc::default();
    let taken = seen.clone();
    let harness = Harness::new().blob("text", "hello").tree("src", [("a", "1")]).process(move |command| {
        taken.borrow_mut().push(command);
        answer.clone()
    });
    let outcome = harness.run::<Run>(config);
    (outcome, seen.take())
}

#[test]
fn a_program_gets_what_the_config_says() {
    let config = r#"{"program": "cc", "args": ["-o", "app"], "inputs": {"src": "in/src"}, "outputs": {"app": "app"},
                     "stdin": "text", "timeout_ms": 500}"#;
    let (outcome, seen) = run(config, Ok(exit(Some(0), "out\n", "err\n")));
    outcome.ok();
    let expected = Command {
        program: "cc".into(),
        arguments: vec!["-o".into(), "app".into()],
        stdin: Some(b"hello".into()),
        inputs: vec![("src".into(), "in/src".into())],
        outputs: vec![("app".into(), "app".into())],
        timeout_ms: Some(500),
    };
    assert_eq!(seen, [expected]);
    assert_eq!((outcome.text("stdout"), outcome.text("stderr")), ("out\n", "err\n"));
    assert!(outcome.log.contains(&("info".into(), "stderr: err".into())), "{:?}", outcome.log);
    let (_, seen) = run(r#"{"program": "ls"}"#, Ok(exit(Some(0), "", "")));
    assert_eq!(seen[0].inputs, [("src".into(), "src".into()), ("text".into(), "text".into())]);
}

#[test]
fn exit_codes_decide() {
    let (outcome, _) = run(r#"{"program": "p"}"#, Ok(exit(Some(2), "fine\n", "first\nno such file\n\n")));
    assert_eq!(outcome.failure(), "`p` ended with exit code 2: no such file");
    assert_eq!(outcome.text("stderr"), "first\nno such file\n\n", "what it said is kept");
    let (outcome, _) = run(r#"{"program": "p"}"#, Ok(exit(None, "said this", "")));
    assert_eq!(outcome.failure(), "`p` was ended by a signal: said this");
    let accepts = r#"{"program": "p", "exit_codes": [0, 1]}"#;
    assert!(run(accepts, Ok(exit(Some(1), "", ""))).0.result.is_ok());
    assert!(run(accepts, Ok(exit(Some(2), "", ""))).0.result.is_err());
    let refused = ProcessError { code: "not-granted".into(), message: "`p` is not granted".into() };
    assert_eq!(run(accepts, Err(refused)).0.failure(), "run `p`: `p` is not granted");
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_runs() {
    for (config, message) in [
        (r#"{"program": "p", "exit_codes": []}"#, "`exit_codes` is empty"),
        (r#"{"program": "p", "inputs": {"gone": "x"}}"#, "there is no input `gone`"),
        (r#"{"program": "p", "stdin": "gone"}"#, "there is no input `gone`"),
        (r#"{"program": "p", "inputs": {"src": "../x"}}"#, "`inputs.src`: `../x` is no path in the working directory"),
        (
            r#"{"program": "p", "outputs": {"x": "/etc/passwd"}}"#,
            "`outputs.x`: `/etc/passwd` is no path in the working directory",
        ),
        (r#"{"program": "p", "outputs": {"stdout": "x"}}"#, "the output `stdout` is that stream"),
    ] {
        let (outcome, seen) = run(config, Ok(exit(Some(0), "", "")));
        assert!(outcome.failure().starts_with(message), "{}", outcome.failure());
        assert!(seen.is_empty());
    }
}

#[test]
fn long_output_is_shown_from_its_end() {
    let text: String = (0..1_000).map(|n| format!("line {n} {}\n", "x".repeat(1_000))).collect();
    let (outcome, _) = run(r#"{"program": "p"}"#, Ok(exit(Some(0), &text, "")));
    assert_eq!(outcome.log.len(), 202);
    assert_eq!(outcome.log[0].1, "stdout: 800 lines before these");
    assert!(outcome.log[200].1.starts_with("stdout: line 999 xx") && outcome.log[200].1.len() < 520);
}
