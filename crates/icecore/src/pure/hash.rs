//! The digests of blocks, spans, chunks, pages, packs and whole images. All are keyed BLAKE3.

use std::sync::Arc;

use blake3::platform::Platform;
use zeroize::Zeroize;

use crate::pure::hash_many::KeyWords;
use crate::pure::hash_many::LANES;
use crate::pure::hash_many::keyed_512;
use crate::pure::hash_many::keyed_4096;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::ids::GroupId;
use crate::words::ids::NodeDigest;
use crate::words::ids::PackId;
use crate::words::ids::PageId;
use crate::words::ids::ReadsKey;
use crate::words::ids::RunId;
use crate::words::ids::SnapshotId;
use crate::words::ids::VolumeKey;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::to_u64;

/// The digests of a repository. Each kind has its own key, derived from the repository's key, so
/// that a digest of one kind is never a digest of another.
#[derive(Clone)]
pub(crate) struct Hasher(Arc<Keys>);

/// The keys, in one place in memory, which is wiped when the last hasher is dropped.
struct Keys {
    platform: Platform,
    block: KeyWords,
    span: KeyWords,
    chunk: [u8; 32],
    page: [u8; 32],
    pack: [u8; 32],
    salt: [u8; 32],
    run: [u8; 32],
    node: [u8; 32],
    image: [u8; 32],
    record: [u8; 32],
    entry: [u8; 32],
    checkpoint: [u8; 32],
    name: [u8; 32],
    slice: [u8; 32],
    group: [u8; 32],
    volume: [u8; 32],
    reads: [u8; 32],
    zero_block: Digest,
}

impl Drop for Keys {
    fn drop(&mut self) {
        let Self { platform: _, block, span, zero_block: _, .. } = self;
        [block, span].into_iter().for_each(KeyWords::wipe);
        let keys = [
            &mut self.chunk,
            &mut self.page,
            &mut self.pack,
            &mut self.salt,
            &mut self.run,
            &mut self.node,
            &mut self.image,
            &mut self.record,
            &mut self.entry,
            &mut self.checkpoint,
            &mut self.name,
            &mut self.slice,
            &mut self.group,
            &mut self.volume,
            &mut self.reads,
        ];
        keys.into_iter().for_each(|key| key.zeroize());
    }
}

impl Hasher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let derive = |what: &str| blake3::derive_key(&format!("icecore 2026-11-24 {what}"), key);
        let block = derive("block");
        Self(Arc::new(Keys {
            platform: Platform::detect(),
            block: KeyWords::new(&block),
            span: KeyWords::new(&derive("span")),
            chunk: derive("chunk"),
            page: derive("page"),
            pack: derive("pack"),
            salt: derive("salt"),
            run: derive("run"),
            node: derive("node"),
            image: derive("image"),
            record: derive("record"),
            entry: derive("journal entry"),
            checkpoint: derive("checkpoint"),
            name: derive("name"),
            slice: derive("slice"),
            group: derive("group"),
            volume: derive("volume"),
            reads: derive("reads"),
            zero_block: Digest(*blake3::keyed_hash(&block, &[0; BLOCK_BYTES]).as_bytes()),
        }))
    }

    /// Returns the digest of a block of zeros.
    pub(crate) fn zero_block(&self) -> Digest {
        self.0.zero_block
    }

    /// Returns the digests of blocks, in order.
    pub(crate) fn blocks(&self, blocks: &[&[u8; BLOCK_BYTES]]) -> Vec<Digest> {
        let mut digests = vec![[0; 32]; blocks.len()];
        for (inputs, out) in blocks.chunks(LANES).zip(digests.chunks_mut(LANES)) {
            keyed_4096(self.0.platform, &self.0.block, inputs, out);
        }
        digests.into_iter().map(Digest).collect()
    }

    /// Returns the digest of a span from the digests of its blocks.
    pub(crate) fn span(&self, blocks: &[Digest; SPAN_BLOCKS]) -> NodeDigest {
        let mut input = [0; 32 * SPAN_BLOCKS];
        for (part, digest) in input.chunks_exact_mut(32).zip(blocks) {
            part.copy_from_slice(&digest.0);
        }
        let mut out = [[0; 32]; 1];
        keyed_512(self.0.platform, &self.0.span, &[&input], &mut out);
        NodeDigest(Digest(out[0]).short())
    }

    /// Returns the id of a chunk from the ids of its blocks.
    pub(crate) fn chunk(&self, blocks: &[BlockId]) -> ChunkId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.chunk);
        blocks.iter().for_each(|id| {
            hasher.update(&id.0);
        });
        ChunkId(Digest(*hasher.finalize().as_bytes()).short())
    }

    /// Returns the id of a manifest page from its encoded bytes.
    pub(crate) fn page(&self, bytes: &[u8]) -> PageId {
        PageId(Digest(*blake3::keyed_hash(&self.0.page, bytes).as_bytes()).short())
    }

    /// Returns the id of a pack from its header, its directory and its trailer.
    pub(crate) fn pack(&self, header: &[u8], directory: &[u8], trailer: &[u8]) -> PackId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.pack);
        hasher.update(header).update(directory).update(trailer);
        PackId(*hasher.finalize().as_bytes())
    }

    /// Returns the salt of a session's object of a kind with this number.
    pub(crate) fn salt(&self, session: &str, kind: u8, number: u64) -> [u8; 24] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.salt);
        hasher.update(&[kind]).update(&number.to_le_bytes()).update(session.as_bytes());
        let mut salt = [0; 24];
        hasher.finalize_xof().fill(&mut salt);
        salt
    }

    /// Returns the id of an index run from its header and its table of packs.
    pub(crate) fn run(&self, head: &[u8]) -> RunId {
        RunId(*blake3::keyed_hash(&self.0.run, head).as_bytes())
    }

    /// Returns the first half of the digest of a slice of a pack, or of its parity.
    pub(crate) fn slice(&self, bytes: &[u8]) -> [u8; 16] {
        Digest(*blake3::keyed_hash(&self.0.slice, bytes).as_bytes()).short()
    }

    /// Returns the id of a parity group from the parts of its description.
    pub(crate) fn group(&self, parts: &[&[u8]]) -> GroupId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.group);
        parts.iter().for_each(|part| {
            hasher.update(part);
        });
        GroupId(*hasher.finalize().as_bytes())
    }

    /// Returns the checksum of the record of a snapshot or a volume.
    pub(crate) fn record(&self, bytes: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(&self.0.record, bytes).as_bytes())
    }

    /// Returns the digest of an entry of the journal.
    pub(crate) fn entry(&self, bytes: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(&self.0.entry, bytes).as_bytes())
    }

    /// Returns the digest of a part of a checkpoint.
    pub(crate) fn checkpoint(&self, bytes: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(&self.0.checkpoint, bytes).as_bytes())
    }

    /// Returns the key under which a checkpoint finds what has these names. Different lists of
    /// names give different bytes to digest.
    pub(crate) fn name(&self, names: &[&str]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.name);
        for name in names {
            hasher.update(&to_u64(name.len()).to_le_bytes()).update(name.as_bytes());
        }
        let mut short = [0; 8];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(short)
    }

    /// Returns what stands for a volume's name in the names of files of a sealed repository.
    pub(crate) fn volume(&self, name: &str) -> VolumeKey {
        VolumeKey(Digest(*blake3::keyed_hash(&self.0.volume, name.as_bytes()).as_bytes()).short())
    }

    /// Returns what stands for a snapshot in the names of its records of reads, in a sealed
    /// repository.
    pub(crate) fn reads(&self, snapshot: SnapshotId) -> ReadsKey {
        let id: [u8; 16] = snapshot.into();
        ReadsKey(Digest(*blake3::keyed_hash(&self.0.reads, &id).as_bytes()).short())
    }

    /// Returns the digest of a node of the content tree from those of its children; zero where all
    /// of them are.
    pub(crate) fn node(&self, children: &[NodeDigest]) -> NodeDigest {
        if children.iter().all(|child| *child == NodeDigest::ZERO) {
            return NodeDigest::ZERO;
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.0.node);
        children.iter().for_each(|child| {
            hasher.update(&child.0);
        });
        NodeDigest(Digest(*hasher.finalize().as_bytes()).short())
    }

    /// Returns the content digest of an image from its size and the root of its content tree.
    pub(crate) fn image(&self, size_bytes: u64, root: NodeDigest) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.image);
        hasher.update(&size_bytes.to_le_bytes()).update(&root.0);
        Digest(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_digests_do_not_meet() {
        let hasher = Hasher::new(&[1; 32]);
        let bytes = [5; 32];
        assert_ne!(hasher.page(&bytes).0, Digest(hasher.pack(&bytes, &[], &[]).0).short());
        assert_ne!(hasher.page(&bytes).0, Digest(hasher.run(&bytes).0).short());
        assert_ne!(
            Hasher::new(&[2; 32]).page(&bytes),
            hasher.page(&bytes),
            "the key of the repository counts"
        );
    }

    #[test]
    fn a_block_of_zeros_has_the_digest_that_is_kept_for_it() {
        let hasher = Hasher::new(&[1; 32]);
        assert_eq!(hasher.blocks(&[&[0; 4096]; 17]), [hasher.zero_block(); 17]);
    }
}
