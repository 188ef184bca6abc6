//! `icecore volume create`.

use std::collections::BTreeMap;

use icecore::Result;
use icecore::snapshot::ResourceKind;
use icecore::volume::VolumeOptions;

use crate::app::App;
use crate::commands::title;
use crate::commands::volume::columns::details;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::units;

/// Make a volume: a writable disk with the content of a snapshot, or of zeros
///
/// Whatever the size, this takes milliseconds: the volume shows what the snapshot has, and holds what is written to it. Serve
/// it with `icecore volume serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The name: letters, digits, and the signs . - _
    #[arg(value_name = "NAME")]
    name: String,
    /// The snapshot whose content it has: an id, a unique beginning of one, a name, or RESOURCE@latest
    #[arg(long, value_name = "SNAP", required_unless_present = "size")]
    snapshot: Option<String>,
    /// Its size, for example 20G; at least that of the snapshot [default: that of the snapshot]
    #[arg(long, value_name = "N", value_parser = units::parse_size)]
    size: Option<u64>,
    /// Snapshots of it are of a droplet with its name [default: as the snapshot, or of a volume]
    #[arg(long)]
    droplet: bool,
}

impl CreateArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        // A volume of zeros may be the first thing in a repository.
        let repo = if self.snapshot.is_some() { app.open()? } else { app.open_or_make()?.0 };
        let watch = Stopwatch::start();
        let snapshot =
            self.snapshot.as_deref().map(|spec| icecore::snapshot::find(&repo, spec)).transpose()?;
        let options = VolumeOptions {
            id: host::new_volume_id(),
            name: self.name.clone(),
            created_unix_ms: host::now_unix_ms(),
            kind: self.droplet.then_some(ResourceKind::Droplet),
            snapshot: snapshot.as_ref().map(|snapshot| snapshot.id),
            size_bytes: self.size,
            labels: BTreeMap::new(),
        };
        let volume = icecore::volume::create_volume(&repo, &options)?;
        let time = units::duration(watch.elapsed());
        let of = snapshot.as_ref().map_or_else(|| "zeros".to_owned(), title);
        let size = units::bytes(volume.size_bytes);
        let text = format!("volume {}: {size}, made of {of} in {time}", volume.name);
        app.ui.result(&json::VolumeResult { volume: details(app, &repo, volume)?.json() }, &text)?;
        app.ui.note(&format!("`icecore volume serve {}` makes a disk of it", self.name));
        Ok(Verdict::Clean)
    }
}
