//! The result of `bench`.

use std::time::Duration;

use icecore::bench::BenchReport;
use icecore::bench::BenchRun;
use icecore::bench::Layout;
use icecore::bench::RunTime;
use icecore::bench::Stage;
use icecore::bench::StageTime;
use icecore::bench::WhatIf;
use serde::Serialize;

use crate::units;
use crate::units::rounded;

#[derive(Serialize)]
struct Data {
    images: u64,
    image_bytes: u64,
    allocated_bytes: u64,
    used_bytes: u64,
    data_bytes: u64,
    unique_bytes: u64,
    image_unique_bytes: u64,
    stored_bytes: u64,
    manifest_bytes: u64,
    metadata_bytes: u64,
    dedup_ratio: Option<f64>,
    compression_ratio: Option<f64>,
}

#[derive(Serialize)]
struct StageResult {
    stage: &'static str,
    unit: &'static str,
    amount: u64,
    one_core_per_second: Option<u64>,
    all_cores_per_second: Option<u64>,
}

#[derive(Serialize)]
struct RunResult {
    run: &'static str,
    data_bytes: u64,
    elapsed_ms: u64,
    limit_ms: u64,
    limit_share: Option<f64>,
}

#[derive(Serialize)]
struct LevelResult {
    level: i32,
    compressed_bytes: u64,
}

#[derive(Serialize)]
struct WhatIfResult {
    layout: &'static str,
    unique_bytes: u64,
    sampled_bytes: u64,
    levels: Vec<LevelResult>,
}

/// The result of `bench`.
#[derive(Serialize)]
pub(crate) struct BenchResult {
    level: i32,
    cores: usize,
    data: Data,
    stages: Vec<StageResult>,
    runs: Vec<RunResult>,
    what_if: Vec<WhatIfResult>,
    /// The file of the chart, if one was drawn.
    pub(crate) plot: Option<String>,
}

impl From<&BenchReport> for BenchResult {
    fn from(report: &BenchReport) -> Self {
        let data = &report.data;
        Self {
            level: report.level,
            cores: report.cores,
            data: Data {
                images: data.images,
                image_bytes: data.image_bytes,
                allocated_bytes: data.allocated_bytes,
                used_bytes: data.used_bytes,
                data_bytes: data.data_bytes,
                unique_bytes: data.unique_bytes,
                image_unique_bytes: data.image_unique_bytes,
                stored_bytes: data.stored_bytes,
                manifest_bytes: data.manifest_bytes,
                metadata_bytes: data.metadata_bytes,
                dedup_ratio: rounded(units::ratio(data.data_bytes, data.unique_bytes)),
                compression_ratio: rounded(units::ratio(data.unique_bytes, data.stored_bytes)),
            },
            stages: report.stages.iter().map(stage).collect(),
            runs: report.runs.iter().map(run).collect(),
            what_if: report.what_if.iter().map(what_if).collect(),
            plot: None,
        }
    }
}

fn stage(time: &StageTime) -> StageResult {
    let (stage, unit) = match time.stage {
        Stage::Read => ("read", "bytes"),
        Stage::ZeroScan => ("zero_scan", "bytes"),
        Stage::Hash => ("hash", "bytes"),
        Stage::LookUpHit => ("look_up_hit", "look_ups"),
        Stage::LookUpMiss => ("look_up_miss", "look_ups"),
        Stage::Compress => ("compress", "bytes"),
        Stage::Check => ("check", "bytes"),
        Stage::Append => ("append", "bytes"),
        Stage::Sync => ("sync", "bytes"),
        Stage::Write => ("write", "bytes"),
    };
    StageResult {
        stage,
        unit,
        amount: time.amount,
        one_core_per_second: units::per_second(time.amount, time.one_core_seconds),
        all_cores_per_second: time
            .all_cores_seconds
            .and_then(|seconds| units::per_second(time.amount, seconds)),
    }
}

fn run(time: &RunTime) -> RunResult {
    let ms = |seconds| units::milliseconds(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let run = match time.run {
        BenchRun::CaptureUnchecked => "capture_unchecked",
        BenchRun::Capture => "capture",
        BenchRun::CaptureUnchanged => "capture_unchanged",
        BenchRun::CaptureSparse => "capture_sparse",
        BenchRun::Restore => "restore",
        BenchRun::Verify => "verify",
    };
    RunResult {
        run,
        data_bytes: time.data_bytes,
        elapsed_ms: ms(time.seconds),
        limit_ms: ms(time.limit_seconds),
        limit_share: rounded(time.limit_share()),
    }
}

fn what_if(other: &WhatIf) -> WhatIfResult {
    let layout = match other.layout {
        Layout::Fixed4Kib => "fixed_4_kib",
        Layout::Fixed64Kib => "fixed_64_kib",
        Layout::Fixed4Mib => "fixed_4_mib",
        Layout::Icecore => "icecore",
    };
    let levels = other.levels.iter();
    WhatIfResult {
        layout,
        unique_bytes: other.unique_bytes,
        sampled_bytes: other.sampled_bytes,
        levels: levels
            .map(|size| LevelResult { level: size.level, compressed_bytes: size.compressed_bytes })
            .collect(),
    }
}
