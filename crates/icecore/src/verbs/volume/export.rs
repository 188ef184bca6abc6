//! Exports a volume as an image.

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::to_usize;
use crate::words::units::LeafNumber;
use crate::world::io::ReadAt;
use crate::world::io::WriteAt;

/// Copies the content of a disk to a target that is all zeros. Holes stay holes. Returns the bytes
/// of data.
///
/// # Errors
/// `Io` if something cannot be read or written; `Interrupted` if `progress` says so.
pub fn export_volume(disk: &dyn ReadAt, target: &dyn WriteAt, progress: &dyn Progress) -> Result<u64> {
    progress.total(Meter::Restored, disk.len());
    let mut buffer = vec![0; LEAF_BYTES];
    let (mut at, mut data_bytes) = (0, 0);
    loop {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        let reading = |error| Error::io(format!("reading the volume at offset {at}"), error);
        let Some(data) = disk.next_data(at).map_err(reading)? else { break };
        let end = data.end.min(LeafNumber::of(data.start).range().end);
        let bytes = &mut buffer[..to_usize(end - data.start)];
        disk.read_at(data.start, bytes).map_err(reading)?;
        let writing = |error| Error::io(format!("writing the image at offset {}", data.start), error);
        target.write_at(data.start, bytes).map_err(writing)?;
        progress.advance(Meter::Restored, end - at);
        data_bytes += end - data.start;
        at = end;
    }
    progress.advance(Meter::Restored, disk.len() - at);
    Ok(data_bytes)
}
