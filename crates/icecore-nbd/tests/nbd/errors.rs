//! Requests that cannot be done, and disks that fail.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use icecore_nbd::Limits;

use crate::client;
use crate::client::CACHE;
use crate::client::Client;
use crate::client::DF;
use crate::client::FLUSH;
use crate::client::FUA;
use crate::client::NO_HOLE;
use crate::client::READ;
use crate::client::REQ_ONE;
use crate::client::STATUS;
use crate::client::TRIM;
use crate::client::Told;
use crate::client::WRITE;
use crate::client::ZEROES;
use crate::disks::BLOCK;
use crate::disks::Ram;

const EPERM: u32 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;

fn error_of(told: &[Told]) -> u32 {
    match told {
        [Told::Simple(error)] | [.., Told::Error(error, _)] => *error,
        _ => 0,
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told() {
    let max = u64::MAX;
    let wrong = [
        (0, READ, 8192, 1, EINVAL),
        (0, READ, 8191, 2, EINVAL),
        (0, READ, max, 2, EINVAL),
        (0, READ, max - 1, 1, EINVAL),
        (0, READ, 0, 0, EINVAL),
        (0, READ, 0, u32::MAX, EINVAL),
        (0, WRITE, 8191, 2, ENOSPC),
        (0, WRITE, max, 2, ENOSPC),
        (0, WRITE, 0, 0, EINVAL),
        (0, WRITE, 0, (32 << 20) + 1, EINVAL),
        (0, ZEROES, 8191, 2, ENOSPC),
        (0, ZEROES, max, u32::MAX, ENOSPC),
        (0, ZEROES, 0, 0, EINVAL),
        (0, TRIM, 8191, 2, EINVAL),
        (0, TRIM, max, 1, EINVAL),
        (0, TRIM, 0, 0, EINVAL),
        (0, CACHE, 8191, 2, EINVAL),
        (0, CACHE, 0, 0, EINVAL),
        (0, STATUS, 8191, 2, EINVAL),
        (0, STATUS, 0, 0, EINVAL),
        (0, FLUSH, 1, 0, EINVAL),
        (0, FLUSH, 0, 1, EINVAL),
        (0, 8, 0, 1, EINVAL),
        (0, 0xffff, 0, 1, EINVAL),
        // Flags of other commands, and unknown ones.
        (NO_HOLE, WRITE, 0, 1, EINVAL),
        (NO_HOLE, TRIM, 0, 1, EINVAL),
        (DF, WRITE, 0, 1, EINVAL),
        (REQ_ONE, READ, 0, 1, EINVAL),
        (DF, STATUS, 0, 1, EINVAL),
        (16, ZEROES, 0, 1, EINVAL),
        (0x8000, READ, 0, 1, EINVAL),
        (32, FLUSH, 0, 0, EINVAL),
    ];
    for structured in [false, true] {
        let disk = Arc::new(Ram::new(vec![5; 8192]));
        let (mut client, _) = Client::new(&disk, structured);
        for (flags, command, offset, length, error) in wrong {
            // A payload is there in any case.
            let payload = vec![1; if command == WRITE { length as usize } else { 0 }];
            let cookie = client.send(flags, command, offset, length, &payload);
            let told = client.answer(cookie, 0);
            let expected = if structured { Told::Error(error, None) } else { Told::Simple(error) };
            assert_eq!(told, [expected], "{flags} {command} {offset} {length}");
        }
        let may = if structured { 0 } else { EINVAL };
        assert_eq!(error_of(&client.ask(DF, READ, 0, 1)), may, "without chunks there is no DF");
        assert_eq!(error_of(&client.ask(0, STATUS, 0, 1)), may, "nor block status");
        assert_eq!(client.read(0, 8192), Ok(vec![5; 8192]));
    }
}

#[test]
fn what_is_only_read_is_not_written() {
    let disk = Arc::new(Ram { read_only: true, ..Ram::new(vec![5; 8192]) });
    let (mut client, _) = Client::new(&disk, true);
    assert_eq!(error_of(&client.write(0, 0, b"abc")), EPERM);
    assert_eq!(error_of(&client.write(FUA, 0, &vec![0; 33 << 20])), EPERM);
    assert_eq!(error_of(&client.ask(0, TRIM, 0, 4096)), EPERM);
    assert_eq!(error_of(&client.ask(0, ZEROES, 0, 4096)), EPERM);
    assert_eq!(client.ask(0, FLUSH, 0, 0), [Told::Simple(0)]);
    assert_eq!(client.read(0, 10), Ok(vec![5; 10]));
}

#[test]
fn who_writes_more_than_any_server_takes_is_left() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    let (mut client, server) = Client::new(&disk, true);
    client.send(0, WRITE, 0, u32::MAX, &[]);
    client.assert_end();
    server.join().unwrap();
}

#[test]
fn what_is_no_request_ends_the_connection_after_the_answers() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    let (mut client, server) = Client::new(&disk, false);
    let bytes = [client::request(0, READ, 1, 0, 1, &[]), vec![7; 28]].concat();
    client.socket.write_all(&bytes).unwrap();
    assert_eq!(client.answer(1, 1), [Told::Simple(0), Told::Data(0, vec![5])]);
    client.assert_end();
    server.join().unwrap();
}

#[test]
fn errors_of_a_disk_are_told_and_the_client_may_go_on() {
    let disk = Arc::new(Ram::new(vec![5; 64 * BLOCK]));
    // EIO, ENOSPC, EDQUOT, EROFS, ENOMEM, EOPNOTSUPP, ESHUTDOWN, EBADF
    for (number, told) in [(5, 5), (28, 28), (122, 28), (30, 1), (12, 12), (95, 95), (108, 108), (9, 5)] {
        *disk.errors.lock().unwrap() = [(20, number), (u64::MAX, number)].into();
        for structured in [false, true] {
            let (mut client, _) = Client::new(&disk, structured);
            assert_eq!(client.read(20 * 4096, 1), Err(told));
            assert_eq!(error_of(&client.write(0, 20 * 4096, b"x")), told);
            assert_eq!(error_of(&client.ask(0, ZEROES, 20 * 4096, 1)), told);
            assert_eq!(error_of(&client.ask(NO_HOLE, ZEROES, 20 * 4096, 1)), told);
            assert_eq!(error_of(&client.ask(0, TRIM, 20 * 4096, 4096)), told);
            assert_eq!(error_of(&client.ask(0, FLUSH, 0, 0)), told);
            assert_eq!(error_of(&client.write(FUA, 0, b"\x05")), told);
            assert_eq!(client.read(0, 4096), Ok(vec![5; BLOCK]));
        }
    }
}

#[test]
fn an_error_in_the_middle_of_a_read_is_told_where_it_is() {
    let mut bytes = vec![5; 64 * BLOCK];
    bytes[8 * BLOCK..16 * BLOCK].fill(0);
    let disk = Arc::new(Ram::new(bytes));
    disk.errors.lock().unwrap().insert(20, 5);
    let (mut client, _) = Client::new(&disk, true);
    let told = client.ask(0, READ, 0, 64 * 4096);
    let expected = [
        Told::Data(0, vec![5; 8 * BLOCK]),
        Told::Hole(8 * 4096, 8 * 4096),
        Told::Error(EIO, Some(16 * 4096)),
    ];
    assert_eq!(told, expected);
    assert_eq!(client.ask(DF, READ, 0, 64 * 4096), [Told::Error(EIO, None)]);
}

#[test]
fn a_context_of_which_the_disk_tells_nothing_is_an_error() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    let (socket, _) = client::serve(&[("disk", &disk)], Limits::default());
    let mut client = Client::greet(socket);
    client.option(8, &[]);
    client.option(10, &client::context_query("disk", &["test:none"]));
    client.option(7, &client::name_query("disk", &[]));
    assert_eq!(client.ask(0, STATUS, 0, 4096), [Told::Error(EIO, None)]);
}

#[test]
fn a_flush_that_failed_is_tried_again_at_the_end() {
    let disk = Arc::new(Ram::new(vec![5; 8192]));
    let (mut client, server) = Client::new(&disk, true);
    client.write(0, 0, b"abc");
    disk.errors.lock().unwrap().insert(u64::MAX, 5);
    assert_eq!(error_of(&client.ask(0, FLUSH, 0, 0)), EIO);
    disk.errors.lock().unwrap().clear();
    drop(client);
    server.join().unwrap();
    assert_eq!(disk.syncs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_disk_that_panics_ends_that_connection_only() {
    let disk = Arc::new(Ram { panics_at: Some(1), ..Ram::new(vec![5; 8192]) });
    for flags in [0, FUA] {
        let (mut client, server) = Client::new(&disk, true);
        let (mut other, _) = Client::new(&disk, true);
        client.write(0, 0, b"\x05");
        client.send(flags, READ, 4096, 1, &[]);
        client.assert_end();
        server.join().unwrap();
        assert_eq!(other.read(0, 3), Ok(vec![5; 3]));
    }
}
