//! The readers of the formats: `toml_parser`, the SDK's reader of JSON and `saphyr-parser` find what is malformed; what they
//! read becomes a [`Document`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use lockgate_sdk::json;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::document::{Document, Number, Place, Problem, Value};
use crate::toml;

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
        Format::Toml => match toml::read(text, limits) {
            Ok(document) => (vec![document], Vec::new()),
            Err(problems) => (Vec::new(), problems),
        },
        Format::Json => json(text, limits),
        Format::Yaml => yaml(text, limits),
    }
}

/// What is said of a document that is nested too deep.
pub fn too_deep(limits: Limits, place: Place) -> Problem {
    Problem::new("depth", place, format!("nested deeper than {} levels", limits.depth))
}

/// A list or a mapping whose end has not come yet.
struct Open {
    document: Document,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Place)>,
    /// The keys so far, in the form of map that the parsers have too.
    keys: BTreeMap<Cow<'static, str>, usize>,
}

/// Builds documents from the events of YAML and JSON, without recursion.
struct Builder {
    limits: Limits,
    open: Vec<Open>,
    /// At the parser's number of each anchor: the value, and how many values it has.
    anchors: Vec<Option<(Document, usize)>>,
    values: usize,
    documents: Vec<Document>,
    problems: Vec<Problem>,
}

/// Reads JSON: its document, or what is wrong.
pub fn json(text: &str, limits: Limits) -> (Vec<Document>, Vec<Problem>) {
    let (mut builder, mut parser) = (Builder::new(limits), json::Parser::new(text));
    loop {
        let result = match parser.next_event() {
            Ok(Some((offset, event))) => builder.json_event(event, Place::Offset(offset)),
            Ok(None) => break,
            Err(error) => {
                // What is malformed hides what else is wrong.
                let problem = Problem::new("json", Place::Offset(error.offset), error.message);
                return (Vec::new(), vec![problem]);
            }
        };
        if let Err(problem) = result {
            builder.problems.push(problem);
            break;
        }
    }
    (builder.documents, builder.problems)
}

/// Reads YAML: its documents, or what is wrong.
pub fn yaml(text: &str, limits: Limits) -> (Vec<Document>, Vec<Problem>) {
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
        let (open, anchors, documents) = (Vec::new(), Vec::new(), Vec::new());
        Self { limits, open, anchors, values: 0, documents, problems: Vec::new() }
    }

    fn json_event(&mut self, event: json::Event<'_>, place: Place) -> Result<(), Problem> {
        let value = match event {
            json::Event::ObjectStart => return self.begin(Value::Object(Vec::new()), 0, place),
            json::Event::ArrayStart => return self.begin(Value::Array(Vec::new()), 0, place),
            json::Event::ObjectEnd | json::Event::ArrayEnd => return self.end(),
            json::Event::Null => Value::Null,
            json::Event::Boolean(boolean) => Value::Boolean(boolean),
            json::Event::Number(text) => Value::Number(Number(text.parse().unwrap_or_default())),
            json::Event::String(text) | json::Event::Key(text) => Value::String(text.into_owned()),
        };
        self.value(Document { place, value }, 0, 1)
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
            Event::Alias(anchor) => match self.anchors.get(anchor).cloned().flatten() {
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
        self.open.push(Open { document: Document { place, value }, anchor, key: None, keys: BTreeMap::new() });
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
            // Anchors are counted from 1.
            self.anchors.resize_with(self.anchors.len().max(anchor + 1), || None);
            self.anchors[anchor] = Some((document.clone(), size));
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
                    if key != "<<" && open.keys.insert(Cow::Owned(key.clone()), 0).is_some() {
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
        ".inf" | ".Inf" | ".INF" | "+.inf" => return Value::Number(Number(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Number(Number(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Value::Number(Number(f64::NAN)),
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
        Some(number) => Value::Number(Number(number)),
        None => Value::String(text),
    }
}
