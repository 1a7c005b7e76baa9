//! Programs that know nothing of Lockgate: a search tool and a database by others, and a probe for everything that a program may see.

use lockgate_tests::{Answer, Done, Project, Server, binary, tools};

/// A project with these programs, and inputs that the probe knows.
fn with(programs: &[&str]) -> Project {
    let project = Project::new();
    for program in programs {
        project.program(program);
    }
    project.file("data", vec![b'b'; 300_000]).file("tree/a.txt", "first\n").file("tree/sub/z", "last\n");
    std::os::unix::fs::symlink("a.txt", project.join("tree/link")).unwrap();
    project
}

/// One stage that runs a program with these arguments.
fn stage(program: &str, args: &[&str], more: &str) -> String {
    let args = serde_json::to_string(args).unwrap();
    format!(
        "[plugins]\n{program} = {{ path = \"{program}.wasm\", world = \"command\" }}\n[[stage]]\nid = \"it\"\nplugin = \"{program}\"\n\
         args = {args}\n{more}\n"
    )
}

/// The text of an output of the last run's node, through an export.
fn exported(output: &str) -> String {
    format!("[[export]]\nfrom = \"it.{output}\"\nto = \"out/{output}\"\n")
}

fn message(done: &Done) -> String {
    done.node("it")["receipt"]["failure"]["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_search_tool_searches_a_tree() {
    let project = with(&["rg"]);
    project.file("tree/deep/er/b.txt", "nothing\nthe last one\n");
    let args = ["--sort=path", "--line-number", "--no-ignore", "las.", "/in/src"];
    let text = stage("rg", &args, "inputs.src = { dir = \"tree\" }\nrepeat = 2\nlimits.memory = \"128MiB\"\n")
        + &exported("stdout");
    let first = project.run_text(&text).code(0);
    assert_eq!(project.read("out/stdout"), "/in/src/deep/er/b.txt:2:the last one\n/in/src/sub/z:1:last\n");
    // Pure: not executed again, and the same anywhere.
    let again = project.run_text(&text).code(0);
    assert!(again.node("it").to_string().contains("cached"), "{}", again.all());
    let fresh = project.run(["--no-cache"]).code(0);
    assert_eq!(fresh.digest(), first.digest());
    assert_eq!(fresh.node("it")["receipt"]["fuel"], first.node("it")["receipt"]["fuel"]);
    // It finds nothing, and says so by its exit code.
    let none = project
        .run_text(&stage("rg", &["zzz", "/in/src"], "inputs.src = { dir = \"tree\" }\nlimits.memory = \"128MiB\"\n"))
        .code(1);
    assert_eq!(message(&none), "it exited with the code 1");
}

#[test]
fn a_database_of_preview_1_keeps_its_files_in_outputs() {
    let project = with(&["query"]);
    let rows: String = (0..12_000).map(|row| format!("{},{}\n", ["Oslo", "Bern", "Rome"][row % 3], row)).collect();
    project.file("sales.csv", rows);
    let args = ["/in/sales", "/out/db", "SELECT city, count(*), sum(amount) FROM sale GROUP BY city ORDER BY city"];
    let more = "inputs.sales = { file = \"sales.csv\" }\noutputs.db = \"blob\"\nrepeat = 2\nlimits.fuel = \"10G\"\n";
    project.run_text(&(stage("query", &args, more) + &exported("stdout") + &exported("db"))).code(0);
    assert_eq!(project.read("out/stdout"), "Bern|4000|23998000\nOslo|4000|23994000\nRome|4000|24002000\nok\n");
    let bytes = project.bytes("out/db");
    assert_eq!((&bytes[..16], bytes.len() % 4096), (&b"SQLite format 3\0"[..], 0));
}

#[test]
fn what_a_program_sees_is_the_same_everywhere() {
    let project = with(&["probe"]);
    let inputs = "inputs = { data = { file = \"data\" }, tree = { dir = \"tree\" }, stdin = { file = \"tree/a.txt\" } }\nenv = [\"SEEN\"]\n";
    let text = stage("probe", &["world", "two words", ""], inputs) + &exported("stdout") + &exported("stderr");
    project.pipeline(&text);
    let mut command = project.command(["run", "pipeline.toml", "--format", "json"]);
    command.env("SEEN", "yes").env("UNSEEN", "no");
    let done = lockgate_tests::project::finish(command).code(0);
    let seen = project.read("out/stdout");
    let lines: Vec<_> = seen.lines().collect();
    let expected = [
        r#"args ["world", "two words", ""]"#,
        r#"env [("SEEN", "yes")]"#,
        r#"cwd "/""#,
        "time 946684800s",
        "slept 1.5s",
    ];
    assert_eq!(lines[..5], expected);
    let expected = [
        r#"stdin "first\n""#,
        r#"/ ["in", "out", "tmp"]"#,
        r#"/in ["data", "stdin", "tree"]"#,
        r#"/in/tree ["a.txt", "link", "sub"]"#,
    ];
    assert_eq!(lines[7..11], expected);
    assert!(lines[11].contains("300000") && lines[11].contains("tv_sec: 946684800"), "{}", lines[11]);
    assert_eq!(lines[13], r#"link "a.txt" "first\n""#);
    assert_eq!(project.read("out/stderr"), "said to stderr\n");
    let log = project.lockgate(["logs", &project.runs()[0], "it"]).code(0);
    assert!(log.stdout.contains("said to stderr") && log.stdout.contains("slept 1.5s"), "{}", log.all());
    // Elsewhere, at another time of day, in another process: the same, random numbers included; with another input others.
    let other = with(&["probe"]);
    other.pipeline(&text);
    let mut command = other.command(["run", "pipeline.toml", "--format", "json"]);
    command.env("SEEN", "yes");
    assert_eq!(lockgate_tests::project::finish(command).code(0).digest(), done.digest());
    assert_eq!(other.read("out/stdout"), seen);
    other.file("data", "shorter").run::<&str>([]).code(0);
    assert_ne!(other.read("out/stdout").lines().nth(5), Some(lines[5]), "random numbers depend on the inputs");
    // The time is an input of the run.
    project.run(["--logical-time", "2026-11-01T12:00:00Z"]).code(0);
    assert!(project.read("out/stdout").contains("time 1793534400s"), "{}", project.read("out/stdout"));
}

#[test]
fn files_are_written_in_any_order() {
    let project = with(&["probe"]);
    let more = "inputs.data = { file = \"data\" }\noutputs = { report = \"blob\", site = \"tree\" }\nrepeat = 2\n";
    project
        .run_text(&(stage("probe", &["files"], more) + &exported("report") + &exported("site") + &exported("stdout")))
        .code(0);
    let report = project.bytes("out/report");
    assert_eq!(report.len(), 150_013);
    assert_eq!((&report[..10], &report[150_000..]), (&b"aaaaaBACKa"[..], &b"\0\0\0\0\0\0\0\0\0\0end"[..]));
    assert_eq!(project.read("out/site/moved/c.txt"), "first and more");
    assert_eq!(project.read("out/site/b.txt"), "temporary");
    assert!(project.join("out/site/empty").is_dir() && !project.has("out/site/gone") && !project.has("out/site/a.txt"));
    assert_eq!(project.read("out/stdout"), format!("300000 {}\n", 6 * u64::from(b'b')));
}

#[test]
fn outputs_are_checked_before_anything_runs_and_after() {
    let project = with(&["probe"]);
    let other = "[[stage]]\nid = \"next\"\nplugin = \"std:noop\"\ninputs.x = \"it.report\"\n";
    project.pipeline(&(stage("probe", &["files"], "inputs.data = { file = \"data\" }\n") + other));
    project.check().code(2).says("`it` has no output `report`").says("outputs.report = \"blob\"");
    project.pipeline("[plugins]\nprobe = \"std:noop\"\n[[stage]]\nid = \"it\"\nplugin = \"probe\"\nargs = [\"x\"]\n");
    project.check().code(2).says("`args` belongs to commands");
    project.pipeline("[plugins]\nprobe = { path = \"probe.wasm\" }\n[[stage]]\nid = \"it\"\nplugin = \"probe\"\n");
    project.check().code(2).says("`probe` is a WASI program").says("world = \"command\"");
    // Of another kind than declared, not declared, not written.
    let fails = |args: &[&str], more: &str, part: &str| {
        let done =
            project.run_text(&stage("probe", args, &format!("inputs.data = {{ file = \"data\" }}\n{more}"))).code(1);
        assert_eq!(done.node("it")["receipt"]["failure"]["kind"], "contract", "{}", done.all());
        assert!(message(&done).contains(part), "{}", message(&done));
    };
    fails(
        &["files"],
        "outputs = { report = \"tree\", site = \"tree\" }",
        "`/out/report` as a blob, which `outputs` of the node declares as a tree",
    );
    fails(&["undeclared"], "", "add `outputs.other = \"blob\"`");
    fails(&["world"], "inputs.tree = { dir = \"tree\" }\noutputs.gone = \"any\"", "it did not write `/out/gone`");
}

#[test]
fn programs_that_fail_say_why() {
    let project = with(&["probe"]);
    let done = project.run_text(&stage("probe", &["exit", "7"], "")).code(1);
    assert_eq!(done.node("it")["receipt"]["failure"]["kind"], "error", "{}", done.all());
    assert!(
        message(&done).starts_with("it exited with the code ") && message(&done).ends_with("one\ntwo\nthe reason"),
        "{}",
        message(&done)
    );
    let done = project.run_text(&stage("probe", &["panic"], "")).code(1);
    assert_eq!(done.node("it")["receipt"]["failure"]["kind"], "trap", "{}", done.all());
    assert!(message(&done).contains("on purpose"), "what the runtime said stands there: {}", message(&done));
    let done = project.run_text(&(stage("probe", &["binary"], "") + &exported("stdout"))).code(0);
    assert_eq!(project.bytes("out/stdout"), b"text\nbi\0nary\n", "{}", done.all());
    let log = project.lockgate(["logs", &project.runs()[0], "it"]).code(0);
    assert!(log.stdout.contains("stdout is no text") && !log.stdout.contains("nary"), "{}", log.all());
}

/// What else hostile programs try stands in `tests/hostile/programs.rs`.
#[test]
fn there_is_no_way_out_of_the_files_that_are_offered() {
    let project = with(&["probe"]);
    let inputs = "inputs = { data = { file = \"data\" }, tree = { dir = \"tree\" } }\n";
    project.run_text(&(stage("probe", &["escape"], inputs) + &exported("stdout"))).code(0);
    let told = project.read("out/stdout");
    assert!(!told.contains("it worked"), "{told}");
    assert!(told.contains("write to an input: ReadOnlyFilesystem"), "{told}");
    project.assert_usable();
}

#[test]
fn the_real_clock_is_granted_recorded_and_replayed() {
    let project = with(&["probe"]);
    let clock = |grant: &str| stage("probe", &["clock"], grant) + &exported("stdout");
    let read = || {
        let told = project.read("out/stdout");
        let (now, slept) = told.trim().split_once(' ').unwrap();
        (now.parse::<u128>().unwrap(), slept.parse::<u128>().unwrap())
    };
    // Without the grant: the logical time, to the microsecond, and no effect; so it is not executed again.
    project.run_text(&clock("")).code(0);
    assert_eq!(read(), (946_684_800_000, 20_000));
    let again = project.run_text(&clock("")).code(0);
    assert_eq!(again.node("it")["facts"]["cached"], true, "{}", again.all());
    assert_eq!(again.events("effect-intended").count(), 0);
    // With it: the machine's clocks, each reading an effect.
    let millis = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let before = millis();
    let done = project.run_text(&clock("grants.clock = true\n")).code(0);
    let (now, slept) = read();
    assert!((before..=millis()).contains(&now), "{before} {now}");
    assert!(slept >= 20_000, "{slept}");
    let kinds: Vec<_> = done.events("effect-intended").map(|event| event["kind"].clone()).collect();
    assert!(kinds.len() >= 3 && kinds.iter().all(|kind| kind == "clock"), "{kinds:?}");
    // Never from the cache; and past runs see what was recorded, however late it is.
    let run = project.runs()[0].clone();
    let later = project.run_text(&clock("grants.clock = true\n")).code(0);
    assert_ne!(later.node("it")["facts"]["cached"], true, "{}", later.all());
    assert!(read().0 > now);
    project.lockgate(["replay", &run]).code(0);
    project.lockgate(["replay", "last"]).code(0);
}

#[test]
fn imports_that_nobody_offers_are_named_before_anything_runs() {
    let project = with(&["socket"]);
    project.pipeline(&stage("socket", &["quiet"], ""));
    let done = project.check().code(2);
    done.says("wasi:sockets/tcp@0.2").says("missing_imports = \"trap\"").says("pipeline.toml");
    project.lockgate(["plugin", "inspect", "socket.wasm"]).code(0).prints("opens network connections: not offered");
    let traps = |args: &str| {
        format!(
            "[plugins]\nsocket = {{ path = \"socket.wasm\", world = \"command\", missing_imports = \"trap\" }}\n\
             [[stage]]\nid = \"it\"\nplugin = \"socket\"\nargs = [{args}]\n"
        )
    };
    project.run_text(&(traps("\"quiet\"") + &exported("stdout"))).code(0);
    assert_eq!(project.read("out/stdout"), "quiet\n");
    let done = project.run_text(&traps("")).code(1);
    assert_eq!(done.node("it")["receipt"]["failure"]["kind"], "contract", "{}", done.all());
    assert!(message(&done).starts_with("it called the import `wasi:sockets/"), "{}", message(&done));
    let call = ["plugin", "call", "socket.wasm", "--config", r#"{"args":["quiet"]}"#];
    project.lockgate(call).code(2).says("--trap-missing-imports");
    project.lockgate(call.into_iter().chain(["--trap-missing-imports"])).code(0);
}

#[test]
fn requests_by_wasi_are_granted_recorded_and_replayed() {
    let server = Server::new(Answer::Echo);
    let project = with(&["fetch"]);
    let authority = server.address().to_string();
    let fetch = |path: &str, grant: &str| stage("fetch", &["POST", &authority, path, "a body"], grant);
    project.pipeline(&fetch("/api", ""));
    project.check().code(2).says("asks for `http`, which the node `it` does not grant");
    let grant = format!("grants.http = [\"POST http://{authority}/api\"]\n");
    project.run_text(&(fetch("/api?x=1", &grant) + &exported("stdout"))).code(0);
    assert_eq!(project.read("out/stdout"), "200\na body");
    let seen = server.next_seen();
    assert_eq!((seen.line.as_str(), seen.body.as_slice()), ("POST /api?x=1 HTTP/1.1", &b"a body"[..]));
    assert_eq!((seen.header("x-probe"), seen.header("host")), (vec!["yes"], vec![authority.as_str()]));
    assert_eq!(seen.header("idempotency-key").len(), 1);
    // The server is gone: what was recorded answers.
    drop(server);
    let run = project.runs()[0].clone();
    project.lockgate(["replay", &run]).code(0);
    let refused = project.run_text(&fetch("/other", &grant)).code(1);
    assert!(message(&refused).contains("HttpRequestDenied"), "{}", message(&refused));
    let log = project.lockgate(["logs", &project.runs()[0], "it"]).code(0);
    assert!(log.stdout.contains("does not permit `POST http://"), "{}", log.all());
}

/// A stage in Python that sends requests by `wasi:http`, as it would anywhere.
const SENDS: &str = r#"
import json
import wit_world
from wit_world.imports import outgoing_handler
from wit_world.imports.lockgate_plugin_types import Finding, Manifest, Ports
from wit_world.imports.wasi_http_types import Fields, Method_Post, OutgoingBody, OutgoingRequest, Scheme_Http

class WitWorld(wit_world.WitWorld):
    def describe(self):
        none = Ports([], None)
        return Manifest("sends", "0.1.0", "Sends a request.", "{}", none, none, [])

    def run(self, config):
        config = json.loads(config)
        request = OutgoingRequest(Fields.from_list([]))
        request.set_method(Method_Post())
        request.set_scheme(Scheme_Http())
        request.set_authority(config["authority"])
        request.set_path_with_query(config["path"])
        body = request.body()
        answer = outgoing_handler.handle(request, None)
        with body.write() as stream:
            stream.blocking_write_and_flush(b"from Python")
        OutgoingBody.finish(body, None)
        answer.subscribe().block()
        answer = answer.get().value.value
        # What belongs to something else goes before it.
        incoming = answer.consume()
        text = incoming.stream().blocking_read(1000).decode()
        return [Finding("info", f"{answer.status()} {text}", None, None, None, None)]
"#;

/// Its world: that of a stage, with no more of the contract than it uses.
const SENDS_WORLD: &str = "package test:sends;
world sends {
    use lockgate:plugin/types@0.1.0.{manifest, finding, failure};
    import wasi:http/outgoing-handler@VERSION;
    export describe: func() -> manifest;
    export run: func(config: string) -> result<list<finding>, failure>;
}
";

#[test]
#[ignore = "needs PyPI's componentize-py: `cargo xtask test` runs it where that can be had"]
fn python_sends_requests_by_wasi_http() {
    let project = Project::new();
    tools::python(&project, ".", "componentize-py");
    // A crate that is fetched with all others carries the interfaces of WASI, and their version in its own.
    let (crates, version) = tools::fetched("wasip2");
    let world = SENDS_WORLD.replace("VERSION", version.split_once("+wasi-").unwrap().1);
    project.file("sends.py", SENDS).file("wit/world.wit", world);
    for name in ["types.wit", "worlds.wit"] {
        let contract = std::fs::read(binary::repository().join("wit/0.1.0").join(name)).unwrap();
        project.file(format!("wit/deps/lockgate/{name}"), contract);
    }
    for file in std::fs::read_dir(crates.join("wit/deps")).unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        project.file(format!("wit/deps/{name}/{name}.wit"), std::fs::read(&file).unwrap());
    }
    let mut build = std::process::Command::new(project.join(".venv/bin/componentize-py"));
    build.args(["-d", "wit", "-w", "sends", "componentize", "-p", ".", "-o", "sends.wasm", "sends"]);
    let built = build.current_dir(project.path()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let server = Server::new(Answer::Echo);
    let authority = server.address().to_string();
    let stage = |path: &str, grant: &str| {
        format!(
            "[plugins]\nsends = {{ path = \"sends.wasm\", missing_imports = \"trap\" }}\n[[stage]]\nid = \"it\"\n\
             plugin = \"sends\"\nconfig = {{ authority = \"{authority}\", path = \"{path}\" }}\n{grant}"
        )
    };
    let grant = format!("grants.http = [\"POST http://{authority}/api\"]\n");
    project.run_text(&stage("/api", &grant)).code(0);
    project.lockgate(["show", "latest", "it"]).code(0).prints("200 from Python");
    assert_eq!(server.next_seen().line, "POST /api HTTP/1.1");
    // The server is gone: what was recorded answers.
    drop(server);
    project.lockgate(["replay", "latest"]).code(0);
    project.run_text(&stage("/other", &grant)).code(1);
    let log = project.lockgate(["logs", "latest", "it"]).code(0);
    assert!(log.stdout.contains("does not permit `POST http://"), "{}", log.all());
}
