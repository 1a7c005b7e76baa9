//! The format's JSON Schema against every pipeline of the repository and every golden file.

use std::path::{Path, PathBuf};

use lockgate_syntax::{Code, json_schema};
use serde_json::Value;

use crate::fixtures::{files, parse_file, ui};
use crate::golden;

/// Codes of what a schema can see too.
const STRUCTURAL: [Code; 5] =
    [Code::UnknownKey, Code::MisplacedKey, Code::MissingKey, Code::WrongType, Code::UnknownWord];

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    as_editors_see(toml::Value::Table(table))
}

/// JSON has no dates: tools that hold TOML against a schema take them as strings.
pub fn as_editors_see(value: toml::Value) -> Value {
    match value {
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(as_editors_see).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, item)| (key, as_editors_see(item))).collect(),
        other => serde_json::to_value(other).unwrap(),
    }
}

/// Pipelines of the repository: `pipelines/*.toml`, and what begins like one under `examples` and is no policy.
fn pipelines() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    let mut open = vec![root.join("pipelines"), root.join("examples")];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml")
                && !path.ends_with("lockgate-policy.toml")
                && !path.ends_with("case.toml")
            {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if text.lines().any(|line| line.replace(' ', "") == "schema=1") {
                    found.push(path);
                }
            }
        }
    }
    found
}

#[test]
fn the_schema_takes_what_the_parser_takes_and_refuses_what_is_built_wrong() {
    let validator = jsonschema::draft202012::new(&json_schema()).unwrap();
    let mut valid = files(ui().join("valid"), "toml");
    valid.extend(pipelines());
    for path in valid {
        let errors: Vec<_> =
            validator.iter_errors(&json(&path)).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    let mut refused = 0;
    for path in files(ui(), "toml") {
        let problems = golden::problems(&path);
        let is_toml = problems.iter().all(|problem| !matches!(problem.code, Code::Toml | Code::Encoding));
        if is_toml && problems.iter().any(|problem| STRUCTURAL.contains(&problem.code)) {
            assert!(!validator.is_valid(&json(&path)), "{} is taken", path.display());
            refused += 1;
        }
    }
    assert!(refused >= STRUCTURAL.len());
}

#[test]
fn the_pipelines_of_the_repository_are_right() {
    for path in pipelines() {
        let parsed = parse_file("pipeline.toml", &std::fs::read(&path).unwrap());
        // Some ask for parameters that only a user knows.
        let wrong: Vec<_> =
            parsed.problems.iter().filter(|problem| problem.code != Code::MissingParam).map(golden::render).collect();
        assert!(wrong.is_empty(), "{}:\n{}", path.display(), wrong.join("\n"));
    }
}

#[test]
fn every_key_of_the_schema_is_used_by_a_golden_file_and_explained() {
    fn keys(schema: &Value, found: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (key, value) in properties {
                assert!(value["description"].as_str().is_some_and(|text| text.ends_with('.')), "{key}");
                found.push(key.clone());
            }
        }
        if let Some(defs) = schema.get("$defs").and_then(Value::as_object) {
            defs.values().for_each(|value| keys(value, found));
        }
    }
    let mut found = Vec::new();
    keys(&json_schema(), &mut found);
    assert!(found.len() > 50, "{found:?}");
    let mut text = String::new();
    for path in files(ui(), "toml").into_iter().chain(files(ui().join("valid"), "toml")) {
        text += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
    }
    let used = |key: &str| text.split(|c: char| !(c.is_alphanumeric() || "_-".contains(c))).any(|word| word == key);
    let unused: Vec<_> = found.iter().filter(|key| !used(key)).collect();
    assert!(unused.is_empty(), "no golden file uses {unused:?}");
}

#[test]
fn every_limit_of_the_model_can_be_set() {
    let schema = json_schema();
    let limits = serde_json::to_value(lockgate_model::limits::Limits::default()).unwrap();
    let mut fields: Vec<_> = limits.as_object().unwrap().keys().collect();
    let mut keys: Vec<_> = schema["$defs"]["limits"]["properties"].as_object().unwrap().keys().collect();
    fields.sort();
    keys.sort();
    assert_eq!(fields, keys);
}
