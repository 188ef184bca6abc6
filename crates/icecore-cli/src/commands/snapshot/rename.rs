//! `icecore snapshot rename`.

use icecore::Result;
use icecore::snapshot::RenameOptions;

use crate::app::App;
use crate::exit::Verdict;
use crate::json;

/// Rename a snapshot
#[derive(Debug, clap::Args)]
pub(crate) struct RenameArgs {
    /// An id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
    /// The new name, unique among the snapshots of its resource
    #[arg(value_name = "NAME")]
    name: String,
}

impl RenameArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let before = icecore::snapshot::find(&repo, &self.snapshot)?;
        let after = icecore::snapshot::rename(&repo, before.id, &self.name, RenameOptions::default())?;
        let text = format!("renamed {} to {} ({})", before.name, after.name, after.id);
        app.ui.result(&json::SnapshotResult { snapshot: json::Snapshot::from(&after) }, &text)?;
        Ok(Verdict::Clean)
    }
}
