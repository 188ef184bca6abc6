//! Which parts of an image a capture reads: those that are not holes, or, of these, those that are
//! known to have changed.

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
/// Ranges of data that are counted before the total that progress is told becomes an estimate.
const RANGES_COUNTED_MAX: usize = 1 << 16;
/// Marks all spans of a leaf region.
pub(crate) const ALL_SPANS: u64 = u64::MAX;

/// A leaf region that is to be scanned.
pub(crate) struct Region {
    pub(crate) number: LeafNumber,
    /// A bit for each span that is to be read: it may not be a hole.
    pub(crate) mask: u64,
    /// A bit for each span that the parent is known to have as it is. The parent's leaf is there
    /// then, or they are zero.
    pub(crate) kept: u64,
    pub(crate) parent: Option<ParentLeaf>,
    /// How many blocks of data the parent has in the spans that are not kept; none where that
    /// cannot be known. Counted only where a tree is patched.
    pub(crate) replaced_blocks: Option<u64>,
}

/// The regions of an image that are to be scanned, in order.
pub(crate) enum Regions<'a> {
    /// All that have data.
    All { data: DataRegions<'a>, parent: Option<ParentReader<'a>> },
    /// Those that have changed.
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
    /// Up to which region they were given out.
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
                    // All is zero up to there, and was before.
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
        // What cannot be taken over is read, whether it has changed or not.
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

/// Returns those of some spans of a leaf region that may not be holes.
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

/// The regions of an image that have data: number of the leaf, and a bit for each span that may not
/// be a hole.
pub(crate) struct DataRegions<'a> {
    image: &'a dyn ReadAt,
    /// Data that was found and not given out yet.
    data: Option<Range<u64>>,
    /// Up to where holes were looked for.
    looked: u64,
}

impl<'a> DataRegions<'a> {
    pub(crate) fn new(image: &'a dyn ReadAt) -> Self {
        Self { image, data: None, looked: 0 }
    }

    /// Returns the data range that is next, found now if it was not before.
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

/// Has the kernel read what comes next, where it is not in memory. Never holes: it would fill
/// memory with their zeros.
pub(crate) struct ReadAhead<'a> {
    image: &'a dyn ReadAt,
    /// Up to where it was asked.
    at: u64,
    /// Bytes that it was asked for and that are not being scanned yet, at most.
    ahead_bytes: u64,
    /// What was read for this image alone, and is not done with yet.
    fetched: VecDeque<Range<u64>>,
}

impl<'a> ReadAhead<'a> {
    pub(crate) fn new(image: &'a dyn ReadAt) -> Self {
        Self { image, at: 0, ahead_bytes: 0, fetched: VecDeque::new() }
    }

    /// Asks for what comes next, now that some more is being scanned.
    pub(crate) fn go_on(&mut self, scanned_bytes: u64) {
        self.ahead_bytes = self.ahead_bytes.saturating_sub(scanned_bytes);
        // A little at a time would be asked too often.
        if self.ahead_bytes + READ_AHEAD_BYTES / 4 > READ_AHEAD_BYTES {
            return;
        }
        while self.ahead_bytes < READ_AHEAD_BYTES {
            // What cannot be found is found missing where it is read.
            let Ok(Some(data)) = self.image.next_data(self.at) else { return };
            let end = data.end.min(data.start + READ_AHEAD_BYTES - self.ahead_bytes);
            self.at = end;
            self.ahead_bytes += end - data.start;
            if self.image.will_need(data.start..end) {
                self.fetched.push_back(data.start..end);
            }
        }
    }

    /// Lets go of what lies before `offset`.
    pub(crate) fn done_before(&mut self, offset: u64) {
        while let Some(range) = self.fetched.pop_front_if(|range| range.end <= offset) {
            self.image.done_with(range);
        }
    }
}

/// Returns how much of an image is not a hole, at most; exact unless the image has very many holes.
pub(crate) fn data_bytes_at_most(image: &dyn ReadAt) -> Result<u64> {
    let (mut at, mut data_bytes) = (0, 0);
    for _ in 0..RANGES_COUNTED_MAX {
        let Some(data) = next_data(image, at)? else { return Ok(data_bytes) };
        data_bytes += data.end - data.start;
        at = data.end;
    }
    Ok(data_bytes + image.len().saturating_sub(at))
}
