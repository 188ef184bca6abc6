//! Pseudo-random numbers and bytes: the same for the same seed, on every machine.

const BLOCK: usize = 4096;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a number well enough for sampling: returns the generator's next number after this state.
pub fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(STEP);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A generator of pseudo-random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Returns the generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    #[expect(clippy::should_implement_trait, reason = "a generator has no end, as an iterator would")]
    pub fn next(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(STEP);
        number
    }

    /// Returns a number below `end`, or 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or(0)
    }

    /// Returns a number as [`below`](Self::below), for numbers that are no index.
    pub fn below_u64(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Overwrites `bytes` with bytes that do not compress.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }

    /// Returns bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Returns bytes that compress to about half.
    pub fn compressible(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = self.bytes(len);
        bytes.iter_mut().skip(1).step_by(2).for_each(|byte| *byte = 0);
        bytes
    }

    /// Returns an image like that of a real disk: runs of data with holes between them, and some
    /// repeated blocks.
    pub fn disk(&mut self, len: usize) -> Vec<u8> {
        let mut disk = vec![0; len];
        for _ in 0..3 + len / (1 << 20) {
            self.scribble(&mut disk);
        }
        disk
    }

    /// Overwrites a run of an image: with noise, zeros, or bytes from elsewhere in it.
    pub fn scribble(&mut self, disk: &mut [u8]) {
        let at = self.below(disk.len());
        let run = (1 + self.below(200_000)).min(disk.len() - at);
        match self.below(4) {
            0 => disk[at..at + run].fill(0),
            1 => {
                let from = self.below(disk.len() - run + 1) / BLOCK * BLOCK;
                let at = (at / BLOCK * BLOCK).min(disk.len() - run);
                disk.copy_within(from..from + run, at);
            }
            _ => self.fill(&mut disk[at..at + run]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers() {
        let mut random = Random::new(1);
        assert_eq!([random.next(), random.next()], [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67]);
    }
}
