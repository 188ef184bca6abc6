//! `icecore snapshot undelete`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::SnapshotId;

use crate::app::App;
use crate::commands::title;
use crate::exit::Verdict;
use crate::json;

/// Restore deleted snapshots
///
/// That works until `icecore gc` has freed their space; `icecore snapshot list --deleted` lists
/// those that can be restored. If one of several cannot be restored, none is.
#[derive(Debug, clap::Args)]
pub(crate) struct UndeleteArgs {
    /// Ids, unique prefixes of ids, or names
    #[arg(required = true, value_name = "SNAP")]
    snapshots: Vec<String>,
    /// Restore a snapshot even if its resource has another one of its name by now
    #[arg(long)]
    allow_duplicate_name: bool,
}

impl UndeleteArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let mut ids: Vec<SnapshotId> = Vec::with_capacity(self.snapshots.len());
        for spec in &self.snapshots {
            let id = icecore::snapshot::find_deleted(&repo, spec)?.snapshot.id;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let options = RenameOptions { name_may_repeat: self.allow_duplicate_name };
        let restored = icecore::snapshot::undelete(&repo, &ids, options).map_err(explained)?;
        let text: String =
            restored.iter().map(|snapshot| format!("restored {}\n", title(snapshot))).collect();
        let result = json::UndeleteResult { restored: restored.iter().map(json::Snapshot::from).collect() };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
}

fn explained(error: Error) -> Error {
    match error.kind() {
        ErrorKind::AlreadyExists => error
            .in_context("nothing was restored")
            .with_hint("rename that one with `icecore snapshot rename`, or use --allow-duplicate-name"),
        _ => error,
    }
}
