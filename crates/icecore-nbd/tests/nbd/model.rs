//! Random requests, several under way at once, compared with what they do to plain bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_testing::random::Random;

use crate::client::Client;
use crate::client::DF;
use crate::client::FLUSH;
use crate::client::FUA;
use crate::client::NO_HOLE;
use crate::client::READ;
use crate::client::TRIM;
use crate::client::Told;
use crate::client::WRITE;
use crate::client::ZEROES;
use crate::disks::BLOCK;
use crate::disks::Ram;

const BLOCKS: usize = 64;
const REGIONS: usize = 8;
const REGION: usize = BLOCKS / REGIONS * BLOCK;

/// What is expected of a request: the bytes of a read.
type Expected = Option<(usize, Vec<u8>)>;

/// Sends a random request within one region, and does the same to the model.
fn send(client: &mut Client, random: &mut Random, model: &mut [u8], region: usize) -> (u64, Expected) {
    let begin = region * REGION + random.below(REGION);
    let length = 1 + random.below((region + 1) * REGION - begin);
    let (offset, bytes) = (begin as u64, u32::try_from(length).unwrap());
    let range = begin..begin + length;
    let fua = if random.below(4) == 0 { FUA } else { 0 };
    match random.below(8) {
        0..3 => {
            let df = if client.structured && random.below(2) == 0 { DF } else { 0 };
            let cookie = client.send(df, READ, offset, bytes, &[]);
            (cookie, Some((begin, model[range].to_vec())))
        }
        3..6 => {
            let payload: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            model[range].copy_from_slice(&payload);
            (client.send(fua, WRITE, offset, bytes, &payload), None)
        }
        6 => {
            let no_hole = if random.below(2) == 0 { NO_HOLE } else { 0 };
            model[range].fill(0);
            (client.send(fua | no_hole, ZEROES, offset, bytes, &[]), None)
        }
        _ if random.below(2) == 0 => (client.send(0, FLUSH, 0, 0, &[]), None),
        _ => {
            let whole = begin.next_multiple_of(BLOCK)..(begin + length) / BLOCK * BLOCK;
            if !whole.is_empty() {
                model[whole].fill(0);
            }
            (client.send(fua, TRIM, offset, bytes, &[]), None)
        }
    }
}

/// Compares the answer of a read.
fn check(told: Vec<Told>, structured: bool, (begin, expected): (usize, Vec<u8>)) {
    let mut bytes = vec![0xee; expected.len()];
    for told in told {
        let (at, part) = match told {
            Told::Simple(0) => continue,
            Told::Data(at, part) => (if structured { usize::try_from(at).unwrap() - begin } else { 0 }, part),
            Told::Hole(at, length) => (usize::try_from(at).unwrap() - begin, vec![0; length as usize]),
            other => panic!("{other:?}"),
        };
        bytes[at..at + part.len()].copy_from_slice(&part);
    }
    assert!(bytes == expected, "a read at {begin} has other bytes than were written");
}

#[test]
fn random_requests_do_what_they_do_to_plain_bytes() {
    for (seed, structured) in [(1, false), (2, true), (3, true)] {
        let mut random = Random::new(seed);
        let mut model = vec![0; BLOCKS * BLOCK];
        let disk = Arc::new(Ram::new(model.clone()));
        let (mut client, server) = Client::new(&disk, structured);
        for _ in 0..150 {
            // One request in each region, all at once: there is no order between those.
            let mut sent = BTreeMap::new();
            for region in 0..REGIONS {
                let (cookie, expected) = send(&mut client, &mut random, &mut model, region);
                sent.insert(cookie, expected);
            }
            while !sent.is_empty() {
                // Without chunks, only who knows the request knows how long its reply is.
                let (cookie, told) =
                    client.reply(|cookie| sent[&cookie].as_ref().map_or(0, |(_, bytes)| bytes.len()));
                match sent.remove(&cookie).unwrap() {
                    Some(expected) => check(told, structured, expected),
                    None => assert_eq!(told, [Told::Simple(0)]),
                }
            }
        }
        drop(client);
        server.join().unwrap();
        assert!(*disk.bytes.lock().unwrap() == model, "seed {seed}");
        assert!(!disk.unsynced.load(std::sync::atomic::Ordering::SeqCst));
    }
}
