//! The blocks of an overlay in its files: as they are, or each encrypted on its own.

use std::io;

use crate::pure::block_cipher::BlockCipher;
use crate::pure::zero::is_zero;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::world::storage::RandomFile;

/// The bytes that are encrypted before each write.
const PIECE_BYTES: usize = 64 << 10;

/// How the blocks of an overlay are stored. Blocks count from the beginning of the volume.
pub(crate) struct Blocks(pub(crate) Option<BlockCipher>);

impl Blocks {
    /// Fills `buffer` from `offset` of the volume on, which is at `at` in `file`. All of these blocks
    /// were written.
    pub(crate) fn read(
        &self,
        file: &dyn RandomFile,
        at: u64,
        offset: u64,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let Some(cipher) = &self.0 else { return file.read_at(at, buffer) };
        let before = offset % BLOCK_U64;
        let first = offset / BLOCK_U64;
        if before == 0 && buffer.len().is_multiple_of(BLOCK_BYTES) {
            file.read_at(at, buffer)?;
            decrypt(cipher, first, buffer.as_chunks_mut().0);
            return Ok(());
        }
        let before_len = to_usize(before);
        let mut whole = vec![0; (before_len + buffer.len()).next_multiple_of(BLOCK_BYTES)];
        file.read_at(at - before, &mut whole)?;
        decrypt(cipher, first, whole.as_chunks_mut().0);
        buffer.copy_from_slice(&whole[before_len..before_len + buffer.len()]);
        Ok(())
    }

    /// Writes `bytes` at `offset` of the volume, which is at `at` in `file`. A block of which they
    /// are only a part was written before.
    pub(crate) fn write(&self, file: &dyn RandomFile, at: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(cipher) = &self.0 else { return file.write_at(at, bytes) };
        let mut piece = Vec::new();
        let mut done = 0;
        while done < bytes.len() {
            let (at, offset) = (at + to_u64(done), offset + to_u64(done));
            let before = to_usize(offset % BLOCK_U64);
            let part = &bytes[done..bytes.len().min(done + PIECE_BYTES - before)];
            let end = before + part.len();
            let first = offset / BLOCK_U64;
            let begin = at - to_u64(before);
            piece.resize(end.next_multiple_of(BLOCK_BYTES), 0);
            let last = piece.len() / BLOCK_BYTES - 1;
            for (block, is_whole) in [(0, before == 0), (last, end == piece.len())] {
                if !is_whole {
                    let place = &mut piece[block * BLOCK_BYTES..][..BLOCK_BYTES];
                    let skipped = to_u64(block * BLOCK_BYTES);
                    self.read(file, begin + skipped, first * BLOCK_U64 + skipped, place)?;
                }
            }
            piece[before..end].copy_from_slice(part);
            cipher.encrypt(first, piece.as_chunks_mut().0);
            file.write_at(begin, &piece)?;
            done += part.len();
        }
        Ok(())
    }
}

/// Decrypts blocks. One that is all zero was not written but freed: a crash can leave a map that does
/// not know that yet. No block becomes zeros when it is encrypted.
fn decrypt(cipher: &BlockCipher, first: u64, blocks: &mut [[u8; BLOCK_BYTES]]) {
    for (block, number) in blocks.iter_mut().zip(first..) {
        if !is_zero(block) {
            cipher.decrypt(number, std::slice::from_mut(block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::keys::MasterKey;
    use crate::words::sizes::to_u8;
    use crate::world::memory::MemoryStorage;
    use crate::world::storage::Storage;

    fn sealed() -> Blocks {
        Blocks(Some(BlockCipher::new(&MasterKey::new(&[1; 32]).epoch_key(0), &[2; 24])))
    }

    /// The offset in the volume of the begin of the file.
    const BEFORE: u64 = 8 << 40;

    #[test]
    fn any_bytes_are_written_and_read_at_any_place_and_are_not_in_the_file() {
        let storage = MemoryStorage::new();
        let file = storage.open_random("overlay").unwrap();
        let blocks = sealed();
        let mut expected = vec![7; 40 * BLOCK_BYTES];
        blocks.write(&*file, 0, BEFORE, &expected).unwrap();
        let parts =
            [(0, 1), (4095, 2), (5000, 100), (8192, 4096), (4097, 70_000), (0, 163_840), (163_839, 1)];
        for (number, (at, len)) in parts.into_iter().enumerate() {
            expected[at..at + len].fill(to_u8(number) + 10);
            let offset = to_u64(at);
            blocks.write(&*file, offset, BEFORE + offset, &expected[at..at + len]).unwrap();
            for (at, len) in parts {
                let mut read = vec![0; len];
                blocks.read(&*file, to_u64(at), BEFORE + to_u64(at), &mut read).unwrap();
                assert_eq!(read, expected[at..at + len], "{len} bytes at {at}");
            }
        }
        let stored = storage.files().remove("overlay").unwrap();
        assert_eq!(stored.len(), expected.len());
        assert!(stored.windows(16).all(|window| window != [16; 16]));
    }

    #[test]
    fn a_block_that_was_freed_reads_as_zeros() {
        let storage = MemoryStorage::new();
        let file = storage.open_random("overlay").unwrap();
        let blocks = sealed();
        blocks.write(&*file, 0, 0, &[7; 3 * BLOCK_BYTES]).unwrap();
        file.punch(4096..8192).unwrap();
        let mut read = vec![1; 3 * BLOCK_BYTES];
        blocks.read(&*file, 0, 0, &mut read).unwrap();
        assert_eq!(read, [[7; BLOCK_BYTES], [0; BLOCK_BYTES], [7; BLOCK_BYTES]].concat());
    }

    /// The block of `tests/sealing/known_answers.py`, with the number that it has there.
    #[test]
    fn the_bytes_in_the_file_are_those_of_another_program() {
        let storage = MemoryStorage::new();
        let file = storage.open_random("overlay").unwrap();
        let master = MasterKey::new(&std::array::from_fn(to_u8));
        let salt = std::array::from_fn(|at| 100 + to_u8(at));
        let blocks = Blocks(Some(BlockCipher::new(&master.epoch_key(1), &salt)));
        let content: Vec<u8> = (0..BLOCK_BYTES).map(|at| to_u8(at % 251)).collect();
        blocks.write(&*file, 0, ((1 << 32) + 5) * BLOCK_U64, &content).unwrap();
        let stored = blake3::hash(&storage.files()["overlay"]).to_hex();
        assert_eq!(&*stored, "34bf7779cba69a2a390eddcc55efec464afcab22479e92172df9ae6fc5fd418b");
    }
}
