//! Power cuts while parity is kept: at no moment is there less of it than was promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::NoProgress;
use icecore::maintenance::parity_report;
use icecore::maintenance::set_parity;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::storage::MemoryStorage;
use icecore_testing::repository::collect;
use icecore_testing::repository::open;
use icecore_testing::repository::open_with_small_packs;

use crate::crash::bounds;
use crate::crash::fixture::Demand;
use crate::crash::fixture::Fixture;
use crate::crash::image;
use crate::crash::mutate::Kind;
use crate::crash::mutate::before;
use crate::crash::mutate::found;
use crate::crash::mutate::harmless;
use crate::crash::mutate::no_dir_sync;
use crate::crash::mutate::no_file_sync;
use crate::crash::mutate::rename_before_sync;

type Files = BTreeMap<String, Arc<Vec<u8>>>;

fn with_parity() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.step(|storage| {
        let repo = open_with_small_packs(storage.clone()).unwrap();
        set_parity(&repo, Some("10+2".parse().unwrap()), &NoProgress).unwrap();
    });
    fixture
}

fn storage(files: &Files, without: &str) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let kept = files.iter().filter(|(name, _)| *name != without && !name.starts_with("local/locks/"));
    kept.for_each(|(name, bytes)| storage.put(name, bytes.to_vec()));
    storage
}

/// Demands that every snapshot that is there restores without any one of the packs.
fn without_any_pack() -> Demand {
    Box::new(|_, files| {
        for pack in files.keys().filter(|name| name.starts_with("packs/")) {
            let repo = open(storage(files, pack));
            for snapshot in icecore::snapshot::list(&repo).map_err(|error| error.to_string())? {
                icecore::snapshot::restore(
                    &repo,
                    snapshot.id,
                    RestoreTo::Stream(&mut std::io::sink()),
                    OnDamage::Stop,
                    &NoProgress,
                )
                .map_err(|error| format!("without {pack}: {error}"))?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_capture_with_parity() {
    let mut fixture = with_parity();
    fixture.settle();
    let image = image(51, 2);
    fixture.next = image.clone();
    fixture.capture("disk", &image);
    fixture.demand = Box::new(|_, files| {
        let repo = open(storage(files, ""));
        let is_there = !icecore::snapshot::list(&repo).map_err(|error| error.to_string())?.is_empty();
        let without = parity_report(&repo).map_err(|error| error.to_string())?.packs_without;
        match (is_there, without) {
            (true, 1..) => Err(format!("{without} packs of a snapshot that is there have no parity")),
            _ => without_any_pack()(0, files),
        }
    });
    let bounds = bounds(60, 6);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("parity is not synced", no_file_sync(Kind::Parity)),
            found("the directory of parity is not synced", no_dir_sync(Kind::Parity)),
            found("parity is renamed before it is synced", rename_before_sync(Kind::Parity)),
            found("the entry comes before parity", before(Kind::Entry, Kind::Parity)),
        ],
    );
}

#[test]
fn a_gc_with_parity() {
    let mut fixture = with_parity();
    let first = image(61, 2);
    let mut second = first.clone();
    second[4096..65536].fill(0);
    let going = fixture.capture("disk", &first);
    fixture.capture("disk", &second);
    fixture.step(|storage| {
        drop(
            icecore::snapshot::delete(
                &open_with_small_packs(storage.clone()).unwrap(),
                going,
                DeleteOptions::default(),
            )
            .unwrap(),
        );
    });
    fixture.next = first;
    fixture.settle();
    fixture.step(|storage| {
        let totals = collect(&open_with_small_packs(storage.clone()).unwrap()).unwrap();
        assert!(totals.packs_removed + totals.packs_rewritten > 0, "{totals:?}");
    });
    fixture.demand = without_any_pack();
    let bounds = bounds(60, 6);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("new parity is not synced", no_file_sync(Kind::Parity)),
            found("the directory of parity is not synced", no_dir_sync(Kind::Parity)),
            harmless(
                "new parity comes before the new index",
                "parity is of packs, and they are there",
                before(Kind::Parity, Kind::MergedRun),
            ),
        ],
    );
}
