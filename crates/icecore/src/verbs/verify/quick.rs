//! The quick check of a manifest, which tells only whether it is whole. It does not look again at what
//! an earlier snapshot has as well.

use crate::format::pack::SlotBitmap;
use crate::format::page::Leaf;
use crate::format::page::Place;
use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::manifest::cursor::Cursor;
use crate::stores::manifest::cursor::Node;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::manifests::Manifests;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::progress::Meter;
use crate::words::units::block_bytes;
use crate::words::units::block_end;

/// A page on the path from the root, and where its part of the image ends.
type Open = (Located, u64);

impl Manifests<'_> {
    /// Tells whether a manifest is whole. False says nothing: it may be damaged, or its snapshot may
    /// be gone meanwhile.
    pub(crate) fn is_whole(&mut self, record: &Record, findings: &Findings) -> Result<bool> {
        let pages = self.pages;
        let is_whole = self.has_its_content(record) && self.walk_quickly(record, findings)?;
        if !is_whole {
            // They are counted when the manifest is checked in full.
            self.pages = pages;
        }
        Ok(is_whole)
    }

    fn walk_quickly(&mut self, record: &Record, findings: &Findings) -> Result<bool> {
        let mut pages = Cursor::checked(self.store, record);
        let mut path: Vec<Open> = Vec::new();
        while let Some(node) = pages.next() {
            if self.progress.cancelled() {
                return Err(Error::interrupted());
            }
            let range = node.range(record.size_bytes);
            self.close(&mut path, range.start);
            let Ok(Some(located)) = self.store.find_page(&node.page.id) else { return Ok(false) };
            // A page that is sound elsewhere may map data beyond the end of this image.
            if range.end < record.size_bytes && self.sound.has(&located) {
                continue;
            }
            if self.unsound.contains_key(&node.page.id) {
                return Ok(false);
            }
            self.pages += 1;
            self.progress.advance(Meter::Pages, 1);
            match pages.read(&node) {
                Ok(Some(leaf)) if !self.is_leaf_whole(&node, &leaf, record, findings) => return Ok(false),
                Ok(_) => {}
                Err(_) => return Ok(false),
            }
            path.push((located, range.end));
        }
        self.close(&mut path, u64::MAX);
        Ok(true)
    }

    /// Notes that the pages that end at or before `offset` are sound.
    fn close(&mut self, path: &mut Vec<Open>, offset: u64) {
        while let Some((located, _)) = path.pop_if(|(_, end)| *end <= offset) {
            self.sound.insert(&located);
        }
    }

    fn is_leaf_whole(&mut self, node: &Node, leaf: &Leaf, record: &Record, findings: &Findings) -> bool {
        let (number, image_end) = (node.first_leaf(), block_end(record.size_bytes));
        let mut begin = number.offset();
        let mut stored_spans = 0_u64;
        for extent in &leaf.extents {
            let end = begin + block_bytes(u64::from(extent.blocks));
            if extent.place != Place::Zero {
                if end > image_end {
                    return false;
                }
                stored_spans |= number.span_mask(&(begin..end));
            }
            begin = end;
        }
        let claims_no_more = leaf.data_spans & !stored_spans == 0;
        claims_no_more
            && leaf
                .chunks
                .iter()
                .zip(&leaf.named_slots())
                .all(|(id, needed)| self.has_slots(id, needed, findings))
    }

    /// Tells whether a chunk is there with these slots, and no damage of them is known.
    fn has_slots(&mut self, id: &ChunkId, needed: &SlotBitmap, findings: &Findings) -> bool {
        if self.known.has_all(id, needed) {
            return true;
        }
        let Ok(Some(located)) = self.store.find_chunk(id) else { return false };
        let is_good = |slot| {
            located.pack.has_slot(&located.entry, slot) && findings.damage_of(&located, slot).is_none()
        };
        if !(0..=u8::MAX).filter(|slot| needed.has(*slot)).all(is_good) {
            return false;
        }
        self.name(&located);
        self.known.add(id, needed);
        true
    }
}
