//! Lock files of all kinds, and the document that they become. That it is valid by the official schema is a test of the whole engine.

use lockgate_sdk::serde_json::{Value, json};
use lockgate_sdk::testing::{self, Harness, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn run(config: &str, files: &[(&str, &str)], manifests: &[(&str, &str)]) -> Outcome<Findings> {
    let harness = Harness::new().tree("src", files.iter().copied());
    let harness = if manifests.is_empty() { harness } else { harness.tree("manifests", manifests.iter().copied()) };
    harness.run::<Sbom>(config)
}

fn list(files: &[(&str, &str)]) -> Value {
    let outcome = run("{}", files, &[]);
    outcome.ok();
    outcome.text("sbom").parse().unwrap()
}

fn component<'a>(document: &'a Value, purl: &str) -> &'a Value {
    let components = document["components"].as_array().unwrap();
    components.iter().find(|component| component["purl"] == purl).unwrap_or_else(|| panic!("no {purl} in {document:#}"))
}

fn depends(document: &Value, reference: &str) -> Value {
    let all = document["dependencies"].as_array().unwrap();
    let found = all.iter().find(|dependency| dependency["ref"] == reference).unwrap();
    found.get("dependsOn").cloned().unwrap_or_else(|| json!([]))
}

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    run("{}", files, &[]).findings().iter().map(ToString::to_string).collect()
}

const CARGO: &str = r#"
version = 4

[[package]]
name = "app"
version = "1.0.0"
dependencies = ["forked", "rand 0.8.5", "rand 0.9.0 (registry+https://github.com/rust-lang/crates.io-index)"]

[[package]]
name = "forked"
version = "0.1.0+meta"
source = "git+https://example.org/forked.git?branch=main#0123abc"

[[package]]
name = "private"
version = "2.0.0"
source = "sparse+https://crates.acme.example/index/"

[[package]]
name = "rand"
version = "0.8.5"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "34af8d1a0e25924bc5b7c43c079c942339d8f0a8b57c39049bef581b46327404"

[[package]]
name = "rand"
version = "0.9.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "3779b94aeb87e8bd4e834cee3650289ee9e0d5677f976ecdb6d219e5f4f6cd94"
dependencies = ["private"]
"#;

#[test]
fn cargos_packages_have_checksums_and_a_graph() {
    let document = list(&[("Cargo.lock", CARGO)]);
    assert_eq!(document["components"].as_array().unwrap().len(), 5);
    let rand = component(&document, "pkg:cargo/rand@0.8.5");
    assert_eq!(
        rand["hashes"],
        json!([{"alg": "SHA-256", "content": "34af8d1a0e25924bc5b7c43c079c942339d8f0a8b57c39049bef581b46327404"}])
    );
    let git = "pkg:cargo/forked@0.1.0%2Bmeta?vcs_url=git%2Bhttps:%2F%2Fexample.org%2Fforked.git%400123abc";
    assert_eq!(component(&document, git)["version"], "0.1.0+meta");
    let private = "pkg:cargo/private@2.0.0?repository_url=https:%2F%2Fcrates.acme.example%2Findex%2F";
    assert_eq!(depends(&document, "pkg:cargo/app@1.0.0"), json!([git, "pkg:cargo/rand@0.8.5", "pkg:cargo/rand@0.9.0"]));
    assert_eq!(depends(&document, "pkg:cargo/rand@0.9.0"), json!([private]));
    assert_eq!(depends(&document, "root"), json!(["pkg:cargo/app@1.0.0"]));
    assert_eq!(document["metadata"]["component"]["name"], "app");
    assert_eq!(document["metadata"]["component"]["version"], "1.0.0");
    assert_eq!(document["compositions"][0]["aggregate"], "complete");
}

#[test]
fn checksums_of_cargos_first_version_are_found() {
    let text = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
                [metadata]\n\"checksum a 1.0.0 (registry+https://github.com/rust-lang/crates.io-index)\" = \"34af8d1a0e25924bc5b7c43c079c942339d8f0a8b57c39049bef581b46327404\"\n";
    assert_eq!(component(&list(&[("Cargo.lock", text)]), "pkg:cargo/a@1.0.0")["hashes"][0]["alg"], "SHA-256");
}

#[test]
fn npms_graph_follows_from_where_packages_stand() {
    let lock = json!({
        "name": "shop", "version": "3.0.0", "lockfileVersion": 3,
        "packages": {
            "": {"name": "shop", "version": "3.0.0", "dependencies": {"a": "^1"}, "devDependencies": {"@t/ypes": "1"}},
            "node_modules/a": {"version": "1.0.0", "dependencies": {"b": "1", "missing": "1"}, "optionalDependencies": {"nope": "1"},
                "resolved": "https://registry.npmjs.org/a/-/a-1.0.0.tgz", "license": "MIT",
                "integrity": "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="},
            "node_modules/a/node_modules/b": {"version": "1.5.0", "dependencies": {"c": "1"}},
            "node_modules/b": {"version": "2.0.0", "resolved": "https://mirror.example/b.tgz"},
            "node_modules/c": {"version": "1.0.0", "optional": true},
            "node_modules/@t/ypes": {"version": "1.0.0", "dev": true},
            "node_modules/part": {"link": true, "resolved": "packages/part"},
            "packages/part": {"name": "@shop/part", "version": "0.1.0", "dependencies": {"b": "2"}}
        }
    });
    let files = [("web/package-lock.json", &*lock.to_string())];
    let document = list(&files);
    assert_eq!(depends(&document, "pkg:npm/a@1.0.0"), json!(["pkg:npm/b@1.5.0"]));
    assert_eq!(depends(&document, "pkg:npm/b@1.5.0"), json!(["pkg:npm/c@1.0.0"]));
    assert_eq!(
        depends(&document, "pkg:npm/shop@3.0.0"),
        json!(["pkg:npm/%40t%2Fypes@1.0.0".replace("%2F", "/"), "pkg:npm/a@1.0.0"])
    );
    let mirror = "pkg:npm/b@2.0.0?download_url=https:%2F%2Fmirror.example%2Fb.tgz";
    assert_eq!(depends(&document, "pkg:npm/%40shop/part@0.1.0"), json!([mirror]));
    let a = component(&document, "pkg:npm/a@1.0.0");
    assert_eq!(a["hashes"][0]["alg"], "SHA-512");
    assert!(
        a["hashes"][0]["content"]
            .as_str()
            .unwrap()
            .starts_with("cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce")
    );
    assert_eq!(a["licenses"], json!([{"expression": "MIT", "acknowledgement": "declared"}]));
    let types = component(&document, "pkg:npm/%40t/ypes@1.0.0");
    assert_eq!((&types["group"], &types["name"], &types["scope"]), (&json!("@t"), &json!("ypes"), &json!("excluded")));
    assert_eq!(component(&document, "pkg:npm/c@1.0.0")["scope"], "optional");
    assert_eq!(
        findings(&files),
        ["warning: web/package-lock.json: `node_modules/a` needs `missing`, which is not in the file [unresolved]"]
    );
    let outcome = run(r#"{"dev": false}"#, &files, &[]);
    assert!(!outcome.text("sbom").contains("ypes"), "neither listed nor referred to");
}

#[test]
fn npms_first_version_nests_packages() {
    let lock = json!({
        "name": "old", "version": "1.0.0", "lockfileVersion": 1, "requires": true,
        "dependencies": {
            "a": {"version": "1.0.0", "requires": {"b": "^1"}, "integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
                "dependencies": {"b": {"version": "1.0.0", "requires": {"c": "1"}}}},
            "b": {"version": "2.0.0"},
            "c": {"version": "git+https://example.org/c.git#abc", "dev": true}
        }
    });
    let document = list(&[("package-lock.json", &lock.to_string())]);
    assert_eq!(depends(&document, "pkg:npm/a@1.0.0"), json!(["pkg:npm/b@1.0.0"]));
    assert_eq!(
        component(&document, "pkg:npm/a@1.0.0")["hashes"][0],
        json!({"alg": "SHA-1", "content": "da39a3ee5e6b4b0d3255bfef95601890afd80709"})
    );
    let git = "pkg:npm/c?vcs_url=git%2Bhttps:%2F%2Fexample.org%2Fc.git%40abc";
    assert_eq!(depends(&document, "pkg:npm/b@1.0.0"), json!([git]));
}

#[test]
fn pythons_requirements_are_read_as_pip_reads_them() {
    let hex = "0123456789abcdef".repeat(4);
    let text = format!(
        "# comment\n--index-url https://pypi.org/simple\nDjango==4.2.1 ; python_version > '3.8' \\\n    --hash=sha256:{hex}\n\
         zope.interface [extra] == 6.0  # why\n-r more/other.txt\nloose>=1,<2\nfrom-url @ https://example.org/x.whl\n\
         -e ./local\ngit+https://example.org/bare.git\nmany===1.0 --hash=sha256:{hex} --hash=sha256:{}\n",
        hex.replace('0', "f")
    );
    let files =
        [("requirements.txt", &*text), ("more/other.txt", "-r ../requirements.txt\nother_name==1\n-r gone.txt\n")];
    let document = list(&files);
    assert_eq!(component(&document, "pkg:pypi/django@4.2.1")["hashes"][0]["content"], *hex);
    component(&document, "pkg:pypi/zope-interface@6.0");
    component(&document, "pkg:pypi/other-name@1");
    component(&document, "pkg:pypi/loose");
    component(&document, "pkg:pypi/from-url?download_url=https:%2F%2Fexample.org%2Fx.whl");
    let many = component(&document, "pkg:pypi/many@1.0");
    assert_eq!(
        (many["hashes"].is_null(), many["externalReferences"][0]["hashes"].as_array().unwrap().len()),
        (true, 2)
    );
    assert_eq!(document["compositions"][0]["aggregate"], "unknown");
    assert_eq!(
        findings(&files),
        [
            "warning: requirements.txt:7: `loose` has no exact version: what will be installed is not known [unpinned]",
            "warning: requirements.txt:9: `./local` is installed from a directory or a repository: it is not listed [unpinned]",
            "warning: requirements.txt:10: `git+https://example.org/bare.git` names no package: it is not listed [unpinned]",
            "warning: more/other.txt:3: `more/gone.txt` is included and not there [unresolved]",
            "note: requirements.txt: this file does not tell which package needs which: the list has no such edges from it [no-graph]",
        ]
    );
}

#[test]
fn gos_modules_are_those_that_a_build_needs() {
    let own = "module example.org/app\n\ngo 1.22\n\nrequire (\n\tgithub.com/a/b v1.2.0\n\tgithub.com/c/d/v2 v2.0.0+incompatible // indirect\n)\n\
               replace github.com/a/b => github.com/fork/b v1.2.1\n";
    let sums =
        "github.com/fork/b v1.2.1 h1:abc=\ngithub.com/fork/b v1.2.1/go.mod h1:def=\ngithub.com/old/x v0.1.0 h1:xyz=\n";
    let document = list(&[("go.mod", own), ("go.sum", sums), ("lib/go.sum", "example.org/y v1.0.0 h1:q=\n")]);
    let purls: Vec<&str> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["purl"].as_str().unwrap())
        .collect();
    assert_eq!(
        purls,
        [
            "pkg:golang/example.org/app",
            "pkg:golang/example.org/y@v1.0.0",
            "pkg:golang/github.com/c/d/v2@v2.0.0%2Bincompatible",
            "pkg:golang/github.com/fork/b@v1.2.1",
        ]
    );
    let fork = component(&document, "pkg:golang/github.com/fork/b@v1.2.1");
    assert_eq!(
        fork["properties"],
        json!([{"name": "lockgate:go:sum", "value": "h1:abc="}]),
        "which is no hash of a file"
    );
    assert!(!depends(&document, "root").to_string().contains("c/d"), "it is indirect");
    // Before Go 1.17 not all modules are in `go.mod`.
    let document = list(&[("go.mod", &own.replace("1.22", "1.16")), ("go.sum", sums)]);
    component(&document, "pkg:golang/github.com/old/x@v0.1.0");
}

#[test]
fn manifests_tell_licences() {
    let manifests = [
        ("rand-0.8.5/Cargo.toml", "[package]\nname = \"rand\"\nversion = \"0.8.5\"\nlicense = \"MIT/Apache-2.0\"\n"),
        ("forked/Cargo.toml", "[package]\nname = \"forked\"\nversion = \"0.1.0+meta\"\nlicense-file = \"COPYING\"\n"),
        ("broken/Cargo.toml", "[package"),
        ("own/Cargo.toml", "[workspace.package]\nversion = \"1.0.0\"\nlicense = \"Apache-2.0\"\n"),
        (
            "own/a/app/Cargo.toml",
            "[package]\nname = \"app\"\nversion.workspace = true\nlicense = { workspace = true }\n",
        ),
        (
            "node_modules/a/package.json",
            r#"{"name": "a", "version": "1.0.0", "licenses": [{"type": "MIT"}, {"type": "ISC"}]}"#,
        ),
        (
            "django-4.dist-info/METADATA",
            "Name: Django\nVersion: 4.2.1\nClassifier: License :: OSI Approved :: BSD License\n\nLicense: no\n",
        ),
    ];
    let npm = r#"{"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1.0.0"}}}"#;
    let files = [("Cargo.lock", CARGO), ("package-lock.json", npm), ("requirements.txt", "django==4.2.1\n")];
    let outcome = run("{}", &files, &manifests);
    outcome.ok();
    let document: Value = outcome.text("sbom").parse().unwrap();
    let licence = |purl: &str| component(&document, purl)["licenses"][0].clone();
    assert_eq!(licence("pkg:cargo/rand@0.8.5")["expression"], "MIT OR Apache-2.0");
    assert_eq!(licence("pkg:cargo/rand@0.9.0"), Value::Null, "of another version nothing is known");
    assert_eq!(licence("pkg:cargo/app@1.0.0")["expression"], "Apache-2.0", "by its workspace");
    assert_eq!(licence("pkg:npm/a@1.0.0")["expression"], "MIT OR ISC");
    assert_eq!(licence("pkg:pypi/django@4.2.1")["license"]["name"], "BSD License");
    let forked =
        document["components"].as_array().unwrap().iter().find(|component| component["name"] == "forked").unwrap();
    assert_eq!(forked["licenses"][0]["license"]["name"], "see the file COPYING");
}

#[test]
fn the_same_packages_give_the_same_bytes() {
    let one = run("{}", &[("Cargo.lock", CARGO), ("x/go.sum", "example.org/y v1.0.0 h1:q=\n")], &[]);
    let two = run("{}", &[("a/Cargo.lock", CARGO), ("go.sum", "example.org/y v1.0.0 h1:q=\n")], &[]);
    assert_eq!(one.text("sbom"), two.text("sbom"));
    let document: Value = one.text("sbom").parse().unwrap();
    let serial = document["serialNumber"].as_str().unwrap();
    assert!(serial.starts_with("urn:uuid:") && serial.as_bytes()[9 + 14] == b'8' && serial.len() == 9 + 36, "{serial}");
    assert!(document["metadata"].get("timestamp").is_none());
    let dated = run(
        r#"{"timestamp": "2026-01-31T12:00:00Z", "name": "n", "version": "v", "kind": "container"}"#,
        &[("Cargo.lock", CARGO)],
        &[],
    );
    let dated: Value = dated.text("sbom").parse().unwrap();
    assert_eq!(dated["metadata"]["timestamp"], "2026-01-31T12:00:00Z");
    assert_eq!(
        dated["metadata"]["component"],
        json!({"type": "container", "bom-ref": "root", "name": "n", "version": "v"})
    );
    assert_ne!(dated["serialNumber"], document["serialNumber"]);
    assert!(
        run(r#"{"timestamp": "yesterday"}"#, &[("Cargo.lock", CARGO)], &[]).failure().contains("no time of RFC 3339")
    );
}

#[test]
fn what_cannot_be_read_fails_with_its_place() {
    let failed = |path: &str, text: &str| {
        let outcome = run("{}", &[(path, text)], &[]);
        assert!(!outcome.outputs.contains_key("sbom"));
        format!("{}; {}", outcome.failure(), outcome.findings().first().map(ToString::to_string).unwrap_or_default())
    };
    assert!(failed("Cargo.lock", "[[package]]\nname = \n").contains("error: Cargo.lock:2:"));
    assert!(
        failed("Cargo.lock", "[[package]]\nversion = \"1\"\n").contains("a package has no name or no version [lock]")
    );
    assert!(failed("package-lock.json", "{\"a\": 1,}").contains("error: package-lock.json:1:9:"));
    assert!(failed("package-lock.json", "{}").contains("it is no lock file of npm"));
    assert!(
        failed("package-lock.json", &"{\"dependencies\":{\"a\":".repeat(5_000))
            .contains("nested deeper than 100 levels")
    );
    assert!(failed("package-lock.json", &"[".repeat(100_000)).contains("nested deeper than 100 levels"));
    assert!(failed("go.sum", "what\n").contains("error: go.sum:1: this is no line of a go.sum [lock]"));
    assert!(
        failed("go.mod", "what is this\n").contains("error: go.mod:1: `what is this` is no line of a go.mod [lock]")
    );
    assert!(failed("README.md", "").starts_with("there is no lock file: Cargo.lock, "));
    let deep = "[a]\nb = ".to_owned() + &"[".repeat(1_000);
    assert!(failed("Cargo.lock", &deep).contains("a lock file cannot be read"));
}

#[test]
fn lock_files_are_chosen_by_patterns() {
    let files = [("Cargo.lock", CARGO), ("tests/go.sum", "example.org/y v1.0.0 h1:q=\n")];
    let count = |config: &str| {
        let outcome = run(config, &files, &[]);
        let document: Value = outcome.text("sbom").parse().unwrap();
        document["components"].as_array().unwrap().len()
    };
    assert_eq!(count("{}"), 6);
    assert_eq!(count(r#"{"exclude": ["tests/**"]}"#), 5);
    assert_eq!(count(r#"{"include": ["**/go.sum"]}"#), 1);
}
