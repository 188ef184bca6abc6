//! What each request does to a disk, and how it is answered.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::client::CACHE;
use crate::client::Client;
use crate::client::DF;
use crate::client::DISC;
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
use crate::client::request;
use crate::disks::BLOCK;
use crate::disks::Ram;

const DONE: [Told; 1] = [Told::Simple(0)];

/// A disk of `blocks` blocks, each of them full of its number, from 1 on.
fn counted(blocks: u8) -> Arc<Ram> {
    Arc::new(Ram::new((1..=blocks).flat_map(|number| vec![number; BLOCK]).collect()))
}

#[test]
fn a_long_read_has_holes_where_the_disk_has_some() {
    let mut bytes = vec![0; 64 * BLOCK];
    bytes[16 * BLOCK..17 * BLOCK].fill(5);
    bytes[60 * BLOCK..].fill(6);
    let disk = Arc::new(Ram::new(bytes));
    let (mut client, _) = Client::new(&disk, true);
    let block = BLOCK as u64;
    let told = client.ask(0, READ, 100, 63 * 4096);
    let expected = [
        Told::Hole(100, 16 * 4096 - 100),
        Told::Data(16 * block, vec![5; BLOCK]),
        Told::Hole(17 * block, 43 * 4096),
        Told::Data(60 * block, vec![6; 3 * BLOCK + 100]),
    ];
    assert_eq!(told, expected);
    // Nothing but holes ends with one.
    assert_eq!(client.ask(0, READ, 20 * block, 40 * 4096), [Told::Hole(20 * block, 40 * 4096)]);
    // One piece, if the client wants that.
    let whole = disk.bytes.lock().unwrap()[..63 * BLOCK].to_vec();
    assert_eq!(client.ask(DF, READ, 0, 63 * 4096), [Told::Data(0, whole)]);
    // Short reads are only data.
    assert_eq!(client.ask(0, READ, 0, 4096), [Told::Data(0, vec![0; BLOCK])]);
    // The longest request is possible, and no longer one.
    let (mut client, _) = Client::new(&Arc::new(Ram::new(vec![7; (32 << 20) + 1])), true);
    assert!(client.read(1, 32 << 20).unwrap().iter().all(|byte| *byte == 7));
    assert_eq!(client.read(0, (32 << 20) + 1), Err(22));
}

#[test]
fn block_status_tells_data_holes_and_other_contexts() {
    let mut bytes = vec![0; 8 * BLOCK];
    bytes[2 * BLOCK..4 * BLOCK].fill(5);
    let (mut client, _) = Client::new(&Arc::new(Ram::new(bytes)), true);
    let told = client.ask(0, STATUS, 1000, 5 * 4096);
    let allocation = vec![(2 * 4096 - 1000, 3), (2 * 4096, 0), (4096 + 1000, 3)];
    let odd = vec![(3096, 0), (4096, 7), (4096, 0), (4096, 7), (4096, 0), (1000, 7)];
    assert_eq!(told, [Told::Status(1, allocation), Told::Status(2, odd)]);
    let told = client.ask(REQ_ONE, STATUS, 0, 8 * 4096);
    assert_eq!(told, [Told::Status(1, vec![(2 * 4096, 3)]), Told::Status(2, vec![(4096, 0)])]);
    let told = client.ask(REQ_ONE, STATUS, 4 * 4096, 4 * 4096);
    assert_eq!(told[0], Told::Status(1, vec![(4 * 4096, 3)]), "up to the end");
}

#[test]
fn a_reply_with_extents_is_bounded() {
    let every_other = |block: usize| vec![u8::try_from(block % 2).unwrap(); BLOCK];
    let (mut client, _) = Client::new(&Arc::new(Ram::new((0..3000).flat_map(every_other).collect())), true);
    let told = client.ask(0, STATUS, 0, 3000 * 4096);
    for told in told {
        let Told::Status(_, extents) = told else { panic!("{told:?}") };
        assert_eq!(extents.len(), 1024);
        assert!(extents.iter().all(|(length, _)| *length == 4096));
    }
}

#[test]
fn written_bytes_are_on_the_medium_after_flush_and_fua_only() {
    let disk = counted(8);
    let (mut client, _) = Client::new(&disk, false);
    let syncs = || disk.syncs.load(Ordering::SeqCst);
    assert_eq!(client.write(0, 10, &[9; 100]), DONE);
    assert_eq!(syncs(), 0);
    assert_eq!(client.ask(0, FLUSH, 0, 0), DONE);
    assert_eq!(syncs(), 1);
    assert_eq!(client.write(FUA, 10, &[9; 100]), DONE);
    assert_eq!(client.ask(FUA, TRIM, 0, 4096), DONE);
    assert_eq!(client.ask(FUA, ZEROES, 4096, 4096), DONE);
    assert_eq!(client.ask(FUA | NO_HOLE, ZEROES, 4096, 4096), DONE);
    assert_eq!(syncs(), 5);
    assert!(!disk.unsynced.load(Ordering::SeqCst));
    assert_eq!(client.ask(FUA, READ, 0, 1), [Told::Simple(0), Told::Data(0, vec![0])]);
}

#[test]
fn trim_takes_whole_blocks_and_zeroes_take_all() {
    let disk = Arc::new(Ram::new(vec![5; 3 * BLOCK + 10]));
    let (mut client, _) = Client::new(&disk, true);
    let zeros =
        |range: std::ops::Range<usize>| disk.bytes.lock().unwrap()[range].iter().all(|byte| *byte == 0);
    let zeroed = || {
        let calls = std::mem::take(&mut *disk.zeroed.lock().unwrap());
        calls.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
    };
    assert_eq!(client.ask(0, TRIM, 100, 4000), DONE);
    assert_eq!(client.ask(0, TRIM, 100, 4096), DONE);
    assert_eq!(zeroed(), [(0, 0); 0], "no whole block is in there");
    assert_eq!(client.ask(0, TRIM, 1, 2 * 4096), DONE);
    assert_eq!(zeroed(), [(4096, 8192)]);
    assert_eq!(client.ask(0, TRIM, 3 * 4096 - 1, 11), DONE);
    assert_eq!(zeroed(), [(3 * 4096, 3 * 4096 + 10)], "the last block is a short one");

    assert_eq!(client.ask(0, ZEROES, 10, 20), DONE);
    assert_eq!(zeroed(), [(10, 30)]);
    assert!(zeros(10..30) && !zeros(9..10) && !zeros(30..31));
    assert_eq!(client.ask(NO_HOLE, ZEROES, 40, 3 * 4096 - 80), DONE);
    assert_eq!(zeroed(), [(0, 0); 0], "zeros are written where holes are not wanted");
    assert!(zeros(40..3 * BLOCK - 40) && !zeros(39..40) && !zeros(3 * BLOCK - 40..3 * BLOCK - 39));
}

#[test]
fn zeros_longer_than_a_write_are_written() {
    let disk = Arc::new(Ram::new(vec![5; 40 << 20]));
    let (mut client, _) = Client::new(&disk, false);
    assert_eq!(client.ask(NO_HOLE, ZEROES, 1, (40 << 20) - 2), DONE);
    let bytes = disk.bytes.lock().unwrap();
    assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 2);
}

#[test]
fn cache_tells_the_disk_what_will_be_read() {
    let disk = counted(8);
    let (mut client, _) = Client::new(&disk, false);
    assert_eq!(client.ask(0, CACHE, 5, 20_000), DONE);
    assert_eq!(disk.needed.lock().unwrap()[..], vec![5..20_005; 1]);
}

#[test]
fn disconnecting_answers_what_was_asked_before_and_syncs() {
    let disk = counted(8);
    let (mut client, server) = Client::new(&disk, false);
    let requests = [
        request(0, WRITE, 1, 0, 3, b"abc"),
        request(0, READ, 2, 0, 4, &[]),
        request(0, DISC, 3, 0, 0, &[]),
        request(0, WRITE, 4, 0, 3, b"xyz"),
    ];
    client.socket.write_all(&requests.concat()).unwrap();
    assert_eq!(client.answer(1, 0), DONE);
    assert_eq!(client.answer(2, 4), [Told::Simple(0), Told::Data(0, b"abc\x01".to_vec())]);
    client.assert_end();
    server.join().unwrap();
    assert_eq!(disk.bytes.lock().unwrap()[..3], *b"abc", "what comes after is not done");
    assert_eq!(disk.syncs.load(Ordering::SeqCst), 1);
}

#[test]
fn half_a_request_does_nothing() {
    let whole = request(0, WRITE, 1, 0, 100_000, &[9; 100_000]);
    for length in [1, 4, 27, 28, 29, 5000, 99_999] {
        let disk = counted(64);
        let (mut client, server) = Client::new(&disk, false);
        client.socket.write_all(&whole[..length]).unwrap();
        client.socket.shutdown(Shutdown::Write).unwrap();
        client.assert_end();
        server.join().unwrap();
        assert_eq!(*disk.bytes.lock().unwrap(), *counted(64).bytes.lock().unwrap(), "{length}");
    }
}

#[test]
fn a_slow_flush_does_not_hold_up_others() {
    let disk = counted(8);
    let (mut client, _) = Client::new(&disk, false);
    disk.gate.close();
    let flush = client.send(0, FLUSH, 0, 0, &[]);
    disk.gate.wait_for_one();
    assert_eq!(client.read(0, 2), Ok(vec![1; 2]));
    assert_eq!(client.write(0, 0, b"ab"), DONE);
    disk.gate.open();
    assert_eq!(client.answer(flush, 0), DONE);
}
