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

/// Make an empty repository
///
/// It is made in the directory of --repo or ICECORE_REPO, else in the default place, where the first `snapshot create`
/// would make it by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The zstd level for new data, where a capture does not choose another: -7 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = DEFAULT_LEVEL, allow_negative_numbers = true,
          value_parser = units::parse_level)]
    level: i32,
    /// Keep parity: with 10+2, up to ten packs share two parity files, and any two of them that are lost or damaged come
    /// back [default: none; see `icecore parity`]
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
                format!("there is a repository in {dir} already"),
            )
            .with_hint("use it as it is, or choose another directory with --repo"));
        }
        let repo = app::make_at(&place.dir, self.level, self.parity)?;
        let text = format!("made repository {} in {dir}", repo.id());
        let result = json::InitResult {
            repository: dir,
            id: repo.id().to_string(),
            created: units::time_exact(repo.created_unix_ms()),
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
}
