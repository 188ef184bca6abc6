//! The configuration of the server.

use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore_host::config;
use icecore_host::config::Config;
use icecore_host::config::Usual;
use icecore_host::places::Address;

use crate::app::App;
use crate::host;

/// The argument that names the configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration of the server [default: icecore/server.toml in your configuration
    /// directory, else /etc/icecore/server.toml; without either, the repository is the region
    /// local]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the configuration, or makes one for the repository if there is no file.
    pub(crate) fn read(&self, app: &App) -> Result<Config> {
        let state = host::state_home().map(|home| home.join("icecore"));
        let load = |path: &Path| {
            // A missing HOME matters only if the file names no repository.
            let repository = address(app).ok();
            let config = config::load(path, &Usual { repository, state_dir: state.clone() })?;
            app.ui.detail(&format!("state: {}", config.server.state_dir.display()));
            Ok(config)
        };
        if let Some(path) = &self.config {
            return load(path);
        }
        for path in host::config_dirs().into_iter().map(|dir| dir.join("icecore/server.toml")) {
            // A file that cannot be looked up is an error, not a reason to use another one.
            let there = path.try_exists();
            if there.map_err(|error| Error::io(format!("looking at {}", path.display()), error))? {
                app.ui.detail(&format!("configuration: {}", path.display()));
                return load(&path);
            }
        }
        let state = state.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "there is no configuration, and without HOME there is no directory for the server's state",
            )
            .with_hint("name a configuration with --config FILE")
        })?;
        let repository = address(app)?;
        app.ui.detail(&format!("no configuration: serving {repository} as the region local"));
        Ok(Config::of_repository(repository, state))
    }
}

/// Returns the address of the repository; a path in it is absolute.
fn address(app: &App) -> Result<Address> {
    let address = app.address()?;
    let dir = match address {
        None => app.place()?.at.guarded().to_owned(),
        Some(Address::Directory(dir)) => dir,
        Some(address) => return Ok(address),
    };
    let absolute = std::path::absolute(&dir);
    absolute
        .map(Address::Directory)
        .map_err(|error| Error::io(format!("looking at {}", dir.display()), error))
}
