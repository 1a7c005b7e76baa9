//! Components in a real registry: pushed with what vouches for them, found by version, locked, pulled once and then used without a network.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_tests::bundle::sha256;
use lockgate_tests::handmade::Handmade;
use lockgate_tests::project::finish;
use lockgate_tests::registry::{LOGIN, Registry};
use lockgate_tests::{Answer, Done, Project, Server};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A command in a project with a user's directories of its own.
fn command(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env("HOME", project.join("home")).env_remove("XDG_RUNTIME_DIR");
    command
}

fn lockgate(project: &Project, args: &[&str]) -> Done {
    finish(command(project, args))
}

/// Where pulled components are.
fn pulled(project: &Project) -> std::path::PathBuf {
    project.join("home/.cache/lockgate/components")
}

/// A project with versions of a component that it pushed.
fn pushed(registry: &Registry, versions: &[&str]) -> Project {
    let project = Project::new();
    for version in versions {
        push(&project, registry, version);
    }
    project
}

fn push(project: &Project, registry: &Registry, version: &str) {
    project.file(format!("scan-{version}.wasm"), Handmade::stage().name("scan").version(version).build());
    lockgate(project, &["plugin", "push", &format!("scan-{version}.wasm"), &registry.name("acme/scan")]).code(0);
}

/// Writes a pipeline that uses versions of the component.
fn wants(project: &Project, registry: &Registry, more: &str) {
    let name = registry.name("acme/scan");
    project.pipeline(&format!(
        "[plugins]\nscan = {{ oci = \"{name}\"{more} }}\n[[stage]]\nid = \"a\"\nplugin = \"scan\"\n"
    ));
}

fn locked_version(project: &Project) -> String {
    let lock = project.read("lockgate.lock");
    lock.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"').to_owned()
}

#[test]
fn the_highest_version_that_fits_is_locked_and_stays() {
    let registry = Registry::start();
    let project = pushed(&registry, &["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "2.0.0"]);
    wants(&project, &registry, ", version = \"^1\"");
    lockgate(&project, &["run", "pipeline.toml"]).code(3).says("does not have it").says("lockgate plugin lock");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(0).says("1.10.0");
    assert_eq!(locked_version(&project), "1.10.0");
    let digest = lockgate(&project, &["run", "pipeline.toml", "--locked", "--format", "json"]).code(0).digest();

    push(&project, &registry, "1.11.0");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(0).says("as before");
    lockgate(&project, &["run", "pipeline.toml"]).code(0);
    assert_eq!(locked_version(&project), "1.10.0", "what a lock pins does not move by itself");
    lockgate(&project, &["plugin", "lock", "pipeline.toml", "--update", "scan"])
        .code(0)
        .says("`1.10.0` is now `1.11.0`");
    assert_eq!(locked_version(&project), "1.11.0");
    assert_ne!(lockgate(&project, &["run", "pipeline.toml", "--format", "json"]).code(0).digest(), digest);

    // Another range, that the lock does not fit.
    wants(&project, &registry, ", version = \">=2.0.0-rc.1\"");
    lockgate(&project, &["check", "pipeline.toml"]).code(3).says("use version 1.11.0").says("is wanted");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(3).says("--update oci:");
    lockgate(&project, &["plugin", "lock", "pipeline.toml", "--update", "scan"]).code(0).says("2.0.0");
    assert_eq!(locked_version(&project), "2.0.0");
    wants(&project, &registry, ", version = \"^3\"");
    let done = lockgate(&project, &["plugin", "lock", "pipeline.toml", "--update", "scan"]).code(2);
    done.says("fits `^3`").says("2.0.0, 2.0.0-rc.1, 1.11.0, 1.10.0");
}

#[test]
fn what_was_pulled_needs_no_registry() {
    let registry = Registry::start();
    let project = pushed(&registry, &["1.0.0"]);
    wants(&project, &registry, "");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(0);
    // As on another machine, with the project alone.
    std::fs::remove_dir_all(project.join("home")).unwrap();
    lockgate(&project, &["check", "pipeline.toml", "--offline"]).code(2).says("only what was pulled before");
    let digest = lockgate(&project, &["run", "pipeline.toml", "--format", "json"]).code(0).digest();
    drop(registry);
    std::fs::remove_dir_all(project.join(".lockgate")).unwrap();
    assert_eq!(lockgate(&project, &["run", "pipeline.toml", "--offline", "--format", "json"]).code(0).digest(), digest);
    lockgate(&project, &["replay", "last"]).code(0);
    lockgate(&project, &["plan", "pipeline.toml"]).code(0);
    // A damaged copy is not used; the registry is gone.
    for entry in std::fs::read_dir(pulled(&project)).unwrap() {
        std::fs::write(entry.unwrap().path(), b"something else").unwrap();
    }
    lockgate(&project, &["run", "pipeline.toml"]).code(5).says("failed to reach");
    lockgate(&project, &["replay", "last"]).code(0);
}

#[test]
fn others_can_read_what_was_pushed() {
    let registry = Registry::start();
    let project = Project::new();
    let component = Handmade::stage().name("scan").version("1.2.3+build.4").build();
    project.file("scan.wasm", &component);
    lockgate(&project, &["plugin", "keygen", "--output", "acme"]).code(0);
    lockgate(&project, &["plugin", "sign", "scan.wasm", "--key", "acme.key"]).code(0);
    let name = registry.name("acme/scan");
    let done = lockgate(&project, &["plugin", "push", "scan.wasm", &name, "--attestation", "scan.wasm.dsse.json"]);
    let done = done.code(0).says("signed by scan.wasm.dsse.json, with 1 attestation");
    let manifest_digest = done.stdout.trim().rsplit_once('@').unwrap().1.to_owned();

    // The layout for WebAssembly of the CNCF.
    let manifest = registry.get("acme/scan/manifests/1.2.3_build.4", MANIFEST);
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["mediaType"], "application/wasm");
    assert_eq!(layers[0]["digest"], sha256(&component));
    assert_eq!(manifest["annotations"]["org.opencontainers.image.version"], "1.2.3+build.4");
    let config = registry.get(&format!("acme/scan/blobs/{}", manifest["config"]["digest"].as_str().unwrap()), "*/*");
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["layerDigests"], json!([sha256(&component)]));
    assert!(config["component"]["exports"].as_array().unwrap().contains(&json!("run")), "{config}");

    // What vouches for it refers to it.
    let index = registry.get(&format!("acme/scan/manifests/{}", manifest_digest.replace(':', "-")), INDEX);
    let types: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|m| m["artifactType"].clone()).collect();
    assert_eq!(types, ["application/vnd.lockgate.signature.v1", "application/vnd.in-toto+json"]);
    let referrer = index["manifests"][0]["digest"].as_str().unwrap();
    let referrer = registry.get(&format!("acme/scan/manifests/{referrer}"), MANIFEST);
    assert_eq!(referrer["subject"]["digest"], manifest_digest);

    // And back.
    let done = lockgate(&project, &["plugin", "pull", &name, "--output", "back.wasm"]).code(0);
    assert_eq!(done.stdout.trim(), sha256(&component));
    assert_eq!(project.bytes("back.wasm"), component);
    lockgate(&project, &["plugin", "verify", "back.wasm", "--key", "acme.pub"]).code(0);
    let by_digest = format!("{name}@{manifest_digest}");
    lockgate(&project, &["plugin", "pull", &by_digest, "--format", "json"]).code(0).prints("\"signatures\":1");
    lockgate(&project, &["plugin", "inspect", &format!("oci:{by_digest}")]).code(0).prints("scan 1.2.3+build.4");
    lockgate(&project, &["plugin", "call", &format!("oci:{name}:1.2.3_build.4")]).code(0);
}

#[test]
fn a_pushed_version_is_not_replaced_unless_it_is_said() {
    let registry = Registry::start();
    let project = pushed(&registry, &["1.0.0"]);
    let name = registry.name("acme/scan");
    lockgate(&project, &["plugin", "push", "scan-1.0.0.wasm", &name]).code(0).says("which was there already");
    project.file("other.wasm", Handmade::stage().name("scan").version("1.0.0").run("nop").build());
    lockgate(&project, &["plugin", "push", "other.wasm", &name])
        .code(3)
        .says("there is another one already")
        .says("--force");
    wants(&project, &registry, "");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(0);
    let before = project.read("lockgate.lock");
    lockgate(&project, &["plugin", "push", "other.wasm", &name, "--force"]).code(0);
    // The tag was moved; the lock was not.
    std::fs::remove_dir_all(pulled(&project)).unwrap();
    lockgate(&project, &["run", "pipeline.toml", "--locked"]).code(0);
    assert_eq!(project.read("lockgate.lock"), before);
    // Neither are other tags than versions.
    lockgate(&project, &["plugin", "push", "other.wasm", &format!("{name}:2.0.0")]).code(2).says("which is 1.0.0");
    lockgate(&project, &["plugin", "push", "other.wasm", "acme/scan"]).code(2).says("begin with a host");
    project.file("no.wasm", "no component");
    lockgate(&project, &["plugin", "push", "no.wasm", &name]).code(2);
}

#[test]
fn signatures_come_along_and_count() {
    let registry = Registry::start();
    let project = Project::new();
    project.file("scan.wasm", Handmade::stage().name("scan").version("1.0.0").build());
    lockgate(&project, &["plugin", "keygen", "--output", "acme"]).code(0);
    let name = registry.name("acme/scan");
    let policy = |sources: &str| {
        project.file(
            "policy.toml",
            format!(
                "schema = 1\nname = \"signed\"\n[plugins]\nsources = [\"{sources}\"]\nsigned = [\"acme\"]\ndigests = \"required\"\n\
                 [signers.acme]\nkey = \"\"\"\n{}\"\"\"\n",
                project.read("acme.pub")
            ),
        );
    };
    policy(&format!("oci:{}/acme/*", registry.host()));
    wants(&project, &registry, "");
    lockgate(&project, &["plugin", "push", "scan.wasm", &name]).code(0).says("not signed");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(0);
    let run = ["run", "pipeline.toml", "--policy", "policy.toml"];
    lockgate(&project, &run).code(3).says("signed");
    lockgate(&project, &["plugin", "sign", "scan.wasm", "--key", "acme.key"]).code(0);
    lockgate(&project, &["plugin", "push", "scan.wasm", &name]).code(0).says("signed by");
    // Pulled before it was signed: pulling it again brings the signatures.
    lockgate(&project, &["plugin", "pull", &name]).code(0).says("1 signature");
    lockgate(&project, &run).code(0);
    // As on another machine.
    std::fs::remove_dir_all(project.join("home")).unwrap();
    lockgate(&project, &run).code(0);
    policy("oci:ghcr.io/**");
    lockgate(&project, &run).code(3).says("comes from where the policy allows none");
}

#[test]
fn the_login_is_that_of_docker() {
    let registry = Registry::private();
    let project = Project::new();
    project.file("scan.wasm", Handmade::stage().name("scan").version("1.0.0").build());
    let name = registry.name("acme/scan");
    let hint = format!("docker login {}", registry.host());
    lockgate(&project, &["plugin", "push", "scan.wasm", &name]).code(3).says("refuses who asks").says(&hint);
    let login = |password: &str| {
        let auth = STANDARD.encode(format!("{}:{password}", LOGIN.0));
        project.file("home/.docker/config.json", json!({ "auths": { registry.host(): { "auth": auth } } }).to_string());
    };
    login("wrong");
    lockgate(&project, &["plugin", "push", "scan.wasm", &name]).code(3).says("does not do");
    login(LOGIN.1);
    lockgate(&project, &["plugin", "push", "scan.wasm", &name]).code(0);
    lockgate(&project, &["plugin", "pull", &name]).code(0);
    project.file("home/.docker/config.json", json!({ "auths": { registry.host(): { "auth": "%" } } }).to_string());
    std::fs::remove_dir_all(pulled(&project)).unwrap();
    lockgate(&project, &["plugin", "pull", &name]).code(2).says("find the login");
}

#[test]
fn mirrors_are_asked_first() {
    let mirror = Registry::start();
    let project = Project::new();
    project.file("scan.wasm", Handmade::stage().name("scan").version("1.0.0").build());
    lockgate(&project, &["plugin", "push", "scan.wasm", &mirror.name("copies/acme/scan")]).code(0);
    // The registry itself cannot be reached.
    let gone = lockgate_tests::server::closed_port();
    project.pipeline(&format!(
        "[plugins]\nscan = {{ oci = \"{gone}/acme/scan\" }}\n[[stage]]\nid = \"a\"\nplugin = \"scan\"\n"
    ));
    let mirrors = |more: &str| {
        let text = format!("schema = 1\n[registry.\"{gone}\"]\nmirrors = [\"{}/copies\"]\n{more}", mirror.host());
        project.file("home/.config/lockgate/registries.toml", text);
    };
    mirrors("");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(5).says(&format!("reach `{gone}`"));
    mirrors("mirror_tags = true\n");
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(0);
    std::fs::remove_dir_all(pulled(&project)).unwrap();
    mirrors("");
    lockgate(&project, &["run", "pipeline.toml"]).code(0);
    mirrors("mirror = 1\n");
    lockgate(&project, &["run", "pipeline.toml"]).code(2).says("registries.toml").says("unknown field `mirror`");
}

#[test]
fn a_command_has_the_version_that_it_is_pushed_under() {
    let registry = Registry::start();
    let project = Project::new();
    let name = registry.name("tools/probe");
    project.program("probe");
    lockgate(&project, &["plugin", "push", "probe.wasm", &name]).code(2).says("which version is it?");
    lockgate(&project, &["plugin", "push", "probe.wasm", &format!("{name}:latest")]).code(2).says("is no version");
    lockgate(&project, &["plugin", "push", "probe.wasm", &format!("{name}:1.2.0")]).code(0);
    project.pipeline(&format!(
        "[plugins]\nprobe = {{ oci = \"{name}\", version = \"^1\", world = \"command\" }}\n[[stage]]\nid = \"a\"\nplugin = \"probe\"\nargs = [\"binary\"]\n"
    ));
    lockgate(&project, &["plugin", "lock", "pipeline.toml"]).code(0).says("1.2.0");
    assert_eq!(locked_version(&project), "1.2.0");
    lockgate(&project, &["run", "pipeline.toml", "--locked", "--offline"]).code(0);
}

#[test]
fn registries_that_lie_are_found_out() {
    let project = Project::new();
    let pull = |server: &Server, rest: &str| {
        let name = format!("{}/a{rest}", server.address());
        lockgate(&project, &["plugin", "pull", &name])
    };
    let digest = sha256(b"right");
    let manifest = |media_type: &str, size: u64| {
        let layer = json!({ "mediaType": media_type, "digest": digest, "size": size });
        let config = json!({ "mediaType": "x", "digest": digest, "size": 5 });
        Answer::ok(&json!({ "schemaVersion": 2, "config": config, "layers": [layer] }).to_string())
    };
    for (answers, rest, code, says) in [
        (vec![manifest("application/wasm", 5), Answer::ok("wrong")], ":1.0.0", 3, "its digest is sha256:"),
        (vec![manifest("text/plain", 5)], ":1.0.0", 5, "no WebAssembly component"),
        (vec![manifest("application/wasm", 1 << 40)], ":1.0.0", 2, "at most 64 MiB are permitted"),
        (vec![manifest("application/wasm", 5)], &format!("@{digest}"), 3, "its digest is sha256:"),
        (vec![Answer::ok("nonsense")], ":1.0.0", 5, "read what"),
        (vec![Answer::ok("{\"tags\":null}")], "", 2, "there are none"),
        (vec![Answer::ok("{\"tags\":[\"latest\",\"x\"]}")], "", 2, "there are none"),
        (vec![Answer::status(404)], "", 2, "the registry does not have it"),
        (vec![Answer::status(403)], "", 3, "refuses who asks (403)"),
        (vec![Answer::status(418)], "", 5, "it answers 418"),
        (vec![Answer::Garbage], ":1.0.0", 5, "reach"),
        (vec![Answer::Breaks(1000)], ":1.0.0", 5, "reach"),
        (vec![Answer::EndlessHead], ":1.0.0", 5, "reach"),
        (vec![Answer::Endless], ":1.0.0", 5, "more than 4194304 bytes"),
    ] {
        let server = Server::script(answers);
        pull(&server, rest).code(code).says(says);
    }
    assert!(!Path::exists(&pulled(&project)), "nothing of it was kept");
}
