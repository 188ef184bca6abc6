//! Bench: measures speed and compression with given data, and how close they come to the machine's
//! limits.

mod append;
mod batch;
mod codec;
mod place;
mod report;
mod runs;
mod sample;
mod stages;
mod what_if;

use crate::repository::check_level;
use crate::verbs::bench::place::Watch;
use crate::verbs::bench::report::Costs;
use crate::verbs::bench::runs::BenchRuns;
use crate::verbs::bench::runs::Together;
use crate::verbs::bench::runs::scratch;
use crate::verbs::bench::sample::Sample;
use crate::verbs::bench::sample::SampledImage;
use crate::verbs::bench::sample::data_bytes;
use crate::verbs::bench::stages::Stages;
use crate::verbs::stats::stats;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::to_u64;
use crate::world::io::ReadAt;

pub use crate::verbs::bench::place::BenchOptions;
pub use crate::verbs::bench::place::BenchPlace;
pub use crate::verbs::bench::report::BenchData;
pub use crate::verbs::bench::report::BenchReport;
pub use crate::verbs::bench::report::BenchRun;
pub use crate::verbs::bench::report::Layout;
pub use crate::verbs::bench::report::LevelSize;
pub use crate::verbs::bench::report::RunTime;
pub use crate::verbs::bench::report::Stage;
pub use crate::verbs::bench::report::StageTime;
pub use crate::verbs::bench::report::WhatIf;

/// Up to this much data, everything except packs is measured three times, and the median counts.
const REPEATED_BYTES_MAX: u64 = 2 << 30;
/// Runs of whole verbs over the data.
const RUNS: u64 = 6;

/// Measures each stage of the pipeline alone, and whole verbs, with the data of `images`. Also
/// estimates the results of other layouts and levels. Memory is bounded, except for 16 bytes for
/// each unique block. Writes only to the repositories and targets that `place` provides.
///
/// # Errors
/// `InvalidInput` if the images have no data; `Interrupted` if `progress` says so; any error of the
/// verbs.
pub fn bench(
    images: &[&dyn ReadAt],
    place: &BenchPlace<'_>,
    options: &BenchOptions,
    progress: &dyn Progress,
) -> Result<BenchReport> {
    check_level(options.level)?;
    let level = options.level;
    let total = |images: &mut dyn Iterator<Item = Result<u64>>| images.sum::<Result<u64>>();
    let allocated_bytes = total(&mut images.iter().map(|image| data_bytes(*image)))?;
    let sample = Sample::of(allocated_bytes, options.data_bytes_max);
    let sampled: Vec<_> = images.iter().map(|image| SampledImage { image: *image, sample }).collect();
    let used_bytes = total(&mut sampled.iter().map(|image| data_bytes(image)))?;
    let repeats = if used_bytes > REPEATED_BYTES_MAX { 1 } else { 3 };
    let watch = Watch { clock: place.clock, repeats };
    progress.total(Meter::Scanned, used_bytes * (1 + RUNS * to_u64(repeats)));

    let repo = scratch(place, level)?;
    let mut stages = Stages::new(&repo, watch, level, used_bytes, progress)?;
    sampled.iter().try_for_each(|image| stages.measure(image, place))?;
    stages.end()?;
    if stages.data_bytes == 0 {
        return Err(Error::new(ErrorKind::InvalidInput, "the images contain no data to measure"));
    }
    let mut data = BenchData {
        images: to_u64(images.len()),
        image_bytes: images.iter().map(|image| image.len()).sum(),
        allocated_bytes,
        used_bytes,
        data_bytes: stages.data_bytes,
        unique_bytes: stages.unique_bytes(),
        image_unique_bytes: stages.image_unique_bytes,
        ..BenchData::default()
    };
    let runs = BenchRuns { images: &sampled, place, watch, progress };
    let times = run_all(runs, level, &mut stages, &mut data)?;
    let (stages, what_if) = stages.finish();
    let costs = Costs::of(&stages);
    let captured =
        times.iter().find(|(run, _)| *run == BenchRun::Capture).map_or(0.0, |(_, seconds)| *seconds);
    let run_time = |(run, seconds)| RunTime {
        run,
        data_bytes: if run == BenchRun::Verify { data.unique_bytes } else { data.data_bytes },
        seconds,
        limit_seconds: costs.limit_seconds(run, &data, captured),
    };
    let runs = times.into_iter().map(run_time).collect();
    Ok(BenchReport { level, cores: rayon::current_num_threads(), data, stages, runs, what_if })
}

/// Runs the verbs, and the look-ups, which need the repository that the verbs leave.
fn run_all(
    runs: BenchRuns<'_>,
    level: i32,
    stages: &mut Stages<'_>,
    data: &mut BenchData,
) -> Result<Vec<(BenchRun, f64)>> {
    let mut uncounted = BenchData::default();
    let watch = runs.watch;
    let unchecked =
        watch.median_of(|| runs.capture(&scratch(runs.place, level)?, 1, false, &mut uncounted))?;
    let sparse = watch.median_of(|| runs.capture_sparse(&scratch(runs.place, level)?))?;
    let mut repo = scratch(runs.place, level)?;
    let captured = watch.median_of(|| {
        repo = scratch(runs.place, level)?;
        (data.stored_bytes, data.manifest_bytes) = (0, 0);
        runs.capture(&repo, 1, true, data)
    })?;
    data.metadata_bytes = stats(&repo, &Together(runs.progress))?.repository.metadata_bytes;
    let mut round = 1;
    let unchanged = watch.median_of(|| {
        round += 1;
        runs.capture(&repo, round, true, &mut uncounted)
    })?;
    let restored = watch.median_of(|| runs.restore(&repo, 1))?;
    let verified = watch.median_of(|| runs.verify(&repo, data.used_bytes))?;
    stages.look_up(&repo)?;
    Ok(vec![
        (BenchRun::CaptureUnchecked, unchecked),
        (BenchRun::Capture, captured),
        (BenchRun::CaptureUnchanged, unchanged),
        (BenchRun::CaptureSparse, sparse),
        (BenchRun::Restore, restored),
        (BenchRun::Verify, verified),
    ])
}
