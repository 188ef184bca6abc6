//! Connections: their number, their timeouts, their end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use icecore_host::config::RequestConfig;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::http::connection::Encrypted;
use crate::http::connection::Peer;
use crate::ops::metrics::Meters;
use crate::server::tls::Tls;

/// The pause after a connection could not be accepted, for instance because too many files are
/// open.
const PAUSE: Duration = Duration::from_millis(100);
/// The milliseconds that a client may go without reading its answer.
const STALLED_MS: u32 = 60_000;
/// The most headers of a request.
const HEADERS_MAX: usize = 100;
/// The answer to one connection too many. Clients try again.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The state that all connections share.
pub(super) struct Listening {
    pub(super) router: Router,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) limits: RequestConfig,
    pub(super) meters: Arc<Meters>,
}

impl Listening {
    /// Serves until `stopped`, and then until all requests are answered, but no longer than
    /// `patience`.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        stopped: impl Future<Output = ()>,
        patience: Duration,
    ) {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let graceful = GracefulShutdown::new();
        let shared = Arc::new(self);
        let mut stopped = pin!(stopped);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                shared.turn_away(&stream, peer);
                continue;
            };
            let (shared, watcher) = (Arc::clone(&shared), graceful.watcher());
            tokio::spawn(async move {
                shared.meters.connected();
                shared.serve(stream, peer, watcher).await;
                shared.meters.disconnected();
                drop(slot);
            });
        }
        drop(listener);
        if timeout(patience, graceful.shutdown()).await.is_err() {
            tracing::warn!("the stop timeout has cut off unfinished requests");
        }
    }

    /// Rejects a client without waiting for it: it gets as much as fits in the socket's buffer.
    fn turn_away(&self, stream: &TcpStream, peer: SocketAddr) {
        tracing::warn!(%peer, connections = self.limits.connections, "too many connections");
        if self.tls.is_none() {
            // The connection is closed in any case.
            let _ = stream.try_write(BUSY);
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        // Both options only improve things where they work.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STALLED_MS);
        let Some(tls) = &self.tls else { return self.talk(stream, peer, false, watcher).await };
        let patience = Duration::from_secs(self.limits.head_seconds);
        match timeout(patience, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => self.talk(stream, peer, true, watcher).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        peer: SocketAddr,
        encrypted: bool,
        watcher: Watcher,
    ) {
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            if encrypted {
                request.extensions_mut().insert(Encrypted);
            }
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(self.limits.head_seconds))
            .max_buf_size(self.limits.head_bytes)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}
