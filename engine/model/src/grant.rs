//! Grants: what a pipeline lets a node do beyond computing. Nothing is granted by default.

use std::fmt;

use serde::{Deserialize, Serialize};

/// All grants of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Permitted HTTP exchanges; empty: none, and `http` is not in the linker.
    #[serde(default)]
    pub http: Vec<HttpGrant>,
    /// The real clock instead of the logical one.
    #[serde(default)]
    pub clock: bool,
}

impl Grants {
    /// Whether nothing at all is granted: then the node is pure.
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && !self.clock
    }

    /// What happens to an effect in doubt: what the grant says that permits it, a reading effect's default otherwise. `summary` is
    /// that of the effect's intent, for `http` the method and the URL.
    pub fn in_doubt(&self, kind: &str, summary: &str) -> InDoubt {
        if kind != "http" {
            return InDoubt::Repeat;
        }
        let (method, url) = summary.split_once(' ').unwrap_or((summary, ""));
        let permits = |grant: &&HttpGrant| {
            let (scheme, rest) = url.split_once("://")?;
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let path = path.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/");
            let default = if scheme == "https" { 443 } else { 80 };
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
                _ => (authority, default),
            };
            grant.permits(method, scheme, host, port, path).then_some(())
        };
        let grant = self.http.iter().find(|grant| permits(grant).is_some());
        grant.map_or_else(|| InDoubt::of_method(method), HttpGrant::in_doubt)
    }

    /// The kinds of effects granted, as manifests name them, sorted.
    pub fn kinds(&self) -> Vec<&'static str> {
        [("clock", self.clock), ("http", !self.http.is_empty())]
            .into_iter()
            .filter(|(_, yes)| *yes)
            .map(|(k, _)| k)
            .collect()
    }
}

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
}

/// What happens to an effect that an interruption left in doubt: its intent is on disk, its outcome is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InDoubt {
    /// It is issued again, under the same idempotency key.
    Repeat,
    /// The node waits until somebody says whether it took place.
    Stop,
}

impl InDoubt {
    /// The word in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::Stop => "stop",
        }
    }

    /// The default for a method: repeat for GET and HEAD, which change nothing, else stop.
    pub fn of_method(method: &str) -> Self {
        if matches!(method, "GET" | "HEAD") { Self::Repeat } else { Self::Stop }
    }
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
        let port_at = match authority.strip_prefix('[') {
            Some(v6) => v6.find(']').map(|end| end + 2).ok_or(error("the IPv6 address lacks its `]`"))?,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(port_at);
        let port = match port.strip_prefix(':') {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().map_err(|_| error("the port must be a number up to 65535"))?
            }
            None if port.is_empty() => default_port,
            _ => return Err(error("the port must be a number up to 65535")),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let bracketed = |h: &str| {
            h.strip_prefix('[')
                .and_then(|h| h.strip_suffix(']'))
                .is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if host.is_empty() || !(host.chars().all(plain) || bracketed(host)) {
            return Err(error("the host must be a name or an address, without wildcards"));
        }
        Ok(Self {
            method: method.into(),
            scheme: scheme.into(),
            host: host.to_ascii_lowercase(),
            port,
            path: path.into(),
            in_doubt: None,
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
    fn an_effect_in_doubt_finds_the_grant_that_permits_it() {
        let grant = |text: &str, in_doubt| HttpGrant::parse(text).unwrap().with_in_doubt(in_doubt);
        let grants = Grants {
            http: vec![
                grant("POST http://a:81/x", InDoubt::Repeat),
                grant("GET https://[::1]/", InDoubt::Stop),
                grant("POST http://a/", InDoubt::Stop),
            ],
            clock: true,
        };
        let in_doubt = |summary: &str| grants.in_doubt("http", summary);
        assert_eq!(in_doubt("POST http://a:81/x/y?z=http://b/"), InDoubt::Repeat);
        assert_eq!(in_doubt("POST http://a/x"), InDoubt::Stop);
        assert_eq!(in_doubt("GET https://[::1]/health"), InDoubt::Stop);
        assert_eq!(in_doubt("GET http://elsewhere/"), InDoubt::Repeat);
        assert_eq!(in_doubt("garbage"), InDoubt::Stop);
        assert_eq!(grants.in_doubt("clock", "now"), InDoubt::Repeat);
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
