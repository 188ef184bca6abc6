//! How fast the engine is: single stages, then whole captures, restores and the other verbs, on
//! images as `images.rs` makes them. Repositories are in memory (what the engine itself costs) and
//! in a temporary directory (with the kernel's part, and the syncs).
//!
//! Throughput counts the image's data, without zeros and holes, if not said otherwise.
#![expect(clippy::unwrap_used, reason = "a bench that cannot do its work has nothing to report")]
#![expect(clippy::disallowed_methods, reason = "benches make files of their own; the engine may not")]

mod disks;
mod fixtures;
mod images;
mod stages;
mod verbs;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args();
    stages::all(&mut criterion);
    verbs::all(&mut criterion);
    disks::all(&mut criterion);
    criterion.final_summary();
}
