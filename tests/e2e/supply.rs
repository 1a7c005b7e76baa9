//! Standard plugins around what a release is made of: archives, secrets, bills of materials, licences.

use std::process::Command;

use lockgate_tests::{Done, Project, binary, tools};
use serde_json::Value;

/// Runs a system tool in the project's directory.
#[track_caller]
fn tool(project: &Project, script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(project.path()).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Unpacks `archive` into `out`.
fn unpack(project: &Project, archive: &str, config: &str) -> Done {
    project.run_text(&format!(
        "[[stage]]\nid = \"unpack\"\nplugin = \"std:unpack\"\ninputs.archive = {{ file = \"{archive}\" }}\nconfig = {{ {config} }}\n\
         [[export]]\nfrom = \"unpack.tree\"\nto = \"out\"\n"
    ))
}

#[test]
fn archives_of_system_tools_are_unpacked() {
    let project = Project::new();
    let script = "mkdir -p top/a/b; printf one > top/a/one; printf '#!/bin/sh\\n' > top/run.sh; chmod 755 top/run.sh\n\
                  head -c 300000 /dev/urandom > top/a/b/noise; ln -s a/one top/link; ln top/a/one top/hard; mkdir top/void\n\
                  long=$(printf 'd%.0s' $(seq 120)); mkdir top/$long; printf deep > top/$long/$long\n\
                  tar cf plain.tar top; tar czf one.tar.gz top; tar --format=posix -cf posix.tar top; tar --format=ustar -cf ustar.tar top/a top/run.sh\n\
                  zstd -q -19 plain.tar -o one.tar.zst; zstd -q plain.tar -o fast.tar.zst";
    tool(&project, script);
    for archive in ["plain.tar", "one.tar.gz", "posix.tar", "one.tar.zst", "fast.tar.zst"] {
        unpack(&project, archive, "strip_prefix = \"top\"").code(0);
        tool(&project, "diff -r --no-dereference top out; test -x out/run.sh; test ! -x out/a/one; rm -r out");
    }
    unpack(&project, "ustar.tar", "strip = 1, include = [\"**/one\"]").code(0);
    assert_eq!(tool(&project, "cd out; find . -type f"), "./a/one\n");
}

#[test]
fn what_pack_packs_unpack_unpacks() {
    let project = Project::new();
    project.file("src/a/b.txt", "text").file("src/ü.bin", vec![7; 100_000]).file("src/empty", "");
    std::os::unix::fs::symlink("a/b.txt", project.join("src/link")).unwrap();
    for format in ["tar.gz", "tar.zst", "zip"] {
        let done = project.run_text(&format!(
            "[[stage]]\nid = \"pack\"\nplugin = \"std:pack\"\ninputs.src = {{ dir = \"src\" }}\nconfig = {{ format = \"{format}\", prefix = \"p\" }}\n\
             [[stage]]\nid = \"unpack\"\nplugin = \"std:unpack\"\ninputs.archive = \"pack.archive\"\nconfig = {{ strip = 1 }}\n\
             [[stage]]\nid = \"diff\"\nplugin = \"std:diff\"\ninputs = {{ before = {{ dir = \"src\" }}, after = \"unpack.tree\" }}\nconfig.expect = \"equal\"\n"
        ));
        done.code(0);
    }
}

#[test]
fn more_than_a_nodes_memory_is_unpacked() {
    let project = Project::new();
    // 256 MiB of zeros in a file of a quarter of a megabyte: four times the node's memory.
    tool(&project, "head -c 268435456 /dev/zero > zeros; tar cf - zeros | gzip -9 > bomb.tar.gz; rm zeros");
    unpack(&project, "bomb.tar.gz", "").code(1).node_failed("unpack", "error", "more than 200 times its size");
    let text = "[[stage]]\nid = \"unpack\"\nplugin = \"std:unpack\"\ninputs.archive = { file = \"bomb.tar.gz\" }\nconfig = { max_ratio = 2000 }\n\
                limits = { fuel = \"40G\", timeout = \"300s\" }\n";
    let text = format!("{text}[[export]]\nfrom = \"unpack.tree\"\nto = \"out\"\n");
    project.run_text(&text).code(0);
    assert_eq!(std::fs::metadata(project.join("out/zeros")).unwrap().len(), 256 << 20);
}

#[test]
fn secrets_are_found_and_never_shown() {
    let project = Project::new();
    let key = ["ghp_", &"aB3dE6gH9".repeat(4)].concat();
    project.file("src/ok.rs", "fn main() {}\n").file("src/deep/config.py", format!("import os\nTOKEN = \"{key}\"\n"));
    let text = "[[stage]]\nid = \"secrets\"\nplugin = \"std:secret-scan\"\ninputs.src = { dir = \"src\" }\n";
    let done = project.run_text(text).code(1).node_failed("secrets", "error", "1 secret was found");
    assert_eq!(done.node("secrets")["facts"]["findings"]["error"], 1);
    let human =
        project.lockgate(["run", "pipeline.toml"]).code(1).says("deep/config.py:2:10").says("a token of GitHub");
    assert!(!human.all().contains(&key) && !done.all().contains(&key));
    let shown =
        project.lockgate(["show", "last", "--receipts"]).code(0).stdout + &project.lockgate(["logs", "last"]).stdout;
    assert!(!shown.contains(&key), "{shown}");
    let allow = format!("{text}config.allow = [{{ paths = [\"deep/**\"], reason = \"made up\" }}]\n");
    project.run_text(&allow).code(0);
}

/// A schema out of the crate that carries it; `cargo fetch` brings it, nothing compiles it.
fn schema() -> Value {
    let (crates, _) = tools::fetched("serde-cyclonedx");
    let path = crates.join("schemas/cyclonedx_1_6.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What the official schema refers to besides: lists of licences, and signatures. Documents of ours have neither.
struct Others;

impl jsonschema::Retrieve for Others {
    fn retrieve(&self, uri: &jsonschema::Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let known = ["spdx.schema.json", "jsf-0.82.schema.json"].iter().any(|name| uri.as_str().ends_with(name));
        assert!(known, "the schema refers to {uri}");
        Ok(serde_json::json!({"definitions": {"signature": {"type": "object"}}}))
    }
}

#[test]
fn bills_of_materials_are_valid_by_the_official_schema() {
    let schema = schema();
    assert_eq!(schema["$id"], "http://cyclonedx.org/schema/bom-1.6.schema.json");
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft7)
        .with_retriever(Others)
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let project = Project::new();
    let repository = binary::repository();
    for file in ["Cargo.lock", "plugins/Cargo.lock", "Cargo.toml", "engine/model/Cargo.toml"] {
        project.file(format!("src/{file}"), std::fs::read(repository.join(file)).unwrap());
    }
    let npm = r#"{"name": "web", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "web", "version": "1.0.0", "dependencies": {"@a/b": "1"}},
        "node_modules/@a/b": {"version": "1.0.0", "license": "see LICENSE", "dev": true, "integrity": "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="}}}"#;
    let hex = "0123456789abcdef".repeat(4);
    project.file("src/web/package-lock.json", npm).file("src/go.sum", "example.org/y v1.0.0 h1:q=\n");
    project.file(
        "src/requirements.txt",
        format!("a==1 --hash=sha256:{hex} --hash=sha256:{}\nb @ https://example.org/b.whl\n", hex.replace('0', "1")),
    );
    let text = "[[stage]]\nid = \"sbom\"\nplugin = \"std:sbom\"\ninputs = { src = { dir = \"src\" }, manifests = { dir = \"src\" } }\nrepeat = 2\n\
                config = { name = \"all\", version = \"1\", timestamp = \"2026-01-31T12:00:00Z\" }\n\
                [[export]]\nfrom = \"sbom.sbom\"\nto = \"sbom.json\"\n";
    project.run_text(text).code(0);
    let document: Value = serde_json::from_str(&project.read("sbom.json")).unwrap();
    let problems: Vec<String> =
        validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(document["components"].as_array().unwrap().len() > 300);
    let own = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .find(|component| component["name"] == "lockgate-model")
        .unwrap();
    assert_eq!(own["licenses"][0]["expression"], "Apache-2.0");
    // Every reference leads somewhere, which the schema cannot say.
    let known: Vec<&str> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["bom-ref"].as_str().unwrap())
        .collect();
    for dependency in document["dependencies"].as_array().unwrap() {
        for reference in dependency["dependsOn"].as_array().into_iter().flatten() {
            assert!(known.contains(&reference.as_str().unwrap()), "{reference}");
        }
    }
    let mut wrong = document.clone();
    wrong["components"][0]["hashes"] = serde_json::json!([{"alg": "SHA-256", "content": "short"}]);
    assert!(!validator.is_valid(&wrong), "the schema refuses nothing");
    wrong = document.clone();
    wrong["components"][0]["scope"] = "sometimes".into();
    assert!(!validator.is_valid(&wrong), "the schema refuses nothing");
}

#[test]
fn licences_are_held_against_a_policy() {
    let project = Project::new();
    let package =
        |name: &str, licence: &str| format!(r#""node_modules/{name}": {{"version": "1.0.0", "license": "{licence}"}}"#);
    let lock = |more: &str| {
        format!(
            r#"{{"lockfileVersion": 3, "packages": {{{}, {}{more}}}}}"#,
            package("a", "MIT"),
            package("b", "(MIT OR GPL-2.0-only)")
        )
    };
    let text = "[[stage]]\nid = \"sbom\"\nplugin = \"std:sbom\"\ninputs.src = { dir = \"src\" }\n\
                [[stage]]\nid = \"licenses\"\nplugin = \"std:licenses\"\ninputs.sbom = \"sbom.sbom\"\nconfig = { allow = [\"MIT\"] }\n\
                [[export]]\nfrom = \"licenses.report\"\nto = \"report.txt\"\n";
    project.file("src/package-lock.json", lock("")).run_text(text).code(0);
    assert_eq!(project.read("report.txt"), "     1  (MIT OR GPL-2.0-only)\n     1  MIT\n");
    project.file("src/package-lock.json", lock(&format!(", {}", package("c", "GPL-2.0-only"))));
    project.lockgate(["run", "pipeline.toml"]).code(1).says("`pkg:npm/c@1.0.0`").says("GPL-2.0-only is not in `allow`");
}
