//! Policy files: golden pairs of `tests/ui/policy`, the tests inside of policies, the JSON Schema, hostile texts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lockgate_model::policy::limit::Limit;
use lockgate_model::policy::{Policy, Rule, SetBy};
use lockgate_syntax::policy::{CaseEnd, Judged, ParsedPolicy, PluginKnown, PolicyFile, parse_policy};
use lockgate_syntax::{Code, policy_schema};
use proptest::prelude::*;
use serde_json::Value;

use crate::fixtures::{files, parse_file, ui};
use crate::golden::{compare, render, shown};

fn dir() -> PathBuf {
    ui().join("policy")
}

fn parse(path: &Path) -> ParsedPolicy {
    let parsed = parse_policy(path.file_name().unwrap().to_str().unwrap(), &std::fs::read(path).unwrap());
    assert_eq!(parsed.policy.is_some(), parsed.problems.is_empty(), "{}", path.display());
    parsed
}

fn policy(text: &str) -> PolicyFile {
    let parsed = parse_policy("policy.toml", format!("schema = 1\nname = 'x'\n{text}").as_bytes());
    parsed.policy.unwrap_or_else(|| panic!("{}", shown(&parsed.problems)))
}

/// What the policy of `refused` says to a pipeline of it.
fn judge(path: &Path) -> Judged {
    let policy = parse(&dir().join("refused/policy.toml")).policy.unwrap();
    let mut parsed = parse_file(path.file_name().unwrap().to_str().unwrap(), &std::fs::read(path).unwrap());
    assert_eq!(shown(&parsed.problems), "", "{}", path.display());
    parsed.judge(&[policy], &BTreeMap::new())
}

fn refused() -> Vec<PathBuf> {
    let mut pipelines = files(dir().join("refused"), "toml");
    pipelines.retain(|path| !path.ends_with("policy.toml"));
    pipelines
}

/// The codes of all problems that the pairs here show.
pub fn codes() -> BTreeSet<Code> {
    let wrong = files(dir(), "toml").into_iter().flat_map(|path| parse(&path).problems);
    let refused = refused().into_iter().flat_map(|path| judge(&path).problems);
    wrong.chain(refused).map(|problem| problem.code).collect()
}

#[test]
fn every_wrong_policy_gets_its_exact_diagnostic() {
    let mut wrong = Vec::new();
    for path in files(dir(), "toml") {
        let problems = parse(&path).problems;
        assert!(!problems.is_empty(), "{} has no problem", path.display());
        wrong.extend(compare(&path, "txt", &shown(&problems)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_refusal_names_the_line_of_the_pipeline_and_of_the_policy() {
    let mut wrong = Vec::new();
    for path in refused() {
        let problems = judge(&path).problems;
        assert!(problems.iter().all(|problem| problem.code == Code::Refused && problem.place().is_some()));
        wrong.extend(compare(&path, "txt", &shown(&problems)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_valid_policy_says_exactly_this() {
    let mut wrong = Vec::new();
    for path in files(dir().join("valid"), "toml") {
        let file = parse(&path);
        assert_eq!(shown(&file.problems), "");
        let file = file.policy.unwrap();
        let line = |rule: &Rule| {
            let says = rule.says(&file.policy);
            let line = file.line(*rule).map(|line| format!(" (line {line})")).unwrap_or_default();
            (!says.is_empty()).then(|| format!("{rule}{line}: {}\n", says.join(" | ")))
        };
        let Policy { signers, revoked, .. } = &file.policy;
        let mut text: String = Rule::ALL.iter().filter_map(line).collect();
        text += &format!("signers: {signers:?}\nrevoked: {revoked:?}\n");
        for test in &file.tests {
            text += &format!("test (line {}) {}: {:?} {:?}\n", test.line, test.name, test.expect, test.signed_by);
            assert_eq!(file.run(test), CaseEnd::Passed, "{}", test.name);
        }
        wrong.extend(compare(&path, "txt", &text));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_inside_of_a_policy_fail_with_the_reason() {
    let probe = "[[health-check]]\nid='up'\nplugin='std:http-probe'\ngrants.http=['GET https://a.example/']\n";
    let run = |head: &str, expect: &str, pipeline: &str| {
        let file = policy(&format!("{head}\n[[test]]\nname='t'\npipeline=\"\"\"{pipeline}\"\"\"\n{expect}\n"));
        file.run(&file.tests[0])
    };
    let failed = |head: &str, expect: &str, pipeline: &str| match run(head, expect, pipeline) {
        CaseEnd::Failed(why) => why,
        CaseEnd::Passed => panic!("it passed"),
    };
    let allowed = "grants.http = ['GET https://a.example/']";
    assert_eq!(run(allowed, "expect = 'allowed'", probe), CaseEnd::Passed);
    assert_eq!(failed(allowed, "expect = 'refused'", probe), "it is allowed");
    assert_eq!(
        failed("", "expect = 'allowed'", probe),
        "it is refused: the grant of `GET https://a.example:443/` goes beyond the policy; policy.toml: without `grants.http` \
         nothing of the kind is allowed"
    );
    assert_eq!(run("", "expect = 'refused'", probe), CaseEnd::Passed);
    assert_eq!(run("", "expect = 'refused'\nbecause = 'grants.http'", probe), CaseEnd::Passed);
    assert_eq!(
        failed("", "expect = 'refused'\nbecause = 'grants.clock'", probe),
        "it is refused by `grants.http`, not by `grants.clock` alone"
    );
    assert_eq!(
        failed("plugins.sources = []", "expect = 'refused'\nbecause = 'grants.http'", probe),
        "it is refused by `plugins.sources`, `grants.http`, not by `grants.http` alone"
    );
    // A fragment that is no pipeline proves nothing, whatever is expected of it.
    let wrong = "\n[[stage]]\nid = 'a'\nplugn = 'std:pack'\n";
    assert!(failed("", "expect = 'refused'", wrong).starts_with("it is no pipeline: line "));
    assert!(failed("", "expect = 'refused'", "nonsense").contains("not TOML"));
    // A whole pipeline may stand there too.
    let whole = format!("schema = 1\nname = 'whole'\n{probe}");
    assert_eq!(run(allowed, "expect = 'allowed'", &whole), CaseEnd::Passed);
}

#[test]
fn defaults_are_lowered_in_the_pipeline_and_nothing_else_is_changed() {
    let text = "schema = 1\nname = 'x'\n[[stage]]\nid = 'a'\nplugin = 'std:any'\nlimits.memory = '1MiB'\n[[stage]]\nid = 'b'\nplugin = 'std:any'\n";
    let mut parsed = parse_file("x.toml", text.as_bytes());
    let before = parsed.pipeline.clone().unwrap();
    let low = policy("limits = { fuel = '1M', memory = '2MiB', timeout = '24h' }");
    let judged = parsed.judge(std::slice::from_ref(&low), &BTreeMap::new());
    assert!(judged.problems.is_empty() && judged.rules.is_empty());
    let mut expected = (*before).clone();
    for node in &mut expected.nodes {
        node.limits.fuel.0 = 1_000_000;
    }
    expected.nodes[1].limits.memory.0 = 2 << 20;
    assert_eq!(*parsed.pipeline.clone().unwrap(), expected);
    // Who set a limit is known afterwards too.
    let decision = parsed.decision(&[low], 1, None).unwrap();
    let by = |limit| decision.limits.iter().find(|decided| decided.limit == limit).map(|decided| decided.by);
    assert_eq!(by(Limit::Fuel), Some(SetBy::Policy(0)));
    assert_eq!(by(Limit::Timeout), Some(SetBy::Default));
    assert_eq!(decision.in_force, parsed.pipeline.as_ref().unwrap().nodes[1].limits);
    // Without a policy nothing is lowered.
    let mut parsed = parse_file("x.toml", text.as_bytes());
    assert!(parsed.judge(&[], &BTreeMap::new()).problems.is_empty());
    assert_eq!(parsed.pipeline, Some(before));
}

#[test]
fn what_is_known_of_plugins_counts() {
    let text = "schema = 1\nname = 'x'\n[plugins]\na = { path = 'a.wasm' }\n[[stage]]\nid = 'a'\nplugin = 'a'\n";
    let file = policy(
        "plugins = { sources = ['path'], digests = 'required', signed = ['us'] }\nsigners.us.key = 'k'\nrevoked.digests = ['sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff']",
    );
    let rules = |known: PluginKnown| {
        let mut parsed = parse_file("x.toml", text.as_bytes());
        let alias = parsed.plugins().keys().next().unwrap().clone();
        parsed.judge(std::slice::from_ref(&file), &[(alias, known)].into()).rules
    };
    assert_eq!(rules(PluginKnown::default()), [Rule::Digests, Rule::Signed].into());
    let signers = vec![["us".to_owned()].into()];
    let good = PluginKnown { locked: true, signers, ..PluginKnown::default() };
    assert_eq!(rules(good.clone()), [].into());
    assert_eq!(rules(PluginKnown { signers: vec![["them".to_owned()].into()], ..good.clone() }), [Rule::Signed].into());
    let digest = file.policy.revoked.digests.first().copied();
    assert_eq!(rules(PluginKnown { digest, ..good }), [Rule::RevokedDigests].into());
}

#[test]
fn the_schema_takes_what_the_parser_takes_and_refuses_what_is_built_wrong() {
    let validator = jsonschema::draft202012::new(&policy_schema()).unwrap();
    let json = |path: &Path| {
        let table: toml::Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        crate::schema::as_editors_see(toml::Value::Table(table))
    };
    for path in files(dir().join("valid"), "toml") {
        let errors: Vec<_> = validator.iter_errors(&json(&path)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    for name in ["unknown-key", "missing", "schema-version"] {
        assert!(!validator.is_valid(&json(&dir().join(name).with_extension("toml"))), "{name} is taken");
    }
}

#[test]
fn every_key_of_the_schema_stands_in_the_whole_policy_and_is_explained() {
    fn keys(schema: &Value, found: &mut BTreeSet<String>) {
        for (key, value) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            assert!(value["description"].as_str().is_some_and(|text| text.ends_with('.')), "{key}");
            found.insert(key.clone());
        }
        for value in schema.get("$defs").and_then(Value::as_object).into_iter().flat_map(|defs| defs.values()) {
            keys(value, found);
        }
    }
    let mut found = BTreeSet::new();
    keys(&policy_schema(), &mut found);
    assert!(found.len() > 40, "{found:?}");
    let text = std::fs::read_to_string(dir().join("valid/all.toml")).unwrap();
    let used: BTreeSet<_> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(ToOwned::to_owned).collect();
    let unused: Vec<_> = found.difference(&used).collect();
    assert!(unused.is_empty(), "no valid policy uses {unused:?}");
}

#[test]
fn a_policy_is_bounded() {
    let large = "#".repeat((1 << 20) + 1);
    assert_eq!(parse_policy("x", large.as_bytes()).problems[0].code, Code::TooLarge);
    let deep = format!("schema = 1\nname = 'x'\ngrants = {}1{}\n", "[".repeat(60), "]".repeat(60));
    assert_eq!(parse_policy("x", deep.as_bytes()).problems[0].code, Code::TooDeep);
    // Globs that would be expensive to match are refused or matched in linear time.
    let pattern = "{a,b}".repeat(800);
    let text = format!("schema = 1\nname = 'x'\nenvironment.variables = ['{pattern}', '{}']\n", "*a".repeat(2_000));
    let parsed = parse_policy("x", text.as_bytes());
    if let Some(file) = parsed.policy {
        assert!(!file.policy.environment.variables.iter().any(|pattern| pattern.covers(&"a".repeat(200))));
    }
}

/// Reads a policy, renders its problems, runs its tests.
fn survive(text: &str) {
    let parsed = parse_policy("hostile.toml", text.as_bytes());
    for problem in &parsed.problems {
        assert!(render(problem).len() < 100_000);
    }
    if let Some(file) = parsed.policy {
        file.tests.iter().for_each(|test| drop(file.run(test)));
        Rule::ALL.into_iter().for_each(|rule| drop(rule.says(&file.policy)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_policies_never_panic(text in "(.|\n){0,200}") {
        survive(&text);
    }

    #[test]
    fn mutated_policies_never_panic(at in 0.0..1.0_f64, len in 0..40_usize, piece in "[\\[\\]{}='\".,$*:/a0\n]{0,6}") {
        let mut chars: Vec<_> = std::fs::read_to_string(dir().join("valid/all.toml")).unwrap().chars().collect();
        let start = (at * chars.len() as f64) as usize;
        let end = (start + len).min(chars.len());
        chars.splice(start..end, piece.chars());
        survive(&chars.into_iter().collect::<String>());
    }

    /// A pattern that is read is shown in a form that is read as the same.
    #[test]
    fn patterns_never_panic(text in "(GET|\\*|POST)? ?(https?://)?([a-z*.\\[\\]:0-9/@-]|localhost|127\\.0|::1){0,12}") {
        let quoted = text.replace('\'', "");
        survive(&format!(
            "schema = 1\nname = 'x'\ngrants = {{ http = ['{quoted}'], tcp = ['{quoted}'], secrets = ['{quoted}'], networks = ['{quoted}'] }}\nexports.roots = ['{quoted}']\n"
        ));
        if let Ok(pattern) = text.parse::<lockgate_model::policy::pattern::HttpPattern>() {
            prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }
    }
}
