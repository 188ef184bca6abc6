//! `icecore key remove`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_host::keys::manage;

use crate::app::App;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// Remove a key slot: its password or key no longer opens the repository
///
/// The last sound slot cannot be removed. Whoever has a copy of the slot, and its password or
/// private key, still has the master key: after a leak, copy the snapshots to a new repository.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  icecore key remove 019ad4e2")]
pub(crate) struct RemoveArgs {
    /// Its id in `icecore key list`, or a unique prefix of it
    #[arg(value_name = "ID")]
    id: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    force: bool,
}

impl RemoveArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let slot = manage::find(&repo, &self.id)?;
        let added =
            slot.created_unix_ms.map_or_else(|| "at an unknown time".to_owned(), units::time_for_people);
        let question = format!(
            "Are you sure you want to remove key slot {} ({}, added {added})? It no longer opens the repository.",
            slot.id,
            manage::kind(&slot)
        );
        if !self.force && !app.ui.confirm(&question, "confirm with --force")? {
            return Err(Error::new(ErrorKind::Interrupted, "not confirmed: nothing was removed"));
        }
        manage::remove(&repo, slot.id)?;
        let id = slot.id.to_string();
        let text = format!("removed key slot {id}");
        app.ui.result(&json::KeysChangedResult { added: Vec::new(), removed: vec![id] }, &text)?;
        Ok(Verdict::Clean)
    }
}
