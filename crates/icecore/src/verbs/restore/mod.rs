//! Restore: a snapshot becomes an image again.

pub(crate) mod bad;
mod canvas;
mod fetch;
mod in_place;
mod output;
mod paint;
mod report;
mod stream;
mod window;

use std::io::Write;

use crate::repository::Repository;
use crate::stores::pinned::pinned;
pub use crate::verbs::restore::bad::BadRange;
pub use crate::verbs::restore::bad::BadRanges;
use crate::verbs::restore::in_place::compare;
use crate::verbs::restore::in_place::make_zero;
use crate::verbs::restore::output::Output;
use crate::verbs::restore::paint::paint;
pub use crate::verbs::restore::report::RestoreReport;
use crate::verbs::restore::stream::Stream;
use crate::verbs::restore::stream::failed;
use crate::verbs::restore::window::Window;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::world::io::WriteAt;

/// What the target of a restore holds before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreMode {
    /// Nothing: it reads as zeros everywhere, as a new sparse file does.
    Fresh,
    /// Anything. It is read, and only what differs is written.
    InPlace,
}

/// Writes a snapshot's image to `target`, which must be at least as long; what it has beyond the image becomes zero.
/// Everything is verified before it is written. What was written last is not synced when this returns.
///
/// # Errors
/// `InvalidInput` if the target is too small; `Corrupt` with snapshot, byte range, chunk and pack if stored data is damaged.
pub fn restore(
    repo: &Repository,
    from: SnapshotId,
    target: &dyn WriteAt,
    mode: RestoreMode,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    to_target(repo, from, target, mode, false, progress).map(|(report, _)| report)
}

/// As [`restore`], and goes on where stored data is damaged or missing: writes all that is good, and returns what is not.
/// Bad ranges are zeros in the target afterwards, whatever was there before; but blocks that a target restored
/// [in place](RestoreMode::InPlace) has already, and that are proven to be the snapshot's, stay and are not bad.
///
/// # Errors
/// As [`restore`], without those for what is damaged below the snapshot's record.
pub fn restore_keep_going(
    repo: &Repository,
    from: SnapshotId,
    target: &dyn WriteAt,
    mode: RestoreMode,
    progress: &dyn Progress,
) -> Result<(RestoreReport, BadRanges)> {
    to_target(repo, from, target, mode, true, progress)
}

fn to_target(
    repo: &Repository,
    from: SnapshotId,
    target: &dyn WriteAt,
    mode: RestoreMode,
    keep_going: bool,
    progress: &dyn Progress,
) -> Result<(RestoreReport, BadRanges)> {
    let (_pin, record) = pinned(&repo.store, from)?;
    let image_bytes = record.size_bytes;
    if target.len() < image_bytes {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the target has {} bytes and snapshot {from} needs {image_bytes}", target.len()),
        )
        .with_hint("choose a larger target"));
    }
    progress.total(Meter::Restored, record.stats.data_bytes);
    let mut report =
        RestoreReport { image_bytes, data_bytes: record.stats.data_bytes, ..RestoreReport::default() };
    let in_place = mode == RestoreMode::InPlace;
    let prepare = |window: &mut Window| {
        if in_place {
            let (kept_bytes, zeroed_bytes) = compare(&repo.store, window, target, image_bytes, progress)?;
            report.kept_bytes += kept_bytes;
            report.zeroed_bytes += zeroed_bytes;
        }
        Ok(())
    };
    let (painting, written_bytes, zeroed_bytes) = Output::with(target, image_bytes, in_place, |output| {
        paint(repo, &record, keep_going, progress, prepare, |painted| output.write(painted))
    })?;
    report.zeroed_bytes += zeroed_bytes;
    if in_place {
        report.zeroed_bytes += make_zero(target, image_bytes..target.len())?;
    }
    let (stored_bytes_read, packs_healed) = (painting.stored_bytes_read, heal(repo));
    let report = RestoreReport { stored_bytes_read, written_bytes, packs_healed, ..report };
    Ok((report, painting.bad))
}

/// Writes a snapshot's image to `out`, from its first byte to its last, zeros included.
///
/// # Errors
/// As [`restore`]; what was written before an error is right.
pub fn restore_stream(
    repo: &Repository,
    from: SnapshotId,
    out: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    to_stream(repo, from, out, false, progress).map(|(report, _)| report)
}

/// As [`restore_stream`], and goes on where stored data is damaged or missing: writes zeros for it, and returns what is bad.
///
/// # Errors
/// As [`restore_keep_going`].
pub fn restore_stream_keep_going(
    repo: &Repository,
    from: SnapshotId,
    out: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<(RestoreReport, BadRanges)> {
    to_stream(repo, from, out, true, progress)
}

fn to_stream(
    repo: &Repository,
    from: SnapshotId,
    out: &mut (dyn Write + Send),
    keep_going: bool,
    progress: &dyn Progress,
) -> Result<(RestoreReport, BadRanges)> {
    let (_pin, record) = pinned(&repo.store, from)?;
    let image_bytes = record.size_bytes;
    progress.total(Meter::Restored, record.stats.data_bytes);
    let mut stream = Stream { out, image_bytes, progress, at: 0, leaf_bytes: 0 };
    let painting = paint(repo, &record, keep_going, progress, |_| Ok(()), |painted| stream.write(painted))?;
    let written_bytes = stream.leaf_bytes;
    out.flush().map_err(failed)?;
    let report = RestoreReport {
        image_bytes,
        data_bytes: record.stats.data_bytes,
        written_bytes,
        zeroed_bytes: image_bytes - written_bytes,
        stored_bytes_read: painting.stored_bytes_read,
        packs_healed: heal(repo),
        ..RestoreReport::default()
    };
    Ok((report, painting.bad))
}

/// Puts packs back in order that had to be read through parity. A repository that cannot be written stays as it is.
fn heal(repo: &Repository) -> u64 {
    if repo.check_writable().is_ok() { repo.store.heal() } else { 0 }
}
