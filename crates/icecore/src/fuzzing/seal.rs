//! Puts signatures, versions and checksums right, so that decoders reach the bytes between them.
//! Written from `docs/format.md`, not with the encoders.

use crate::format::config::FORMAT_MAJOR;
use crate::format::layout;
use crate::pure::hash::Hasher;

/// The most entries of a hostile directory whose stored bytes get a right checksum.
const ENTRIES_MAX: usize = 256;

/// Returns the checksum of a config.
pub(crate) fn plain(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// Returns an enveloped file with its length and checksum put right, or none if it is too short to
/// be one.
pub(crate) fn envelope(
    magic: [u8; 8],
    bytes: &[u8],
    checksum: &dyn Fn(&[u8]) -> [u8; 32],
) -> Option<Vec<u8>> {
    let end = bytes.len().checked_sub(32).filter(|end| *end >= 16)?;
    let mut bytes = bytes.to_vec();
    bytes[..8].copy_from_slice(&magic);
    bytes[8..10].copy_from_slice(&FORMAT_MAJOR.to_le_bytes());
    bytes[12..16].copy_from_slice(&u32::try_from(end - 16).ok()?.to_le_bytes());
    let sum = checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
    Some(bytes)
}

/// Returns a record of reads with its signature, version and checksum put right, or none if it is
/// too short to be one.
pub(crate) fn reads(bytes: &[u8], hasher: &Hasher) -> Option<Vec<u8>> {
    let end = bytes.len().checked_sub(32).filter(|end| *end >= 32)?;
    let mut bytes = bytes.to_vec();
    bytes[..12].copy_from_slice(b"ICEREAD\n\x01\0\0\0");
    let sum = hasher.record(&bytes[..end]).0;
    bytes[end..].copy_from_slice(&sum);
    Some(bytes)
}

/// Puts right a structure of fixed size that begins with `magic` and ends with a CRC-32.
fn fixed(bytes: &mut [u8], magic: &[u8]) {
    let end = bytes.len() - 4;
    bytes[..magic.len()].copy_from_slice(magic);
    put(bytes, end, crc32fast::hash(&bytes[..end]));
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

fn number(bytes: &[u8], at: usize) -> usize {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field) as usize)
}

/// Puts right the checksums of the front of a parity file.
pub(crate) fn parity(bytes: &mut [u8]) {
    if bytes.len() < 64 {
        return;
    }
    bytes[8..10].copy_from_slice(&[1, 0]);
    let (header, table) = bytes.split_at_mut(64);
    put(header, 32, crc32fast::hash(table));
    fixed(header, b"ICEPARI\n");
}

/// Puts right the signature and the checksum of an entry of a dirty map.
pub(crate) fn map_entry(bytes: &mut [u8; 512]) {
    bytes[..4].copy_from_slice(b"IDM1");
    let crc = crc32fast::hash(&bytes[8..]);
    put(bytes, 4, crc);
}

/// Puts right all checksums of a pack, as far as its numbers lead.
pub(crate) fn pack(bytes: &mut [u8]) {
    if bytes.len() < 128 {
        return;
    }
    bytes[8..10].copy_from_slice(&[3, 0]);
    fixed(&mut bytes[..64], b"ICEPACK\n");
    let end = bytes.len() - 64;
    let begin = number(bytes, end + 24).clamp(64, end);
    for at in (begin..end).step_by(44).take(number(bytes, end + 8).min(ENTRIES_MAX)) {
        entry(bytes, at, begin);
    }
    // Records begin here whatever the trailer says.
    let mut at = 64;
    while at + 40 <= begin {
        let stored = number(bytes, at + 12);
        let ids = if bytes[at + 5] & 1 == 1 { 16 * (number(bytes, at + 6) & 0xffff) + 32 } else { 0 };
        fixed(&mut bytes[at..at + 40], b"ICER");
        at += 40 + ids + stored;
    }
    let crc = crc32fast::hash(&bytes[begin..end]);
    put(bytes, end + 20, crc);
    fixed(&mut bytes[end..], b"ICEPEND\n");
}

/// Puts right the checksum of the data that a directory entry points to, in the entry and in the
/// record.
fn entry(bytes: &mut [u8], at: usize, records_end: usize) {
    if bytes.len() < at + 44 {
        return;
    }
    let (offset, stored) = (number(bytes, at + 16), number(bytes, at + 20));
    let Some(content) = bytes[..records_end].get(offset..offset.saturating_add(stored)) else { return };
    let crc = crc32fast::hash(content);
    put(bytes, at + 28, crc);
    let punched = if bytes[at + 43] & 1 == 1 { 16 * (number(bytes, at + 40) & 0xffff) + 32 } else { 0 };
    if let Some(record) = offset.checked_sub(40 + punched).filter(|record| *record >= 64) {
        put(bytes, record + 16, crc);
    }
}

/// Puts right the digests of a checkpoint whose trailer says how long it is.
pub(crate) fn checkpoint(bytes: &mut [u8], hasher: &Hasher) {
    const BLOCK: usize = 64 << 10;
    let Some(end) = bytes.len().checked_sub(48) else { return };
    // As many bytes as leave room for a digest of each block.
    let Some(length) = (0..=end).rev().find(|length| length + length.div_ceil(BLOCK) * 32 == end) else {
        return;
    };
    bytes[end..end + 8].copy_from_slice(b"ICECPEN\n");
    bytes[end + 8..end + 16].copy_from_slice(&(length as u64).to_le_bytes());
    let digests: Vec<u8> =
        bytes[..length].chunks(BLOCK).flat_map(|block| hasher.checkpoint(block).0).collect();
    bytes[length..end].copy_from_slice(&digests);
    let sum = hasher.checkpoint(&bytes[length..end + 16]).0;
    bytes[end + 16..].copy_from_slice(&sum);
}

/// Puts right the checksums of an index run.
pub(crate) fn run(bytes: &mut [u8]) {
    if bytes.len() < 64 {
        return;
    }
    let crc = crc32fast::hash(&bytes[64..]);
    put(bytes, 32, crc);
    bytes[8..10].copy_from_slice(&[2, 0]);
    fixed(&mut bytes[..64], b"ICERUN1\n");
}

/// Puts right the checksums of a file in a repository with this key; the file's name tells its
/// type. Returns the file's new name, because packs and runs are named after their content. Leaves
/// other files as they are.
pub fn file(key: &[u8; 32], name: &str, bytes: &mut Vec<u8>) -> String {
    let hasher = Hasher::new(key);
    if name == layout::CONFIG {
        *bytes = envelope(*b"ICECONF\n", bytes, &plain).unwrap_or(bytes.clone());
    } else if name.starts_with(layout::JOURNAL) {
        *bytes = envelope(*b"ICEJRNL\n", bytes, &|bytes| hasher.entry(bytes).0).unwrap_or(bytes.clone());
    } else if name.starts_with(layout::CHECKPOINTS) {
        checkpoint(bytes, &hasher);
    } else if name.starts_with(layout::VOLUMES) && name.ends_with("/record") {
        *bytes = envelope(*b"ICEVOLU\n", bytes, &|bytes| hasher.record(bytes).0).unwrap_or(bytes.clone());
    } else if name.starts_with(layout::PACKS) && bytes.len() >= 128 {
        pack(bytes);
        let end = bytes.len() - 64;
        let begin = number(bytes, end + 24).clamp(64, end);
        return layout::pack(hasher.pack(&bytes[..64], &bytes[begin..end], &bytes[end..]));
    } else if name.starts_with(layout::INDEX) && bytes.len() >= 64 {
        run(bytes);
        let head = 64 + number(bytes, 12).saturating_mul(32);
        return layout::run(hasher.run(&bytes[..head.min(bytes.len())]));
    }
    name.to_owned()
}
