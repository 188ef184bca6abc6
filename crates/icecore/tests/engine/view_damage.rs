//! A disk of a snapshot of which something is damaged: what can be had is read, and the rest is an
//! error that says what it is.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::fuzzing::seal;
use icecore::image::ReadAt;
use icecore::maintenance::set_parity;
use icecore::snapshot::BlockCache;
use icecore::snapshot::SnapshotDisk;
use icecore::storage::Storage;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;

use crate::damage::BLOCK;
use crate::damage::CHUNK;
use crate::damage::Fixture;
use crate::damage::LEAF;
use crate::damage::RECORD_HEADER;
use crate::damage::bad_sector;
use crate::damage::noise;
use crate::damage::open;

/// Returns bytes that do not compress, so that chunks are stored as they are.
fn raw(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

fn disk_in(storage: &(impl Storage + Clone + 'static), fixture: &Fixture, index: usize) -> SnapshotDisk {
    let repo = Arc::new(open(storage).unwrap());
    SnapshotDisk::open(repo, fixture.id(index), BlockCache::usual()).unwrap()
}

fn disk(fixture: &Fixture, index: usize) -> SnapshotDisk {
    disk_in(&fixture.storage, fixture, index)
}

fn read(disk: &SnapshotDisk, range: Range<usize>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0xa5; range.len()];
    disk.read_at(range.start as u64, &mut bytes)?;
    Ok(bytes)
}

/// Reads a disk block by block. Returns the blocks that cannot be read; all others must be those of
/// the image.
fn unreadable(disk: &SnapshotDisk, image: &[u8]) -> Vec<usize> {
    let mut bad = Vec::new();
    for (number, block) in image.chunks(BLOCK).enumerate() {
        match read(disk, number * BLOCK..number * BLOCK + block.len()) {
            Ok(bytes) => assert_same(&bytes, block, "a block"),
            Err(_) => bad.push(number),
        }
    }
    bad
}

/// Asserts that a read fails, and that its error says all that there is to be known.
fn assert_told(
    disk: &SnapshotDisk,
    fixture: &Fixture,
    read_of: Range<usize>,
    bad: Range<usize>,
    also: &[&str],
) {
    let error = read(disk, read_of).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).unwrap();
    assert_eq!(inner.kind(), ErrorKind::Corrupt);
    assert!(inner.next_step().is_some());
    let text = error.to_string();
    let range = format!("bytes {} to {}", bad.start, bad.end);
    for part in [&fixture.id(0).to_string(), "number 1", &range].into_iter().chain(also.iter().copied()) {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

/// Flips a byte of a block of a chunk that is stored as it is.
fn flip_block(fixture: &Fixture, pack: &str, chunk: usize, slot: usize) {
    fixture.flip(pack, fixture.records(pack)[chunk] + RECORD_HEADER + slot * BLOCK + 1234);
}

fn pack_id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[test]
fn one_bad_block_is_an_error_of_the_reads_that_touch_it_and_of_no_others() {
    let image = raw(1, 6 * CHUNK);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let pack = fixture.packs[0].0.clone();
    flip_block(&fixture, &pack, 2, 3);
    let bad = 2 * CHUNK + 3 * BLOCK..2 * CHUNK + 4 * BLOCK;
    let disk = disk(&fixture, 0);
    for again in 0..3 {
        assert_eq!(unreadable(&disk, &image), [35], "round {again}");
        let also = [pack_id(&pack), "chunk"];
        assert_told(&disk, &fixture, 0..image.len(), bad.clone(), &also);
        assert_told(&disk, &fixture, bad.start + 7..bad.start + 8, bad.clone(), &also);
        let before = read(&disk, BLOCK + 1..bad.start).unwrap();
        assert_same(&before, &image[BLOCK + 1..bad.start], "what is before it");
    }
    // Nothing of it was kept: once the pack is in order again, so is the disk.
    flip_block(&fixture, &pack, 2, 3);
    assert_same(&read(&disk, 0..image.len()).unwrap(), &image, "the whole image, healed");
}

#[test]
fn a_compressed_chunk_that_is_damaged_loses_its_own_blocks_only() {
    let image = noise(1, 5 * CHUNK + 100);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let pack = fixture.packs[0].0.clone();
    fixture.flip(&pack, fixture.records(&pack)[1] + RECORD_HEADER);
    let disk = disk(&fixture, 0);
    assert_eq!(unreadable(&disk, &image), (16..32).collect::<Vec<_>>());
    assert_told(&disk, &fixture, CHUNK - 5..3 * CHUNK, CHUNK..2 * CHUNK, &[pack_id(&pack)]);
}

#[test]
fn bytes_that_are_not_those_of_their_ids_are_never_returned_whatever_their_checksums_say() {
    let image = raw(4, 3 * CHUNK);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let pack = fixture.packs[0].0.clone();
    flip_block(&fixture, &pack, 1, 9);
    let mut sealed = fixture.bytes(&pack);
    seal::file(&[7; 32], &pack, &mut sealed);
    assert_ne!(sealed, fixture.bytes(&pack), "the checksums were wrong before");
    fixture.storage.put(&pack, sealed);
    let disk = disk(&fixture, 0);
    for round in 0..2 {
        assert_eq!(unreadable(&disk, &image), [25], "round {round}");
    }
    assert_told(&disk, &fixture, 0..image.len(), 25 * BLOCK..26 * BLOCK, &[pack_id(&pack)]);
}

#[test]
fn what_is_stored_twice_is_read_from_where_it_is_good() {
    let image = raw(3, 4 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    let (same, _) = fixture.add_unaware("b", [image.clone(), raw(4, CHUNK)].concat());
    let shifted = [raw(2, BLOCK), image.clone()].concat();
    let (other, _) = fixture.add_unaware("c", shifted);
    let pack = fixture.packs[0].0.clone();
    // Good in one of two copies of the chunk, or, slot 7, only in another chunk.
    for slot in 0..16 {
        flip_block(&fixture, if slot % 2 == 0 { &pack } else { &same }, 1, slot);
    }
    flip_block(&fixture, &pack, 1, 7);
    assert_same(&read(&disk(&fixture, 0), 0..image.len()).unwrap(), &image, "all at once");
    assert_eq!(unreadable(&disk(&fixture, 0), &image), Vec::<usize>::new(), "block by block");
    // Block 23 is slot 8 of the second chunk of the shifted image.
    flip_block(&fixture, &other, 1, 8);
    assert_eq!(unreadable(&disk(&fixture, 0), &image), [23]);
}

#[test]
fn a_sector_that_cannot_be_read_costs_what_is_in_it() {
    let image = raw(5, 3 * CHUNK);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let path = fixture.packs[0].0.clone();
    let begin = (fixture.records(&path)[1] + RECORD_HEADER) as u64;
    let bad = (begin + 5000).next_multiple_of(4096);
    let storage = bad_sector(&fixture.storage, &path, bad..bad + 512);
    let lost = unreadable(&disk_in(&storage, &fixture, 0), &image);
    assert!((1..=2).contains(&lost.len()) && lost.iter().all(|block| (16..32).contains(block)), "{lost:?}");
}

#[test]
fn a_page_that_is_damaged_costs_its_region() {
    let image = raw(6, 2 * LEAF + CHUNK);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let pages = fixture.packs[0].1.clone();
    let records = fixture.records(&pages);
    fixture.flip(&pages, records[1] + RECORD_HEADER + 9);
    let one = disk(&fixture, 0);
    let mut bad: Vec<usize> = (0..3).collect();
    bad.retain(|leaf| read(&one, leaf * LEAF + BLOCK..leaf * LEAF + 2 * BLOCK).is_err());
    assert_eq!(bad.len(), 1);
    let region = bad[0] * LEAF..((bad[0] + 1) * LEAF).min(image.len());
    assert_told(&one, &fixture, region.start..region.start + 10, region.clone(), &[pack_id(&pages)]);
    assert!(one.next_data(region.start as u64).is_err(), "it is not known to be a hole");
    // Above everything: the disk opens, and nothing of it can be read.
    fixture.flip(&pages, records.last().unwrap() + RECORD_HEADER + 9);
    let none = disk(&fixture, 0);
    assert_told(&none, &fixture, LEAF..LEAF + 1, 0..image.len(), &[pack_id(&pages)]);
}

#[test]
fn packs_that_are_gone_are_read_through_parity() {
    let image = raw(7, LEAF + CHUNK);
    let fixture = Fixture::new(vec![("a", image.clone()), ("b", raw(8, LEAF))]);
    set_parity(&fixture.open(), Some("4+2".parse().unwrap()), &NoProgress).unwrap();
    fixture.storage.remove(&fixture.packs[0].0).unwrap();
    let pages = &fixture.packs[0].1;
    fixture.flip(pages, fixture.records(pages)[0] + RECORD_HEADER + 9);
    let disk = disk(&fixture, 0);
    assert_same(&read(&disk, LEAF - 10..LEAF + 10).unwrap(), &image[LEAF - 10..LEAF + 10], "a few bytes");
    // From one end to the other, so that the pool's threads read ahead meanwhile.
    for (number, part) in image.chunks(100_000).enumerate() {
        let range = number * 100_000..number * 100_000 + part.len();
        assert_same(&read(&disk, range).unwrap(), part, "a part");
    }
}

#[test]
fn a_chunk_that_is_gone_is_told() {
    let image = raw(9, LEAF);
    let fixture = Fixture::new(vec![("a", image)]);
    fixture.storage.remove(&fixture.packs[0].0).unwrap();
    let disk = disk(&fixture, 0);
    assert_told(&disk, &fixture, BLOCK..2 * BLOCK, BLOCK..2 * BLOCK, &["chunk", "missing"]);
}
