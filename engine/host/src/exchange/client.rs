//! One HTTP exchange over a connection of its own: so its timings are its own, and no exchange depends on the one before.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::connect::connect;
use super::request::{Checked, MAX_HEADERS, refuse};
use crate::bindings::http::{Error, Timings};
use crate::ports::BlobWriter;
use crate::secret::Secrets;

/// Bytes that the head of an answer may have.
const MAX_HEAD: usize = 64 << 10;
/// Bytes that are read from an input at once.
const FRAME: usize = 64 << 10;

/// What is sent.
pub(crate) enum Payload {
    /// Bytes of the guest; empty where there are none.
    Bytes(Bytes),
    /// An input, with its size.
    Blob(Box<dyn Read + Send>, u64),
}

/// Where the answer's body goes.
pub(crate) enum Sink {
    /// To the guest.
    Memory(Vec<u8>),
    /// Into an output.
    Blob(Box<dyn BlobWriter>),
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Sink,
    /// Bytes of the body.
    pub(crate) size: u64,
    pub(crate) truncated: bool,
    pub(crate) timings: Timings,
}

/// Why there is none.
pub(crate) enum Failure {
    /// For the guest.
    Answer(Error),
    /// The engine's own.
    Infrastructure(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

/// Sends a request and reads the answer, `max_body` bytes of its body at most. In the body secrets are masked; whoever records the
/// headers masks them.
pub(crate) async fn exchange(
    request: Checked,
    payload: Payload,
    sink: Sink,
    max_body: u64,
    secrets: &Secrets,
) -> Result<Answer, Failure> {
    let timeout = request.timeout;
    match tokio::time::timeout(timeout, talk(request, payload, sink, max_body, secrets)).await {
        Ok(result) => result,
        Err(_) => Err(refuse("timeout", format!("there was no whole answer within {} ms", timeout.as_millis())).into()),
    }
}

async fn talk(
    request: Checked,
    payload: Payload,
    sink: Sink,
    max_body: u64,
    secrets: &Secrets,
) -> Result<Answer, Failure> {
    let start = Instant::now();
    let reaches = |address| request.grants.iter().any(|grant| grant.reaches(address));
    let tcp = connect(&request.host, request.port, reaches).await.map_err(|error| refuse(error.code, error.message))?;
    if request.https {
        let name = request.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name)
            .map_err(|error| refuse("tls", format!("the host is no name for TLS: {error}")))?;
        let config = tls().map_err(Failure::Infrastructure)?;
        let tls =
            TlsConnector::from(config).connect(name, tcp).await.map_err(|error| refuse("tls", error.to_string()))?;
        transfer(tls, request, payload, sink, max_body, secrets, start).await
    } else {
        transfer(tcp, request, payload, sink, max_body, secrets, start).await
    }
}

async fn transfer<S>(
    stream: S,
    request: Checked,
    payload: Payload,
    mut sink: Sink,
    max: u64,
    secrets: &Secrets,
    start: Instant,
) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connect_us = micros(start.elapsed());
    let protocol = |error: hyper::Error| refuse("protocol", describe(&error));
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(protocol)?;
    // Ends with this function: dropping the set aborts the task.
    let mut driver = JoinSet::new();
    driver.spawn(connection);

    let request_holds_secret = request.holds_secret;
    let mut message = Request::new(Outgoing(payload));
    *message.method_mut() = request.method;
    *message.uri_mut() = request.target;
    let headers = message.headers_mut();
    headers.insert(HOST, request.authority);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in request.headers {
        headers.append(name, value);
    }
    if request_holds_secret {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("lockgate/", env!("CARGO_PKG_VERSION"))));
    let response = sender.send_request(message).await.map_err(protocol)?;
    let first_byte_us = micros(start.elapsed());

    let (head, mut body) = response.into_parts();
    if request_holds_secret && head.headers.get_all(CONTENT_ENCODING).iter().any(|value| value != "identity") {
        let message = "the answer is compressed, so a secret in it could not be masked";
        return Err(refuse("protocol", message).into());
    }
    let mut masking = secrets.masking();
    let (mut size, mut truncated) = (0_u64, false);
    let mut keep = |mut data: &[u8]| -> Result<bool, Failure> {
        let room = max - size;
        if data.len() as u64 > room {
            truncated = true;
            // Less than what is in memory.
            data = &data[..room as usize];
        }
        size += data.len() as u64;
        match &mut sink {
            Sink::Memory(bytes) => bytes.extend_from_slice(data),
            Sink::Blob(writer) => {
                let written = writer.write_all(data);
                written.map_err(|error| Failure::Infrastructure(format!("failed to write an output: {error}")))?;
            }
        }
        Ok(truncated)
    };
    let mut full = false;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(protocol)?.into_data() else { continue };
        full = keep(&masking.push(&data))?;
        if full {
            break;
        }
    }
    if !full {
        keep(&masking.finish())?;
    }
    let timings = Timings { connect_us, first_byte_us, total_us: micros(start.elapsed()) };
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: sink, size, truncated, timings })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// An error with its causes: hyper's own words are short.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// Settings for TLS with the machine's own roots, read when first needed.
fn tls() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err("failed to find this machine's certificate authorities".to_owned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config =
            config.with_safe_default_protocol_versions().map_err(|error| format!("failed to set up TLS: {error}"))?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    };
    CONFIG.get_or_init(read).clone()
}

/// The body of a request, with its length known beforehand.
struct Outgoing(Payload);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = match &mut self.0 {
            Payload::Bytes(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Payload::Bytes(bytes) => Ok(std::mem::take(bytes)),
            Payload::Blob(_, 0) => return Poll::Ready(None),
            Payload::Blob(reader, left) => {
                let mut buffer = BytesMut::zeroed(FRAME.min(usize::try_from(*left).unwrap_or(FRAME)));
                reader.read_exact(&mut buffer).map(|()| {
                    *left -= buffer.len() as u64;
                    buffer.freeze()
                })
            }
        };
        Poll::Ready(Some(frame.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Outgoing {
    fn left(&self) -> u64 {
        match &self.0 {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Blob(_, left) => *left,
        }
    }
}
