//! A span as plain data, before any encoding.

use super::context::SpanId;

/// Longest text of an attribute or a status, in characters: longer ones are cut, as messages of plugins may be long.
const MAX_TEXT: usize = 4_096;
/// Most attributes of a span, and most events: the defaults of OpenTelemetry's own limits.
pub(super) const MAX_ATTRIBUTES: usize = 128;
pub(super) const MAX_EVENTS: usize = 128;

/// One span.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// Its id.
    pub(crate) id: SpanId,
    /// The span that it belongs to.
    pub(crate) parent: Option<SpanId>,
    /// Whether the parent is another program's.
    pub(crate) remote: bool,
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// When it began, in milliseconds since 1970.
    pub(crate) start: u64,
    /// When it ended, likewise.
    pub(crate) end: u64,
    /// What is known of it.
    pub(crate) attributes: Attributes,
    /// What happened meanwhile.
    pub(crate) events: Events,
    /// Another span of this trace that it goes on from.
    pub(crate) link: Option<SpanId>,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

/// What a span is, in OpenTelemetry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Work of the engine's own.
    Internal,
    /// A run: somebody asked for it.
    Server,
    /// A request to somebody else.
    Client,
}

/// Events of a span: the first [`MAX_EVENTS`], and how many are beyond them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Events {
    /// Those that are kept.
    pub(super) kept: Vec<SpanEvent>,
    /// How many are not.
    pub(super) dropped: u32,
}

impl Events {
    /// Keeps an event while there is room.
    pub(crate) fn push(&mut self, event: SpanEvent) {
        if self.kept.len() < MAX_EVENTS {
            self.kept.push(event);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// Something that happened at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SpanEvent {
    /// When, in milliseconds since 1970.
    pub(crate) time: u64,
    /// What.
    pub(crate) name: &'static str,
    /// What is known of it.
    pub(crate) attributes: Attributes,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

/// Attributes in the order in which they were put.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attributes(pub(super) Vec<(String, Value)>);

impl Attributes {
    /// Puts a value under a key that has none yet, while there is room.
    pub(crate) fn put(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        if self.0.len() < MAX_ATTRIBUTES {
            self.0.push((key.into(), value.into()));
        }
        self
    }
}

/// A text that is short enough for a span.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(cut(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(cut(&text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
