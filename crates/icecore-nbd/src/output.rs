//! Output to a client. Each message is sent whole, whichever thread sends it. Short messages can
//! wait for the next one, so that several cost one system call.

use std::io;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::channel::Channel;
use crate::memory::Share;
use crate::sync::lock;

/// The most bytes to hold back.
const PENDING_BYTES_MAX: usize = 64 << 10;

/// The bytes to send to a client.
pub(crate) struct Output {
    channel: Arc<dyn Channel>,
    memory: Arc<Share>,
    pending: Mutex<Vec<u8>>,
    /// Whether a message was sent in part, so that none can follow.
    broken: AtomicBool,
    /// Whether the client may stand still.
    patient: AtomicBool,
}

impl Output {
    pub(crate) fn new(channel: Arc<dyn Channel>, memory: Arc<Share>) -> Self {
        Self {
            channel,
            memory,
            pending: Mutex::default(),
            broken: AtomicBool::new(false),
            patient: AtomicBool::new(false),
        }
    }

    /// Lets the client take as long as it likes to receive, from now on, unless others wait for
    /// memory.
    pub(crate) fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    fn waits(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock
            && self.patient.load(Ordering::Relaxed)
            && !self.memory.is_short()
    }

    /// Sends a message. With `more`, the message may be held back: the caller sends another at
    /// once, or calls [`flush`](Self::flush).
    pub(crate) fn send(&self, parts: &[&[u8]], more: bool) -> io::Result<()> {
        let mut pending = lock(&self.pending);
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if more && pending.len() + length <= PENDING_BYTES_MAX {
            parts.iter().for_each(|part| pending.extend(*part));
            return Ok(());
        }
        let sent = {
            let before = Some(&pending[..]).filter(|bytes| !bytes.is_empty());
            let all = before.into_iter().chain(parts.iter().copied()).filter(|part| !part.is_empty());
            self.send_all(&mut all.map(IoSlice::new).collect::<Vec<_>>())
        };
        pending.clear();
        sent
    }

    /// Sends the messages that were held back.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut pending = lock(&self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let sent = self.send_all(&mut [IoSlice::new(&pending)]);
        pending.clear();
        sent
    }

    fn send_all(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        while !parts.is_empty() {
            match self.channel.send(parts) {
                Ok(sent) => IoSlice::advance_slices(&mut parts, sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.waits(&error) => {}
                Err(error) => {
                    self.broken.store(true, Ordering::Relaxed);
                    self.channel.end();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
