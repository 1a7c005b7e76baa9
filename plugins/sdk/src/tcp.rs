//! Exchanges over bare connections, where the pipeline grants them: connect, send, read to an end, close. In what is sent,
//! [`IDEMPOTENCY_KEY`](crate::IDEMPOTENCY_KEY) stands for the key that is the same where an exchange is issued again after a crash.

use std::fmt;

use crate::backend;

/// What to say to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The host, as the grant names it.
    pub host: String,
    /// The port, as the grant names it.
    pub port: u16,
    /// What is sent once connected.
    pub send: Vec<u8>,
    /// Whether sending is ended before reading, so that the other side sees the end.
    pub end: bool,
    /// Reading ends behind the first occurrence of these bytes.
    pub until: Option<Vec<u8>>,
    /// Reading ends after so many bytes; by default 64 KiB, at most 16 MiB. 0: nothing is read.
    pub max_bytes: Option<u32>,
    /// The whole exchange's limit in milliseconds; at most and by default 10,000.
    pub timeout_ms: Option<u32>,
}

impl Exchange {
    /// Connects, sends nothing and reads what comes.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, ..Self::default() }
    }

    /// Sends these bytes.
    pub fn send(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.send = bytes.into();
        self
    }

    /// Ends reading behind these bytes.
    pub fn until(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.until = Some(bytes.into());
        self
    }

    /// Ends sending before reading.
    pub fn end(mut self) -> Self {
        self.end = true;
        self
    }

    /// Ends reading after so many bytes.
    pub fn max_bytes(mut self, bytes: u32) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Bounds the whole exchange.
    pub fn timeout_ms(mut self, limit: u32) -> Self {
        self.timeout_ms = Some(limit);
        self
    }

    /// Does it.
    pub fn run(self) -> Result<Answer, TcpError> {
        backend::connect(self)
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What was read, with what ended it.
    pub received: Vec<u8>,
    /// `closed`, `until`, `max-bytes`, or `timeout` where something had come by then.
    pub ended_by: String,
    /// Microseconds until connected, by the host's clock.
    pub connect_us: u64,
    /// Microseconds until the end.
    pub total_us: u64,
}

/// Why there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpError {
    /// `bad-request`, `not-granted`, `resolve`, `connect`, `timeout`, `broken`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TcpError {}
