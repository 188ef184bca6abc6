//! All that a repository keeps beside some of its snapshots.

use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::fence::Pin;
use crate::stores::records;
use crate::stores::volumes;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;

/// Calls `each` with every snapshot but those of `except`, pinned meanwhile, and with what volumes stand on that is no snapshot any more.
/// What is deleted meanwhile is left out.
///
/// # Errors
/// `Corrupt` if a record cannot be read; whatever `each` returns.
pub(crate) fn each_other(
    store: &Store,
    except: &[SnapshotId],
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<()> {
    let snapshots = records::load_all_sound(&store.base)?;
    for id in snapshots.iter().map(|record| record.id).filter(|id| !except.contains(id)) {
        let _pin = Pin::take(&store.base, id)?;
        match records::load(&store.base, id) {
            Ok(record) => each(&record)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let is_snapshot = |id| snapshots.iter().any(|record| record.id == id);
    for record in volumes::all_that_is_kept(&store.base)? {
        if except.contains(&record.id) || is_snapshot(record.id) {
            continue;
        }
        // It has no pin, and goes when its volume needs it no longer.
        let Err(error) = each(&record) else { continue };
        if volumes::all_that_is_kept(&store.base)?.iter().any(|kept| kept.id == record.id) {
            return Err(error);
        }
    }
    Ok(())
}
