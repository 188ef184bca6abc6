//! Writes to the target of a restore, and has it synced meanwhile: the medium works while more is fetched.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::io::WriteAt;

/// Bytes that are written between two syncs.
const SYNC_BYTES: u64 = 128 << 20;

/// The target, where proven blocks go.
pub(crate) struct Output<'a> {
    target: &'a dyn WriteAt,
    image_bytes: u64,
    written: AtomicU64,
    to_syncer: mpsc::SyncSender<()>,
}

impl Output<'_> {
    /// Calls `work` with an output onto `target`. Returns what it returns, and how many bytes were written.
    ///
    /// # Errors
    /// Those of `work`, and those of syncing: an error of the medium is told to one sync only, so none is passed over.
    pub(crate) fn with<T>(
        target: &dyn WriteAt,
        image_bytes: u64,
        work: impl FnOnce(&Output<'_>) -> Result<T>,
    ) -> Result<(T, u64)> {
        let (to_syncer, calls) = mpsc::sync_channel(1);
        std::thread::scope(|threads| {
            let syncing = threads.spawn(move || calls.into_iter().try_for_each(|()| target.sync()));
            let output = Output { target, image_bytes, written: AtomicU64::new(0), to_syncer };
            let done = work(&output);
            let Output { written, to_syncer, .. } = output;
            drop(to_syncer);
            let synced = syncing.join().map_err(|_| Error::worker_lost())?;
            let done = done?;
            synced.map_err(|error| Error::io("syncing the target", error))?;
            Ok((done, written.into_inner()))
        })
    }

    /// Tells the target what will be written, so that it can take room for it.
    pub(crate) fn will_write(&self, ranges: impl Iterator<Item = Range<u64>>) -> Result<()> {
        for range in ranges {
            let (start, end) = (range.start, range.end.min(self.image_bytes));
            self.target
                .will_write(start..end)
                .map_err(|error| Error::io(format!("taking room for bytes {start} to {end}"), error))?;
        }
        Ok(())
    }

    /// Writes bytes of the image. Called from many threads.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        // A short last block is stored with zeros behind it.
        let bytes = &bytes[..bytes.len().min(to_usize(self.image_bytes.saturating_sub(offset)))];
        self.target
            .write_at(offset, bytes)
            .map_err(|error| Error::io(format!("writing the target at offset {offset}"), error))?;
        let before = self.written.fetch_add(to_u64(bytes.len()), Ordering::Relaxed);
        if before / SYNC_BYTES != (before + to_u64(bytes.len())) / SYNC_BYTES {
            // Where a sync is due already, or the syncer has failed, there is nothing to add.
            let _ = self.to_syncer.try_send(());
        }
        Ok(())
    }
}
