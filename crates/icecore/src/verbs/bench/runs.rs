//! Measures whole verbs on a separate repository.

use uuid::Uuid;

use crate::repository::InitOptions;
use crate::repository::Repository;
use crate::repository::Secrets;
use crate::verbs::bench::place::BenchPlace;
use crate::verbs::bench::place::Watch;
use crate::verbs::bench::report::BenchData;
use crate::verbs::bench::sample::SampledImage;
use crate::verbs::bench::sample::SpreadImage;
use crate::verbs::capture::CaptureOptions;
use crate::verbs::capture::capture;
use crate::verbs::restore::OnDamage;
use crate::verbs::restore::RestoreTo;
use crate::verbs::restore::restore;
use crate::verbs::verify::Depth;
use crate::verbs::verify::verify;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::RepositoryId;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::progress::Meter;
use crate::words::progress::Progress;

/// The key of repositories that exist only during the benchmark.
const KEY: [u8; 32] = *b"icecore: a benchmark's only key.";

/// Creates a repository in an empty place.
pub(crate) fn scratch(place: &BenchPlace<'_>, level: i32) -> Result<Repository> {
    let id = RepositoryId(Uuid::from_u128(1));
    let options = InitOptions { id, secrets: Secrets::Plain(KEY), created_unix_ms: 0, level, parity: None };
    Repository::init((place.repository)()?, Uuid::from_u128(2), &options)
}

/// A progress that counts everything under one meter.
pub(crate) struct Together<'a>(pub(crate) &'a dyn Progress);

impl Progress for Together<'_> {
    fn total(&self, _meter: Meter, _total: u64) {}

    fn advance(&self, meter: Meter, amount: u64) {
        if matches!(meter, Meter::Scanned | Meter::Restored) {
            self.0.advance(Meter::Scanned, amount);
        }
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// The images and the options of the runs.
#[derive(Clone, Copy)]
pub(crate) struct BenchRuns<'a> {
    pub(crate) images: &'a [SampledImage<'a>],
    pub(crate) place: &'a BenchPlace<'a>,
    pub(crate) watch: Watch<'a>,
    pub(crate) progress: &'a dyn Progress,
}

impl BenchRuns<'_> {
    fn each_image(&self, round: u128) -> impl Iterator<Item = (SnapshotId, &SampledImage<'_>)> {
        let id = move |n: u128| SnapshotId(Uuid::from_u128(round << 64 | n));
        self.images.iter().zip(1_u128..).map(move |(image, n)| (id(n), image))
    }

    /// Captures all images, spread thin. Returns the time in seconds.
    pub(crate) fn capture_sparse(&self, repo: &Repository) -> Result<f64> {
        let mut seconds = 0.0;
        for (number, (id, image)) in self.each_image(1).enumerate() {
            let options = options(id, 1, number, true);
            let capture = || capture(repo, &SpreadImage(image), &options, &Together(self.progress));
            seconds += self.watch.once(capture)?.1;
        }
        Ok(seconds)
    }

    /// Captures all images and adds the stored bytes to `data`. Returns the time in seconds.
    pub(crate) fn capture(
        &self,
        repo: &Repository,
        round: u32,
        check: bool,
        data: &mut BenchData,
    ) -> Result<f64> {
        let mut seconds = 0.0;
        for (number, (id, image)) in self.each_image(round.into()).enumerate() {
            let options = options(id, round, number, check);
            let (report, time) =
                self.watch.once(|| capture(repo, image, &options, &Together(self.progress)))?;
            seconds += time;
            data.stored_bytes += report.snapshot.stats.stored_bytes;
            data.manifest_bytes += report.snapshot.stats.manifest_bytes;
        }
        Ok(seconds)
    }

    /// Restores all images. Returns the time in seconds.
    pub(crate) fn restore(&self, repo: &Repository, round: u32) -> Result<f64> {
        let mut seconds = 0.0;
        for (id, image) in self.each_image(round.into()) {
            let target = (self.place.target)(image.image.len())?;
            let progress = Together(self.progress);
            seconds += self
                .watch
                .once(|| restore(repo, id, RestoreTo::Fresh(&*target), OnDamage::Stop, &progress))?
                .1;
        }
        Ok(seconds)
    }

    /// Verifies all stored data, which corresponds to `used_bytes` of images. Returns the time in
    /// seconds.
    pub(crate) fn verify(&self, repo: &Repository, used_bytes: u64) -> Result<f64> {
        let progress = Together(self.progress);
        let (report, seconds) = self.watch.once(|| verify(repo, None, Depth::ReadData, &progress))?;
        self.progress.advance(Meter::Scanned, used_bytes);
        match report.findings.first() {
            None => Ok(seconds),
            Some(finding) => Err(Error::corrupt(format!("{}: {}", finding.object, finding.problem))
                .with_hint("memory, processor or the medium may be faulty")),
        }
    }
}

fn options(id: SnapshotId, round: u32, number: usize, check: bool) -> CaptureOptions {
    CaptureOptions {
        check,
        ..CaptureOptions::new(
            id,
            i64::from(round),
            ResourceKind::Volume,
            format!("image {number}"),
            format!("round {round}"),
        )
    }
}
