//! A component for people: on a terminal, and as Markdown for documentation.

use std::fmt::Write as _;

use lockgate_host::{CONTRACT, Import, Inspection, Meaning};
use lockgate_model::manifest::{Manifest, Port, PortKind, Ports, World};
use lockgate_syntax::contract::{Row, rows};
use serde_json::Value;

use super::style::{Style, clean_line};
use super::table::{Align, Cell, Table};

/// Longest summary or description in a cell, in characters.
const CELL: usize = 100;
/// Longest description in a document, in characters.
const TEXT: usize = 2_000;

/// A component on a terminal.
pub(crate) fn human(inspection: &Inspection, signers: &[String], style: Style) -> String {
    let Inspection { digest, size, manifest, imports } = inspection;
    let name = style.bold(&format!("{} {}", clean_line(&manifest.name), clean_line(&manifest.version)));
    let mut text = format!("{name}  {}\n", clean_line(&manifest.summary));
    let mut field =
        |name: &str, value: String| text.push_str(&format!("  {}{value}\n", style.dim(&format!("{name:<10}"))));
    field("world", manifest.world.name().to_owned());
    field("contract", format!("lockgate:plugin@{CONTRACT}"));
    field("digest", digest.to_string());
    field("size", size.to_string());
    let effects = if manifest.effects.is_empty() {
        "none: it is pure".to_owned()
    } else {
        let shown = |kind: &String| match manifest.optional_effects.contains(kind) {
            true => format!("{kind} (if granted)"),
            false => kind.clone(),
        };
        clean_line(&manifest.effects.iter().map(shown).collect::<Vec<_>>().join(", "))
    };
    field("effects", effects);
    for signer in signers {
        let short: String = clean_line(signer).chars().take(64).collect();
        field("signed by", format!("{short} (as it says; `lockgate plugin verify` checks it)"));
    }
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
        table.row(vec![
            port.name.as_str().into(),
            port.kind.name().into(),
            needed(port).into(),
            cell(&port.summary).into(),
        ]);
    }
    if let Some(kind) = ports.open {
        table.row(vec!["any other".into(), kind.name().into(), "optional".into(), "".into()]);
    }
    if table.is_empty() { format!("\nno {title}\n") } else { format!("\n{}", table.render(style, 0)) }
}

const fn needed(port: &Port) -> &'static str {
    if port.optional { "optional" } else { "required" }
}

/// The members of the config, those of members too.
fn config_table(schema: &Value, style: Style) -> String {
    let rows = rows(schema);
    if rows.is_empty() {
        return "\nno config\n".to_owned();
    }
    let mut table = Table::new(&[
        ("config", Align::Left),
        ("type", Align::Left),
        ("default", Align::Left),
        ("limits", Align::Left),
        ("meaning", Align::Left),
    ]);
    for row in rows {
        let (default, limits) = (default(&row), cell(&row.limits.join(", ")));
        table.row(vec![
            cell(&row.path).into(),
            cell(&row.kind).into(),
            cell(&default).into(),
            limits.into(),
            cell(&row.description).into(),
        ]);
    }
    format!("\n{}", table.render(style, 0))
}

fn default(row: &Row) -> String {
    match &row.default {
        Some(default) => default.to_string(),
        None if row.required => "required".to_owned(),
        None => String::new(),
    }
}

fn cell(text: &str) -> String {
    let text = clean_line(text.lines().next().unwrap_or_default());
    if text.chars().count() > CELL { text.chars().take(CELL).chain(['…']).collect() } else { text }
}

/// A component as a document; `named` is what the user calls it.
pub(crate) fn markdown(named: &str, inspection: &Inspection, signers: &[String]) -> String {
    let Inspection { digest, size, manifest, imports } = inspection;
    let mut text = format!("# {} {}\n\n{}\n\n", md(&manifest.name), md(&manifest.version), md(&manifest.summary));
    text += "| | |\n|---|---|\n";
    let _ = writeln!(text, "| world | `{}` of `lockgate:plugin@{CONTRACT}` |", manifest.world.name());
    let _ = writeln!(text, "| digest | `{digest}` |");
    let _ = writeln!(text, "| size | {size} |");
    for signer in signers {
        let _ = writeln!(text, "| signed by | key {} |", code(signer));
    }
    ports("Inputs", &manifest.inputs, &mut text);
    ports("Outputs", &manifest.outputs, &mut text);
    config(&manifest.config_schema, &mut text);
    effects(manifest, imports, &mut text);
    let _ = write!(text, "\n## Example\n\n```toml\n{}```\n", example(named, manifest));
    text
}

fn ports(title: &str, ports: &Ports, text: &mut String) {
    let _ = write!(text, "\n## {title}\n\n");
    if ports.named.is_empty() && ports.open.is_none() {
        *text += "None.\n";
        return;
    }
    *text += "| name | kind | | |\n|---|---|---|---|\n";
    for port in &ports.named {
        let _ = writeln!(text, "| `{}` | {} | {} | {} |", port.name, port.kind.name(), needed(port), md(&port.summary));
    }
    if let Some(kind) = ports.open {
        let kind = if kind == PortKind::Any { "blob or tree" } else { kind.name() };
        let _ = writeln!(text, "| any other | {kind} | optional | |");
    }
}

fn config(schema: &Value, text: &mut String) {
    *text += "\n## Config\n\n";
    let rows = rows(schema);
    if rows.is_empty() {
        *text += "None.\n";
        return;
    }
    *text += "| key | type | default | limits | |\n|---|---|---|---|---|\n";
    for row in &rows {
        let default = match &row.default {
            Some(default) => code(&default.to_string()),
            None if row.required => "required".to_owned(),
            None => String::new(),
        };
        let limits: Vec<_> = row.limits.iter().map(|limit| md(limit)).collect();
        let (path, kind, meaning) = (code(&row.path), md(&row.kind), md(&row.description));
        let _ = writeln!(text, "| {path} | {kind} | {default} | {} | {meaning} |", limits.join(", "));
    }
    for row in rows.iter().filter(|row| row.words.iter().any(|(_, meaning)| !meaning.is_empty())) {
        let _ = write!(text, "\n{} is one of:\n\n", code(&row.path));
        for (word, meaning) in &row.words {
            let meaning = if meaning.is_empty() { String::new() } else { format!(": {}", md(meaning)) };
            let _ = writeln!(text, "- {}{meaning}", code(word));
        }
    }
}

fn effects(manifest: &Manifest, imports: &[Import], text: &mut String) {
    *text += "\n## Effects\n\n";
    if manifest.effects.is_empty() {
        *text += "None: it is pure. Its result depends on its config and its inputs alone, and may be cached.\n";
        return;
    }
    for effect in &manifest.effects {
        let import = imports.iter().find(|import| import.interface() == effect);
        let meaning = import.map(|import| format!(": {}", md(&import.meaning))).unwrap_or_default();
        let without = if manifest.optional_effects.contains(effect) { " It can do without." } else { "" };
        let meaning = if meaning.is_empty() && !without.is_empty() { ":".to_owned() } else { meaning };
        let _ = writeln!(text, "- {}{meaning}{without}", code(effect));
    }
}

/// A node that uses it, with what must be there.
fn example(named: &str, manifest: &Manifest) -> String {
    let quoted = |text: &str| Value::from(clean_line(text)).to_string();
    let alias: String = manifest.name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let mut text = String::new();
    let plugin = if named.starts_with("std:") { named.to_owned() } else { alias.clone() };
    if !named.starts_with("std:") {
        let world = if manifest.world == World::Command { ", world = \"command\"" } else { "" };
        let _ = write!(text, "[plugins]\n{alias} = {{ path = {}{world} }}\n\n", quoted(named));
    }
    let kind = match manifest.world {
        World::Stage | World::Command => "stage",
        World::HealthCheck => "health-check",
        World::CanaryEvaluator => "canary",
    };
    let _ = write!(text, "[[{kind}]]\nid = {}\nplugin = {}\n", quoted(&alias), quoted(&plugin));
    if manifest.world == World::CanaryEvaluator {
        text += "inputs.observation = \"metrics.samples\"\n";
    }
    for port in manifest.inputs.named.iter().filter(|port| !port.optional) {
        let source = if port.kind == PortKind::Blob { "{ file = \"...\" }" } else { "{ dir = \".\" }" };
        let _ = writeln!(text, "inputs.{} = {source}", port.name);
    }
    for row in rows(&manifest.config_schema) {
        let top = !row.path.contains(['.', '[']);
        if top && row.required {
            let _ = writeln!(text, "config.{} = {}", clean_line(&row.path), sample(&row));
        }
    }
    for effect in manifest.needed_effects() {
        let grant = match effect {
            "http" => "http = [\"GET https://example.org/\"]",
            "tcp" => "tcp = [\"db.example.org:5432\"]",
            "process" => "process = [{ program = \"git\", arguments = [\"describe\"] }]",
            "secrets" => "secrets = [\"token\"]",
            "app" => "app = true",
            "clock" => "clock = true",
            _ => continue,
        };
        let _ = writeln!(text, "grants.{grant}");
    }
    text
}

/// A value of a member's type.
fn sample(row: &Row) -> String {
    match (&row.default, row.words.first()) {
        (Some(Value::Bool(_) | Value::Number(_) | Value::String(_)), _) => default(row),
        (_, Some((word, _))) => clean_line(word),
        _ => match row.kind.split(' ').next() {
            Some("integer" | "number") => "1".to_owned(),
            Some("boolean") => "true".to_owned(),
            Some("array") => "[]".to_owned(),
            Some("table") => "{}".to_owned(),
            _ => "\"...\"".to_owned(),
        },
    }
}

/// Text that no table and no heading of Markdown takes for its own, and that is no HTML.
fn md(text: &str) -> String {
    let mut safe = String::new();
    let mut in_code = false;
    for c in clean_line(&text.split_whitespace().collect::<Vec<_>>().join(" ")).chars().take(TEXT) {
        match c {
            '|' => safe.push_str("\\|"),
            '`' => {
                in_code = !in_code;
                safe.push(c);
            }
            '<' if !in_code => safe.push_str("&lt;"),
            '[' | ']' | '*' | '_' if !in_code => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Text as code in a cell.
fn code(text: &str) -> String {
    let text: String = clean_line(text).chars().take(TEXT).collect();
    let text = text.replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use lockgate_model::Digest;
    use lockgate_model::units::Bytes;

    use serde_json::json;

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
                    "rules": { "type": "array", "items": { "$ref": "#/$defs/Rule" } },
                    "prefix": { "type": "string", "description": "first line\nsecond\u{1b}" },
                },
                "$defs": {
                    "Format": { "oneOf": [{ "const": "tar.zst", "description": "Small | fast." }, { "const": "zip" }] },
                    "Rule": { "type": "object", "required": ["files"], "properties": {
                        "files": { "type": "array", "items": { "type": "string" }, "minItems": 1, "description": "<b>*.toml</b>" },
                    } },
                },
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
            optional_effects: Vec::new(),
            reads_time: false,
        };
        let import = |name: &str, needs, meaning: &str| Import { name: name.into(), needs, meaning: meaning.into() };
        let imports = vec![
            import("lockgate:plugin/artifacts@0.1.0", Meaning::Harmless, "reads inputs"),
            import("lockgate:plugin/http@0.1.0", Meaning::Grant, "sends requests"),
        ];
        let inspection = Inspection { digest: Digest::of(b""), size: Bytes(58_000), manifest, imports };
        let signers = ["ab".repeat(32)];
        insta::assert_snapshot!(human(&inspection, &signers, Style::PLAIN));
        insta::assert_snapshot!(markdown("pack.wasm", &inspection, &signers));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({ "properties": { "a": { "$ref": "#/properties/a" } } });
        assert_eq!(config_table(&schema, Style::PLAIN), "\nno config\n");
        assert_eq!(config_table(&json!(true), Style::PLAIN), "\nno config\n");
    }
}
