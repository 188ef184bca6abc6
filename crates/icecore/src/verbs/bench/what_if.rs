//! Estimates the size of the same data in other layouts and at other levels.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::pure::hash::Hasher;
use crate::verbs::bench::batch::Chunk;
use crate::verbs::bench::batch::Hashed;
use crate::verbs::bench::batch::Leaf;
use crate::verbs::bench::codec::encode;
use crate::verbs::bench::report::Layout;
use crate::verbs::bench::report::LevelSize;
use crate::verbs::bench::report::WhatIf;
use crate::words::error::Result;
use crate::words::ids::NodeDigest;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::to_u64;

const LAYOUTS: [Layout; 4] = [Layout::Fixed4Kib, Layout::Fixed64Kib, Layout::Fixed4Mib, Layout::Icecore];
const LEVELS: [i32; 4] = [-3, 1, 3, 9];
/// About how much data is compressed for each layout and level.
const COMPRESSED_BYTES: u64 = 256 << 20;

/// A counter of unique data in each layout. It compresses a sample of the data.
pub(crate) struct WhatIfs {
    /// One of this many units is compressed.
    every: u64,
    spans: HashSet<NodeDigest>,
    leaves: HashSet<NodeDigest>,
    tallies: [Tally; 4],
}

#[derive(Default)]
struct Tally {
    units: u64,
    unique_bytes: u64,
    sampled_bytes: u64,
    compressed_bytes: [u64; 4],
}

impl WhatIfs {
    /// Starts with the total size of the data.
    pub(crate) fn new(used_bytes: u64) -> Self {
        let every = (used_bytes / COMPRESSED_BYTES).max(1);
        Self { every, spans: HashSet::new(), leaves: HashSet::new(), tallies: Default::default() }
    }

    /// Adds leaves with their digests, and the chunks of their new blocks.
    pub(crate) fn add<'a>(
        &mut self,
        hasher: &Hasher,
        leaves: impl Iterator<Item = (&'a Leaf, &'a Hashed)>,
        chunks: &[Chunk],
    ) -> Result<()> {
        let blocks = chunks.iter().flat_map(|chunk| chunk.raw.chunks(BLOCK_BYTES)).collect();
        let (mut spans, mut whole) = (Vec::new(), Vec::new());
        for (leaf, hashed) in leaves {
            let new = |(_, digest): &(usize, &NodeDigest)| {
                **digest != NodeDigest::ZERO && self.spans.insert(**digest)
            };
            spans.extend(hashed.spans.iter().enumerate().filter(new).map(|(at, _)| leaf.span(at)));
            let digest = hasher.node(&hashed.spans);
            if digest != NodeDigest::ZERO && self.leaves.insert(digest) {
                whole.push(leaf.bytes.as_slice());
            }
        }
        let ours = chunks.iter().map(|chunk| chunk.raw.as_slice()).collect();
        let units: [Vec<&[u8]>; 4] = [blocks, spans, whole, ours];
        self.tallies.iter_mut().zip(units).try_for_each(|(tally, units)| tally.add(self.every, &units))
    }

    /// Returns the estimates.
    pub(crate) fn finish(self) -> Vec<WhatIf> {
        LAYOUTS.into_iter().zip(self.tallies).map(|(layout, tally)| tally.finish(layout)).collect()
    }
}

impl Tally {
    /// Adds new units.
    fn add(&mut self, every: u64, units: &[&[u8]]) -> Result<()> {
        let numbered = units.iter().zip(self.units..);
        let chosen: Vec<&[u8]> =
            numbered.filter(|(_, number)| number % every == 0).map(|(unit, _)| *unit).collect();
        self.units += to_u64(units.len());
        self.unique_bytes += units.iter().map(|unit| to_u64(unit.len())).sum::<u64>();
        self.sampled_bytes += chosen.iter().map(|unit| to_u64(unit.len())).sum::<u64>();
        for (level, bytes) in LEVELS.into_iter().zip(&mut self.compressed_bytes) {
            let compressed =
                chosen.par_iter().map(|unit| encode(level, unit).map(|it| to_u64(it.bytes.len())));
            *bytes += compressed.try_reduce(|| 0, |one, other| Ok(one + other))?;
        }
        Ok(())
    }

    fn finish(self, layout: Layout) -> WhatIf {
        let Self { unique_bytes, sampled_bytes, .. } = self;
        let levels = LEVELS.into_iter().zip(self.compressed_bytes);
        let levels = levels.map(|(level, compressed)| LevelSize {
            level,
            compressed_bytes: extrapolated(compressed, sampled_bytes, unique_bytes),
        });
        WhatIf { layout, unique_bytes, sampled_bytes, levels: levels.collect() }
    }
}

/// Returns the estimated size of `all` bytes if `part` of them take `taken`.
fn extrapolated(taken: u64, part: u64, all: u64) -> u64 {
    let whole = u128::from(taken) * u128::from(all) / u128::from(part.max(1));
    u64::try_from(whole).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_stands_for_what_is_not() {
        assert_eq!(extrapolated(30, 100, 100), 30);
        assert_eq!(extrapolated(30, 100, 400), 120);
        assert_eq!(extrapolated(0, 0, 0), 0);
        let mut tally = Tally::default();
        let units = vec![[7_u8; 8192]; 8];
        tally.add(4, &units.iter().map(<[u8; 8192]>::as_slice).collect::<Vec<_>>()).unwrap();
        let what_if = tally.finish(Layout::Icecore);
        assert_eq!((what_if.unique_bytes, what_if.sampled_bytes), (8 * 8192, 2 * 8192));
        assert_eq!(what_if.levels.iter().map(|size| size.level).collect::<Vec<_>>(), LEVELS);
        assert!(what_if.levels.iter().all(|size| size.compressed_bytes < 1000), "{what_if:?}");
    }
}
