//! Compression of chunks and pages: zstd frames, or raw bytes if a frame would save too little.

use std::io;

use zstd::bulk::Compressor;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::find_frame_compressed_size;

/// The range of zstd levels.
pub const LEVELS: std::ops::RangeInclusive<i32> = -7..=19;
/// The default zstd level.
pub const DEFAULT_LEVEL: i32 = 1;

/// The bytes that a frame must save; otherwise the bytes are stored raw, because a raw chunk is
/// read without decompression.
const WORTH_BYTES: usize = 64;

/// The encoding of the stored bytes of a chunk or a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Uncompressed.
    Raw,
    /// One zstd frame.
    Zstd,
    /// What differs from another page; of pages only.
    Delta,
}

/// Encoded bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) codec: Codec,
    pub(crate) bytes: Vec<u8>,
}

/// A compressor that keeps its context and buffers between calls.
pub(crate) struct Encoder {
    zstd: Compressor<'static>,
    check: Option<Decoder>,
}

impl Encoder {
    /// Returns an encoder. With `check`, it decodes everything again and compares before it returns
    /// the result, so that a bad core or memory cell does not become a bad snapshot.
    pub(crate) fn new(level: i32, check: bool) -> io::Result<Self> {
        let check = if check { Some(Decoder::new()?) } else { None };
        Ok(Self { zstd: Compressor::new(level)?, check })
    }

    pub(crate) fn encode(&mut self, raw: &[u8]) -> io::Result<Encoded> {
        let mut bytes = Vec::with_capacity(zstd::zstd_safe::compress_bound(raw.len()));
        self.zstd.compress_to_buffer(raw, &mut bytes)?;
        if bytes.len() + WORTH_BYTES > raw.len() {
            return Ok(Encoded { codec: Codec::Raw, bytes: raw.to_vec() });
        }
        if let Some(decoder) = &mut self.check
            && decoder.decode(Codec::Zstd, &bytes, raw.len())? != raw
        {
            return Err(io::Error::other(
                "compressed bytes do not decode to the original bytes; memory or processor may be faulty",
            ));
        }
        bytes.shrink_to_fit();
        Ok(Encoded { codec: Codec::Zstd, bytes })
    }
}

/// A decompressor that keeps its context and buffer between calls.
pub(crate) struct Decoder {
    zstd: Decompressor<'static>,
    buffer: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { zstd: Decompressor::new()?, buffer: Vec::new() })
    }

    /// Returns the capacity of its buffer in bytes.
    #[cfg(feature = "testing")]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Returns the decoded bytes of `stored`, which must be exactly `raw_bytes` long. Never takes
    /// more memory than that, whatever the frame claims.
    pub(crate) fn decode<'a>(
        &'a mut self,
        codec: Codec,
        stored: &'a [u8],
        raw_bytes: usize,
    ) -> io::Result<&'a [u8]> {
        let wrong = || {
            io::Error::new(io::ErrorKind::InvalidData, "the decoded bytes do not have the recorded length")
        };
        match codec {
            Codec::Raw if stored.len() == raw_bytes => Ok(stored),
            Codec::Raw | Codec::Delta => Err(wrong()),
            Codec::Zstd => {
                // One frame and nothing else: several frames would be different stored bytes for
                // the same chunk.
                if find_frame_compressed_size(stored) != Ok(stored.len()) {
                    return Err(wrong());
                }
                self.buffer.clear();
                self.buffer.reserve(raw_bytes);
                // A frame may use the whole capacity, which can be more than requested.
                self.zstd.decompress_to_buffer(stored, &mut self.buffer)?;
                if self.buffer.len() == raw_bytes { Ok(&self.buffer) } else { Err(wrong()) }
            }
        }
    }
}

impl Decoder {
    /// Returns the bytes decompressed last, for the caller to keep.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_frame_is_refused() {
        let text = b"a block of a disk image, again and again. ".repeat(1000);
        let frame = Encoder::new(1, true).unwrap().encode(&text).unwrap().bytes;
        // A frame that decoders skip: its signature, its length, its content.
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let empty = Encoder::new(1, true).unwrap().zstd.compress(&[]).unwrap();
        let mut decoder = Decoder::new().unwrap();
        assert!(decoder.decode(Codec::Zstd, &frame, text.len()).is_ok());
        for more in [&skipped, &empty] {
            for stored in [[more, &frame[..]].concat(), [&frame[..], more].concat()] {
                assert!(decoder.decode(Codec::Zstd, &stored, text.len()).is_err());
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_kept_raw_and_what_does_comes_back() {
        let mut noise = vec![0; 65536];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let text = b"a block of a disk image, again and again. ".repeat(1000);
        for (raw, codec) in [(&noise, Codec::Raw), (&text, Codec::Zstd)] {
            for level in [-7, 1, 19] {
                let encoded = Encoder::new(level, true).unwrap().encode(raw).unwrap();
                assert_eq!(encoded.codec, codec);
                let mut decoder = Decoder::new().unwrap();
                assert_eq!(decoder.decode(encoded.codec, &encoded.bytes, raw.len()).unwrap(), &raw[..]);
                assert!(decoder.decode(encoded.codec, &encoded.bytes, raw.len() - 1).is_err());
            }
        }
    }

    #[test]
    fn a_frame_that_claims_petabytes_is_refused() {
        // A zstd frame header with an 8-byte content size of 2^50 and one empty last block.
        let bomb = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1_u64 << 50).to_le_bytes(), &[1, 0, 0]].concat();
        assert!(Decoder::new().unwrap().decode(Codec::Zstd, &bomb, 65536).is_err());
    }
}
