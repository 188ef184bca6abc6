//! The parts of an image that a capture reads: everything but holes or, if the changes are known,
//! only the changed parts that are not holes.

use std::collections::VecDeque;
use std::ops::Range;

use crate::verbs::capture::changed::Changed;
use crate::verbs::capture::parent::Found;
use crate::verbs::capture::parent::ParentLeaf;
use crate::verbs::capture::parent::ParentReader;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::LEAF_SPANS;
use crate::words::units::LeafNumber;
use crate::world::io::ReadAt;

/// How far ahead of the hashing the kernel is asked to read.
const READ_AHEAD_BYTES: u64 = 16 << 20;
/// Data ranges that are counted exactly. With more, the total given to progress is an estimate.
const RANGES_COUNTED_MAX: usize = 1 << 16;
/// The mask with all spans of a leaf region.
pub(crate) const ALL_SPANS: u64 = u64::MAX;

/// A leaf region to scan.
pub(crate) struct Region {
    pub(crate) number: LeafNumber,
    /// A bit for each span to read, since it may not be a hole.
    pub(crate) mask: u64,
    /// A bit for each span that is known to equal the parent's. Those spans are then in the
    /// parent's leaf, or they are zero.
    pub(crate) kept: u64,
    pub(crate) parent: Option<ParentLeaf>,
    /// How many blocks of data the parent has in the spans that are not kept; none if that cannot
    /// be known. Counted only when a tree is patched.
    pub(crate) replaced_blocks: Option<u64>,
}

/// The regions of an image to scan, in order.
pub(crate) enum Regions<'a> {
    /// All regions with data.
    All { data: DataRegions<'a>, parent: Option<ParentReader<'a>> },
    /// Only the changed regions.
    Changed(ChangedRegions<'a>),
}

impl Regions<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<Region>> {
        match self {
            Self::Changed(changed) => changed.next(),
            Self::All { data, parent } => {
                let Some((number, mask)) = data.next()? else { return Ok(None) };
                let parent = parent.as_mut().and_then(|parent| parent.leaf(number));
                Ok(Some(Region { number, mask, kept: 0, parent, replaced_blocks: Some(0) }))
            }
        }
    }

    /// Tells whether a page of the parent could not be read.
    pub(crate) fn met_damage(&self) -> bool {
        match self {
            Self::All { parent, .. } => parent.as_ref().is_some_and(|parent| parent.met_damage),
            Self::Changed(changed) => changed.parent.as_ref().is_some_and(|parent| parent.met_damage),
        }
    }
}

/// The regions of an image that have changed since the parent.
pub(crate) struct ChangedRegions<'a> {
    image: &'a dyn ReadAt,
    changed: &'a Changed,
    parent: Option<ParentReader<'a>>,
    /// The regions before this one have been returned.
    at: LeafNumber,
}

impl<'a> ChangedRegions<'a> {
    pub(crate) fn new(image: &'a dyn ReadAt, changed: &'a Changed, parent: Option<ParentReader<'a>>) -> Self {
        Self { image, changed, parent, at: LeafNumber(0) }
    }

    fn next(&mut self) -> Result<Option<Region>> {
        while let Some((number, spans)) = self.changed.next(self.at) {
            let begin = number.offset();
            if begin >= self.image.len() {
                break;
            }
            let data =
                next_data(self.image, begin)?.map_or(LeafNumber(u64::MAX), |data| LeafNumber::of(data.start));
            if data > number {
                let of_parent = self.parent.as_mut().and_then(|parent| parent.next_number(number));
                let next = of_parent.map_or(data, |of_parent| of_parent.min(data));
                if next > number {
                    // Everything up to there is zero, and was before.
                    self.at = next;
                    continue;
                }
            }
            self.at = number.next();
            return self.region(number, spans).map(Some);
        }
        Ok(None)
    }

    fn region(&mut self, number: LeafNumber, spans: u64) -> Result<Region> {
        let found = match &mut self.parent {
            Some(parent) => parent.find(number)?,
            None => Found::Nothing,
        };
        // If the parent's leaf cannot be reused, the whole region is read, changed or not.
        let (scanned, parent, replaced_blocks) = match found {
            Found::Nothing => (spans, None, Some(0)),
            Found::Sound(leaf) => {
                let replaced = leaf.data_blocks(spans);
                (spans, Some(leaf), Some(replaced))
            }
            Found::Unsound(leaf) => (ALL_SPANS, None, Some(leaf.data_blocks(ALL_SPANS))),
            Found::Unreadable => (ALL_SPANS, None, None),
        };
        let mask = data_spans(self.image, number, scanned)?;
        Ok(Region { number, mask, kept: !scanned, parent, replaced_blocks })
    }
}

/// Returns which of some spans of a leaf region may not be holes.
fn data_spans(image: &dyn ReadAt, number: LeafNumber, spans: u64) -> Result<u64> {
    let wanted = spans.trailing_zeros() as usize..LEAF_SPANS - spans.leading_zeros() as usize;
    let end = number.span(wanted.end).start.min(image.len());
    let mut at = number.span(wanted.start).start;
    let mut mask = 0;
    while at < end
        && let Some(data) = next_data(image, at)?.filter(|data| data.start < end)
    {
        mask |= number.span_mask(&(data.start..data.end.min(end)));
        at = data.end;
    }
    Ok(mask & spans)
}

fn next_data(image: &dyn ReadAt, offset: u64) -> Result<Option<Range<u64>>> {
    image
        .next_data(offset)
        .map_err(|error| Error::io(format!("finding data in the image at offset {offset}"), error))
}

/// The regions of an image that have data: the leaf's number, and a bit for each span that may not
/// be a hole.
pub(crate) struct DataRegions<'a> {
    image: &'a dyn ReadAt,
    /// Data that was found and not yet returned.
    data: Option<Range<u64>>,
    /// The offset up to which holes were searched.
    looked: u64,
}

impl<'a> DataRegions<'a> {
    pub(crate) fn new(image: &'a dyn ReadAt) -> Self {
        Self { image, data: None, looked: 0 }
    }

    /// Returns the next data range, and finds it first if necessary.
    fn peek(&mut self) -> Result<Option<Range<u64>>> {
        if self.data.is_none() && self.looked < self.image.len() {
            self.data = next_data(self.image, self.looked)?;
            self.looked = self.data.as_ref().map_or(self.image.len(), |data| data.end);
        }
        Ok(self.data.clone())
    }

    fn next(&mut self) -> Result<Option<(LeafNumber, u64)>> {
        let Some(first) = self.peek()? else { return Ok(None) };
        let leaf = LeafNumber::of(first.start);
        let end = leaf.range().end;
        let mut mask = 0;
        while let Some(data) = self.peek()?.filter(|data| data.start < end) {
            mask |= leaf.span_mask(&data);
            self.data = (data.end > end).then_some(end..data.end);
        }
        Ok(Some((leaf, mask)))
    }
}

/// A read-ahead: it has the kernel read the coming data that is not in memory. It never asks for
/// holes, whose zeros would fill memory.
pub(crate) struct ReadAhead<'a> {
    image: &'a dyn ReadAt,
    /// The offset up to which reads were requested.
    at: u64,
    /// The most bytes that were requested and are not being scanned yet.
    ahead_bytes: u64,
    /// Ranges that were read for this image alone and are still in use.
    fetched: VecDeque<Range<u64>>,
}

impl<'a> ReadAhead<'a> {
    pub(crate) fn new(image: &'a dyn ReadAt) -> Self {
        Self { image, at: 0, ahead_bytes: 0, fetched: VecDeque::new() }
    }

    /// Requests the next data, after more has gone to the scan.
    pub(crate) fn go_on(&mut self, scanned_bytes: u64) {
        self.ahead_bytes = self.ahead_bytes.saturating_sub(scanned_bytes);
        // Small steps would mean too many requests.
        if self.ahead_bytes + READ_AHEAD_BYTES / 4 > READ_AHEAD_BYTES {
            return;
        }
        while self.ahead_bytes < READ_AHEAD_BYTES {
            // An error here can be ignored: the actual read will report it.
            let Ok(Some(data)) = self.image.next_data(self.at) else { return };
            let end = data.end.min(data.start + READ_AHEAD_BYTES - self.ahead_bytes);
            self.at = end;
            self.ahead_bytes += end - data.start;
            if self.image.will_need(data.start..end) {
                self.fetched.push_back(data.start..end);
            }
        }
    }

    /// Drops cached data before `offset`.
    pub(crate) fn done_before(&mut self, offset: u64) {
        while let Some(range) = self.fetched.pop_front_if(|range| range.end <= offset) {
            self.image.done_with(range);
        }
    }
}

/// Returns an upper bound of the bytes of an image that are not holes. It is exact unless the image
/// has very many holes.
pub(crate) fn data_bytes_at_most(image: &dyn ReadAt) -> Result<u64> {
    let (mut at, mut data_bytes) = (0, 0);
    for _ in 0..RANGES_COUNTED_MAX {
        let Some(data) = next_data(image, at)? else { return Ok(data_bytes) };
        data_bytes += data.end - data.start;
        at = data.end;
    }
    Ok(data_bytes + image.len().saturating_sub(at))
}
