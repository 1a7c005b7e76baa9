//! The rest of the command line: help, plans, graphs, past runs, plugins tried by hand, and what goes to which stream.

use std::process::{Command, Stdio};

use lockgate_tests::bundle::raw;
use lockgate_tests::{Project, binary};
use serde_json::Value;

const COMMANDS: &[&[&str]] = &[
    &["check"],
    &["plan"],
    &["run"],
    &["graph"],
    &["runs"],
    &["show"],
    &["logs"],
    &["schema"],
    &["diff"],
    &["completions"],
    &["policy", "show"],
    &["policy", "check"],
    &["policy", "test"],
    &["plugin", "inspect"],
    &["plugin", "call"],
    &["plugin", "lock"],
    &["plugin", "keygen"],
    &["plugin", "sign"],
    &["plugin", "verify"],
    &["plugin", "seen"],
    &["attest"],
    &["attest", "verify"],
    &["audit", "sign"],
    &["audit", "verify"],
    &["secret", "set"],
    &["secret", "list"],
    &["secret", "rotate"],
    &["secret", "rm"],
    &["doctor"],
];

fn project() -> Project {
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"a\"\nplugin = \"say\"\nconfig = { text = \"hello\", log = [\"first line\", \"second line\"] }\n\
         [[stage]]\nid = \"b\"\nplugin = \"std:noop\"\ninputs.x = \"a.out\"\n\
         [[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\nwhen = \"b.status == 'failed'\"\n\
         config.url = \"http://127.0.0.1:1/\"\ngrants.http = [\"GET http://127.0.0.1:1/\"]\n\
         [plugins]\nsay = { path = \"say.wasm\" }\n",
    );
    project.guest("say");
    project
}

#[test]
fn every_command_has_help() {
    let project = Project::new();
    project.lockgate(["--help"]).code(0).prints("Exit codes").prints("130");
    project.lockgate(["--version"]).code(0).prints(env!("CARGO_PKG_VERSION"));
    for command in COMMANDS {
        project.lockgate([command, &["--help"][..]].concat()).code(0).prints("Usage: lockgate");
    }
}

#[test]
fn a_wrong_command_line_is_code_2() {
    let project = project();
    for args in [
        &["rnu", "pipeline.toml"][..],
        &[],
        &["run"],
        &["run", "pipeline.toml", "--jobs", "0"],
        &["run", "pipeline.toml", "--param", "x"],
        &["run", "pipeline.toml", "--format", "xml"],
        &["show"],
        &["show", "r0000000000000000"],
        &["logs", "last"],
        &["plugin", "inspect", "gone.wasm"],
        &["plugin", "inspect", "std:gone"],
        &["plugin", "call", "std:noop", "--config", "{"],
        &["plugin", "call", "std:noop", "--input", "x=gone"],
    ] {
        let done = project.lockgate(args).code(2);
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{}", done.all());
    }
}

#[test]
fn data_goes_to_stdout_and_the_rest_to_stderr() {
    let project = project();
    let done = project.run::<&str>([]).code(0);
    assert_eq!(done.events.len(), done.stdout.lines().count(), "every line is an event: {}", done.all());
    let human = project.lockgate(["run", "pipeline.toml"]).code(0);
    assert_eq!(human.stdout.lines().count(), 1, "the result is data: {}", human.all());
    assert!(human.stdout.contains("succeeded"), "{}", human.all());
    human.says("2 succeeded, 1 skipped");
    let quiet = project.lockgate(["run", "pipeline.toml", "--quiet"]).code(0);
    assert!(quiet.stderr.lines().count() <= 3, "{}", quiet.all());
}

#[test]
fn colour_only_where_it_is_wanted() {
    let project = project();
    let plain = project.lockgate(["run", "pipeline.toml"]).code(0);
    assert!(!plain.stderr.contains('\u{1b}'), "{}", plain.all());
    let coloured = project.lockgate(["run", "pipeline.toml", "--color", "always"]).code(0);
    assert!(coloured.stderr.contains('\u{1b}'), "{}", coloured.all());
}

#[test]
fn a_plan_shows_limits_and_grants() {
    let project = project();
    let plan = project.lockgate(["plan", "pipeline.toml"]).code(0);
    let plan = plan.prints("GET http://127.0.0.1:1/").prints("64 MiB").prints("2G").prints("30 s");
    assert!(plan.stdout.find("a").is_some());
    let plan = project.lockgate(["plan", "pipeline.toml", "--format", "json"]).code(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let nodes = plan["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for limit in
        ["fuel", "memory", "table_elements", "handles", "call_bytes", "log", "output", "findings", "effects", "timeout"]
    {
        assert!(nodes.iter().all(|node| node["limits"][limit].is_number()), "{limit}: {plan}");
    }
    assert!(project.runs().is_empty(), "a plan runs nothing");
}

#[test]
fn graphs_are_drawn() {
    let project = project();
    let graph = |format| project.lockgate(["graph", "pipeline.toml", "--format", format]).code(0).stdout;
    assert!(graph("dot").starts_with("digraph"));
    assert!(graph("mermaid").contains("flowchart") || graph("mermaid").contains("graph"));
    let svg = graph("svg");
    assert!(svg.contains("<svg") && svg.trim_end().ends_with("</svg>"));
    for node in ["a", "b", "up"] {
        assert!(svg.contains(&format!(">{node}<")), "{svg}");
    }
}

#[test]
fn past_runs_can_be_shown() {
    let project = project();
    let first = project.run::<&str>([]).code(0);
    let second = project.run::<&str>([]).code(0);
    let id = |event: &Value| event["run"].as_str().unwrap().to_owned();
    assert_eq!(project.runs(), [id(&second.events[0]), id(&first.events[0])], "newest first");
    project.lockgate(["runs"]).code(0).prints("succeeded").prints(&id(&first.events[0]));
    for name in ["last", &id(&second.events[0])] {
        project.lockgate(["show", name]).code(0).prints("succeeded").prints(&second.digest()[..20]);
    }
    project.lockgate(["show", "last", "a"]).code(0).prints("succeeded").prints("second line");
    project.lockgate(["show", "last", "gone"]).code(2).says("gone");
    project.lockgate(["logs", "last", "a"]).code(0).prints("first line").prints("second line");
    let receipts = project.lockgate(["show", "last", "--receipts"]).code(0);
    assert_eq!(receipts.events[0]["receipts"].as_array().map(Vec::len), Some(3), "{}", receipts.all());
}

#[test]
fn receipts_lead_to_the_run_digest() {
    // Recomputed with sha-256 and nothing of the engine, from what is printed alone: each receipt is hashed as it stands there.
    use sha2::{Digest as _, Sha256};
    let project = project();
    let digest = project.run::<&str>([]).code(0).digest();
    let shown = project.lockgate(["show", "last", "--receipts"]).code(0);
    let document: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(document["digest"], digest);
    let sha = |parts: &[&[u8]]| Sha256::digest(parts.concat()).to_vec();
    let mut leaves = Vec::new();
    for receipt in shown.stdout.split("\"receipt\":").skip(1) {
        leaves.push(sha(&[b"lockgate-receipt-v1\0", &receipt.as_bytes()[..end_of(receipt)]]));
    }
    assert_eq!(leaves.len(), 3);
    let given: Vec<_> =
        document["receipts"].as_array().unwrap().iter().map(|r| raw(r["digest"].as_str().unwrap())).collect();
    assert_eq!(leaves, given);
    let mut row: Vec<_> = leaves.iter().map(|leaf| sha(&[&[0], leaf])).collect();
    // Three leaves: the first two are a whole tree, the third is alone.
    let two = sha(&[&[1], &row[0], &row[1]]);
    row = vec![two, row.remove(2)];
    let root = sha(&[&[1], &row[0], &row[1]]);
    let pipeline = raw(document["pipeline_digest"].as_str().unwrap());
    assert_eq!(raw(&digest), sha(&[b"lockgate-run-v1\0", &pipeline, &root]));
    let nodes: Vec<_> =
        document["receipts"].as_array().unwrap().iter().map(|r| r["receipt"]["node"].as_str().unwrap()).collect();
    assert!(nodes.is_sorted(), "{nodes:?}");
}

/// Where the JSON value at the start of a text ends.
fn end_of(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next().unwrap().unwrap();
    values.byte_offset()
}

#[test]
fn the_schema_of_pipeline_files_is_printed() {
    let project = Project::new();
    let schema: Value = serde_json::from_str(&project.lockgate(["schema"]).code(0).stdout).unwrap();
    assert!(schema["$schema"].as_str().is_some_and(|dialect| dialect.contains("2020-12")), "{schema}");
    for table in ["params", "limits", "plugins", "stage", "health-check", "canary", "export"] {
        assert!(schema["properties"][table].is_object(), "{table}: {schema}");
    }
}

#[test]
fn a_plugin_can_be_called_by_hand() {
    let project = project();
    let args = ["plugin", "call", "say.wasm", "--config", r#"{"text": "hi", "log": ["done"]}"#, "--output", "out"];
    let done = project.lockgate(args).code(0).says("done");
    let answer: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(answer["status"], "succeeded", "{answer}");
    assert_eq!(project.read("out/out"), "hi");
    let done = project.lockgate(["plugin", "call", "say.wasm", "--config", r#"{"fail": "no"}"#]).code(1);
    let answer: Value = serde_json::from_str(&done.stdout).unwrap();
    assert!(answer.to_string().contains("\"no\""), "{answer}");
    project.lockgate(["plugin", "call", "say.wasm", "--config", r#"{"txet": "x"}"#]).code(2).says("txet");
    let done = project.lockgate(["plugin", "call", "std:pack", "--input", "src=out", "--output", "packed"]).code(0);
    assert!(project.has("packed/archive"), "{}", done.all());
}

#[test]
fn a_closed_pipe_is_no_error() {
    let project = project();
    for args in [&["schema"][..], &["run", "pipeline.toml", "--format", "json"], &["--help"], &["runs"]] {
        let mut child = project.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        assert!(matches!(output.status.code(), Some(0) | None), "{args:?}: {output:?}");
    }
    project.assert_usable();
}

#[test]
fn a_damaged_state_is_named_and_not_overwritten() {
    let project = project();
    project.run::<&str>([]).code(0);
    let path = ".lockgate/state.db";
    let before = project.bytes(path);
    project.file(path, b"this is no database, and whoever wrote it will want it back");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(project.join(format!("{path}{suffix}")));
    }
    project.run::<&str>([]).code(5).says("state");
    project.lockgate(["runs"]).code(5);
    assert!(project.bytes(path).starts_with(b"this is no database"));
    project.file(path, before);
    project.assert_usable();
}

#[test]
fn the_binary_alone_is_enough() {
    let project = Project::with_pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    std::fs::copy(binary::lockgate(), project.join("gate")).unwrap();
    let mut command = Command::new(project.join("gate"));
    command.args(["run", "pipeline.toml"]).current_dir(project.path()).env_clear();
    lockgate_tests::project::finish(command).code(0);
}
