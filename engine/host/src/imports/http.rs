//! `http`: exchanges within grants and limits, each recorded.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::header::HeaderValue;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::effect::{Begun, EffectRecord};
use lockgate_model::grant::SecretPlace;
use lockgate_model::task::Task;
use lockgate_model::{Digest, PortName};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasmtime::component::Linker;

use super::{Context, claim_output, input, interface};
use crate::bindings::http::{Error, Header, Request, Response};
use crate::exchange::client::{self, Answer, Failure, Payload, Sink};
use crate::exchange::request::{Checked, check, refuse};
use crate::exchange::{Effect, Recorder, answer, bytes_json, idempotency_key, place_key};
use crate::ports::{Artifacts, Asked, AskedHttp};
use crate::schedule::Call;
use crate::secret::{Secrets, placed_in};
use crate::state::{Output, State, Stop, begin, charge, charge_bytes};

/// Most exchanges at once.
const MAX_PARALLEL: u32 = 64;
/// Most bytes of bodies that one `send-all` answers: what the guest's memory could hold by default.
const MAX_ANSWERS: u64 = 64 << 20;

/// Links it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut http = interface(linker, "http")?;
    http.func_wrap_async("send", |mut store: Context<'_>, (request,): (Request,)| {
        Box::new(async move {
            begin(&mut store, "http", Call::Small)?;
            let mut answers = send_all(&mut store, vec![request], 1).await?;
            let answer = answers.pop().unwrap_or_else(|| Err(refuse("protocol", "there is no answer")));
            Ok((answer,))
        })
    })?;
    http.func_wrap_async("send-all", |mut store: Context<'_>, (requests, parallel): (Vec<Request>, u32)| {
        Box::new(async move {
            begin(&mut store, "http", Call::Small)?;
            Ok((send_all(&mut store, requests, parallel).await?,))
        })
    })
}

/// One exchange that may begin.
struct Ready {
    checked: Checked,
    payload: Payload,
    save_as: Option<(PortName, String)>,
    max_body: u64,
    /// Why it is not sent after all: what is placed in it is known only once its intent is recorded.
    refused: Option<Error>,
}

pub(crate) type Answers = Vec<Result<Response, Error>>;

/// Sends requests and gives their answers in order.
pub(crate) async fn send_all(store: &mut Context<'_>, requests: Vec<Request>, parallel: u32) -> Result<Answers, Stop> {
    let mut answers: Vec<Option<Result<Response, Error>>> = Vec::with_capacity(requests.len());
    let mut ready = Vec::new();
    for (index, request) in requests.into_iter().enumerate() {
        charge(store, Call::Exchange.fuel())?;
        charge_bytes(store, request_bytes(&request))?;
        match prepare(store.data_mut(), request)? {
            Ok(exchange) => {
                ready.push((index, exchange));
                answers.push(None);
            }
            Err(refused) => answers.push(Some(Err(refused))),
        }
    }
    let recorder = Recorder::begin(store.data_mut(), ready.len() as u64)?;
    let (artifacts, secrets) = (store.data().artifacts.clone(), store.data().secrets.clone());
    let total = Arc::new(AtomicU64::new(0));
    let parallel = parallel.clamp(1, MAX_PARALLEL) as usize;
    let mut running = JoinSet::new();
    let mut records = Vec::new();
    let mut saved = Vec::new();
    let mut waiting = (0..).zip(ready);
    loop {
        let mut recorded = None;
        while running.len() < parallel
            && recorded.is_none()
            && let Some((number, (index, mut exchange))) = waiting.next()
        {
            match recorder.intent(number, &exchange.checked.effect).await? {
                Begun::Issue => {
                    let key = idempotency_key(&store.data().task, recorder.sequence(number));
                    exchange.checked.identify(&key);
                    fill(store.data(), &key, &mut exchange)?;
                    if let Some(parent) = recorder.trace_parent(number) {
                        exchange.checked.trace(&parent);
                    }
                    let (artifacts, total, secrets) = (artifacts.clone(), total.clone(), secrets.clone());
                    running.spawn(perform(index, number, exchange, artifacts, total, secrets));
                }
                Begun::Answered(answer) => {
                    let done = answered(index, number, exchange, answer, &*artifacts, &total);
                    recorded = Some(done.map_err(|error| match error {
                        Unusable::Stop(stop) => stop,
                        Unusable::Record(error) => recorder.unreadable(number, &error),
                    })?);
                }
            }
        }
        let done = match recorded {
            Some(done) => done,
            None => {
                let Some(done) = running.join_next().await else { break };
                let done =
                    done.map_err(|error| Stop::Infrastructure(format!("failed to finish an exchange: {error}")))??;
                recorder.outcome(done.number, &done.record).await?;
                done
            }
        };
        records.push(recorder.record(done.number, done.effect, done.record));
        answers[done.index] = Some(done.answer);
        saved.extend(done.output);
    }
    keep(store, records, saved)?;
    // Each has an answer by now.
    let answers: Answers = answers.into_iter().flatten().collect();
    charge_bytes(store, answers.iter().map(answer_bytes).sum())?;
    Ok(answers)
}

/// Takes over records, in the order of their sequence, and saved bodies.
fn keep(
    store: &mut Context<'_>,
    mut records: Vec<EffectRecord>,
    saved: Vec<(PortName, Option<ArtifactRef>)>,
) -> Result<(), Stop> {
    records.sort_by_key(|record| record.sequence);
    store.data_mut().records.extend(records);
    for (port, artifact) in saved {
        match artifact {
            Some(artifact) => {
                charge_bytes(store, artifact.size)?;
                store.data_mut().write(artifact.size)?;
                store.data_mut().outputs.insert(port, Output::Done(artifact));
            }
            None => {
                store.data_mut().outputs.remove(&port);
            }
        }
    }
    Ok(())
}

/// Everything that needs no network: checks, the body's source, the output's name.
fn prepare(state: &mut State, request: Request) -> Result<Result<Ready, Error>, Stop> {
    let body_input = match &request.body_input {
        Some(name) => match input(state, name, ArtifactKind::Blob) {
            Ok((digest, _)) => Some(digest),
            Err(error) => return Ok(Err(refuse("body", error.message))),
        },
        None => None,
    };
    let checked = check(&request, &state.task.grants.http, body_input)
        .and_then(|checked| check_secrets(&state.task, &checked, &request).map(|()| checked));
    tell(state, &request, body_input, checked.as_ref());
    let checked = match checked {
        Ok(checked) => checked,
        Err(refused) => return Ok(Err(refused)),
    };
    let payload = match body_input {
        Some(digest) => {
            let (source, size) =
                state.artifacts.open_blob(digest).map_err(|error| Stop::artifacts("open an input", &error))?;
            Payload::Blob(source, size)
        }
        None => Payload::Bytes(Bytes::from(request.body.unwrap_or_default())),
    };
    let save_as = match request.save_as {
        Some(name) => match claim_output(state, &name, ArtifactKind::Blob) {
            Ok(port) => Some((port, name)),
            Err(error) => return Ok(Err(refuse("bad-request", error.message))),
        },
        None => None,
    };
    // One byte beyond the limit of outputs is enough to find that it is passed.
    let room = state.limits().output.0.saturating_sub(state.written).saturating_add(1);
    let max_body = checked.max_body.unwrap_or(u64::MAX).min(if save_as.is_some() { room } else { u64::MAX });
    Ok(Ok(Ready { checked, payload, save_as, max_body, refused: None }))
}

/// Tells who stands behind the effects what was asked.
fn tell(state: &State, request: &Request, body_input: Option<Digest>, checked: Result<&Checked, &Error>) {
    let headers: Vec<_> =
        request.headers.iter().map(|header| (header.name.as_str(), header.value.as_slice())).collect();
    state.effects.asked(&Asked::Http(AskedHttp {
        method: &request.method,
        url: &request.url,
        headers: &headers,
        body: request.body.as_deref(),
        body_input,
        save_as: request.save_as.as_deref(),
        max_body: checked.ok().and_then(|checked| checked.max_body),
        effect: checked.map(|checked| checked.effect.request).map_err(|refused| refused.code.as_str()),
    }));
}

/// Refuses a request with a secret that may not go to its host, or that stands where servers write it into their logs.
fn check_secrets(task: &Task, checked: &Checked, request: &Request) -> Result<(), Error> {
    let not_granted = |message| refuse("not-granted", message);
    // As the guest wrote it, and as it is sent: reading it may take characters out.
    let target = checked.target.to_string();
    for text in [request.url.as_bytes(), target.as_bytes()] {
        if let Some(grant) = placed_in(task, text).find(|grant| grant.place != SecretPlace::Url) {
            let message = format!(
                "the secret `{}` stands in the URL: it may stand in headers and in the body, unless its grant says `place = \"url\"`",
                grant.name
            );
            return Err(refuse("bad-request", message));
        }
        goes_there(task, &checked.host, checked.port, text).map_err(not_granted)?;
    }
    let body = request.body.as_deref().unwrap_or_default();
    let headers = request.headers.iter().map(|header| &header.value[..]);
    for bytes in headers.chain([body]) {
        may_hold_secrets(task, &checked.host, checked.port, bytes).map_err(not_granted)?;
    }
    Ok(())
}

/// Whether what goes to this host and port, other than a URL, may hold the secrets whose placeholders stand in it; if not, why.
pub(crate) fn may_hold_secrets(task: &Task, host: &str, port: u16, bytes: &[u8]) -> Result<(), String> {
    if let Some(grant) = placed_in(task, bytes).find(|grant| grant.place != SecretPlace::Message) {
        return Err(format!(
            "`grants.secrets` of the node permits the secret `{}` in URLs alone: its grant says `place = \"url\"`",
            grant.name
        ));
    }
    goes_there(task, host, port, bytes)
}

/// Whether the secrets whose placeholders stand in these bytes may go there; if not, why.
fn goes_there(task: &Task, host: &str, port: u16, bytes: &[u8]) -> Result<(), String> {
    match placed_in(task, bytes).find(|grant| !grant.goes_to(host, port)) {
        Some(grant) => Err(format!(
            "`grants.secrets` of the node does not permit the secret `{}` to go to `{host}:{port}`",
            grant.name
        )),
        None => Ok(()),
    }
}

/// Puts values in place of placeholders.
pub(crate) fn place<'b>(secrets: &Secrets, task: &Task, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, Stop> {
    secrets
        .place(task, bytes)
        .map_err(|name| Stop::Infrastructure(format!("failed to place the secret `{name}`: it has no value here")))
}

/// Puts the idempotency key and values of secrets into a request that is about to be sent.
fn fill(state: &State, key: &str, exchange: &mut Ready) -> Result<(), Stop> {
    let mut holds = false;
    for (name, value) in &mut exchange.checked.headers {
        if let Cow::Owned(keyed) = place_key(value.as_bytes(), key) {
            let unfit = |error| Stop::Infrastructure(format!("failed to send the header `{name}`: {error}"));
            *value = HeaderValue::from_bytes(&keyed).map_err(unfit)?;
        }
        if let Cow::Owned(placed) = place(&state.secrets, &state.task, value.as_bytes())? {
            let placed = HeaderValue::from_bytes(&placed);
            *value = placed.map_err(|_| {
                Stop::Infrastructure(format!("failed to send the header `{name}`: the secret in it holds a line break"))
            })?;
            value.set_sensitive(true);
            holds = true;
        }
    }
    let target = exchange.checked.target.to_string();
    if let Cow::Owned(placed) = place(&state.secrets, &state.task, target.as_bytes())? {
        exchange.refused = exchange.checked.retarget(&placed).err();
        holds = true;
    }
    if let Payload::Bytes(bytes) = &mut exchange.payload
        && let Cow::Owned(keyed) = place_key(bytes, key)
    {
        *bytes = Bytes::from(keyed);
    }
    if let Payload::Bytes(bytes) = &mut exchange.payload
        && let Cow::Owned(placed) = place(&state.secrets, &state.task, bytes)?
    {
        *bytes = Bytes::from(placed);
        holds = true;
    }
    exchange.checked.holds_secret = holds;
    Ok(())
}

/// An exchange that is over.
struct Done {
    index: usize,
    /// Its place among the exchanges of this host call.
    number: u64,
    effect: Effect,
    answer: Result<Response, Error>,
    record: Value,
    /// The output that was to get the body, and what it got.
    output: Option<(PortName, Option<ArtifactRef>)>,
}

/// Why a recorded answer is not given.
enum Unusable {
    Stop(Stop),
    Record(String),
}

/// The end of an exchange by its record.
fn answered(
    index: usize,
    number: u64,
    exchange: Ready,
    record: Value,
    artifacts: &dyn Artifacts,
    total: &AtomicU64,
) -> Result<Done, Unusable> {
    let save_as = exchange.save_as.as_ref().map(|(_, name)| name.as_str());
    let (answer, saved) = answer::exchanged(&record, save_as, artifacts).map_err(Unusable::Record)?;
    if let Ok(answer) = &answer {
        count(total, answer.body.len() as u64).map_err(Unusable::Stop)?;
    }
    let output = exchange.save_as.map(|(port, _)| (port, saved));
    Ok(Done { index, number, effect: exchange.checked.effect, answer, record, output })
}

/// Counts the bytes of a body that the guest gets.
fn count(total: &AtomicU64, size: u64) -> Result<(), Stop> {
    if total.fetch_add(size, Ordering::Relaxed).saturating_add(size) > MAX_ANSWERS {
        let limit = lockgate_model::units::Bytes(MAX_ANSWERS);
        return Err(Stop::Limit(format!(
            "the bodies that one `send-all` answers are larger than {limit}; ask for fewer at once"
        )));
    }
    Ok(())
}

async fn perform(
    index: usize,
    number: u64,
    exchange: Ready,
    artifacts: Arc<dyn Artifacts>,
    total: Arc<AtomicU64>,
    secrets: Arc<Secrets>,
) -> Result<Done, Stop> {
    let effect = exchange.checked.effect.clone();
    let sink = match &exchange.save_as {
        Some(_) => Sink::Blob(artifacts.blob_writer().map_err(|error| Stop::artifacts("begin an output", &error))?),
        None => Sink::Memory(Vec::new()),
    };
    let result = match exchange.refused {
        Some(refused) => Err(Failure::Answer(refused)),
        None => client::exchange(exchange.checked, exchange.payload, sink, exchange.max_body, &secrets).await,
    };
    let answer = match result {
        Ok(answer) => answer,
        Err(Failure::Infrastructure(message)) => {
            return Err(Stop::Infrastructure(secrets.mask(&message).into_owned()));
        }
        Err(Failure::Answer(error)) => {
            // Whatever a library puts into its messages: what was sent does not come back.
            let error = Error { message: secrets.mask(&error.message).into_owned(), ..error };
            let record = json!({ "error": { "code": error.code, "message": error.message } });
            let output = exchange.save_as.map(|(port, _)| (port, None));
            return Ok(Done { index, number, effect, answer: Err(error), record, output });
        }
    };
    let Answer { status, headers, body, size, truncated, timings } = answer;
    let (body, body_record, output) = match (body, exchange.save_as) {
        (Sink::Blob(writer), Some((port, name))) => {
            let (digest, size) = writer.finish().map_err(|error| Stop::artifacts("store an output", &error))?;
            let artifact = ArtifactRef { kind: ArtifactKind::Blob, digest, size };
            (Vec::new(), json!({ "output": name, "blob": digest, "size": size }), Some((port, Some(artifact))))
        }
        (Sink::Memory(bytes), _) => {
            count(&total, size)?;
            let record = bytes_json(&*artifacts, &bytes)?;
            (bytes, record, None)
        }
        (Sink::Blob(_), None) => return Err(Stop::Infrastructure("failed to keep an answer: it has no output".into())),
    };
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| Header {
            name: name.to_string(),
            value: secrets.mask_bytes(value.as_bytes()).into_owned(),
        })
        .collect();
    let mut header_records = Vec::with_capacity(headers.len());
    for header in &headers {
        header_records.push(json!([header.name, bytes_json(&*artifacts, &header.value)?]));
    }
    let record = json!({
        "status": status,
        "headers": header_records,
        "body": body_record,
        "truncated": truncated,
        "timings": { "connect-us": timings.connect_us, "first-byte-us": timings.first_byte_us, "total-us": timings.total_us },
    });
    let answer = Ok(Response { status, headers, body, truncated, timings });
    Ok(Done { index, number, effect, answer, record, output })
}

fn request_bytes(request: &Request) -> u64 {
    let headers: usize = request.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    (request.url.len() + headers + request.body.as_ref().map_or(0, Vec::len)) as u64
}

fn answer_bytes(answer: &Result<Response, Error>) -> u64 {
    let bytes = match answer {
        Ok(answer) => {
            answer.body.len()
                + answer.headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>()
        }
        Err(error) => error.message.len(),
    };
    bytes as u64
}
