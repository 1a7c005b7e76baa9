//! A config as a table for people: a row for each member, those of members too.

use serde_json::Value;

use super::plain::{Keep, plain};
use crate::problem::cut;

/// Most rows of a config.
const MAX_ROWS: usize = 1_000;
/// Deepest member of a member that gets a row of its own.
const MAX_DEPTH: usize = 8;
/// How deep alternatives are looked for in alternatives.
const MAX_ALTERNATIVES: usize = 4;
/// Most words that are listed of a choice.
const MAX_WORDS: usize = 100;
/// Longest text of a value, in bytes.
const MAX_VALUE: usize = 200;

/// One member of a config.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where: `format`, `body.json`, `schemas[].files`, `headers.*`.
    pub path: String,
    /// What it may be: `string`, `integer or array`, `"zip" or "tar"`.
    pub kind: String,
    /// Whether it must be there, where what it is a member of is there.
    pub required: bool,
    /// What it is where it is absent.
    pub default: Option<Value>,
    /// Limits on it: `at least 1`, `at most 64 characters`, each as its own text.
    pub limits: Vec<String>,
    /// Words that it may be, with what each means.
    pub words: Vec<(String, String)>,
    /// What it is for.
    pub description: String,
}

/// The rows of a config's schema, in the order of the schema, members right behind what they are members of. None where the engine does
/// not take the schema.
pub fn rows(schema: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Ok(schema) = plain(schema, Keep::All) {
        members("", &schema, 0, &mut rows);
    }
    rows
}

fn members(path: &str, schema: &Value, depth: usize, rows: &mut Vec<Row>) {
    if depth > MAX_DEPTH {
        return;
    }
    let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for part in parts(schema) {
        let required: Vec<&str> = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, member) in part["properties"].as_object().into_iter().flatten() {
            row(&inner(name), member, required.contains(&name.as_str()), depth, rows);
        }
        if let Some(member) = part.get("additionalProperties").filter(|member| member.is_object()) {
            // Whatever is said of all members is said of the map itself, where it is no more than a type.
            if parts(member).iter().any(|part| part.get("properties").is_some()) {
                members(&inner("*"), member, depth + 1, rows);
            }
        }
        if let Some(item) = part.get("items") {
            members(&format!("{path}[]"), item, depth + 1, rows);
        }
    }
}

fn row(path: &str, member: &Value, required: bool, depth: usize, rows: &mut Vec<Row>) {
    if rows.len() >= MAX_ROWS || rows.iter().any(|row| row.path == path) {
        return;
    }
    let words = words(member);
    let text = |key: &str| member.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    rows.push(Row {
        path: path.to_owned(),
        kind: kind(member),
        required,
        default: member.get("default").filter(|default| !default.is_null()).cloned(),
        limits: limits(member),
        words,
        description: text("description"),
    });
    members(path, member, depth + 1, rows);
}

/// A schema and the alternatives and additions in it, and in those: a choice that may be absent is an alternative of alternatives.
/// `null` is left away, since no config can say it.
fn parts(schema: &Value) -> Vec<&Value> {
    let mut parts = vec![schema];
    let mut from = 0;
    for _ in 0..MAX_ALTERNATIVES {
        let level = from..parts.len();
        from = parts.len();
        for at in level {
            let part = parts[at];
            for keyword in ["allOf", "anyOf", "oneOf"] {
                parts.extend(part.get(keyword).and_then(Value::as_array).into_iter().flatten());
            }
        }
    }
    parts.retain(|part| part.get("type").and_then(Value::as_str) != Some("null"));
    parts
}

/// The words of a choice between words, with what each means.
fn words(schema: &Value) -> Vec<(String, String)> {
    let mut words = Vec::new();
    for part in parts(schema) {
        for word in part.get("enum").and_then(Value::as_array).into_iter().flatten().filter(|word| !word.is_null()) {
            words.push((value_text(word), String::new()));
        }
        if let Some(word) = part.get("const") {
            let meaning = part.get("description").and_then(Value::as_str).unwrap_or_default();
            words.push((value_text(word), meaning.to_owned()));
        }
    }
    words.truncate(MAX_WORDS);
    words
}

/// What a value may be, in words.
fn kind(schema: &Value) -> String {
    let mut kinds: Vec<String> = Vec::new();
    let mut add = |kind: String| {
        if !kind.is_empty() && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    };
    for part in parts(schema) {
        if part.get("enum").is_some() || part.get("const").is_some() {
            continue;
        }
        match part.get("type") {
            Some(Value::String(name)) => add(typed(name, part)),
            Some(Value::Array(names)) => {
                for name in names.iter().filter_map(Value::as_str).filter(|name| *name != "null") {
                    add(typed(name, part));
                }
            }
            _ => {}
        }
    }
    for (word, _) in words(schema) {
        add(word);
    }
    if kinds.is_empty() { "any".to_owned() } else { kinds.join(" or ") }
}

fn typed(name: &str, schema: &Value) -> String {
    let of = |inner: Option<&Value>| inner.filter(|inner| inner.is_object()).map(kind).filter(|kind| kind != "any");
    match name {
        "array" => of(schema.get("items")).map_or("array".to_owned(), |inner| format!("array of {inner}")),
        "object" if schema.get("properties").is_none() => {
            of(schema.get("additionalProperties")).map_or("table".to_owned(), |inner| format!("table of {inner}"))
        }
        "object" => "table".to_owned(),
        name => name.to_owned(),
    }
}

fn limits(schema: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    for part in parts(schema) {
        let mut add = |keyword: &str, text: &dyn Fn(&str) -> String| {
            if let Some(value) = part.get(keyword).filter(|value| !value.is_null()) {
                let limit = text(&value_text(value).trim_matches('"').replace("\\\\", "\\"));
                if !limits.contains(&limit) {
                    limits.push(limit);
                }
            }
        };
        add("minimum", &|value| format!("at least {value}"));
        add("exclusiveMinimum", &|value| format!("more than {value}"));
        add("maximum", &|value| format!("at most {value}"));
        add("exclusiveMaximum", &|value| format!("less than {value}"));
        add("multipleOf", &|value| format!("a multiple of {value}"));
        add("minLength", &|value| format!("at least {value} character{}", plural(value)));
        add("maxLength", &|value| format!("at most {value} character{}", plural(value)));
        add("pattern", &|value| format!("matches `{value}`"));
        add("minItems", &|value| format!("at least {value} element{}", plural(value)));
        add("maxItems", &|value| format!("at most {value} element{}", plural(value)));
        add("minProperties", &|value| format!("at least {value} member{}", plural(value)));
        add("maxProperties", &|value| format!("at most {value} member{}", plural(value)));
        if part.get("uniqueItems") == Some(&Value::Bool(true)) {
            limits.push("no element twice".to_owned());
        }
    }
    limits
}

fn plural(number: &str) -> &'static str {
    if number == "1" { "" } else { "s" }
}

fn value_text(value: &Value) -> String {
    cut(value.to_string(), MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_of_members_have_rows() {
        let schema = json!({
            "type": "object",
            "required": ["rules"],
            "properties": {
                "rules": { "type": "array", "items": { "$ref": "#/$defs/Rule" }, "minItems": 1, "description": "What is looked for." },
                "mode": { "oneOf": [{ "const": "fast", "description": "Soon." }, { "const": "small" }], "default": "fast" },
                "level": { "type": ["integer", "null"], "minimum": 1, "maximum": 9 },
                "names": { "type": "object", "additionalProperties": { "type": "string" } },
                "form": { "anyOf": [{ "$ref": "#/$defs/Form" }, { "type": "null" }], "default": null },
                "by": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Rule" } },
            },
            "$defs": { "Form": { "oneOf": [{ "const": "tar", "description": "Plain." }, { "type": "string", "enum": ["tar.gz", "zip"] }] }, "Rule": { "type": "object", "required": ["files"], "properties": {
                "files": { "type": "array", "items": { "type": "string" } },
                "limit": { "anyOf": [{ "type": "number", "exclusiveMinimum": 0 }, { "type": "null" }] },
            } } },
        });
        let shown: Vec<_> = rows(&schema)
            .iter()
            .map(|row| format!("{} | {} | {} | {}", row.path, row.kind, row.required, row.limits.join(", ")))
            .collect();
        assert_eq!(
            shown,
            [
                "by | table of table | false | ",
                "by.*.files | array of string | true | ",
                "by.*.limit | number | false | more than 0",
                "form | \"tar\" or \"tar.gz\" or \"zip\" | false | ",
                "level | integer | false | at least 1, at most 9",
                "mode | \"fast\" or \"small\" | false | ",
                "names | table of string | false | ",
                "rules | array of table | true | at least 1 element",
                "rules[].files | array of string | true | ",
                "rules[].limit | number | false | more than 0",
            ]
        );
    }

    #[test]
    fn what_the_engine_does_not_take_has_no_rows() {
        assert!(rows(&json!({ "properties": { "a": { "$ref": "#" } } })).is_empty());
        assert!(rows(&json!(true)).is_empty());
    }
}
