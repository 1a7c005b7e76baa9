//! Parts of a pipeline: `--only` and `--from`, and where the rest has its results from. And the check of the cache.

use lockgate_model::event::Event;
use lockgate_store::Store;
use lockgate_tests::{Answer, Done, Project, Server};
use serde_json::Value;

const CHAIN: &str = r#"
[[stage]]
id = "pack"
plugin = "std:pack"
inputs.src = { dir = "src" }

[[stage]]
id = "sums"
plugin = "std:checksum"
inputs.archive = "pack.archive"

[[stage]]
id = "shard"
plugin = "std:noop"
matrix = { n = [1, 2] }
config = { n = "${matrix.n}" }
after = ["sums"]

[[stage]]
id = "tidy"
plugin = "std:noop"
finally = true

[[export]]
from = "pack.archive"
to = "dist/archive"

[[export]]
from = "sums.sums"
to = "dist/SUMS"
"#;

fn chain() -> Project {
    let project = Project::with_pipeline(CHAIN);
    project.file("src/a.txt", "a");
    project
}

/// Nodes whose attempts began and that were not served.
fn executed(done: &Done) -> Vec<&str> {
    let ends = done.events("node-finished").filter(|event| event["attempt"] != 0 && event["facts"]["cached"] != true);
    ends.filter_map(|event| event["receipt"]["node"].as_str()).collect()
}

fn run_id(done: &Done) -> &str {
    done.events("run-started").next().unwrap()["run"].as_str().unwrap()
}

#[test]
fn a_part_takes_the_rest_from_earlier_runs() {
    let project = chain();
    project
        .run(["--only", "shard"])
        .code(2)
        .says("2 nodes that it needs and does not select have no earlier result")
        .says("`pack`: no earlier run of it is known")
        .says("`sums`: its inputs are not known before `pack`")
        .says("run the whole pipeline once, or add `--from pack`");
    assert!(project.runs().is_empty(), "nothing ran");
    let whole = project.run::<&str>([]).code(0);
    std::fs::remove_dir_all(project.join("dist")).unwrap();
    let part = project.run(["--only", "sums", "--no-cache"]).code(0);
    assert_eq!(executed(&part), ["sums"], "`--no-cache` concerns what is selected");
    assert_eq!(part.node("pack")["receipt"], whole.node("pack")["receipt"]);
    assert_eq!(part.node("pack")["facts"]["taken_from"]["run"], run_id(&whole));
    assert_eq!(part.node("tidy")["reason"], "not selected");
    assert_eq!(part.events.last().unwrap()["digest"], Value::Null);
    assert_eq!(part.events[0]["selection"], serde_json::json!({ "only": ["sums"] }));
    assert!(project.has("dist/SUMS") && !project.has("dist/archive"), "exports of what is selected");
    let matrix = project.run(["--only", "shard"]).code(0);
    assert_eq!(executed(&matrix), [""; 0]);
    assert_eq!(matrix.status("shard[n=2]"), "succeeded");
    let from = project.run(["--from", "sums", "--only", "tidy", "--no-cache"]).code(0);
    let mut nodes = executed(&from);
    nodes.sort_unstable();
    assert_eq!(nodes, ["shard[n=1]", "shard[n=2]", "sums", "tidy"]);
    project.run(["--only", "shrad"]).code(2).says("did you mean `shard`?");
    project.run(["--from", "pakc"]).code(2).says("did you mean `pack`?");
    // What changed since is named.
    project.file("src/a.txt", "A");
    project.run(["--only", "sums"]).code(2).says("input src changed: `a.txt`").says("add `--from pack`");
    let plan = project.lockgate(["plan", "pipeline.toml", "--only", "sums"]).code(2);
    plan.prints("no result: since run").prints("skipped: not selected").says("add `--from pack`");
}

#[test]
fn every_command_knows_of_a_part() {
    let project = chain();
    let whole = project.run::<&str>([]).code(0);
    let part = project.lockgate([
        "run",
        "pipeline.toml",
        "--only",
        "sums",
        "--junit",
        "j.xml",
        "--report",
        "r.html",
        "--format",
        "human",
    ]);
    part.code(0).says("part of the pipeline: --only sums; it has no run digest").says("3 not selected");
    assert!(project.read("j.xml").contains("--only sums") && project.read("j.xml").contains("not selected"));
    assert!(project.read("r.html").contains("the run is of a part of the pipeline"));
    project.lockgate(["show", "last"]).code(0).prints("--only sums; it has no run digest").prints("3 not selected");
    project.lockgate(["show", "last", "pack"]).code(0).prints(&format!("in run {}", run_id(&whole)));
    project.lockgate(["runs"]).code(0).prints("--only sums");
    let runs = project.lockgate(["runs", "--format", "json"]).code(0);
    assert_eq!(runs.events[0]["selection"]["only"][0], "sums");
    assert_eq!(runs.events[0]["nodes"]["finished"], 2);
    project.lockgate(["replay", "last"]).code(0);
    project.lockgate(["diff", "last"]).code(0).prints("part --only sums").prints(run_id(&whole));
    // A part says nothing about the whole: the last good run is another one.
    project.run::<&str>([]).code(0);
    project.lockgate(["show", "last"]).code(0).prints(&format!("last good {}", run_id(&whole)));
    let plan = project.lockgate(["plan", "pipeline.toml", "--only", "sums", "--format", "json"]).code(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let states: Vec<_> = plan["nodes"].as_array().unwrap().iter().map(|node| node["cache"]["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == "taken").count(), 1, "{states:?}");
    assert_eq!(plan["selection"]["only"][0], "sums");
}

fn probed(url: &str, max_age: &str) -> String {
    format!(
        "[[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\nconfig = {{ url = \"{url}\" }}\n{max_age}\
         grants.http = [\"GET {url}\"]\n\
         [[stage]]\nid = \"promote\"\nplugin = \"std:noop\"\nafter = [\"up\"]\n"
    )
}

#[test]
fn what_a_health_check_said_counts_until_it_says_something_else() {
    let server = Server::script([Answer::ok("fine"), Answer::status(503)]);
    let url = server.url("/");
    let project = Project::with_pipeline(&probed(&url, ""));
    let only = ["--only", "promote"];
    project.run(only).code(2).says("`up`: no earlier run of it is known");
    let whole = project.run::<&str>([]).code(0);
    assert_eq!(server.hits(), 1);
    let part = project.run(only).code(0);
    assert_eq!((server.hits(), part.status("up")), (1, "succeeded"));
    assert_eq!(part.node("up")["receipt"], whole.node("up")["receipt"]);
    project.lockgate(["replay", "last"]).code(0).prints("it was executed in an earlier run");
    project.assert_usable();
    // The last word is from 1970.
    project.pipeline(&probed(&url, "max_age = \"30d\"\n"));
    project.run(only).code(0);
    forge(&project, "up");
    project.run(only).code(2).says("what it said in run r0forgedup is").says("and its `max_age` is 30 d");
    project.pipeline(&probed(&url, ""));
    let failed = project.run::<&str>([]).code(1);
    project.run(only).code(2).says(&format!("it failed in run {}", run_id(&failed)));
    assert_eq!(server.hits(), 2);
}

#[test]
fn an_approval_before_a_part_is_asked_and_the_part_resumed() {
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"build\"\nplugin = \"std:noop\"\n\
         [[approval]]\nid = \"ask\"\nafter = [\"build\"]\nmessage = \"Go?\"\n\
         [[stage]]\nid = \"deploy\"\nplugin = \"std:noop\"\nafter = [\"ask\"]\nconfig = { n = 1 }\n\
         [[stage]]\nid = \"aside\"\nplugin = \"std:noop\"\n",
    );
    let part = ["--only", "deploy"];
    project.run(part).code(2).says("`build`: no earlier run of it is known");
    project.run(["--only", "build"]).code(0);
    let waiting = project.run(part).code(6);
    assert_eq!((executed(&waiting), waiting.status("build")), (vec![], "succeeded"));
    project.lockgate(["runs", "--status", "waiting"]).code(0).prints("waiting").prints("--only deploy");
    project.lockgate(["approve", "last", "ask", "--as", "alice"]).code(0);
    let done = project.lockgate(["resume", "last", "--format", "json"]).code(0);
    assert_eq!(executed(&done), ["deploy"]);
    assert_eq!(done.events.last().unwrap()["digest"], Value::Null);
    project.run(part).code(6);
    project.lockgate(["reject", "last", "ask", "--as", "alice"]).code(0);
    let done = project.lockgate(["resume", "last", "--format", "json"]).code(1);
    assert_eq!((executed(&done), done.status("deploy")), (vec![], "skipped"));
}

/// Makes a later run prove something else for a node: a journal in which every hash is right.
fn forge(project: &Project, node: &str) {
    let store = Store::open(&project.join(".lockgate")).unwrap();
    let run = store.runs(1).unwrap().remove(0).id;
    let mut events: Vec<Event> = store.records(&run).unwrap().into_iter().map(|record| record.event).collect();
    let ends = |event: &Event| matches!(event, Event::NodeFinished { receipt, .. } if receipt.node.as_str() == node);
    events.retain(|event| matches!(event, Event::RunStarted { .. }) || ends(event));
    if let Some(Event::NodeFinished { receipt, digest, facts, .. }) = events.last_mut() {
        (facts.cached, facts.taken_from) = (false, None);
        let receipt = std::sync::Arc::make_mut(receipt);
        receipt.fuel = receipt.fuel.map(|fuel| fuel + 1);
        *digest = receipt.digest();
    }
    assert_eq!(events.len(), 2);
    store.append(&format!("r0forged{node}").parse().unwrap(), 1, &events).unwrap();
}

#[test]
fn a_cached_result_that_cannot_be_reproduced_is_found_and_dropped() {
    let project = chain();
    project.run::<&str>([]).code(0);
    let fine = project.run(["--check-cache"]).code(0);
    assert_eq!(executed(&fine).len(), 5, "all are executed, and none differs");
    forge(&project, "sums");
    let fuel = |done: &Done| done.node("sums")["receipt"]["fuel"].as_u64().unwrap();
    let served = project.run::<&str>([]).code(0);
    assert_eq!(fuel(&served), fuel(&fine) + 1, "what was forged is served");
    let found = project.run(["--check-cache"]).code(4);
    let message = found.node("sums")["receipt"]["failure"]["message"].as_str().unwrap();
    assert!(message.contains("it gave something else than in run r0forgedsums: fuel: "), "{message}");
    assert_eq!(message.matches("sha256:").count(), 2, "{message}");
    assert_eq!(found.node("sums")["receipt"]["failure"]["kind"], "not-reproducible");
    let next = project.run::<&str>([]).code(0);
    assert_eq!((executed(&next), fuel(&next)), (vec!["sums"], fuel(&fine)), "and it is served no more");
    project.run(["--check-cache", "--no-cache"]).code(2);
    forge(&project, "pack");
    project.run(["--check-cache"]).code(4);
    let store = Store::open(&project.join(".lockgate")).unwrap();
    store.verify().unwrap();
    drop(store);
    assert!(executed(&project.run::<&str>([]).code(0)).contains(&"pack"), "also once the index is made anew");
}
