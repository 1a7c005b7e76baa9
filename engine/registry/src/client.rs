//! The requests of OCI's distribution specification, version 1.1, each with a limit on what is read. Answers are believed as far as their
//! digests go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use lockgate_model::Digest;
use lockgate_model::oci::OciName;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, SendBody};
use url::Url;

use crate::config::Registries;
use crate::error::RegistryError;
use crate::layout::{Descriptor, INDEX, Index, MANIFEST, Manifest};
use crate::login::{self, Challenge, Login, challenge};

/// Largest manifest, index, list or token that is read: what registries take at most.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Most pages of a list of tags.
const MAX_PAGES: usize = 100;
/// Tags that are asked for at once.
const PAGE: usize = 1_000;
/// How often something that only reads is tried, and how long is waited before the second time; before each further one twice as long.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// What is done to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// The registries, as far as they were spoken to.
pub(crate) struct Client {
    pub(crate) registries: Registries,
    agents: Mutex<HashMap<String, Agent>>,
    logins: Mutex<HashMap<String, Option<Login>>>,
    /// Values of `Authorization` that did, by registry, repository and access.
    tokens: Mutex<HashMap<(OciName, Access), String>>,
}

/// One request that may be sent again.
struct Ask<'a> {
    name: &'a OciName,
    access: Access,
    method: Method,
    url: Url,
    headers: Vec<(header::HeaderName, String)>,
    body: Option<&'a [u8]>,
    /// For messages.
    what: String,
}

impl Client {
    pub(crate) fn new(registries: Registries) -> Self {
        Self { registries, agents: Mutex::default(), logins: Mutex::default(), tokens: Mutex::default() }
    }

    /// The tags of a repository.
    pub(crate) fn tags(&self, name: &OciName) -> Result<Vec<String>, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Tags {
            // Some registries say null for none.
            tags: Option<Vec<String>>,
        }
        let mut url = self.url(name, "tags/list")?;
        url.set_query(Some(&format!("n={PAGE}")));
        let mut tags = Vec::new();
        for _ in 0..MAX_PAGES {
            let answer = self.send(&self.get(name, url.clone(), &[], format!("the tags of `{name}`")))?;
            let next = next_page(answer.headers(), &url);
            tags.extend(self.json::<Tags>(name, answer, "the list of tags")?.tags.unwrap_or_default());
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(tags)
    }

    /// A manifest by tag or digest, with its bytes.
    pub(crate) fn manifest(&self, name: &OciName, reference: &str) -> Result<(Manifest, Vec<u8>), RegistryError> {
        let what = format!("`{name}` {reference}");
        let url = self.url(name, &format!("manifests/{reference}"))?;
        let answer = self.send(&self.get(name, url, &[MANIFEST], what))?;
        let bytes = self.bytes(name, answer, MAX_DOCUMENT, "the manifest")?;
        self.right(name, reference.parse().ok(), &bytes)?;
        Ok((self.parsed(name, &bytes, "the manifest")?, bytes))
    }

    /// A blob.
    pub(crate) fn blob(&self, name: &OciName, digest: Digest, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let url = self.url(name, &format!("blobs/{digest}"))?;
        let answer = self.send(&self.get(name, url, &[], format!("{digest} of `{name}`")))?;
        let bytes = self.bytes(name, answer, limit, "the blob")?;
        self.right(name, Some(digest), &bytes)?;
        Ok(bytes)
    }

    /// What refers to a manifest: by the registry's own list, else by the tag that stands in for it.
    pub(crate) fn referrers(&self, name: &OciName, digest: Digest) -> Result<Index, RegistryError> {
        let what = format!("what refers to {digest} of `{name}`");
        let url = self.url(name, &format!("referrers/{digest}"))?;
        match self.send(&self.get(name, url, &[INDEX], what.clone())) {
            Ok(answer) => return self.json(name, answer, &what),
            // Version 1.0 of the specification knows no referrers; some registries say so by other words than "not found".
            Err(RegistryError::Missing { .. } | RegistryError::Answer { .. }) => {}
            Err(error) => return Err(error),
        }
        let url = self.url(name, &format!("manifests/{}", stand_in(digest)))?;
        match self.send(&self.get(name, url, &[INDEX], what.clone())) {
            Ok(answer) => self.json(name, answer, &what),
            Err(RegistryError::Missing { .. }) => Ok(Index::default()),
            Err(error) => Err(error),
        }
    }

    /// Puts a blob there, unless it is there.
    pub(crate) fn put_blob(&self, name: &OciName, bytes: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(bytes);
        let what = format!("{digest} for `{name}`");
        let ask = |method, url, headers, body| Ask {
            name,
            access: Access::Push,
            method,
            url,
            headers,
            body,
            what: what.clone(),
        };
        let at = self.url(name, &format!("blobs/{digest}"))?;
        match self.send(&ask(Method::HEAD, at, vec![], None)) {
            Ok(_) => return Ok(()),
            Err(RegistryError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        let begin = self.url(name, "blobs/uploads/")?;
        let begun = self.send(&ask(Method::POST, begin.clone(), vec![], Some(b"")))?;
        let wrong = |why: &str| self.wrong(name, &what, why);
        let location = begun.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let mut place =
            location.and_then(|text| begin.join(text).ok()).ok_or_else(|| wrong("it does not say where to put it"))?;
        // Otherwise a registry could have the login sent anywhere.
        if place.origin() != begin.origin() {
            return Err(wrong("it says to put it into another place"));
        }
        place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let headers = vec![(header::CONTENT_TYPE, "application/octet-stream".to_owned())];
        self.send(&ask(Method::PUT, place, headers, Some(bytes))).map(drop)
    }

    /// Puts a manifest there. Whether the registry keeps the list of what refers to its subject.
    pub(crate) fn put_manifest(
        &self,
        name: &OciName,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<bool, RegistryError> {
        let ask = Ask {
            name,
            access: Access::Push,
            method: Method::PUT,
            url: self.url(name, &format!("manifests/{reference}"))?,
            headers: vec![(header::CONTENT_TYPE, media_type.to_owned())],
            body: Some(bytes),
            what: format!("the manifest {reference} for `{name}`"),
        };
        Ok(self.send(&ask)?.headers().contains_key("oci-subject"))
    }

    /// Adds to the list under the tag that stands in for the registry's own.
    pub(crate) fn refer(&self, name: &OciName, subject: Digest, referrer: Descriptor) -> Result<(), RegistryError> {
        let tag = stand_in(subject);
        let what = format!("what refers to {subject} of `{name}`");
        let url = self.url(name, &format!("manifests/{tag}"))?;
        let mut index: Index = match self.send(&self.get(name, url, &[INDEX], what.clone())) {
            Ok(answer) => self.json(name, answer, &what)?,
            Err(RegistryError::Missing { .. }) => Index::default(),
            Err(error) => return Err(error),
        };
        if index.manifests.iter().any(|known| known.digest == referrer.digest) {
            return Ok(());
        }
        index.manifests.push(referrer);
        let bytes = serde_json::to_vec(&index).map_err(|error| self.wrong(name, &what, &error.to_string()))?;
        self.put_manifest(name, &tag, INDEX, &bytes).map(drop)
    }

    fn get<'a>(&self, name: &'a OciName, url: Url, accept: &[&str], what: String) -> Ask<'a> {
        let headers = accept.iter().map(|media_type| (header::ACCEPT, (*media_type).to_owned())).collect();
        Ask { name, access: Access::Pull, method: Method::GET, url, headers, body: None, what }
    }

    fn url(&self, name: &OciName, rest: &str) -> Result<Url, RegistryError> {
        let registry = name.registry();
        let scheme = if self.registries.is_plain(registry) { "http" } else { "https" };
        // Docker Hub answers under another name than the one in its images' names.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let url = format!("{scheme}://{host}/v2/{}/{rest}", name.path());
        Url::parse(&url)
            .map_err(|error| RegistryError::Unreachable { registry: registry.to_owned(), why: error.to_string() })
    }

    fn wrong(&self, name: &OciName, what: &str, why: &str) -> RegistryError {
        RegistryError::Answer { registry: name.registry().to_owned(), what: what.to_owned(), why: why.to_owned() }
    }

    fn right(&self, name: &OciName, wanted: Option<Digest>, bytes: &[u8]) -> Result<(), RegistryError> {
        let found = Digest::of(bytes);
        match wanted {
            Some(wanted) if wanted != found => {
                Err(RegistryError::Digest { registry: name.registry().to_owned(), wanted, found })
            }
            _ => Ok(()),
        }
    }

    fn bytes(&self, name: &OciName, answer: Response<Body>, limit: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let read = answer.into_body().into_with_config().limit(limit).read_to_vec();
        read.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => self.wrong(name, what, &format!("it has more than {limit} bytes")),
            error => self.unreachable(name, &error),
        })
    }

    fn json<T: DeserializeOwned>(
        &self,
        name: &OciName,
        answer: Response<Body>,
        what: &str,
    ) -> Result<T, RegistryError> {
        let bytes = self.bytes(name, answer, MAX_DOCUMENT, what)?;
        self.parsed(name, &bytes, what)
    }

    fn parsed<T: DeserializeOwned>(&self, name: &OciName, bytes: &[u8], what: &str) -> Result<T, RegistryError> {
        serde_json::from_slice(bytes).map_err(|error| self.wrong(name, what, &error.to_string()))
    }

    fn unreachable(&self, name: &OciName, error: &ureq::Error) -> RegistryError {
        RegistryError::Unreachable { registry: name.registry().to_owned(), why: error.to_string() }
    }

    /// Sends a request, with a login where the registry wants one. What only reads is tried several times.
    fn send(&self, ask: &Ask<'_>) -> Result<Response<Body>, RegistryError> {
        let tries = if matches!(ask.method, Method::GET | Method::HEAD) { TRIES } else { 1 };
        let mut pause = PAUSE;
        for _ in 1..tries {
            match self.authorized(ask) {
                Err(RegistryError::Unreachable { .. }) => sleep(pause),
                ended => return ended,
            }
            pause *= 2;
        }
        self.authorized(ask)
    }

    fn authorized(&self, ask: &Ask<'_>) -> Result<Response<Body>, RegistryError> {
        let key = (ask.name.clone(), ask.access);
        let known = lock(&self.tokens).get(&key).cloned();
        let answer = self.once(ask, known.as_deref())?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return self.ended(ask, answer);
        }
        let wanted = answer.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let wanted = wanted.and_then(challenge);
        let login = self.login(ask.name.registry())?;
        let authorization = match (wanted, &login) {
            (Some(Challenge::Basic), Some(login)) => login.basic(),
            (Some(Challenge::Bearer { realm, service, scope }), login) => {
                Some(format!("Bearer {}", self.token(ask, &realm, service, scope, login.as_ref())?))
            }
            _ => None,
        };
        let Some(authorization) = authorization else { return self.ended(ask, answer) };
        let answer = self.once(ask, Some(&authorization))?;
        if answer.status().is_success() {
            lock(&self.tokens).insert(key, authorization);
        }
        self.ended(ask, answer)
    }

    fn once(&self, ask: &Ask<'_>, authorization: Option<&str>) -> Result<Response<Body>, RegistryError> {
        let mut request = Request::builder().method(ask.method.clone()).uri(ask.url.as_str());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let agent = self.agent(ask.name.registry())?;
        let built = |error: ureq::http::Error| self.wrong(ask.name, &ask.what, &error.to_string());
        let answer = match ask.body {
            Some(bytes) => agent.run(request.body(bytes).map_err(built)?),
            None => agent.run(request.body(SendBody::none()).map_err(built)?),
        };
        answer.map_err(|error| self.unreachable(ask.name, &error))
    }

    /// An answer that says yes, or the error that it is.
    fn ended(&self, ask: &Ask<'_>, answer: Response<Body>) -> Result<Response<Body>, RegistryError> {
        let registry = || ask.name.registry().to_owned();
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(RegistryError::Missing { what: ask.what.clone() }),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(RegistryError::Denied {
                registry: registry(),
                status: status.as_u16(),
                logged_in: self.login(ask.name.registry())?.is_some(),
            }),
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Err(RegistryError::Unreachable { registry: registry(), why: format!("it answers {status}") })
            }
            status => {
                let said = answer.into_body().into_with_config().limit(2_000).read_to_string().unwrap_or_default();
                Err(self.wrong(ask.name, &ask.what, &format!("it answers {status} {}", said.trim())))
            }
        }
    }

    /// A token for a repository, from where the registry says (<https://distribution.github.io/distribution/spec/auth/token/>).
    fn token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        login: Option<&Login>,
    ) -> Result<String, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let what = "a token for it";
        let wrong = |why: &str| self.wrong(ask.name, what, why);
        let mut url = Url::parse(realm).map_err(|error| wrong(&error.to_string()))?;
        let plain = self.registries.is_plain(ask.name.registry());
        if url.scheme() != "https" && !(plain && url.scheme() == "http") {
            return Err(wrong(&format!("it sends to `{realm}`, where a login would be seen by others")));
        }
        let actions = if ask.access == Access::Push { "pull,push" } else { "pull" };
        let scope = scope.unwrap_or_else(|| format!("repository:{}:{actions}", ask.name.path()));
        let agent = self.agent(ask.name.registry())?;
        let answer = match login {
            Some(Login::Identity(token)) => {
                let service = service.unwrap_or_default();
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "lockgate"),
                    ("service", &service),
                    ("scope", &scope),
                    ("refresh_token", token),
                ];
                agent.post(url.as_str()).send_form(form)
            }
            login => {
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = &service {
                        query.append_pair("service", service);
                    }
                    query.append_pair("scope", &scope);
                }
                let mut request = agent.get(url.as_str());
                if let Some(basic) = login.and_then(Login::basic) {
                    request = request.header(header::AUTHORIZATION, basic);
                }
                request.call()
            }
        };
        let answer = answer.map_err(|error| self.unreachable(ask.name, &error))?;
        if !answer.status().is_success() {
            return Err(RegistryError::Denied {
                registry: ask.name.registry().to_owned(),
                status: answer.status().as_u16(),
                logged_in: login.is_some(),
            });
        }
        let token: Token = self.json(ask.name, answer, what)?;
        token.token.or(token.access_token).ok_or_else(|| wrong("there is none in it"))
    }

    fn login(&self, registry: &str) -> Result<Option<Login>, RegistryError> {
        if let Some(known) = lock(&self.logins).get(registry) {
            return Ok(known.clone());
        }
        let found = login::find(registry);
        let found = found.map_err(|why| RegistryError::Login { registry: registry.to_owned(), why })?;
        lock(&self.logins).insert(registry.to_owned(), found.clone());
        Ok(found)
    }

    /// The connections to a registry.
    fn agent(&self, registry: &str) -> Result<Agent, RegistryError> {
        let mut agents = lock(&self.agents);
        if let Some(agent) = agents.get(registry) {
            return Ok(agent.clone());
        }
        let agent = connect(&self.registries, registry)?;
        agents.insert(registry.to_owned(), agent.clone());
        Ok(agent)
    }
}

fn connect(registries: &Registries, registry: &str) -> Result<Agent, RegistryError> {
    let plain = registries.is_plain(registry);
    let mut config = Agent::config_builder()
        .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        // Blobs lie elsewhere often. The login does not go there.
        .max_redirects(5)
        .https_only(!plain)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_global(Some(Duration::from_secs(600)));
    if plain {
        // What speaks no TLS is near.
        config = config.proxy(None);
    } else {
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        let found = rustls_native_certs::load_native_certs().certs;
        roots.extend(found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()));
        if let Some(path) = registries.certificates(registry) {
            let doing = || format!("read the certificates of `{registry}` from `{}`", path.display());
            let pem = std::fs::read(path).map_err(|error| RegistryError::Disk { doing: doing(), error })?;
            for item in parse_pem(&pem) {
                if let Ok(PemItem::Certificate(certificate)) = item {
                    roots.push(certificate);
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        config = config.tls_config(tls);
    }
    Ok(config.build().into())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each holds a map that is changed by single insertions.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tag under which a list of referrers lies where the registry keeps none.
fn stand_in(digest: Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// `Link: </v2/...>; rel="next"`, if it stays in the registry.
fn next_page(headers: &HeaderMap, url: &Url) -> Option<Url> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = url.join(target).ok()?;
    (rest.contains("next") && next.origin() == url.origin()).then_some(next)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers each connection once; what was asked comes back: first lines and `authorization`.
    fn serve(answers: Vec<(u16, String, String)>, listener: TcpListener) -> std::thread::JoinHandle<Vec<String>> {
        std::thread::spawn(move || {
            let one = |(status, headers, body): (u16, String, String)| {
                let mut stream = listener.accept().unwrap().0;
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let mut lines = lines.take_while(|line| !line.is_empty());
                let mut asked = lines.next().unwrap();
                for line in lines.filter(|line| line.to_lowercase().starts_with("authorization: ")) {
                    asked += &line["authorization".len()..];
                }
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
                )
                .unwrap();
                asked
            };
            answers.into_iter().map(one).collect()
        })
    }

    #[test]
    fn a_token_is_fetched_once_where_the_registry_says() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let tags = || (200, String::new(), "{\"tags\":[\"1.0.0\"]}".to_owned());
        let wants = format!("www-authenticate: Bearer realm=\"http://{at}/token?x=1\",service=\"here\"\r\n");
        let server = serve(
            vec![(401, wants, String::new()), (200, String::new(), "{\"token\":\"T\"}".to_owned()), tags(), tags()],
            listener,
        );
        let name: OciName = format!("{at}/acme/scan").parse().unwrap();
        let client = Client::new(Registries::default());
        lock(&client.logins).insert(at.to_string(), Some(Login::Basic("me".into(), "hush".into())));
        for _ in 0..2 {
            assert_eq!(client.tags(&name).unwrap(), ["1.0.0"]);
        }
        let list = "GET /v2/acme/scan/tags/list?n=1000 HTTP/1.1";
        assert_eq!(
            server.join().unwrap(),
            [
                list.to_owned(),
                "GET /token?x=1&service=here&scope=repository%3Aacme%2Fscan%3Apull HTTP/1.1: Basic bWU6aHVzaA=="
                    .to_owned(),
                format!("{list}: Bearer T"),
                format!("{list}: Bearer T"),
            ]
        );
    }

    #[test]
    fn a_login_goes_nowhere_that_others_see() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let wants = "www-authenticate: Bearer realm=\"ftp://elsewhere.example/token\"\r\n".to_owned();
        let server = serve(vec![(401, wants, String::new())], listener);
        let name: OciName = format!("{at}/acme/scan").parse().unwrap();
        let client = Client::new(Registries::default());
        lock(&client.logins).insert(at.to_string(), Some(Login::Basic("me".into(), "hush".into())));
        let error = client.tags(&name).unwrap_err();
        assert!(error.to_string().contains("would be seen by others"), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn the_next_page_is_of_the_same_registry() {
        let url = Url::parse("https://r.example/v2/a/tags/list?n=1").unwrap();
        let next = |link: &str| {
            let headers = [(header::LINK, link.parse().unwrap())].into_iter().collect();
            next_page(&headers, &url).map(String::from)
        };
        assert_eq!(
            next("</v2/a/tags/list?n=1&last=b>; rel=\"next\"").as_deref(),
            Some("https://r.example/v2/a/tags/list?n=1&last=b")
        );
        assert_eq!(next("<https://evil.example/v2/a/tags/list>; rel=\"next\""), None);
        assert_eq!(next("</v2/a/tags/list>; rel=\"prev\""), None);
        assert_eq!(next("nonsense"), None);
    }
}
