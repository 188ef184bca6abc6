//! `icecore volume create`.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::Result;
use icecore::snapshot::ResourceKind;
use icecore::volume::VolumeOptions;

use crate::app::App;
use crate::commands::title;
use crate::commands::volume::columns::details;
use crate::commands::volume::prefetch;
use crate::commands::volume::prefetch::Extent;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::units;

/// Create a volume: a writable clone of a snapshot, or an empty disk
///
/// This takes milliseconds, whatever the size: the volume stores only your changes. Serve it with
/// `icecore volume serve`. With --prefetch, you can stop the fetching: the volume is whole without
/// it.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The name: letters, digits and . - _
    #[arg(value_name = "NAME")]
    name: String,
    /// The snapshot to clone: an id, a unique prefix of an id, a name, or RESOURCE@latest
    #[arg(long, value_name = "SNAP", required_unless_present = "size")]
    snapshot: Option<String>,
    /// Its size, such as 20G; at least that of the snapshot [default: that of the snapshot]
    #[arg(long, value_name = "N", value_parser = units::parse_size)]
    size: Option<u64>,
    /// Its snapshots belong to a droplet with its name [default: the resource type of the snapshot,
    /// or volume]
    #[arg(long)]
    droplet: bool,
    /// Then fetch the data of the snapshot into the cache of this machine: first what the first
    /// reads of such a disk were (see `icecore volume serve --record`), then the rest
    #[arg(long, value_name = "WHAT", requires = "snapshot", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    prefetch: Option<Extent>,
}

impl CreateArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        // An empty volume may be the first object in a repository.
        let repo = Arc::new(if self.snapshot.is_some() { app.open()? } else { app.open_or_make()?.0 });
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
        let how =
            snapshot.as_ref().map_or_else(|| "empty".to_owned(), |from| format!("from {}", title(from)));
        let size = units::bytes(volume.size_bytes);
        let text = format!("volume {}: {size}, created {how} in {time}", volume.name);
        app.ui.result(&json::VolumeResult { volume: details(app, &repo, volume)?.json() }, &text)?;
        app.ui.note(&format!("serve it with `icecore volume serve {}`", self.name));
        match (self.prefetch, snapshot) {
            (Some(extent), Some(snapshot)) => prefetch::in_foreground(app, &repo, snapshot.id, extent),
            _ => Ok(Verdict::Clean),
        }
    }
}
