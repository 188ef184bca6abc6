//! Labels of volumes and of what they stand on, while others use the volume.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::storage::MemoryStorage;
use icecore::volume::VolumeOptions;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::open as open_repo;
use icecore_testing::repository::options;

use crate::volumes::support::content;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Sets one label by another handle, as another process would, and removes another label.
fn set(storage: &MemoryStorage, key: &str, value: &str, remove: &str) {
    let repo = open_repo(storage.clone());
    icecore::volume::relabel_volume(&repo, "disk", &labels(&[(key, value)]), &[remove.to_owned()]).unwrap();
}

#[test]
fn labels_are_changed_while_a_volume_is_open_and_stay_whatever_happens_to_it() {
    let bench = TestRepository::new();
    let mut image = Random::new(3).disk(1 << 20);
    let of_origin = labels(&[("size-gib", "1")]);
    let labelled = CaptureOptions { labels: of_origin.clone(), ..options("base") };
    let base = icecore::snapshot::capture(&bench.repo, &image, &labelled, &NoProgress).unwrap().snapshot;
    assert_eq!(base.labels, of_origin);
    let repo = Arc::new(bench.another());
    let mut expected = labels(&[("id", "17"), ("region", "home")]);
    let options = VolumeOptions { labels: expected.clone(), ..volume_options("disk", Some(base.id), None) };
    assert_eq!(icecore::volume::create_volume(&repo, &options).unwrap().labels, expected);

    let told = |repo: &Repository| icecore::volume::find_volume(repo, "disk").unwrap();
    let volume = open(&repo, "disk").unwrap();
    for round in 0..3_u8 {
        // A seal, the fold after it, and a sync have all begun with a record that is older than the
        // change.
        let at = usize::from(round) * 70_000;
        volume.write_at(at as u64, &[round + 1; 5000]).unwrap();
        image[at..at + 5000].fill(round + 1);
        let (key, gone) = (format!("n{round}"), format!("n{}", round.wrapping_sub(1)));
        set(&bench.storage, &key, "set", &gone);
        expected.insert(key, "set".to_owned());
        expected.remove(&gone);
        volume.sync().unwrap();
        let id = snapshot(&volume).unwrap();
        assert_eq!(told(&repo).labels, expected, "after snapshot {round}");
        assert_eq!(told(&repo).base.unwrap().id, id);
        assert_eq!(told(&repo).origin.unwrap().labels, of_origin);
    }
    assert_same(&content(&volume).unwrap(), &image, "the volume");
    drop(volume);
    icecore::volume::resize_volume(&repo, "disk", 2 << 20).unwrap();
    icecore::volume::restore_volume(&repo, "disk", base.id).unwrap();
    icecore::volume::reset_volume(&repo, "disk").unwrap();
    assert_eq!(told(&bench.another()).labels, expected);
    assert_eq!(bench.count("local/locks/record-"), 0);
    icecore::volume::delete_volume(&repo, "disk").unwrap();
    let gone = icecore::volume::relabel_volume(&repo, "disk", &expected, &[]).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    icecore::volume::create_volume(&repo, &volume_options("disk", None, Some(4096))).unwrap();
    assert_eq!(told(&repo).labels, labels(&[]), "those of a volume that is gone");
}

#[test]
fn labels_that_cannot_be_are_refused_and_change_nothing() {
    let bench = TestRepository::new();
    let first = bench.capture("disk", &vec![1; 100]).snapshot;
    icecore::volume::create_volume(&bench.repo, &volume_options("disk", None, Some(4096))).unwrap();
    let many = (0..33).map(|n| (format!("k{n}"), String::new())).collect::<BTreeMap<_, _>>();
    for bad in [labels(&[("A", "")]), labels(&[("a", &"v".repeat(1025))]), many] {
        let refused = [
            icecore::snapshot::relabel(&bench.repo, first.id, &bad, &[]).unwrap_err(),
            icecore::volume::relabel_volume(&bench.repo, "disk", &bad, &[]).unwrap_err(),
            {
                let options = CaptureOptions { labels: bad.clone(), ..options("disk") };
                icecore::snapshot::capture(&bench.repo, &vec![1; 100], &options, &NoProgress).unwrap_err()
            },
            {
                let options =
                    VolumeOptions { labels: bad.clone(), ..volume_options("other", None, Some(4096)) };
                icecore::volume::create_volume(&bench.repo, &options).unwrap_err()
            },
        ];
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.next_step().is_some(), "{error}");
        }
    }
    assert_eq!(icecore::snapshot::list(&bench.repo).unwrap(), [first]);
    assert_eq!(icecore::volume::list_volumes(&bench.repo).unwrap().volumes.len(), 1);
    assert_eq!(icecore::volume::find_volume(&bench.repo, "disk").unwrap().labels, labels(&[]));
}

#[test]
fn a_snapshot_goes_while_a_volume_that_was_made_from_it_is_open() {
    let bench = TestRepository::new();
    let origin = Random::new(11).disk(5 << 20);
    let kept = bench.snapshot("web", &origin);
    // Packs that hold both, so that gc has something to rewrite.
    let mut other = origin.clone();
    Random::new(12).fill(&mut other[1 << 20..2 << 20]);
    let gone = bench.snapshot("web", &other);
    let repo = Arc::new(bench.another());
    icecore::volume::create_volume(&repo, &volume_options("disk", Some(gone), None)).unwrap();
    let volume = open(&repo, "disk").unwrap();
    let mut image = other.clone();
    volume.write_at(300_000, &[7; 10_000]).unwrap();
    image[300_000..310_000].fill(7);

    assert_eq!(
        icecore::snapshot::delete(&bench.repo, gone, DeleteOptions::default()).unwrap_err().kind(),
        ErrorKind::InUse
    );
    let keep = DeleteOptions { clones_keep_it: true };
    let pinned = icecore::snapshot::SnapshotDisk::open(
        Arc::clone(&repo),
        gone,
        icecore::snapshot::BlockCache::new(1 << 20),
    )
    .unwrap();
    let read = icecore::snapshot::delete(&bench.repo, gone, keep).unwrap_err();
    assert_eq!(read.kind(), ErrorKind::InUse, "it is being read");
    drop(pinned);
    icecore::snapshot::set_protected(&bench.repo, gone, true).unwrap();
    assert_eq!(icecore::snapshot::delete(&bench.repo, gone, keep).unwrap_err().kind(), ErrorKind::InUse);
    icecore::snapshot::set_protected(&bench.repo, gone, false).unwrap();
    icecore::snapshot::delete(&bench.repo, gone, keep).unwrap();
    icecore::snapshot::delete(&bench.repo, kept, DeleteOptions::default()).unwrap();
    collect(&bench.another()).unwrap();
    assert_same(&content(&volume).unwrap(), &image, "after gc, while it is open");
    volume.zero_at(4_000_000..4_500_000).unwrap();
    image[4_000_000..4_500_000].fill(0);
    let id = snapshot(&volume).unwrap();
    volume.write_at(0, &[1; 100]).unwrap();
    image[..100].fill(1);
    volume.sync().unwrap();
    drop(volume);
    icecore::snapshot::delete(&bench.repo, id, DeleteOptions::default()).unwrap();
    collect(&bench.another()).unwrap();
    let again = Arc::new(bench.another());
    let volume = open(&again, "disk").unwrap();
    assert_same(&content(&volume).unwrap(), &image, "opened again");
    drop(volume);
    icecore::volume::reset_volume(&again, "disk").unwrap();
    collect(&bench.another()).unwrap();
    let volume = open(&again, "disk").unwrap();
    assert_eq!(volume.len(), other.len() as u64);
    assert_same(&content(&volume).unwrap(), &other, "reset to a snapshot that is gone");
    assert_sound(&again, "after all");
    drop(volume);
    icecore::volume::delete_volume(&again, "disk").unwrap();
    collect(&bench.another()).unwrap();
    assert_eq!(bench.count("packs/"), 0, "nothing needs it any more");
}
