//! Verify finds what is wrong, and says what is lost by it to the byte.

use icecore::ErrorKind;
use icecore::Meter;
use icecore::NextStep;
use icecore::NoProgress;
use icecore::Progress;
use icecore::fuzzing::forge::Forge;
use icecore::maintenance::Depth;
use icecore::maintenance::Finding;
use icecore::maintenance::verify;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::delete;
use icecore::storage::Storage;
use icecore_testing::repository::TestRepository;
use proptest::prelude::*;
use uuid::Uuid;

use crate::damage::BLOCK;
use crate::damage::CHUNK;
use crate::damage::Fixture;
use crate::damage::LEAF;
use crate::damage::PACK_HEADER;
use crate::damage::RECORD_HEADER;
use crate::damage::bad_sector;
use crate::damage::noise;
use crate::damage::open;
use crate::damage::read;
use crate::damage::take;

/// Returns the id at the end of a pack's path.
fn id_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn only(findings: &[Finding]) -> &Finding {
    match findings {
        [finding] => finding,
        _ => panic!("one finding is expected: {findings:#?}"),
    }
}

#[test]
fn a_sound_repository_has_no_findings_and_all_of_it_is_read() {
    let fixture = Fixture::three();
    for depth in [Depth::Structure, Depth::Sample { part: 0.3, seed: 5 }, Depth::ReadData] {
        assert_eq!(fixture.verify(depth).findings, []);
    }
    let report = fixture.verify(Depth::ReadData);
    assert_eq!((report.snapshots, report.packs), (3, 6));
    let chunks = (2 * LEAF / CHUNK + 5 + 1) + 1 + (LEAF / CHUNK + 1);
    assert_eq!((report.chunks, report.chunks_read), (chunks as u64, chunks as u64));
    // Leaves: three, one that differs, two; a root for each; and the leaf at an image's end is
    // looked at for each image.
    assert!((9..=10).contains(&report.pages), "{}", report.pages);
    let sampled = fixture.verify(Depth::Sample { part: 0.3, seed: 5 });
    assert!(sampled.chunks_read > 0 && sampled.chunks_read < report.chunks_read / 2);
    assert_eq!(fixture.verify(Depth::Structure).chunks_read, 0);
}

#[test]
fn a_flipped_byte_in_a_chunk_is_found_by_reading_and_names_exactly_what_is_lost() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    let record = fixture.records(pack)[0];
    // The first byte of the frame: nothing can be decoded without it.
    fixture.flip(pack, record + RECORD_HEADER);
    assert_eq!(fixture.verify(Depth::Structure).findings, [], "nothing but reading sees it");
    let report = fixture.verify(Depth::ReadData);
    let finding = only(&report.findings);
    assert!(finding.object.starts_with("chunk "), "{finding:?}");
    assert!(finding.problem.contains(id_of(pack)), "{finding:?}");
    assert!(finding.problem.contains(&format!("offset {}", record + RECORD_HEADER)), "{finding:?}");
    let expected =
        [fixture.lost(0, 0..CHUNK), fixture.lost(1, 0..3 * BLOCK), fixture.lost(1, 4 * BLOCK..CHUNK)];
    assert_eq!(finding.lost, expected);
    assert_eq!(read(&fixture.open(), fixture.id(0)).unwrap_err().kind(), ErrorKind::Corrupt);
    fixture.assert_restores(2);
}

#[test]
fn the_lost_range_of_a_short_last_block_ends_where_the_image_does() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    fixture.flip(pack, fixture.records(pack).last().unwrap() + RECORD_HEADER);
    let report = fixture.verify(Depth::ReadData);
    let range = 2 * LEAF + 5 * CHUNK..2 * LEAF + 5 * CHUNK + 1000;
    assert_eq!(
        only(&report.findings).lost,
        [fixture.lost(0, range.clone()), fixture.lost(1, range)],
        "a leaf that both share"
    );
}

#[test]
fn only_what_the_named_snapshots_need_is_looked_at() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[0].0;
    fixture.flip(pack, fixture.records(pack)[20] + RECORD_HEADER);
    let of = |index: usize| {
        verify(&fixture.open(), Some(&[fixture.id(index)]), Depth::ReadData, &NoProgress).unwrap()
    };
    assert_eq!(only(&of(1).findings).lost, [fixture.lost(1, 20 * CHUNK..21 * CHUNK)]);
    let other = of(2);
    assert_eq!((other.findings.len(), other.snapshots), (0, 1));
    assert_eq!((other.chunks, other.chunks_read), (65, 65));
    let nobody = SnapshotId(Uuid::from_u128(999));
    let error = verify(&fixture.open(), Some(&[nobody]), Depth::Structure, &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_pack_that_is_gone_is_one_finding_with_all_that_it_costs() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[1].0;
    fixture.storage.remove(pack).unwrap();
    for depth in [Depth::Structure, Depth::ReadData] {
        let report = fixture.verify(depth);
        let finding = only(&report.findings);
        assert_eq!(finding.object, format!("pack {}", id_of(pack)));
        assert_eq!(finding.lost, [fixture.lost(1, 3 * BLOCK..4 * BLOCK)]);
    }
    fixture.assert_restores(0);
    fixture.assert_restores(2);
}

#[test]
fn a_pack_with_a_damaged_directory_costs_what_is_in_it_until_it_is_repaired() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[2].0;
    fixture.flip(pack, fixture.bytes(pack).len() - 100);
    let report = fixture.verify(Depth::Structure);
    let finding = only(&report.findings);
    assert_eq!(finding.object, format!("pack {}", id_of(pack)));
    assert_eq!(finding.next, Some(NextStep::RecoverPack), "{finding:?}");
    assert_eq!(finding.lost, [fixture.lost(2, 0..LEAF + CHUNK)]);
}

#[test]
fn a_damaged_page_costs_the_region_that_it_maps_in_every_snapshot_that_shares_it() {
    let fixture = Fixture::three();
    let pages = &fixture.packs[0].1;
    let records = fixture.records(pages);
    fixture.flip(pages, records[1] + RECORD_HEADER + 9);
    for depth in [Depth::Structure, Depth::ReadData] {
        let report = fixture.verify(depth);
        let finding = only(&report.findings);
        assert!(finding.object.starts_with("manifest page "), "{finding:?}");
        assert_eq!(finding.lost, [fixture.lost(0, LEAF..2 * LEAF), fixture.lost(1, LEAF..2 * LEAF)]);
    }
}

#[test]
fn a_damaged_inner_page_costs_all_that_is_below_it() {
    let fixture = Fixture::three();
    let pages = &fixture.packs[0].1;
    fixture.flip(pages, fixture.records(pages).last().unwrap() + RECORD_HEADER + 9);
    let report = fixture.verify(Depth::Structure);
    let whole = fixture.images[0].1.len();
    assert_eq!(only(&report.findings).lost, [fixture.lost(0, 0..whole)]);
    fixture.assert_restores(1);
}

#[test]
fn where_one_copy_is_damaged_another_one_serves() {
    let mut fixture = Fixture::new(vec![("a", noise(1, 2 * LEAF))]);
    // Captured while nothing is known of the first one: what both have is stored twice, in
    // different packs.
    let known: Vec<String> = ["index/", "packs/"].iter().flat_map(|dir| fixture.files(dir)).collect();
    let hide = |path: &str| format!("local/tmp/{}", path.replace('/', "-"));
    known.iter().for_each(|path| fixture.storage.rename(path, &hide(path)).unwrap());
    let image = [noise(1, LEAF), noise(2, LEAF)].concat();
    let second = take(&fixture.open(), 2, "b", &image).snapshot.id;
    let new: Vec<String> = fixture.files("packs/").into_iter().collect();
    known.iter().for_each(|path| fixture.storage.rename(&hide(path), path).unwrap());
    fixture.images.push((second, image));
    fixture.assert_sound();

    let (data, pages) = fixture.packs[0].clone();
    for pack in [data, pages] {
        let kind = fixture.bytes(&pack)[10];
        let other = new.iter().find(|path| fixture.bytes(path)[10] == kind).unwrap();
        let copies = [&pack, other].map(|path| (path, fixture.records(path)[0] + RECORD_HEADER + 20));
        for (path, at) in copies {
            fixture.flip(path, at);
            (0..2).for_each(|index| fixture.assert_restores(index));
            assert_eq!(only(&fixture.verify(Depth::ReadData).findings).lost, [], "{path}");
            fixture.flip(path, at);
        }
        for (path, at) in copies {
            let at = u64::try_from(at).unwrap();
            let unreadable = bad_sector(&fixture.storage, path, at..at + 1);
            let repo = open(&unreadable).unwrap();
            fixture
                .images
                .iter()
                .for_each(|(id, image)| assert!(read(&repo, *id).unwrap() == *image, "{path}"));
        }
        copies.iter().for_each(|(path, at)| fixture.flip(path, *at));
        (0..2).for_each(|index| assert!(read(&fixture.open(), fixture.id(index)).is_err()));
        copies.iter().for_each(|(path, at)| fixture.flip(path, *at));
    }
    fixture.assert_sound();
}

#[test]
fn damage_that_no_snapshot_needs_is_a_finding_that_costs_nothing() {
    let fixture = Fixture::three();
    delete(&fixture.open(), fixture.id(2), DeleteOptions::default()).unwrap();
    let pack = &fixture.packs[2].0;
    fixture.flip(pack, fixture.records(pack)[0] + RECORD_HEADER);
    assert!(only(&fixture.verify(Depth::ReadData).findings).lost.is_empty());
    fixture.flip(pack, fixture.bytes(pack).len() - 1);
    assert!(only(&fixture.verify(Depth::Structure).findings).lost.is_empty());
}

#[test]
fn the_header_of_a_record_is_looked_at_though_only_a_repair_needs_it() {
    let fixture = Fixture::three();
    let pack = &fixture.packs[2].0;
    fixture.flip(pack, fixture.records(pack)[0] + 30);
    let report = fixture.verify(Depth::ReadData);
    let finding = only(&report.findings);
    assert!(finding.lost.is_empty() && finding.next == Some(NextStep::RepairPackRecords), "{finding:?}");
    fixture.assert_restores(2);
}

#[test]
fn files_that_are_nobodys_are_findings() {
    let fixture = Fixture::three();
    let copy = format!("packs/{}.1", id_of(&fixture.packs[0].0));
    let strange = ["packs/notes.txt", "index/notes.txt", "journal/notes.txt", &copy];
    for path in strange {
        let fixture = Fixture::three();
        fixture.storage.put(path, fixture.bytes(&fixture.packs[0].0));
        let report = fixture.verify(Depth::Structure);
        let finding = only(&report.findings);
        assert_eq!(finding.object, format!("file {path}"));
        assert!(finding.lost.is_empty());
    }
}

#[test]
fn a_pack_under_the_name_of_another_is_found() {
    let fixture = Fixture::three();
    let (pack, other) = (&fixture.packs[0].0, &fixture.packs[2].0);
    fixture.storage.put(pack, fixture.bytes(other));
    let report = fixture.verify(Depth::Structure);
    assert!(report.findings.iter().any(|finding| finding.object.contains(id_of(pack))), "{report:#?}");
    fixture.assert_restores(2);
}

#[test]
fn a_damaged_index_run_stops_nobody_from_opening_the_repository() {
    for at in [20, 70] {
        let fixture = Fixture::three();
        let run = fixture.files("index/").pop_first().unwrap();
        fixture.flip(&run, at);
        let report = fixture.verify(Depth::Structure);
        let run =
            report.findings.iter().find(|finding| finding.object == format!("index run {}", id_of(&run)));
        assert!(run.is_some_and(|finding| finding.next == Some(NextStep::RepairIndex)), "{report:#?}");
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_a_finding_and_the_rest_is_verified() {
    let fixture = Fixture::three();
    let path = fixture.packs[0].0.clone();
    let record = fixture.records(&path)[7] as u64 + RECORD_HEADER as u64;
    let storage = bad_sector(&fixture.storage, &path, record..record + 512);
    let repo = open(&storage).unwrap();
    let report = verify(&repo, None, Depth::ReadData, &NoProgress).unwrap();
    let chunk = only(&report.findings);
    assert!(chunk.problem.contains("bad sector"), "{chunk:?}");
    let range = 7 * CHUNK..8 * CHUNK;
    assert_eq!(chunk.lost, [fixture.lost(0, range.clone()), fixture.lost(1, range)]);

    let path = fixture.packs[2].0.clone();
    let storage = bad_sector(&fixture.storage, &path, 0..PACK_HEADER as u64);
    let report = verify(&open(&storage).unwrap(), None, Depth::ReadData, &NoProgress).unwrap();
    assert_eq!(only(&report.findings).lost, [fixture.lost(2, 0..LEAF + CHUNK)]);
}

#[test]
fn whoever_asks_to_stop_is_obeyed() {
    struct Impatient;
    impl Progress for Impatient {
        fn total(&self, _meter: Meter, _total: u64) {}
        fn advance(&self, _meter: Meter, _amount: u64) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let fixture = Fixture::three();
    for snapshots in [None, Some(&[fixture.id(0)][..])] {
        let error = verify(&fixture.open(), snapshots, Depth::Structure, &Impatient).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_bit_that_changes_anywhere_is_found_or_harms_no_snapshot(file: prop::sample::Index, at: prop::sample::Index, bit in 0..8) {
        let mut image = noise(8, 3 * CHUNK + 77);
        let first = image.clone();
        image[CHUNK..CHUNK + 9].fill(1);
        let fixture = Fixture::new(vec![("a", first), ("a", image)]);
        let files: Vec<_> = fixture.storage.files().into_iter().collect();
        let files: Vec<_> = files.into_iter().filter(|(path, bytes)| path != "config" && !bytes.is_empty()).collect();
        let (path, mut bytes) = files[file.index(files.len())].clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        fixture.storage.put(&path, bytes);
        let report = fixture.verify(Depth::ReadData);
        if report.findings.iter().all(|finding| finding.lost.is_empty()) {
            for (id, image) in &fixture.images {
                let restored = read(&fixture.open(), *id);
                let unreadable = report.findings.iter().any(|finding| finding.object.contains(&id.to_string()));
                prop_assert!(
                    unreadable || restored.as_ref().is_ok_and(|restored| restored == image),
                    "{path} at {at}: {:?}\n{report:#?}", restored.err(),
                );
            }
        }
    }
}

#[test]
fn a_page_that_is_sound_in_a_longer_image_is_looked_at_again_at_the_end_of_a_shorter_one() {
    // The page has data in its first 8 blocks, and the shorter image has 4.
    for longer_first in [true, false] {
        let bench = TestRepository::new();
        let mut forge = Forge::new(&bench.repo).unwrap();
        forge.chunk(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        forge.leaf(&[(8, Some((0, 0))), (1016, None)], true).unwrap();
        forge.inner(1, &[(0, 0)], true).unwrap();
        forge.publish().unwrap();
        let [longer, shorter] = if longer_first { [1, 2] } else { [2, 1] };
        forge.record(longer, 3 * LEAF as u64, Some(1), true).unwrap();
        let id = forge.record(shorter, 4 * BLOCK as u64, Some(0), true).unwrap();
        let report = verify(&bench.another(), None, Depth::Structure, &NoProgress).unwrap();
        let finding = only(&report.findings);
        assert!(finding.problem.contains("beyond the end of the image"), "{finding:?}");
        // What is within it is served all the same.
        assert_eq!(finding.lost, []);
        assert_eq!(read(&bench.another(), id).unwrap().len(), 4 * BLOCK);
    }
}

#[test]
fn a_page_with_children_beyond_the_end_of_an_image_is_wrong_there_although_it_is_sound_in_a_longer_one() {
    for longer_first in [true, false] {
        let bench = TestRepository::new();
        let mut forge = Forge::new(&bench.repo).unwrap();
        forge.chunk(&[1]).unwrap();
        forge.leaf(&[(1, Some((0, 0))), (1023, None)], true).unwrap();
        forge.inner(1, &[(0, 0), (5, 0)], true).unwrap();
        forge.inner(2, &[(0, 1)], true).unwrap();
        forge.publish().unwrap();
        let [longer, shorter] = if longer_first { [1, 2] } else { [2, 1] };
        forge.record(longer, 200 * LEAF as u64, Some(2), true).unwrap();
        let id = forge.record(shorter, 3 * LEAF as u64, Some(1), true).unwrap();
        let report = verify(&bench.another(), None, Depth::Structure, &NoProgress).unwrap();
        let finding = only(&report.findings);
        assert!(finding.problem.contains("children beyond the image"), "{finding:?}");
        assert!(
            finding.lost.iter().all(|lost| lost.snapshot == id) && !finding.lost.is_empty(),
            "{finding:?}"
        );
    }
}
