//! Whatever somebody changes in a sealed repository is noticed, and nothing wrong is ever read.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::maintenance::repair_catalog;
use icecore::maintenance::verify;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::scale::checkpoint_after;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore_testing::repository::options;
use icecore_testing::repository::sealed;
use icecore_testing::repository::session;
use rayon::prelude::*;
use uuid::Uuid;

use crate::sealed::support::repository;
use crate::volumes::support::open as open_volume;
use crate::volumes::support::volume_options;

type Files = BTreeMap<String, Vec<u8>>;

/// A small repository, file by file, and the images in it.
struct Fixture {
    files: Files,
    images: BTreeMap<SnapshotId, Vec<u8>>,
}

impl Fixture {
    /// Makes a repository with two snapshots and two volumes.
    fn of(options_of: &InitOptions) -> Self {
        let storage = MemoryStorage::new();
        let mut repo = Repository::init(Arc::new(storage.clone()), session(), options_of).unwrap();
        checkpoint_after(&mut repo, 3);
        let mut images = BTreeMap::new();
        for fill in [1, 2] {
            let image = vec![fill; 6000];
            let options = options("disk");
            let id = icecore::snapshot::capture(&repo, &image, &options, &NoProgress).unwrap().snapshot.id;
            images.insert(id, image);
        }
        let repo = Arc::new(repo);
        let first = images.keys().next().copied();
        for name in ["one", "two"] {
            icecore::volume::create_volume(&repo, &volume_options(name, first, None)).unwrap();
            let volume = open_volume(&repo, name).unwrap();
            volume.write_at(0, &[3; 100]).unwrap();
            volume.sync().unwrap();
        }
        Self { files: storage.files(), images }
    }

    fn new() -> Self {
        Self::of(&repository(sealed()))
    }

    /// Returns a storage with these files, after a change.
    fn changed(&self, change: impl FnOnce(&mut Files)) -> MemoryStorage {
        let mut files = self.files.clone();
        change(&mut files);
        let storage = MemoryStorage::new();
        files.into_iter().for_each(|(name, bytes)| storage.put(&name, bytes));
        storage
    }

    fn names(&self, dir: &str) -> Vec<String> {
        self.files.keys().filter(|name| name.starts_with(dir)).cloned().collect()
    }

    /// Tells whether somebody notices that a repository was changed. Fails if anything is read from
    /// it that was never written.
    fn is_noticed(&self, storage: &MemoryStorage) -> bool {
        let open = || Repository::open(Arc::new(storage.clone()), session());
        let Ok(repo) = open() else { return true };
        let Ok(snapshots) = icecore::snapshot::list(&repo) else { return true };
        for snapshot in snapshots {
            let mut read = Vec::new();
            let to = RestoreTo::Stream(&mut read);
            if icecore::snapshot::restore(&repo, snapshot.id, to, OnDamage::Stop, &NoProgress).is_ok() {
                assert_eq!(Some(&read), self.images.get(&snapshot.id), "it reads as something else");
            }
        }
        let verified = verify(&repo, None, Depth::ReadData, &NoProgress);
        verified.is_err() || verified.is_ok_and(|report| !report.findings.is_empty())
    }
}

#[test]
fn what_is_as_it_was_is_sound() {
    let fixture = Fixture::new();
    assert!(!fixture.is_noticed(&fixture.changed(|_| {})));
}

#[test]
fn each_byte_of_each_sealed_file_is_proven() {
    let fixture = Fixture::new();
    let places = ["config", "journal/", "checkpoint/", "packs/", "local/volumes/"];
    let is_sealed = |name: &String| places.iter().any(|place| name.starts_with(place));
    let mut all = Vec::new();
    for (name, bytes) in fixture.files.iter().filter(|(name, _)| is_sealed(name)) {
        // Overlays and their maps are not proven.
        if !name.starts_with("local/") || name.ends_with("/record") {
            all.extend((0..bytes.len()).map(|at| (name, at)));
        }
    }
    assert!(all.len() > 3000, "{}", all.len());
    all.into_par_iter().for_each(|(name, at)| {
        let storage = fixture.changed(|files| files.get_mut(name).unwrap()[at] ^= 1);
        assert!(fixture.is_noticed(&storage), "byte {at} of {name}");
    });
}

#[test]
fn what_is_put_in_another_place_is_refused() {
    let fixture = Fixture::new();
    let volumes = fixture.names("local/volumes/").into_iter().filter(|name| name.ends_with("/record"));
    let groups =
        [fixture.names("packs/"), fixture.names("journal/"), fixture.names("checkpoint/"), volumes.collect()];
    for group in groups {
        let [.., a, b] = &group[..] else { panic!("there are not two of {group:?}") };
        let swapped = fixture.changed(|files| {
            let (first, second) = (files[a].clone(), files[b].clone());
            files.insert(a.clone(), second);
            files.insert(b.clone(), first);
        });
        assert!(fixture.is_noticed(&swapped), "{a} and {b}");
        let replaced = fixture.changed(|files| {
            let bytes = files[a].clone();
            files.insert(b.clone(), bytes);
        });
        assert!(fixture.is_noticed(&replaced), "{a} in the place of {b}");
    }
}

/// Another repository may have the same id, if somebody wants it to.
#[test]
fn files_of_another_repository_are_refused_sealed_or_plain() {
    let fixture = Fixture::new();
    let plain = Fixture::of(&repository(Secrets::Plain([3; 32])));
    let Secrets::Sealed(_, slot) = sealed() else { panic!("it is sealed") };
    let other_key = Arc::new(icecore::repository::MasterKey::new(&[8; 32]));
    let other = Fixture::of(&repository(Secrets::Sealed(other_key, slot)));
    let id = RepositoryId(Uuid::from_u128(8));
    let other_id = Fixture::of(&InitOptions { id, ..repository(sealed()) });
    for (what, other) in [("plain", plain), ("with another key", other), ("of another id", other_id)] {
        for dir in ["config", "journal/", "checkpoint/", "packs/"] {
            let (ours, theirs) = (fixture.names(dir), other.names(dir));
            let storage = fixture.changed(|files| {
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    files.insert(ours.clone(), other.files[theirs].clone());
                }
            });
            assert!(fixture.is_noticed(&storage), "{dir} of a repository that is {what}");
        }
    }
}

#[test]
fn a_repository_is_not_opened_without_its_key() {
    let storage = Fixture::new().changed(|_| {});
    let error = Repository::open(Arc::new(storage.clone()), Uuid::from_u128(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let repaired = repair_catalog(Arc::new(storage), Uuid::from_u128(1), false);
    assert_eq!(repaired.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

/// Any one file may be lost.
#[test]
fn a_file_of_the_catalog_that_is_lost_or_damaged_is_brought_back() {
    let fixture = Fixture::new();
    for dir in ["config", "journal/", "journal-copies/", "checkpoint/", "keys/", "keys-copies/"] {
        let name = fixture.names(dir).pop().unwrap();
        for cut in [None, Some(0), Some(fixture.files[&name].len() / 2)] {
            let storage = fixture.changed(|files| match cut {
                None => drop(files.remove(&name)),
                Some(len) => files.get_mut(&name).unwrap().truncate(len),
            });
            repair_catalog(Arc::new(storage.clone()), session(), false).unwrap();
            assert!(!fixture.is_noticed(&storage), "{name} cut to {cut:?}");
            let repo = Repository::open(Arc::new(storage), session()).unwrap();
            assert_eq!(icecore::snapshot::list(&repo).unwrap().len(), fixture.images.len());
        }
    }
}
