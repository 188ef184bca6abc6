//! What stores answer over HTTP, and what comes of it. A server gives the answers of a script.

use std::collections::VecDeque;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use icecore::storage::MemoryStorage;
use icecore::storage::Objects;
use icecore::storage::Put;
use icecore_bucket::Bucket;
use icecore_bucket::Fetch;
use icecore_bucket::Options;
use icecore_bucket::Settings;

/// A request: its first line, its headers in small letters, and its body.
#[derive(Debug, Clone)]
struct Request {
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

/// A server that gives one answer after the other, each on a connection of its own.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let mut answers: VecDeque<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        thread::spawn(move || {
            while let Some(answer) = answers.pop_front() {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read(&stream).unwrap();
                log.lock().unwrap().push(request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    fn bucket(&self) -> Bucket {
        open(
            &format!("http://localhost:{}", self.port),
            &[("AWS_ACCESS_KEY_ID", "K"), ("AWS_SECRET_ACCESS_KEY", "s")],
        )
    }
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let headers: Vec<String> = lines.iter().map(|header| header.to_lowercase()).collect();
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Request { line, headers, body })
}

fn open(endpoint: &str, variables: &[(&str, &str)]) -> Bucket {
    let find =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let options = Options { endpoint: Some(endpoint.to_owned()), ..Options::default() };
    let settings = Settings::new(&find, None).with(options);
    Bucket::open(&"s3://lab/a".parse().unwrap(), &settings, Arc::new(MemoryStorage::new())).unwrap()
}

/// Returns an answer. The connection ends with it.
fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

fn refusal(status: &str, code: &str) -> String {
    answer(status, "", &format!("<Error><Code>{code}</Code><Message>why</Message></Error>"))
}

const MADE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\netag: \"1\"\r\n\r\n";
const TAKEN: &str = "HTTP/1.1 412 Precondition Failed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const TIMES: &str = "last-modified: Mon, 30 Nov 2026 10:00:00 GMT\r\netag: \"1\"\r\n";

fn head_of(bytes: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {bytes}\r\n{TIMES}\r\n")
}

fn part(range: &str, body: &str) -> String {
    answer("206 Partial Content", &format!("{TIMES}content-range: bytes {range}\r\n"), body)
}

#[test]
fn an_object_is_made_signed_and_only_if_it_is_missing() {
    let server = Server::start(&[MADE]);
    assert_eq!(server.bucket().put_new("journal/1", b"body", "").unwrap(), Put::Made);
    let requests = server.requests();
    let [Request { line, headers, body }] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((line.as_str(), body.as_slice()), ("PUT /lab/a/journal/1 HTTP/1.1", &b"body"[..]));
    let has = |start: &str| headers.iter().any(|header| header.starts_with(start));
    assert!(has("if-none-match: *"), "{headers:?}");
    assert!(has("authorization: aws4-hmac-sha256 credential=k/"), "{headers:?}");
    // The body cannot be damaged on the way to this machine.
    assert!(has("x-amz-content-sha256: unsigned-payload"), "{headers:?}");
}

#[test]
fn what_a_store_refuses_is_said_in_words_that_help() {
    let elsewhere = answer("301 Moved Permanently", "x-amz-bucket-region: eu-west-1\r\n", "");
    for (refused, kind, part) in [
        (
            refusal("404 Not Found", "NoSuchBucket"),
            io::ErrorKind::NotADirectory,
            "there is no bucket s3://lab (",
        ),
        (refusal("403 Forbidden", "AccessDenied"), io::ErrorKind::PermissionDenied, "the right s3:PutObject"),
        (
            refusal("403 Forbidden", "RequestTimeTooSkewed"),
            io::ErrorKind::PermissionDenied,
            "the clock of this machine",
        ),
        (elsewhere, io::ErrorKind::InvalidInput, "set region = \"eu-west-1\""),
    ] {
        let server = Server::start(&[&refused]);
        let error = server.bucket().put_new("journal/1", b"body", "").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with("s3://lab/a/journal/1: "), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(server.lines().len(), 1);
    }
}

#[test]
fn a_connection_that_ends_after_the_object_was_made_does_no_harm() {
    let server = Server::start(&["", TAKEN, &head_of(4), &part("0-3/4", "body")]);
    assert_eq!(server.bucket().put_new("journal/1", b"body", "").unwrap(), Put::Made);
    let put = "PUT /lab/a/journal/1 HTTP/1.1";
    assert_eq!(server.lines(), [put, put, "HEAD /lab/a/journal/1 HTTP/1.1", "GET /lab/a/journal/1 HTTP/1.1"]);

    let conflict = refusal("409 Conflict", "ConditionalRequestConflict");
    let server = Server::start(&[&conflict, TAKEN, &head_of(5)]);
    assert_eq!(server.bucket().put_new("journal/1", b"body", "").unwrap(), Put::Exists);
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn a_store_that_is_overloaded_is_asked_again() {
    let slow = answer("503 Slow Down", "retry-after: 0\r\n", "<Error><Code>SlowDown</Code></Error>");
    let server = Server::start(&[&slow, &refusal("500 Oh", "InternalError"), MADE]);
    assert_eq!(server.bucket().put_new("journal/1", b"body", "").unwrap(), Put::Made);
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn a_body_that_ends_early_is_read_again() {
    let truncated = part("2-5/10", "2345").replace("\r\n\r\n2345", "\r\n\r\n23");
    let server = Server::start(&[&truncated, &part("2-5/10", "2345")]);
    let bucket = server.bucket();
    assert_eq!(fetch(&bucket, "packs/1", 2..6).unwrap(), "2345");
    assert_eq!(server.lines().len(), 2);
    let ranges =
        server.requests().iter().all(|request| request.headers.contains(&"range: bytes=2-5".to_owned()));
    assert!(ranges);
}

#[test]
fn an_object_whose_end_cannot_be_asked_for_is_opened_all_the_same() {
    // Of a pack, the beginning would be asked for at the same time.
    let whole = answer("200 OK", TIMES, "");
    let server = Server::start(&[&whole, &head_of(0)]);
    assert_eq!(server.bucket().open("index/1").unwrap().len(), 0);
    let outside = refusal("416 Range Not Satisfiable", "InvalidRange");
    let server = Server::start(&[&outside, &head_of(0)]);
    assert_eq!(server.bucket().open("index/1").unwrap().len(), 0);
}

/// Reads a range as a cache would.
fn fetch(bucket: &Bucket, name: &str, range: std::ops::Range<u64>) -> io::Result<String> {
    let found = Mutex::new(None);
    let _ = bucket.clone().read_through(|fetch: Arc<dyn Fetch>| {
        *found.lock().unwrap() = Some(fetch.get(name, range));
        fetch
    });
    let bytes = found.into_inner().unwrap().unwrap()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn a_missing_object_is_told_from_a_missing_bucket() {
    let server =
        Server::start(&[&refusal("404 Not Found", "NoSuchKey"), &refusal("404 Not Found", "NoSuchBucket")]);
    let bucket = server.bucket();
    assert_eq!(bucket.open("journal/1").err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    assert_eq!(bucket.open("journal/1").err().map(|error| error.kind()), Some(io::ErrorKind::NotADirectory));
}

#[test]
fn a_store_that_is_not_there_is_soon_given_up() {
    let keys = [("AWS_ACCESS_KEY_ID", "K"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let error = open("http://127.0.0.1:1", &keys).list("packs").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error}");
    assert!(error.to_string().contains("cannot connect to the store: "), "{error}");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").unwrap();
        // Until the client is gone.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let keys = [("AWS_ACCESS_KEY_ID", "K"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let error = open(&endpoint, &keys).list("packs").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    assert!(error.to_string().contains("TLS failed: "), "{error}");
}

#[test]
fn credentials_of_the_machine_are_asked_for_and_missed() {
    // A service of credentials that has none.
    let metadata = Server::start(&[&refusal("404 Not Found", "NoRole")]);
    let endpoint = format!("http://127.0.0.1:{}", metadata.port);
    let bucket = open("http://localhost:9", &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)]);
    let error = bucket.list("packs").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("cannot get credentials (status 404, NoRole"), "{error}");
    assert_eq!(metadata.lines(), ["PUT /latest/api/token HTTP/1.1"]);
}
