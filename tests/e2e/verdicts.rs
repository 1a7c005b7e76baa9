//! Health checks and canary evaluators that say what they must not, and what each permitted word does to a run.

use lockgate_tests::{Done, Project};

const OBSERVATION: &str = r#"{"schema": 1, "samples": [{"metric": "status", "side": "canary", "counts": {"200": 5}}]}"#;

fn health(what: &str, more: &str) -> Done {
    let project = Project::with_pipeline(&format!(
        "plugins.sick.path = \"sick.wasm\"\n[[health-check]]\nid = \"up\"\nplugin = \"sick\"\nconfig.do = \"{what}\"\n{more}"
    ));
    project.guest("sick");
    let done = project.run::<&str>([]);
    project.assert_usable();
    done
}

fn canary(what: &str, more: &str) -> Done {
    let project = Project::with_pipeline(&format!(
        "plugins.judge.path = \"judge.wasm\"\n[[canary]]\nid = \"judge\"\nplugin = \"judge\"\nconfig.do = \"{what}\"\n\
         inputs.observation = {{ file = \"seen.json\" }}\n{more}"
    ));
    project.guest("judge").file("seen.json", OBSERVATION);
    let done = project.run::<&str>([]);
    project.assert_usable();
    done
}

fn verdict<'a>(done: &'a Done, node: &str) -> &'a str {
    done.node(node)["receipt"]["verdict"]["word"].as_str().unwrap_or_default()
}

#[test]
fn good_words_succeed_and_bad_ones_fail() {
    assert_eq!(verdict(&health("healthy", "").code(0), "up"), "healthy");
    assert_eq!(verdict(&canary("promote", "").code(0), "judge"), "promote");
    for word in ["degraded", "unhealthy"] {
        let done = health(word, "").code(1).node_failed("up", "verdict", word);
        assert_eq!(verdict(&done, "up"), word);
    }
    for word in ["hold", "rollback", "inconclusive"] {
        let done = canary(word, "").code(1).node_failed("judge", "verdict", word);
        assert_eq!(verdict(&done, "judge"), word);
    }
}

#[test]
fn accepted_words_succeed_and_keep_their_verdict() {
    assert_eq!(verdict(&health("degraded", "accept = [\"degraded\"]\n").code(0), "up"), "degraded");
    assert_eq!(verdict(&canary("hold", "accept = [\"hold\", \"inconclusive\"]\n").code(0), "judge"), "hold");
    health("unhealthy", "accept = [\"degraded\"]\n").code(1);
}

#[test]
fn details_and_figures_are_kept() {
    let done = health("details", "").code(0);
    assert_eq!(done.node("up")["receipt"]["verdict"]["details"]["seen"][1], 2);
    let done = canary("promote", "").code(0);
    assert_eq!(done.node("judge")["receipt"]["verdict"]["figures"][0]["value"].as_f64(), Some(1.0));
}

#[test]
fn garbage_from_a_health_check_breaks_the_contract() {
    for (what, fragment) in
        [("unknown", "fine, thanks"), ("empty", "healthy"), ("details-garbage", "JSON"), ("details-deep", "JSON")]
    {
        health(what, "").code(1).node_failed("up", "contract", fragment);
    }
    health("error", "").code(1).node_failed("up", "error", "no idea");
    health("trap", "").code(1).node_failed("up", "trap", "unreachable");
    for what in ["details-huge", "reason-huge"] {
        let done = health(what, "");
        assert!(matches!(done.exit, Some(0 | 1)), "{}", done.all());
        assert!(done.stdout.len() < 1 << 20, "{what}: {} bytes of events", done.stdout.len());
    }
}

#[test]
fn garbage_from_a_canary_evaluator_breaks_the_contract() {
    for (what, fragment) in
        [("unknown", "maybe"), ("nan", "share"), ("infinite", "share"), ("state-huge", "state of 2097152 bytes")]
    {
        canary(what, "").code(1).node_failed("judge", "contract", fragment);
    }
    canary("error", "").code(1).node_failed("judge", "error", "no idea");
    canary("trap", "").code(1).node_failed("judge", "trap", "unreachable");
    canary("silent", "").code(0);
    let done = canary("figures-many", "");
    assert!(done.stdout.len() < 1 << 20, "{} bytes of events", done.stdout.len());
    done.code(1).node_is("judge", "failed");
}

#[test]
fn an_observation_that_is_none_fails_its_canary() {
    let project = Project::with_pipeline(
        "plugins.judge.path = \"judge.wasm\"\n[[canary]]\nid = \"judge\"\nplugin = \"judge\"\nconfig.do = \"promote\"\n\
         inputs.observation = { file = \"seen.json\" }\n",
    );
    project.guest("judge");
    for text in [
        "",
        "{",
        "[]",
        r#"{"schema": 2, "samples": []}"#,
        r#"{"schema": 1, "samples": [{"metric": "x", "side": "left"}]}"#,
    ] {
        project.file("seen.json", text);
        let done = project.run::<&str>([]).code(1).node_is("judge", "failed");
        done.node_failed("judge", "contract", "observation");
    }
    project.assert_usable();
}

#[test]
fn people_see_verdict_and_figures() {
    let project = Project::with_pipeline(
        "plugins.judge.path = \"judge.wasm\"\n[[canary]]\nid = \"judge\"\nplugin = \"judge\"\nconfig.do = \"rollback\"\n\
         inputs.observation = { file = \"seen.json\" }\n",
    );
    project.guest("judge").file("seen.json", OBSERVATION);
    project.lockgate(["run", "pipeline.toml"]).code(1).says("rollback").says("it looks so").says("samples");
    project.lockgate(["show", "last", "judge"]).code(0).prints("rollback").prints("samples");
}
