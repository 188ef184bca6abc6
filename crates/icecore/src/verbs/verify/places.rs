//! Sets of chunks and pages, with a bit for each entry of a pack, so that a set of millions stays
//! small.

use std::collections::BTreeMap;

use crate::stores::chunks::Located;
use crate::words::ids::PackId;

/// A set of entries of packs.
#[derive(Default)]
pub(crate) struct Places(BTreeMap<PackId, Vec<u64>>);

impl Places {
    /// Adds a chunk or a page. Returns whether it is new.
    pub(crate) fn insert(&mut self, located: &Located) -> bool {
        let words = self.0.entry(located.pack.id).or_default();
        let at = located.number as usize;
        if words.len() <= at / 64 {
            words.resize(at / 64 + 1, 0);
        }
        let bit = 1 << (at % 64);
        let new = words[at / 64] & bit == 0;
        words[at / 64] |= bit;
        new
    }

    /// Tells whether the set has a chunk or a page.
    pub(crate) fn has(&self, located: &Located) -> bool {
        self.0.get(&located.pack.id).is_some_and(|words| is_set(words, located.number))
    }

    /// Returns the packs with any entry in the set, in order.
    pub(crate) fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.0.keys().copied()
    }

    /// Returns the numbers of a pack's entries in the set, in order.
    pub(crate) fn numbers(&self, pack: PackId) -> impl Iterator<Item = u32> + '_ {
        let words = self.0.get(&pack).map_or(&[][..], Vec::as_slice);
        (0..).take(words.len() * 64).filter(|number| is_set(words, *number))
    }
}

fn is_set(words: &[u64], number: u32) -> bool {
    words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}
