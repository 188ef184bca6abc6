//! The connection to a client: bytes in both directions.

use std::io;
use std::io::IoSlice;
use std::io::Read;
use std::net::Shutdown;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::SendAncillaryBuffer;
use rustix::net::SendFlags;

/// A connected client. Several threads use it at once.
pub trait Channel: Send + Sync {
    /// Takes what has come, at least one byte; waits for it. None at all means that no more will come.
    /// `WouldBlock` means that nothing has come in the time set.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends the first bytes of `parts`, and returns how many. `WouldBlock` means that the client took none in the time set.
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sets the time after which receiving and sending return with `WouldBlock`.
    fn set_patience(&self, patience: Duration) -> io::Result<()>;

    /// Has [`receive`](Self::receive) return that no more will come, in threads that already wait there too.
    fn end_receiving(&self);

    /// Has all calls return at once, in threads that already wait there too.
    fn end(&self);

    /// Returns who the client is, for people.
    fn peer(&self) -> String;
}

/// Sends without a signal should the client be gone: a program may have `SIGPIPE` end it.
fn send(socket: &impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(rustix::net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
}

impl Channel for UnixStream {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&mut &*self).read(buffer)
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        send(self, parts)
    }

    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_nonblocking(false)?;
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }

    fn end_receiving(&self) {
        // It fails only if the client has ended the connection, which does the same.
        let _ = self.shutdown(Shutdown::Read);
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn peer(&self) -> String {
        let process = rustix::net::sockopt::socket_peercred(self);
        process.map_or_else(
            |_| "local".to_owned(),
            |process| format!("process {}", process.pid.as_raw_nonzero()),
        )
    }
}

impl Channel for TcpStream {
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&mut &*self).read(buffer)
    }

    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        send(self, parts)
    }

    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_nonblocking(false)?;
        self.set_nodelay(true)?;
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }

    fn end_receiving(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }

    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn peer(&self) -> String {
        self.peer_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
    }
}
