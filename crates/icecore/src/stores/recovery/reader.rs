//! Reads, decodes and proves chunks and pages where they were found. Only here do stored bytes
//! become content.

use std::cell::Cell;

use crate::format::pack::Entry;
use crate::format::pack::EntryKind;
use crate::format::page_delta::Delta;
use crate::format::page_delta::Difference;
use crate::format::record::Record;
use crate::pure::compress::Codec;
use crate::pure::compress::Decoder;
use crate::stores::chunks::Located;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::Digest;
use crate::words::ids::PageId;
use crate::words::sizes::BLOCK_BYTES;

/// The buffers and the decoder that a thread keeps between chunks.
pub(crate) struct ItemReader {
    decoder: Decoder,
    stored: Vec<u8>,
}

thread_local! {
    /// Making a decoder takes longer than decoding a page.
    static READER: Cell<Option<ItemReader>> = const { Cell::new(None) };
}

/// Reads with this thread's reader. `read` may call this function again: it then gets another one.
pub(crate) fn with_reader<T>(read: impl FnOnce(&mut ItemReader) -> Result<T>) -> Result<T> {
    let mut reader = match READER.take() {
        Some(reader) => reader,
        None => ItemReader::new()?,
    };
    let done = read(&mut reader);
    READER.set(Some(reader));
    done
}

impl ItemReader {
    pub(crate) fn new() -> Result<Self> {
        let decoder = Decoder::new().map_err(|error| Error::stored_io("preparing decompression", error))?;
        Ok(Self { decoder, stored: Vec::new() })
    }

    /// Reads and decodes a chunk, checks its id, and returns its present slots and their bytes one
    /// after another. The bytes are not proven yet: see [`prove`](Located::prove).
    pub(crate) fn chunk(&mut self, files: &RepositoryFiles, located: &Located) -> Result<(Vec<u8>, &[u8])> {
        let Located { pack, entry, .. } = located;
        if !located.has_trusted_ids(files) {
            return Err(located.damaged().in_context("the block ids do not match the chunk's id"));
        }
        let slots = pack.present_slots(entry);
        let raw = self.decode(located)?;
        if slots.len() * BLOCK_BYTES != raw.len() {
            return Err(located.damaged().in_context("the slots do not match the chunk's length"));
        }
        Ok((slots, raw))
    }

    /// Takes a chunk as `chunk` does, but hands the caller the buffer it was decoded or read into,
    /// without copying.
    pub(crate) fn take_chunk(
        &mut self,
        files: &RepositoryFiles,
        located: &Located,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let (slots, _) = self.chunk(files, located)?;
        let bytes = match located.entry.codec {
            Codec::Raw => std::mem::take(&mut self.stored),
            Codec::Zstd | Codec::Delta => self.decoder.take(),
        };
        Ok((slots, bytes))
    }

    /// Reads a page that is stored in full, and proves it.
    pub(crate) fn page(&mut self, files: &RepositoryFiles, located: &Located) -> Result<&[u8]> {
        debug_assert_eq!(located.entry.kind(), EntryKind::Page);
        let bytes = self.decode(located)?;
        let id = PageId(located.entry.id);
        if files.hasher.page(bytes) != id {
            return Err(located
                .damaged()
                .in_context(format!("the content of page {id} does not match its id")));
        }
        Ok(bytes)
    }

    /// Reads a copy of a record and proves it.
    pub(crate) fn record(&mut self, files: &RepositoryFiles, located: &Located) -> Result<Record> {
        let bytes = self.decode(located)?;
        proven_record(files, bytes, &located.entry)
            .ok_or_else(|| located.damaged().in_context("the copy of a record does not match its checksum"))
    }

    /// Puts a page together from its delta and the page that this is based on, and proves it.
    pub(super) fn delta(
        &mut self,
        files: &RepositoryFiles,
        located: &Located,
        delta: &Delta<'_>,
        base: &[u8],
    ) -> Result<Vec<u8>> {
        let entry = &located.entry;
        let difference = self.difference(located, delta)?;
        let bytes = Difference::apply(base, difference)
            .map_err(|error| located.damaged().in_context(error.to_string()))?;
        if bytes.len() != entry.raw_bytes as usize || files.hasher.page(&bytes).0 != entry.id {
            let id = PageId(entry.id);
            return Err(located
                .damaged()
                .in_context(format!("the content of page {id} does not match its id")));
        }
        Ok(bytes)
    }

    /// Returns the encoded difference that a delta holds.
    pub(super) fn difference<'b>(&'b mut self, located: &Located, delta: &Delta<'b>) -> Result<&'b [u8]> {
        match delta.raw_bytes {
            0 => Ok(delta.body),
            raw_bytes => self
                .decoder
                .decode(Codec::Zstd, delta.body, raw_bytes.into())
                .map_err(|error| located.damaged().with_source(error)),
        }
    }

    /// Reads the stored bytes and decodes them.
    fn decode(&mut self, located: &Located) -> Result<&[u8]> {
        let Located { pack, number, entry } = located;
        pack.read_encoded(*number, entry, &mut self.stored)?;
        self.decoder
            .decode(entry.codec, &self.stored, entry.raw_bytes as usize)
            .map_err(|error| located.damaged().with_source(error))
    }

    /// Reads a chunk that may be damaged, or lie partly on unreadable sectors. Returns the blocks
    /// that match their ids, by slot, with their digests.
    pub(crate) fn good_blocks(
        &mut self,
        files: &RepositoryFiles,
        located: &Located,
    ) -> Vec<(u8, Digest, &[u8; BLOCK_BYTES])> {
        let Located { pack, number, entry } = located;
        let slots = pack.present_slots(entry);
        if !located.has_trusted_ids(files) || slots.len() * BLOCK_BYTES != entry.raw_bytes as usize {
            return Vec::new();
        }
        let Some(encoded) = pack.read_encoded_in_parts(*number, entry) else { return Vec::new() };
        self.stored = encoded;
        let Ok(raw) = self.decoder.decode(entry.codec, &self.stored, entry.raw_bytes as usize) else {
            return Vec::new();
        };
        let blocks: Vec<&[u8; BLOCK_BYTES]> = raw.as_chunks().0.iter().collect();
        let digests = files.hasher.blocks(&blocks);
        let all =
            slots.into_iter().zip(digests).zip(blocks).map(|((slot, digest), bytes)| (slot, digest, bytes));
        all.filter(|(slot, digest, _)| pack.block_id(entry, *slot) == Some(digest.block_id())).collect()
    }

    /// Reads a chunk and returns the slots whose blocks do not match their ids.
    pub(super) fn bad_slots(&mut self, files: &RepositoryFiles, located: &Located) -> Result<Vec<u8>> {
        let (slots, raw) = self.chunk(files, located)?;
        let blocks: Vec<&[u8; BLOCK_BYTES]> = raw.as_chunks::<BLOCK_BYTES>().0.iter().collect();
        let digests = files.hasher.blocks(&blocks);
        let is_bad = |slot: u8, id| located.pack.block_id(&located.entry, slot) != Some(id);
        let proven = slots.into_iter().zip(digests);
        Ok(proven.filter(|(slot, digest)| is_bad(*slot, digest.block_id())).map(|(slot, _)| slot).collect())
    }
}

/// Returns the record that a copy holds, if it is whole and that of the entry's snapshot.
pub(crate) fn proven_record(files: &RepositoryFiles, bytes: &[u8], entry: &Entry) -> Option<Record> {
    let (record, _) = Record::decode(bytes, &files.hasher).ok()?;
    (<[u8; 16]>::from(record.id) == entry.id).then_some(record)
}

impl Located {
    /// Proves blocks, each given with its slot, against their ids, and returns their digests.
    pub(crate) fn prove(
        &self,
        files: &RepositoryFiles,
        blocks: &[(u8, &[u8; BLOCK_BYTES])],
    ) -> Result<Vec<Digest>> {
        let bytes: Vec<&[u8; BLOCK_BYTES]> = blocks.iter().map(|(_, bytes)| *bytes).collect();
        let digests = files.hasher.blocks(&bytes);
        for ((slot, _), digest) in blocks.iter().zip(&digests) {
            if self.pack.block_id(&self.entry, *slot) != Some(digest.block_id()) {
                return Err(self
                    .damaged()
                    .in_context(format!("the content of slot {slot} does not match its id")));
            }
        }
        Ok(digests)
    }

    /// Tells whether the chunk's id results from the block ids in the directory.
    pub(super) fn has_trusted_ids(&self, files: &RepositoryFiles) -> bool {
        files.hasher.chunk(&self.pack.block_ids_of(&self.entry)).0 == self.entry.id
    }
}
