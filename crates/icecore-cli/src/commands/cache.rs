//! `icecore cache`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::ui;
use crate::units;

/// Show or clear what is kept of what was read from buckets
///
/// It is in $XDG_CACHE_HOME/icecore, by default ~/.cache/icecore, and takes up to 10 GiB: what was not used for longest goes
/// first. Nothing depends on it.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum CacheCommand {
    /// Show how much is there
    Stats,
    /// Remove all of it
    Clear,
}

impl CacheArgs {
    /// Returns the name of the command.
    pub(crate) fn words(&self) -> &'static str {
        match self.command {
            CacheCommand::Stats => "cache stats",
            CacheCommand::Clear => "cache clear",
        }
    }

    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let surroundings = host::surroundings();
        let (Some(cache), Some(dir)) = (surroundings.cache(), surroundings.cache_dir()) else {
            return Err(Error::new(ErrorKind::InvalidInput, "HOME is not set, so there is no cache")
                .with_hint("set HOME or XDG_CACHE_HOME"));
        };
        let dir = dir.display().to_string();
        let (usage, head) = match self.command {
            CacheCommand::Stats => (cache.usage(), format!("in {dir}")),
            CacheCommand::Clear => (cache.clear(), format!("removed from {dir}")),
        };
        let usage = usage.map_err(|error| Error::io(format!("looking at the cache in {dir}"), error))?;
        let lines = [
            ("repositories", usage.repositories.to_string()),
            ("pieces", usage.pieces.to_string()),
            ("bytes", units::bytes(usage.bytes)),
        ];
        let result = json::CacheResult {
            directory: dir,
            repositories: usage.repositories,
            pieces: usage.pieces,
            bytes: usage.bytes,
        };
        app.ui.result(&result, &format!("{head}\n{}", ui::pairs(2, &lines)))?;
        Ok(Verdict::Clean)
    }
}
