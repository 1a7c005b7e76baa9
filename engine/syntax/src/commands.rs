//! `args` and `outputs`: what a stage says of a command. Together they are its config.

use lockgate_model::PortName;
use lockgate_model::command::{CommandConfig, STREAMS};
use serde_json::{Map, Value};

use crate::problem::Code;
use crate::substitute::Scope;
use crate::table::Table;

/// The config of a command; none where it has a problem.
pub(crate) fn config(table: &Table<'_>, scope: Scope<'_>) -> Option<Map<String, Value>> {
    let report = |code, key: &str, message: String, hint: &str| {
        scope.cx.problems.report(code, &table.key_span(key), "", message, Some(hint.to_owned()));
    };
    if table.get("config").is_some() {
        let hint = "give it arguments by `args`, files by `inputs`; it finds them in `/in/<name>`";
        report(Code::Conflict, "config", "a command takes no `config`".to_owned(), hint);
        return None;
    }
    let mut config = Map::new();
    if let Some(args) = table.get("args") {
        let Value::Array(args) = scope.json(args)? else { return None };
        let text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        config.insert("args".to_owned(), args.into_iter().map(|value| Value::String(text(value))).collect());
    }
    if let Some(outputs) = table.table("outputs") {
        let mut declared = Map::new();
        for (name, span, value) in outputs.entries() {
            if STREAMS.contains(&name) {
                let message = format!("every command has the output `{name}` by itself");
                let hint = Some("take it away; other nodes can name it all the same".to_owned());
                scope.cx.problems.report(Code::Conflict, &span, "", message, hint);
                return None;
            }
            let kind = value.get_ref().as_str()?;
            declared.insert(PortName::new(name).ok()?.to_string(), Value::from(kind));
        }
        config.insert("outputs".to_owned(), Value::Object(declared));
    }
    let config = Value::Object(config);
    if let Err(wrong) = CommandConfig::read(&config) {
        let key = if table.get("args").is_some() { "args" } else { "outputs" };
        report(Code::OutOfRange, key, wrong, "give it long texts as a file");
        return None;
    }
    match config {
        Value::Object(config) => Some(config),
        _ => None,
    }
}

/// Reports what belongs to commands on a node whose plugin is none.
pub(crate) fn refuse(table: &Table<'_>, scope: Scope<'_>) {
    for key in ["args", "outputs"].into_iter().filter(|key| table.get(key).is_some()) {
        let hint = "where the plugin is a WASI program, say so beside its path in `[plugins]`: `world = \"command\"`; others take \
                    `config`, and say themselves what they make";
        let message = format!("`{key}` belongs to commands, and this node's plugin is none");
        scope.cx.problems.report(Code::Conflict, &table.key_span(key), "", message, Some(hint.to_owned()));
    }
}
