//! Builds the manifest of an image from its leaves, given in order. It starts from nothing, or from
//! another image's tree of which some leaves differ now. Regions without data and unchanged regions
//! cost nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::format::page::Inner;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::pure::hash::Hasher;
use crate::stores::manifest::cursor::RecentPages;
use crate::stores::manifest::cursor::number_at;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::sizes::FANOUT;
use crate::words::sizes::to_u8;
use crate::words::sizes::tree_height;
use crate::words::units::LeafNumber;

/// A callback that stores an encoded page unless it is already stored. The last argument is the
/// page that the parent image has in the same place.
pub(crate) type PageSink<'a> = dyn FnMut(&PageRef, Vec<u8>, Option<PageId>) -> Result<()> + 'a;

/// Encodes a page, gives it to `sink`, and returns the reference to it.
pub(crate) fn emit_page(
    hasher: &Hasher,
    page: &Page,
    before: Option<PageId>,
    sink: &mut PageSink<'_>,
) -> Result<PageRef> {
    let content = match page {
        Page::Leaf(leaf) => leaf.content(hasher),
        Page::Inner(inner) => inner.content(hasher),
    };
    let bytes =
        page.encode().map_err(|error| Error::corrupt(format!("cannot encode a manifest page: {error}")))?;
    let page = PageRef { id: hasher.page(&bytes), content };
    sink(&page, bytes, before)?;
    Ok(page)
}

/// The tree of the parent image.
#[derive(Clone)]
pub(crate) struct ParentTree<'a> {
    pub(crate) root: PageRef,
    pub(crate) size_bytes: u64,
    pub(crate) pages: Arc<RecentPages<'a>>,
}

/// A tree under construction. The inner pages on the way to the last leaf are open.
pub(crate) struct TreeBuilder<'a> {
    hasher: &'a Hasher,
    /// The tree that this one starts from, if it does not start from nothing.
    parent: Option<ParentTree<'a>>,
    /// The tree whose pages this one's are likely to resemble.
    before: Option<ParentTree<'a>>,
    height: u32,
    /// The open pages, from the root down.
    open: Vec<Open>,
    root: Option<Child>,
}

/// The content of one place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Page(PageRef),
    /// The parent's root below new pages that have no other child. These pages are made only if
    /// they get none.
    Grown,
}

struct Open {
    level: u32,
    number: u64,
    children: BTreeMap<u8, Child>,
    /// Whether the children differ from those the page had.
    changed: bool,
}

impl<'a> TreeBuilder<'a> {
    /// Starts the tree of an image at least as long as that of `parent`. It has the parent's leaves
    /// until the caller puts others.
    pub(crate) fn patch(hasher: &'a Hasher, size_bytes: u64, parent: Option<ParentTree<'a>>) -> Self {
        let height = tree_height(size_bytes);
        let root = parent.as_ref().map(|parent| parent.node_at(height));
        Self { hasher, before: parent.clone(), parent, height, open: Vec::new(), root }
    }

    /// Starts the tree of an image from nothing. Its pages may resemble those of another one.
    pub(crate) fn new(hasher: &'a Hasher, size_bytes: u64, before: Option<ParentTree<'a>>) -> Self {
        let height = tree_height(size_bytes);
        Self { hasher, before, parent: None, height, open: Vec::new(), root: None }
    }

    /// Puts leaf `number`, or none if it is all zero now. Numbers grow from call to call.
    pub(crate) fn put(
        &mut self,
        number: LeafNumber,
        leaf: Option<PageRef>,
        sink: &mut PageSink<'_>,
    ) -> Result<()> {
        let LeafNumber(number) = number;
        while let Some(done) = self.open.pop_if(|page| page.number != number_at(number, page.level)) {
            self.close(done, sink)?;
        }
        loop {
            let level = self.open.last().map_or(self.height, |page| page.level - 1);
            let node = self.node_at(level, number);
            if level == 0 {
                self.set(number, leaf.map(Child::Page));
                return Ok(());
            }
            let page = self.open_page(level, number_at(number, level), node)?;
            self.open.push(page);
        }
    }

    /// Closes all pages and returns the root, or none if the image is all zero.
    pub(crate) fn finish(mut self, sink: &mut PageSink<'_>) -> Result<Option<PageRef>> {
        while let Some(page) = self.open.pop() {
            self.close(page, sink)?;
        }
        self.root.map(|root| self.page_of(root, self.height, sink)).transpose()
    }

    /// Returns the content at `level` on the way to leaf `number`. All pages above it are open, and
    /// none below.
    fn node_at(&self, level: u32, number: u64) -> Option<Child> {
        match self.open.last() {
            None => self.root,
            Some(above) => above.children.get(&slot_of(number_at(number, level))).copied(),
        }
    }

    /// Puts the node of this number on its level into the page above it, which is the last open
    /// page.
    fn set(&mut self, number: u64, node: Option<Child>) {
        let Some(above) = self.open.last_mut() else {
            self.root = node;
            return;
        };
        let slot = slot_of(number);
        let before = match node {
            Some(node) => above.children.insert(slot, node),
            None => above.children.remove(&slot),
        };
        above.changed |= before != node;
    }

    fn open_page(&self, level: u32, number: u64, node: Option<Child>) -> Result<Open> {
        let mut children = BTreeMap::new();
        match (node, &self.parent) {
            (Some(Child::Page(page)), Some(parent)) => {
                let inner = parent.pages.load(&page.id, level)?;
                children.extend(inner.children().map(|(at, child)| (slot_of(at), Child::Page(child))));
            }
            (Some(Child::Grown), Some(parent)) => {
                children.insert(0, parent.node_at(level - 1));
            }
            _ => {}
        }
        Ok(Open { level, number, children, changed: false })
    }

    /// Makes a page of an open one, if it has changed.
    fn close(&mut self, page: Open, sink: &mut PageSink<'_>) -> Result<()> {
        if !page.changed {
            return Ok(());
        }
        let mut children = Vec::with_capacity(page.children.len());
        for (slot, child) in page.children {
            children.push((slot, self.page_of(child, page.level - 1, sink)?));
        }
        let node = match children.as_slice() {
            [] => None,
            children => Some(Child::Page(self.emit(page.level, page.number, children, sink)?)),
        };
        self.set(page.number, node);
        Ok(())
    }

    /// Returns the page of a node at `level`, and makes it now if the parent has grown.
    fn page_of(&self, node: Child, level: u32, sink: &mut PageSink<'_>) -> Result<PageRef> {
        match (node, &self.parent) {
            (Child::Page(page), _) => Ok(page),
            (Child::Grown, Some(parent)) => {
                let levels = tree_height(parent.size_bytes) + 1..=level;
                levels
                    .into_iter()
                    .try_fold(parent.root, |page, level| self.emit(level, 0, &[(0, page)], sink))
            }
            (Child::Grown, None) => Err(Error::corrupt("a tree cannot grow from an empty one")),
        }
    }

    fn emit(
        &self,
        level: u32,
        number: u64,
        children: &[(u8, PageRef)],
        sink: &mut PageSink<'_>,
    ) -> Result<PageRef> {
        let before = self.before.as_ref().and_then(|before| before.page_at(level, number));
        let page = Page::Inner(Inner::new(to_u8(level), children));
        emit_page(self.hasher, &page, before.map(|page| page.id), sink)
    }
}

impl ParentTree<'_> {
    /// Returns the node above all leaves of the parent, in a tree at least as high as the parent's.
    fn node_at(&self, level: u32) -> Child {
        if level == tree_height(self.size_bytes) { Child::Page(self.root) } else { Child::Grown }
    }

    /// Returns the page with this number on its level, if there is one that can be found.
    fn page_at(&self, level: u32, number: u64) -> Option<PageRef> {
        let height = tree_height(self.size_bytes);
        let mut page = (level <= height && number_at(number, height - level) == 0).then_some(self.root)?;
        for above in (level + 1..=height).rev() {
            let slot = u64::from(slot_of(number_at(number, above - 1 - level)));
            let inner = self.pages.load(&page.id, above).ok()?;
            page = inner.next_child(slot).filter(|(at, _)| *at == slot)?.1;
        }
        Some(page)
    }
}

/// Returns the slot of a page in the page above it, given the page's number on its level.
fn slot_of(number: u64) -> u8 {
    u8::try_from(number % FANOUT as u64).unwrap_or(0)
}
