//! Fetches the pieces of a window: each chunk is read and decoded once, in the order of packs, on all cores, and each
//! block is proven before it is given out.

use rayon::prelude::*;

use crate::pure::compress::Decoder;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::verbs::restore::window::ChunkPlace;
use crate::verbs::restore::window::Piece;
use crate::verbs::restore::window::Window;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::BLOCK_U64;

/// Chunks between two looks at whether to stop.
const CHUNKS_AT_ONCE: usize = 2048;

/// Takes the proven bytes of a piece. Called from many threads, in no order.
pub(crate) type PieceSink<'a> = dyn Fn(&Piece, &[u8]) + Sync + 'a;

/// The blocks of a piece that were proven: the piece, and their digests.
type Proven = Vec<(Piece, Vec<Digest>)>;

/// What a worker keeps between chunks.
struct Worker {
    decoder: Decoder,
    stored: Vec<u8>,
}

impl Worker {
    fn new() -> Result<Self> {
        let decoder = Decoder::new().map_err(|error| Error::io("preparing decompression", error))?;
        Ok(Self { decoder, stored: Vec::new() })
    }
}

/// Fetches all pieces of `window`, gives their bytes to `sink`, and notes their digests. Returns stored bytes read.
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
    for jobs in jobs.chunks(CHUNKS_AT_ONCE) {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        let one = |worker: &mut Result<Worker>, pieces: &&[Piece]| -> Result<(u64, Proven)> {
            let worker = worker.as_mut().map_err(|error| Error::new(error.kind(), error.to_string()))?;
            fetch_chunk(store, window, pieces, worker, sink, progress)
        };
        let fetched: Vec<(u64, Proven)> =
            jobs.par_iter().map_init(Worker::new, one).collect::<Result<_>>()?;
        for (bytes, proven) in fetched {
            stored_bytes += bytes;
            digests.extend(proven);
        }
    }
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
    worker: &mut Worker,
    sink: &PieceSink<'_>,
    progress: &dyn Progress,
) -> Result<(u64, Proven)> {
    let Some(first) = pieces.first() else { return Ok((0, Vec::new())) };
    let (id, place) = window.chunks[first.chunk as usize];
    let located = locate(store, &id, place)?;
    let proven = fetch_from_all(store, &located, pieces, worker, sink).map_err(|error| {
        let offset = window.offset(first);
        error.in_context(format!("bytes {offset} to {}", offset + u64::from(first.blocks) * BLOCK_U64))
    })?;
    let blocks: u64 = pieces.iter().map(|piece| u64::from(piece.blocks)).sum();
    progress.advance(Meter::Restored, blocks * BLOCK_U64);
    Ok((u64::from(located.entry.stored_bytes), proven))
}

/// Fetches pieces of a chunk from where it was found, and what is damaged there or has no data from the other packs that
/// have it.
fn fetch_from_all(
    store: &Store,
    found: &Located,
    pieces: &[Piece],
    worker: &mut Worker,
    sink: &PieceSink<'_>,
) -> Result<Proven> {
    let first = match fetch_from(store, found, pieces, worker, sink) {
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) => error,
        done => return done,
    };
    let (mut open, mut proven) = (pieces.to_vec(), Vec::new());
    for copy in store.copies(&found.entry.id)? {
        let has = |piece: &Piece, at: u16| {
            let slot = u8::try_from(u16::from(piece.slot) + at);
            slot.is_ok_and(|slot| copy.pack.has_slot(&copy.entry, slot))
        };
        let there: Vec<Piece> = open.iter().flat_map(|piece| piece.parts(|at| has(piece, at))).collect();
        // What a damaged copy gave to the sink before it was noticed is overwritten by the next one.
        if let Ok(fetched) = fetch_from(store, &copy, &there, worker, sink) {
            proven.extend(fetched);
            open = open.iter().flat_map(|piece| piece.parts(|at| !has(piece, at))).collect();
        }
    }
    if open.is_empty() { Ok(proven) } else { Err(first) }
}

/// Returns the chunk where it was when the window was gathered, or where it is now if gc has moved it.
fn locate(store: &Store, id: &ChunkId, place: ChunkPlace) -> Result<Located> {
    let there = store.pack(place.pack).and_then(|pack| {
        let entry = pack.entry(place.number)?;
        Ok(Located { pack, number: place.number, entry })
    });
    match there {
        Ok(located) => Ok(located),
        Err(error) if error.kind() == ErrorKind::NotFound => store.need_chunk(id),
        Err(error) => Err(error),
    }
}

fn fetch_from(
    store: &Store,
    located: &Located,
    pieces: &[Piece],
    worker: &mut Worker,
    sink: &PieceSink<'_>,
) -> Result<Proven> {
    let (slots, raw) = located.read(&store.base, &mut worker.decoder, &mut worker.stored)?;
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
        let digests = located.prove(&store.base, &blocks)?;
        // Slots that follow each other are stored one after another.
        let begin = from.unwrap_or(0) * BLOCK_BYTES;
        sink(piece, &raw[begin..begin + blocks.len() * BLOCK_BYTES]);
        all.push((*piece, digests));
    }
    debug_assert_eq!(all.len(), pieces.len());
    Ok(all)
}
