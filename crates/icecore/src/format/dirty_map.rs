//! The dirty map of an overlay: for each block of a volume, whether the overlay has it.
//!
//! ```text
//! An entry of 512 bytes for each region of 4 MiB, at 512 times the region's number; one that is all zero, such as a hole, says
//! that the overlay has nothing of the region.
//! 0    signature   4    "IDM1"
//! 4    checksum    u32  CRC-32 of all bytes after it
//! 8    region      u64  its number
//! 16   states      256  two bits for each block, the first block in the lowest: 0 not in the overlay, 1 in it, 2 zero
//! 272  zero        240
//! ```

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::words::sizes::LEAF_BLOCKS;

pub(crate) const MAP_ENTRY_BYTES: usize = 512;
const MAGIC: [u8; 4] = *b"IDM1";
const STATES_AT: usize = 16;
const STATE_BITS: usize = 2;
/// The number of 64-bit words for the states of a region.
pub(crate) const STATE_WORDS: usize = LEAF_BLOCKS * STATE_BITS / 64;

/// The states of the blocks of a region, two bits each.
pub(crate) type RegionStates = [u64; STATE_WORDS];

/// Encodes the entry of a region.
pub(crate) fn encode_map_entry(region: u64, states: &RegionStates) -> [u8; MAP_ENTRY_BYTES] {
    let mut bytes = [0; MAP_ENTRY_BYTES];
    bytes[8..STATES_AT].copy_from_slice(&region.to_le_bytes());
    for (place, word) in bytes[STATES_AT..].chunks_exact_mut(8).zip(states) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let checksum = crc32fast::hash(&bytes[8..]);
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Decodes the entry of a region; none if the overlay has nothing of it.
pub(crate) fn decode_map_entry(
    bytes: &[u8; MAP_ENTRY_BYTES],
    region: u64,
) -> Result<Option<RegionStates>, DecodeError> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let mut fields = Fields(bytes);
    if fields.array()? != MAGIC {
        return Err(DecodeError::BadMagic { what: "entry of a dirty map" });
    }
    if fields.u32()? != crc32fast::hash(&bytes[8..]) {
        return Err(DecodeError::BadChecksum { what: "entry of a dirty map" });
    }
    let stated = fields.array().map(u64::from_le_bytes)?;
    if stated != region {
        return Err(DecodeError::bad("the number of the region", stated));
    }
    let mut states = [0; STATE_WORDS];
    for word in &mut states {
        *word = fields.array().map(u64::from_le_bytes)?;
        if *word & *word >> 1 & 0x5555_5555_5555_5555 != 0 {
            return Err(DecodeError::bad("the state of a block", 3_u64));
        }
    }
    if fields.0.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::bad("the end of the entry", 0_u64));
    }
    Ok(Some(states))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_of_an_entry_can_change_unseen() {
        let mut states = [0; STATE_WORDS];
        (states[0], states[31]) = (0b01_10, 1 << 62);
        let entry = encode_map_entry(7, &states);
        assert_eq!(decode_map_entry(&entry, 7), Ok(Some(states)));
        assert_eq!(decode_map_entry(&[0; MAP_ENTRY_BYTES], 7), Ok(None));
        assert!(decode_map_entry(&entry, 8).is_err(), "an entry in the place of another");
        for bit in 0..MAP_ENTRY_BYTES * 8 {
            let mut damaged = entry;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_map_entry(&damaged, 7).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn there_is_no_fourth_state() {
        let mut states = [0; STATE_WORDS];
        states[3] = 0b11 << 10;
        assert!(decode_map_entry(&encode_map_entry(0, &states), 0).is_err());
    }
}
