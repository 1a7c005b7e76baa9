//! The encrypted store of secrets: its commands, what it refuses, several processes at once, and a pipeline that sends a secret of it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lockgate_tests::project::finish;
use lockgate_tests::{Answer, Done, Project, Running, Server};

const FIRST: &str = "first-value-of-all";
const SECOND: &str = "second-value-of-all";

/// `lockgate` with the store `secrets` of the project, and this on stdin.
fn command(project: &Project, args: &[&str], stdin: &str) -> std::process::Command {
    // Each has a file of its own: several run at once.
    let file = project.join(format!("stdin-{}", fs::read_dir(project.path()).unwrap().count()));
    fs::write(&file, stdin).unwrap();
    let mut command = project.command(args);
    command.env("LOCKGATE_SECRETS", project.join("store/secrets")).stdin(File::open(file).unwrap());
    command
}

fn lockgate(project: &Project, args: &[&str], stdin: &str) -> Done {
    finish(command(project, args, stdin))
}

fn listed(project: &Project) -> Vec<(String, String, u64)> {
    let done = lockgate(project, &["secret", "list", "--format", "json"], "").code(0);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let secrets = done.events[0]["secrets"].as_array().unwrap();
    secrets.iter().map(|s| (text(&s["environment"]), text(&s["name"]), s["version"].as_u64().unwrap())).collect()
}

/// Whether a text stands in a file below a directory.
fn stands_in(text: &str, dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => stands_in(text, &path),
            false => fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()),
        }
    })
}

#[test]
fn secrets_are_set_listed_rotated_and_removed() {
    let project = Project::new();
    let set = lockgate(&project, &["secret", "set", "token", "-e", "staging"], &format!("{FIRST}\r\n")).code(0);
    assert_eq!(set.stdout, "version 1 of `token` in `staging`\n");
    set.says("made the identity age1").says("keep a copy");
    let rotated = lockgate(&project, &["secret", "rotate", "token", "-e", "staging"], SECOND).code(0);
    assert_eq!(rotated.stdout, "version 2 of `token` in `staging`\n");
    assert!(!rotated.stderr.contains("identity"), "{}", rotated.all());
    lockgate(&project, &["secret", "set", "key", "--generate", "32"], "")
        .code(0)
        .prints("version 1 of `key` in `default`");
    let human = lockgate(&project, &["secret", "list"], "").code(0);
    let rows: Vec<Vec<&str>> = human.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["environment", "name", "version", "created", "older"]);
    assert_eq!((rows[1][..3].join(" "), rows[1].len()), ("default key 1".into(), 4));
    assert_eq!((rows[2][..3].join(" "), rows[2][4]), ("staging token 2".into(), "1"));
    lockgate(&project, &["secret", "list", "--environment", "staging"], "").code(0).prints("token");
    lockgate(&project, &["secret", "rm", "token", "-e", "staging", "--version", "2"], "")
        .code(0)
        .prints("removed version 2 of `token` in `staging`")
        .says("version 1 is in use now");
    assert_eq!(listed(&project), [("default".into(), "key".into(), 1), ("staging".into(), "token".into(), 1)]);
    lockgate(&project, &["secret", "rm", "token", "-e", "staging"], "").code(0).prints("removed version 1");
    assert_eq!(listed(&project).len(), 1);
    lockgate(&project, &["secret", "rm", "key"], "").code(0);
    lockgate(&project, &["secret", "list"], "").code(0).says("there are no secrets");
    for text in [FIRST, SECOND, "token"] {
        assert!(!stands_in(text, &project.join("store")), "{text}");
    }
}

#[test]
fn the_key_lies_beside_the_store_and_can_be_changed() {
    let project = Project::new();
    lockgate(&project, &["secret", "set", "token"], FIRST).code(0);
    let identity = project.join("store/secrets.identity");
    let old = project.read("store/secrets.identity");
    assert!(old.contains("\nAGE-SECRET-KEY-1"), "no age identity");
    assert_eq!(fs::metadata(&identity).unwrap().permissions().mode() & 0o777, 0o600);
    let changed = lockgate(&project, &["secret", "rotate", "--identity"], "").code(0);
    let changed = changed.prints("encrypted 1 environment to the new identity age1");
    assert!(!changed.all().contains("AGE-SECRET-KEY"));
    assert_eq!(listed(&project).len(), 1);
    project.file("old", &old);
    fs::set_permissions(project.join("old"), Permissions::from_mode(0o600)).unwrap();
    let mut with_old = command(&project, &["secret", "list"], "");
    with_old.env("LOCKGATE_IDENTITY", project.join("old"));
    finish(with_old).code(2).says("is not the one that it was encrypted to").says("LOCKGATE_IDENTITY");
}

#[test]
fn what_cannot_be_used_is_refused_with_a_way_out() {
    let project = Project::new();
    for args in [
        &["secret", "list"][..],
        &["secret", "rm", "x"],
        &["secret", "rotate", "x"],
        &["secret", "rotate", "--identity"],
    ] {
        lockgate(&project, args, FIRST).code(2).says("there is no directory").says("`lockgate secret set` makes one");
    }
    assert!(!project.has("store"), "asking made something");
    for (value, says) in [
        ("", "it is empty"),
        ("\n", "it is empty"),
        ("1234567\n", "less than 8 bytes"),
        (&"x".repeat((64 << 10) + 1), "more than 65536 bytes"),
    ] {
        lockgate(&project, &["secret", "set", "x"], value).code(2).says(says);
    }
    assert!(!project.has("store"), "a wrong value made something");
    lockgate(&project, &["secret", "set", "x"], &format!("{}\r\n", "x".repeat(64 << 10))).code(0);
    for args in [
        &["secret", "set", "a b"][..],
        &["secret", "set", "../x"],
        &["secret", "set", "x", "-e", "a/b"],
        &["secret", "set", "x", "--generate", "15"],
        &["secret", "set", "x", "the-value"],
        &["secret", "rotate"],
        &["secret", "rotate", "x", "--identity"],
        &["secret"],
    ] {
        lockgate(&project, args, FIRST).code(2);
    }
    lockgate(&project, &["secret", "set", "token"], FIRST).code(0);
    lockgate(&project, &["secret", "rotate", "tokn"], FIRST).code(2).says("did you mean `token`?");
    lockgate(&project, &["secret", "rm", "token", "--version", "7"], "").code(2).says("there are only 1");

    let identity = project.join("store/secrets.identity");
    fs::set_permissions(&identity, Permissions::from_mode(0o644)).unwrap();
    lockgate(&project, &["secret", "list"], "").code(2).says("may read or change it (mode 644)").says("chmod 600");
    fs::set_permissions(&identity, Permissions::from_mode(0o600)).unwrap();
    let kept = project.bytes("store/secrets.identity");
    fs::write(&identity, "AGE-SECRET-KEY-1NONSENSE").unwrap();
    let done = lockgate(&project, &["secret", "list"], "").code(2).says("line 1 is no X25519 key");
    assert!(!done.all().contains("NONSENSE"), "{}", done.all());
    fs::remove_file(&identity).unwrap();
    for args in [&["secret", "list"][..], &["secret", "set", "new", "-e", "other"]] {
        lockgate(&project, args, FIRST).code(2).says("there is no identity").says("LOCKGATE_IDENTITY");
    }
    assert!(!identity.exists(), "a second key was made");
    fs::write(&identity, kept).unwrap();
    fs::set_permissions(&identity, Permissions::from_mode(0o600)).unwrap();

    let file = project.join("store/secrets/default.age");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    for args in [&["secret", "list"][..], &["secret", "set", "token"], &["secret", "rotate", "--identity"]] {
        lockgate(&project, args, FIRST).code(5).says("default.age").says("it is damaged").says("put a copy");
    }
    assert_eq!(fs::read(&file).unwrap().len(), whole.len() - 1, "a damaged file was written over");
    fs::write(&file, &whole).unwrap();
    assert_eq!(listed(&project).len(), 2);
}

#[test]
fn processes_at_once_lose_nothing() {
    let project = Project::new();
    // All of them find neither directory nor key; one makes them.
    let names: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    let mut running = Vec::new();
    for name in &names {
        for args in [["secret", "set", name, "-e", "e"], ["secret", "set", "shared", "-e", "e"]] {
            running.push(Running::start(command(&project, &args, FIRST)));
        }
    }
    let done: Vec<Done> = running.into_iter().map(|running| running.finish().code(0)).collect();
    assert_eq!(done.iter().filter(|done| done.stderr.contains("made the identity")).count(), 1);
    let listed = listed(&project);
    assert_eq!(listed.len(), names.len() + 1);
    for (_, name, version) in listed {
        assert_eq!(version, if name == "shared" { 6 } else { 1 }, "{name}");
    }
}

/// A pipeline whose node sends the secret `token` of `staging` as a header.
fn sends(server: &Server) -> Project {
    let project = Project::new();
    project.guest("act").pipeline(&format!(
        "[plugins]\nact = {{ path = \"act.wasm\" }}\n[secrets]\napi = {{ store = \"token\", environment = \"staging\" }}\n\
         [[stage]]\nid = \"call\"\nplugin = \"act\"\ngrants.http = [\"POST {url}\"]\ngrants.secrets = [\"api\"]\n\
         grants.tcp = [\"127.0.0.1:1\"]\ngrants.process = [{{ program = \"true\" }}]\n\
         config.steps = [{{ request = \"{url}\", header = \"authorization: Bearer {{api}}\", send = \"hello\" }}]\n",
        url = server.url("/api"),
    ));
    project
}

const RUN: &[&str] = &["run", "pipeline.toml", "--format", "json"];

#[test]
fn a_pipeline_sends_the_current_version_and_keeps_it_to_itself() {
    let server = Server::new(Answer::ok("welcome"));
    let project = sends(&server);
    lockgate(&project, &["secret", "set", "token", "-e", "staging"], FIRST).code(0);
    let first = lockgate(&project, RUN, "").code(0).says("secret `api` is version 1 of `token` in `staging`");
    assert_eq!(server.next_seen().header("authorization"), [format!("Bearer {FIRST}")]);
    lockgate(&project, &["secret", "rotate", "token", "-e", "staging"], SECOND).code(0);
    let second = lockgate(&project, RUN, "").code(0).says("version 2 of `token`");
    assert_eq!(server.next_seen().header("authorization"), [format!("Bearer {SECOND}")]);
    lockgate(&project, &["secret", "rotate", "--identity"], "").code(0);
    lockgate(&project, &["secret", "rm", "token", "-e", "staging", "--version", "2"], "").code(0);
    let third = lockgate(&project, RUN, "").code(0).says("version 1 of `token`");
    assert_eq!(server.next_seen().header("authorization"), [format!("Bearer {FIRST}")]);
    for value in [FIRST, SECOND] {
        for done in [&first, &second, &third] {
            assert!(!done.all().contains(value), "{}", done.all());
        }
        assert!(!stands_in(value, &project.join(".lockgate")) && !stands_in(value, &project.join("store")), "{value}");
    }
}

#[test]
fn a_pipeline_whose_secret_cannot_be_had_sends_nothing() {
    let server = Server::new(Answer::ok("welcome"));
    let project = sends(&server);
    let read = "failed to read the secret `api` from the secret `token` of the environment `staging`";
    lockgate(&project, RUN, "").code(2).says(read).says("there is no directory").says("lockgate secret set");
    lockgate(&project, &["secret", "set", "token", "-e", "production"], FIRST).code(0);
    lockgate(&project, RUN, "")
        .code(2)
        .says(read)
        .says("there is no `token`")
        .says("there is one of this name in `production`");
    lockgate(&project, &["secret", "set", "tokens", "-e", "staging"], FIRST).code(0);
    lockgate(&project, RUN, "").code(2).says(read).says("did you mean `tokens`?");
    lockgate(&project, &["secret", "set", "token", "-e", "staging"], FIRST).code(0);
    let mut other = command(&project, RUN, "");
    other.env("LOCKGATE_IDENTITY", project.join("none"));
    finish(other).code(2).says(read).says("there is no identity");
    fs::write(project.join("store/secrets/staging.age"), "age").unwrap();
    lockgate(&project, RUN, "").code(5).says(read).says("staging.age").says("damaged");
    assert_eq!(server.hits(), 0);
}
