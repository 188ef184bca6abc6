//! `icecore volume list`.

use icecore::Result;

use crate::app::App;
use crate::commands::snapshot::list::globs;
use crate::commands::volume::columns;
use crate::commands::volume::columns::Details;
use crate::commands::volume::columns::details;
use crate::exit::Verdict;
use crate::json;

/// List volumes, by name
///
/// Written is the data written since the base; the next snapshot reads at most that much.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only volumes whose name matches one of these patterns (*, ?, [a-z], {a,b})
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,
    /// Do not show the header
    #[arg(long)]
    no_header: bool,
}

impl ListArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let globs = globs(&self.globs)?;
        let repo = app.open()?;
        let mut listing = icecore::volume::list_volumes(&repo)?;
        listing.volumes.retain(|volume| globs.is_empty() || globs.is_match(&volume.name));
        for unreadable in &listing.unreadable {
            app.ui.warn(&format!("volume {} is unreadable: {}", unreadable.name, unreadable.reason));
        }
        let verdict = Verdict::from_findings(!listing.unreadable.is_empty());
        let volumes = listing.volumes.into_iter().map(|volume| details(app, &repo, volume));
        let volumes = volumes.collect::<Result<Vec<Details>>>()?;
        let result = json::VolumesResult {
            volumes: volumes.iter().map(Details::json).collect(),
            unreadable: listing
                .unreadable
                .into_iter()
                .map(|it| json::Unreadable { file: it.name, reason: it.reason })
                .collect(),
        };
        app.ui.result(&result, &columns::table(&volumes, !self.no_header))?;
        Ok(verdict)
    }
}
