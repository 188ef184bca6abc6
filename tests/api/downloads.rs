//! Images that are imported by https URL, from a server of the test.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use icecore::image::ReadAt;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::StreamOwned;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::operation::certify;
use crate::support::IMPORT;
use crate::support::Server;
use crate::support::USUAL;

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A server of images. It answers each request on a connection of its own, as a function says that
/// gets the head of the request and how many came before it.
struct Origin {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    fn start(dir: &TempDir, answer: impl Fn(&str, usize, &mut Stream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificate = CertificateDer::from_pem_file(dir.path().join("certificate.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.path().join("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let (config, heads) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&heads);
        // It ends with the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut reader = BufReader::new(StreamOwned::new(connection, stream.unwrap()));
                let mut head = String::new();
                // A client that does not trust the certificate goes away.
                while reader.read_line(&mut head).is_ok_and(|count| count > 2) {}
                if !head.ends_with("\r\n\r\n") {
                    continue;
                }
                let before = kept.lock().unwrap().len();
                kept.lock().unwrap().push(head.to_ascii_lowercase());
                let mut stream = reader.into_inner();
                answer(&head, before, &mut stream);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { port, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    fn config(&self, more: &str) -> String {
        let import = format!(
            "[import]\nfolders = [\"import\"]\nprivate_hosts = [\"127.0.0.1:{}\"]\nca_file = \"certificate.pem\"\n{more}",
            self.port
        );
        format!("{USUAL}{}", IMPORT.replace("[import]\nfolders = [\"import\"]", &import))
    }
}

/// Sends what may break off because the client goes.
fn send(stream: &mut Stream, text: &str, body: &[u8]) -> bool {
    stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.write_all(body))
        .and_then(|()| stream.flush())
        .is_ok()
}

fn directory() -> Arc<TempDir> {
    let dir = TempDir::new().unwrap();
    certify(dir.path());
    std::fs::create_dir(dir.path().join("import")).unwrap();
    Arc::new(dir)
}

/// Bytes of a disk, and the same compressed.
fn disk() -> (Vec<u8>, Vec<u8>) {
    let mut bytes = vec![0; 1 << 20];
    for (at, byte) in bytes.iter_mut().enumerate().take(300_000) {
        *byte = u8::try_from((at * at) % 251).unwrap();
    }
    (bytes.clone(), packed("gzip", &bytes))
}

fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writer = thread::spawn(move || to.write_all(&bytes).unwrap());
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    out
}

fn begin(server: &Server, url: &str) -> i64 {
    let body = json!({"name": "disk", "region": "here", "distribution": "Debian", "url": url});
    server.post("/v2/images", &body).expect(202)["image"]["id"].as_i64().unwrap()
}

/// Imports what cannot be imported, and returns why.
#[track_caller]
fn fails(server: &Server, url: &str) -> String {
    let shown = server.until_image(begin(server, url), "deleted");
    shown["image"]["error_message"].as_str().unwrap().to_owned()
}

#[track_caller]
fn holds(server: &Server, image: i64, bytes: &[u8]) {
    let shown = server.until_image(image, "available");
    assert_eq!(shown["image"]["type"], "custom", "{shown}");
    let repo = Arc::new(crate::contract::repository(server, "here"));
    let found = icecore::snapshot::list(&repo).unwrap().pop().unwrap().id;
    let cache = icecore::snapshot::BlockCache::usual();
    let disk = icecore::snapshot::SnapshotDisk::open(repo, found, cache).unwrap();
    let mut read = vec![0; bytes.len()];
    disk.read_at(0, &mut read).unwrap();
    assert!(read == bytes, "the image has other bytes");
    let spool = std::fs::read_dir(server.path("state/spool")).unwrap().count();
    assert_eq!(spool, 0, "the download is deleted");
}

fn whole(bytes: &[u8], more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n", bytes.len())
}

#[test]
fn an_image_is_downloaded_and_unpacked() {
    let (bytes, _) = disk();
    for program in ["gzip", "xz", "bzip2", "zstd", "cat"] {
        let dir = directory();
        let body = if program == "cat" { bytes.clone() } else { packed(program, &bytes) };
        let origin = Origin::start(&dir, move |_, _, stream| assert!(send(stream, &whole(&body, ""), &body)));
        let server = Server::start_in(dir, &origin.config(""));
        holds(&server, begin(&server, &origin.url("/disk.raw?signature=secret")), &bytes);
        let head = &origin.heads()[0];
        assert!(head.starts_with("get /disk.raw?signature=secret http/1.1"), "{head}");
        assert!(
            head.contains("accept-encoding: identity") && head.contains("user-agent: icecore/"),
            "{head}"
        );
    }
}

#[test]
fn a_download_that_breaks_off_continues() {
    let (bytes, body) = disk();
    let half = body.len() / 2;
    let dir = directory();
    let origin = Origin::start(&dir, move |_, before, stream| {
        let tag = "etag: \"v1\"\r\n";
        if before == 0 {
            send(stream, &whole(&body, tag), &body[..half]);
            return;
        }
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {half}-{}/{}\r\ncontent-length: {}\r\n{tag}\r\n",
            body.len() - 1,
            body.len(),
            body.len() - half
        );
        assert!(send(stream, &head, &body[half..]));
    });
    let server = Server::start_in(dir, &origin.config(""));
    holds(&server, begin(&server, &origin.url("/disk.gz")), &bytes);
    let heads = origin.heads();
    assert_eq!(heads.len(), 2);
    assert!(!heads[0].contains("range"), "{}", heads[0]);
    let asked = format!("range: bytes={half}-\r\n");
    assert!(heads[1].contains(&asked) && heads[1].contains("if-range: \"v1\"\r\n"), "{}", heads[1]);
}

#[test]
fn a_file_that_has_changed_is_downloaded_anew() {
    let (bytes, body) = disk();
    let dir = directory();
    let origin = Origin::start(&dir, move |_, before, stream| match before {
        0 => {
            send(stream, &whole(&body, "etag: \"v1\"\r\n"), &[7; 100]);
        }
        _ => assert!(send(stream, &whole(&body, "etag: \"v2\"\r\n"), &body)),
    });
    let server = Server::start_in(dir, &origin.config(""));
    holds(&server, begin(&server, &origin.url("/disk.gz")), &bytes);
    assert!(origin.heads()[1].contains("if-range: \"v1\""), "{:?}", origin.heads());
}

#[test]
fn a_download_survives_a_restart() {
    let (bytes, body) = disk();
    let dir = directory();
    let (tell, told) = std::sync::mpsc::channel();
    let origin = Origin::start(&dir, move |head, before, stream| {
        let date = "last-modified: Mon, 30 Nov 2026 17:43:39 GMT\r\n";
        if before == 0 {
            let (half, rest) = body.split_at(body.len() / 2);
            send(stream, &whole(&body, date), half);
            tell.send(()).unwrap();
            // Byte by byte until the client has gone; it must not get all of them.
            for byte in &rest[..rest.len() - 1] {
                if !send(stream, "", &[*byte]) {
                    return;
                }
            }
            let _ = stream.read(&mut [0]);
            return;
        }
        let from = head.to_ascii_lowercase();
        let from = from.split_once("range: bytes=").map_or("0", |(_, rest)| rest.split('-').next().unwrap());
        let from: usize = from.parse().unwrap();
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{}\r\ncontent-length: {}\r\n\r\n",
            body.len() - 1,
            body.len(),
            body.len() - from
        );
        assert!(send(stream, &head, &body[from..]));
    });
    let mut server = Server::start_in(Arc::clone(&dir), &origin.config(""));
    let image = begin(&server, &origin.url("/disk.gz"));
    told.recv().unwrap();
    while std::fs::read_dir(server.path("state/spool")).unwrap().count() < 2 {
        thread::yield_now();
    }
    assert_eq!(server.get(&format!("/v2/images/{image}")).expect(200)["image"]["status"], "NEW");
    server.stop();
    // What is not of an import goes.
    let stray = server.path("state/spool/019a0000-0000-7000-8000-000000000000");
    std::fs::write(&stray, "x").unwrap();
    let server = Server::start_in(dir, &origin.config(""));
    holds(&server, image, &bytes);
    assert!(!stray.exists());
    let heads = origin.heads();
    assert_eq!(heads.len(), 2);
    assert!(heads[1].contains("if-range: mon, 30 nov 2026 17:43:39 gmt"), "{}", heads[1]);
}

#[test]
fn what_is_not_allowed_is_refused_at_once() {
    let dir = directory();
    let origin = Origin::start(&dir, |_, _, stream| {
        send(stream, "", b"");
    });
    let refused = |server: &Server, url: &str| {
        let body = json!({"name": "disk", "region": "here", "distribution": "Debian", "url": url});
        let answer = server.post("/v2/images", &body);
        answer.expect(422)["message"].as_str().unwrap().to_owned()
    };
    let mut off = Server::start_in(Arc::clone(&dir), &format!("{USUAL}{IMPORT}"));
    assert!(refused(&off, &origin.url("/a")).contains("add hosts under [import]"));
    off.stop();
    let server = Server::start_in(dir, &origin.config("hosts = [\"images.example\"]\n"));
    for url in [
        "https://evil.example/a".to_owned(),
        "https://images.example:8443/a".to_owned(),
        "http://images.example/a".to_owned(),
        format!("https://127.0.0.1:{}/a", origin.port ^ 1),
        format!("https://user@127.0.0.1:{}/a", origin.port),
    ] {
        let message = refused(&server, &url);
        assert!(message.starts_with("url "), "{url}: {message}");
    }
    assert_eq!(server.get("/v2/images?private=true").expect(200)["images"], Value::Array(Vec::new()));
    assert!(origin.heads().is_empty());
}

#[test]
fn a_host_of_the_internet_is_not_looked_for_in_private_networks() {
    let dir = directory();
    let origin = Origin::start(&dir, |_, _, stream| {
        send(stream, "", b"");
    });
    let port = origin.port;
    let text = origin.config("").replace(
        &format!("private_hosts = [\"127.0.0.1:{port}\"]"),
        &format!("hosts = [\"127.0.0.1:{port}\", \"localhost:{port}\"]"),
    );
    let server = Server::start_in(dir, &text);
    for host in ["127.0.0.1", "localhost"] {
        let why = fails(&server, &format!("https://{host}:{port}/disk"));
        assert!(why.contains(host) && why.contains("private_hosts"), "{why}");
    }
    assert!(origin.heads().is_empty());
}

#[test]
fn redirects_are_followed_to_allowed_hosts_only() {
    let (bytes, body) = disk();
    let dir = directory();
    let origin = Origin::start(&dir, move |head, _, stream| {
        let path = head.split(' ').nth(1).unwrap();
        let location = match path {
            "/latest" => "/images/disk.gz",
            "/loop" => "/loop",
            "/out" => "https://evil.example/disk.gz",
            "/metadata" => "https://169.254.169.254/latest/meta-data",
            "/plain" => "http://127.0.0.1/disk.gz",
            _ => return assert!(send(stream, &whole(&body, ""), &body)),
        };
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        assert!(send(stream, &head, b""));
    });
    let server = Server::start_in(dir, &origin.config(""));
    holds(&server, begin(&server, &origin.url("/latest")), &bytes);
    assert!(origin.heads()[1].starts_with("get /images/disk.gz "), "{:?}", origin.heads());
    for (path, says) in [
        ("/loop", "more than 5 redirects"),
        ("/out", "evil.example"),
        ("/metadata", "169.254.169.254"),
        ("/plain", "https://"),
    ] {
        let why = fails(&server, &origin.url(path));
        assert!(why.contains(says), "{path}: {why}");
    }
}

#[test]
fn a_download_that_cannot_be_says_why() {
    let dir = directory();
    let origin = Origin::start(&dir, |head, _, stream| {
        let answer = match head.split([' ', '?']).nth(1).unwrap() {
            "/gone" => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "/secret" => "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            "/large" => "HTTP/1.1 200 OK\r\ncontent-length: 1073741825\r\n\r\n",
            "/empty" => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nPK\x03\x04x",
        };
        send(stream, answer, b"");
    });
    let server = Server::start_in(Arc::clone(&dir), &origin.config("download_gigabytes = 1\n"));
    for (path, says) in [
        ("/gone?token=secret", "404 Not Found"),
        ("/secret", "403 Forbidden"),
        ("/large", "import.download_gigabytes"),
        ("/empty", "empty"),
        ("/disk.zip", "not supported"),
    ] {
        let why = fails(&server, &origin.url(path));
        assert!(why.contains(says) && !why.contains("token"), "{path}: {why}");
    }
    let spool = std::fs::read_dir(server.path("state/spool")).unwrap().count();
    assert_eq!(spool, 0);
    drop(server);
    // Another authority.
    let seen = origin.heads().len();
    let other = TempDir::new().unwrap();
    certify(other.path());
    std::fs::copy(other.path().join("certificate.pem"), dir.path().join("certificate.pem")).unwrap();
    let server = Server::start_in(dir, &origin.config(""));
    let why = fails(&server, &origin.url("/disk"));
    assert!(why.contains("certificate") && why.contains("ca_file"), "{why}");
    assert_eq!(origin.heads().len(), seen);
}
