//! Captures of what is known to have changed: they must give what a capture of the whole image gives, and cost what changed.

use std::ops::Range;

use icecore::CaptureOptions;
use icecore::CaptureReport;
use icecore::KeptBase;
use icecore::NoProgress;
use icecore::Parent;
use icecore::ReadAt;
use icecore::SnapshotId;

use crate::noise::Noise;
use crate::support::Bench;
use crate::support::assert_same;
use crate::support::assert_sound;
use crate::support::image_of;
use crate::support::options;

const MIB: usize = 1 << 20;
const LEAF: usize = 4 * MIB;

fn capture_changed(
    bench: &Bench,
    image: &dyn ReadAt,
    base: Option<SnapshotId>,
    changed: &[Range<u64>],
) -> icecore::Result<CaptureReport> {
    let base = base.map(|id| KeptBase::load(&bench.repo, id).unwrap());
    icecore::capture_ranges(&bench.repo, image, base.as_ref(), changed, &options("disk"), &NoProgress)
}

/// Captures the whole image, with the same parent, in the same repository: whatever is stored another way shows.
fn check_against_a_full_capture(bench: &Bench, image: &[u8], report: &CaptureReport) {
    let parent = report.parent.map_or(Parent::None, Parent::Snapshot);
    let whole = CaptureOptions { parent, ..options("whole") };
    let full = icecore::capture(&bench.repo, &image.to_vec(), &whole, &NoProgress).unwrap();
    assert_eq!(report.snapshot.content, full.snapshot.content);
    assert_eq!(report.snapshot.stats.data_bytes, full.snapshot.stats.data_bytes);
    assert_eq!(report.snapshot.size_bytes, full.snapshot.size_bytes);
    assert_eq!(full.snapshot.stats.new_bytes, 0, "all data was there");
    assert_eq!(full.snapshot.stats.manifest_bytes, 0, "the pages are the same ones");
    assert_same(&image_of(&bench.repo, report.snapshot.id), image, "the image");
}

#[test]
fn a_change_and_a_leaf_of_zeros() {
    let bench = Bench::new();
    let mut noise = Noise(1);
    let mut image = noise.disk(3 * LEAF + 100);
    let base = bench.snapshot("disk", &image);
    noise.fill(&mut image[LEAF + 5000..LEAF + 9000]);
    image[2 * LEAF..3 * LEAF].fill(0);
    let l = LEAF as u64;
    let report = capture_changed(&bench, &image, Some(base), &[l + 5000..l + 9000, 2 * l..3 * l]).unwrap();
    check_against_a_full_capture(&bench, &image, &report);
    assert_sound(&bench.repo, "x");
}
