//! `icecore snapshot protect` and `unprotect`.

use icecore::Result;

use crate::app::App;
use crate::commands::title;
use crate::exit::Verdict;
use crate::json;

/// Protect a snapshot from deletion
#[derive(Debug, clap::Args)]
pub(crate) struct ProtectArgs {
    /// An id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
}

/// Allow a protected snapshot to be deleted again
#[derive(Debug, clap::Args)]
pub(crate) struct UnprotectArgs {
    /// An id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
}

impl ProtectArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        set(app, &self.snapshot, true)
    }
}

impl UnprotectArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        set(app, &self.snapshot, false)
    }
}

fn set(app: &App, spec: &str, protected: bool) -> Result<Verdict> {
    let repo = app.open()?;
    let snapshot =
        icecore::snapshot::set_protected(&repo, icecore::snapshot::find(&repo, spec)?.id, protected)?;
    let text = format!("{} is {}protected", title(&snapshot), if protected { "" } else { "no longer " });
    app.ui.result(&json::SnapshotResult { snapshot: json::Snapshot::from(&snapshot) }, &text)?;
    Ok(Verdict::Clean)
}
