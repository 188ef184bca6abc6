//! Manifest pages that are stored as deltas of others: what they cost, and what becomes of them
//! when the snapshots go that have the others.

use icecore::BLOCK_BYTES;
use icecore::NoProgress;
use icecore::maintenance;
use icecore::maintenance::gc;
use icecore::maintenance::gc::GcOptions;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::Parent;
use icecore::snapshot::SnapshotId;
use icecore_testing::images::TestImage;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;

const MIB: usize = 1 << 20;

/// An image that changes by a few blocks from snapshot to snapshot.
struct Generations {
    repository: TestRepository,
    random: Random,
    image: Vec<u8>,
    /// The snapshots, each with its image.
    snapshots: Vec<(SnapshotId, Vec<u8>)>,
    manifest_bytes: Vec<u64>,
}

impl Generations {
    fn new(bytes: usize) -> Self {
        let mut random = Random::new(17);
        let image = random.bytes(bytes);
        let repository = TestRepository::new();
        let mut new = Self { repository, random, image, snapshots: Vec::new(), manifest_bytes: Vec::new() };
        new.capture();
        new
    }

    fn capture(&mut self) {
        let report = self.repository.capture("v", &TestImage::full(&self.image));
        self.snapshots.push((report.snapshot.id, self.image.clone()));
        self.manifest_bytes.push(report.snapshot.stats.manifest_bytes);
    }

    fn change(&mut self, blocks: usize) {
        for _ in 0..blocks {
            let at = self.random.below(self.image.len() / BLOCK_BYTES) * BLOCK_BYTES;
            self.random.fill(&mut self.image[at..at + BLOCK_BYTES]);
        }
        self.capture();
    }

    fn delete(&mut self, at: usize) {
        let (id, _) = self.snapshots.remove(at);
        icecore::snapshot::delete(&self.repository.repo, id, DeleteOptions::default()).unwrap();
    }

    fn check(&self, what: &str) {
        // Another handle has nothing in its caches.
        let repo = self.repository.another();
        for (id, image) in &self.snapshots {
            restores(&repo, *id, image).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        assert_sound(&repo, what);
        maintenance::stats(&repo, &NoProgress).unwrap();
    }
}

#[test]
fn a_changed_block_costs_a_few_hundred_bytes_of_manifest_however_many_came_before() {
    let mut all = Generations::new(8 * MIB);
    let full = all.manifest_bytes[0];
    assert!(full > 3000, "{full}");
    for _ in 0..70 {
        all.change(1);
    }
    let (small, large): (Vec<u64>, Vec<u64>) =
        all.manifest_bytes[1..].iter().partition(|bytes| **bytes < 1200);
    assert!(large.len() <= 3, "pages in full every 64 times at most: {large:?}");
    let mean = small.iter().sum::<u64>() / small.len() as u64;
    assert!(mean < 600, "{mean}: {small:?}");
    assert!(all.manifest_bytes.iter().all(|bytes| *bytes <= full));
    all.snapshots.drain(1..60);
    all.check("all there");
}

#[test]
fn what_pages_are_made_from_stays_as_long_as_they_do_and_no_longer() {
    for gone in
        [&[0, 1, 2, 3, 4, 5, 6][..], &[6, 5, 4, 3, 2, 1, 0], &[3, 0, 6, 2, 5, 1, 4], &[0, 7, 1, 6, 2, 5, 3]]
    {
        let mut all = Generations::new(5 * MIB);
        (0..7).for_each(|_| all.change(3));
        let mut ids: Vec<SnapshotId> = all.snapshots.iter().map(|(id, _)| *id).collect();
        for at in gone {
            let id = std::mem::replace(&mut ids[*at], all.snapshots[0].0);
            let place = all.snapshots.iter().position(|(other, _)| *other == id).unwrap();
            all.delete(place);
            collect(&all.repository.repo).unwrap();
            all.check(&format!("{at} of {gone:?} is gone"));
        }
        all.delete(0);
        collect(&all.repository.repo).unwrap();
        assert_eq!(all.repository.count("packs/"), 0, "nothing is left");
    }
}

#[test]
fn pages_do_not_depend_on_how_they_are_stored() {
    let mut all = Generations::new(9 * MIB);
    (0..3).for_each(|_| all.change(5));
    let again = CaptureOptions { parent: Parent::None, ..options("w") };
    let image = TestImage::full(&all.image);
    let report = icecore::snapshot::capture(&all.repository.repo, &image, &again, &NoProgress).unwrap();
    assert_eq!(report.snapshot.stats.manifest_bytes, 0, "the same pages are there already");
    // Elsewhere the same changes at once: the page has other bytes there, and the same content.
    let other = TestRepository::new();
    let digest = other.capture("v", &image).snapshot.content;
    assert_eq!(report.snapshot.content, digest);
}

#[test]
fn a_page_that_outlasts_what_it_is_made_from_is_not_taken_for_known() {
    // A pack of which little is unused stays as it is, with a page that nobody needs. The base of that
    // page went, and the next capture of its image took the page for known: it could not be restored.
    let mut all = Generations::new(5 * MIB);
    let repo = &all.repository;
    // What keeps the data of both images, and not their pages.
    let longer = [&all.random.bytes(BLOCK_BYTES)[..], &all.image].concat();
    repo.capture("w", &TestImage::full(&longer));
    all.change(1);
    let changed = all.image.clone();
    let longer = [&all.random.bytes(BLOCK_BYTES)[..], &changed].concat();
    all.repository.capture("x", &TestImage::full(&longer));
    all.delete(1);
    all.delete(0);
    let plan = gc::plan(&all.repository.repo, &GcOptions::new(1.0), &NoProgress).unwrap();
    assert!(plan.totals.packs_removed > 0, "{:?}", plan.totals);
    gc::apply(&all.repository.repo, plan, &NoProgress).unwrap();
    all.check("after gc");
    all.capture();
    all.check("captured again");
    collect(&all.repository.repo).unwrap();
    all.check("after another gc");
}

#[test]
fn the_loss_of_a_page_that_others_are_made_from_is_found_and_mended_by_the_next_capture() {
    let mut all = Generations::new(5 * MIB);
    let first: Vec<String> = all.repository.storage.files().into_keys().collect();
    (0..3).for_each(|_| all.change(2));
    // The pack with the pages of the first snapshot is the smaller of its two.
    let files = all.repository.storage.files();
    let packs = first.iter().filter(|name| name.starts_with("packs/"));
    let pages = packs.min_by_key(|name| files[*name].len()).unwrap();
    all.repository.storage.put(pages, Vec::new());
    let repo = all.repository.another();
    let report = maintenance::verify(&repo, None, maintenance::Depth::Structure, &NoProgress).unwrap();
    let lost: std::collections::HashSet<_> =
        report.findings.iter().flat_map(|finding| &finding.lost).map(|range| range.snapshot).collect();
    assert_eq!(lost.len(), 4, "{:?}", report.findings);
    let image = TestImage::full(&all.image);
    let mended = icecore::snapshot::capture(&repo, &image, &options("v"), &NoProgress).unwrap();
    restores(&repo, mended.snapshot.id, &all.image).unwrap();
    restores(&all.repository.another(), all.snapshots[3].0, &all.image).unwrap();
}
