//! Writes to a stack of overlays, region by region.

use std::io;
use std::ops::Range;

use crate::stores::volumes::dirty_map::BlockState;
use crate::stores::volumes::overlay::Overlay;
use crate::views::stack::Stack;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::units::LeafNumber;
use crate::words::units::block_end;
use crate::words::units::block_start;
use crate::world::io::ReadAt;

impl Stack {
    pub(crate) fn newest(&self) -> &Overlay {
        &self.overlays[0]
    }

    /// Writes within one region. The caller keeps others from writing there.
    pub(crate) fn write_region(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (region, end) = (LeafNumber::of(offset), offset + to_u64(bytes.len()));
        let mut at = offset;
        while at < end {
            let (place, blocks_end) = self.place(region, region.blocks_of(&(at..end)).start);
            let part_end = region.block(blocks_end).start.min(end);
            let part = &bytes[to_usize(at - offset)..to_usize(part_end - offset)];
            self.write_into(&self.overlays[place], at, part)?;
            at = part_end;
        }
        Ok(())
    }

    /// Writes within one region of an overlay. No overlay above it has anything of these blocks. A
    /// block written in part is filled from below if the overlay does not have it.
    fn write_into(&self, overlay: &Overlay, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset..offset + to_u64(bytes.len());
        let region = LeafNumber::of(offset);
        let blocks = region.blocks_of(&range);
        let mut direct = range.clone();
        let has = |block| overlay.map.get(region).is_some_and(|known| known.get(block) == BlockState::Data);
        for block in [blocks.start, blocks.end - 1] {
            let Range { start, end } = region.block(block);
            let inside = start.max(direct.start)..end.min(direct.end);
            if inside == (start..end) || inside.is_empty() || has(block) {
                continue;
            }
            let mut filled = [0; BLOCK_BYTES];
            let present = to_usize(self.size_bytes - start).min(BLOCK_BYTES);
            self.read_at(start, &mut filled[..present])?;
            let part = &bytes[to_usize(inside.start - offset)..to_usize(inside.end - offset)];
            filled[to_usize(inside.start - start)..to_usize(inside.end - start)].copy_from_slice(part);
            overlay.write_at(start, &filled)?;
            if inside.start == direct.start {
                direct.start = inside.end;
            } else {
                direct.end = inside.start;
            }
        }
        if !direct.is_empty() {
            let part = &bytes[to_usize(direct.start - offset)..to_usize(direct.end - offset)];
            overlay.write_at(direct.start, part)?;
        }
        let known = overlay.map.get(region).map(|known| known.run(blocks.start));
        if known.is_none_or(|(state, end)| state != BlockState::Data || end < blocks.end) {
            overlay.mark(region, blocks, BlockState::Data);
        }
        Ok(())
    }

    /// Zeroes bytes within one region; `below` is the stack below the newest overlay. The caller
    /// keeps others from writing there.
    pub(crate) fn zero_region(&self, range: Range<u64>, below: &Self) -> io::Result<()> {
        let region = LeafNumber::of(range.start);
        // The last block counts as a whole if the volume ends in it.
        let end = if range.end == self.size_bytes { block_end(range.end) } else { range.end };
        let whole = block_end(range.start)..block_start(end);
        if whole.start >= whole.end {
            return self.write_region(range.start, &vec![0; to_usize(range.end - range.start)]);
        }
        for edge in [range.start..whole.start, whole.end..range.end] {
            if !edge.is_empty() {
                self.write_region(edge.start, &vec![0; to_usize(edge.end - edge.start)])?;
            }
        }
        self.writable().iter().try_for_each(|overlay| overlay.check_working())?;
        // Free the data of older overlays, so that the newest needs no entry to hide it. The older
        // ones still record the zeros: after a crash, the stack may hold an even older overlay that
        // has the block.
        for older in &self.writable()[1..] {
            older.change(region, region.blocks_of(&whole), |state| match state {
                BlockState::Data => BlockState::Zero,
                state => state,
            })?;
        }
        let older_have_any = self.overlays[1..].iter().any(|older| older.map.get(region).is_some());
        // The newest overlay may forget a block only if nothing lies below it, even after a crash.
        // A sync running now may have saved an older overlay's map before the change above, and may
        // save the newest one's map after this.
        let gone = if older_have_any { BlockState::Zero } else { BlockState::Absent };
        let mut at = whole.start;
        while at < whole.end {
            let data = below.data_in_region(region, at)?.filter(|data| data.start < whole.end);
            let hole_end = data.as_ref().map_or(whole.end, |data| block_start(data.start.max(at)));
            let data_end = data.map_or(whole.end, |data| block_end(data.end).min(whole.end));
            if at < hole_end {
                self.newest().change(region, region.blocks_of(&(at..hole_end)), |state| match state {
                    BlockState::Absent => BlockState::Absent,
                    _ => gone,
                })?;
            }
            if hole_end < data_end {
                self.newest()
                    .change(region, region.blocks_of(&(hole_end..data_end)), |_| BlockState::Zero)?;
            }
            at = data_end;
        }
        Ok(())
    }
}
