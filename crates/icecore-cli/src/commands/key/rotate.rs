//! `icecore key rotate`.

use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;
use crate::json;

/// Seal new data with new keys from now on
///
/// Begins an epoch. The passwords and keys that open the repository stay the same, and so does the
/// master key. Old data stays as it is until gc rewrites it; `icecore gc --reseal` rewrites all of
/// it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  icecore key rotate && icecore gc --reseal")]
pub(crate) struct RotateArgs {}

impl RotateArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let epoch = icecore::keys::rotate(&app.open()?)?;
        app.ui.result(&json::KeyRotatedResult { epoch }, &format!("epoch {epoch} begins"))?;
        app.ui.note("new data is sealed with new keys; `icecore gc --reseal` rewrites the old data");
        Ok(Verdict::Clean)
    }
}
