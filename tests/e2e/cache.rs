//! The action cache: what is executed again and what is not, and that nobody can tell by the results; cleaning up; a state
//! directory that can only be read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use lockgate_tests::project::{finish, without_override};
use lockgate_tests::{Done, Project};
use sha2::{Digest as _, Sha256};

const PIPELINE: &str = r#"
[plugins]
say = { path = "say.wasm" }

[[stage]]
id = "text"
plugin = "say"
config = { text = "hello", log = ["one", "two"], files = { "a/b.txt" = "b" } }

[[stage]]
id = "pack"
plugin = "std:pack"
inputs.src = { dir = "src" }

[[stage]]
id = "sums"
plugin = "std:checksum"
inputs.archive = "pack.archive"

[[stage]]
id = "again"
plugin = "std:checksum"
inputs.tree = "text.tree"
repeat = 2

[[stage]]
id = "fails"
plugin = "say"
config = { fail = "as it should" }
allow_failure = true

[[export]]
from = "pack.archive"
to = "dist/archive"
"#;

/// Bytes that no packer makes smaller.
fn noise() -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..100_000).map(next).collect()
}

fn project() -> Project {
    let project = Project::with_pipeline(PIPELINE);
    project.guest("say").file("src/a.txt", "a").file("src/deep/noise", noise());
    project
}

fn run(project: &Project) -> Done {
    project.run::<&str>([]).code(0)
}

/// Nodes whose results came from the cache, sorted.
fn cached(done: &Done) -> Vec<&str> {
    let ends = done.events("node-finished").filter(|event| event["facts"]["cached"] == true);
    let mut nodes: Vec<_> = ends.map(|event| event["receipt"]["node"].as_str().unwrap()).collect();
    nodes.sort_unstable();
    nodes
}

/// Files of the state directory below a folder that are larger than this.
fn large(project: &Project, folder: &str, size: u64) -> Vec<PathBuf> {
    let mut todo = vec![project.join(".lockgate").join(folder)];
    let mut found = Vec::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.metadata().unwrap() {
                meta if meta.is_dir() => todo.push(entry.path()),
                meta if meta.len() > size => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn a_second_run_executes_nothing_that_is_pure_and_succeeded() {
    let project = project();
    let first = run(&project);
    assert_eq!(cached(&first), [""; 0]);
    let second = run(&project);
    assert_eq!(cached(&second), ["pack", "sums", "text"], "not what failed, not what is repeated");
    assert_eq!(second.digest(), first.digest());
    assert_eq!(second.node("pack")["receipt"], first.node("pack")["receipt"]);
    assert_eq!(second.node("text")["receipt"]["log"], first.node("text")["receipt"]["log"]);
    project.lockgate(["logs", "last", "text"]).code(0).prints("two");
    // Another directory and no cache at all: the same digest.
    let elsewhere = self::project();
    assert_eq!(run(&elsewhere).digest(), first.digest());
    let forced = project.run(["--no-cache", "--jobs", "2"]).code(0);
    assert_eq!((cached(&forced), forced.digest()), (vec![], first.digest()));
    let thorough = project.run(["--verify"]).code(0);
    assert_eq!((cached(&thorough), thorough.digest()), (vec!["pack", "sums", "text"], first.digest()));
}

#[test]
fn what_a_run_without_cache_proves_serves_later_ones() {
    let project = project();
    project.run(["--no-cache"]).code(0);
    assert_eq!(cached(&run(&project)), ["pack", "sums", "text"]);
}

#[test]
fn a_cached_run_needs_no_compiled_code() {
    let project = Project::with_pipeline("[[stage]]\nid = \"fine\"\nplugin = \"std:noop\"\nconfig = { n = 1 }\n");
    let first = run(&project);
    let code = large(&project, "code", 20_000);
    assert!(!code.is_empty());
    code.iter().for_each(|path| fs::remove_file(path).unwrap());
    let second = run(&project);
    assert_eq!((cached(&second), second.digest()), (vec!["fine"], first.digest()));
    assert!(large(&project, "code", 20_000).is_empty(), "nothing was compiled");
    project.run(["--no-cache"]).code(0);
    assert_eq!(large(&project, "code", 20_000).len(), code.len());
}

#[test]
fn a_changed_file_runs_what_reads_it_and_nothing_else() {
    let project = project();
    let first = run(&project);
    project.file("src/a.txt", "A");
    let second = run(&project);
    assert_eq!(cached(&second), ["text"]);
    assert_ne!(second.digest(), first.digest());
    // The pack is another one, but what was there before is not forgotten.
    project.file("src/a.txt", "a");
    let third = run(&project);
    assert_eq!((cached(&third), third.digest()), (vec!["pack", "sums", "text"], first.digest()));
}

#[test]
fn a_damaged_artifact_is_made_again() {
    let project = project();
    let first = run(&project);
    let archive = first.output("pack", "archive").trim_start_matches("sha256:").to_owned();
    let path = project.join(".lockgate/blobs").join(&archive[..2]).join(&archive);
    let right = fs::read(&path).unwrap();
    for damaged in [vec![0; right.len()], right[..right.len() - 1].to_vec()] {
        fs::write(&path, damaged).unwrap();
        let again = run(&project);
        assert_eq!((cached(&again), again.digest()), (vec!["sums", "text"], first.digest()));
        assert_eq!(fs::read(&path).unwrap(), right, "it is whole again");
        assert_eq!(project.bytes("dist/archive"), right);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(cached(&run(&project)), ["sums", "text"]);
    assert_eq!(cached(&run(&project)), ["pack", "sums", "text"]);
}

#[test]
fn equal_nodes_execute_once() {
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"equal\"\nplugin = \"std:noop\"\n[stage.matrix]\nn = [1, 2, 3, 4, 5, 6, 7, 8]\n",
    );
    for jobs in ["1", "8"] {
        let done = project.run(["--no-cache", "--jobs", jobs]).code(0);
        assert_eq!((done.events("node-finished").count(), cached(&done).len()), (8, 7), "{jobs} jobs");
    }
}

#[test]
fn the_plan_says_what_is_cached_and_why_the_rest_would_run() {
    let project = project();
    let plan = |args: &[&str]| {
        let args = ["plan", "pipeline.toml"].into_iter().chain(args.iter().copied());
        project.lockgate(args).code(0)
    };
    plan(&[]).prints("runs: no earlier run of it is known").prints("3 would run, 2 open");
    let first = run(&project);
    let id = first.events("run-started").next().unwrap()["run"].as_str().unwrap().to_owned();
    plan(&[])
        .prints(&format!("cached: executed in run {id}"))
        .prints("runs: it says `repeat`, so it is always executed")
        .prints(&format!("runs: its key is that of run {id}, where it failed"));
    project.file("src/a.txt", "A").file("src/new", "n");
    plan(&[])
        .prints(&format!("runs: since run {id}: input src changed: `a.txt`, added `new`"))
        .prints("open: input archive is made by `pack`, which would run");
    project.pipeline(&PIPELINE.replace("\"hello\"", "\"hullo\""));
    let done = plan(&["--format", "json"]);
    let nodes: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let text = nodes["nodes"].as_array().unwrap().iter().find(|node| node["id"] == "text").unwrap();
    let nearest = &text["cache"]["nearest"];
    assert_eq!((&text["cache"]["state"], &nearest["run"]), (&"runs".into(), &id.clone().into()));
    assert_eq!(
        nearest["differences"],
        serde_json::json!([{ "part": "config.text", "before": "hello", "after": "hullo" }])
    );
    let limited = PIPELINE.replacen("[[stage]]", "[limits]\nfuel = \"1G\"\n\n[[stage]]", 1);
    project.pipeline(&limited);
    plan(&[]).prints(&format!("runs: since run {id}: limits.fuel is 1000000000, was 2000000000"));
    assert_eq!(project.runs().len(), 1, "a plan is no run");
}

#[test]
fn a_key_is_explained() {
    let project = project();
    let explain = |node: &str| project.lockgate(["cache", "explain", "pipeline.toml", node]);
    explain("sums").code(0).prints("sums has no key yet");
    let first = run(&project);
    let key = first.node("pack")["receipt"]["key"].as_str().unwrap().to_owned();
    let id = first.events("run-started").next().unwrap()["run"].as_str().unwrap().to_owned();
    let done = explain("pack").code(0).prints(&format!("pack {key}")).prints(&format!("cached: executed in run {id}"));
    for part in
        ["component", "world", "config", "input", "limits", "grants", "determinism", "logical time", "canonical"]
    {
        assert!(done.stdout.contains(part), "{part} is missing: {}", done.all());
    }
    let json = project.lockgate(["cache", "explain", "pipeline.toml", "pack", "--format", "json"]).code(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    // As another program would compute it.
    let canonical = json["canonical"].as_str().unwrap();
    let digest = Sha256::digest([b"lockgate-action-v1\0", canonical.as_bytes()].concat());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((format!("sha256:{hex}"), json["key"].as_str().unwrap()), (key.clone(), key.as_str()));
    explain("pakc").code(2).says("did you mean `pack`?");
}

#[test]
fn collecting_keeps_what_young_runs_need_and_says_what_is_gone() {
    let project = project();
    let gc = |args: &[&str]| project.lockgate(["cache", "gc"].into_iter().chain(args.iter().copied()));
    run(&project);
    project.file("src/a.txt", "A").pipeline(&PIPELINE.replace("\"one\"", "\"three\""));
    run(&project);
    gc(&["--keep", "7d"]).code(0).prints("freed 0 B").prints("kept what 2 of 2 runs need");
    let runs = project.runs();
    let (new, old) = (&runs[0], &runs[1]);
    let keep = ["--keep", "0s", "--keep-run", new];
    gc(&[&keep[..], &["--dry-run"]].concat()).code(0).prints("would free").prints("kept what 1 of 2 runs need");
    project.lockgate(["show", old, "pack"]).code(0);
    gc(&keep).code(0).prints("kept what 1 of 2 runs need");
    project.lockgate(["show", new]).code(0);
    project.lockgate(["logs", new, "text"]).code(0).prints("three");
    assert_eq!(cached(&run(&project)), ["pack", "sums", "text"]);
    for command in ["show", "logs"] {
        project.lockgate([command, old]).code(5).says("removed by gc on 20");
    }
    assert_eq!(project.runs().len(), 3, "no run is forgotten");
    let json = gc(&["--keep", "0s", "--max", "1GiB", "--format", "json"]).code(0);
    // What is left of the collected run, which is nothing, has room.
    assert_eq!(json.events[0]["runs"], serde_json::json!({ "kept": 3, "other": 0 }));
    gc(&["--keep", "0s"]).code(0).prints("kept what 0 of 3 runs need");
    assert_eq!(cached(&run(&project)), [""; 0]);
}

#[test]
fn a_read_only_state_directory_can_be_looked_into_and_not_written() {
    let project = project();
    run(&project);
    let state = project.join(".lockgate");
    let mode = |mode: u32| {
        fs::set_permissions(&state, PermissionsExt::from_mode(mode)).unwrap();
        for entry in fs::read_dir(&state).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::set_permissions(entry.path(), PermissionsExt::from_mode(mode & 0o666)).unwrap();
        }
    };
    let limited = |args: &[&str]| {
        let mut command = project.command(args);
        without_override(&mut command);
        finish(command)
    };
    mode(0o555);
    limited(&["runs"]).code(0).prints("succeeded");
    limited(&["show", "last"]).code(0).prints("succeeded");
    limited(&["logs", "last", "text"]).code(0).prints("two");
    limited(&["plan", "pipeline.toml"]).code(0).prints("cached: executed in run");
    limited(&["run", "pipeline.toml"]).code(5).says("it is read-only").says("name another one with `--state`");
    limited(&["cache", "gc"]).code(5).says("it is read-only");
    mode(0o755);
    assert_eq!(cached(&run(&project)), ["pack", "sums", "text"]);
}
