//! The addresses that clients connect to: unix sockets, and URIs.

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;

use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::PercentEncode;
use percent_encoding::percent_encode;
use percent_encoding::utf8_percent_encode;

/// The longest path of a unix socket, in bytes, including the terminating byte.
const PATH_BYTES_MAX: usize = 108;

/// The characters to encode in the path and the query of an NBD URI.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// Binds a unix socket. Replaces the socket of a process that has ended; anything else at the path
/// stays.
///
/// # Errors
/// `InvalidInput` if the path is too long, `AlreadyExists` if the path is not a socket,
/// `ResourceBusy` if another process listens there; otherwise those of the system.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let bytes = path.as_os_str().len();
    if bytes >= PATH_BYTES_MAX {
        let message = format!(
            "the path has {bytes} bytes, and the path of a socket can have {} at most",
            PATH_BYTES_MAX - 1
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    make_way(path)?;
    UnixListener::bind(path)
}

/// Removes the socket of a process that has ended.
fn make_way(path: &Path) -> io::Result<()> {
    let about = match path.symlink_metadata() {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !about.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it already exists and is not a socket"));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process listens there"));
    }
    #[expect(clippy::disallowed_methods, reason = "a name is removed; no file is opened")]
    std::fs::remove_file(path)
}

/// Returns the URI of an export at a unix socket.
pub fn unix_uri(socket: &Path, export: &str) -> String {
    // The path's bytes: it is not always text.
    let socket = percent_encode(socket.as_os_str().as_bytes(), &ENCODED);
    format!("nbd+unix:///{}?socket={socket}", encoded(export))
}

/// Returns the URI of an export at a TCP address.
pub fn tcp_uri(address: SocketAddr, export: &str) -> String {
    format!("nbd://{address}/{}", encoded(export))
}

fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, &ENCODED)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn only_a_socket_that_nobody_serves_at_makes_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let refused = |path: &Path| bind_unix(path).err().map(|error| error.kind());
        let first = bind_unix(&path).unwrap();
        assert_eq!(refused(&path), Some(io::ErrorKind::ResourceBusy));
        drop(first);
        drop(bind_unix(&path).unwrap());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::write(dir.path().join("file"), b"a file").unwrap();
        for other in ["link", "file", ""] {
            assert_eq!(refused(&dir.path().join(other)), Some(io::ErrorKind::AlreadyExists), "{other}");
        }
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"a file");
        let long = dir.path().join("x".repeat(120));
        assert_eq!(refused(&long), Some(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn addresses_are_written_so_that_others_can_read_them() {
        let unix = unix_uri(Path::new("/a b/nbd"), "snapshot:web 1@latest");
        assert_eq!(unix, "nbd+unix:///snapshot:web%201@latest?socket=/a%20b/nbd");
        let bytes = Path::new(OsStr::from_bytes(b"/\xff\n"));
        assert_eq!(unix_uri(bytes, "\u{e9}"), "nbd+unix:///%C3%A9?socket=/%FF%0A");
        assert_eq!(tcp_uri(([127, 0, 0, 1], 10809).into(), "web"), "nbd://127.0.0.1:10809/web");
    }
}
