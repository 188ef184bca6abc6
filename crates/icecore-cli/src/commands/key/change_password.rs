//! `icecore key change-password`.

use icecore::Result;
use icecore_host::keys::manage;

use crate::app;
use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;

/// Change a password: a key slot with the new one replaces that with the old one
///
/// The old password is the one that opens the repository. The new one comes from
/// ICECORE_NEW_PASSWORD_COMMAND, ICECORE_NEW_PASSWORD_FILE, ICECORE_NEW_PASSWORD, or is typed twice
/// on the terminal. No data is written again: whoever has a copy of the old slot, and the old
/// password, still has the master key.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  ICECORE_PASSWORD_FILE=old ICECORE_NEW_PASSWORD_FILE=new icecore key change-password"
)]
pub(crate) struct ChangePasswordArgs {}

impl ChangePasswordArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let at = app.place()?.at;
        let sources = host::key_sources();
        let old = app::of_place(&sources, &at).asking_once();
        let repo = app.open_with(&old)?;
        icecore::keys::master_key(&repo)?;
        let slot = manage::opened_by(&repo, &old.unlock()?)?;
        let new = app::of_place(&sources.named("ICECORE_NEW"), &at).new_password()?;
        let added = manage::change_password(&repo, slot, &new)?.to_string();
        let removed = slot.to_string();
        let text = format!("changed the password: key slot {added} replaces {removed}");
        app.ui.result(&json::KeysChangedResult { added: vec![added], removed: vec![removed] }, &text)?;
        Ok(Verdict::Clean)
    }
}
