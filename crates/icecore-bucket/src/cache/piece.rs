//! A piece of an object in a file: checksums of its blocks, and the blocks.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::UTIME_NOW;

/// The length of all pieces but the last one of an object.
pub(super) const PIECE_BYTES: u64 = 256 << 10;
/// What a checksum is of.
const BLOCK_BYTES: usize = 16 << 10;
/// The most blocks of a piece.
const BLOCKS: usize = 16;
/// The length of the piece, a checksum for each block, and one of all that.
const HEADER_BYTES: usize = 4 + 4 * BLOCKS + 4;

/// Returns the file of a piece. It tells nothing of the object's name.
pub(super) fn path(dir: &Path, name: &str, number: u64) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(name.as_bytes());
    let hex = hasher.finalize().to_hex();
    dir.join(&hex[..2]).join(&hex[2..34])
}

/// Returns a part of a piece, or none if there is no such piece, or it is damaged there.
pub(super) fn read(path: &Path, part: Range<u64>) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let part = read_from(&file, part);
    match part {
        Some(_) => note_use(&file),
        // Damaged, or shorter than it should be: it is fetched anew.
        None => drop(fs::remove_file(path)),
    }
    part
}

fn read_from(file: &File, part: Range<u64>) -> Option<Vec<u8>> {
    let part = usize::try_from(part.start).ok()?..usize::try_from(part.end).ok()?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    let (content, sum) = header.split_at(HEADER_BYTES - 4);
    if crc32fast::hash(content).to_le_bytes() != sum {
        return None;
    }
    let numbers: Vec<u32> = content.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let (length, sums) = numbers.split_first()?;
    let length = usize::try_from(*length).ok()?;
    if part.start > part.end || part.end > length {
        return None;
    }
    let start = part.start / BLOCK_BYTES * BLOCK_BYTES;
    let end = part.end.next_multiple_of(BLOCK_BYTES).min(length);
    let mut blocks = vec![0; end - start];
    file.read_exact_at(&mut blocks, (HEADER_BYTES + start) as u64).ok()?;
    let mut sums = sums.iter().skip(start / BLOCK_BYTES);
    if !blocks.chunks(BLOCK_BYTES).all(|block| sums.next() == Some(&crc32fast::hash(block))) {
        return None;
    }
    blocks.truncate(part.end - start);
    blocks.drain(..part.start - start);
    Some(blocks)
}

/// Marks a piece as used now, for whoever makes room.
fn note_use(file: &File) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    // One that cannot be marked goes a little earlier.
    let _ = rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now });
}

/// Writes a piece, in the place of one that may be there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes());
    bytes.chunks(BLOCK_BYTES).for_each(|block| header.extend(crc32fast::hash(block).to_le_bytes()));
    header.resize(HEADER_BYTES - 4, 0);
    header.extend(crc32fast::hash(&header).to_le_bytes());
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temp = path.with_extension(format!("{}-{number}", std::process::id()));
    let written = || {
        let mut file = match File::create(&temp) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                File::create(&temp)?
            }
            file => file?,
        };
        file.write_all(&header)?;
        file.write_all(bytes)?;
        fs::rename(&temp, path)
    };
    written().inspect_err(|_| drop(fs::remove_file(&temp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_piece_is_what_was_written_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(dir.path(), "packs/one", 3);
        assert_ne!(file, path(dir.path(), "packs/one", 4));
        assert_ne!(file, path(dir.path(), "packs/two", 3));
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| (number / 251).to_le_bytes()[0]).collect();
        assert_eq!(read(&file, 0..10), None);
        write(&file, &bytes).unwrap();
        for part in [0..0, 0..1, 5..20_000, 16_384..32_768, 99_000..100_000, 0..100_000] {
            let [from, upto] = [part.start, part.end].map(|at| usize::try_from(at).unwrap());
            let wanted = bytes[from..upto].to_vec();
            assert_eq!(read(&file, part.clone()), Some(wanted), "{part:?}");
        }
        // Damage is a miss where it is, and then everywhere.
        let stored = fs::read(&file).unwrap();
        for (at, part, is_there) in [
            (HEADER_BYTES + 50_000, 0..16_384, true),
            (HEADER_BYTES + 50_000, 40_000..60_000, false),
            (9, 0..1, false),
            (HEADER_BYTES - 1, 0..1, false),
        ] {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert_eq!(read(&file, part).is_some(), is_there, "{at}");
            assert_eq!(file.exists(), is_there, "{at}");
        }
        for length in [0, 10, HEADER_BYTES, HEADER_BYTES + 99_999] {
            fs::write(&file, &stored[..length]).unwrap();
            assert_eq!(read(&file, 99_000..100_000), None, "{length}");
        }
        write(&file, &bytes).unwrap();
        assert_eq!(read(&file, 99_999..100_001), None, "beyond its end");
    }
}
