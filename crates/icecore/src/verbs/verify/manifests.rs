//! Walks through the manifests of snapshots. Checks that every page matches its parent, and that
//! every chunk that a page names exists with the slots needed. Any defect makes ranges of images
//! unreadable.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::known_slots::KnownSlots;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::stores::recovery::other_places;
use crate::stores::recovery::parity_gives;
use crate::verbs::verify::findings::FindingNumber;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::Problem;
use crate::verbs::verify::findings::problem_of;
use crate::verbs::verify::packs::next_step;
use crate::verbs::verify::places::Places;
use crate::verbs::verify::sample::Sample;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;
use crate::words::next_step::NextStep;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::LEAF_SPANS;
use crate::words::units::block_bytes;
use crate::words::units::block_end;
use crate::words::units::slots;

/// How often pages with a problem below them are walked again, to report exactly which ranges are
/// lost. An image can name the same page any number of times. Beyond this limit, everything that
/// such a page maps is reported as lost.
const AGAIN_MAX: u64 = 100_000;

/// A checker of manifests. It skips pages that it has already found sound in another manifest.
pub(crate) struct Manifests<'a> {
    pub(crate) store: &'a Store,
    pub(crate) progress: &'a dyn Progress,
    sample: Sample,
    /// Pages that are sound, together with everything below them.
    pub(crate) sound: Places,
    /// The slots of chunks that are there, and of which no damage is known.
    pub(crate) known: KnownSlots,
    /// Pages with a problem below them, each with one of the findings.
    pub(crate) unsound: HashMap<PageId, FindingNumber>,
    /// How often such a page was met again.
    again: u64,
    /// Chunks that a manifest names.
    pub(crate) named: Places,
    pub(crate) pages: u64,
    pub(crate) chunks: u64,
    /// The stored bytes of the named chunks that are to be read.
    pub(crate) wanted_bytes: u64,
    /// The number of the journal's last entry when the index was last loaded.
    entry: Option<u64>,
}

/// A page on the path from the root to the current position.
struct Open {
    page: PageId,
    located: Option<Located>,
    range: Range<u64>,
    /// A problem with it or below it.
    wrong: Option<FindingNumber>,
}

/// The check of one snapshot.
struct SnapshotCheck<'a, 'b> {
    all: &'a mut Manifests<'b>,
    findings: &'a mut Findings,
    record: &'a Record,
    number: usize,
    path: Vec<Open>,
}

impl<'a> Manifests<'a> {
    /// Reloads the index, after the caller has determined which snapshots to check.
    pub(crate) fn begin(store: &'a Store, sample: Sample, progress: &'a dyn Progress) -> Result<Self> {
        let entry = store.catalog().ok().map(|catalog| catalog.number);
        store.reload()?;
        Ok(Self {
            store,
            progress,
            sample,
            sound: Places::default(),
            known: KnownSlots::default(),
            unsound: HashMap::new(),
            again: 0,
            named: Places::default(),
            pages: 0,
            chunks: 0,
            wanted_bytes: 0,
            entry,
        })
    }

    /// Checks the manifest of the record with this number.
    pub(crate) fn check(&mut self, number: usize, record: &Record, findings: &mut Findings) -> Result<()> {
        if !self.has_its_content(record) {
            findings.add(Object::Snapshot(record.id.to_string()), || {
                "its content digest does not match its manifest; a restore still proves every span".into()
            });
        }
        let store = self.store;
        let mut check = SnapshotCheck { all: self, findings, record, number, path: Vec::new() };
        let mut pages = Cursor::checked(store, record);
        while let Some(node) = pages.next() {
            if !check.enter(&node)? {
                continue;
            }
            match pages.read(&node) {
                Ok(Some(leaf)) => check.leaf(&node, &leaf),
                Ok(None) => {}
                Err(error) => check.broken(&node, &error),
            }
        }
        check.close(u64::MAX);
        Ok(())
    }

    /// Tells whether the content digest of a record is that of its manifest.
    pub(crate) fn has_its_content(&self, record: &Record) -> bool {
        let root = record.root.map_or(NodeDigest::ZERO, |root| root.content);
        self.store.files.hasher.image(record.size_bytes, root) == record.content
    }

    /// Notes that a manifest names a chunk.
    pub(crate) fn name(&mut self, located: &Located) {
        if self.named.insert(located) {
            self.chunks += 1;
            if self.sample.has(located.pack.id, located.number) {
                self.wanted_bytes += u64::from(located.entry.stored_bytes);
            }
        }
    }

    /// Returns the place of a chunk, or the finding that explains why it is missing.
    fn locate(&mut self, id: &ChunkId, findings: &mut Findings) -> Result<Located, FindingNumber> {
        // Tries once more, in case the index had to be reopened.
        let mut found = self.store.find_chunk(id).or_else(|_| self.store.find_chunk(id));
        if !matches!(found, Ok(Some(_))) && self.gc_went_on() {
            found = self.store.find_chunk(id);
        }
        if !matches!(found, Ok(Some(_)))
            && let Some(rebuilt) = self.store.rebuilt_copies(&id.0).into_iter().next()
        {
            found = Ok(Some(rebuilt));
        }
        match found {
            Ok(Some(located)) => {
                self.name(&located);
                Ok(located)
            }
            Ok(None) => Err(self.blame(Object::Chunk(id.0), &id.0, None, findings)),
            Err(error) => Err(self.blame(Object::Chunk(id.0), &id.0, Some(&error), findings)),
        }
    }

    /// Reloads the index if gc may have moved anything since the last time. Tells whether it did.
    fn gc_went_on(&mut self) -> bool {
        let entry = self.store.catalog().ok().map(|catalog| catalog.number);
        let went_on = entry != self.entry && self.store.reload().is_ok();
        self.entry = entry;
        went_on
    }

    /// Returns the finding for a missing chunk or page: that of the pack that should have it, if
    /// that pack is known.
    fn blame(
        &self,
        object: Object,
        id: &[u8; 16],
        error: Option<&Error>,
        findings: &mut Findings,
    ) -> FindingNumber {
        for hint in self.store.chunk_hints(id).unwrap_or_default() {
            if let Err(error) = self.store.pack(hint.pack) {
                let pack = Object::Pack(hint.pack);
                return findings.add(pack, || problem_of(&error, next_step(&error)));
            }
        }
        findings.add(object, || match error {
            Some(error) => problem_of(error, NextStep::FindMissing),
            None => Problem::new("it is missing: no pack in the index has it", NextStep::FindMissing),
        })
    }
}

impl SnapshotCheck<'_, '_> {
    /// Closes the pages that end at or before `offset`.
    fn close(&mut self, offset: u64) {
        while let Some(open) = self.path.pop_if(|open| open.range.end <= offset) {
            match (open.wrong, open.located) {
                // Also for a page at the end of an image: it passes the same checks, and in
                // addition must map nothing beyond the end.
                (None, Some(located)) => {
                    self.all.sound.insert(&located);
                }
                (None, None) => {}
                (Some(finding), _) => {
                    self.all.unsound.insert(open.page, finding);
                }
            }
        }
    }

    fn lose(&mut self, finding: FindingNumber, range: Range<u64>) {
        let end = range.end.min(self.record.size_bytes);
        self.findings.add_lost(finding, self.number, range.start.min(end)..end);
        self.path.iter_mut().for_each(|open| open.wrong = Some(finding));
    }

    /// Checks an extent that is stored in a chunk and starts at `offset` of the image.
    fn extent(&mut self, located: &Located, slot: u8, blocks: u16, offset: u64) {
        for (slot, block) in slots(slot, blocks).zip(0..) {
            let has = located.pack.has_slot(&located.entry, slot);
            let damage = self.findings.damage_of(located, slot);
            if has && damage.is_none() || self.another_serves(located, slot) {
                continue;
            }
            let finding = damage.filter(|_| has).unwrap_or_else(|| {
                let (entry, pack) = (&located.entry, located.pack.id);
                self.findings.add(Object::Chunk(entry.id), || {
                    let at = entry.offset;
                    let text =
                        format!("its slot {slot} is needed, but pack {pack} at offset {at} does not have it");
                    Problem::new(text, NextStep::FindLost)
                })
            });
            let begin = offset + block_bytes(block);
            self.lose(finding, begin..begin + block_bytes(1));
        }
    }

    /// Tells whether another place, in the same chunk or another, also has the block, with no known
    /// damage. A restore then reads it from there.
    fn another_serves(&mut self, located: &Located, slot: u8) -> bool {
        let store = self.all.store;
        let mut serves = false;
        for (place, slot) in other_places(store, located, slot) {
            // The other copy is also read when data is read.
            self.all.named.insert(&place);
            serves |= self.findings.damage_of(&place, slot).is_none();
        }
        serves || parity_gives(store, located, slot)
    }

    fn unfit(&mut self, page: &PageRef, why: &str, range: Range<u64>) {
        let finding = self.findings.add(Object::Page(page.id.0), || Problem::new(why, NextStep::FindLost));
        self.lose(finding, range);
    }

    /// Tells whether a page is to be read, and starts with it if so.
    fn enter(&mut self, node: &Node) -> Result<bool> {
        let (page, range) = (&node.page, node.range(self.record.size_bytes));
        if self.all.progress.cancelled() {
            return Err(Error::interrupted());
        }
        self.close(range.start);
        // A failed lookup is reported when the page is read.
        let located = self.all.store.find_page(&page.id).ok().flatten();
        // A page that is sound elsewhere may map data beyond the end of this image.
        let within = range.end < self.record.size_bytes;
        if within && located.as_ref().is_some_and(|located| self.all.sound.has(located)) {
            return Ok(false);
        }
        if let Some(finding) = self.all.unsound.get(&page.id).copied() {
            self.all.again += 1;
            if self.all.again > AGAIN_MAX {
                self.lose(finding, range);
                return Ok(false);
            }
        }
        self.all.pages += 1;
        self.all.progress.advance(Meter::Pages, 1);
        self.path.push(Open { page: page.id, located, range, wrong: None });
        Ok(true)
    }

    fn leaf(&mut self, node: &Node, leaf: &Leaf) {
        let (page, number) = (&node.page, node.first_leaf());
        let mut chunks = Vec::with_capacity(leaf.chunks.len());
        for id in &leaf.chunks {
            chunks.push(self.all.locate(id, self.findings));
        }
        let image_end = block_end(self.record.size_bytes);
        let mut begin = number.offset();
        let mut stored_spans = 0_u64;
        for extent in &leaf.extents {
            let end = begin + block_bytes(u64::from(extent.blocks));
            if let Place::Chunk { chunk, slot } = extent.place {
                stored_spans |= number.span_mask(&(begin..end));
                match &chunks[usize::from(chunk)] {
                    Ok(located) => self.extent(located, slot, extent.blocks, begin),
                    Err(finding) => self.lose(*finding, begin..end),
                }
                if end > image_end {
                    // A restore still returns everything within the image.
                    let beyond = begin.max(image_end)..end;
                    self.unfit(page, "it maps data beyond the end of the image", beyond);
                }
            }
            begin = end;
        }
        let empty = leaf.data_spans & !stored_spans;
        for span in (0..LEAF_SPANS).filter(|span| empty >> span & 1 == 1) {
            self.unfit(page, "it claims data where nothing is stored", number.span(span));
        }
    }

    /// Notes that a page is unreadable.
    fn broken(&mut self, node: &Node, error: &Error) {
        let id = &node.page.id;
        let object = Object::Page(id.0);
        let finding = match self.all.store.find_page(id) {
            Ok(Some(_)) => self.findings.add(object, || problem_of(error, NextStep::FindLost)),
            _ => self.all.blame(object, &id.0, Some(error), self.findings),
        };
        self.lose(finding, node.range(self.record.size_bytes));
    }
}
