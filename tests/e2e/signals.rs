//! Interrupts and a killed engine: exit code 130, and a state directory that still knows everything.

use lockgate_tests::{Answer, Project, Server};
use rustix::process::Signal;

/// A node that waits for a server that never answers, one after it, and a clean-up.
fn project(server: &Server) -> Project {
    let url = server.url("/");
    Project::with_pipeline(&format!(
        "[[stage]]\nid = \"first\"\nplugin = \"std:noop\"\n\
         [[health-check]]\nid = \"waits\"\nplugin = \"std:http-probe\"\nafter = [\"first\"]\nconfig = {{ url = \"{url}\", timeout_ms = 10000 }}\n\
         grants.http = [\"GET {url}\"]\n\
         [[stage]]\nid = \"after\"\nplugin = \"std:noop\"\nafter = [\"waits\"]\n\
         [[stage]]\nid = \"clean\"\nplugin = \"std:noop\"\nfinally = true\n"
    ))
}

#[test]
fn an_interrupt_stops_cleanly() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = Server::new(Answer::Never);
        let project = project(&server);
        let running = project.start::<&str>([]);
        server.next_request();
        let done = {
            running.signal(signal);
            running.finish()
        };
        let done = done.code(130).node_is("first", "succeeded");
        let last = done.events.last().unwrap();
        assert_eq!(
            (last["event"].as_str(), last["status"].as_str()),
            (Some("run-finished"), Some("cancelled")),
            "{}",
            done.all()
        );
        assert!(last["digest"].is_null(), "{}", done.all());
        let started: Vec<_> = done.events("attempt-started").map(|event| event["node"].clone()).collect();
        assert!(!started.contains(&"after".into()) && !started.contains(&"clean".into()), "{started:?}");
        project.lockgate(["show", "last"]).code(0).prints("cancelled");
        project.assert_usable();
    }
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let server = Server::new(Answer::Never);
    let project = project(&server);
    let running = project.start::<&str>([]);
    server.next_request();
    running.signal(Signal::INT).signal(Signal::INT);
    running.finish().code(130);
    project.assert_usable();
}

#[test]
fn an_interrupt_stops_a_spinning_guest() {
    let project = Project::with_pipeline(
        "plugins.misbehave.path = \"misbehave.wasm\"\nlimits = { fuel = \"100T\", timeout = \"3600s\" }\n\
         [[stage]]\nid = \"spins\"\nplugin = \"misbehave\"\nconfig.do = \"loop\"\n",
    );
    project.guest("misbehave");
    let mut running = project.start::<&str>([]);
    running.wait_for("attempt-started");
    running.signal(Signal::INT);
    let done = running.finish().code(130);
    assert_eq!(done.events("node-finished").count(), 0, "`resume` will run it: {}", done.all());
    project.assert_usable();
}

#[test]
fn a_killed_engine_leaves_a_usable_state() {
    let server = Server::new(Answer::Never);
    let project = project(&server);
    let running = project.start::<&str>([]);
    server.next_request();
    running.signal(Signal::KILL);
    let done = running.finish();
    assert_eq!(done.signal, Some(9), "{}", done.all());
    let runs = project.runs();
    assert_eq!(runs.len(), 1);
    // What was finished is known, what was not is not claimed.
    let shown = project.lockgate(["show", &runs[0], "--format", "json"]).code(0);
    let finished: Vec<_> = shown.stdout.lines().filter(|line| line.contains("node-finished")).collect();
    assert_eq!(finished.len(), 1, "{}", shown.all());
    assert!(finished[0].contains("\"first\""), "{}", shown.all());
    assert!(!shown.stdout.contains("run-finished"), "{}", shown.all());
    project.assert_usable();
}

#[test]
fn two_runs_at_once_share_a_state_directory() {
    let server = Server::new(Answer::Never);
    let project = project(&server);
    let running = project.start::<&str>([]);
    server.next_request();
    // Another run, while the first one is under way.
    project.file("other.toml", "schema = 1\nname = \"other\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    project.lockgate(["run", "other.toml"]).code(0);
    running.signal(Signal::INT);
    running.finish().code(130);
    assert_eq!(project.runs().len(), 2);
    project.assert_usable();
}
