//! `icecore init`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::ParityScheme;

use crate::app;
use crate::app::App;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// Create an empty repository
///
/// The directory is --repo, else ICECORE_REPO, else the default place, where the first
/// `snapshot create` would create a repository anyway.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The default zstd level for new data: -7 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = DEFAULT_LEVEL, allow_negative_numbers = true,
          value_parser = units::parse_level)]
    level: i32,
    /// Keep parity: with 10+2, up to ten packs share two parity files, and any two lost or damaged
    /// packs of them can be recovered [default: none; see `icecore parity`]
    #[arg(long, value_name = "SCHEME")]
    parity: Option<ParityScheme>,
}

impl InitArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let place = app.place()?;
        let dir = place.dir.display().to_string();
        if !place.is_vacant()? {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is already a repository in {dir}"),
            )
            .with_hint("use it, or choose another directory with --repo"));
        }
        let repo = app::make_at(&place.dir, self.level, self.parity)?;
        let text = format!("created repository {} in {dir}", repo.id());
        let result = json::InitResult {
            repository: dir,
            id: repo.id().to_string(),
            created: units::time_exact(repo.created_unix_ms()),
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
}
