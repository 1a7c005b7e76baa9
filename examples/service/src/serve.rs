//! Serves a [`Behaviour`] over HTTP/1.1 until told to end, then lets open requests finish.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::behaviour::Behaviour;

/// Connections at once: far more than a sampler opens (64), far less than a process may have open (1,024 by default).
const CONNECTIONS: usize = 512;
/// A client that has not sent its head by then is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open requests may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted: the usual reason is too many open files, which only time cures.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `end` is ready, then for at most 5 s what is still open.
pub async fn serve(listener: TcpListener, behaviour: Arc<Behaviour>, end: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut end = std::pin::pin!(end);
    loop {
        // The semaphore is never closed, so that acquiring fails only if that changes; then there is nothing to serve with.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut end => break,
        };
        let behaviour = Arc::clone(&behaviour);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| {
                    let behaviour = Arc::clone(&behaviour);
                    async move { Ok::<_, Infallible>(respond(&behaviour, &request).await) }
                }),
            );
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that went away is not the service's problem.
            let _ = watched.await;
            drop(permit);
        });
    }
    drop(listener);
    // What is not done by then is cut off when the process ends.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

async fn respond(behaviour: &Behaviour, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let answer = behaviour.answer(request.method().as_str(), request.uri().path());
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    let mut response = Response::new(Full::new(Bytes::from(answer.body.to_string())));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if answer.status == 405 {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
