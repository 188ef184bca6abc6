//! Power cuts in gc.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use icecore::snapshot::DeleteOptions;
use icecore_testing::crash::Logged;
use icecore_testing::fault_storage::failing_once;
use icecore_testing::repository::collect;
use icecore_testing::repository::open_with_small_packs as open;

use crate::crash::BLOCK;
use crate::crash::CHUNK;
use crate::crash::HINTS;
use crate::crash::NO_READER_LEFT;
use crate::crash::bounds;
use crate::crash::fixture::Demand;
use crate::crash::fixture::Fixture;
use crate::crash::image;
use crate::crash::kinds;
use crate::crash::mutate::Kind;
use crate::crash::mutate::Mutation;
use crate::crash::mutate::before;
use crate::crash::mutate::found;
use crate::crash::mutate::harmless;
use crate::crash::mutate::no_dir_sync;
use crate::crash::mutate::no_file_sync;
use crate::crash::mutate::no_sync_after_removal;
use crate::crash::mutate::no_sync_of;
use crate::crash::mutate::removal_before;
use crate::crash::mutate::rename_before_sync;
use crate::crash::mutate::runs_before_packs;
use crate::crash::noise;

/// Returns a fixture in which gc has something of each kind to do: packs that go, packs that are
/// rewritten, chunks that are punched.
fn before_gc() -> Fixture {
    let mut fixture = Fixture::new();
    let first = image(11, 2);
    let mut second = first.clone();
    // Of the first chunk one block stays in use, the second goes, and the third stays with the page
    // that leads to it.
    second[BLOCK..CHUNK].fill(0);
    second[CHUNK..2 * CHUNK].copy_from_slice(&noise(13, CHUNK));
    let going = fixture.capture("disk", &first);
    fixture.capture("disk", &second);
    fixture.step(|storage| {
        drop(
            icecore::snapshot::delete(&open(storage.clone()).unwrap(), going, DeleteOptions::default())
                .unwrap(),
        )
    });
    fixture.next = first;
    fixture
}

fn packs(files: &BTreeMap<String, Arc<Vec<u8>>>) -> Vec<String> {
    files.keys().filter(|name| name.starts_with("packs/")).cloned().collect()
}

/// Demands that packs which a gc has removed are not there again when it has returned.
fn removed_for_good(fixture: &Fixture) -> Demand {
    let left = packs(&fixture.storage().files());
    Box::new(move |returned, files| match returned {
        0 => Ok(()),
        _ if packs(files) == left => Ok(()),
        _ => Err("packs that gc had removed are there again".to_owned()),
    })
}

#[test]
pub(crate) fn a_gc() {
    let mut fixture = before_gc();
    fixture.settle();
    fixture.step(|storage| {
        let totals = collect(&open(storage.clone()).unwrap()).unwrap();
        assert!(
            totals.packs_removed > 0 && totals.packs_rewritten > 0 && totals.chunks_punched > 0,
            "{totals:?}"
        );
    });
    fixture.demand = removed_for_good(&fixture);
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(&bounds, &breaks_of_gc());
}

fn breaks_of_gc() -> Vec<Mutation> {
    vec![
        found("new data packs are not synced", no_file_sync(Kind::DataPack)),
        found("new page packs are not synced", no_file_sync(Kind::PagePack)),
        found("the new index is not synced", no_file_sync(Kind::MergedRun)),
        harmless(
            "the directory of packs is not synced after new data packs",
            "it is synced after the new packs of pages, and nothing needs it before that",
            no_dir_sync(Kind::DataPack),
        ),
        found("the directory of packs is not synced after new page packs", no_dir_sync(Kind::PagePack)),
        found("the directory of packs is not synced", no_sync_of("packs")),
        found("the directory of the index is not synced after the new index", no_dir_sync(Kind::MergedRun)),
        found("new data packs are renamed before they are synced", rename_before_sync(Kind::DataPack)),
        found("new page packs are renamed before they are synced", rename_before_sync(Kind::PagePack)),
        found("the new index is renamed before it is synced", rename_before_sync(Kind::MergedRun)),
        found(
            "the old index is removed before the new one is there",
            removal_before("index/", Kind::MergedRun),
        ),
        found(
            "old packs are removed before the new ones are there",
            removal_before("packs/", Kind::DataPack),
        ),
        found(
            "old packs are removed before the new ones of pages are there",
            removal_before("packs/", Kind::PagePack),
        ),
        found("directories are not synced after packs were removed", no_sync_after_removal("packs/")),
        found("runs of new packs are not synced", no_file_sync(Kind::DataRun)),
        found("runs of new page packs are not synced", no_file_sync(Kind::PageRun)),
        harmless(
            "old packs are removed before the index is changed",
            HINTS,
            removal_before("packs/", Kind::MergedRun),
        ),
        harmless("runs come before their packs", HINTS, runs_before_packs(Kind::DataRun, Kind::DataPack)),
        found("the entry is not synced", no_file_sync(Kind::Entry)),
        found("the entry is renamed before it is synced", rename_before_sync(Kind::Entry)),
        found("packs are condemned before their data is elsewhere", before(Kind::Entry, Kind::DataPack)),
        found("packs are condemned before their pages are elsewhere", before(Kind::Entry, Kind::PagePack)),
        found("the directory is not synced after the entry", no_dir_sync(Kind::Entry)),
        harmless("packs are removed before the entry", NO_READER_LEFT, removal_before("packs/", Kind::Entry)),
    ]
}

/// Returns a gc that runs out of room once, at the first call after which `is_it` holds.
fn gc_without_room(is_it: impl Fn(&Fixture) -> bool) -> Fixture {
    let at = |n| {
        let mut fixture = before_gc();
        fixture.settle();
        fixture.step(|storage| {
            let full = failing_once(storage.clone(), n, io::ErrorKind::StorageFull);
            let _ = open(full).and_then(|repo| collect(&repo));
        });
        fixture
    };
    let mut fixture = (0..80).map(at).find(is_it).unwrap();
    fixture.demand = removed_for_good(&fixture);
    fixture
}

#[test]
fn a_gc_on_a_full_disk() {
    let mut fixture = gc_without_room(|fixture| kinds(fixture) == [Kind::Entry]);
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("directories are not synced after packs were removed", no_sync_after_removal("packs/")),
            found("the entry is not synced", no_file_sync(Kind::Entry)),
        ],
    );
}

#[test]
fn a_gc_that_gives_back_the_reserve() {
    let gave_back = Logged::Remove("local/reserve".to_owned());
    let mut fixture = gc_without_room(|fixture| fixture.storage().log().changes.contains(&gave_back));
    assert!(kinds(&fixture).ends_with(&[Kind::Reserve]));
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("the new reserve is not synced", no_file_sync(Kind::Reserve)),
            found("the new reserve is renamed before it is synced", rename_before_sync(Kind::Reserve)),
            harmless(
                "the root is not synced after the reserve was removed",
                "there may be no room yet for what comes next: that is an error, and no loss",
                no_sync_after_removal("local/reserve"),
            ),
            harmless(
                "the root is not synced after the new reserve",
                "the next gc makes it again",
                no_dir_sync(Kind::Reserve),
            ),
            found("the entry is not synced", no_file_sync(Kind::Entry)),
        ],
    );
}
