//! Power cuts in what changes the catalog, in init, and in all operations one after another.

use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore_testing::repository::collect;
use icecore_testing::repository::open_with_small_packs as open;

use crate::crash::BLOCK;
use crate::crash::CHUNK;
use crate::crash::LEAF;
use crate::crash::bounds;
use crate::crash::fixture::Fixture;
use crate::crash::fixture::init;
use crate::crash::image;
use crate::crash::mutate::Kind;
use crate::crash::mutate::before;
use crate::crash::mutate::dir_sync_before_rename;
use crate::crash::mutate::found;
use crate::crash::mutate::harmless;
use crate::crash::mutate::no_dir_sync;
use crate::crash::mutate::no_file_sync;
use crate::crash::mutate::no_sync_after_making;
use crate::crash::mutate::rename_before_sync;
use crate::crash::noise;
use crate::crash::times;

#[test]
pub(crate) fn an_init() {
    let mut fixture = Fixture::nothing();
    fixture.step(|storage| drop(init(storage).unwrap()));
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("the first checkpoint is not synced", no_file_sync(Kind::Checkpoint)),
            harmless(
                "the first checkpoint is renamed before it is synced",
                "there is no repository yet: the next init makes a new one",
                rename_before_sync(Kind::Checkpoint),
            ),
            found("the config is not synced", no_file_sync(Kind::Config)),
            found("the reserve is not synced", no_file_sync(Kind::Reserve)),
            found("the root is not synced after the config", no_dir_sync(Kind::Config)),
            found("the root is not synced before the config", no_sync_after_making("local/tmp/")),
            harmless(
                "the local directory is not synced",
                "what is missing there is made when it is needed, and the reserve by the next gc",
                no_dir_sync(Kind::Reserve),
            ),
            found("the config is renamed before it is synced", rename_before_sync(Kind::Config)),
            harmless(
                "the reserve is renamed before it is synced",
                "there is no repository yet: the next init makes a new reserve",
                rename_before_sync(Kind::Reserve),
            ),
            found("the config comes before the first checkpoint", before(Kind::Config, Kind::Checkpoint)),
        ],
    );
}

#[test]
fn changes_of_the_catalog() {
    let mut fixture = Fixture::new();
    let ids = [1, 2].map(|seed| fixture.capture("disk", &noise(seed, 2 * BLOCK)));
    fixture.settle();
    let tags = ["a".to_owned()];
    fixture.step(|storage| {
        drop(
            icecore::snapshot::rename(
                &open(storage.clone()).unwrap(),
                ids[0],
                "another",
                RenameOptions::default(),
            )
            .unwrap(),
        )
    });
    fixture.step(|storage| {
        drop(icecore::snapshot::retag(&open(storage.clone()).unwrap(), ids[0], &tags, &[]).unwrap())
    });
    fixture.step(|storage| {
        drop(icecore::snapshot::set_protected(&open(storage.clone()).unwrap(), ids[0], true).unwrap())
    });
    fixture.step(|storage| {
        drop(
            icecore::snapshot::delete(&open(storage.clone()).unwrap(), ids[1], DeleteOptions::default())
                .unwrap(),
        )
    });
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("an entry is not synced", no_file_sync(Kind::Entry)),
            found("the directory is not synced after an entry", no_dir_sync(Kind::Entry)),
            found("an entry is renamed before it is synced", rename_before_sync(Kind::Entry)),
            found("the directory is synced before the entry is there", dir_sync_before_rename(Kind::Entry)),
        ],
    );
}

#[test]
pub(crate) fn one_operation_after_another() {
    let mut fixture = Fixture::nothing();
    fixture.step(|storage| drop(init(storage).unwrap()));
    let mut image = image(31, 2);
    let first = fixture.capture("disk", &image);
    image[..BLOCK].fill(3);
    fixture.capture("disk", &image);
    image[LEAF..].copy_from_slice(&noise(33, CHUNK));
    let third = fixture.capture("disk", &image);
    fixture.step(|storage| {
        drop(
            icecore::snapshot::delete(&open(storage.clone()).unwrap(), first, DeleteOptions::default())
                .unwrap(),
        )
    });
    fixture.step(|storage| assert!(collect(&open(storage.clone()).unwrap()).unwrap().packs_rewritten > 0));
    fixture.step(|storage| {
        drop(
            icecore::snapshot::rename(
                &open(storage.clone()).unwrap(),
                third,
                "kept",
                RenameOptions::default(),
            )
            .unwrap(),
        )
    });
    fixture.next = image.clone();
    fixture.capture("other", &image);
    let states = fixture.check(&bounds(40, 4));
    assert!(states > 100, "only {states} states");
    let second = fixture.check_second_cuts(&bounds(6, 1), 4 * times());
    // How many there are depends on which threads were ahead of which when the first cut came.
    assert!(second > 0, "no state after a second cut was looked at");
}
