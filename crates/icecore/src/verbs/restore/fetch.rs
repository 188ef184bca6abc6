//! Fetches the pieces of a window on all cores: reads and decodes each chunk once, in pack order,
//! and checks each block before passing it on.

use std::collections::BTreeSet;

use rayon::prelude::*;

use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::recovery::is_of_the_place;
use crate::stores::recovery::is_of_the_repository;
use crate::stores::recovery::reader::ItemReader;
use crate::stores::recovery::recover;
use crate::verbs::restore::window::ChunkPlace;
use crate::verbs::restore::window::Piece;
use crate::verbs::restore::window::Window;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::next_step::NextStep;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::to_u16;
use crate::words::units::block_bytes;
use crate::words::units::slots;

/// Chunks between two checks for interruption.
const CHUNKS_AT_ONCE: usize = 2048;

/// A receiver of the checked bytes of a piece. It is called from many threads in no order.
pub(crate) type PieceSink<'a> = dyn Fn(&Piece, &[u8]) + Sync + 'a;

/// The checked blocks of a piece: the piece and their digests.
type Proven = Vec<(Piece, Vec<Digest>)>;

/// The result of fetching the pieces of one chunk.
#[derive(Default)]
struct Fetched {
    stored_bytes: u64,
    proven: Proven,
    /// Pieces that are unavailable, each with the reason.
    lost: Vec<(Piece, String)>,
}

/// Fetches all pieces of `window`, passes their bytes to `sink`, and notes their digests. Returns
/// the stored bytes read.
pub(crate) fn fetch(
    store: &Store,
    window: &mut Window,
    sink: &PieceSink<'_>,
    progress: &dyn Progress,
) -> Result<u64> {
    let mut order: Vec<(ChunkPlace, u32)> = window.chunks.iter().map(|(_, place)| *place).zip(0..).collect();
    order.sort_unstable();
    let mut rank = vec![0_u32; order.len()];
    order.iter().zip(0..).for_each(|((_, chunk), at)| rank[*chunk as usize] = at);
    window.pieces.sort_unstable_by_key(|piece| (rank[piece.chunk as usize], piece.leaf, piece.block));
    let jobs: Vec<&[Piece]> = window.pieces.chunk_by(|a, b| a.chunk == b.chunk).collect();

    let mut stored_bytes = 0;
    let mut digests: Proven = Vec::new();
    let mut lost = Vec::new();
    for jobs in jobs.chunks(CHUNKS_AT_ONCE) {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        let one = |reader: &mut Result<ItemReader>, pieces: &&[Piece]| -> Result<Fetched> {
            let reader = reader.as_mut().map_err(|error| Error::new(error.kind(), error.to_string()))?;
            fetch_chunk(store, window, pieces, reader, sink, progress)
        };
        let fetched: Vec<Fetched> = jobs.par_iter().map_init(ItemReader::new, one).collect::<Result<_>>()?;
        for fetched in fetched {
            stored_bytes += fetched.stored_bytes;
            digests.extend(fetched.proven);
            lost.extend(fetched.lost);
        }
    }
    if !lost.is_empty() {
        window.pieces = digests.iter().map(|(piece, _)| *piece).collect();
    }
    lost.iter().for_each(|(piece, problem)| window.lose(piece, problem));
    for (piece, proven) in digests {
        let blocks = &mut window.leaves[piece.leaf as usize].blocks[usize::from(piece.block)..];
        blocks[..proven.len()].copy_from_slice(&proven);
    }
    Ok(stored_bytes)
}

fn fetch_chunk(
    store: &Store,
    window: &Window,
    pieces: &[Piece],
    reader: &mut ItemReader,
    sink: &PieceSink<'_>,
    progress: &dyn Progress,
) -> Result<Fetched> {
    let Some(first) = pieces.first() else { return Ok(Fetched::default()) };
    let (id, place) = window.chunks[first.chunk as usize];
    let mut kind = ErrorKind::Corrupt;
    let fetched = match locate(store, &id, place) {
        Ok(located) => {
            let proven = fetch_from(store, &located, pieces, reader, sink);
            let stored_bytes = u64::from(located.entry.stored_bytes);
            match proven {
                Ok(proven) => Fetched { stored_bytes, proven, lost: Vec::new() },
                Err(error) if is_of_the_place(&error) => {
                    kind = error.kind();
                    fetch_anyhow(store, &located, pieces, sink, &error)?
                }
                Err(error) => return Err(error),
            }
        }
        Err(error) if is_of_the_repository(&error) => {
            kind = error.kind();
            let lost = pieces.iter().map(|piece| (*piece, error.to_string())).collect();
            Fetched { lost, ..Fetched::default() }
        }
        Err(error) => return Err(error),
    };
    if let Some((piece, problem)) = fetched.lost.first().filter(|_| !window.keep_going) {
        let (offset, bytes) = (window.offset(piece), block_bytes(u64::from(piece.blocks)));
        let error = Error::new(kind, format!("bytes {offset} to {}: {problem}", offset + bytes));
        return Err(if kind == ErrorKind::Corrupt {
            error.with_hint(NextStep::RepairPacksOrGoOn)
        } else {
            error
        });
    }
    let blocks: u64 = fetched.proven.iter().map(|(piece, _)| u64::from(piece.blocks)).sum();
    progress.advance(Meter::Restored, block_bytes(blocks));
    Ok(fetched)
}

/// Returns the chunk at its place from when the window was gathered, or at its current place if the
/// old one cannot be opened any more.
fn locate(store: &Store, id: &ChunkId, place: ChunkPlace) -> Result<Located> {
    let there = store.pack(place.pack).and_then(|pack| {
        let entry = pack.entry(place.number)?;
        Ok(Located { pack, number: place.number, entry })
    });
    there.or_else(|_| store.need_chunk(id))
}

/// Fetches the pieces of a chunk that was found damaged or incomplete, as far as they are
/// available. This overwrites whatever the sink got before the damage was noticed.
fn fetch_anyhow(
    store: &Store,
    located: &Located,
    pieces: &[Piece],
    sink: &PieceSink<'_>,
    why: &Error,
) -> Result<Fetched> {
    let wanted: BTreeSet<u8> = pieces.iter().flat_map(|piece| slots(piece.slot, piece.blocks)).collect();
    let wanted = Vec::from_iter(wanted);
    let saved = recover(store, located, &wanted, Store::look_again)?;
    let mut fetched = Fetched::default();
    for piece in pieces {
        let slots: Vec<u8> = slots(piece.slot, piece.blocks).collect();
        let mut from = 0;
        for run in slots.chunk_by(|a, b| saved.contains_key(a) == saved.contains_key(b)) {
            let blocks = to_u16(run.len());
            let part = piece.part(from, blocks);
            from += blocks;
            let saved: Vec<_> = run.iter().filter_map(|slot| saved.get(slot)).collect();
            if saved.is_empty() {
                fetched.lost.push((part, why.to_string()));
                continue;
            }
            let bytes: Vec<u8> = saved.iter().flat_map(|saved| saved.bytes.iter().copied()).collect();
            sink(&part, &bytes);
            fetched.proven.push((part, saved.iter().map(|saved| saved.digest).collect()));
        }
    }
    fetched.stored_bytes = u64::from(located.entry.stored_bytes);
    Ok(fetched)
}

fn fetch_from(
    store: &Store,
    located: &Located,
    pieces: &[Piece],
    reader: &mut ItemReader,
    sink: &PieceSink<'_>,
) -> Result<Proven> {
    let (slots, raw) = reader.chunk(&store.files, located)?;
    let stored_blocks = raw.as_chunks::<BLOCK_BYTES>().0;
    let mut all = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let wanted = piece.slot..=u8::MAX;
        let mut blocks = Vec::with_capacity(usize::from(piece.blocks));
        let mut from = None;
        for slot in wanted.take(usize::from(piece.blocks)) {
            let Ok(at) = slots.binary_search(&slot) else {
                return Err(located.damaged().in_context(format!("slot {slot} has no data")));
            };
            from.get_or_insert(at);
            blocks.push((slot, &stored_blocks[at]));
        }
        let digests = located.prove(&store.files, &blocks)?;
        // Consecutive slots are stored one after another.
        let begin = from.unwrap_or(0) * BLOCK_BYTES;
        sink(piece, &raw[begin..begin + blocks.len() * BLOCK_BYTES]);
        all.push((*piece, digests));
    }
    debug_assert_eq!(all.len(), pieces.len());
    Ok(all)
}
