//! Standard plugins that shape data, compare, run programs and tell people.

use std::process::Command;

use lockgate_tests::Project;
use lockgate_tests::server::{Answer, Server};
use serde_json::{Value, json};

#[test]
fn json_is_reshaped_and_a_gate() {
    let project = Project::new();
    project
        .file("report.json", r#"{"tests": [{"name": "a", "ok": true}, {"name": "b", "ok": false}], "coverage": 81.5}"#);
    let text = |least: u32| {
        format!(
            "[[stage]]\nid = \"failed\"\nplugin = \"std:json\"\ninputs.report = {{ file = \"report.json\" }}\nrepeat = 2\n\
             config = {{ filter = \"[.tests[] | select(.ok | not) | .name]\" }}\n\
             [[stage]]\nid = \"gate\"\nplugin = \"std:json\"\ninputs.report = {{ file = \"report.json\" }}\n\
             config = {{ filter = \".coverage >= $least\", vars = {{ least = {least} }}, check = true }}\n\
             [[export]]\nfrom = \"failed.result\"\nto = \"failed.json\"\n"
        )
    };
    project.run_text(&text(80)).code(0);
    assert_eq!(project.read("failed.json"), "[\"b\"]\n");
    project.run_text(&text(82)).code(1).node_failed("gate", "error", "the check failed: the filter gave false");
}

#[test]
fn a_filter_without_end_costs_its_node_its_fuel() {
    let project = Project::new();
    let done = project.run_text(
        "[[stage]]\nid = \"loop\"\nplugin = \"std:json\"\nconfig = { filter = \"def f: f; f\" }\nlimits.fuel = \"200M\"\n\
         [[stage]]\nid = \"honest\"\nplugin = \"std:noop\"\n",
    );
    let done = done.code(1).node_is("honest", "succeeded");
    assert_eq!(done.node("loop")["receipt"]["failure"]["kind"], "fuel", "{}", done.all());
}

#[test]
fn templates_become_files() {
    let project = Project::new();
    project
        .file("t/app.yaml.j2", "name: {{ app.name | tojson }}\n{% for port in app.ports %}- {{ port }}\n{% endfor %}");
    project.file("t/static.txt", "{{ as it is }}").file("app.toml", "name = \"shop\"\nports = [80, 443]\n");
    let text = "[[stage]]\nid = \"fill\"\nplugin = \"std:template\"\ninputs = { template = { dir = \"t\" }, app = { file = \"app.toml\" } }\n\
                config.formats.app = \"toml\"\nrepeat = 2\n[[export]]\nfrom = \"fill.tree\"\nto = \"out\"\n";
    project.run_text(text).code(0);
    assert_eq!(project.read("out/app.yaml"), "name: \"shop\"\n- 80\n- 443\n");
    assert_eq!(project.read("out/static.txt"), "{{ as it is }}");
    project.file("t/app.yaml.j2", "fine\n{{ app.nmae }}\n");
    project.run_text(text).code(1).node_failed("fill", "error", "`app.yaml.j2`, line 2: undefined value");
}

#[test]
fn git_applies_patches() {
    let project = Project::new();
    let script = "mkdir -p a/sub b/sub; seq 1 200 > a/sub/long; sed 's/^5$/five/; /^100$/d; s/^199$/&\\nmore/' a/sub/long > b/sub/long\n\
                  printf 'no end' > a/end; printf 'an end\\n' > b/end; printf gone > a/gone; printf 'new\\nfile' > 'b/with space'\n\
                  printf x > a/mode; cp a/mode b/mode; chmod 755 b/mode; printf same > a/same; cp a/same b/same\n\
                  ln -s same a/link; ln -s end b/link; printf 1 > a/turns; ln -s same b/turns; printf '\\001\"' > b/'quo\"te'";
    let shell = |script: &str| {
        let output = Command::new("sh").args(["-ec", script]).current_dir(project.path()).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
    };
    shell(script);
    let text = "[[stage]]\nid = \"diff\"\nplugin = \"std:diff\"\ninputs = { before = { dir = \"a\" }, after = { dir = \"b\" } }\n\
                [[export]]\nfrom = \"diff.patch\"\nto = \"x.patch\"\n[[export]]\nfrom = \"diff.summary\"\nto = \"x.json\"\n";
    project.run_text(text).code(0);
    shell("cd a; git init -q; git apply ../x.patch; rm -rf .git; cd ..; diff -r --no-dereference a b; test -x a/mode");
    let summary: Value = serde_json::from_str(&project.read("x.json")).unwrap();
    assert_eq!(
        (&summary["added"], &summary["removed"], &summary["changed"]),
        (&json!(2), &json!(1), &json!(5)),
        "{summary:#}"
    );
    let gate = text.replace("[[export]]", "config.expect = \"equal\"\n[[export]]").replacen(
        "config.expect",
        "\nconfig.expect",
        1,
    );
    let gate = gate.split("[[export]]").next().unwrap().to_owned();
    project.run_text(&gate).code(0);
    project.file("b/same", "other");
    project.run_text(&gate).code(1).node_failed("diff", "error", "they differ: 0 added, 0 removed, 1 changed");
}

#[test]
fn a_message_is_sent_with_its_secret_and_a_key() {
    let server = Server::new(Answer::ok("ok"));
    let project = Project::new();
    project.file("secret.txt", "correct horse battery staple").file("v.json", r#"{"version": "1.2.3"}"#);
    let text = |text: &str| {
        format!(
            "secrets.token.file = \"secret.txt\"\n[[stage]]\nid = \"tell\"\nplugin = \"std:notify\"\ninputs.v = {{ file = \"v.json\" }}\n\
             [stage.config]\nurl = \"{url}\"\nheaders = {{ authorization = \"Bearer {{{{secret:token}}}}\" }}\ntext = \"{text}\"\n\
             [stage.grants]\nhttp = [\"POST {url}\"]\nsecrets = [{{ name = \"token\", to = [\"127.0.0.1\"] }}]\n",
            url = server.url("/hook")
        )
    };
    let done = project.run_text(&text("Released {{v#/version}}")).code(0);
    let seen = server.next_seen();
    assert!(seen.line.starts_with("POST /hook "));
    assert_eq!(seen.header("authorization"), ["Bearer correct horse battery staple"]);
    assert_eq!(seen.header("idempotency-key").len(), 1);
    assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), json!({"text": "Released 1.2.3"}));
    assert!(!done.all().contains("battery"));
    project.lockgate(["replay", "last"]).code(0);
    assert_eq!(server.hits(), 1, "a replay tells nobody");
    project.run_text(&text("Released {{v#/nothing}}")).code(1).node_failed(
        "tell",
        "error",
        "has nothing at `/nothing`",
    );
    assert_eq!(server.hits(), 1);
}

#[test]
fn the_engine_sends_a_message_again_under_one_key() {
    let server = Server::script([Answer::Status(503, "busy".into()), Answer::ok("ok")]);
    let project = Project::new();
    let url = server.url("/hook");
    let text = format!(
        "[[stage]]\nid = \"tell\"\nplugin = \"std:notify\"\nretry = {{ attempts = 3, backoff = \"1ms\" }}\n\
         config = {{ url = \"{url}\", text = \"x\", idempotency_key = \"release-1\" }}\n\
         grants = {{ http = [\"POST {url}\"] }}\n"
    );
    project.run_text(&text).code(0);
    let keys: Vec<Vec<String>> = server
        .all_seen()
        .iter()
        .map(|seen| seen.header("idempotency-key").iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(keys, [["\"release-1\""], ["\"release-1\""]]);
}

#[test]
fn a_granted_program_makes_outputs() {
    let project = Project::new();
    project.file("src/b.txt", "banana\n").file("src/a.txt", "apple\n").file("words.txt", "pear\nfig\n");
    let text = |script: &str, granted: &str| {
        format!(
            "[[stage]]\nid = \"sort\"\nplugin = \"std:command\"\ninputs = {{ src = {{ dir = \"src\" }}, words = {{ file = \"words.txt\" }} }}\n\
             config = {{ program = \"sh\", args = [\"-c\", '{script}'], inputs = {{ src = \"in/src\" }}, outputs = {{ all = \"out/all\" }}, stdin = \"words\" }}\n\
             [[stage.grants.process]]\nprogram = \"sh\"\narguments = [\"-c\", '{granted}']\n\
             [[export]]\nfrom = \"sort.all\"\nto = \"all.txt\"\n[[export]]\nfrom = \"sort.stdout\"\nto = \"said.txt\"\n"
        )
    };
    let script = "mkdir out; cat - in/src/*.txt | sort > out/all; ls in/src";
    project.run_text(&text(script, "**")).code(0);
    assert_eq!(
        (project.read("all.txt"), project.read("said.txt")),
        ("apple\nbanana\nfig\npear\n".into(), "a.txt\nb.txt\n".into())
    );
    project.lockgate(["replay", "last"]).code(0);
    let done = project.run_text(&text("echo no such thing >&2; exit 3", "**")).code(1);
    done.node_failed("sort", "error", "`sh` ended with exit code 3: no such thing");
    project.run_text(&text("ls", "echo *")).code(1).node_failed(
        "sort",
        "error",
        "run `sh`: `grants.process` of the node does not permit",
    );
}
