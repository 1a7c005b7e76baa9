//! Runs that go on: killed ones, failed ones, waiting ones; and what may be said about them from outside.

use lockgate_tests::{Answer, Done, Project, Server};
use rustix::process::Signal;
use serde_json::Value;

fn resume(project: &Project, more: &[&str]) -> Done {
    project.lockgate(["resume", "last", "--format", "json"].iter().chain(more))
}

/// Nodes whose attempts began.
fn started(done: &Done) -> Vec<&str> {
    done.events("attempt-started").filter_map(|event| event["node"].as_str()).collect()
}

/// Nodes that ended well.
fn succeeded(done: &Done) -> Vec<&str> {
    let receipts = done.events("node-finished").map(|event| &event["receipt"]);
    receipts.filter(|receipt| receipt["status"] == "succeeded").filter_map(|receipt| receipt["node"].as_str()).collect()
}

/// Layers of ten no-ops, each of them after three of the layer before.
fn layers(nodes: usize) -> String {
    let node = |n: usize| {
        let need = |k: usize| format!("\"n{}\"", (n / 10 - 1) * 10 + (n + k) % 10);
        let after = if n < 10 { String::new() } else { format!("after = [{}, {}, {}]\n", need(0), need(1), need(7)) };
        format!("[[stage]]\nid = \"n{n}\"\nplugin = \"std:noop\"\nconfig.n = {n}\n{after}")
    };
    (0..nodes).map(node).collect()
}

#[test]
fn a_run_killed_at_any_line_ends_like_one_that_was_not() {
    let project = Project::with_pipeline(&layers(50));
    let whole = project.run(["--no-cache"]).code(0);
    let (lines, digest) = (whole.events.len(), whole.digest());
    assert_eq!(lines, 102);
    for count in 1..lines {
        let mut running = project.start(["--no-cache"]);
        running.wait_for_lines(count).signal(Signal::KILL);
        let killed = running.finish();
        if killed.signal.is_none() {
            // It was faster than the signal.
            continue;
        }
        let done = resume(&project, &["--no-cache"]);
        if done.exit == Some(2) {
            // Killed between its last record and its end.
            done.says("it succeeded");
            continue;
        }
        let done = done.code(0);
        assert_eq!(done.digest(), digest, "killed behind line {count}");
        let (before, again) = (succeeded(&killed), started(&done));
        let twice: Vec<_> = before.iter().filter(|node| again.contains(node)).collect();
        assert!(twice.is_empty(), "killed behind line {count}, ran again: {twice:?}");
    }
    project.assert_usable();
}

#[test]
fn what_failed_runs_again_with_the_inputs_that_the_run_began_with() {
    let server = Server::script([Answer::status(503), Answer::ok("fine")]);
    let url = server.url("/");
    let project = Project::with_pipeline(&format!(
        "[[stage]]\nid = \"sums\"\nplugin = \"std:checksum\"\ninputs.src = {{ dir = \"src\" }}\n\
         [[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\nafter = [\"sums\"]\nconfig = {{ url = \"{url}\" }}\n\
         grants.http = [\"GET {url}\"]\n\
         [[stage]]\nid = \"again\"\nplugin = \"std:checksum\"\ninputs.src = {{ dir = \"src\" }}\nafter = [\"up\"]\n\
         [[export]]\nfrom = \"again.sums\"\nto = \"dist/SUMS\"\n"
    ));
    project.file("src/a", "one");
    let first = project.run::<&str>([]).code(1).node_is("again", "skipped");
    assert!(!project.has("dist/SUMS"));
    project.file("src/a", "two").file("src/b", "new");
    let human = project.lockgate(["show", "last"]).code(0);
    let second = resume(&project, &[]).code(0).says("input `src` changed since the run began (a, b)");
    assert_eq!(started(&second), ["up", "again"], "{}", human.all());
    assert_eq!(second.output("again", "sums"), first.output("sums", "sums"), "it keeps its snapshot");
    assert!(project.read("dist/SUMS").contains("a"), "and exports go where they should");
    resume(&project, &[]).code(2).says("it succeeded, nothing is left to do");
}

#[test]
fn an_interrupted_run_goes_on() {
    let server = Server::script([Answer::Never, Answer::ok("fine")]);
    let url = server.url("/");
    let project = Project::with_pipeline(&format!(
        "[[stage]]\nid = \"first\"\nplugin = \"std:noop\"\n\
         [[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\nafter = [\"first\"]\n\
         config = {{ url = \"{url}\", timeout_ms = 10000 }}\ngrants.http = [\"GET {url}\"]\n"
    ));
    let running = project.start::<&str>([]);
    server.next_request();
    // A second process may not drive the same run.
    resume(&project, &[]).code(2).says("another process does");
    running.signal(Signal::INT);
    running.finish().code(130).says("to go on: lockgate resume");
    let done = resume(&project, &[]).code(0);
    assert_eq!(started(&done), Vec::<&str>::new(), "the attempt that was under way goes on under its number");
    assert_eq!(succeeded(&done), ["up"]);
}

fn gated() -> Project {
    Project::with_pipeline(
        "[[stage]]\nid = \"build\"\nplugin = \"std:noop\"\n\
         [[approval]]\nid = \"ask\"\nafter = [\"build\"]\nmessage = \"Go?\"\napprovers = [\"alice\", \"bob\"]\n\
         [[stage]]\nid = \"deploy\"\nplugin = \"std:noop\"\nafter = [\"ask\"]\n",
    )
}

#[test]
fn an_approval_is_waited_for_and_its_receipt_names_who_decided() {
    let project = gated();
    let waiting = project.run::<&str>([]).code(6);
    assert_eq!(waiting.events.last().map(|event| &event["event"]), Some(&Value::from("run-waiting")));
    resume(&project, &[]).code(6);
    project.lockgate(["approve", "last", "ask", "--as", "eve"]).code(3).says("only `alice`, `bob` may decide");
    project.lockgate(["approve", "last", "deploy", "--as", "alice"]).code(2).says("it is a stage, not an approval");
    project.lockgate(["approve", "last", "aks", "--as", "alice"]).code(2).says("did you mean `ask`?");
    project
        .lockgate(["approve", "last", "ask", "--as", "alice", "--comment", "after lunch"])
        .code(0)
        .says("lockgate resume");
    project.lockgate(["reject", "last", "ask", "--as", "bob"]).code(2).says("the first word counts");
    let done = resume(&project, &[]).code(0).node_is("deploy", "succeeded");
    let receipt = done.node("ask")["receipt"].clone();
    assert_eq!(receipt["decision"], serde_json::json!({ "word": "approved", "by": "alice", "comment": "after lunch" }));
    assert_eq!(started(&done), ["deploy"]);
    project.lockgate(["approve", "last", "ask", "--as", "alice"]).code(2).says("it is over");
}

#[test]
fn a_rejection_fails_the_run() {
    let project = gated();
    project.run::<&str>([]).code(6);
    project.lockgate(["reject", "last", "ask", "--as", "bob"]).code(0);
    resume(&project, &[]).code(1).node_failed("ask", "verdict", "rejected by bob").node_is("deploy", "skipped");
}

#[test]
fn a_run_that_stays_hears_what_is_said() {
    let project = gated();
    let mut running = project.start(["--wait", "100s"]);
    running.wait_for("node-waiting");
    project.lockgate(["approve", "last", "ask", "--as", "alice"]).code(0);
    running.finish().code(0).node_is("deploy", "succeeded");
    let mut running = project.start(["--wait", "100s"]);
    running.wait_for("node-waiting");
    project.lockgate(["cancel", "last", "--as", "alice"]).code(0).prints("is told to stop");
    running.finish().code(130);
}

#[test]
fn a_waiting_run_is_cancelled_by_whoever_says_so() {
    let project = gated();
    project.run::<&str>([]).code(6);
    project.lockgate(["cancel", "last", "--as", "alice"]).code(0).prints("cancelled");
    project.lockgate(["cancel", "last", "--as", "alice"]).code(2).says("it is over (cancelled)");
}

#[test]
fn a_wait_is_over_by_itself() {
    let project = Project::with_pipeline(
        "[[wait]]\nid = \"soak\"\nfor = \"50ms\"\n[[stage]]\nid = \"deploy\"\nplugin = \"std:noop\"\nafter = [\"soak\"]\n",
    );
    let stayed = project.run(["--wait", "60s"]).code(0);
    let left = project.run::<&str>([]);
    // A slow machine takes longer than the wait.
    if left.exit == Some(6) {
        assert_eq!(resume(&project, &["--wait", "60s"]).code(0).digest(), stayed.digest());
    }
}

#[test]
fn runs_of_one_group_go_on_one_after_the_other() {
    for (on_conflict, code) in [("queue", 0), ("cancel-older", 130)] {
        let server = Server::script([Answer::Never, Answer::ok("fine")]);
        let url = server.url("/");
        let project = Project::with_pipeline(&format!(
            "concurrency = {{ group = \"deploy\", on_conflict = \"{on_conflict}\" }}\n\
             [[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\nconfig = {{ url = \"{url}\", timeout_ms = 3000 }}\n\
             grants.http = [\"GET {url}\"]\nallow_failure = true\n"
        ));
        let first = project.start::<&str>([]);
        server.next_request();
        let second = project.start::<&str>([]);
        first.finish().code(code);
        second.finish().code(0).says("of group `deploy`");
    }
}
