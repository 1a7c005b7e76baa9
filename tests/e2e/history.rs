//! Questions about several runs: which there were, what failed, what changed since the last good one.

use lockgate_tests::Project;
use serde_json::{Value, json};

/// Runs of a pipeline over `src`: good, good with another file and parameter, failed.
fn project() -> Project {
    let project = Project::with_pipeline(
        "params.version = { type = \"string\", default = \"1\" }\nplugins.say.path = \"say.wasm\"\n\
         [[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = { dir = \"src\" }\nconfig = { format = \"zip\", prefix = \"x-${params.version}\" }\n\
         [[stage]]\nid = \"talk\"\nplugin = \"say\"\nconfig = { text = \"same\", files = { \"d/a\" = \"1\" } }\n",
    );
    project.guest("say").file("src/a.txt", "one").file("src/deep/b.txt", "two").file("src/gone.txt", "three");
    project.run::<&str>([]).code(0);
    project.file("src/deep/b.txt", "changed").file("src/new.txt", "four");
    std::fs::remove_file(project.join("src/gone.txt")).unwrap();
    project.run(["--param", "version=2"]).code(0);
    let text = project
        .read("pipeline.toml")
        .replace("\"d/a\" = \"1\"", "\"d/a\" = \"2\"")
        .replace("text = \"same\"", "text = \"same\", fail = \"no more\"");
    project.file("pipeline.toml", text);
    project.run(["--param", "version=2"]).code(1);
    project
}

fn diff(project: &Project, args: &[&str]) -> Value {
    let done = project.lockgate([&["diff"], args, &["--format", "json"]].concat()).code(0);
    serde_json::from_str(&done.stdout).unwrap()
}

fn node<'a>(diff: &'a Value, id: &str) -> &'a Value {
    diff["nodes"].as_array().unwrap().iter().find(|node| node["node"] == id).unwrap()
}

#[test]
fn two_runs_are_compared_to_the_file() {
    let project = project();
    let runs = project.runs();
    let (first, second) = (&runs[2], &runs[1]);
    let diff = diff(&project, &[second, first]);
    assert_eq!(diff["before"]["run"], **first, "the older one is `before`");
    assert_eq!(diff["params"], json!([{ "name": "version", "before": "1", "after": "2" }]));
    let files = &diff["sources"][0]["files"];
    assert_eq!(*files, json!({ "added": ["new.txt"], "removed": ["gone.txt"], "changed": ["deep/b.txt"], "count": 3 }));
    let pack = node(&diff, "pack");
    assert_eq!(pack["definition"], json!(["config.prefix"]));
    assert_eq!(pack["inputs"][0]["files"]["count"], 3);
    assert_eq!(pack["outputs"].as_array().unwrap().len(), 1);
    assert_ne!(pack["key"]["before"], pack["key"]["after"]);
    let talk = node(&diff, "talk");
    assert_eq!((&talk["differs"], &talk["key"]["before"]), (&json!(false), &talk["key"]["after"]));
    let schema: Value = serde_json::from_str(&project.lockgate(["schema", "diff"]).code(0).stdout).unwrap();
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&diff));
}

#[test]
fn a_run_is_compared_with_the_last_good_one() {
    let project = project();
    let runs = project.runs();
    let difference = diff(&project, &["last"]);
    assert_eq!([&difference["before"]["run"], &difference["after"]["run"]], [&runs[1], &runs[0]]);
    let talk = node(&difference, "talk");
    assert_eq!(talk["status"], json!({ "before": "succeeded", "after": "failed" }));
    assert_eq!(talk["failure"]["after"]["message"], "no more");
    assert_eq!(talk["definition"], json!(["config.fail", "config.files"]));
    assert_eq!(node(&difference, "pack")["differs"], false);
    project
        .lockgate(["diff", "last"])
        .code(0)
        .prints("talk succeeded -> failed")
        .prints("error: no more")
        .prints("1 node the same");
    project
        .lockgate(["show", "last"])
        .code(0)
        .prints(&format!("last good {}; since then: definition of talk", runs[1]));
    project.lockgate(["show", &runs[1]]).code(0).prints("since then: parameter version; 3 files of directory `src`");
    project.lockgate(["diff", &runs[2]]).code(2).says("succeeded before").says("name the run to compare with");
    project.lockgate(["diff", &runs[1], &runs[1]]).code(0).prints("nothing differs but time");
}

#[test]
fn runs_are_chosen_and_say_what_failed() {
    let project = project();
    let list = |args: &[&str]| project.lockgate([&["runs", "--format", "json"], args].concat()).code(0).events;
    let schema: Value = serde_json::from_str(&project.lockgate(["schema", "runs"]).code(0).stdout).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let all = list(&[]);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|line| validator.is_valid(line)), "{all:#?}");
    assert_eq!(all[0]["nodes"]["failed"], json!(["talk"]));
    assert_eq!(list(&["--status", "failed"]), all[..1]);
    assert_eq!(list(&["--status", "succeeded", "--limit", "1"]), all[1..2]);
    assert_eq!(list(&["--pipeline", "other"]).len(), 0);
    project.lockgate(["runs", "--status", "failed"]).code(0).prints("talk").prints("test");
    project.lockgate(["runs", "--status", "errored"]).code(0).says("no such run");
    project.lockgate(["runs", "--status", "odd"]).code(2);
}

#[test]
fn the_worst_fuel_over_runs_is_known() {
    let text = |entries: usize| {
        let files: Vec<String> = (0..entries).map(|i| format!("\"f{i}\" = \"x\"")).collect();
        format!(
            "plugins.say.path = \"say.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"say\"\nconfig.files = {{ {} }}\n",
            files.join(", ")
        )
    };
    let project = Project::new();
    project.guest("say");
    let large = project.run_text(&text(200)).code(0);
    let small = project.run_text(&text(2)).code(0);
    let percent = |value: &Value| value.as_f64().unwrap();
    let shown = project.lockgate(["show", "last", "--format", "json"]).code(0);
    let worst = &shown.node("a")["fuel_worst"];
    assert_eq!(percent(&worst["percent"]), percent(&large.node("a")["fuel_percent"]));
    assert!(percent(&small.node("a")["fuel_percent"]) < percent(&worst["percent"]));
    assert_eq!((&worst["run"], &worst["runs"]), (&large.events[0]["run"], &json!(2)));
    project.lockgate(["show", "last"]).code(0).prints("worst");
    project
        .lockgate(["show", "last", "a"])
        .code(0)
        .prints(&format!("of the budget, in {}, the most of 2 runs", worst["run"].as_str().unwrap()));
}

#[test]
fn shells_complete_commands() {
    let project = Project::new();
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef lockgate"),
        ("fish", "complete -c lockgate"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let done = project.lockgate(["completions", shell]).code(0);
        assert!(done.stdout.contains(part) && done.stdout.contains("junit"), "{shell}");
    }
    project.lockgate(["completions", "csh"]).code(2);
    // What bash reads is right, and completes.
    project.file("lockgate.bash", project.lockgate(["completions", "bash"]).code(0).stdout);
    let script = "source lockgate.bash; COMP_WORDS=(lockgate sch); COMP_CWORD=1; _lockgate lockgate sch lockgate; echo \"${COMPREPLY[@]}\"";
    let done = std::process::Command::new("bash").args(["-c", script]).current_dir(project.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "schema", "{done:?}");
}
