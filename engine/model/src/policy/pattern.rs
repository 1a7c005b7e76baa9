//! What policies allow, as patterns, and whether a pattern covers all that a pipeline asks for.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use crate::grant::{HttpGrant, SecretSource, TcpGrant, address};
use crate::pipeline::PluginSource;

/// Longest pattern in bytes.
pub const MAX_PATTERN: usize = 4096;

/// A text that is not a pattern of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read `{text}` as {kind}: {reason}")]
pub struct PatternError {
    /// The text, cut to 200 characters.
    pub text: String,
    /// What it should be, with its article.
    pub kind: &'static str,
    /// What is wrong, for people.
    pub reason: String,
}

fn error(text: &str, kind: &'static str, reason: impl Into<String>) -> PatternError {
    PatternError { text: text.chars().take(200).collect(), kind, reason: reason.into() }
}

/// A glob over words that hold no `/` of meaning: names of variables, of secrets. `*` stands for any characters.
#[derive(Debug, Clone)]
pub struct WordPattern {
    text: String,
    matcher: GlobMatcher,
}

impl WordPattern {
    /// Whether it covers a word.
    pub fn covers(&self, word: &str) -> bool {
        self.matcher.is_match(word)
    }
}

fn glob(text: &str, kind: &'static str) -> Result<GlobMatcher, PatternError> {
    if text.is_empty() || text.len() > MAX_PATTERN {
        return Err(error(text, kind, format!("it must have 1 to {MAX_PATTERN} bytes")));
    }
    let built = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
    built.map(|glob| glob.compile_matcher()).map_err(|wrong| error(text, kind, wrong.kind().to_string()))
}

impl FromStr for WordPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Ok(Self { text: text.to_owned(), matcher: glob(text, "a pattern of names")? })
    }
}

impl PartialEq for WordPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for WordPattern {}

impl fmt::Display for WordPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Where a plugin may come from: a kind (`std`, `path`, `oci`, `app`), or a kind with a glob (`std:pack`, `path:plugins/**`,
/// `oci:ghcr.io/acme/**`).
#[derive(Debug, Clone)]
pub struct SourcePattern {
    text: String,
    kind: SourceKind,
    matcher: Option<GlobMatcher>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceKind {
    Std,
    Path,
    Oci,
    App,
}

impl SourcePattern {
    /// All plugins of the engine itself.
    pub fn std() -> Self {
        Self { text: "std".to_owned(), kind: SourceKind::Std, matcher: None }
    }

    /// Whether it covers a source. A path that may leave where it seems to be, because it holds `..`, is covered by `path` alone.
    pub fn covers(&self, source: &PluginSource) -> bool {
        let (kind, name) = match source {
            PluginSource::Std { name, .. } => (SourceKind::Std, Some(name.clone())),
            PluginSource::Path { path, .. } => (SourceKind::Path, normal(path)),
            PluginSource::Oci { name, .. } => (SourceKind::Oci, Some(name.to_string())),
            PluginSource::App { name } => (SourceKind::App, Some(name.clone())),
        };
        let fits = |matcher: &GlobMatcher| name.is_some_and(|name| matcher.is_match(name));
        self.kind == kind && self.matcher.as_ref().is_none_or(fits)
    }
}

impl FromStr for SourcePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        const KIND: &str = "a source of plugins";
        let (kind, pattern) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let kind = match kind {
            "std" => SourceKind::Std,
            "path" => SourceKind::Path,
            "oci" => SourceKind::Oci,
            "app" => SourceKind::App,
            _ => return Err(error(text, KIND, "it begins with none of `std`, `path`, `oci` and `app`")),
        };
        let shown = |error| PatternError { text: text.chars().take(200).collect(), ..error };
        let matcher = pattern.map(|pattern| glob(pattern, KIND)).transpose().map_err(shown)?;
        Ok(Self { text: text.to_owned(), kind, matcher })
    }
}

impl PartialEq for SourcePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SourcePattern {}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// A path without `.` and doubled `/`; none if it holds `..`. Absolute ones keep their first `/`.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => return None,
            "" | "." => {}
            part => parts.push(part),
        }
    }
    Some(format!("{}{}", if path.starts_with('/') { "/" } else { "" }, parts.join("/")))
}

/// Which hosts: one by name or address, all below a domain (`*.acme.example`), or any that has a name (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Any host with a name. Addresses, and names that always mean this machine, must be named: whoever allows "any host" means
    /// hosts elsewhere.
    AnyName,
    /// Any host below this domain, not the domain itself.
    Below(String),
    /// This host: a name in lower case or an address, IPv6 in brackets.
    Exactly(String),
}

impl HostPattern {
    /// Whether it covers a host as grants have it: in lower case, IPv6 in brackets.
    pub fn covers(&self, host: &str) -> bool {
        match self {
            Self::AnyName => !is_address(host) && !is_local(host),
            Self::Below(domain) => {
                host.strip_suffix(domain.as_str()).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))
            }
            Self::Exactly(exact) => host == exact,
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix("*.") {
            Some(domain) if !domain.starts_with('[') && domain.parse::<std::net::Ipv4Addr>().is_err() => {
                address::host(domain).map(Self::Below)
            }
            Some(_) => Err("behind `*.` a domain must stand"),
            None if text == "*" => Ok(Self::AnyName),
            None => address::host(text).map(Self::Exactly),
        }
    }
}

/// Takes a host and a port apart: a pattern, and the port's text with its colon.
fn split_port(text: &str) -> (&str, &str) {
    let port_at = text.rfind(':').filter(|at| !text[*at..].contains(']')).unwrap_or(text.len());
    text.split_at(port_at)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyName => f.write_str("*"),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Exactly(host) => f.write_str(host),
        }
    }
}

/// Whether URLs and resolvers take a host for an address: one in brackets, or one whose last label is a number, also in the old
/// forms `127.1` and `0x7f000001`.
fn is_address(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    host.starts_with('[') || digits(last) || last.strip_prefix("0x").is_some_and(hex)
}

/// Names that always mean this machine (RFC 6761).
fn is_local(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

/// Exchanges over HTTP that pipelines may grant: `METHOD SCHEME://HOST[:PORT][/PATH]`, with `*` for any method, a host as in
/// [`HostPattern`], `:*` for any port, and a path that is a prefix, as in grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPattern {
    /// Method in upper case; none: any.
    pub method: Option<String>,
    /// `http` or `https`.
    pub scheme: String,
    /// The hosts.
    pub host: HostPattern,
    /// The port; none: any. The scheme's own where none was written.
    pub port: Option<u16>,
    /// Path prefix, as in [`HttpGrant::path`].
    pub path: String,
}

impl HttpPattern {
    /// Whether everything that a grant permits is covered.
    pub fn covers(&self, grant: &HttpGrant) -> bool {
        let below = match grant.path.strip_prefix(&self.path) {
            Some(rest) => rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'),
            None => false,
        };
        self.method.as_ref().is_none_or(|method| *method == grant.method)
            && self.scheme == grant.scheme
            && self.host.covers(&grant.host)
            && self.port.is_none_or(|port| port == grant.port)
            && below
    }
}

impl FromStr for HttpPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |reason: &str| error(text, "a pattern of HTTP grants", reason);
        if text.len() > MAX_PATTERN {
            return Err(wrong("it is too long"));
        }
        let (method, url) = text.split_once(' ').ok_or_else(|| {
            wrong("expected a method or `*`, a space and a URL, as in `GET https://*.example.org/api`")
        })?;
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if path.contains('*') {
            return Err(wrong("the path is a prefix already: leave the `*` away"));
        }
        // What patterns have beyond grants is taken out; the rest must be a grant, so that both follow the same rules.
        let (host, port) = split_port(authority);
        let any_port = port == ":*";
        let port = if any_port { "" } else { port };
        let any_method = method == "*";
        let method = if any_method { "GET" } else { method };
        let pattern = HostPattern::parse(host).map_err(wrong);
        let stand_in = if host.starts_with('*') { "host" } else { host };
        let grant = HttpGrant::parse(&format!("{method} {scheme}://{stand_in}{port}{path}"));
        let grant = grant.map_err(|error| wrong(error.reason))?;
        Ok(Self {
            method: (!any_method).then_some(grant.method),
            scheme: grant.scheme,
            host: pattern?,
            port: (!any_port).then_some(grant.port),
            path: grant.path,
        })
    }
}

impl fmt::Display for HttpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, scheme, host, port, path } = self;
        let port = port.map_or("*".to_owned(), |port| port.to_string());
        write!(f, "{} {scheme}://{host}:{port}{path}", method.as_deref().unwrap_or("*"))
    }
}

/// Servers that pipelines may connect to: `HOST:PORT`, a host as in [`HostPattern`], `*` for any port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpPattern {
    /// The hosts.
    pub host: HostPattern,
    /// The port; none: any.
    pub port: Option<u16>,
}

impl TcpPattern {
    /// Whether everything that a grant permits is covered.
    pub fn covers(&self, grant: &TcpGrant) -> bool {
        // Taken apart, so that a new field of a grant cannot pass here unseen. Networks have a line of their own.
        let TcpGrant { host, port, in_doubt: _, networks: _ } = grant;
        self.port.is_none_or(|allowed| allowed == *port) && self.host.covers(host)
    }
}

impl FromStr for TcpPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |reason: &str| error(text, "a pattern of TCP grants", reason);
        if text.len() > MAX_PATTERN {
            return Err(wrong("it is too long"));
        }
        let (host, port) = split_port(text);
        let host = HostPattern::parse(host).map_err(wrong)?;
        if port == ":*" {
            return Ok(Self { host, port: None });
        }
        let grant = TcpGrant::parse(&format!("host{port}")).map_err(|error| wrong(error.reason))?;
        Ok(Self { host, port: Some(grant.port) })
    }
}

impl fmt::Display for TcpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port.map_or("*".to_owned(), |port| port.to_string()))
    }
}

/// Where secrets may come from: `env:NAME`, `file:PATH` or `store:NAME`, each with a glob behind the colon. Of a secret in the store
/// its environment counts too, see [`super::EnvironmentRules::names`].
#[derive(Debug, Clone)]
pub struct SecretPattern {
    text: String,
    kind: SecretKind,
    matcher: GlobMatcher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecretKind {
    Env,
    File,
    Store,
}

impl SecretPattern {
    /// Whether it covers a source. A path that holds `..` is covered by none.
    pub fn covers(&self, source: &SecretSource) -> bool {
        let (kind, name) = match source {
            SecretSource::Env(name) => (SecretKind::Env, Some(name.clone())),
            SecretSource::File(path) => (SecretKind::File, normal(path)),
            SecretSource::Store { name, .. } => (SecretKind::Store, Some(name.clone())),
        };
        self.kind == kind && name.is_some_and(|name| self.matcher.is_match(name))
    }
}

impl FromStr for SecretPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        const KIND: &str = "a source of secrets";
        let (kind, pattern) = match text.split_once(':') {
            Some(("env", pattern)) => (SecretKind::Env, pattern),
            Some(("file", pattern)) => (SecretKind::File, pattern),
            Some(("store", pattern)) => (SecretKind::Store, pattern),
            _ => return Err(error(text, KIND, "it begins with none of `env:`, `file:` and `store:`")),
        };
        let shown = |error| PatternError { text: text.chars().take(200).collect(), ..error };
        Ok(Self { text: text.to_owned(), kind, matcher: glob(pattern, KIND).map_err(shown)? })
    }
}

impl PartialEq for SecretPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SecretPattern {}

impl fmt::Display for SecretPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Whether a path is at or below another one, both absolute or both relative.
pub(super) fn below(root: &str, path: &str) -> bool {
    match root {
        "/" => path.starts_with('/'),
        root => path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// A directory that exports may go to: relative to the pipeline's root (`.` is the root itself), or absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(String);

impl Root {
    /// Whether a target of an export, as [`crate::pipeline::Export::to`] has it, is at or below it.
    pub fn covers(&self, target: &str) -> bool {
        let Some(target) = normal(target) else { return false };
        match self.0.as_str() {
            "." => !target.starts_with('/'),
            root => below(root, &target),
        }
    }
}

impl FromStr for Root {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |reason: &str| error(text, "a root of exports", reason);
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(wrong("it is empty, or too long"));
        }
        if text.contains('*') {
            return Err(wrong("it is a directory, not a pattern; everything below it is allowed"));
        }
        match normal(text) {
            None => Err(wrong("`..` is not permitted")),
            Some(path) if path.is_empty() => Ok(Self(".".to_owned())),
            Some(path) => Ok(Self(path)),
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, grant: &str) -> bool {
        pattern.parse::<HttpPattern>().unwrap().covers(&HttpGrant::parse(grant).unwrap())
    }

    /// Over a host in whatever form: what grants refuse to be read as is not relied on here.
    fn covers_host(pattern: &str, host: &str) -> bool {
        let mut grant = HttpGrant::parse("GET https://a/").unwrap();
        grant.host = host.to_ascii_lowercase();
        pattern.parse::<HttpPattern>().unwrap().covers(&grant)
    }

    #[test]
    fn exchanges_are_covered_part_by_part() {
        for (pattern, grant, expected) in [
            ("GET https://a.example/", "GET https://a.example/x", true),
            ("GET https://a.example/", "POST https://a.example/x", false),
            ("* https://a.example/", "POST https://a.example/x", true),
            ("GET https://a.example/", "GET http://a.example:443/", false),
            ("GET https://a.example/", "GET https://a.example:8443/", false),
            ("GET https://a.example:*/", "GET https://a.example:8443/", true),
            ("GET https://a.example:8443/", "GET https://a.example:8443/", true),
            ("GET https://a.example/api", "GET https://a.example/api/x", true),
            ("GET https://a.example/api", "GET https://a.example/apix", false),
            ("GET https://a.example/api", "GET https://a.example/", false),
            // A grant of `/api` permits `/api` itself, which is not below `/api/`.
            ("GET https://a.example/api/", "GET https://a.example/api", false),
            ("GET https://[::1]:*/", "GET https://[::1]:8443/", true),
            ("GET https://[::1]/", "GET https://[::1]/", true),
        ] {
            assert_eq!(covers(pattern, grant), expected, "{pattern} over {grant}");
        }
    }

    #[test]
    fn domains_cover_what_is_below_them_and_nothing_that_looks_like_it() {
        for (host, expected) in [
            ("api.acme.example", true),
            ("a.b.acme.example", true),
            ("API.ACME.example", true),
            ("acme.example", false),
            (".acme.example", false),
            ("evilacme.example", false),
            ("acme.example.evil.org", false),
            ("api.acme.example.", false),
        ] {
            assert_eq!(covers_host("GET https://*.acme.example/", host), expected, "{host}");
        }
    }

    #[test]
    fn any_name_covers_no_address_and_not_this_machine() {
        for (host, expected) in [
            ("example.org", true),
            ("db", true),
            ("0xerox.example", true),
            ("10.example", true),
            ("xn--bcher-kva.example", true),
            ("127.0.0.1", false),
            ("127.1", false),
            ("2130706433", false),
            ("0x7f000001", false),
            ("0x7f.1", false),
            ("0X7F.0X1", false),
            ("127.0.0.1.", false),
            ("[::1]", false),
            ("[::ffff:127.0.0.1]", false),
            ("localhost", false),
            ("localhost.", false),
            ("x.LOCALHOST", false),
        ] {
            assert_eq!(covers_host("GET https://*/", host), expected, "{host}");
        }
        assert!(covers("GET http://localhost:*/", "GET http://localhost:8080/"));
    }

    #[test]
    fn wrong_patterns_say_why() {
        let reason = |text: &str| text.parse::<HttpPattern>().unwrap_err().reason;
        assert!(reason("GET https://*.acme.example/**").contains("prefix already"));
        assert!(reason("GET https://*.1/").contains("IPv4"));
        assert!(reason("GET https://*.127.0.0.1/").contains("domain"));
        assert!(reason("GET https://*./").contains("host"));
        assert!(reason("GET https://a.*.example/").contains("host"));
        assert!(reason("GET https://u@a.example/").contains("user"));
        assert!(reason("get https://a.example/").contains("upper-case"));
        assert!(reason("GET ftp://a.example/").contains("http"));
        assert!(reason("GET https://a.example:99999/").contains("port"));
        assert!(reason("https://a.example/").contains("method"));
        assert!(reason("GET https://").contains("host"));
        let reason = |text: &str| text.parse::<TcpPattern>().unwrap_err().reason;
        assert!(reason("db.example").contains("HOST:PORT") && reason("db.example:0").contains("HOST:PORT"));
        assert!(reason("d*:1").contains("host") && reason(":1").contains("host"));
        assert!("deploy-*".parse::<SecretPattern>().unwrap_err().reason.contains("env:"));
        assert!("git:x".parse::<SourcePattern>().unwrap_err().reason.contains("none of"));
        assert!("path:[".parse::<SourcePattern>().is_err());
        assert!("".parse::<WordPattern>().is_err());
        assert!("../x".parse::<Root>().is_err());
        assert!("dist/*".parse::<Root>().is_err());
    }

    #[test]
    fn patterns_are_shown_in_a_form_that_reads_back() {
        for (text, shown) in [
            ("* https://*:*", "* https://*:*/"),
            ("GET http://*.Acme.example/x", "GET http://*.acme.example:80/x"),
            ("GET https://[::1]/", "GET https://[::1]:443/"),
        ] {
            let pattern: HttpPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), shown);
            assert_eq!(shown.parse(), Ok(pattern));
        }
    }

    #[test]
    fn sources_are_covered_by_kind_and_glob() {
        let path = |path: &str| PluginSource::Path { path: path.into(), digest: None };
        let pack = PluginSource::Std { name: "pack".into(), digest: None };
        let covers = |pattern: &str, source: &PluginSource| pattern.parse::<SourcePattern>().unwrap().covers(source);
        assert!(covers("std", &pack) && covers("std:pack", &pack) && covers("std:p*", &pack));
        assert!(!covers("std:lint", &pack) && !covers("path", &pack));
        assert!(covers("path", &path("../x.wasm")) && covers("path", &path("/opt/x.wasm")));
        assert!(covers("path:plugins/**", &path("./plugins//a/x.wasm")));
        assert!(
            covers("path:plugins/*", &path("plugins/x.wasm")) && !covers("path:plugins/*", &path("plugins/a/x.wasm"))
        );
        assert!(!covers("path:plugins/**", &path("plugins/../x.wasm")));
        assert!(!covers("path:plugins/**", &path("/plugins/x.wasm")));
        assert!(covers("path:/opt/**", &path("/opt/a/x.wasm")) && !covers("path:**", &path("../x.wasm")));
        let oci =
            |name: &str| PluginSource::Oci { name: name.parse().unwrap(), version: Default::default(), digest: None };
        assert!(covers("oci", &oci("ghcr.io/acme/scan")) && covers("oci:ghcr.io/acme/**", &oci("GHCR.io/acme/a/scan")));
        assert!(
            !covers("oci:ghcr.io/acme/*", &oci("ghcr.io/acme/a/scan")) && !covers("path", &oci("ghcr.io/acme/scan"))
        );
        assert!(!covers("oci:ghcr.io/acme/**", &oci("ghcr.io.evil.example/acme/scan")));
    }

    #[test]
    fn servers_are_covered_by_host_and_port() {
        let covers = |pattern: &str, grant: &str| {
            pattern.parse::<TcpPattern>().unwrap().covers(&TcpGrant::parse(grant).unwrap())
        };
        assert!(covers("db.example:5432", "DB.example:5432") && !covers("db.example:5432", "db.example:5433"));
        assert!(covers("*.example:*", "db.example:1") && !covers("*.example:*", "example:1"));
        assert!(covers("*:5432", "db:5432") && !covers("*:*", "10.0.0.1:5432") && !covers("*:*", "localhost:5432"));
        assert!(covers("[::1]:*", "[0::1]:5432"));
        for text in ["[::1]:25", "*.example:*", "*:1"] {
            assert_eq!(text.parse::<TcpPattern>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn secrets_are_covered_by_where_they_come_from() {
        let covers = |pattern: &str, source: &SecretSource| pattern.parse::<SecretPattern>().unwrap().covers(source);
        let (env, file) = (SecretSource::Env("DEPLOY_KEY".into()), SecretSource::File("/run/secrets/../key".into()));
        let store = SecretSource::Store { name: "DEPLOY_KEY".into(), environment: "staging".into() };
        assert!(covers("env:DEPLOY_*", &env) && !covers("env:OTHER", &env) && !covers("store:*", &env));
        assert!(covers("store:*", &store) && !covers("env:*", &store) && !covers("file:**", &store));
        assert!(!covers("file:/run/secrets/**", &file) && !covers("file:**", &file));
        assert!(covers("file:/run/secrets/*", &SecretSource::File("/run/secrets/key".into())));
        assert!(covers("file:keys/*", &SecretSource::File("./keys/a".into())));
    }

    #[test]
    fn roots_cover_what_is_at_or_below_them() {
        let covers = |root: &str, target: &str| root.parse::<Root>().unwrap().covers(target);
        assert!(covers("dist", "dist") && covers("./dist/", "dist/a/b") && covers(".", "a"));
        assert!(!covers("dist", "distant") && !covers("dist", "a/dist") && !covers("dist", "dist/../a"));
        assert!(!covers("dist", "/dist") && !covers(".", "/a") && !covers("/srv", "srv/x"));
        assert!(covers("/srv", "/srv/x") && covers("/", "/srv/x") && !covers("/", "srv"));
    }
}
