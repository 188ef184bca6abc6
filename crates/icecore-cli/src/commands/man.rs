//! `icecore man`.

use std::path::PathBuf;

use icecore::Error;
use icecore::Result;

use crate::app::App;
use crate::exit::Verdict;
use crate::json;

/// Write the manual pages, one for each command
///
/// For example: icecore man ~/.local/share/man/man1
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The directory to write them to; created if needed
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

impl ManArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let failed = |error| Error::io(format!("writing manual pages to {}", self.dir.display()), error);
        icecore::repository::check_directory(&self.dir)?;
        app.check_outside(&self.dir)?;
        std::fs::create_dir_all(&self.dir).map_err(failed)?;
        let mut files = Vec::new();
        let mut command = (app.model)().disable_help_subcommand(true);
        command.build();
        self.write(&command, &mut files).map_err(failed)?;
        let text = format!("wrote {} manual pages to {}", files.len(), self.dir.display());
        app.ui.result(&json::ManResult { files }, &text)?;
        Ok(Verdict::Clean)
    }

    fn write(&self, command: &clap::Command, files: &mut Vec<String>) -> std::io::Result<()> {
        let page = clap_mangen::Man::new(command.clone()).manual("icecore");
        files.push(page.generate_to(&self.dir)?.display().to_string());
        for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
            self.write(part, files)?;
        }
        Ok(())
    }
}
