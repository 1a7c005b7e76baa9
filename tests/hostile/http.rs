//! Requests beyond the grant, requests that mean something else than they say, and servers that do not let go.

use super::Case;
use super::case::Expect::{self, Fails, Harmless};
use super::guest::{Guest, RET, ret};
use crate::Answer;

/// What all of them are granted.
const GRANT: &str = "grants.http = [\"GET http://SERVER/path\", \"POST http://SERVER/path\"]";

/// A request. `SERVER` in the URL is the server's address, `PORT` its port.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    timeout: u32,
    max_body: u32,
}

fn get(url: &str) -> Ask {
    Ask { method: "GET", url: url.to_owned(), headers: Vec::new(), timeout: 2_000, max_body: 1 << 20 }
}

fn with(name: &str, value: &[u8]) -> Ask {
    Ask { headers: vec![(name.to_owned(), value.to_owned())], ..get("http://SERVER/path") }
}

/// A stage that sends it, logs the answer's status, and fails with the host's words where there is no answer.
fn ask(ask: &Ask, address: &str) -> Vec<u8> {
    let mut guest = Guest::stage().import(&["send", "log"]).pages(40);
    let port = address.rsplit(':').next().unwrap_or_default();
    let url = ask.url.replace("SERVER", address).replace("PORT", port);
    let mut words = Vec::new();
    words.extend(guest.bytes(ask.method.as_bytes()));
    words.extend(guest.bytes(url.as_bytes()));
    let headers: Vec<u32> = ask
        .headers
        .iter()
        .flat_map(|(name, value)| [guest.bytes(name.as_bytes()), guest.bytes(value)].concat())
        .collect();
    words.extend([guest.words(&headers), ask.headers.len() as u32]);
    // No body, no input as body, no output to save it as; time and cap.
    words.extend([0; 9]);
    words.extend([1, ask.timeout, 0, 1, 0, ask.max_body, 0]);
    let request = guest.words(&words);
    let at = |offset: u32| format!("(i32.load (i32.const {}))", RET + offset);
    let (level, cut, whole, moved) = (
        guest.text("info"),
        guest.text("the answer was cut"),
        guest.text("the answer came"),
        guest.text("a redirect came, and was not followed"),
    );
    let body = format!(
        "(call $send (i32.const {request}) {ret})
         (if (i32.load8_u (i32.const {RET})) (then (return (call $say {} {}))))
         (if (i32.eq (i32.load16_u (i32.const {status})) (i32.const 302)) (then (call $log {level} {moved}) (return (call $ok))))
         (if (i32.load8_u (i32.const {truncated})) (then (call $log {level} {cut}) (return (call $ok))))
         (call $log {level} {whole}) (call $ok)",
        at(16),
        at(20),
        ret = ret(),
        status = RET + 8,
        truncated = RET + 28,
    );
    guest.body(body).component()
}

/// A stage that sends GET to a URL, and fails with the host's words where there is no answer.
pub fn sender(url: &str) -> Vec<u8> {
    ask(&get(url), "")
}

/// A case with a server that answers well, and gets so many requests.
fn case(name: &'static str, tries: &'static str, by: &'static str, expect: Expect, request: Ask) -> Case {
    Case::new(name, tries, by, expect, move |address| ask(&request, address)).node(GRANT).server(Answer::ok("hello"), 0)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = grants();
    cases.extend(smuggling());
    cases.extend(servers());
    cases
}

fn grants() -> Vec<Case> {
    const BY: &str = "grants.http";
    let no = |name, tries, url: &str| {
        case(name, tries, BY, Fails("error", "`grants.http` of the node does not permit"), get(url))
    };
    let bad = |name, tries, by, message, url: &str| case(name, tries, by, Fails("error", message), get(url));
    vec![
        Case::new("http-not-granted", "imports `http` without a grant", BY, Expect::Refused("http"), |address| {
            ask(&get("http://SERVER/path"), address)
        }),
        no("http-other-path", "asks for another path", "http://SERVER/other"),
        no("http-path-beside", "asks for a path that begins with the granted one", "http://SERVER/pathology"),
        no("http-path-upwards", "asks for `/path/../other`", "http://SERVER/path/../other"),
        no("http-path-escaped", "asks for `/path/%2e%2e/other`", "http://SERVER/path/%2e%2e/other"),
        bad(
            "http-path-hidden",
            "asks for `/path/..%2fother`",
            "the rules for URLs",
            "an escaped `.` or `..` segment",
            "http://SERVER/path/..%2fother",
        ),
        bad(
            "http-path-escaped-twice",
            "asks for `/path/%252e%252e%252fother`",
            "the rules for URLs",
            "an escaped `.` or `..` segment",
            "http://SERVER/path/%252e%252e%252fother",
        ),
        no("http-other-port", "asks for another port", "http://127.0.0.1:1/path"),
        no("http-other-scheme", "asks by https", "https://SERVER/path"),
        no("http-metadata", "asks for a cloud's metadata", "http://169.254.169.254/path"),
        no("http-other-name", "names the host `localhost`", "http://localhost:PORT/path"),
        no("http-trailing-dot", "names the host with a dot behind it", "http://localhost.:PORT/path"),
        no("http-mapped-address", "names the address as IPv6", "http://[::ffff:127.0.0.1]:PORT/path"),
        no("http-any-address", "names the address 0.0.0.0", "http://0.0.0.0:PORT/path"),
        no("http-other-loopback", "names the address 127.1.2.3 in octal", "http://0177.1.2.3:PORT/path"),
        no(
            "http-look-alike",
            "names a host in letters that look alike",
            "http://\u{43b}\u{43e}\u{441}\u{430}l:PORT/path",
        ),
        no("http-backslash", "hides the host behind a backslash", "http://evil.test\\@SERVER/path"),
        case(
            "http-decimal-address",
            "names the granted address as one number",
            "nothing: it is the granted address",
            Harmless("the answer came"),
            get("http://2130706433:PORT/path"),
        )
        .server(Answer::ok("hello"), 1),
        bad(
            "http-user",
            "puts a user into the URL",
            "the rules for URLs",
            "the URL holds a user or a password",
            "http://granted@SERVER/path",
        ),
        bad(
            "http-file",
            "asks for `file:///etc/passwd`",
            "the rules for URLs",
            "the URL's scheme is `file`",
            "file:///etc/passwd",
        ),
        bad("http-no-url", "asks for nonsense", "the rules for URLs", "the URL cannot be read", "http://[nonsense"),
        bad(
            "http-long-url",
            "asks for a URL of 20 kB",
            "8 KiB of a URL",
            "the URL is longer than 8192 bytes",
            &format!("http://SERVER/path/{}", "x".repeat(20_000)),
        ),
        case(
            "http-other-method",
            "sends DELETE",
            BY,
            Fails("error", "does not permit `DELETE"),
            Ask { method: "DELETE", ..get("http://SERVER/path") },
        ),
        case(
            "http-connect",
            "sends CONNECT",
            "the rules for methods",
            Fails("error", "not `CONNECT`"),
            Ask { method: "CONNECT", ..get("http://SERVER/path") },
        ),
        case(
            "http-method-of-two-lines",
            "puts a second request into the method",
            "the rules for methods",
            Fails("error", "the method must be upper-case letters"),
            Ask { method: "GET /other HTTP/1.1\r\nHost: x\r\n\r\nGET", ..get("http://SERVER/path") },
        ),
    ]
}

fn smuggling() -> Vec<Case> {
    const BY: &str = "the rules for headers";
    let engines = |name, tries, header: &str, value: &[u8]| {
        case(name, tries, BY, Fails("error", "is the engine's"), with(header, value))
    };
    let mut many = get("http://SERVER/path");
    many.headers = (0..101).map(|n| (format!("x-{n}"), b"1".to_vec())).collect();
    vec![
        engines("header-host", "sends a `Host` of its own", "Host", b"evil.test"),
        engines("header-length", "sends a `Content-Length` of its own", "Content-Length", b"0"),
        engines("header-chunked", "sends a `Transfer-Encoding` of its own", "Transfer-Encoding", b"chunked"),
        engines("header-upgrade", "asks for another protocol", "Upgrade", b"h2c"),
        case(
            "header-of-two-lines",
            "puts a second header into a value",
            BY,
            Fails("error", "cannot be sent"),
            with("x-one", b"1\r\nx-two: 2"),
        ),
        case(
            "header-name-of-two-lines",
            "puts a second header into a name",
            BY,
            Fails("error", "is no name of a header"),
            with("x-one: 1\r\nx-two", b"2"),
        ),
        case("header-with-nul", "puts NUL into a value", BY, Fails("error", "cannot be sent"), with("x-one", b"a\0b")),
        case(
            "headers-without-end",
            "sends 101 headers",
            "100 headers",
            Fails("error", "it has more than 100 headers"),
            many,
        ),
        case(
            "header-of-1-mb",
            "sends a header of a megabyte",
            "16 KiB of headers",
            Fails("error", "its headers are larger than 16384 bytes"),
            with("x-one", &[b'x'; 1 << 20]),
        ),
    ]
}

fn servers() -> Vec<Case> {
    let patient = |expect, answer, hits, request: Ask| {
        move |name, tries, by| {
            Case::new(name, tries, by, expect, move |address| ask(&request, address)).node(GRANT).server(answer, hits)
        }
    };
    let quick = Ask { timeout: 300, ..get("http://SERVER/path") };
    let whole = get("http://SERVER/path");
    vec![
        patient(Fails("error", "there was no whole answer within 300 ms"), Answer::Never, 1, quick.clone())(
            "server-silent",
            "asks a server that never answers",
            "the time of a request",
        ),
        patient(Fails("error", "there was no whole answer within 300 ms"), Answer::Drips, 1, quick)(
            "server-slow-loris",
            "asks a server that sends a byte now and then",
            "the time of a request",
        ),
        patient(Harmless("the answer was cut"), Answer::Endless, 1, whole.clone())(
            "server-endless-body",
            "asks a server that sends for ever",
            "the cap on a body, 1 MiB by default",
        ),
        patient(Fails("error", "head"), Answer::EndlessHead, 1, whole.clone())(
            "server-endless-head",
            "asks a server that sends headers for ever",
            "64 KiB of an answer's head",
        ),
        patient(
            Harmless("a redirect came, and was not followed"),
            Answer::Redirect("http://169.254.169.254/latest".into()),
            1,
            whole.clone(),
        )("server-redirects", "asks a server that redirects to a cloud's metadata", "no redirect is followed"),
        patient(Fails("error", ""), Answer::Garbage, 1, whole.clone())(
            "server-garbage",
            "asks a server that does not speak HTTP",
            "the reader of answers",
        ),
        patient(Fails("error", ""), Answer::Breaks(1_000_000), 1, whole)(
            "server-breaks-off",
            "asks a server that ends in the midst of an answer",
            "the reader of answers",
        ),
        Case::new(
            "flood-of-requests",
            "sends requests for ever",
            "limits.effects",
            Fails("limit", "it causes more than 20 effects"),
            |address| {
                let mut guest = Guest::stage().import(&["send"]).pages(40);
                let url = format!("http://{address}/path");
                let mut words = Vec::new();
                words.extend(guest.bytes(b"GET"));
                words.extend(guest.bytes(url.as_bytes()));
                words.extend([0; 18]);
                let request = guest.words(&words);
                guest
                    .body(format!("(loop $l (call $send (i32.const {request}) {}) (br $l)) (unreachable)", ret()))
                    .component()
            },
        )
        .node(GRANT)
        .server(Answer::ok("hello"), 20)
        .limits("effects = 20"),
    ]
}
