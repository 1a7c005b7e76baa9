//! Plugins that misbehave while they run: the node ends, with a kind and a message that help, and the engine goes on.

use lockgate_tests::handmade::Handmade;
use lockgate_tests::{Done, Project};

/// Limits that are soon reached.
const PIPELINE: &str = r#"
[params.do]
type = "string"

[plugins]
misbehave = { path = "misbehave.wasm" }

[limits]
fuel = "500M"
memory = "16MiB"
log = "100KiB"
output = "1MiB"
output_entries = 100
handles = 50
findings = 100
timeout = "120s"

[[stage]]
id = "bad"
plugin = "misbehave"
config = { do = "${params.do}" }

[[stage]]
id = "other"
plugin = "std:noop"
"#;

fn project() -> Project {
    let project = Project::with_pipeline(PIPELINE);
    project.guest("misbehave");
    project
}

fn run(project: &Project, what: &str) -> Done {
    project.run(["--param", &format!("do={what}")])
}

/// What is done, the kind of failure, what the message must tell.
const FAILURES: &[(&str, &str, &str)] = &[
    ("loop", "fuel", "500M"),
    ("allocate", "limit", "16 MiB"),
    ("trap", "trap", "unreachable"),
    ("recurse", "trap", "out of bounds"),
    ("error", "error", "the disk in the guest's head is full"),
    ("error-with-findings", "error", "one thing is wrong"),
    ("findings-too-many", "limit", "100"),
    ("write-too-much", "limit", "1 MiB"),
    ("write-too-much-and-go-on", "limit", "1 MiB"),
    ("write-too-many", "limit", "100"),
    ("many-handles", "limit", "50"),
    ("no-output", "contract", "`out`"),
    ("unfinished", "contract", "`out`"),
    ("wrong-kind", "contract", "`out` as a tree"),
    ("undeclared-output", "contract", "`other`"),
    ("undeclared-output-and-go-on", "contract", "`other`"),
    ("output-twice", "error", "duplicate"),
    ("after-finish", "error", "closed"),
    ("missing-input", "error", "no-such-input"),
];

#[test]
fn each_failure_has_its_kind_and_message_and_ends_only_its_node() {
    let project = project();
    for (what, kind, fragment) in FAILURES {
        let done = run(&project, what).code(1).node_is("bad", "failed").node_is("other", "succeeded");
        let done = done.node_failed("bad", kind, fragment);
        assert!(done.digest().starts_with("sha256:"));
        let message = &done.node("bad")["receipt"]["failure"]["message"];
        let shown = project.lockgate(["show", "last", "bad"]).code(0).prints(kind);
        let first = message.as_str().unwrap().lines().next().unwrap();
        shown.prints(&first.chars().take(60).collect::<String>());
    }
    project.assert_usable();
}

#[test]
fn what_is_merely_odd_succeeds() {
    let project = project();
    for what in [
        "nothing",
        "findings",
        "findings-garbage",
        "log-too-much",
        "log-with-escapes",
        "bad-paths",
        "unfinished-and-leaked",
    ] {
        run(&project, what).code(0).node_is("bad", "succeeded");
    }
    project.assert_usable();
}

#[test]
fn a_spent_stack_is_infrastructure() {
    // A guest of Rust spends its own stack first, and traps. This one has none but the engine's, whose depth depends on compiled
    // frames: so its end says nothing about the pipeline.
    let project = Project::with_pipeline(
        "plugins.made.path = \"made.wasm\"\n[[stage]]\nid = \"bad\"\nplugin = \"made\"\n\
         [[stage]]\nid = \"other\"\nplugin = \"std:noop\"\n",
    );
    project.file("made.wasm", Handmade::stage().run("(drop (call $deeper (i32.const 0)))").build());
    let done = project.run::<&str>([]).code(5).node_failed("bad", "infrastructure", "stack");
    assert!(done.events.last().unwrap()["digest"].is_null(), "{}", done.all());
    done.node_is("bad", "errored").node_is("other", "succeeded");
    project.assert_usable();
}

#[test]
fn a_spinning_guest_does_not_block_the_others() {
    let project = Project::with_pipeline(
        r#"
        plugins.misbehave = { path = "misbehave.wasm" }
        limits.fuel = "100T"
        limits.timeout = "2s"
        [[stage]]
        id = "spins"
        plugin = "misbehave"
        config.do = "loop"
        [[stage]]
        id = "quick"
        plugin = "std:noop"
        "#,
    );
    project.guest("misbehave");
    let done = project.run(["--jobs", "2"]).code(5).node_is("quick", "succeeded").node_is("spins", "errored");
    let done = done.node_failed("spins", "timeout", "2 s");
    let place = |node: &str| done.events.iter().position(|event| event["receipt"]["node"] == node).unwrap();
    assert!(place("quick") < place("spins"), "{}", done.all());
    project.assert_usable();
}

#[test]
fn what_a_guest_says_does_not_reach_the_terminal_raw() {
    let project = project();
    for what in ["error-with-escapes", "log-with-escapes", "findings-garbage"] {
        let done = project.lockgate(["run", "pipeline.toml", "--verbose", "--param", &format!("do={what}")]);
        let shown = project.lockgate(["show", "last", "bad"]).code(0);
        let logged = project.lockgate(["logs", "last"]).code(0);
        for text in [&done.stderr, &done.stdout, &shown.stdout, &logged.stdout] {
            let wild = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
            assert_eq!(wild, None, "{what}: {text:?}");
        }
    }
}

#[test]
fn huge_messages_are_cut_or_refused() {
    let project = project();
    for what in ["error-huge", "findings-huge", "log-huge"] {
        let done = run(&project, what);
        assert!(matches!(done.exit, Some(0 | 1)), "{}", done.all());
        assert!(done.stdout.len() < 1 << 20, "{what}: {} bytes of events", done.stdout.len());
        let shown = project.lockgate(["show", "last"]).code(0);
        assert!(shown.stdout.len() < 100 << 10, "{what}: {} bytes", shown.stdout.len());
    }
    project.assert_usable();
}

#[test]
fn a_cut_log_says_so() {
    let project = project();
    run(&project, "log-too-much").code(0);
    let logs = project.lockgate(["logs", "last", "bad"]).code(0);
    assert!(logs.stdout.len() <= 110 << 10, "{} bytes", logs.stdout.len());
    logs.prints("the log ends here");
}

#[test]
fn people_see_message_log_and_backtrace() {
    let project = project();
    let done = project.lockgate(["run", "pipeline.toml", "--param", "do=log-and-trap"]).code(1);
    let done = done.says("step 29").says("step 21").keeps_quiet_about("step 3 ");
    done.says("unreachable").says("stumble").says("1 failed");
    let done = project.lockgate(["run", "pipeline.toml", "--param", "do=error-with-findings"]).code(1);
    done.says("seven is wrong").says(":7:3").says("one thing is wrong");
}

#[test]
fn reading_again_and_again_is_bounded() {
    let project = project();
    project.file("in.bin", vec![7; 1 << 20]);
    project.pipeline(
        &PIPELINE
            .replace("id = \"bad\"", "id = \"bad\"\ninputs.in = { file = \"in.bin\" }\nlimits.call_bytes = \"100MiB\""),
    );
    run(&project, "read-again-and-again").code(1).node_failed("bad", "limit", "100 MiB");
    project.assert_usable();
}

#[test]
fn start_up_has_a_budget_of_its_own() {
    // A start function runs before `describe`, too: so the component is refused, not the node.
    let project =
        Project::with_pipeline("plugins.made.path = \"made.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"made\"\n");
    let start = "(start $spin) (func $spin (loop $l (br $l)))";
    project.file("made.wasm", Handmade::stage().import(start).build());
    project.check().code(2).says("fuel");
    project.assert_usable();
}

#[test]
fn a_panic_says_its_message_in_the_log() {
    let project = Project::with_pipeline(
        "plugins.say.path = \"say.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"say\"\nconfig.panic = \"of all things\"\n",
    );
    project.guest("say").run::<&str>([]).code(1).node_failed("a", "trap", "unreachable");
    project.lockgate(["run", "pipeline.toml"]).code(1).says("panic at").says("src/lib.rs").says("of all things");
}
