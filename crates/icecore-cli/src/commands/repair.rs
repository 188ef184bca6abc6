//! `icecore repair`.

use icecore::RepairIndexReport;
use icecore::RepairSnapshotsReport;
use icecore::Result;

use crate::app::App;
use crate::commands::if_interrupted;
use crate::commands::lost_lines;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// Mend a damaged repository as far as possible, and tell what is lost
#[derive(Debug, clap::Args)]
pub(crate) struct RepairArgs {
    #[command(subcommand)]
    command: RepairCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RepairCommand {
    /// Make the index again from the packs
    ///
    /// What can be read of damaged packs is written to new ones, and they are moved to damaged/ in the repository. Exits
    /// with 1 if there were any.
    Index,
    /// Tell exactly which bytes of which snapshots are lost
    ///
    /// Reads everything that snapshots need, and changes nothing. Exits with 1 if something is lost.
    Snapshots,
}

impl RepairArgs {
    /// Returns the words of the command.
    pub(crate) fn words(&self) -> &'static str {
        match self.command {
            RepairCommand::Index => "repair index",
            RepairCommand::Snapshots => "repair snapshots",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match self.command {
            RepairCommand::Index => index(app),
            RepairCommand::Snapshots => snapshots(app),
        }
    }
}

fn index(app: &App) -> Result<Verdict> {
    let repo = app.open()?;
    let progress = app.ui.progress("reading packs");
    let report = icecore::repair_index(&repo, &progress).map_err(if_interrupted(
        "the packs are whole; run `icecore repair index` again to finish the index",
    ))?;
    drop(progress);
    let verdict = Verdict::from_findings(!report.damaged_packs.is_empty());
    let text = index_summary(&report);
    app.ui.result(&json::RepairIndexResult::from(report), &text)?;
    Ok(verdict)
}

fn index_summary(report: &RepairIndexReport) -> String {
    let mut text = format!(
        "made the index again: {}, {} and {}\n",
        units::count(report.packs, "pack"),
        units::count(report.chunks, "chunk"),
        units::count(report.blocks, "block"),
    );
    if !report.damaged_packs.is_empty() {
        let damaged = units::count(report.damaged_packs.len() as u64, "damaged pack");
        let saved = units::count(report.chunks_saved, "chunk");
        text += &format!("{damaged}, of which {saved} could be saved:\n");
        for (pack, problem) in &report.damaged_packs {
            text += &format!("  {pack}: {problem}\n");
        }
        text += "`icecore repair snapshots` tells what is lost\n";
    }
    text
}

fn snapshots(app: &App) -> Result<Verdict> {
    let repo = app.open()?;
    let progress = app.ui.progress("reading snapshots");
    let report = icecore::repair_snapshots(&repo, &progress)
        .map_err(if_interrupted("nothing was changed; what was read so far is not told"))?;
    drop(progress);
    let verdict = Verdict::from_findings(!report.lost.is_empty() || !report.unreadable.is_empty());
    let text = snapshots_summary(&report);
    app.ui.result(&json::RepairSnapshotsResult::from(report), &text)?;
    Ok(verdict)
}

fn snapshots_summary(report: &RepairSnapshotsReport) -> String {
    let mut text = format!("read {}\n", units::count(report.snapshots, "snapshot"));
    for (file, reason) in &report.unreadable {
        text += &format!("  the record {file} cannot be read: {reason}\n");
    }
    text += &lost_lines(2, &report.lost);
    if report.lost.is_empty() && report.unreadable.is_empty() {
        text += "nothing is lost\n";
    }
    text
}
