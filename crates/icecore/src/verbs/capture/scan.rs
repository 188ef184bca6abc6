//! The first stage: read an image's data, leave out zeros, compute digests. Holes are never read.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc;

use memmap2::MmapMut;

use crate::pure::hash::Hasher;
use crate::pure::span::Span;
use crate::verbs::capture::buffers::BufferPool;
use crate::verbs::capture::buffers::LeafBuffer;
use crate::verbs::capture::parent::ParentLeaf;
use crate::verbs::capture::regions::ReadAhead;
use crate::verbs::capture::regions::Region;
use crate::verbs::capture::regions::Regions;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::NodeDigest;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::SPAN_BYTES;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::units::LeafNumber;
use crate::world::io::ReadAt;
use crate::world::pages;

/// Spans that a thread reads together and then hashes: few enough to stay in its cache in between.
const PIECE_SPANS: usize = 4;

/// A leaf region of an image with data, read and hashed.
pub(crate) struct ScannedLeaf {
    pub(crate) number: LeafNumber,
    /// The parent's leaf for this region.
    pub(crate) parent: Option<ParentLeaf>,
    /// The bytes of the spans that were not taken from the parent.
    pub(crate) buffer: Arc<LeafBuffer>,
    /// The digest of each span, zero if the whole span is zero.
    pub(crate) spans: [NodeDigest; LEAF_SPANS],
    /// The id of each block, none if it is zero or was not read.
    pub(crate) blocks: Box<[Option<BlockId>; LEAF_BLOCKS]>,
    /// The same as in [`Region`].
    pub(crate) replaced_blocks: Option<u64>,
    /// The number of bytes that were read.
    pub(crate) read_bytes: u64,
}

/// A scanner that reads and hashes regions on all cores and returns them in order.
pub(crate) struct Scan<'s, 'a> {
    scope: &'s rayon::Scope<'a>,
    image: &'a dyn ReadAt,
    hasher: &'a Hasher,
    progress: &'a dyn Progress,
    regions: Regions<'a>,
    pool: Arc<BufferPool>,
    under_way: VecDeque<mpsc::Receiver<Result<ScannedLeaf>>>,
    depth: usize,
    /// None if only little is read, in scattered places.
    ahead: Option<ReadAhead<'a>>,
}

impl<'s, 'a> Scan<'s, 'a> {
    pub(crate) fn new(
        scope: &'s rayon::Scope<'a>,
        image: &'a dyn ReadAt,
        hasher: &'a Hasher,
        progress: &'a dyn Progress,
        regions: Regions<'a>,
        pool: Arc<BufferPool>,
    ) -> Self {
        let depth = rayon::current_num_threads() * 2;
        let ahead = matches!(regions, Regions::All { .. }).then(|| ReadAhead::new(image));
        Self { scope, image, hasher, progress, regions, pool, under_way: VecDeque::new(), depth, ahead }
    }

    /// Returns the next region that has data; none at the end of the image.
    pub(crate) fn next(&mut self) -> Result<Option<ScannedLeaf>> {
        while self.under_way.len() < self.depth {
            let Some(buffer) = self.pool.take(self.under_way.is_empty())? else { break };
            let Some(region) = self.regions.next()? else { break };
            self.submit(region, buffer);
        }
        let Some(result) = self.under_way.pop_front() else {
            self.done_before(u64::MAX);
            return Ok(None);
        };
        let leaf = result.recv().map_err(|_| Error::worker_lost())??;
        self.done_before(leaf.number.offset());
        Ok(Some(leaf))
    }

    /// Tells whether a page of the parent could not be read.
    pub(crate) fn met_damage(&self) -> bool {
        self.regions.met_damage()
    }

    fn done_before(&mut self, offset: u64) {
        if let Some(ahead) = &mut self.ahead {
            ahead.done_before(offset);
        }
    }

    fn submit(&mut self, region: Region, buffer: LeafBuffer) {
        if let Some(ahead) = &mut self.ahead {
            ahead.go_on(u64::from(region.mask.count_ones()) * to_u64(SPAN_BYTES));
        }
        let (image, hasher, progress) = (self.image, self.hasher, self.progress);
        let (sender, receiver) = mpsc::sync_channel(1);
        self.scope.spawn(move |_| {
            let scanned = region.scan(image, hasher, buffer);
            if let Ok(leaf) = &scanned {
                progress.advance(Meter::Scanned, leaf.read_bytes);
            }
            // If the capture has failed meanwhile, nobody receives this.
            let _ = sender.send(scanned);
        });
        self.under_way.push_back(receiver);
    }
}

thread_local! {
    /// The buffer into which a thread reads spans that it expects to equal the parent's. Nobody
    /// needs those bytes after hashing, and a small buffer that is reused stays in the cache. The
    /// thread takes it out while it reads, because reading an image may let it run another job
    /// first.
    static EXPECTED: Cell<Option<MmapMut>> = const { Cell::new(None) };
}

impl Region {
    fn scan(self, image: &dyn ReadAt, hasher: &Hasher, mut buffer: LeafBuffer) -> Result<ScannedLeaf> {
        let mut leaf = Scanned::default();
        if let Some(parent) = &self.parent {
            let kept = (0..LEAF_SPANS).filter(|span| self.kept >> span & 1 == 1);
            kept.for_each(|span| leaf.spans[span] = parent.spans[span]);
        }
        let mut expected = match EXPECTED.take() {
            Some(expected) => expected,
            None => pages::allocate(PIECE_SPANS * SPAN_BYTES)
                .map_err(|error| Error::io("allocating memory to read into", error))?,
        };
        for piece in pieces(self.mask) {
            let offset = self.number.span(piece.start).start;
            let place = &mut buffer.bytes_mut()[piece.start * SPAN_BYTES..piece.end * SPAN_BYTES];
            let Some(parent) = &self.parent else {
                leaf.scan(image, hasher, offset, piece, place)?;
                continue;
            };
            let bytes = &mut expected[..place.len()];
            leaf.scan(image, hasher, offset, piece.clone(), bytes)?;
            let places = place.chunks_mut(SPAN_BYTES);
            for ((place, bytes), span) in places.zip(bytes.chunks(SPAN_BYTES)).zip(piece) {
                if leaf.spans[span] != parent.spans[span] {
                    place.copy_from_slice(bytes);
                }
            }
        }
        EXPECTED.set(Some(expected));
        let Scanned { spans, blocks, read_bytes } = leaf;
        let buffer = Arc::new(buffer);
        let Region { number, parent, replaced_blocks, .. } = self;
        Ok(ScannedLeaf { number, parent, buffer, spans, blocks, replaced_blocks, read_bytes })
    }
}

/// Returns the spans that `mask` marks, in ranges that are read together.
fn pieces(mask: u64) -> impl Iterator<Item = Range<usize>> {
    let marked = move |span: usize| mask >> span & 1 == 1;
    (0..LEAF_SPANS).step_by(PIECE_SPANS).flat_map(move |from| {
        let spans: Vec<usize> = (from..from + PIECE_SPANS).filter(|span| marked(*span)).collect();
        let runs = spans.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[0] + run.len());
        runs.collect::<Vec<_>>()
    })
}

/// The state of a leaf region that is being scanned.
struct Scanned {
    spans: [NodeDigest; LEAF_SPANS],
    blocks: Box<[Option<BlockId>; LEAF_BLOCKS]>,
    read_bytes: u64,
}

impl Default for Scanned {
    fn default() -> Self {
        Self { spans: [NodeDigest::ZERO; LEAF_SPANS], blocks: Box::new([None; LEAF_BLOCKS]), read_bytes: 0 }
    }
}

impl Scanned {
    /// Reads some spans from the image at `offset` into `bytes`, and hashes them.
    fn scan(
        &mut self,
        image: &dyn ReadAt,
        hasher: &Hasher,
        offset: u64,
        spans: Range<usize>,
        bytes: &mut [u8],
    ) -> Result<()> {
        let present = to_usize(image.len().saturating_sub(offset)).min(bytes.len());
        let (inside, beyond) = bytes.split_at_mut(present);
        let range = offset..offset + to_u64(present);
        image.read_at(offset, inside).map_err(|error| read_failed(image, range, error))?;
        beyond.fill(0);
        self.read_bytes += to_u64(present);
        for (span, bytes) in spans.zip(bytes.chunks(SPAN_BYTES)) {
            let ids = &mut self.blocks[span * SPAN_BLOCKS..(span + 1) * SPAN_BLOCKS];
            self.spans[span] = Span::of(bytes).hash(hasher, ids);
        }
        Ok(())
    }
}

/// Returns the error for a range that could not be read. It names the first unreadable block.
fn read_failed(image: &dyn ReadAt, range: Range<u64>, error: std::io::Error) -> Error {
    let mut block = [0; BLOCK_BYTES];
    let unreadable = range.clone().step_by(BLOCK_BYTES).find_map(|start| {
        let bytes = to_usize(range.end - start).min(BLOCK_BYTES);
        image.read_at(start, &mut block[..bytes]).err().map(|error| (start, error))
    });
    let (offset, error) = unreadable.unwrap_or((range.start, error));
    let now = image.state().map(|state| state.size_bytes).ok();
    match now.filter(|now| *now != image.len()) {
        Some(now) => size_changed(image.len(), now, &format!(" (noticed at offset {offset})")),
        None => Error::io(format!("reading the image at offset {offset}"), error)
            .with_hint("no snapshot was made; if this is a disk, check its health"),
    }
}

/// Returns the error for an image whose size has changed since the capture began.
pub(crate) fn size_changed(from: u64, to: u64, context: &str) -> Error {
    Error::new(
        ErrorKind::ImageChanged,
        format!("the image changed from {from} to {to} bytes during the capture{context}"),
    )
    .with_hint("stop the program that resizes it, then capture it again")
}
