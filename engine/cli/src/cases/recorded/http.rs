//! Recorded exchanges over HTTP.

use std::collections::BTreeMap;

use lockgate_host::EffectsError;
use lockgate_model::Digest;
use lockgate_syntax::case::{Answer, Exchange, RequestBody};
use serde_json::{Value, json};

use super::super::text;
use super::tape::Recording;
use super::{Keep, indent};

/// One exchange, with the bytes of its answer.
pub(super) struct Prepared {
    pub(super) exchange: Exchange,
    pub(super) body: Vec<u8>,
}

/// A request as the plugin made it.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) save_as: Option<String>,
    pub(super) max_body: Option<u64>,
}

impl Recording for Prepared {
    type Asked = Asked;
    const KIND: &'static str = "http";
    const NAME: &'static str = "request";
    const NEVER: &'static str = "never sent";

    fn line(&self) -> usize {
        self.exchange.line
    }

    fn first_line(&self) -> String {
        format!("{} {}", self.exchange.method, normal(&self.exchange.url))
    }

    fn expected(&self) -> String {
        expected(&self.exchange)
    }

    fn shown(asked: &Asked) -> String {
        found(asked, &BTreeMap::new(), true)
    }

    fn differs(&self, asked: &Asked) -> Option<String> {
        differs(&self.exchange, asked)
    }
}

/// The answer of an exchange, as the host records it.
pub(super) fn answer(prepared: &Prepared, asked: &Asked, keep: &Keep) -> Result<Value, EffectsError> {
    let (status, headers, time) = match &prepared.exchange.answer {
        Answer::Response { status, headers, time, .. } => (status, headers, time),
        Answer::Error(code) => return Ok(super::no_answer(code)),
    };
    let max = asked.max_body.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
    let bytes = &prepared.body[..prepared.body.len().min(max)];
    let body = match &asked.save_as {
        Some(output) => {
            let blob: Digest = keep.put(bytes)?;
            json!({ "output": output, "blob": blob, "size": bytes.len() })
        }
        None => keep.bytes(bytes)?,
    };
    let mut all = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        all.push(json!([name.to_ascii_lowercase(), keep.bytes(value.as_bytes())?]));
    }
    let micros = time.0.saturating_mul(1_000);
    Ok(json!({
        "status": status,
        "headers": all,
        "body": body,
        "truncated": bytes.len() < prepared.body.len(),
        "timings": { "connect-us": 0, "first-byte-us": micros, "total-us": micros },
    }))
}

/// How a request differs from the recorded one, if it does.
fn differs(exchange: &Exchange, asked: &Asked) -> Option<String> {
    let same_headers = exchange.headers.iter().all(|(name, value)| {
        let mut named = asked.headers.iter().filter(|(found, _)| *found == name.to_ascii_lowercase());
        named.any(|(_, found)| found == value.as_bytes())
    });
    let same_body = match &exchange.body {
        None => true,
        Some(RequestBody::Text(text)) => asked.body == text.as_bytes(),
        Some(RequestBody::Json(value)) => {
            serde_json::from_slice::<Value>(&asked.body).is_ok_and(|found| found == *value)
        }
    };
    if exchange.method == asked.method && normal(&exchange.url) == asked.url && same_headers && same_body {
        return None;
    }
    let headers = exchange.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
    let body = exchange.body.is_some();
    let json = matches!(exchange.body, Some(RequestBody::Json(_)));
    let mut shown = found(asked, &headers, body);
    if json && let Ok(value) = serde_json::from_slice::<Value>(&asked.body) {
        shown = found(&Asked { body: pretty(&value).into_bytes(), ..head_of(asked) }, &headers, true);
    }
    let difference = text::difference(expected(exchange).as_bytes(), shown.as_bytes());
    Some(format!("another than the one of line {}:\n{}", exchange.line, indent(&difference)))
}

fn head_of(asked: &Asked) -> Asked {
    Asked {
        method: asked.method.clone(),
        url: asked.url.clone(),
        headers: asked.headers.clone(),
        body: Vec::new(),
        save_as: None,
        max_body: None,
    }
}

/// A recorded request as text, as far as it says something.
fn expected(exchange: &Exchange) -> String {
    let mut text = format!("{} {}\n", exchange.method, normal(&exchange.url));
    let headers: BTreeMap<_, _> =
        exchange.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    for (name, value) in headers {
        text += &format!("{name}: {value}\n");
    }
    match &exchange.body {
        None => {}
        Some(RequestBody::Text(body)) => text += &format!("\n{body}\n"),
        Some(RequestBody::Json(value)) => text += &format!("\n{}\n", pretty(value)),
    }
    text
}

/// A request as text: of its headers those that matter, and its body if it does.
fn found(asked: &Asked, headers: &BTreeMap<String, &str>, body: bool) -> String {
    let mut text = format!("{} {}\n", asked.method, asked.url);
    let mut shown: Vec<_> = asked.headers.iter().filter(|(name, _)| headers.contains_key(name)).collect();
    shown.sort();
    for (name, value) in shown {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value));
    }
    if body && !asked.body.is_empty() {
        text += &format!("\n{}\n", String::from_utf8_lossy(&asked.body));
    }
    text
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// A URL as it is sent; one that cannot be read stays as it is.
pub(super) fn normal(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) => {
            url.set_fragment(None);
            url.into()
        }
        Err(_) => text.to_owned(),
    }
}
