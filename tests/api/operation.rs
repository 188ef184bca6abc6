//! How the server is run: TLS, limits, rates, what operators look at, the end.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use icecore_host::config;
use tempfile::TempDir;

use crate::support::Server;
use crate::support::USUAL;

/// A connection, on which bytes are written and read as they are.
pub(crate) struct Raw(pub(crate) BufReader<TcpStream>);

impl Raw {
    pub(crate) fn to(server: &Server) -> Self {
        Self(BufReader::new(TcpStream::connect(server.address).unwrap()))
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Returns the next line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Returns all until the server closes the connection; nothing if it does that harshly.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }

    /// Reads the head of an answer to its end, and returns the status line.
    pub(crate) fn head(&mut self) -> String {
        let first = self.line();
        while !self.line().is_empty() {}
        first
    }

    /// Returns one answer, which has a body of a known length.
    pub(crate) fn answer(&mut self) -> String {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            head += &format!("{line}\n");
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        format!("{head}\n{}", String::from_utf8(body).unwrap())
    }
}

pub(crate) fn post(server: &Server, more: &str) -> String {
    format!("POST /v2/tags HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{more}\r\n", server.token)
}

#[test]
fn a_body_has_a_limit_and_a_time() {
    let server = Server::start_with("[requests]\nbody_bytes = 1000\nbody_seconds = 1\n");
    let mut long = Raw::to(&server);
    long.send(&post(&server, "content-length: 1001\r\n"));
    let answer = long.rest();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");
    let mut chunked = Raw::to(&server);
    chunked.send(&post(&server, "transfer-encoding: chunked\r\n"));
    chunked.send(&format!("1f4\r\n{0}\r\n1f5\r\n{0} \r\n", "x".repeat(500)));
    let answer = chunked.rest();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let mut slow = Raw::to(&server);
    slow.send(&post(&server, "content-length: 20\r\n"));
    slow.send("{\"name\":");
    let answer = slow.rest();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
    assert_eq!(server.get("/v2/tags").expect(200)["meta"]["total"], 0);
    // What is within the limit is read, whatever its form.
    let mut right = Raw::to(&server);
    right.send(&post(&server, "transfer-encoding: chunked\r\nconnection: close\r\n"));
    right.send("f\r\n{\"name\":\"right\"\r\n1\r\n}\r\n0\r\n\r\n");
    let answer = right.rest();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[test]
fn one_connection_too_many_is_turned_away_until_another_ends() {
    let server = Server::start_with("[requests]\nconnections = 2\n");
    let begin = |body: &str| {
        let mut raw = Raw::to(&server);
        raw.send(&post(&server, &format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len())));
        // It says this when it wants to read the body: the token is valid, and the request has begun.
        assert_eq!(raw.head(), "HTTP/1.1 100 Continue");
        raw
    };
    let (mut one, two) = (begin("{}"), begin("{}"));
    let refused = Raw::to(&server).rest();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("service_unavailable") && refused.contains("request_id"), "{refused}");
    one.send("{}");
    assert!(one.answer().starts_with("HTTP/1.1 4"));
    // It is idle now, so another one takes its place.
    server.get("/v2/account").expect(200);
    drop(two);
}

#[test]
fn every_answer_tells_a_rate_and_a_token_that_is_used_too_often_waits() {
    let server = Server::start();
    for answer in
        [server.get("/v2/account"), server.get("/v2/nothing"), server.send("GET", "/v2/account", None, None)]
    {
        assert_eq!(answer.header("ratelimit-limit"), Some("5000"));
        let number = |name: &str| answer.header(name).unwrap().parse::<i64>().unwrap();
        assert!(number("ratelimit-remaining") > 0 && number("ratelimit-reset") > 1_700_000_000);
        assert!(answer.header("x-request-id").is_some());
    }
    let server = Server::start_with("[requests]\nper_hour = 3\n");
    for remaining in ["2", "1", "0"] {
        let answer = server.get("/v2/account");
        assert_eq!((answer.status, answer.header("ratelimit-remaining")), (200, Some(remaining)));
        assert_eq!(answer.header("ratelimit-limit"), Some("3"));
    }
    let refused = server.get("/v2/account");
    let body = refused.expect(429);
    assert_eq!(
        (&body["id"], &body["message"]),
        (&"too_many_requests".into(), &"API rate limit exceeded.".into())
    );
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    // Another token has its own, and what needs none is not counted.
    let bob = server.token_of("bob");
    assert_eq!(server.send("GET", "/v2/account", Some(&bob), None).status, 200);
    assert_eq!(server.send("GET", "/healthz", None, None).status, 200);
}

#[test]
fn head_tells_what_get_would() {
    let server = Server::start();
    let (get, head) = (server.get("/v2/volumes"), server.ask("HEAD", "/v2/volumes", None));
    assert_eq!((get.status, head.status, head.text.as_str()), (200, 200, ""));
    for name in ["content-type", "content-length", "ratelimit-limit"] {
        assert_eq!(get.header(name), head.header(name), "{name}");
    }
    assert_eq!(server.ask("HEAD", "/v2/volumes/abc", None).status, 404);
}

#[test]
fn health_is_told_to_anybody() {
    let server = Server::start();
    let healthy = server.send("GET", "/healthz", None, None).expect(200);
    assert_eq!(healthy, serde_json::json!({"status": "ok", "failing": []}));
    std::fs::remove_file(server.dir.path().join("there/config")).unwrap();
    let failing = server.send("GET", "/healthz", None, None).expect(503);
    assert_eq!(failing, serde_json::json!({"status": "failing", "failing": ["region there"]}));
}

/// Returns the value of a metric, whose labels are written as they are told.
#[track_caller]
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

#[test]
fn metrics_count_requests_and_what_is_there() {
    let server = Server::start();
    let body = serde_json::json!({"name": "one", "region": "here", "size_gigabytes": 1});
    let id = server.post("/v2/volumes", &body).expect(201)["volume"]["id"].as_str().unwrap().to_owned();
    server.get(&format!("/v2/volumes/{id}")).expect(200);
    server.get(&format!("/v2/volumes/{id}")).expect(200);
    server.get("/v2/nothing").expect(404);
    server.send("GET", "/v2/account", Some("wrong"), None).expect(401);
    let answer = server.send("GET", "/metrics", None, None);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let number = |name: &str| metric(&answer.text, name);
    let requests = |method: &str, path: &str, status: u16| {
        number(&format!(
            "icecore_http_requests_total{{method=\"{method}\",path=\"{path}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!(requests("GET", "/v2/volumes/{id}", 200), 2.0);
    assert_eq!(requests("POST", "/v2/volumes", 201), 1.0);
    assert_eq!(requests("GET", "other", 404), 1.0);
    assert_eq!(requests("GET", "/v2/account", 401), 1.0);
    assert_eq!(number("icecore_http_request_seconds_count{path=\"/v2/volumes\"}"), 1.0);
    assert_eq!(number("icecore_volumes{region=\"here\"}"), 1.0);
    assert_eq!(number("icecore_volumes{region=\"there\"}"), 0.0);
    assert_eq!(number("icecore_snapshots{region=\"here\"}"), 0.0);
    assert!(number("icecore_repository_bytes{region=\"here\"}") > 4096.0);
    assert!(number("icecore_http_connections") >= 1.0);
    assert_eq!(number("icecore_nbd_connections"), 0.0);
    assert!(answer.text.ends_with("# EOF\n"));
}

#[test]
fn a_region_that_cannot_be_read_takes_no_metrics_of_others_away() {
    let server = Server::start();
    let look = || {
        let answer = server.send("GET", "/metrics", None, None);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    };
    assert_eq!(metric(&look(), "icecore_region_up{region=\"there\"}"), 1.0);
    let volumes = server.path("there/local/volumes");
    // It is made with the first volume.
    std::fs::write(&volumes, "no directory").unwrap();
    let text = look();
    assert_eq!(metric(&text, "icecore_region_up{region=\"there\"}"), 0.0);
    assert_eq!(metric(&text, "icecore_region_up{region=\"here\"}"), 1.0);
    assert_eq!(metric(&text, "icecore_volumes{region=\"here\"}"), 0.0);
    assert!(!text.contains("icecore_volumes{region=\"there\"}"), "what is not known is not told");
    std::fs::remove_file(&volumes).unwrap();
    assert_eq!(metric(&look(), "icecore_volumes{region=\"there\"}"), 0.0);
    // Its disk is gone: what has no file is no empty repository.
    std::fs::rename(server.path("there"), server.path("away")).unwrap();
    server.send("GET", "/healthz", None, None).expect(503);
    let text = look();
    assert_eq!(metric(&text, "icecore_region_up{region=\"there\"}"), 0.0);
    assert!(!text.contains("icecore_repository_bytes{region=\"there\"}"), "{text}");
}

#[test]
fn metrics_can_have_a_token_of_their_own() {
    let server = Server::start_with("[metrics]\ntoken = \"secret\"\n");
    for (token, status) in
        [(None, 401), (Some("wrong"), 401), (Some(server.token.as_str()), 401), (Some("secret"), 200)]
    {
        let answer = server.send("GET", "/metrics", token, None);
        assert_eq!(answer.status, status, "{token:?}");
        let id = answer.header("x-request-id").unwrap();
        assert!(status == 200 || answer.json()["request_id"] == id, "{answer:?}");
    }
}

/// Makes a certificate for this machine, and its key.
pub(crate) fn certify(dir: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=icecore", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "new-key.pem", "-out", "new.pem"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::rename(dir.join("new-key.pem"), dir.join("key.pem")).unwrap();
    std::fs::rename(dir.join("new.pem"), dir.join("certificate.pem")).unwrap();
}

/// Asks over TLS, with a client that trusts one certificate; none if it does not trust what it
/// sees.
fn ask_encrypted(server: &Server, trusted: &Path, path: &str) -> Option<String> {
    let done = Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--cacert"])
        .arg(trusted)
        .args(["--header", &format!("Authorization: Bearer {}", server.token)])
        .arg(format!("https://{}{path}", server.address))
        .output()
        .unwrap();
    done.status.success().then(|| String::from_utf8(done.stdout).unwrap())
}

#[test]
fn tls_is_served_and_its_certificate_is_replaced_while_it_runs() {
    let dir = Arc::new(TempDir::new().unwrap());
    certify(dir.path());
    let first = dir.path().join("first.pem");
    std::fs::copy(dir.path().join("certificate.pem"), &first).unwrap();
    let text = format!("{USUAL}[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n");
    let server = Server::start_in(Arc::clone(&dir), &text);
    for _ in 0..2 {
        // Addresses of pages are those that the client used.
        let answer = ask_encrypted(&server, &first, "/v2/sizes?per_page=2&page=1").unwrap();
        assert!(
            answer.contains(&format!("\"next\":\"https://{}/v2/sizes?page=2", server.address)),
            "{answer}"
        );
    }
    let mut plain = Raw::to(&server);
    plain.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(!plain.rest().contains("HTTP/1.1 200"));
    certify(dir.path());
    let second = dir.path().join("certificate.pem");
    assert!(ask_encrypted(&server, &second, "/healthz").is_none(), "the new one is not served yet");
    server.controls.reload();
    while ask_encrypted(&server, &second, "/healthz").is_none() {}
    assert!(ask_encrypted(&server, &first, "/healthz").is_none());
    // One that cannot be read leaves the one before.
    let served = dir.path().join("served.pem");
    std::fs::copy(&second, &served).unwrap();
    std::fs::copy(dir.path().join("key.pem"), &second).unwrap();
    server.controls.reload();
    for _ in 0..5 {
        assert!(ask_encrypted(&server, &served, "/healthz").is_some());
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let dir = TempDir::new().unwrap();
    certify(dir.path());
    std::fs::rename(dir.path().join("key.pem"), dir.path().join("old.pem")).unwrap();
    certify(dir.path());
    for (certificate, key, says) in [
        ("certificate.pem", "old.pem", "cannot use"),
        ("certificate.pem", "certificate.pem", "cannot use"),
        ("key.pem", "key.pem", "cannot use"),
        ("missing.pem", "key.pem", "missing.pem"),
    ] {
        let text = format!("{USUAL}[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        let config = config::parse(&text, dir.path()).unwrap();
        let clock = Arc::new(icecore_host::clock::SystemClock);
        let error =
            icecore_api::serve(config, clock, |_| panic!("it runs"), &icecore_api::Controls::default())
                .unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_request_that_has_begun_is_answered_before_the_end() {
    let mut server = Server::start();
    let mut raw = Raw::to(&server);
    raw.send(&post(&server, "content-length: 15\r\nexpect: 100-continue\r\n"));
    // It says this when it wants to read the body: the request has begun.
    assert_eq!(raw.head(), "HTTP/1.1 100 Continue");
    server.controls.stop();
    // Nobody else is let in any more.
    while TcpStream::connect(server.address).is_ok() {}
    raw.send("{\"name\":\"last\"}");
    let answer = raw.rest();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server.stop();
    let server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(server.get("/v2/tags").expect(200)["tags"][0]["name"], "last");
}

#[test]
fn what_does_not_end_is_cut_off_and_the_place_is_free_then() {
    let dir = Arc::new(TempDir::new().unwrap());
    let usual = USUAL.replace("[server]", "[server]\nstop_seconds = 1");
    let mut server = Server::start_in(Arc::clone(&dir), &usual);
    let mut raw = Raw::to(&server);
    raw.send(&post(&server, "content-length: 15\r\nexpect: 100-continue\r\n"));
    assert_eq!(raw.head(), "HTTP/1.1 100 Continue");
    let second = config::parse(&usual, dir.path()).unwrap();
    let clock = Arc::new(icecore_host::clock::SystemClock);
    let error = icecore_api::serve(second, clock, |_| panic!("it runs"), &icecore_api::Controls::default())
        .unwrap_err();
    assert_eq!(error.kind(), icecore::ErrorKind::InUse);
    server.stop();
    assert_eq!(raw.rest(), "");
    Server::start_in(dir, &usual).get("/v2/account").expect(200);
}

#[test]
fn what_is_in_the_place_of_the_socket_stays() {
    let dir = Arc::new(TempDir::new().unwrap());
    let text = format!("{USUAL}[nbd]\nsocket = \"disks\"\n");
    let path = dir.path().join("disks");
    std::fs::write(&path, "a file of somebody").unwrap();
    let config = config::parse(&text, dir.path()).unwrap();
    let clock = Arc::new(icecore_host::clock::SystemClock);
    let error = icecore_api::serve(config, clock, |_| panic!("it runs"), &icecore_api::Controls::default())
        .unwrap_err();
    assert_eq!(error.kind(), icecore::ErrorKind::AlreadyExists, "{error}");
    assert!(error.to_string().contains("is not a socket") && error.next_step().is_some(), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file of somebody");
    std::fs::remove_file(&path).unwrap();
    // A socket of a process that has ended does not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    Server::start_in(dir, &text).get("/v2/account").expect(200);
}

/// Returns the paths of all that is in a directory.
fn below(dir: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut dirs) = (BTreeSet::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            dirs.extend(path.is_dir().then(|| path.clone()));
            found.insert(path);
        }
    }
    found
}

#[test]
fn nothing_of_the_server_is_put_into_a_repository() {
    let mut server = Server::start();
    server.stop();
    let (dir, repository) = (server.dir.path(), server.path("here"));
    std::os::unix::fs::symlink(&repository, server.path("link")).unwrap();
    let before = below(&repository);
    for (line, with, is_state) in [
        ("[server]", "[server]\nstate_dir = \"here\"", true),
        ("[server]", "[server]\nstate_dir = \"here/packs/state\"", true),
        ("[server]", "[server]\nstate_dir = \"link/state\"", true),
        ("[server]", "[nbd]\nsocket = \"here/nbd\"\n[server]", false),
        ("[server]", "[nbd]\nsocket = \"state/../link/locks/nbd\"\n[server]", false),
        ("repository = \"there\"", "repository = \"here/there\"", false),
        ("repository = \"there\"", "repository = \"link/snapshots/there\"", false),
    ] {
        let config = config::parse(&USUAL.replacen(line, with, 1), dir).unwrap();
        // As `icecore token` does, without a server.
        let made = icecore_api::open_database(&config);
        assert_eq!(
            made.err().map(|error| error.kind()),
            is_state.then_some(icecore::ErrorKind::InvalidInput),
            "{with}"
        );
        let clock = Arc::new(icecore_host::clock::SystemClock);
        let error =
            icecore_api::serve(config, clock, |_| panic!("it runs"), &icecore_api::Controls::default())
                .unwrap_err();
        assert_eq!(error.kind(), icecore::ErrorKind::InvalidInput, "{with}: {error}");
        assert!(
            error.to_string().contains("is part of the repository") && error.next_step().is_some(),
            "{error}"
        );
        assert_eq!(below(&repository), before, "{with}");
    }
}

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/server.example.toml"));

/// Returns the keys that a table may have: an error names them when there is another one.
fn keys_of(example: &str, line: &str) -> Vec<String> {
    let wrong = match line {
        "" => format!("zzz = 1\n{example}"),
        _ => example.replacen(&format!("\n{line}\n"), &format!("\n{line}\nzzz = 1\n"), 1),
    };
    let error = config::parse(&wrong, Path::new("/etc/icecore")).unwrap_err().to_string();
    let (_, known) = error.split_once("expected").unwrap_or_else(|| panic!("{line}: {error}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_example_of_a_configuration_is_right_and_has_every_key() {
    // What is commented out is right too.
    let uncommented: Vec<String> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with('[')
                    || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                rest.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    for text in [EXAMPLE.to_owned(), uncommented.join("\n")] {
        let config = config::parse(&text, Path::new("/etc/icecore")).unwrap();
        assert_eq!(config.regions["local"].repository.to_string(), "/var/lib/icecore/local");
    }
    let example = uncommented.join("\n");
    let headers: Vec<&str> = example.lines().filter(|line| line.starts_with('[')).collect();
    let mut count = 0;
    for header in std::iter::once("").chain(headers.iter().copied()) {
        for key in keys_of(&example, header) {
            count += 1;
            let table = |line: &&str| {
                let name = line.trim_matches(['[', ']']);
                name == key || name.split('.').next() == Some(&key) || name.ends_with(&format!(".{key}"))
            };
            let there = example.lines().any(|line| line.starts_with(&format!("{key} = ")));
            assert!(there || headers.iter().any(table), "{key} of {header:?} is not in the example");
        }
    }
    assert!(count > 60, "{count} keys");
}

/// The figure that docs/server.md tells, in tenths: 0 is the safest of 100.
#[test]
fn the_unit_of_systemd_leaves_the_server_little_that_it_could_do() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/icecore.service");
    let mut analyze = Command::new("systemd-analyze");
    let done = analyze.args(["security", "--offline=true", "--threshold=11"]).arg(unit).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}
