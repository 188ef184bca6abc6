//! Restores window by window: all cores assemble and check one window in memory while the one
//! before is written.

use crate::format::record::Record;
use crate::repository::Repository;
use crate::verbs::restore::fetch::fetch;
use crate::verbs::restore::report::BadRanges;
use crate::verbs::restore::report::Collector;
use crate::verbs::restore::window::Window;
use crate::verbs::restore::window::each_window;
use crate::verbs::restore::window_buffer::WindowBuffer;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::pool::start;
use crate::words::progress::Progress;
use crate::words::sizes::leaf_count;
use crate::words::sizes::to_usize;
use crate::words::sync::mpsc;
use crate::words::sync::thread;

/// Leaves (4 MiB each) that are assembled at once. Within them each chunk is decoded once. On real
/// images, 64 times as many would save 0.5 to 12 % of the decoding and need that much more memory
/// than 32 MiB.
const WINDOW_LEAVES: usize = 8;
/// Windows in memory: one is assembled while the other is written.
const BUFFERS: usize = 2;

/// A window whose bytes are complete and checked.
pub(super) struct ProvenWindow {
    pub(super) window: Window,
    pub(super) buffer: WindowBuffer,
}

/// The result of going through an image.
pub(super) struct Assembled {
    pub(super) stored_bytes_read: u64,
    /// The ranges that could not be restored, if that is not an error.
    pub(super) bad: BadRanges,
}

/// Goes through an image window by window. `prepare` runs on the calling thread and may drop pieces
/// that need not be fetched. `write` gets the checked windows in order on its own thread. With
/// `keep_going`, unavailable ranges are left out of the windows and reported.
pub(super) fn assemble(
    repo: &Repository,
    record: &Record,
    keep_going: bool,
    progress: &dyn Progress,
    prepare: impl FnMut(&mut Window) -> Result<()>,
    write: impl FnMut(&mut ProvenWindow) -> Result<()> + Send,
) -> Result<Assembled> {
    let shortages = repo.files().place.shortages.count();
    let assembled = assemble_windows(repo, record, keep_going, progress, prepare, write);
    if assembled.as_ref().map_or(true, |assembled| assembled.bad.bytes > 0) {
        // A read that failed for want of descriptors or memory does not mean damage.
        repo.files().place.shortages.check(shortages)?;
    }
    assembled
}

fn assemble_windows(
    repo: &Repository,
    record: &Record,
    keep_going: bool,
    progress: &dyn Progress,
    mut prepare: impl FnMut(&mut Window) -> Result<()>,
    mut write: impl FnMut(&mut ProvenWindow) -> Result<()> + Send,
) -> Result<Assembled> {
    let leaves = to_usize(leaf_count(record.size_bytes)).min(WINDOW_LEAVES);
    let (to_writer, proven) = mpsc::sync_channel::<ProvenWindow>(BUFFERS);
    let (give_back, free) = mpsc::sync_channel::<WindowBuffer>(BUFFERS);
    thread::scope(|threads| {
        let writing = start(threads, move || {
            proven.into_iter().try_for_each(|mut proven| {
                write(&mut proven)?;
                // After the last window, nobody receives this.
                let _ = give_back.send(proven.buffer);
                Ok(())
            })
        })?;
        let (mut made, mut stored_bytes_read) = (0, 0);
        let mut bad = Collector::new(record.size_bytes);
        let assembled = each_window(repo, record, WINDOW_LEAVES, keep_going, |mut window| {
            prepare(&mut window)?;
            let mut buffer = if made < BUFFERS {
                made += 1;
                WindowBuffer::new(leaves)?
            } else {
                free.recv().map_err(|_| Error::worker_lost())?
            };
            let spans = buffer.spans();
            stored_bytes_read +=
                fetch(&repo.store, &mut window, &|piece, bytes| spans.put(piece, bytes), progress)?;
            window.prove(&repo.files().hasher)?;
            window.lost_regions.iter().for_each(|lost| bad.add_region(lost.range.clone(), &lost.problem));
            window.lost.iter().for_each(|lost| bad.add(lost.range.clone(), &lost.problem));
            to_writer.send(ProvenWindow { window, buffer }).map_err(|_| Error::worker_lost())
        });
        drop(to_writer);
        // If writing failed, its error caused the other one.
        writing.join().map_err(|_| Error::worker_lost())??;
        assembled?;
        Ok(Assembled { stored_bytes_read, bad: bad.finish() })
    })
}
