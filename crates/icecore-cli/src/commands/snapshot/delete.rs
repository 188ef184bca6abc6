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
/// No other snapshot is touched by it. The space is given back by the next `icecore gc`. A protected snapshot is not
/// deleted, and one that a volume was made from only with `--keep-clones`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Ids, unique beginnings of ids, names, or RESOURCE@latest
    #[arg(required = true, value_name = "SNAP")]
    snapshots: Vec<String>,
    /// Also delete snapshots that volumes were made from: the volumes go on, and keep what they need
    #[arg(long)]
    keep_clones: bool,
    /// Do not ask
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
        if !self.force && !app.ui.confirm(&question(&found), "say that you are sure with --force")? {
            return Err(Error::new(ErrorKind::Interrupted, "not confirmed: nothing was deleted"));
        }
        let options = DeleteOptions { clones_keep_it: self.keep_clones };
        let mut deleted = Vec::with_capacity(found.len());
        for snapshot in &found {
            let gone = icecore::snapshot::delete_with(&repo, snapshot.id, options)
                .map_err(|error| error.in_context(so_far(&deleted)))?;
            deleted.push(gone);
        }
        let text: String = deleted.iter().map(|snapshot| format!("deleted {}\n", title(snapshot))).collect();
        let result = json::DeleteResult { deleted: deleted.iter().map(json::Snapshot::from).collect() };
        app.ui.result(&result, &text)?;
        app.ui.note("`icecore gc` gives the space back");
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

/// Returns what an error is to say of the snapshots that were deleted before it.
pub(crate) fn so_far(deleted: &[Snapshot]) -> String {
    if deleted.is_empty() {
        return "nothing was deleted".into();
    }
    format!("deleted only {}", deleted.iter().map(title).collect::<Vec<_>>().join(", "))
}
