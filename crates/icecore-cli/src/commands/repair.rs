//! `icecore repair`.

use icecore::PackId;
use icecore::Result;
use icecore::maintenance::RepairIndexReport;
use icecore::maintenance::RepairPacksReport;
use icecore::maintenance::RepairSnapshotsReport;

use crate::app::App;
use crate::commands::if_interrupted;
use crate::commands::lost_lines;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// Mend a damaged repository as far as possible, and tell what is lost
///
/// `icecore verify --read-data` says which of these is of use. Where several are, first the index, then the packs.
#[derive(Debug, clap::Args)]
pub(crate) struct RepairArgs {
    #[command(subcommand)]
    command: RepairCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RepairCommand {
    /// Make the index again from the packs
    ///
    /// Of packs that cannot be opened any more, for their directory is damaged, what can be read is written to new ones, and
    /// they are moved to damaged/ in the repository. Exits with 1 if there were any.
    Index,
    /// Bring back damaged data from where else it is stored
    ///
    /// Reads all data. Packs that are missing or damaged and that parity can give are put back. Of each other pack with damage, what is good, and what other packs have of the rest, is written to a new
    /// one, and the damaged file is moved to damaged/ in the repository. Then tells what is lost. What is lost comes back
    /// when the same content is captured again. Exits with 1 if there was damage.
    Packs(PacksArgs),
    /// Tell exactly which bytes of which snapshots are lost
    ///
    /// Reads everything that snapshots need, and changes nothing. Exits with 1 if something is lost.
    Snapshots,
}

#[derive(Debug, clap::Args)]
struct PacksArgs {
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

impl RepairArgs {
    /// Returns the words of the command.
    pub(crate) fn words(&self) -> &'static str {
        match self.command {
            RepairCommand::Index => "repair index",
            RepairCommand::Packs(_) => "repair packs",
            RepairCommand::Snapshots => "repair snapshots",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match &self.command {
            RepairCommand::Index => index(app),
            RepairCommand::Packs(args) => packs(app, args.dry_run),
            RepairCommand::Snapshots => snapshots(app),
        }
    }
}

fn index(app: &App) -> Result<Verdict> {
    let repo = app.open()?;
    let progress = app.ui.progress("reading packs");
    let report = icecore::maintenance::repair_index(&repo, &progress).map_err(if_interrupted(
        "the packs are whole; run `icecore repair index` again to finish the index",
    ))?;
    drop(progress);
    let is_fine = report.damaged_packs.is_empty() && report.put_back.is_empty();
    let verdict = Verdict::from_findings(!is_fine);
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
    text += &put_back_lines(&report.put_back, false);
    if !report.damaged_packs.is_empty() {
        let damaged = units::count(report.damaged_packs.len() as u64, "damaged pack");
        let saved = units::count(report.chunks_saved, "chunk");
        text += &format!("{damaged}, of which {saved} could be saved:\n");
        for (pack, problem) in &report.damaged_packs {
            text += &format!("  {pack}: {problem}\n");
        }
        text += "`icecore repair packs` brings back what else is damaged; `icecore repair snapshots` tells what is lost\n";
    }
    text
}

fn packs(app: &App, dry_run: bool) -> Result<Verdict> {
    let repo = app.open()?;
    let progress = app.ui.progress("reading packs");
    let report = icecore::maintenance::repair_packs(&repo, dry_run, &progress).map_err(if_interrupted(
        "nothing is lost by that; run `icecore repair packs` again to mend the rest",
    ))?;
    drop(progress);
    let is_fine = report.damaged_packs.is_empty()
        && report.put_back.is_empty()
        && report.unopened.is_empty()
        && report.lost.is_empty();
    let text = packs_summary(&report, dry_run);
    app.ui.result(&json::RepairPacksResult::new(report, dry_run), &text)?;
    Ok(Verdict::from_findings(!is_fine))
}

fn packs_summary(report: &RepairPacksReport, dry_run: bool) -> String {
    let mut text = format!("read {}\n", units::count(report.packs, "pack"));
    text += &put_back_lines(&report.put_back, dry_run);
    if report.groups_made > 0 {
        text += &format!("made parity of {} again\n", units::count(report.groups_made, "group"));
    }
    if report.damaged_packs.is_empty() && report.put_back.is_empty() {
        text += "none is damaged\n";
    } else if !report.damaged_packs.is_empty() {
        let damaged = units::count(report.damaged_packs.len() as u64, "damaged pack");
        let is = if dry_run { "would be" } else { "was" };
        text += &format!("{damaged}, of which what is good {is} written to new ones:\n");
        for (pack, problem) in &report.damaged_packs {
            text += &format!("  {pack}: {problem}\n");
        }
        text += &format!(
            "{} good, {} brought back, {} and {} lost\n",
            units::count(report.chunks_kept, "chunk"),
            report.chunks_brought_back,
            units::count(report.blocks_lost, "block"),
            units::count(report.pages_lost, "manifest page"),
        );
    }
    if !report.unopened.is_empty() {
        text += "these cannot be opened and stay as they are; where they are damaged, `icecore repair index` saves what \
                 can be read of them:\n";
        for (pack, problem) in &report.unopened {
            text += &format!("  {pack}: {problem}\n");
        }
    }
    text += &lost_lines(2, &report.lost);
    if report.lost.is_empty() {
        text += "no snapshot has lost anything\n";
    }
    text
}

/// Returns lines that name packs that parity put back.
fn put_back_lines(packs: &[PackId], dry_run: bool) -> String {
    if packs.is_empty() {
        return String::new();
    }
    let is = if dry_run { "would be" } else { "was" };
    let mut text = format!("{} {is} put back from parity:\n", units::count(packs.len() as u64, "pack"));
    packs.iter().for_each(|pack| text += &format!("  {pack}\n"));
    text
}

fn snapshots(app: &App) -> Result<Verdict> {
    let repo = app.open()?;
    let progress = app.ui.progress("reading snapshots");
    let report = icecore::maintenance::repair_snapshots(&repo, &progress)
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
