//! What the server does with connections and heads that no handler gets: who is let in, and what is
//! said to those who are not understood.

use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::operation::Raw;
use crate::operation::certify;
use crate::operation::post;
use crate::support::Server;
use crate::support::USUAL;

/// The status of an answer, and the error in it, which must have the form of the API's.
#[track_caller]
fn error_in(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer:?}"));
    assert!(head.contains("content-type: application/json; charset=utf-8"), "{answer}");
    let id = error["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("x-request-id: {id}")), "{answer}");
    assert!(!error["message"].as_str().unwrap().is_empty() && error["id"].is_string(), "{answer}");
    (status, error)
}

#[track_caller]
fn refused(server: &Server, request: &str) -> (u16, String) {
    let mut raw = Raw::to(server);
    raw.send(request);
    let (status, error) = error_in(&raw.rest());
    (status, error["message"].as_str().unwrap().to_owned())
}

fn get(server: &Server) -> String {
    format!("GET /v2/account HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", server.token)
}

#[test]
fn what_hyper_would_refuse_without_a_word_is_an_error_of_the_api() {
    let server = Server::start();
    for (request, status, says) in [
        ("GET /v2/account\r\n\r\n", 400, "cannot be read"),
        ("GET /v2/acc ount HTTP/1.1\r\nhost: x\r\n\r\n", 400, "cannot be read"),
        ("GET /v2/account HTTP/1.1\r\nbad header: x\r\n\r\n", 400, "cannot be read"),
        ("GET /v2/account HTTP/1.1\r\nhost: x\r\nfolded\r\n\r\n", 400, "cannot be read"),
        ("G\0T /v2/account HTTP/1.1\r\nhost: x\r\n\r\n", 400, "cannot be read"),
        ("GET /v2/account HTTP/3.1\r\nhost: x\r\n\r\n", 400, "cannot be read"),
        ("POST /v2/tags HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400, "cannot be read"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/1.1"),
    ] {
        let (seen, message) = refused(&server, request);
        assert_eq!(seen, status, "{request}: {message}");
        assert!(message.contains(says), "{request}: {message}");
    }
    // The answers to requests before it come first.
    let mut raw = Raw::to(&server);
    raw.send(&format!("{}GET / NONSENSE\r\n\r\n", get(&server)));
    let both = raw.rest();
    let last = both.rfind("HTTP/1.1 ").unwrap();
    assert!(both.starts_with("HTTP/1.1 200") && both[..last].ends_with('}'), "{both}");
    assert_eq!(error_in(&both[last..]).0, 400);
}

#[test]
fn a_body_that_cannot_be_read_is_not_too_long() {
    let server = Server::start();
    let broken = post(&server, "transfer-encoding: chunked\r\n") + "zz\r\n";
    let (status, message) = refused(&server, &broken);
    assert_eq!(status, 400, "{message}");
    let path = "/v2/volumes/%ff%fe";
    let answer = server.get(path);
    assert_eq!(answer.expect(400)["id"], "bad_request");
    assert_eq!(answer.json()["request_id"], answer.header("x-request-id").unwrap());
}

#[test]
fn the_limit_of_a_head_holds_to_the_byte() {
    let server = Server::start_with("[requests]\nhead_bytes = 8192\n");
    let head = |bytes: usize| {
        let rest = format!(
            "GET /v2/account HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\nx: \r\n\r\n",
            server.token
        );
        rest.replace("x: \r\n", &format!("x: {}\r\n", "a".repeat(bytes - rest.len())))
    };
    let mut raw = Raw::to(&server);
    raw.send(&head(8192));
    let answer = raw.rest();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for bytes in [8193, 9000, 100_000] {
        let (status, message) = refused(&server, &head(bytes));
        assert_eq!(status, 431, "{message}");
        assert!(message.contains("8192 bytes"), "{message}");
    }
    let headers: String = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
    let (status, message) = refused(&server, &format!("GET /v2 HTTP/1.1\r\nhost: x\r\n{headers}\r\n"));
    assert!(status == 431 && message.contains("100 headers"), "{status} {message}");
}

#[test]
fn a_client_that_has_sent_all_it_has_to_say_gets_its_answer() {
    let server = Server::start();
    let mut raw = Raw::to(&server);
    raw.send(&post(&server, "content-length: 15\r\n"));
    raw.send("{\"name\":\"half\"}");
    raw.0.get_ref().shutdown(Shutdown::Write).unwrap();
    let answer = raw.rest();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    // A half of a head is a mistake that is told, and nothing is not.
    let mut raw = Raw::to(&server);
    raw.send("GET /v2/account HTT");
    raw.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(error_in(&raw.rest()).0, 400);
    let mut raw = Raw::to(&server);
    raw.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(raw.rest(), "");
}

#[test]
fn a_head_that_comes_too_slowly_is_told_and_an_idle_connection_is_closed() {
    let server = Server::start_with("[requests]\nhead_seconds = 1\n");
    let (status, message) = refused(&server, "GET /v2/account HTTP/1.1\r\nhost: x\r\nx-slow: ");
    assert!(status == 408 && message.contains("within 1 s"), "{status} {message}");
    assert_eq!(Raw::to(&server).rest(), "");
    let mut raw = Raw::to(&server);
    raw.send(&get(&server));
    let answer = raw.rest();
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[test]
fn a_request_has_one_host() {
    let server = Server::start();
    let token = format!("authorization: Bearer {}\r\n", server.token);
    for (hosts, status) in [
        ("", 400),
        ("host: a\r\nhost: a\r\n", 400),
        ("host: a\r\nHost: b\r\n", 400),
        ("host: a/b\r\n", 400),
        ("host: somewhere.example\r\n", 200),
    ] {
        for path in ["/v2/account", "/v2/nothing", "/healthz", "/sign-in"] {
            let mut raw = Raw::to(&server);
            raw.send(&format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{hosts}{token}\r\n"));
            let answer = raw.rest();
            match status {
                400 => assert_eq!(error_in(&answer).0, 400, "{hosts} {path}"),
                _ if path == "/v2/account" => assert!(answer.starts_with("HTTP/1.1 200"), "{answer}"),
                _ => {}
            }
        }
    }
    let mut raw = Raw::to(&server);
    raw.send(&format!("GET /v2/account HTTP/1.0\r\n{token}\r\n"));
    assert!(raw.line().starts_with("HTTP/1.0 200"));
}

#[test]
fn where_no_token_guards_only_names_of_the_server_are_answered() {
    let dir = Arc::new(TempDir::new().unwrap());
    let text = USUAL.replace("[server]", "[server]\nnames = [\"icecore.example\"]");
    let server = Server::start_in(dir, &text);
    let status = |path: &str, host: &str| {
        let mut raw = Raw::to(&server);
        raw.send(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        raw.rest()
    };
    for path in ["/metrics", "/healthz", "/sign-in", "/openapi.json", "/assets/style.css"] {
        for own in [
            "localhost",
            "127.0.0.1:80",
            "[::1]:8080",
            "192.0.2.1",
            "icecore.example",
            "ICECORE.example:8080",
        ] {
            let answer = status(path, own);
            assert!(!answer.starts_with("HTTP/1.1 421"), "{path} {own}: {answer}");
        }
        for foreign in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "icecore.example.evil"]
        {
            let (status, error) = error_in(&status(path, foreign));
            assert_eq!(
                (status, error["id"].as_str()),
                (421, Some("misdirected_request")),
                "{path} {foreign}"
            );
            assert!(error["message"].as_str().unwrap().contains("`names`"), "{error}");
        }
    }
    // A form too, which signs in.
    let mut raw = Raw::to(&server);
    let form = format!("token={}", server.token);
    raw.send(&format!(
        "POST /sign-in HTTP/1.1\r\nhost: evil.example\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!(error_in(&raw.rest()).0, 421);
    assert!(!status("http://evil.example/healthz", "localhost").starts_with("HTTP/1.1 200"));
}

#[test]
fn plain_http_on_the_port_of_tls_is_told_so() {
    let dir = Arc::new(TempDir::new().unwrap());
    certify(dir.path());
    let text = format!("{USUAL}[tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n");
    let server = Server::start_in(dir, &text);
    let (status, message) = refused(&server, &get(&server));
    assert_eq!(status, 400);
    assert!(message.contains("https://"), "{message}");
    // Neither a request, nor the beginning of a handshake.
    Raw::to(&server).send("\u{16}");
}

/// Opens idle connections.
fn idle(server: &Server, count: usize) -> Vec<Raw> {
    (0..count).map(|_| Raw::to(server)).collect()
}

fn is_answered(raw: &mut Raw, request: &str) -> bool {
    raw.send(request);
    raw.answer().starts_with("HTTP/1.1 200")
}

#[test]
fn idle_connections_lock_nobody_out() {
    let server = Server::start_with("[requests]\nconnections = 8\n");
    let mut mine = Raw::to(&server);
    assert!(is_answered(&mut mine, &get(&server)));
    let crowd = idle(&server, 50);
    for _ in 0..20 {
        server.get("/v2/account").expect(200);
        server.send("GET", "/healthz", None, None).expect(200);
    }
    // The oldest have gone, and one that has shown a token has not.
    let closed = |mut raw: Raw| assert_eq!(raw.rest(), "");
    crowd.into_iter().take(40).for_each(closed);
    assert!(is_answered(&mut mine, &get(&server)));
    let metrics = server.send("GET", "/metrics", None, None).text;
    let count =
        metrics.lines().find_map(|line| line.strip_prefix("icecore_http_connections_closed_for_room_total "));
    assert!(count.unwrap().parse::<u64>().unwrap() >= 43, "{metrics}");
}

#[test]
fn slow_heads_and_bodies_lock_nobody_out() {
    let server = Server::start_with("[requests]\nconnections = 4\n");
    let mut mine = Raw::to(&server);
    assert!(is_answered(&mut mine, &get(&server)));
    let mut slow = idle(&server, 6);
    slow[0].send("GET /v2/account HTTP/1.1\r\nhost: ");
    slow[1].send(
        "POST /v2/tags HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nauthorization: Bearer wrong\r\n\r\n{",
    );
    slow[2].send("POST /sign-in HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\ntoken=");
    // All of these would wait for 30 s.
    slow[3].send("GET /");
    slow[4].send("POST /v2/tags HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    for _ in 0..20 {
        server.get("/v2/account").expect(200);
    }
    assert!(is_answered(&mut mine, &get(&server)));
}

#[test]
fn an_idle_connection_with_a_token_goes_before_a_request_with_one() {
    let server = Server::start_with("[requests]\nconnections = 2\n");
    let mut busy = Raw::to(&server);
    busy.send(&post(&server, "content-length: 15\r\nexpect: 100-continue\r\n"));
    assert_eq!(busy.head(), "HTTP/1.1 100 Continue");
    let mut known = Raw::to(&server);
    assert!(is_answered(&mut known, &get(&server)));
    server.get("/v2/account").expect(200);
    assert_eq!(known.rest(), "");
    busy.send("{\"name\":\"kept\"}");
    assert!(busy.answer().starts_with("HTTP/1.1 201"));
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_database_is_the_servers_alone() {
    let mut server = Server::start();
    let files = ["state/icecore.sqlite", "state/icecore.sqlite-wal", "state/icecore.sqlite-shm"];
    let modes = |server: &Server| {
        let files = files.map(|name| server.path(name)).into_iter().filter(|path| path.exists());
        let modes: Vec<_> = files.map(|path| mode(&path)).collect();
        (mode(&server.path("state")), modes)
    };
    server.get("/v2/account").expect(200);
    assert_eq!(modes(&server), (0o700, vec![0o600; 3]));
    // One of an earlier version, which a crash has left its other files.
    let dir = Arc::clone(&server.dir);
    for name in files {
        std::fs::copy(server.path(name), server.path(&format!("{name}.left"))).unwrap();
    }
    server.stop();
    for name in files {
        std::fs::rename(server.path(&format!("{name}.left")), server.path(name)).unwrap();
        std::fs::set_permissions(server.path(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    std::fs::set_permissions(server.path("state"), PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::start_in(dir, USUAL);
    server.get("/v2/account").expect(200);
    assert_eq!(modes(&server), (0o700, vec![0o600; 3]));
}
