//! Programs and bare connections: what is granted happens, what is not does not, and all of it replays.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use lockgate_tests::{Done, Project, Running};
use serde_json::json;

/// A project whose one node takes these steps within these grants. What came of them is exported, a line each.
fn project(grants: &str, steps: &serde_json::Value) -> Project {
    let config = toml_of(steps);
    let project = Project::with_pipeline(&format!(
        r#"
[plugins]
act = {{ path = "act.wasm" }}

[[stage]]
id = "act"
plugin = "act"
config.steps = {config}
inputs.src = {{ dir = "src" }}
limits = {{ output = "10MiB" }}

[stage.grants]
http = ["GET http://127.0.0.1:1/"]
{grants}

[[export]]
from = "act.out"
to = "out.txt"
"#
    ));
    project.guest("act").file("src/a.txt", "alpha\n").file("src/b/c.txt", "gamma\n");
    project
}

/// JSON as TOML: an array of inline tables.
fn toml_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Object(members) => {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("{key} = {}", toml_of(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

const SECRETS: &str = "secrets = [\"unused\"]\n";
/// Grants that are there only because the plugin asks for their kinds.
const OTHER: &str = "tcp = [\"127.0.0.1:1\"]\n";

fn steps(grants: &str, steps: &serde_json::Value) -> (Project, Done, Vec<String>) {
    let project = project(&format!("{SECRETS}{grants}"), steps);
    let pipeline = project.read("pipeline.toml") + "\n[secrets]\nunused = { file = \"secret.txt\" }\n";
    project.file("pipeline.toml", pipeline).file("secret.txt", "never used at all\n");
    let done = project.run([""; 0]);
    let lines = if project.has("out.txt") { project.read("out.txt") } else { String::new() };
    (project, done, lines.lines().map(str::to_owned).collect())
}

#[test]
fn a_program_runs_in_a_directory_of_its_own_and_replays_without_running() {
    let grants = r#"process = [
        { program = "sh", arguments = ["-c", "**"], env = { GREETING = "hello" } },
        { program = "/bin/cat", arguments = ["src/a.txt", "..."] },
    ]"#;
    let list = "pwd >/dev/null; ls; echo $GREETING; env | sed 's/=.*//' | sort | tr '\\n' ' '; mkdir out; cp -r src/b out/; ln -s b out/l";
    let (project, done, lines) = steps(
        &format!("{OTHER}{grants}"),
        &json!([
            { "run": ["/bin/cat", "src/a.txt", "src/b/c.txt"], "lay": "src" },
            { "run": ["sh", "-c", list], "lay": "src", "take": "out" },
            { "run": ["sh", "-c", "cat; exit 3"], "stdin": "from the plugin" },
            { "run": ["sh", "-c", "kill -9 $$"] },
            { "run": ["sh", "-c", "echo told >&2; pwd >> /tmp/lockgate-must-not-be; ls /home /root /proc/1 / 2>&1 | wc -l"] },
        ]),
    );
    done.code(0);
    assert_eq!(lines[0], r#"exit 0 "alpha\ngamma\n" """#);
    assert_eq!(lines[1], r#"exit 0 "src\nhello\nGREETING HOME LANG LOCKGATE_IDEMPOTENCY_KEY PATH PWD TMPDIR " """#);
    assert_eq!(lines[2], r#"exit 3 "from the plugin" """#);
    assert_eq!(lines[3], r#"exit signal "" """#);
    assert!(lines[4].contains("told"), "{}", lines[4]);
    let run = &project.runs()[0];
    project.lockgate(["replay", run]).code(0);
    let shown = project.lockgate(["show", run, "act"]).code(0);
    shown.prints("file");
}

#[test]
fn files_outside_of_the_directory_are_out_of_reach_where_the_kernel_can() {
    if !lockgate_host::support().files {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("told"), "found it").unwrap();
    std::fs::write(outside.path().join("kept"), "found it").unwrap();
    let (told, kept) = (outside.path().join("told"), outside.path().join("kept"));
    let (told, kept) = (told.display(), kept.display());
    let grants = format!(r#"{OTHER}process = [{{ program = "sh", arguments = ["-c", "**"], read = ["{told}"] }}]"#);
    let (_, done, lines) = steps(
        &grants,
        &json!([
            { "run": ["sh", "-c", format!("cat {told}; cat {kept}; echo x > {told}")] },
            { "run": ["sh", "-c", "cat /proc/$PPID/environ /proc/1/environ; ls /proc/1"] },
            { "run": ["sh", "-c", "echo x > /tmp/lockgate-must-not-be; echo $?; echo x > $TMPDIR/y && echo x > ~/y && echo fine"] },
            { "run": ["sh", "-c", "kill -0 $PPID; kill -9 1; echo $?"] },
        ]),
    );
    done.code(0);
    assert!(lines[0].contains("\"found it\""), "what is named is read, the rest is not: {}", lines[0]);
    assert_eq!(std::fs::read_to_string(outside.path().join("told")).unwrap(), "found it");
    assert!(lines[1].starts_with("exit 2 \"\"") || lines[1].starts_with("exit 1 \"\""), "{}", lines[1]);
    assert!(lines[2].contains("fine") && !lines[2].starts_with("exit 0 \"0"), "{}", lines[2]);
    assert!(!std::path::Path::new("/tmp/lockgate-must-not-be").exists());
}

#[test]
fn what_is_not_granted_does_not_run() {
    let grants =
        format!(r#"{OTHER}process = [{{ program = "sh", arguments = ["-c", "exit *"] }}, {{ program = "nowhere" }}]"#);
    let (_, done, lines) = steps(
        &grants,
        &json!([
            { "run": ["sh", "-c", "exit 0"] },
            { "run": ["sh", "-c", "echo"] },
            { "run": ["sh", "-c", "exit 0", "more"] },
            { "run": ["/bin/sh", "-c", "exit 0"] },
            { "run": ["nowhere"] },
            { "run": ["sh", "-c", "exit 0"], "take": "../x" },
        ]),
    );
    done.code(0);
    assert_eq!(lines[0], r#"exit 0 "" """#);
    for line in &lines[1..4] {
        assert!(line.starts_with("error not-granted `grants.process` of the node does not permit `"), "{line}");
    }
    assert_eq!(lines[4], "error not-found there is no program `nowhere` in /usr/local/bin, /usr/bin, /bin");
    assert!(lines[5].starts_with("error bad-request `../x` is no path"), "{}", lines[5]);
}

#[test]
fn a_program_is_killed_with_all_that_it_started_when_its_time_is_over() {
    let grants = format!(r#"{OTHER}process = [{{ program = "sh", arguments = ["-c", "**"] }}]"#);
    let (project, done, lines) = steps(
        &grants,
        &json!([
            { "run": ["sh", "-c", "sleep 1000 & sleep 1000"], "timeout_ms": 300 },
            { "run": ["sh", "-c", "sleep 1000 & echo started"] },
            { "run": ["sh", "-c", "yes | head -c 5000000"] },
        ]),
    );
    done.code(0);
    assert_eq!(lines[0], "error timeout `sh` did not end within 300 ms; it was killed, with all that it started");
    assert_eq!(lines[1], r#"exit 0 "started\n" """#);
    assert!(lines[2].starts_with("exit 0 cut \"y\\ny\\n"), "{}", lines[2]);
    project.lockgate(["replay", &project.runs()[0]]).code(0);
}

#[test]
fn connections_are_bounded_exchanges() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        // As many as the steps that come this far.
        for stream in listener.incoming().take(4) {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut line);
            if line.trim() != "silence" {
                let _ = stream.write_all(format!("+{}\r\n+more\r\n", line.trim()).as_bytes());
            }
            if line.trim() == "silence" {
                let _ = std::io::Read::read(&mut stream, &mut [0]);
            }
        }
    });
    let at = address.to_string();
    let grants = format!("tcp = [\"{at}\", \"localhost:{}\"]\nprocess = [{{ program = \"true\" }}]", address.port());
    let (project, done, lines) = steps(
        &grants,
        &json!([
            { "connect": at, "send": "ping\n", "until": "\r\n" },
            { "connect": at, "send": "ping\n" },
            { "connect": at, "send": "silence\n", "timeout_ms": 200, "until": "x" },
            { "connect": format!("localhost:{}", address.port()), "send": "named\n", "until": "\n" },
            { "connect": "127.0.0.1:1", "send": "x" },
            { "connect": format!("127.1:{}", address.port()), "send": "x" },
        ]),
    );
    done.code(0);
    assert_eq!(lines[0], r#"until "+ping\r\n""#);
    assert_eq!(lines[1], r#"closed "+ping\r\n+more\r\n""#);
    assert_eq!(lines[2], "error timeout there was no answer within 200 ms");
    assert_eq!(lines[3], r#"until "+named\r\n""#);
    for line in &lines[4..] {
        assert!(line.starts_with("error not-granted `grants.tcp` of the node does not permit `"), "{line}");
    }
    server.join().unwrap();
    // The server is gone: the record answers.
    project.lockgate(["replay", &project.runs()[0]]).code(0);
}

#[test]
fn a_name_that_means_this_machine_is_not_reached_by_another_name() {
    // This machine's own name resolves to an address that no grant of it names.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_lowercase();
    let private = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 1))
        .is_ok_and(|found| found.into_iter().all(|address| !lockgate_model::grant::address::is_public(address.ip())));
    if !private || name.starts_with("localhost") {
        return;
    }
    let grants = format!("tcp = [\"{name}:1\"]\nprocess = [{{ program = \"true\" }}]");
    let (_, done, lines) = steps(&grants, &json!([{ "connect": format!("{name}:1") }]));
    done.code(0);
    assert!(lines[0].starts_with("error not-granted") && lines[0].contains("not a public one"), "{}", lines[0]);
}

#[test]
fn a_program_dies_with_the_engine_and_is_in_doubt_then() {
    let outside = tempfile::tempdir().unwrap();
    let alive = outside.path().join("alive");
    assert!(std::process::Command::new("mkfifo").arg(&alive).status().unwrap().success());
    let place = outside.path().display();
    let grants = format!(r#"{OTHER}process = [{{ program = "sh", arguments = ["-c", "**"], write = ["{place}"] }}]"#);
    let hold = format!("exec 3> {}; echo here >&3; exec sleep 1000", alive.display());
    let project =
        project(&format!("{SECRETS}{grants}"), &json!([{ "run": ["sh", "-c", hold], "timeout_ms": 100_000 }]));
    let pipeline = project.read("pipeline.toml").replace("output = \"10MiB\"", "timeout = \"100s\"");
    project.file("pipeline.toml", pipeline + "\n[secrets]\nunused = { file = \"secret.txt\" }\n");
    project.file("secret.txt", "never used at all\n");
    let running = project.start([""; 0]);
    // Opens once the program does, and ends once the program is gone.
    let mut stream = BufReader::new(std::fs::File::open(&alive).unwrap());
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    running.signal(rustix::process::Signal::KILL);
    assert_eq!(running.finish().signal, Some(9));
    assert_eq!(std::io::Read::read(&mut stream, &mut [0]).unwrap(), 0, "the program is gone");
    project.lockgate(["resume", "last"]).code(6).says("--assume");
    project.lockgate(["resume", "last", "--assume", "done"]).code(0);
    assert!(project.read("out.txt").starts_with("error answer-lost"), "{}", project.read("out.txt"));
}

/// What was asked of the outside world when the engine was killed, and when the run was resumed.
fn asked_twice(grants: &str, step: &serde_json::Value, mut hear: impl FnMut() -> String) -> [String; 2] {
    let project = project(&format!("{SECRETS}{grants}"), &json!([step]));
    let pipeline = project.read("pipeline.toml").replace("output = \"10MiB\"", "timeout = \"100s\"");
    project.file("pipeline.toml", pipeline + "\n[secrets]\nunused = { file = \"secret.txt\" }\n");
    project.file("secret.txt", "never used at all\n");
    let running = project.start([""; 0]);
    let first = hear();
    running.signal(rustix::process::Signal::KILL);
    assert_eq!(running.finish().signal, Some(9));
    let resumed = Running::start(project.command(["resume", "last"]));
    let second = hear();
    resumed.finish().code(0);
    let run = &project.runs()[0];
    assert!(first.contains(&format!("{run}/act/1/0")), "{first} {run}");
    project.lockgate(["replay", run]).code(0);
    [first, second]
}

#[test]
fn a_connection_that_is_made_again_after_a_crash_passes_on_the_same_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let grants =
        format!("tcp = [{{ server = \"{at}\", in_doubt = \"repeat\" }}]\nprocess = [{{ program = \"true\" }}]");
    let mut streams = Vec::new();
    let [first, second] = asked_twice(&grants, &json!({ "connect": at, "send": "<key>\n", "until": "\n" }), || {
        let mut stream = listener.accept().unwrap().0;
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        // The first one is not answered.
        if !streams.is_empty() {
            stream.write_all(b"done\n").unwrap();
        }
        streams.push(stream);
        line
    });
    assert_eq!(first, second);
}

#[test]
fn a_program_that_is_run_again_after_a_crash_finds_the_same_key() {
    let outside = tempfile::tempdir().unwrap();
    let (said, go) = (outside.path().join("said"), outside.path().join("go"));
    for fifo in [&said, &go] {
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    }
    let grants = format!(
        r#"{OTHER}process = [{{ program = "sh", arguments = ["-c", "**"], write = ["{}"], in_doubt = "repeat" }}]"#,
        outside.path().display()
    );
    let script = format!("echo $LOCKGATE_IDEMPOTENCY_KEY > {}; exec cat {}", said.display(), go.display());
    let mut times = 0;
    let [first, second] = asked_twice(&grants, &json!({ "run": ["sh", "-c", script], "timeout_ms": 100_000 }), || {
        let line = std::fs::read_to_string(&said).unwrap();
        times += 1;
        // The first one is not let go.
        if times == 2 {
            std::fs::write(&go, "done\n").unwrap();
        }
        line
    });
    assert_eq!(first, second);
}
