//! A part of an image in memory, as the pipeline has it at each of its stages.

use std::collections::HashSet;

use crate::pure::hash::Hasher;
use crate::pure::span::Span;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::NodeDigest;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::CHUNK_BLOCKS;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::SPAN_BYTES;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::units::LeafNumber;
use crate::world::io::ReadAt;
use crate::world::io::WriteAt;

/// A leaf region.
pub(crate) struct Leaf {
    number: LeafNumber,
    /// A bit for each span that may not be a hole.
    mask: u64,
    /// The region's bytes, with zeros for holes.
    pub(crate) bytes: Vec<u8>,
}

/// The spans of a leaf that may not be holes, each with its number.
pub(crate) type Spans<'a> = Vec<(usize, Span<'a>)>;

/// The digests of a leaf's spans and blocks.
pub(crate) struct Hashed {
    pub(crate) spans: [NodeDigest; LEAF_SPANS],
    pub(crate) blocks: Box<[Option<BlockId>; LEAF_BLOCKS]>,
}

impl Leaf {
    pub(crate) fn new() -> Self {
        Self { number: LeafNumber(0), mask: 0, bytes: vec![0; LEAF_BYTES] }
    }

    /// Makes this the leaf region with the given number, before reading it.
    pub(crate) fn begin(&mut self, number: LeafNumber, mask: u64) {
        (self.number, self.mask) = (number, mask);
        self.bytes.fill(0);
    }

    /// Reads the region. Returns the number of bytes read.
    pub(crate) fn read(&mut self, image: &dyn ReadAt) -> Result<u64> {
        let mut read_bytes = 0;
        for span in (0..LEAF_SPANS).filter(|span| self.mask >> span & 1 == 1) {
            let (offset, present) = self.place(span, image.len());
            let bytes = &mut self.bytes[span * SPAN_BYTES..][..present];
            image
                .read_at(offset, bytes)
                .map_err(|error| Error::io(format!("reading the image at offset {offset}"), error))?;
            read_bytes += to_u64(present);
        }
        Ok(read_bytes)
    }

    /// Returns the offset and the length of a span in an image of this size.
    fn place(&self, span: usize, image_bytes: u64) -> (u64, usize) {
        let offset = self.number.span(span).start;
        (offset, to_usize(image_bytes.saturating_sub(offset)).min(SPAN_BYTES))
    }

    /// Returns the bytes of a span.
    pub(crate) fn span(&self, span: usize) -> &[u8] {
        &self.bytes[span * SPAN_BYTES..][..SPAN_BYTES]
    }

    /// Returns the spans that are not zero.
    pub(crate) fn scan(&self) -> Spans<'_> {
        let spans = (0..LEAF_SPANS).filter(|span| self.mask >> span & 1 == 1);
        spans.map(|span| (span, Span::of(self.span(span)))).collect()
    }

    /// Turns the parts of a target that the leaf was written to into holes again.
    pub(crate) fn unwrite(&self, target: &dyn WriteAt) -> Result<()> {
        let begin = self.number.offset();
        let range = begin..self.number.range().end.min(target.len());
        target
            .zero_at(range)
            .map_err(|error| Error::io(format!("punching a hole in the target at offset {begin}"), error))
    }

    /// Writes the spans that are not zero. Returns the number of bytes written.
    pub(crate) fn write(&self, spans: &Spans<'_>, target: &dyn WriteAt) -> Result<u64> {
        let mut written_bytes = 0;
        for (at, _) in spans.iter().filter(|(_, span)| span.count() > 0) {
            let (offset, present) = self.place(*at, target.len());
            target
                .write_at(offset, &self.span(*at)[..present])
                .map_err(|error| Error::io(format!("writing the target at offset {offset}"), error))?;
            written_bytes += to_u64(present);
        }
        Ok(written_bytes)
    }
}

impl Hashed {
    /// Computes all digests of a leaf.
    pub(crate) fn of(hasher: &Hasher, spans: &Spans<'_>) -> Self {
        let mut hashed =
            Self { spans: [NodeDigest::ZERO; LEAF_SPANS], blocks: Box::new([None; LEAF_BLOCKS]) };
        for (at, span) in spans {
            let ids = &mut hashed.blocks[at * SPAN_BLOCKS..][..SPAN_BLOCKS];
            hashed.spans[*at] = span.hash(hasher, ids);
        }
        hashed
    }
}

/// New blocks that form a chunk.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) blocks: Vec<BlockId>,
    pub(crate) raw: Vec<u8>,
}

/// A collector of new blocks.
#[derive(Default)]
pub(crate) struct Chunks {
    pub(crate) known: HashSet<BlockId>,
    open: Chunk,
}

impl Chunks {
    /// Adds the new blocks of a leaf, and moves chunks that become full to `full`.
    pub(crate) fn add(&mut self, leaf: &Leaf, hashed: &Hashed, full: &mut Vec<Chunk>) {
        for (bytes, id) in leaf.bytes.chunks_exact(BLOCK_BYTES).zip(hashed.blocks.iter()) {
            let Some(id) = id.filter(|id| self.known.insert(*id)) else { continue };
            self.open.blocks.push(id);
            self.open.raw.extend_from_slice(bytes);
            if self.open.blocks.len() == CHUNK_BLOCKS {
                full.extend(self.close());
            }
        }
    }

    /// Returns the partly filled chunk, if it has any blocks.
    pub(crate) fn close(&mut self) -> Option<Chunk> {
        (!self.open.blocks.is_empty()).then(|| std::mem::take(&mut self.open))
    }
}
