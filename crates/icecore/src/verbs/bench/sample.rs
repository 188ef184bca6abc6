//! A part of an image, spread evenly over it. The rest reads as a hole.

use std::io;
use std::ops::Range;

use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::units::LeafNumber;
use crate::words::units::offset_in_leaf;
use crate::world::io::ImageState;
use crate::world::io::ReadAt;

/// A 64-bit fraction, the golden ratio: its multiples are spread evenly.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The factor by which an image is enlarged to become sparse.
const SPREAD: u64 = 256;

/// The leaf regions of images that are used. They are the same in every image, so that versions of
/// one disk stay versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// None if all are used.
    below: Option<u64>,
}

impl Sample {
    /// Returns a sample of about `bytes_max` of `bytes`.
    pub(crate) fn of(bytes: u64, bytes_max: Option<u64>) -> Self {
        let below = bytes_max.filter(|max| *max < bytes).map(|max| {
            let part = (u128::from(max) << 64) / u128::from(bytes);
            u64::try_from(part).unwrap_or(u64::MAX).max(1)
        });
        Self { below }
    }

    fn has(self, leaf: LeafNumber) -> bool {
        self.below.is_none_or(|below| leaf.0.wrapping_mul(STRIDE) < below)
    }
}

/// An image with only a sample of its data. Data that was read stays in memory, because everything
/// is measured with it there.
pub(crate) struct SampledImage<'a> {
    pub(crate) image: &'a dyn ReadAt,
    pub(crate) sample: Sample,
}

impl ReadAt for SampledImage<'_> {
    fn len(&self) -> u64 {
        self.image.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.image.read_at(offset, buffer)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let mut at = offset;
        while let Some(data) = self.image.next_data(at)? {
            if self.sample.below.is_none() {
                return Ok(Some(data));
            }
            let mut leaves = LeafNumber::all_of(&data);
            if let Some(leaf) = leaves.find(|leaf| self.sample.has(*leaf)) {
                return Ok(Some(leaf.part_of(&data)));
            }
            at = data.end;
        }
        Ok(None)
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.image.will_need(range)
    }

    fn state(&self) -> io::Result<ImageState> {
        self.image.state()
    }
}

/// An image that is [`SPREAD`] times as large with the same data, whose regions are scattered.
pub(crate) struct SpreadImage<'a>(pub(crate) &'a dyn ReadAt);

impl ReadAt for SpreadImage<'_> {
    fn len(&self) -> u64 {
        self.0.len().saturating_mul(SPREAD)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = LeafNumber(LeafNumber::of(offset).0 / SPREAD).offset() + to_u64(offset_in_leaf(offset));
        let inside = buffer.len().min(to_usize(self.0.len().saturating_sub(at)));
        let (inside, beyond) = buffer.split_at_mut(inside);
        beyond.fill(0);
        self.0.read_at(at, inside)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let LeafNumber(leaf) = LeafNumber::of(offset);
        let source = LeafNumber(leaf / SPREAD);
        let at = match leaf % SPREAD {
            0 => source.offset() + to_u64(offset_in_leaf(offset)),
            _ => source.next().offset(),
        };
        Ok(self.0.next_data(at)?.map(|data| {
            let Range { start: begin, end } = LeafNumber::of(data.start).range();
            let spread = |at: u64| begin * SPREAD + (at - begin);
            spread(data.start)..spread(data.end.min(end))
        }))
    }
}

fn next_data(image: &dyn ReadAt, at: u64) -> Result<Option<Range<u64>>> {
    let failed = |error| Error::io(format!("finding data in the image at offset {at}"), error);
    image.next_data(at).map_err(failed)
}

/// Returns the bytes of an image that are not holes.
pub(crate) fn data_bytes(image: &dyn ReadAt) -> Result<u64> {
    let (mut at, mut bytes) = (0, 0);
    while let Some(data) = next_data(image, at)? {
        bytes += data.end - data.start;
        at = data.end;
    }
    Ok(bytes)
}

/// Returns the first leaf region with data from number `from` on, and a bit for each span with
/// data.
pub(crate) fn next_region(image: &dyn ReadAt, from: LeafNumber) -> Result<Option<(LeafNumber, u64)>> {
    let Some(mut data) = next_data(image, from.offset())? else { return Ok(None) };
    let leaf = LeafNumber::of(data.start);
    let end = leaf.range().end;
    let mut mask = 0_u64;
    loop {
        mask |= leaf.span_mask(&data);
        if data.end >= end {
            break;
        }
        match next_data(image, data.end)? {
            Some(next) if next.start < end => data = next,
            _ => break,
        }
    }
    Ok(Some((leaf, mask)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::sizes::LEAF_BYTES;

    #[test]
    fn a_sample_takes_its_part_of_an_image_evenly_and_all_where_that_is_little() {
        assert_eq!(Sample::of(100, Some(100)), Sample { below: None });
        assert_eq!(Sample::of(100, None), Sample { below: None });
        let sample = Sample::of(1000, Some(250));
        for part in 0..10 {
            let chosen = (part * 400..(part + 1) * 400).filter(|leaf| sample.has(LeafNumber(*leaf))).count();
            assert!((98..=102).contains(&chosen), "{chosen} of part {part}");
        }
    }

    #[test]
    fn a_spread_image_has_the_same_data_far_apart() {
        let len = 2 * LEAF_BYTES + 5000;
        let bytes: Vec<u8> = (1..=250).cycle().take(len).collect();
        let spread = SpreadImage(&bytes);
        assert_eq!(spread.len(), 256 * bytes.len() as u64);
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(data) = spread.next_data(at).unwrap() {
            assert_eq!(data.start % LeafNumber(256).offset(), 0, "{data:?}");
            let mut part = vec![0; to_usize(data.end - data.start)];
            spread.read_at(data.start, &mut part).unwrap();
            found.extend(part);
            at = data.end;
        }
        assert!(found == bytes);
    }

    #[test]
    fn what_is_not_in_the_sample_is_a_hole() {
        let bytes = vec![1; 40 << 20];
        let sample = Sample::of(40 << 20, Some(10 << 20));
        let image = SampledImage { image: &bytes, sample };
        let chosen = (0..10).filter(|leaf| sample.has(LeafNumber(*leaf))).count() as u64;
        assert!(chosen > 0 && chosen < 10);
        assert_eq!(data_bytes(&image).unwrap(), chosen * to_u64(LEAF_BYTES));
        let mut from = LeafNumber(0);
        while let Some((leaf, mask)) = next_region(&image, from).unwrap() {
            assert!(sample.has(leaf) && mask == u64::MAX);
            from = leaf.next();
        }
    }
}
