//! Grants of exchanges over a bare connection.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::InDoubt;
use super::address::{self, Network};

/// One server that may be connected to, as in `db.example.org:5432`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpGrant {
    /// Host in lower case (IPv6 in brackets), exactly.
    pub host: String,
    /// Port, exactly.
    pub port: u16,
    /// What happens to an exchange in doubt, where that is not the default: repeat where nothing is sent, else stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<InDoubt>,
    /// Networks that are not public, in which the host may have its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
}

/// A text that is not a TCP grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read `{text}` as a TCP grant: {reason}")]
pub struct TcpGrantError {
    /// The text, cut to 200 characters.
    pub text: String,
    /// What is wrong, for people.
    pub reason: &'static str,
}

impl TcpGrant {
    /// Reads `HOST:PORT`; the host is a name, an IPv4 address in dotted form or an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Self, TcpGrantError> {
        let error = |reason| TcpGrantError { text: text.chars().take(200).collect(), reason };
        let (host, port) = address::authority(text).map_err(error)?;
        let port = port.filter(|port| *port > 0).ok_or(error("expected `HOST:PORT`, as in `db.example.org:5432`"))?;
        Ok(Self { host, port, in_doubt: None, networks: Vec::new() })
    }

    /// What happens to an exchange in doubt where the grant says nothing: reading is repeated, writing stops.
    pub const fn default_in_doubt(sends_nothing: bool) -> InDoubt {
        if sends_nothing { InDoubt::Repeat } else { InDoubt::Stop }
    }

    /// Whether a connection to this address, one of the host's, is permitted.
    pub fn reaches(&self, address: IpAddr) -> bool {
        address::reaches(&self.host, &self.networks, address)
    }
}

impl fmt::Display for TcpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        assert_eq!(TcpGrant::parse("DB.test:5432").unwrap().to_string(), "db.test:5432");
        assert_eq!(TcpGrant::parse("[0::1]:25").unwrap().to_string(), "[::1]:25");
        for text in
            ["", "db.test", "db.test:", "db.test:0", "db.test:65536", ":25", "*:25", "db.test:25/x", "u@db.test:25"]
        {
            assert!(TcpGrant::parse(text).is_err(), "{text}");
        }
    }
}
