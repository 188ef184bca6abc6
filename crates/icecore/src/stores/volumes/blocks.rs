//! The blocks of an overlay in its files: as they are, or each encrypted on its own.

use std::io;

use crate::pure::block_cipher::BlockCipher;
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
            cipher.decrypt(first, buffer.as_chunks_mut().0);
            return Ok(());
        }
        let before_len = to_usize(before);
        let mut whole = vec![0; (before_len + buffer.len()).next_multiple_of(BLOCK_BYTES)];
        file.read_at(at - before, &mut whole)?;
        cipher.decrypt(first, whole.as_chunks_mut().0);
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
