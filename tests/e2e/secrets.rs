//! Secrets: they go where they are meant to, and stand nowhere else.

use std::path::Path;

use base64::Engine as _;
use lockgate_tests::{Answer, Done, Project, Server};
use rusqlite::{Connection, OpenFlags};

const VALUE: &str = "correct horse/battery+staple=42";

/// All forms in which the value may be written.
fn forms() -> Vec<Vec<u8>> {
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD;
    let hex = |upper: bool| -> String {
        VALUE.bytes().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
    };
    let mut forms = vec![VALUE.as_bytes().to_vec(), hex(true).into(), hex(false).into()];
    for before in ["", "u", "us"] {
        let text = base64.encode(format!("{before}{VALUE}"));
        // Without the characters that depend on what stands beside it.
        forms.push(text.as_bytes()[(before.len() * 8).div_ceil(6)..text.len() - 1].to_vec());
    }
    forms.push("correct%20horse%2Fbattery%2Bstaple%3D42".into());
    forms.push("correct+horse%2Fbattery%2Bstaple%3D42".into());
    forms
}

fn holds(bytes: &[u8]) -> Option<usize> {
    forms().iter().position(|form| bytes.windows(form.len()).any(|window| window == &form[..]))
}

/// What a command printed, without the command, which holds the environment of this test.
fn printed(done: &Done) -> String {
    format!("{}{}", done.stdout, done.stderr)
}

/// Everything below a directory that holds the value.
fn found_below(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found_below(&path, found);
        } else if let Some(form) = holds(&std::fs::read(&path).unwrap()) {
            found.push(format!("{} (form {form})", path.display()));
        }
    }
}

fn pipeline(server: &Server, plain: &Server, steps: &str) -> String {
    format!(
        r#"
[plugins]
act = {{ path = "act.wasm" }}

[secrets]
token = {{ env = "PLANTED" }}

[[stage]]
id = "act"
plugin = "act"
config.steps = [{steps}]

[stage.grants]
http = ["POST {}", "POST {}"]
tcp = ["127.0.0.1:1"]
process = [{{ program = "sh", arguments = ["-c", "**"], env = {{ TOKEN = {{ secret = "token" }} }} }}]
secrets = [{{ name = "token", to = ["{}"] }}]

[[export]]
from = "act.out"
to = "out.txt"
"#,
        server.url("/"),
        plain.url("/"),
        server.address()
    )
}

fn run(project: &Project) -> Done {
    let mut command = project.command([
        "run",
        "pipeline.toml",
        "--format",
        "json",
        "--report",
        "report.html",
        "--junit",
        "report.xml",
    ]);
    command.env("PLANTED", VALUE);
    lockgate_tests::project::finish(command)
}

#[test]
fn a_planted_secret_reaches_its_server_and_stands_nowhere_else() {
    let (server, plain) = (Server::new(Answer::Echo), Server::new(Answer::Echo));
    let (url, other) = (server.url("/x"), plain.url("/x"));
    let shell = |text: &str| format!("{{ run = [\"sh\", \"-c\", {text:?}], take = \"f\" }}");
    let steps = [
        format!(
            "{{ request = \"{url}\", header = \"Authorization: Bearer {{token}}\", send = \"body {{token}} end\" }}"
        ),
        format!("{{ request = \"{other}\", send = \"body {{token}} end\" }}"),
        format!("{{ request = \"{url}?{{token}}\" }}"),
        "{ say = \"it is {token} and {other}\" }".to_owned(),
        shell(
            "echo $TOKEN; printf %s $TOKEN | base64; printf u:%s \"$TOKEN\" | base64 >&2; printf %s \"$TOKEN\" | od -An -tx1 | tr -d ' \\n'",
        ),
        "{ run = [\"sh\", \"-c\", \"printf %s \\\"$TOKEN\\\" > f\"], take = \"f\" }".to_owned(),
        "{ run = [\"sh\", \"-c\", \"echo {token}\"] }".to_owned(),
    ];
    let project = Project::with_pipeline(&pipeline(&server, &plain, &steps.join(", ")));
    project.guest("act");
    let done = run(&project).code(0);
    let out = project.read("out.txt");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], r#"200 "body *** end" ["Bearer ***"]"#);
    assert!(lines[1].starts_with("error not-granted `grants.secrets` of the node does not permit"), "{}", lines[1]);
    assert!(lines[2].starts_with("error bad-request the secret `token` stands in the URL"), "{}", lines[2]);
    assert!(lines[3].starts_with("it is lockgate-secret-") && lines[3].ends_with(" and none"), "{}", lines[3]);
    assert!(lines[4].starts_with("exit 0 \"***\\n"), "{}", lines[4]);
    assert_eq!(lines[5], "error secret the program wrote a secret's value into `f`: it must not become an output");
    assert!(lines[6].contains("lockgate-secret-"), "arguments are not filled, everybody can read them: {}", lines[6]);

    let seen = server.next_seen();
    assert_eq!(seen.header("authorization"), [format!("Bearer {VALUE}")]);
    assert_eq!(seen.header("accept-encoding"), ["identity"]);
    assert_eq!(seen.body, format!("body {VALUE} end").as_bytes());
    assert_eq!(plain.hits(), 0);

    assert_eq!(holds(printed(&done).as_bytes()), None, "printed");
    let run = project.runs().remove(0);
    for command in [
        &["show", &run, "--receipts"][..],
        &["show", &run, "act"],
        &["logs", &run],
        &["plan", "pipeline.toml"],
        &["replay", &run],
        &["replay", &run, "--format", "json"],
        &["export", &run, "bundle.tar.zst"],
    ] {
        let mut command = project.command(command);
        command.env("PLANTED", VALUE);
        assert_eq!(holds(printed(&lockgate_tests::project::finish(command)).as_bytes()), None);
    }
    // SQLite's file as it is, and what its pages say.
    let mut found = Vec::new();
    found_below(project.path(), &mut found);
    assert_eq!(found, [""; 0]);
    let state = Connection::open_with_flags(project.join(".lockgate/state.db"), OpenFlags::SQLITE_OPEN_READ_ONLY);
    if let Ok(state) = state {
        let mut bodies = state.prepare("SELECT CAST(body AS BLOB) FROM records").unwrap();
        let bodies: Vec<Vec<u8>> = bodies.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(bodies.iter().all(|body| holds(body).is_none()));
        assert!(!bodies.is_empty());
    }
}

#[test]
fn a_run_without_its_secrets_does_not_begin() {
    let server = Server::new(Answer::Echo);
    let project = Project::with_pipeline(&pipeline(&server, &server, "{ say = \"x\" }"));
    project.guest("act");
    project
        .run([""; 0])
        .code(2)
        .says("read the secret `token` from the environment variable `PLANTED`")
        .says("it is not set");
    let with = |value: &str| {
        let mut command = project.command(["run", "pipeline.toml"]);
        command.env("PLANTED", value);
        lockgate_tests::project::finish(command)
    };
    with("short").code(2).says("less than 8");
    assert!(project.runs().is_empty());
    // What would be written down is refused before it is.
    let text = project.read("pipeline.toml").replace("{ say = \"x\" }", &format!("{{ say = \"{VALUE}\" }}"));
    project.file("pipeline.toml", text);
    with(VALUE).code(2).says("stands in the config of the node `act`");
    assert!(project.runs().is_empty());
}

#[test]
fn a_secret_out_of_a_file_and_an_answer_that_cannot_be_masked() {
    let server = Server::script([Answer::Encoded("gzip"), Answer::Echo]);
    let text = pipeline(
        &server,
        &server,
        &format!(
            "{{ request = \"{0}\", send = \"{{token}}\" }}, {{ request = \"{0}\", send = \"{{token}}\" }}",
            server.url("/")
        ),
    );
    let project = Project::with_pipeline(&text.replace("{ env = \"PLANTED\" }", "{ file = \"secrets/token\" }"));
    project.guest("act").file("secrets/token", format!("{VALUE}\r\n"));
    project.run([""; 0]).code(0);
    let out = project.read("out.txt");
    assert!(out.starts_with("error protocol the answer is compressed"), "{out}");
    assert!(out.contains("200 \"***\""), "{out}");
}

/// What a hook of a chat looks like: all of it, as others write it, and the part that is worth stealing.
const HOOK: &str = "T0123/B4567/aB3dE5gH7jK9mN1pQ3sT5vW7";
const HOOK_FORMS: [&str; 3] = [HOOK, "T0123%2FB4567%2FaB3dE5gH7jK9mN1pQ3sT5vW7", "aB3dE5gH7jK9mN1pQ3sT5vW7"];

fn has_hook(bytes: &[u8]) -> bool {
    HOOK_FORMS.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

/// Files below a directory that hold the hook.
fn hooks_below(dir: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false if has_hook(&std::fs::read(&path).unwrap()) => found.push(path.display().to_string()),
                false => {}
            }
        }
    }
    found
}

#[test]
fn a_secret_in_a_url_is_seen_by_its_server_alone() {
    let echo = format!("no such hook: {} of /services/{HOOK}", HOOK_FORMS[2]);
    let server = Server::script([
        Answer::ok("fine"),
        Answer::Status(404, echo),
        Answer::Redirect(format!("/elsewhere?from={}", HOOK_FORMS[1])),
        Answer::Closes,
        Answer::Garbage,
        Answer::Never,
    ]);
    let other = Server::new(Answer::Echo);
    // Nobody listens there any more.
    let dead = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let (url, away, nobody) = (server.url("/services"), other.url("/services"), format!("http://{dead}/services"));
    let sent = format!("{{ request = \"{url}/{{token}}\" }}");
    let steps = [
        sent.clone(),
        sent.clone(),
        sent.clone(),
        sent.clone(),
        sent.clone(),
        format!("{{ request = \"{nobody}/{{token}}\" }}"),
        format!("{{ request = \"{away}/{{token}}\" }}"),
        format!("{{ request = \"{url}/x\", header = \"x-hook: {{token}}\" }}"),
        format!("{{ request = \"{url}/x\", send = \"{{token}}\" }}"),
        format!("{{ request = \"{url}/{{dots}}\" }}"),
        "{ say = \"{token}\" }".to_owned(),
    ];
    let grants = format!(
        "http = [\"POST {url}\", \"POST {away}\", \"POST {nobody}\"]\n\
         secrets = [{{ name = \"token\", to = [\"{}\", \"{dead}\"], place = \"url\" }}, {{ name = \"dots\", place = \"url\" }}]\n",
        server.address()
    );
    let project = Project::new();
    project.guest("act").pipeline(&format!(
        "plugins.act.path = \"act.wasm\"\nsecrets = {{ token = {{ env = \"HOOK\" }}, dots = {{ env = \"DOTS\" }} }}\n\
         [[stage]]\nid = \"act\"\nplugin = \"act\"\nconfig.steps = [{}]\n[stage.grants]\n{grants}\
         [[export]]\nfrom = \"act.out\"\nto = \"out.txt\"\n",
        steps.join(", ")
    ));
    let mut command = project.command([
        "run",
        "pipeline.toml",
        "--format",
        "json",
        "--report",
        "report.html",
        "--junit",
        "report.xml",
    ]);
    command.env("HOOK", HOOK).env("DOTS", "x/../../admin/12345");
    let done = lockgate_tests::project::finish(command).code(0);
    let out = project.read("out.txt");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "200 \"fine\" []");
    assert_eq!(lines[1], "404 \"no such hook: *** of /services/***\" []");
    assert!(lines[2].starts_with("302 "), "{}", lines[2]);
    assert!(lines[3].starts_with("error protocol ") && lines[4].starts_with("error protocol "), "{out}");
    assert!(lines[5].starts_with("error connect "), "{}", lines[5]);
    assert!(lines[6].starts_with("error not-granted `grants.secrets` of the node does not permit"), "{}", lines[6]);
    for line in [lines[7], lines[8]] {
        assert!(line.starts_with("error not-granted") && line.contains("in URLs alone"), "{line}");
    }
    assert!(
        lines[9].starts_with("error bad-request the value of the secret in the URL does not stay as it is"),
        "{out}"
    );
    assert!(lines[10].starts_with("lockgate-secret-"), "{}", lines[10]);
    for seen in server.all_seen() {
        assert_eq!(seen.line, format!("POST /services/{HOOK} HTTP/1.1"));
    }
    assert_eq!((server.hits(), other.hits()), (5, 0));
    // One that does not answer in time says so, and no more.
    let slow = project.read("pipeline.toml").replace(&steps.join(", "), &sent);
    project.file("slow.toml", slow);
    let mut command = project.command(["run", "slow.toml"]);
    command.env("HOOK", HOOK).env("DOTS", "x/../../admin/12345");
    let late = lockgate_tests::project::finish(command).code(0);
    assert!(project.read("out.txt").starts_with("error timeout "), "{}", project.read("out.txt"));

    let shown = project.lockgate(["show", "last", "act"]).code(0);
    let logs = project.lockgate(["logs", "last"]).code(0);
    let replayed = project.lockgate(["replay", "last"]).code(0);
    for done in [&done, &late, &shown, &logs, &replayed] {
        assert!(
            !has_hook(done.stdout.as_bytes()) && !has_hook(done.stderr.as_bytes()),
            "{}{}",
            done.stdout,
            done.stderr
        );
    }
    assert_eq!(hooks_below(project.path()), Vec::<String>::new());
}

#[test]
fn what_a_plugin_can_do_without_is_refused_where_it_is_not_granted() {
    let server = Server::new(Answer::Echo);
    let project = Project::new();
    project.guest("act").pipeline(&format!(
        "plugins.act.path = \"act.wasm\"\n[[stage]]\nid = \"act\"\nplugin = \"act\"\n\
         config.steps = [{{ request = \"{}\" }}, {{ connect = \"{}\" }}, {{ run = [\"true\"] }}, {{ say = \"{{token}}\" }}]\n\
         [[export]]\nfrom = \"act.out\"\nto = \"out.txt\"\n",
        server.url("/"),
        server.address()
    ));
    project.check().code(0);
    let done = project.run([""; 0]).code(0);
    let out = project.read("out.txt");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    for (line, kind) in lines.iter().zip(["http", "tcp", "process"]) {
        assert!(line.starts_with(&format!("error not-granted `grants.{kind}` of the node does not permit")), "{line}");
    }
    assert_eq!((lines[3], server.hits()), ("none", 0));
    // It is pure: the next run takes what is known.
    assert_eq!(done.node("act")["facts"]["cached"], false);
    assert_eq!(project.run([""; 0]).code(0).node("act")["facts"]["cached"], true);
}
