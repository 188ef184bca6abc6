//! `icecore snapshot delete`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;

use crate::app::App;
use crate::commands::find_all;
use crate::commands::title;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// The note after a deletion.
pub(crate) const UNDO: &str =
    "`icecore snapshot undelete` restores deleted snapshots, until `icecore gc` frees the space";

/// Delete snapshots
///
/// Does not affect other snapshots. Does not delete a protected snapshot, and deletes the origin of
/// a volume only with `--keep-clones`. If one of several cannot be deleted, none is. The next
/// `icecore gc` frees the space; until then `icecore snapshot undelete` restores them.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Ids, unique prefixes of ids, names, or RESOURCE@latest
    #[arg(required = true, value_name = "SNAP")]
    snapshots: Vec<String>,
    /// Also delete snapshots from which volumes were created; the volumes keep the data they need
    #[arg(long)]
    keep_clones: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    force: bool,
}

impl DeleteArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let found = find_all(&repo, &self.snapshots)?;
        if let Some(protected) = found.iter().find(|snapshot| snapshot.protected) {
            let message = format!("{} is protected; nothing was deleted", title(protected));
            return Err(Error::new(ErrorKind::InUse, message)
                .with_hint(format!("allow it with `icecore snapshot unprotect {}`", protected.id)));
        }
        if !self.force && !app.ui.confirm(&question(&found), "confirm with --force")? {
            return Err(Error::new(ErrorKind::Interrupted, "not confirmed: nothing was deleted"));
        }
        let options = DeleteOptions { clones_keep_it: self.keep_clones };
        let ids: Vec<SnapshotId> = found.iter().map(|snapshot| snapshot.id).collect();
        let deleted = icecore::snapshot::delete_all(&repo, &ids, options)
            .map_err(|error| error.in_context("nothing was deleted"))?;
        let text: String = deleted.iter().map(|snapshot| format!("deleted {}\n", title(snapshot))).collect();
        let result = json::DeleteResult { deleted: deleted.iter().map(json::Snapshot::from).collect() };
        app.ui.result(&result, &text)?;
        match ids.as_slice() {
            [id] => app.ui.note(&format!(
                "`icecore snapshot undelete {id}` restores it, until `icecore gc` frees the space"
            )),
            _ => app.ui.note(UNDO),
        }
        Ok(Verdict::Clean)
    }
}

fn question(snapshots: &[Snapshot]) -> String {
    let names: Vec<String> = snapshots.iter().map(title).collect();
    format!(
        "Are you sure you want to delete {}: {}?",
        units::count(names.len() as u64, "snapshot"),
        names.join(", ")
    )
}
