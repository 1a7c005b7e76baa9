//! Outbound HTTP, where the pipeline grants it. Redirects are not followed: the answer with its `location` is the answer.
//! What changes something (any method but GET and HEAD) carries an `Idempotency-Key`, which stays the same where the exchange is issued
//! again after a crash; a key of the plugin's own, as a header, is left alone. Elsewhere [`IDEMPOTENCY_KEY`](crate::IDEMPOTENCY_KEY) stands for it.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::backend;
use crate::error::Result;

/// What to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute URL with `http` or `https`.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body as bytes.
    pub body: Option<Vec<u8>>,
    /// The body as an input (a blob), instead.
    pub body_input: Option<String>,
    /// Writes the answer's body to this output instead of into the answer.
    pub save_as: Option<String>,
    /// The whole exchange's limit in milliseconds; at most and by default 10,000.
    pub timeout_ms: Option<u32>,
    /// The most bytes of the answer's body; by default 1 MiB, at most 16 MiB (unless saved).
    pub max_body: Option<u64>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), ..Self::default() }
    }

    /// Asks for what is there.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends these bytes as the body.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some(bytes.into());
        self
    }

    /// Bounds the whole exchange.
    pub fn timeout_ms(mut self, limit: u32) -> Self {
        self.timeout_ms = Some(limit);
        self
    }

    /// Bounds the answer's body; a longer one is cut.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Writes the answer's body to an output.
    pub fn save_as(mut self, output: impl Into<String>) -> Self {
        self.save_as = Some(output.into());
        self
    }

    /// Sends it.
    pub fn send(self) -> std::result::Result<Response, HttpError> {
        backend::send(self)
    }
}

/// Sends several requests, at most `parallel` (and at most 64) at once; answers in the order of the requests.
pub fn send_all(requests: Vec<Request>, parallel: u32) -> Vec<std::result::Result<Response, HttpError>> {
    backend::send_all(requests, parallel)
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers in the order in which they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty where it was saved.
    pub body: Vec<u8>,
    /// Whether the body was cut.
    pub truncated: bool,
    /// How long it took, by the host's clock.
    pub timings: Timings,
}

impl Response {
    /// The first header of a name, in whatever case, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Durations in microseconds, measured and recorded by the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Until connected, TLS included.
    pub connect_us: u64,
    /// Until the answer's head was there, from the start.
    pub first_byte_us: u64,
    /// Until its body was there, from the start.
    pub total_us: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    /// `bad-request`, `not-granted`, `resolve`, `connect`, `tls`, `timeout`, `protocol`, `limit`, `body`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HttpError {}
