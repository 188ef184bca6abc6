//! Compares a target with a window, so that only differences are written.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;

use crate::pure::zero::is_zero;
use crate::stores::chunks::Store;
use crate::stores::recovery::is_of_the_repository;
use crate::verbs::restore::window::Piece;
use crate::verbs::restore::window::Window;
use crate::verbs::restore::window::WindowLeaf;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::Digest;
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
use crate::words::units::block_bytes;
use crate::world::io::WriteAt;

/// Bytes that are checked, and zeroed if necessary, in one step.
const ZERO_STEP: u64 = 1 << 20;
/// Regions without data of at least this size are zeroed unread, if the target has a way to do so.
/// Reading a smaller region is about as fast, and then only differences are written.
const UNREAD_BYTES_MIN: u64 = 16 << 20;

/// The result of comparing a leaf.
#[derive(Default)]
struct Compared {
    /// Digests of blocks that are already right, by block number in the leaf.
    right: Vec<(usize, Digest)>,
    zeroed_bytes: u64,
}

/// Reduces `window.pieces` to the blocks that the target lacks, and zeroes everything that must be
/// zero. Returns the bytes that were right, and the bytes zeroed.
pub(crate) fn compare(
    store: &Store,
    window: &mut Window,
    target: &dyn WriteAt,
    image_bytes: u64,
    progress: &dyn Progress,
) -> Result<(u64, u64)> {
    let ids = wanted_ids(store, window)?;
    let compared: Vec<Compared> = window
        .leaves
        .par_iter()
        .zip(&ids)
        .map(|(leaf, ids)| {
            if progress.cancelled() {
                return Err(Error::interrupted());
            }
            compare_leaf(store, leaf, ids, target, image_bytes)
        })
        .collect::<Result<_>>()?;
    let mut zeroed_bytes = zero_between(window, target, progress)?;
    let mut kept_bytes = 0;
    let mut right = vec![[false; LEAF_BLOCKS]; window.leaves.len()];
    for ((leaf, right), compared) in window.leaves.iter_mut().zip(&mut right).zip(compared) {
        zeroed_bytes += compared.zeroed_bytes;
        kept_bytes += block_bytes(to_u64(compared.right.len()));
        for (block, digest) in compared.right {
            leaf.blocks[block] = digest;
            right[block] = true;
        }
    }
    progress.advance(Meter::Restored, kept_bytes);
    let pieces = std::mem::take(&mut window.pieces);
    let is_wrong = |piece: &Piece, at: u16| !right[piece.leaf as usize][usize::from(piece.block + at)];
    window.pieces = pieces.iter().flat_map(|piece| piece.parts(|at| is_wrong(piece, at))).collect();
    Ok((kept_bytes, zeroed_bytes))
}

/// Returns the ids that the blocks of each leaf must have; none for blocks that must be zero.
fn wanted_ids(store: &Store, window: &Window) -> Result<Vec<Vec<Option<BlockId>>>> {
    let mut ids = vec![vec![None; LEAF_BLOCKS]; window.leaves.len()];
    let mut located = HashMap::new();
    for piece in &window.pieces {
        let chunk = match located.get(&piece.chunk) {
            Some(chunk) => chunk,
            None => {
                let chunk = match store.need_chunk(&window.chunks[piece.chunk as usize].0) {
                    // Fetching reports its pieces as lost.
                    Err(error) if window.keep_going && is_of_the_repository(&error) => continue,
                    chunk => chunk?,
                };
                located.entry(piece.chunk).or_insert(chunk)
            }
        };
        let blocks = ids[piece.leaf as usize].iter_mut().skip(usize::from(piece.block));
        for (id, slot) in blocks.take(usize::from(piece.blocks)).zip(piece.slot..=u8::MAX) {
            *id = chunk.pack.block_id(&chunk.entry, slot);
        }
    }
    Ok(ids)
}

fn compare_leaf(
    store: &Store,
    leaf: &WindowLeaf,
    ids: &[Option<BlockId>],
    target: &dyn WriteAt,
    image_bytes: u64,
) -> Result<Compared> {
    let mut compared = Compared::default();
    let mut buffer = vec![0; SPAN_BYTES];
    for span in 0..LEAF_SPANS {
        let Range { start: offset, end } = leaf.number.span(span);
        let range = offset..end.min(image_bytes);
        if range.is_empty() {
            break;
        }
        if leaf.spans[span] == NodeDigest::ZERO {
            compared.zeroed_bytes += make_zero(target, range)?;
            continue;
        }
        let (inside, beyond) = buffer.split_at_mut(to_usize(range.end - range.start));
        read(target, offset, inside)?;
        beyond.fill(0);
        let blocks: Vec<&[u8; BLOCK_BYTES]> = buffer.as_chunks().0.iter().collect();
        let digests = store.files.hasher.blocks(&blocks);
        for (at, (digest, bytes)) in (span * SPAN_BLOCKS..).zip(digests.iter().zip(&blocks)) {
            match ids[at] {
                Some(wanted) if wanted == digest.block_id() => compared.right.push((at, *digest)),
                Some(_) => {}
                None if is_zero(*bytes) => {}
                None => {
                    let block = leaf.number.block(at);
                    let range = block.start..block.end.min(image_bytes);
                    compared.zeroed_bytes += range.end - range.start;
                    zero(target, range)?;
                }
            }
        }
    }
    Ok(compared)
}

/// Zeroes the regions of the window that have no leaf.
fn zero_between(window: &Window, target: &dyn WriteAt, progress: &dyn Progress) -> Result<u64> {
    let mut zeroed_bytes = 0;
    let mut from = window.range.start;
    let rest = window.range.end..window.range.end;
    for leaf in window.leaves.iter().map(|leaf| leaf.number.range()).chain([rest]) {
        while from < leaf.start {
            if progress.cancelled() {
                return Err(Error::interrupted());
            }
            let step = from..leaf.start.min(from + (1 << 30));
            zeroed_bytes += make_zero(target, step.clone())?;
            from = step.end;
        }
        from = from.max(leaf.end.min(window.range.end));
    }
    Ok(zeroed_bytes)
}

/// Zeroes the parts of `range` of the target that are not zero. Returns how many bytes that were.
pub(crate) fn make_zero(target: &dyn WriteAt, range: Range<u64>) -> Result<u64> {
    let mut zeroed_bytes = 0;
    let mut at = range.start;
    let mut buffer = Vec::new();
    if range.end.saturating_sub(range.start) >= UNREAD_BYTES_MIN {
        let offset = range.start;
        let done = target
            .zero_unread(range.clone())
            .map_err(|error| Error::io(format!("zeroing the target at offset {offset}"), error))?;
        if !done.is_empty() {
            zeroed_bytes += done.end - done.start;
            zeroed_bytes += make_zero(target, range.start..done.start)?;
            at = done.end;
        }
    }
    while at < range.end {
        let data = target
            .next_data(at)
            .map_err(|error| Error::io(format!("finding data in the target at offset {at}"), error))?;
        let Some(data) = data.filter(|data| data.start < range.end) else { break };
        let step = data.start..data.end.min(range.end).min(data.start + ZERO_STEP);
        buffer.resize(to_usize(step.end - step.start), 0);
        read(target, step.start, &mut buffer)?;
        if !is_zero(&buffer) {
            zeroed_bytes += step.end - step.start;
            zero(target, step.clone())?;
        }
        at = step.end;
    }
    Ok(zeroed_bytes)
}

fn read(target: &dyn WriteAt, offset: u64, buffer: &mut [u8]) -> Result<()> {
    target
        .read_at(offset, buffer)
        .map_err(|error| Error::io(format!("reading the target at offset {offset}"), error))
}

fn zero(target: &dyn WriteAt, range: Range<u64>) -> Result<()> {
    let offset = range.start;
    target.zero_at(range).map_err(|error| Error::io(format!("zeroing the target at offset {offset}"), error))
}
