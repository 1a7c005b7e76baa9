//! What changed from one plugin to another, as its author and its users see it.

use std::collections::BTreeMap;

use lockgate_model::manifest::{Manifest, Port, Ports};
use serde_json::Value;

use super::rows::{Row, rows};

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where: `config.format`, `input src`, `effects`, `world`, `name`.
    pub path: String,
    /// Which of its properties: `type`, `default`, `required`, `limits`, `kind`, ...; empty: it is new or gone.
    pub what: &'static str,
    /// What stood there; none where it is new.
    pub before: Option<String>,
    /// What stands there; none where it is gone.
    pub after: Option<String>,
}

/// Everything that changed, in the order of a manifest.
pub fn changes(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let mut found = Vec::new();
    let mut compare = |path: &str, what: &'static str, before: &str, after: &str| {
        if before != after {
            let (before, after) = (Some(before.to_owned()), Some(after.to_owned()));
            found.push(Change { path: path.to_owned(), what, before, after });
        }
    };
    compare("name", "", &old.name, &new.name);
    compare("version", "", &old.version, &new.version);
    compare("summary", "", &old.summary, &new.summary);
    compare("world", "", old.world.name(), new.world.name());
    compare("effects", "", &words(&old.effects), &words(&new.effects));
    compare("effects it can do without", "", &words(&old.optional_effects), &words(&new.optional_effects));
    let time = |manifest: &Manifest| if manifest.reads_time { "yes" } else { "no" };
    compare("reads the time", "", time(old), time(new));
    ports("input", &old.inputs, &new.inputs, &mut found);
    ports("output", &old.outputs, &new.outputs, &mut found);
    config(&old.config_schema, &new.config_schema, &mut found);
    found
}

fn words(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

fn ports(direction: &str, old: &Ports, new: &Ports, found: &mut Vec<Change>) {
    let named = |ports: &Ports| -> BTreeMap<String, Port> {
        ports.named.iter().map(|port| (port.name.to_string(), port.clone())).collect()
    };
    let needed = |port: &Port| if port.optional { "optional" } else { "required" };
    pairs(&named(old), &named(new), |name, old, new| {
        let path = format!("{direction} {name}");
        let whole = |port: &Port| format!("{}, {}", port.kind.name(), needed(port));
        let (Some(old), Some(new)) = (old, new) else {
            found.push(Change { path, what: "", before: old.map(whole), after: new.map(whole) });
            return;
        };
        for (what, before, after) in [
            ("kind", old.kind.name(), new.kind.name()),
            ("required", needed(old), needed(new)),
            ("summary", &old.summary, &new.summary),
        ] {
            if before != after {
                let (before, after) = (Some(before.to_owned()), Some(after.to_owned()));
                found.push(Change { path: path.clone(), what, before, after });
            }
        }
    });
    if old.open != new.open {
        let kind = |ports: &Ports| ports.open.map(|kind| kind.name().to_owned());
        found.push(Change { path: format!("other {direction}s"), what: "", before: kind(old), after: kind(new) });
    }
}

fn config(old: &Value, new: &Value, found: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let before = found.len();
    let index =
        |schema| -> BTreeMap<String, Row> { rows(schema).into_iter().map(|row| (row.path.clone(), row)).collect() };
    pairs(&index(old), &index(new), |path, old, new| {
        let path = format!("config.{path}");
        let whole = |row: &Row| if row.required { format!("{}, required", row.kind) } else { row.kind.clone() };
        let (Some(old), Some(new)) = (old, new) else {
            found.push(Change { path, what: "", before: old.map(whole), after: new.map(whole) });
            return;
        };
        let required = |row: &Row| if row.required { "required" } else { "optional" }.to_owned();
        let default = |row: &Row| row.default.as_ref().map_or("none".to_owned(), Value::to_string);
        let limits = |row: &Row| if row.limits.is_empty() { "none".to_owned() } else { row.limits.join(", ") };
        for (what, before, after) in [
            ("type", old.kind.clone(), new.kind.clone()),
            ("required", required(old), required(new)),
            ("default", default(old), default(new)),
            ("limits", limits(old), limits(new)),
            ("description", old.description.clone(), new.description.clone()),
        ] {
            if before != after {
                found.push(Change { path: path.clone(), what, before: Some(before), after: Some(after) });
            }
        }
    });
    let open = |schema: &Value| {
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        if closed { "refused" } else { "taken" }.to_owned()
    };
    if open(old) != open(new) {
        let path = "config".to_owned();
        found.push(Change { path, what: "other members", before: Some(open(old)), after: Some(open(new)) });
    }
    if found.len() == before {
        // Something that no row shows: said, so that nobody takes the schemas for equal.
        let (before, after) = (Some(old.to_string()), Some(new.to_string()));
        found.push(Change { path: "config".to_owned(), what: "schema", before, after });
    }
}

fn pairs<T>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>, mut each: impl FnMut(&str, Option<&T>, Option<&T>)) {
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        each(name, old.get(name), new.get(name));
    }
}
