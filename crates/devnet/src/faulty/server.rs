//! The proxy's HTTP side: connections that can die, and answers that can be anything.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use futures::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::exchange::{Request, answer};
use super::{Fault, FaultId, Stats, socket};

const MAX_REQUEST: usize = 64 << 20;
/// Methods counted by name; a caller that invents more is not followed.
const MAX_METHODS: usize = 256;
const ENDLESS_CHUNK: usize = 64 << 10;

type Faults = Vec<(FaultId, Fault)>;

/// What the handle and the server share.
#[derive(Debug)]
pub(super) struct Shared {
    target: String,
    client: reqwest::Client,
    faults: watch::Sender<Faults>,
    stats: Mutex<Stats>,
}

impl Shared {
    pub(super) fn new(target: String, client: reqwest::Client) -> Self {
        let faults = watch::Sender::new(Vec::new());
        Self { target, client, faults, stats: Mutex::default() }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.faults.send_modify(change);
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock_stats().clone()
    }

    pub(super) fn reset_stats(&self) -> Stats {
        std::mem::take(&mut *self.lock_stats())
    }

    fn lock_stats(&self) -> MutexGuard<'_, Stats> {
        // Counters are right after every single change, so a panic elsewhere spoils nothing.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a body to the chain and gives its answer.
    pub(super) async fn forward(&self, body: Bytes) -> Result<Bytes, String> {
        let request = self
            .client
            .post(&self.target)
            .header(header::CONTENT_TYPE.as_str(), "application/json")
            .body(body);
        let response = request.send().await.map_err(|error| error.without_url().to_string())?;
        response.bytes().await.map_err(|error| error.without_url().to_string())
    }

    /// The chain's own URL, and a client for it.
    pub(super) fn target(&self) -> (&str, &reqwest::Client) {
        (&self.target, &self.client)
    }

    /// Whether connections stay open on which nothing is said.
    pub(super) fn is_mute(&self) -> bool {
        self.faults.borrow().iter().any(|(_, fault)| *fault == Fault::Mute)
    }

    pub(super) fn count_answer(&self, bytes: u64) {
        self.lock_stats().response_bytes += bytes;
    }

    pub(super) fn count_socket(&self) {
        self.lock_stats().sockets += 1;
    }

    fn is_dead(&self) -> bool {
        self.faults.borrow().iter().any(|(_, fault)| *fault == Fault::Dead)
    }

    fn faults(&self) -> Vec<Fault> {
        self.faults.borrow().iter().map(|(_, fault)| fault.clone()).collect()
    }

    /// Waits until nothing says to hang.
    async fn hang(&self) {
        let hangs = |faults: &Faults| faults.iter().any(|(_, fault)| *fault == Fault::Hang);
        let _ = self.faults.subscribe().wait_for(|faults| !hangs(faults)).await;
    }

    fn count_request(&self, bytes: usize) {
        let mut stats = self.lock_stats();
        stats.requests += 1;
        stats.request_bytes += bytes as u64;
    }

    fn count_calls(&self, request: &Request) {
        let mut stats = self.lock_stats();
        for call in &request.calls {
            if let Some(count) = stats.calls.get_mut(&call.method) {
                *count += 1;
            } else if stats.calls.len() < MAX_METHODS {
                stats.calls.insert(call.method.clone(), 1);
            }
        }
    }
}

/// Listens on a free port and serves until the task is aborted.
pub(super) async fn start(shared: Arc<Shared>) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mortal = MortalListener { listener, shared: Arc::clone(&shared) };
    let app = Router::new().fallback(handle).with_state(shared);
    let server = tokio::spawn(async move {
        if let Err(error) = axum::serve(mortal, app).await {
            tracing::error!(%error, "a faulty upstream ended");
        }
    });
    Ok((address, server))
}

async fn handle(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    if request.headers().contains_key(header::UPGRADE) {
        shared.count_request(0);
        return socket::open(shared, request).await;
    }
    let Ok(body) = axum::body::to_bytes(request.into_body(), MAX_REQUEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    shared.count_request(body.len());
    let request = Request::parse(&body);
    if let Some(request) = &request {
        shared.count_calls(request);
    }
    shared.hang().await;
    let faults = shared.faults();
    let wait: Duration = faults
        .iter()
        .map(|fault| if let Fault::Slow(time) = fault { *time } else { Duration::ZERO })
        .sum();
    tokio::time::sleep(wait).await;
    if let Some(response) = faults.iter().find_map(whole_answer) {
        return response;
    }
    let answered = match request {
        Some(request) if !faults.iter().all(Fault::is_of_the_connection) => {
            answer(&shared, &request, &faults).await
        }
        // Nothing looks into the calls, so neither does the proxy.
        _ => shared.forward(body).await,
    };
    match answered {
        Ok(bytes) => {
            shared.lock_stats().response_bytes += bytes.len() as u64;
            ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
        }
        Err(reason) => (StatusCode::BAD_GATEWAY, reason).into_response(),
    }
}

/// An answer that is the same whatever was asked.
fn whole_answer(fault: &Fault) -> Option<Response> {
    match fault {
        Fault::Garbage => Some("<html><body>502 Bad Gateway</body></html>".into_response()),
        Fault::RateLimited { retry_after } => {
            let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
            if let Some(time) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, time.as_secs().into());
            }
            Some(response)
        }
        Fault::Endless => {
            let start = Bytes::from_static(br#"{"jsonrpc":"2.0","id":0,"result":"0x"#);
            let more = Bytes::from(vec![b'0'; ENDLESS_CHUNK]);
            let chunks = stream::unfold(start, move |chunk| {
                let more = more.clone();
                async move { Some((Ok::<_, io::Error>(chunk), more)) }
            });
            Some(Body::from_stream(chunks).into_response())
        }
        _ => None,
    }
}

/// Accepts connections that break when the upstream is dead.
struct MortalListener {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Listener for MortalListener {
    type Io = MortalStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (MortalStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (MortalStream { stream, shared: Arc::clone(&self.shared) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection whose every read and write fails while the upstream is dead.
struct MortalStream {
    stream: TcpStream,
    shared: Arc<Shared>,
}

impl MortalStream {
    fn alive(&self) -> io::Result<()> {
        if self.shared.is_dead() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for MortalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for MortalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
