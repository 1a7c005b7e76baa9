//! Lock files: what is locked stays, and what is not locked does not run where it counts.

use lockgate_tests::handmade::Handmade;
use lockgate_tests::{Done, Project};

const PIPELINE: &str = "[plugins]\nscan = { path = \"scan.wasm\" }\n\
                        [[stage]]\nid = \"a\"\nplugin = \"scan\"\n[[stage]]\nid = \"b\"\nplugin = \"std:noop\"\n";

fn project() -> Project {
    let project = Project::with_pipeline(PIPELINE);
    project.file("scan.wasm", Handmade::stage().name("scan").build());
    project
}

fn lock(project: &Project, more: &[&str]) -> Done {
    project.lockgate([&["plugin", "lock", "pipeline.toml"], more].concat())
}

/// `lockgate` with these arguments where `CI` is set.
fn in_ci(project: &Project, value: &str, args: &[&str]) -> Done {
    let mut command = project.command(args);
    command.env("CI", value);
    lockgate_tests::project::finish(command)
}

/// Another build of the plugin, that also imports the log.
fn widened() -> Vec<u8> {
    let log = r#"(import "lockgate:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32 i32)))"#;
    Handmade::stage().name("scan").version("1.1.0").import(log).build()
}

#[test]
fn what_is_locked_is_what_runs() {
    let project = project();
    project.run(["--locked"]).code(3).says("there is no `lockgate.lock`").says("lockgate plugin lock pipeline.toml");
    lock(&project, &[]).code(0).says("locked path:scan.wasm: scan 1.0.0").says("2 plugins");
    let text = project.read("lockgate.lock");
    assert!(text.contains("source = \"path:scan.wasm\"") && text.contains("source = \"std:noop\""), "{text}");
    lock(&project, &[]).code(0).says("as before");
    assert_eq!(project.read("lockgate.lock"), text, "the same bytes");
    for command in ["check", "plan", "run"] {
        project.lockgate([command, "pipeline.toml", "--locked"]).code(0);
    }
}

#[test]
fn a_changed_component_is_shown_refused_and_accepted_by_name() {
    let project = project();
    lock(&project, &[]).code(0);
    let before = project.read("lockgate.lock");
    project.file("scan.wasm", Handmade::stage().name("scan").version("1.0.1").build());
    for command in ["check", "plan", "run"] {
        let done = project.lockgate([command, "pipeline.toml", "--locked"]).code(3);
        done.says("lockgate::plugin").says("version `1.0.0` is now `1.0.1`").says("--update path:scan.wasm");
        // Elsewhere it is only said.
        project.lockgate([command, "pipeline.toml"]).code(0).says("warning").says("--update path:scan.wasm");
        project.lockgate([command, "pipeline.toml", "--no-locked"]).code(0).keeps_quiet_about("lockgate.lock");
    }
    let runs = project.runs().len();
    lock(&project, &[]).code(3).says("changed path:scan.wasm").says("digest sha256:").says("nothing was written");
    lock(&project, &["--update", "std:noop"]).code(3);
    assert_eq!(project.read("lockgate.lock"), before);
    lock(&project, &["--update", "scna"]).code(2).says("no pipeline").says("`path:scan.wasm`");
    lock(&project, &["--update", "scan"]).code(0).says("updated path:scan.wasm");
    project.run(["--locked"]).code(0);
    assert_eq!(project.runs().len(), runs + 1);
}

#[test]
fn a_wider_request_is_named() {
    let project = project();
    lock(&project, &[]).code(0);
    project.file("scan.wasm", widened());
    project.check().code(0).says("it asks for more: import `log`");
    lock(&project, &[]).code(3).says("it asks for more: import `log`");
    project.run(["--locked"]).code(3).says("it asks for more: import `log`");
}

#[test]
fn where_ci_is_set_plugins_of_others_must_be_locked() {
    let project = project();
    for value in ["true", "1", "drone"] {
        in_ci(&project, value, &["run", "pipeline.toml"])
            .code(3)
            .says("there is no `lockgate.lock`")
            .says("as CI is set");
    }
    for value in ["", "0", "false"] {
        in_ci(&project, value, &["run", "pipeline.toml"]).code(0);
    }
    in_ci(&project, "true", &["run", "pipeline.toml", "--no-locked"]).code(0);
    lock(&project, &[]).code(0);
    in_ci(&project, "true", &["run", "pipeline.toml"]).code(0);
    // Standard plugins are part of the engine: without a lock file nothing is to be locked, with one all is.
    project.file("other/std.toml", "schema = 1\nname = \"x\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    in_ci(&project, "true", &["run", "other/std.toml"]).code(0);
    project.lockgate(["run", "other/std.toml", "--locked"]).code(3);
    project.file("other/lockgate.lock", "schema = 1\n");
    in_ci(&project, "true", &["run", "other/std.toml"]).code(3).says("it is not in `other/lockgate.lock`");
}

#[test]
fn pipelines_of_one_directory_share_a_lock() {
    let project = project();
    project.file("two.toml", "schema = 1\nname = \"two\"\n[[stage]]\nid = \"a\"\nplugin = \"std:checksum\"\ninputs.x = { file = \"two.toml\" }\n");
    lock(&project, &["two.toml"]).code(0).says("3 plugins");
    let all = project.read("lockgate.lock");
    lock(&project, &[]).code(0).says("3 plugins, as before");
    assert_eq!(project.read("lockgate.lock"), all);
    project.lockgate(["run", "two.toml", "--locked"]).code(0);
}

#[test]
fn a_lock_that_cannot_be_read_stops_everything() {
    let project = project();
    for text in ["schema = 1\n[[plugin]]\nsource = \"path:scan.wasm\"\n", "<<<<<<< ours\n", "\u{0}"] {
        project.file("lockgate.lock", text);
        for command in ["check", "plan", "run"] {
            project.lockgate([command, "pipeline.toml"]).code(2).says("lockgate.lock");
        }
        lock(&project, &[]).code(2).says("lockgate.lock");
        assert_eq!(project.read("lockgate.lock"), text, "nothing is overwritten");
    }
    project.lockgate(["run", "pipeline.toml", "--no-locked"]).code(0);
    std::fs::remove_file(project.join("lockgate.lock")).unwrap();
    std::fs::create_dir(project.join("lockgate.lock")).unwrap();
    project.run::<&str>([]).code(2).says("lockgate.lock");
}

#[test]
fn only_right_pipelines_are_locked() {
    let project = project();
    project.pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:nooop\"\n");
    lock(&project, &[]).code(2).says("std:noop");
    project.pipeline("[params.v]\ntype = \"string\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    lock(&project, &[]).code(2).says("lockgate::missing-param");
    lock(&project, &["--param", "v=1"]).code(0);
    assert!(project.has("lockgate.lock"));
}
