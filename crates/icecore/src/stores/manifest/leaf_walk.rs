//! Goes through the leaves of a manifest, which several threads read.

use rayon::iter::IntoParallelRefIterator;
use rayon::iter::ParallelIterator;

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::live_records::name_snapshot;
use crate::stores::manifest::load_inner;
use crate::stores::manifest::load_leaf;
use crate::stores::manifest::walk::bytes_below;
use crate::words::error::Result;
use crate::words::sizes::tree_height;

/// How many leaves are read at a time.
const BATCH: usize = 256;

/// Calls `each` with the leaves of a snapshot's manifest, in the order of the image, each with the offset in the image where it begins.
/// Pages that `wants` refuses are not read, nor what is below them; it is asked before `each` gets the leaves that come before.
///
/// # Errors
/// `Corrupt`, with the snapshot, if a page is missing or damaged; whatever `each` returns.
pub(crate) fn each_leaf(
    store: &Store,
    record: &Record,
    wants: &mut dyn FnMut(&PageRef) -> bool,
    each: &mut dyn FnMut(u64, &Leaf) -> Result<()>,
) -> Result<()> {
    let Some(root) = record.root else { return Ok(()) };
    let mut leaves = Leaves { store, wants, each, batch: Vec::with_capacity(BATCH) };
    let done = leaves.visit(root, tree_height(record.size_bytes), 0).and_then(|()| leaves.read());
    done.map_err(|error| name_snapshot(record, error))
}

struct Leaves<'a> {
    store: &'a Store,
    wants: &'a mut dyn FnMut(&PageRef) -> bool,
    each: &'a mut dyn FnMut(u64, &Leaf) -> Result<()>,
    /// Those that were found and not yet read.
    batch: Vec<(u64, PageRef)>,
}

impl Leaves<'_> {
    fn visit(&mut self, page: PageRef, level: u32, offset: u64) -> Result<()> {
        if !(self.wants)(&page) {
            return Ok(());
        }
        if level == 0 {
            self.batch.push((offset, page));
            return if self.batch.len() < BATCH { Ok(()) } else { self.read() };
        }
        let inner = load_inner(self.store, &page.id, level)?;
        inner.children().try_for_each(|(at, child)| {
            let begin = at.saturating_mul(bytes_below(level - 1));
            self.visit(child, level - 1, offset.saturating_add(begin))
        })
    }

    fn read(&mut self) -> Result<()> {
        let store = self.store;
        let read = self.batch.par_iter().map(|(_, page)| load_leaf(store, &page.id));
        let leaves = read.collect::<Result<Vec<Leaf>>>()?;
        let offsets = self.batch.iter().map(|(offset, _)| *offset);
        let done = offsets.zip(&leaves).try_for_each(|(offset, leaf)| (self.each)(offset, leaf));
        self.batch.clear();
        done
    }
}
