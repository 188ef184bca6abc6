//! Takes a snapshot of a volume in use. Reads only the blocks written since the last one.

use crate::repository::refill_reserve;
use crate::verbs::capture::CaptureOptions;
use crate::verbs::capture::CaptureReport;
use crate::verbs::capture::Changed;
use crate::verbs::capture::Dating;
use crate::verbs::capture::Ending;
use crate::verbs::capture::VolumeSnapshotOptions;
use crate::verbs::capture::capture_changed;
use crate::verbs::catalog::check_name_is_free;
use crate::views::sealing::Frozen;
use crate::views::volume::Volume;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::next_step::NextStep;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sync::thread;
use crate::words::time::check_time;

/// A progress that also cancels a capture when a write to the volume needs the space.
struct GivesWay<'a> {
    volume: &'a Volume,
    number: u64,
    progress: &'a dyn Progress,
}

impl Progress for GivesWay<'_> {
    fn total(&self, meter: Meter, total: u64) {
        self.progress.total(meter, total);
    }

    fn advance(&self, meter: Meter, amount: u64) {
        self.progress.advance(meter, amount);
    }

    fn cancelled(&self) -> bool {
        self.volume.is_in_the_way(self.number) || self.progress.cancelled()
    }
}

/// Takes a snapshot of a volume as it is at this moment, while others read and write it. When it
/// returns, the snapshot survives a power cut and contains all earlier writes. They have also left
/// the overlay, unless there was no room to record that.
///
/// # Errors
/// Those of `capture`; also `NoSpace` if a write to the volume needed the space that the snapshot
/// took. The volume is then as before, and the next snapshot includes everything that this one
/// would have.
pub fn snapshot_volume(
    volume: &Volume,
    options: &VolumeSnapshotOptions,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    check_time(options.created_unix_ms)?;
    let _alone = volume.one_snapshot();
    let repo = volume.repo();
    // A snapshot's name and time show that it is of this volume and not of an earlier one with the
    // same name.
    let time = options.created_unix_ms.max(volume.created_unix_ms());
    let options = CaptureOptions::of_volume(options, time, volume.kind(), volume.name());
    if !options.name_may_repeat {
        check_name_is_free(&*repo.catalog()?, &options.draft())?;
    }
    // Checked before the seal, which replaces the volume's record.
    repo.check_writable()?;
    let frozen = volume.freeze()?;
    let report = match take(volume, &frozen, &options, progress) {
        Ok(report) => report,
        Err(error) => {
            volume.thaw();
            return Err(error);
        }
    };
    if frozen.has_changed() {
        volume.fold(&frozen, options.id)?;
    } else {
        volume.thaw();
    }
    // The overlay files have lost their names, and lose their content when they are closed. With
    // many holes that can take a file system seconds, and nobody needs to wait for it. If no thread
    // can be started, they are closed here.
    drop(thread::Builder::new().spawn(move || drop(frozen)));
    // A flush may have used the reserve.
    refill_reserve(repo.files());
    Ok(report)
}

fn take(
    volume: &Volume,
    frozen: &Frozen,
    options: &CaptureOptions,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    let mut changed = Changed::default();
    for range in frozen.image.changed_spans() {
        changed.add(range)?;
    }
    let progress = GivesWay { volume, number: frozen.number, progress };
    // The snapshot becomes the base if there is anything to fold into it.
    let standing = frozen.has_changed().then(|| volume.standing());
    let (base, ending) = (frozen.base.as_ref(), Ending { dating: Dating::AfterNewest, volume: standing });
    let taken = capture_changed(volume.repo(), &frozen.image, base, &changed, options, &ending, &progress);
    taken.map_err(|error| match error.kind() {
        ErrorKind::Interrupted if volume.is_in_the_way(frozen.number) => {
            let message = format!("writes to volume {} need the remaining space", volume.name());
            Error::new(ErrorKind::NoSpace, message).with_hint(NextStep::FreeSpaceForSnapshot)
        }
        _ => error,
    })
}
