//! Fields, requests, options and answers: what is only data until it is sent. What serves requests is there by type, and cannot be used.

use wasmtime::component::{LinkerInstance, Resource};

use super::types::{ErrorCode, HeaderError, Method, Scheme};
use super::{BodyId, IncomingBody, OutgoingBody, call, call_unit, resource, serving};
use crate::bindings::http::{Header, Request};
use crate::exchange::request::MAX_BODY;
use crate::imports::{broken_handle, push};
use crate::schedule::{Call, PER_ENTRY};
use crate::state::{State, Stop};

/// Headers that are the engine's.
const FORBIDDEN: &[&str] = &[
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Most bytes of the fields of one set: beyond it no request is sent anyway.
const MAX_FIELDS: usize = 64 << 10;
/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;

type List = Vec<(String, Vec<u8>)>;

/// Names and values in their order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fields {
    list: List,
    immutable: bool,
}

/// A request that is being made.
pub(crate) struct OutgoingRequest {
    method: Method,
    scheme: Option<Scheme>,
    authority: Option<String>,
    path: Option<String>,
    headers: List,
    pub(super) body: Option<BodyId>,
}

/// Times, in nanoseconds.
#[derive(Default)]
pub(crate) struct RequestOptions {
    connect: Option<u64>,
    first_byte: Option<u64>,
    between_bytes: Option<u64>,
}

/// An answer.
pub(crate) struct IncomingResponse {
    pub(super) status: u16,
    pub(super) headers: List,
    pub(super) body: Option<BodyId>,
}

/// Never made.
struct IncomingRequest;
/// Never made.
struct OutgoingResponse;
/// Never made.
struct Outparam;

impl OutgoingRequest {
    /// The request as the contract's `http` takes it.
    pub(super) fn complete(self, options: Option<&RequestOptions>) -> Result<Request, ErrorCode> {
        let scheme = match &self.scheme {
            Some(Scheme::Http) => "http",
            Some(Scheme::Https) | None => "https",
            Some(Scheme::Other(_)) => return Err(ErrorCode::RequestUriInvalid),
        };
        let Some(authority) = &self.authority else { return Err(ErrorCode::RequestUriInvalid) };
        let path = self.path.as_deref().unwrap_or("/");
        if !path.starts_with('/') || authority.contains(['/', '?', '#', '\\']) {
            return Err(ErrorCode::RequestUriInvalid);
        }
        // One limit for the whole exchange.
        let timeout = options.and_then(|options| match (options.connect, options.first_byte) {
            (None, None) => options.between_bytes,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        });
        let timeout = timeout.map(|nanos| u32::try_from(nanos.div_ceil(MILLI)).unwrap_or(u32::MAX).max(1));
        Ok(Request {
            method: self.method.text().to_owned(),
            url: format!("{scheme}://{authority}{path}"),
            headers: self
                .headers
                .into_iter()
                // The engine counts for itself.
                .filter(|(name, _)| name != "content-length")
                .map(|(name, value)| Header { name, value })
                .collect(),
            body: None,
            body_input: None,
            save_as: None,
            timeout_ms: timeout,
            max_body: Some(MAX_BODY),
        })
    }
}

impl Fields {
    fn check(&self, name: &str, values: &[Vec<u8>]) -> Result<String, HeaderError> {
        if self.immutable {
            return Err(HeaderError::Immutable);
        }
        let parsed = hyper::header::HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::InvalidSyntax)?;
        if FORBIDDEN.contains(&parsed.as_str()) {
            return Err(HeaderError::Forbidden);
        }
        let size: usize = self.list.iter().map(|(name, value)| name.len() + value.len()).sum();
        let more: usize = values.iter().map(Vec::len).sum();
        let wrong = values.iter().any(|value| hyper::header::HeaderValue::from_bytes(value).is_err());
        match wrong || size + more > MAX_FIELDS {
            true => Err(HeaderError::InvalidSyntax),
            false => Ok(parsed.as_str().to_owned()),
        }
    }
}

fn fields<'s>(state: &'s mut State, fields: &Resource<Fields>) -> Result<&'s mut Fields, Stop> {
    let count = state.table.get(fields).map_err(broken_handle)?.list.len();
    state.spend(PER_ENTRY.saturating_mul(count as u64))?;
    state.table.get_mut(fields).map_err(broken_handle)
}

type Types<'a> = LinkerInstance<'a, State>;

/// Links all of them.
pub(super) fn link(types: &mut Types<'_>) -> wasmtime::Result<()> {
    all_fields(types)?;
    requests(types)?;
    options(types)?;
    responses(types)?;
    serving(types)
}

type This = (Resource<Fields>,);
type Named = (Resource<Fields>, String);

fn all_fields(types: &mut Types<'_>) -> wasmtime::Result<()> {
    resource::<Fields>(types, "fields", |_, _| Ok(()))?;
    call(types, "[constructor]fields", Call::Small, |state, (): ()| push(state, Fields::default()))?;
    call(types, "[static]fields.from-list", Call::Small, |state, (list,): (List,)| {
        state.spend(PER_ENTRY.saturating_mul(list.len() as u64))?;
        let mut new = Fields::default();
        for (name, value) in list {
            match new.check(&name, std::slice::from_ref(&value)) {
                Ok(name) => new.list.push((name, value)),
                Err(error) => return Ok(Err(error)),
            }
        }
        push(state, new).map(Ok)
    })?;
    call(types, "[method]fields.get", Call::Small, |state, (this, name): Named| {
        let found = fields(state, &this)?.list.iter().filter(|(known, _)| known.eq_ignore_ascii_case(&name));
        let values: Vec<_> = found.map(|(_, value)| value.clone()).collect();
        state.spend_bytes(values.iter().map(|value| value.len() as u64).sum())?;
        Ok(values)
    })?;
    call(types, "[method]fields.has", Call::Small, |state, (this, name): Named| {
        Ok(fields(state, &this)?.list.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)))
    })?;
    type Set = (Resource<Fields>, String, Vec<Vec<u8>>);
    call(types, "[method]fields.set", Call::Small, |state, (this, name, values): Set| {
        let fields = fields(state, &this)?;
        Ok(fields.check(&name, &values).map(|name| {
            fields.list.retain(|(known, _)| *known != name);
            fields.list.extend(values.into_iter().map(|value| (name.clone(), value)));
        }))
    })?;
    call(types, "[method]fields.delete", Call::Small, |state, (this, name): Named| {
        let fields = fields(state, &this)?;
        Ok(fields.check(&name, &[]).map(|name| fields.list.retain(|(known, _)| *known != name)))
    })?;
    type Append = (Resource<Fields>, String, Vec<u8>);
    call(types, "[method]fields.append", Call::Small, |state, (this, name, value): Append| {
        let fields = fields(state, &this)?;
        let checked = fields.check(&name, std::slice::from_ref(&value));
        Ok(checked.map(|name| fields.list.push((name, value))))
    })?;
    call(types, "[method]fields.entries", Call::Small, |state, (this,): This| {
        let list = fields(state, &this)?.list.clone();
        state.spend_bytes(list.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum())?;
        Ok(list)
    })?;
    call(types, "[method]fields.clone", Call::Small, |state, (this,): This| {
        let list = fields(state, &this)?.list.clone();
        push(state, Fields { list, immutable: false })
    })
}

type Outgoing = (Resource<OutgoingRequest>,);

fn request<'s>(state: &'s mut State, request: &Resource<OutgoingRequest>) -> Result<&'s mut OutgoingRequest, Stop> {
    state.table.get_mut(request).map_err(broken_handle)
}

fn requests(types: &mut Types<'_>) -> wasmtime::Result<()> {
    resource::<OutgoingRequest>(types, "outgoing-request", |_, _| Ok(()))?;
    call(types, "[constructor]outgoing-request", Call::Small, |state, (headers,): This| {
        let headers = state.table.delete(headers).map_err(broken_handle)?.list;
        let new =
            OutgoingRequest { method: Method::Get, scheme: None, authority: None, path: None, headers, body: None };
        push(state, new)
    })?;
    call(types, "[method]outgoing-request.body", Call::Small, |state, (this,): Outgoing| {
        if request(state, &this)?.body.is_some() {
            return Ok(Err(()));
        }
        let id = state.wasi.http.body(Vec::new(), false);
        request(state, &this)?.body = Some(id);
        push(state, OutgoingBody(id, false)).map(Ok)
    })?;
    call(types, "[method]outgoing-request.method", Call::Small, |state, (this,): Outgoing| {
        Ok(request(state, &this)?.method.clone())
    })?;
    call(
        types,
        "[method]outgoing-request.set-method",
        Call::Small,
        |state, (this, new): (Resource<OutgoingRequest>, Method)| {
            let is_token = hyper::Method::from_bytes(new.text().as_bytes()).is_ok();
            if is_token {
                request(state, &this)?.method = new;
            }
            Ok(is_token.then_some(()).ok_or(()))
        },
    )?;
    call(types, "[method]outgoing-request.path-with-query", Call::Small, |state, (this,): Outgoing| {
        Ok(request(state, &this)?.path.clone())
    })?;
    type Text = (Resource<OutgoingRequest>, Option<String>);
    call(types, "[method]outgoing-request.set-path-with-query", Call::Small, |state, (this, new): Text| {
        request(state, &this)?.path = new;
        Ok(Ok::<(), ()>(()))
    })?;
    call(types, "[method]outgoing-request.scheme", Call::Small, |state, (this,): Outgoing| {
        Ok(request(state, &this)?.scheme.clone())
    })?;
    type Schemed = (Resource<OutgoingRequest>, Option<Scheme>);
    call(types, "[method]outgoing-request.set-scheme", Call::Small, |state, (this, new): Schemed| {
        request(state, &this)?.scheme = new;
        Ok(Ok::<(), ()>(()))
    })?;
    call(types, "[method]outgoing-request.authority", Call::Small, |state, (this,): Outgoing| {
        Ok(request(state, &this)?.authority.clone())
    })?;
    call(types, "[method]outgoing-request.set-authority", Call::Small, |state, (this, new): Text| {
        request(state, &this)?.authority = new;
        Ok(Ok::<(), ()>(()))
    })?;
    call(types, "[method]outgoing-request.headers", Call::Small, |state, (this,): Outgoing| {
        let list = request(state, &this)?.headers.clone();
        push(state, Fields { list, immutable: true })
    })
}

fn options(types: &mut Types<'_>) -> wasmtime::Result<()> {
    type Options = (Resource<RequestOptions>,);
    type Set = (Resource<RequestOptions>, Option<u64>);
    fn get<'s>(state: &'s mut State, options: &Resource<RequestOptions>) -> Result<&'s mut RequestOptions, Stop> {
        state.table.get_mut(options).map_err(broken_handle)
    }
    resource::<RequestOptions>(types, "request-options", |_, _| Ok(()))?;
    call(types, "[constructor]request-options", Call::Small, |state, (): ()| push(state, RequestOptions::default()))?;
    macro_rules! time {
        ($field:ident, $get:literal, $set:literal) => {
            call(types, $get, Call::Small, |state, (this,): Options| Ok(get(state, &this)?.$field))?;
            call(types, $set, Call::Small, |state, (this, time): Set| {
                get(state, &this)?.$field = time;
                Ok(Ok::<(), ()>(()))
            })?;
        };
    }
    time!(connect, "[method]request-options.connect-timeout", "[method]request-options.set-connect-timeout");
    time!(first_byte, "[method]request-options.first-byte-timeout", "[method]request-options.set-first-byte-timeout");
    time!(
        between_bytes,
        "[method]request-options.between-bytes-timeout",
        "[method]request-options.set-between-bytes-timeout"
    );
    Ok(())
}

fn responses(types: &mut Types<'_>) -> wasmtime::Result<()> {
    type Incoming = (Resource<IncomingResponse>,);
    resource::<IncomingResponse>(types, "incoming-response", |state, response| {
        if let Some(body) = response.body {
            super::forget(state, body);
        }
        Ok(())
    })?;
    call(types, "[method]incoming-response.status", Call::Small, |state, (this,): Incoming| {
        Ok(state.table.get(&this).map_err(broken_handle)?.status)
    })?;
    call(types, "[method]incoming-response.headers", Call::Small, |state, (this,): Incoming| {
        let list = state.table.get(&this).map_err(broken_handle)?.headers.clone();
        push(state, Fields { list, immutable: true })
    })?;
    call(types, "[method]incoming-response.consume", Call::Small, |state, (this,): Incoming| {
        match state.table.get_mut(&this).map_err(broken_handle)?.body.take() {
            Some(body) => push(state, IncomingBody(body, false)).map(Ok),
            None => Ok(Err(())),
        }
    })
}

fn serving(types: &mut Types<'_>) -> wasmtime::Result<()> {
    type Request = (Resource<IncomingRequest>,);
    type Response = (Resource<OutgoingResponse>,);
    resource::<IncomingRequest>(types, "incoming-request", |_, _| Ok(()))?;
    resource::<OutgoingResponse>(types, "outgoing-response", |_, _| Ok(()))?;
    resource::<Outparam>(types, "response-outparam", |_, _| Ok(()))?;
    serving!(types, "[method]incoming-request.method", Request, Method);
    serving!(types, "[method]incoming-request.path-with-query", Request, Option<String>);
    serving!(types, "[method]incoming-request.scheme", Request, Option<Scheme>);
    serving!(types, "[method]incoming-request.authority", Request, Option<String>);
    serving!(types, "[method]incoming-request.headers", Request, Resource<Fields>);
    serving!(types, "[method]incoming-request.consume", Request, Result<Resource<IncomingBody>, ()>);
    serving!(types, "[constructor]outgoing-response", This, Resource<OutgoingResponse>);
    serving!(types, "[method]outgoing-response.status-code", Response, u16);
    serving!(types, "[method]outgoing-response.set-status-code", (Resource<OutgoingResponse>, u16), Result<(), ()>);
    serving!(types, "[method]outgoing-response.headers", Response, Resource<Fields>);
    serving!(types, "[method]outgoing-response.body", Response, Result<Resource<OutgoingBody>, ()>);
    type Set = (Resource<Outparam>, Result<Resource<OutgoingResponse>, ErrorCode>);
    serving!(types, "[static]response-outparam.set", Set);
    Ok(())
}
