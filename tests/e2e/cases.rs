//! The author's loop: cases of plugins, profiles, what changed from one component to another. Every standard plugin has cases, and they
//! pass.

use lockgate_tests::handmade::Handmade;
use lockgate_tests::{Done, Project, browser};
use serde_json::{Value, json};

/// A project with a folder `p` that has one case of a standard plugin.
fn case(name: &str, text: &str) -> Project {
    let project = Project::new();
    project.file(format!("p/cases/{name}/case.toml"), text);
    project
}

fn test(project: &Project, plugin: &str, more: &[&str]) -> Done {
    let target = format!("p=std:{plugin}");
    project.lockgate(["plugin", "test", &target].iter().chain(more).collect::<Vec<_>>())
}

const LIST: &str = "config = { names = { a = \"x\" } }\ninputs = { a = { text = \"abc\" } }\n";
const SUMS: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  x\n";
const PROBE: &str = "config = { url = \"http://service.example/health\" }\n";

fn exchange(method: &str, url: &str, response: &str) -> String {
    format!("[[http]]\nrequest = {{ method = \"{method}\", url = \"{url}\" }}\nresponse = {{ {response} }}\n")
}

#[test]
fn every_standard_plugin_passes_its_cases() {
    let plugins = lockgate_tests::binary::repository().join("plugins");
    let (mut targets, mut without) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(&plugins).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // The others are libraries of plugins.
        let is_plugin = |manifest: String| manifest.contains("cdylib");
        if !std::fs::read_to_string(entry.path().join("Cargo.toml")).is_ok_and(is_plugin) {
            continue;
        }
        match entry.path().join("cases").is_dir() {
            true => targets.push(format!("{}=std:{name}", entry.path().display())),
            false => without.push(name),
        }
    }
    assert!(without.is_empty(), "without cases: {without:?}");
    targets.sort();
    let args = ["plugin", "test", "--format", "json"].into_iter().map(str::to_owned).chain(targets.clone());
    let done = Project::new().lockgate(args).code(0);
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, cases) = lines.split_last().unwrap();
    assert_eq!(last["passed"], cases.len(), "{}", done.all());
    for target in &targets {
        let folder = target.split('=').next().unwrap().rsplit('/').next().unwrap();
        assert!(cases.iter().any(|case| case["plugin"] == folder && case["fuel"].is_u64()), "{folder}");
    }
}

#[test]
fn golden_files_are_written_held_against_and_written_anew() {
    let project = case("list", LIST);
    // Without golden files success is all that is expected.
    test(&project, "checksum", &[]).code(0).says("1 case: 1 passed");
    test(&project, "checksum", &["--update"])
        .code(0)
        .prints("wrote expected/outputs/sums")
        .prints("wrote expected/result.json");
    assert_eq!(project.read("p/cases/list/expected/outputs/sums"), SUMS);
    let result: Value = serde_json::from_str(&project.read("p/cases/list/expected/result.json")).unwrap();
    assert_eq!(result, json!({ "status": "succeeded" }));
    let again = test(&project, "checksum", &["--update"]).code(0);
    assert!(!again.stdout.contains("wrote"), "{}", again.all());

    project.file("p/cases/list/expected/outputs/sums", "other\n");
    let done = test(&project, "checksum", &[]).code(1);
    done.prints("FAILED   list").prints("output sums:").prints("-other").prints(&format!("+{}", SUMS.trim_end()));
    test(&project, "checksum", &["--update"]).code(0).prints("wrote expected/outputs/sums");
    assert_eq!(project.read("p/cases/list/expected/outputs/sums"), SUMS);

    // Without its file an output is pinned by its digest, and the log is compared once the golden result has one.
    std::fs::remove_file(project.join("p/cases/list/expected/outputs/sums")).unwrap();
    project.file("p/cases/list/expected/result.json", "{ \"status\": \"succeeded\", \"log\": [] }");
    test(&project, "checksum", &[]).code(1).prints("1 files");
    test(&project, "checksum", &["--update"]).code(0);
    let result: Value = serde_json::from_str(&project.read("p/cases/list/expected/result.json")).unwrap();
    assert_eq!(result["log"], json!(["info 1 files"]), "{result}");
    assert_eq!(result["outputs"]["sums"]["size"], SUMS.len(), "{result}");
    project.file("p/cases/list/case.toml", LIST.replace("abc", "abd"));
    test(&project, "checksum", &[]).code(1).prints("expected/result.json:").prints("\"digest\"");
    project.file("p/cases/list/expected/result.json", "{ \"sttus\": 1 }");
    test(&project, "checksum", &[]).code(2).says("golden result").says("--update");
}

#[test]
fn what_a_case_expects_must_be_so() {
    let rows: [(&str, String, i32, &str); 11] = [
        ("checksum", format!("max_fuel = \"1K\"\n{LIST}"), 1, "fuel: at most 1000 expected, it took "),
        ("checksum", format!("{LIST}[expect]\nmax_fuel = \"1G\"\n"), 0, "ok"),
        (
            "checksum",
            format!("{LIST}[expect]\nstatus = \"failed\"\n"),
            1,
            "status: expected `failed`, found `succeeded`",
        ),
        ("checksum", String::new(), 1, "status: expected `succeeded`, found `failed` (error: there is nothing to list"),
        ("checksum", "[expect]\nkind = \"error\"\nmessage = \"nothing to list\"\n".into(), 0, "ok"),
        ("checksum", "[expect]\nkind = \"trap\"\n".into(), 1, "kind of failure: expected `trap`, found `error`"),
        ("checksum", "[expect]\nmessage = \"elsewhere\"\n".into(), 1, "message: expected one with `elsewhere`"),
        ("pack", String::new(), 1, "the plugin was not called: the input `src` is missing (invalid-input)"),
        ("pack", "expect = { kind = \"invalid-input\" }\n".into(), 0, "not called"),
        (
            "pack",
            "config = { levl = 1 }\nexpect = { kind = \"invalid-config\", message = \"levl\" }\n".into(),
            0,
            "not called",
        ),
        ("checksum", format!("limits = {{ fuel = \"1K\" }}\n{LIST}expect = {{ kind = \"fuel\" }}\n"), 0, "ok"),
    ];
    for (plugin, text, code, fragment) in rows {
        test(&case("one", &text), plugin, &[]).code(code).prints(fragment);
    }
}

#[test]
fn requests_are_the_recorded_ones() {
    let url = "http://service.example/health";
    let ok = exchange("GET", url, "status = 200");
    let rows: [(String, i32, &[&str]); 8] = [
        (format!("{PROBE}{ok}"), 0, &["ok"]),
        (format!("{PROBE}{}", exchange("HEAD", url, "status = 200")), 1, &["request 1:", "-HEAD", "+GET"]),
        (
            format!("{PROBE}{}", exchange("GET", "https://other.example/", "status = 200")),
            1,
            &["-GET https://other.example/", "+GET http://service.example/health"],
        ),
        (PROBE.to_owned(), 1, &["request 1:", "one too many, none is recorded", "GET http://service.example/health"]),
        (format!("{PROBE}{ok}{ok}"), 1, &["request 2:", "never sent", "GET http://service.example/health"]),
        // A verdict that is not good must be expected.
        (
            format!("{PROBE}{}", exchange("GET", url, "status = 500")),
            1,
            &["verdict: expected a good one, found `unhealthy`"],
        ),
        (
            format!("{PROBE}expect = {{ verdict = \"unhealthy\" }}\n{}", exchange("GET", url, "error = \"timeout\"")),
            0,
            &["ok"],
        ),
        (
            format!(
                "{PROBE}[[http]]\nrequest = {{ method = \"GET\", url = \"{url}\", headers = {{ accept = \"text/plain\" }} }}\nresponse = {{ status = 200 }}\n"
            ),
            1,
            &["-accept: text/plain"],
        ),
    ];
    for (text, code, fragments) in rows {
        let mut done = test(&case("one", &text), "http-probe", &[]).code(code);
        for fragment in fragments {
            done = done.prints(fragment);
        }
    }
}

/// A guest of the tests, with one case.
fn guest(name: &str, text: &str) -> Project {
    let project = case("one", text);
    project.guest(name);
    project
}

fn test_guest(project: &Project, name: &str, more: &[&str]) -> Done {
    let target = format!("p={name}.wasm");
    project.lockgate(["plugin", "test", &target].iter().chain(more).collect::<Vec<_>>())
}

#[test]
fn programs_are_the_recorded_ones() {
    let git = "config = { program = \"git\", args = [\"describe\", \"--tags\"], outputs = { f = \"f.txt\" } }\n";
    let run = "[[process]]\nrun = [\"git\", \"describe\", \"--tags\"]\n";
    let rows: [(String, i32, &[&str]); 9] = [
        (format!("{git}{run}exit = 0\noutputs.f.text = \"made\"\n"), 0, &["ok"]),
        (git.to_owned(), 1, &["program 1:", "one too many, none is recorded", "--tags", "for the output f"]),
        (
            format!("{git}{}exit = 0\noutputs.f.text = \"made\"\n", run.replace("--tags", "--all")),
            1,
            &["program 1: another than the one of line 2", "---all", "+--tags"],
        ),
        (format!("{git}{run}exit = 0\noutputs.g.text = \"\"\n"), 1, &["-for the output g"]),
        (format!("{git}{run}stdin = \"a\"\nexit = 0\noutputs.f.text = \"\"\n"), 1, &["standard input:", "-a"]),
        (format!("{git}{run}inputs = {{ src = \"src\" }}\nexit = 0\n"), 1, &["-with the input src at src"]),
        (
            format!("{git}{run}exit = 0\noutputs.f.text = \"made\"\n{run}exit = 0\n"),
            1,
            &["program 2:", "expected, by line 6, and never run", "describe"],
        ),
        (format!("{git}expect = {{ message = \"ended by a signal\" }}\n{run}signal = 9\n"), 0, &["ok"]),
        (format!("{git}expect = {{ message = \"run `git`\" }}\n{run}error = \"not-found\"\n"), 0, &["ok"]),
    ];
    for (text, code, fragments) in rows {
        let mut done = test(&case("one", &text), "command", &[]).code(code);
        for fragment in fragments {
            done = done.prints(fragment);
        }
    }
    // A tree that a program leaves is an artifact like any other.
    let project = case("one", &format!("{git}{run}exit = 0\nstdout_file = \"said.txt\"\noutputs.f.path = \"made\"\n"));
    project.file("p/cases/one/made/a/b.txt", "b").file("p/cases/one/said.txt", "v1\n");
    test(&project, "command", &["--update"]).code(0).prints("wrote expected/outputs/f");
    assert_eq!(project.read("p/cases/one/expected/outputs/f/a/b.txt"), "b");
    assert_eq!(project.read("p/cases/one/expected/outputs/stdout"), "v1\n");
    std::fs::remove_file(project.join("p/cases/one/said.txt")).unwrap();
    test(&project, "command", &[]).code(2).says("read the recorded answer");
}

#[test]
fn connections_are_the_recorded_ones() {
    let step = |more: &str| format!("config.steps = [{{ connect = \"db.example:5\", send = \"PING\"{more} }}]\n");
    let tcp = |more: &str| format!("[[tcp]]\nconnect = \"db.example:5\"\n{more}\n");
    let rows: [(String, i32, &str); 8] = [
        (step("") + &tcp("receive = \"PONG\""), 0, "closed \"PONG\""),
        (step(", until = \"N\"") + &tcp("receive = \"PONG\""), 0, "until \"PON\""),
        (step("") + &tcp("receive = \"PO\"\nthen = \"silence\""), 0, "timeout \"PO\""),
        (step("") + &tcp("receive_hex = \"504f\"\nsend = \"PING\""), 0, "closed \"PO\""),
        (step("") + &tcp("error = \"connect\""), 0, "error connect"),
        (step("") + &tcp("send_hex = \"00\"\nreceive = \"x\""), 1, "+PING"),
        (step(""), 1, "connection 1: one too many, none is recorded"),
        (step("") + &tcp("receive = \"x\"") + &tcp("receive = \"y\""), 1, "and never made"),
    ];
    for (text, code, fragment) in rows {
        let project = guest("act", &format!("grants.secrets = [\"token\"]\n{text}"));
        let done = test_guest(&project, "act", &["--update"]).code(code);
        match code {
            0 => assert!(project.read("p/cases/one/expected/outputs/out").starts_with(fragment), "{}", done.all()),
            _ => drop(done.prints(fragment)),
        }
    }
}

#[test]
fn looks_follow_each_other_with_the_state_of_the_one_before() {
    const ASKED: &str = "config.do = \"third-look\"\ninputs.observation.json = { schema = 1, samples = [] }\n";
    let looks = "[[looks]]\nexpect.verdict = \"hold\"\n[[looks]]\n[[looks]]\nelapsed = \"1m\"\n";
    let project = guest("judge", &format!("{ASKED}{looks}"));
    test_guest(&project, "judge", &["--update"]).code(0).prints("wrote expected/result.json");
    let golden: Value = serde_json::from_str(&project.read("p/cases/one/expected/result.json")).unwrap();
    assert_eq!(golden["verdict"]["reasons"], json!(["asked 3 times, look 2"]), "{golden:#}");
    let states: Vec<_> = golden["earlier"].as_array().unwrap().iter().map(|look| &look["state"]).collect();
    assert_eq!((states, &golden["state"]), (vec![&json!("\u{1}"), &json!("\u{2}")], &json!("\u{3}")), "{golden:#}");
    test_guest(&project, "judge", &[]).code(0);
    // What an earlier look gives is held against the golden result, too.
    project.file(
        "p/cases/one/case.toml",
        format!("{ASKED}state = {{ hex = \"00\" }}\n{}", looks.replace("hold", "promote")),
    );
    test_guest(&project, "judge", &[]).code(1).prints("look 1: verdict: expected `promote`, found `hold`");
    project.file("p/cases/one/case.toml", format!("{ASKED}look = {{ index = 7, elapsed = \"1s\" }}\n{looks}"));
    test_guest(&project, "judge", &[]).code(1).prints("asked 1 times, look 7");

    // A state to begin with, and one look with a place of its own.
    let project = guest("judge", &format!("{ASKED}state.hex = \"02\"\nlook = {{ index = 5, step = 1 }}\n"));
    test_guest(&project, "judge", &["--update"]).code(0);
    assert!(project.read("p/cases/one/expected/result.json").contains("asked 3 times, look 5"));

    // Looks behind one that fails are not reached.
    let failing = "config.do = \"error\"\ninputs.observation.json = { schema = 1, samples = [] }\n";
    let project = guest("judge", &format!("{failing}[[looks]]\n[[looks]]\n"));
    test_guest(&project, "judge", &[]).code(1).prints("look 2: not reached, because the look before it failed");
    let project = guest("judge", &format!("{failing}[[looks]]\nexpect.message = \"no idea\"\n"));
    test_guest(&project, "judge", &[]).code(0);
    project.lockgate(["plugin", "profile", "p=judge.wasm", "--case", "one"]).code(0).says("no idea");

    test(&case("one", "looks = [{}]\n"), "noop", &[]).code(2).says("a stage is called once");
    let probe = format!("{PROBE}state.text = \"a\"\n");
    test(&case("one", &probe), "http-probe", &[]).code(2).says("only canary evaluators have a state");
}

#[test]
fn problems_of_all_cases_are_told_at_once_and_nothing_runs() {
    let project = case("one", "sumary = \"x\"\n[expect]\nstatus = \"succeded\"\n");
    project.file("p/cases/two/case.toml", "inputs = { a = { text = \"x\", json = 1 } }\n");
    let done = test(&project, "checksum", &[]).code(2);
    let done = done.says("did you mean `summary`?").says("did you mean `succeeded`?");
    done.says("the input has `text` and `json`").says("3 problems in the cases; nothing ran");
    test(&project, "checksum", &["--case", "oen"]).code(2).says("did you mean `one`?");
    project.lockgate(["plugin", "test", "p"]).code(2).says("lockgate plugin build p");
    project.lockgate(["plugin", "test", "std:checksum"]).code(2).says("FOLDER=std:checksum");
    project.file("p/cases/three/expected/result.json", "{}");
    test(&project, "checksum", &["--case", "one"]).code(2).says("`three` looks like a case");
}

#[test]
fn inputs_are_files_directories_and_what_cases_share() {
    let project = case("one", "inputs = { more = { path = \"../../shared\" }, bytes = { hex = \"00 ff\" } }\n");
    project.file("p/shared/.gitignore", "*\n").file("p/shared/b.txt", "b");
    project.file("p/cases/one/inputs/tree/a.txt", "a").file("p/cases/one/inputs/one.json", "1");
    test(&project, "checksum", &["--update"]).code(0);
    let sums = project.read("p/cases/one/expected/outputs/sums");
    let names: Vec<_> = sums.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(names, ["bytes", "more/.gitignore", "more/b.txt", "one", "tree/a.txt"], "{sums}");
    project.file("p/cases/one/inputs/one.txt", "1");
    test(&project, "checksum", &[]).code(2).says("are one port");
}

#[test]
fn reports_are_written_for_ci() {
    let project = case("good", LIST);
    project.file("p/cases/bad/case.toml", "summary = \"has nothing <to> list\"\n");
    let done = test(&project, "checksum", &["--junit", "out/cases.xml", "--format", "json"]).code(1);
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["case"], &lines[0]["result"]), (&json!("bad"), &json!("failed")));
    assert_eq!((&lines[2]["passed"], &lines[2]["failed"]), (&json!(1), &json!(1)));
    let report = project.read("out/cases.xml");
    assert!(report.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{report}");
    assert!(report.contains("<testcase name=\"bad\" classname=\"p\"") && report.contains("&lt;to&gt;"), "{report}");
    project.lockgate(["plugin", "test", "p=std:checksum", "--junit", "."]).code(2).says("it is a directory");
}

#[test]
fn a_profile_is_the_same_each_time_and_sums_up_to_the_fuel_of_the_call() {
    let project = Project::new();
    project.file("src/a.txt", "a\n".repeat(20_000)).file("src/b.txt", "b".repeat(9_000));
    let profile = |to: &str, more: &[&str]| {
        let args = ["plugin", "profile", "std:pack", "--input", "src=src", "--format", "json", "--output", to];
        let done = project.lockgate(args.iter().chain(more).collect::<Vec<_>>()).code(0);
        serde_json::from_str::<Value>(&done.stdout).unwrap()
    };
    let (mut first, mut second) = (profile("one.svg", &[]), profile("two.svg", &[]));
    assert_eq!(project.bytes("one.svg"), project.bytes("two.svg"));
    assert_eq!(project.bytes("one.memory.svg"), project.bytes("two.memory.svg"));
    for document in [&mut first, &mut second] {
        document.as_object_mut().unwrap().remove("files");
    }
    assert_eq!(first, second);

    let call = project.lockgate(["plugin", "call", "std:pack", "--input", "src=src"]).code(0);
    let call: Value = serde_json::from_str(&call.stdout).unwrap();
    let fine = profile("fine.svg", &["--interval", "101"]);
    for document in [&first, &fine] {
        let sum: u64 = document["stacks"].as_array().unwrap().iter().map(|stack| stack["fuel"].as_u64().unwrap()).sum();
        assert_eq!((document["fuel"].as_u64(), Some(sum)), (call["fuel"].as_u64(), call["fuel"].as_u64()));
        let memory = document["memory"].as_array().unwrap().last().unwrap();
        assert_eq!(memory[1], call["peak_memory"]);
        let names: Vec<_> =
            document["functions"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"host: reader.read") && names.contains(&"run"), "{names:?}");
    }
    // What host calls cost is known exactly, however often one looks.
    let host = |document: &Value| {
        let all = document["functions"].as_array().unwrap().iter();
        let host = all.filter(|f| f["name"].as_str().unwrap().starts_with("host: "));
        host.map(|f| (f["name"].to_string(), f["self"].as_u64())).collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(host(&first), host(&fine));
    assert!(fine["samples"].as_u64() > first["samples"].as_u64());
}

#[test]
fn a_flame_graph_is_zoomed_and_searched_in_a_browser() {
    let project = Project::new();
    project.file("src/a.txt", "a\n".repeat(20_000));
    project.lockgate(["plugin", "profile", "std:pack", "--input", "src=src"]).code(0);
    let seen = browser::look_at_flames(&project.join("profile.svg"), project.path());
    let requests: std::collections::BTreeSet<_> =
        seen["requests"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert_eq!(requests, [seen["url"].as_str().unwrap()].into(), "something else was fetched");
    assert_eq!(seen["errors"], json!([]), "the browser complains");
    let [first, searched, zoomed, last] = ["first", "searched", "zoomed", "last"].map(|key| &seen[key]);
    assert!(first["frames"].as_u64() > Some(5) && first["shown"] == first["frames"], "{first}");
    assert_eq!((&first["hits"], &first["reset"]), (&json!(0), &json!("none")), "{first}");
    assert!(searched["hits"].as_u64() > Some(0), "{searched}");
    assert!(searched["found"].as_str().unwrap().starts_with("found in "), "{searched}");
    // The frame that was chosen fills the width, and stands on its callers.
    assert_eq!(seen["wide"], 1_180, "{zoomed}");
    assert!(zoomed["shown"].as_u64() < first["shown"].as_u64() && zoomed["full"].as_u64() > Some(2), "{zoomed}");
    assert_eq!(zoomed["reset"], "", "{zoomed}");
    assert_eq!(last, first, "Escape does not bring everything back");
    for state in [first, zoomed] {
        assert_eq!(state["overflowing"], 0, "names are wider than their frames: {state}");
    }
}

#[test]
fn a_case_is_profiled_with_its_recorded_answers() {
    let text = format!("{PROBE}{}", exchange("GET", "http://service.example/health", "status = 200"));
    let project = case("up", &text);
    let done = project.lockgate(["plugin", "profile", "p=std:http-probe", "--case", "up"]).code(0);
    done.prints("host: http").prints("samples").says("flame graph in profile.svg");
    assert!(project.read("profile.svg").contains("</svg>"));
    project
        .lockgate(["plugin", "profile", "std:http-probe", "--config", "{\"url\":\"http://a.example/\"}"])
        .code(2)
        .says("one too many");
    project.lockgate(["plugin", "profile", "std:pack"]).code(2).says("the input `src` is missing");
    project.lockgate(["plugin", "profile", "std:pack", "--case", "x", "--config", "{}"]).code(2);
}

#[test]
fn two_components_are_compared() {
    let project = Project::new();
    let component = |file: &str, version: &str, schema: &str| {
        project.file(file, Handmade::stage().name("scan").version(version).schema(schema).build());
    };
    component(
        "old.wasm",
        "1.0.0",
        r#"{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false}"#,
    );
    component(
        "wide.wasm",
        "1.1.0",
        r#"{"type":"object","properties":{"n":{"type":"number"},"m":{}},"additionalProperties":false}"#,
    );
    component(
        "strict.wasm",
        "2.0.0",
        r#"{"type":"object","properties":{"n":{"type":"integer","maximum":9}},"required":["n"]}"#,
    );
    component("odd.wasm", "2.0.0", r#"{"type":"object","properties":{"n":{"not":{"const":3}}}}"#);
    let check = |new: &str, code: i32| project.lockgate(["plugin", "check", new, "--against", "old.wasm"]).code(code);
    check("old.wasm", 0).says("pipelines that use old.wasm work with old.wasm");
    check("wide.wasm", 0);
    check("strict.wasm", 1)
        .prints("config.n must be at most 9 now")
        .prints("config.n is required now")
        .says("2 places");
    check("odd.wasm", 1).prints("cannot tell  config.n").says("cannot be told");
    let done =
        project.lockgate(["plugin", "check", "strict.wasm", "--against", "old.wasm", "--format", "json"]).code(1);
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["result"], "breaks", "{document}");

    let done = project.lockgate(["plugin", "diff", "old.wasm", "wide.wasm"]).code(0);
    done.prints("~ version: 1.0.0 -> 1.1.0")
        .prints("~ config.n type: integer -> number")
        .prints("+ config.m: any")
        .prints("~ digest: sha256:");
    project.lockgate(["plugin", "diff", "old.wasm", "old.wasm"]).code(0).prints("nothing differs");
    project.lockgate(["plugin", "diff", "old.wasm", "none.wasm"]).code(2);
}

#[test]
fn a_component_is_documented() {
    let project = Project::new();
    let text = project.lockgate(["plugin", "inspect", "std:lint", "--format", "markdown"]).code(0).stdout;
    for line in [
        "# lint ",
        "| `schemas[].files` | array of string | required |",
        "| `src` | tree | required |",
        "plugin = \"std:lint\"",
        "None: it is pure.",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // Its example is a pipeline that the engine takes.
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    project.pipeline(example);
    project.check().code(0);
}
