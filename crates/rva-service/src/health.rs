//! The state of a service, over HTTP: `/live` (the process answers), `/ready` (it does its work, or the reasons why
//! not) and `/metrics` (its counts).

use crate::{
    Role,
    connections::Connections,
    local::may_ask,
    metrics::{disk, of_process},
    scrub,
};
use async_recursion::async_recursion as boxed;
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
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinHandle,
};

/// The number of connections from which those who ask for `/metrics` within a second of another get the same text:
/// memory that slow readers hold stays bounded.
const BUSY: usize = 8;

/// The time for which a text of `/metrics` is given to others while many ask.
const METRICS_AGE_MAX: Duration = Duration::from_secs(1);

/// The longest life of a connection, however busy it is.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

/// The longest wait for the head of a request.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// The wait after a failed accept (no file descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The content type of `/metrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Texts by the part that they concern.
type Texts = BTreeMap<Cow<'static, str>, String>;

/// The reasons that keep a service from being ready, the troubles that it has while it is ready, each by the part that
/// it concerns, and its counts. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
    metrics: Arc<Mutex<Registry>>,
    latest: Arc<Mutex<Option<(Instant, Bytes)>>>,
    disk: Arc<OnceLock<PathBuf>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    reasons: Texts,
    degraded: Texts,
}

impl Health {
    /// Starts ready, without any trouble, with the metrics of the process.
    pub fn new() -> Self {
        let health = Self::default();
        health.show(of_process());
        health
    }

    /// Says that a part isn't ready, and why. Anybody can read the text, so secrets are taken out of it.
    pub fn not_ready(&self, part: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        self.state().reasons.insert(part.into(), shown(reason.into()));
    }

    /// Says that a part has a trouble that doesn't keep the service from its work: one camera of several, a broker that
    /// the spool stands in for. Secrets are taken out of the text.
    pub fn degraded(&self, part: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        self.state().degraded.insert(part.into(), shown(reason.into()));
    }

    /// Says that a part has no trouble any more.
    pub fn ready(&self, part: &str) {
        let mut state = self.state();
        state.reasons.remove(part);
        state.degraded.remove(part);
    }

    /// Shows counts at `/metrics`: a crate's [`Totals`](crate::Totals).
    pub fn show(&self, counted: impl Collector) {
        self.metrics().register_collector(Box::new(counted));
    }

    /// Shows at `/metrics` how much room the disk of a folder has: of the first folder that is named, since a process
    /// has one data folder, whatever roles it plays in it.
    pub fn show_disk(&self, folder: &Path) {
        if self.disk.set(folder.to_owned()).is_ok() {
            self.show(disk(folder.to_owned()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self) -> MutexGuard<'_, Registry> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics_text(&self, is_busy: bool) -> Result<Bytes, std::fmt::Error> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, text)) = latest.as_ref().filter(|(made, _)| is_busy && made.elapsed() < METRICS_AGE_MAX) {
            tracing::trace!(age = ?made.elapsed(), "give the text of /metrics once more");
            return Ok(text.clone());
        }
        let mut text = String::new();
        text::encode(&mut text, &self.metrics())?;
        let text = Bytes::from(text);
        *latest = Some((Instant::now(), text.clone()));
        Ok(text)
    }

    /// Answers at `address`, where one is given, until the returned server is dropped.
    ///
    /// # Errors
    /// Returns an error that names the key where the address can't be listened on.
    #[boxed]
    pub async fn listen(&self, address: Option<SocketAddr>) -> io::Result<Option<HealthServer>> {
        let Some(address) = address else { return Ok(None) };
        let server = HealthServer::start(address, self.clone()).await;
        let server = server
            .map_err(|error| io::Error::new(error.kind(), format!("listen on {address} (health.address): {error}")))?;
        tracing::info!("/live, /ready and /metrics on http://{}", server.address());
        Ok(Some(server))
    }

    /// Answers `rva status` of the same user about a data folder, until the returned server is dropped. `None` where
    /// another process plays the role there, or the system has no such sockets: the service does its work without.
    pub fn listen_locally(&self, role: Role, folder: &Path) -> Option<LocalServer> {
        match role.socket(folder).and_then(UnixListener::bind) {
            Ok(listener) => Some(LocalServer { task: tokio::spawn(serve(listener, self.clone())) }),
            Err(error) => {
                tracing::debug!(role = role.name(), %error, "rva status can't ask this process");
                None
            }
        }
    }

    fn answer(&self, request: &Request<Incoming>, connections: usize) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let text = format!("found {}, wanted GET or HEAD\n", request.method());
            return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", text);
        }
        match request.uri().path() {
            "/live" => respond(StatusCode::OK, "text/plain", "live\n"),
            "/ready" => {
                let State { reasons, degraded } = self.state().clone();
                let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = json!({"ready": reasons.is_empty(), "reasons": reasons, "degraded": degraded});
                respond(status, "application/json", format!("{body}\n"))
            }
            "/metrics" => match self.metrics_text(connections >= BUSY) {
                Ok(body) => respond(StatusCode::OK, OPENMETRICS, body),
                Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
            },
            path => {
                let path: String = path.chars().take(80).collect();
                let text = format!("found {path}, wanted /live, /ready or /metrics\n");
                respond(StatusCode::NOT_FOUND, "text/plain", text)
            }
        }
    }
}

/// Returns a reason as anybody may read it.
fn shown(reason: String) -> String {
    scrub(&reason)
}

fn respond(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    headers.insert(hyper::header::CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

/// A server that answers until it is dropped.
#[derive(Debug)]
pub struct HealthServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl HealthServer {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// Returns an error where the address can't be listened on.
    #[boxed]
    pub async fn start(address: SocketAddr, health: Health) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(serve(listener, health)) })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server on a socket of this machine that answers until it is dropped.
#[derive(Debug)]
pub struct LocalServer {
    task: JoinHandle<()>,
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket that others connect to.
trait Accept: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Returns the next connection and who has it; `None` for one that isn't served.
    fn next(&self) -> impl Future<Output = io::Result<Option<(Self::Stream, IpAddr)>>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<Option<(TcpStream, IpAddr)>> {
        let (stream, peer) = self.accept().await?;
        Ok(Some((stream, peer.ip())))
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<Option<(UnixStream, IpAddr)>> {
        let (stream, _) = self.accept().await?;
        let may_ask = may_ask(stream.peer_cred()?.uid());
        Ok(may_ask.then_some((stream, IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }
}

async fn serve(listener: impl Accept, health: Health) {
    let open = Connections::default();
    loop {
        let (stream, peer) = match listener.next().await {
            Ok(Some(accepted)) => accepted,
            Ok(None) => continue,
            Err(_) => {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (health, others) = (health.clone(), open.clone());
        open.run(peer, async move {
            let answer = service_fn(|request| {
                let response = health.answer(&request, others.count());
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(16 << 10);
            // A client that breaks off is its own trouble.
            let _ = tokio::time::timeout(CONNECTION_MAX, http.serve_connection(TokioIo::new(stream), answer)).await;
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
    async fn a_folder_is_answered_for_by_one_process_a_role_and_by_nobody_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (Health::new(), Health::new());
        first.not_ready("log", "away");
        let server = first.listen_locally(Role::Run, folder.path()).unwrap();
        assert!(second.listen_locally(Role::Run, folder.path()).is_none());
        let socket = Role::Run.socket(folder.path()).unwrap();
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("away"), "{text}");
        drop(server);
        for _ in 0..100 {
            if UnixStream::connect(&socket).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("found an answer after the end");
    }

    #[tokio::test]
    async fn other_requests_are_refused_with_what_is_there() {
        let server = server(&Health::new()).await;
        let text = ask(server.address(), "GET /health").await;
        assert!(text.starts_with("HTTP/1.1 404 ") && text.contains("wanted /live, /ready or /metrics"), "{text}");
        assert!(ask(server.address(), "POST /live").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(server.address(), "HEAD /live").await.starts_with("HTTP/1.1 200 "));
    }

    /// Connects clients that hold their connections, each kind in turn: silent, with half a head, with a request whose
    /// answer they never read, and ones that keep the connection for another request.
    async fn slow_clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
        let said = ["", "GET /ready HTTP/1.1\r\nhost: x\r\nx-slow: ", "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "G"];
        let mut clients = Vec::new();
        for index in 0..count {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said[index % said.len()].as_bytes()).await.unwrap();
            clients.push(client);
        }
        clients
    }

    #[tokio::test]
    async fn slow_clients_keep_no_probe_waiting_for_a_second() {
        for count in [64, 500] {
            let server = server(&Health::new()).await;
            let clients = slow_clients(server.address(), count).await;
            for path in ["/live", "/ready", "/metrics"] {
                let asked = Instant::now();
                let answer = ask(server.address(), &format!("GET {path}")).await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{count} clients, {path}: {answer}");
                assert!(asked.elapsed() < Duration::from_secs(1), "{count} clients, {path}: {:?}", asked.elapsed());
            }
            drop(clients);
        }
    }

    #[tokio::test]
    async fn what_is_asked_for_while_many_ask_is_made_once() {
        let health = Health::new();
        let text = |is_busy| health.metrics_text(is_busy).unwrap();
        let first = text(true);
        assert_eq!(text(true).as_ptr(), first.as_ptr());
        assert_ne!(text(false).as_ptr(), first.as_ptr(), "who is alone gets what is true now");
    }

    #[tokio::test]
    async fn metrics_have_the_process_and_the_disk_once_whoever_asks_for_it() {
        let health = Health::new();
        let folder = std::env::temp_dir();
        health.show_disk(&folder);
        health.clone().show_disk(Path::new("/nowhere"));
        let text = String::from_utf8(health.metrics_text(false).unwrap().to_vec()).unwrap();
        let value = |name: &str| {
            let found: Vec<f64> =
                text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).collect();
            assert_eq!(found.len(), 1, "{name}: {text}");
            found[0]
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") >= 3.0, "{text}");
        assert!(value("process_cpu_seconds_total") >= 0.0 && value("process_max_fds") >= 3.0, "{text}");
        let (free, size) = (value("rva_disk_free_bytes"), value("rva_disk_size_bytes"));
        assert!(free <= size && size > 1e6, "{text}");
        assert!(text.contains(concat!("rva_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")), "{text}");
    }

    #[tokio::test]
    async fn reasons_hold_no_secrets() {
        let health = Health::new();
        let server = server(&health).await;
        health.not_ready("camera", "rtsp://u:hush-hush@cam/1?token=hush: 401");
        health.degraded("log", "connect to http://u:hush@b, Authorization: Bearer hush");
        let text = ask(server.address(), "GET /ready").await;
        assert!(!text.contains("hush") && text.contains("rtsp://cam/1") && text.contains("http://b"), "{text}");
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
