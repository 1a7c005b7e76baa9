//! Ids of traces and spans, and the W3C `traceparent` text that carries them from one program to the next.

use std::fmt;

use lockgate_model::{Digest, NodeId, RunId};

/// Domain of the ids of traces.
const TRACE_DOMAIN: &str = "lockgate-trace-v1";
/// Domain of the ids of spans.
const SPAN_DOMAIN: &str = "lockgate-span-v1";
/// The flags of version 0 of `traceparent`: sampled, random.
const KNOWN_FLAGS: u8 = 0b11;
/// The flag of a trace that is kept.
const SAMPLED: u8 = 0b01;

/// Names a trace: 16 bytes, not all zero; as text 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(pub(super) [u8; 16]);

/// Names a span: 8 bytes, not all zero; as text 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SpanId(pub(super) [u8; 8]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// A place in a trace, as programs tell each other. Its text is that of <https://www.w3.org/TR/trace-context/#traceparent-header>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    /// The trace.
    pub(crate) trace: TraceId,
    /// The span that what comes next is a child of.
    pub(crate) span: SpanId,
    flags: u8,
}

impl TraceParent {
    /// Reads the text; none where it is not one. A later version is read as far as it has this version's fields.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim().split('-');
        let [version] = bytes::<1>(fields.next()?)?;
        let trace = TraceId(bytes(fields.next()?)?);
        let span = SpanId(bytes(fields.next()?)?);
        let [flags] = bytes::<1>(fields.next()?)?;
        let over = version == 0 && fields.next().is_some();
        let zero = trace.0 == [0; 16] || span.0 == [0; 8];
        (version != 0xff && !over && !zero).then_some(Self { trace, span, flags: flags & KNOWN_FLAGS })
    }

    /// Whether whoever began the trace keeps it.
    pub(crate) const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// Exactly `N` bytes in lower-case hex.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if text.len() != 2 * N || !text.bytes().all(digits) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The ids of a run's trace: a function of the run's id and of what a span is about, so that one journal always gives the same
/// ones. A trace that somebody else began keeps its id.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    run: RunId,
    /// The trace.
    pub(crate) trace: TraceId,
    /// The span of whoever started the run, if there is one.
    pub(crate) parent: Option<SpanId>,
    flags: u8,
}

impl Ids {
    /// The ids of a run below this parent.
    pub(crate) fn new(run: &RunId, parent: Option<TraceParent>) -> Self {
        let own = TraceId(first(Digest::tagged(TRACE_DOMAIN, run.as_str().as_bytes())));
        Self {
            run: run.clone(),
            trace: parent.map_or(own, |parent| parent.trace),
            parent: parent.map(|parent| parent.span),
            flags: parent.map_or(SAMPLED, |parent| parent.flags),
        }
    }

    /// The run.
    pub(crate) const fn run(&self) -> &RunId {
        &self.run
    }

    /// The flags that all spans of the trace share.
    pub(crate) const fn flags(&self) -> u8 {
        self.flags
    }

    /// The root of a session: 0 for the run's start, one more each time that it is resumed.
    pub(crate) fn root(&self, session: u32) -> SpanId {
        self.span(&format!("run/{session}"))
    }

    /// A node within a session.
    pub(crate) fn node(&self, session: u32, node: &NodeId) -> SpanId {
        self.span(&format!("node/{session}/{node}"))
    }

    /// An attempt within a session.
    pub(crate) fn attempt(&self, session: u32, node: &NodeId, attempt: u32) -> SpanId {
        self.span(&format!("attempt/{session}/{node}/{attempt}"))
    }

    /// A look of an attempt.
    pub(crate) fn look(&self, session: u32, node: &NodeId, attempt: u32, look: u32) -> SpanId {
        self.span(&format!("look/{session}/{node}/{attempt}/{look}"))
    }

    /// An effect. Like its idempotency key it does not depend on the session: the same effect again is the same span.
    pub(crate) fn effect(&self, node: &NodeId, attempt: u32, sequence: u64) -> SpanId {
        self.span(&format!("effect/{node}/{attempt}/{sequence}"))
    }

    /// What a span of this trace tells whom it asks.
    pub(crate) const fn parent_of(&self, span: SpanId) -> TraceParent {
        TraceParent { trace: self.trace, span, flags: self.flags }
    }

    /// Ids of nodes hold no `/`, so no two texts are alike.
    fn span(&self, what: &str) -> SpanId {
        SpanId(first(Digest::tagged(SPAN_DOMAIN, format!("{}/{what}", self.run).as_bytes())))
    }
}

/// The first bytes of a digest. An id may not be zero; a digest that begins like that is never met.
fn first<const N: usize>(digest: Digest) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest.as_bytes()[..N]);
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_text_of_the_specification_is_read_and_written() {
        let parent = TraceParent::parse(TEXT).unwrap();
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span.to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), TEXT);
        assert!(!TraceParent::parse(&TEXT.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn flags_and_versions_of_the_future_are_cut_down_to_ours() {
        let parent =
            TraceParent::parse(&(TEXT.replace("00-4bf", "cc-4bf").replace("-01", "-ff") + "-what-ever")).unwrap();
        assert_eq!(parent.to_string(), TEXT.replace("-01", "-03"));
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let wrong = [
            String::new(),
            "00".into(),
            TEXT.to_uppercase(),
            TEXT.replace("00-4bf", "ff-4bf"),
            TEXT.replace("00-4bf", "0-4bf"),
            format!("{TEXT}-more"),
            format!("{TEXT}-"),
            TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            TEXT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            TEXT.replace("00f067aa0ba902b7", "00f067aa0ba902b"),
            TEXT.replace("00f067aa0ba902b7", "00f067aa0ba902bä"),
            TEXT.replace("-01", "-+1"),
        ];
        for text in wrong {
            assert_eq!(TraceParent::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn ids_depend_on_all_that_they_name_and_on_nothing_else() {
        let run = RunId::new("r0123456789ab").unwrap();
        let (a, b) = (NodeId::new("a").unwrap(), NodeId::new("b").unwrap());
        let ids = Ids::new(&run, None);
        let below = Ids::new(&run, TraceParent::parse(TEXT));
        assert_eq!(ids.effect(&a, 1, 0), below.effect(&a, 1, 0));
        assert_ne!(ids.trace, below.trace);
        assert_ne!(ids.trace, Ids::new(&RunId::new("r0123456789ac").unwrap(), None).trace);
        let all = [
            ids.root(0),
            ids.root(1),
            ids.node(0, &a),
            ids.node(0, &b),
            ids.node(1, &a),
            ids.attempt(0, &a, 1),
            ids.attempt(0, &a, 2),
            ids.look(0, &a, 1, 0),
            ids.look(0, &a, 1, 1),
            ids.effect(&a, 1, 0),
            ids.effect(&a, 1, 1),
            ids.effect(&a, 2, 0),
            ids.effect(&b, 1, 0),
        ];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
        // Written down: others may compute them.
        assert_eq!(ids.trace.to_string(), Digest::tagged(TRACE_DOMAIN, b"r0123456789ab").hex()[..32]);
        assert_eq!(
            ids.effect(&a, 1, 0).to_string(),
            Digest::tagged(SPAN_DOMAIN, b"r0123456789ab/effect/a/1/0").hex()[..16]
        );
    }
}
