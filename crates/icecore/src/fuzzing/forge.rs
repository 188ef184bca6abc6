//! Repositories that no capture would write: every checksum and id is right, but the content may
//! lie.

use crate::format::config::Config;
use crate::format::config::FORMAT_MINOR;
use crate::format::journal::Change;
use crate::format::pack::PackKind;
use crate::format::page::Extent;
use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::fuzzing::seal::plain;
use crate::pure::compress::Encoder;
use crate::pure::record_cipher::Kind;
use crate::repository::Repository;
use crate::stores::index::writer::write_run_of;
use crate::stores::locks::Writer;
use crate::stores::pack::writer::Item;
use crate::stores::pack::writer::PackWriter;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::to_u16;

/// The digest used as a lie.
const LIE: NodeDigest = NodeDigest([0x5a; 16]);
const LIE_OF_DATA: Digest = Digest([0x5a; 32]);

/// The id of a chunk that no pack has.
const MISSING: ChunkId = ChunkId([9; 16]);

/// What a newer program has added to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    /// A minor version of the format.
    Minor,
    /// A feature that every writer must know.
    ReadOnlyCompatible,
    /// A feature that every reader must know.
    Incompatible,
}

/// Returns a config as a newer program would leave it.
///
/// # Errors
/// `Corrupt` if `bytes` is not a config.
pub fn newer_config(bytes: &[u8], newer: Newer) -> Result<Vec<u8>> {
    let encoding = |error| Error::corrupt(format!("a config: {error}"));
    let (mut config, minor) = Config::decode(bytes, None).map_err(encoding)?;
    match newer {
        Newer::Minor => {}
        Newer::ReadOnlyCompatible => config.features.read_only_compatible |= 1 << 40,
        Newer::Incompatible => config.features.incompatible |= 1 << 40,
    }
    let mut bytes = config.encode(None).map_err(encoding)?;
    let minor = if newer == Newer::Minor { FORMAT_MINOR + 1 } else { minor };
    set_minor(&mut bytes, minor, plain);
    Ok(bytes)
}

/// Returns the record of a volume as a newer program would leave it.
///
/// # Errors
/// `Corrupt` if it is not one of this repository.
pub fn newer_volume(repo: &Repository, stored: Vec<u8>) -> Result<Vec<u8>> {
    let files = repo.files();
    let opened = files.seals.open(Kind::Local, 0, stored);
    let mut bytes = opened.map_err(|error| Error::corrupt(error.to_string()))?;
    set_minor(&mut bytes, FORMAT_MINOR + 1, |bytes| files.hasher.record(bytes).0);
    files.seal(Kind::Local, 0, bytes)
}

fn set_minor(bytes: &mut [u8], minor: u16, checksum: impl Fn(&[u8]) -> [u8; 32]) {
    bytes[10..12].copy_from_slice(&minor.to_le_bytes());
    let end = bytes.len() - 32;
    let sum = checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
}

/// A collector of chunks and pages, which it publishes with an index.
pub struct Forge<'a> {
    repo: &'a Repository,
    encoder: Encoder,
    chunks: Vec<(ChunkId, Vec<Digest>)>,
    pages: Vec<PageRef>,
    data: Vec<Item>,
    manifest: Vec<Item>,
}

/// A run of blocks of a leaf: its length, and the number of the chunk and the slot where it starts.
/// A run without a chunk is zeros.
pub type Run = (u16, Option<(u16, u8)>);

impl<'a> Forge<'a> {
    /// Creates an empty forge.
    ///
    /// # Errors
    /// `Io` if there is no memory for a compressor.
    pub fn new(repo: &'a Repository) -> Result<Self> {
        let encoder = Encoder::new(1, false).map_err(|error| Error::io("creating a compressor", error))?;
        let (data, manifest) = (Vec::new(), Vec::new());
        Ok(Self { repo, encoder, chunks: Vec::new(), pages: Vec::new(), data, manifest })
    }

    /// Returns the number of pages added.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Adds a chunk with one block for each of `fills`, filled with that byte. A fill is not zero,
    /// and there are at most 256.
    ///
    /// # Errors
    /// `Io` if it cannot be compressed.
    pub fn chunk(&mut self, fills: &[u8]) -> Result<()> {
        let blocks: Vec<[u8; BLOCK_BYTES]> = fills.iter().map(|fill| [*fill; BLOCK_BYTES]).collect();
        let hasher = &self.repo.files().hasher;
        let digests = hasher.blocks(&blocks.iter().collect::<Vec<_>>());
        let ids: Vec<BlockId> = digests.iter().map(Digest::block_id).collect();
        let id = hasher.chunk(&ids);
        self.chunks.push((id, digests));
        let item = self.item(id.0, &blocks.concat(), ids)?;
        self.data.push(item);
        Ok(())
    }

    /// Adds a chunk of blocks filled with `fills`. Its directory claims that they are filled with
    /// `said`, and its id is that of a chunk of `named`. An honest leaf describes the actual
    /// content in its spans.
    ///
    /// # Errors
    /// As for [`chunk`](Self::chunk).
    pub fn false_chunk(&mut self, fills: &[u8], said: &[u8], named: &[u8]) -> Result<()> {
        let hasher = &self.repo.files().hasher;
        let digests = |fills: &[u8]| -> Vec<Digest> {
            fills.iter().flat_map(|fill| hasher.blocks(&[&[*fill; BLOCK_BYTES]])).collect()
        };
        let ids = |fills: &[u8]| -> Vec<BlockId> { digests(fills).iter().map(Digest::block_id).collect() };
        let (id, said, digests) = (hasher.chunk(&ids(named)), ids(said), digests(fills));
        let blocks: Vec<[u8; BLOCK_BYTES]> = fills.iter().map(|fill| [*fill; BLOCK_BYTES]).collect();
        self.chunks.push((id, digests));
        let item = self.item(id.0, &blocks.concat(), said)?;
        self.data.push(item);
        Ok(())
    }

    /// Adds a page of these bytes, unchecked.
    ///
    /// # Errors
    /// `Io` if they cannot be compressed.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.page(bytes, LIE)
    }

    /// Adds a leaf. An honest one describes the actual content of each span, except that of chunks
    /// that do not exist: nobody knows it.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub fn leaf(&mut self, runs: &[Run], honest: bool) -> Result<()> {
        let (mut extents, mut blocks, mut used) = (Vec::new(), Vec::new(), Vec::new());
        let zero = self.repo.files().hasher.zero_block();
        for (count, source) in runs {
            let place = match source {
                None => Place::Zero,
                Some((chunk, slot)) => {
                    let at = used.iter().position(|other| other == chunk).unwrap_or(used.len());
                    if at == used.len() {
                        used.push(*chunk);
                    }
                    Place::Chunk { chunk: to_u16(at), slot: *slot }
                }
            };
            extents.push(Extent { blocks: *count, place });
            blocks.extend((0..usize::from(*count)).map(|at| match source {
                None => zero,
                Some((chunk, slot)) => {
                    let known = self.chunks.get(usize::from(*chunk));
                    known
                        .and_then(|(_, digests)| digests.get(usize::from(*slot) + at))
                        .copied()
                        .unwrap_or(LIE_OF_DATA)
                }
            }));
        }
        blocks.resize(LEAF_BLOCKS, zero);
        let hasher = &self.repo.files().hasher;
        let (mut data_spans, mut digests) = (0, Vec::new());
        for (span, blocks) in blocks.as_chunks::<SPAN_BLOCKS>().0.iter().enumerate() {
            if blocks.iter().any(|block| *block != zero) {
                data_spans |= 1_u64 << span;
                digests.push(if honest { hasher.span(blocks) } else { LIE });
            }
        }
        let known = |chunk: &u16| self.chunks.get(usize::from(*chunk)).map_or(MISSING, |(id, _)| *id);
        let chunks = used.iter().map(known).collect();
        let leaf = Leaf { data_spans, digests, chunks, extents };
        let content = leaf.content(hasher);
        self.encoded(&Page::Leaf(leaf), content)
    }

    /// Adds an inner page. Each child is a page added before, with its place from 0 to 127.
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes).
    pub fn inner(&mut self, level: u8, children: &[(u8, usize)], honest: bool) -> Result<()> {
        let child = |(at, page): &(u8, usize)| {
            let missing = PageRef { id: PageId([9; 16]), content: LIE };
            (*at % 128, self.pages.get(*page).copied().unwrap_or(missing))
        };
        let mut children: Vec<(u8, PageRef)> = children.iter().map(child).collect();
        children.sort_by_key(|(at, _)| *at);
        children.dedup_by_key(|(at, _)| *at);
        let inner = Inner::new(level, &children);
        let content = if honest { inner.content(&self.repo.files().hasher) } else { LIE };
        self.encoded(&Page::Inner(inner), content)
    }

    /// Publishes all chunks and pages, with an index.
    ///
    /// # Errors
    /// As for any write.
    pub fn publish(&mut self) -> Result<()> {
        let files = self.repo.files();
        let writer = Writer::begin(files)?;
        for (kind, items) in [(PackKind::Data, &self.data), (PackKind::Pages, &self.manifest)] {
            let mut pack = PackWriter::begin(files, kind)?;
            items.iter().try_for_each(|item| pack.append(item))?;
            write_run_of(files, &pack.finish(&writer)?)?;
        }
        Ok(())
    }

    /// Publishes the record of a snapshot with this number. An honest record names the content of
    /// its root.
    ///
    /// # Errors
    /// As for any write.
    pub fn record(
        &self,
        number: u8,
        size_bytes: u64,
        root: Option<usize>,
        honest: bool,
    ) -> Result<SnapshotId> {
        let root = root.and_then(|page| self.pages.get(page)).copied();
        let content = root.map_or(NodeDigest::ZERO, |root| root.content);
        let (id, name) = (SnapshotId::from([number; 16]), format!("hostile {number}"));
        let record = Record {
            size_bytes,
            root,
            content: if honest { self.repo.files().hasher.image(size_bytes, content) } else { LIE_OF_DATA },
            ..Record::new(id, i64::from(number), ResourceKind::Volume, "hostile", name)
        };
        self.repo.commit(|_| Ok((vec![Change::Made(Box::new(record.clone()))], ())))?;
        Ok(record.id)
    }

    fn encoded(&mut self, page: &Page, content: NodeDigest) -> Result<()> {
        let bytes = page.encode().map_err(|error| Error::corrupt(error.to_string()))?;
        self.page(&bytes, content)
    }

    fn page(&mut self, bytes: &[u8], content: NodeDigest) -> Result<()> {
        let id = self.repo.files().hasher.page(bytes);
        self.pages.push(PageRef { id, content });
        let item = self.item(id.0, bytes, Vec::new())?;
        self.manifest.push(item);
        Ok(())
    }

    fn item(&mut self, id: [u8; 16], raw: &[u8], blocks: Vec<BlockId>) -> Result<Item> {
        let encoded = self.encoder.encode(raw).map_err(|error| Error::io("compressing", error))?;
        Ok(Item::new(id, encoded, raw.len(), blocks))
    }
}
