//! `icecore snapshot get`.

use icecore::Result;
use icecore::snapshot::Snapshot;

use crate::app::App;
use crate::commands::find_all;
use crate::commands::label_pairs;
use crate::commands::snapshot::columns::FormatArgs;
use crate::exit::Verdict;
use crate::json;
use crate::ui;
use crate::units;

/// Show all details of snapshots
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Ids, unique prefixes of ids, names, or RESOURCE@latest
    #[arg(required = true, value_name = "SNAP")]
    snapshots: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

impl GetArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let columns = self.format.columns(false)?;
        let repo = app.open()?;
        let found = find_all(&repo, &self.snapshots)?;
        let text = if self.format.is_chosen() {
            self.format.table(&columns, &found)
        } else {
            found.iter().map(details).collect::<Vec<_>>().join("\n")
        };
        let result = json::SnapshotsResult { snapshots: found.iter().map(json::Snapshot::from).collect() };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
}

fn details(snapshot: &Snapshot) -> String {
    let stats = &snapshot.stats;
    let exact = |bytes: u64| format!("{} ({bytes} bytes)", units::bytes(bytes));
    let known = [
        ("ID", snapshot.id.to_string()),
        ("Name", ui::printable_name(&snapshot.name).into_owned()),
        ("Created", units::time_for_people(snapshot.created_unix_ms)),
        ("Resource", ui::printable_name(&snapshot.resource).into_owned()),
        ("Type", snapshot.kind.as_str().to_owned()),
        ("Min Disk Size", format!("{} GiB", snapshot.min_disk_gib())),
        ("Image", exact(snapshot.size_bytes)),
        ("Size", format!("{}, without holes and zeros", exact(stats.data_bytes))),
        ("New", format!("{}, at its creation", exact(stats.new_bytes))),
        (
            "Stored",
            format!("{} and {} of manifest", exact(stats.stored_bytes), units::bytes(stats.manifest_bytes)),
        ),
        ("Tags", ui::printable_name(&snapshot.tags.join(",")).into_owned()),
        ("Protected", if snapshot.protected { "yes" } else { "no" }.to_owned()),
        ("Parent", snapshot.parent.map_or_else(|| "none".to_owned(), |id| id.to_string())),
        ("Content", snapshot.content.to_string()),
    ];
    ui::pairs(0, &[known.to_vec(), label_pairs(&snapshot.labels)].concat())
}
