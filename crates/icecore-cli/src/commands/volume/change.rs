//! `icecore volume reset`, `restore` and `resize`.

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::Repository;
use icecore::volume::VolumeInfo;

use crate::app::App;
use crate::commands::title;
use crate::commands::volume::columns::details;
use crate::exit::Verdict;
use crate::json;
use crate::units;

/// Discard all changes to a volume since it was created or restored
///
/// The volume again has the content of the snapshot it was created from or last restored to. Its
/// snapshots stay.
#[derive(Debug, clap::Args)]
pub(crate) struct ResetArgs {
    /// The name of a volume that is not being served
    #[arg(value_name = "NAME")]
    name: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Replace the content of a volume with that of a snapshot
///
/// Discards all changes to the volume. A volume smaller than the snapshot grows to its size. Its
/// snapshots stay.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The name of a volume that is not being served
    #[arg(value_name = "NAME")]
    name: String,
    /// An id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Make a volume larger; the new part is zero
#[derive(Debug, clap::Args)]
pub(crate) struct ResizeArgs {
    /// The name of a volume that is not being served
    #[arg(value_name = "NAME")]
    name: String,
    /// The new size, such as 20G
    #[arg(value_name = "N", value_parser = units::parse_size)]
    size: u64,
}

impl ResetArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        icecore::volume::find_volume(&repo, &self.name)?;
        confirm(app, self.force, &self.name)?;
        let volume = icecore::volume::reset_volume(&repo, &self.name)?;
        let to = volume.origin.as_ref().map_or_else(|| "zeros".to_owned(), title);
        tell(app, &repo, volume, &format!("volume {} was reset to {to}", self.name))
    }
}

impl RestoreArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        icecore::volume::find_volume(&repo, &self.name)?;
        let snapshot = icecore::snapshot::find(&repo, &self.snapshot)?;
        confirm(app, self.force, &self.name)?;
        let volume = icecore::volume::restore_volume(&repo, &self.name, snapshot.id)?;
        tell(app, &repo, volume, &format!("volume {} was restored to {}", self.name, title(&snapshot)))
    }
}

impl ResizeArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let volume = icecore::volume::resize_volume(&repo, &self.name, self.size)?;
        let text = format!("volume {} now has {}", self.name, units::bytes(volume.size_bytes));
        tell(app, &repo, volume, &text)
    }
}

fn confirm(app: &App, force: bool, name: &str) -> Result<()> {
    let question = format!("Are you sure you want to discard all changes to volume {name}?");
    if force || app.ui.confirm(&question, "confirm with --force")? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Interrupted, "not confirmed: nothing was changed"))
}

fn tell(app: &App, repo: &Repository, volume: VolumeInfo, text: &str) -> Result<Verdict> {
    let volume = details(app, repo, volume)?.json();
    app.ui.result(&json::VolumeResult { volume }, text)?;
    Ok(Verdict::Clean)
}
