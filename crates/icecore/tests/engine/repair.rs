//! Repair makes the index again, saves what can be read of damaged packs, and says what is lost.

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::RepairIndexReport;
use icecore::maintenance::gc;
use icecore::maintenance::repair_index;
use icecore::maintenance::repair_snapshots;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::delete;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::fault_storage::failing_from;

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

fn repair(fixture: &Fixture) -> RepairIndexReport {
    repair_index(&fixture.open(), &NoProgress).unwrap()
}

#[test]
fn an_index_that_is_gone_is_made_again_from_the_packs() {
    let fixture = Fixture::three();
    let before = fixture.verify(Depth::ReadData);
    for run in fixture.files("index/") {
        fixture.storage.remove(&run).unwrap();
    }
    assert!(!fixture.verify(Depth::Structure).findings.is_empty());
    let repo = fixture.open();
    let report = repair_index(&repo, &NoProgress).unwrap();
    assert_eq!(report.packs, before.packs);
    assert!(report.chunks > before.chunks, "chunks and pages");
    assert_eq!(read(&repo, fixture.id(0)).unwrap(), fixture.images[0].1, "the handle knows the new index");
    fixture.assert_sound();
    let again = take(&fixture.open(), 9, "elsewhere", &fixture.images[1].1);
    assert_eq!(again.snapshot.stats.new_bytes, 0, "the blocks are found, too");
}

#[test]
fn damaged_runs_are_replaced() {
    for part in [4, 2, 1] {
        let fixture = Fixture::three();
        for run in fixture.files("index/") {
            fixture.flip(&run, fixture.bytes(&run).len() / part - 1);
        }
        let repo = fixture.open();
        assert!(!fixture.verify(Depth::Structure).findings.is_empty());
        repair_index(&repo, &NoProgress).unwrap();
        assert_eq!(read(&repo, fixture.id(2)).unwrap(), fixture.images[2].1);
        fixture.assert_sound();
        assert_eq!(fixture.files("index/").len(), 1);
    }
}

#[test]
fn a_damaged_filter_costs_space_and_nothing_else() {
    let fixture = Fixture::three();
    repair(&fixture);
    let run = fixture.files("index/").pop_first().unwrap();
    let mut bytes = fixture.bytes(&run);
    // The filter stands behind the header and the ids of six packs.
    let lines = usize::from(bytes[36]);
    bytes[64 + 6 * 32..][..lines * 64].fill(0);
    fixture.storage.put(&run, bytes);
    assert!(!fixture.verify(Depth::Structure).findings.is_empty(), "its checksum is wrong");
    fixture.assert_restores(0);
    let again = take(&fixture.open(), 9, "elsewhere", &fixture.images[1].1);
    assert!(again.snapshot.stats.new_bytes > 0, "known blocks were not found");
    assert_eq!(read(&fixture.open(), again.snapshot.id).unwrap(), fixture.images[1].1);
    repair(&fixture);
    fixture.assert_sound();
    assert_eq!(take(&fixture.open(), 10, "again", &fixture.images[1].1).snapshot.stats.new_bytes, 0);
}

#[test]
fn a_run_that_gets_the_name_of_the_damaged_one_is_opened_anew() {
    let fixture = Fixture::three();
    // Now there is one run, of all packs, which the next repair writes again under the same name.
    repair(&fixture);
    let run = fixture.files("index/").pop_first().unwrap();
    let mut bytes = fixture.bytes(&run);
    bytes[64 + 6 * 32..].fill(0);
    fixture.storage.put(&run, bytes);
    let repo = fixture.open();
    assert!(read(&repo, fixture.id(0)).is_err());
    repair_index(&repo, &NoProgress).unwrap();
    assert_eq!(fixture.files("index/").pop_first(), Some(run));
    assert!(read(&repo, fixture.id(0)).unwrap() == fixture.images[0].1);
}

#[test]
fn a_repair_of_what_is_sound_changes_nothing_that_can_be_seen() {
    let fixture = Fixture::three();
    let packs = fixture.files("packs/");
    let report = repair(&fixture);
    assert_eq!((report.damaged_packs.len(), report.chunks_saved), (0, 0));
    assert_eq!(repair(&fixture), report);
    assert_eq!(fixture.files("packs/"), packs);
    fixture.assert_sound();
}

#[test]
fn everything_is_saved_of_a_pack_whose_ends_are_damaged() {
    for which in [0, 1] {
        for at in [0, 20] {
            for from_end in [false, true] {
                let fixture = Fixture::three();
                let pack = [&fixture.packs[0].0, &fixture.packs[0].1][which].clone();
                let before = fixture.bytes(&pack);
                let len = before.len();
                fixture.flip(&pack, if from_end { len - 1 - at * 10 } else { at });
                let records = fixture.records(&pack).len() as u64;
                let report = repair(&fixture);
                assert_eq!(report.chunks_saved, records);
                assert!(pack.contains(&report.damaged_packs[0].0), "{report:?}");
                // With its header it is the pack itself again; without it, another one.
                assert_eq!(fixture.files("packs/").contains(&pack), from_end);
                assert_eq!(fixture.files("damaged/").len(), usize::from(!from_end));
                assert!(!from_end || fixture.bytes(&pack) == before);
                fixture.assert_sound();
            }
        }
    }
}

#[test]
fn what_is_before_the_end_of_a_truncated_pack_is_saved() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    let records = fixture.records(pack);
    let mut bytes = fixture.bytes(pack);
    bytes.truncate(records[100] + 1000);
    fixture.storage.put(pack, bytes.clone());
    let report = repair(&fixture);
    assert_eq!((report.damaged_packs.len(), report.chunks_saved), (1, 100));
    let aside = pack.replace("packs/", "damaged/");
    assert_eq!(fixture.bytes(&aside), bytes, "the damaged file is kept");
    let report = repair_snapshots(&fixture.open(), &NoProgress).unwrap();
    let whole = fixture.images[0].1.len();
    assert_eq!(report.snapshots, 3);
    assert_eq!(
        report.lost,
        [fixture.lost(0, 100 * CHUNK..whole), fixture.lost(1, 100 * CHUNK..whole)],
        "ranges of one snapshot that meet are one"
    );
    fixture.assert_restores(2);
    // The image itself brings back what is lost.
    assert_eq!(repair(&fixture).damaged_packs, []);
    take(&fixture.open(), 9, "a", &fixture.images[0].1);
    fixture.assert_sound();
}

#[test]
fn a_second_damaged_file_of_the_same_name_does_not_replace_the_first() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[2].0;
    for bytes in [b"first".to_vec(), b"second".to_vec()] {
        fixture.storage.put(pack, bytes);
        repair(&fixture);
    }
    assert_eq!(fixture.files("damaged/").len(), 2);
}

#[test]
fn one_damaged_record_costs_only_itself_when_the_directory_is_gone() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    let records = fixture.records(pack);
    fixture.flip(pack, records[5] + RECORD_HEADER + 3);
    fixture.flip(pack, records[6] + 17);
    fixture.flip(pack, fixture.bytes(pack).len() - 1);
    assert_eq!(repair(&fixture).chunks_saved, records.len() as u64 - 2);
    let lost = repair_snapshots(&fixture.open(), &NoProgress).unwrap().lost;
    let range = 5 * CHUNK..7 * CHUNK;
    assert_eq!(lost, [fixture.lost(0, range.clone()), fixture.lost(1, range)]);
}

#[test]
fn what_lies_around_a_bad_sector_is_saved() {
    let fixture = Fixture::three();
    let path = fixture.packs[0].0.clone();
    let records = fixture.records(&path);
    fixture.flip(&path, fixture.bytes(&path).len() - 1);
    let record = (records[9] + RECORD_HEADER + 10) as u64;
    let bad = record..record + 1;
    let storage = bad_sector(&fixture.storage, &path, bad);
    let report = repair_index(&open(&storage).unwrap(), &NoProgress).unwrap();
    // What could not be read may be readable another time: the file is not put aside.
    assert!(fixture.storage.open(&path).is_ok() && report.damaged_packs[0].1.contains("stays"), "{report:?}");
    // A sector of 4 KiB may have the end of one record and the beginning of the next in it.
    assert!(report.chunks_saved >= records.len() as u64 - 2, "{report:?}");
    fixture.assert_restores(2);
}

#[test]
fn files_that_are_nobodys_stay_where_they_are_and_a_pack_under_a_wrong_name_is_taken_in() {
    let fixture = Fixture::three();
    fixture.storage.put("packs/notes.txt", b"hello".to_vec());
    let pack = &fixture.packs[0].0;
    let bytes = fixture.bytes(pack);
    fixture.storage.remove(pack).unwrap();
    fixture.storage.put("packs/lost and found", bytes);
    let report = repair(&fixture);
    assert_eq!(report.damaged_packs.len(), 1, "{report:?}");
    assert_eq!(fixture.bytes("packs/notes.txt"), b"hello");
    fixture.storage.remove("packs/notes.txt").unwrap();
    fixture.assert_sound();
}

#[test]
fn punched_chunks_are_saved_too() {
    let first = noise(1, LEAF);
    let mut second = first.clone();
    // One block of every other chunk stays in use, so that gc keeps chunks with holes in them.
    for (at, block) in second.chunks_mut(BLOCK).enumerate() {
        if at % 32 != 5 {
            block.copy_from_slice(&noise(at as u64 + 100, BLOCK));
        }
    }
    let mut fixture = Fixture::new(vec![("a", first), ("a", second)]);
    delete(&fixture.open(), fixture.id(0), DeleteOptions::default()).unwrap();
    fixture.images.remove(0);
    let repo = fixture.open();
    let plan = gc::plan(&repo, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
    assert!(gc::apply(&repo, plan, &NoProgress).unwrap().chunks_punched > 0);
    fixture.assert_sound();
    for pack in fixture.files("packs/") {
        fixture.flip(&pack, fixture.bytes(&pack).len() - 1);
    }
    let report = repair(&fixture);
    assert_eq!(report.chunks_saved, report.chunks);
    fixture.assert_sound();
}

#[test]
fn only_one_gc_or_repair_runs() {
    let fixture = Fixture::three();
    let repo = fixture.open();
    let plan = gc::plan(&repo, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
    let error = repair_index(&fixture.open(), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    drop(plan);
    repair(&fixture);
}

#[test]
fn a_repair_that_fails_at_any_call_loses_nothing() {
    let image = noise(4, 40 * CHUNK);
    let mut changed = image.clone();
    changed[..CHUNK].fill(9);
    for n in 0.. {
        let fixture = Fixture::new(vec![("a", image.clone()), ("b", changed.clone())]);
        let (pack, runs) = (&fixture.packs[0].0, fixture.files("index/"));
        // The header says nothing any more, and neither does one of the runs.
        fixture.flip(pack, 12);
        let record = fixture.records(pack)[3];
        fixture.flip(pack, record + RECORD_HEADER);
        fixture.storage.remove(runs.first().unwrap()).unwrap();
        let faulty: FaultStorage<MemoryStorage> =
            failing_from(fixture.storage.clone(), n, std::io::ErrorKind::StorageFull);
        let outcome = open(&faulty).and_then(|repo| repair_index(&repo, &NoProgress));
        if outcome.is_err() {
            repair(&fixture);
        }
        let lost = repair_snapshots(&fixture.open(), &NoProgress).unwrap().lost;
        let range = 3 * CHUNK..4 * CHUNK;
        assert_eq!(lost, [fixture.lost(0, range.clone()), fixture.lost(1, range)], "failed at call {n}");
        if outcome.is_ok() {
            assert!(n > 10, "it must have done something");
            return;
        }
    }
}
