//! Input from a client. Short reads go through a buffer, so that a request and its payload cost one
//! system call; long ones go straight to their destination.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::channel::Channel;
use crate::clock;
use crate::wire::REQUEST_BYTES;
use crate::wire::Request;

const BUFFER_BYTES: usize = 32 << 10;
/// The number of bytes that a client must send within its time limit.
const STEP_BYTES: usize = 1 << 20;

/// The time to wait for a client.
pub(crate) enum Wait<'a> {
    /// Without a limit, unless the function says that others would wait too.
    Unless(&'a dyn Fn() -> bool),
    /// Until this time.
    Until(Instant),
}

/// The bytes that a client sends.
pub(crate) struct Input {
    channel: Arc<dyn Channel>,
    patience: Duration,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn new(channel: Arc<dyn Channel>, patience: Duration) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { channel, patience, buffer, start: 0, end: 0 }
    }

    /// Returns the received bytes that are not yet consumed.
    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Returns whether a whole request with its payload is in the buffer.
    pub(crate) fn holds_a_request(&self) -> bool {
        let Some((head, rest)) = self.buffered().split_first_chunk::<REQUEST_BYTES>() else { return false };
        Request::decode(head).is_none_or(|request| rest.len() >= request.payload_bytes())
    }

    /// Receives once. The caller handles `WouldBlock`.
    fn receive(channel: &dyn Channel, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match channel.receive(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    /// Fills `into`. Returns false if the client has ended the connection before the first byte of
    /// it.
    pub(crate) fn take(&mut self, into: &mut [u8], wait: &Wait<'_>) -> io::Result<bool> {
        let mut done = into.len().min(self.end - self.start);
        into[..done].copy_from_slice(&self.buffer[self.start..self.start + done]);
        self.start += done;
        let mut due = None;
        while done < into.len() {
            let missing = into.len() - done;
            let received = if missing < BUFFER_BYTES {
                let received = Self::receive(&*self.channel, &mut self.buffer);
                (self.start, self.end) = (0, *received.as_ref().unwrap_or(&0));
                received
            } else {
                Self::receive(&*self.channel, &mut into[done..])
            };
            match received {
                Ok(0) if done == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if missing < BUFFER_BYTES => {
                    let taken = missing.min(self.end);
                    into[done..done + taken].copy_from_slice(&self.buffer[..taken]);
                    (self.start, done) = (taken, done + taken);
                }
                Ok(received) => {
                    if (done + received) / STEP_BYTES != done / STEP_BYTES {
                        due = None;
                    }
                    done += received;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if done < into.len() {
                self.check(wait, &mut due)?;
            }
        }
        Ok(true)
    }

    /// Returns an error once a client has taken too long. `due` is the time of the next check.
    fn check(&self, wait: &Wait<'_>, due: &mut Option<Instant>) -> io::Result<()> {
        let now = clock::now();
        let late = match wait {
            Wait::Until(end) => now >= *end,
            Wait::Unless(others_wait) => match *due {
                None => {
                    *due = now.checked_add(self.patience);
                    false
                }
                Some(end) => now >= end && others_wait(),
            },
        };
        if late {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the client took too long to send"))
        } else {
            Ok(())
        }
    }

    /// Skips `bytes` bytes.
    pub(crate) fn skip(&mut self, mut bytes: usize, wait: &Wait<'_>) -> io::Result<()> {
        let mut sink = [0; 4096];
        while bytes > 0 {
            let step = bytes.min(sink.len());
            if !self.take(&mut sink[..step], wait)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes -= step;
        }
        Ok(())
    }
}
