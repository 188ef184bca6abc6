//! Power cuts in a repair of the index.

use std::sync::Arc;

use icecore::NoProgress;
use icecore::snapshot::DeleteOptions;
use icecore_testing::repository::open_with_small_packs as open;

use crate::crash::CHUNK;
use crate::crash::bounds;
use crate::crash::fixture::Before;
use crate::crash::fixture::Fixture;
use crate::crash::mutate::Kind;
use crate::crash::mutate::Mutation;
use crate::crash::mutate::found;
use crate::crash::mutate::harmless;
use crate::crash::mutate::left_before_arrived;
use crate::crash::mutate::moves_before;
use crate::crash::mutate::no_dir_sync;
use crate::crash::mutate::no_file_sync;
use crate::crash::mutate::no_sync_after_making;
use crate::crash::mutate::no_sync_after_moves_to;
use crate::crash::mutate::no_sync_after_removal;
use crate::crash::mutate::no_sync_of;
use crate::crash::mutate::removal_before;
use crate::crash::mutate::rename_before_sync;
use crate::crash::noise;

const AGAIN: &str = "a repair that was cut off is done again, and finds the damaged pack where it was";

const SYNCED_WITH_ALL: &str = "it is synced before the new index, for the packs of writers that died";

/// Returns bytes that compress to about a half, so that two chunks of them are in one pack.
fn half_noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = noise(seed, len);
    bytes.chunks_mut(2048).step_by(2).for_each(|part| part.fill(0));
    bytes
}

#[test]
fn a_repair_of_the_index() {
    let mut fixture = Fixture::new();
    // Of the pack of the first one, the second one needs the second chunk only.
    let both = half_noise(21, 2 * CHUNK);
    let gone = fixture.capture("disk", &both);
    let first = fixture.storage().files();
    fixture.capture("disk", &both[CHUNK..]);
    let second = fixture.storage().files();
    fixture.step(|storage| {
        drop(
            icecore::snapshot::delete(&open(storage.clone()).unwrap(), gone, DeleteOptions::default())
                .unwrap(),
        )
    });
    let other = fixture.capture("other", &noise(23, CHUNK));
    // The chunk that nothing needs is lost. Of the pages all are saved, to the same pack again.
    let damage = |(name, bytes): (&String, &Arc<Vec<u8>>), places: &[usize]| {
        let mut bytes = bytes.to_vec();
        places.iter().for_each(|at| bytes[*at] ^= 1);
        fixture.storage().put(name, bytes.clone());
        bytes
    };
    let data = first.iter().find(|(name, bytes)| name.starts_with("packs/") && bytes[10] == 1).unwrap();
    let damaged = damage(data, &[200, data.1.len() - 1]);
    let is_new = |name: &String| name.starts_with("packs/") && !first.contains_key(name);
    let pages = second.iter().find(|(name, _)| is_new(name)).unwrap();
    let pages_first = pages.0 < data.0;
    damage(pages, &[pages.1.len() - 1]);
    let run = first.iter().find(|(name, bytes)| name.starts_with("index/") && bytes[24] == 0).unwrap();
    damage(run, &[run.1.len() - 1]);
    fixture.settle();
    fixture.untouched = vec![other];
    fixture.before = Before::Repair;
    fixture.step(|storage| {
        let report =
            icecore::maintenance::repair_index(&open(storage.clone()).unwrap(), &NoProgress).unwrap();
        assert_eq!(report.damaged_packs.len(), 2);
    });
    fixture.demand = Box::new(move |_, files| {
        let kept = files.values().any(|bytes| **bytes == damaged);
        if kept { Ok(()) } else { Err("the damaged pack is nowhere any more".to_owned()) }
    });
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(&bounds, &breaks_of_repair(pages_first));
}

/// Returns the breaks of a repair that saves pages before data, or after.
fn breaks_of_repair(pages_first: bool) -> Vec<Mutation> {
    let before_pages = moves_before("damaged/", Kind::PagePack);
    let before_pages_are_saved = "damaged packs are moved before pages that were saved are there";
    vec![
        found("saved data is not synced", no_file_sync(Kind::DataPack)),
        found("saved pages are not synced", no_file_sync(Kind::PagePack)),
        found("the new index is not synced", no_file_sync(Kind::MergedRun)),
        harmless(
            "the directory of packs is not synced after saved data",
            SYNCED_WITH_ALL,
            no_dir_sync(Kind::DataPack),
        ),
        harmless(
            "the directory of packs is not synced after saved pages",
            SYNCED_WITH_ALL,
            no_dir_sync(Kind::PagePack),
        ),
        found("the directory of packs is not synced", no_sync_of("packs")),
        found("the index is not synced after the new run", no_dir_sync(Kind::MergedRun)),
        found("saved data is renamed before it is synced", rename_before_sync(Kind::DataPack)),
        found("saved pages are renamed before they are synced", rename_before_sync(Kind::PagePack)),
        harmless("the new index is renamed before it is synced", AGAIN, rename_before_sync(Kind::MergedRun)),
        found(
            "the old index is removed before the new one is there",
            removal_before("index/", Kind::MergedRun),
        ),
        found("the index is not synced after old runs were removed", no_sync_after_removal("index/")),
        found("the root is never synced", no_sync_of("")),
        found(
            "the root is not synced after a directory for damaged packs was made",
            no_sync_after_making("damaged/"),
        ),
        found("the directory of damaged packs is not synced", no_sync_of("damaged")),
        found(
            "directories are not synced after damaged packs were moved",
            no_sync_after_moves_to("damaged/"),
        ),
        found(
            "damaged packs leave their directories before they are durable in the other",
            left_before_arrived("damaged/"),
        ),
        found(
            "damaged packs are moved before what was saved of them is there",
            moves_before("damaged/", Kind::DataPack),
        ),
        match pages_first {
            true => found(before_pages_are_saved, before_pages),
            false => harmless(
                before_pages_are_saved,
                "these are in another pack, which takes the place of the damaged one",
                before_pages,
            ),
        },
        harmless(
            "damaged packs are moved before the new index is there",
            "the next repair finds what was saved of them, in sound packs",
            moves_before("damaged/", Kind::MergedRun),
        ),
        found("the entry is not synced", no_file_sync(Kind::Entry)),
        found("the entry is renamed before it is synced", rename_before_sync(Kind::Entry)),
    ]
}
