//! Restores window by window: one is put together in memory and proven on all cores while the one before it is written.

use crate::format::record::Record;
use crate::repository::Repository;
use crate::verbs::restore::canvas::Canvas;
use crate::verbs::restore::fetch::fetch;
use crate::verbs::restore::report::BadRanges;
use crate::verbs::restore::report::Collector;
use crate::verbs::restore::window::Window;
use crate::verbs::restore::window::each_window;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::pool::start;
use crate::words::progress::Progress;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::to_usize;
use crate::words::sync::mpsc;
use crate::words::sync::thread;

/// Leaves (4 MiB each) that are put together at once. Within them every chunk is decoded once: on real images, 64 times as
/// many would save 0.5 to 12 % of the decoding, and take that much more memory than 32 MiB.
const WINDOW_LEAVES: usize = 8;
/// Windows in memory: one that is put together, and one that is written.
const CANVASES: usize = 2;

/// A window whose bytes are all there, and proven.
pub(super) struct Painted {
    pub(super) window: Window,
    pub(super) canvas: Canvas,
}

/// What came of painting an image.
pub(super) struct Painting {
    pub(super) stored_bytes_read: u64,
    /// What could not be had, where that is no error.
    pub(super) bad: BadRanges,
}

/// Goes through an image window by window. `prepare` may take away pieces that need not be fetched, on the calling thread;
/// `write` gets what was proven, in order, on a thread of its own. With `keep_going`, what cannot be had is
/// left out of the windows, and told.
pub(super) fn paint(
    repo: &Repository,
    record: &Record,
    keep_going: bool,
    progress: &dyn Progress,
    prepare: impl FnMut(&mut Window) -> Result<()>,
    write: impl FnMut(&mut Painted) -> Result<()> + Send,
) -> Result<Painting> {
    let shortages = repo.base().shortages.count();
    let painting = paint_windows(repo, record, keep_going, progress, prepare, write);
    if painting.as_ref().map_or(true, |painting| painting.bad.bytes > 0) {
        // What could not be read for want of descriptors or memory is not damaged.
        repo.base().shortages.check(shortages)?;
    }
    painting
}

fn paint_windows(
    repo: &Repository,
    record: &Record,
    keep_going: bool,
    progress: &dyn Progress,
    mut prepare: impl FnMut(&mut Window) -> Result<()>,
    mut write: impl FnMut(&mut Painted) -> Result<()> + Send,
) -> Result<Painting> {
    let leaves = to_usize(record.size_bytes.div_ceil(LEAF_U64)).min(WINDOW_LEAVES);
    let (to_writer, painted) = mpsc::sync_channel::<Painted>(CANVASES);
    let (give_back, free) = mpsc::sync_channel::<Canvas>(CANVASES);
    thread::scope(|threads| {
        let writing = start(threads, move || {
            painted.into_iter().try_for_each(|mut painted| {
                write(&mut painted)?;
                // Nobody takes it any more where there are no more windows.
                let _ = give_back.send(painted.canvas);
                Ok(())
            })
        })?;
        let (mut made, mut stored_bytes_read) = (0, 0);
        let mut bad = Collector::new(record.size_bytes);
        let painting = each_window(repo, record, WINDOW_LEAVES, keep_going, |mut window| {
            prepare(&mut window)?;
            let mut canvas = if made < CANVASES {
                made += 1;
                Canvas::new(leaves)?
            } else {
                free.recv().map_err(|_| Error::worker_lost())?
            };
            let wet = canvas.wet();
            stored_bytes_read +=
                fetch(&repo.store, &mut window, &|piece, bytes| wet.put(piece, bytes), progress)?;
            window.prove(&repo.base().hasher)?;
            window.lost_regions.iter().for_each(|lost| bad.add_region(lost.range.clone(), &lost.problem));
            window.lost.iter().for_each(|lost| bad.add(lost.range.clone(), &lost.problem));
            to_writer.send(Painted { window, canvas }).map_err(|_| Error::worker_lost())
        });
        drop(to_writer);
        // Where writing failed, its error is the cause of the other.
        writing.join().map_err(|_| Error::worker_lost())??;
        painting?;
        Ok(Painting { stored_bytes_read, bad: bad.finish() })
    })
}
