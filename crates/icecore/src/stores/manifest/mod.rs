//! Reads manifests: finds the leaf that maps a region of an image, without reading more pages than lead to it.

pub(crate) mod builder;
pub(crate) mod diff_walk;
pub(crate) mod leaf_walk;
pub(crate) mod shared_blocks;
pub(crate) mod walk;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::stores::chunks::Store;
use crate::stores::recovery::read_page;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::next_step::NextStep;
use crate::words::sizes::FANOUT;
use crate::words::sizes::to_u64;
use crate::words::sizes::tree_height;
use crate::words::sync::Mutex;

/// Returns a page that is a leaf, or inner at a level, as its place in the tree demands (level 0 is a leaf).
pub(crate) fn load_page(store: &Store, id: &PageId, level: u32) -> Result<Page> {
    let bytes = read_page(store, id)?;
    let wrong = |why: String| {
        Error::corrupt(format!("manifest page {id} is damaged: {why}")).with_hint(NextStep::FindLost)
    };
    let page = Page::decode(&bytes).map_err(|error| wrong(error.to_string()))?;
    let found = match &page {
        Page::Leaf(_) => 0,
        Page::Inner(inner) => u32::from(inner.level),
    };
    if found != level {
        return Err(wrong(format!("it is of level {found} and stands at level {level}")));
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

/// Returns a page that must be inner and of this level.
pub(crate) fn load_inner(store: &Store, id: &PageId, level: u32) -> Result<Inner> {
    match load_page(store, id, level)? {
        Page::Inner(inner) => Ok(inner),
        Page::Leaf(_) => Err(Error::corrupt(format!("manifest page {id} is not an inner page"))),
    }
}

/// Reads inner pages and keeps the last few, so that what goes through a tree a little behind need not read them again.
pub(crate) struct RecentPages<'a> {
    store: &'a Store,
    kept_max: usize,
    kept: Mutex<VecDeque<(PageId, Arc<Inner>)>>,
}

impl<'a> RecentPages<'a> {
    pub(crate) fn new(store: &'a Store, kept_max: usize) -> Self {
        Self { store, kept_max, kept: Mutex::default() }
    }

    /// Returns a page that must be inner and of this level.
    pub(crate) fn load(&self, id: &PageId, level: u32) -> Result<Arc<Inner>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().rev().find(|(at, inner)| at == id && u32::from(inner.level) == level);
        if let Some((_, inner)) = known {
            return Ok(Arc::clone(inner));
        }
        let inner = Arc::new(load_inner(self.store, id, level)?);
        kept.push_back((*id, Arc::clone(&inner)));
        if kept.len() > self.kept_max {
            kept.pop_front();
        }
        Ok(inner)
    }
}

/// Goes through the leaves of a manifest in order. Keeps the pages on the path to the last one.
pub(crate) struct TreeReader<'a> {
    pages: Arc<RecentPages<'a>>,
    root: Option<PageRef>,
    height: u32,
    /// Inner pages from the root down, each with its level and its number among the pages of that level.
    path: Vec<(u32, u64, Arc<Inner>)>,
    pages_read: u64,
}

impl<'a> TreeReader<'a> {
    pub(crate) fn new(store: &'a Store, root: Option<PageRef>, size_bytes: u64) -> Self {
        Self::with(Arc::new(RecentPages::new(store, 0)), root, size_bytes)
    }

    /// As [`new`](Self::new), with inner pages that something else reads too.
    pub(crate) fn with(pages: Arc<RecentPages<'a>>, root: Option<PageRef>, size_bytes: u64) -> Self {
        Self { pages, root, height: tree_height(size_bytes), path: Vec::new(), pages_read: 0 }
    }

    /// Returns the first leaf with data at or after number `from`: its number and the reference to its page. Where a page
    /// cannot be read, `unread` gets the numbers of the leaves below it; where that returns `Ok`, the search goes on behind
    /// them.
    pub(crate) fn next_leaf_past(
        &mut self,
        from: u64,
        unread: &mut dyn FnMut(Range<u64>, Error) -> Result<()>,
    ) -> Result<Option<(u64, PageRef)>> {
        let Some(root) = self.root else { return Ok(None) };
        if self.height == 0 {
            return Ok((from == 0).then_some((0, root)));
        }
        let mut from = from;
        loop {
            match self.descend(root, from) {
                Step::Found(leaf, page) => return Ok(Some((leaf, page))),
                Step::Next(next) => from = next,
                Step::End => return Ok(None),
                Step::Unread { level, number, error } => {
                    let leaves = first_leaf(number, level)..first_leaf(number + 1, level);
                    from = leaves.end;
                    unread(leaves, error)?;
                }
            }
        }
    }

    /// Goes down towards leaf `from` until there is no data below a child, and says where to go on.
    fn descend(&mut self, root: PageRef, from: u64) -> Step {
        self.path.retain(|(level, number, _)| *number == number_at(from, *level));
        if number_at(from, self.height) != 0 {
            return Step::End;
        }
        loop {
            let (level, number) = match self.path.last() {
                None => match self.push(root, self.height, 0) {
                    Ok(()) => continue,
                    Err(error) => return Step::Unread { level: self.height, number: 0, error },
                },
                Some((level, number, _)) => (*level, *number),
            };
            let wanted = number_at(from, level - 1) - number * FANOUT as u64;
            let child =
                self.path.last().and_then(|(_, _, inner)| inner.children().find(|(at, _)| *at >= wanted));
            let below = number * FANOUT as u64;
            match child {
                None if level == self.height => return Step::End,
                None => return Step::Next(first_leaf(number + 1, level)),
                Some((at, _)) if at > wanted && level > 1 => {
                    return Step::Next(first_leaf(below + at, level - 1));
                }
                Some((at, page)) if level == 1 => return Step::Found(below + at, page),
                Some((at, page)) => {
                    if let Err(error) = self.push(page, level - 1, below + at) {
                        return Step::Unread { level: level - 1, number: below + at, error };
                    }
                }
            }
        }
    }

    fn push(&mut self, page: PageRef, level: u32, number: u64) -> Result<()> {
        let inner = self.pages.load(&page.id, level)?;
        self.pages_read += 1;
        self.path.push((level, number, inner));
        Ok(())
    }
}

enum Step {
    Found(u64, PageRef),
    Next(u64),
    End,
    /// A page that cannot be read: its level and its number there.
    Unread {
        level: u32,
        number: u64,
        error: Error,
    },
}

/// Returns how many blocks below a page of `level` are not zero, those below pages that cannot be read left out.
pub(crate) fn count_data_blocks(store: &Store, root: Option<PageRef>, level: u32) -> u64 {
    let mut open: Vec<(PageRef, u32)> = root.map(|root| (root, level)).into_iter().collect();
    let mut blocks = 0;
    while let Some((page, level)) = open.pop() {
        match load_page(store, &page.id, level) {
            Ok(Page::Inner(inner)) => open.extend(inner.children().map(|(_, child)| (child, level - 1))),
            Ok(Page::Leaf(leaf)) => blocks += to_u64(leaf.places().flatten().count()),
            Err(_) => {}
        }
    }
    blocks
}

/// Returns the number, among the pages of `level`, of the page that leaf `leaf` is below.
pub(crate) fn number_at(leaf: u64, level: u32) -> u64 {
    leaf.checked_shr(7 * level).unwrap_or(0)
}

/// Returns the number of the first leaf below page `number` of `level`.
fn first_leaf(number: u64, level: u32) -> u64 {
    number << (7 * level)
}
