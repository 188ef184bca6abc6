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

/// A connected client. Several threads may use it at once.
pub trait Channel: Send + Sync {
    /// Receives at least one byte, and waits for it. Zero bytes mean that no more will come.
    /// `WouldBlock` means that nothing came in the time set.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends the first bytes of `parts`, and returns how many. `WouldBlock` means that the client
    /// took none in the time set.
    fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sets the time after which receiving and sending return with `WouldBlock`.
    fn set_patience(&self, patience: Duration) -> io::Result<()>;

    /// Makes [`receive`](Self::receive) return that no more will come, also in threads that already
    /// wait in it.
    fn end_receiving(&self);

    /// Makes all calls return at once, also in threads that already wait in them.
    fn end(&self);

    /// Returns a description of the client for people.
    fn peer(&self) -> String;
}

/// Sends without a signal if the client is gone: `SIGPIPE` may end a program.
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
