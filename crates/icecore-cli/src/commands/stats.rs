//! `icecore stats`.

use icecore::Result;
use icecore::maintenance::RepositoryStats;
use icecore::snapshot::SnapshotStats;

use crate::app::App;
use crate::commands::find_all;
use crate::commands::if_interrupted;
use crate::exit::Verdict;
use crate::json;
use crate::ui;
use crate::ui::Column;
use crate::units;

/// Show the content of the repository, and what each snapshot costs
#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// Only these snapshots: ids, unique prefixes of ids, names, or RESOURCE@latest [default: all]
    #[arg(value_name = "SNAP")]
    snapshots: Vec<String>,
}

impl StatsArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let wanted = find_all(&repo, &self.snapshots)?;
        let progress = app.ui.progress("counting");
        let mut report =
            icecore::maintenance::stats(&repo, &progress).map_err(if_interrupted("nothing was changed"))?;
        drop(progress);
        if !wanted.is_empty() {
            report.snapshots.retain(|stats| wanted.iter().any(|snapshot| snapshot.id == stats.snapshot.id));
        }
        let mut text = totals(&report.repository);
        if !report.snapshots.is_empty() {
            text += &format!("\n{}", each(&report.snapshots));
        }
        app.ui.result(&json::StatsResult::from(&report), &text)?;
        Ok(Verdict::Clean)
    }
}

fn totals(all: &RepositoryStats) -> String {
    let dedup = units::times(units::ratio(all.data_bytes, all.unique_bytes));
    let compression = units::times(units::ratio(all.unique_bytes, all.stored_bytes));
    let mut lines = vec![
        ("Snapshots", all.snapshots.to_string()),
        ("Images", units::bytes(all.logical_bytes)),
        ("Data in them", format!("{}, without holes and zeros", units::bytes(all.data_bytes))),
        ("Unique", format!("{}, dedup {dedup}", units::bytes(all.unique_bytes))),
        ("Stored", format!("{}, compression {compression}", units::bytes(all.stored_bytes))),
        ("Metadata", units::bytes(all.metadata_bytes)),
        ("Unused", unused(all.unused_bytes)),
        ("Total", units::bytes(all.total_bytes)),
    ];
    if all.volume_bytes > 0 {
        lines.insert(6, ("Volumes", units::bytes(all.volume_bytes)));
    }
    if all.parity_bytes > 0 {
        lines.insert(6, ("Parity", units::bytes(all.parity_bytes)));
    }
    ui::pairs(0, &lines)
}

fn unused(bytes: u64) -> String {
    if bytes == 0 {
        units::bytes(0)
    } else {
        format!("{}, `icecore gc` frees most of it", units::bytes(bytes))
    }
}

fn each(snapshots: &[SnapshotStats]) -> String {
    let columns = [
        Column::Text("Name"),
        Column::Text("Resource"),
        Column::Number("Image"),
        Column::Number("Data"),
        Column::Number("Unique"),
        Column::Number("Shared"),
        Column::Number("Own"),
        Column::Number("Own Stored"),
    ];
    let row = |stats: &SnapshotStats| {
        vec![
            stats.snapshot.name.clone(),
            stats.snapshot.resource.clone(),
            units::bytes(stats.snapshot.size_bytes),
            units::bytes(stats.data_bytes),
            units::bytes(stats.unique_bytes),
            units::bytes(stats.shared_bytes),
            units::bytes(stats.own_bytes),
            units::bytes(stats.own_stored_bytes),
        ]
    };
    ui::table(&columns, &snapshots.iter().map(row).collect::<Vec<_>>(), true)
}
