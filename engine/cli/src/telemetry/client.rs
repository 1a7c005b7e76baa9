//! One HTTP/1.1 connection to the collector, opened when needed and kept while it lives. Smaller than any client that could be had:
//! it follows no redirects, and every wait is the caller's to bound.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Position, Url};

/// Bytes of an answer that are read: an answer to an export is a number and a text.
const MAX_ANSWER: usize = 64 << 10;

/// A client for one URL.
pub(super) struct Client {
    url: Url,
    headers: HeaderMap,
    tls: Option<TlsConnector>,
    /// Requests go here while the connection lives.
    sender: Option<SendRequest<Full<Bytes>>>,
    /// What drives the connection; ends with the client.
    connection: JoinSet<()>,
}

/// What the other side said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// How long it wants to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// None where it is too long or broke off.
    pub(super) body: Option<Bytes>,
}

/// Why it said nothing that could be understood.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody is there: trying again at once is of no use.
    Unreachable(String),
    /// The exchange broke off.
    Broken(String),
}

impl Client {
    /// A client that posts to this URL with these headers.
    pub(super) fn new(url: Url, mut headers: HeaderMap, content_type: &'static str) -> Self {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("OTel-OTLP-Exporter-Lockgate/", env!("CARGO_PKG_VERSION"))));
        Self { url, headers, tls: None, sender: None, connection: JoinSet::new() }
    }

    /// Posts a body. May be dropped at any point; then the connection is not used again.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<Answer, Failure> {
        let mut sender = match self.sender.take() {
            Some(mut sender) => match sender.ready().await {
                Ok(()) => sender,
                // The other side closed the connection meanwhile.
                Err(_) => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let answer = exchange(&mut sender, self.request(body)?).await.map_err(broken)?;
        self.sender = Some(sender);
        Ok(answer)
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let target: Uri = self.url[Position::BeforePath..Position::AfterQuery]
            .parse()
            .map_err(|error| Failure::Unreachable(format!("the URL cannot be sent: {error}")))?;
        let authority = HeaderValue::from_str(&self.url[Position::BeforeHost..Position::AfterPort])
            .map_err(|error| Failure::Unreachable(format!("the host cannot be sent: {error}")))?;
        let mut request = Request::post(target);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
            headers.insert(HOST, authority);
        }
        request.body(Full::new(body)).map_err(|error| Failure::Unreachable(error.to_string()))
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        self.connection.abort_all();
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let unreachable = |error: std::io::Error| Failure::Unreachable(error.to_string());
        let tcp =
            TcpStream::connect(&*addresses(&host, port).await.map_err(unreachable)?).await.map_err(unreachable)?;
        // Requests are written at once.
        let _ = tcp.set_nodelay(true);
        if self.url.scheme() == "http" {
            return self.handshake(tcp).await;
        }
        let name = ServerName::try_from(host).map_err(|error| Failure::Unreachable(error.to_string()))?;
        let connector = match &self.tls {
            Some(connector) => connector.clone(),
            None => self.tls.insert(connector().await?).clone(),
        };
        self.handshake(connector.connect(name, tcp).await.map_err(unreachable)?).await
    }

    async fn handshake<S>(&mut self, stream: S) -> Result<SendRequest<Full<Bytes>>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_ANSWER);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        self.connection.spawn(async move {
            // What went wrong is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = sender.send_request(request).await?.into_parts();
    let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = Limited::new(body, MAX_ANSWER).collect().await.ok().map(|body| body.to_bytes());
    Ok(Answer { status: head.status, retry_after: seconds.map(Duration::from_secs), body })
}

fn broken(error: hyper::Error) -> Failure {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::Broken(format!("{error}{cause}"))
}

/// The addresses of a host.
async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let host = host.to_owned();
    detached(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect)).await?
}

/// Does what may block for long on a thread that nobody waits for: the runtime would wait for its own before the engine ends, and a
/// resolver takes its time.
async fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, done) = oneshot::channel();
    let work = move || {
        // Whoever asked may be gone by now.
        let _ = sender.send(work());
    };
    std::thread::Builder::new().name("lockgate-otlp".to_owned()).spawn(work)?;
    done.await.map_err(io::Error::other)
}

/// TLS with the machine's own authorities, or those of SSL_CERT_FILE.
async fn connector() -> Result<TlsConnector, Failure> {
    let read = || {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err("this machine has no certificate authorities".to_owned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    };
    detached(read).await.unwrap_or_else(|error| Err(error.to_string())).map_err(Failure::Unreachable)
}
