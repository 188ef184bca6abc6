//! Reed-Solomon: parity shards of a group of shards, and recovery of shards from the others and
//! parity.
//!
//! `docs/format.md` describes the code and its constants; a test computes it in the plainest way.

use std::io;

use reed_solomon_simd::Error as CodeError;
use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::HighRateDecoder;
use reed_solomon_simd::rate::HighRateEncoder;
use reed_solomon_simd::rate::RateDecoder;
use reed_solomon_simd::rate::RateEncoder;

/// Returns `parity` shards for `shards`, which all have the same length, a multiple of 64 bytes.
pub(crate) fn encode(shards: &[&[u8]], parity: usize) -> io::Result<Vec<Vec<u8>>> {
    let bytes = shards.first().map_or(0, |shard| shard.len());
    let mut encoder =
        HighRateEncoder::new(shards.len(), parity, bytes, DefaultEngine::new(), None).map_err(failed)?;
    shards.iter().try_for_each(|shard| encoder.add_original_shard(shard)).map_err(failed)?;
    let encoded = encoder.encode().map_err(failed)?;
    Ok(encoded.recovery_iter().map(<[u8]>::to_vec).collect())
}

/// Recovers the shard `wanted` from the present shards and parity shards, which must be at least as
/// many as the shards of the group.
pub(crate) fn decode(
    shards: &[Option<Vec<u8>>],
    parity: &[Option<Vec<u8>>],
    wanted: usize,
) -> io::Result<Vec<u8>> {
    let bytes = shards.iter().chain(parity).flatten().map(Vec::len).next().unwrap_or(0);
    let engine = DefaultEngine::new();
    let mut decoder =
        HighRateDecoder::new(shards.len(), parity.len(), bytes, engine, None).map_err(failed)?;
    for (at, shard) in shards.iter().enumerate() {
        shard.iter().try_for_each(|shard| decoder.add_original_shard(at, shard)).map_err(failed)?;
    }
    for (at, shard) in parity.iter().enumerate() {
        shard.iter().try_for_each(|shard| decoder.add_recovery_shard(at, shard)).map_err(failed)?;
    }
    let decoded = decoder.decode().map_err(failed)?;
    decoded.restored_original(wanted).map(<[u8]>::to_vec).ok_or(io::ErrorKind::InvalidInput.into())
}

fn failed(error: CodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The field and the code as `docs/format.md` describes them, in the plainest way.
    mod plain {
        const POLYNOMIAL: u32 = 0x1_002d;
        const BASIS: [u16; 16] = [
            0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900,
            0xfdb8, 0xfb34, 0xff38, 0x991e,
        ];

        /// Returns the field element of a symbol.
        fn element(symbol: u16) -> u16 {
            (0..16).filter(|bit| symbol >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit])
        }

        fn symbol(wanted: u16) -> u16 {
            // The basis vectors, solved one bit of the element after another.
            let mut rows: Vec<(u16, u16)> = (0..16).map(|bit| (BASIS[bit], 1 << bit)).collect();
            let (mut rest, mut symbol) = (wanted, 0);
            for bit in (0..16).rev() {
                let Some(at) = rows.iter().position(|(row, _)| row >> bit & 1 == 1) else { continue };
                let (pivot, from) = rows.swap_remove(at);
                for (row, of) in rows.iter_mut().filter(|(row, _)| row >> bit & 1 == 1) {
                    *row ^= pivot;
                    *of ^= from;
                }
                if rest >> bit & 1 == 1 {
                    rest ^= pivot;
                    symbol ^= from;
                }
            }
            assert_eq!((rest, element(symbol)), (0, wanted));
            symbol
        }

        fn times(a: u16, b: u16) -> u16 {
            let (a, b) = (u32::from(element(a)), u32::from(element(b)));
            let mut product = (0..16).filter(|bit| b >> bit & 1 == 1).fold(0_u32, |sum, bit| sum ^ a << bit);
            for bit in (16..32).rev() {
                if product >> bit & 1 == 1 {
                    product ^= POLYNOMIAL << (bit - 16);
                }
            }
            symbol(u16::try_from(product).unwrap())
        }

        fn inverse(a: u16) -> u16 {
            // The field has 2^16 elements: a^(2^16 - 2).
            let (mut power, mut product) = (a, 1);
            for _ in 1..16 {
                power = times(power, power);
                product = times(product, power);
            }
            assert_eq!(times(a, product), 1);
            product
        }

        fn symbols(shard: &[u8]) -> Vec<u16> {
            let of_block =
                |block: &[u8]| (0..32).map(|at| u16::from_le_bytes([block[at], block[32 + at]])).collect();
            shard.chunks(64).flat_map::<Vec<u16>, _>(of_block).collect()
        }

        fn bytes(symbols: &[u16]) -> Vec<u8> {
            let low = |part: &[u16]| part.iter().map(|symbol| symbol.to_le_bytes()[0]).collect::<Vec<u8>>();
            let high = |part: &[u16]| part.iter().map(|symbol| symbol.to_le_bytes()[1]).collect::<Vec<u8>>();
            symbols.chunks(32).flat_map(|part| [low(part), high(part)].concat()).collect()
        }

        pub(super) fn encode(shards: &[&[u8]], parity: u16) -> Vec<Vec<u8>> {
            let width = parity.next_power_of_two();
            let factor = |shard: u16, at: u16| {
                let group = width * (shard / width + 1);
                let own = group + shard % width;
                (group..group + width)
                    .filter(|other| *other != own)
                    .fold(1, |product, other| times(product, times(at ^ other, inverse(own ^ other))))
            };
            let one = |at: u16| {
                let mut sum = vec![0_u16; shards[0].len() / 2];
                for (shard, number) in shards.iter().zip(0..) {
                    let factor = factor(number, at);
                    sum.iter_mut()
                        .zip(symbols(shard))
                        .for_each(|(sum, symbol)| *sum ^= times(factor, symbol));
                }
                bytes(&sum)
            };
            (0..parity).map(one).collect()
        }
    }

    fn noise(seed: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn parity_is_what_the_format_describes() {
        for (count, parity) in [(1, 1), (1, 2), (2, 1), (10, 2), (7, 3), (3, 4), (12, 5)] {
            let shards: Vec<Vec<u8>> = (0..count).map(|seed| noise(seed, 128)).collect();
            let shards: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
            let found = encode(&shards, parity.into()).unwrap();
            assert_eq!(found, plain::encode(&shards, parity), "{count}+{parity}");
        }
    }

    #[test]
    fn as_many_shards_as_there_is_parity_come_back() {
        let shards: Vec<Vec<u8>> = (0..5).map(|seed| noise(seed, 192)).collect();
        let slices: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
        let parity: Vec<Option<Vec<u8>>> = encode(&slices, 2).unwrap().into_iter().map(Some).collect();
        for (a, b) in (0..5).flat_map(|a| (0..5).map(move |b| (a, b))) {
            let left = |at: usize| (at != a && at != b).then(|| shards[at].clone());
            let left: Vec<Option<Vec<u8>>> = (0..5).map(left).collect();
            assert_eq!(decode(&left, &parity, a).unwrap(), shards[a], "{a} and {b}");
        }
        let left: Vec<Option<Vec<u8>>> = (0..5).map(|at| (at > 2).then(|| shards[at].clone())).collect();
        assert!(decode(&left, &parity, 0).is_err(), "three are too many");
    }
}
