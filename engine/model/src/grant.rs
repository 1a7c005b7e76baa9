//! Grants: what a pipeline lets a node do beyond computing. Nothing is granted by default.
//!
//! [`Grants`] has one field for each kind of effect; the types of the kinds, with the rules of what each permits:
//! - [`http`]: exchanges with servers;
//! - [`tcp`]: exchanges over a bare connection;
//! - [`address`]: which addresses of a host both may reach;
//! - [`process`]: programs of the host;
//! - [`secret`]: values that plugins use without seeing them.
//!
//! To add a kind: a field here, in [`Grants::is_empty`] and [`Grants::kinds`]; an interface in `wit/`; its keys in
//! `engine/syntax/src/grants.rs`; its imports in `engine/host/src/imports`; a rule of the policy.

pub mod address;
pub mod http;
pub mod process;
pub mod secret;
pub mod tcp;

use serde::{Deserialize, Serialize};

pub use self::http::{HttpGrant, HttpGrantError};
pub use self::process::{EnvValue, ProcessGrant, ProcessGrantError};
pub use self::secret::{SecretGrant, SecretName, SecretPlace, SecretSource};
pub use self::tcp::{TcpGrant, TcpGrantError};

/// All grants of one node. Kinds that came later are left out where they are empty, so that earlier action keys stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Permitted HTTP exchanges; empty: none, and `http` is not in the linker.
    #[serde(default)]
    pub http: Vec<HttpGrant>,
    /// The real clock instead of the logical one.
    #[serde(default)]
    pub clock: bool,
    /// Programs that may be run; empty: none, and `process` is not in the linker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub process: Vec<ProcessGrant>,
    /// Secrets that the plugin may have placed into what it sends; empty: none, and `secrets` is not in the linker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
    /// Servers that may be connected to; empty: none, and `tcp` is not in the linker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<TcpGrant>,
    /// Whatever a node kind of the program that embeds the engine does beyond computing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub app: bool,
}

impl Grants {
    /// Whether nothing at all is granted: then the node is pure.
    pub fn is_empty(&self) -> bool {
        self.kinds().is_empty()
    }

    /// What happens to an effect in doubt: what the grant says that permits it, a reading effect's default otherwise. `summary` is
    /// that of the effect's intent: for `http` the method and the URL, for `process` the program and its arguments, for `tcp`
    /// host, port and what is sent.
    pub fn in_doubt(&self, kind: &str, summary: &str) -> InDoubt {
        match kind {
            "http" => self.http_in_doubt(summary),
            "process" => {
                let program = summary.split(' ').next().unwrap_or(summary);
                let said = self.process.iter().filter(|grant| grant.program == program).map(|grant| grant.in_doubt);
                // Where grants of one program differ, the careful one counts; so does it where none is left.
                said.min_by_key(|said| *said == InDoubt::Repeat).unwrap_or(InDoubt::Stop)
            }
            "tcp" => self.tcp_in_doubt(summary),
            // Nobody but the program knows what it does.
            "app" => InDoubt::Stop,
            _ => InDoubt::Repeat,
        }
    }

    fn http_in_doubt(&self, summary: &str) -> InDoubt {
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

    fn tcp_in_doubt(&self, summary: &str) -> InDoubt {
        let (target, sent) = summary.split_once(' ').unwrap_or((summary, ""));
        let grant = self.tcp.iter().find(|grant| format!("{}:{}", grant.host, grant.port) == target);
        grant.and_then(|grant| grant.in_doubt).unwrap_or_else(|| TcpGrant::default_in_doubt(sent == "0"))
    }

    /// The kinds of effects granted, as manifests name them, sorted.
    pub fn kinds(&self) -> Vec<&'static str> {
        let Self { http, clock, process, secrets, tcp, app } = self;
        [
            ("app", *app),
            ("clock", *clock),
            ("http", !http.is_empty()),
            ("process", !process.is_empty()),
            ("secrets", !secrets.is_empty()),
            ("tcp", !tcp.is_empty()),
        ]
        .into_iter()
        .filter(|(_, yes)| *yes)
        .map(|(kind, _)| kind)
        .collect()
    }

    /// The secrets that a node with these grants may use, in what it sends or in a program's environment; sorted, each once.
    pub fn secret_names(&self) -> Vec<&SecretName> {
        let placed = self.secrets.iter().map(|grant| &grant.name);
        let mut names: Vec<_> = placed.chain(self.process.iter().flat_map(ProcessGrant::secrets)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
            ..Default::default()
        };
        let in_doubt = |summary: &str| grants.in_doubt("http", summary);
        assert_eq!(in_doubt("POST http://a:81/x/y?z=http://b/"), InDoubt::Repeat);
        assert_eq!(in_doubt("POST http://a/x"), InDoubt::Stop);
        assert_eq!(in_doubt("GET https://[::1]/health"), InDoubt::Stop);
        assert_eq!(in_doubt("GET http://elsewhere/"), InDoubt::Repeat);
        assert_eq!(in_doubt("garbage"), InDoubt::Stop);
        assert_eq!(grants.in_doubt("clock", "now"), InDoubt::Repeat);
        assert_eq!(grants.in_doubt("app", "deploy"), InDoubt::Stop);
    }

    #[test]
    fn programs_and_connections_in_doubt_stop_unless_said_otherwise() {
        let mut grants = Grants::default();
        assert_eq!(grants.in_doubt("process", "git push"), InDoubt::Stop);
        grants.process.push(ProcessGrant { in_doubt: InDoubt::Repeat, ..ProcessGrant::new("git").unwrap() });
        assert_eq!(grants.in_doubt("process", "git push"), InDoubt::Repeat);
        grants.process.push(ProcessGrant::new("git").unwrap());
        assert_eq!(grants.in_doubt("process", "git push"), InDoubt::Stop, "of two the careful one");
        assert_eq!(grants.in_doubt("process", "gitk"), InDoubt::Stop);
        grants.tcp.push(TcpGrant::parse("[::1]:25").unwrap());
        assert_eq!(grants.in_doubt("tcp", "[::1]:25 0"), InDoubt::Repeat);
        assert_eq!(grants.in_doubt("tcp", "[::1]:25 7"), InDoubt::Stop);
        grants.tcp[0].in_doubt = Some(InDoubt::Repeat);
        assert_eq!(grants.in_doubt("tcp", "[::1]:25 7"), InDoubt::Repeat);
    }

    #[test]
    fn kinds_that_came_later_leave_earlier_keys_alone() {
        assert_eq!(serde_json::to_string(&Grants::default()).unwrap(), r#"{"http":[],"clock":false}"#);
    }
}
