//! A snapshot as an image that another repository captures. Each span that is read is checked.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::format::record::Record;
use crate::pure::span::Span;
use crate::repository::Repository;
use crate::stores::chunks::Store;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::views::cache::BlockCache;
use crate::views::snapshot::SnapshotDisk;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::NodeDigest;
use crate::words::next_step::NextStep;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::SPAN_BYTES;
use crate::words::sizes::SPAN_U64;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::sync::Mutex;
use crate::words::units::LeafNumber;
use crate::words::units::offset_in_leaf;
use crate::world::io::ReadAt;

/// The cache for decoded chunks and pages. Each is needed once, except chunks whose blocks are
/// spread over the image.
const CACHE_BYTES: usize = 64 << 20;
/// Leaves whose digests are kept: more than threads read at a time.
const LEAVES_KEPT: usize = 64;

/// The digests that the spans of a leaf region must have.
type SpanDigests = Arc<[NodeDigest; LEAF_SPANS]>;

/// A snapshot that is being copied. Whole spans are compared with the span digests of its manifest,
/// which have twice as many bits as the ids that blocks are checked against.
pub(crate) struct ProvenDisk<'a> {
    disk: SnapshotDisk,
    store: &'a Store,
    name: String,
    spans: Mutex<Spans<'a>>,
    /// The first error from reading it.
    failure: Mutex<Option<Error>>,
}

struct Spans<'a> {
    tree: Cursor<&'a Store>,
    kept: VecDeque<(LeafNumber, SpanDigests)>,
}

impl<'a> ProvenDisk<'a> {
    /// Opens a snapshot. It cannot be deleted while the disk exists.
    pub(crate) fn open(repo: &'a Arc<Repository>, record: &Record) -> Result<Self> {
        Ok(Self {
            disk: SnapshotDisk::open(Arc::clone(repo), record.id, BlockCache::new(CACHE_BYTES))?,
            store: &repo.store,
            name: format!("snapshot {} ({})", record.id, record.name),
            spans: Mutex::new(Spans {
                tree: Cursor::new(&repo.store, Node::root(record)),
                kept: VecDeque::new(),
            }),
            failure: Mutex::default(),
        })
    }

    /// Tells whether a read has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Returns the first error from reading it, if there was one.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps an error and returns it as an I/O error, which a capture would take for one of an
    /// image.
    fn note(&self, error: io::Error) -> io::Error {
        let told = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => {
                let told = Error::new(error.kind(), error.to_string());
                match error.next_step() {
                    Some(next) => told.with_hint(next.clone()),
                    None => told,
                }
            }
            None => Error::new(ErrorKind::Io, format!("reading {}: {error}", self.name)),
        };
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(told);
        error
    }

    fn digests(&self, leaf: LeafNumber) -> Result<SpanDigests> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = spans.kept.iter().find(|(number, _)| *number == leaf) {
            return Ok(Arc::clone(known));
        }
        let found = match spans.tree.find(leaf).map_err(|unread| unread.error)? {
            Some(node) => spans.tree.read(&node)?,
            None => None,
        };
        let digests = Arc::new(found.map_or([NodeDigest::ZERO; LEAF_SPANS], |leaf| leaf.span_digests()));
        spans.kept.push_back((leaf, Arc::clone(&digests)));
        if spans.kept.len() > LEAVES_KEPT {
            spans.kept.pop_front();
        }
        Ok(digests)
    }

    /// Checks the spans that lie completely in a buffer read at `offset`.
    fn prove(&self, offset: u64, buffer: &[u8]) -> Result<()> {
        let end = offset + to_u64(buffer.len());
        let mut at = offset.next_multiple_of(SPAN_U64);
        while at + SPAN_U64 <= end || at < end && end == self.disk.len() {
            let bytes = &buffer[to_usize(at - offset)..to_usize((at + SPAN_U64).min(end) - offset)];
            let mut padded = Vec::new();
            let whole = match bytes.len() == SPAN_BYTES {
                true => bytes,
                false => {
                    padded.extend_from_slice(bytes);
                    padded.resize(SPAN_BYTES, 0);
                    &padded
                }
            };
            let wanted = self.digests(LeafNumber::of(at))?[offset_in_leaf(at) / SPAN_BYTES];
            if Span::of(whole).hash(&self.store.files.hasher, &mut [None; SPAN_BLOCKS]) != wanted {
                let name = &self.name;
                return Err(Error::corrupt(format!(
                    "{name}: bytes {at} to {} do not match the manifest",
                    at + SPAN_U64
                ))
                .with_hint(NextStep::VerifyData));
            }
            at += SPAN_U64;
        }
        Ok(())
    }
}

impl ReadAt for ProvenDisk<'_> {
    fn len(&self) -> u64 {
        self.disk.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let read = self.disk.read_at(offset, buffer);
        read.and_then(|()| Ok(self.prove(offset, buffer)?)).map_err(|error| self.note(error))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.disk.next_data(offset).map_err(|error| self.note(error))
    }

    fn will_need(&self, range: Range<u64>) -> bool {
        self.disk.will_need(range)
    }
}
