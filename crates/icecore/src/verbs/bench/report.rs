//! The report of a benchmark, and the arithmetic of its limits.

/// A stage of the pipeline, measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Reads the data of the images.
    Read,
    /// Looks for zeros in it.
    ZeroScan,
    /// Computes the digests of blocks and spans that are not zero.
    Hash,
    /// Looks up blocks that are in the index, and proves each in the directory of its pack.
    LookUpHit,
    /// Looks up blocks that are not in the index.
    LookUpMiss,
    /// Compresses the unique blocks, 64 KiB at a time.
    Compress,
    /// Decodes what was compressed.
    Check,
    /// Appends what was compressed to packs, without a sync.
    Append,
    /// Publishes the packs: directory, sync, name.
    Sync,
    /// Writes the data to a new sparse file, through the page cache and without a sync.
    Write,
}

/// The time that a stage took alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// The amount of work: look-ups for the look-up stages, bytes for all others.
    pub amount: u64,
    /// The time on one core, in seconds.
    pub one_core_seconds: f64,
    /// The time on all cores, in seconds; none if the pipeline uses only one.
    pub all_cores_seconds: Option<f64>,
}

/// A verb that is measured as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BenchRun {
    /// A capture into an empty repository, without checking the compressed data.
    CaptureUnchecked,
    /// A capture into an empty repository.
    Capture,
    /// A capture of the same images again.
    CaptureUnchanged,
    /// A capture into an empty repository of images that are 256 times as large with the same data.
    CaptureSparse,
    /// A restore of all images to new files, without a sync.
    Restore,
    /// A verification that reads and hashes all stored data.
    Verify,
}

/// The time that a verb took for all images together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunTime {
    /// The verb.
    pub run: BenchRun,
    /// The data it worked on, without zeros, in bytes; for the verification, the unique data.
    pub data_bytes: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How long its limiting stages would take one after another on all cores, in seconds; for the
    /// sparse capture, how long the normal capture took.
    pub limit_seconds: f64,
}

impl RunTime {
    /// Returns the share of the limit that was reached, 1.0 for all of it; none if there was
    /// nothing to do.
    pub fn limit_share(&self) -> Option<f64> {
        (self.seconds > 0.0 && self.limit_seconds > 0.0).then(|| self.limit_seconds / self.seconds)
    }
}

/// The data of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BenchData {
    /// Images.
    pub images: u64,
    /// Their sizes, in bytes.
    pub image_bytes: u64,
    /// The bytes of those that are not holes.
    pub allocated_bytes: u64,
    /// The bytes of those that were used: fewer than all if there was a limit.
    pub used_bytes: u64,
    /// The bytes of those that are not zero.
    pub data_bytes: u64,
    /// The unique data in it, each block counted once, in bytes.
    pub unique_bytes: u64,
    /// The unique data of each image, summed over all images, in bytes.
    pub image_unique_bytes: u64,
    /// The compressed size of the unique data in packs, with its share of their directories, in
    /// bytes.
    pub stored_bytes: u64,
    /// The size of the manifests, in bytes.
    pub manifest_bytes: u64,
    /// The size of everything but data: chunk headers, pack directories, manifests, index and
    /// records, in bytes.
    pub metadata_bytes: u64,
}

/// A way to divide images and to compress new data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// Blocks of 4 KiB, each deduplicated and compressed alone.
    Fixed4Kib,
    /// The same with 64 KiB.
    Fixed64Kib,
    /// The same with 4 MiB.
    Fixed4Mib,
    /// Icecore's layout: blocks of 4 KiB are deduplicated, and new data is compressed 64 KiB at a
    /// time.
    Icecore,
}

/// The size of the unique data at a compression level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelSize {
    /// The zstd level.
    pub level: i32,
    /// The compressed size of the unique data, without directories and manifests, in bytes.
    pub compressed_bytes: u64,
}

/// The size of the same data in another layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatIf {
    /// The layout.
    pub layout: Layout,
    /// The unique data, each unit counted once, in bytes.
    pub unique_bytes: u64,
    /// The bytes of that which were compressed. If they are not all, the sizes are estimates.
    pub sampled_bytes: u64,
    /// The sizes at several levels, fastest first.
    pub levels: Vec<LevelSize>,
}

/// The report of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchReport {
    /// The zstd level.
    pub level: i32,
    /// The number of cores in the measurements on all cores.
    pub cores: usize,
    /// The data.
    pub data: BenchData,
    /// Each stage alone.
    pub stages: Vec<StageTime>,
    /// Whole verbs.
    pub runs: Vec<RunTime>,
    /// Other layouts and levels.
    pub what_if: Vec<WhatIf>,
}

/// The cost of each limiting stage, in seconds per byte on all cores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Costs {
    pub(crate) hash: f64,
    pub(crate) compress: f64,
    pub(crate) check: f64,
    /// The cost of a read, which copies out of the page cache.
    pub(crate) copy: f64,
}

impl Costs {
    pub(crate) fn of(stages: &[StageTime]) -> Self {
        let cost = |stage: Stage| {
            let time = stages.iter().find(|time| time.stage == stage && time.amount > 0);
            time.map_or(0.0, |time| {
                time.all_cores_seconds.unwrap_or(time.one_core_seconds) / time.amount as f64
            })
        };
        Self {
            hash: cost(Stage::Hash),
            compress: cost(Stage::Compress),
            check: cost(Stage::Check),
            copy: cost(Stage::Read),
        }
    }

    /// Returns how long a verb would take if only its limiting stages took time, on all cores.
    /// `captured` is the time of a capture. All data that is not zero is hashed; only unique data
    /// is compressed; a restore decodes the unique data of each image.
    pub(crate) fn limit_seconds(&self, run: BenchRun, data: &BenchData, captured: f64) -> f64 {
        let (all, unique) = (data.data_bytes as f64, data.unique_bytes as f64);
        let image_unique = data.image_unique_bytes as f64;
        match run {
            BenchRun::CaptureUnchecked => all * self.hash + unique * self.compress,
            BenchRun::Capture => all * self.hash + unique * (self.compress + self.check),
            BenchRun::CaptureUnchanged => all * self.hash,
            BenchRun::CaptureSparse => captured,
            BenchRun::Restore => image_unique * self.check + all * (self.hash + self.copy),
            BenchRun::Verify => unique * (self.check + self.hash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_data_is_hashed_and_only_unique_data_is_compressed() {
        let stage = |stage, amount, one_core_seconds, all_cores_seconds| StageTime {
            stage,
            amount,
            one_core_seconds,
            all_cores_seconds,
        };
        let costs = Costs::of(&[
            stage(Stage::Hash, 1000, 500.0, Some(250.0)),
            stage(Stage::Compress, 100, 400.0, Some(200.0)),
            stage(Stage::Check, 100, 100.0, Some(50.0)),
            stage(Stage::Read, 1000, 125.0, None),
            stage(Stage::Append, 0, 0.0, None),
        ]);
        assert_eq!(costs, Costs { hash: 0.25, compress: 2.0, check: 0.5, copy: 0.125 });
        let data = BenchData {
            data_bytes: 1000,
            unique_bytes: 100,
            image_unique_bytes: 500,
            ..BenchData::default()
        };
        for (run, seconds) in [
            (BenchRun::CaptureUnchecked, 450.0),
            (BenchRun::Capture, 500.0),
            (BenchRun::CaptureUnchanged, 250.0),
            (BenchRun::CaptureSparse, 600.0),
            (BenchRun::Restore, 625.0),
            (BenchRun::Verify, 75.0),
        ] {
            assert_eq!(costs.limit_seconds(run, &data, 600.0), seconds, "{run:?}");
        }
    }

    #[test]
    fn the_share_is_the_limit_over_the_time_and_nothing_where_nothing_was_done() {
        let time = |seconds, limit_seconds| RunTime {
            run: BenchRun::Capture,
            data_bytes: 1,
            seconds,
            limit_seconds,
        };
        assert_eq!(time(2.0, 1.5).limit_share(), Some(0.75));
        assert_eq!(time(0.0, 1.0).limit_share(), None);
        assert_eq!(time(1.0, 0.0).limit_share(), None);
    }
}
