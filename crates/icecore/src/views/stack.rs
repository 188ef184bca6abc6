//! The content of a volume: a stack of overlays, the snapshot below them, and zeros below that.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::ops::Range;
use std::sync::Arc;

use crate::stores::volumes::dirty_map::BlockState;
use crate::stores::volumes::dirty_map::Region;
use crate::stores::volumes::overlay::Overlay;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::units::LeafNumber;
use crate::world::io::ReadAt;

/// Overlays and the snapshot below them.
#[derive(Clone)]
pub(crate) struct Stack {
    /// The newest first.
    pub(crate) overlays: Vec<Arc<Overlay>>,
    pub(crate) base: Option<Arc<dyn ReadAt>>,
    pub(crate) size_bytes: u64,
    /// The number of the snapshot being taken, among those of this volume. During a snapshot only
    /// the newest overlay takes writes; otherwise all do.
    pub(crate) frozen: Option<u64>,
}

/// The source of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// The overlay at this place in the stack.
    Overlay(usize),
    /// Zeros, because the overlay at this place says so.
    Zero(usize),
    Base,
}

/// The overlays' states of one 4 MiB region, the newest first.
struct Regions {
    newest: Option<Arc<Region>>,
    others: Vec<Option<Arc<Region>>>,
}

impl Regions {
    fn all(&self) -> impl Iterator<Item = (usize, &Region)> {
        let all = std::iter::once(&self.newest).chain(&self.others).enumerate();
        all.filter_map(|(at, region)| Some((at, region.as_deref()?)))
    }

    /// Returns the source of a block, and the first block after it that may come from another
    /// source.
    fn run(&self, block: usize) -> (Layer, usize) {
        let mut end = LEAF_BLOCKS;
        for (at, region) in self.all() {
            let (state, run_end) = region.run(block);
            end = end.min(run_end);
            match state {
                BlockState::Absent => {}
                BlockState::Data => return (Layer::Overlay(at), end),
                BlockState::Zero => return (Layer::Zero(at), end),
            }
        }
        (Layer::Base, end)
    }

    fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }
}

/// An iterator over the blocks of a region, run by run.
struct LayerRuns<'a> {
    regions: &'a Regions,
    at: usize,
}

impl Iterator for LayerRuns<'_> {
    type Item = (Layer, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= LEAF_BLOCKS {
            return None;
        }
        let (layer, end) = self.regions.run(self.at);
        Some((layer, std::mem::replace(&mut self.at, end)..end))
    }
}

impl Stack {
    /// Returns what lies below the newest overlay.
    pub(crate) fn below(&self) -> Self {
        let overlays = self.overlays.get(1..).unwrap_or_default().to_vec();
        Self { overlays, ..self.clone() }
    }

    /// Returns the overlays that take writes, the newest first.
    pub(crate) fn writable(&self) -> &[Arc<Overlay>] {
        let count = if self.frozen.is_some() { 1 } else { self.overlays.len() };
        &self.overlays[..count.min(self.overlays.len())]
    }

    /// Returns the place of the overlay that takes a write to a block, and the first block after it
    /// that another overlay may take. A write goes where the block already is: that needs no space,
    /// and leaves no older bytes of the block that would take some.
    pub(crate) fn place(&self, region: LeafNumber, block: usize) -> (usize, usize) {
        if self.writable().len() == 1 {
            return (0, LEAF_BLOCKS);
        }
        let regions = self.regions(region);
        let mut runs = LayerRuns { regions: &regions, at: block }.map(|(layer, blocks)| match layer {
            Layer::Overlay(place) | Layer::Zero(place) => (place, blocks.end),
            Layer::Base => (0, blocks.end),
        });
        let (place, first_end) = runs.next().unwrap_or((0, LEAF_BLOCKS));
        let end = runs.take_while(|(next, _)| *next == place).last().map_or(first_end, |(_, end)| end);
        (place, end)
    }

    /// Makes all data of the overlays durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.overlays.iter().rev().try_for_each(|overlay| overlay.sync())
    }

    fn regions(&self, number: LeafNumber) -> Regions {
        let mut regions = self.overlays.iter().map(|overlay| overlay.map.get(number));
        Regions { newest: regions.next().flatten(), others: regions.collect() }
    }

    /// Returns the number of the first region at or after `from` that an overlay may have something
    /// of.
    fn next_region(&self, from: LeafNumber) -> Option<LeafNumber> {
        self.overlays.iter().filter_map(|overlay| overlay.map.next(from)).min()
    }

    /// Calls `with`, in order, for each part of `range` that comes from one source. A part that
    /// comes from an overlay lies within one region.
    fn parts(
        &self,
        range: Range<u64>,
        with: &mut dyn FnMut(Range<u64>, Layer) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut open: Option<(Range<u64>, Layer)> = None;
        let mut at = range.start;
        while at < range.end {
            let number = LeafNumber::of(at);
            let regions = self.regions(number);
            let (layer, end) = if regions.is_empty() {
                let next = self.next_region(number).map_or(u64::MAX, LeafNumber::offset);
                (Layer::Base, next.max(number.range().end))
            } else {
                let (layer, end) = regions.run(number.blocks_of(&(at..range.end)).start);
                (layer, number.block(end).start)
            };
            let end = end.min(range.end);
            match &mut open {
                Some((part, same)) if *same == layer && !matches!(layer, Layer::Overlay(_)) => part.end = end,
                _ => {
                    if let Some((part, layer)) = open.replace((at..end, layer)) {
                        with(part, layer)?;
                    }
                }
            }
            at = end;
        }
        open.map_or(Ok(()), |(part, layer)| with(part, layer))
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

    /// Returns the first place at or after `offset` that may hold anything but zeros. A region that
    /// an overlay has something of counts as a whole.
    pub(crate) fn next_used(&self, offset: u64) -> io::Result<Option<u64>> {
        let written = self.next_region(LeafNumber::of(offset)).map(|region| region.offset().max(offset));
        let below = self.base_data(offset)?.map(|data| data.start.max(offset));
        Ok(written.into_iter().chain(below).min())
    }

    /// Returns the first range at or after `offset` that an overlay has: data or zeros.
    pub(crate) fn next_dirty(&self, offset: u64) -> Option<Range<u64>> {
        let mut at = offset;
        while at < self.size_bytes {
            let number = self.next_region(LeafNumber::of(at))?;
            let regions = self.regions(number);
            let from = number.blocks_of(&(at..u64::MAX)).start;
            let runs = LayerRuns { regions: &regions, at: from };
            let mut dirty = runs.skip_while(|(layer, _)| *layer == Layer::Base);
            if let Some((_, first)) = dirty.next() {
                let rest = dirty.take_while(|(layer, _)| *layer != Layer::Base);
                let end = rest.map(|(_, blocks)| blocks.end).last().unwrap_or(first.end);
                let dirty = number.blocks(first.start..end);
                let range = dirty.start.max(offset)..dirty.end.min(self.size_bytes);
                return (range.start < range.end).then_some(range);
            }
            at = number.range().end;
        }
        None
    }

    /// Returns, in order, the spans of which overlays have anything.
    pub(crate) fn changed_spans(&self) -> impl Iterator<Item = Range<u64>> {
        let mut changed = BTreeMap::<LeafNumber, u64>::new();
        for (number, region) in self.overlays.iter().flat_map(|overlay| overlay.map.all()) {
            *changed.entry(number).or_default() |= region.spans();
        }
        changed.into_iter().flat_map(|(number, spans)| {
            let set = (0..LEAF_SPANS).filter(move |span| spans >> span & 1 == 1);
            set.map(move |span| number.span(span))
        })
    }

    /// Returns the first data at or after `offset` in a region of which overlays have something.
    pub(crate) fn data_in_region(&self, number: LeafNumber, offset: u64) -> io::Result<Option<Range<u64>>> {
        let end = number.range().end.min(self.size_bytes);
        let regions = self.regions(number);
        let mut found: Option<Range<u64>> = None;
        for (layer, blocks) in (LayerRuns { regions: &regions, at: number.blocks_of(&(offset..end)).start }) {
            let blocks = number.blocks(blocks);
            let part = blocks.start.max(offset)..blocks.end.min(end);
            let data = match layer {
                _ if part.is_empty() => None,
                Layer::Overlay(_) => Some(part.clone()),
                Layer::Zero(_) => None,
                Layer::Base => self.base_data(part.start)?.filter(|data| data.start < part.end),
            };
            let data = data.map(|data| data.start.max(part.start)..data.end.min(part.end));
            match (&mut found, data) {
                (None, Some(data)) => found = Some(data),
                (Some(found), Some(data)) if found.end == data.start => found.end = data.end,
                (Some(_), _) => break,
                (None, None) => {}
            }
            // The base may have more data in the same part; a caller that continues from here finds
            // it.
            if found.as_ref().is_some_and(|found| found.end < part.end) {
                break;
            }
        }
        Ok(found)
    }

    /// Searches for the first data at or after `offset`, in at most `regions` regions that overlays
    /// have something of. The caller continues at the offset returned.
    pub(crate) fn search_data(
        &self,
        offset: u64,
        regions: usize,
    ) -> io::Result<ControlFlow<Option<Range<u64>>, u64>> {
        let mut at = offset;
        for _ in 0..regions {
            if at >= self.size_bytes {
                return Ok(ControlFlow::Break(None));
            }
            let dirty = self.next_region(LeafNumber::of(at)).map(|number| (number, number.offset().max(at)));
            let base = self.base_data(at)?;
            match (base, dirty) {
                // The base has data before the next region that overlays have something of.
                (Some(data), dirty) if dirty.is_none_or(|(_, start)| data.start < start) => {
                    let end = dirty.map_or(u64::MAX, |(_, start)| start).min(data.end).min(self.size_bytes);
                    return Ok(ControlFlow::Break((data.start < end).then_some(data.start..end)));
                }
                (_, None) => return Ok(ControlFlow::Break(None)),
                (_, Some((number, start))) => {
                    if start >= self.size_bytes {
                        return Ok(ControlFlow::Break(None));
                    }
                    if let Some(data) = self.data_in_region(number, start)? {
                        return Ok(ControlFlow::Break(Some(data)));
                    }
                    at = number.range().end;
                }
            }
        }
        Ok(ControlFlow::Continue(at))
    }
}

impl ReadAt for Stack {
    fn len(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(to_u64(buffer.len())).filter(|end| *end <= self.size_bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.parts(offset..end, &mut |part, layer| {
            let place = &mut buffer[to_usize(part.start - offset)..to_usize(part.end - offset)];
            match layer {
                Layer::Overlay(at) => self.overlays[at].read_at(part.start, place),
                Layer::Zero(_) => {
                    place.fill(0);
                    Ok(())
                }
                Layer::Base => self.read_base(part.start, place),
            }
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        match self.search_data(offset, usize::MAX)? {
            ControlFlow::Break(found) => Ok(found),
            ControlFlow::Continue(_) => Ok(None),
        }
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        let base = self.base.as_ref().filter(|base| range.start < base.len());
        base.is_some_and(|base| base.will_need(range.start..range.end.min(base.len())))
    }
}
