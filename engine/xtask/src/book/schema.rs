//! JSON Schemas as tables for people: one section for each table of a format, one row for each key.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The sections of a schema; `root` is what the outermost object is called.
pub fn sections(schema: &Value, root: &str) -> String {
    let mut out = String::new();
    section(&mut out, root, schema);
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        section(&mut out, name, definition);
    }
    out
}

fn section(out: &mut String, name: &str, shape: &Value) {
    let _ = write!(out, "\n## {name}\n\n");
    if let Some(text) = shape["description"].as_str() {
        let _ = writeln!(out, "{}\n", paragraph(text));
    }
    let variants = variants(shape);
    if let Some(properties) = shape["properties"].as_object().filter(|properties| !properties.is_empty()) {
        table(out, properties, &required(shape));
    } else if variants.is_empty() {
        let _ =
            writeln!(out, "{}{}\n", kind(shape), limits(shape).map(|limits| format!("; {limits}")).unwrap_or_default());
    }
    // A union: each variant is a table of its own, named by the constant that it is known by.
    for variant in variants {
        // A word of a list.
        if let Some(word) = variant["const"].as_str() {
            let _ = writeln!(out, "- `{word}`: {}\n", variant["description"].as_str().map(cell).unwrap_or_default());
            continue;
        }
        let constants = variant["properties"].as_object().into_iter().flatten();
        let constant = constants.filter_map(|(key, value)| Some((key, value["const"].as_str()?))).next();
        if let Some((key, value)) = constant {
            let _ = writeln!(out, "**`{key}` is `{value}`**\n");
        }
        if let Some(text) = variant["description"].as_str() {
            let _ = writeln!(out, "{}\n", paragraph(text));
        }
        match variant["properties"].as_object() {
            Some(properties) => table(out, properties, &required(variant)),
            None => {
                let _ = writeln!(out, "- {}\n", kind(variant));
            }
        }
    }
}

/// The forms of a union that are more than a choice of which key is there.
fn variants(shape: &Value) -> Vec<&Value> {
    let all = ["oneOf", "anyOf"].iter().filter_map(|word| shape[*word].as_array()).flatten();
    all.filter(|one| one.as_object().is_some_and(|one| one.keys().any(|key| key != "required"))).collect()
}

fn required(shape: &Value) -> Vec<&str> {
    shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn table(out: &mut String, properties: &Map<String, Value>, required: &[&str]) {
    out.push_str("| key | type | limits | |\n|---|---|---|---|\n");
    for (key, value) in properties {
        let mut text = value["description"].as_str().map(cell).unwrap_or_default();
        if required.contains(&key.as_str()) {
            text.insert_str(0, "**Required.** ");
        }
        let _ = writeln!(out, "| `{key}` | {} | {} | {text} |", kind(value), limits(value).unwrap_or_default());
    }
    out.push('\n');
}

/// The type of a value, in words.
fn kind(value: &Value) -> String {
    if let Some(name) = reference(value) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(constant) = value.get("const") {
        return format!("`{constant}`").replace("`\"", "`").replace("\"`", "`");
    }
    if let Some(words) = value["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    let forms: Vec<&Value> = ["anyOf", "oneOf", "allOf"]
        .iter()
        .filter_map(|word| value[*word].as_array())
        .flatten()
        .filter(|one| one["type"] != "null")
        .collect();
    if !forms.is_empty() {
        if let Some(unit) = quantity(&forms) {
            return unit.to_owned();
        }
        let mut forms: Vec<String> = forms.into_iter().map(kind).collect();
        forms.dedup();
        return forms.join(" or ");
    }
    let types: Vec<&str> = match &value["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => return "any".to_owned(),
    };
    let types: Vec<String> = types.into_iter().map(|one| of_type(one, value)).collect();
    types.join(" or ")
}

fn of_type(name: &str, value: &Value) -> String {
    match name {
        "array" => format!("list of {}", value.get("items").map_or("anything".to_owned(), kind)),
        "object" => match value.get("additionalProperties") {
            Some(inner @ Value::Object(fields)) if !fields.is_empty() => format!("table of {} by name", kind(inner)),
            _ => "table".to_owned(),
        },
        "string" => "text".to_owned(),
        other => other.to_owned(),
    }
}

/// What a number that may be written with a unit is: an integer beside a pattern with units.
fn quantity(forms: &[&Value]) -> Option<&'static str> {
    let [number, text] = forms else { return None };
    if number["type"] != "integer" {
        return None;
    }
    let pattern = text["pattern"].as_str()?;
    [("KMGT", "fuel, as in `2G`"), ("KiB", "size, as in `64MiB`"), ("ms|", "time, as in `30s`")]
        .into_iter()
        .find_map(|(unit, name)| pattern.contains(unit).then_some(name))
}

fn limits(value: &Value) -> Option<String> {
    let forms = value["anyOf"].as_array();
    let number = forms.and_then(|forms| forms.iter().find(|one| one["type"] == "integer")).unwrap_or(value);
    let mut found = Vec::new();
    let mut say = |key: &str, of: &Value, words: &str| {
        if let Some(limit) =
            of.get(key).and_then(Value::as_i64).filter(|limit| *limit != i64::MAX && *limit != i64::MIN)
        {
            found.push(words.replace('#', &digits(limit)));
        }
    };
    say("minimum", number, "at least #");
    say("maximum", number, "at most #");
    say("maxItems", value, "at most # entries");
    if value["maxLength"].as_i64().is_some_and(|most| most < 4096) {
        say("maxLength", value, "at most # bytes");
    }
    let pattern = value["pattern"].as_str().or_else(|| value["propertyNames"]["pattern"].as_str());
    if pattern.is_some_and(|pattern| pattern.contains("{0,63}")) {
        found.push("names: letters, digits, `_`, `-`, at most 64".to_owned());
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// A number in groups of three.
fn digits(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let groups: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    format!("{}{}", if number < 0 { "-" } else { "" }, groups.join(","))
}

/// The name of a definition that is meant: alone, or in a list of one.
fn reference(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.strip_prefix("#/$defs/")
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    escaped(text).split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn paragraph(text: &str) -> String {
    escaped(text)
}

/// Placeholders such as `<node>` outside of code would be taken for HTML.
fn escaped(text: &str) -> String {
    text.split('`')
        .enumerate()
        .map(|(at, part)| if at % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() })
        .collect::<Vec<_>>()
        .join("`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_becomes_tables() {
        let schema = json!({
            "description": "A file.",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "maxLength": 100, "description": "Its <name>, or `<x>`." },
                "fuel": { "anyOf": [
                    { "type": "integer", "minimum": 1, "maximum": 100_000 }, { "type": "string", "pattern": "[KMGT]?" },
                ], "description": "a|b" },
                "parts": { "type": "array", "items": { "$ref": "#/$defs/part" }, "maxItems": 10 },
            },
            "$defs": { "part": { "description": "A part.", "properties": { "kind": { "enum": ["a", "b"] } } } },
        });
        let text = sections(&schema, "The file");
        for line in [
            "## The file\n\nA file.\n",
            "| `name` | text | at most 100 bytes | **Required.** Its &lt;name>, or `<x>`. |",
            "| `fuel` | fuel, as in `2G` | at least 1, at most 100,000 | a\\|b |",
            "| `parts` | list of [part](#part) | at most 10 entries |  |",
            "## part\n\nA part.\n",
            "| `kind` | `a`, `b` |  |  |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn unions_show_each_form() {
        let schema = json!({ "oneOf": [
            { "description": "Begins.", "properties": { "event": { "const": "started" }, "at": { "type": ["integer", "null"] } } },
            { "properties": { "event": { "const": "ended" } } },
        ] });
        let text = sections(&schema, "line");
        assert!(text.contains("**`event` is `started`**\n\nBegins.\n"), "{text}");
        assert!(text.contains("| `at` | integer |  |  |") && text.contains("**`event` is `ended`**"), "{text}");
    }
}
