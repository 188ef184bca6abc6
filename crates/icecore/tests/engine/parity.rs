//! Parity: what is lost or damaged comes back, and nothing else passes for it.

use std::collections::BTreeSet;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::maintenance::Depth;
use icecore::maintenance::gc;
use icecore::maintenance::parity_report;
use icecore::maintenance::set_parity;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore_testing::bytes::assert_same;
use icecore_testing::fault::Calls;
use icecore_testing::fault::Fault;
use icecore_testing::fault_storage::FaultStorage;
use icecore_testing::random::Random;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::image_of;
use icecore_testing::repository::init_apart as init;
use icecore_testing::repository::open_apart as open;
use icecore_testing::repository::options;

/// A repository with parity and some snapshots, each of which adds a pack of data and one of pages.
struct ProtectedRepository {
    storage: MemoryStorage,
    images: Vec<(SnapshotId, Vec<u8>)>,
}

impl ProtectedRepository {
    fn new(scheme: &str, snapshots: u64) -> Self {
        let storage = MemoryStorage::new();
        let repo = init(storage.clone());
        set_parity(&repo, Some(scheme.parse().unwrap()), &NoProgress).unwrap();
        let mut protected = Self { storage, images: Vec::new() };
        for seed in 0..snapshots {
            protected.capture(seed);
        }
        protected
    }

    fn capture(&mut self, seed: u64) {
        let len = 100_000 + 90_000 * usize::try_from(seed).unwrap();
        let image = Random::new(1000 + seed).bytes(len);
        let how = CaptureOptions { check: false, ..options(&format!("disk-{seed}")) };
        let report =
            icecore::snapshot::capture(&open(self.storage.clone()), &image, &how, &NoProgress).unwrap();
        self.images.push((report.snapshot.id, image));
    }

    fn files(&self, prefix: &str) -> BTreeSet<String> {
        self.storage.files().into_keys().filter(|path| path.starts_with(prefix)).collect()
    }

    /// Returns the packs, the longest first: those of data come before those of pages.
    fn packs_by_length(&self) -> Vec<String> {
        let bytes = self.storage.files();
        let mut packs: Vec<String> = self.files("packs/").into_iter().collect();
        packs.sort_by_key(|pack| std::cmp::Reverse(bytes[pack].len()));
        packs
    }

    fn copy(&self) -> Self {
        let storage = MemoryStorage::new();
        self.storage.files().into_iter().for_each(|(name, bytes)| storage.put(&name, bytes));
        Self { storage, images: self.images.clone() }
    }

    fn remove(&self, path: &str) {
        icecore::storage::Storage::remove(&self.storage, path).unwrap();
    }

    fn flip(&self, path: &str, at: usize) {
        let mut bytes = self.storage.files().remove(path).unwrap();
        bytes[at] ^= 4;
        self.storage.put(path, bytes);
    }

    fn assert_restores(&self, what: &str) {
        let repo = open(self.storage.clone());
        for (id, image) in &self.images {
            assert_same(&image_of(&repo, *id), image, what);
        }
    }
}

fn assert_all_covered(repo: &Repository, what: &str) {
    let report = parity_report(repo).unwrap();
    assert_eq!(report.packs_without, 0, "{what}: {report:?}");
}

#[test]
fn any_two_packs_of_a_group_come_back_byte_for_byte() {
    let protected = ProtectedRepository::new("10+2", 5);
    let packs: Vec<String> = protected.files("packs/").into_iter().collect();
    assert_eq!(packs.len(), 10);
    let whole = protected.storage.files();
    for first in 0..packs.len() {
        for second in first + 1..packs.len() {
            let damaged = protected.copy();
            damaged.remove(&packs[first]);
            // One is gone and the other has a damaged byte in its middle.
            damaged.flip(&packs[second], 64 + 40 + 20);
            damaged.assert_restores("with two bad packs");
            // Reading has put them back, each with all of its bytes.
            let after = damaged.storage.files();
            for pack in [&packs[first], &packs[second]] {
                assert_eq!(after.get(pack), whole.get(pack), "{pack}");
            }
        }
    }
}

#[test]
fn three_packs_of_a_group_that_are_gone_are_an_error_and_never_other_bytes() {
    let protected = ProtectedRepository::new("10+2", 5);
    let whole: BTreeSet<String> = protected.files("packs/");
    whole.iter().take(3).for_each(|path| protected.remove(path));
    let repo = open(protected.storage.clone());
    let mut failed = 0;
    for (id, image) in &protected.images {
        let mut bytes = Vec::new();
        match icecore::snapshot::restore(
            &repo,
            *id,
            RestoreTo::Stream(&mut bytes),
            OnDamage::Stop,
            &NoProgress,
        ) {
            Ok(_) => assert_same(&bytes, image, "a restore without error"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
}

#[test]
fn three_packs_that_are_damaged_at_different_places_come_back() {
    let protected = ProtectedRepository::new("10+2", 5);
    let packs = protected.files("packs/");
    let long: Vec<&String> =
        packs.iter().filter(|path| protected.storage.files()[*path].len() > 400_000).take(1).collect();
    assert_eq!(long.len(), 1);
    // Two packs are damaged in their first 64 KiB, and one far behind that.
    let others: Vec<&String> = packs.iter().filter(|path| !long.contains(path)).take(2).collect();
    others.iter().for_each(|path| protected.flip(path, 150));
    protected.flip(long[0], 300_000);
    protected.assert_restores("with damage at different places");
}

#[test]
fn damaged_parity_is_not_believed() {
    let protected = ProtectedRepository::new("4+2", 2);
    let packs: Vec<String> = protected.files("packs/").into_iter().collect();
    let parity: Vec<String> = protected.files("parity/").into_iter().collect();
    assert_eq!(parity.len(), 2);
    // Every part of a parity file: header, table of packs, shard, digests.
    let len = protected.storage.files()[&parity[0]].len();
    let shard = 64 + 40 * packs.len();
    for at in [3, 8, 20, 40, 63, 64, 70, 100, shard, shard + 1000, len - 200, len - 1] {
        let damaged = protected.copy();
        damaged.flip(&parity[0], at);
        damaged.remove(&packs[0]);
        // The other parity file suffices.
        damaged.assert_restores(&format!("with byte {at} of a parity file damaged"));
        let damaged = protected.copy();
        parity.iter().for_each(|file| damaged.flip(file, at));
        damaged.remove(&packs[0]);
        let repo = open(damaged.storage.clone());
        for (id, image) in &protected.images {
            let mut bytes = Vec::new();
            match icecore::snapshot::restore(
                &repo,
                *id,
                RestoreTo::Stream(&mut bytes),
                OnDamage::Stop,
                &NoProgress,
            ) {
                Ok(_) => assert_same(&bytes, image, "a restore without error"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{at}: {error}"),
            }
        }
    }
}

#[test]
fn parity_of_another_repository_is_not_believed() {
    let protected = ProtectedRepository::new("4+2", 2);
    let other = ProtectedRepository::new("4+2", 2);
    let own = protected.files("parity/");
    for path in other.files("parity/") {
        protected.storage.put(&path, other.storage.files()[&path].clone());
    }
    protected.assert_restores("with foreign parity beside it");
    own.iter().for_each(|path| protected.remove(path));
    let packs = protected.files("packs/");
    protected.remove(packs.first().unwrap());
    let repo = open(protected.storage.clone());
    for (id, image) in &protected.images {
        let mut bytes = Vec::new();
        if icecore::snapshot::restore(&repo, *id, RestoreTo::Stream(&mut bytes), OnDamage::Stop, &NoProgress)
            .is_ok()
        {
            assert_same(&bytes, image, "a restore without error");
        }
    }
}

#[test]
fn small_captures_share_groups() {
    let mut protected = ProtectedRepository::new("10+2", 0);
    for seed in 0..15 {
        protected.capture(seed);
        assert_all_covered(&open(protected.storage.clone()), "after each capture");
    }
    // 30 packs: three full groups, and not one for each capture.
    assert_eq!(protected.files("parity/").len(), 6);
    protected.assert_restores("with parity");
}

#[test]
fn an_unchanged_image_writes_no_parity() {
    let mut protected = ProtectedRepository::new("10+2", 1);
    let before = protected.files("parity/");
    let image = protected.images[0].1.clone();
    let repo = open(protected.storage.clone());
    let report = icecore::snapshot::capture(&repo, &image, &options("disk-0"), &NoProgress).unwrap();
    assert!(report.unchanged);
    assert_eq!(protected.files("parity/"), before);
    protected.images.push((report.snapshot.id, image));
    protected.assert_restores("both");
}

#[test]
fn gc_keeps_all_parity_of_what_stays() {
    let mut protected = ProtectedRepository::new("4+2", 6);
    for round in 0..4 {
        let (id, _) = protected.images.remove(round % protected.images.len());
        let repo = open(protected.storage.clone());
        icecore::snapshot::delete(&repo, id, DeleteOptions::default()).unwrap();
        let plan = gc::plan(&repo, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
        gc::apply(&repo, plan, &NoProgress).unwrap();
        let what = format!("after gc {round}");
        assert_all_covered(&open(protected.storage.clone()), &what);
        assert_sound(&open(protected.storage.clone()), &what);
        // Any pack that is gone now comes back.
        for pack in protected.files("packs/") {
            let damaged = protected.copy();
            damaged.remove(&pack);
            damaged.assert_restores(&what);
        }
        let packs = protected.files("packs/").len();
        let groups = parity_report(&repo).unwrap().groups;
        assert!(groups <= packs.div_ceil(4) as u64 + 1, "{groups} groups of {packs} packs");
        protected.capture(10 + round as u64);
    }
    let repo = open(protected.storage.clone());
    protected.images.iter().for_each(|(id, _)| {
        icecore::snapshot::delete(&repo, *id, DeleteOptions::default()).map(|_| ()).unwrap()
    });
    let plan = gc::plan(&repo, &gc::GcOptions::new(0.0), &NoProgress).unwrap();
    gc::apply(&repo, plan, &NoProgress).unwrap();
    assert_eq!(protected.files("packs/"), BTreeSet::new());
    assert_eq!(protected.files("parity/"), BTreeSet::new());
}

#[test]
fn parity_is_switched_on_later_changed_and_switched_off() {
    let mut protected = ProtectedRepository::new("4+2", 3);
    let repo = open(protected.storage.clone());
    set_parity(&repo, None, &NoProgress).unwrap();
    assert_eq!(protected.files("parity/"), BTreeSet::new());
    assert_eq!(open(protected.storage.clone()).parity().unwrap(), None);
    protected.capture(3);
    assert_eq!(protected.files("parity/"), BTreeSet::new(), "it is off");
    let scheme: ParityScheme = "3+1".parse().unwrap();
    let report = set_parity(&repo, Some(scheme), &NoProgress).unwrap();
    assert_eq!((report.scheme, report.packs, report.packs_without), (Some(scheme), 8, 0));
    assert_eq!(protected.files("parity/").len(), 3, "8 packs in groups of 3, one file each");
    let bytes: usize =
        protected.files("parity/").iter().map(|path| protected.storage.files()[path].len()).sum();
    assert_eq!(report.parity_bytes, bytes as u64);
    let pack = protected.files("packs/").pop_first().unwrap();
    protected.remove(&pack);
    protected.assert_restores("with a pack that was there before parity");
}

#[test]
fn a_damaged_pack_gets_no_parity_and_the_others_do() {
    let protected = ProtectedRepository::new("10+2", 4);
    let repo = open(protected.storage.clone());
    set_parity(&repo, None, &NoProgress).unwrap();
    // Two of data: whoever cannot read the pages of an image does not come to its data.
    let [pack, other] = [0, 1].map(|number| protected.packs_by_length().swap_remove(number));
    protected.flip(&pack, 120);
    let report = set_parity(&repo, Some("10+2".parse().unwrap()), &NoProgress).unwrap();
    assert_eq!(report.refused.len(), 1, "{report:?}");
    assert!(pack.ends_with(&report.refused[0].0.to_string()));
    assert_eq!(report.packs_without, 1);
    // What parity there is brings back the others.
    let whole = protected.storage.files().remove(&other).unwrap();
    protected.remove(&other);
    let repo = open(protected.storage.clone());
    for (id, _) in &protected.images {
        let _ = icecore::snapshot::restore(
            &repo,
            *id,
            RestoreTo::Stream(&mut std::io::sink()),
            OnDamage::GoOn,
            &NoProgress,
        );
    }
    assert!(protected.storage.files().remove(&other) == Some(whole));
}

#[test]
fn verify_says_what_parity_brings_back_and_that_nothing_is_lost() {
    let protected = ProtectedRepository::new("10+2", 3);
    let packs: Vec<String> = protected.files("packs/").into_iter().collect();
    protected.remove(&packs[0]);
    protected.flip(&packs[1], 130);
    let before = protected.storage.files();
    for depth in [Depth::Structure, Depth::ReadData] {
        let report =
            icecore::maintenance::verify(&open(protected.storage.clone()), None, depth, &NoProgress).unwrap();
        assert!(!report.findings.is_empty(), "{depth:?}");
        for finding in &report.findings {
            assert_eq!(finding.lost, [], "{depth:?}: {finding:?}");
        }
    }
    assert!(protected.storage.files() == before, "verify changes nothing");
    protected.assert_restores("after verify");
    assert_sound(&open(protected.storage.clone()), "after restores have put the packs back");
}

#[test]
fn verify_finds_damaged_parity() {
    let protected = ProtectedRepository::new("4+2", 2);
    let parity: Vec<String> = protected.files("parity/").into_iter().collect();
    let len = protected.storage.files()[&parity[1]].len();
    for at in [0, 9, 50, 70, 64 + 40 * 4 + 5, len / 2, len - 1] {
        let damaged = protected.copy();
        damaged.flip(&parity[1], at);
        let report =
            icecore::maintenance::verify(&open(damaged.storage.clone()), None, Depth::ReadData, &NoProgress)
                .unwrap();
        let objects: Vec<&str> = report.findings.iter().map(|finding| finding.object.as_str()).collect();
        assert_eq!(objects, [format!("file {}", parity[1])], "byte {at}");
    }
    let damaged = protected.copy();
    damaged.remove(&parity[0]);
    let report =
        icecore::maintenance::verify(&open(damaged.storage), None, Depth::Structure, &NoProgress).unwrap();
    // What a power cut leaves looks just so, and needs no repair.
    assert_eq!((report.findings.len(), report.packs_without_parity), (0, 4));
}

#[test]
fn repairs_put_packs_back_and_make_parity_again() {
    let protected = ProtectedRepository::new("10+2", 4);
    let whole = protected.storage.files();
    let packs: Vec<String> = protected.files("packs/").into_iter().collect();
    let parity: Vec<String> = protected.files("parity/").into_iter().collect();
    protected.remove(&packs[0]);
    let repo = open(protected.storage.clone());
    // The index alone: what is missing or cannot be opened.
    let report = icecore::maintenance::repair_index(&repo, &NoProgress).unwrap();
    assert_eq!((report.put_back.len(), report.damaged_packs.len()), (1, 0), "{report:?}");
    assert!(protected.storage.files()[&packs[0]] == whole[&packs[0]]);

    protected.remove(&packs[1]);
    protected.flip(&packs[2], 200);
    let before = protected.storage.files();
    let report = icecore::maintenance::repair_packs(&repo, true, &NoProgress).unwrap();
    assert_eq!((report.put_back.len(), report.lost.len()), (2, 0), "{report:?}");
    assert!(protected.storage.files().keys().eq(before.keys()), "a dry run changes nothing");
    let report = icecore::maintenance::repair_packs(&repo, false, &NoProgress).unwrap();
    assert_eq!(
        (report.put_back.len(), report.damaged_packs.len(), report.groups_made),
        (2, 0, 0),
        "{report:?}"
    );
    [1, 2].iter().for_each(|at| assert!(protected.storage.files()[&packs[*at]] == whole[&packs[*at]]));

    protected.flip(&parity[0], 5000);
    protected.remove(&parity[1]);
    let report = icecore::maintenance::repair_packs(&repo, false, &NoProgress).unwrap();
    assert_eq!((report.put_back.len(), report.groups_made), (0, 1), "{report:?}");
    parity.iter().for_each(|file| assert!(protected.storage.files()[file] == whole[file], "{file}"));
    assert_all_covered(&repo, "after the repair");
    assert_sound(&open(protected.storage.clone()), "after the repair");
}

#[test]
fn what_parity_cannot_give_in_full_is_mended_record_by_record() {
    let protected = ProtectedRepository::new("10+2", 5);
    let packs: Vec<String> = protected.files("packs/").into_iter().collect();
    // Three packs are damaged at the same place: one more than parity can mend there.
    packs.iter().take(3).for_each(|path| protected.flip(path, 150));
    let repo = open(protected.storage.clone());
    let found = icecore::maintenance::verify(&repo, None, Depth::ReadData, &NoProgress).unwrap();
    let report = icecore::maintenance::repair_packs(&repo, false, &NoProgress).unwrap();
    assert_eq!(report.put_back, []);
    assert_eq!(report.damaged_packs.len(), 3, "{report:?}");
    let lost: u64 = found.findings.iter().flat_map(|finding| &finding.lost).map(|range| range.bytes).sum();
    assert!(lost > 0);
    assert_eq!(report.lost.iter().map(|range| range.bytes).sum::<u64>(), lost);
    assert_all_covered(&repo, "what was mended has parity");
}

#[test]
fn a_repository_that_cannot_be_written_is_read_through_parity() {
    let protected = ProtectedRepository::new("10+2", 3);
    let packs: Vec<String> = protected.files("packs/").into_iter().collect();
    let no_changes =
        Fault::new(Calls::Changes, 0..u64::MAX, || std::io::ErrorKind::ReadOnlyFilesystem.into());
    let repo = open(FaultStorage::new(protected.storage.clone(), no_changes));
    protected.remove(&packs[2]);
    for (id, image) in &protected.images {
        assert_same(&image_of(&repo, *id), image, "read only");
    }
    assert!(!protected.files("packs/").contains(&packs[2]));
}
