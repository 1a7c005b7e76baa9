//! A real registry for components: Debian's `docker-registry`, on a free loopback port, with its files in a temporary directory.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::closed_port;

/// The one user of a registry that asks for a login, and the password.
pub const LOGIN: (&str, &str) = ("me", "hush");
/// The password as bcrypt has it.
const HASH: &str = "$2b$04$Ch4Wci8L82S4CxPMAErlT.LsH43.7.qvxNO38/vywgARYQXvKWlUC";
/// How often another port is tried: between finding a free one and using it somebody else may take it.
const TRIES: usize = 5;

/// A registry; it ends when it is dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    address: SocketAddr,
    _files: TempDir,
}

impl Registry {
    /// One that serves everybody.
    pub fn start() -> Self {
        Self::with("")
    }

    /// One that serves [`LOGIN`] alone.
    pub fn private() -> Self {
        Self::with("auth: { htpasswd: { realm: test, path: HTPASSWD } }\n")
    }

    fn with(more: &str) -> Self {
        for _ in 0..TRIES {
            if let Some(registry) = Self::try_start(more) {
                return registry;
            }
        }
        panic!("no registry could be started: install Debian's `docker-registry`, or run `cargo xtask test`");
    }

    fn try_start(more: &str) -> Option<Self> {
        let files = tempfile::Builder::new().prefix("lockgate-registry-").tempdir().expect("make a directory");
        let (address, passwords) = (closed_port(), files.path().join("htpasswd"));
        fs::write(&passwords, format!("{}:{HASH}\n", LOGIN.0)).expect("write passwords");
        let config = format!(
            "version: 0.1\nlog: {{ level: info, formatter: json }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: \"{address}\" }}\n{}",
            files.path().join("files").display(),
            more.replace("HTPASSWD", &passwords.display().to_string())
        );
        let path = files.path().join("config.yml");
        fs::write(&path, config).expect("write the registry's configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).env("OTEL_TRACES_EXPORTER", "none");
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        // It says so when it listens, and ends when it cannot.
        let mut lines = BufReader::new(process.stderr.take()?).lines().map_while(Result::ok);
        if !lines.any(|line| line.contains("listening on")) {
            let _ = process.wait();
            return None;
        }
        // What nobody reads would hold it up.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, address, _files: files })
    }

    /// The name of a component in it: `127.0.0.1:5000/<path>`.
    pub fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A document of it, by a program that knows nothing of the engine's.
    pub fn get(&self, path: &str, accept: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("connect to the registry");
        write!(stream, "GET /v2/{path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read the registry's answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        assert!(head.starts_with("HTTP/1.0 200"), "{answer}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
