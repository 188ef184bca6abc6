//! BLAKE3 of many inputs of one length, in parallel in the lanes of the vector unit.
//!
//! A single 4 KiB input has four leaves and leaves half of an AVX2 register empty; sixteen inputs
//! hashed together reach the speed of one large input. The crate `blake3` has the kernel for this
//! in its doc-hidden module `platform`, so its version is pinned, and a test compares every result
//! with `blake3::keyed_hash`. The tree and its flags are those of the BLAKE3 paper, section 2.

use blake3::IncrementCounter;
use blake3::platform::Platform;
use zeroize::Zeroize;

const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const PARENT: u8 = 4;
const ROOT: u8 = 8;
const KEYED_HASH: u8 = 16;

/// Bytes in a leaf of BLAKE3's tree.
const LEAF: usize = 1024;
/// Bytes in two chaining values.
const PAIR: usize = 64;
/// The number of inputs per call; more do not fill the lanes better.
pub(crate) const LANES: usize = 16;

/// A key in the form that the kernel needs.
pub(crate) struct KeyWords([u32; 8]);

impl KeyWords {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(blake3::platform::words_from_le_bytes_32(key))
    }

    /// Overwrites the key.
    pub(crate) fn wipe(&mut self) {
        self.0.zeroize();
    }
}

/// Hashes up to [`LANES`] inputs of 4096 bytes each. `out` gets 32 bytes for each input.
pub(crate) fn keyed_4096(platform: Platform, key: &KeyWords, inputs: &[&[u8; 4096]], out: &mut [[u8; 32]]) {
    let count = inputs.len();
    assert!(count <= LANES && out.len() == count, "the caller cuts its inputs into groups of 16");
    // The chaining value of leaf `l` of input `i` is at `l * LANES + i`, because a call fills a run
    // of them.
    let mut leaves = [0_u8; 4 * LANES * 32];
    for leaf in 0..4 {
        let mut parts: [&[u8; LEAF]; LANES] = [&[0; LEAF]; LANES];
        for (part, input) in parts.iter_mut().zip(inputs) {
            *part = &input.as_chunks::<LEAF>().0[leaf];
        }
        let at = leaf * LANES * 32;
        platform.hash_many(
            &parts[..count],
            &key.0,
            leaf as u64,
            IncrementCounter::No,
            KEYED_HASH,
            CHUNK_START,
            CHUNK_END,
            &mut leaves[at..at + count * 32],
        );
    }
    let mut halves = [0_u8; 2 * LANES * 32];
    for half in 0..2 {
        let pairs = pair_up(&leaves, 2 * half, count);
        let at = half * LANES * 32;
        parents(platform, key, &pairs[..count], 0, &mut halves[at..at + count * 32]);
    }
    let pairs = pair_up(&halves, 0, count);
    parents(platform, key, &pairs[..count], ROOT, out.as_flattened_mut());
}

/// Hashes up to [`LANES`] inputs of 512 bytes each, such as the digests of a span's blocks.
pub(crate) fn keyed_512(platform: Platform, key: &KeyWords, inputs: &[&[u8; 512]], out: &mut [[u8; 32]]) {
    assert!(
        inputs.len() <= LANES && out.len() == inputs.len(),
        "the caller cuts its inputs into groups of 16"
    );
    let out = out.as_flattened_mut();
    platform.hash_many(
        inputs,
        &key.0,
        0,
        IncrementCounter::No,
        KEYED_HASH,
        CHUNK_START,
        CHUNK_END | ROOT,
        out,
    );
}

/// Puts the chaining values of nodes `node` and `node + 1` of each input next to each other.
fn pair_up(nodes: &[u8], node: usize, count: usize) -> [[u8; PAIR]; LANES] {
    let mut pairs = [[0; PAIR]; LANES];
    for (i, pair) in pairs.iter_mut().enumerate().take(count) {
        let (left, right) = ((node * LANES + i) * 32, ((node + 1) * LANES + i) * 32);
        pair[..32].copy_from_slice(&nodes[left..left + 32]);
        pair[32..].copy_from_slice(&nodes[right..right + 32]);
    }
    pairs
}

fn parents(platform: Platform, key: &KeyWords, pairs: &[[u8; PAIR]], root: u8, out: &mut [u8]) {
    let mut refs: [&[u8; PAIR]; LANES] = [&[0; PAIR]; LANES];
    for (to, from) in refs.iter_mut().zip(pairs) {
        *to = from;
    }
    let flags = KEYED_HASH | PARENT | root;
    platform.hash_many(&refs[..pairs.len()], &key.0, 0, IncrementCounter::No, flags, 0, 0, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize, seed: u8) -> Vec<u8> {
        let mut reader = blake3::Hasher::new().update(&[seed]).finalize_xof();
        let mut bytes = vec![0; len];
        reader.fill(&mut bytes);
        bytes
    }

    #[test]
    fn every_count_of_lanes_gives_what_blake3_gives() {
        let key = [7; 32];
        let words = KeyWords::new(&key);
        let blocks: Vec<[u8; 4096]> =
            (0..16).map(|seed| sample(4096, seed).try_into().unwrap_or([0; 4096])).collect();
        for count in 0..=LANES {
            let inputs: Vec<&[u8; 4096]> = blocks[..count].iter().collect();
            let mut out = vec![[0; 32]; count];
            keyed_4096(Platform::detect(), &words, &inputs, &mut out);
            for (digest, block) in out.iter().zip(&blocks) {
                assert_eq!(digest, blake3::keyed_hash(&key, block).as_bytes());
            }
        }
    }

    #[test]
    fn inputs_of_512_bytes_give_what_blake3_gives() {
        let key = [9; 32];
        let inputs: Vec<[u8; 512]> =
            (0..9).map(|seed| sample(512, seed).try_into().unwrap_or([0; 512])).collect();
        let refs: Vec<&[u8; 512]> = inputs.iter().collect();
        let mut out = vec![[0; 32]; refs.len()];
        keyed_512(Platform::detect(), &KeyWords::new(&key), &refs, &mut out);
        for (digest, input) in out.iter().zip(&inputs) {
            assert_eq!(digest, blake3::keyed_hash(&key, input).as_bytes());
        }
    }
}
