//! A restore that goes on after damage gives all that is good, zeros for the rest, and says which
//! is which.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::snapshot::BadRanges;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::restore;
use icecore::storage::Storage;
use icecore_testing::images::TestImage;
use icecore_testing::repository::FRESH;
use icecore_testing::repository::IN_PLACE;

use crate::damage::BLOCK;
use crate::damage::CHUNK;
use crate::damage::Fixture;
use crate::damage::LEAF;
use crate::damage::RECORD_HEADER;
use crate::damage::bad_sector;
use crate::damage::noise;
use crate::damage::open;
use crate::damage::read;
use crate::damage::take;

/// A target that remembers what it was made of.
struct Target(Mutex<Vec<u8>>);

impl ReadAt for Target {
    fn len(&self) -> u64 {
        ReadAt::len(&*self.0.lock().unwrap())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap().read_at(offset, buffer)
    }
}

impl WriteAt for Target {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        self.0.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn zero_at(&self, range: Range<u64>) -> io::Result<()> {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        self.0.lock().unwrap()[range].fill(0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the image with zeros in these ranges.
fn with_zeros(image: &[u8], bad: &[Range<usize>]) -> Vec<u8> {
    let mut image = image.to_vec();
    bad.iter().for_each(|range| image[range.clone()].fill(0));
    image
}

fn ranges(bad: &BadRanges) -> Vec<Range<usize>> {
    let end = |offset: u64, bytes: u64| usize::try_from(offset + bytes).unwrap();
    bad.ranges.iter().map(|bad| end(bad.offset, 0)..end(bad.offset, bad.bytes)).collect()
}

/// Returns a range alone.
fn one(range: Range<usize>) -> Vec<Range<usize>> {
    std::iter::once(range).collect()
}

/// Restores a snapshot in every way there is, and asserts that exactly `bad` is zero and named.
fn assert_bad(fixture: &Fixture, index: usize, bad: &[Range<usize>], why: &str) {
    let (id, image) = &fixture.images[index];
    let expected = with_zeros(image, bad);
    let check = |way: &str, found: &[u8], told: &BadRanges| {
        assert!(found == expected, "{why}, {way}: other bytes, {told:?}");
        assert_eq!(ranges(told), bad, "{why}, {way}: {told:?}");
        assert_eq!(told.bytes, bad.iter().map(ExactSizeIterator::len).sum::<usize>() as u64);
    };
    let mut stream = Vec::new();
    let told = restore(&fixture.open(), *id, RestoreTo::Stream(&mut stream), OnDamage::GoOn, &NoProgress)
        .unwrap()
        .bad;
    check("stream", &stream, &told);
    // Whatever was in the target before: zeros, or bytes that are nobody's.
    for (what, to, before) in [("fresh", FRESH, 0), ("in place", IN_PLACE, 0xaa)] {
        let target = Target(Mutex::new(vec![before; image.len()]));
        let told = restore(&fixture.open(), *id, to(&target), OnDamage::GoOn, &NoProgress).unwrap().bad;
        check(what, &target.0.lock().unwrap(), &told);
    }
    let stopped = read(&fixture.open(), *id);
    assert_eq!(stopped.is_err(), !bad.is_empty(), "{why}: without --keep-going");
}

#[test]
fn what_is_sound_is_restored_as_without_it() {
    let fixture = Fixture::three();
    (0..3).for_each(|index| assert_bad(&fixture, index, &[], "nothing is damaged"));
}

#[test]
fn a_chunk_that_cannot_be_decoded_costs_its_blocks() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    let records = fixture.records(pack);
    fixture.flip(pack, records[0] + RECORD_HEADER);
    fixture.flip(pack, records.last().unwrap() + RECORD_HEADER);
    let end = fixture.images[0].1.len();
    assert_bad(&fixture, 0, &[0..CHUNK, 2 * LEAF + 5 * CHUNK..end], "two chunks");
    // The second has a block of its own in the middle of the first chunk.
    let bad = [0..3 * BLOCK, 4 * BLOCK..CHUNK, 2 * LEAF + 5 * CHUNK..end];
    assert_bad(&fixture, 1, &bad, "two chunks");
    assert_bad(&fixture, 2, &[], "another volume");
}

#[test]
fn a_bad_block_costs_itself_where_a_chunk_is_stored_as_it_is() {
    // Bytes that do not compress are stored raw.
    let mut image = vec![0; 4 * CHUNK];
    icecore_testing::random::Random::new(5).fill(&mut image);
    let fixture = Fixture::new(vec![("a", image)]);
    let pack = &fixture.packs[0].0;
    fixture.flip(pack, fixture.records(pack)[1] + RECORD_HEADER + 5 * BLOCK + 77);
    let bad = CHUNK + 5 * BLOCK..CHUNK + 6 * BLOCK;
    assert_bad(&fixture, 0, &one(bad.clone()), "one byte");
    let report = fixture.verify(Depth::ReadData);
    assert_eq!(report.findings[0].lost, [fixture.lost(0, bad)]);
}

#[test]
fn a_sector_that_cannot_be_read_costs_the_blocks_on_it() {
    let mut image = vec![0; 4 * CHUNK];
    icecore_testing::random::Random::new(6).fill(&mut image);
    let fixture = Fixture::new(vec![("a", image.clone())]);
    let path = fixture.packs[0].0.clone();
    let at = (fixture.records(&path)[2] + RECORD_HEADER + 7 * BLOCK + 100) as u64;
    let sector = at / 4096 * 4096;
    let storage = bad_sector(&fixture.storage, &path, sector..sector + 4096);
    let mut stream = Vec::new();
    let repo = open(&storage).unwrap();
    let told = restore(&repo, fixture.id(0), RestoreTo::Stream(&mut stream), OnDamage::GoOn, &NoProgress)
        .unwrap()
        .bad;
    let bad = ranges(&told);
    assert!(stream == with_zeros(&image, &bad));
    assert_eq!(
        told.bytes,
        2 * 4096,
        "a sector has the end of one block and the beginning of the next: {told:?}"
    );
}

#[test]
fn a_lost_page_costs_its_region_and_the_root_everything() {
    let fixture = Fixture::three();
    let pages = &fixture.packs[0].1;
    let records = fixture.records(pages);
    // Leaves come in the order of the image, the root last. The second snapshot shares the second
    // leaf and the third.
    fixture.flip(pages, records[1] + RECORD_HEADER + 2);
    let whole = fixture.images[0].1.len();
    assert_bad(&fixture, 0, &one(LEAF..2 * LEAF), "the second leaf");
    assert_bad(&fixture, 1, &one(LEAF..2 * LEAF), "the second leaf");
    fixture.flip(pages, records[3] + RECORD_HEADER + 2);
    assert_bad(&fixture, 0, &one(0..whole), "the root");
    assert_bad(&fixture, 1, &one(LEAF..2 * LEAF), "the root of another");
}

#[test]
fn a_region_without_pages_is_named_once_although_two_windows_meet_it() {
    // Eight leaves fill a window; then comes an inner page that cannot be read, which is met when
    // the window is filled and again when the next one begins.
    let inner = 128 * LEAF as u64;
    let mut image = TestImage::new(3 * inner);
    for leaf in (0..8).chain([128, 256]) {
        image = image.with(leaf * LEAF as u64, &noise(leaf, BLOCK));
    }
    let fixture = Fixture::new(vec![]);
    let id = take(&fixture.open(), 1, "a", &image).snapshot.id;
    let pages = fixture.files("packs/").into_iter().find(|path| fixture.bytes(path)[10] == 2).unwrap();
    // Eight leaves, the leaf behind them, the page above the eight, the last leaf, the page above
    // the one before.
    fixture.flip(&pages, fixture.records(&pages)[11] + RECORD_HEADER + 2);
    let told = restore(&fixture.open(), id, RestoreTo::Stream(&mut io::sink()), OnDamage::GoOn, &NoProgress)
        .unwrap()
        .bad;
    assert_eq!(told.ranges.len(), 1, "{told:?}");
    assert_eq!((told.ranges[0].offset, told.ranges[0].bytes, told.bytes), (inner, inner, inner));
}

#[test]
fn a_pack_that_is_gone_costs_what_is_in_it() {
    let fixture = Fixture::three();
    fixture.storage.remove(&fixture.packs[1].0).unwrap();
    assert_bad(&fixture, 1, &one(3 * BLOCK..4 * BLOCK), "the pack of one block");
    fixture.storage.remove(&fixture.packs[0].0).unwrap();
    let told = {
        let mut stream = Vec::new();
        restore(&fixture.open(), fixture.id(0), RestoreTo::Stream(&mut stream), OnDamage::GoOn, &NoProgress)
            .unwrap()
            .bad
    };
    assert_eq!(told.bytes, fixture.images[0].1.len() as u64);
    let problem = &told.ranges[0].problem;
    assert!(problem.contains("chunk ") && problem.contains("missing"), "{problem}");
}

#[test]
fn what_a_target_has_already_is_kept_although_the_repository_has_lost_it() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    fixture.flip(pack, fixture.records(pack)[0] + RECORD_HEADER);
    let (id, image) = &fixture.images[0];
    let mut before = image.clone();
    before[BLOCK..2 * BLOCK].fill(0x55);
    let target = Target(Mutex::new(before));
    let error =
        restore(&fixture.open(), *id, RestoreTo::InPlace(&target), OnDamage::Stop, &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let told =
        restore(&fixture.open(), *id, RestoreTo::InPlace(&target), OnDamage::GoOn, &NoProgress).unwrap().bad;
    let bad = BLOCK..2 * BLOCK;
    assert_eq!(ranges(&told), one(bad.clone()));
    assert!(*target.0.lock().unwrap() == with_zeros(image, &one(bad)));
}

#[test]
fn the_reason_names_chunk_and_pack() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    fixture.flip(pack, fixture.records(pack)[0] + RECORD_HEADER);
    let told = restore(
        &fixture.open(),
        fixture.id(0),
        RestoreTo::Stream(&mut Vec::new()),
        OnDamage::GoOn,
        &NoProgress,
    )
    .unwrap()
    .bad;
    let id = pack.rsplit('/').next().unwrap();
    assert!(told.ranges[0].problem.contains(id), "{told:?}");
    let error = read(&fixture.open(), fixture.id(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(text.contains(id) && text.contains("bytes 0 to 65536") && text.contains("number 1"), "{text}");
}
