//! `icecore snapshot delete`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::Snapshot;

use crate::app::App;
use crate::commands::find_all;
use crate::commands::title;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// Delete snapshots
///
/// Does not affect other snapshots. The next `icecore gc` frees the space. Does not delete a
/// protected snapshot, and deletes the origin of a volume only with `--keep-clones`.
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
        let mut deleted = Vec::with_capacity(found.len());
        for snapshot in &found {
            let gone = icecore::snapshot::delete(&repo, snapshot.id, options)
                .map_err(|error| error.in_context(so_far(&deleted)))?;
            deleted.push(gone);
        }
        let text: String = deleted.iter().map(|snapshot| format!("deleted {}\n", title(snapshot))).collect();
        let result = json::DeleteResult { deleted: deleted.iter().map(json::Snapshot::from).collect() };
        app.ui.result(&result, &text)?;
        app.ui.note("`icecore gc` frees the space");
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

/// Returns what an error says about the snapshots deleted before it.
pub(crate) fn so_far(deleted: &[Snapshot]) -> String {
    if deleted.is_empty() {
        return "nothing was deleted".into();
    }
    format!("deleted only {}", deleted.iter().map(title).collect::<Vec<_>>().join(", "))
}
