//! `icecore volume snapshot`.

use std::sync::Arc;

use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::BlockCache;
use icecore::volume::Volume;
use icecore_host::control;

use crate::app::App;
use crate::commands::if_interrupted;
use crate::commands::snapshot::create::free_name;
use crate::commands::snapshot::new::NewSnapshotArgs;
use crate::commands::title;
use crate::commands::warn_if_clock_is_behind;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::ui;
use crate::units;

/// Take a snapshot of a volume, even while it is served and written to
///
/// Reads only the data written since the last snapshot. The snapshot is the volume at one moment.
/// It does not contain what a file system on it still holds in memory, unless you freeze or sync
/// that file system first.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// The name of the volume
    #[arg(value_name = "NAME")]
    volume: String,
    #[command(flatten)]
    new: NewSnapshotArgs,
}

impl SnapshotArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = Arc::new(app.open()?);
        icecore::volume::find_volume(&repo, &self.volume)?;
        let created_unix_ms = host::now_unix_ms();
        let name = match &self.new.name {
            Some(name) => name.clone(),
            None => free_name(&repo, &self.volume, created_unix_ms)?,
        };
        let asked = self.new.of_volume(created_unix_ms, name);
        let watch = Stopwatch::start();
        let progress = app.ui.progress(&format!("capturing {}", self.volume));
        let taken = match Volume::open(Arc::clone(&repo), &self.volume, BlockCache::usual()) {
            Ok(volume) => control::take(&volume, &asked, &progress),
            Err(error) if error.kind() == ErrorKind::InUse => {
                let dir = app.volume_dir(&repo, &self.volume)?;
                control::ask(&dir, &self.volume, &asked)?.unwrap_or(Err(error))
            }
            Err(error) => Err(error),
        };
        let state = "no snapshot was made; the volume keeps all its data";
        let taken = taken.map_err(if_interrupted(state))?;
        let elapsed = watch.elapsed();
        drop(progress);
        let snapshot = icecore::snapshot::find(&repo, &asked.id.to_string())?;
        let stats = &snapshot.stats;
        let image = format!(
            "{}, {} without holes and zeros",
            units::bytes(snapshot.size_bytes),
            units::bytes(stats.data_bytes)
        );
        let new = format!("{} in {}", units::bytes(taken.read_bytes), units::duration(elapsed));
        let stored = format!(
            "{} of {} new, and {} of manifest",
            units::bytes(stats.stored_bytes),
            units::bytes(stats.new_bytes),
            units::bytes(stats.manifest_bytes)
        );
        let lines = [("image", image), ("read", new), ("stored", stored)];
        let text = format!("snapshot {}\n{}", title(&snapshot), ui::pairs(2, &lines));
        let result = json::VolumeSnapshotResult {
            snapshot: json::Snapshot::from(&snapshot),
            read_bytes: taken.read_bytes,
            unchanged: taken.unchanged,
            clock_behind_ms: warn_if_clock_is_behind(app, &snapshot),
            elapsed_ms: units::milliseconds(elapsed),
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
}
