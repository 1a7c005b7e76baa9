//! Hostile files and schemas: a diagnostic, never a panic or a hang.

use std::time::{Duration, Instant};

use lockgate_model::PluginAlias;
use lockgate_syntax::{Code, Parsed};
use proptest::prelude::*;
use serde_json::json;

use crate::fixtures::{files, manifests, parse_file, ui};
use crate::golden::render;

/// Far more than any of these files takes, far less than a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Parses, renders every problem and checks manifests: all of it must end well.
fn survive(text: &str) -> Parsed {
    let start = Instant::now();
    let parsed = parse_file("hostile.toml", text.as_bytes());
    let _ = parsed.check_manifests(&manifests(&parsed));
    for problem in &parsed.problems {
        assert!(render(problem).len() < 100_000);
        if let Some(place) = problem.place() {
            assert!(place.line >= 1 && place.column >= 1 && place.text.len() < 1_000);
        }
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    parsed
}

fn code(text: &str) -> Code {
    let parsed = survive(text);
    parsed.problems.first().map(|problem| problem.code).unwrap_or_else(|| panic!("no problem"))
}

const HEAD: &str = "schema = 1\nname = \"x\"\n";

#[test]
fn large_files_end_fast() {
    let size = 16 << 20;
    let repeat = |text: &str| text.repeat(size / text.len());
    for text in ["[", "[[stage]]\n", "a=1\n", "a.", "=\n", "'''", "[[stage]]\nid='x'\n", "x = [1,\n"] {
        survive(&repeat(text));
    }
    let many: String = (0..400_000).map(|n| format!("[[stage]]\nid='n{n}'\nplugin='std:any'\n")).collect();
    assert_eq!(code(&format!("{HEAD}{}", &many[..15 << 20])), Code::Toml);
    assert_eq!(code(&repeat(HEAD)), Code::Toml);
    assert_eq!(code(&"x".repeat((16 << 20) + 1)), Code::TooLarge);
}

#[test]
fn more_nodes_than_permitted_are_one_problem() {
    let many: String = (0..100_001).map(|n| format!("[[stage]]\nid='n{n}'\nplugin='std:any'\n")).collect();
    assert_eq!(code(&format!("{HEAD}{many}")), Code::TooLarge);
    let values = (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let matrix = format!(
        "{HEAD}[[stage]]\nid='n'\nplugin='std:any'\nmatrix = {{ a = [{values}], b = [{values}], c = [{values}] }}\n"
    );
    assert_eq!(code(&matrix), Code::TooLarge);
}

#[test]
fn what_multiplies_is_stopped() {
    let values = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let node = |id: &str, more: &str| {
        format!("[[stage]]\nid='{id}'\nplugin='std:any'\nmatrix = {{ a = [{values}] }}\n{more}\n")
    };
    // 10,000 nodes after 10,000 others.
    assert_eq!(code(&format!("{HEAD}{}{}", node("a", ""), node("b", "after = ['a']"))), Code::TooLarge);
    // A large config 10,000 times.
    assert_eq!(code(&format!("{HEAD}{}", node("a", &format!("config.x = '{}'", "x".repeat(1 << 20))))), Code::TooLarge);
    // A long parameter many times.
    let bomb = format!(
        "{HEAD}[params.p]\ntype='string'\ndefault='{}'\n{}",
        "x".repeat(60_000),
        node("a", &format!("config.x = '{}'", "${params.p}".repeat(10_000)))
    );
    assert_eq!(code(&bomb), Code::TooLarge);
    // Patterns that repeat repetitions.
    let pattern = format!(
        "{HEAD}[params.p]\ntype='string'\ndefault='x'\npattern='((a{{1000}}){{1000}}){{1000}}'\n{}",
        node("a", "")
    );
    assert_eq!(code(&pattern), Code::ParamDeclaration);
}

#[test]
fn nodes_that_wait_are_bounded_like_others() {
    let many: String = (0..100_000).map(|n| format!("[[approval]]\nid='n{n}'\nmessage='Go on?'\n")).collect();
    let parsed = survive(&format!("{HEAD}{many}"));
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems[0].message);
    assert_eq!(parsed.graph.unwrap().len(), 100_000);
    assert_eq!(code(&format!("{HEAD}{many}[[wait]]\nid='x'\nfor='1s'\n")), Code::TooLarge);
    let values = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let thousand = |text: &str| vec![text; 1_000].join(",");
    // 1,000 approvers, or grants, 10,000 times.
    let approvers = thousand("'a'");
    let approval =
        format!("[[approval]]\nid='n'\nmessage='x'\nmatrix = {{ a = [{values}] }}\napprovers = [{approvers}]\n");
    assert_eq!(code(&format!("{HEAD}{approval}")), Code::TooLarge);
    let grants = thousand("{ request = 'GET http://a' }");
    let stage =
        format!("[[stage]]\nid='n'\nplugin='std:any'\nmatrix = {{ a = [{values}] }}\ngrants.http = [{grants}]\n");
    assert_eq!(code(&format!("{HEAD}{stage}")), Code::TooLarge);
    let long = "9".repeat(100_000);
    assert_eq!(code(&format!("{HEAD}[[wait]]\nid='n'\nfor='{long}d'\n")), Code::OutOfRange);
    assert_eq!(code(&format!("{HEAD}[[wait]]\nid='n'\nuntil='{long}'\n")), Code::OutOfRange);
    assert_eq!(code(&format!("{HEAD}[[wait]]\nid='n'\nuntil='{}'\n", &long[..4_000])), Code::Moment);
}

#[test]
fn deep_nesting_is_a_problem() {
    let keys = vec!["a"; 79].join(".");
    let mut deep = "1".to_owned();
    for _ in 0..78 {
        deep = format!("{{{keys}={deep}}}");
    }
    assert_eq!(code(&format!("{HEAD}x = {deep}\n")), Code::TooDeep);
    survive(&format!("{HEAD}[{keys}]\n{keys} = {deep}\n{keys} = {deep}\n"));
    assert_eq!(code(&format!("{HEAD}x = {}1{}\n", "[".repeat(60), "]".repeat(60))), Code::TooDeep);
    survive(&format!("{HEAD}x = {}", "[".repeat(100_000)));
    survive(&format!("{HEAD}x = {}", "{a=".repeat(100_000)));
    let when = |text: &str| code(&format!("{HEAD}[[stage]]\nid='a'\nplugin='std:any'\nwhen = \"{text}\"\n"));
    assert_eq!(when(&format!("{}true{}", "(".repeat(1_000), ")".repeat(1_000))), Code::Expression);
    assert_eq!(when(&format!("{}true", "!".repeat(4_000))), Code::Expression);
    assert_eq!(when(&format!("true in {}", "[".repeat(4_000))), Code::Expression);
    assert_eq!(when(&"x".repeat(5_000)), Code::OutOfRange);
    let long = vec!["true"; 500].join(" && ");
    assert!(survive(&format!("{HEAD}[[stage]]\nid='a'\nplugin='std:any'\nwhen = \"{long}\"\n")).problems.is_empty());
}

#[test]
fn a_large_right_file_is_read() {
    let nodes: String =
        (0..20_000).map(|n| format!("[[stage]]\nid='n{n}'\nplugin='std:any'\ninputs.a = 'n{}.out'\n", n + 1)).collect();
    let parsed = survive(&format!("{HEAD}{nodes}[[stage]]\nid='n20000'\nplugin='std:any'\n"));
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems[0].message);
    assert_eq!(parsed.graph.unwrap().len(), 20_001);
}

#[test]
fn hostile_schemas_are_refused() {
    let parsed = parse_file("x.toml", format!("{HEAD}[[stage]]\nid='a'\nplugin='std:pack'\ninputs.src.dir='.'\nconfig = {{ a = {{ a = 1 }}, s = '{}' }}\n", "a".repeat(50_000)).as_bytes());
    let mut manifests = manifests(&parsed);
    let manifest = manifests.get_mut(&PluginAlias::new("std-pack").unwrap()).unwrap();
    let mut defs = serde_json::Map::new();
    for n in 0..60 {
        let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
        defs.insert(format!("d{n}"), json!({ "anyOf": [next, next, next] }));
    }
    defs.insert("d60".into(), json!({ "type": "string" }));
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({ "not": deep });
    }
    let patterns: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("a{n}"), json!({ "pattern": "^a" }))).collect();
    let refused = [
        json!({ "$ref": "#" }),
        json!({ "$ref": "https://example.org/schema.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!({ "$ref": "#/nowhere" }),
        json!({ "$ref": "#/$defs/d0", "$defs": defs }),
        json!({ "properties": { "a": { "allOf": [{ "$ref": "#/properties/a" }] } } }),
        json!({ "properties": { "a": { "$dynamicRef": "#x" } } }),
        json!({ "$schema": "https://example.org/other" }),
        json!({ "properties": { "s": { "pattern": "((a{1000}){1000}){1000}" } } }),
        json!({ "properties": patterns }),
        json!({ "type": 7 }),
        json!([1, 2]),
        deep,
    ];
    for schema in refused {
        manifest.config_schema = schema.clone();
        let start = Instant::now();
        let codes: Vec<_> = parsed
            .check_manifests(&[(PluginAlias::new("std-pack").unwrap(), manifest.clone())].into())
            .iter()
            .map(|p| p.code)
            .collect();
        assert_eq!(codes, [Code::ConfigSchema], "{schema}");
        assert!(start.elapsed() < PATIENCE);
    }
    // What an engine that goes back would never end with.
    manifest.config_schema = json!({ "properties": { "s": { "pattern": "^(a+)+$" } } });
    let found = parsed.check_manifests(&[(PluginAlias::new("std-pack").unwrap(), manifest.clone())].into());
    assert!(found.is_empty(), "{found:?}");
}

/// Words of the format, so that random texts come near to files.
fn soup() -> impl Strategy<Value = String> {
    let words = [
        "schema = 1\n",
        "name = 'x'\n",
        "[params.p]\n",
        "type = 'string'\n",
        "default = ",
        "[plugins]\n",
        "[[stage]]\n",
        "[[canary]]\n",
        "[[export]]\n",
        "id = 'a'\n",
        "id = 'b'\n",
        "plugin = 'std:any'\n",
        "inputs.x = ",
        "config = ",
        "when = ",
        "matrix = ",
        "after = ",
        "'a.x'\n",
        "\"b[k=1].x\"\n",
        "{ k = [1, 2] }\n",
        "['a']\n",
        "'${params.p}'\n",
        "'${'\n",
        "\"a.status == 'x'\"\n",
        "1\n",
        "true\n",
        "{",
        "}",
        "[",
        "]",
        "=",
        ".",
        "'",
        "\"",
        "\n",
        "é",
        "\u{0}",
        "poll = { every = '1s', for = '2s' }\n",
        "retry.attempts = 2\n",
        "[[approval]]\n",
        "[[wait]]\n",
        "[concurrency]\n",
        "group = ",
        "message = ",
        "approvers = ",
        "for = '9d'\n",
        "until = ",
        "2026-12-01T08:00:00Z\n",
        "max_age = ",
        "grants.http = [{ request = 'POST http://a', in_doubt = 'repeat' }]\n",
        "when = \"a.verdict == 'approved'\"\n",
        "to = '../x'\n",
        "from = 'a.x'\n",
        "[a]\n",
        "[a.b]\n",
        "[[a]]\n",
        "\r\n",
        "\r",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_texts_never_panic(text in "(.|\n){0,200}") {
        survive(&text);
    }

    #[test]
    fn texts_like_pipelines_never_panic(text in soup()) {
        survive(&text);
    }

    #[test]
    fn mutated_pipelines_never_panic(file in 0..100_usize, at in 0.0..1.0_f64, len in 0..40_usize, piece in "[\\[\\]{}='\".,$a\n]{0,6}") {
        let valid = files(ui().join("valid"), "toml");
        let mut chars: Vec<_> = std::fs::read_to_string(&valid[file % valid.len()]).unwrap().chars().collect();
        let start = (at * chars.len() as f64) as usize;
        let end = (start + len).min(chars.len());
        chars.splice(start..end, piece.chars());
        survive(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn moments_never_panic(text in "([0-9]{1,4}|[TtZz:+. -]|2026-12-01|T08:00|:00|\\.5|\\+01:00){0,8}") {
        survive(&format!("{HEAD}[[wait]]\nid='a'\nuntil='{text}'\n[[wait]]\nid='b'\nuntil={text}\n"));
    }

    #[test]
    fn expressions_never_panic(text in "([a-z(){}!=<>&|.,0-9'\\[\\]$ -]{0,3}|true|params\\.p|a\\.status|==| in |&&){0,12}") {
        survive(&format!("{HEAD}[params.p]\ntype='string'\ndefault='x'\n[[stage]]\nid='a'\nplugin='std:any'\n[[stage]]\nid='b'\nplugin='std:any'\nwhen = \"{text}\"\n"));
    }
}

#[test]
fn misspellings_by_the_thousand_end_fast() {
    // Each of them is compared with thousands of names; only the first ones are shown.
    let many: String =
        (0..99_000).map(|n| format!("[[stage]]\nid='n{n}'\nplugin='std:any'\nafter=['nobody']\n")).collect();
    let problems = survive(&format!("{HEAD}{many}")).problems;
    let last = problems.last().unwrap();
    assert_eq!(last.code, Code::TooManyProblems);
    assert!(last.message.starts_with("there are at least 4900 more"), "{}", last.message);
}
