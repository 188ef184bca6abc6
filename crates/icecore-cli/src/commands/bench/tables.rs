//! The result of a benchmark as tables.

use std::time::Duration;

use icecore::bench::BenchData;
use icecore::bench::BenchReport;
use icecore::bench::BenchRun;
use icecore::bench::Layout;
use icecore::bench::RunTime;
use icecore::bench::Stage;
use icecore::bench::StageTime;
use icecore::bench::WhatIf;

use crate::ui;
use crate::ui::Column;
use crate::units;

const NOTHING: &str = "-";

/// Returns the whole result as text.
pub(crate) fn text(report: &BenchReport) -> String {
    let parts = [
        about(&report.data),
        stages(report),
        runs(&report.runs),
        ratios(report),
        what_if(&report.what_if, report.data.data_bytes),
    ];
    parts.join("\n\n")
}

/// Returns the name of a stage.
pub(crate) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Read => "read",
        Stage::ZeroScan => "zero scan",
        Stage::Hash => "hash",
        Stage::LookUpHit => "lookup, known",
        Stage::LookUpMiss => "lookup, new",
        Stage::Compress => "compress",
        Stage::Check => "check (decompress)",
        Stage::Append => "append",
        Stage::Sync => "sync",
        Stage::Write => "write to a new file",
    }
}

/// Returns the name of a verb.
pub(crate) fn run_name(run: BenchRun) -> &'static str {
    match run {
        BenchRun::CaptureUnchecked => "capture, without check",
        BenchRun::Capture => "capture",
        BenchRun::CaptureUnchanged => "capture, unchanged",
        BenchRun::CaptureSparse => "capture, 256 x sparse",
        BenchRun::Restore => "restore",
        BenchRun::Verify => "verify --read-data",
    }
}

/// Returns the speed of a stage that took `seconds`.
pub(crate) fn speed(time: &StageTime, seconds: f64) -> String {
    match (time.stage, units::per_second(time.amount, seconds)) {
        (_, None) => NOTHING.into(),
        (Stage::LookUpHit | Stage::LookUpMiss, Some(each)) => format!("{:.1} million/s", each as f64 / 1e6),
        (_, Some(each)) => format!("{}/s", units::bytes(each)),
    }
}

/// Returns a share of a limit.
pub(crate) fn share(time: &RunTime) -> String {
    time.limit_share().map_or_else(|| NOTHING.into(), |share| format!("{:.0} %", share * 100.0))
}

fn about(data: &BenchData) -> String {
    let mut text = format!(
        "measured with {} of {}, {} of data that is not zero",
        units::count(data.images, "image"),
        units::bytes(data.image_bytes),
        units::bytes(data.data_bytes)
    );
    if data.used_bytes < data.allocated_bytes {
        text += &format!(
            "\n(an even sample: {} of the {} that are not holes; --all uses everything)",
            units::bytes(data.used_bytes),
            units::bytes(data.allocated_bytes)
        );
    }
    text
}

fn stages(report: &BenchReport) -> String {
    let all = if report.cores == 1 { "1 core".to_owned() } else { format!("{} cores", report.cores) };
    let columns = [Column::Text("Stage alone"), Column::Number("One core"), Column::Number(&all)];
    let row = |time: &StageTime| {
        vec![
            stage_name(time.stage).into(),
            speed(time, time.one_core_seconds),
            time.all_cores_seconds.map_or_else(|| NOTHING.into(), |seconds| speed(time, seconds)),
        ]
    };
    ui::table(&columns, &report.stages.iter().map(row).collect::<Vec<_>>(), true)
}

fn runs(runs: &[RunTime]) -> String {
    let columns = [
        Column::Text("All stages"),
        Column::Number("Data"),
        Column::Number("Time"),
        Column::Number("Rate"),
        Column::Number("Limit"),
        Column::Number("Share"),
    ];
    let rate = |bytes, seconds| {
        units::per_second(bytes, seconds)
            .map_or_else(|| NOTHING.into(), |each| format!("{}/s", units::bytes(each)))
    };
    let row = |time: &RunTime| {
        vec![
            run_name(time.run).into(),
            units::bytes(time.data_bytes),
            units::duration(Duration::try_from_secs_f64(time.seconds).unwrap_or_default()),
            rate(time.data_bytes, time.seconds),
            rate(time.data_bytes, time.limit_seconds),
            share(time),
        ]
    };
    let table = ui::table(&columns, &runs.iter().map(row).collect::<Vec<_>>(), true);
    format!(
        "{table}\n\nThe limit is the time of hashing, compression of new data and its check on all cores, one after another, and\nfor a restore also one copy of the data; nothing else. The sparse images are 256 times as large with the same\ndata, and their limit is the capture of that data. Other work on the machine changes the share."
    )
}

fn ratios(report: &BenchReport) -> String {
    let data = &report.data;
    let stored_bytes = data.stored_bytes + data.manifest_bytes;
    let times = |large, small| units::times(units::ratio(large, small));
    let pairs = [
        (
            "Deduplication",
            format!("{} to {}", times(data.data_bytes, data.unique_bytes), units::bytes(data.unique_bytes)),
        ),
        (
            "Compression",
            format!(
                "{} to {}, level {}",
                times(data.unique_bytes, data.stored_bytes),
                units::bytes(data.stored_bytes),
                report.level
            ),
        ),
        (
            "Together",
            format!(
                "{} to {}, manifests included",
                times(data.data_bytes, stored_bytes),
                units::bytes(stored_bytes)
            ),
        ),
    ];
    let metadata = units::ratio(data.metadata_bytes, data.unique_bytes).unwrap_or(0.0) * 100.0;
    let metadata = format!("{}, {metadata:.2} % of the unique data", units::bytes(data.metadata_bytes));
    let pairs = pairs.into_iter().chain([("Metadata", metadata)]).collect::<Vec<_>>();
    ui::pairs(0, &pairs).trim_end().to_owned()
}

fn what_if(others: &[WhatIf], data_bytes: u64) -> String {
    let levels: Vec<String> = others
        .first()
        .map(|other| other.levels.iter().map(|size| format!("Level {}", size.level)).collect())
        .unwrap_or_default();
    let mut columns = vec![Column::Text("The same data in"), Column::Number("Unique")];
    columns.extend(levels.iter().map(|level| Column::Number(level)));
    let row = |other: &WhatIf| {
        let name = match other.layout {
            Layout::Fixed4Kib => "4 KiB, each compressed alone",
            Layout::Fixed64Kib => "64 KiB",
            Layout::Fixed4Mib => "4 MiB",
            Layout::Icecore => "icecore: 4 KiB, compressed by 64 KiB",
        };
        let mut row = vec![name.to_owned(), units::bytes(other.unique_bytes)];
        row.extend(other.levels.iter().map(|size| units::bytes(size.compressed_bytes)));
        row
    };
    let mut text = ui::table(&columns, &others.iter().map(row).collect::<Vec<_>>(), true);
    text += &format!("\n\nOnly compressed data, of {}.", units::bytes(data_bytes));
    if others.iter().any(|other| other.sampled_bytes < other.unique_bytes) {
        let sampled: u64 = others.iter().map(|other| other.sampled_bytes).max().unwrap_or(0);
        text += &format!(" Estimates: up to {} were compressed for each.", units::bytes(sampled));
    }
    text
}
