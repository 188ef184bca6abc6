//! The bytes of a connection between the socket and hyper. hyper refuses what it cannot read with an
//! empty answer of its own: that is held back, and an answer in the form of the API takes its place.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use icecore_host::clock::random_id;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::time::timeout;

use crate::http::admission::Guest;
use crate::http::answer::REQUEST_ID;
use crate::wire::error::ErrorBody;
use crate::words::error::ApiError;

/// How long a client may take to read a refusal and to close its side.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// The most bytes that a client may still send meanwhile.
const LINGER_BYTES: usize = 4 << 20;
/// The most bytes of an answer of hyper's own: a status, a date, no body.
const AUTOMATIC_MAX: usize = 200;

/// How far the request on a connection has come.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// Bytes of a request have arrived that the router has not got yet.
    heard: AtomicBool,
    /// The router has a request, and nothing of the answer was sent.
    asked: AtomicBool,
}

impl Stage {
    /// Notes that the router gets a request.
    pub(super) fn ask(&self) {
        self.heard.store(false, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Returns whether a request has begun, or a part of one has arrived.
    pub(super) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Returns whether the client waits for an answer of which it has nothing yet.
    pub(super) fn is_unanswered(&self) -> bool {
        self.is_heard() || self.asked.load(Ordering::Relaxed)
    }
}

/// A connection's bytes.
pub(super) struct Wire<S> {
    stream: S,
    stage: Arc<Stage>,
    /// Hears that the client has sent nothing, the first time.
    guest: Option<Arc<Guest>>,
    /// The status of the answer that was held back.
    refused: Option<u16>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, stage: Arc::default(), guest: None, refused: None }
    }

    pub(super) fn of_guest(stream: S, guest: &Arc<Guest>) -> Self {
        Self { guest: Some(Arc::clone(guest)), ..Self::new(stream) }
    }

    pub(super) fn stage(&self) -> Arc<Stage> {
        Arc::clone(&self.stage)
    }

    /// Returns the status with which hyper would have refused a request.
    pub(super) fn refused(&self) -> Option<u16> {
        self.refused
    }

    /// Answers what no handler could get, and returns the id of that.
    pub(super) async fn answer(&mut self, error: &ApiError, patience: Duration) -> String {
        let id = random_id().to_string();
        let bytes = refusal(error, &id);
        // A client that is gone gets nothing.
        let written = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        let _ = timeout(patience, written).await;
        id
    }

    /// Closes the connection. A socket that is closed with unread bytes in it may take the answer
    /// away from the client, so they are read first.
    pub(super) async fn close(mut self) {
        let closed = async {
            self.stream.shutdown().await?;
            let (mut buffer, mut left) = ([0; 4096], LINGER_BYTES);
            while left > 0 {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            io::Result::Ok(())
        };
        // Either way the connection ends.
        let _ = timeout(LINGER, closed).await;
    }
}

/// Returns the bytes of an answer without a request.
pub(super) fn refusal(error: &ApiError, id: &str) -> Vec<u8> {
    let body = ErrorBody { id: error.id, message: error.message.clone(), request_id: id.to_owned() };
    let body = serde_json::to_string(&body).unwrap_or_default();
    let reason = axum::http::StatusCode::from_u16(error.status).ok().and_then(|it| it.canonical_reason());
    let retry = error.retry_after.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json; charset=utf-8\r\n{REQUEST_ID}: {id}\r\n{retry}",
        error.status,
        reason.unwrap_or("Refused"),
    );
    format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Finds an answer of hyper's own at the end of what it writes: where it begins, and its status. Our
/// answers have an id.
fn automatic(written: &[u8]) -> Option<(usize, u16)> {
    let from = written.len().saturating_sub(AUTOMATIC_MAX);
    let tail = &written[from..];
    let at = tail.windows(7).rposition(|window| window == b"HTTP/1.")?;
    let head = std::str::from_utf8(&tail[at..]).ok()?.strip_suffix("\r\n\r\n")?;
    let status = head.get(9..12)?.parse().ok().filter(|status| (400..500).contains(status))?;
    let whole = !head.contains("\r\n\r\n") && head.contains("content-length: 0");
    (whole && !head.contains(REQUEST_ID.as_str())).then_some((from + at, status))
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.stage.heard.store(true, Ordering::Relaxed);
        }
        if read.is_pending()
            && let Some(guest) = self.guest.take()
        {
            guest.wait();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let passed = match automatic(buf) {
            Some((0, status)) => {
                self.refused = Some(status);
                return Poll::Ready(Ok(buf.len()));
            }
            Some((before, _)) => &buf[..before],
            None => buf,
        };
        self.stage.asked.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, passed)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // One buffer at a time, as `is_write_vectored` says.
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Leaves the socket open, for an answer that may follow; [`Wire::close`] shuts it down.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_hypers_own_is_recognized_behind_others() {
        let own = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
             date: Mon, 30 Nov 2026 17:43:39 GMT\r\n\r\n";
        assert_eq!(automatic(own.as_bytes()), Some((0, 431)));
        let behind = format!("{{\"end\":\"of another\"}}{own}");
        assert_eq!(automatic(behind.as_bytes()), Some((behind.len() - own.len(), 431)));
        let error = ApiError::bad_request("no");
        for other in [
            String::from_utf8(refusal(&error, "1")).unwrap(),
            own.replace("date", "x-request-id"),
            own.replace("431", "200"),
            own.replace("length: 0", "length: 9"),
            format!("{own}{{}}"),
            String::new(),
        ] {
            assert_eq!(automatic(other.as_bytes()), None, "{other}");
        }
    }
}
