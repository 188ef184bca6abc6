//! Writes to a restore's target and syncs it on the way, so that the medium works while more data
//! is fetched.

use crate::verbs::restore::assemble::ProvenWindow;
use crate::verbs::restore::in_place::make_zero;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::pool::start;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::sync::mpsc;
use crate::words::sync::thread;
use crate::world::io::WriteAt;

/// Bytes written between two syncs.
const SYNC_BYTES: u64 = 128 << 20;
/// The most bytes written by one call.
const WRITE_BYTES_MAX: usize = 4 << 20;

/// The target of checked windows.
pub(super) struct Output<'a> {
    target: &'a dyn WriteAt,
    image_bytes: u64,
    /// Whether unavailable ranges must be zeroed, because the target may hold something else there.
    clears: bool,
    written_bytes: u64,
    zeroed_bytes: u64,
    to_syncer: mpsc::SyncSender<()>,
}

impl Output<'_> {
    /// Calls `work` with an output to `target`. Returns its result, the bytes written, and the
    /// bytes zeroed because they are unavailable.
    ///
    /// # Errors
    /// Those of `work` and of syncing. The medium reports an error to one sync only, so every
    /// sync's error is passed on.
    pub(super) fn with<T>(
        target: &dyn WriteAt,
        image_bytes: u64,
        clears: bool,
        work: impl FnOnce(&mut Output<'_>) -> Result<T>,
    ) -> Result<(T, u64, u64)> {
        let (to_syncer, calls) = mpsc::sync_channel(1);
        thread::scope(|threads| {
            let syncing = start(threads, move || calls.into_iter().try_for_each(|()| target.sync()))?;
            let mut output =
                Output { target, image_bytes, clears, written_bytes: 0, zeroed_bytes: 0, to_syncer };
            let done = work(&mut output);
            let Output { written_bytes, zeroed_bytes, to_syncer, .. } = output;
            drop(to_syncer);
            let synced = syncing.join().map_err(|_| Error::worker_lost())?;
            let done = done?;
            synced.map_err(|error| Error::io("syncing the target", error))?;
            Ok((done, written_bytes, zeroed_bytes))
        })
    }

    /// Writes the blocks that were fetched for a window, and zeros for unavailable ones.
    pub(super) fn write(&mut self, proven: &ProvenWindow) -> Result<()> {
        for lost in proven.window.lost.iter().filter(|_| self.clears) {
            let upto = lost.range.end.min(self.image_bytes);
            self.zeroed_bytes += make_zero(self.target, lost.range.start.min(upto)..upto)?;
        }
        for run in proven.window.runs() {
            // A short last block is stored padded with zeros.
            let inside = to_usize(self.image_bytes.saturating_sub(run.offset)).min(run.at.len());
            let bytes = proven.buffer.bytes(run.at.start..run.at.start + inside);
            self.make_room(run.offset, bytes.len())?;
            for (bytes, offset) in bytes.chunks(WRITE_BYTES_MAX).zip((run.offset..).step_by(WRITE_BYTES_MAX))
            {
                self.write_at(offset, bytes)?;
            }
        }
        Ok(())
    }

    fn make_room(&self, offset: u64, bytes: usize) -> Result<()> {
        self.target.will_write(offset..offset + to_u64(bytes)).map_err(|error| failed(offset, error))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.target.write_at(offset, bytes).map_err(|error| failed(offset, error))?;
        let before = self.written_bytes;
        self.written_bytes += to_u64(bytes.len());
        if before / SYNC_BYTES != self.written_bytes / SYNC_BYTES {
            // If a sync is already due, or the syncer has failed, there is nothing to add.
            let _ = self.to_syncer.try_send(());
        }
        Ok(())
    }
}

fn failed(offset: u64, error: std::io::Error) -> Error {
    Error::io(format!("writing the target at offset {offset}"), error)
}
