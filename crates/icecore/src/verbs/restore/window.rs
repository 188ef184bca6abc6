//! A window of an image: some of its leaves, their expected content, and the blocks that are still
//! to be fetched.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;

use crate::format::page::Place;
use crate::format::record::Record;
use crate::pure::hash::Hasher;
use crate::repository::Repository;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::planner::Plan;
use crate::stores::recovery::is_of_the_repository;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::ids::NodeDigest;
use crate::words::ids::PackId;
use crate::words::next_step::NextStep;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_BYTES;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::to_u8;
use crate::words::sizes::to_u16;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;
use crate::words::units::LeafNumber;
use crate::words::units::block_bytes;

/// How many windows are gathered, so that what they need is on its way while others are assembled.
const WINDOWS_AHEAD: usize = 2;

/// Goes through an image window by window.
///
/// With `keep_going`, unavailable ranges are noted in their window and are not an error.
pub(crate) fn each_window(
    repo: &Repository,
    record: &Record,
    leaves_max: usize,
    keep_going: bool,
    mut each: impl FnMut(Window) -> Result<()>,
) -> Result<()> {
    let mut tree = Cursor::new(&*repo.store, Node::root(record));
    let image = Image { bytes: record.size_bytes, keep_going };
    let mut from = 0;
    let mut gathered = VecDeque::new();
    loop {
        while gathered.len() < WINDOWS_AHEAD && from < record.size_bytes {
            let window = Window::gather(&repo.store, &mut tree, from, image, leaves_max);
            // What comes before an error is restored first.
            from = window.as_ref().map_or(record.size_bytes, |window| window.range.end);
            if let Ok(window) = &window {
                window.plan().announce(&repo.store);
            }
            gathered.push_back(window);
        }
        let Some(window) = gathered.pop_front() else { return Ok(()) };
        window.and_then(&mut each).map_err(|error| match error.kind() {
            ErrorKind::Corrupt => error.in_context(format!("snapshot {} ({})", record.id, record.name)),
            _ => error,
        })?;
    }
}

/// The image that windows are parts of.
#[derive(Clone, Copy)]
pub(crate) struct Image {
    pub(crate) bytes: u64,
    /// Whether unavailable ranges are noted instead of being an error.
    pub(crate) keep_going: bool,
}

/// A run of blocks to fetch: its blocks in a leaf of the window, and their place in a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// The chunk's number in the window's table.
    pub(crate) chunk: u32,
    /// The leaf's number in the window.
    pub(crate) leaf: u32,
    /// The first block, within the leaf.
    pub(crate) block: u16,
    pub(crate) blocks: u16,
    pub(crate) slot: u8,
}

impl Piece {
    /// Returns the place of its bytes in the window's buffer.
    pub(crate) fn place(&self) -> Range<usize> {
        let start = self.leaf as usize * LEAF_BYTES + usize::from(self.block) * BLOCK_BYTES;
        start..start + usize::from(self.blocks) * BLOCK_BYTES
    }

    /// Returns the part with `blocks` blocks from number `from` on.
    pub(crate) fn part(&self, from: u16, blocks: u16) -> Self {
        let slot = self.slot.saturating_add(to_u8(from));
        Self { block: self.block + from, blocks, slot, ..*self }
    }

    /// Returns the longest parts whose blocks are all wanted. `wanted` gets a block's number in the
    /// piece.
    pub(crate) fn parts(&self, wanted: impl Fn(u16) -> bool) -> Vec<Self> {
        let blocks: Vec<u16> = (0..self.blocks).collect();
        let runs = blocks.chunk_by(|a, b| wanted(*a) == wanted(*b)).filter(|run| wanted(run[0]));
        let part = |run: &[u16]| Some(self.part(run[0], u16::try_from(run.len()).ok()?));
        runs.filter_map(part).collect()
    }

    /// Returns the rest of it without the blocks of another piece.
    fn without(&self, other: &Self) -> impl Iterator<Item = Self> + use<> {
        let (begin, end) = (self.block, self.block + self.blocks);
        let (from, upto) = (other.block.clamp(begin, end), (other.block + other.blocks).clamp(begin, end));
        let parts = match self.leaf == other.leaf {
            true => [self.part(0, from - begin), self.part(upto - begin, end - upto)],
            false => [*self, self.part(0, 0)],
        };
        parts.into_iter().filter(|part| part.blocks > 0)
    }
}

/// Consecutive blocks of a window, in the image and in its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockRun {
    /// Their offset in the image.
    pub(crate) offset: u64,
    /// Their place in the buffer.
    pub(crate) at: Range<usize>,
}

impl BlockRun {
    fn end(&self) -> u64 {
        self.offset + to_u64(self.at.len())
    }
}

/// The place where a chunk of the window is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkPlace {
    pub(crate) pack: PackId,
    pub(crate) offset: u32,
    pub(crate) number: u32,
    pub(crate) stored_bytes: u32,
}

/// A leaf of the window.
pub(crate) struct WindowLeaf {
    /// Its number in the image.
    pub(crate) number: LeafNumber,
    /// The digests that its spans must have.
    pub(crate) spans: [NodeDigest; LEAF_SPANS],
    /// The digests of its blocks, filled in as the blocks are checked.
    pub(crate) blocks: Vec<Digest>,
    /// A bit for each span with a lost part. Such a span cannot be checked as a whole.
    lost_spans: u64,
}

/// A range of the image that is unavailable, with the reason.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) range: Range<u64>,
    pub(crate) problem: String,
}

/// Some leaves of an image.
pub(crate) struct Window {
    pub(crate) leaves: Vec<WindowLeaf>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) chunks: Vec<(ChunkId, ChunkPlace)>,
    /// The part of the image that the window covers: its leaves, and the empty regions before each.
    pub(crate) range: Range<u64>,
    /// Whether unavailable ranges are noted here instead of being an error.
    pub(crate) keep_going: bool,
    /// The unavailable ranges of its leaves.
    pub(crate) lost: Vec<Lost>,
    /// Regions without a leaf here because a page is unreadable.
    pub(crate) lost_regions: Vec<Lost>,
}

impl Window {
    /// Collects up to `leaves_max` leaves, starting at the region `from`. If there are no more, the
    /// window ends with the image.
    pub(crate) fn gather(
        store: &Store,
        tree: &mut Cursor<&Store>,
        from: u64,
        image: Image,
        leaves_max: usize,
    ) -> Result<Self> {
        let mut window = Self {
            leaves: Vec::new(),
            pieces: Vec::new(),
            chunks: Vec::new(),
            range: from..image.bytes,
            keep_going: image.keep_going,
            lost: Vec::new(),
            lost_regions: Vec::new(),
        };
        let mut numbers = HashMap::new();
        let mut next = LeafNumber::of(from);
        tree.seek(next);
        while let Some(node) = window.next_leaf(tree)? {
            if window.leaves.len() == leaves_max {
                window.range.end = (window.range.start).max(next.offset());
                break;
            }
            let offset = node.offset();
            if offset >= image.bytes {
                return Err(Error::corrupt(format!(
                    "the manifest has data at byte {offset}, beyond the end of the image"
                )));
            }
            let region = node.first_leaf().range();
            if let Err(error) = window.add(store, tree, &node, &mut numbers) {
                window.lose_region(region.clone(), in_range(error, &region))?;
            }
            next = node.first_leaf().next();
        }
        Ok(window)
    }

    /// Returns what is going to be read for it.
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for (_, ChunkPlace { pack, offset, stored_bytes, .. }) in &self.chunks {
            plan.add_bytes(*pack, *offset, *stored_bytes);
        }
        plan
    }

    fn next_leaf(&mut self, tree: &mut Cursor<&Store>) -> Result<Option<Node>> {
        loop {
            match tree.next_leaf() {
                Ok(found) => return Ok(found),
                Err(unread) => self.lose_region(unread.node.range(u64::MAX), unread.error)?,
            }
        }
    }

    fn lose_region(&mut self, range: Range<u64>, error: Error) -> Result<()> {
        if !self.keep_going || !is_of_the_repository(&error) {
            return Err(error);
        }
        self.lost_regions.push(Lost { range, problem: error.to_string() });
        Ok(())
    }

    /// Notes that a piece, already out of the list of pieces, is unavailable.
    pub(crate) fn lose(&mut self, piece: &Piece, problem: &str) {
        let (offset, end) = (self.offset(piece), usize::from(piece.block + piece.blocks));
        for span in usize::from(piece.block) / SPAN_BLOCKS..end.div_ceil(SPAN_BLOCKS) {
            self.leaves[piece.leaf as usize].lost_spans |= 1 << span;
        }
        let range = offset..offset + block_bytes(u64::from(piece.blocks));
        self.lost.push(Lost { range, problem: problem.to_owned() });
    }

    fn add(
        &mut self,
        store: &Store,
        tree: &mut Cursor<&Store>,
        node: &Node,
        numbers: &mut HashMap<ChunkId, u32>,
    ) -> Result<()> {
        let Some(leaf) = tree.read(node)? else { return Ok(()) };
        let at = to_u32(self.leaves.len());
        let mut table = Vec::with_capacity(leaf.chunks.len());
        for id in &leaf.chunks {
            let chunk = match numbers.get(id) {
                Some(chunk) => Ok(*chunk),
                None => match store.need_chunk(id) {
                    Ok(located) => Ok(self.add_chunk(id, &located, numbers)),
                    Err(error) if self.keep_going && is_of_the_repository(&error) => Err(error.to_string()),
                    Err(error) => return Err(error),
                },
            };
            table.push(chunk);
        }
        let blocks = vec![store.files.hasher.zero_block(); LEAF_BLOCKS];
        self.leaves.push(WindowLeaf {
            number: node.first_leaf(),
            spans: leaf.span_digests(),
            blocks,
            lost_spans: 0,
        });
        let mut block = 0;
        for extent in &leaf.extents {
            if let Place::Chunk { chunk, slot } = extent.place {
                let piece = |chunk| Piece { chunk, leaf: at, block, blocks: extent.blocks, slot };
                match &table[usize::from(chunk)] {
                    Ok(chunk) => self.pieces.push(piece(*chunk)),
                    Err(problem) => self.lose(&piece(0), problem),
                }
            }
            block += extent.blocks;
        }
        Ok(())
    }

    fn add_chunk(&mut self, id: &ChunkId, located: &Located, numbers: &mut HashMap<ChunkId, u32>) -> u32 {
        let Located { pack, number, entry } = located;
        let chunk = to_u32(self.chunks.len());
        let place = ChunkPlace {
            pack: pack.id,
            offset: entry.offset,
            number: *number,
            stored_bytes: entry.stored_bytes,
        };
        self.chunks.push((*id, place));
        numbers.insert(*id, chunk);
        chunk
    }

    /// Returns the blocks to write as the longest possible runs, in image order.
    pub(crate) fn runs(&self) -> Vec<BlockRun> {
        let mut pieces: Vec<&Piece> = self.pieces.iter().collect();
        pieces.sort_unstable_by_key(|piece| (piece.leaf, piece.block));
        let mut runs: Vec<BlockRun> = Vec::new();
        for piece in pieces {
            let (offset, at) = (self.offset(piece), piece.place());
            match runs.last_mut() {
                Some(run) if run.end() == offset => run.at.end = at.end,
                _ => runs.push(BlockRun { offset, at }),
            }
        }
        runs
    }

    /// Returns a piece's offset in the image.
    pub(crate) fn offset(&self, piece: &Piece) -> u64 {
        self.leaves[piece.leaf as usize].number.block(usize::from(piece.block)).start
    }

    /// Checks that the blocks, whose digests are all known now, give the spans that the manifest
    /// names. Spans with a lost part cannot be checked; only their blocks are.
    pub(crate) fn prove(&mut self, hasher: &Hasher) -> Result<()> {
        let mut wrong = Vec::new();
        for (leaf, number) in self.leaves.iter().zip(0..) {
            let spans = leaf.spans.iter().zip(leaf.blocks.as_chunks::<SPAN_BLOCKS>().0).enumerate();
            for (at, (wanted, blocks)) in spans.filter(|(_, (wanted, _))| **wanted != NodeDigest::ZERO) {
                if leaf.lost_spans >> at & 1 == 0 && hasher.span(blocks) != *wanted {
                    wrong.push((number, leaf.number.span(at), at));
                }
            }
        }
        for (leaf, range, span) in wrong {
            let problem = format!("bytes {} to {} do not match the manifest", range.start, range.end);
            if !self.keep_going {
                return Err(Error::corrupt(problem).with_hint(NextStep::VerifyData));
            }
            self.lose_span(leaf, span, &problem);
        }
        Ok(())
    }

    /// Removes a whole span from the pieces.
    fn lose_span(&mut self, leaf: u32, span: usize, problem: &str) {
        let block = to_u16(span * SPAN_BLOCKS);
        let blocks = to_u16(SPAN_BLOCKS);
        let of_span = Piece { chunk: 0, leaf, block, blocks, slot: 0 };
        let pieces = std::mem::take(&mut self.pieces);
        self.pieces = pieces.iter().flat_map(|piece| piece.without(&of_span)).collect();
        self.lose(&of_span, problem);
    }
}

/// Adds the range of the image to an error about it.
fn in_range(error: Error, range: &Range<u64>) -> Error {
    error.in_context(format!("bytes {} to {}", range.start, range.end))
}
