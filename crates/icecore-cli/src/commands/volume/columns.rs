//! The details of volumes that commands show.

use icecore::Result;
use icecore::repository::Repository;
use icecore::volume::VolumeInfo;
use icecore_host::control;

use crate::app::App;
use crate::commands::label_pairs;
use crate::commands::title;
use crate::json;
use crate::ui;
use crate::units;

/// A volume, and details that are not in its record.
pub(crate) struct Details {
    /// The content of its record.
    pub(crate) info: VolumeInfo,
    /// Bytes written since its base; none if its map is unreadable.
    pub(crate) written_bytes: Option<u64>,
    /// Whether a process serves it.
    pub(crate) served: bool,
}

/// Collects the details of a volume.
pub(crate) fn details(app: &App, repo: &Repository, info: VolumeInfo) -> Result<Details> {
    let written_bytes = icecore::volume::written_bytes(repo, &info.name).ok();
    let served = control::is_served(&app.volume_dir(repo, &info.name)?);
    Ok(Details { info, written_bytes, served })
}

impl Details {
    /// Returns the volume as JSON.
    pub(crate) fn json(&self) -> json::Volume {
        json::Volume::new(&self.info, self.written_bytes, self.served)
    }

    fn written(&self) -> String {
        self.written_bytes.map_or_else(|| "unknown".to_owned(), units::bytes)
    }
}

/// Returns a table of volumes.
pub(crate) fn table(volumes: &[Details], with_header: bool) -> String {
    let columns = [
        ui::Column::Text("Name"),
        ui::Column::Number("Size"),
        ui::Column::Number("Written"),
        ui::Column::Text("Base"),
        ui::Column::Text("Created"),
        ui::Column::Text("Type"),
        ui::Column::Text("Served"),
    ];
    let row = |volume: &Details| {
        let info = &volume.info;
        vec![
            info.name.clone(),
            units::bytes(info.size_bytes),
            volume.written(),
            info.base.as_ref().map_or_else(String::new, |base| base.name.clone()),
            units::time_for_people(info.created_unix_ms),
            info.kind.as_str().to_owned(),
            if volume.served { "yes" } else { "no" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = volumes.iter().map(row).collect();
    ui::table(&columns, &rows, with_header)
}

/// Returns all details of a volume.
pub(crate) fn lines(volume: &Details) -> String {
    let info = &volume.info;
    let snapshot =
        |snapshot: &Option<icecore::snapshot::Snapshot>| snapshot.as_ref().map_or("none".to_owned(), title);
    let size = format!("{} ({} bytes)", units::bytes(info.size_bytes), info.size_bytes);
    let known = [
        ("ID", info.id.to_string()),
        ("Name", info.name.clone()),
        ("Created", units::time_for_people(info.created_unix_ms)),
        ("Type", info.kind.as_str().to_owned()),
        ("Size", size),
        ("Origin", snapshot(&info.origin)),
        ("Base", snapshot(&info.base)),
        ("Written", format!("{}, since the base", volume.written())),
        ("Served", if volume.served { "yes" } else { "no" }.to_owned()),
    ];
    ui::pairs(0, &[known.to_vec(), label_pairs(&info.labels)].concat())
}
