//! Bodies on their way: counted in the log, and cut where a fault wants it.

use crate::log::Entry;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::body::SizeHint;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::Sender;
use tokio::sync::oneshot::channel;

/// An error of any kind.
pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn data_len(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

/// The body of a request. What nobody has read of it goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Question {
    body: Option<Incoming>,
    entry: Entry,
    back: Option<Sender<Incoming>>,
}

impl Question {
    /// Returns the body, and where it goes back to.
    pub(crate) fn new(body: Incoming, entry: Entry) -> (Self, Receiver<Incoming>) {
        let (back, rest) = channel();
        (Self { body: Some(body), entry, back: Some(back) }, rest)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits for it where the connection has ended.
            let _ = back.send(body);
        }
    }
}

impl Body for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = data_len(frame) as u64;
            self.entry.update(|call| call.bytes_up += bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// Reads what a client still sends. Until it has sent everything it may not look at the answer, and a
/// closed connection would hide that.
pub(crate) async fn read_away(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    body: s3s::Body,
    entry: Entry,
    /// How much of it goes out, where it is cut.
    left: Option<u64>,
    /// Whether the length in the head is another than the body's.
    other_length: bool,
    /// Whether it waited before its end.
    paused: bool,
}

impl Answer {
    pub(crate) fn new(body: s3s::Body, entry: Entry) -> Self {
        Self { body, entry, left: None, other_length: false, paused: false }
    }

    /// Ends it, and the connection, after so many bytes.
    pub(crate) fn cut(mut self, bytes: u64) -> Self {
        (self.left, self.other_length) = (Some(bytes), true);
        self
    }

    /// Leaves the length to the head.
    pub(crate) fn with_other_length(mut self) -> Self {
        self.other_length = true;
        self
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        if self.left == Some(0) && !self.paused {
            // What was handed over goes out while there is nothing to do.
            self.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.left == Some(0) {
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())));
        }
        let mut frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(left), Some(Ok(whole))) = (self.left, &frame)
            && let Some(data) = whole.data_ref()
        {
            let keep = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
            self.left = Some(left - keep as u64);
            frame = Some(Ok(Frame::data(data.slice(..keep))));
        }
        if let Some(Ok(frame)) = &frame {
            let bytes = data_len(frame) as u64;
            self.entry.update(|call| call.bytes_down += bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        !self.other_length && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.other_length { SizeHint::default() } else { self.body.size_hint() }
    }
}
