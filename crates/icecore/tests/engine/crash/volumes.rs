//! Power cuts in what is done with copy-on-write volumes.

use icecore::snapshot::DeleteOptions;
use icecore_testing::crash::Logged;
use icecore_testing::repository::collect;

use crate::crash::BLOCK;
use crate::crash::bounds;
use crate::crash::fixture::Fixture;
use crate::crash::mutate::Kind;
use crate::crash::mutate::Mutation;
use crate::crash::mutate::before;
use crate::crash::mutate::before_last;
use crate::crash::mutate::dir_sync_before_rename;
use crate::crash::mutate::found;
use crate::crash::mutate::harmless;
use crate::crash::mutate::no_dir_sync;
use crate::crash::mutate::no_file_sync;
use crate::crash::mutate::no_sync_after_removal;
use crate::crash::mutate::no_sync_of;
use crate::crash::mutate::no_syncs_of;
use crate::crash::mutate::removal_before;
use crate::crash::mutate::rename_before_sync;
use crate::crash::mutate::write_before_sync;
use crate::crash::noise;
use crate::crash::volume_fixture::NAME;
use crate::crash::volume_fixture::VolumeFixture;

const DIR: &str = "local/volumes/disk";
const RECORD: &str = "local/volumes/disk/record";
const IMAGE_BYTES: usize = 9 * BLOCK + 1234;

fn base() -> (Fixture, icecore::snapshot::SnapshotId, Vec<u8>) {
    let mut fixture = Fixture::new();
    let mut image = noise(71, IMAGE_BYTES);
    image[4 * BLOCK..6 * BLOCK].fill(0);
    let id = fixture.capture("origin", &image);
    (fixture, id, image)
}

fn clone() -> (VolumeFixture, icecore::snapshot::SnapshotId, Vec<u8>) {
    let (fixture, id, image) = base();
    let mut fixture = VolumeFixture::new(fixture);
    fixture.create(Some(id), &image);
    (fixture, id, image)
}

/// Returns breaks of the way in which the record of a volume is published.
fn breaks_of_record() -> Vec<Mutation> {
    vec![
        found("the record of the volume is not synced", no_file_sync(Kind::VolumeRecord)),
        found("the directory is not synced after the record of the volume", no_dir_sync(Kind::VolumeRecord)),
        found(
            "the record of the volume is renamed before it is synced",
            rename_before_sync(Kind::VolumeRecord),
        ),
        found(
            "the directory is synced before the record is there",
            dir_sync_before_rename(Kind::VolumeRecord),
        ),
    ]
}

#[test]
fn the_first_volume_is_made() {
    let (fixture, id, image) = base();
    let mut fixture = VolumeFixture::new(fixture);
    fixture.create(Some(id), &image);
    let mut fixture = fixture.ready();
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    let mut breaks = breaks_of_record();
    breaks.extend([
        found("the entry is not synced", no_file_sync(Kind::Entry)),
        found("the entry is renamed before it is synced", rename_before_sync(Kind::Entry)),
        found("the directory of volumes is not synced", no_sync_of("local/volumes")),
        found("the directory of the volume is never synced", no_sync_of(DIR)),
        found("the record comes before the entry and the overlay", before(Kind::VolumeRecord, Kind::Entry)),
        found("the record comes before the names of the overlay", |changes| {
            let sync = Logged::SyncDir(DIR.to_owned());
            let at = changes.iter().position(|change| *change == sync).unwrap();
            changes.remove(at);
        }),
    ]);
    fixture.check_mutations(&bounds, &breaks);
}

#[test]
fn a_volume_of_zeros_is_made_written_and_grown() {
    let mut fixture = VolumeFixture::new(Fixture::new());
    let image = vec![0; 3 * BLOCK + 700];
    fixture.create(None, &image);
    fixture.write(3 * BLOCK, &noise(1, 700));
    fixture.sync();
    let mut image = image;
    image[3 * BLOCK..].copy_from_slice(&noise(1, 700));
    image.resize(5 * BLOCK + 10, 0);
    fixture.whole(Some(image), |repo| {
        drop(icecore::volume::resize_volume(repo, NAME, 5 * BLOCK as u64 + 10).unwrap())
    });
    fixture.write(3 * BLOCK + 600, &noise(2, BLOCK));
    fixture.snapshot();
    let mut fixture = fixture.ready();
    let bounds = bounds(60, 6);
    fixture.check(&bounds);
    fixture.check_mutations(&bounds, &breaks_of_record());
}

#[test]
fn writes_and_syncs() {
    let (mut fixture, _, _) = clone();
    fixture.write(BLOCK, &noise(1, 2 * BLOCK));
    fixture.write(7 * BLOCK + 100, &noise(2, 50));
    fixture.sync();
    fixture.write(BLOCK, &noise(3, BLOCK));
    fixture.write(9 * BLOCK + 1000, &noise(4, 234));
    fixture.zero(2 * BLOCK..4 * BLOCK);
    fixture.sync();
    fixture.zero(BLOCK..2 * BLOCK);
    fixture.write(BLOCK, &noise(5, BLOCK));
    fixture.write(4 * BLOCK + 9, &noise(6, 9));
    fixture.sync();
    let mut fixture = fixture.ready();
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("the data is not synced", no_syncs_of("local/volumes/disk/overlay-0")),
            found("the map is not synced", no_syncs_of("local/volumes/disk/map-0")),
            found(
                "the map is written before the data is synced",
                write_before_sync("local/volumes/disk/map-0", "local/volumes/disk/overlay-0"),
            ),
        ],
    );
}

#[test]
fn a_snapshot_of_a_volume() {
    let (mut fixture, _, _) = clone();
    fixture.write(BLOCK, &noise(1, 2 * BLOCK));
    fixture.zero(6 * BLOCK..7 * BLOCK);
    fixture.snapshot();
    fixture.write(2 * BLOCK, &noise(2, 2 * BLOCK));
    fixture.sync();
    let mut fixture = fixture.ready();
    let bounds = bounds(60, 6);
    fixture.check(&bounds);
    fixture.check_mutations(&bounds, &breaks_of_snapshot());
}

fn breaks_of_snapshot() -> Vec<Mutation> {
    let mut breaks = breaks_of_record();
    breaks.extend([
        found("what is sealed is not synced", no_syncs_of("local/volumes/disk/overlay-0")),
        found("the names of the new overlay are not synced", |changes| {
            let is_it = |change: &Logged| matches!(change, Logged::Create(name, _) if name == "local/volumes/disk/overlay-1");
            let made = changes.iter().position(is_it).unwrap();
            let sync = Logged::SyncDir(DIR.to_owned());
            let at = changes[made..].iter().position(|change| *change == sync).unwrap();
            changes.remove(made + at);
        }),
        found("the fold comes before the data of the snapshot", before(Kind::VolumeRecord, Kind::DataPack)),
        harmless(
            "the fold comes before the record of the snapshot",
            "the volume's record holds that of the snapshot, and all that it leads to is there",
            before_last(Kind::VolumeRecord, Kind::Entry),
        ),
        found(
            "what was sealed is removed before the snapshot is there",
            removal_before("local/volumes/disk/overlay-0", Kind::DataPack),
        ),
        harmless(
            "the directory is not synced after what was sealed is removed",
            "nothing names it, and what comes back is removed when the volume is opened",
            no_sync_after_removal("local/volumes/disk/overlay-"),
        ),
    ]);
    breaks
}

#[test]
fn snapshots_that_fail_and_another() {
    let (mut fixture, _, _) = clone();
    fixture.write(BLOCK, &noise(1, 2 * BLOCK));
    // The new overlay has nothing in it, and the sealed one takes writes again.
    fixture.failed_snapshot();
    fixture.write(2 * BLOCK, &noise(2, 2 * BLOCK));
    fixture.sync();
    // Now it has something, and both take writes.
    fixture.failed_snapshot_beside(7 * BLOCK, &noise(3, 2 * BLOCK));
    fixture.write(2 * BLOCK + 5, &noise(4, 2 * BLOCK));
    fixture.write(8 * BLOCK, &noise(5, BLOCK + 1));
    fixture.sync();
    fixture.zero(3 * BLOCK..4 * BLOCK);
    fixture.zero(7 * BLOCK..8 * BLOCK);
    fixture.sync();
    fixture.zero(2 * BLOCK..8 * BLOCK);
    fixture.write(3 * BLOCK, &noise(6, BLOCK));
    fixture.sync();
    fixture.snapshot();
    let mut fixture = fixture.ready();
    let bounds = bounds(60, 6);
    fixture.check(&bounds);
    let mut breaks = breaks_of_record();
    breaks.extend([
        found("data of the older overlay is not synced", no_syncs_of("local/volumes/disk/overlay-0")),
        found("the map of the older overlay is not synced", no_syncs_of("local/volumes/disk/map-0")),
        found("data of the new overlay is not synced", no_syncs_of("local/volumes/disk/overlay-1")),
        found("the map of the new overlay is not synced", no_syncs_of("local/volumes/disk/map-1")),
    ]);
    fixture.check_mutations(&bounds, &breaks);
}

/// The most overlays that a record names beside the newest.
const SEALED_MAX: usize = 64;

#[test]
fn a_snapshot_after_so_many_that_failed_that_two_overlays_become_one() {
    let (mut fixture, _, _) = clone();
    fixture.write(0, &noise(1, 6 * BLOCK));
    for number in 0..SEALED_MAX {
        fixture.failed_snapshot_beside(number % 8 * BLOCK, &noise(number as u64, BLOCK));
    }
    fixture.write(2 * BLOCK, &noise(100, 4 * BLOCK));
    fixture.sync();
    fixture.settle();
    fixture.failed_snapshot_beside(8 * BLOCK, &noise(101, BLOCK));
    fixture.write(2 * BLOCK + 9, &noise(102, 4 * BLOCK));
    fixture.sync();
    let mut fixture = fixture.ready();
    let merged = "local/volumes/disk/overlay-";
    let log = fixture.storage().log();
    let removed =
        log.changes.iter().position(|it| matches!(it, Logged::Remove(name) if name.starts_with(merged)));
    let sealed =
        log.changes.iter().position(|it| matches!(it, Logged::Create(name, _) if name.starts_with(merged)));
    assert!(removed.unwrap() < sealed.unwrap(), "two overlays became one before the seal");
    let states = fixture.check(&bounds(12, 2));
    assert!(states > 30, "only {states} states");
}

#[test]
fn a_volume_is_set_back_restored_and_deleted() {
    let (mut fixture, _, image) = clone();
    fixture.write(BLOCK, &noise(1, 2 * BLOCK));
    fixture.sync();
    let taken = fixture.snapshot();
    let mut then = image.clone();
    then[BLOCK..3 * BLOCK].copy_from_slice(&noise(1, 2 * BLOCK));
    fixture.write(0, &noise(2, BLOCK));
    fixture.sync();
    fixture.whole(Some(image), |repo| drop(icecore::volume::reset_volume(repo, NAME).unwrap()));
    fixture.write(0, &noise(3, BLOCK));
    fixture.whole(Some(then), |repo| drop(icecore::volume::restore_volume(repo, NAME, taken).unwrap()));
    fixture.write(0, &noise(4, BLOCK));
    fixture.sync();
    fixture.whole(None, |repo| drop(icecore::volume::delete_volume(repo, NAME).unwrap()));
    let mut fixture = fixture.ready();
    let bounds = bounds(60, 6);
    fixture.check(&bounds);
    let mut breaks = breaks_of_record();
    breaks.extend([
        found("the directory is not synced after the record was removed", no_sync_after_removal(RECORD)),
        harmless(
            "the directory is not synced after overlays were removed",
            "nothing names them, and what comes back is removed when the volume is opened or made",
            no_sync_after_removal("local/volumes/disk/overlay-"),
        ),
    ]);
    fixture.check_mutations(&bounds, &breaks);
}

#[test]
fn a_gc_while_a_volume_stands_on_a_deleted_snapshot() {
    let (mut fixture, _, _) = clone();
    fixture.write(BLOCK, &noise(1, 2 * BLOCK));
    let taken = fixture.snapshot();
    fixture.write(BLOCK, &noise(2, BLOCK));
    fixture.beside(|repo| drop(icecore::snapshot::delete(repo, taken, DeleteOptions::default()).unwrap()));
    fixture.beside(|repo| {
        collect(repo).unwrap();
    });
    fixture.snapshot();
    fixture.beside(|repo| {
        collect(repo).unwrap();
    });
    let mut fixture = fixture.ready();
    let states = fixture.check(&bounds(60, 6));
    assert!(states > 50, "only {states} states");
}
