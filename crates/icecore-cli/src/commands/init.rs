//! `icecore init`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::ParityScheme;

use crate::app;
use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::units;

/// Create an empty repository
///
/// The directory is --repo, else ICECORE_REPO, else the default place, where the first
/// `snapshot create` would create a repository anyway.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  icecore --repo /srv/backup init\n  ICECORE_PASSWORD_FILE=backup.password icecore --repo /srv/backup init"
)]
pub(crate) struct InitArgs {
    /// The default zstd level for new data: -7 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = DEFAULT_LEVEL, allow_negative_numbers = true,
          value_parser = units::parse_level)]
    level: i32,
    /// Keep parity: with 10+2, up to ten packs share two parity files, and any two lost or damaged
    /// packs of them can be recovered [default: none; see `icecore parity`]
    #[arg(long, value_name = "SCHEME")]
    parity: Option<ParityScheme>,
    /// Seal the repository: nobody reads it without the password or key that you give now
    ///
    /// This is the default if ICECORE_PASSWORD, ICECORE_PASSWORD_FILE, ICECORE_PASSWORD_COMMAND or
    /// ICECORE_IDENTITY is set. Otherwise the password is asked for. If you lose it, the data is lost.
    #[arg(long)]
    seal: bool,
    /// Do not seal the repository, even if a password or an identity is set
    #[arg(long, conflicts_with = "seal")]
    no_seal: bool,
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
        let sources = host::key_sources();
        let sealed = self.seal || (!self.no_seal && sources.are_set());
        let repo = match sealed {
            true => app::make_sealed_at(app.ui, &place.dir, self.level, self.parity, &sources)?,
            false => app::make_at(&place.dir, self.level, self.parity)?,
        };
        let kind = if sealed {
            "it is sealed: without the password or key, nobody can read it, not even you"
        } else {
            "it is plain: everybody who can read the directory can read the data"
        };
        let text = format!("created repository {} in {dir}\n{kind}", repo.id());
        let result = json::InitResult {
            repository: dir,
            id: repo.id().to_string(),
            created: units::time_exact(repo.created_unix_ms()),
            sealed,
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
}
