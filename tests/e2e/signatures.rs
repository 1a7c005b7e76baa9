//! Keys and signatures of plugins: made by the binary, read by a program that knows only ed25519, base64 and JSON, and the other way round.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use lockgate_tests::Project;
use lockgate_tests::bundle::sha256;
use lockgate_tests::handmade::Handmade;
use serde_json::{Value, json};

/// A project with a component and two pairs of keys.
pub fn project() -> Project {
    let project = Project::new();
    project.file("scan.wasm", Handmade::stage().name("scan").build());
    for prefix in ["acme", "other"] {
        project.lockgate(["plugin", "keygen", "--output", prefix]).code(0);
    }
    project
}

/// The bytes that DSSE signs.
fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

/// Verifies an envelope with nothing of the engine's; its payload.
pub fn opened(project: &Project, line: &str, public: &str) -> Value {
    let key = VerifyingKey::from_public_key_pem(&project.read(public)).unwrap();
    let envelope: Value = serde_json::from_str(line).unwrap();
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let payload = decode(&envelope["payload"]);
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let message = pae("application/vnd.in-toto+json", &payload);
    let signatures = envelope["signatures"].as_array().unwrap();
    let good = |signature: &Value| {
        let bytes: [u8; 64] = decode(&signature["sig"]).try_into().unwrap();
        key.verify_strict(&message, &Signature::from_bytes(&bytes)).is_ok()
    };
    assert!(signatures.iter().any(good), "{envelope}");
    serde_json::from_slice(&payload).unwrap()
}

#[test]
fn keys_are_private_and_never_overwritten() {
    let project = project();
    let mode = |name: &str| project.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("acme.key"), 0o600);
    let before = project.read("acme.key");
    project.lockgate(["plugin", "keygen", "--output", "acme"]).code(2).says("there is something already");
    std::fs::remove_file(project.join("acme.key")).unwrap();
    project.lockgate(["plugin", "keygen", "--output", "acme"]).code(2).says("acme.pub");
    assert!(!project.has("acme.key"), "no half of a pair");
    project.lockgate(["plugin", "keygen", "--output", "gone/acme"]).code(2);
    assert_ne!(project.read("other.key"), before, "each is its own");
    // As any tool reads them; the id is sha-256 of the public part.
    let secret = SigningKey::from_pkcs8_pem(&project.read("other.key")).unwrap();
    assert_eq!(secret.verifying_key(), VerifyingKey::from_public_key_pem(&project.read("other.pub")).unwrap());
    let third = project.lockgate(["plugin", "keygen", "--output", "third"]).code(0);
    let der = STANDARD.decode(project.read("third.pub").lines().nth(1).unwrap()).unwrap();
    assert_eq!(format!("sha256:{}", third.stdout.trim()), sha256(&der));
}

#[test]
fn a_signature_is_a_statement_in_an_envelope() {
    let project = project();
    project.lockgate(["plugin", "sign", "scan.wasm", "--key", "acme.key", "--expires", "2999-01-01T00:00:00Z"]).code(0);
    let line = project.read("scan.wasm.dsse.json");
    let digest = sha256(&project.bytes("scan.wasm"));
    let expected = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "scan.wasm", "digest": { "sha256": digest.strip_prefix("sha256:").unwrap() } }],
        "predicateType": "urn:lockgate:plugin:v1",
        "predicate": { "name": "scan", "version": "1.0.0", "expires": "2999-01-01T00:00:00Z" },
    });
    assert_eq!(opened(&project, &line, "acme.pub"), expected);
    let done = project.lockgate(["plugin", "verify", "scan.wasm", "--key", "acme.pub"]).code(0);
    done.prints("scan 1.0.0").prints("signed by acme.pub").prints("until 2999-01-01");
    project
        .lockgate(["plugin", "verify", "scan.wasm", "--key", "other.pub"])
        .code(3)
        .says("no signature is by `other.pub`");
}

#[test]
fn what_others_sign_is_accepted() {
    let project = project();
    let statement = json!({
        "predicateType": "urn:lockgate:plugin:v1",
        "predicate": { "version": "1.0.0", "name": "scan" },
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            { "digest": { "sha256": "00" } },
            { "digest": { "sha256": sha256(&project.bytes("scan.wasm"))[7..].to_uppercase(), "sha512": "x" } },
        ],
    });
    let payload = serde_json::to_vec_pretty(&statement).unwrap();
    let secret = SigningKey::from_pkcs8_pem(&project.read("acme.key")).unwrap();
    let signature = secret.sign(&pae("application/vnd.in-toto+json", &payload)).to_bytes();
    let envelope = json!({
        "payload": STANDARD.encode(&payload), "payloadType": "application/vnd.in-toto+json",
        "signatures": [{ "sig": STANDARD.encode(signature) }],
    });
    project.file("scan.wasm.dsse.json", serde_json::to_vec_pretty(&envelope).unwrap());
    project.lockgate(["plugin", "verify", "scan.wasm", "--key", "acme.pub"]).code(0);
}

#[test]
fn keys_add_signatures_and_other_builds_lose_them() {
    let project = project();
    let sign = |key: &str| project.lockgate(["plugin", "sign", "scan.wasm", "--key", key]);
    let verify = |key: &str| project.lockgate(["plugin", "verify", "scan.wasm", "--key", key]);
    sign("acme.key").code(0);
    sign("other.key").code(0);
    assert_eq!(project.read("scan.wasm.dsse.json").lines().count(), 1, "one envelope with two signatures");
    verify("acme.pub").code(0);
    verify("other.pub").code(0);
    let both = project.lockgate(["plugin", "verify", "scan.wasm", "--key", "acme.pub", "--key", "other.pub"]).code(0);
    assert_eq!(both.stdout.lines().count(), 2, "{}", both.all());
    project.file("scan.wasm", Handmade::stage().name("scan").version("1.0.1").build());
    verify("acme.pub").code(3).says("one of both files was changed");
    sign("acme.key").code(0);
    verify("acme.pub").code(0).prints("scan 1.0.1");
    verify("other.pub").code(3);
}

#[test]
fn every_byte_of_a_signature_file_counts() {
    let project = project();
    project.lockgate(["plugin", "sign", "scan.wasm", "--key", "acme.key"]).code(0);
    let good = project.bytes("scan.wasm.dsse.json");
    // A few of all places: each is a process of its own. Random ones are tried where envelopes are read.
    for at in (0..good.len()).step_by(37) {
        let mut bad = good.clone();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        project.file("bad.json", &bad);
        let args = ["plugin", "verify", "scan.wasm", "--key", "acme.pub", "--signatures", "bad.json"];
        let done = project.lockgate(args);
        // The key's id is for people: that alone may be anything.
        let shown = String::from_utf8_lossy(&good);
        let in_keyid = shown.find("\"keyid\":\"").is_some_and(|start| (start..start + 75).contains(&at));
        assert!(matches!(done.exit, Some(2 | 3)) || in_keyid && done.exit == Some(0), "byte {at}: {}", done.all());
    }
}

#[test]
fn wrong_keys_files_and_versions_are_named() {
    let project = project();
    let verify = |key: &str| project.lockgate(["plugin", "verify", "scan.wasm", "--key", key]);
    verify("acme.pub").code(3).says("it is not signed");
    verify("acme.key").code(2).says("private key where a public one belongs");
    verify("gone.pub").code(2);
    project.lockgate(["plugin", "verify", "scan.wasm"]).code(2).says("nobody is trusted");
    let sign = |args: &[&str]| project.lockgate([&["plugin", "sign"], args].concat());
    sign(&["scan.wasm"]).code(2).says("LOCKGATE_KEY");
    sign(&["scan.wasm", "--key", "acme.pub"]).code(2).says("public key where a private one belongs");
    sign(&["scan.wasm", "--key", "acme.key", "--expires", "2020-01-01T00:00:00Z"]).code(2).says("that is over");
    sign(&["std:noop", "--key", "acme.key"]).code(2).says("part of the engine");
    project.file("odd.wasm", Handmade::stage().name("odd").version("latest").build());
    sign(&["odd.wasm", "--key", "acme.key"]).code(2).says("not a version by semver");
    project.file("scan.wasm.dsse.json", "{");
    verify("acme.pub").code(2).says("DSSE");
    sign(&["scan.wasm", "--key", "acme.key"]).code(2);
    assert_eq!(project.read("scan.wasm.dsse.json"), "{", "nothing is overwritten");
}

#[test]
fn the_key_may_come_from_the_environment() {
    let project = project();
    for value in ["acme.key".to_owned(), project.read("acme.key")] {
        let mut command = project.command(["plugin", "sign", "scan.wasm"]);
        command.env("LOCKGATE_KEY", value);
        let done = lockgate_tests::project::finish(command).code(0);
        assert!(![&done.stdout, &done.stderr].iter().any(|text| text.contains("PRIVATE")), "{}", done.all());
        project.lockgate(["plugin", "verify", "scan.wasm", "--key", "acme.pub"]).code(0);
        std::fs::remove_file(project.join("scan.wasm.dsse.json")).unwrap();
    }
    std::fs::set_permissions(project.join("acme.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    project.lockgate(["plugin", "sign", "scan.wasm", "--key", "acme.key"]).code(0).says("others can read");
}

/// A policy that takes path plugins signed by `acme`, with more lines.
fn policy(project: &Project, signer: &str, more: &str) {
    let text = format!(
        "schema = 1\nname = \"signed\"\n{more}\n[plugins]\nsources = [\"std\", \"path\"]\nsigned = [\"acme\"]\n\
         [signers.acme]\nkey = \"\"\"\n{}\"\"\"\n{signer}\n[signers.other]\nkey = '{}'\n",
        project.read("acme.pub"),
        project.read("other.pub").lines().nth(1).unwrap()
    );
    project.file("policy.toml", text);
}

/// A project with a pipeline that uses the component.
fn piped() -> Project {
    let project = project();
    project.pipeline("[plugins]\nscan = { path = \"scan.wasm\" }\n[[stage]]\nid = \"a\"\nplugin = \"scan\"\n");
    policy(&project, "", "");
    project
}

fn build(project: &Project, version: &str) {
    project.file("scan.wasm", Handmade::stage().name("scan").version(version).build());
    project.lockgate(["plugin", "sign", "scan.wasm", "--key", "acme.key"]).code(0);
}

const POLICY: [&str; 2] = ["--policy", "policy.toml"];

#[test]
fn a_policy_takes_what_its_signers_signed_and_nothing_else() {
    let project = piped();
    for command in ["check", "plan", "run"] {
        let done = project.lockgate([command, "pipeline.toml", "--policy", "policy.toml"]).code(3);
        done.says("it is not signed").says("no valid signature");
        project.lockgate([command, "pipeline.toml"]).code(0);
    }
    // Somebody whom the policy knows, but does not ask for.
    project.lockgate(["plugin", "sign", "scan.wasm", "--key", "other.key"]).code(0);
    project.run(POLICY).code(3).says("no signature is by `acme`");
    project.lockgate(["plugin", "verify", "scan.wasm", "--policy", "policy.toml"]).code(0).prints("signed by other");
    project.lockgate(["plugin", "sign", "scan.wasm", "--key", "acme.key"]).code(0);
    for command in ["check", "plan", "run"] {
        project.lockgate([command, "pipeline.toml", "--policy", "policy.toml"]).code(0);
    }
    project.file("scan.wasm.dsse.json", "nonsense");
    project.run(POLICY).code(3).says("DSSE");
    let call = ["plugin", "call", "scan.wasm", "--policy", "policy.toml"];
    project.lockgate(call).code(3).says("no valid signature");
    project.lockgate(["plugin", "sign", "scan.wasm", "--key", "acme.key", "--output", "again.json"]).code(0);
    std::fs::rename(project.join("again.json"), project.join("scan.wasm.dsse.json")).unwrap();
    project.lockgate(call).code(0);
    // Standard plugins need no signature.
    project.pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    project.run(POLICY).code(0);
    project.assert_usable();
}

#[test]
fn ends_and_revocations_count() {
    let project = piped();
    build(&project, "1.0.0");
    let id = project.lockgate(["plugin", "sign", "scan.wasm", "--key", "acme.key"]).code(0).stdout;
    project.run(POLICY).code(0);
    policy(&project, "until = 2020-01-01T00:00:00Z", "");
    project.run(POLICY).code(3).says("counted until 2020-01-01");
    policy(&project, "", &format!("[revoked]\nkeys = [\"{}\"]", id.trim()));
    project.run(POLICY).code(3).says("was revoked");
    let verify = ["plugin", "verify", "scan.wasm", "--policy", "policy.toml"];
    project.lockgate(verify).code(3).says("of `acme` was revoked");
    policy(&project, "", &format!("[revoked]\ndigests = [\"{}\"]", sha256(&project.bytes("scan.wasm"))));
    project.run(POLICY).code(3).says("revoked");
    project.lockgate(verify).code(3).says("was revoked");
    // A key that is none stops everything.
    project.file("policy.toml", project.read("policy.toml").replace("MCowBQYDK2Vw", "MCowBQYDK2Vx"));
    project.run(POLICY).code(2).says("the signer `acme`");
}

#[test]
fn nobody_is_brought_back_to_an_older_version_unseen() {
    let project = piped();
    build(&project, "1.9.0");
    project.run(POLICY).code(0);
    build(&project, "1.10.0");
    project.lockgate(["plan", "pipeline.toml", "--policy", "policy.toml"]).code(0);
    project.lockgate(["plugin", "seen"]).code(0).prints("1.9.0");
    project.run(POLICY).code(0);
    let seen = project.lockgate(["plugin", "seen", "--format", "json"]).code(0);
    assert_eq!(seen.events.len(), 1, "{}", seen.all());
    assert_eq!((&seen.events[0]["version"], &seen.events[0]["signer"]), (&json!("1.10.0"), &json!("acme")));
    build(&project, "1.9.0");
    for command in ["check", "plan", "run"] {
        let done = project.lockgate([command, "pipeline.toml", "--policy", "policy.toml"]).code(3);
        done.says("version 1.9.0 of `scan` is lower than 1.10.0").says("lockgate plugin seen --forget scan");
    }
    // Who demands no signature has seen nothing.
    project.run::<&str>([]).code(0);
    project.lockgate(["plugin", "seen", "--forget", "scna"]).code(2);
    project.lockgate(["plugin", "seen", "--forget", "scan"]).code(0).says("forgotten: scan 1.10.0");
    project.run(POLICY).code(0);
    project.lockgate(["plugin", "seen"]).code(0).prints("1.9.0");
}

#[test]
fn a_run_that_goes_on_needs_its_signatures_again() {
    let project = piped();
    project.pipeline(
        "[plugins]\nscan = { path = \"scan.wasm\" }\n[[approval]]\nid = \"ok\"\nmessage = \"?\"\n\
         [[stage]]\nid = \"a\"\nplugin = \"scan\"\nafter = [\"ok\"]\n",
    );
    build(&project, "1.0.0");
    project.run(POLICY).code(6);
    project.lockgate(["approve", "last", "ok", "--as", "alice"]).code(0);
    let signatures = project.read("scan.wasm.dsse.json");
    std::fs::remove_file(project.join("scan.wasm.dsse.json")).unwrap();
    project.lockgate(["resume", "last", "--policy", "policy.toml"]).code(3).says("it is not signed");
    project.file("scan.wasm.dsse.json", signatures);
    project.lockgate(["resume", "last", "--policy", "policy.toml"]).code(0);
}

#[test]
fn a_lock_file_pins_what_a_policy_wants_pinned() {
    let project = piped();
    let text = "schema = 1\nname = \"pinned\"\n[plugins]\nsources = [\"std\", \"path\"]\ndigests = \"required\"\n";
    project.file("policy.toml", text);
    project.run(POLICY).code(3).says("digest");
    project.lockgate(["plugin", "lock", "pipeline.toml"]).code(0);
    project.run(POLICY).code(0);
    project.file("scan.wasm", Handmade::stage().name("scan").version("2.0.0").build());
    project.run(POLICY).code(3).says("digest");
}
