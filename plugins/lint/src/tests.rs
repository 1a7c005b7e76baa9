//! What is found in files, with line and column.

use super::*;
use lockgate_sdk::testing::{self, Harness};

fn findings(config: &str, files: &[(&str, &str)]) -> Vec<String> {
    let outcome = Harness::new().tree("src", files.iter().copied()).run::<Lint>(config);
    outcome.findings().iter().map(ToString::to_string).collect()
}

/// Findings of a schema over one YAML file.
fn against(schema: &str, yaml: &str) -> Vec<String> {
    let config = r#"{"schemas": [{"files": ["*.yaml"], "schema": "s.json"}]}"#;
    let all = findings(config, &[("s.json", schema), ("x.yaml", yaml)]);
    all.iter().map(|text| text.replace("error: x.yaml:", "").replace(" [schema]", "")).collect()
}

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

#[test]
fn well_formed_files_have_no_findings() {
    let files = [
        ("a.toml", "a = 1\n[b]\nc = [1.5, 2024-01-01, 0xff]\n"),
        ("b.json", "{\"a\": [1, -2e3, \"\\u00e4\\/\", null], \"b\": {}}"),
        ("tab.json", "{\n\t\"a\":\t1,\n\t\"b\": [\n\t\t2\n\t]\n}\n"),
        ("c.yaml", "a: &x [1, 2]\nb: *x\n---\n- second\n"),
        ("d.yml", "# nothing\n"),
        ("bom.json", "\u{feff}[]"),
        ("e.txt", "not { looked ] at"),
    ];
    assert_eq!(findings("{}", &files), [] as [String; 0]);
}

#[test]
fn malformed_files_have_findings_with_line_and_column() {
    let files = [
        ("a.toml", "a = 1\nb = \nc = 'x\n"),
        ("b.json", "{\n  \"ä\": 1,\n  \"b\": 2,\n}\n"),
        ("c.yaml", "a: 1\nb: [1, 2\nc: 3\n"),
        ("d.json", ""),
    ];
    let found = findings("{}", &files);
    let begins = |start: &str| assert!(found.iter().any(|text| text.starts_with(start)), "{start} in {found:#?}");
    begins("error: a.toml:2:");
    begins("error: a.toml:3:");
    begins("error: b.json:4:1: key must be a string [json]");
    begins("error: c.yaml:");
    begins("error: d.json:1:1: EOF while parsing a value [json]");
}

#[test]
fn bytes_that_are_no_text_are_found() {
    let outcome = Harness::new().tree("src", [("a.json", b"\"a\xff\"".as_slice())]).run::<Lint>("{}");
    assert_eq!(outcome.failure(), "1 error");
    assert_eq!(outcome.findings()[0].to_string(), "error: a.json:1:3: this is not UTF-8 [utf-8]");
}

#[test]
fn a_key_that_is_there_twice_is_found() {
    let found = findings(
        "{}",
        &[("a.yaml", "a: 1\nb: 2\na: 3\n"), ("b.json", "{\"x\": 1,\n \"x\": 2}"), ("c.toml", "a=1\na=2")],
    );
    assert_eq!(found[0], "error: a.yaml:3:1: the key `a` is there already [duplicate]");
    assert_eq!(found[1], "error: b.json:2:2: the key `x` is there already [duplicate]");
    assert!(found[2].starts_with("error: c.toml:2:"), "{found:?}");
}

#[test]
fn limits_are_findings() {
    let deep = format!("{}1{}", "[".repeat(10), "]".repeat(10));
    let toml = format!("a = {deep}");
    let files = [("a.json", deep.as_str()), ("b.toml", &toml), ("c.yaml", &deep)];
    let found = findings(r#"{"max_depth": 9}"#, &files);
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|text| text.ends_with("nested deeper than 9 levels [depth]")), "{found:?}");
    assert_eq!(findings(r#"{"max_depth": 10}"#, &files), [] as [String; 0]);
    assert_eq!(findings(r#"{"max_size": 5}"#, &[("a.json", "[1, 2]")]), ["error: a.json: 6 bytes are too many [size]"]);
}

#[test]
fn hostile_files_end_quickly() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let items = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb += &format!("a{n}: &a{n} [{items}]\n");
    }
    let brackets = "[".repeat(100_000);
    let files = [("a.yaml", bomb.as_str()), ("b.json", &brackets), ("c.yaml", &brackets), ("d.yaml", "a: &a [*a]")];
    let found = findings("{}", &files);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("more than 500000 values"), "{}", found[0]);
}

#[test]
fn what_is_excluded_is_not_looked_at_and_errors_need_not_fail() {
    let files = [("bad/x.json", "{"), ("y.json", "[")];
    assert_eq!(findings(r#"{"exclude": ["bad/**"]}"#, &files).len(), 1);
    let outcome = Harness::new().tree("src", files).run::<Lint>(r#"{"fail": false}"#);
    assert_eq!(outcome.ok().count(Severity::Error), 2);
    assert_eq!(Harness::new().tree("src", files).run::<Lint>("{}").failure(), "2 errors");
}

#[test]
fn a_file_of_the_wrong_kind_does_not_drown_the_others() {
    let list: String = (0..300).map(|n| format!("- {n}\n")).collect();
    let found = against(r#"{"items": {"type": "string"}}"#, &list);
    assert_eq!(found.len(), 101);
    assert!(found[100].ends_with("and 200 more"), "{}", found[100]);
}

#[test]
fn a_schema_says_where_and_what() {
    let schema = r##"{
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
            "port": {"$ref": "#/$defs/port"},
            "mode": {"enum": ["fast", "safe"]},
            "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": true, "maxItems": 3}
        },
        "$defs": {"port": {"type": "integer", "minimum": 1, "maximum": 65535}}
    }"##;
    assert_eq!(against(schema, "name: abc\nport: 80\nmode: fast\ntags: [a, b]\n"), [] as [String; 0]);
    assert_eq!(
        against(schema, "name: Long Name\nport: 80.5\nmode: slow\ntags: [a, 1, a]\nprot: 1\n"),
        [
            "1:7: `/name`: does not match `^[a-z]+$`",
            "1:7: `/name`: is longer than 5 characters",
            "2:7: `/port`: expected integer, found number",
            "3:7: `/mode`: expected `fast` or `safe`",
            "4:11: `/tags/1`: expected string, found integer",
            "4:14: `/tags/2`: is there already",
            "5:1: the key `prot` is not known",
        ]
    );
    assert_eq!(
        against(schema, "port: 70000\n"),
        ["1:1: the key `name` is missing", "1:7: `/port`: 70000 is more than 65535"]
    );
    assert_eq!(against(schema, "[]"), ["1:1: expected object, found array"]);
}

#[test]
fn schemas_are_combined() {
    let kind = r#"{"oneOf": [{"type": "string"}, {"type": "integer"}]}"#;
    assert_eq!(against(kind, "1.5"), ["1:1: is none of the 2 alternatives"]);
    assert_eq!(against(kind, "1"), [] as [String; 0]);
    let both = r#"{"oneOf": [{"type": "number"}, {"type": "integer"}]}"#;
    assert_eq!(against(both, "1"), ["1:1: is 2 of the alternatives, not one"]);
    let shape = r#"{"anyOf": [{"type": "null"}, {"type": "object", "required": ["a"]}]}"#;
    assert_eq!(against(shape, "b: 1"), ["1:1: the key `a` is missing"]);
    let constants = r#"{"oneOf": [{"const": "x"}, {"const": "y"}]}"#;
    assert_eq!(against(constants, "z"), ["1:1: expected `x` or `y`"]);
    let condition = r#"{"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"not": {"required": ["b"]}}}"#;
    assert_eq!(against(condition, "a: 1"), ["1:1: the key `b` is missing"]);
    assert_eq!(against(condition, "b: 1"), ["1:1: is what the schema excludes"]);
    assert_eq!(against(condition, "a: 1\nb: 1"), [] as [String; 0]);
    assert_eq!(against("false", "1"), ["1:1: nothing is allowed here"]);
    assert_eq!(against(r#"{"multipleOf": 0.1}"#, "0.3"), [] as [String; 0]);
    assert_eq!(against(r#"{"contains": {"const": 3}}"#, "[1, 2]"), ["1:1: has no item that the schema asks for"]);
    assert_eq!(
        against(r#"{"prefixItems": [{"type": "string"}], "items": {"type": "null"}}"#, "[a, ~]"),
        [] as [String; 0]
    );
    let names = r#"{"propertyNames": {"pattern": "^[a-z]$"}, "patternProperties": {"^a": {"type": "null"}}}"#;
    assert_eq!(
        against(names, "a: 1\nBB: 2"),
        ["1:4: `/a`: expected null, found integer", "2:1: `/BB`: does not match `^[a-z]$`"]
    );
    let dependent = r#"{"dependentRequired": {"a": ["b"]}}"#;
    assert_eq!(against(dependent, "a: 1"), ["1:1: the key `b` is missing, which `a` needs"]);
}

#[test]
fn a_schema_that_cannot_be_used_fails_the_stage() {
    let run = |schema: &str| {
        let files = [("s.json", schema), ("x.yaml", "1")];
        let config = r#"{"schemas": [{"files": ["*.yaml"], "schema": "s.json"}]}"#;
        Harness::new().tree("src", files).run::<Lint>(config).failure().to_owned()
    };
    assert!(
        run(r#"{"unevaluatedProperties": false}"#).contains("the keyword `unevaluatedProperties` is not supported")
    );
    assert!(run(r##"{"$ref": "#/$defs/x"}"##).contains("leads nowhere"));
    assert!(run(r#"{"$ref": "https://example.org/x.json"}"#).contains("leads nowhere"));
    assert!(run(r#"{"pattern": "("}"#).contains("the pattern `(` cannot be used"));
    assert!(run("[]").contains("a schema is an object or a boolean"));
    assert!(run("{").contains("is not well-formed"));
    assert_eq!(against(r##"{"$ref": "#"}"##, "1"), ["1:1: more than 64 schemas apply to one value"]);
}

#[test]
fn a_schema_may_be_an_input() {
    let config = r#"{"schemas": [{"files": ["**/*.toml"], "schema": "input:shape"}]}"#;
    let harness = Harness::new().tree("src", [("a/b.toml", "x = 1\ny = 'z'\n")]);
    let outcome = harness.blob("shape", r#"{"properties": {"y": {"type": "integer"}}}"#).run::<Lint>(config);
    assert_eq!(outcome.findings()[0].to_string(), "error: a/b.toml:2:5: `/y`: expected integer, found string [schema]");
}
