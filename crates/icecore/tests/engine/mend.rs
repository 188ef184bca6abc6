//! `repair packs` brings back what other places have, keeps what is good, and says what is lost.

use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::Finding;
use icecore::maintenance::LostRange;
use icecore::maintenance::RepairPacksReport;
use icecore::maintenance::gc;
use icecore::maintenance::repair_packs;
use icecore::storage::MemoryStorage;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::fault_storage::failing_from;
use icecore_testing::random::Random;

use crate::damage::BLOCK;
use crate::damage::CHUNK;
use crate::damage::Fixture;
use crate::damage::RECORD_HEADER;
use crate::damage::bad_sector;
use crate::damage::open;
use crate::damage::read;
use crate::damage::take;

fn raw(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

fn repair(fixture: &Fixture) -> RepairPacksReport {
    repair_packs(&fixture.open(), false, &NoProgress).unwrap()
}

/// Flips a byte of a block of a chunk that is stored as it is.
fn flip_block(fixture: &Fixture, pack: &str, chunk: usize, slot: usize) {
    fixture.flip(pack, fixture.records(pack)[chunk] + RECORD_HEADER + slot * BLOCK + 1234);
}

fn findings(fixture: &Fixture) -> Vec<Finding> {
    fixture.verify(Depth::ReadData).findings
}

/// Asserts that a verification finds nothing but this, whatever is read.
fn assert_lost(fixture: &Fixture, lost: &[LostRange]) {
    for depth in [Depth::Structure, Depth::ReadData] {
        let found = fixture.verify(depth).findings;
        assert!(found.iter().all(|finding| !finding.lost.is_empty()), "{found:?}");
        let mut all: Vec<LostRange> = found.into_iter().flat_map(|finding| finding.lost).collect();
        all.sort();
        assert_eq!(all, lost);
    }
}

#[test]
fn what_is_sound_is_left_alone() {
    let fixture = Fixture::three();
    let before = fixture.storage.files();
    let report = repair(&fixture);
    assert_eq!(report, RepairPacksReport { packs: 6, ..RepairPacksReport::default() });
    assert_eq!(fixture.storage.files(), before);
}

#[test]
fn chunks_pages_and_records_that_other_places_have_are_brought_back() {
    let image = raw(1, 4 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    // All chunks of the first, and others; the blocks of the first one further on; the same leaf
    // with another root.
    fixture.add_unaware("b", [image.clone(), raw(2, CHUNK)].concat());
    fixture.add_unaware("c", [raw(3, BLOCK), image.clone()].concat());
    let (data, pages) = fixture.packs[0].clone();
    let records = fixture.records(&data);
    flip_block(&fixture, &data, 0, 3);
    (0..16).for_each(|slot| flip_block(&fixture, &data, 2, slot));
    fixture.flip(&data, records[3] + 20);
    let before = fixture.bytes(&data);
    assert_eq!(findings(&fixture).len(), 3);
    let report = repair(&fixture);
    assert_eq!((report.chunks_kept, report.chunks_brought_back), (1, 3), "{report:?}");
    assert_eq!((report.blocks_lost, report.pages_lost, report.lost.len()), (0, 0, 0));
    assert!(data.contains(&report.damaged_packs[0].0));
    fixture.assert_sound();
    // What was brought back is the very pack, byte for byte, so that there is nothing to put aside.
    assert_ne!(fixture.bytes(&data), before);
    assert!(fixture.files("damaged/").is_empty());
    assert!(fixture.files("packs/").contains(&pages));
}

#[test]
fn a_chunk_of_which_some_blocks_are_lost_keeps_the_others_and_heals_later() {
    let image = raw(4, 8 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    let data = fixture.packs[0].0.clone();
    flip_block(&fixture, &data, 1, 5);
    (0..16).for_each(|slot| flip_block(&fixture, &data, 4, slot));
    let damaged = fixture.bytes(&data);
    let lost = [fixture.lost(0, 21 * BLOCK..22 * BLOCK), fixture.lost(0, 4 * CHUNK..5 * CHUNK)];
    let planned = repair_packs(&fixture.open(), true, &NoProgress).unwrap();
    let report = repair(&fixture);
    assert_eq!(planned, report, "a dry run says what will be");
    assert_eq!((report.chunks_kept, report.blocks_lost), (6, 17));
    assert_eq!(report.lost, lost);
    assert_lost(&fixture, &lost);
    let aside = format!("damaged/{}", data.rsplit('/').next().unwrap());
    assert_eq!(fixture.bytes(&aside), damaged);
    assert_eq!(repair(&fixture).damaged_packs, [], "once");
    // The image comes by again, compared with its parent, or shifted by a block so that no chunk is
    // the same.
    let shifted = [raw(5, BLOCK), image.clone()].concat();
    let again = take(&fixture.open(), 8, "b", &shifted);
    assert_eq!(again.snapshot.stats.new_bytes, 18 * BLOCK as u64);
    fixture.images.push((again.snapshot.id, shifted));
    fixture.assert_sound();
    let repo = fixture.open();
    let plan = gc::plan(&repo, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
    gc::apply(&repo, plan, &NoProgress).unwrap();
    fixture.assert_sound();
}

#[test]
fn a_parent_that_has_lost_something_does_not_pass_the_loss_on() {
    let image = raw(6, 5 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    let data = fixture.packs[0].0.clone();
    flip_block(&fixture, &data, 1, 5);
    repair(&fixture);
    let again = take(&fixture.open(), 8, "a", &image);
    assert_eq!(again.snapshot.stats.new_bytes, BLOCK as u64);
    fixture.images.push((again.snapshot.id, image));
    fixture.assert_sound();
}

#[test]
fn a_page_that_is_lost_is_told_and_the_other_pages_of_its_pack_stay() {
    let fixture = Fixture::three();
    let pages = fixture.packs[0].1.clone();
    fixture.flip(&pages, fixture.records(&pages)[1] + RECORD_HEADER + 3);
    let report = repair(&fixture);
    assert_eq!((report.chunks_kept, report.pages_lost), (3, 1));
    let leaf = crate::damage::LEAF..2 * crate::damage::LEAF;
    let lost = [fixture.lost(0, leaf.clone()), fixture.lost(1, leaf)];
    assert_eq!(report.lost, lost);
    assert_lost(&fixture, &lost);
    fixture.assert_restores(2);
}

#[test]
fn a_bad_sector_counts_as_damage_and_a_pack_that_cannot_be_opened_is_left() {
    let fixture = Fixture::three();
    let path = fixture.packs[0].0.clone();
    let record = (fixture.records(&path)[9] + RECORD_HEADER + 10) as u64;
    let storage = bad_sector(&fixture.storage, &path, record..record + 1);
    let report = repair_packs(&open(&storage).unwrap(), false, &NoProgress).unwrap();
    assert_eq!((report.damaged_packs.len(), report.unopened.len()), (1, 0));
    let lost = [fixture.lost(0, 9 * CHUNK..10 * CHUNK), fixture.lost(1, 9 * CHUNK..10 * CHUNK)];
    assert_lost(&fixture, &lost);

    let path = fixture.packs[2].0.clone();
    let storage = bad_sector(&fixture.storage, &path, 0..64);
    let report = repair_packs(&open(&storage).unwrap(), false, &NoProgress).unwrap();
    assert_eq!((report.damaged_packs.len(), report.unopened.len()), (0, 1), "{report:?}");
    assert!(report.unopened[0].1.contains("bad sector"), "{report:?}");
    assert!(fixture.files("packs/").contains(&path));
    fixture.assert_restores(2);
}

#[test]
fn a_pack_that_a_capture_stored_again_meanwhile_is_not_put_aside() {
    // A pack that is damaged and mended in full is the same file again; nothing of it may end in
    // damaged/.
    let image = raw(7, 3 * CHUNK);
    let mut fixture = Fixture::new(vec![("a", image.clone())]);
    fixture.add_unaware("b", [image, raw(8, CHUNK)].concat());
    let data = fixture.packs[0].0.clone();
    let whole = fixture.bytes(&data);
    flip_block(&fixture, &data, 1, 1);
    repair(&fixture);
    assert_eq!(fixture.bytes(&data), whole);
}

#[test]
fn a_repair_of_packs_that_fails_at_any_call_loses_nothing() {
    let image = raw(9, 6 * CHUNK);
    for n in 0.. {
        let mut fixture = Fixture::new(vec![("a", image.clone())]);
        fixture.add_unaware("b", [image[..3 * CHUNK].to_vec(), raw(10, CHUNK)].concat());
        let data = fixture.packs[0].0.clone();
        flip_block(&fixture, &data, 1, 1);
        flip_block(&fixture, &data, 5, 1);
        let faulty: FaultStorage<MemoryStorage> =
            failing_from(fixture.storage.clone(), n, std::io::ErrorKind::StorageFull);
        let outcome = open(&faulty).and_then(|repo| repair_packs(&repo, false, &NoProgress));
        let mut lost: Vec<LostRange> =
            findings(&fixture).into_iter().flat_map(|finding| finding.lost).collect();
        lost.sort();
        assert_eq!(lost, [fixture.lost(0, 81 * BLOCK..82 * BLOCK)], "failed at call {n}");
        if outcome.is_err() {
            repair(&fixture);
        }
        assert_lost(&fixture, &[fixture.lost(0, 81 * BLOCK..82 * BLOCK)]);
        assert!(read(&fixture.open(), fixture.id(1)).is_ok());
        if outcome.is_ok() {
            assert!(n > 10, "it must have done something");
            return;
        }
    }
}
