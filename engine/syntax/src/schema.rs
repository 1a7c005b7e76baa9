//! The JSON Schemas (2020-12) of the formats, made from the formats' tables, for editors.

use serde_json::{Map, Value, json};

use crate::case::shape::CASE;
use crate::policy::shape::POLICY;
use crate::shape::{Keys, PIPELINE, Shape, Type, Unit};

/// The JSON Schema of pipeline files. What it rejects, the parser rejects; rules between keys only the parser knows.
pub fn json_schema() -> Value {
    of_file("Lockgate pipeline", &PIPELINE)
}

/// The JSON Schema of policy files.
pub fn policy_schema() -> Value {
    of_file("Lockgate policy", &POLICY)
}

/// The JSON Schema of case files.
pub fn case_schema() -> Value {
    of_file("Lockgate case", &CASE)
}

fn of_file(title: &str, file: &'static Shape) -> Value {
    let mut defs = Map::new();
    let mut root = Map::new();
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!(title));
    if let Value::Object(body) = shape(file, &mut defs) {
        root.extend(body);
    }
    root.insert("$defs".to_owned(), Value::Object(defs));
    Value::Object(root)
}

fn shape(shape: &'static Shape, defs: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in shape.keys() {
        let mut value = ty(&key.ty, defs);
        if let Value::Object(value) = &mut value {
            value.insert("description".to_owned(), json!(key.doc));
        }
        properties.insert(key.name.to_owned(), value);
    }
    let required: Vec<_> = shape.keys().filter(|key| key.required).map(|key| key.name).collect();
    let mut body = json!({
        "type": "object",
        "description": shape.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if !shape.one_of.is_empty() {
        body["oneOf"] = shape.one_of.iter().map(|key| json!({ "required": [key] })).collect();
    }
    body
}

fn ty(kind: &'static Type, defs: &mut Map<String, Value>) -> Value {
    match kind {
        Type::Version => json!({ "const": 1 }),
        Type::Text(max) => json!({ "type": "string", "minLength": 1, "maxLength": max }),
        Type::Name => json!({ "type": "string", "pattern": NAME }),
        Type::Word(words) => json!({ "type": "string", "enum": words }),
        Type::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Quantity(unit, min, max) => {
            let units = match unit {
                Unit::Fuel => "[KMGT]?",
                Unit::Bytes => "(B|kB|KB|MB|GB|KiB|MiB|GiB)?",
                Unit::Millis => "(ms|s|m|min|h|d)",
            };
            // Times in a string need their unit; a plain number is milliseconds.
            let pattern = format!(r"^\s*[0-9_]+\s*{units}\s*$");
            json!({ "anyOf": [
                { "type": "integer", "minimum": min, "maximum": max },
                { "type": "string", "pattern": pattern },
            ] })
        }
        Type::Moment => json!({ "type": "string", "minLength": 1, "pattern": MOMENT }),
        Type::Scalar => json!({ "type": ["string", "integer", "boolean"] }),
        Type::Value => json!({}),
        Type::List(element, max) => json!({ "type": "array", "items": ty(element, defs), "maxItems": max }),
        Type::Table(inner) => {
            let name: String = inner.name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            let name = name.trim_start_matches("the").to_owned();
            if !defs.contains_key(&name) {
                // The name is taken before its body is made, which may speak of others.
                defs.insert(name.clone(), Value::Null);
                let body = shape(inner, defs);
                defs.insert(name.clone(), body);
            }
            json!({ "$ref": format!("#/$defs/{name}") })
        }
        Type::Map(keys, element) => {
            let mut body = json!({ "type": "object", "additionalProperties": ty(element, defs) });
            if *keys == Keys::Names {
                body["propertyNames"] = json!({ "pattern": NAME });
            }
            body
        }
        Type::Either(text, other) => json!({ "anyOf": [ty(text, defs), ty(other, defs)] }),
    }
}

/// A date with time and offset, or a string into which something is put.
const MOMENT: &str = r"^\s*\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})\s*$|\$\{";
const NAME: &str = "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$";
