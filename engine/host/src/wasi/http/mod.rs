//! `wasi:http`, outgoing: the exchanges of the contract's `http` in the words of WASI, under the same grants, counted and recorded alike.
//!
//! A request is sent when the guest first waits for its answer and its body is finished, several together at once; the answer is there
//! whole then. So what a guest sees depends on records alone, never on which packet came first.

mod messages;
mod types;

use std::collections::BTreeMap;

use wasmtime::component::{Linker, LinkerInstance, Resource};

use self::messages::{Fields, IncomingResponse, OutgoingRequest, RequestOptions};
use self::types::ErrorCode;
use super::poll::Pollable;
use super::streams::{InputStream, IoError, OutputStream};
use super::{call, call_unit, instance, resource};
use crate::bindings::http::{Error, Header, Request, Response};
use crate::exchange::request::MAX_BODY;
use crate::imports::{Context, broken_handle, push};
use crate::schedule::Call;
use crate::state::{State, Stop};

/// Most exchanges at once.
const PARALLEL: u32 = 16;

/// Names a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BodyId(u64);

/// Names an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExchangeId(u64);

/// The exchanges and bodies of one call.
#[derive(Default)]
pub(crate) struct Http {
    made: u64,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    bodies: BTreeMap<BodyId, Body>,
}

#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    finished: bool,
}

enum Exchange {
    /// Not sent yet; its body, if it has one.
    Waiting(Box<Request>, Option<BodyId>),
    Answered(Result<Response, Error>),
    /// The guest has it.
    Taken,
}

/// The answer that is to come.
pub(crate) struct FutureResponse(ExchangeId);

/// A body of a request that is being written, and whether its stream was given out.
pub(crate) struct OutgoingBody(BodyId, bool);

/// A body of an answer, and whether its stream was given out.
pub(crate) struct IncomingBody(BodyId, bool);

/// Trailers, of which there are none; whether that was said.
pub(crate) struct FutureTrailers(bool);

impl Http {
    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// A body with these bytes, which count as held already.
    fn body(&mut self, bytes: Vec<u8>, finished: bool) -> BodyId {
        let id = BodyId(self.number());
        self.bodies.insert(id, Body { bytes, finished });
        id
    }
}

/// Links it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = instance(linker, "http/types")?;
    messages::link(&mut types)?;
    bodies(&mut types)?;
    future(&mut types)?;
    call(&mut types, "http-error-code", Call::Small, |state, (error,): (Resource<IoError>,)| {
        Ok(match state.table.get(&error).map_err(broken_handle)? {
            IoError::Http(message) => Some(ErrorCode::Internal(Some(message.clone()))),
            IoError::File(_) => None,
        })
    })?;
    let mut handler = instance(linker, "http/outgoing-handler")?;
    call(&mut handler, "handle", Call::Small, handle)
}

fn bodies(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    // A body that is dropped before it is finished stays unfinished: its request is never sent.
    resource::<OutgoingBody>(types, "outgoing-body", |_, _| Ok(()))?;
    call(types, "[method]outgoing-body.write", Call::Small, |state, (body,): (Resource<OutgoingBody>,)| {
        let OutgoingBody(id, given) = state.table.get_mut(&body).map_err(broken_handle)?;
        let id = *id;
        match std::mem::replace(given, true) {
            true => Ok(Err(())),
            false => push(state, OutputStream::Body(id)).map(Ok),
        }
    })?;
    type Finished = (Resource<OutgoingBody>, Option<Resource<Fields>>);
    call(types, "[static]outgoing-body.finish", Call::Small, |state, (body, trailers): Finished| {
        let OutgoingBody(id, _) = state.table.delete(body).map_err(broken_handle)?;
        if let Some(trailers) = trailers {
            state.table.delete(trailers).map_err(broken_handle)?;
            return Ok(Err(ErrorCode::Internal(Some("trailers are not sent".into()))));
        }
        if let Some(body) = state.wasi.http.bodies.get_mut(&id) {
            body.finished = true;
        }
        Ok(Ok(()))
    })?;
    resource::<IncomingBody>(types, "incoming-body", |state, IncomingBody(id, _)| {
        forget(state, id);
        Ok(())
    })?;
    call(types, "[method]incoming-body.stream", Call::Small, |state, (body,): (Resource<IncomingBody>,)| {
        let IncomingBody(id, given) = state.table.get_mut(&body).map_err(broken_handle)?;
        let id = *id;
        match std::mem::replace(given, true) {
            true => Ok(Err(())),
            false => push(state, InputStream::Body(id, 0)).map(Ok),
        }
    })?;
    call(types, "[static]incoming-body.finish", Call::Small, |state, (body,): (Resource<IncomingBody>,)| {
        let IncomingBody(id, _) = state.table.delete(body).map_err(broken_handle)?;
        forget(state, id);
        push(state, FutureTrailers(false))
    })?;
    resource::<FutureTrailers>(types, "future-trailers", |_, _| Ok(()))?;
    call(types, "[method]future-trailers.subscribe", Call::Small, |state, (_,): (Resource<FutureTrailers>,)| {
        push(state, Pollable::Ready)
    })?;
    call(types, "[method]future-trailers.get", Call::Small, |state, (trailers,): (Resource<FutureTrailers>,)| {
        let FutureTrailers(given) = state.table.get_mut(&trailers).map_err(broken_handle)?;
        Ok(Some(match std::mem::replace(given, true) {
            true => Err(()),
            false => Ok(Ok::<_, ErrorCode>(None::<Resource<Fields>>)),
        }))
    })
}

fn future(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<FutureResponse>(types, "future-incoming-response", |state, FutureResponse(id)| {
        match state.wasi.http.exchanges.remove(&id) {
            Some(Exchange::Answered(Ok(response))) => state.usage.release(response.body.len() as u64),
            Some(Exchange::Waiting(_, Some(body))) => forget(state, body),
            _ => {}
        }
        Ok(())
    })?;
    type Answer = (Resource<FutureResponse>,);
    call(types, "[method]future-incoming-response.subscribe", Call::Small, |state, (future,): Answer| {
        let FutureResponse(id) = *state.table.get(&future).map_err(broken_handle)?;
        push(state, Pollable::Response(id))
    })?;
    call(types, "[method]future-incoming-response.get", Call::Small, |state, (future,): Answer| {
        let FutureResponse(id) = *state.table.get(&future).map_err(broken_handle)?;
        let Some(exchange) = state.wasi.http.exchanges.get_mut(&id) else { return Ok(Some(Err(()))) };
        let answer = match exchange {
            // The guest waits for it first, or asks again.
            Exchange::Waiting(..) => return Ok(None),
            Exchange::Taken => return Ok(Some(Err(()))),
            Exchange::Answered(_) => std::mem::replace(exchange, Exchange::Taken),
        };
        let response = match answer {
            Exchange::Answered(Ok(response)) => response,
            Exchange::Answered(Err(error)) => return Ok(Some(Ok(Err(ErrorCode::from(&error))))),
            Exchange::Waiting(..) | Exchange::Taken => return Ok(Some(Err(()))),
        };
        let Response { status, headers, body, .. } = response;
        let body = state.wasi.http.body(body, true);
        let headers = headers.into_iter().map(|Header { name, value }| (name, value)).collect();
        push(state, IncomingResponse { status, headers, body: Some(body) }).map(|response| Some(Ok(Ok(response))))
    })
}

type Handled = (Resource<OutgoingRequest>, Option<Resource<RequestOptions>>);

/// Takes a request to be sent.
fn handle(state: &mut State, (request, options): Handled) -> Result<Result<Resource<FutureResponse>, ErrorCode>, Stop> {
    if !state.running {
        return Err(Stop::TooEarly("wasi:http/outgoing-handler"));
    }
    let request = state.table.delete(request).map_err(broken_handle)?;
    let options = options.map(|options| state.table.delete(options).map_err(broken_handle)).transpose()?;
    let body = request.body;
    let request = match request.complete(options.as_ref()) {
        Ok(request) => request,
        Err(code) => return Ok(Err(code)),
    };
    let id = ExchangeId(state.wasi.http.number());
    state.wasi.http.exchanges.insert(id, Exchange::Waiting(Box::new(request), body));
    push(state, FutureResponse(id)).map(Ok)
}

/// Whether an exchange is over.
pub(crate) fn is_answered(state: &State, id: ExchangeId) -> bool {
    !matches!(state.wasi.http.exchanges.get(&id), Some(Exchange::Waiting(..)))
}

/// Sends requests whose bodies are finished, all at once; false where there are none.
pub(crate) async fn perform(store: &mut Context<'_>, wanted: &[ExchangeId]) -> Result<bool, Stop> {
    let mut ids: Vec<_> = wanted.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut requests = Vec::new();
    {
        let state = store.data_mut();
        ids.retain(|id| match state.wasi.http.exchanges.get(id) {
            Some(Exchange::Waiting(_, None)) => true,
            Some(Exchange::Waiting(_, Some(body))) => {
                state.wasi.http.bodies.get(body).is_some_and(|body| body.finished)
            }
            _ => false,
        });
        for id in &ids {
            let taken = state.wasi.http.exchanges.insert(*id, Exchange::Taken);
            let Some(Exchange::Waiting(mut request, body)) = taken else { continue };
            let body = body.and_then(|body| state.wasi.http.bodies.remove(&body));
            if let Some(Body { bytes, .. }) = body.filter(|body| !body.bytes.is_empty()) {
                state.usage.release(bytes.len() as u64);
                request.body = Some(bytes);
            }
            requests.push(*request);
        }
    }
    if requests.is_empty() {
        return Ok(false);
    }
    let answers = crate::imports::http::send_all(store, requests, PARALLEL).await?;
    let state = store.data_mut();
    for (id, mut answer) in ids.into_iter().zip(answers) {
        match &answer {
            Ok(response) if response.truncated => {
                let limit = lockgate_model::units::Bytes(MAX_BODY);
                let message = format!("the answer's body is larger than {limit}");
                answer = Err(Error { code: "limit".into(), message });
            }
            Ok(response) => state.hold(response.body.len() as u64)?,
            Err(_) => {}
        }
        if let Err(error) = &answer {
            // WASI has no words for most of it.
            let message = format!("wasi:http: {}", error.message);
            state.log.add("warn", &state.secrets.mask(&message));
        }
        state.wasi.http.exchanges.insert(id, Exchange::Answered(answer));
    }
    Ok(true)
}

/// The next bytes of an answer's body.
pub(crate) fn read_body(state: &mut State, id: BodyId, position: u64, max: u64) -> Result<Vec<u8>, Stop> {
    let Some(body) = state.wasi.http.bodies.get(&id) else { return Ok(Vec::new()) };
    let from = usize::try_from(position).unwrap_or(usize::MAX).min(body.bytes.len());
    let length = usize::try_from(max.min(lockgate_model::limits::MAX_CHUNK.into())).unwrap_or(usize::MAX);
    let bytes = body.bytes[from..].iter().copied().take(length).collect::<Vec<_>>();
    state.spend_bytes(bytes.len() as u64)?;
    Ok(bytes)
}

/// Adds bytes to a request's body.
pub(crate) fn write_body(state: &mut State, id: BodyId, bytes: &[u8]) -> Result<Result<(), String>, Stop> {
    if state.wasi.http.bodies.get(&id).is_none_or(|body| body.finished) {
        return Ok(Err("the body is finished".into()));
    }
    state.hold(bytes.len() as u64)?;
    if let Some(body) = state.wasi.http.bodies.get_mut(&id) {
        body.bytes.extend_from_slice(bytes);
    }
    Ok(Ok(()))
}

fn forget(state: &mut State, id: BodyId) {
    if let Some(body) = state.wasi.http.bodies.remove(&id) {
        state.usage.release(body.bytes.len() as u64);
    }
}

/// Links a function that belongs to what serves requests, which nothing here does.
macro_rules! serving {
    ($types:expr, $name:literal, $params:ty, $result:ty) => {
        call($types, $name, Call::Small, |_, _: $params| -> Result<$result, Stop> {
            Err(Stop::Misuse(concat!("it called `", $name, "` of `wasi:http`: only requests can be sent").into()))
        })?
    };
    ($types:expr, $name:literal, $params:ty) => {
        call_unit($types, $name, Call::Small, |_, _: $params| -> Result<(), Stop> {
            Err(Stop::Misuse(concat!("it called `", $name, "` of `wasi:http`: only requests can be sent").into()))
        })?
    };
}
use serving;
