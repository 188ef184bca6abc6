//! Restore: a snapshot becomes an image again.

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

/// Where a restore writes.
pub enum RestoreTo<'a> {
    /// A target that reads as zeros everywhere, as a new sparse file does.
    Fresh(&'a dyn WriteAt),
    /// A target that has anything. It is read, and only what differs is written.
    InPlace(&'a dyn WriteAt),
    /// A stream: all of the image, from its first byte to its last, zeros included.
    Stream(&'a mut (dyn Write + Send)),
}

/// What a restore does where stored data is damaged or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDamage {
    /// It ends with an error.
    Stop,
    /// It writes all that is good, and tells what is not in [`RestoreReport::bad`]: bad ranges are
    /// zeros in the target, whatever was there before. But blocks that a target restored [in
    /// place](RestoreTo::InPlace) has already, and that are proven to be the snapshot's, stay and
    /// are not bad.
    GoOn,
}

/// Writes a snapshot's image. A target must be at least as long; what it has beyond the image
/// becomes zero. Everything is verified before it is written. What was written last to a target is
/// not synced when this returns.
///
/// # Errors
/// `InvalidInput` if the target is too small; `Corrupt` with snapshot, byte range, chunk and pack
/// if stored data is damaged, unless it is to go on; what a stream got before an error is right.
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

    /// Adds to a report what all restores tell. Packs that had to be read through parity are put
    /// back in order; a repository that cannot be written stays as it is.
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
