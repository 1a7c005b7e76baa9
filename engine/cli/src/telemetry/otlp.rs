//! Spans as OTLP: the messages of `opentelemetry/proto/collector/trace/v1`, as far as they are used here.
//!
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>

use super::context::Ids;
use super::message::{self, Field, Message, Read};
use super::span::{Attributes, Kind, Span, SpanEvent, Value};

/// The conventions that the attributes follow.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";
/// `SpanFlags`: whether the parent is another program's is known, and whether it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// `Status.code`
const ERROR: u32 = 2;

/// How spans are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `http/protobuf`
    Protobuf,
    /// `http/json`
    Json,
}

impl Encoding {
    /// The media type.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// Encodes spans of one run as the body of a request.
    pub(super) fn encode(self, ids: &Ids, resource: &Attributes, spans: &[Span]) -> Vec<u8> {
        let request = request(ids, resource, spans);
        match self {
            Self::Protobuf => request.to_bytes(),
            Self::Json => request.to_json().to_string().into_bytes(),
        }
    }

    /// Reads an answer: how many spans were refused, and why. None: it is no answer to an export.
    pub(super) fn refused(self, body: &[u8]) -> Option<(u64, String)> {
        let (mut spans, mut why) = (0, String::new());
        match self {
            Self::Protobuf => {
                for (number, field) in message::read(body)? {
                    let (1, Read::Bytes(partial)) = (number, field) else { continue };
                    for field in message::read(partial)? {
                        match field {
                            (1, Read::Number(number)) => spans = number as i64,
                            (2, Read::Bytes(text)) => why = String::from_utf8_lossy(text).into_owned(),
                            _ => {}
                        }
                    }
                }
            }
            Self::Json => {
                let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
                if let Some(partial) = answer.as_object()?.get("partialSuccess") {
                    let number = &partial["rejectedSpans"];
                    spans = number.as_i64().or_else(|| number.as_str()?.parse().ok()).unwrap_or(0);
                    why = partial["errorMessage"].as_str().unwrap_or_default().to_owned();
                }
            }
        }
        Some((u64::try_from(spans).unwrap_or(0), why))
    }
}

/// `ExportTraceServiceRequest`
fn request(ids: &Ids, resource: &Attributes, spans: &[Span]) -> Message {
    let scope = Message::default().with(1, "name", Field::Text("lockgate".into())).with(
        2,
        "version",
        Field::Text(env!("CARGO_PKG_VERSION").into()),
    );
    let scope_spans = Message::default()
        .with(1, "scope", Field::One(scope))
        .with(2, "spans", Field::Many(spans.iter().map(|given| span(ids, given)).collect()))
        .with(3, "schemaUrl", Field::Text(SCHEMA_URL.into()));
    let resource_spans = Message::default()
        .with(1, "resource", Field::One(Message::default().with(1, "attributes", pairs(resource))))
        .with(2, "scopeSpans", Field::Many(vec![scope_spans]))
        .with(3, "schemaUrl", Field::Text(SCHEMA_URL.into()));
    Message::default().with(1, "resourceSpans", Field::Many(vec![resource_spans]))
}

/// `Span`
fn span(ids: &Ids, span: &Span) -> Message {
    let kind = match span.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
    };
    let flags = u32::from(ids.flags()) | HAS_IS_REMOTE | if span.remote { IS_REMOTE } else { 0 };
    let status = |text: &String| {
        Message::default().with_some(2, "message", Field::Text(text.clone())).with(3, "code", Field::Small(ERROR))
    };
    let message = Message::default()
        .with(1, "traceId", Field::Id(ids.trace.0.into()))
        .with(2, "spanId", Field::Id(span.id.0.into()))
        .with_some(4, "parentSpanId", Field::Id(span.parent.map(|id| id.0.into()).unwrap_or_default()))
        .with(5, "name", Field::Text(span.name.clone()))
        .with(6, "kind", Field::Small(kind))
        .with(7, "startTimeUnixNano", nanos(span.start))
        .with(8, "endTimeUnixNano", nanos(span.end))
        .with_some(9, "attributes", pairs(&span.attributes))
        .with_some(11, "events", Field::Many(span.events.kept.iter().map(event).collect()))
        .with_some(12, "droppedEventsCount", Field::Small(span.events.dropped))
        .with_some(13, "links", Field::Many(span.link.map(|id| link(ids, id.0.into())).into_iter().collect()));
    let message = match &span.error {
        Some(text) => message.with(15, "status", Field::One(status(text))),
        None => message,
    };
    message.with(16, "flags", Field::Fixed32(flags))
}

/// `Span.Event`
fn event(event: &SpanEvent) -> Message {
    Message::default()
        .with(1, "timeUnixNano", nanos(event.time))
        .with(2, "name", Field::Text(event.name.into()))
        .with_some(3, "attributes", pairs(&event.attributes))
}

/// `Span.Link`, within the trace.
fn link(ids: &Ids, span: Vec<u8>) -> Message {
    Message::default().with(1, "traceId", Field::Id(ids.trace.0.into())).with(2, "spanId", Field::Id(span)).with(
        6,
        "flags",
        Field::Fixed32(u32::from(ids.flags()) | HAS_IS_REMOTE),
    )
}

fn nanos(millis: u64) -> Field {
    Field::Fixed64(millis.saturating_mul(1_000_000))
}

/// `KeyValue`s
fn pairs(attributes: &Attributes) -> Field {
    let pair = |(key, value): &(String, Value)| {
        Message::default().with(1, "key", Field::Text(key.clone())).with(2, "value", Field::One(any(value)))
    };
    Field::Many(attributes.0.iter().map(pair).collect())
}

/// `AnyValue`: one field, which is there even where it is zero or empty.
fn any(value: &Value) -> Message {
    let text = |text: &String| Message::default().with(1, "stringValue", Field::Text(text.clone()));
    match value {
        Value::Text(value) => text(value),
        Value::Bool(value) => Message::default().with(2, "boolValue", Field::Bool(*value)),
        Value::Int(number) => Message::default().with(3, "intValue", Field::Int(*number)),
        Value::Float(number) => Message::default().with(4, "doubleValue", Field::Double(*number)),
        Value::Texts(texts) => {
            let values = Message::default().with_some(1, "values", Field::Many(texts.iter().map(text).collect()));
            Message::default().with(5, "arrayValue", Field::One(values))
        }
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::RunId;

    use super::super::context::{SpanId, TraceParent};
    use super::super::span::Events;
    use super::*;

    /// Two spans that have every field, as OpenTelemetry's own Python package (opentelemetry-proto 1.45) encodes them.
    const OFFICIAL: &str = "
        0aae030a150a130a0c736572766963652e6e616d6512030a017812eb020a110a086c6f636b676174651205302e312e30
        12f1010a104bf92f3577b34da6a3ce929d0e0e473612080101010101010101220802020202020202022a02c3a9300339
        00002a36fe9c97174140423936fe9c97174a0a0a047465787412020a004a150a057465787473120c2a0a0a030a01610a
        030a01624a120a03696e74120b18d4fdffffffffffffff014a0a0a047a65726f120218004a120a05666c6f6174120921
        00000000000004404a0a0a04626f6f6c120210005a1909404b4c000000000012056576656e741a070a016b1202100160
        ac026a210a104bf92f3577b34da6a3ce929d0e0e47361208030303030303030335010100007a07120362616418028501
        0103000012390a104bf92f3577b34da6a3ce929d0e0e4736120804040404040404042a016e30013940420f0000000000
        4140420f00000000008501010100001a2768747470733a2f2f6f70656e74656c656d657472792e696f2f736368656d61
        732f312e34342e301a2768747470733a2f2f6f70656e74656c656d657472792e696f2f736368656d61732f312e34342e
        30";

    fn sample() -> (Ids, Attributes, Vec<Span>) {
        let parent = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-0202020202020202-01");
        let ids = Ids::new(&RunId::new("r0123456789ab").unwrap(), parent);
        let mut resource = Attributes::default();
        resource.put("service.name", "x");
        let mut first = Span {
            id: SpanId([1; 8]),
            parent: Some(SpanId([2; 8])),
            remote: true,
            name: "é".into(),
            kind: Kind::Client,
            start: 1_700_000_000_000,
            end: 1_700_000_000_001,
            attributes: Attributes::default(),
            events: Events {
                kept: vec![SpanEvent { time: 5, name: "event", attributes: Attributes::default() }],
                dropped: 300,
            },
            link: Some(SpanId([3; 8])),
            error: Some("bad".into()),
        };
        first.events.kept[0].attributes.put("k", true);
        first
            .attributes
            .put("text", "")
            .put("texts", Value::Texts(vec!["a".into(), "b".into()]))
            .put("int", Value::Int(-300))
            .put("zero", 0_u64)
            .put("float", 2.5)
            .put("bool", false);
        let second = Span {
            id: SpanId([4; 8]),
            parent: None,
            remote: false,
            name: "n".into(),
            kind: Kind::Internal,
            start: 1,
            end: 1,
            attributes: Attributes::default(),
            events: Events::default(),
            link: None,
            error: None,
        };
        (ids, resource, vec![first, second])
    }

    #[test]
    fn spans_are_encoded_as_others_encode_them() {
        let (ids, resource, spans) = sample();
        let bytes = Encoding::Protobuf.encode(&ids, &resource, &spans);
        let official: String = OFFICIAL.split_whitespace().collect();
        // The version of the scope is ours.
        let scope = |version: &str| version.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let official = official.replace(&scope("0.1.0"), &scope(env!("CARGO_PKG_VERSION")));
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), official);
    }

    #[test]
    fn json_is_that_of_otlp() {
        let (ids, resource, spans) = sample();
        let json: serde_json::Value = serde_json::from_slice(&Encoding::Json.encode(&ids, &resource, &spans)).unwrap();
        insta::assert_json_snapshot!(json, { ".resourceSpans[].scopeSpans[].scope.version" => "[version]" });
    }

    #[test]
    fn answers_are_read_and_garbage_is_none() {
        assert_eq!(Encoding::Protobuf.refused(b""), Some((0, String::new())));
        // `ExportTraceServiceResponse` with 3 refused spans, as the official encoder writes it.
        let answer = b"\x0a\x0b\x08\x03\x12\x07too old";
        assert_eq!(Encoding::Protobuf.refused(answer), Some((3, "too old".into())));
        assert_eq!(Encoding::Protobuf.refused(b"<html>hello</html>"), None);
        assert_eq!(Encoding::Json.refused(b"{}"), Some((0, String::new())));
        let answer = br#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}"#;
        assert_eq!(Encoding::Json.refused(answer), Some((3, "too old".into())));
        assert_eq!(Encoding::Json.refused(br#"{"partialSuccess": {"rejectedSpans": -1}}"#), Some((0, String::new())));
        for garbage in [b"".as_slice(), b"[]", b"<html>"] {
            assert_eq!(Encoding::Json.refused(garbage), None);
        }
    }
}
