//! Requests that come twice, and clients that go away before they are answered: what was asked for
//! is there once, or gone.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::contract::id;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::support::Answer;
use crate::support::Server;
use crate::support::USUAL;

/// Sends the head of a request, and so much of its body, and returns the connection.
fn begin(server: &Server, method: &str, path: &str, body: &str, sent: usize) -> TcpStream {
    let mut connection = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        server.token,
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&body.as_bytes()[..sent]).unwrap();
    connection
}

/// Asks, and goes away without an answer.
fn ask_and_leave(server: &Server, method: &str, path: &str, body: &Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    drop(begin(server, method, path, &body, body.len()));
}

fn names(server: &Server, path: &str, list: &str) -> Vec<String> {
    let shown = server.get(path).expect(200);
    shown[list].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_asked_for_twice_is_there_once_and_what_is_deleted_twice_is_not_found() {
    let server = Server::start();
    let one = volume(&server, "one", &json!({}));
    let taken = snapshot(&server, &one, "first");
    let (volume_path, snapshot_path) =
        (format!("/v2/volumes/{}", id(&one)), format!("/v2/snapshots/{}", id(&taken)));
    let (snapshots, actions) = (format!("{volume_path}/snapshots"), format!("{volume_path}/actions"));
    let again = json!({"name": "one", "region": "here", "size_gigabytes": 1});
    let grow = json!({"type": "resize", "size_gigabytes": 2, "region": "here"});
    let action = server.post(&actions, &grow).expect(202)["action"].take();
    let (tag, tagged) =
        (json!({"name": "t"}), json!({"resources": [{"resource_id": id(&one), "resource_type": "volume"}]}));
    holds(
        &server,
        &[
            ("POST", "/v2/volumes", again, 409, "already exists"),
            ("POST", &snapshots, json!({"name": "first"}), 409, "already exists"),
            ("POST", "/v2/tags", tag.clone(), 201, ""),
            ("POST", "/v2/tags", tag, 201, ""),
            ("POST", "/v2/tags/t/resources", tagged.clone(), 204, ""),
            ("POST", "/v2/tags/t/resources", tagged.clone(), 204, ""),
            ("DELETE", "/v2/tags/t/resources", tagged.clone(), 204, ""),
            ("DELETE", "/v2/tags/t/resources", tagged, 204, ""),
        ],
    );
    assert_eq!(names(&server, "/v2/volumes", "volumes"), ["one"]);
    assert_eq!(names(&server, "/v2/snapshots", "snapshots"), ["first"]);
    assert_eq!(names(&server, "/v2/tags", "tags"), ["t"]);
    assert_eq!(server.get(&volume_path).expect(200)["volume"]["size_gigabytes"], 2);
    for path in [snapshot_path, volume_path, "/v2/tags/t".to_owned()] {
        assert_eq!(server.delete(&path).status, 204, "{path}");
        holds(&server, &[("DELETE", &path, Value::Null, 404, ""), ("GET", &path, Value::Null, 404, "")]);
    }
    // What was done to a volume is told after its end; of what never was, nothing is.
    let path = format!("/v2/actions/{}", id(&action));
    assert_eq!(server.get(&path).expect(200)["action"]["status"], "completed");
    for path in [
        format!("{actions}/{}", id(&action)),
        "/v2/actions/999999999".to_owned(),
        format!("/v2/actions/{}", u64::MAX),
    ] {
        holds(&server, &[("GET", &path, Value::Null, 404, "")]);
    }
}

#[test]
fn what_a_client_that_went_away_had_asked_for_is_done_once_when_it_asks_again() {
    let mut server = Server::start();
    let name = |number: usize| format!("n{number}");
    let all: Vec<String> = (0..10).map(name).collect();
    let body = |name: &str| json!({"name": name, "region": "here", "size_gigabytes": 1});
    // Whether the first request was done is for the server to say, when it is asked once more.
    let one_of =
        |answer: &Answer, statuses: [u16; 2]| assert!(statuses.contains(&answer.status), "{answer:?}");
    for name in &all {
        ask_and_leave(&server, "POST", "/v2/volumes", &body(name));
        one_of(&server.post("/v2/volumes", &body(name)), [201, 409]);
        holds(&server, &[("POST", "/v2/volumes", body(name), 409, "already exists")]);
    }
    // What was begun ends with the server.
    server.stop();
    let mut server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(names(&server, "/v2/volumes", "volumes"), all);
    let first = server.get("/v2/volumes?name=n0").expect(200)["volumes"][0].take();
    let snapshots = format!("/v2/volumes/{}/snapshots", id(&first));
    for name in &all {
        ask_and_leave(&server, "POST", &snapshots, &json!({"name": name}));
        one_of(&server.post(&snapshots, &json!({"name": name})), [201, 409]);
    }
    server.stop();
    let mut server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(names(&server, "/v2/snapshots", "snapshots"), all);
    for (list, path) in [("snapshots", "/v2/snapshots"), ("volumes", "/v2/volumes")] {
        let there = server.get(path).expect(200)[list].take();
        for thing in there.as_array().unwrap() {
            let path = format!("{path}/{}", id(thing));
            ask_and_leave(&server, "DELETE", &path, &Value::Null);
            one_of(&server.delete(&path), [204, 404]);
            holds(&server, &[("DELETE", &path, Value::Null, 404, "")]);
        }
    }
    server.stop();
    let server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(names(&server, "/v2/volumes", "volumes"), [""; 0]);
    assert_eq!(names(&server, "/v2/snapshots", "snapshots"), [""; 0]);
}

#[test]
fn a_request_that_ends_in_the_middle_was_none() {
    let server = Server::start();
    let body = json!({"name": "one", "region": "here", "size_gigabytes": 1}).to_string();
    for sent in [0, 1, body.len() / 2, body.len() - 1] {
        let mut connection = begin(&server, "POST", "/v2/volumes", &body, sent);
        connection.shutdown(Shutdown::Write).unwrap();
        // It ends when the server is done with it.
        let mut answer = String::new();
        let _ = connection.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{sent}: {answer}");
        assert_eq!(names(&server, "/v2/volumes", "volumes"), [""; 0], "{sent}");
    }
}
