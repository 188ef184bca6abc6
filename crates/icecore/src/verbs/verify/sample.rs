//! The choice of the chunks to read.

use crate::verbs::verify::report::Depth;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::sizes::to_u32;

/// A choice of chunks that depends only on a seed and the places of the chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    part: f64,
    seed: u64,
}

impl Sample {
    pub(crate) fn new(depth: Depth) -> Result<Self> {
        let (part, seed) = match depth {
            Depth::Structure => (0.0, 0),
            Depth::ReadData => (1.0, 0),
            Depth::Sample { part, seed } => (part, seed),
        };
        if (0.0..=1.0).contains(&part) {
            return Ok(Self { part, seed });
        }
        Err(Error::new(ErrorKind::InvalidInput, format!("{part} is not a valid share of the data"))
            .with_hint("use a share above 0 and up to 1, or up to 100%"))
    }

    /// Tells whether the sample is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.part <= 0.0
    }

    /// Tells whether an entry of a pack is chosen.
    pub(crate) fn has(&self, pack: PackId, number: u32) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = pack.0;
        let pack = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let mixed = mix(mix(pack ^ mix(self.seed)) ^ u64::from(number));
        let high = to_u32(mixed >> 32);
        f64::from(high) / (f64::from(u32::MAX) + 1.0) < self.part
    }
}

/// Mixes the bits of a number (the last step of SplitMix64).
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_about_as_large_as_asked_and_depends_on_its_seed() {
        let chosen = |part, seed| {
            let sample = Sample::new(Depth::Sample { part, seed }).unwrap();
            (0..10_000).filter(|number| sample.has(PackId([7; 32]), *number)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(0.0, 1).len(), 0);
        assert_eq!(chosen(1.0, 1).len(), 10_000);
        assert!((400..600).contains(&chosen(0.05, 1).len()));
        assert_eq!(chosen(0.05, 1), chosen(0.05, 1));
        assert_ne!(chosen(0.05, 1), chosen(0.05, 2));
    }

    #[test]
    fn a_part_that_is_none_is_refused() {
        for part in [-0.1, 1.1, f64::NAN] {
            assert!(Sample::new(Depth::Sample { part, seed: 0 }).is_err(), "{part}");
        }
    }
}
