//! Diff: the byte ranges that differ between two snapshots.

use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::live_records::name_snapshot;
use crate::stores::live_records::pinned;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::manifest::cursor::Pair;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::NodeDigest;
use crate::words::ids::SnapshotId;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::units::LeafNumber;

/// The content of a changed range in the second snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Data that differs from the first.
    Data,
    /// Zeros, where the first has data.
    Zero,
    /// Nothing: the second image is shorter.
    Gone,
}

/// A range that differs. Ranges come in order, do not overlap, and are as long as they can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// The content in the second snapshot.
    pub change: Change,
}

/// The totals of a diff, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffTotals {
    /// Ranges.
    pub ranges: u64,
    /// Bytes with other data.
    pub data_bytes: u64,
    /// Bytes that became zero.
    pub zero_bytes: u64,
    /// Bytes beyond the end of the second image that had data or zeros in the first.
    pub gone_bytes: u64,
    /// Manifest pages that were read.
    pub pages_read: u64,
}

/// Calls `each` for every range that differs between the images of two snapshots, in steps of 4 KiB
/// blocks, and returns the totals. Reads only manifest pages that differ, and no data.
///
/// If the second image is longer than the first, everything beyond the end of the first is new:
/// data there is [`Change::Data`], and zeros are [`Change::Zero`].
///
/// # Errors
/// `NotFound` if a snapshot does not exist; `Corrupt`, with the snapshot, if its manifest or its
/// chunks cannot be found; whatever `each` returns.
pub fn diff(
    repo: &Repository,
    from: SnapshotId,
    to: SnapshotId,
    each: &mut dyn FnMut(ChangedRange) -> Result<()>,
) -> Result<DiffTotals> {
    let (_pin, from) = pinned(&repo.store, from)?;
    let (_pin_too, to) = pinned(&repo.store, to)?;
    let ranges = Ranges { last: None, totals: DiffTotals::default(), each };
    let mut differ = Differ { store: &repo.store, from: &from, to: &to, ranges };
    differ.pages()?;
    let mut ranges = differ.ranges;
    ranges.push(to.size_bytes..from.size_bytes, Change::Gone)?;
    ranges.flush()?;
    Ok(ranges.totals)
}

/// A collector that joins adjacent ranges and counts them.
struct Ranges<'a> {
    last: Option<ChangedRange>,
    totals: DiffTotals,
    each: &'a mut dyn FnMut(ChangedRange) -> Result<()>,
}

impl Ranges<'_> {
    fn push(&mut self, range: Range<u64>, change: Change) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let bytes = range.end - range.start;
        match &mut self.last {
            Some(last) if last.change == change && last.offset + last.bytes == range.start => {
                last.bytes += bytes;
            }
            _ => {
                self.flush()?;
                self.last = Some(ChangedRange { offset: range.start, bytes, change });
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let Some(range) = self.last.take() else { return Ok(()) };
        self.totals.ranges += 1;
        let sum = match range.change {
            Change::Data => &mut self.totals.data_bytes,
            Change::Zero => &mut self.totals.zero_bytes,
            Change::Gone => &mut self.totals.gone_bytes,
        };
        *sum += range.bytes;
        (self.each)(range)
    }
}

struct Differ<'a> {
    store: &'a Store,
    from: &'a Record,
    to: &'a Record,
    ranges: Ranges<'a>,
}

impl Differ<'_> {
    fn pages(&mut self) -> Result<()> {
        let records = [self.from, self.to];
        let mut pages = Pair(records.map(|record| Cursor::new(self.store, Node::root(record))));
        let mut done = 0;
        while let Some(nodes) = pages.next() {
            let [from, to] = nodes;
            let Some(node) = from.or(to) else { break };
            let range = node.range(self.to.size_bytes);
            if range.is_empty() {
                break;
            }
            // Neither image has data before it.
            self.ranges.push(self.added(&(done..range.start)), Change::Zero)?;
            done = range.end;
            // Equal content can be stored in different ways, so pages with different ids need not
            // differ.
            let equal = from.map(|node| node.page.content) == to.map(|node| node.page.content);
            if equal && self.added(&range).is_empty() {
                continue;
            }
            let mut read = |side: usize| -> Result<Option<Leaf>> {
                let Some(node) = &nodes[side] else { return Ok(None) };
                self.ranges.totals.pages_read += 1;
                pages.0[side].read(node).map_err(|error| name_snapshot(records[side], error))
            };
            let leaves = [read(0)?, read(1)?];
            match node.level {
                0 => self.leaves(leaves[0].as_ref(), leaves[1].as_ref(), node.first_leaf())?,
                _ => done = range.start,
            }
        }
        self.ranges.push(self.added(&(done..self.to.size_bytes)), Change::Zero)
    }

    fn leaves(&mut self, from: Option<&Leaf>, to: Option<&Leaf>, number: LeafNumber) -> Result<()> {
        let spans = |leaf: Option<&Leaf>| leaf.map_or([NodeDigest::ZERO; LEAF_SPANS], Leaf::span_digests);
        let (from_spans, to_spans) = (spans(from), spans(to));
        let mut sides = [Side::new(self.store, self.from, from), Side::new(self.store, self.to, to)];
        for span in 0..LEAF_SPANS {
            let equal = from_spans[span] == to_spans[span];
            if equal && self.added(&number.span(span)).is_empty() {
                continue;
            }
            for block in span * SPAN_BLOCKS..(span + 1) * SPAN_BLOCKS {
                self.block(number.block(block), block, !equal, &mut sides)?;
            }
        }
        Ok(())
    }

    /// Returns the part of a range that only the second image reaches.
    fn added(&self, range: &Range<u64>) -> Range<u64> {
        let start = range.start.max(self.from.size_bytes);
        start..range.end.min(self.to.size_bytes).max(start)
    }

    fn block(
        &mut self,
        range: Range<u64>,
        block: usize,
        may_differ: bool,
        sides: &mut [Side<'_>; 2],
    ) -> Result<()> {
        let [from, to] = sides;
        let change = if to.places[block].is_some() { Change::Data } else { Change::Zero };
        if may_differ && from.differs(to, block)? {
            let both = self.from.size_bytes.min(self.to.size_bytes);
            self.ranges.push(range.start..range.end.min(both), change)?;
        }
        let added = self.added(&range);
        self.ranges.push(added, change)
    }
}

/// A leaf of one of the images.
struct Side<'a> {
    store: &'a Store,
    record: &'a Record,
    chunks: &'a [ChunkId],
    /// The places of the leaf's blocks.
    places: Vec<Option<(u16, u8)>>,
    /// The last chunk that was looked up, with its number in the leaf's table.
    located: Option<(u16, Located)>,
}

impl<'a> Side<'a> {
    fn new(store: &'a Store, record: &'a Record, leaf: Option<&'a Leaf>) -> Self {
        let places = leaf.map_or_else(|| vec![None; LEAF_BLOCKS], |leaf| leaf.places().collect());
        let chunks = leaf.map_or([].as_slice(), |leaf| leaf.chunks.as_slice());
        Self { store, record, chunks, places, located: None }
    }

    /// Tells whether a block differs from the one on the other side.
    fn differs(&mut self, other: &mut Side<'_>, block: usize) -> Result<bool> {
        let (Some(place), Some(other_place)) = (self.places[block], other.places[block]) else {
            return Ok(self.places[block].is_some() != other.places[block].is_some());
        };
        let at = |side: &Side<'_>, (chunk, slot): (u16, u8)| (side.chunks[usize::from(chunk)], slot);
        if at(self, place) == at(other, other_place) {
            return Ok(false);
        }
        Ok(self.block_id(place)? != other.block_id(other_place)?)
    }

    fn block_id(&mut self, (chunk, slot): (u16, u8)) -> Result<BlockId> {
        let id = self.chunks[usize::from(chunk)];
        let located = match self.located.take().filter(|(known, _)| *known == chunk) {
            Some((_, located)) => located,
            None => self.store.need_chunk(&id).map_err(|error| name_snapshot(self.record, error))?,
        };
        let (_, located) = self.located.insert((chunk, located));
        let found = located.pack.block_id(&located.entry, slot);
        found.ok_or_else(|| {
            name_snapshot(self.record, Error::corrupt(format!("chunk {id} has no slot {slot}")))
        })
    }
}
