//! Grants of HTTP exchanges.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::InDoubt;
use super::address::{self, Network};

/// One permitted kind of HTTP exchange, as in `GET http://127.0.0.1:8080/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Method in upper case, exactly.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host in lower case as it stands in URLs (IPv6 in brackets), exactly.
    pub host: String,
    /// Port; the scheme's own where none was written.
    pub port: u16,
    /// Path prefix: permits the path itself, and what continues it at a `/`. `/` permits all paths.
    pub path: String,
    /// What happens to a request in doubt, where that is not the method's default: so grants have one form each. Read it by
    /// [`HttpGrant::in_doubt`], set it by [`HttpGrant::with_in_doubt`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_doubt: Option<InDoubt>,
    /// Networks that are not public, in which the host may have its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
}

/// A text that is not an HTTP grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read `{text}` as an HTTP grant: {reason}")]
pub struct HttpGrantError {
    /// The text, cut to 200 characters.
    pub text: String,
    /// What is wrong, for people.
    pub reason: &'static str,
}

impl HttpGrant {
    /// Reads `METHOD SCHEME://HOST[:PORT][/PATH]`. No user, query or fragment; the host is a name, an IPv4 address in
    /// dotted form or an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Self, HttpGrantError> {
        let error = |reason| HttpGrantError { text: text.chars().take(200).collect(), reason };
        let (method, url) = text
            .split_once(' ')
            .ok_or(error("expected a method, a space and a URL, as in `GET https://example.org/api`"))?;
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(error("the method must be upper-case letters"));
        }
        let (scheme, rest) = url.split_once("://").ok_or(error("the URL must begin with `http://` or `https://`"))?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(error("the URL must begin with `http://` or `https://`")),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(error("a user or password in the URL is not permitted"));
        }
        if path.contains(['?', '#', '\\', ' ']) || path.contains("/../") || path.ends_with("/..") || path.contains('%')
        {
            return Err(error("the path is a plain prefix: no query, fragment, escape or `..`"));
        }
        let (host, port) = address::authority(authority).map_err(error)?;
        Ok(Self {
            method: method.into(),
            scheme: scheme.into(),
            host,
            port: port.unwrap_or(default_port),
            path: path.into(),
            in_doubt: None,
            networks: Vec::new(),
        })
    }

    /// What happens to a request in doubt.
    pub fn in_doubt(&self) -> InDoubt {
        self.in_doubt.unwrap_or_else(|| InDoubt::of_method(&self.method))
    }

    /// The same grant with this said about requests in doubt.
    pub fn with_in_doubt(self, in_doubt: InDoubt) -> Self {
        let in_doubt = Some(in_doubt).filter(|said| *said != InDoubt::of_method(&self.method));
        Self { in_doubt, ..self }
    }

    /// Whether a connection to this address, one of the host's, is permitted.
    pub fn reaches(&self, address: IpAddr) -> bool {
        address::reaches(&self.host, &self.networks, address)
    }

    /// Whether a request with these parts is permitted. `path` is the path as it will be sent, without query; `host` in lower
    /// case, IPv6 in brackets.
    pub fn permits(&self, method: &str, scheme: &str, host: &str, port: u16, path: &str) -> bool {
        let below = || match path.strip_prefix(&self.path) {
            Some(rest) => rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'),
            None => false,
        };
        self.method == method && self.scheme == scheme && self.host == host && self.port == port && below()
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}://{}:{}{}", self.method, self.scheme, self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read() {
        let grant = HttpGrant::parse("GET http://127.0.0.1:8080/health").unwrap();
        assert_eq!(grant.to_string(), "GET http://127.0.0.1:8080/health");
        assert_eq!(HttpGrant::parse("GET https://Example.org").unwrap().to_string(), "GET https://example.org:443/");
        assert_eq!(HttpGrant::parse("GET http://[::1]:80/x").unwrap().host, "[::1]");
    }

    #[test]
    fn what_is_the_default_of_a_method_is_not_written() {
        let json = |text: &str, in_doubt| {
            let grant = HttpGrant::parse(text).unwrap().with_in_doubt(in_doubt);
            assert_eq!(grant.in_doubt(), in_doubt);
            let json = serde_json::to_value(&grant).unwrap();
            assert_eq!(serde_json::from_value::<HttpGrant>(json.clone()).unwrap(), grant);
            json.get("in_doubt").cloned()
        };
        assert_eq!(json("GET http://a/", InDoubt::Repeat), None);
        assert_eq!(json("HEAD http://a/", InDoubt::Stop), Some("stop".into()));
        assert_eq!(json("POST http://a/", InDoubt::Stop), None);
        assert_eq!(json("POST http://a/", InDoubt::Repeat), Some("repeat".into()));
        assert_eq!(HttpGrant::parse("PUT http://a/").unwrap().in_doubt(), InDoubt::Stop);
    }

    #[test]
    fn wrong_grants_are_refused() {
        for text in [
            "",
            "GET",
            "get http://a/",
            "GET ftp://a/",
            "GET http://",
            "GET http://u@a/",
            "GET http://*.a/",
            "GET http://a:99999/",
            "GET http://a:/",
            "GET http://a/?q",
            "GET http://a/../b",
            "GET http://[::1/",
            "GET http://[zz]/",
            "GET http://a:+1/",
        ] {
            assert!(HttpGrant::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prefixes_end_at_a_slash() {
        let grant = HttpGrant::parse("GET http://a/api").unwrap();
        assert!(grant.permits("GET", "http", "a", 80, "/api"));
        assert!(grant.permits("GET", "http", "a", 80, "/api/x"));
        assert!(!grant.permits("GET", "http", "a", 80, "/apix"));
        assert!(!grant.permits("POST", "http", "a", 80, "/api"));
        assert!(!grant.permits("GET", "https", "a", 80, "/api"));
        assert!(!grant.permits("GET", "http", "b", 80, "/api"));
        assert!(!grant.permits("GET", "http", "a", 81, "/api"));
    }
}
