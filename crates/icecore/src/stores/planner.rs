//! Says ahead of time what is going to be read of packs, in few long parts: a disk that seeks, or a
//! store that takes a while for each request, can then be read at its full speed.

use std::ops::Range;

use crate::format::pack::Entry;
use crate::stores::chunks::Store;
use crate::words::ids::PackId;

/// The longest part.
const PART_BYTES_MAX: u64 = 4 << 20;

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
