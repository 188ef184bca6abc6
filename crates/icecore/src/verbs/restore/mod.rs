//! Restore: turns a snapshot into an image again.

mod assemble;
mod fetch;
mod in_place;
mod output;
pub(crate) mod report;
mod stream;
mod window;
mod window_buffer;

use std::io::Write;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::live_records::pinned;
use crate::verbs::restore::assemble::Assembled;
use crate::verbs::restore::assemble::assemble;
use crate::verbs::restore::in_place::compare;
use crate::verbs::restore::in_place::make_zero;
use crate::verbs::restore::output::Output;
pub use crate::verbs::restore::report::BadRange;
pub use crate::verbs::restore::report::BadRanges;
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

/// The output of a restore.
pub enum RestoreTo<'a> {
    /// A target that reads as zeros everywhere, such as a new sparse file.
    Fresh(&'a dyn WriteAt),
    /// A target with any content. It is read, and only differences are written.
    InPlace(&'a dyn WriteAt),
    /// A stream. It gets the whole image from first byte to last, zeros included.
    Stream(&'a mut (dyn Write + Send)),
}

/// The reaction of a restore to damaged or missing data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDamage {
    /// Stop with an error.
    Stop,
    /// Write everything that is good, and list the rest in [`RestoreReport::bad`]. Bad ranges
    /// become zeros in the target, whatever was there before. But a block that a target restored
    /// [in place](RestoreTo::InPlace) already has, and that is proven to be the snapshot's, stays
    /// and does not count as bad.
    GoOn,
}

/// Writes a snapshot's image. A target must be at least as long; anything beyond the image becomes
/// zero. All data is verified before it is written. The last writes to a target are not yet synced
/// when this returns.
///
/// # Errors
/// `InvalidInput` if the target is too small; `Corrupt` with snapshot, byte range, chunk and pack
/// if stored data is damaged, unless the restore is to go on. Everything that a stream got before
/// an error is right.
pub fn restore(
    repo: &Repository,
    from: SnapshotId,
    to: RestoreTo<'_>,
    damage: OnDamage,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let (_pin, record) = pinned(&repo.store, from)?;
    let job = Job { repo, record: &record, keep_going: damage == OnDamage::GoOn, progress };
    match to {
        RestoreTo::Fresh(target) => job.to_target(target, false),
        RestoreTo::InPlace(target) => job.to_target(target, true),
        RestoreTo::Stream(out) => job.to_stream(out),
    }
}

/// A restore.
struct Job<'a> {
    repo: &'a Repository,
    record: &'a Record,
    keep_going: bool,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn to_target(&self, target: &dyn WriteAt, in_place: bool) -> Result<RestoreReport> {
        let Self { repo, record, keep_going, progress } = *self;
        let image_bytes = record.size_bytes;
        if target.len() < image_bytes {
            let (has, id) = (target.len(), record.id);
            let message = format!("the target has {has} bytes, but snapshot {id} needs {image_bytes}");
            return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("choose a larger target"));
        }
        progress.total(Meter::Restored, record.stats.data_bytes);
        let (mut kept_bytes, mut zeroed_bytes) = (0, 0);
        let prepare = |window: &mut Window| {
            if in_place {
                let (kept, zeroed) = compare(&repo.store, window, target, image_bytes, progress)?;
                kept_bytes += kept;
                zeroed_bytes += zeroed;
            }
            Ok(())
        };
        let (assembled, written_bytes, zeroed_at_once) =
            Output::with(target, image_bytes, in_place, |output| {
                assemble(repo, record, keep_going, progress, prepare, |proven| output.write(proven))
            })?;
        zeroed_bytes += zeroed_at_once;
        if in_place {
            zeroed_bytes += make_zero(target, image_bytes..target.len())?;
        }
        let report = RestoreReport { written_bytes, kept_bytes, zeroed_bytes, ..RestoreReport::default() };
        Ok(self.report(assembled, report))
    }

    fn to_stream(&self, out: &mut (dyn Write + Send)) -> Result<RestoreReport> {
        let Self { repo, record, keep_going, progress } = *self;
        let image_bytes = record.size_bytes;
        progress.total(Meter::Restored, record.stats.data_bytes);
        let mut stream = Stream { out, image_bytes, progress, at: 0, leaf_bytes: 0 };
        let assembled =
            assemble(repo, record, keep_going, progress, |_| Ok(()), |proven| stream.write(proven))?;
        let written_bytes = stream.leaf_bytes;
        out.flush().map_err(failed)?;
        let zeroed_bytes = image_bytes - written_bytes;
        Ok(self.report(assembled, RestoreReport { written_bytes, zeroed_bytes, ..RestoreReport::default() }))
    }

    /// Adds the part common to all restores to a report. Repairs packs that had to be read through
    /// parity; a repository that is not writable stays as it is.
    fn report(&self, assembled: Assembled, report: RestoreReport) -> RestoreReport {
        RestoreReport {
            image_bytes: self.record.size_bytes,
            data_bytes: self.record.stats.data_bytes,
            stored_bytes_read: assembled.stored_bytes_read,
            packs_healed: if self.repo.check_writable().is_ok() {
                self.repo.store.write_back_rebuilt()
            } else {
                0
            },
            bad: assembled.bad,
            ..report
        }
    }
}
