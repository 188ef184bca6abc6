//! What is stored twice serves twice: a damaged block is taken from wherever its id is found.

use icecore::ErrorKind;
use icecore::maintenance::Depth;
use icecore::maintenance::LostRange;
use icecore_testing::random::Random;

use crate::damage::BLOCK;
use crate::damage::CHUNK;
use crate::damage::Fixture;
use crate::damage::RECORD_HEADER;
use crate::damage::read;

/// Returns bytes that do not compress, so that chunks are stored as they are.
fn raw(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// Flips a byte of a block of a chunk that is stored as it is.
fn flip_block(fixture: &Fixture, pack: &str, chunk: usize, slot: usize) {
    fixture.flip(pack, fixture.records(pack)[chunk] + RECORD_HEADER + slot * BLOCK + 1234);
}

/// Returns all that is lost, by snapshot and offset.
fn lost(fixture: &Fixture) -> Vec<LostRange> {
    let findings = fixture.verify(Depth::ReadData).findings;
    let mut lost: Vec<LostRange> = findings.into_iter().flat_map(|finding| finding.lost).collect();
    lost.sort();
    lost
}

#[test]
fn blocks_of_other_chunks_serve_where_a_chunk_is_damaged() {
    let image = raw(1, 4 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    // The same blocks, one further on: no chunk is the same.
    let shifted = [raw(2, BLOCK), image.clone()].concat();
    let (other, _) = fixture.add_unaware("b", shifted);
    fixture.assert_sound();
    let pack = fixture.packs[0].0.clone();
    (0..16).for_each(|slot| flip_block(&fixture, &pack, 1, slot));
    (0..2).for_each(|index| fixture.assert_restores(index));
    let report = fixture.verify(Depth::ReadData);
    assert_eq!(report.findings.len(), 1, "it is told");
    assert_eq!(report.findings[0].lost, [], "and nothing is lost by it");
    // Block 20 of the first image is slot 4 of its second chunk, and slot 5 of the second chunk of
    // the other.
    flip_block(&fixture, &other, 1, 5);
    assert_eq!(read(&fixture.open(), fixture.id(0)).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(
        lost(&fixture),
        [fixture.lost(0, 20 * BLOCK..21 * BLOCK), fixture.lost(1, 21 * BLOCK..22 * BLOCK)]
    );
}

#[test]
fn one_chunk_is_put_together_from_two_damaged_copies() {
    let image = raw(3, 2 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    let (other, _) = fixture.add_unaware("b", [image, raw(4, CHUNK)].concat());
    let pack = fixture.packs[0].0.clone();
    for slot in 0..16 {
        flip_block(&fixture, if slot % 2 == 0 { &pack } else { &other }, 1, slot);
    }
    (0..2).for_each(|index| fixture.assert_restores(index));
    let report = fixture.verify(Depth::ReadData);
    assert_eq!(report.findings.iter().map(|finding| finding.lost.len()).sum::<usize>(), 0);
    flip_block(&fixture, &other, 1, 6);
    let range = 22 * BLOCK..23 * BLOCK;
    assert_eq!(lost(&fixture), [fixture.lost(0, range.clone()), fixture.lost(1, range)]);
}
