//! How a service is, over HTTP: `/live` (the process answers), `/ready` (it does its work, or why it doesn't) and `/metrics` (what
//! it counts).

use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{collector::Collector, encoding::text, registry::Registry};
use serde_json::json;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// Longest life of a connection, whatever it does.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

/// Longest wait for the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// After a failed accept (no file descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What Prometheus is told that the text of `/metrics` is.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Texts by the part that they concern.
type Texts = BTreeMap<Cow<'static, str>, String>;

/// What keeps a service from being ready, what is wrong while it is ready, by the part that it concerns, and what the service
/// counts. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
    metrics: Arc<Mutex<Registry>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    reasons: Texts,
    degraded: Texts,
}

impl Health {
    /// Ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part isn't ready, and why. The text is shown to whoever asks: no secrets in it.
    pub fn not_ready(&self, part: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        self.state().reasons.insert(part.into(), reason.into());
    }

    /// Something is wrong with a part that doesn't keep the service from its work: one camera of several, a broker that
    /// the spool stands in for. Shown as the other.
    pub fn degraded(&self, part: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        self.state().degraded.insert(part.into(), reason.into());
    }

    /// Nothing is wrong with a part.
    pub fn ready(&self, part: &str) {
        let mut state = self.state();
        state.reasons.remove(part);
        state.degraded.remove(part);
    }

    /// Shows what something counts at `/metrics`: a crate's [`Totals`](crate::Totals).
    pub fn show(&self, counted: impl Collector) {
        self.metrics().register_collector(Box::new(counted));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self) -> MutexGuard<'_, Registry> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers at `address`, where one is given, until what this gives is dropped.
    ///
    /// # Errors
    /// The address can't be listened on; names the key.
    pub async fn listen(&self, address: Option<SocketAddr>) -> io::Result<Option<HealthServer>> {
        let Some(address) = address else { return Ok(None) };
        let server = HealthServer::start(address, self.clone()).await;
        let server = server
            .map_err(|error| io::Error::new(error.kind(), format!("listen on {address} (health.address): {error}")))?;
        tracing::info!("/live, /ready and /metrics on http://{}", server.address());
        Ok(Some(server))
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let text = format!("found {}, wanted GET or HEAD\n", request.method());
            return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", text);
        }
        match request.uri().path() {
            "/live" => respond(StatusCode::OK, "text/plain", "live\n".into()),
            "/ready" => {
                let State { reasons, degraded } = self.state().clone();
                let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = json!({"ready": reasons.is_empty(), "reasons": reasons, "degraded": degraded});
                respond(status, "application/json", format!("{body}\n"))
            }
            "/metrics" => {
                let mut body = String::new();
                match text::encode(&mut body, &self.metrics()) {
                    Ok(()) => respond(StatusCode::OK, OPENMETRICS, body),
                    Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
                }
            }
            path => {
                let path: String = path.chars().take(80).collect();
                let text = format!("found {path}, wanted /live, /ready or /metrics\n");
                respond(StatusCode::NOT_FOUND, "text/plain", text)
            }
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(hyper::header::CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct HealthServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl HealthServer {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub async fn start(address: SocketAddr, health: Health) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(serve(listener, health)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, health: Health) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let health = health.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = health.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(16 << 10);
            // A client that breaks off is its own trouble.
            let _ = tokio::time::timeout(CONNECTION_MAX, http.serve_connection(TokioIo::new(stream), answer)).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    async fn ask(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn server(health: &Health) -> HealthServer {
        HealthServer::start("127.0.0.1:0".parse().unwrap(), health.clone()).await.unwrap()
    }

    #[tokio::test]
    async fn ready_says_what_is_not_and_live_does_not_care() {
        let health = Health::new();
        let server = server(&health).await;
        health.not_ready("log", "connect to pulsar://b: refused");
        let text = ask(server.address(), "GET /ready").await;
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("refused"), "{text}");
        assert!(text.contains(r#""ready":false"#) && text.contains(r#""log":"#), "{text}");
        assert!(ask(server.address(), "GET /live").await.starts_with("HTTP/1.1 200 "));
        health.ready("log");
        let text = ask(server.address(), "GET /ready").await;
        assert!(
            text.starts_with("HTTP/1.1 200 ") && text.contains(r#""ready":true"#) && !text.contains("refused"),
            "{text}"
        );
        health.degraded("camera a", "stalled");
        let text = ask(server.address(), "GET /ready").await;
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains(r#""degraded":{"camera a":"stalled"}"#), "{text}");
        health.ready("camera a");
        assert!(!ask(server.address(), "GET /ready").await.contains("stalled"));
    }

    #[tokio::test]
    async fn other_requests_are_refused_with_what_is_there() {
        let server = server(&Health::new()).await;
        let text = ask(server.address(), "GET /health").await;
        assert!(text.starts_with("HTTP/1.1 404 ") && text.contains("wanted /live, /ready or /metrics"), "{text}");
        assert!(ask(server.address(), "POST /live").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(server.address(), "HEAD /live").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn clients_that_say_nothing_do_not_keep_others_out_for_long() {
        let server = server(&Health::new()).await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 4 {
            silent.push(TcpStream::connect(server.address()).await.unwrap());
        }
        let answer = tokio::time::timeout(CONNECTION_MAX * 3, ask(server.address(), "GET /live")).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error_and_a_dropped_server_frees_it() {
        let server = server(&Health::new()).await;
        let address = server.address();
        assert!(HealthServer::start(address, Health::new()).await.is_err());
        drop(server);
        for attempt in 0.. {
            match HealthServer::start(address, Health::new()).await {
                Ok(_) => break,
                Err(error) => assert!(attempt < 50, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
