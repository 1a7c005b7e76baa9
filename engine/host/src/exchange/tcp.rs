//! One exchange over a bare connection: connect, send, read to an end, close.

use std::time::{Duration, Instant};

use lockgate_model::Digest;
use lockgate_model::grant::TcpGrant;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connect::connect;
use super::{Effect, REQUEST_DOMAIN};
use crate::bindings::tcp::{Error, Request, Response};

/// The time of one exchange, at most and by default.
const MAX_TIMEOUT: u32 = 10_000;
/// The most bytes that are read, and how many by default.
pub(crate) const MAX_BYTES: u32 = 16 << 20;
const DEFAULT_BYTES: u32 = 64 << 10;
/// Longest text that reading may end behind.
const MAX_UNTIL: usize = 1 << 10;

/// An exchange that is permitted.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) send: Vec<u8>,
    end: bool,
    until: Option<Vec<u8>>,
    pub(crate) max: usize,
    timeout: Duration,
    grants: Vec<TcpGrant>,
    pub(crate) effect: Effect,
}

pub(crate) fn refuse(code: &str, message: impl Into<String>) -> Error {
    Error { code: code.to_owned(), message: message.into() }
}

/// Checks a request against the grants.
pub(crate) fn check(request: &Request, grants: &[TcpGrant]) -> Result<Checked, Error> {
    let Request { host, port, send, end, until, max_bytes, timeout_ms } = request;
    let (port, end) = (*port, *end);
    let permits = |grant: &&TcpGrant| grant.host == *host && grant.port == port;
    let grants: Vec<_> = grants.iter().filter(permits).cloned().collect();
    if grants.is_empty() {
        let host = super::super::imports::short(host);
        return Err(refuse("not-granted", format!("`grants.tcp` of the node does not permit `{host}:{port}`")));
    }
    if until.as_ref().is_some_and(|until| until.is_empty() || until.len() > MAX_UNTIL) {
        return Err(refuse("bad-request", format!("`until` must have between 1 and {MAX_UNTIL} bytes")));
    }
    let max = max_bytes.unwrap_or(DEFAULT_BYTES).min(MAX_BYTES);
    let timeout = timeout_ms.unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT);
    let canonical = json!({
        "host": host,
        "port": port,
        "send": Digest::of(send),
        "end": end,
        "until": until.as_deref().map(Digest::of),
        "max-bytes": max,
        "timeout-ms": timeout,
    });
    // `Grants::in_doubt` reads this.
    let summary = format!("{host}:{port} {}", send.len());
    let effect = Effect { kind: "tcp", request: Digest::of_json(REQUEST_DOMAIN, &canonical), summary };
    // 16 MiB, so it fits.
    let max = max as usize;
    let timeout = Duration::from_millis(timeout.into());
    let (host, send, until) = (host.clone(), send.clone(), until.clone());
    Ok(Checked { host, port, send, end, until, max, timeout, grants, effect })
}

/// Does it; `send` is what is sent, with the values of secrets.
pub(crate) async fn exchange(request: &Checked, send: &[u8]) -> Result<Response, Error> {
    let start = Instant::now();
    let deadline = tokio::time::Instant::now() + request.timeout;
    let late = || refuse("timeout", format!("there was no answer within {} ms", request.timeout.as_millis()));
    let broken = |error: std::io::Error| refuse("broken", error.to_string());
    let reaches = |address| request.grants.iter().any(|grant| grant.reaches(address));
    let connecting = tokio::time::timeout_at(deadline, connect(&request.host, request.port, reaches));
    let mut stream = connecting.await.map_err(|_| late())?.map_err(|error| refuse(error.code, error.message))?;
    let connect_us = micros(start);
    let sending = async {
        stream.write_all(send).await?;
        if request.end { stream.shutdown().await } else { Ok(()) }
    };
    tokio::time::timeout_at(deadline, sending).await.map_err(|_| late())?.map_err(broken)?;
    let mut received = Vec::new();
    let mut buffer = vec![0; (64 << 10).min(request.max.max(1))];
    let ended_by = loop {
        let room = request.max - received.len();
        if room == 0 {
            break "max-bytes";
        }
        let part = room.min(buffer.len());
        match tokio::time::timeout_at(deadline, stream.read(&mut buffer[..part])).await {
            Err(_) if received.is_empty() => return Err(late()),
            Err(_) => break "timeout",
            Ok(Ok(0)) => break "closed",
            Ok(Ok(read)) => {
                // What reading ends behind may have begun in the part before.
                let from = request.until.as_ref().map_or(0, |until| received.len().saturating_sub(until.len() - 1));
                received.extend_from_slice(&buffer[..read]);
                if let Some(until) = &request.until
                    && let Some(at) = received[from..].windows(until.len()).position(|window| window == &until[..])
                {
                    received.truncate(from + at + until.len());
                    break "until";
                }
            }
            Ok(Err(error)) => return Err(broken(error)),
        }
    };
    Ok(Response { received, ended_by: ended_by.to_owned(), connect_us, total_us: micros(start) })
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
