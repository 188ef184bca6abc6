//! Key slots and epochs.

use std::collections::BTreeSet;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::NoProgress;
use icecore::keys::SlotChanges;
use icecore::keys::SlotState;
use icecore::keys::change_slots;
use icecore::keys::list_slots;
use icecore::keys::rotate;
use icecore::maintenance::Depth;
use icecore::maintenance::Event;
use icecore::maintenance::gc;
use icecore::maintenance::log;
use icecore::maintenance::verify;
use icecore::repository::KeySlot;
use icecore::repository::Repository;
use icecore::repository::Secrets;
use icecore::repository::SlotId;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::image_of;
use icecore_testing::repository::options;
use icecore_testing::repository::sealed;
use icecore_testing::repository::session;
use uuid::Uuid;

use crate::sealed::support::repository;

fn new() -> (MemoryStorage, Repository) {
    let storage = MemoryStorage::new();
    let repo = Repository::init(Arc::new(storage.clone()), session(), &repository(sealed())).unwrap();
    (storage, repo)
}

fn slot(number: u128) -> KeySlot {
    KeySlot { id: SlotId(Uuid::from_u128(number)), bytes: format!("slot {number}").into_bytes() }
}

fn adding(number: u128, remove: &[SlotId]) -> SlotChanges {
    SlotChanges { add: Some(slot(number)), created_unix_ms: 5, remove: remove.to_vec() }
}

fn states(repo: &Repository) -> Vec<(u128, SlotState)> {
    list_slots(repo).unwrap().into_iter().map(|slot| (slot.id.0.as_u128(), slot.state)).collect()
}

#[test]
fn slots_are_added_and_removed_but_for_the_last_sound_one() {
    let (storage, repo) = new();
    let first = list_slots(&repo).unwrap()[0].id;
    assert_eq!(states(&repo), [(70, SlotState::Sound)]);
    let none = SlotChanges { remove: vec![first], ..SlotChanges::default() };
    assert_eq!(change_slots(&repo, &none).unwrap_err().kind(), ErrorKind::InvalidInput);
    change_slots(&repo, &adding(1, &[])).unwrap();
    change_slots(&repo, &adding(2, &[first])).unwrap();
    let unknown = SlotChanges { remove: vec![first], ..SlotChanges::default() };
    assert_eq!(change_slots(&repo, &unknown).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(states(&repo), [(1, SlotState::Sound), (2, SlotState::Sound)]);
    let files: Vec<String> = storage.files().into_keys().filter(|name| name.starts_with("keys")).collect();
    let names = |dir: &str| [1, 2].map(|number| format!("{dir}/{}", slot(number).id));
    assert_eq!(files, [names("keys-copies"), names("keys")].concat());
    let events: Vec<Event> = log(&repo).unwrap().into_iter().flat_map(|entry| entry.events).collect();
    let changed = |added: u128, removed: &[SlotId]| Event::KeysChanged {
        added: vec![slot(added).id],
        removed: removed.to_vec(),
        epoch: None,
    };
    assert_eq!(events, [changed(1, &[]), changed(2, &[first])]);
    // The one that is lost does not count.
    for place in ["keys", "keys-copies"] {
        storage.remove(&format!("{place}/{}", slot(1).id)).unwrap();
    }
    let sound = SlotChanges { remove: vec![slot(2).id], ..SlotChanges::default() };
    assert_eq!(change_slots(&repo, &sound).unwrap_err().kind(), ErrorKind::InvalidInput);
    let lost = SlotChanges { remove: vec![slot(1).id], ..SlotChanges::default() };
    change_slots(&repo, &lost).unwrap();
    assert_sound(&repo, "after that");
}

#[test]
fn a_slot_that_is_lost_damaged_or_of_somebody_else_is_found() {
    let (storage, repo) = new();
    (1..=3).for_each(|number| change_slots(&repo, &adding(number, &[])).unwrap());
    let file = |place: &str, number| format!("{place}/{}", slot(number).id);
    for place in ["keys", "keys-copies"] {
        storage.remove(&file(place, 1)).unwrap();
        storage.put(&file(place, 2), b"another slot".to_vec());
    }
    storage.remove(&file("keys", 3)).unwrap();
    storage.put(&file("keys", 4), slot(4).bytes);
    let expected = [
        (70, SlotState::Sound),
        (1, SlotState::Lost),
        (2, SlotState::Damaged),
        (3, SlotState::OneCopy),
        (4, SlotState::Unknown),
    ];
    assert_eq!(states(&repo), expected);
    let findings = verify(&repo, None, Depth::Structure, &NoProgress).unwrap().findings;
    let objects: BTreeSet<String> = findings.into_iter().map(|finding| finding.object).collect();
    assert_eq!(objects, [1, 2, 3, 4].map(|number| format!("file {}", file("keys", number))).into());
}

#[test]
fn a_plain_repository_has_no_keys_to_manage() {
    let storage = MemoryStorage::new();
    let plain = repository(Secrets::Plain([1; 32]));
    let repo = Repository::init(Arc::new(storage), session(), &plain).unwrap();
    let kinds = [list_slots(&repo).map(drop), change_slots(&repo, &adding(1, &[])), rotate(&repo).map(drop)];
    assert!(kinds.into_iter().all(|kind| kind.unwrap_err().kind() == ErrorKind::Unsupported));
}

/// Returns the epochs that packs are sealed with.
fn epochs(storage: &MemoryStorage) -> BTreeSet<u32> {
    let packs = storage.files().into_iter().filter(|(name, _)| name.starts_with("packs/"));
    packs.map(|(_, bytes)| u32::from_le_bytes(bytes[12..16].try_into().unwrap())).collect()
}

fn take(repo: &Repository, fill: u8) -> (SnapshotId, Vec<u8>) {
    let image = vec![fill; 50_000];
    (icecore::snapshot::capture(repo, &image, &options("disk"), &NoProgress).unwrap().snapshot.id, image)
}

#[test]
fn a_new_epoch_is_that_of_all_writers_and_gc_brings_old_packs_into_it() {
    let (storage, repo) = new();
    let other = Repository::open(Arc::new(storage.clone()), session()).unwrap();
    let mut images = vec![take(&repo, 1)];
    assert_eq!(rotate(&repo).unwrap(), 1);
    images.push(take(&other, 2));
    assert_eq!(epochs(&storage), [0, 1].into());
    assert_eq!(rotate(&other).unwrap(), 2);
    let collect = |reseal| {
        let options = gc::GcOptions { reseal, ..gc::GcOptions::new(1.0) };
        gc::apply(&repo, gc::plan(&repo, &options, &NoProgress).unwrap(), &NoProgress).unwrap()
    };
    collect(false);
    assert_eq!(epochs(&storage), [0, 1].into());
    assert!(collect(true).packs_rewritten > 0);
    assert_eq!(epochs(&storage), [2].into());
    let again = Repository::open(Arc::new(storage), session()).unwrap();
    images.iter().for_each(|(id, image)| assert_eq!(&image_of(&again, *id), image));
    assert_sound(&again, "sealed anew");
}
