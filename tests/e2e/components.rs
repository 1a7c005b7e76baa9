//! Plugins that are no plugins: each is refused before anything runs, with a message that says what is wrong with it.

use std::fs;

use lockgate_tests::handmade::{Handmade, other_world};
use lockgate_tests::{Done, Project, binary};

const PIPELINE: &str = "[plugins]\nmade = { path = \"made.wasm\" }\n[[stage]]\nid = \"a\"\nplugin = \"made\"\n";

fn project(component: &[u8]) -> Project {
    let project = Project::with_pipeline(PIPELINE);
    project.file("made.wasm", component);
    project
}

/// Checks and runs a pipeline with this component: both refuse it, and nothing was begun.
#[track_caller]
fn refused(component: &[u8], fragments: &[&str]) {
    let project = project(component);
    for command in ["check", "run"] {
        let done = project.lockgate([command, "pipeline.toml"]).code(2).says("lockgate::plugin").says("made");
        fragments.iter().fold(done, |done, fragment| done.says(fragment));
    }
    project.lockgate(["plugin", "inspect", "made.wasm"]).code(2);
    assert!(project.runs().is_empty());
    project.assert_usable();
}

#[test]
fn a_component_made_by_hand_runs() {
    project(&Handmade::stage().build()).run::<&str>([]).code(0).node_is("a", "succeeded");
}

#[test]
fn a_file_that_is_no_wasm_is_refused() {
    refused(b"#!/bin/sh\necho hello\n", &["no WebAssembly"]);
    refused(b"", &["no WebAssembly"]);
}

#[test]
fn a_core_module_is_refused() {
    refused(&Handmade::stage().module(), &["core module"]);
}

#[test]
fn a_component_of_another_world_is_refused() {
    refused(&other_world(), &["world"]);
}

#[test]
fn a_truncated_component_is_refused() {
    let bytes = fs::read(binary::guest("say")).unwrap();
    refused(&bytes[..bytes.len() / 2], &[]);
    refused(&bytes[..9], &[]);
}

#[test]
fn a_damaged_component_is_refused_or_runs() {
    // One byte in the middle of the code: the validator finds it, or it is another valid program, which then ends on its own.
    let mut bytes = fs::read(binary::guest("say")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    let done: Done = project(&bytes).run::<&str>([]);
    assert!(matches!(done.exit, Some(0..=2)), "{}", done.all());
}

#[test]
fn an_import_that_does_not_exist_is_named() {
    let component = Handmade::stage()
        .world("import missing;")
        .import(r#"(import "acme:made/missing" "conjure" (func $conjure))"#)
        .run("(call $conjure)")
        .build();
    let project = project(&component);
    project.check().code(2).says("acme:made/missing").says("missing_imports = \"trap\"");
    project.lockgate(["plugin", "call", "made.wasm"]).code(2).says("acme:made/missing");
    project.lockgate(["plugin", "inspect", "made.wasm"]).code(0).prints("acme:made/missing").prints("not offered");
    project.assert_usable();
}

#[test]
fn an_effect_that_the_node_does_not_grant_is_named() {
    let import = r#"(import "lockgate:plugin/secrets@0.1.0" "placeholder" (func $secret (param i32 i32 i32)))"#;
    let component =
        Handmade::stage().import(import).run("(call $secret (i32.const 0) (i32.const 0) (i32.const 600))").build();
    let project = project(&component);
    project.check().code(2).says("lockgate::missing-grant").says("grants.secrets = [{");
    project.lockgate(["plugin", "inspect", "made.wasm"]).code(0).prints("secrets");
    project.assert_usable();
}

#[test]
fn a_component_of_200_mb_is_refused_without_being_read() {
    let project = Project::with_pipeline(PIPELINE);
    let file = fs::File::create(project.join("made.wasm")).unwrap();
    file.set_len(200 << 20).unwrap();
    project.run::<&str>([]).code(2).says("64 MiB");
    project.assert_usable();
}

#[test]
fn describe_has_a_budget() {
    refused(&Handmade::stage().describe("(loop $l (br $l))").build(), &["describe", "fuel"]);
    refused(&Handmade::stage().describe("(unreachable)").build(), &["describe"]);
}

#[test]
fn imports_trap_in_describe() {
    let import = r#"(import "lockgate:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32 i32)))"#;
    let call = "(call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    refused(&Handmade::stage().import(import).describe(call).build(), &["describe"]);
    // The same call is fine once the work has begun.
    project(&Handmade::stage().import(import).run(call).build()).run::<&str>([]).code(0);
}

#[test]
fn garbage_in_a_manifest_is_named() {
    refused(&Handmade::stage().schema("{\"type\":").build(), &["schema"]);
    refused(&Handmade::stage().name("no spaces, please").build(), &["name"]);
    refused(&Handmade::stage().name("").build(), &["name"]);
    refused(&Handmade::stage().version("one").build(), &["version"]);
    let huge = format!("{{\"title\":\"{}\"}}", "x".repeat(900_000 + (200 << 10)));
    refused(&Handmade::stage().schema(&huge).build(), &["describe", "too much"]);
}

#[test]
fn a_hostile_schema_does_not_hang_the_check() {
    let remote = r#"{"$ref": "http://127.0.0.1:1/schema.json"}"#;
    project(&Handmade::stage().schema(remote).build()).check().code(2).says("lockgate::config-schema");
    let file = r#"{"$ref": "file:///etc/passwd"}"#;
    project(&Handmade::stage().schema(file).build()).check().code(2).says("lockgate::config-schema");
    let endless = r##"{"$ref": "#"}"##;
    let done = project(&Handmade::stage().schema(endless).build()).check();
    assert!(matches!(done.exit, Some(0 | 2)), "{}", done.all());
    let pattern = r#"{"properties": {"x": {"pattern": "^(a+)+$"}}}"#;
    let slow = project(&Handmade::stage().schema(pattern).build());
    slow.pipeline(&format!("{PIPELINE}config = {{ x = \"{}!\" }}\n", "a".repeat(64)));
    slow.check().code(2).says("lockgate::config");
}
