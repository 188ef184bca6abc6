//! A client that sends a script in pieces and keeps the answers.

use std::io;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use icecore_nbd::Channel;
use icecore_nbd::Event;
use icecore_nbd::Events;
use icecore_nbd::Limits;
use icecore_nbd::Server;

use crate::nbd::disk::Only;
use crate::nbd::disk::Watched;

struct Script {
    /// The rest of the script.
    says: Mutex<Vec<u8>>,
    /// The most bytes sent at once.
    piece: usize,
    told: Mutex<Vec<u8>>,
    ended: AtomicBool,
    /// Whether the server has panicked.
    panicked: AtomicBool,
}

impl Channel for Script {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut says = self.says.lock().unwrap();
        let length = self.piece.min(buffer.len()).min(says.len());
        if self.ended.load(Ordering::SeqCst) {
            return Ok(0);
        }
        buffer[..length].copy_from_slice(&says[..length]);
        says.drain(..length);
        Ok(length)
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // The answer also arrives in pieces.
        let Some(part) = parts.first() else { return Ok(0) };
        let length = part.len().min(self.piece.max(512));
        self.told.lock().unwrap().extend(&part[..length]);
        Ok(length)
    }

    fn set_patience(&self, _patience: Duration) -> io::Result<()> {
        Ok(())
    }

    fn end_receiving(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    fn end(&self) {
        self.end_receiving();
    }

    fn peer(&self) -> String {
        "a script".to_owned()
    }
}

struct Watch(Arc<Script>);

impl Events for Watch {
    fn event(&self, event: &Event<'_>) {
        if let Event::Disconnected { problem: Some(problem), .. } = event
            && problem.contains("unexpectedly")
        {
            self.0.panicked.store(true, Ordering::SeqCst);
        }
    }
}

/// Runs a server until its client has ended, and returns the bytes that the client received.
pub(super) fn play(disk: &Arc<Watched>, says: Vec<u8>, piece: usize) -> Vec<u8> {
    let script = Arc::new(Script {
        says: Mutex::new(says),
        piece: piece.max(1),
        told: Mutex::default(),
        ended: AtomicBool::new(false),
        panicked: AtomicBool::new(false),
    });
    let limits = Limits { requests: 3, ..Limits::default() };
    let watch = Arc::new(Watch(Arc::clone(&script)));
    let server = Server::with_events(Arc::new(Only(Arc::clone(disk))), limits, watch).unwrap();
    server.serve_one(Arc::clone(&script) as Arc<dyn Channel>);
    assert!(!script.panicked.load(Ordering::SeqCst), "the server panics");
    assert!(!disk.was_wronged(), "what is not in the export, or is only read, was touched");
    std::mem::take(&mut *script.told.lock().unwrap())
}
