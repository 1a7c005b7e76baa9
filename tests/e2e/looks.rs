//! Polled health checks and canaries: the engine looks again and again until enough good or bad looks came in a row.

use lockgate_tests::{Done, Project};

fn health(script: &str, poll: &str, more: &str) -> Done {
    let project = Project::with_pipeline(&format!(
        "plugins.sick.path = \"sick.wasm\"\n[[health-check]]\nid = \"up\"\nplugin = \"sick\"\nconfig.do = \"{script}\"\npoll = {{ {poll} }}\n{more}"
    ));
    project.guest("sick");
    project.run::<&str>([])
}

fn looks(done: &Done) -> usize {
    // The last look is in the receipt; the others have events of their own.
    done.events("look-taken").count() + 1
}

const SOON: &str = "every = \"10ms\", for = \"60s\"";

#[test]
fn one_good_look_is_enough_by_default() {
    let done = health("h", SOON, "").code(0);
    assert_eq!(looks(&done), 1);
}

#[test]
fn enough_good_looks_in_a_row_end_it_well() {
    let done = health("uhuhhu", &format!("{SOON}, healthy = 2, unhealthy = 2"), "").code(0);
    assert_eq!(looks(&done), 5);
    assert_eq!(done.node("up")["receipt"]["verdict"]["reasons"][0], "look 4 after 40 ms");
}

#[test]
fn enough_bad_looks_in_a_row_end_it_badly() {
    let done = health("huhuu", &format!("{SOON}, healthy = 3, unhealthy = 2"), "").code(1);
    assert_eq!(looks(&done), 5);
    let done = health("hu", &format!("{SOON}, healthy = 3"), "").code(1).node_failed("up", "verdict", "unhealthy");
    assert_eq!(looks(&done), 2, "one bad look is enough by default");
}

#[test]
fn at_the_end_of_the_span_the_last_look_decides() {
    let poll = "every = \"20ms\", for = \"100ms\", healthy = 50, unhealthy = 50";
    let done = health("d", poll, "").code(1);
    assert!(looks(&done) >= 2 && looks(&done) <= 6, "{}", done.all());
    health("d", poll, "accept = [\"degraded\"]\n").code(0);
    health("h", poll, "").code(0);
}

#[test]
fn a_canary_gets_its_state_back_at_the_next_look() {
    let project = Project::with_pipeline(&format!(
        "plugins.judge.path = \"judge.wasm\"\n[[canary]]\nid = \"judge\"\nplugin = \"judge\"\nconfig.do = \"third-look\"\n\
         inputs.observation = {{ file = \"seen.json\" }}\npoll = {{ {SOON}, healthy = 1 }}\n"
    ));
    project.guest("judge").file("seen.json", r#"{"schema": 1, "samples": []}"#);
    let done = project.run::<&str>([]).code(0);
    assert_eq!(looks(&done), 3);
    assert_eq!(done.node("judge")["receipt"]["verdict"]["reasons"][0], "asked 3 times, look 2");
    project.assert_usable();
}

#[test]
fn fuel_of_all_looks_is_in_the_receipt() {
    let fuel = |done: &Done| done.node("up")["receipt"]["fuel"].as_u64().unwrap();
    let one = fuel(&health("h", SOON, "").code(0));
    let two = fuel(&health("hh", &format!("{SOON}, healthy = 2"), "").code(0));
    assert!(two > one + one / 2, "{one} and {two}");
}
