//! Recorded answers, read back: from the JSON of a record to exactly what the guest saw when the effect was issued.

use std::collections::BTreeMap;
use std::io::Read as _;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::{Digest, PortName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bindings::http::{Error, Header, Response, Timings};
use crate::bindings::{process, tcp};
use crate::exchange::request::MAX_BODY;
use crate::ports::Artifacts;

/// A recorded reading of the clock.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Now {
    now_ms: u64,
}

/// A recorded reading of the monotonic clock; as text, because JSON has no integers of 64 bits.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Monotonic {
    monotonic_ns: String,
}

/// A recorded exchange.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    error: RefusedError,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedError {
    code: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    status: u16,
    headers: Vec<(String, Bytes)>,
    body: Body,
    truncated: bool,
    timings: Micros,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Micros {
    connect_us: u64,
    first_byte_us: u64,
    total_us: u64,
}

/// A recorded exchange over a bare connection.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Connected {
    received: Bytes,
    ended_by: String,
    timings: ConnectedMicros,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ConnectedMicros {
    connect_us: u64,
    total_us: u64,
}

/// A recorded execution of a program.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Exited {
    code: Option<i32>,
    stdout: Bytes,
    stderr: Bytes,
    truncated: bool,
    total_us: u64,
    outputs: BTreeMap<PortName, Collected>,
}

/// An output that a program left: an artifact, and how many entries it has if it is a tree.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Collected {
    pub(crate) artifact: ArtifactRef,
    pub(crate) entries: u64,
}

/// A body: the guest's, or that of an output.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Saved(Saved),
    Given(Bytes),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    output: String,
    blob: Digest,
    size: u64,
}

/// Bytes as [`bytes_json`](super::bytes_json) writes them.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Bytes {
    Text(Text),
    Hex(Hex),
    Blob(Blob),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hex {
    hex: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blob {
    blob: Digest,
    size: u64,
}

/// An answer, and where its body was saved the output that got it.
pub(crate) type Exchanged = (Result<Response, Error>, Option<ArtifactRef>);

/// The time that a record holds.
pub(crate) fn now(answer: &Value) -> Result<u64, String> {
    Now::deserialize(answer).map(|now| now.now_ms).map_err(|error| error.to_string())
}

/// The reading of the monotonic clock that a record holds, in nanoseconds.
pub(crate) fn monotonic(answer: &Value) -> Result<u64, String> {
    let answer = Monotonic::deserialize(answer).map_err(|error| error.to_string())?;
    answer.monotonic_ns.parse().map_err(|_| "it is no number of nanoseconds".to_owned())
}

/// The exchange that a record holds; `save_as` is the output that the request names. Whatever does not fit the request is an
/// error: records may come from elsewhere.
pub(crate) fn exchanged(answer: &Value, save_as: Option<&str>, artifacts: &dyn Artifacts) -> Result<Exchanged, String> {
    if answer.get("error").is_some() {
        let Refused { error: RefusedError { code, message } } =
            Refused::deserialize(answer).map_err(|error| error.to_string())?;
        return Ok((Err(Error { code, message }), None));
    }
    let Answered { status, headers, body, truncated, timings } =
        Answered::deserialize(answer).map_err(|error| error.to_string())?;
    let (body, output) = match (body, save_as) {
        (Body::Saved(saved), Some(name)) if saved.output == name => {
            let (_, size) = open(artifacts, saved.blob)?;
            if size != saved.size {
                return Err(format!("the blob {} has {size} bytes, not {}", saved.blob, saved.size));
            }
            (Vec::new(), Some(ArtifactRef { kind: ArtifactKind::Blob, digest: saved.blob, size }))
        }
        (Body::Given(bytes), None) => (read(bytes, artifacts)?, None),
        (Body::Saved(_), _) => return Err("its body belongs to another output".to_owned()),
        (Body::Given(_), Some(name)) => return Err(format!("its body does not belong to the output `{name}`")),
    };
    let headers: Result<Vec<_>, String> =
        headers.into_iter().map(|(name, value)| Ok(Header { name, value: read(value, artifacts)? })).collect();
    let Micros { connect_us, first_byte_us, total_us } = timings;
    let timings = Timings { connect_us, first_byte_us, total_us };
    Ok((Ok(Response { status, headers: headers?, body, truncated, timings }), output))
}

/// The exchange over a bare connection that a record holds.
pub(crate) fn connected(
    answer: &Value,
    artifacts: &dyn Artifacts,
) -> Result<Result<tcp::Response, tcp::Error>, String> {
    if answer.get("error").is_some() {
        let Refused { error: RefusedError { code, message } } =
            Refused::deserialize(answer).map_err(|error| error.to_string())?;
        return Ok(Err(tcp::Error { code, message }));
    }
    let Connected { received, ended_by, timings: ConnectedMicros { connect_us, total_us } } =
        Connected::deserialize(answer).map_err(|error| error.to_string())?;
    Ok(Ok(tcp::Response { received: read(received, artifacts)?, ended_by, connect_us, total_us }))
}

/// How a program ended, and the outputs that it left.
pub(crate) type Ran = Result<(process::Exit, BTreeMap<PortName, Collected>), process::Error>;

/// The execution of a program that a record holds.
pub(crate) fn exited(answer: &Value, artifacts: &dyn Artifacts) -> Result<Ran, String> {
    if answer.get("error").is_some() {
        let Refused { error: RefusedError { code, message } } =
            Refused::deserialize(answer).map_err(|error| error.to_string())?;
        return Ok(Err(process::Error { code, message }));
    }
    let Exited { code, stdout, stderr, truncated, total_us, outputs } =
        Exited::deserialize(answer).map_err(|error| error.to_string())?;
    let (stdout, stderr) = (read(stdout, artifacts)?, read(stderr, artifacts)?);
    Ok(Ok((process::Exit { code, stdout, stderr, truncated, total_us }, outputs)))
}

type Opened = (Box<dyn std::io::Read + Send>, u64);

fn open(artifacts: &dyn Artifacts, digest: Digest) -> Result<Opened, String> {
    artifacts.open_blob(digest).map_err(|error| error.to_string())
}

fn read(bytes: Bytes, artifacts: &dyn Artifacts) -> Result<Vec<u8>, String> {
    match bytes {
        Bytes::Text(Text { text }) => Ok(text.into_bytes()),
        Bytes::Hex(Hex { hex }) => {
            let pairs = hex.as_bytes().chunks(2);
            let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let bytes: Option<_> = pairs.map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect();
            bytes.ok_or_else(|| "it holds bytes that are no hexadecimal digits".to_owned())
        }
        Bytes::Blob(Blob { blob, size }) => {
            let (mut reader, found) = open(artifacts, blob)?;
            if found != size || size > MAX_BODY {
                return Err(format!("the blob {blob} has {found} bytes, recorded are {size}: at most {MAX_BODY}"));
            }
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            Ok(bytes)
        }
    }
}
