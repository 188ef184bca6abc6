//! A window of an image: some of its leaves, what they must contain, and which blocks are still to be fetched for it.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::page::Place;
use crate::format::record::Record;
use crate::pure::hash::Hasher;
use crate::repository::Repository;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::manifest::TreeReader;
use crate::stores::manifest::load_leaf;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::ids::PackId;
use crate::words::ids::PageId;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::SPAN_U64;
use crate::words::sizes::to_u64;

/// Goes through an image window by window.
pub(crate) fn each_window(
    repo: &Repository,
    record: &Record,
    leaves_max: usize,
    mut each: impl FnMut(Window) -> Result<()>,
) -> Result<()> {
    let mut tree = TreeReader::new(&repo.store, record.root, record.size_bytes);
    let mut from = 0;
    while from < record.size_bytes {
        let window = Window::gather(&repo.store, &mut tree, from, record.size_bytes, leaves_max);
        let done = window.and_then(|window| {
            let end = window.range.end;
            each(window)?;
            Ok(end)
        });
        from = done.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => error.in_context(format!("snapshot {} ({})", record.id, record.name)),
            _ => error,
        })?;
    }
    Ok(())
}

/// A run of blocks to fetch: which blocks of which leaf of the window, and where in which chunk they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// The chunk, as its number in the window's table.
    pub(crate) chunk: u32,
    /// The leaf, as its number in the window.
    pub(crate) leaf: u32,
    /// The first block, within the leaf.
    pub(crate) block: u16,
    pub(crate) blocks: u16,
    pub(crate) slot: u8,
}

impl Piece {
    /// Returns where its bytes belong in the canvas of its window.
    pub(crate) fn place(&self) -> Range<usize> {
        let start = self.leaf as usize * LEAF_BYTES + usize::from(self.block) * BLOCK_BYTES;
        start..start + usize::from(self.blocks) * BLOCK_BYTES
    }

    /// Returns the parts of it whose blocks, given by their numbers in the piece, are all wanted; as long as they can be.
    pub(crate) fn parts(&self, wanted: impl Fn(u16) -> bool) -> Vec<Self> {
        let blocks: Vec<u16> = (0..self.blocks).collect();
        let runs = blocks.chunk_by(|a, b| wanted(*a) == wanted(*b)).filter(|run| wanted(run[0]));
        let part = |run: &[u16]| {
            let slot = self.slot.checked_add(u8::try_from(run[0]).ok()?)?;
            let blocks = u16::try_from(run.len()).ok()?;
            Some(Self { block: self.block + run[0], blocks, slot, ..*self })
        };
        runs.filter_map(part).collect()
    }
}

/// Blocks of a window that follow each other, in the image and in its canvas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where they begin in the image.
    pub(crate) offset: u64,
    /// Where they are in the canvas.
    pub(crate) at: Range<usize>,
}

impl Run {
    fn end(&self) -> u64 {
        self.offset + to_u64(self.at.len())
    }
}

/// Where a chunk of the window is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkPlace {
    pub(crate) pack: PackId,
    pub(crate) offset: u32,
    pub(crate) number: u32,
}

/// A leaf of the window.
pub(crate) struct WindowLeaf {
    /// Its number in the image.
    pub(crate) number: u64,
    /// The digests its spans must have.
    pub(crate) spans: [Digest; LEAF_SPANS],
    /// The digests of its blocks, as they are proven one after another.
    pub(crate) blocks: Vec<Digest>,
}

/// Some leaves of an image.
pub(crate) struct Window {
    pub(crate) leaves: Vec<WindowLeaf>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) chunks: Vec<(ChunkId, ChunkPlace)>,
    /// The part of the image that the window stands for: its leaves, and the empty regions before each.
    pub(crate) range: Range<u64>,
}

impl Window {
    /// Collects up to `leaves_max` leaves from the region at `from` on; the window ends where the image does if there
    /// are no more.
    pub(crate) fn gather(
        store: &Store,
        tree: &mut TreeReader<'_>,
        from: u64,
        image_bytes: u64,
        leaves_max: usize,
    ) -> Result<Self> {
        let mut window =
            Self { leaves: Vec::new(), pieces: Vec::new(), chunks: Vec::new(), range: from..image_bytes };
        let mut numbers = HashMap::new();
        let mut next = from / LEAF_U64;
        while let Some((number, page)) = tree.next_leaf(next)? {
            if window.leaves.len() == leaves_max {
                window.range.end = (window.range.start).max(next * LEAF_U64);
                break;
            }
            let offset = number * LEAF_U64;
            if offset >= image_bytes {
                return Err(Error::corrupt(format!(
                    "the manifest has data at byte {offset}, beyond the image's end"
                )));
            }
            let add = window.add(store, number, &page.id, &mut numbers);
            add.map_err(|error| error.in_context(format!("bytes {offset} to {}", offset + LEAF_U64)))?;
            next = number + 1;
        }
        Ok(window)
    }

    fn add(
        &mut self,
        store: &Store,
        number: u64,
        page: &PageId,
        numbers: &mut HashMap<ChunkId, u32>,
    ) -> Result<()> {
        let leaf = load_leaf(store, page)?;
        let at = u32::try_from(self.leaves.len()).unwrap_or(u32::MAX);
        let mut table = Vec::with_capacity(leaf.chunks.len());
        for id in &leaf.chunks {
            let chunk = match numbers.get(id) {
                Some(chunk) => *chunk,
                None => {
                    let Located { pack, number, entry } = store.need_chunk(id)?;
                    let chunk = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
                    self.chunks.push((*id, ChunkPlace { pack: pack.id, offset: entry.offset, number }));
                    numbers.insert(*id, chunk);
                    chunk
                }
            };
            table.push(chunk);
        }
        let mut block = 0;
        for extent in &leaf.extents {
            if let Place::Chunk { chunk, slot } = extent.place {
                let chunk = table[usize::from(chunk)];
                self.pieces.push(Piece { chunk, leaf: at, block, blocks: extent.blocks, slot });
            }
            block += extent.blocks;
        }
        let blocks = vec![store.base.hasher.zero_block(); LEAF_BLOCKS];
        self.leaves.push(WindowLeaf { number, spans: leaf.span_digests(), blocks });
        Ok(())
    }

    /// Returns the blocks that are to be written, in runs that are as long as they can be, in the order of the image.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let mut pieces: Vec<&Piece> = self.pieces.iter().collect();
        pieces.sort_unstable_by_key(|piece| (piece.leaf, piece.block));
        let mut runs: Vec<Run> = Vec::new();
        for piece in pieces {
            let (offset, at) = (self.offset(piece), piece.place());
            match runs.last_mut() {
                Some(run) if run.end() == offset => run.at.end = at.end,
                _ => runs.push(Run { offset, at }),
            }
        }
        runs
    }

    /// Returns where in the image a piece begins.
    pub(crate) fn offset(&self, piece: &Piece) -> u64 {
        self.leaves[piece.leaf as usize].number * LEAF_U64 + u64::from(piece.block) * BLOCK_U64
    }

    /// Proves that the blocks, whose digests are all known now, give the spans that the manifest names.
    pub(crate) fn prove(&self, hasher: &Hasher) -> Result<()> {
        for leaf in &self.leaves {
            let spans = leaf.spans.iter().zip(leaf.blocks.as_chunks::<SPAN_BLOCKS>().0).enumerate();
            for (at, (wanted, blocks)) in spans.filter(|(_, (wanted, _))| **wanted != Digest::ZERO) {
                if hasher.span(blocks) != *wanted {
                    let offset = leaf.number * LEAF_U64 + to_u64(at) * SPAN_U64;
                    return Err(Error::corrupt(format!(
                        "bytes {offset} to {} are not what the manifest says",
                        offset + SPAN_U64
                    ))
                    .with_hint("run `icecore verify --read-data`"));
                }
            }
        }
        Ok(())
    }
}
