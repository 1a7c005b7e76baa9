//! A schema without references: each is put in where it stands. The engine takes no schema that refers to itself, or that would become
//! large by this; so both are found first.

use serde_json::{Map, Value};

use crate::config;

/// Keywords that say something to people alone. `format` is among them: the engine does not check it.
const ANNOTATIONS: [&str; 14] = [
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "format",
    "readOnly",
    "title",
];
/// Keywords whose value is a schema.
const ONE: [&str; 12] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is a table of schemas.
const TABLE: [&str; 3] = ["dependentSchemas", "patternProperties", "properties"];
/// The draft that is understood.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What is kept of keywords that say something to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All; a keyword beside a reference counts more than one in what it refers to.
    All,
    /// None; what stands beside a reference is demanded besides it.
    Nothing,
}

/// A schema without references, or why the engine does not take it.
pub(super) fn plain(schema: &Value, keep: Keep) -> Result<Value, String> {
    config::validator(schema)?;
    if let Some(draft) = schema.get("$schema").and_then(Value::as_str)
        && draft.trim_end_matches('#') != DRAFT
    {
        return Err(format!("it is of another draft than 2020-12: `{}`", crate::problem::cut(draft.to_owned(), 80)));
    }
    Ok(put_in(schema, schema, keep))
}

// Neither recursive nor deep: the validator was built.
fn put_in(schema: &Value, root: &Value, keep: Keep) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut plain = Map::new();
    for (keyword, value) in keywords {
        let name = keyword.as_str();
        if name == "$ref" || keep == Keep::Nothing && ANNOTATIONS.contains(&name) {
            continue;
        }
        let value = match value {
            value if ONE.contains(&name) => put_in(value, root, keep),
            Value::Array(list) if LIST.contains(&name) => list.iter().map(|item| put_in(item, root, keep)).collect(),
            Value::Object(table) if TABLE.contains(&name) => {
                table.iter().map(|(key, item)| (key.clone(), put_in(item, root, keep))).collect()
            }
            value => value.clone(),
        };
        plain.insert(keyword.clone(), value);
    }
    let target =
        keywords.get("$ref").and_then(Value::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?));
    let Some(target) = target else { return Value::Object(plain) };
    match (put_in(target, root, keep), keep) {
        (target, Keep::Nothing) if plain.is_empty() => target,
        (target, Keep::Nothing) => {
            let mut all = match plain.remove("allOf") {
                Some(Value::Array(all)) => all,
                _ => Vec::new(),
            };
            all.push(target);
            plain.insert("allOf".to_owned(), Value::Array(all));
            Value::Object(plain)
        }
        (Value::Object(mut target), Keep::All) => {
            target.extend(plain);
            Value::Object(target)
        }
        (target, Keep::All) => target,
    }
}
