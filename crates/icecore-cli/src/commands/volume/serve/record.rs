//! `icecore volume serve --record`.

use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::volume::Volume;
use icecore::volume::store_reads;

use crate::ui::Ui;
use crate::units;

/// Begins to record what is read of the snapshots below volumes.
///
/// # Errors
/// `InvalidInput` if there is none.
pub(super) fn begin(ui: Ui, volumes: &[Arc<Volume>]) -> Result<()> {
    let without: Vec<_> = volumes.iter().filter(|volume| !volume.record_reads()).collect();
    if without.len() == volumes.len() {
        let message = "there is nothing to record: no volume is served that was created from a snapshot";
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("name one, or create one with `icecore volume create NAME --snapshot SNAP`"));
    }
    for volume in without {
        ui.note(&format!("nothing is recorded of {}: it was not created from a snapshot", volume.name()));
    }
    Ok(())
}

/// Stores what was read. Returns whether all of it is stored.
pub(super) fn end(ui: Ui, volumes: &[Arc<Volume>]) -> bool {
    let mut all_stored = true;
    for volume in volumes {
        let name = volume.name();
        match store_reads(volume) {
            Ok(None) => {}
            Ok(Some(stored)) => {
                let rest = if stored.is_full { "; what was read after that is not recorded" } else { "" };
                ui.note(&format!(
                    "recorded the first reads of {name}: {} in {}{rest}",
                    units::bytes(stored.bytes),
                    units::count(stored.ranges, "part"),
                ));
            }
            Err(error) => {
                all_stored = false;
                ui.warn(&format!("what was read of {name} could not be recorded: {error}"));
            }
        }
    }
    all_stored
}
