//! `icecore volume delete`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::app::App;
use crate::commands::volume::columns::Details;
use crate::commands::volume::columns::details;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// Delete volumes, including everything written since their last snapshots
///
/// Their snapshots stay. Does not delete a volume that is being served.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Names of volumes
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    force: bool,
}

impl DeleteArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let mut names = self.names.clone();
        names.sort();
        names.dedup();
        let found = names.iter().map(|name| details(app, &repo, icecore::volume::find_volume(&repo, name)?));
        let found = found.collect::<Result<Vec<Details>>>()?;
        let question = format!(
            "Are you sure you want to delete {}: {}?",
            units::count(names.len() as u64, "volume"),
            names.join(", ")
        );
        if !self.force && !app.ui.confirm(&question, "confirm with --force")? {
            return Err(Error::new(ErrorKind::Interrupted, "not confirmed: nothing was deleted"));
        }
        for (at, name) in names.iter().enumerate() {
            let so_far = match names.get(..at) {
                Some(done @ [_, ..]) => format!("deleted only {}", done.join(", ")),
                _ => "nothing was deleted".to_owned(),
            };
            icecore::volume::delete_volume(&repo, name).map_err(|error| error.in_context(so_far))?;
        }
        let text: String = names.iter().map(|name| format!("deleted volume {name}\n")).collect();
        let deleted = found.iter().map(Details::json).collect();
        app.ui.result(&json::VolumesDeletedResult { deleted }, &text)?;
        Ok(Verdict::Clean)
    }
}
