//! What a run does when: which nodes start, which are skipped and why, what is tried again, what makes the run fail.

use lockgate_tests::{Answer, Done, Project, Server, graph};

const PLUGINS: &str = "plugins.say.path = \"say.wasm\"\nplugins.misbehave.path = \"misbehave.wasm\"\nplugins.watch.path = \"watch.wasm\"\n\
                       plugins.fetch.path = \"fetch.wasm\"\n";

/// A project with the guests, for several runs.
fn project() -> Project {
    let project = Project::new();
    project.guest("say").guest("misbehave").guest("watch").guest("fetch");
    project
}

/// Runs nodes.
fn run(nodes: &str, args: &[&str]) -> Done {
    let project = project();
    project.pipeline(&format!("{}{nodes}", with_used_plugins(nodes)));
    project.run(args)
}

/// Only the aliases that are used, because one that is not may be worth a warning.
fn with_used_plugins(nodes: &str) -> String {
    let used =
        |line: &&str| line.split('.').nth(1).is_some_and(|alias| nodes.contains(&format!("plugin = \"{alias}\"")));
    PLUGINS.lines().filter(used).fold(String::new(), |text, line| text + line + "\n")
}

/// A stage: `say` with this config and these lines.
fn say(id: &str, config: &str, more: &str) -> String {
    format!("[[stage]]\nid = \"{id}\"\nplugin = \"say\"\nconfig = {{ {config} }}\n{more}\n")
}

#[track_caller]
fn skipped(done: &Done, node: &str, reason: &str) {
    assert_eq!(done.status(node), "skipped", "{}", done.all());
    let said = done.node(node)["reason"].as_str().unwrap_or_default();
    assert!(said.contains(reason), "`{said}` without `{reason}`: {}", done.all());
}

#[test]
fn failure_skips_dependants_but_not_independent_branches() {
    let nodes = say("bad", "fail = \"no\"", "")
        + &say("data", "inputs = true", "inputs.x = \"bad.out\"")
        + &say("order", "", "after = [\"bad\"]")
        + &say("far", "", "after = [\"order\"]")
        + &say("free", "", "")
        + &say("freer", "inputs = true", "inputs.x = \"free.out\"");
    for jobs in ["1", "4"] {
        let done = run(&nodes, &["--jobs", jobs]).code(1).node_is("bad", "failed");
        skipped(&done, "data", "bad");
        skipped(&done, "order", "bad");
        skipped(&done, "far", "order");
        done.node_is("free", "succeeded").node_is("freer", "succeeded");
    }
}

#[test]
fn fail_fast_starts_nothing_new() {
    let nodes = say("bad", "fail = \"no\"", "")
        + &say("b", "", "")
        + &say("c", "", "after = [\"b\"]")
        + &say("clean", "", "finally = true");
    let done = run(&nodes, &["--jobs", "1", "--fail-fast"]).code(1);
    skipped(&done, "b", "fail-fast");
    skipped(&done, "c", "`b`");
    done.node_is("clean", "succeeded");
}

#[test]
fn allow_failure_lets_the_run_succeed() {
    let nodes = say("shaky", "fail = \"no\"", "allow_failure = true")
        + &say("order", "", "after = [\"shaky\"]")
        + &say("data", "", "inputs.x = \"shaky.out\"");
    let done = run(&nodes, &[]).code(0).node_is("shaky", "failed").node_is("order", "succeeded");
    skipped(&done, "data", "shaky");
}

#[test]
fn finally_nodes_run_after_all_others_whatever_became_of_them() {
    let nodes = say("clean", "", "finally = true\nwhen = \"run.status == 'failed'\"")
        + &say("praise", "", "finally = true\nwhen = \"run.status == 'succeeded'\"")
        + &say("bad", "fail = \"no\"", "")
        + &say("late", "", "after = [\"bad\"]");
    let done = run(&nodes, &[]).code(1).node_is("clean", "succeeded");
    skipped(&done, "praise", "when");
    let order: Vec<_> = done.events("node-finished").map(|event| event["receipt"]["node"].as_str().unwrap()).collect();
    let place = |node: &str| order.iter().position(|other| *other == node).unwrap();
    assert!(place("clean") > place("bad") && place("clean") > place("late"), "{order:?}");
    // Its failure fails the run.
    let nodes = say("a", "", "") + &say("clean", "fail = \"no\"", "finally = true");
    run(&nodes, &[]).code(1).node_is("a", "succeeded").node_is("clean", "failed");
}

#[test]
fn when_looks_at_parameters_statuses_and_json() {
    let nodes = "params.go = { type = \"boolean\", default = false }\n".to_owned()
        + &say("facts", "text = '{\"tests\": {\"failed\": 0, \"names\": [\"a\"]}}'", "")
        + &say("yes", "", "when = \"facts.out.tests.failed == 0 && 'a' in facts.out.tests.names\"")
        + &say("no", "", "when = \"facts.out.tests.failed > 0\"")
        + &say("param", "", "when = \"params.go\"")
        + &say("after-no", "", "after = [\"no\"]")
        + &say("data-of-no", "", "inputs.x = \"no.out\"")
        + &say("bad", "fail = \"x\"", "allow_failure = true")
        + &say("status", "", "when = \"bad.status == 'failed'\"");
    let done = run(&nodes, &[]).code(0).node_is("yes", "succeeded").node_is("after-no", "succeeded");
    skipped(&done, "no", "when");
    skipped(&done, "param", "when");
    skipped(&done, "data-of-no", "no");
    done.node_is("status", "succeeded");
    run(&nodes, &["--param", "go=true"]).code(0).node_is("param", "succeeded");
}

#[test]
fn when_that_cannot_be_decided_fails() {
    let nodes = say("facts", "text = '{\"n\": \"many\"}'", "") + &say("a", "", "when = \"facts.out.n > 3\"");
    run(&nodes, &[]).code(1).node_failed("a", "error", "compare a text with a number");
    let nodes = say("facts", "text = 'not JSON'", "") + &say("a", "", "when = \"facts.out.n == 3\"");
    let done = run(&nodes, &[]);
    assert_ne!(done.status("a"), "succeeded", "{}", done.all());
}

#[test]
fn a_matrix_makes_one_node_of_each_combination() {
    let nodes = "[[stage]]\nid = \"build\"\nplugin = \"say\"\nconfig.text = \"${matrix.os}-${matrix.n}\"\n\
                 [stage.matrix]\nos = [\"linux\", \"mac\"]\nn = [1, 2]\n\
                 [[stage]]\nid = \"all\"\nplugin = \"say\"\nafter = [\"build\"]\n";
    let done = run(nodes, &[]).code(0).node_is("all", "succeeded");
    let built: Vec<_> =
        done.events("node-finished").filter(|e| e["receipt"]["node"].as_str().unwrap().starts_with("build[")).collect();
    assert_eq!(built.len(), 4, "{}", done.all());
    let outputs: std::collections::BTreeSet<_> =
        built.iter().map(|e| e["receipt"]["outputs"]["out"]["digest"].to_string()).collect();
    assert_eq!(outputs.len(), 4, "each has its own values");
}

#[test]
fn what_fails_is_tried_again() {
    let server = Server::script([Answer::status(503), Answer::status(503), Answer::ok("fine")]);
    let url = server.url("/");
    let node = |attempts: u32| {
        format!(
            "[[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\nconfig.url = \"{url}\"\ngrants.http = [\"GET {url}\"]\n\
             retry = {{ attempts = {attempts}, backoff = \"1ms\" }}\n"
        )
    };
    let done = run(&node(3), &[]).code(0).node_is("up", "succeeded");
    assert_eq!(server.hits(), 3);
    assert_eq!(done.node("up")["attempt"], 3);
    assert_eq!(done.events("attempt-failed").count(), 2);
    let server = Server::new(Answer::status(503));
    let node = node(2).replace(&url, &server.url("/"));
    let done = run(&node, &[]).code(1).node_failed("up", "verdict", "unhealthy");
    assert_eq!((server.hits(), done.node("up")["attempt"].as_u64()), (2, Some(2)));
}

#[test]
fn only_chosen_kinds_of_failure_are_tried_again() {
    let bad = |what: &str, retry: &str| {
        let node = format!(
            "[[stage]]\nid = \"a\"\nplugin = \"misbehave\"\nconfig.do = \"{what}\"\nretry = {{ attempts = 3, backoff = \"1ms\"{retry} }}\n"
        );
        run(&node, &[]).code(1).node("a")["attempt"].as_u64().unwrap()
    };
    assert_eq!(bad("error", ""), 3);
    assert_eq!(bad("trap", ""), 1, "a trap comes back the same");
    assert_eq!(bad("trap", ", on = [\"trap\"]"), 3);
    assert_eq!(bad("error", ", on = [\"timeout\"]"), 1);
}

#[test]
fn a_pure_node_comes_back_the_same() {
    // That a difference is found and ends with code 4 is tested in `engine/runner`, with an executor that lies: no component
    // without grants can be made to differ.
    let nodes = "[[stage]]\nid = \"a\"\nplugin = \"say\"\nconfig = { text = \"x\", log = [\"y\"] }\nrepeat = 5\n\
                 [[stage]]\nid = \"b\"\nplugin = \"watch\"\nconfig = { sleep_ms = 5, times = 3 }\nrepeat = 5\n";
    run(nodes, &[]).code(0).node_is("a", "succeeded").node_is("b", "succeeded");
    let node = "[[stage]]\nid = \"a\"\nplugin = \"watch\"\ngrants.clock = true\nrepeat = 2\n";
    run(node, &[]).code(2).says("lockgate::conflict").says("`repeat`");
}

#[test]
fn inputs_reach_their_node_unchanged() {
    let project = project();
    project.file("in.txt", "hello");
    project.pipeline(
        &("plugins.say.path = \"say.wasm\"\n".to_owned()
            + &say("a", "inputs = true", "inputs.x = { file = \"in.txt\" }")
            + &say("b", "inputs = true", "inputs.same = \"a.x\"\ninputs.y = \"a.out\"")
            + "[[export]]\nfrom = \"b.out\"\nto = \"b.txt\"\n"),
    );
    let done = project.run::<&str>([]).code(0);
    let hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(project.read("b.txt"), format!("same {hello}\ny {}\n", done.output("a", "out")));
}

#[test]
fn only_declared_environment_is_seen() {
    let project = project();
    let nodes =
        say("a", "env = true", "env = [\"SEEN\", \"MISSING\"]") + "[[export]]\nfrom = \"a.out\"\nto = \"a.txt\"\n";
    project.pipeline(&format!("plugins.say.path = \"say.wasm\"\n{nodes}"));
    let mut command = project.command(["run", "pipeline.toml"]);
    command.env("SEEN", "yes").env("UNSEEN", "no");
    lockgate_tests::project::finish(command).code(0);
    assert_eq!(project.read("a.txt"), "SEEN=yes\n");
}

#[test]
fn the_clock_is_logical_unless_granted() {
    let project = project();
    let node = |grant: &str| {
        format!(
            "plugins.watch.path = \"watch.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"watch\"\nconfig = {{ sleep_ms = 3600000, times = 2 }}\n{grant}\n\
             [[export]]\nfrom = \"a.out\"\nto = \"a.txt\"\n"
        )
    };
    project.pipeline(&node(""));
    let first = project.run::<&str>([]).code(0);
    let second = project.run::<&str>([]).code(0);
    assert_eq!(first.digest(), second.digest());
    let start = 946_684_800_000_u64;
    assert_eq!(project.read("a.txt"), format!("{start}\n{}\n{}\n", start + 3_600_000, start + 7_200_000));
    project.run(["--logical-time", "7"]).code(0);
    assert!(project.read("a.txt").starts_with("7\n"));
    project.pipeline(&node("grants.clock = true").replace("3600000", "1"));
    let done = project.run::<&str>([]).code(0);
    let now: u64 = project.read("a.txt").lines().next().unwrap().parse().unwrap();
    assert!(now > 1_700_000_000_000, "the machine's clock: {now}");
    assert!(done.events("effect-finished").count() >= 3, "each reading is recorded: {}", done.all());
}

#[test]
fn limits_of_a_node_outweigh_those_of_the_file() {
    let nodes = "limits.fuel = \"1K\"\n".to_owned()
        + "[[stage]]\nid = \"poor\"\nplugin = \"say\"\n[[stage]]\nid = \"rich\"\nplugin = \"say\"\nlimits.fuel = \"100M\"\n";
    run(&nodes, &[]).code(1).node_failed("poor", "fuel", "1K").node_is("rich", "succeeded");
}

#[test]
fn a_thousand_nodes_run() {
    let project = Project::new();
    project.file("pipeline.toml", graph::pipeline(1000));
    let done = project.run::<&str>([]).code(0);
    assert_eq!(done.events("node-finished").count(), 1000);
    // Each started only after what it needs had ended.
    let mut over = std::collections::BTreeSet::new();
    for event in &done.events {
        let number = |id: &serde_json::Value| id.as_str().unwrap()[1..].parse::<usize>().unwrap();
        if event["event"] == "attempt-started" {
            let number = number(&event["node"]);
            assert!(graph::needs(number).all(|need| over.contains(&need)), "n{number} started too early");
        } else if event["event"] == "node-finished" {
            over.insert(number(&event["receipt"]["node"]));
        }
    }
}
