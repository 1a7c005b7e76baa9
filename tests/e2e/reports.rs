//! What a CI service sees of a run: events and their schema, GitHub's groups and summary, JUnit, SARIF, and the page, in a browser.

use std::collections::BTreeSet;

use jsonschema::Validator;
use lockgate_tests::{Answer, server::closed_port};
use lockgate_tests::{Done, Project, Server, binary, browser, tools};
use serde_json::Value;

/// Lines of a log that mean something to a page, to XML, to GitHub.
const HOSTILE: [&str; 5] = [
    "</script></pre><script>document.title = 'owned'</script><img src=x onerror=alert(1)>",
    "]]>&amp;<!--",
    "::error::owned",
    "::add-path::/tmp/owned",
    "##[set-env name=X]owned",
];

/// A run with a bit of everything: findings, hostile logs, retries, looks, effects, skips, a verdict, an export that fails.
fn project() -> Project {
    let lines = serde_json::to_string(&HOSTILE).unwrap();
    let url = format!("http://{}/", closed_port());
    let project = Project::with_pipeline(&format!(
        "plugins.say.path = \"say.wasm\"\nplugins.misbehave.path = \"misbehave.wasm\"\nplugins.sick.path = \"sick.wasm\"\n\
         [[stage]]\nid = \"talk\"\nplugin = \"say\"\nconfig = {{ text = \"hello\", log = {lines} }}\n\
         [[stage]]\nid = \"lint\"\nplugin = \"std:lint\"\ninputs.src = {{ dir = \"src\" }}\nallow_failure = true\n\
         [[stage]]\nid = \"odd\"\nplugin = \"misbehave\"\nconfig.do = \"findings\"\n\
         [[stage]]\nid = \"again\"\nplugin = \"misbehave\"\nconfig.do = \"error\"\nretry = {{ attempts = 2, backoff = \"1ms\" }}\n\
         [[stage]]\nid = \"next\"\nplugin = \"std:noop\"\nafter = [\"again\"]\n\
         [[health-check]]\nid = \"up\"\nplugin = \"sick\"\nconfig.do = \"dh\"\npoll = {{ every = \"10ms\", for = \"60s\" }}\n\
         [[health-check]]\nid = \"probe\"\nplugin = \"std:http-probe\"\nconfig.url = \"{url}\"\ngrants.http = [\"GET {url}\"]\n\
         allow_failure = true\n"
    ));
    project.guest("say").guest("misbehave").guest("sick").file("src/a b.toml", "x = 1\nx = 2\n=\n");
    project
}

fn validator(project: &Project, of: &str) -> Validator {
    let schema: Value = serde_json::from_str(&project.lockgate(["schema", of]).code(0).stdout).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

#[track_caller]
fn assert_valid(validator: &Validator, value: &Value) {
    let errors: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{value:#}\n{errors:#?}");
}

fn kinds(done: &Done) -> BTreeSet<&str> {
    done.events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn every_line_of_real_runs_is_as_the_schema_says() {
    let project = project();
    let validator = validator(&project, "events");
    let failed = project.run::<&str>([]).code(1);
    let shown = project.lockgate(["show", "last", "--format", "json"]).code(0);
    let text = "plugins.say.path = \"say.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"say\"\n\
                [[export]]\nfrom = \"a.out\"\nto = \"out.txt\"\n[[export]]\nfrom = \"a.out\"\nto = \"dir\"\n";
    project.file("dir/x", "in the way");
    let exported = project.run_text(text).code(5);
    for done in [&failed, &shown, &exported] {
        assert_eq!(done.events.len(), done.stdout.lines().count(), "{}", done.all());
        done.events.iter().for_each(|line| assert_valid(&validator, line));
    }
    let mut seen = kinds(&failed);
    seen.extend(kinds(&exported));
    let all = [
        "attempt-failed",
        "attempt-started",
        "effect-finished",
        "effect-intended",
        "export-failed",
        "exported",
        "look-taken",
        "node-finished",
        "run-finished",
        "run-started",
    ];
    assert_eq!(seen, all.into());
    assert_eq!(failed.events.last().unwrap()["event"], "run-finished");
    // The same lines, and with them what only several runs tell.
    let percent = |done: &Done| done.node("odd")["fuel_percent"].as_f64().unwrap();
    assert!(percent(&failed) > 0.0 && percent(&failed) <= 100.0);
    assert_eq!(percent(&failed), percent(&shown));
    assert_eq!(shown.node("odd")["fuel_worst"]["run"], shown.events[0]["run"]);
    assert!(failed.node("odd")["fuel_worst"].is_null());
}

#[test]
fn every_kind_of_event_is_documented() {
    let project = Project::new();
    let schema = project.lockgate(["schema", "events"]).code(0).stdout;
    let readme = std::fs::read_to_string(binary::repository().join("README.md")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut kinds = BTreeSet::new();
    collect_kinds(&schema, &mut kinds);
    assert!(kinds.len() >= 10, "{kinds:?}");
    for kind in kinds {
        assert!(readme.contains(&format!("| `{kind}` |")), "README.md has no row for `{kind}`");
    }
}

fn collect_kinds(schema: &Value, kinds: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let kind = fields.get("properties").and_then(|properties| properties["event"]["const"].as_str());
            kinds.extend(kind.map(str::to_owned));
            fields.values().for_each(|value| collect_kinds(value, kinds));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_kinds(value, kinds)),
        _ => {}
    }
}

#[test]
fn github_gets_groups_annotations_and_a_summary() {
    let project = project();
    let mut command = project.command(["run", "pipeline.toml", "--format", "github"]);
    command.env("GITHUB_STEP_SUMMARY", project.join("summary.md"));
    project.file("summary.md", "what another step wrote\n");
    let done = lockgate_tests::project::finish(command).code(1);
    let commands = commands(&done.stdout);
    assert_eq!(commands.iter().filter(|line| line.starts_with("::group::")).count(), 7, "{}", done.all());
    let has = |start: &str| commands.iter().any(|line| line.starts_with(start));
    assert!(has("::error file=src/a b.toml,line=2,"), "{commands:#?}");
    assert!(has("::warning file=src/a.toml,line=2,"), "{commands:#?}");
    assert!(has("::error title=again failed (error)::"), "{commands:#?}");
    assert!(has("::warning title=lint failed (error)::"), "what may fail is no error: {commands:#?}");
    assert!(!commands.iter().any(|line| line.contains("owned")), "a guest gave a command: {commands:#?}");
    assert!(done.stdout.contains("::add-path::/tmp/owned"), "the log is not shown: {}", done.all());
    let summary = project.read("summary.md");
    assert!(summary.starts_with("what another step wrote\n## test: failed\n"), "{summary}");
    for part in
        ["| lint | **failed** |", "| next | skipped |", "**again** (error): ", "lockgate resume r", "src/a b.toml"]
    {
        assert!(summary.contains(part), "no `{part}` in {summary}");
    }
    // Two runs never stop commands by one token.
    let token =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("::stop-commands::").map(str::to_owned)).unwrap();
    let again = project.lockgate(["run", "pipeline.toml", "--format", "github"]).code(1);
    assert_ne!(token(&done.stdout), token(&again.stdout));
}

/// What GitHub's runner takes for commands: the new form behind blanks, the old one anywhere, none of them while they are stopped.
fn commands(text: &str) -> Vec<&str> {
    let mut stopped: Option<&str> = None;
    let mut commands = Vec::new();
    for line in text.lines().map(str::trim_start) {
        let end = stopped
            .is_some_and(|token| line.strip_prefix("::").and_then(|rest| rest.strip_suffix("::")) == Some(token));
        match line.strip_prefix("::stop-commands::") {
            _ if end => stopped = None,
            _ if stopped.is_some() => {}
            Some(token) => stopped = Some(token),
            None if line.starts_with("::") || line.contains("##[") => commands.push(line),
            None => {}
        }
    }
    assert_eq!(stopped, None, "commands stay stopped");
    commands
}

#[test]
fn a_past_run_gives_the_same_reports() {
    let project = project();
    project.run(["--junit", "a/b/1.xml", "--sarif", "1.sarif", "--report", "1.html"]).code(1);
    project.lockgate(["show", "last", "--junit", "2.xml", "--sarif", "2.sarif", "--report", "2.html"]).code(0);
    assert_eq!(project.read("a/b/1.xml"), project.read("2.xml"));
    assert_eq!(project.read("1.sarif"), project.read("2.sarif"));
    assert_eq!(project.read("1.html"), project.read("2.html"));
    let before = project.runs();
    project.run(["--junit", "src"]).code(2).says("it is a directory");
    project.run(["--junit", "x", "--sarif", "x"]).code(2).says("another report goes there");
    assert_eq!(project.runs(), before, "nothing ran");
    project.run(["--junit", "pipeline.toml/x"]).code(1).says("failed to write a JUnit report");
}

#[test]
fn junit_counts_what_fails_the_run() {
    let project = project();
    project.run(["--junit", "run.xml"]).code(1);
    let text = project.read("run.xml");
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut names, mut failed, mut depth) = (Vec::new(), Vec::new(), 0);
    loop {
        use quick_xml::events::Event;
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {text}")) {
            Event::Start(element) => {
                depth += 1;
                match element.name().as_ref() {
                    "testcase" => names.push(attribute(&element, "name")),
                    "failure" => failed.push(names.last().unwrap().clone()),
                    "testsuite" => {
                        assert_eq!([attribute(&element, "tests"), attribute(&element, "failures")], ["7", "1"]);
                        assert_eq!([attribute(&element, "errors"), attribute(&element, "skipped")], ["0", "3"]);
                    }
                    _ => {}
                }
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    assert_eq!(names, ["talk", "lint", "odd", "again", "next", "up", "probe"]);
    assert_eq!(failed, ["again"]);
    assert!(text.contains("<rerunFailure message=\"attempt 1: "), "{text}");
}

fn attribute(element: &quick_xml::events::BytesStart<'_>, name: &str) -> String {
    let found = element.try_get_attribute(name).unwrap().unwrap_or_else(|| panic!("no {name}"));
    found.value.to_string()
}

/// The official schema of SARIF 2.1.0, out of the crate that carries it; `cargo fetch` brings it, nothing compiles it.
fn sarif_schema() -> Value {
    let (crates, _) = tools::fetched("serde-sarif");
    let text = std::fs::read_to_string(crates.join("src/schema.json")).unwrap();
    // Its pattern for languages is no regular expression (it closes a bracket that nothing opened), and we write none.
    const WRONG: &str = "^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$";
    assert!(text.contains(WRONG), "the schema has changed: look whether it is right now");
    serde_json::from_str(&text.replace(WRONG, "^[a-zA-Z]{2}")).unwrap()
}

#[test]
fn sarif_is_valid_by_the_official_schema() {
    let schema = sarif_schema();
    assert!(schema["$id"].as_str().or(schema["id"].as_str()).unwrap().contains("sarif"), "another schema");
    let validator =
        jsonschema::options().with_draft(jsonschema::Draft::Draft7).should_validate_formats(true).build(&schema);
    let validator = validator.unwrap();
    let project = project();
    project.run(["--sarif", "run.sarif"]).code(1);
    let log: Value = serde_json::from_str(&project.read("run.sarif")).unwrap();
    assert_valid(&validator, &log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let rules: Vec<&str> = results.iter().map(|result| result["ruleId"].as_str().unwrap()).collect();
    assert!(rules.contains(&"std:lint/toml") || rules.contains(&"std:lint/duplicate"), "{rules:?}");
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "src/a%20b.toml");
    assert_eq!(place["region"]["startLine"], 2);
    let mut wrong = log.clone();
    wrong["runs"][0]["results"][0]["level"] = "catastrophe".into();
    assert!(!validator.is_valid(&wrong), "the schema refuses nothing");
    // A run without findings is a log, too: services close what they no longer see.
    project.run_text("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n").code(0);
    project.lockgate(["show", "last", "--sarif", "none.sarif"]).code(0);
    let log: Value = serde_json::from_str(&project.read("none.sarif")).unwrap();
    assert_valid(&validator, &log);
    assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn findings_of_any_kind_stay_valid() {
    let project = Project::with_pipeline(
        "plugins.misbehave.path = \"misbehave.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"misbehave\"\nconfig.do = \"findings-garbage\"\n",
    );
    project.guest("misbehave");
    project.run(["--sarif", "run.sarif", "--junit", "run.xml", "--report", "run.html"]);
    let log: Value = serde_json::from_str(&project.read("run.sarif")).unwrap();
    assert_valid(&jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&sarif_schema()).unwrap(), &log);
    for file in ["run.xml", "run.html"] {
        assert!(!project.read(file).contains('\u{1b}'), "{file}");
    }
}

#[test]
fn the_page_reads_well_in_a_browser() {
    let server = Server::new(Answer::ok("fine"));
    let project = project();
    // An address in a log is text: nobody asks for it.
    let url = server.url("/asked");
    let text = project
        .read("pipeline.toml")
        .replace("\"::error::owned\"", &format!("\"<img src='{url}'>\", \"::error::owned\""));
    project.file("pipeline.toml", text);
    project.run(["--report", "run.html"]).code(1);
    let seen = browser::look_at(&project.join("run.html"), project.path());
    assert_eq!(server.hits(), 0);
    let requests: BTreeSet<&str> =
        seen["requests"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    assert_eq!(requests, [seen["url"].as_str().unwrap()].into(), "something else was fetched");
    assert_eq!(seen["errors"], serde_json::json!([]), "the browser complains");
    assert_eq!(seen["scripts"], 0);
    assert!(seen["title"].as_str().unwrap().starts_with("test: failed, run r"), "{seen:#}");
    // Text is readable in both, by WCAG's 4.5 to 1, and they differ.
    for theme in ["light", "dark"] {
        let least = &seen["themes"][theme]["least"];
        assert!(least["ratio"].as_f64().unwrap() >= 4.5, "{theme}: {least}");
        assert!(project.bytes(format!("{theme}.png")).len() > 10_000);
    }
    assert_ne!(seen["themes"]["light"]["background"], seen["themes"]["dark"]["background"]);
    assert_eq!([&seen["wide"], &seen["narrow"]], [false, false], "it scrolls sideways");
    assert_eq!(seen["unnamed"], serde_json::json!([]), "something has no name");
    let keyboard = &seen["keyboard"];
    assert_eq!(keyboard["first"]["text"], "Skip to the graph");
    assert_eq!(keyboard["link"]["tag"], "a", "the graph's nodes cannot be reached: {keyboard:#}");
    assert_ne!(keyboard["link"]["outline"], "none", "nobody sees where they are");
    assert_eq!(keyboard["opened"]["open"], true, "{keyboard:#}");
    assert_eq!(keyboard["opened"]["visible"], true, "{keyboard:#}");
    assert_eq!([&keyboard["all"], &keyboard["bad"]], [7, 3], "the filter does not work by keyboard");
    assert_eq!(keyboard["after"].as_u64().unwrap(), keyboard["before"].as_u64().unwrap() + 1, "{keyboard:#}");
}
