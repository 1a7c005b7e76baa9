//! Pipeline files that are wrong, and parameters that do not fit: a diagnostic with a stable code, exit code 2, and nothing ran.

use lockgate_tests::Project;

/// A pipeline that is wrong.
struct Case {
    /// What is wrong, for messages.
    what: &'static str,
    /// The text behind `schema` and `name`.
    text: &'static str,
    /// More arguments.
    args: &'static [&'static str],
    /// Code of the problem.
    code: &'static str,
    /// What a user needs to be told.
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case { what: "no nodes", text: "", args: &[], code: "empty-pipeline", says: &["[[stage]]"] },
    Case { what: "no TOML", text: "[[stage\n", args: &[], code: "toml", says: &["pipeline.toml:3"] },
    Case {
        what: "a cycle",
        text: r#"
            [[stage]]
            id = "a"
            plugin = "std:noop"
            after = ["c"]
            [[stage]]
            id = "b"
            plugin = "std:noop"
            after = ["a"]
            [[stage]]
            id = "c"
            plugin = "std:noop"
            after = ["b"]"#,
        args: &[],
        code: "cycle",
        says: &["`a` needs `c` needs `b` needs `a`"],
    },
    Case {
        what: "two nodes of one id",
        text: "[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n",
        args: &[],
        code: "duplicate-node",
        says: &["`a`"],
    },
    Case {
        what: "an input of a node that does not exist",
        text: "[[stage]]\nid = \"build\"\nplugin = \"std:noop\"\n[[stage]]\nid = \"b\"\nplugin = \"std:noop\"\ninputs.x = \"biuld.out\"\n",
        args: &[],
        code: "unknown-node",
        says: &["biuld", "`build`"],
    },
    Case {
        what: "an output that does not exist",
        text: "[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n[[stage]]\nid = \"b\"\nplugin = \"std:noop\"\ninputs.x = \"a.out\"\n",
        args: &[],
        code: "unknown-port",
        says: &["`out`"],
    },
    Case {
        what: "a misspelt key",
        text: "[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\nafterr = []\n",
        args: &[],
        code: "unknown-key",
        says: &["afterr", "`after`"],
    },
    Case {
        what: "an unknown parameter",
        text: "[params.version]\ntype = \"string\"\ndefault = \"1\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n",
        args: &["--param", "vresion=2"],
        code: "unknown-param",
        says: &["vresion", "`version`"],
    },
    Case {
        what: "a parameter of the wrong type",
        text: "[params.n]\ntype = \"integer\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n",
        args: &["--param", "n=seven"],
        code: "param-value",
        says: &["seven", "whole number"],
    },
    Case {
        what: "a parameter that its pattern refuses",
        text: "[params.v]\ntype = \"string\"\npattern = '^\\d+$'\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n",
        args: &["--param", "v=1x"],
        code: "param-value",
        says: &["1x", "pattern"],
    },
    Case {
        what: "a parameter without a value",
        text: "[params.v]\ntype = \"string\"\n[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n",
        args: &[],
        code: "missing-param",
        says: &["--param v="],
    },
    Case {
        what: "a plugin that nobody ships",
        text: "[[stage]]\nid = \"a\"\nplugin = \"std:nop\"\n",
        args: &[],
        code: "plugin",
        says: &["std:nop", "`std:noop`"],
    },
    Case {
        what: "an alias that was not declared",
        text: "[plugins]\nmine = \"std:noop\"\n[[stage]]\nid = \"a\"\nplugin = \"mien\"\n",
        args: &[],
        code: "unknown-plugin",
        says: &["mien", "`mine`"],
    },
    Case {
        what: "a component that is not there",
        text: "[plugins]\nmine = { path = \"gone.wasm\" }\n[[stage]]\nid = \"a\"\nplugin = \"mine\"\n",
        args: &[],
        code: "plugin",
        says: &["gone.wasm"],
    },
    Case {
        what: "a config that the plugin does not take",
        text: "[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\nconfig = { n = \"many\" }\n",
        args: &[],
        code: "config",
        says: &["many"],
    },
    Case {
        what: "a plugin of another world",
        text: "[[health-check]]\nid = \"a\"\nplugin = \"std:noop\"\n",
        args: &[],
        code: "world",
        says: &["stage"],
    },
    Case {
        what: "an effect that is not granted",
        text: "[[health-check]]\nid = \"a\"\nplugin = \"std:http-probe\"\nconfig = { url = \"http://127.0.0.1:1/\" }\n",
        args: &[],
        code: "missing-grant",
        says: &["http"],
    },
    Case {
        what: "an expression that cannot be read",
        text: "[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\nwhen = \"1 ==\"\n",
        args: &[],
        code: "expression",
        says: &["1 =="],
    },
    Case {
        what: "more nodes than permitted",
        text: r#"
            [[stage]]
            id = "a"
            plugin = "std:noop"
            [stage.matrix]
            x = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
            y = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
            z = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
            u = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
            v = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
            w = [1, 2]"#,
        args: &[],
        code: "too-large",
        says: &["100"],
    },
];

#[test]
fn each_mistake_is_a_diagnostic_and_nothing_runs() {
    let project = Project::new();
    for case in CASES {
        project.pipeline(case.text);
        for command in ["check", "run"] {
            let done = project.lockgate([&[command, "pipeline.toml"], case.args].concat());
            assert_eq!(done.exit, Some(2), "{}: {}", case.what, done.all());
            let done = done.code(2).says(&format!("lockgate::{}", case.code));
            case.says.iter().fold(done, |done, fragment| done.says(fragment));
        }
    }
    assert!(project.runs().is_empty(), "something ran: {:?}", project.runs());
    project.assert_usable();
}

#[test]
fn all_problems_come_at_once_with_line_and_hint() {
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"a\"\nplugin = \"std:nop\"\nafter = [\"bb\"]\nretyr = {}\n[[stage]]\nid = \"b\"\nplugin = \"std:noop\"\n",
    );
    let done = project.check().code(2);
    let done = done.says("retyr").says("`retry`").says("bb").says("std:nop");
    done.says("pipeline.toml:5").says("pipeline.toml:6").says("pipeline.toml:7");
    let done = project.lockgate(["check", "pipeline.toml", "--format", "json"]).code(2);
    assert!(done.events.len() >= 3, "{}", done.all());
}

#[test]
fn what_is_no_pipeline_file_is_refused() {
    let project = Project::new();
    project.lockgate(["run", "pipeline.toml"]).code(2).says("pipeline.toml");
    project.lockgate(["run", "."]).code(2);
    project.file("pipeline.toml", "");
    project.lockgate(["run", "pipeline.toml"]).code(2).says("schema");
    project.file("pipeline.toml", b"schema = 1\nname = \"\xff\xfe\"\n");
    project.lockgate(["run", "pipeline.toml"]).code(2).says("lockgate::encoding");
    project.file("pipeline.toml", "schema = 2\nname = \"new\"\n");
    project.lockgate(["run", "pipeline.toml"]).code(2).says("lockgate::schema");
    project.file("pipeline.toml", format!("schema = 1\nname = \"x\"\n{}", "#".repeat(17 << 20)));
    project.lockgate(["run", "pipeline.toml"]).code(2).says_any(&["16 MiB", "too-large"]);
    project.file("pipeline.toml", format!("schema = 1\nname = {}", "[".repeat(100_000)));
    project.lockgate(["run", "pipeline.toml"]).code(2).says_any(&["lockgate::too-deep", "lockgate::toml"]);
    project.assert_usable();
}

#[test]
fn a_digest_that_does_not_match_is_refused() {
    let project = Project::new();
    project.guest("say");
    let digest = format!("sha256:{}", "0".repeat(64));
    project.pipeline(&format!(
        "[plugins]\nsay = {{ path = \"say.wasm\", digest = \"{digest}\" }}\n[[stage]]\nid = \"a\"\nplugin = \"say\"\n"
    ));
    for command in ["check", "run"] {
        project.lockgate([command, "pipeline.toml"]).code(3).says("say").says(&digest[..20]);
    }
    assert!(project.runs().is_empty());
    project.assert_usable();
}

#[test]
fn a_digest_that_matches_is_taken() {
    let project = Project::new();
    project.guest("say");
    let inspected = project.lockgate(["plugin", "inspect", "say.wasm", "--format", "json"]).code(0);
    let found: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    let digest = found["digest"].as_str().unwrap();
    let text = format!(
        "[plugins]\nsay = {{ path = \"say.wasm\", digest = \"{digest}\" }}\n[[stage]]\nid = \"a\"\nplugin = \"say\"\n"
    );
    project.run_text(&text).code(0);
}
