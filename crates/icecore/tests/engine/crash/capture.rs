//! Power cuts in captures.

use icecore::NoProgress;
use icecore_testing::repository::options;

use crate::crash::BLOCK;
use crate::crash::CHUNK;
use crate::crash::HINTS;
use crate::crash::LEAF;
use crate::crash::bounds;
use crate::crash::count;
use crate::crash::fixture::Fixture;
use crate::crash::image;
use crate::crash::kinds;
use crate::crash::mutate::Kind;
use crate::crash::mutate::Mutation;
use crate::crash::mutate::before;
use crate::crash::mutate::dir_sync_before_rename;
use crate::crash::mutate::found;
use crate::crash::mutate::harmless;
use crate::crash::mutate::no_dir_sync;
use crate::crash::mutate::no_file_sync;
use crate::crash::mutate::no_sync_before;
use crate::crash::mutate::no_sync_of;
use crate::crash::mutate::removal_before;
use crate::crash::mutate::rename_before_sync;
use crate::crash::mutate::runs_before_packs;
use crate::crash::noise;

const SYNCED_LATER: &str = "it is synced after the pack of pages, and nothing needs it before that";

#[test]
fn a_first_capture() {
    let mut fixture = Fixture::new();
    let image = image(1, 2);
    fixture.next = image.clone();
    fixture.capture("disk", &image);
    assert!(count(&fixture, Kind::DataPack) == 3 && count(&fixture, Kind::PagePack) == 1);
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(&bounds, &breaks_of_capture());
}

fn breaks_of_capture() -> Vec<Mutation> {
    vec![
        found("data packs are not synced", no_file_sync(Kind::DataPack)),
        found("page packs are not synced", no_file_sync(Kind::PagePack)),
        found("runs of data are not synced", no_file_sync(Kind::DataRun)),
        found("runs of pages are not synced", no_file_sync(Kind::PageRun)),
        found("the entry is not synced", no_file_sync(Kind::Entry)),
        harmless(
            "the directory of packs is not synced after data packs",
            SYNCED_LATER,
            no_dir_sync(Kind::DataPack),
        ),
        found("the directory of packs is not synced after the pack of pages", no_dir_sync(Kind::PagePack)),
        found("the directory of packs is never synced", no_sync_of("packs")),
        harmless(
            "the index is not synced after a run of data",
            "it is synced after the run of pages, and nothing needs it before that",
            no_dir_sync(Kind::DataRun),
        ),
        found("the index is not synced after the run of pages", no_dir_sync(Kind::PageRun)),
        found("the index is never synced", no_sync_of("index")),
        found("the directory of the journal is not synced", no_dir_sync(Kind::Entry)),
        found("data packs are renamed before they are synced", rename_before_sync(Kind::DataPack)),
        found("page packs are renamed before they are synced", rename_before_sync(Kind::PagePack)),
        found("runs of data are renamed before they are synced", rename_before_sync(Kind::DataRun)),
        found("runs of pages are renamed before they are synced", rename_before_sync(Kind::PageRun)),
        found("the entry is renamed before it is synced", rename_before_sync(Kind::Entry)),
        harmless(
            "packs are synced before those of data are there",
            SYNCED_LATER,
            dir_sync_before_rename(Kind::DataPack),
        ),
        found("packs are synced before that of pages is there", dir_sync_before_rename(Kind::PagePack)),
        found("the index is synced before the run of pages is in it", dir_sync_before_rename(Kind::PageRun)),
        found("the journal is synced before the entry is there", dir_sync_before_rename(Kind::Entry)),
        found("the entry comes before the run of pages", before(Kind::Entry, Kind::PageRun)),
        found("the entry comes before the pack of pages", before(Kind::Entry, Kind::PagePack)),
        found("the entry comes before all packs", before(Kind::Entry, Kind::DataPack)),
        harmless("runs come before their packs", HINTS, runs_before_packs(Kind::DataRun, Kind::DataPack)),
        harmless(
            "the run of pages comes before its pack",
            HINTS,
            runs_before_packs(Kind::PageRun, Kind::PagePack),
        ),
        harmless(
            "the pack of pages comes before those of data",
            "no record leads to it yet, and a capture that finds a page in it has found or written its chunks itself",
            before(Kind::PagePack, Kind::DataPack),
        ),
    ]
}

#[test]
pub(crate) fn a_small_capture() {
    let mut fixture = Fixture::new();
    let mut image = noise(61, CHUNK);
    fixture.capture("disk", &image);
    fixture.settle();
    image[BLOCK..2 * BLOCK].copy_from_slice(&noise(62, BLOCK));
    fixture.next = image.clone();
    let how = options("disk");
    fixture.know(how.id, &image);
    fixture.step(|storage| {
        // In packs of the usual size.
        let repo = icecore_testing::repository::open(storage.clone());
        icecore::snapshot::capture(&repo, &image, &how, &NoProgress).unwrap();
    });
    let kinds = kinds(&fixture);
    assert!(kinds.ends_with(&[Kind::MixedPack, Kind::DataRun, Kind::Entry]), "{kinds:?}");
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("the pack is not synced", no_file_sync(Kind::MixedPack)),
            found("the directory of packs is not synced", no_dir_sync(Kind::MixedPack)),
            found("the run is not synced", no_file_sync(Kind::DataRun)),
            found("the index is not synced", no_dir_sync(Kind::DataRun)),
            found("the entry is not synced", no_file_sync(Kind::Entry)),
            found("the directory of the journal is not synced", no_dir_sync(Kind::Entry)),
            found("the pack is renamed before it is synced", rename_before_sync(Kind::MixedPack)),
            found("packs are synced before the new one is there", dir_sync_before_rename(Kind::MixedPack)),
            found("the index is synced before the run is there", dir_sync_before_rename(Kind::DataRun)),
            found("the entry comes before the pack", before(Kind::Entry, Kind::MixedPack)),
            found("the entry comes before the run", before(Kind::Entry, Kind::DataRun)),
            harmless(
                "the run comes before its pack",
                HINTS,
                runs_before_packs(Kind::DataRun, Kind::MixedPack),
            ),
        ],
    );
}

#[test]
fn a_capture_that_puts_small_packs_together() {
    let mut fixture = Fixture::new();
    let mut image = noise(63, CHUNK);
    let take = |fixture: &mut Fixture, image: &[u8]| {
        let how = options("disk");
        fixture.know(how.id, image);
        fixture.step(|storage| {
            let repo = icecore_testing::repository::open(storage.clone());
            icecore::snapshot::capture(&repo, &image.to_vec(), &how, &NoProgress).unwrap();
        });
    };
    for seed in 0..15 {
        image[..BLOCK].copy_from_slice(&noise(64 + seed, BLOCK));
        take(&mut fixture, &image);
    }
    fixture.settle();
    image[..BLOCK].copy_from_slice(&noise(80, BLOCK));
    fixture.next = image.clone();
    take(&mut fixture, &image);
    let of_capture = [Kind::MixedPack, Kind::MergedRun, Kind::Entry];
    let of_joining =
        [Kind::DataPack, Kind::DataRun, Kind::PagePack, Kind::PageRun, Kind::Entry, Kind::DataRun];
    assert_eq!(kinds(&fixture), [&of_capture[..], &of_joining[..]].concat());
    let bounds = bounds(30, 4);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("the new data is not synced", no_file_sync(Kind::DataPack)),
            found("the new pages are not synced", no_file_sync(Kind::PagePack)),
            found("the directory of packs is never synced", no_sync_of("packs")),
            found("the entry is not synced", no_file_sync(Kind::Entry)),
            found("the new packs are removed again", removal_before("packs/", Kind::PagePack)),
        ],
    );
}

#[test]
fn a_capture_that_relies_on_what_another_one_is_publishing() {
    let image = image(51, 2);
    let bounds = bounds(100, 8);
    for run in 1..=4 {
        let mut fixture = Fixture::new();
        fixture.next = image.clone();
        fixture.captures_at_once(&image, run);
        fixture.check(&bounds);
        if run == 4 {
            // The first has published all but its record, and the second publishes nothing else.
            assert_eq!(kinds(&fixture)[8..], [Kind::Entry, Kind::Entry]);
        }
        // Where the second publishes runs of its own, the last one's sync is that of all others,
        // too.
        let unsynced = no_sync_before("index", Kind::Entry);
        fixture
            .check_mutations(&bounds, &[found("the second does not sync the runs of the first", unsynced)]);
    }
}

#[test]
fn a_capture_of_changes_that_merges_the_index() {
    let mut fixture = Fixture::new();
    let mut image = image(3, 2);
    fixture.capture("disk", &image);
    fixture.settle();
    image[BLOCK..BLOCK + CHUNK].copy_from_slice(&noise(5, CHUNK));
    image[LEAF..LEAF + 2 * BLOCK].copy_from_slice(&noise(6, 2 * BLOCK));
    fixture.next = image.clone();
    fixture.capture("disk", &image);
    assert_eq!(count(&fixture, Kind::MergedRun), 1, "{:?}", kinds(&fixture));
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("the merged run is not synced", no_file_sync(Kind::MergedRun)),
            found("the index is not synced after the merged run", no_dir_sync(Kind::MergedRun)),
            found("the merged run is renamed before it is synced", rename_before_sync(Kind::MergedRun)),
            found(
                "the index is synced before the merged run is there",
                dir_sync_before_rename(Kind::MergedRun),
            ),
            found(
                "merged runs are removed before the new one is there",
                removal_before("index/", Kind::MergedRun),
            ),
        ],
    );
}

#[test]
fn a_capture_of_known_blocks_that_merges_the_index() {
    let mut fixture = Fixture::new();
    let mut image = image(7, 2);
    fixture.capture("disk", &image);
    fixture.settle();
    image.rotate_left(CHUNK);
    fixture.next = image.clone();
    fixture.capture("disk", &image);
    assert_eq!(kinds(&fixture), [Kind::PagePack, Kind::PageRun, Kind::MergedRun, Kind::Entry]);
    let bounds = bounds(100, 8);
    fixture.check(&bounds);
    fixture.check_mutations(
        &bounds,
        &[
            found("the merged run is not synced", no_file_sync(Kind::MergedRun)),
            found("the index is not synced after the merged run", no_dir_sync(Kind::MergedRun)),
            found(
                "merged runs are removed before the new one is there",
                removal_before("index/", Kind::MergedRun),
            ),
            harmless(
                "the merged run comes after the record",
                "the runs that it replaces are there until then",
                |changes| {
                    before(Kind::Entry, Kind::MergedRun)(changes);
                },
            ),
        ],
    );
}
