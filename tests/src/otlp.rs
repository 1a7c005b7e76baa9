//! What a collector understands of OTLP: traces out of protobuf, read by the rules of its wire format and the field numbers of
//! `opentelemetry/proto/trace/v1/trace.proto`; nothing of it is shared with the engine.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A request to export: the resource's attributes, and the spans.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// The resource's attributes.
    pub resource: BTreeMap<String, Value>,
    /// The spans, in the order in which they came.
    pub spans: Vec<Span>,
}

/// One span.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// The trace, in hex.
    pub trace: String,
    /// Its id, in hex.
    pub id: String,
    /// Its parent's, in hex; empty: none.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: u64,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Likewise.
    pub end: u64,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Its events' names with their attributes.
    pub events: Vec<(String, BTreeMap<String, Value>)>,
    /// Text of its status, if that is an error.
    pub error: Option<String>,
}

impl Export {
    /// Reads the body of a request.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn read(body: &[u8]) -> Self {
        let mut export = Self::default();
        for resource_spans in messages(body, 1) {
            for resource in messages(resource_spans, 1) {
                export.resource.extend(attributes(resource, 1));
            }
            for scope_spans in messages(resource_spans, 2) {
                export.spans.extend(messages(scope_spans, 2).into_iter().map(span));
            }
        }
        export
    }

    /// The only span of this name.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[track_caller]
    pub fn span(&self, name: &str) -> &Span {
        let found: Vec<_> = self.spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "spans named `{name}` in {:#?}", self.spans);
        found[0]
    }

    /// The spans whose parent is this one.
    pub fn children(&self, span: &Span) -> Vec<&Span> {
        self.spans.iter().filter(|child| child.parent == span.id).collect()
    }
}

/// A field's value as the wire has it.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

#[track_caller]
fn fields(mut rest: &[u8]) -> Vec<(u64, Wire<'_>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let wire = match key % 8 {
            0 => Wire::Number(varint(&mut rest)),
            1 => Wire::Number(u64::from_le_bytes(split(&mut rest, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut rest);
                Wire::Bytes(split(&mut rest, length as usize))
            }
            5 => Wire::Number(u32::from_le_bytes(split(&mut rest, 4).try_into().unwrap()).into()),
            other => panic!("no type of protobuf: {other}"),
        };
        fields.push((key / 8, wire));
    }
    fields
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let byte = split(rest, 1)[0];
        number |= u64::from(byte % 128) << shift;
        shift += 7;
        if byte < 128 {
            return number;
        }
    }
}

#[track_caller]
fn split<'a>(rest: &mut &'a [u8], at: usize) -> &'a [u8] {
    let (first, second) = rest.split_at_checked(at).expect("a whole message");
    *rest = second;
    first
}

fn messages(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let wanted = |(found, wire): (u64, Wire<'_>)| matches!(wire, Wire::Bytes(_) if found == number);
    let bytes = fields(bytes).into_iter().filter(|field| wanted(*field));
    bytes.filter_map(|(_, wire)| if let Wire::Bytes(bytes) = wire { Some(bytes) } else { None }).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn span(bytes: &[u8]) -> Span {
    let mut span = Span { attributes: attributes(bytes, 9), ..Span::default() };
    for field in fields(bytes) {
        match field {
            (1, Wire::Bytes(bytes)) => span.trace = hex(bytes),
            (2, Wire::Bytes(bytes)) => span.id = hex(bytes),
            (4, Wire::Bytes(bytes)) => span.parent = hex(bytes),
            (5, Wire::Bytes(bytes)) => span.name = text(bytes),
            (6, Wire::Number(number)) => span.kind = number,
            (7, Wire::Number(number)) => span.start = number,
            (8, Wire::Number(number)) => span.end = number,
            (11, Wire::Bytes(event)) => {
                let name = messages(event, 2).first().map(|name| text(name)).unwrap_or_default();
                span.events.push((name, attributes(event, 3)));
            }
            (15, Wire::Bytes(status)) => {
                let is_error = fields(status).iter().any(|field| matches!(field, (3, Wire::Number(2))));
                let message = messages(status, 2).first().map(|message| text(message)).unwrap_or_default();
                span.error = is_error.then_some(message);
            }
            _ => {}
        }
    }
    span
}

fn attributes(bytes: &[u8], number: u64) -> BTreeMap<String, Value> {
    let pair = |pair: &[u8]| {
        let key = messages(pair, 1).first().map(|key| text(key)).unwrap_or_default();
        (key, messages(pair, 2).first().map(|value| any(value)).unwrap_or_default())
    };
    messages(bytes, number).into_iter().map(pair).collect()
}

fn any(bytes: &[u8]) -> Value {
    match fields(bytes).first() {
        Some((1, Wire::Bytes(bytes))) => text(bytes).into(),
        Some((2, Wire::Number(number))) => (*number != 0).into(),
        Some((3, Wire::Number(number))) => (*number as i64).into(),
        Some((4, Wire::Number(number))) => json!(f64::from_bits(*number)),
        Some((5, Wire::Bytes(array))) => messages(array, 1).into_iter().map(any).collect(),
        other => panic!("no value that is known here: {other:?}"),
    }
}

/// The ids and names of a body in OTLP's JSON, as `(trace, id, parent, name)`.
///
/// # Panics
/// If it is none.
#[track_caller]
pub fn json_spans(body: &[u8]) -> Vec<[String; 4]> {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
    let one = |span: &Map<String, Value>| {
        let text = |key: &str| span.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        [text("traceId"), text("spanId"), text("parentSpanId"), text("name")]
    };
    spans.iter().map(|span| one(span.as_object().expect("a span"))).collect()
}
