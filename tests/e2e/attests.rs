//! Attestations: what is said of a run, signed, and checked without anything but the file and a key.

use std::process::Command;

use lockgate_tests::bundle::sha256;
use lockgate_tests::{Done, Project};
use serde_json::{Value, json};

use crate::signatures::opened;

/// Packs `src` twice, and exports the archive and a tree.
fn project() -> Project {
    let project = Project::with_pipeline(
        "[params.version]\ntype = \"string\"\ndefault = \"1.0.0\"\n[plugins]\nsay = { path = \"say.wasm\" }\n\
         [[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = { dir = \"src\" }\nrepeat = 2\n\
         [[stage]]\nid = \"say\"\nplugin = \"say\"\nconfig = { text = \"x\", files = { \"a/b.txt\" = \"b\" } }\n\
         [[export]]\nfrom = \"pack.archive\"\nto = \"dist/app-${params.version}.tar.zst\"\n\
         [[export]]\nfrom = \"say.tree\"\nto = \"dist/tree\"\n",
    );
    project.guest("say").file("src/a.txt", "a\n");
    project.lockgate(["plugin", "keygen", "--output", "release"]).code(0);
    project.lockgate(["plugin", "keygen", "--output", "other"]).code(0);
    project
}

/// Runs git in the project.
fn git(project: &Project, args: &[&str]) -> String {
    let output = Command::new("git").args(args).current_dir(project.path()).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const ATTEST: [&str; 4] = ["--attest", "out/run.jsonl", "--attest-key", "release.key"];

fn verify(project: &Project, key: &str, artifacts: &[&str]) -> Done {
    let artifacts = artifacts.iter().flat_map(|path| ["--artifact", path]);
    project.lockgate(["attest", "verify", "out/run.jsonl", "--key", key].into_iter().chain(artifacts))
}

#[test]
fn provenance_names_what_came_of_what() {
    let project = project();
    git(&project, &["init", "-q"]);
    git(&project, &["add", "."]);
    git(&project, &["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "a"]);
    let done = project.run(ATTEST).code(0);
    let text = project.read("out/run.jsonl");
    let statements: Vec<Value> = text.lines().map(|line| opened(&project, line, "release.pub")).collect();
    let [provenance, rebuild] = statements.try_into().unwrap();
    let archive = "dist/app-1.0.0.tar.zst";
    assert_eq!(provenance["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
    let hex = |digest: &str| digest.strip_prefix("sha256:").unwrap().to_owned();
    let subjects = json!([
        { "name": archive, "digest": { "sha256": hex(&sha256(&project.bytes(archive))) } },
        { "name": "dist/tree", "digest": { "lockgate-tree-v1": hex(done.output("say", "tree")) } },
    ]);
    assert_eq!(provenance["subject"], subjects);
    let definition = &provenance["predicate"]["buildDefinition"];
    assert_eq!(definition["buildType"], "urn:lockgate:run:v1");
    assert_eq!(definition["externalParameters"]["params"], json!({ "version": "1.0.0" }));
    assert_eq!(definition["externalParameters"]["pipeline"]["name"], "test");
    let started = done.events("run-started").next().unwrap();
    assert_eq!(definition["externalParameters"]["pipeline"]["digest"], started["pipeline_digest"]);
    let used: Vec<&Value> = definition["resolvedDependencies"].as_array().unwrap().iter().collect();
    let find = |name: &str| used.iter().find(|used| used["name"] == name).unwrap_or_else(|| panic!("{used:?}"));
    assert_eq!(find("say")["uri"], "path:say.wasm");
    assert_eq!(find("say")["digest"]["sha256"], hex(&sha256(&project.bytes("say.wasm"))));
    assert_eq!(find("std-pack")["uri"], "std:pack");
    let source = started["sources"][0]["artifact"]["digest"].as_str().unwrap();
    assert_eq!(find("dir:src")["digest"]["lockgate-tree-v1"], hex(source));
    assert_eq!(find("git")["digest"]["gitCommit"], git(&project, &["rev-parse", "HEAD"]).trim());
    assert_eq!(find("git")["annotations"]["dirty"], false);
    let details = &provenance["predicate"]["runDetails"];
    assert_eq!(details["metadata"]["invocationId"], started["run"]);
    assert_eq!(details["byproducts"][0]["digest"]["lockgate-run-v1"], hex(&done.digest()));
    assert_eq!(details["builder"]["version"]["lockgate"], env!("CARGO_PKG_VERSION"));
    // And that the archive was made twice.
    assert_eq!(rebuild["predicateType"], "urn:lockgate:rebuild:v1");
    assert_eq!(rebuild["predicate"]["executions"], 2);
    let packed = done.node("pack");
    assert_eq!(rebuild["predicate"]["receipt"], packed["digest"]);
    assert_eq!(rebuild["predicate"]["key"], packed["receipt"]["key"]);
    assert_eq!(rebuild["subject"][0], json!({ "name": "pack.archive", "digest": subjects[0]["digest"] }));
}

#[test]
fn a_past_run_gives_the_same_statements() {
    let project = project();
    project.run(ATTEST).code(0);
    let then = project.read("out/run.jsonl");
    std::fs::remove_dir_all(project.join("src")).unwrap();
    std::fs::remove_file(project.join("say.wasm")).unwrap();
    let now = project.lockgate(["attest", "last", "--key", "release.key"]).code(0).stdout;
    assert_eq!(now, then, "signatures of ed25519 are always the same");
    let mut command = project.command(["attest", "last", "--output", "again.jsonl"]);
    command.env("LOCKGATE_KEY", "release.key");
    lockgate_tests::project::finish(command).code(0);
    assert_eq!(project.read("again.jsonl"), then);
}

#[test]
fn artifacts_are_found_by_what_they_are() {
    let project = project();
    project.run(ATTEST).code(0);
    let archive = "dist/app-1.0.0.tar.zst";
    let done = verify(&project, "release.pub", &[archive, "dist/tree"]).code(0);
    done.prints("provenance of run")
        .prints("gave the same in 2 executions")
        .prints(&format!("{archive} is `{archive}`"));
    std::fs::copy(project.join(archive), project.join("renamed")).unwrap();
    verify(&project, "release.pub", &["renamed"]).code(0).prints(&format!("renamed is `{archive}`"));
    project.file("dist/tree/a/b.txt", "c");
    verify(&project, "release.pub", &[archive, "dist/tree"]).code(3).says("dist/tree").says("is no subject");
    project.file("other", "x");
    verify(&project, "release.pub", &["other"]).code(3);
    verify(&project, "release.pub", &["gone"]).code(2);
    // It needs nothing but the file, the key and the artifacts.
    let away = Project::new();
    for name in ["out/run.jsonl", "release.pub", archive] {
        away.file(name, project.bytes(name));
    }
    verify(&away, "release.pub", &[archive]).code(0);
    assert!(!away.has(".lockgate"));
}

#[test]
fn what_strangers_signed_or_somebody_altered_is_refused() {
    let project = project();
    project.run(ATTEST).code(0);
    verify(&project, "other.pub", &[]).code(3).says("no signature is by `other.pub`");
    let text = project.read("out/run.jsonl");
    // One envelope of a stranger among them.
    let theirs = project.lockgate(["attest", "last", "--key", "other.key"]).code(0).stdout;
    project.file("out/run.jsonl", text.clone() + theirs.lines().next().unwrap());
    verify(&project, "release.pub", &[]).code(3);
    // The payload of another line under this line's signature.
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines[0]["payload"] = lines[1]["payload"].clone();
    project.file("out/run.jsonl", lines[0].to_string());
    verify(&project, "release.pub", &[]).code(3);
    project.file("out/run.jsonl", "");
    verify(&project, "release.pub", &[]).code(2).says("the file is empty");
}

#[test]
fn only_success_is_vouched_for() {
    let project = project();
    project.pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:checksum\"\nconfig.check = \"gone\"\ninputs.x = { file = \"src/a.txt\" }\n");
    let done = project.run(ATTEST);
    assert_ne!(done.exit, Some(0), "{}", done.all());
    assert!(!project.has("out/run.jsonl"));
    project.pipeline(
        "[plugins]\nsay = { path = \"say.wasm\" }\n[[stage]]\nid = \"a\"\nplugin = \"say\"\nconfig.fail = \"no\"\n",
    );
    project.run(ATTEST).code(1);
    assert!(!project.has("out/run.jsonl"));
    project.lockgate(["attest", "last", "--key", "release.key"]).code(2).says("it did not succeed");
    // Before anything runs: a key that is not there.
    let runs = project.runs().len();
    project.run(["--attest", "x", "--attest-key", "gone.key"]).code(2);
    project.run(["--attest", "x"]).code(2).says("LOCKGATE_KEY");
    assert_eq!(project.runs().len(), runs);
}

#[test]
fn a_run_without_exports_is_vouched_for_by_its_digest() {
    let project = project();
    project.pipeline("[[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = { dir = \"src\" }\n");
    let done = project.run(ATTEST).code(0);
    let text = project.read("out/run.jsonl");
    assert_eq!(text.lines().count(), 1, "nothing was made twice");
    let statement = opened(&project, text.trim(), "release.pub");
    let subject = &statement["subject"][0]["digest"]["lockgate-run-v1"];
    assert_eq!(format!("sha256:{}", subject.as_str().unwrap()), done.digest());
}
