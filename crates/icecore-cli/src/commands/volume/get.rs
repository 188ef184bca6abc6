//! `icecore volume get`.

use icecore::Result;

use crate::app::App;
use crate::commands::volume::columns;
use crate::commands::volume::columns::Details;
use crate::commands::volume::columns::details;
use crate::exit::Verdict;
use crate::json;

/// Show all details of volumes
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Names of volumes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl GetArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let found =
            self.names.iter().map(|name| details(app, &repo, icecore::volume::find_volume(&repo, name)?));
        let found = found.collect::<Result<Vec<Details>>>()?;
        let text = found.iter().map(columns::lines).collect::<Vec<_>>().join("\n");
        let volumes = found.iter().map(Details::json).collect();
        app.ui.result(&json::VolumesResult { volumes, unreadable: Vec::new() }, &text)?;
        Ok(Verdict::Clean)
    }
}
