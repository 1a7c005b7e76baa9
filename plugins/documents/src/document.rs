//! The common form of TOML, JSON and YAML documents, with the place of each value, and problems found at such places.

use std::fmt;

use lockgate_sdk::{Finding, Severity};

/// Where something stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At a byte of the text.
    Offset(usize),
    /// At a line and a column, both from 1, the column in characters.
    Line(usize, usize),
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A value as JSON knows it. Dates of TOML are strings.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(String),
    /// A list.
    Array(Vec<Document>),
    /// Keys and values, in the file's order; the key's place first.
    Object(Vec<(String, Place, Document)>),
}

/// A number; integers beyond 2^53 lose digits.
///
/// It is printed by `zmij`: the standard library's printer of floating-point numbers is half as large as a parser.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format(self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(text))
    }
}

impl Document {
    /// An empty document.
    pub const NOTHING: Self = Self { place: Place::Line(1, 1), value: Value::Null };

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Document> {
        self.entries().iter().find(|(name, _, _)| name == key).map(|(_, _, value)| value)
    }

    /// Keys and values of an object; none of anything else.
    pub fn entries(&self) -> &[(String, Place, Document)] {
        match &self.value {
            Value::Object(entries) => entries,
            _ => &[],
        }
    }

    /// The items of an array; none of anything else.
    pub fn items(&self) -> &[Document] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number.
    pub fn number(&self) -> Option<Number> {
        match self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Whether both have the same value, wherever they stand and in whatever order their keys are.
    pub fn equals(&self, other: &Document) -> bool {
        match (&self.value, &other.value) {
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, _, value)| other.get(key).is_some_and(|is| value.equals(is)))
            }
            (a, b) => a == b,
        }
    }

    /// The kind of value, as JSON Schema calls it.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Boolean(_) => "boolean",
            Value::Number(Number(number)) if number.fract() == 0.0 => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What.
    pub message: String,
    /// By which rule: a format's name, `depth`, `duplicate`, `schema`.
    pub rule: &'static str,
    /// Where; none: in the file as a whole.
    pub place: Option<Place>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(rule: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { message: message.into(), rule, place: Some(place) }
    }

    /// The finding for the file of this path and text.
    pub fn finding(self, path: &str, text: &str) -> Finding {
        let finding = Finding::new(Severity::Error, self.message).rule(self.rule);
        match self.place {
            None => finding.path(path),
            Some(Place::Offset(offset)) => finding.path(path).offset(text, offset),
            Some(Place::Line(line, column)) => finding.at(path, line).column(column),
        }
    }
}
