//! `icecore repair`.

use icecore::PackId;
use icecore::Result;
use icecore::maintenance::RepairCatalogReport;
use icecore::maintenance::RepairIndexReport;
use icecore::maintenance::RepairPacksReport;
use icecore::maintenance::RepairSnapshotsReport;

use crate::app::App;
use crate::commands::if_interrupted;
use crate::commands::lost_lines;
use crate::exit::Verdict;
use crate::json;
use crate::ui::printable_name;
use crate::units;

/// Repair a damaged repository as far as possible, and report what is lost
///
/// `icecore verify --read-data` says which repair helps. If several do, repair the catalog first,
/// then the index, then the packs.
#[derive(Debug, clap::Args)]
pub(crate) struct RepairArgs {
    #[command(subcommand)]
    command: RepairCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RepairCommand {
    /// Restore what is lost or damaged of the catalog: the config, the journal, its checkpoints
    ///
    /// All of it is stored at least twice, so one lost or damaged file costs nothing. Reports what
    /// was mended, and which entries of the journal are lost for good. Exits with 1 if anything was
    /// lost or damaged.
    Catalog(CatalogArgs),
    /// Rebuild the index from the packs
    ///
    /// Packs whose directory is damaged are moved to damaged/ in the repository after everything
    /// still readable has been copied to new packs. Exits with 1 if there were any.
    Index,
    /// Recover damaged data from other places that store it
    ///
    /// Reads all data. Puts back missing or damaged packs that parity can recover. For each other
    /// damaged pack, writes its intact data, and what other packs have of the rest, to a new pack,
    /// and moves the damaged file to damaged/ in the repository. Then reports what is lost. Lost
    /// data heals when the same content is captured again. Exits with 1 if there was damage.
    Packs(PacksArgs),
    /// Report exactly which bytes of which snapshots are lost
    ///
    /// Reads everything that snapshots need, and changes nothing. Exits with 1 if data is lost.
    Snapshots,
}

#[derive(Debug, clap::Args)]
struct CatalogArgs {
    /// Change nothing, only show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct PacksArgs {
    /// Change nothing, only show what would be done
    #[arg(long)]
    dry_run: bool,
}

impl RepairArgs {
    /// Returns the name of the command.
    pub(crate) fn words(&self) -> &'static str {
        match self.command {
            RepairCommand::Catalog(_) => "repair catalog",
            RepairCommand::Index => "repair index",
            RepairCommand::Packs(_) => "repair packs",
            RepairCommand::Snapshots => "repair snapshots",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        match &self.command {
            RepairCommand::Catalog(args) => catalog(app, args.dry_run),
            RepairCommand::Index => index(app),
            RepairCommand::Packs(args) => packs(app, args.dry_run),
            RepairCommand::Snapshots => snapshots(app),
        }
    }
}

fn catalog(app: &App, dry_run: bool) -> Result<Verdict> {
    let (place, session) = app.storage()?;
    let report = icecore::maintenance::repair_catalog(place, session, dry_run)?;
    let is_fine = report.mended.is_empty() && report.lost.is_empty() && report.found.is_empty();
    let text = catalog_summary(&report, dry_run);
    app.ui.result(&json::RepairCatalogResult::new(report, dry_run), &text)?;
    Ok(Verdict::from_findings(!is_fine))
}

fn catalog_summary(report: &RepairCatalogReport, dry_run: bool) -> String {
    if report.mended.is_empty() && report.lost.is_empty() && report.found.is_empty() {
        return format!(
            "nothing of the catalog is lost or damaged; it has {}\n",
            units::count(report.snapshots, "snapshot")
        );
    }
    let would = if dry_run { "would be " } else { "" };
    let mut text = String::new();
    if !report.mended.is_empty() {
        text += &format!("{would}mended:\n");
    }
    for (file, problem) in &report.mended {
        text += &format!("  {}: {problem}\n", printable_name(file));
    }
    if !report.lost.is_empty() {
        text += "lost for good, and what they changed is unknown:\n";
    }
    for number in &report.lost {
        text += &format!("  entry {number} of the journal\n");
    }
    if !report.found.is_empty() {
        text += &format!("{would}taken from copies in packs, as they were when they were made:\n");
    }
    for snapshot in &report.found {
        text += &format!("  snapshot {} ({})\n", snapshot.id, printable_name(&snapshot.name));
    }
    // A dry run reads no catalog where the config is lost.
    if !dry_run || report.snapshots > 0 {
        text += &format!("the catalog has {}\n", units::count(report.snapshots, "snapshot"));
    }
    text
}

fn index(app: &App) -> Result<Verdict> {
    let repo = app.open()?;
    let progress = app.ui.progress("reading packs");
    let report = icecore::maintenance::repair_index(&repo, &progress).map_err(if_interrupted(
        "the packs are intact; run `icecore repair index` again to finish the index",
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
        "rebuilt the index: {}, {} and {}\n",
        units::count(report.packs, "pack"),
        units::count(report.chunks, "chunk"),
        units::count(report.blocks, "block"),
    );
    text += &put_back_lines(&report.put_back, false);
    if !report.damaged_packs.is_empty() {
        let damaged = units::count(report.damaged_packs.len() as u64, "damaged pack");
        let saved = units::count(report.chunks_saved, "chunk");
        text += &format!("{damaged}, from which {saved} could be saved:\n");
        for (pack, problem) in &report.damaged_packs {
            text += &format!("  {pack}: {problem}\n");
        }
        text += "`icecore repair packs` recovers other damaged data; `icecore repair snapshots` reports what is lost\n";
    }
    text
}

fn packs(app: &App, dry_run: bool) -> Result<Verdict> {
    let repo = app.open()?;
    let progress = app.ui.progress("reading packs");
    let report = icecore::maintenance::repair_packs(&repo, dry_run, &progress).map_err(if_interrupted(
        "the interruption loses nothing; run `icecore repair packs` again to repair the rest",
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
        text += &format!("recomputed parity of {}\n", units::count(report.groups_made, "group"));
    }
    if report.damaged_packs.is_empty() && report.put_back.is_empty() {
        text += "no pack is damaged\n";
    } else if !report.damaged_packs.is_empty() {
        let damaged = units::count(report.damaged_packs.len() as u64, "damaged pack");
        let is = if dry_run { "would be" } else { "was" };
        text += &format!("{damaged}, whose intact data {is} written to new packs:\n");
        for (pack, problem) in &report.damaged_packs {
            text += &format!("  {pack}: {problem}\n");
        }
        text += &format!(
            "{} intact, {} recovered, {} and {} lost\n",
            units::count(report.chunks_kept, "chunk"),
            report.chunks_brought_back,
            units::count(report.blocks_lost, "block"),
            units::count(report.pages_lost, "manifest page"),
        );
    }
    if !report.unopened.is_empty() {
        text += "these cannot be opened and stay unchanged; if they are damaged, `icecore repair index` saves what can be \
                 read of them:\n";
        for (pack, problem) in &report.unopened {
            text += &format!("  {pack}: {problem}\n");
        }
    }
    text += &lost_lines(2, &report.lost);
    if report.lost.is_empty() {
        text += "no snapshot has lost data\n";
    }
    text
}

/// Returns lines that name the packs that parity put back.
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
        .map_err(if_interrupted("nothing was changed, and nothing is reported"))?;
    drop(progress);
    let verdict = Verdict::from_findings(!report.lost.is_empty());
    let text = snapshots_summary(&report);
    app.ui.result(&json::RepairSnapshotsResult::from(report), &text)?;
    Ok(verdict)
}

fn snapshots_summary(report: &RepairSnapshotsReport) -> String {
    let mut text = format!("read {}\n", units::count(report.snapshots, "snapshot"));
    text += &lost_lines(2, &report.lost);
    if report.lost.is_empty() {
        text += "nothing is lost\n";
    }
    text
}
