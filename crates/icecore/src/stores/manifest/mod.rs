//! Manifests: trees of pages that map images.

pub(crate) mod builder;
pub(crate) mod cursor;
pub(crate) mod shared_blocks;

use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::stores::chunks::Store;
use crate::stores::recovery::pages::read_decoded;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::next_step::NextStep;

/// Returns a page of the type that its place in the tree demands: a leaf at level 0, otherwise an
/// inner page of that level.
pub(crate) fn load_page(store: &Store, id: &PageId, level: u32) -> Result<Page> {
    let page = read_decoded(store, id)?;
    let wrong = |why: String| {
        Error::corrupt(format!("manifest page {id} is damaged: {why}")).with_hint(NextStep::FindLost)
    };
    let found = match &page {
        Page::Leaf(_) => 0,
        Page::Inner(inner) => u32::from(inner.level),
    };
    if found != level {
        return Err(wrong(format!("it has level {found} and is in the place of level {level}")));
    }
    Ok(page)
}

/// Returns a page that must be a leaf.
pub(crate) fn load_leaf(store: &Store, id: &PageId) -> Result<Leaf> {
    match load_page(store, id, 0)? {
        Page::Leaf(leaf) => Ok(leaf),
        Page::Inner(_) => Err(Error::corrupt(format!("manifest page {id} is not a leaf"))),
    }
}

/// Returns a page that must be an inner page of this level.
pub(crate) fn load_inner(store: &Store, id: &PageId, level: u32) -> Result<Inner> {
    match load_page(store, id, level)? {
        Page::Inner(inner) => Ok(inner),
        Page::Leaf(_) => Err(Error::corrupt(format!("manifest page {id} is not an inner page"))),
    }
}
