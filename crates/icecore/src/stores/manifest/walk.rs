//! Goes through a whole manifest, page by page, in the order of the image.

use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::manifest::load_page;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::FANOUT;
use crate::words::sizes::LEAF_U64;
use crate::words::sizes::tree_height;

/// What is done at each page.
pub(crate) trait Visitor {
    /// Is asked before a page is read whether it, and what is below it, is to be gone through.
    /// `range` is the part of the image that it maps, cut at the end of the image.
    fn enter(&mut self, page: &PageRef, range: &Range<u64>) -> Result<bool>;

    /// Gets a leaf, and the offset in the image where it begins.
    fn leaf(&mut self, page: &PageRef, leaf: &Leaf, offset: u64) -> Result<()>;

    /// Gets a page that cannot be read, and why. Returning `Ok` goes on with the next one.
    fn broken(&mut self, page: &PageRef, range: &Range<u64>, error: Error) -> Result<()>;
}

/// Goes through the manifest of a snapshot.
pub(crate) fn walk(store: &Store, record: &Record, visitor: &mut dyn Visitor) -> Result<()> {
    match record.root {
        Some(root) => visit(store, root, tree_height(record.size_bytes), 0, record.size_bytes, visitor),
        None => Ok(()),
    }
}

fn visit(
    store: &Store,
    page: PageRef,
    level: u32,
    offset: u64,
    image_bytes: u64,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let range = offset..offset.saturating_add(bytes_below(level)).min(image_bytes);
    if !visitor.enter(&page, &range)? {
        return Ok(());
    }
    let loaded = load_page(store, &page.id, level).and_then(|loaded| {
        let content = match &loaded {
            Page::Leaf(leaf) => leaf.content(&store.base.hasher),
            Page::Inner(inner) => inner.content(&store.base.hasher),
        };
        if content == page.content {
            Ok(loaded)
        } else {
            Err(Error::corrupt(format!("manifest page {} has another content than its parent says", page.id)))
        }
    });
    match loaded {
        Err(error) => visitor.broken(&page, &range, error),
        Ok(Page::Leaf(leaf)) => visitor.leaf(&page, &leaf, offset),
        Ok(Page::Inner(inner)) => {
            for (at, child) in inner.children() {
                let begin = offset + at * bytes_below(level - 1);
                if begin >= image_bytes {
                    let error =
                        Error::corrupt(format!("manifest page {} has children beyond the image", page.id));
                    return visitor.broken(&page, &range, error);
                }
                visit(store, child, level - 1, begin, image_bytes, visitor)?;
            }
            Ok(())
        }
    }
}

/// Returns how many bytes of an image a page of this level maps.
pub(crate) fn bytes_below(level: u32) -> u64 {
    (0..level).fold(LEAF_U64, |bytes, _| bytes.saturating_mul(FANOUT as u64))
}
