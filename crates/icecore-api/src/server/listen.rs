//! Connections: their number, their timeouts, their end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use hyper::Request;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::body::SizeHint;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use icecore_host::config::RequestConfig;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::http::admission::Admission;
use crate::http::admission::Busy;
use crate::http::admission::Guest;
use crate::http::connection::Encrypted;
use crate::http::connection::Peer;
use crate::ops::metrics::Meters;
use crate::server::tls::Tls;
use crate::server::wire::LINGER;
use crate::server::wire::Wire;
use crate::words::error::ApiError;

/// The pause after a connection could not be accepted, for instance because too many files are
/// open.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the log tells that there is no room.
const NEWS: Duration = Duration::from_secs(10);
/// The milliseconds that a client may go without reading its answer.
const STALLED_MS: u32 = 60_000;
/// The most headers of a request.
const HEADERS_MAX: usize = 100;
/// The most connections that are told at once that there is no room for them.
const TOLD_MAX: usize = 64;
/// What the first byte of a TLS connection is.
const HANDSHAKE: u8 = 22;

/// The state that all connections share.
pub(super) struct Listening {
    pub(super) router: Router,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) limits: RequestConfig,
    pub(super) meters: Arc<Meters>,
}

/// Becomes true when the server stops.
type Ending = watch::Receiver<bool>;

/// How a connection ended.
enum End {
    /// As it should, or by its client.
    Done,
    /// With an error that the client should hear of.
    Refused(ApiError),
    /// It has lost its place.
    Cut { unanswered: bool },
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
        let admission = Arc::new(Admission::new(self.limits.connections, self.limits.connections_per_peer));
        let telling = Arc::new(Semaphore::new(TOLD_MAX));
        let ending = watch::Sender::new(false);
        let shared = Arc::new(self);
        let mut news = None;
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
                    admission.make_room();
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let admitted = admission.admit(peer.ip());
            let closed = admitted.as_ref().map_or(1, |(_, closed)| *closed);
            if closed > 0 {
                shared.meters.closed_for_room(closed);
                if news.is_none_or(|since: Instant| since.elapsed() > NEWS) {
                    tracing::warn!(%peer, limit = shared.limits.connections, "too many connections");
                    news = Some(Instant::now());
                }
            }
            let Some((guest, _)) = admitted else {
                if let Ok(permit) = Arc::clone(&telling).try_acquire_owned() {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        shared.turn_away(stream, peer).await;
                        drop(permit);
                    });
                }
                continue;
            };
            let (shared, ending) = (Arc::clone(&shared), ending.subscribe());
            tokio::spawn(async move {
                shared.meters.connected();
                shared.serve(stream, peer, Arc::new(guest), ending).await;
                shared.meters.disconnected();
            });
        }
        drop(listener);
        ending.send_replace(true);
        // Each connection has a receiver until it ends.
        if timeout(patience, ending.closed()).await.is_err() {
            tracing::warn!("the stop timeout has cut off unfinished requests");
        }
    }

    /// Rejects a client. Over TLS, it would take a handshake to tell it why.
    async fn turn_away(&self, stream: TcpStream, peer: SocketAddr) {
        if self.tls.is_none() {
            self.refuse(Wire::new(stream), peer, &busy()).await;
        }
    }

    /// Answers and closes a connection without a handler.
    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut wire: Wire<S>,
        peer: SocketAddr,
        error: &ApiError,
    ) {
        let id = wire.answer(error, LINGER).await;
        self.meters.refused(error.status);
        tracing::info!(id, status = error.status, peer = %peer.ip(), why = %error, "request refused");
        wire.close().await;
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, guest: Arc<Guest>, mut ending: Ending) {
        // Both options only improve things where they work.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STALLED_MS);
        let Some(tls) = &self.tls else { return self.talk(stream, peer, false, guest, ending).await };
        guest.wait();
        let patience = Duration::from_secs(self.limits.head_seconds);
        let handshake = async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(1..) if first[0] == HANDSHAKE => {}
                Ok(1..) => {
                    self.refuse(Wire::new(stream), peer, &unencrypted()).await;
                    return None;
                }
                Ok(0) | Err(_) => return None,
            }
            match tls.acceptor().accept(stream).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    None
                }
            }
        };
        let done = tokio::select! {
            done = timeout(patience, handshake) => done,
            () = guest.lost_place() => return,
            () = has_come(&mut ending) => return,
        };
        match done {
            Ok(Some(stream)) => self.talk(stream, peer, true, guest, ending).await,
            Ok(None) => {}
            Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        peer: SocketAddr,
        encrypted: bool,
        guest: Arc<Guest>,
        ending: Ending,
    ) {
        let mut wire = Wire::of_guest(stream, &guest);
        match self.answer_all(&mut wire, peer, encrypted, &guest, ending).await {
            End::Done => wire.close().await,
            End::Refused(error) => self.refuse(wire, peer, &error).await,
            // Others wait for its place, so nothing here waits for the client.
            End::Cut { unanswered: true } => drop(wire.answer(&busy(), Duration::ZERO).await),
            End::Cut { unanswered: false } => {}
        }
    }

    /// Answers the requests of a connection until it ends.
    async fn answer_all<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        wire: &mut Wire<S>,
        peer: SocketAddr,
        encrypted: bool,
        guest: &Arc<Guest>,
        mut ending: Ending,
    ) -> End {
        let router = TowerToHyperService::new(self.router.clone());
        let stage = wire.stage();
        let service = service_fn(|mut request: Request<Incoming>| {
            stage.ask();
            let busy = guest.begin();
            let extensions = request.extensions_mut();
            extensions.insert(Peer(peer));
            extensions.insert(Arc::clone(guest));
            if encrypted {
                extensions.insert(Encrypted);
            }
            let answer = router.call(request);
            async { answer.await.map(|answer| answer.map(|body| Sending { body, _busy: busy })) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .half_close(true)
            .header_read_timeout(Duration::from_secs(self.limits.head_seconds))
            .max_buf_size(self.limits.head_bytes)
            .max_header_size(self.limits.head_bytes)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(&mut *wire), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = guest.lost_place() => return End::Cut { unanswered: stage.is_unanswered() },
            () = has_come(&mut ending) => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        let Err(error) = ended else { return End::Done };
        tracing::debug!(%peer, %error, "a connection ended early");
        match self.refusal(wire, &error) {
            Some(refusal) => End::Refused(refusal),
            None => End::Done,
        }
    }

    /// Returns what a client should hear about an error of its connection.
    fn refusal<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &Wire<S>,
        error: &hyper::Error,
    ) -> Option<ApiError> {
        let heard = wire.stage().is_heard();
        let of = |status, id, message: String| Some(ApiError { status, id, message, retry_after: None });
        match wire.refused() {
            Some(431) => of(
                431,
                "request_header_fields_too_large",
                format!(
                    "the head of a request can have {} bytes and {HEADERS_MAX} headers at most",
                    self.limits.head_bytes
                ),
            ),
            Some(414) => of(414, "uri_too_long", "the URI of the request is too long".to_owned()),
            Some(_) => Some(ApiError::bad_request(format!("the request cannot be read: {error}"))),
            None if error.is_parse_version_h2() => {
                Some(ApiError::bad_request("this server speaks HTTP/1.1, not HTTP/2"))
            }
            None if error.is_timeout() && heard => of(
                408,
                "request_timeout",
                format!("the head of the request did not arrive within {} s", self.limits.head_seconds),
            ),
            None if error.is_incomplete_message() && heard => {
                Some(ApiError::bad_request("the request ends before its head does"))
            }
            None => None,
        }
    }
}

/// Waits for the end of the server.
async fn has_come(ending: &mut Ending) {
    // The sender lives for as long as connections do.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// The error for one connection too many. Clients try again.
fn busy() -> ApiError {
    ApiError {
        status: 503,
        id: "service_unavailable",
        message: "the server has too many connections: try again".to_owned(),
        retry_after: Some(1),
    }
}

fn unencrypted() -> ApiError {
    ApiError::bad_request("this port expects TLS, and got a request without it: use https://")
}

/// The body of an answer. Its request lasts until the body is sent.
struct Sending {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
