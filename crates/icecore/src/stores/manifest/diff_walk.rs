//! Goes through two manifests at once, in the order of the image, and only where they differ.

use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::live_records::name_snapshot;
use crate::stores::manifest::load_leaf;
use crate::stores::manifest::load_page;
use crate::stores::manifest::walk::bytes_below;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::FANOUT;
use crate::words::sizes::to_usize;
use crate::words::sizes::tree_height;

/// What is done with two manifests.
pub(crate) trait PairVisitor {
    /// Is asked before pages are read whether what is below them is to be gone through. `range` is the part of the
    /// images that they map, cut at the end of the longer one. Where neither side has data, nothing is below.
    ///
    /// Where one tree is higher, the root of the other stands for all the pages that would be above it.
    fn enter(&mut self, from: Option<&PageRef>, to: Option<&PageRef>, range: &Range<u64>) -> Result<bool>;

    /// Gets the leaves that map the region at `offset`; none where there is no data.
    fn leaves(&mut self, from: Option<&Leaf>, to: Option<&Leaf>, offset: u64) -> Result<()>;
}

/// A page of one of the trees, and the level that it is of.
#[derive(Clone, Copy)]
struct Node {
    page: PageRef,
    level: u32,
}

impl Node {
    fn root(record: Option<&Record>) -> Option<Self> {
        let record = record?;
        record.root.map(|page| Self { page, level: tree_height(record.size_bytes) })
    }
}

/// Goes through the manifests of two snapshots; a snapshot that is not given has no data. Returns how many pages were
/// read.
pub(crate) fn walk_pair(
    store: &Store,
    from: Option<&Record>,
    to: Option<&Record>,
    visitor: &mut dyn PairVisitor,
) -> Result<u64> {
    let end = from.into_iter().chain(to).map(|record| record.size_bytes).max().unwrap_or(0);
    let mut pair = PairWalk { store, records: [from, to], end, visitor, pages_read: 0 };
    pair.visit([Node::root(from), Node::root(to)], tree_height(end), 0)?;
    Ok(pair.pages_read)
}

struct PairWalk<'a> {
    store: &'a Store,
    records: [Option<&'a Record>; 2],
    end: u64,
    visitor: &'a mut dyn PairVisitor,
    pages_read: u64,
}

impl PairWalk<'_> {
    fn visit(&mut self, nodes: [Option<Node>; 2], level: u32, offset: u64) -> Result<()> {
        let range = offset..offset.saturating_add(bytes_below(level)).min(self.end);
        let [from, to] = nodes;
        let pages = [from.map(|node| node.page), to.map(|node| node.page)];
        let below = self.visitor.enter(pages[0].as_ref(), pages[1].as_ref(), &range)?;
        if !below || (from.is_none() && to.is_none()) {
            return Ok(());
        }
        if level == 0 {
            let leaves = [self.leaf(0, from)?, self.leaf(1, to)?];
            return self.visitor.leaves(leaves[0].as_ref(), leaves[1].as_ref(), offset);
        }
        let children = [self.children(0, from, level)?, self.children(1, to, level)?];
        for (at, (from, to)) in (0..).zip(children[0].iter().zip(&children[1])) {
            let begin = offset + at * bytes_below(level - 1);
            if begin >= range.end {
                break;
            }
            self.visit([*from, *to], level - 1, begin)?;
        }
        Ok(())
    }

    fn leaf(&mut self, side: usize, node: Option<Node>) -> Result<Option<Leaf>> {
        let Some(node) = node else { return Ok(None) };
        self.pages_read += 1;
        load_leaf(self.store, &node.page.id).map(Some).map_err(|error| self.named(side, error))
    }

    /// Returns what is below a node that stands at `level`.
    fn children(&mut self, side: usize, node: Option<Node>, level: u32) -> Result<[Option<Node>; FANOUT]> {
        let mut children = [None; FANOUT];
        let Some(node) = node else { return Ok(children) };
        if node.level < level {
            children[0] = Some(node);
            return Ok(children);
        }
        self.pages_read += 1;
        let page = load_page(self.store, &node.page.id, level).map_err(|error| self.named(side, error))?;
        if let Page::Inner(inner) = page {
            for (at, page) in inner.children() {
                children[to_usize(at)] = Some(Node { page, level: level - 1 });
            }
        }
        Ok(children)
    }

    /// Adds to an error about stored bytes which snapshot they belong to.
    fn named(&self, side: usize, error: Error) -> Error {
        match self.records[side] {
            Some(record) => name_snapshot(record, error),
            None => error,
        }
    }
}
