//! `icecore verify`.

use std::time::Duration;

use icecore::Result;
use icecore::maintenance::Depth;
use icecore::maintenance::VerifyReport;
use icecore::snapshot::SnapshotId;

use crate::app::App;
use crate::commands::find_all;
use crate::commands::if_interrupted;
use crate::commands::lost_lines;
use crate::exit::Verdict;
use crate::hints::problem_of;
use crate::host;
use crate::json;
use crate::units;

/// Check that snapshots can be restored
///
/// Checks the journal, manifests, pack directories and the index; with --read-data or --sample also
/// the data. Continues after a problem, and then exits with 1. Notes damage in the repository that
/// it finds by reading data: the next capture that meets the same content stores it again, which
/// heals the snapshots that need it.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Ids, unique prefixes of ids, names, or RESOURCE@latest [default: the whole repository]
    #[arg(value_name = "SNAP")]
    snapshots: Vec<String>,
    /// Read and hash all data
    #[arg(long)]
    read_data: bool,
    /// Read and hash a part of the data, such as 5%, a different one each time
    #[arg(long, value_name = "PERCENT", conflicts_with = "read_data", value_parser = units::parse_percent)]
    sample: Option<f64>,
    /// Stop reading data after this time, such as 10min or 1h30min; start with the data not read
    /// for the longest time
    ///
    /// Finishes the pack that is being read. The next run continues from there.
    #[arg(long, value_name = "TIME", requires = "read_data", conflicts_with_all = ["sample", "snapshots"],
          value_parser = units::parse_duration)]
    max_duration: Option<Duration>,
}

impl VerifyArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let ids: Vec<SnapshotId> =
            find_all(&repo, &self.snapshots)?.iter().map(|snapshot| snapshot.id).collect();
        let depth = match (self.read_data, self.sample) {
            (true, _) => Depth::ReadData,
            (false, Some(part)) => Depth::Sample { part, seed: host::random_u64() },
            (false, None) => Depth::Structure,
        };
        let progress = app.ui.progress("verifying").limited_to(self.max_duration);
        let only = (!ids.is_empty()).then_some(ids.as_slice());
        let report =
            icecore::maintenance::verify_and_note(&repo, only, depth, host::now_unix_ms(), &progress)
                .map_err(if_interrupted(
                    "what was checked so far is neither reported nor noted; --max-duration notes it",
                ))?;
        drop(progress);
        app.ui.result(&json::VerifyResult::from(&report), &summary(&report, depth))?;
        Ok(Verdict::from_findings(!report.findings.is_empty()))
    }
}

/// Returns a line about packs that were not read, now or ever; an empty text if there are none.
fn age(report: &VerifyReport) -> String {
    let mut parts = Vec::new();
    if report.packs_left > 0 {
        parts.push(format!("time ran out before {} could be read", units::count(report.packs_left, "pack")));
    }
    if report.packs_never_read > 0 {
        parts.push(format!("{} never read whole", units::count(report.packs_never_read, "pack")));
    }
    if report.packs_left > 0
        && let Some(oldest) = report.oldest_read_unix_ms
    {
        parts.push(format!("the oldest check was on {}", units::time_for_people(oldest)));
    }
    if parts.is_empty() { String::new() } else { parts.join("; ") + "\n" }
}

fn summary(report: &VerifyReport, depth: Depth) -> String {
    let mut text = format!(
        "checked {}, {}, {} and {}\n",
        units::count(report.snapshots, "snapshot"),
        units::count(report.pages, "manifest page"),
        units::count(report.packs, "pack"),
        units::count(report.chunks, "chunk"),
    );
    text += &match depth {
        Depth::Structure => "read no data; --read-data reads all of it\n".to_owned(),
        Depth::Sample { .. } | Depth::ReadData => {
            format!("read {} of them, {}\n", report.chunks_read, units::bytes(report.stored_bytes_read))
        }
    };
    if depth == Depth::ReadData {
        text += &age(report);
    }
    if report.packs_without_parity > 0 {
        let without = units::count(report.packs_without_parity, "pack");
        text += &format!("parity is missing for {without}; the next gc computes it\n");
    }
    if report.findings.is_empty() {
        text += "no problem found\n";
        return text;
    }
    text += &format!("{}:\n", units::count(report.findings.len() as u64, "finding"));
    for finding in &report.findings {
        text += &format!("  {}: {}\n", finding.object, problem_of(finding));
        text += &lost_lines(4, &finding.lost);
    }
    text
}
