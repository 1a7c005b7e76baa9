//! Inputs as values of the template language.

use std::collections::BTreeMap;

use lockgate_documents::{Document, Limits, Number, Problem, Value as Read, read, toml};
use lockgate_sdk::prelude::*;
use minijinja::Value;
use minijinja::value::Serde;

use crate::{Config, Format};

/// The deepest nesting of data.
const LIMITS: Limits = Limits { depth: 64 };

/// Everything that templates can name.
pub fn all(config: &Config) -> Result<Value> {
    let mut data: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in &config.data {
        data.insert(name.clone(), Value::from(Serde(value)));
    }
    for name in config.formats.keys() {
        ensure!(inputs().iter().any(|input| input.name == *name), "`formats` speaks of `{name}`, which is no input");
    }
    for input in inputs().into_iter().filter(|input| input.name != "template") {
        let value = match input.kind {
            Kind::Blob => {
                let format = config.formats.get(&input.name).copied().unwrap_or(Format::Json);
                parse(&input.read_text()?, format)
            }
            Kind::Tree => files(&input.tree()?),
        };
        let value = value.with_context(|| format!("read the input `{}`", input.name))?;
        ensure!(data.insert(input.name.clone(), value).is_none(), "`{}` is in `data` and an input", input.name);
    }
    Ok(Value::from_pairs(data))
}

/// Files of a tree by their paths: JSON, TOML and YAML as data, others as text.
fn files(tree: &Tree) -> Result<Value> {
    let mut values: BTreeMap<String, Value> = BTreeMap::new();
    for file in tree.files() {
        let format = match lockgate_documents::Format::of(&file.path) {
            Some(lockgate_documents::Format::Json) => Format::Json,
            Some(lockgate_documents::Format::Toml) => Format::Toml,
            Some(lockgate_documents::Format::Yaml) => Format::Yaml,
            None => Format::Text,
        };
        let value = tree.read_text(&file.path).and_then(|text| parse(&text, format));
        values.insert(file.path.clone(), value.with_context(|| format!("`{}`", file.path))?);
    }
    Ok(Value::from_pairs(values))
}

fn parse(text: &str, format: Format) -> Result<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut documents, problems) = match format {
        Format::Text => return Ok(Value::from(text)),
        Format::Json => read::json(text, LIMITS),
        Format::Yaml => read::yaml(text, LIMITS),
        Format::Toml => match toml::read(text, LIMITS) {
            Ok(document) => (vec![document], Vec::new()),
            Err(problems) => (Vec::new(), problems),
        },
    };
    if let Some(problem) = problems.into_iter().next() {
        bail!("{}", shown(problem, text));
    }
    ensure!(documents.len() <= 1, "it has {} documents: give them as files of their own", documents.len());
    Ok(documents.pop().map_or(Value::from(()), |document| value(&document)))
}

fn shown(problem: Problem, text: &str) -> String {
    let finding = problem.finding("", text);
    match (finding.line, finding.column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: {}", finding.message),
        _ => finding.message,
    }
}

/// Recursion as deep as documents are: 64.
fn value(document: &Document) -> Value {
    match &document.value {
        Read::Null => Value::from(()),
        Read::Boolean(boolean) => Value::from(*boolean),
        Read::Number(Number(number)) if number.fract() == 0.0 && number.abs() < 9e15 => Value::from(*number as i64),
        Read::Number(Number(number)) => Value::from(*number),
        Read::String(text) => Value::from(text.as_str()),
        Read::Array(items) => items.iter().map(value).collect(),
        Read::Object(entries) => Value::from_pairs(entries.iter().map(|(key, _, item)| (key.as_str(), value(item)))),
    }
}
