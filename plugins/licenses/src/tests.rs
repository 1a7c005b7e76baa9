//! Policies over components of all kinds.

use lockgate_sdk::serde_json::{Value, json};
use lockgate_sdk::testing::{self, Harness, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn bill(components: &Value) -> String {
    json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components}).to_string()
}

fn component(name: &str, licence: &str) -> Value {
    json!({"type": "library", "name": name, "version": "1.0.0", "purl": format!("pkg:cargo/{name}@1.0.0?vcs_url=x"), "licenses": [{"expression": licence}]})
}

fn run(config: &str, components: &Value) -> Outcome<Findings> {
    Harness::new().blob("sbom", bill(components)).run::<Licenses>(config)
}

/// What is found of one package with this licence.
fn of(config: &str, licence: &str) -> Vec<String> {
    run(config, &json!([component("x", licence)])).findings().iter().map(ToString::to_string).collect()
}

#[test]
fn expressions_are_held_against_the_policy() {
    let policy = r#"{"allow": ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]}"#;
    for licence in [
        "MIT",
        "MIT OR GPL-3.0-only",
        "Apache-2.0 AND MIT",
        "Apache-2.0 WITH LLVM-exception",
        "(MIT OR GPL-2.0) AND Unicode-3.0",
    ] {
        assert_eq!(of(policy, licence), [] as [&str; 0], "{licence}");
    }
    for (licence, why) in [
        ("GPL-3.0-only", "GPL-3.0-only is not in `allow`"),
        ("MIT AND GPL-3.0-only", "GPL-3.0-only is not in `allow`"),
        ("LicenseRef-acme", "LicenseRef-acme is not in `allow`"),
    ] {
        let expected = format!("error: `pkg:cargo/x@1.0.0`: its licence `{licence}` is not permitted: {why} [refused]");
        assert_eq!(of(policy, licence), [expected]);
    }
    let deny = r#"{"deny": ["GPL-3.0-only"]}"#;
    assert_eq!(of(deny, "MIT"), [] as [&str; 0]);
    assert_eq!(of(deny, "GPL-3.0-only OR MIT"), [] as [&str; 0], "the other one may be chosen");
    assert!(of(deny, "GPL-3.0-only")[0].contains("GPL-3.0-only is denied"));
    let classes = r#"{"allow_classes": ["osi-approved"], "deny": ["AGPL-3.0-only"]}"#;
    assert_eq!(of(classes, "ISC"), [] as [&str; 0]);
    assert_eq!(of(classes, "AGPL-3.0-only").len(), 1);
    assert_eq!(of(classes, "CC-BY-NC-4.0").len(), 1);
}

#[test]
fn what_is_not_known_is_found() {
    let policy = r#"{"allow": ["MIT"]}"#;
    let components = json!([
        {"name": "bare", "version": "2"},
        {"name": "named", "version": "1", "purl": "pkg:npm/named@1", "licenses": [{"license": {"name": "see the file COPYING"}}]},
        {"name": "id", "version": "1", "purl": "pkg:npm/id@1", "licenses": [{"license": {"id": "MIT"}}]},
        {"name": "outer", "version": "1", "licenses": [{"license": {"id": "MIT"}}, {"license": {"id": "ISC"}}],
         "components": [{"name": "inner", "version": "1"}]},
    ]);
    let outcome = run(policy, &components);
    let found: Vec<String> = outcome.findings().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{found:#?}");
    assert_eq!(
        found[0],
        "error: `bare@2`: its licence is not known; an exception with a `license` says what it is [unknown]"
    );
    assert!(
        found[1].starts_with("error: `pkg:npm/named@1`: its licence `see the file COPYING` is no SPDX expression: "),
        "{}",
        found[1]
    );
    assert!(found[2].contains("`(MIT) AND (ISC)` is not permitted: ISC is not in `allow`"), "{}", found[2]);
    assert!(found[3].contains("`inner@1`"));
    assert_eq!(outcome.failure(), "4 packages have no licence that is permitted");
    assert_eq!(
        outcome.text("report"),
        "     2  (unknown)\n     1  (MIT) AND (ISC)\n     1  MIT\n     1  see the file COPYING\n"
            .replace("     2  (unknown)\n     1  (MIT) AND (ISC)\n", "     1  (MIT) AND (ISC)\n     2  (unknown)\n")
    );
    let lenient = r#"{"allow": ["MIT", "ISC"], "unknown": "note"}"#;
    assert_eq!(run(lenient, &components).ok().count(Severity::Note), 3);
    assert!(run(r#"{"allow": ["MIT"], "unknown": "ignore", "refused": "warning"}"#, &components).ok().len() == 1);
}

#[test]
fn exceptions_have_reasons_and_are_needed() {
    let components = json!([component("ring", "OpenSSL"), {"name": "y", "version": "1", "purl": "pkg:golang/y@v1"}]);
    let with = |exceptions: &str| {
        let outcome = run(&format!(r#"{{"allow": ["MIT"], "exceptions": [{exceptions}]}}"#), &components);
        outcome.findings().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(with("").len(), 2);
    let both = r#"{"packages": ["pkg:cargo/ring@*"], "allow": ["OpenSSL"], "reason": "looked at"},
                  {"packages": ["pkg:golang/**"], "license": "MIT", "reason": "its file LICENSE"}"#;
    assert_eq!(with(both), [] as [&str; 0]);
    assert_eq!(with(r#"{"packages": ["**"], "reason": "all is well"}"#), [] as [&str; 0]);
    let other = with(
        r#"{"packages": ["**"], "allow": ["ISC"], "reason": "not enough"}, {"packages": ["pkg:npm/*"], "reason": "old"}"#,
    );
    assert_eq!(other.len(), 3);
    assert_eq!(other[2], "note: an exception fits no package: old [unused-exception]");
    let told = with(r#"{"packages": ["pkg:golang/**"], "license": "GPL-2.0-only", "reason": "so it says"}"#);
    assert!(told[1].contains("GPL-2.0-only is not in `allow`"), "{told:?}");
}

#[test]
fn local_and_development_packages_are_chosen() {
    let components = json!([
        {"name": "own", "version": "1", "properties": [{"name": "lockgate:local", "value": "true"}]},
        {"name": "dev", "version": "1", "scope": "excluded"},
    ]);
    let count = |config: &str| run(config, &components).findings().len();
    assert_eq!(count(r#"{"allow": ["MIT"]}"#), 1);
    assert_eq!(count(r#"{"allow": ["MIT"], "dev": false}"#), 0);
    assert_eq!(count(r#"{"allow": ["MIT"], "whose": "all"}"#), 2);
    assert_eq!(count(r#"{"allow": ["MIT"], "whose": "own", "dev": false}"#), 1);
}

#[test]
fn wrong_policies_and_documents_are_refused() {
    let fails = |config: &str| run(config, &json!([])).failure().to_owned();
    assert!(fails("{}").starts_with("the policy is empty"));
    assert!(fails(r#"{"allow": ["MYT"]}"#).starts_with("`MYT` in `allow` is no licence of the SPDX list"));
    assert!(
        fails(r#"{"allow": ["MIT"], "exceptions": [{"packages": [], "reason": "x"}]}"#).contains("names no packages")
    );
    assert!(
        fails(r#"{"allow": ["MIT"], "exceptions": [{"packages": ["x"], "reason": ""}]}"#).contains("has no reason")
    );
    assert!(
        fails(r#"{"allow": ["MIT"], "exceptions": [{"packages": ["x"], "license": "(", "reason": "x"}]}"#)
            .contains("no SPDX expression")
    );
    let of =
        |text: &str| Harness::new().blob("sbom", text).run::<Licenses>(r#"{"allow": ["MIT"]}"#).failure().to_owned();
    assert!(of("{").starts_with("the SBOM is no JSON: "));
    assert!(of("[]").starts_with("this is no CycloneDX document: `bomFormat` is missing"));
    assert!(of(&"[".repeat(100_000)).contains("nested deeper than 100 levels"));
    let deep = format!("{}MIT{}", "(".repeat(1_000), ")".repeat(1_000));
    let found = run(r#"{"allow": ["MIT"]}"#, &json!([component("x", &deep)]));
    assert!(found.findings()[0].message.contains("nests more than 32 brackets"));
}
