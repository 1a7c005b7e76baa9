//! Past runs executed again from their records: to the same bytes, or with the first difference named; from the journal, from a
//! bundle on another machine, and in another process.

use std::fs;

use lockgate_tests::{Answer, Bundle, Done, Project, Server};
use serde_json::Value;

/// Everything that replay must be able to do: blobs, trees, a log, findings, a failure, a verdict with several looks and a state,
/// exchanges with small, large and broken answers, one saved as an output, the clock, and what it leaves out.
fn pipeline(server: &Server) -> String {
    let (url, broken) = (server.url("/a"), server.url("/b"));
    format!(
        r#"
[plugins]
say = {{ path = "say.wasm" }}
fetch = {{ path = "fetch.wasm" }}
watch = {{ path = "watch.wasm" }}
judge = {{ path = "judge.wasm" }}
sick = {{ path = "sick.wasm" }}
misbehave = {{ path = "misbehave.wasm" }}

[[stage]]
id = "text"
plugin = "say"
config = {{ text = "hello, world", log = ["one", "two", "three"], files = {{ "a/b.txt" = "b", "c.txt" = "c" }} }}

[[stage]]
id = "pack"
plugin = "std:pack"
inputs.src = {{ dir = "src" }}

[[stage]]
id = "sums"
plugin = "std:checksum"
inputs.tree = "text.tree"
inputs.archive = "pack.archive"

[[stage]]
id = "fails"
plugin = "misbehave"
config.do = "error-with-findings"
allow_failure = true

[[stage]]
id = "traps"
plugin = "misbehave"
config.do = "log-and-trap"
allow_failure = true

[[stage]]
id = "skipped"
plugin = "say"
inputs.x = "fails.out"

[[stage]]
id = "asks"
plugin = "fetch"
config = {{ url = "{url}", times = 4, parallel = 3 }}
grants.http = ["GET {url}"]

[[stage]]
id = "saves"
plugin = "fetch"
config = {{ url = "{url}", save = true }}
grants.http = ["GET {url}"]

[[stage]]
id = "posts"
plugin = "fetch"
config = {{ method = "POST", url = "{broken}", times = 2 }}
grants.http = ["POST {broken}"]

[[stage]]
id = "waits"
plugin = "watch"
config = {{ sleep_ms = 30, times = 2 }}
grants.clock = true

[[health-check]]
id = "up"
plugin = "sick"
config.do = "uhh"
poll = {{ every = "10ms", for = "60s", healthy = 2, unhealthy = 2 }}

[[health-check]]
id = "probe"
plugin = "std:http-probe"
config = {{ url = "{url}", expect = 200 }}
grants.http = ["GET {url}"]
poll = {{ every = "10ms", for = "60s", healthy = 3 }}

[[canary]]
id = "judge"
plugin = "judge"
config.do = "third-look"
inputs.observation = {{ file = "seen.json" }}
poll = {{ every = "10ms", for = "60s", healthy = 1 }}
"#
    )
}

/// A project that has run once.
fn ran() -> (Project, Done) {
    let server = Server::script([Answer::ok(&"large ".repeat(2_000)), Answer::Garbage, Answer::Counter]);
    let project = Project::with_pipeline(&pipeline(&server));
    for guest in ["say", "fetch", "watch", "judge", "sick", "misbehave"] {
        project.guest(guest);
    }
    project.file("src/a.txt", "a").file("src/deep/b.sh", "#!/bin/sh\n");
    project.file("seen.json", r#"{"schema": 1, "samples": []}"#);
    let done = project.run(["--jobs", "1"]).code(0);
    assert!(server.hits() >= 4 + 1 + 2 + 3, "{}", server.hits());
    (project, done)
}

fn replay(project: &Project, what: &[&str]) -> Done {
    project.lockgate([&["replay"], what, &["--format", "json"]].concat())
}

fn result(done: &Done, node: &str) -> Value {
    let found = done.events("node-replayed").find(|event| event["node"] == node);
    found.unwrap_or_else(|| panic!("`{node}` was not replayed: {}", done.all())).clone()
}

/// That a node differs, in this, at this place.
#[track_caller]
fn differs(done: &Done, node: &str, what: &str, place: &str) -> Value {
    let found = result(done, node);
    assert_eq!(found["result"], "different", "{}", done.all());
    let difference = found["differences"].as_array().unwrap().iter().find(|difference| difference["what"] == what);
    let difference = difference.unwrap_or_else(|| panic!("no difference of {what}: {}", done.all()));
    assert_eq!(difference["place"].as_str().unwrap_or_default(), place, "{}", done.all());
    difference.clone()
}

#[test]
fn a_run_replays_to_the_same_bytes_without_its_files_and_servers() {
    let (project, run) = ran();
    // Neither components nor sources nor servers are left; the server ended before.
    for name in ["say", "fetch", "watch", "judge", "sick", "misbehave"] {
        fs::remove_file(project.join(format!("{name}.wasm"))).unwrap();
    }
    fs::remove_dir_all(project.join("src")).unwrap();
    fs::remove_file(project.join("pipeline.toml")).unwrap();
    for jobs in ["1", "8"] {
        let done = replay(&project, &["last", "--jobs", jobs]).code(0);
        for node in run.events("node-finished") {
            let id = node["receipt"]["node"].as_str().unwrap();
            assert_eq!(
                result(&done, id)["result"],
                if id == "skipped" { "left-out" } else { "same" },
                "{id}: {}",
                done.all()
            );
        }
        let end = done.events.last().unwrap();
        assert_eq!(
            (&end["event"], &end["result"], &end["same"]),
            (&"replay-finished".into(), &"same".into(), &12.into())
        );
        assert_eq!(end["digest"], run.digest());
    }
    // No compiled code either: it is compiled again from the component that the run kept.
    fs::remove_dir_all(project.join(".lockgate/code")).unwrap();
    fs::create_dir(project.join(".lockgate/code")).unwrap();
    let done = project.lockgate(["replay", "last", "asks"]).code(0).prints("same").prints("1 replayed the same");
    assert!(!done.stdout.contains("sums"), "{}", done.all());
    project.lockgate(["replay", "last", "skipped"]).code(2).says("replay node `skipped`: it was skipped");
    project.lockgate(["replay", "last", "txet"]).code(2).says("did you mean `text`?");
    project.lockgate(["replay", "nobody"]).code(2).says("find run");
}

#[test]
fn a_bundle_replays_on_another_machine() {
    let (project, run) = ran();
    for name in ["one.bundle", "two.bundle"] {
        project.lockgate(["show", "last", "--bundle", name]).code(0).says("wrote");
    }
    assert!(project.bytes("one.bundle") == project.bytes("two.bundle"), "the same bytes each time");
    let elsewhere = Project::new();
    elsewhere.file("run.bundle", project.bytes("one.bundle"));
    drop(project);
    let done = replay(&elsewhere, &["run.bundle"]).code(0);
    assert_eq!(done.events.last().unwrap()["digest"], run.digest());
    assert!(!elsewhere.has(".lockgate"), "nothing is left behind");
    elsewhere.lockgate(["replay", "./run.bundle", "judge"]).code(0).prints("1 replayed the same");

    let good = elsewhere.bytes("run.bundle");
    let refused = |bytes: &[u8], code, text: &str| {
        elsewhere.file("bad.bundle", bytes);
        elsewhere.lockgate(["replay", "bad.bundle"]).code(code).says(text);
    };
    refused(&good[..good.len() - 10], 3, "torn or damaged");
    refused(&good[..good.len() / 2], 3, "torn or damaged");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    refused(&flipped, 3, "");
    refused(b"hello", 2, "use it as a bundle");
    elsewhere.lockgate(["replay", "none.bundle"]).code(2).says("open the bundle `none.bundle`");
    let mut bundle = Bundle::read(&elsewhere.join("run.bundle"));
    bundle.entries.push(("../../escape".into(), b"x".to_vec()));
    // The builder of archives would refuse the name; the engine must, too.
    bundle.entries.last_mut().unwrap().0 = "zzz/escape".into();
    bundle.write(&elsewhere.join("bad.bundle"));
    elsewhere.lockgate(["replay", "bad.bundle"]).code(3).says("has no place in a bundle");
}

/// Forgeries whose every digest fits: only executing the node again shows that it never gave this.
#[test]
fn what_was_altered_is_named() {
    let (project, _) = ran();
    project.lockgate(["show", "last", "--bundle", "good.bundle"]).code(0);
    let good = Bundle::read(&project.join("good.bundle"));
    let altered = |node: &str, change: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        bundle.write(&project.join("bad.bundle"));
        let done = replay(&project, &["bad.bundle", node]).code(4);
        assert_eq!(done.events.last().unwrap()["result"], "different");
        done
    };
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;

    let done = altered("text", &|bundle| bundle.change_blob("text", "/outputs/out", flip(7)));
    let difference = differs(&done, "text", "output `out`", "byte 7");
    assert_eq!(difference["first"], r#"76 in "hello, vorld" of 12 bytes"#);
    assert_eq!(difference["second"], r#"77 in "hello, world" of 12 bytes"#);
    let done = altered("text", &|bundle| bundle.change_blob("text", "/outputs/out", |bytes| bytes.truncate(5)));
    assert_eq!(differs(&done, "text", "output `out`", "byte 5")["first"], "the end of 5 bytes");

    let done =
        altered("text", &|bundle| bundle.change_blob("text", "/log", |log| *log = b"info one\ninfo 2\n".to_vec()));
    let difference = differs(&done, "text", "log", "line 2");
    assert_eq!((&difference["first"], &difference["second"]), (&"`info 2`".into(), &"`info two`".into()));

    // A file of a tree: the directories above it are made anew, down from its own.
    let done = altered("text", &|bundle| {
        let c = bundle.replace(&lockgate_tests::bundle::sha256(b"c"), b"C");
        let old = bundle.events().iter().find(|event| event["receipt"]["node"] == "text").unwrap()["receipt"]["outputs"]
            ["tree"]["digest"]
            .as_str()
            .unwrap()[7..]
            .to_owned();
        let place = bundle.entries.iter().position(|(name, _)| *name == format!("trees/{old}")).unwrap();
        let text = String::from_utf8(bundle.entries.remove(place).1).unwrap();
        let text = text.replace(&lockgate_tests::bundle::sha256(b"c")[7..], &c[7..]);
        let new = lockgate_tests::bundle::tagged("lockgate-tree-v1", text.as_bytes());
        bundle.entries.push((format!("trees/{}", &new[7..]), text.into_bytes()));
        // `sums` has read it; it is not what is replayed here.
        let events = bundle
            .events()
            .into_iter()
            .map(|event| serde_json::from_str(&event.to_string().replace(&old, &new[7..])).unwrap());
        let events = events.collect();
        bundle.set_events(events);
    });
    assert_eq!(differs(&done, "text", "output `tree`", "`c.txt`, byte 0")["first"], r#"43 in "C" of 1 bytes"#);

    // Another answer: the node makes something else of it.
    let done = altered("asks", &|bundle| {
        let change = |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap().replacen("\"status\":200", "\"status\":503", 1);
            *bytes = text.into_bytes();
        };
        bundle.change_blob("asks", "/effects", change);
    });
    let differences = result(&done, "asks")["differences"].clone();
    let of_output = |difference: &Value| difference["what"] == "output `out`";
    assert!(differences.as_array().unwrap().iter().any(of_output), "{}", done.all());
    // Another request: named by its number, and nothing else is said.
    let done = altered("asks", &|bundle| {
        let change = |bytes: &mut Vec<u8>| {
            let lines: Vec<_> = String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect();
            let mut third: Value = serde_json::from_str(&lines[2]).unwrap();
            third["request"] = lockgate_tests::bundle::sha256(b"another").into();
            *bytes = format!("{}\n{}\n{third}\n{}\n", lines[0], lines[1], lines[3]).into_bytes();
        };
        bundle.change_blob("asks", "/effects", change);
    });
    let difference = differs(&done, "asks", "effects", "effect 2");
    assert!(difference["first"].as_str().unwrap().starts_with("`http GET http://127.0.0.1"), "{difference}");
    assert_eq!(result(&done, "asks")["differences"].as_array().unwrap().len(), 1);
    // One effect less than there were.
    let done = altered("waits", &|bundle| {
        bundle.change_blob("waits", "/effects", |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        });
    });
    assert_eq!(differs(&done, "waits", "effects", "effect 2")["first"], "none");
    // One more than there are.
    let done = altered("waits", &|bundle| {
        bundle.change_blob("waits", "/effects", |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let more = text.lines().last().unwrap().replace("\"sequence\":2", "\"sequence\":3");
            *bytes = format!("{text}{more}\n").into_bytes();
        });
    });
    assert_eq!(differs(&done, "waits", "effects", "effect 3")["second"], "none");

    let done = altered("up", &|bundle| {
        bundle.change_receipt("up", |receipt| receipt["verdict"]["reasons"][0] = "look 2 after 99 ms".into());
    });
    differs(&done, "up", "verdict", "its reasons, byte 15 of their JSON");
    let done = altered("up", &|bundle| {
        let mut events = bundle.events();
        let look = events.iter_mut().find(|event| event["event"] == "look-taken" && event["node"] == "up").unwrap();
        look["verdict"]["reasons"][0] = "never".into();
        bundle.set_events(events);
    });
    assert_eq!(differs(&done, "up", "look 1", "")["first"], "`unhealthy`: never");
    let done = altered("fails", &|bundle| {
        bundle.change_receipt("fails", |receipt| receipt["failure"]["message"] = "nothing is wrong".into());
    });
    assert_eq!(differs(&done, "fails", "failure", "")["second"], "failed (error: one thing is wrong)");
    let done = altered("text", &|bundle| bundle.change_receipt("text", |receipt| receipt["fuel"] = 1.into()));
    assert_eq!(differs(&done, "text", "fuel", "")["first"], "1");
    project.lockgate(["replay", "bad.bundle", "text"]).code(4).prints("different text").prints("recorded: 1");
}

#[test]
fn another_engine_compares_everything_but_fuel() {
    let (project, _) = ran();
    project.lockgate(["show", "last", "--bundle", "run.bundle"]).code(0);
    let mut bundle = Bundle::read(&project.join("run.bundle"));
    let mut events = bundle.events();
    events[0]["determinism"] = "0+another".into();
    bundle.set_events(events);
    bundle.change_receipt("text", |receipt| receipt["fuel"] = 1.into());
    bundle.write(&project.join("old.bundle"));
    let done = replay(&project, &["old.bundle"]).code(0).says("fuel and action keys are not compared");
    assert_eq!(done.events.last().unwrap()["fuel_compared"], false);
    bundle.change_blob("text", "/outputs/out", |bytes| bytes[0] = b'H');
    bundle.write(&project.join("old.bundle"));
    differs(&replay(&project, &["old.bundle", "text"]).code(4), "text", "output `out`", "byte 0");
}

#[test]
fn what_a_run_lacks_is_named() {
    let project = Project::with_pipeline(
        "plugins.say.path = \"say.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"say\"\nconfig.text = \"a\"\n\
         [[stage]]\nid = \"slow\"\nplugin = \"misbehave\"\nconfig.do = \"loop\"\nlimits = { fuel = \"1000G\", timeout = \"50ms\" }\n\
         [plugins.misbehave]\npath = \"misbehave.wasm\"\n",
    );
    project.guest("say").guest("misbehave");
    let done = project.run::<&str>([]).code(5);
    let component = done.node("a")["receipt"]["component"].as_str().unwrap().to_owned();
    let done = replay(&project, &["last"]).code(0);
    assert_eq!(result(&done, "slow")["reason"], "infrastructure kept it from giving a result");
    // The component is a file of its own in the store: without it the pipeline's own file serves, if it did not change.
    let stored = project.join(format!(".lockgate/blobs/{}/{}", &component[7..9], &component[7..]));
    fs::remove_file(&stored).unwrap();
    replay(&project, &["last", "a"]).code(0);
    fs::remove_file(&stored).unwrap();
    project.file("say.wasm", b"changed");
    project.lockgate(["replay", "last", "a"]).code(5).says(&component).says("plugin `say`");
    project.lockgate(["show", "last", "--bundle", "x.bundle"]).code(5).says(&component);
    assert!(!project.has("x.bundle"));
}

/// One task by hand, as a repeated execution gives it to another process.
#[test]
fn another_process_gives_the_same() {
    let (project, run) = ran();
    project.lockgate(["show", "last", "--bundle", "run.bundle"]).code(0);
    let bundle = Bundle::read(&project.join("run.bundle"));
    let pipeline = bundle.blob(bundle.events()[0]["pipeline"]["digest"].as_str().unwrap());
    let pipeline: Value = serde_json::from_slice(&pipeline).unwrap();
    let node = pipeline["nodes"].as_array().unwrap().iter().find(|node| node["id"] == "text").unwrap();
    let receipt = &run.node("text")["receipt"];
    let good = serde_json::json!({
        "state": project.join(".lockgate"),
        "task": {
            "run": "r0", "node": "n", "attempt": 1, "component": receipt["component"], "world": "stage",
            "config": node["config"].to_string(), "inputs": {}, "env": {}, "limits": node["limits"], "grants": node["grants"],
            "logical_time": 946_684_800_000_u64, "look": { "index": 0, "elapsed": 0, "step": null }, "state": null,
            "first_sequence": 0,
        },
    });
    let execute = |request: String| {
        project.file("request.json", request);
        let mut command = project.command(["execute-task"]);
        command.stdin(fs::File::open(project.join("request.json")).unwrap());
        lockgate_tests::project::finish(command)
    };
    let done = execute(good.to_string()).code(0);
    for part in ["outputs", "log", "fuel"] {
        assert_eq!(done.events[0]["completion"][part], receipt[part], "{}", done.all());
    }
    for bad in ["", "nonsense", "{}", &good.to_string()[..100]] {
        execute(bad.to_owned()).code(2).says("read a task from stdin");
    }
    let mut granted = good.clone();
    granted["task"]["grants"]["clock"] = true.into();
    execute(granted.to_string()).code(2).says("it has grants");
    let mut unknown = good;
    unknown["task"]["component"] = lockgate_tests::bundle::sha256(b"unknown").into();
    execute(unknown.to_string()).code(5).says("find artifact");
}
