//! Secrets: names, where their values come from, and which nodes may use them. Values never stand in a type of this crate.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::id::SecretName;

/// Where a secret's value comes from, on the machine that runs the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretSource {
    /// An environment variable of the engine.
    Env(String),
    /// A file of the host: an absolute path, or one relative to the pipeline's root; a line break at its end does not count.
    File(String),
    /// The encrypted store of secrets.
    Store {
        /// Its name there.
        name: String,
        /// The environment whose secret it is, as in `staging`.
        environment: String,
    },
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable `{name}`"),
            Self::File(path) => write!(f, "the file `{path}`"),
            Self::Store { name, environment } => write!(f, "the secret `{name}` of the environment `{environment}`"),
        }
    }
}

/// A secret that a node may have placed into what it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    /// Its name in the pipeline.
    pub name: SecretName,
    /// Hosts that may get it, `HOST` or `HOST:PORT` as they stand in the node's `http` and `tcp` grants; empty: all that these
    /// permit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Where in what is sent it may stand.
    #[serde(default, skip_serializing_if = "SecretPlace::is_message")]
    pub place: SecretPlace,
}

/// Where in what is sent a secret may stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretPlace {
    /// In headers, in bodies, and in what goes over a bare connection.
    #[default]
    Message,
    /// In the path and the query of URLs, and nowhere else: for services whose URLs are secrets, such as hooks of chats. Servers and
    /// proxies write URLs into their logs, so it has to be said.
    Url,
}

impl SecretPlace {
    /// The word in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Url => "url",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_message(&self) -> bool {
        *self == Self::Message
    }
}

impl SecretGrant {
    /// Whether what is sent to this host and port may hold it. `host` as in URLs, in lower case.
    pub fn goes_to(&self, host: &str, port: u16) -> bool {
        let named = |to: &String| {
            to == host || to.strip_prefix(host).and_then(|to| to.strip_prefix(':')) == Some(&port.to_string())
        };
        self.to.is_empty() || self.to.iter().any(named)
    }
}

impl fmt::Display for SecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place == SecretPlace::Url { " in URLs" } else { "" };
        match &self.to[..] {
            [] => write!(f, "{}{place}", self.name),
            to => write!(f, "{}{place} to {}", self.name, to.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_where_it_is_meant_to() {
        let grant = |to: &[&str]| SecretGrant {
            name: SecretName::new("token").unwrap(),
            to: to.iter().map(|to| (*to).to_owned()).collect(),
            place: SecretPlace::Message,
        };
        assert!(grant(&[]).goes_to("a.test", 80));
        assert!(grant(&["a.test"]).goes_to("a.test", 80));
        assert!(grant(&["a.test:80"]).goes_to("a.test", 80));
        assert!(!grant(&["a.test:8"]).goes_to("a.test", 80));
        assert!(!grant(&["b.test"]).goes_to("a.test", 80));
        let mut in_urls = grant(&["a.test"]);
        in_urls.place = SecretPlace::Url;
        assert_eq!(in_urls.to_string(), "token in URLs to a.test");
        // Keys of before stay as they are.
        assert_eq!(serde_json::to_string(&grant(&[])).unwrap(), r#"{"name":"token"}"#);
        assert!(grant(&["[::1]:80"]).goes_to("[::1]", 80) && !grant(&["[::1]:80"]).goes_to("[::1]", 81));
    }
}
