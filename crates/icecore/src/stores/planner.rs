//! Says ahead of time what is going to be read of packs, in few long parts: a disk that seeks, or a
//! store that takes a while for each request, can then be read at its full speed.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::pack::Entry;
use crate::stores::chunks::Store;
use crate::words::ids::PackId;
use crate::words::sizes::to_usize;

/// The longest part.
const PART_BYTES_MAX: u64 = 4 << 20;

/// The longest part that is brought near at once.
const NEAR_BYTES_MAX: u64 = 1 << 20;
/// Parts are brought near in whole pieces, as a cache keeps them: so many of them are as long as a
/// gap.
const PIECES_OF_GAP: u64 = 4;

/// What is going to be read.
#[derive(Default)]
pub(crate) struct Plan(Vec<(PackId, Range<u64>)>);

impl Plan {
    /// Adds the stored bytes of an entry.
    pub(crate) fn add(&mut self, pack: PackId, entry: &Entry) {
        self.add_bytes(pack, entry.offset, entry.stored_bytes);
    }

    /// Adds bytes of a pack.
    pub(crate) fn add_bytes(&mut self, pack: PackId, offset: u32, bytes: u32) {
        let offset = u64::from(offset);
        self.0.push((pack, offset..offset + u64::from(bytes)));
    }

    /// Says it to the packs. One that cannot be opened is left to whoever reads it.
    pub(crate) fn announce(self, store: &Store) {
        let parts = joined(self.0, store.files.place.objects.gap_bytes());
        for of_pack in parts.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(Ok(pack)) = of_pack.first().map(|(id, _)| store.pack(*id)) else { continue };
            of_pack.iter().for_each(|(_, part)| pack.will_read(part.clone()));
        }
    }
}

/// The pieces of packs that are near, as a bit for each.
#[derive(Default)]
pub(crate) struct Near(HashMap<PackId, Vec<u64>>);

impl Near {
    /// Adds a piece. Returns whether it is new.
    fn add(&mut self, pack: PackId, piece: u64) -> bool {
        let words = self.0.entry(pack).or_default();
        let (at, bit) = (to_usize(piece / 64), 1 << (piece % 64));
        if words.len() <= at {
            words.resize(at + 1, 0);
        }
        let is_new = words[at] & bit == 0;
        words[at] |= bit;
        is_new
    }
}

impl Plan {
    /// Returns what to bring near, in whole pieces, in the order of packs and offsets, and adds it to
    /// what is near. A part may end behind the end of its pack.
    pub(crate) fn bring(self, store: &Store, near: &mut Near) -> Vec<(PackId, Range<u64>)> {
        let piece = (store.files.place.objects.gap_bytes() / PIECES_OF_GAP).max(1);
        let mut parts = Vec::new();
        for (pack, part) in self.0 {
            let numbers = part.start / piece..part.end.div_ceil(piece);
            let new = numbers.filter(|number| near.add(pack, *number));
            parts.extend(new.map(|number| (pack, number * piece..(number + 1) * piece)));
        }
        joined(parts, 0).into_iter().flat_map(short).collect()
    }
}

/// Returns a part in parts that are not too long for one request.
fn short((pack, part): (PackId, Range<u64>)) -> impl Iterator<Item = (PackId, Range<u64>)> {
    let mut at = part.start;
    std::iter::from_fn(move || {
        let end = ((at / NEAR_BYTES_MAX + 1) * NEAR_BYTES_MAX).min(part.end);
        (at < end).then(|| (pack, std::mem::replace(&mut at, end)..end))
    })
}

/// Returns the parts in the order of packs and offsets, joined where no more than `gap` bytes lie
/// between them.
fn joined(mut parts: Vec<(PackId, Range<u64>)>, gap: u64) -> Vec<(PackId, Range<u64>)> {
    parts.sort_unstable_by_key(|(pack, part)| (*pack, part.start));
    let mut joined: Vec<(PackId, Range<u64>)> = Vec::new();
    for (pack, part) in parts {
        match joined.last_mut() {
            Some((last, before))
                if *last == pack
                    && part.start <= before.end.saturating_add(gap)
                    && part.end.saturating_sub(before.start) <= PART_BYTES_MAX =>
            {
                before.end = before.end.max(part.end);
            }
            _ => joined.push((pack, part)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_to_bring_near_are_short_and_pieces_are_brought_once() {
        let a = PackId([1; 32]);
        let parts: Vec<_> = short((a, (1 << 20) - 5..(2 << 20) + 7)).map(|(_, part)| part).collect();
        let mib = 1 << 20;
        assert_eq!(parts, [mib - 5..mib, mib..2 * mib, 2 * mib..2 * mib + 7]);
        let mut near = Near::default();
        assert!([0, 1, 63, 64, 700].into_iter().all(|piece| near.add(a, piece)));
        assert!([0, 1, 63, 64, 700].into_iter().all(|piece| !near.add(a, piece)));
        assert!(near.add(PackId([2; 32]), 64) && near.add(a, 65));
    }

    #[test]
    fn parts_are_joined_over_gaps_but_not_over_packs_and_not_without_end() {
        let [a, b] = [1, 2].map(|number| PackId([number; 32]));
        let parts = vec![(b, 0..10), (a, 100..150), (a, 0..50), (a, 40..60), (a, 200..300)];
        let expected = vec![(a, 0..150), (a, 200..300), (b, 0..10)];
        assert_eq!(joined(parts, 40), expected);
        let long = (0..9).map(|at| (a, at << 20..(at + 1) << 20)).collect();
        let lengths: Vec<u64> =
            joined(long, 0).iter().map(|(_, part)| (part.end - part.start) >> 20).collect();
        assert_eq!(lengths, [4, 4, 1]);
    }
}
