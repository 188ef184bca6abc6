//! The link: a connection whose bytes come late, and not faster than the rate that all share.

use crate::log::Log;
use crate::options::Link;
use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::Sleep;

/// The largest piece that is let through at once: half a millisecond of a Gbit/s.
const PIECE: usize = 64 << 10;
/// Timers are late by up to two milliseconds: so much unused time may be made up for.
const CREDIT: Duration = Duration::from_millis(5);

/// One direction of the link: the time at which it is free again.
#[derive(Debug)]
struct Pace {
    bits_per_second: u64,
    free: Mutex<Instant>,
}

impl Pace {
    fn new(bits_per_second: u64) -> Self {
        Self { bits_per_second: bits_per_second.max(1), free: Mutex::new(Instant::now()) }
    }

    fn free_at(&self) -> Instant {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the link for so many bytes, and returns the time at which they have passed it.
    fn take(&self, now: Instant, bytes: usize) -> Instant {
        let nanos = (bytes as u128 * 8 * 1_000_000_000).div_ceil(u128::from(self.bits_per_second));
        let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        *free = (*free).max(earliest) + took;
        *free
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct SharedLink {
    latency: Duration,
    up: Option<Pace>,
    down: Option<Pace>,
    log: Arc<Log>,
}

impl SharedLink {
    pub(crate) fn new(link: Link, log: Arc<Log>) -> Self {
        let pace = || link.bits_per_second.map(Pace::new);
        Self { latency: link.latency, up: pace(), down: pace(), log }
    }

    /// How much a connection holds back: what is on its way for two round trips, as a sender's window
    /// would allow.
    fn window(&self) -> usize {
        let Some(pace) = &self.up else { return 64 << 20 };
        let bits = u128::from(pace.bits_per_second) * self.latency.as_micros() * 2 / 1_000_000;
        usize::try_from(bits / 8).unwrap_or(usize::MAX).saturating_add(4 * PIECE)
    }
}

/// What is below the link.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Makes the client see a reset when it is dropped, where that is possible. Elsewhere the client
    /// sees an end, which is as bad.
    fn reset_at_end(&self) {}
}

impl Wire for TcpStream {
    fn reset_at_end(&self) {
        let _ = self.set_zero_linger();
    }
}

/// A connection over the link. Both halves of the round trip are put before what comes in, which is
/// the same to the client, and the answer then goes out at once.
#[derive(Debug)]
pub(crate) struct LinkedStream<S: Wire> {
    stream: S,
    link: Arc<SharedLink>,
    cut: Arc<AtomicBool>,
    /// Nothing arrives before: the handshake is a round trip of its own.
    open_at: Instant,
    window: usize,
    arrived: VecDeque<(Instant, Bytes)>,
    arrived_bytes: usize,
    ended: bool,
    due: Timer,
    up: Timer,
    down: Timer,
}

impl<S: Wire> LinkedStream<S> {
    /// Returns the connection. Once `cut` is set, it fails, and is reset when it is dropped.
    pub(crate) fn new(stream: S, link: Arc<SharedLink>, cut: Arc<AtomicBool>) -> Self {
        Self {
            open_at: Instant::now() + link.latency,
            window: link.window(),
            stream,
            link,
            cut,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            ended: false,
            due: Timer::default(),
            up: Timer::default(),
            down: Timer::default(),
        }
    }

    fn check_cut(&self) -> io::Result<()> {
        if self.cut.load(Ordering::Acquire) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Takes in what has arrived, as far as rate and window allow, and notes when it may be seen.
    fn take_in(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.ended && self.arrived_bytes < self.window {
            if let Some(pace) = &self.link.up
                && self.up.wait(pace.free_at(), cx).is_pending()
            {
                break;
            }
            let mut piece = BytesMut::zeroed(PIECE);
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(outcome) => outcome?,
            }
            let bytes = buffer.filled().len();
            if bytes == 0 {
                self.ended = true;
                break;
            }
            piece.truncate(bytes);
            self.link.log.came_in(bytes);
            let now = Instant::now();
            let passed = self.link.up.as_ref().map_or(now, |pace| pace.take(now, bytes).max(now));
            self.arrived_bytes += bytes;
            self.arrived.push_back((passed.max(self.open_at) + self.link.latency, piece.freeze()));
        }
        Ok(())
    }
}

impl<S: Wire> AsyncRead for LinkedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check_cut()?;
        this.take_in(cx)?;
        let Some((due, piece)) = this.arrived.front_mut() else {
            return if this.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        ready!(this.due.wait(*due, cx));
        let bytes = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..bytes]);
        piece.advance(bytes);
        this.arrived_bytes -= bytes;
        if piece.is_empty() {
            this.arrived.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Wire> AsyncWrite for LinkedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check_cut()?;
        let mut piece = bytes;
        if let Some(pace) = &this.link.down {
            ready!(this.down.wait(pace.free_at(), cx));
            piece = &bytes[..bytes.len().min(PIECE)];
        }
        // Counted first: the client may ask for the count before this thread goes on.
        this.link.log.went_out(piece.len());
        let outcome = Pin::new(&mut this.stream).poll_write(cx, piece);
        let written = if let Poll::Ready(Ok(written)) = &outcome { *written } else { 0 };
        this.link.log.did_not_go_out(piece.len() - written);
        ready!(outcome)?;
        if let Some(pace) = &this.link.down {
            pace.take(Instant::now(), written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| &**buffer);
        self.poll_write(cx, first)
    }

    /// Large bodies would be copied next to their heads otherwise.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An orderly end would hide the reset.
        self.check_cut()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Wire> Drop for LinkedStream<S> {
    fn drop(&mut self) {
        if self.cut.load(Ordering::Acquire) {
            self.stream.reset_at_end();
        }
    }
}

/// A timer that is made when it is first needed.
#[derive(Debug, Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn wait(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if until <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::DuplexStream;
    use tokio::io::duplex;

    impl Wire for DuplexStream {}

    /// Returns both ends of a new connection.
    fn connect(link: &Arc<SharedLink>) -> (DuplexStream, LinkedStream<DuplexStream>) {
        let (client, server) = duplex(4 << 20);
        (client, LinkedStream::new(server, Arc::clone(link), Arc::default()))
    }

    fn shared(latency_ms: u64, bits_per_second: Option<u64>) -> Arc<SharedLink> {
        let link = Link { latency: Duration::from_millis(latency_ms), bits_per_second };
        Arc::new(SharedLink::new(link, Arc::new(Log::new(None))))
    }

    /// Returns how long something takes, in milliseconds.
    async fn ms(what: impl Future<Output = io::Result<()>>) -> u128 {
        let begun = Instant::now();
        what.await.unwrap();
        begun.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_costs_a_round_trip_and_a_new_connection_another() {
        let (mut client, mut server) = connect(&shared(300, None));
        for least in [600, 300] {
            let request = async {
                client.write_all(b"a").await?;
                server.read_u8().await?;
                server.write_all(b"b").await?;
                client.read_u8().await.map(drop)
            };
            let took = ms(request).await;
            assert!((least..least + 3).contains(&took), "{took}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_connections_share_the_rate_of_each_direction() {
        // Two bodies of 0.5 MB take 0.2 s at 5 MB/s, but for what the link may make up for: 5 ms, and
        // of what goes out the last piece, which is let through before its time.
        let link = shared(0, Some(40_000_000));
        let (mut one, mut two) = (connect(&link), connect(&link));
        let body = vec![7; 500_000];
        let [mut first, mut second] = [vec![0; 500_000], vec![0; 500_000]];
        let up = async {
            tokio::try_join!(one.0.write_all(&body), two.0.write_all(&body))?;
            tokio::try_join!(one.1.read_exact(&mut first), two.1.read_exact(&mut second)).map(drop)
        };
        let took = ms(up).await;
        assert!((190..=230).contains(&took), "{took}");
        let down = async {
            tokio::try_join!(one.1.write_all(&body), two.1.write_all(&body))?;
            tokio::try_join!(one.0.read_exact(&mut first), two.0.read_exact(&mut second)).map(drop)
        };
        let took = ms(down).await;
        assert!((170..=230).contains(&took), "{took}");
        assert!(first == body && second == body);
    }
}
