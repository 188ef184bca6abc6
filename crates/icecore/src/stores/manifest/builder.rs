//! Builds the manifest of an image from its leaves, given in order: from nothing, or from the tree
//! of another image of which some leaves are other ones now. Regions without data cost nothing, and
//! regions that stay as they are neither.

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
use crate::words::sizes::FANOUT;
use crate::words::sizes::to_u8;
use crate::words::sizes::tree_height;
use crate::words::units::LeafNumber;

/// Takes an encoded page and stores it unless it is stored already.
pub(crate) type PageSink<'a> = dyn FnMut(&PageRef, Vec<u8>) -> Result<()> + 'a;

/// Encodes a page, gives it to `sink`, and returns the reference to it.
pub(crate) fn emit_page(hasher: &Hasher, page: &Page, sink: &mut PageSink<'_>) -> Result<PageRef> {
    let content = match page {
        Page::Leaf(leaf) => leaf.content(hasher),
        Page::Inner(inner) => inner.content(hasher),
    };
    let bytes =
        page.encode().map_err(|error| Error::corrupt(format!("cannot encode a manifest page: {error}")))?;
    let page = PageRef { id: hasher.page(&bytes), content };
    sink(&page, bytes)?;
    Ok(page)
}

/// The tree that another one grows out of.
pub(crate) struct ParentTree<'a> {
    pub(crate) root: PageRef,
    pub(crate) size_bytes: u64,
    pub(crate) pages: Arc<RecentPages<'a>>,
}

/// A tree, of which the inner pages on the way to the last leaf are open.
pub(crate) struct TreeBuilder<'a> {
    hasher: &'a Hasher,
    parent: Option<ParentTree<'a>>,
    height: u32,
    /// The open pages, from the root down.
    open: Vec<Open>,
    root: Option<Child>,
}

/// What stands in a place of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Page(PageRef),
    /// The parent's root, which has grown by pages that have no other child: they are made if it
    /// stays at that.
    Grown,
}

struct Open {
    level: u32,
    number: u64,
    children: BTreeMap<u8, Child>,
    /// Whether they are other ones than those that the page had.
    changed: bool,
}

impl<'a> TreeBuilder<'a> {
    /// Begins the tree of an image that is not shorter than that of `parent`; it has the parent's
    /// leaves until others are put.
    pub(crate) fn new(hasher: &'a Hasher, size_bytes: u64, parent: Option<ParentTree<'a>>) -> Self {
        let height = tree_height(size_bytes);
        let root = parent.as_ref().map(|parent| parent.node_at(height));
        Self { hasher, parent, height, open: Vec::new(), root }
    }

    /// Puts leaf `number`, or none where all is zero now; numbers grow from call to call.
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

    /// Closes all pages and returns the root; none where all is zero.
    pub(crate) fn finish(mut self, sink: &mut PageSink<'_>) -> Result<Option<PageRef>> {
        while let Some(page) = self.open.pop() {
            self.close(page, sink)?;
        }
        self.root.map(|root| self.page_of(root, self.height, sink)).transpose()
    }

    /// Returns what stands at `level` on the way to leaf `number`. All pages above it are open, and
    /// none below.
    fn node_at(&self, level: u32, number: u64) -> Option<Child> {
        match self.open.last() {
            None => self.root,
            Some(above) => above.children.get(&slot_of(number_at(number, level))).copied(),
        }
    }

    /// Puts what has this number on its level into the page above it, which is the last that is
    /// open.
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

    /// Makes a page of what was open, if it is another one than before.
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
            children => Some(Child::Page(self.emit(page.level, children, sink)?)),
        };
        self.set(page.number, node);
        Ok(())
    }

    /// Returns the page of what stands at `level`, made now where the parent has grown.
    fn page_of(&self, node: Child, level: u32, sink: &mut PageSink<'_>) -> Result<PageRef> {
        match (node, &self.parent) {
            (Child::Page(page), _) => Ok(page),
            (Child::Grown, Some(parent)) => {
                let levels = tree_height(parent.size_bytes) + 1..=level;
                levels.into_iter().try_fold(parent.root, |page, level| self.emit(level, &[(0, page)], sink))
            }
            (Child::Grown, None) => Err(Error::corrupt("a tree cannot grow from an empty one")),
        }
    }

    fn emit(&self, level: u32, children: &[(u8, PageRef)], sink: &mut PageSink<'_>) -> Result<PageRef> {
        let level = to_u8(level);
        emit_page(self.hasher, &Page::Inner(Inner::new(level, children)), sink)
    }
}

impl ParentTree<'_> {
    /// Returns what the leaves of the parent are below, in a tree of at least its height.
    fn node_at(&self, level: u32) -> Child {
        if level == tree_height(self.size_bytes) { Child::Page(self.root) } else { Child::Grown }
    }
}

/// Returns the place of a page, given its number among those of its level, in the page above it.
fn slot_of(number: u64) -> u8 {
    u8::try_from(number % FANOUT as u64).unwrap_or(0)
}
