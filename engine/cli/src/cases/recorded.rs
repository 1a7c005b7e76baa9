//! Answers of effects from a case's file. Nothing is ever issued: a request that is not the recorded one, or one too many, ends the
//! call and is kept as what went wrong.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lockgate_host::{AskedHttp, Effects, EffectsError};
use lockgate_model::Digest;
use lockgate_model::effect::{Begun, Differs};
use lockgate_store::Store;
use lockgate_syntax::case::{Answer, AnswerBody, Exchange, RequestBody};
use serde_json::{Value, json};

use super::{Mismatch, text};
use crate::exit::{CliError, Exit};

/// Longest bytes that stand in an answer itself, as in those that the host records.
const INLINE: usize = 4 << 10;
/// Largest body, of a request or of a file with an answer, in bytes: what a plugin may get at most.
const MAX_BODY: u64 = 16 << 20;
/// How far the granted clock moves from one reading to the next, in milliseconds: so that a plugin that waits for a time sees its end.
const TICK: u64 = 1_000;

/// The answers of one case.
pub(super) struct Recorded {
    exchanges: Vec<Prepared>,
    /// Whether the grants follow from the exchanges: then what is not granted is not recorded.
    derived: bool,
    logical_time: u64,
    store: Store,
    state: Mutex<State>,
}

/// One exchange, with the bytes of its answer.
struct Prepared {
    exchange: Exchange,
    body: Vec<u8>,
}

#[derive(Default)]
struct State {
    /// Requests by the digests that their intents have.
    asked: HashMap<Digest, Asked>,
    /// How many exchanges there were.
    answered: usize,
    readings: u64,
    wrong: Vec<Mismatch>,
}

/// A request as the plugin made it.
struct Asked {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    save_as: Option<String>,
    max_body: Option<u64>,
}

impl Recorded {
    /// The answers of these exchanges; files are relative to the case's folder.
    pub(super) fn new(
        exchanges: &[Exchange],
        dir: &Path,
        derived: bool,
        logical_time: u64,
        store: &Store,
    ) -> Result<Self, CliError> {
        let prepare = |exchange: &Exchange| {
            let body = match &exchange.answer {
                Answer::Response { body: AnswerBody::Bytes(bytes), .. } => bytes.clone(),
                Answer::Response { body: AnswerBody::File(file), .. } => body_file(&dir.join(file))?,
                Answer::Error(_) => Vec::new(),
            };
            Ok(Prepared { exchange: exchange.clone(), body })
        };
        let exchanges = exchanges.iter().map(prepare).collect::<Result<_, CliError>>()?;
        Ok(Self { exchanges, derived, logical_time, store: store.clone(), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for otherwise than recorded, and what was recorded and not asked for; `returned` says whether the call came to its
    /// own end, so that what is missing was left away and not merely not reached.
    pub(super) fn mismatches(&self, returned: bool) -> Vec<Mismatch> {
        let state = self.lock();
        let mut wrong = state.wrong.clone();
        if let Some(next) = self.exchanges.get(state.answered).filter(|_| wrong.is_empty() && returned) {
            let missing = self.exchanges.len() - state.answered;
            let line = next.exchange.line;
            let why = format!("expected, by line {line}, and never sent:\n{}", indent(&expected(&next.exchange)));
            let more = if missing > 1 { format!("and {} more\n", missing - 1) } else { String::new() };
            wrong.push(Mismatch::new(format!("request {}", state.answered + 1), why + &more));
        }
        wrong
    }

    fn http(&self, sequence: u64, request: Digest, summary: &str) -> Result<Value, EffectsError> {
        let mut state = self.lock();
        let index = state.answered;
        state.answered += 1;
        let wrong = match (self.exchanges.get(index), state.asked.get(&request)) {
            (Some(prepared), Some(asked)) => match differs(&prepared.exchange, asked) {
                None => return self.answer(prepared, asked),
                Some(why) => Mismatch::new(format!("request {}", index + 1), why),
            },
            (Some(_), None) => {
                return Err(EffectsError::Record(format!("the request of effect {sequence} was not announced")));
            }
            (None, asked) => too_many(index, asked),
        };
        state.wrong.push(wrong);
        let recorded = self.exchanges.get(index).map(|prepared| first_line(&prepared.exchange));
        Err(Differs { sequence, recorded, asked: format!("http {summary}") }.into())
    }

    fn answer(&self, prepared: &Prepared, asked: &Asked) -> Result<Value, EffectsError> {
        let (status, headers, time) = match &prepared.exchange.answer {
            Answer::Response { status, headers, time, .. } => (status, headers, time),
            Answer::Error(code) => {
                let message = "the case has recorded that there is no answer";
                return Ok(json!({ "error": { "code": code, "message": message } }));
            }
        };
        let max = asked.max_body.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        let bytes = &prepared.body[..prepared.body.len().min(max)];
        let body = match &asked.save_as {
            Some(output) => json!({ "output": output, "blob": self.put(bytes)?, "size": bytes.len() }),
            None => self.bytes(bytes)?,
        };
        let mut all = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            all.push(json!([name.to_ascii_lowercase(), self.bytes(value.as_bytes())?]));
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

    fn bytes(&self, bytes: &[u8]) -> Result<Value, EffectsError> {
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() <= INLINE => Ok(json!({ "text": text })),
            _ => Ok(json!({ "blob": self.put(bytes)?, "size": bytes.len() })),
        }
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, EffectsError> {
        self.store.put_blob(bytes).map_err(|error| EffectsError::Record(crate::exit::one_line(&error)))
    }
}

#[async_trait]
impl Effects for Recorded {
    fn asked(&self, request: &AskedHttp<'_>) {
        let body = match (request.body, request.body_input) {
            (Some(bytes), _) => bytes.to_vec(),
            // What cannot be read is found when the host opens it.
            (None, Some(input)) => self.store.read_blob(&input, MAX_BODY).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        let asked = Asked {
            method: request.method.to_owned(),
            url: normal(request.url),
            headers: request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect(),
            body,
            save_as: request.save_as.map(str::to_owned),
            max_body: request.max_body,
        };
        let mut state = self.lock();
        match request.effect {
            Ok(digest) => {
                state.asked.insert(digest, asked);
            }
            Err("not-granted") if self.derived && state.wrong.is_empty() => {
                let index = state.answered;
                let wrong = match self.exchanges.get(index) {
                    Some(prepared) => {
                        let why = differs(&prepared.exchange, &asked).unwrap_or_default();
                        Mismatch::new(format!("request {}", index + 1), why)
                    }
                    None => too_many(index, Some(&asked)),
                };
                state.wrong.push(wrong);
            }
            // The plugin is told, and what it makes of that is part of the case.
            Err(_) => {}
        }
    }

    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, EffectsError> {
        match kind {
            "http" => self.http(sequence, request, summary).map(Begun::Answered),
            "clock" => {
                let mut state = self.lock();
                let now = self.logical_time.saturating_add(state.readings.saturating_mul(TICK));
                state.readings += 1;
                Ok(Begun::Answered(json!({ "now-ms": now })))
            }
            _ => {
                let why = format!("`{summary}` has no recorded answer: cases record exchanges over HTTP alone\n");
                self.lock().wrong.push(Mismatch::new(format!("effect {sequence} ({kind})"), why));
                Err(Differs { sequence, recorded: None, asked: format!("{kind} {summary}") }.into())
            }
        }
    }

    async fn outcome(&self, _: u64, _: &Value) -> Result<(), EffectsError> {
        Err(EffectsError::Record("a case issues no effect".to_owned()))
    }

    fn has_waited(&self, _: u64) -> bool {
        true
    }
}

fn body_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: anyhow::Error| {
        CliError::new(Exit::Wrong, error.context(format!("read the recorded body `{}`", path.display())))
    };
    let meta = path.metadata().map_err(|error| failed(error.into()))?;
    if !meta.is_file() || meta.len() > MAX_BODY {
        return Err(failed(anyhow::anyhow!("it is not a regular file of at most 16 MiB")));
    }
    std::fs::read(path).map_err(|error| failed(error.into()))
}

fn too_many(index: usize, asked: Option<&Asked>) -> Mismatch {
    let none = BTreeMap::new();
    let shown = asked.map(|asked| found(asked, &none, true)).unwrap_or_default();
    let recorded = if index == 0 { "none is recorded".to_owned() } else { format!("only {index} are recorded") };
    Mismatch::new(format!("request {}", index + 1), format!("one too many, {recorded}:\n{}", indent(&shown)))
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

fn first_line(exchange: &Exchange) -> String {
    format!("http {} {}", exchange.method, normal(&exchange.url))
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
fn normal(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) => {
            url.set_fragment(None);
            url.into()
        }
        Err(_) => text.to_owned(),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
