//! Recorded exchanges over bare connections.

use lockgate_host::EffectsError;
use lockgate_syntax::case::{Connection, ConnectionEnd};
use serde_json::{Value, json};

use super::super::text;
use super::tape::Recording;
use super::{Keep, indent, quoted};

/// An exchange as the plugin asked for it.
pub(super) struct Asked {
    pub(super) target: String,
    pub(super) send: Vec<u8>,
    pub(super) until: Option<Vec<u8>>,
    pub(super) max_bytes: Option<u64>,
}

impl Recording for Connection {
    type Asked = Asked;
    const KIND: &'static str = "tcp";
    const NAME: &'static str = "connection";
    const NEVER: &'static str = "never made";

    fn line(&self) -> usize {
        self.line
    }

    fn first_line(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn expected(&self) -> String {
        describe(&self.first_line(), self.send.as_deref())
    }

    fn shown(asked: &Asked) -> String {
        describe(&asked.target, Some(&asked.send))
    }

    fn differs(&self, asked: &Asked) -> Option<String> {
        let same = self.send.as_ref().is_none_or(|send| *send == asked.send);
        if self.first_line() == asked.target && same {
            return None;
        }
        let shown = describe(&asked.target, self.send.as_ref().map(|_| &asked.send[..]));
        let difference = text::difference(self.expected().as_bytes(), shown.as_bytes());
        Some(format!("another than the one of line {}:\n{}", self.line, indent(&difference)))
    }
}

fn describe(target: &str, send: Option<&[u8]>) -> String {
    match send {
        None => format!("{target}\n"),
        Some(send) => format!("{target}\n{}\n", quoted(send)),
    }
}

/// The answer of an exchange, as the host records it: reading ends where it would with a server.
pub(super) fn answer(recorded: &Connection, asked: &Asked, keep: &Keep) -> Result<Value, EffectsError> {
    let (bytes, silent, time) = match &recorded.end {
        ConnectionEnd::Received { bytes, silent, time } => (bytes, *silent, time),
        ConnectionEnd::Error(code) => return Ok(super::no_answer(code)),
    };
    let max = asked.max_bytes.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
    let until = asked.until.as_ref().and_then(|until| {
        bytes.windows(until.len().max(1)).position(|window| window == &until[..]).map(|at| at + until.len())
    });
    let (length, ended_by) = match until {
        Some(end) if end <= max => (end, "until"),
        _ if bytes.len() >= max => (max, "max-bytes"),
        _ if silent && bytes.is_empty() => return Ok(super::no_answer("timeout")),
        _ if silent => (bytes.len(), "timeout"),
        _ => (bytes.len(), "closed"),
    };
    let micros = time.0.saturating_mul(1_000);
    Ok(json!({
        "received": keep.bytes(&bytes[..length])?,
        "ended-by": ended_by,
        "timings": { "connect-us": 0, "total-us": micros },
    }))
}
