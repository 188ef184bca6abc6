//! The sockets that clients connect to, their addresses, and how programs use them.

use std::fmt;
use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_nbd::Listener;

use crate::host;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// An absolute path.
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A bound socket.
pub(crate) struct Socket {
    pub(crate) listener: Listener,
    pub(crate) address: Address,
}

/// Parses a port, or an address and a port.
pub(crate) fn parse_listen(text: &str) -> std::result::Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        format!("{text:?} is neither a port nor an address: write 10809, 192.0.2.1:10809 or [::1]:10809")
    })
}

impl Address {
    /// Returns the address of a path.
    pub(crate) fn unix(path: &Path) -> Result<Self> {
        let absolute = std::path::absolute(path);
        absolute.map(Self::Unix).map_err(|error| Error::io(format!("looking at {}", path.display()), error))
    }

    /// Returns the default address: in the directory of the first volume, if one is served.
    pub(crate) fn usual(repository: &Path, volume: Option<&Path>) -> Self {
        Self::Unix(match volume {
            Some(volume) => volume.join("nbd"),
            None => repository.join(format!("nbd-{}", host::process_id())),
        })
    }

    /// Removes the socket's file.
    pub(crate) fn remove(&self) {
        if let Self::Unix(path) = self {
            // The next server replaces a file that stays.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Returns the address of an export in the form that NBD clients accept.
    pub(crate) fn uri(&self, export: &str) -> String {
        match self {
            Self::Unix(path) => icecore_nbd::unix_uri(path, export),
            Self::Tcp(address) => icecore_nbd::tcp_uri(*address, export),
        }
    }

    /// Returns lines that say how to use an export with other programs.
    pub(crate) fn usage(&self, export: &str, uri: &str, writable: bool) -> String {
        let kernel = match self {
            Self::Unix(path) => {
                format!(
                    "nbd-client -unix {} /dev/nbd0 -name {}",
                    for_shell(&path.to_string_lossy()),
                    for_shell(export)
                )
            }
            Self::Tcp(address) => {
                format!(
                    "nbd-client {} {} /dev/nbd0 -name {}",
                    address.ip(),
                    address.port(),
                    for_shell(export)
                )
            }
        };
        let mut text = String::new();
        let uri = for_shell(uri);
        let mut line = |what: &str, how: &str| {
            // Writing to a `String` does not fail.
            let _ = writeln!(text, "  {what:<11} {how}");
        };
        // Without `readonly`, qemu asks for write access, and is refused.
        let how = if writable { "discard=unmap" } else { "readonly=on" };
        line("qemu", &format!("qemu-system-x86_64 -m 1G -drive file={uri},format=raw,if=virtio,{how}"));
        line("nbd-client", &kernel);
        line("nbdfuse", &format!("nbdfuse DIR/disk.raw {uri}"));
        text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl Socket {
    /// Binds a socket. Replaces the socket of a process that has ended.
    ///
    /// # Errors
    /// `InUse` if another process listens there; `AlreadyExists` if the path is not a socket.
    pub(crate) fn bind(address: Address) -> Result<Self> {
        let binding = |error| Error::io(format!("binding {address}"), error);
        match &address {
            Address::Unix(path) => {
                let listener = host::with_private_files(|| icecore_nbd::bind_unix(path));
                let listener = listener
                    .map_err(|error| binding(error).with_hint("name another path with --socket PATH"))?;
                Ok(Self { listener: listener.into(), address })
            }
            Address::Tcp(wanted) => {
                let listener = TcpListener::bind(wanted).map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        Error::new(ErrorKind::InUse, format!("another program listens at {wanted}"))
                            .with_hint("choose another port")
                    }
                    _ => binding(error),
                })?;
                // If the system was to choose a port, it has done so.
                let address = Address::Tcp(listener.local_addr().map_err(binding)?);
                Ok(Self { listener: listener.into(), address })
            }
        }
    }

    /// Returns whether other machines can reach it.
    pub(crate) fn is_open_to_others(&self) -> bool {
        match &self.address {
            Address::Unix(_) => false,
            Address::Tcp(address) => match address.ip() {
                IpAddr::V4(ip) => !ip.is_loopback(),
                IpAddr::V6(ip) => !ip.is_loopback(),
            },
        }
    }
}

/// Returns a text quoted for a shell.
fn for_shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        assert_eq!(parse_listen("10809"), Ok(([127, 0, 0, 1], 10809).into()));
        assert_eq!(parse_listen("0.0.0.0:1"), Ok(([0, 0, 0, 0], 1).into()));
        assert!(parse_listen("[::1]:10809").is_ok());
        for wrong in ["", "host:1", "99999", "::1", "127.0.0.1"] {
            assert!(parse_listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_written_so_that_others_can_read_them() {
        let unix = Address::Unix("/a b/nbd".into());
        let uri = unix.uri("snapshot:web 1@latest");
        assert_eq!(uri, "nbd+unix:///snapshot:web%201@latest?socket=/a%20b/nbd");
        let usage = unix.usage("it's", &uri, true);
        assert!(usage.contains("nbd-client -unix '/a b/nbd' /dev/nbd0 -name 'it'\\''s'"), "{usage}");
        let tcp = Address::Tcp(([127, 0, 0, 1], 10809).into());
        assert_eq!(tcp.uri("web"), "nbd://127.0.0.1:10809/web");
        assert!(tcp.usage("web", "x", true).contains("nbd-client 127.0.0.1 10809 /dev/nbd0 -name web"));
    }

    #[test]
    fn only_a_socket_that_nobody_serves_at_makes_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let bind = || Socket::bind(Address::Unix(path.clone()));
        let first = bind().unwrap();
        assert_eq!(bind().err().map(|error| error.kind()), Some(ErrorKind::InUse));
        drop(first);
        bind().unwrap().address.remove();
        std::fs::write(&path, b"a file").unwrap();
        assert_eq!(bind().err().map(|error| error.kind()), Some(ErrorKind::AlreadyExists));
        let long = Address::Unix(dir.path().join("x".repeat(120)));
        assert_eq!(Socket::bind(long).err().map(|error| error.kind()), Some(ErrorKind::InvalidInput));
    }
}
