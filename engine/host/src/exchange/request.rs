//! From what a guest asks for to what may be sent: every check that needs no network.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri};
use lockgate_model::Digest;
use lockgate_model::grant::HttpGrant;
use serde_json::json;
use url::Url;

use super::{Effect, REQUEST_DOMAIN};
use crate::bindings::http::{Error, Request};

/// Most headers of a request, and of an answer: what common servers take.
pub(crate) const MAX_HEADERS: usize = 100;
/// Most bytes of a request's headers together, likewise.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Longest URL in bytes, likewise.
const MAX_URL: usize = 8 << 10;
/// The time of one exchange, at most and by default.
const MAX_TIMEOUT: u32 = 10_000;
/// The most bytes of an answer's body that a guest gets, and how many by default.
pub(crate) const MAX_BODY: u64 = 16 << 20;
const DEFAULT_BODY: u64 = 1 << 20;
/// Headers that are the engine's: they frame the message or name the host, which the grant was checked for.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// A request that is permitted.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) method: Method,
    pub(crate) https: bool,
    /// As in the URL: IPv6 in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the `host` header says.
    pub(crate) authority: HeaderValue,
    /// Path and query.
    pub(crate) target: Uri,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) timeout: Duration,
    /// Where not saved, the most bytes of the body; where saved, none: up to the limit of outputs.
    pub(crate) max_body: Option<u64>,
    /// The grants that permit it: they say which addresses it may go to.
    pub(crate) grants: Vec<HttpGrant>,
    /// Whether a secret's value stands in it.
    pub(crate) holds_secret: bool,
    pub(crate) effect: Effect,
}

/// The header by which servers know the trace that a request belongs to: <https://www.w3.org/TR/trace-context/>.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that lets a server tell a request that is repeated after a crash from a new one
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Checked {
    /// Takes another target: this one's, with values of secrets in it. It has to be one that the grants permit, by itself as it stands:
    /// nothing of a value may be resolved, cut off or escaped. No error shows it.
    pub(crate) fn retarget(&mut self, placed: &[u8]) -> Result<(), Error> {
        let unfit = |why: &str| refuse("bad-request", format!("the value of the secret in the URL {why}"));
        let text = std::str::from_utf8(placed).ok().filter(|text| text.bytes().all(stands_in_urls));
        let text = text.ok_or_else(|| unfit("holds characters that cannot stand in a URL as they are"))?;
        let scheme = if self.https { "https" } else { "http" };
        let whole = format!("{scheme}://{}:{}{text}", self.host, self.port);
        if whole.len() > MAX_URL {
            return Err(unfit(&format!("makes it longer than {MAX_URL} bytes")));
        }
        let url = Url::parse(&whole).map_err(|_| unfit("makes it one that cannot be read"))?;
        if target(&url) != text || hides_dots(url.path()) {
            return Err(unfit("does not stay as it is: it holds `.` or `..` segments, or what has to be escaped"));
        }
        let method = self.method.as_str();
        self.grants.retain(|grant| grant.permits(method, scheme, &self.host, self.port, url.path()));
        if self.grants.is_empty() {
            let message =
                "with the value of the secret in it, the URL is not one that `grants.http` of the node permits";
            return Err(refuse("not-granted", message));
        }
        self.target = text.parse().map_err(|_| unfit("cannot be sent"))?;
        Ok(())
    }

    /// Adds the idempotency key, as the quoted string that the header's draft asks for. Not where the method changes nothing
    /// by itself, and not where the guest named a key of its own: that one is the same on every repetition, too, because it
    /// stands in the request's digest.
    pub(crate) fn identify(&mut self, key: &str) {
        let safe = matches!(self.method, Method::GET | Method::HEAD);
        if !safe && !self.headers.iter().any(|(name, _)| *name == IDEMPOTENCY_KEY) {
            // Ids are ASCII without quotes, so it always fits.
            self.headers.extend(HeaderValue::from_str(&format!("\"{key}\"")).map(|value| (IDEMPOTENCY_KEY, value)));
        }
    }

    /// Adds the engine's `traceparent`, unless the guest has one of its own. The effect's digest is not touched.
    pub(crate) fn trace(&mut self, parent: &str) {
        if !self.headers.iter().any(|(name, _)| *name == TRACE_PARENT) {
            self.headers.extend(HeaderValue::from_str(parent).map(|value| (TRACE_PARENT, value)));
        }
    }
}

/// An answer for the guest instead of an exchange.
pub(crate) fn refuse(code: &str, message: impl Into<String>) -> Error {
    Error { code: code.to_owned(), message: message.into() }
}

/// Checks a request against the grants. `body_input` is the digest of the input that it names as its body.
pub(crate) fn check(request: &Request, grants: &[HttpGrant], body_input: Option<Digest>) -> Result<Checked, Error> {
    let bad = |message: String| refuse("bad-request", message);
    if request.url.len() > MAX_URL {
        return Err(bad(format!("the URL is longer than {MAX_URL} bytes")));
    }
    let mut url = Url::parse(&request.url).map_err(|error| bad(format!("the URL cannot be read: {error}")))?;
    url.set_fragment(None);
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(format!("the URL's scheme is `{}`, not `http` or `https`", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("the URL holds a user or a password".into()));
    }
    if hides_dots(url.path()) {
        return Err(bad("the URL's path holds an escaped `.` or `..` segment".into()));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(bad("the URL has no host".into()));
    };
    let is_method = !request.method.is_empty()
        && request.method.len() <= 20
        && request.method.bytes().all(|b| b.is_ascii_uppercase());
    let method =
        Method::from_bytes(request.method.as_bytes()).ok().filter(|method| is_method && *method != Method::CONNECT);
    let Some(method) = method else {
        return Err(bad("the method must be upper-case letters, and not `CONNECT`".into()));
    };
    let shown = format!("{} {}://{host}:{port}{}", request.method, url.scheme(), url.path());
    let permits = |grant: &&HttpGrant| grant.permits(&request.method, url.scheme(), host, port, url.path());
    let grants: Vec<_> = grants.iter().filter(permits).cloned().collect();
    if grants.is_empty() {
        return Err(refuse("not-granted", format!("`grants.http` of the node does not permit `{shown}`")));
    }
    let headers = headers(request)?;
    if request.body.is_some() && request.body_input.is_some() {
        return Err(bad("it has both `body` and `body-input`".into()));
    }
    let max_body = match (&request.save_as, request.max_body) {
        (Some(_), max) => max,
        (None, max) => Some(max.unwrap_or(DEFAULT_BODY).min(MAX_BODY)),
    };
    let timeout = request.timeout_ms.unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT);
    let body = request.body.as_deref().map(Digest::of).or(body_input);
    let canonical = json!({
        "method": request.method,
        "url": url.as_str(),
        "headers": headers.iter().map(|(name, value)| (name.as_str(), Digest::of(value.as_bytes()))).collect::<Vec<_>>(),
        "body": body,
        "save-as": request.save_as,
        "timeout-ms": timeout,
        "max-body": max_body.map(|max| max.to_string()),
    });
    let summary = format!("{} {url}", request.method);
    let effect = Effect { kind: "http", request: Digest::of_json(REQUEST_DOMAIN, &canonical), summary };
    let target = target(&url).parse().map_err(|error| bad(format!("the URL cannot be sent: {error}")))?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    Ok(Checked {
        https: url.scheme() == "https",
        authority: HeaderValue::from_str(&authority)
            .map_err(|error| bad(format!("the host cannot be sent: {error}")))?,
        host: host.to_owned(),
        port,
        method,
        target,
        headers,
        timeout: Duration::from_millis(timeout.into()),
        max_body,
        grants,
        holds_secret: false,
        effect,
    })
}

/// Path and query.
fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Whether a byte stands for itself in paths and queries (RFC 3986), or begins an escape.
fn stands_in_urls(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

fn headers(request: &Request) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let bad = |message: String| refuse("bad-request", message);
    if request.headers.len() > MAX_HEADERS {
        return Err(refuse("limit", format!("it has more than {MAX_HEADERS} headers")));
    }
    let size: usize = request.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    if size > MAX_HEADER_BYTES {
        return Err(refuse("limit", format!("its headers are larger than {MAX_HEADER_BYTES} bytes")));
    }
    let mut headers = Vec::with_capacity(request.headers.len());
    for header in &request.headers {
        let shown = super::super::imports::short(&header.name);
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| bad(format!("`{shown}` is no name of a header")))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(bad(format!("the header `{name}` is the engine's")));
        }
        let value = HeaderValue::from_bytes(&header.value)
            .map_err(|_| bad(format!("the value of the header `{name}` cannot be sent")))?;
        headers.push((name, value));
    }
    Ok(headers)
}

/// Whether a path would hold `.` or `..` for a server that unescapes it before it looks. The URL parser resolved all others.
fn hides_dots(path: &str) -> bool {
    let mut plain = path.to_owned();
    // Some servers unescape twice.
    for _ in 0..2 {
        for (escaped, character) in
            [("%2e", "."), ("%2E", "."), ("%2f", "/"), ("%2F", "/"), ("%5c", "/"), ("%5C", "/"), ("%25", "%")]
        {
            plain = plain.replace(escaped, character);
        }
    }
    plain.replace('\\', "/").split('/').any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::http::Header;

    fn request(url: &str) -> Request {
        Request {
            method: "GET".into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            body_input: None,
            save_as: None,
            timeout_ms: None,
            max_body: None,
        }
    }

    fn code(request: &Request) -> String {
        let grants = ["GET http://a.test/api", "GET http://127.0.0.1:8080/", "GET https://[::1]/x"];
        let grants: Vec<_> = grants.iter().map(|grant| HttpGrant::parse(grant).unwrap()).collect();
        check(request, &grants, None).map_or_else(|error| error.code, |_| "ok".into())
    }

    #[test]
    fn what_is_sent_is_what_was_granted() {
        let cases = [
            ("http://a.test/api", "ok"),
            ("http://a.test:80/api/x?q=../..#f", "ok"),
            ("http://A.TEST/api", "ok"),
            ("http://2130706433:8080/", "ok"),
            ("https://[0:0:0:0:0:0:0:1]/x", "ok"),
            ("http://a.test/apix", "not-granted"),
            ("http://a.test/api/../x", "not-granted"),
            ("http://a.test/api/%2e%2e/x", "not-granted"),
            ("http://a.test/api/..%2fx", "bad-request"),
            ("http://a.test/api/%252e%252e%252fx", "bad-request"),
            ("http://a.test\\@b.test/api", "not-granted"),
            ("https://a.test/api", "not-granted"),
            ("http://a.test:81/api", "not-granted"),
            ("http://b.test/api", "not-granted"),
            ("http://u:p@a.test/api", "bad-request"),
            ("http://u@a.test/api", "bad-request"),
            ("ftp://a.test/api", "bad-request"),
            ("/api", "bad-request"),
            ("http:///", "bad-request"),
        ];
        for (url, expected) in cases {
            assert_eq!(code(&request(url)), expected, "{url}");
        }
    }

    #[test]
    fn wrong_requests_are_refused() {
        let with = |change: &dyn Fn(&mut Request)| {
            let mut request = request("http://a.test/api");
            change(&mut request);
            code(&request)
        };
        let header = |name: &str, value: &[u8]| Header { name: name.into(), value: value.into() };
        assert_eq!(with(&|r| r.method = "get".into()), "bad-request");
        assert_eq!(with(&|r| r.method = "POST".into()), "not-granted");
        assert_eq!(with(&|r| r.method = "CONNECT".into()), "bad-request");
        assert_eq!(with(&|r| r.headers = vec![header("Host", b"b.test")]), "bad-request");
        assert_eq!(with(&|r| r.headers = vec![header("Transfer-Encoding", b"chunked")]), "bad-request");
        assert_eq!(with(&|r| r.headers = vec![header("a b", b"")]), "bad-request");
        assert_eq!(with(&|r| r.headers = vec![header("a", b"x\r\nb: c")]), "bad-request");
        assert_eq!(with(&|r| r.headers = vec![header("a", b"x"); 101]), "limit");
        assert_eq!(with(&|r| r.headers = vec![header("a", &[b'x'; 20_000])]), "limit");
        assert_eq!(with(&|r| r.headers = vec![header("X-A", b"\xff")]), "ok");
        assert_eq!(with(&|r| (r.body, r.body_input) = (Some(vec![]), Some("x".into()))), "bad-request");
        assert_eq!(with(&|r| r.url += &"x".repeat(9_000)), "bad-request");
    }

    #[test]
    fn a_trace_changes_neither_the_digest_nor_what_the_guest_set() {
        const OURS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let grants = [HttpGrant::parse("GET http://a.test/").unwrap()];
        let sent = |header: Option<(&str, &str)>| {
            let mut request = request("http://a.test/");
            request.headers =
                header.map(|(name, value)| Header { name: name.into(), value: value.into() }).into_iter().collect();
            let mut checked = check(&request, &grants, None).unwrap();
            let before = checked.effect.request;
            checked.trace(OURS);
            assert_eq!(checked.effect.request, before);
            checked.headers
        };
        let header = |name: &'static str, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        assert_eq!(sent(None), [header("traceparent", OURS)]);
        assert_eq!(sent(Some(("TraceParent", "theirs"))), [header("traceparent", "theirs")]);
        assert_eq!(sent(Some(("x", "y"))), [header("x", "y"), header("traceparent", OURS)]);
    }

    #[test]
    fn a_secret_in_a_url_changes_nothing_but_its_place() {
        let grants = ["POST https://a.test/services", "POST https://a.test:8443/"];
        let grants: Vec<_> = grants.iter().map(|grant| HttpGrant::parse(grant).unwrap()).collect();
        let with = |value: &str| {
            let mut request = request("https://a.test/services/PLACE?x=1");
            request.method = "POST".into();
            let mut checked = check(&request, &grants, None).unwrap();
            let digest = checked.effect.request;
            let placed = checked.target.to_string().replace("PLACE", value);
            let done = checked.retarget(placed.as_bytes()).map(|()| checked.target.to_string());
            assert_eq!(checked.effect.request, digest);
            assert!(checked.effect.summary.ends_with("/services/PLACE?x=1"), "{}", checked.effect.summary);
            if let Err(error) = &done {
                assert!(!error.message.contains(value), "{}", error.message);
            }
            done.map_err(|error| error.code)
        };
        assert_eq!(with("T00/B00/aB3_-x").unwrap(), "/services/T00/B00/aB3_-x?x=1");
        assert_eq!(with("a?token=b").unwrap(), "/services/a?token=b?x=1");
        assert_eq!(with("a%20b").unwrap(), "/services/a%20b?x=1");
        let wrong = [
            "../admin",
            "a/../../admin",
            "a/%2e%2e/b",
            "..%2f..%2fadmin",
            "a b",
            "a#b",
            "a\\b",
            "a\r\nb",
            "a\"b",
            "\u{e9}\u{e9}",
        ];
        for value in wrong {
            assert_eq!(with(value).unwrap_err(), "bad-request", "{value}");
        }
        assert_eq!(with(&"x".repeat(9_000)).unwrap_err(), "bad-request");
        // A grant that ends in the middle of what the value fills.
        let narrow = [HttpGrant::parse("POST https://a.test/services/PLACE").unwrap()];
        let mut request = request("https://a.test/services/PLACE");
        request.method = "POST".into();
        let mut checked = check(&request, &narrow, None).unwrap();
        assert_eq!(checked.retarget(b"/services/other-place").unwrap_err().code, "not-granted");
    }

    #[test]
    fn limits_have_defaults_and_caps() {
        let grants = [HttpGrant::parse("GET http://a.test/").unwrap()];
        let mut request = request("http://a.test/");
        let checked = check(&request, &grants, None).unwrap();
        assert_eq!((checked.max_body, checked.timeout.as_millis()), (Some(1 << 20), 10_000));
        request.max_body = Some(1 << 40);
        request.timeout_ms = Some(u32::MAX);
        let checked = check(&request, &grants, None).unwrap();
        assert_eq!((checked.max_body, checked.timeout.as_millis()), (Some(16 << 20), 10_000));
        request.save_as = Some("x".into());
        assert_eq!(check(&request, &grants, None).unwrap().max_body, Some(1 << 40));
    }
}
