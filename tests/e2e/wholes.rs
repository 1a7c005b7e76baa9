//! Large graphs whose results are known: served at once, and nobody can tell by anything but the journal's size.

use std::fs;

use lockgate_tests::{Done, Project};

/// Enough nodes to be served at once, one of which reads a file and another one what that made; the last one after all others.
fn pipeline(text: &str) -> String {
    let node =
        |number: usize| format!("[[stage]]\nid = \"n{number}\"\nplugin = \"std:noop\"\nconfig = {{ n = {number} }}\n");
    let nodes: String = (0..300).map(node).collect();
    format!(
        "{nodes}[[stage]]\nid = \"sums\"\nplugin = \"std:checksum\"\ninputs.tree = {{ dir = \"src\" }}\nafter = [\"n7\"]\n\
         [[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = {{ dir = \"src\" }}\n{text}\
         [[stage]]\nid = \"last\"\nplugin = \"std:checksum\"\ninputs.archive = \"pack.archive\"\nfinally = true\n\
         [[export]]\nfrom = \"pack.archive\"\nto = \"dist/archive\"\n"
    )
}

fn project() -> Project {
    let project = Project::with_pipeline(&pipeline(""));
    // Bytes that no packer makes so small that they are no file of their own.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    project
        .file("src/a.txt", "a")
        .file("src/b.txt", std::iter::repeat_with(&mut noise).take(40_000).collect::<Vec<_>>());
    project
}

fn kinds(done: &Done) -> Vec<&str> {
    let kinds = done.events.iter().filter_map(|event| event["event"].as_str());
    kinds.filter(|kind| !["attempt-started", "node-finished"].contains(kind)).collect()
}

fn receipts(project: &Project, run: &str) -> serde_json::Value {
    project.lockgate(["show", run, "--receipts"]).code(0).events[0].clone()
}

#[test]
fn a_run_that_is_served_at_once_is_like_any_other() {
    let project = project();
    let first = project.run::<&str>([]).code(0);
    assert_eq!(kinds(&first), ["run-started", "graph-proved", "exported", "run-finished"]);
    fs::remove_dir_all(project.join("dist")).unwrap();
    let second = project.run::<&str>([]).code(0);
    assert_eq!(kinds(&second), ["run-started", "graph-served", "exported", "run-finished"]);
    assert!(project.has("dist/archive"));
    let ends: Vec<_> = second.events("node-finished").collect();
    assert_eq!(ends.len(), 303);
    assert!(ends.iter().all(|end| end["facts"]["cached"] == true && end["receipt"]["status"] == "succeeded"));
    assert_eq!(
        first.events("run-finished").next().unwrap()["digest"],
        second.events("run-finished").next().unwrap()["digest"]
    );
    let runs = project.runs();
    assert_eq!(receipts(&project, &runs[0]), receipts(&project, &runs[1]));
    project.lockgate(["show", &runs[0], "pack"]).code(0).prints("cached");
    project.lockgate(["logs", &runs[0], "sums"]).code(0);
    project.lockgate(["plan", "pipeline.toml"]).code(0).prints("cached");
    // It replays, also elsewhere.
    project.lockgate(["replay", &runs[0], "sums"]).code(0).prints("1 replayed the same");
    project.lockgate(["show", &runs[0], "--bundle", "run.bundle"]).code(0);
    let elsewhere = Project::new();
    elsewhere.file("run.bundle", project.bytes("run.bundle"));
    elsewhere.lockgate(["replay", "./run.bundle", "last"]).code(0).prints("1 replayed the same");
    // What the journal says of it outlives every collection.
    project.lockgate(["cache", "gc", "--keep", "0s"]).code(0);
    project.lockgate(["audit", "verify"]).code(0);
    assert!(!kinds(&project.run::<&str>([]).code(0)).contains(&"graph-served"));
}

#[test]
fn what_changed_is_executed_and_the_rest_is_served_one_by_one() {
    let project = project();
    project.run::<&str>([]).code(0);
    let served = |done: &Done| kinds(done).contains(&"graph-served");
    assert!(!served(&project.run(["--no-cache"]).code(0)));
    assert!(!served(&project.run(["--only", "n1"]).code(0)));
    assert!(served(&project.run::<&str>([]).code(0)));
    // A file, a config.
    project.file("src/a.txt", "b");
    let done = project.run::<&str>([]).code(0);
    assert!(!served(&done));
    assert_eq!(done.events("node-finished").filter(|end| end["facts"]["cached"] == true).count(), 300);
    assert!(served(&project.run::<&str>([]).code(0)));
    project.pipeline(&pipeline("config = { format = \"zip\" }\n"));
    assert!(!served(&project.run::<&str>([]).code(0)));
    // An artifact that is gone is made again.
    assert!(served(&project.run::<&str>([]).code(0)));
    for folder in fs::read_dir(project.join(".lockgate/blobs")).unwrap() {
        for blob in fs::read_dir(folder.unwrap().path()).unwrap() {
            let blob = blob.unwrap().path();
            if fs::read(&blob).unwrap().starts_with(b"PK") {
                fs::remove_file(blob).unwrap();
            }
        }
    }
    let done = project.run::<&str>([]).code(0);
    assert!(!served(&done));
    assert!(done.events("node-finished").any(|end| end["facts"]["cached"] == false));
}
