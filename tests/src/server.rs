//! Loopback servers, good and bad, on ports that the system chose. Plain threads: each connection has its own, and ends when the
//! other side goes away or the server is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pause between two bytes of a server that drips: often enough to defeat a limit on silence.
const DRIP: Duration = Duration::from_millis(20);
/// A test waits no longer for a request.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most bytes of a request's body that are kept; more are read and forgotten.
const KEPT: u64 = 16 << 20;

/// What a server does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Answers this status with this body.
    Status(u16, String),
    /// Answers 200 with the number of the request, from 0.
    Counter,
    /// Reads the request and never answers.
    Never,
    /// Sends the head, then a byte of the body from time to time, for ever.
    Drips,
    /// Sends a body without end as fast as it is taken.
    Endless,
    /// Sends headers without end.
    EndlessHead,
    /// Closes the connection at once.
    Closes,
    /// Announces a body of this length and ends after the first byte of it.
    Breaks(u64),
    /// Answers something that is not HTTP.
    Garbage,
    /// Redirects to this place.
    Redirect(String),
    /// Answers 200 with the request's body, and its `authorization` as `x-echo`.
    Echo,
    /// Answers 200 and claims this encoding of the body.
    Encoded(&'static str),
}

impl Answer {
    /// 200 with this body.
    pub fn ok(body: &str) -> Self {
        Self::Status(200, body.to_owned())
    }

    /// This status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

/// A request that a server got.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its first line.
    pub line: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Seen {
    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// A server on a free loopback port; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    requests: Mutex<Receiver<Seen>>,
}

#[derive(Debug)]
struct Shared {
    answers: Vec<Answer>,
    hits: AtomicUsize,
    over: AtomicBool,
    seen: Mutex<Sender<Seen>>,
}

impl Server {
    /// Answers each request the same.
    pub fn new(answer: Answer) -> Self {
        Self::script([answer])
    }

    /// Answers the first request with the first answer and so on; the last one is repeated.
    pub fn script(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a loopback port");
        let address = listener.local_addr().expect("a bound address");
        let (seen, requests) = channel();
        let shared = Arc::new(Shared {
            answers: answers.into_iter().collect(),
            hits: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            seen: Mutex::new(seen),
        });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = of_thread.clone();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared, requests: Mutex::new(requests) }
    }

    /// Its address, as `127.0.0.1:1234`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Number of requests so far.
    pub fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::SeqCst)
    }

    /// Waits for the next request and returns its first line.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn next_request(&self) -> String {
        self.next_seen().line
    }

    /// Waits for the next request.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn next_seen(&self) -> Seen {
        let requests = self.requests.lock().expect("no other thread panicked");
        requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// The requests that came and that nobody asked for yet.
    pub fn all_seen(&self) -> Vec<Seen> {
        self.requests.lock().expect("no other thread panicked").try_iter().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

/// A loopback port on which nobody listens.
pub fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a loopback port");
    listener.local_addr().expect("a bound address")
}

impl Shared {
    /// Serves one connection; an error is its end.
    fn serve(&self, stream: TcpStream) {
        let Ok(writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        let mut writer = writer;
        while let Some(request) = read_request(&mut reader) {
            let number = self.hits.fetch_add(1, Ordering::SeqCst);
            if let Ok(seen) = self.seen.lock() {
                let _ = seen.send(request.clone());
            }
            let Some(answer) = self.answers.get(number).or(self.answers.last()) else { return };
            match self.answer(answer, number, &request, &mut writer) {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Answers one request; whether the connection goes on.
    fn answer(&self, answer: &Answer, number: usize, request: &Seen, to: &mut TcpStream) -> std::io::Result<bool> {
        match answer {
            Answer::Status(status, body) => respond(to, *status, body.as_bytes(), "")?,
            Answer::Counter => respond(to, 200, number.to_string().as_bytes(), "")?,
            Answer::Redirect(location) => respond(to, 302, b"", &format!("location: {location}\r\n"))?,
            Answer::Echo => {
                let told = request.header("authorization").join(", ");
                respond(to, 200, &request.body, &format!("x-echo: {told}\r\n"))?;
            }
            Answer::Encoded(encoding) => respond(to, 200, b"xyz", &format!("content-encoding: {encoding}\r\n"))?,
            Answer::Never => {
                // Until the other side goes away: a read then says so.
                let _ = to.read(&mut [0]);
                return Ok(false);
            }
            Answer::Drips => {
                to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")?;
                self.forever(to, b".", DRIP)?;
            }
            Answer::Endless => {
                to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
                self.forever(to, &chunk, Duration::ZERO)?;
            }
            Answer::EndlessHead => {
                to.write_all(b"HTTP/1.1 200 OK\r\n")?;
                self.forever(to, b"x-more: and more\r\n", Duration::ZERO)?;
            }
            Answer::Closes => return Ok(false),
            Answer::Breaks(length) => {
                to.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nx").as_bytes())?;
                return Ok(false);
            }
            Answer::Garbage => {
                to.write_all(b"\0\xff\xfe this is not HTTP\r\n\r\n")?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the same bytes until the other side goes away or the server is dropped.
    fn forever(&self, to: &mut TcpStream, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
        while !self.over.load(Ordering::SeqCst) {
            to.write_all(bytes)?;
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        Ok(())
    }
}

fn respond(to: &mut TcpStream, status: u16, body: &[u8], headers: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {}\r\n\r\n", body.len());
    to.write_all(&[head.as_bytes(), body].concat())
}

/// Reads a request with its body; none at the end of the connection.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen::default();
    let mut length: u64 = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if seen.line.is_empty() {
            line.clone_into(&mut seen.line);
        } else if let Some((name, value)) = line.split_once(':') {
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            if name == "content-length" {
                length = value.parse().ok()?;
            }
            seen.headers.push((name, value));
        }
    }
    reader.take(length.min(KEPT)).read_to_end(&mut seen.body).ok()?;
    std::io::copy(&mut reader.take(length.saturating_sub(KEPT)), &mut std::io::sink()).ok()?;
    Some(seen)
}
