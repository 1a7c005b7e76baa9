//! `lockgate doctor`: what it says of a sound machine, and of one where something is broken.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use lockgate_tests::project::finish;
use lockgate_tests::{Done, Project};
use serde_json::Value;

fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(["doctor"].iter().chain(args));
    command.env("LOCKGATE_SECRETS", project.join("secrets"));
    command
}

fn json(project: &Project) -> Done {
    finish(command(project, &["--format", "json"]))
}

/// The check of this name.
fn check<'d>(done: &'d Done, name: &str) -> &'d Value {
    let checks = done.events[0]["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name}: {}", done.all()))
}

#[test]
fn a_sound_machine_is_told() {
    let project = Project::new();
    let fresh = json(&project).code(0);
    assert_eq!((&fresh.events[0]["ok"], &fresh.events[0]["schema"]), (&Value::from(true), &Value::from(1)));
    assert!(check(&fresh, "state directory")["found"].as_str().unwrap().starts_with("none yet"));
    assert!(check(&fresh, "secrets")["found"].as_str().unwrap().starts_with("no store yet"));
    assert_eq!(check(&fresh, "standard plugins")["state"], "ok");
    assert_eq!(check(&fresh, "LOCKGATE_SECRETS")["state"], "note");
    for name in ["landlock files", "landlock network", "landlock scopes", "cores", "instances", "git", "kernel"] {
        let check = check(&fresh, name);
        assert!(check["state"] != "broken" && (check["state"] == "ok" || check["advice"].is_string()), "{check}");
    }
    assert!(!project.has(".lockgate") && !project.has("secrets"), "looking made something");

    project.file("good.toml", "schema = 1\nname = \"good\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    project.lockgate(["run", "good.toml"]).code(0);
    let mut set = project.command(["secret", "set", "token", "--generate", "16"]);
    set.env("LOCKGATE_SECRETS", project.join("secrets"));
    finish(set).code(0);
    let used = json(&project).code(0);
    assert!(check(&used, "state directory")["found"].as_str().unwrap().contains(".lockgate, version 5, "));
    assert!(check(&used, "secrets")["found"].as_str().unwrap().ends_with("1 secret in 1 environment"));
    assert!(check(&used, "identity")["found"].as_str().unwrap().starts_with("age1"));
    let human = finish(command(&project, &[])).code(0).prints("standard plugins").prints("state directory");
    assert!(human.stdout.lines().all(|line| line == line.trim_end()), "{}", human.stdout);
    assert!(!human.all().contains("AGE-SECRET-KEY"));
}

#[test]
fn what_is_broken_is_code_5_and_has_a_way_out() {
    let project = Project::new();
    let mut set = project.command(["secret", "set", "token", "--generate", "16"]);
    set.env("LOCKGATE_SECRETS", project.join("secrets"));
    finish(set).code(0);
    let identity = project.join("secrets.identity");
    fs::set_permissions(&identity, Permissions::from_mode(0o644)).unwrap();
    let exposed = json(&project).code(5);
    assert_eq!(exposed.events[0]["ok"], false);
    assert_eq!(check(&exposed, "identity")["state"], "broken");
    assert!(check(&exposed, "identity")["advice"].as_str().unwrap().contains("chmod 600"));
    fs::set_permissions(&identity, Permissions::from_mode(0o600)).unwrap();

    project.file("secrets/default.age", "torn");
    let torn = json(&project).code(5);
    assert_eq!(
        (&check(&torn, "secrets")["state"], &check(&torn, "identity")["state"]),
        (&"broken".into(), &"ok".into())
    );
    fs::remove_file(project.join("secrets/default.age")).unwrap();
    json(&project).code(0);

    project
        .file(".lockgate/state.db", "this is no database, whatever its name says; it is long enough to be looked at");
    let state = json(&project).code(5);
    assert_eq!(check(&state, "state directory")["state"], "broken");
    finish(command(&project, &[])).code(5).prints("broken");
}

#[test]
fn variables_are_told_but_not_what_may_be_secret() {
    let project = Project::new();
    let mut doctor = command(&project, &["--format", "json"]);
    doctor
        .env("LOCKGATE_TOKEN", "do-not-show-me")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "key=do-not-show-me")
        .env("CI", "true");
    let done = finish(doctor).code(0);
    assert!(!done.stdout.contains("do-not-show-me") && !done.stderr.contains("do-not-show-me"), "{}", done.all());
    assert_eq!(check(&done, "LOCKGATE_TOKEN")["found"], "set");
    assert_eq!(check(&done, "CI")["found"], "true");
}
