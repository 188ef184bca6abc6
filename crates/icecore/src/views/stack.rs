//! What a volume shows: overlays over each other, the snapshot below them, and zeros below that.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::stores::dirty_map::BlockState;
use crate::stores::dirty_map::Region;
use crate::stores::overlay::Overlay;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::SPAN_U64;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::io::ReadAt;

/// Overlays, and what lies below.
#[derive(Clone)]
pub(crate) struct Stack {
    /// The newest first.
    pub(crate) overlays: Vec<Arc<Overlay>>,
    pub(crate) base: Option<Arc<dyn ReadAt>>,
    pub(crate) size_bytes: u64,
}

/// Where blocks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The overlay with this place in the stack.
    Overlay(usize),
    Zero,
    Base,
}

/// What the overlays have of a region of 4 MiB.
struct Regions(Vec<Option<Arc<Region>>>);

impl Regions {
    fn source(&self, block: usize) -> Source {
        for (at, region) in self.0.iter().enumerate() {
            match region.as_ref().map_or(BlockState::Absent, |region| region.get(block)) {
                BlockState::Absent => {}
                BlockState::Data => return Source::Overlay(at),
                BlockState::Zero => return Source::Zero,
            }
        }
        Source::Base
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl Stack {
    /// Returns what lies below the newest overlay.
    pub(crate) fn below(&self) -> Self {
        let overlays = self.overlays.get(1..).unwrap_or_default().to_vec();
        Self { overlays, base: self.base.clone(), size_bytes: self.size_bytes }
    }

    fn regions(&self, number: u64) -> Regions {
        Regions(self.overlays.iter().map(|overlay| overlay.map.get(number)).collect())
    }

    /// Returns the number of the first region at or after `from` of which an overlay may have something.
    fn next_region(&self, from: u64) -> Option<u64> {
        self.overlays.iter().filter_map(|overlay| overlay.map.next(from)).min()
    }

    /// Calls `with` for each part of `range` that comes from one place, in order. What comes from an overlay lies in one region.
    fn parts(
        &self,
        range: Range<u64>,
        with: &mut dyn FnMut(Range<u64>, Source) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut open: Option<(Range<u64>, Source)> = None;
        let mut at = range.start;
        while at < range.end {
            let number = at / LEAF_U64;
            let region_end = (number + 1) * LEAF_U64;
            let regions = self.regions(number);
            let (source, end) = if regions.is_empty() {
                let next = self.next_region(number).map_or(u64::MAX, |next| next.saturating_mul(LEAF_U64));
                (Source::Base, next.max(region_end))
            } else {
                let first = to_usize(at % LEAF_U64 / BLOCK_U64);
                let source = regions.source(first);
                let other = (first + 1..LEAF_BLOCKS).find(|block| regions.source(*block) != source);
                (source, number * LEAF_U64 + to_u64(other.unwrap_or(LEAF_BLOCKS)) * BLOCK_U64)
            };
            let end = end.min(range.end);
            match &mut open {
                Some((part, same)) if *same == source && !matches!(source, Source::Overlay(_)) => {
                    part.end = end
                }
                _ => {
                    if let Some((part, source)) = open.replace((at..end, source)) {
                        with(part, source)?;
                    }
                }
            }
            at = end;
        }
        open.map_or(Ok(()), |(part, source)| with(part, source))
    }

    fn read_base(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(base) = &self.base else {
            buffer.fill(0);
            return Ok(());
        };
        let present = to_usize(base.len().saturating_sub(offset)).min(buffer.len());
        let (inside, beyond) = buffer.split_at_mut(present);
        beyond.fill(0);
        if inside.is_empty() { Ok(()) } else { base.read_at(offset, inside) }
    }

    fn base_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        match &self.base {
            Some(base) if offset < base.len() => base.next_data(offset),
            _ => Ok(None),
        }
    }

    /// Returns the first range at or after `offset` that an overlay has: data or zeros.
    pub(crate) fn next_dirty(&self, offset: u64) -> Option<Range<u64>> {
        let mut at = offset;
        while at < self.size_bytes {
            let number = self.next_region(at / LEAF_U64)?;
            let regions = self.regions(number);
            let begin = number * LEAF_U64;
            let from = to_usize(at.saturating_sub(begin) / BLOCK_U64);
            let is_dirty = |block: &usize| regions.source(*block) != Source::Base;
            if let Some(first) = (from..LEAF_BLOCKS).find(is_dirty) {
                let end = (first..LEAF_BLOCKS).find(|block| !is_dirty(block)).unwrap_or(LEAF_BLOCKS);
                let (start, end) = (begin + to_u64(first) * BLOCK_U64, begin + to_u64(end) * BLOCK_U64);
                let range = start.max(offset)..end.min(self.size_bytes);
                return (range.start < range.end).then_some(range);
            }
            at = begin + LEAF_U64;
        }
        None
    }

    /// Returns the spans, in order, of which overlays have anything.
    pub(crate) fn changed_spans(&self) -> impl Iterator<Item = Range<u64>> {
        let mut changed = BTreeMap::<u64, u64>::new();
        for (number, region) in self.overlays.iter().flat_map(|overlay| overlay.map.all()) {
            *changed.entry(number).or_default() |= region.spans();
        }
        changed.into_iter().flat_map(|(number, spans)| {
            let begin = number * LEAF_U64;
            let set = (0..to_u64(LEAF_SPANS)).filter(move |span| spans >> span & 1 == 1);
            set.map(move |span| begin + span * SPAN_U64..begin + (span + 1) * SPAN_U64)
        })
    }

    /// Returns the first data in a region that overlays have something of, at or after `offset`.
    fn data_in_region(&self, number: u64, offset: u64) -> io::Result<Option<Range<u64>>> {
        let end = ((number + 1) * LEAF_U64).min(self.size_bytes);
        let mut found: Option<Range<u64>> = None;
        let mut parts = Vec::new();
        self.parts(offset..end, &mut |part, source| {
            parts.push((part, source));
            Ok(())
        })?;
        for (part, source) in parts {
            let data = match source {
                Source::Overlay(_) => Some(part.clone()),
                Source::Zero => None,
                Source::Base => self.base_data(part.start)?.filter(|data| data.start < part.end),
            };
            let data = data.map(|data| data.start.max(part.start)..data.end.min(part.end));
            match (&mut found, data) {
                (None, Some(data)) => found = Some(data),
                (Some(found), Some(data)) if found.end == data.start => found.end = data.end,
                (Some(_), _) => break,
                (None, None) => {}
            }
        }
        Ok(found)
    }
}

impl ReadAt for Stack {
    fn len(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(to_u64(buffer.len())).filter(|end| *end <= self.size_bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.parts(offset..end, &mut |part, source| {
            let place = &mut buffer[to_usize(part.start - offset)..to_usize(part.end - offset)];
            match source {
                Source::Overlay(at) => self.overlays[at].read_at(part.start, place),
                Source::Zero => {
                    place.fill(0);
                    Ok(())
                }
                Source::Base => self.read_base(part.start, place),
            }
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = offset;
        while at < self.size_bytes {
            let dirty = self.next_region(at / LEAF_U64).map(|number| (number, (number * LEAF_U64).max(at)));
            let base = self.base_data(at)?;
            match (base, dirty) {
                // What the base has before the next region that overlays have something of.
                (Some(data), dirty) if dirty.is_none_or(|(_, start)| data.start < start) => {
                    let end = dirty.map_or(u64::MAX, |(_, start)| start).min(data.end).min(self.size_bytes);
                    return Ok((data.start < end).then_some(data.start..end));
                }
                (_, None) => return Ok(None),
                (_, Some((number, start))) => {
                    if start >= self.size_bytes {
                        return Ok(None);
                    }
                    if let Some(data) = self.data_in_region(number, start)? {
                        return Ok(Some(data));
                    }
                    at = (number + 1) * LEAF_U64;
                }
            }
        }
        Ok(None)
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        let base = self.base.as_ref().filter(|base| range.start < base.len());
        base.is_some_and(|base| base.will_need(range.start..range.end.min(base.len())))
    }
}
