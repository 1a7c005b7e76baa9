//! Policies: what is refused does not run, what is allowed runs as without them, and the machine's own cannot be widened.

use lockgate_tests::project::finish;
use lockgate_tests::{Answer, Project, Server, binary};
use serde_json::Value;

/// A project with a policy that allows the engine's own plugins and this.
fn project(pipeline: &str, policy: &str) -> Project {
    let project = Project::with_pipeline(pipeline);
    write(&project, policy);
    project
}

fn write(project: &Project, policy: &str) {
    project.file("policy.toml", format!("schema = 1\nname = \"strict\"\n{policy}"));
}

fn probe(server: &Server) -> String {
    let url = server.url("/health");
    format!(
        "[[health-check]]\nid = \"up\"\nplugin = \"std:http-probe\"\nconfig.url = \"{url}\"\ngrants.http = [\"GET {url}\"]\n"
    )
}

const UNDER: [&str; 2] = ["--policy", "policy.toml"];
const NOOP: &str = "[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n";

#[test]
fn what_a_policy_refuses_does_not_run() {
    let server = Server::new(Answer::ok("fine"));
    let project = project(&probe(&server), "grants.http = [\"GET https://*.acme.example/\"]\n");
    project
        .run(UNDER)
        .code(3)
        .says("lockgate::refused")
        .says("pipeline.toml:7")
        .says("policy.toml:3, `grants.http`: it allows")
        .says("nothing ran");
    assert!(project.runs().is_empty());
    for command in ["check", "plan"] {
        project.lockgate([command, "pipeline.toml", UNDER[0], UNDER[1]]).code(3).says("lockgate::refused");
    }
    let call = ["plugin", "call", "std:http-probe", "--grant-http"];
    let grant = format!("GET {}", server.url("/"));
    let config = format!("--config={{\"url\":\"{}\"}}", server.url("/health"));
    let call = |more: &[&str]| project.lockgate([&call[..], &[&grant, &config], more].concat());
    call(&UNDER).code(3).says("call the plugin: the policy refuses 1 thing").says("policy.toml:3, `grants.http`");
    assert_eq!(server.hits(), 0, "nothing was sent");
    // Nothing of it is refused without the policy.
    call(&[]).code(0);
    project.run::<&str>([]).code(0);
    assert_eq!(server.hits(), 2);
}

#[test]
fn what_a_policy_allows_runs_as_without_it() {
    let server = Server::new(Answer::ok("fine"));
    let project = project(&probe(&server), "grants.http = [\"GET http://127.0.0.1:*/\"]\n");
    project.run(UNDER).code(0);
    assert_eq!(server.hits(), 1);
    project.pipeline(NOOP);
    let without = project.run::<&str>([]).code(0);
    let under = project.run(UNDER).code(0);
    // A policy is no part of what a node's result depends on: neither of the action key, so the cache serves, nor of the run digest.
    assert_eq!(under.digest(), without.digest());
    assert_eq!(under.node("a")["facts"]["cached"], true, "{}", under.all());
    let digest = lockgate_tests::bundle::sha256(&project.bytes("policy.toml"));
    let started = |done: &lockgate_tests::Done| done.events("run-started").next().unwrap().clone();
    assert_eq!(started(&under)["policies"], serde_json::json!([digest]));
    assert_eq!(started(&without)["policies"], Value::Null);
    project.lockgate(["show", "last"]).code(0).prints(&digest);
    // A replay sends nothing: it needs no permission.
    project.pipeline(&probe(&server));
    project.run(UNDER).code(0);
    write(&project, "plugins.sources = []\n");
    let mut replay = project.command(["replay", "last"]);
    replay.env("LOCKGATE_POLICY", "policy.toml");
    finish(replay).code(0);
    assert_eq!(server.hits(), 2);
}

#[test]
fn the_variable_names_a_policy_and_the_option_goes_before_it() {
    let project = project(NOOP, "plugins.sources = []\n");
    project.file("open.toml", "schema = 1\nname = \"open\"\n");
    let run = |more: &[&str]| {
        let mut command = project.command([&["run", "pipeline.toml"][..], more].concat());
        command.env("LOCKGATE_POLICY", "policy.toml");
        finish(command)
    };
    run(&[]).code(3).says("policy.toml:3, `plugins.sources`").says("comes from where the policy allows none");
    run(&["--policy", "open.toml"]).code(0);
    project.lockgate(["run", "pipeline.toml", "--policy", "gone.toml"]).code(2).says("read the policy `gone.toml`");
    project.file("wrong.toml", "schema = 1\nname = \"wrong\"\n[grant]\nclock = true\n");
    project
        .lockgate(["run", "pipeline.toml", "--policy", "wrong.toml"])
        .code(2)
        .says("did you mean `grants`?")
        .says("nothing runs under a policy that cannot be read");
}

#[test]
fn the_machines_own_policy_cannot_be_widened() {
    let project = project(NOOP, "limits.fuel = \"1G\"\n");
    project.file("system.toml", "schema = 1\nname = \"the machine's\"\nlimits.fuel = \"1M\"\nplugins.sources = []\n");
    project.file("wide.toml", "schema = 1\nname = \"wide\"\nlimits.fuel = \"9G\"\n");
    // In a mount namespace of its own the machine has a policy.
    let on_machine = |system: &str, args: &[&str]| {
        let script = format!(
            "mount -t tmpfs tmpfs /etc && mkdir /etc/lockgate && cp {system} /etc/lockgate/policy.toml && exec \"$0\" \"$@\""
        );
        let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script];
        finish(project.wrapped(&wrapper, args))
    };
    let run = ["run", "pipeline.toml", "--policy", "wide.toml"];
    on_machine("system.toml", &run[..2]).code(3).says("/etc/lockgate/policy.toml:4, `plugins.sources`");
    on_machine("system.toml", &run).code(3).says("/etc/lockgate/policy.toml:4, `plugins.sources`");
    project.lockgate(run).code(0);
    // Both are in force, and the lower limit counts.
    let shown = on_machine("policy.toml", &["policy", "show", "--policy", "wide.toml"]).code(0);
    let shown =
        shown.prints("strict /etc/lockgate/policy.toml (the machine's own)").prints("wide wide.toml (--policy)");
    shown.prints("at most 1G").prints("at most 9G");
    let plan =
        on_machine("policy.toml", &["plan", "pipeline.toml", "--policy", "wide.toml", "--format", "json"]).code(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["nodes"][0]["limits"]["fuel"], 1_000_000_000);
    assert_eq!(plan["policies"].as_array().unwrap().len(), 2);
    on_machine("wide.toml", &["run", "pipeline.toml", "--format", "json"]).code(0);
    project.file("broken.toml", "nonsense");
    on_machine("broken.toml", &run).code(2).says("use the policy `/etc/lockgate/policy.toml`");
}

#[test]
fn a_default_is_lowered_and_the_lower_limit_ends_the_node() {
    let text = "[[stage]]\nid = \"spin\"\nplugin = \"misbehave\"\nconfig = { do = \"loop\" }\n\
                [plugins]\nmisbehave = { path = \"misbehave.wasm\" }\n";
    let project = project(text, "plugins.sources = [\"path\"]\nlimits.fuel = \"3M\"\n");
    project.guest("misbehave");
    let done = project.run(UNDER).code(1);
    assert_eq!(done.node("spin")["facts"]["fuel_limit"], 3_000_000, "{}", done.all());
    // What the pipeline says itself is refused, not lowered.
    project.pipeline(&text.replace("do = \"loop\" }", "do = \"loop\" }\nlimits.fuel = \"4M\""));
    project.run(UNDER).code(3).says("the limit `fuel` of 4M is higher").says("at most 3M");
}

#[test]
fn a_plan_says_what_is_asked_granted_allowed_and_in_force() {
    let server = Server::new(Answer::ok("fine"));
    let project = project(
        &(probe(&server) + "limits.memory = \"32MiB\"\n"),
        "grants.http = [\"GET http://127.0.0.1:*/\"]\nlimits = { fuel = \"1G\", memory = \"48MiB\" }\n",
    );
    let plan = project.lockgate(["plan", "pipeline.toml", UNDER[0], UNDER[1]]).code(0);
    plan.prints("http: asked, granted; `strict` allows GET http://127.0.0.1:*/: in force")
        .prints("fuel 1G (policy)")
        .prints("memory 32 MiB (pipeline)")
        .prints("timeout 30 s\n")
        .prints("strict: policy.toml (--policy)");
    let plan = project.lockgate(["plan", "pipeline.toml", "--format", "json", UNDER[0], UNDER[1]]).code(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let decision = &plan["nodes"][0]["decision"];
    assert_eq!(decision["effects"]["http"]["result"], "in-force", "{plan}");
    assert_eq!(decision["effects"]["http"]["allows"], serde_json::json!([["GET http://127.0.0.1:*/"]]));
    assert_eq!(
        decision["limits"]["fuel"],
        serde_json::json!({ "value": 1e9 as u64, "by": "policy", "highest": 1e9 as u64 })
    );
    assert_eq!(decision["limits"]["memory"]["by"], "pipeline");
    let plan = project.lockgate(["plan", "pipeline.toml"]).code(0);
    plan.prints("http: asked, granted; no policy: in force").prints("fuel 2G,");
    assert_eq!(server.hits(), 0);
}

#[test]
fn a_run_goes_on_under_the_policy_of_today() {
    let server = Server::new(Answer::ok("fine"));
    let project = project(
        &format!("[[approval]]\nid = \"go\"\nmessage = \"Go on?\"\n{NOOP}{}after = [\"go\"]\n", probe(&server)),
        "grants.http = [\"GET http://127.0.0.1:*/\"]\n",
    );
    let done = project.run(UNDER).code(6).node_is("a", "succeeded");
    project.lockgate(["approve", "last", "go", "--as", "ada"]).code(0);
    let resume = |more: &[&str]| {
        project.lockgate([&["resume", "last", "--format", "json", UNDER[0], UNDER[1]][..], more].concat())
    };
    write(&project, "grants.http = [\"GET https://*.acme.example/\"]\n");
    resume(&[]).code(3).says("the policy refuses 1 thing").says("node `up`: the grant of `GET http://127.0.0.1");
    // A limit that the record has is not lowered any more: it is part of what was proved.
    write(&project, "grants.http = [\"GET http://127.0.0.1:*/\"]\nlimits.fuel = \"1M\"\n");
    resume(&[]).code(3).says("node `up`: the limit `fuel` of 2G is higher");
    write(&project, "grants.http = [\"GET http://127.0.0.1:*/\"]\nplugins.sources = [\"std:noop\"]\n");
    resume(&[]).code(3).says("the plugin `std:http-probe` comes from where");
    assert_eq!(server.hits(), 0);
    // What succeeded already is not asked about again.
    write(&project, "grants.http = [\"GET http://127.0.0.1:*/\"]\nplugins.sources = [\"std:http-probe\"]\n");
    let resumed = resume(&[]).code(0);
    assert_eq!(server.hits(), 1);
    let started = &done.events("run-started").next().unwrap()["policies"];
    let again = &resumed.events("run-resumed").next().unwrap()["policies"];
    assert!(started.is_array() && again.is_array() && started != again, "{}", resumed.all());
}

#[test]
fn pipelines_are_checked_in_one_go() {
    let project = project(NOOP, "exports.roots = [\"dist\"]\n");
    let head = "schema = 1\nname = \"x\"\n";
    let export = "[[export]]\nfrom = \"a.out\"\nto = \"src/out\"\n";
    let stage = "[[stage]]\nid = \"a\"\nplugin = \"std:checksum\"\ninputs.x = { file = \"pipeline.toml\" }\n";
    project.file("refused.toml", format!("{head}{stage}{}", export.replace("a.out", "a.sums")));
    project.file("wrong.toml", format!("{head}[[stage]]\nid = \"a\"\nplugn = \"std:noop\"\n"));
    let check =
        |files: &[&str], more: &[&str]| project.lockgate([&["policy", "check"][..], files, &UNDER, more].concat());
    check(&["pipeline.toml"], &[]).code(0).says("ok pipeline.toml: allowed");
    let refused = check(&["pipeline.toml", "refused.toml"], &[]).code(3);
    refused
        .says("ok pipeline.toml")
        .says("nothing may be exported to `src/out`")
        .says("policy.toml:3, `exports.roots`");
    check(&["refused.toml", "wrong.toml"], &[]).code(2);
    check(&["refused.toml", "gone.toml"], &[]).code(2).says("gone.toml").says("src/out");
    let json = check(&["refused.toml"], &["--format", "json"]).code(3);
    let line: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&line["code"], &line["file"], &line["line"]),
        (&"lockgate::refused".into(), &"refused.toml".into(), &9.into())
    );
    check(&["refused.toml"], &["--format", "github"])
        .code(3)
        .prints("::error file=refused.toml,line=9,col=6,title=lockgate%3A%3Arefused::refused: nothing may be exported");
    project.lockgate(["policy", "check", "pipeline.toml"]).code(2).says("none is in force");
    project.lockgate(["policy", "test"]).code(2).says("none is in force");
    project.lockgate(["policy", "show"]).code(0).prints("no policy is in force");
}

#[test]
fn policies_are_tested() {
    let text = std::fs::read_to_string(binary::repository().join("examples/policy/lockgate-policy.toml")).unwrap();
    let project = Project::new();
    project.file("policy.toml", &text);
    let done = project.lockgate(["policy", "test", "policy.toml"]).code(0);
    let tests = text.matches("[[test]]").count();
    assert!(tests > 10);
    done.says(&format!("{tests} tests passed, 0 failed")).prints("a probe of another host is refused");
    // Each test of the example is there for a line: without what the line says, or with more, one fails.
    for (from, to) in [
        ("\"path:plugins/**\"", "\"path\""),
        ("digests = \"required\"\n", ""),
        ("timeout = \"10m\"\n", ""),
        ("\"GET https://*.acme.example:*/\"]", "\"* https://*.acme.example:*/\"]"),
        ("\"GET https://*.acme.example:*/\"]", "\"GET https://*:*/\"]"),
        ("\"GET https://*.acme.example:*/\"]", "]"),
        ("arguments = [\"describe\", \"--tags\", \"*\"]", "arguments = [\"...\"]"),
        ("secrets = [\"store:deploy-*\"]", "secrets = [\"store:deploy-*\", \"env:*\"]"),
        ("names = [\"staging\"]", "names = [\"*\"]"),
        ("networks = [\"10.0.0.0/8\"]", "networks = [\"0.0.0.0/0\"]"),
        ("roots = [\"dist\"]", "roots = [\".\"]"),
        ("roots = [\"dist\"]", "roots = []"),
    ] {
        assert!(text.contains(from), "{from}");
        project.file("policy.toml", text.replacen(from, to, 1));
        project.lockgate(["policy", "test", "policy.toml"]).code(1).prints("FAILED").prints("policy.toml:");
    }
    project.file("policy.toml", text.replacen("expect = \"allowed\"", "expect = \"refused\"", 1));
    let done = project.lockgate(["policy", "test", "--policy", "policy.toml", "--format", "json"]).code(1);
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<_> = lines.iter().filter(|line| line["passed"] == false).collect();
    assert_eq!(lines.len(), tests);
    assert_eq!((failed.len(), &failed[0]["why"]), (1, &"it is allowed".into()));
}

#[test]
fn the_repositorys_pipelines_pass_the_example() {
    let root = binary::repository();
    let file = |path: &str| root.join(path).to_str().unwrap().to_owned();
    let policy = file("examples/policy/lockgate-policy.toml");
    let project = Project::new();
    let args = ["policy", "check", &file("pipelines/release.toml"), &file("pipelines/gate.toml"), "--policy", &policy];
    project.lockgate(args).code(0);
    let schema: Value = serde_json::from_str(&project.lockgate(["schema", "policy"]).code(0).stdout).unwrap();
    assert_eq!(schema["title"], "Lockgate policy");
}
