//! `lockgate plugin inspect`: a component's manifest, world, digest, and every import with what it means.

use lockgate_host::{Inspection, Meaning};
use lockgate_model::manifest::Ports;
use serde_json::{Value, json};

use super::Ended;
use crate::args::{Format, InspectArgs};
use crate::exit::Exit;
use crate::load;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};
use crate::render::table::{Align, Cell, Table};

/// Longest summary or description in a cell, in characters.
const CELL: usize = 100;

/// Shows a component.
pub(crate) fn inspect(args: &InspectArgs, output: &Output) -> Ended {
    let bytes = load::component(&args.component)?;
    let inspection = load::host(1)?.inspect(&bytes).map_err(|error| load::load_failed(&args.component, error))?;
    match args.format {
        Format::Human => output.data(&human(&inspection, output.out)),
        Format::Json => {
            let Inspection { digest, size, manifest, imports } = &inspection;
            let document = json!({ "schema": 1, "digest": digest, "size": size, "world": manifest.world, "manifest": manifest, "imports": imports });
            output.data(&format!("{document:#}\n"));
        }
    }
    Ok(Exit::Succeeded)
}

fn human(inspection: &Inspection, style: Style) -> String {
    let Inspection { digest, size, manifest, imports } = inspection;
    let name = style.bold(&format!("{} {}", clean_line(&manifest.name), clean_line(&manifest.version)));
    let mut text = format!("{name}  {}\n", clean_line(&manifest.summary));
    let mut field =
        |name: &str, value: String| text.push_str(&format!("  {}{value}\n", style.dim(&format!("{name:<9}"))));
    field("world", manifest.world.name().to_owned());
    field("digest", digest.to_string());
    field("size", size.to_string());
    let effects = if manifest.effects.is_empty() {
        "none: it is pure".to_owned()
    } else {
        clean_line(&manifest.effects.join(", "))
    };
    field("effects", effects);
    for (title, ports) in [("inputs", &manifest.inputs), ("outputs", &manifest.outputs)] {
        text += &port_table(title, ports, style);
    }
    text += &config_table(&manifest.config_schema, style);
    let mut table = Table::new(&[("import", Align::Left), ("needs", Align::Left), ("meaning", Align::Left)]);
    for import in imports {
        let needs = match import.needs {
            Meaning::Types | Meaning::Harmless | Meaning::Clock => Cell::from("nothing"),
            Meaning::Grant => Cell::painted("a grant", |text| style.warn(text)),
            Meaning::Missing => Cell::painted("not offered", |text| style.bad(text)),
        };
        table.row(vec![clean_line(&import.name).into(), needs, clean_line(&import.meaning).into()]);
    }
    if table.is_empty() { text + "\nimports nothing\n" } else { text + "\n" + &table.render(style, 0) }
}

fn port_table(title: &'static str, ports: &Ports, style: Style) -> String {
    let mut table =
        Table::new(&[(title, Align::Left), ("kind", Align::Left), ("", Align::Left), ("summary", Align::Left)]);
    for port in &ports.named {
        let needed = if port.optional { "optional" } else { "required" };
        table.row(vec![port.name.as_str().into(), port.kind.name().into(), needed.into(), cell(&port.summary).into()]);
    }
    if let Some(kind) = ports.open {
        table.row(vec!["any other".into(), kind.name().into(), "optional".into(), "".into()]);
    }
    if table.is_empty() { format!("\nno {title}\n") } else { format!("\n{}", table.render(style, 0)) }
}

/// The members of the config, as far as its schema is a plain object; whatever is beyond stands in the JSON form.
fn config_table(schema: &Value, style: Style) -> String {
    let Some(members) = schema["properties"].as_object().filter(|members| !members.is_empty()) else {
        return "\nno config\n".to_owned();
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut table = Table::new(&[
        ("config", Align::Left),
        ("type", Align::Left),
        ("default", Align::Left),
        ("meaning", Align::Left),
    ]);
    for (name, member) in members {
        let default = match member.get("default") {
            Some(Value::Null) => String::new(),
            Some(default) => cell(&default.to_string()),
            None if required.contains(&name.as_str()) => "required".into(),
            None => String::new(),
        };
        let meaning = member["description"].as_str().map(cell).unwrap_or_default();
        table.row(vec![clean_line(name).into(), type_of(schema, member).into(), default.into(), meaning.into()]);
    }
    format!("\n{}", table.render(style, 0))
}

fn type_of(schema: &Value, member: &Value) -> String {
    // One step is enough for what schema generators write; a chain or a circle is not followed.
    let target = member["$ref"].as_str().and_then(|path| path.strip_prefix('#')).and_then(|path| schema.pointer(path));
    let member = target.unwrap_or(member);
    let words = |list: &Vec<Value>| list.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    if let Some(words_of) = member["enum"].as_array() {
        return cell(&words(words_of));
    }
    if let Some(variants) = member["oneOf"].as_array().or(member["anyOf"].as_array()) {
        let variant = |variant: &Value| {
            variant.get("const").map_or_else(|| type_of(schema, &without_ref(variant)), Value::to_string)
        };
        return cell(
            &variants.iter().take(20).map(variant).filter(|text| text != "null").collect::<Vec<_>>().join(" | "),
        );
    }
    match &member["type"] {
        Value::String(name) => cell(name),
        Value::Array(names) => {
            cell(&names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect::<Vec<_>>().join(" | "))
        }
        _ => "any".to_owned(),
    }
}

/// Variants inside of variants are not taken apart.
fn without_ref(variant: &Value) -> Value {
    json!({ "type": variant.get("type").cloned().unwrap_or(Value::Null), "enum": variant.get("enum").cloned().unwrap_or(Value::Null) })
}

fn cell(text: &str) -> String {
    let text = clean_line(text.lines().next().unwrap_or_default());
    if text.chars().count() > CELL { text.chars().take(CELL).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use lockgate_host::Import;
    use lockgate_model::Digest;
    use lockgate_model::manifest::{Manifest, Port, PortKind, World};
    use lockgate_model::units::Bytes;

    use super::*;

    #[test]
    fn a_component_is_shown_with_ports_config_and_imports() {
        let manifest = Manifest {
            world: World::Stage,
            name: "pack".into(),
            version: "0.1.0".into(),
            summary: "packs a tree".into(),
            config_schema: json!({
                "type": "object",
                "required": ["prefix"],
                "properties": {
                    "format": { "$ref": "#/$defs/Format", "default": "tar.zst", "description": "the archive's format" },
                    "level": { "type": ["integer", "null"] },
                    "prefix": { "type": "string", "description": "first line\nsecond\u{1b}" },
                },
                "$defs": { "Format": { "oneOf": [{ "const": "tar.zst" }, { "const": "zip" }] } },
            }),
            inputs: Ports {
                named: vec![Port {
                    name: "src".parse().unwrap(),
                    kind: PortKind::Tree,
                    optional: false,
                    summary: "what to pack".into(),
                }],
                open: Some(PortKind::Any),
            },
            outputs: Ports::default(),
            effects: vec!["http".into()],
            reads_time: false,
        };
        let import = |name: &str, needs, meaning: &str| Import { name: name.into(), needs, meaning: meaning.into() };
        let imports = vec![
            import("lockgate:plugin/artifacts@0.1.0", Meaning::Harmless, "reads inputs"),
            import("lockgate:plugin/http@0.1.0", Meaning::Grant, "sends requests"),
        ];
        let inspection = Inspection { digest: Digest::of(b""), size: Bytes(58_000), manifest, imports };
        insta::assert_snapshot!(human(&inspection, Style::PLAIN));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({ "properties": { "a": { "$ref": "#/properties/a" } } });
        assert!(config_table(&schema, Style::PLAIN).contains("any"));
        assert_eq!(config_table(&json!(true), Style::PLAIN), "\nno config\n");
    }
}
