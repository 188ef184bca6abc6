//! `icecore volume export`.

use std::path::PathBuf;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::image::NewTarget;
use icecore::image::ReadAt;
use icecore::snapshot::BlockCache;
use icecore::volume::Volume;

use crate::app::App;
use crate::commands::if_full;
use crate::commands::if_interrupted;
use crate::commands::parent;
use crate::exit::Verdict;
use crate::host;
use crate::host::Stopwatch;
use crate::json;
use crate::units;

/// Write a volume to an independent raw image
///
/// The file is sparse, and gets its name only when it is complete.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The name of a volume that is not being served
    #[arg(value_name = "NAME")]
    name: String,
    /// The file to write
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Replace an existing file
    #[arg(short, long)]
    force: bool,
}

impl ExportArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = Arc::new(app.open()?);
        let volume = Volume::open(Arc::clone(&repo), &self.name, BlockCache::usual()).map_err(if_served)?;
        let path = self.file.display();
        app.check_outside(parent(&self.file))?;
        if !self.force && self.file.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{path} already exists"))
                .with_hint("choose another name, or replace it with --force"));
        }
        let watch = Stopwatch::start();
        let target = NewTarget::create(&self.file, volume.len(), self.force, host::new_session())?;
        let progress = app.ui.progress(&format!("exporting {}", self.name));
        let data_bytes = icecore::volume::export_volume(&volume, &target, &progress)
            .map_err(if_interrupted("nothing is left of the new file"))
            .map_err(|error| if_full(error, "the file"))?;
        target.finish()?;
        drop(progress);
        let elapsed = watch.elapsed();
        let text = format!(
            "exported volume {} to {path}: {}, {} of it data, in {}",
            self.name,
            units::bytes(volume.len()),
            units::bytes(data_bytes),
            units::duration(elapsed)
        );
        let result = json::VolumeExportResult {
            volume: self.name.clone(),
            target: path.to_string(),
            size_bytes: volume.len(),
            data_bytes,
            elapsed_ms: units::milliseconds(elapsed),
        };
        app.ui.result(&result, &text)?;
        Ok(Verdict::Clean)
    }
}

fn if_served(error: Error) -> Error {
    match error.kind() {
        ErrorKind::InUse => error.with_hint(
            "take a snapshot with `icecore volume snapshot`, and restore it to a file: both work while the volume is served",
        ),
        _ => error,
    }
}
