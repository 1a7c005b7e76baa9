//! What is found, where, under which name; what is not; and that no message holds a value. Secrets are put together here, so that
//! this file holds none.

use lockgate_sdk::testing::{self, Harness, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn run(config: &str, files: &[(&str, &str)]) -> Outcome<Findings> {
    Harness::new().tree("src", files.iter().copied()).run::<SecretScan>(config)
}

/// Findings without their fingerprints.
fn findings(config: &str, files: &[(&str, &str)]) -> Vec<String> {
    let outcome = run(config, files);
    let text = |finding: &Finding| {
        let text = finding.to_string();
        let (before, after) = text.split_once(", fingerprint ").unwrap_or((&text, " "));
        format!("{before} {}", after.split_once(' ').map_or("", |(_, rule)| rule))
    };
    outcome.findings().iter().map(text).collect()
}

fn rules(text: &str) -> Vec<String> {
    let outcome = run("{}", &[("f", text)]);
    outcome.findings().iter().filter_map(|finding| finding.rule.clone()).collect()
}

fn github() -> String {
    ["ghp_", &"aB3dE6gH9".repeat(4)].concat()
}

fn pem(kind: &str) -> String {
    ["-----BEGIN ", kind, "PRIVATE KEY-----"].concat()
}

#[test]
fn keys_are_found_by_their_format() {
    let base32 = &"Q2R3S4T5".repeat(8);
    let alnum = &"a1B2c3D4e5F6".repeat(20);
    let hex = &"0123456789abcdef".repeat(4);
    for (rule, key) in [
        ("aws-access-key", format!("AKIA{}", &base32[..16])),
        ("github-token", format!("gho_{}", &alnum[..36])),
        ("github-token", format!("github_pat_{}", &alnum[..82])),
        ("gitlab-token", format!("glpat-{}", &alnum[..20])),
        ("slack-token", format!("xoxb-{}-{}", &hex[..12], &alnum[..24])),
        (
            "slack-webhook",
            format!("https://hooks.slack.com/services/T{}/B{}/{}", &base32[..8], &base32[..8], &alnum[..24]),
        ),
        ("stripe-key", format!("sk_live_{}", &alnum[..24])),
        ("google-api-key", format!("AIza{}", &alnum[..35])),
        ("npm-token", format!("npm_{}", &alnum[..36])),
        ("crates-token", format!("cio{}", &alnum[..32])),
        ("digitalocean-token", format!("dop_v1_{hex}")),
        ("sendgrid-key", format!("SG.{}.{}", &alnum[..22], &alnum[..43])),
        ("age-key", format!("AGE-SECRET-KEY-1{}", &base32[..58])),
        ("jwt", format!("eyJ{}.eyJ{}.{}", &alnum[..20], &alnum[..20], &alnum[..30])),
    ] {
        for text in [format!("x = f({key})"), format!("\"{key}\""), format!("{key}\n"), format!("# {key},")] {
            assert_eq!(rules(&text), [rule], "{text}");
        }
        // Shorter, longer or in the middle of a word it is something else.
        assert_eq!(rules(&format!("x{key}")), [] as [&str; 0], "{key}");
        assert_eq!(rules(&key[..key.len() / 2]), [] as [&str; 0], "{key}");
    }
    assert_eq!(rules(&["AKIA", "IOSFODNN7", "EXAMPLE"].concat()), [] as [&str; 0], "the one of the documents");
    assert_eq!(rules(&["npm_", &"x".repeat(36)].concat()), [] as [&str; 0]);
}

#[test]
fn no_finding_and_no_log_holds_a_value() {
    let (key, password) = (github(), ["h0rse", "-b4ttery", "-st4ple"].concat());
    let text = format!("a = {key}\npassword = \"{password}\"\nurl = https://me:{password}@host/\n");
    let outcome = run("{}", &[("a/b.rs", &text)]);
    let shown: Vec<String> = outcome.findings().iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 3, "{shown:#?}");
    let all = format!("{shown:?} {:?} {}", outcome.log, outcome.failure());
    assert!(!all.contains(&key[5..]) && !all.contains(&password), "{all}");
    assert!(
        shown[0].starts_with("error: a/b.rs:1:5: a token of GitHub: `ghp_***` (40 characters), fingerprint "),
        "{}",
        shown[0]
    );
    assert!(
        shown[1]
            .starts_with("warning: a/b.rs:2:13: a value that is assigned to what is called a secret: `password = ***`"),
        "{}",
        shown[1]
    );
    assert!(shown[2].starts_with("error: a/b.rs:3:18: a password in a URL"), "{}", shown[2]);
    assert_eq!(outcome.failure(), "3 secrets were found; revoke them, then take them out, or permit them");
}

#[test]
fn private_keys_are_found_with_their_bodies() {
    let body = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp";
    for kind in ["", "RSA ", "OPENSSH ", "ENCRYPTED "] {
        let head = pem(kind);
        assert_eq!(rules(&format!("{head}\n{body}\n")), ["private-key"]);
        assert_eq!(rules(&format!("  \"{head}\\n{body}\\n\"")), ["private-key"], "in one line");
        assert_eq!(rules(&format!("key: |\n    {head}\n    {body}\n")), ["private-key"]);
        assert_eq!(rules(&format!("if text.starts_with(\"{head}\") {{")), [] as [&str; 0], "a program that reads keys");
        assert_eq!(rules(&format!("{head}\nnothing of the kind\n")), [] as [&str; 0]);
        assert_eq!(rules(&head), [] as [&str; 0]);
    }
    assert_eq!(rules(&format!("{}\n{body}\n", pem("").replace("PRIVATE", "PUBLIC"))), [] as [&str; 0]);
}

#[test]
fn what_is_assigned_to_the_name_of_a_secret_is_found() {
    let value = ["p4ss", "w0rd", "-of-m1ne"].concat();
    for text in [
        format!("password = \"{value}\""),
        format!("DB_PASSWORD={value}"),
        format!("  api-key: {value}  # for tests"),
        format!("\"clientSecret\": \"{value}\","),
        format!("let auth_token := '{value}';"),
        format!("'access_key' => '{value}'"),
    ] {
        assert_eq!(rules(&text), ["assigned-secret"], "{text}");
    }
    for text in [
        format!("token = next_token({value})"),
        format!("tokens = \"{value}\""),
        format!("password_file = \"/etc/{value}\""),
        "password = \"${DB_PASSWORD_2}\"".into(),
        "password = \"your-password-1\"".into(),
        "password: str = None".into(),
        "secret: \"correct horse battery staple\"".into(),
        "token: Token2,".into(),
        "password = \"aaaaaaaa1\"".into(),
        "password = \"short1\"".into(),
        "token := <token-1-of-yours>".into(),
        "secret = &self.secrets[index_1]".into(),
        "https://me:${PASSWORD_1}@host".into(),
        "https://host:8080/path@1.2.3".into(),
        "https://me@host".into(),
    ] {
        assert_eq!(rules(&text), [] as [&str; 0], "{text}");
    }
}

#[test]
fn severities_can_be_changed() {
    let text = format!("{}\n", github());
    assert_eq!(findings(r#"{"rules": {"github-token": "off"}}"#, &[("f", &text)]), [] as [&str; 0]);
    let outcome = run(r#"{"rules": {"github-token": "note"}}"#, &[("f", &text)]);
    assert_eq!(outcome.ok().count(Severity::Note), 1);
    assert!(run(r#"{"fail_on": "off"}"#, &[("f", &text)]).result.is_ok());
    let message = run(r#"{"rules": {"github": "off"}}"#, &[]).failure().to_owned();
    assert!(message.starts_with("`rules` speaks of `github`, which is no rule: there are private-key, "), "{message}");
    let random = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0xLuRiOeA";
    assert_eq!(rules(random), [] as [&str; 0], "off by default");
    let config = r#"{"rules": {"high-entropy": "warning"}}"#;
    assert_eq!(findings(config, &[("f", random)]).len(), 1);
    assert_eq!(findings(config, &[("f", &"ab".repeat(20))]), [] as [&str; 0]);
    assert_eq!(findings(config, &[("f", &text)]).len(), 1, "nothing is found twice");
}

#[test]
fn patterns_of_ones_own_are_tried() {
    let config = r#"{"patterns": [{"id": "acme", "summary": "a key of Acme", "regex": "acme-([0-9]{6})", "keywords": ["ACME"]}]}"#;
    let found = findings(config, &[("f", "ü acme-123456 acme-654321")]);
    assert_eq!(
        found,
        [
            "error: f:1:8: a key of Acme: `***` (6 characters) [acme]",
            "error: f:1:20: a key of Acme: `***` (6 characters) [acme]",
        ]
    );
    let wrong = |pattern: &str| run(&format!(r#"{{"patterns": [{pattern}]}}"#), &[("f", "x")]).failure().to_owned();
    assert!(wrong(r#"{"id": "jwt", "regex": "x"}"#).contains("two rules called `jwt`"));
    assert!(wrong(r#"{"id": "a", "regex": "("}"#).starts_with("the pattern of `a` cannot be used: "));
    assert!(
        wrong(r#"{"id": "a", "regex": "((a{1000}){1000}){1000}"}"#).starts_with("the pattern of `a` cannot be used: ")
    );
    assert!(wrong(r#"{"id": "a", "regex": "x*"}"#).contains("matches the empty text"));
}

#[test]
fn comments_permit() {
    let key = github();
    for text in [
        format!("{key} // lockgate:allow-secret"),
        format!("{key} # lockgate:allow-secret(github-token) of a test"),
        format!("# lockgate:allow-secret(jwt, github-token)\n{key}"),
        format!("# lockgate:allow-secret\n{}\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp", pem("")),
    ] {
        assert_eq!(rules(&text), [] as [&str; 0], "{text}");
    }
    for text in [
        format!("{key} # lockgate:allow-secret(jwt)"),
        format!("# lockgate:allow-secret\n\n{key}"),
        format!("{} # lockgate:allow-secret\n{key}", github()),
    ] {
        assert_eq!(rules(&text), ["github-token"], "{text}");
    }
}

#[test]
fn the_config_permits_by_path_rule_and_fingerprint() {
    let text = format!("one {}\n", github());
    let files = [("tests/a.rs", text.as_str()), ("src/b.rs", text.as_str())];
    let count = |allow: &str| findings(&format!(r#"{{"allow": [{allow}]}}"#), &files).len();
    assert_eq!(count(r#"{"paths": ["tests/**"], "reason": "made up"}"#), 1);
    assert_eq!(count(r#"{"rules": ["github-token"], "reason": "made up"}"#), 0);
    assert_eq!(
        count(r#"{"paths": ["tests/**"], "rules": ["jwt"], "reason": "made up"}"#),
        3,
        "and a note that it permits nothing"
    );
    assert!(run(r#"{"allow": [{"reason": "all"}]}"#, &files).failure().contains("permits everything"));
    assert!(
        run(r#"{"allow": [{"rules": ["x"], "reason": "all"}]}"#, &files).failure().contains("`x`, which is no rule")
    );
    assert!(run(r#"{"allow": [{"rules": ["jwt"], "reason": " "}]}"#, &files).failure().contains("has no reason"));
    assert!(run(r#"{"allow": [{"rules": ["jwt"]}]}"#, &files).failure().contains("missing field `reason`"));
}

#[test]
fn fingerprints_follow_a_secret_and_nothing_else() {
    let prints = |path: &str, text: &str| -> Vec<String> {
        let outcome = run("{}", &[(path, text)]);
        let print = |finding: &Finding| finding.message.rsplit_once("fingerprint ").map(|(_, print)| print.to_owned());
        outcome.findings().iter().filter_map(print).collect()
    };
    let key = github();
    let one = prints("f", &format!("key = {key}\n"));
    assert_eq!(one[0].len(), 13);
    assert_eq!(prints("f", &format!("\n\n   key = {key} # moved\n")), one);
    assert_ne!(prints("g", &format!("key = {key}\n")), one);
    assert_ne!(prints("f", &format!("other = {key}\n")), one);
    let another = prints("f", &format!("key = {}\n", key.replace('a', "b")));
    assert_eq!((another[0][..10] == one[0][..10], another[0] == one[0]), (true, false), "12 bits are the value's");
    let twice = prints("f", &format!("key = {key}\nkey = {key}\n"));
    assert!(twice[0] == one[0] && twice[1] != one[0]);
    let baseline = format!("# known\n{} # of a test\n0123456789abc\n", one[0]);
    let harness = Harness::new().tree("src", [("f", format!("key = {key}\n"))]).blob("baseline", baseline);
    let outcome = harness.run::<SecretScan>("{}");
    let text: Vec<String> = outcome.ok().iter().map(ToString::to_string).collect();
    assert_eq!(text, ["note: line 3 of the baseline permits nothing that is there [unused-permission]"]);
}

#[test]
fn long_lines_and_large_files_are_looked_at_in_pieces() {
    let key = github();
    for padding in [0, 100, 65_400, 65_500, 65_530, 65_536, 130_000, 1_000_000] {
        let text = format!("{} {key} ü\n{key}", "ü".repeat(padding / 2));
        let found = findings("{}", &[("f", &text)]);
        assert_eq!(found.len(), 2, "{padding}: {found:?}");
        assert!(found[0].starts_with(&format!("error: f:1:{}:", padding / 2 + 2)), "{padding}: {}", found[0]);
        assert!(found[1].starts_with("error: f:2:1:"), "{}", found[1]);
    }
    let lines = format!("{key}\n").repeat(300);
    let found = findings("{}", &[("a", &lines), ("b", &key)]);
    assert_eq!((found.len(), found[100].as_str()), (102, "error: a: and 200 more "));
}

#[test]
fn binary_and_unchosen_files_are_left_out() {
    let key = github();
    let outcome = Harness::new().tree("src", [("bin", format!("\0{key}")), ("a.txt", key.clone()), ("b.rs", key)]);
    let outcome = outcome.run::<SecretScan>(r#"{"include": ["**/*.txt", "bin"], "fail_on": "off"}"#);
    assert_eq!(outcome.ok().len(), 1);
    assert!(outcome.log[0].1.starts_with("looked at 1 files of 40 bytes; 1 findings"), "{:?}", outcome.log);
}
