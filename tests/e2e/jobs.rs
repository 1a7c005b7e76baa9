//! The main job: the repository's own pipelines, over this repository and over the example service.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lockgate_tests::{Done, Project, binary};

/// Copies the repository without what is built from it, as a git repository of its own: a release exports into it.
fn copy_of_the_repository() -> Project {
    let project = Project::new();
    copy(binary::repository(), project.path());
    for args in [
        &["init", "-q"][..],
        &["add", "-A"],
        &["-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "all of it"],
    ] {
        let status = Command::new("git").args(args).current_dir(project.path()).status().unwrap();
        assert!(status.success(), "git {args:?}");
    }
    project
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
        if ["target", "dist", ".git", ".lockgate"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        let target = to.join(&name);
        if kind.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_repository_is_released() {
    let project = copy_of_the_repository();
    // The key lies outside of what is released.
    let keys = Project::new();
    keys.lockgate(["plugin", "keygen", "--output", "release"]).code(0);
    let (key, public) = (keys.join("release.key"), keys.join("release.pub"));
    let release = || {
        let run = ["run", "pipelines/release.toml", "--param", "version=9.8.7", "--format", "json"];
        let attest = ["--attest", "dist/release.intoto.jsonl", "--attest-key", key.to_str().unwrap()];
        project.lockgate(run.iter().chain(&attest)).code(0)
    };
    let done = release();
    for node in ["lint", "secrets", "sbom", "licenses", "package", "checksums"] {
        assert_eq!(done.status(node), "succeeded");
    }
    // The bill of materials has both lock files in it, and our own licence.
    let bill: serde_json::Value = serde_json::from_str(&project.read("dist/lockgate-9.8.7.cdx.json")).unwrap();
    let components = bill["components"].as_array().unwrap();
    let find = |name: &str| components.iter().find(|component| component["name"] == name).expect("a component");
    assert_eq!(bill["metadata"]["component"]["version"], "9.8.7");
    assert_eq!(find("lockgate-unpack")["licenses"][0]["expression"], "Apache-2.0");
    assert!(find("wasmtime")["hashes"][0]["content"].is_string());
    // Provenance speaks of both.
    let artifacts = ["dist/lockgate-9.8.7.tar.zst", "dist/lockgate-9.8.7.cdx.json"];
    for artifact in artifacts {
        let verify = [
            "attest",
            "verify",
            "dist/release.intoto.jsonl",
            "--key",
            public.to_str().unwrap(),
            "--artifact",
            artifact,
        ];
        project.lockgate(verify).code(0);
    }
    // The archive unpacks to the sources, and its checksum is right.
    let sums = Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(project.join("dist")).output().unwrap();
    assert!(sums.status.success(), "{sums:?}: {}", project.read("dist/SHA256SUMS"));
    let unpack = "zstd -q -d dist/lockgate-9.8.7.tar.zst -o all.tar && tar xf all.tar && rm all.tar";
    let status = Command::new("sh").args(["-c", unpack]).current_dir(project.path()).status().unwrap();
    assert!(status.success());
    for file in ["Cargo.toml", "pipelines/release.toml", "engine/model/src/lib.rs", "wit/0.1.0/types.wit"] {
        assert_eq!(project.bytes(file), project.bytes(format!("lockgate-9.8.7/{file}")), "{file}");
    }
    assert!(!project.has("lockgate-9.8.7/.git") && !project.has("lockgate-9.8.7/.lockgate"));
    std::fs::remove_dir_all(project.join("lockgate-9.8.7")).unwrap();
    // Once more, over its own exports: the same digest.
    assert_eq!(release().digest(), done.digest());
}

#[test]
fn a_wrong_version_releases_nothing() {
    let project = copy_of_the_repository();
    let done = project.lockgate(["run", "pipelines/release.toml", "--param", "version=one"]).code(2);
    done.says("version").says("pattern");
    assert!(!project.has("dist"));
}

#[test]
fn a_file_that_is_not_well_formed_stops_the_release() {
    let project = copy_of_the_repository();
    project.file("engine/broken.toml", "a = \n");
    let done = project.lockgate(["run", "pipelines/release.toml"]).code(1);
    done.says("engine/broken.toml:1:").says("skipped");
    assert!(!project.has("dist"));
}

#[test]
fn a_secret_stops_the_release() {
    let project = copy_of_the_repository();
    let key = ["npm_", &"aB3dE6gH9".repeat(4)].concat();
    project.file("examples/notes.txt", format!("token {key}\n"));
    let done = project.lockgate(["run", "pipelines/release.toml"]).code(1);
    assert!(!done.all().contains(&key));
    done.says("examples/notes.txt:1:7").says("a token of npm").says("skipped");
    assert!(!project.has("dist"));
}

/// A running example service.
struct Service {
    child: Child,
    url: String,
}

impl Service {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(binary::service()).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("the service says where it listens").to_owned();
        Self { child, url }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gates a canary against a good baseline.
fn gate(canary: &Service) -> (Done, Done) {
    let baseline = Service::start(&["--version", "1.0.0"]);
    let project = Project::new();
    let file = binary::repository().join("pipelines/gate.toml");
    project.file("pipeline.toml", std::fs::read(file).unwrap());
    let params = [format!("baseline={}", baseline.url), format!("canary={}", canary.url)];
    let args = ["--param", &params[0], "--param", &params[1]];
    let events = project.run(args);
    let human = project.lockgate([&["run", "pipeline.toml"][..], &args].concat());
    project.assert_usable();
    (events, human)
}

#[test]
fn a_good_version_is_promoted() {
    let (done, human) = gate(&Service::start(&["--version", "1.1.0"]));
    let done = done.code(0).node_is("baseline-up", "succeeded").node_is("canary-up", "succeeded");
    assert_eq!(done.node("judge")["receipt"]["verdict"]["word"], "promote", "{}", done.all());
    human.code(0).says("promote");
}

#[test]
fn a_bad_version_is_rolled_back_with_figures() {
    for (args, figure) in [
        (&["--version", "1.1.0", "--error-rate", "0.3"][..], "error-rate"),
        (&["--version", "1.1.0", "--latency-ms", "700"], "p95"),
        (&["--version", "1.1.0", "--contract-break", "0.2"], "contract"),
    ] {
        let (done, human) = gate(&Service::start(args));
        let done = done.code(1).node_failed("judge", "verdict", "rollback");
        let verdict = &done.node("judge")["receipt"]["verdict"];
        assert_eq!(verdict["word"], "rollback", "{}", done.all());
        let over = |f: &serde_json::Value| f["name"].as_str().unwrap().contains(figure) && f["passed"] == false;
        assert!(verdict["figures"].as_array().unwrap().iter().any(over), "{figure}: {verdict}");
        human.code(1).says("rollback").says(figure);
    }
}

#[test]
fn a_canary_that_is_not_there_is_unhealthy() {
    let gone = Service::start(&[]);
    let canary = Service { child: Command::new("true").spawn().unwrap(), url: gone.url.clone() };
    drop(gone);
    let (done, _) = gate(&canary);
    let done = done.code(1).node_is("baseline-up", "succeeded").node_failed("canary-up", "verdict", "unhealthy");
    assert_eq!(done.node("canary-up")["attempt"], 5);
    done.node_is("samples", "skipped").node_is("judge", "skipped");
}
