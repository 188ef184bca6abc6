//! What is said before an export is used.

use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use icecore_nbd::Limits;

use crate::client;
use crate::client::Client;
use crate::client::ERR_INVALID;
use crate::client::ERR_POLICY;
use crate::client::ERR_TOO_BIG;
use crate::client::ERR_UNKNOWN;
use crate::client::ERR_UNSUP;
use crate::client::READ;
use crate::client::STATUS;
use crate::client::Told;
use crate::client::context_query;
use crate::client::name_query;
use crate::disks::Ram;

const LIST: u32 = 3;
const STARTTLS: u32 = 5;
const INFO: u32 = 6;
const GO: u32 = 7;
const STRUCTURED: u32 = 8;
const LIST_CONTEXTS: u32 = 9;
const SET_CONTEXTS: u32 = 10;

/// Greets a server of `disk`, which has 5000 bytes, and `image`, which is only read.
fn greet() -> (Client, JoinHandle<()>) {
    let disk = Arc::new(Ram::new(vec![1; 5000]));
    let image = Arc::new(Ram { read_only: true, ..Ram::new(vec![2; 4096]) });
    let (socket, server) = client::serve(&[("disk", &disk), ("image", &image)], Limits::default());
    (Client::greet(socket), server)
}

fn kinds(replies: &[(u32, Vec<u8>)]) -> Vec<u32> {
    replies.iter().map(|(kind, _)| *kind).collect()
}

fn contents(replies: &[(u32, Vec<u8>)]) -> Vec<&[u8]> {
    replies.iter().map(|(_, data)| &data[..]).collect()
}

#[test]
fn exports_are_listed_and_described() {
    let (mut client, _) = greet();
    let list = client.option(LIST, &[]);
    assert_eq!(kinds(&list), [2, 2, 1]);
    let told = [&b"\0\0\0\x04diskthe disk of a test"[..], b"\0\0\0\x05imagethe image of a test", b""];
    assert_eq!(contents(&list), told);

    let info = client.option(INFO, &name_query("disk", &[1, 2, 3, 999]));
    assert_eq!(kinds(&info), [3, 3, 3, 3, 1]);
    let told: [&[u8]; 5] = [
        // 5000 bytes; flags, flush, FUA, trim, write zeroes, DF, several connections, cache.
        b"\0\0\0\0\0\0\0\0\x13\x88\x05\xed",
        b"\0\x03\0\0\0\x01\0\0\x10\0\x02\0\0\0",
        b"\0\x01disk",
        b"\0\x02the disk of a test",
        b"",
    ];
    assert_eq!(contents(&info), told);
    // Read-only, without what writes.
    let image = client.option(INFO, &name_query("image", &[]));
    assert_eq!(image[0].1, b"\0\0\0\0\0\0\0\0\x10\0\x05\x87");
}

#[test]
fn what_cannot_be_had_is_refused_and_the_client_may_go_on() {
    let (mut client, _) = greet();
    let mut refused = |option, data: &[u8]| kinds(&client.option(option, data));
    assert_eq!(refused(STARTTLS, &[]), [ERR_UNSUP]);
    assert_eq!(refused(4, b"is unknown"), [ERR_UNSUP]);
    assert_eq!(refused(0xffff_ffff, &[7; 60_000]), [ERR_UNSUP]);
    assert_eq!(refused(LIST, b"x"), [ERR_INVALID]);
    assert_eq!(refused(STRUCTURED, b"x"), [ERR_INVALID]);
    for option in [INFO, GO] {
        assert_eq!(refused(option, &name_query("nothing", &[])), [ERR_UNKNOWN]);
        assert_eq!(refused(option, &name_query("secret", &[])), [ERR_POLICY]);
        assert_eq!(refused(option, &name_query("broken", &[])), [0x8000_0004]);
        assert_eq!(refused(option, &name_query(&"x".repeat(5000), &[])), [ERR_INVALID]);
        let right = name_query("disk", &[3]);
        for length in 0..right.len() {
            assert_eq!(refused(option, &right[..length]), [ERR_INVALID], "{length}");
        }
        assert_eq!(refused(option, &[&right[..], b"x"].concat()), [ERR_INVALID]);
        assert_eq!(refused(option, b"\xff\xff\xff\xffdisk\0\0"), [ERR_INVALID]);
        assert_eq!(refused(option, b"\0\0\0\x01\xff\0\0"), [ERR_INVALID], "not text");
    }
    assert_eq!(refused(INFO, &[0; 3 << 20]), [ERR_TOO_BIG]);
    assert_eq!(kinds(&client.option(GO, &name_query("disk", &[]))), [3, 3, 1]);
    assert_eq!(client.read(4990, 10), Ok(vec![1; 10]));
}

#[test]
fn who_does_not_speak_the_protocol_is_left() {
    let (mut client, server) = greet();
    client.socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    client.assert_end();
    server.join().unwrap();

    let (mut client, server) = greet();
    client.send_option(INFO, 5 << 20, &[]);
    client.assert_end();
    server.join().unwrap();

    let disk = Arc::new(Ram::new(vec![1; 5000]));
    let (mut socket, server) = client::serve(&[("disk", &disk)], Limits::default());
    socket.write_all(&[0, 0, 0, 4]).unwrap();
    let mut greeting = Vec::new();
    socket.read_to_end(&mut greeting).unwrap();
    assert_eq!(greeting.len(), 18, "flags that are not known");
    server.join().unwrap();
}

#[test]
fn a_client_that_says_nothing_is_left() {
    let disk = Arc::new(Ram::new(vec![1; 5000]));
    let limits = Limits { patience: Duration::from_millis(1), ..Limits::default() };
    let (socket, server) = client::serve(&[("disk", &disk)], limits);
    let mut bytes = Vec::new();
    (&socket).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 18);
    server.join().unwrap();
}

#[test]
fn abort_is_answered() {
    let (mut client, server) = greet();
    assert_eq!(client.option(2, b"whatever"), [(1, Vec::new())]);
    client.assert_end();
    server.join().unwrap();
}

#[test]
fn export_name_is_answered_with_size_and_flags() {
    for (flags, zeros) in [(1, 124), (3, 0)] {
        let disk = Arc::new(Ram::new(vec![9; 5000]));
        let (socket, _) = client::serve(&[("", &disk)], Limits::default());
        let mut client = Client::greet_with(socket, flags);
        client.send_option(1, 0, &[]);
        let mut reply = vec![0; 10 + zeros];
        client.socket.read_exact(&mut reply).unwrap();
        assert_eq!(reply[..10], *b"\0\0\0\0\0\0\x13\x88\x05\xed");
        assert!(reply[10..].iter().all(|byte| *byte == 0));
        assert_eq!(client.ask(0, READ, 0, 3), [Told::Simple(0), Told::Data(0, vec![9; 3])]);
    }
    let (mut client, server) = greet();
    client.send_option(1, 7, b"nothing");
    client.assert_end();
    server.join().unwrap();
}

#[test]
fn contexts_are_listed_and_chosen() {
    let (mut client, _) = greet();
    for option in [LIST_CONTEXTS, SET_CONTEXTS] {
        let early = client.option(option, &context_query("disk", &["base:allocation"]));
        assert_eq!(kinds(&early), [ERR_INVALID], "there are no chunks yet");
    }
    assert_eq!(kinds(&client.option(STRUCTURED, &[])), [1]);
    let mut ask = |option, name, queries: &[&str]| client.option(option, &context_query(name, queries));

    let all: [&[u8]; 4] = [b"\0\0\0\0base:allocation", b"\0\0\0\0test:odd", b"\0\0\0\0test:none", b""];
    assert_eq!(contents(&ask(LIST_CONTEXTS, "disk", &[])), all);
    assert_eq!(contents(&ask(LIST_CONTEXTS, "disk", &["base:"])), [all[0], b""]);
    assert_eq!(contents(&ask(LIST_CONTEXTS, "disk", &["test:", "other:"])), [all[1], all[2], b""]);
    assert_eq!(contents(&ask(LIST_CONTEXTS, "disk", &["test:od"])), [b""]);
    assert_eq!(kinds(&ask(LIST_CONTEXTS, "nothing", &[])), [ERR_UNKNOWN]);

    assert_eq!(
        contents(&ask(SET_CONTEXTS, "disk", &["base:", "test:"])),
        [b""],
        "a namespace selects nothing"
    );
    assert_eq!(contents(&ask(SET_CONTEXTS, "disk", &["test:odd"])), [&b"\0\0\0\x02test:odd"[..], b""]);
    assert_eq!(kinds(&ask(SET_CONTEXTS, "disk", &["x"; 1025])), [ERR_INVALID]);
    let right = context_query("disk", &["test:odd"]);
    for length in 0..right.len() {
        assert_eq!(kinds(&client.option(SET_CONTEXTS, &right[..length])), [ERR_INVALID], "{length}");
    }

    // A choice that failed is none.
    client.option(GO, &name_query("disk", &[]));
    assert_eq!(client.ask(0, STATUS, 0, 4096), [Told::Error(22, None)]);
}

#[test]
fn contexts_of_another_export_are_not_used() {
    let (mut client, _) = greet();
    client.option(STRUCTURED, &[]);
    client.option(SET_CONTEXTS, &context_query("image", &["base:allocation"]));
    client.option(GO, &name_query("disk", &[]));
    assert_eq!(client.ask(0, STATUS, 0, 4096), [Told::Error(22, None)]);
}
