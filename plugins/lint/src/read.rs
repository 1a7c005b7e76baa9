//! The readers of the formats: `toml`, `serde_json` and `saphyr-parser` find what is malformed; what they read becomes a
//! [`Document`].
//!
//! JSON is read twice: `serde_json` says whether it is well-formed, but knows no places; a scanner that relies on that finds them.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use toml::de::{DeTable, DeValue};

use crate::document::{Document, Place, Problem, Value};

/// A file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.json`
    Json,
    /// `.yaml`, `.yml`
    Yaml,
}

impl Format {
    /// The format of a path by its extension.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name.rsplit_once('.')?.1 {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// What a document may be at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nesting.
    pub depth: usize,
}

/// The most values that a file may have with its aliases resolved: a few lines of YAML can name a billion.
const MOST_VALUES: usize = 500_000;

/// Reads a file: its documents (several only in YAML), or what is wrong.
pub fn read(bytes: &[u8], format: Format, limits: Limits) -> (Vec<Document>, Vec<Problem>) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let place = Place::Offset(error.valid_up_to());
            return (Vec::new(), vec![Problem::new("utf-8", place, "this is not UTF-8")]);
        }
    };
    match format {
        Format::Toml => toml(text, limits),
        Format::Json => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => json(text, limits),
            Err(error) => {
                let message = error.to_string();
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
                // Its columns count bytes, its lines from 1; a line break belongs to the line before.
                let start = line_start(text, error.line());
                let place = Place::Offset(start + error.column().saturating_sub(1));
                (Vec::new(), vec![Problem::new("json", place, message)])
            }
        },
        Format::Yaml => yaml(text, limits),
    }
}

/// The offset at which a line, from 1, begins.
fn line_start(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

fn too_deep(limits: Limits, place: Place) -> Problem {
    Problem::new("depth", place, format!("nested deeper than {} levels", limits.depth))
}

fn toml(text: &str, limits: Limits) -> (Vec<Document>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: toml::de::Error| Problem {
            message: error.message().to_owned(),
            rule: "toml",
            place: error.span().map(|span| Place::Offset(span.start)),
        };
        return (Vec::new(), errors.into_iter().map(problem).collect());
    }
    let span = table.span();
    match toml_value(&DeValue::Table(table.into_inner()), span.start, limits, 1) {
        Ok(document) => (vec![document], Vec::new()),
        Err(problem) => (Vec::new(), vec![problem]),
    }
}

/// Converts a value; `depth` counts the tables and arrays around it and itself.
fn toml_value(value: &DeValue<'_>, offset: usize, limits: Limits, depth: usize) -> Result<Document, Problem> {
    let place = Place::Offset(offset);
    // The document itself is a table that nobody wrote.
    let nested = matches!(value, DeValue::Array(_) | DeValue::Table(_));
    if nested && depth > limits.depth + 1 {
        return Err(too_deep(limits, place));
    }
    let value = match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => {
            Value::Number(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_default() as f64)
        }
        DeValue::Float(float) => Value::Number(float.as_str().parse().unwrap_or_default()),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            let item =
                |item: &toml::Spanned<DeValue<'_>>| toml_value(item.get_ref(), item.span().start, limits, depth + 1);
            Value::Array(items.iter().map(item).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let mut entries = Vec::with_capacity(table.len());
            for (key, item) in table {
                let value = toml_value(item.get_ref(), item.span().start, limits, depth + 1)?;
                entries.push((key.get_ref().to_string(), Place::Offset(key.span().start), value));
            }
            entries.sort_by_key(|(_, place, _)| match place {
                Place::Offset(offset) => *offset,
                Place::Line(line, _) => *line,
            });
            Value::Object(entries)
        }
    };
    Ok(Document { place, value })
}

/// A list or a mapping whose end has not come yet.
struct Open {
    document: Document,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Place)>,
    /// The keys so far.
    keys: HashSet<String>,
}

/// Builds documents from the events of YAML and JSON, without recursion.
struct Builder {
    limits: Limits,
    open: Vec<Open>,
    anchors: HashMap<usize, (Document, usize)>,
    values: usize,
    documents: Vec<Document>,
    problems: Vec<Problem>,
}

/// Finds the places in JSON that is known to be well-formed.
fn json(text: &str, limits: Limits) -> (Vec<Document>, Vec<Problem>) {
    let mut builder = Builder::new(limits);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let place = Place::Offset(at);
        let rest = &bytes[at..];
        let (length, result) = match byte {
            b'{' => (1, builder.begin(Value::Object(Vec::new()), 0, place)),
            b'[' => (1, builder.begin(Value::Array(Vec::new()), 0, place)),
            b'}' | b']' => (1, builder.end()),
            b'"' => {
                // Up to the quote that no backslash is before; an escaped backslash takes its pair with it.
                let mut length = 1;
                while rest.get(length).is_some_and(|byte| *byte != b'"') {
                    length += if rest[length] == b'\\' { 2 } else { 1 };
                }
                let literal = text.get(at..at + length + 1).unwrap_or_default();
                let value = Value::String(serde_json::from_str(literal).unwrap_or_default());
                (length + 1, builder.value(Document { place, value }, 0, 1))
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let length = rest
                    .iter()
                    .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E'));
                let length = length.count();
                let value = scalar(text[at..at + length].to_owned(), ScalarStyle::Plain, None);
                (length, builder.value(Document { place, value }, 0, 1))
            }
            _ => (1, Ok(())),
        };
        if let Err(problem) = result {
            builder.problems.push(problem);
            break;
        }
        at += length;
    }
    (builder.documents, builder.problems)
}

fn yaml(text: &str, limits: Limits) -> (Vec<Document>, Vec<Problem>) {
    let mut builder = Builder::new(limits);
    for event in Parser::new_from_str(text) {
        let result = match event {
            Ok((event, span)) => builder.event(event, place(&span.start)),
            Err(error) => Err(Problem::new("yaml", place(error.marker()), error.info())),
        };
        if let Err(problem) = result {
            builder.problems.push(problem);
            break;
        }
    }
    (builder.documents, builder.problems)
}

fn place(marker: &Marker) -> Place {
    Place::Line(marker.line(), marker.col() + 1)
}

impl Builder {
    fn new(limits: Limits) -> Self {
        let (open, anchors, documents) = (Vec::new(), HashMap::new(), Vec::new());
        Self { limits, open, anchors, values: 0, documents, problems: Vec::new() }
    }

    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text.into_owned(), style, tag.as_deref());
                self.value(Document { place, value }, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.begin(Value::Array(Vec::new()), anchor, place),
            Event::MappingStart(anchor, _) => self.begin(Value::Object(Vec::new()), anchor, place),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((mut document, values)) => {
                    document.place = place;
                    self.value(document, 0, values)
                }
                None => Err(Problem::new("yaml", place, "this alias stands for what is around it")),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, value: Value, anchor: usize, place: Place) -> Result<(), Problem> {
        if self.open.len() >= self.limits.depth {
            return Err(too_deep(self.limits, place));
        }
        self.open.push(Open { document: Document { place, value }, anchor, key: None, keys: HashSet::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        match self.open.pop() {
            Some(open) => self.value(open.document, open.anchor, 1),
            None => Ok(()),
        }
    }

    /// Takes a finished value of `values` values in all.
    fn value(&mut self, document: Document, anchor: usize, values: usize) -> Result<(), Problem> {
        self.values += values;
        if self.values > MOST_VALUES {
            return Err(Problem::new("size", document.place, format!("more than {MOST_VALUES} values")));
        }
        if anchor > 0 {
            let size = count(&document);
            // The copy that aliases take counts as well.
            self.values += size;
            if self.open.len() + depth(&document) > self.limits.depth {
                return Err(too_deep(self.limits, document.place));
            }
            self.anchors.insert(anchor, (document.clone(), size));
        }
        if values > 1 && self.open.len() + depth(&document) > self.limits.depth {
            return Err(too_deep(self.limits, document.place));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(document);
            return Ok(());
        };
        match &mut open.document.value {
            Value::Array(items) => items.push(document),
            Value::Object(entries) => match open.key.take() {
                Some((key, place)) => entries.push((key, place, document)),
                None => {
                    let key = match document.value {
                        Value::String(text) => text,
                        Value::Null => "null".to_owned(),
                        Value::Boolean(boolean) => boolean.to_string(),
                        Value::Number(number) => number.to_string(),
                        _ => return Err(Problem::new("yaml", document.place, "a list or a mapping is no key here")),
                    };
                    // YAML's `<<` merges other mappings; it may stand there more than once.
                    if key != "<<" && !open.keys.insert(key.clone()) {
                        let message = format!("the key `{key}` is there already");
                        self.problems.push(Problem::new("duplicate", document.place, message));
                    }
                    open.key = Some((key, document.place));
                }
            },
            _ => {}
        }
        Ok(())
    }
}

/// How many values a document has.
fn count(document: &Document) -> usize {
    let inside = document.items().iter().chain(document.entries().iter().map(|(_, _, value)| value));
    1 + inside.map(count).sum::<usize>()
}

/// How many levels of lists and mappings a document has.
fn depth(document: &Document) -> usize {
    let inside = document.items().iter().chain(document.entries().iter().map(|(_, _, value)| value));
    match document.value {
        Value::Array(_) | Value::Object(_) => 1 + inside.map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What a scalar is, by YAML 1.2's core schema.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    if style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str") {
        return Value::String(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Boolean(true),
        "false" | "False" | "FALSE" => return Value::Boolean(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" => return Value::Number(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Number(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Number(f64::NAN),
        _ => {}
    }
    let radix = |prefix, radix| {
        text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok()).map(|number| number as f64)
    };
    // Rust's floats know words such as `inf` and `nan`, YAML's do not.
    let decimal = || {
        text.parse()
            .ok()
            .filter(|_| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')))
    };
    match radix("0x", 16).or_else(|| radix("0o", 8)).or_else(decimal) {
        Some(number) => Value::Number(number),
        None => Value::String(text),
    }
}
