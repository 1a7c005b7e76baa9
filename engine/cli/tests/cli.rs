//! The command line from outside, as far as it needs no plugin: exit codes, streams, problems, graphs, the schema. What runs real
//! components is in `tests/` of the repository.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

const PIPELINE: &str = r#"
schema = 1
name = "sample"
[params.version]
type = "string"
default = "0.1.0"
[plugins]
mine = { path = "mine.wasm" }
[[stage]]
id = "build"
plugin = "mine"
[[stage]]
id = "pack"
plugin = "mine"
inputs.src = "build.out"
after = ["build"]
config = { version = "${params.version}" }
"#;

/// A directory with this text as `p.toml`.
fn project(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".lockgate-root"), "").unwrap();
    fs::write(dir.path().join("p.toml"), text).unwrap();
    dir
}

fn command(dir: &Path, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(cargo_bin("lockgate"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    for name in ["NO_COLOR", "TERM", "CLICOLOR_FORCE", "FORCE_COLOR", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

/// Runs it, checks the exit code and that it neither panicked nor coloured, and gives stdout and stderr.
#[track_caller]
fn check(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command(dir, args).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{args:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains('\x1b') && !stdout.contains('\x1b'), "{stderr}");
    (stdout, stderr)
}

#[test]
fn version_and_help_are_data() {
    let dir = project("");
    let (stdout, stderr) = check(dir.path(), &["--version"], 0);
    assert_eq!((stdout.as_str(), stderr.as_str()), (concat!("lockgate ", env!("CARGO_PKG_VERSION"), "\n"), ""));
    let (stdout, _) = check(dir.path(), &["--help"], 0);
    for line in
        ["  0    succeeded", "  1    the run failed", "  2    ", "  3    refused", "  4    ", "  5    ", "  130  "]
    {
        assert!(stdout.contains(line), "{line}\n{stdout}");
    }
    for command in ["check", "plan", "run", "graph", "runs", "show", "logs", "schema", "plugin"] {
        let (stdout, _) = check(dir.path(), &[command, "--help"], 0);
        assert!(stdout.contains("Usage: lockgate "), "{stdout}");
    }
}

#[test]
fn a_wrong_command_line_is_wrong() {
    let dir = project(PIPELINE);
    for args in [
        &["fly"][..],
        &["run"],
        &["run", "p.toml", "--jobs", "0"],
        &["run", "p.toml", "--param", "x"],
        &["graph", "p.toml", "--format", "png"],
    ] {
        let (stdout, stderr) = check(dir.path(), args, 2);
        assert!(stdout.is_empty() && stderr.contains("error:"), "{stderr}");
    }
}

#[test]
fn every_problem_is_told_with_its_place() {
    let dir = project(
        &PIPELINE.replace("after = [\"build\"]", "aftr = [\"build\"]").replace("\"build.out\"", "\"biuld.out\""),
    );
    for command in ["check", "plan", "run", "graph"] {
        let (stdout, stderr) = check(dir.path(), &[command, "p.toml"], 2);
        assert_eq!(stdout, "");
        for text in ["aftr", "`after`", "biuld", "`build`", "p.toml:1"] {
            assert!(stderr.contains(text), "{command}: {text}\n{stderr}");
        }
    }
    let (stdout, _) = check(dir.path(), &["check", "p.toml", "--format", "json"], 2);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 2, "{stdout}");
    assert!(lines.iter().any(|line| line["code"] == "lockgate::unknown-key" && line["line"].is_u64()), "{stdout}");
}

#[test]
fn colour_comes_when_asked_for() {
    let dir = project("name = 1\n");
    let stderr = command(dir.path(), &["check", "p.toml", "--color", "always"]).output().unwrap().stderr;
    assert!(stderr.contains(&0x1b));
}

#[test]
fn plugins_that_cannot_be_used_are_problems_of_the_file() {
    let dir = project(PIPELINE);
    let (_, stderr) = check(dir.path(), &["check", "p.toml"], 2);
    assert!(stderr.contains("mine.wasm") && stderr.contains("lockgate::plugin"), "{stderr}");
    fs::write(dir.path().join("mine.wasm"), "#!/bin/sh").unwrap();
    let (_, stderr) = check(dir.path(), &["run", "p.toml"], 2);
    assert!(stderr.contains("lockgate::plugin"), "{stderr}");
    // Nothing ran.
    assert_eq!(check(dir.path(), &["runs", "--format", "json"], 0).0, "");
    let nowhere = project(&PIPELINE.replace("{ path = \"mine.wasm\" }", "\"std:no-such-plugin\""));
    let (_, stderr) = check(nowhere.path(), &["check", "p.toml"], 2);
    assert!(stderr.contains("std:no-such-plugin"), "{stderr}");
}

#[test]
fn parameters_are_checked() {
    let dir = project(PIPELINE);
    let (_, stderr) = check(dir.path(), &["graph", "p.toml", "--param", "vresion=1"], 2);
    assert!(stderr.contains("vresion") && stderr.contains("`version`"), "{stderr}");
    let (_, stderr) = check(dir.path(), &["graph", "p.toml", "--param", "version=1", "--param", "version=2"], 2);
    assert!(stderr.contains("twice"), "{stderr}");
}

#[test]
fn graphs_need_no_plugin() {
    let dir = project(PIPELINE);
    let (stdout, stderr) = check(dir.path(), &["graph", "p.toml"], 0);
    assert!(stdout.starts_with("digraph \"sample\" {") && stdout.contains("\"build\" -> \"pack\";"), "{stdout}");
    assert_eq!(stderr, "");
    assert!(check(dir.path(), &["graph", "p.toml", "--format", "mermaid"], 0).0.contains("n0 --> n1"));
    assert!(check(dir.path(), &["graph", "p.toml", "--format", "svg"], 0).0.starts_with("<svg "));
    assert!(!dir.path().join(".lockgate").exists(), "drawing leaves nothing behind");
}

#[test]
fn files_that_are_none_are_wrong() {
    let dir = project("");
    for file in ["missing.toml", ".", "p.toml/x"] {
        let (_, stderr) = check(dir.path(), &["check", file], 2);
        assert!(stderr.contains(file), "{stderr}");
    }
    check(dir.path(), &["check", "p.toml", "--root", "missing"], 2);
}

#[test]
fn the_schema_is_json() {
    let dir = project("");
    let schema: Value = serde_json::from_str(&check(dir.path(), &["schema"], 0).0).unwrap();
    assert!(schema.is_object());
}

#[test]
fn without_a_state_directory_there_are_no_runs() {
    let dir = project("");
    assert_eq!(check(dir.path(), &["runs"], 0).0, "");
    for args in [["show", "last"], ["logs", "last"]] {
        let (_, stderr) = check(dir.path(), &args, 2);
        assert!(stderr.contains("no state directory") && stderr.contains("--state"), "{stderr}");
    }
    assert!(!dir.path().join(".lockgate").exists(), "looking leaves nothing behind");
}

#[test]
fn components_are_refused_by_name() {
    let dir = project("");
    fs::write(dir.path().join("text.wasm"), "hello").unwrap();
    fs::write(dir.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    for file in ["text.wasm", "core.wasm", "missing.wasm", ".", "std:no-such-plugin"] {
        let (stdout, stderr) = check(dir.path(), &["plugin", "inspect", file], 2);
        assert!(stdout.is_empty() && stderr.contains(file), "{stderr}");
        check(dir.path(), &["plugin", "call", file], 2);
    }
    check(dir.path(), &["plugin", "call", "text.wasm", "--config", "[]"], 2);
    check(dir.path(), &["plugin", "call", "text.wasm", "--grant-http", "GET"], 2);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let dir = project("");
    let mut child = command(dir.path(), &["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_told() {
    let dir = project("");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = command(dir.path(), &["schema"]).stdout(full).output().unwrap();
    assert_eq!(ended.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("write to stdout"));
}
