//! The binary as the demo and a gate see it: its first line, its answers over a socket, its end.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of a test: it fails where they cannot go on")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A running service; ended when dropped.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--addr", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").expect("the address comes first").to_owned();
        Self { child, address }
    }

    /// Sends a request and returns the status and the body.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_answers_as_it_was_told() {
    let service = Service::start(&["--version", "1.3.0", "--error-rate", "0.5", "--latency-ms", "5"]);
    assert_eq!(service.ask("GET", "/version"), (200, r#"{"version":"1.3.0"}"#.into()));
    assert_eq!(service.ask("HEAD", "/health"), (200, String::new()));
    let started = std::time::Instant::now();
    let (status, body) = service.ask("GET", "/api/order");
    assert_eq!(status, 200);
    assert!(body.contains(r#""total_cents":4980"#), "{body}");
    assert!(started.elapsed().as_millis() >= 5);
    assert_eq!(service.ask("GET", "/api/order").0, 500);
    assert_eq!(service.ask("GET", "/elsewhere").0, 404);
    assert_eq!(service.ask("DELETE", "/health").0, 405);
}

#[test]
fn wrong_arguments_are_refused() {
    for arguments in [["--error-rate", "2"], ["--latency-ms", "-1"], ["--addr", "localhost"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_service")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[cfg(unix)]
#[test]
fn it_ends_when_told_and_finishes_what_is_open() {
    let mut service = Service::start(&["--latency-ms", "500"]);
    let mut stream = TcpStream::connect(&service.address).unwrap();
    write!(stream, "GET /api/order HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let begun = |_: &u32| service.ask("GET", "/health").1.contains(r#""orders":1"#);
    assert!((0..10_000).find(begun).is_some(), "the order never began");
    let pid = rustix::process::Pid::from_child(&service.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}
