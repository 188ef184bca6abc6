//! Runs the stages of a capture and a restore one at a time on one thread, so that each can be
//! measured.

use std::hint::black_box;

use crate::pure::compress::Decoder;
use crate::pure::compress::Encoded;
use crate::pure::compress::Encoder;
use crate::pure::hash::Hasher;
use crate::pure::zero;
use crate::repository::Repository;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::Digest;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::SPAN_BLOCKS;

/// A hasher with the key of a repository.
pub struct Hashing(Hasher);

impl Hashing {
    /// Derives the keys for all kinds of digests from the repository's key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Hasher::new(key))
    }

    /// Returns the ids of the whole blocks in `bytes`. It skips a shorter rest.
    pub fn block_ids(&self, bytes: &[u8]) -> Vec<BlockId> {
        let blocks: Vec<&[u8; BLOCK_BYTES]> = bytes.as_chunks().0.iter().collect();
        self.0.blocks(&blocks).iter().map(Digest::block_id).collect()
    }

    /// Hashes the whole spans in `bytes`: first their blocks, then from these the span's digest.
    /// Returns how many spans there are.
    pub fn hash_spans(&self, bytes: &[u8]) -> usize {
        let (blocks, _rest) = bytes.as_chunks::<BLOCK_BYTES>();
        let (spans, _rest) = blocks.as_chunks::<SPAN_BLOCKS>();
        for span in spans {
            let digests = self.0.blocks(&span.each_ref());
            if let Ok(digests) = <&[Digest; SPAN_BLOCKS]>::try_from(digests.as_slice()) {
                black_box(self.0.span(digests));
            }
        }
        spans.len()
    }
}

/// Tells whether all bytes are zero, with the check that a capture makes for every span.
pub fn is_zero(bytes: &[u8]) -> bool {
    zero::is_zero(bytes)
}

/// A chunk's bytes in their stored form.
pub struct Stored {
    encoded: Encoded,
    raw_bytes: usize,
}

impl Stored {
    /// Returns the number of stored bytes.
    pub fn stored_bytes(&self) -> usize {
        self.encoded.bytes.len()
    }
}

/// A compressor.
pub struct Compressing(Encoder);

impl Compressing {
    /// Returns a compressor. With `check` it decodes its output and compares it with the input.
    ///
    /// # Errors
    /// `Io` if zstd refuses the level.
    pub fn new(level: i32, check: bool) -> Result<Self> {
        let encoder =
            Encoder::new(level, check).map_err(|error| Error::io("creating a compressor", error))?;
        Ok(Self(encoder))
    }

    /// Returns `raw` in its stored form.
    ///
    /// # Errors
    /// `Io` if the check finds a difference.
    pub fn compress(&mut self, raw: &[u8]) -> Result<Stored> {
        let encoded = self.0.encode(raw).map_err(|error| Error::io("compressing", error))?;
        Ok(Stored { encoded, raw_bytes: raw.len() })
    }
}

/// A decompressor.
pub struct Decompressing(Decoder);

impl Decompressing {
    /// Returns a decompressor.
    ///
    /// # Errors
    /// `Io` if there is not enough memory for it.
    pub fn new() -> Result<Self> {
        Decoder::new().map(Self).map_err(|error| Error::io("creating a decompressor", error))
    }

    /// Returns the bytes that `stored` was compressed from.
    ///
    /// # Errors
    /// `Io` if they cannot be decoded.
    pub fn decompress<'a>(&'a mut self, stored: &'a Stored) -> Result<&'a [u8]> {
        let Stored { encoded, raw_bytes } = stored;
        let decoded = self.0.decode(encoded.codec, &encoded.bytes, *raw_bytes);
        decoded.map_err(|error| Error::io("decompressing", error))
    }
}

/// Looks blocks up in the index, and each hit in its pack's directory. Returns how many are stored.
///
/// # Errors
/// `Io` if a pack cannot be opened.
pub fn find_blocks(repo: &Repository, ids: &[BlockId]) -> Result<usize> {
    repo.store.count_known(ids)
}
