//! The cursor over a manifest. It walks a tree of pages in the order of the image; at each page the
//! caller decides whether to descend.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::PoisonError;

use rayon::iter::IntoParallelRefIterator;
use rayon::iter::ParallelIterator;

use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::stores::chunks::Store;
use crate::stores::live_records::name_snapshot;
use crate::stores::manifest::load_inner;
use crate::stores::manifest::load_leaf;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::sizes::FANOUT;
use crate::words::sizes::tree_height;
use crate::words::sync::Mutex;
use crate::words::units::LeafNumber;

/// The bits of a leaf's number that select a child on one level.
const LEVEL_BITS: u32 = FANOUT.trailing_zeros();
/// How many leaves [`each_leaf`] reads at a time.
const BATCH: usize = 256;

/// A page and its place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) page: PageRef,
    /// The number of page levels below it; 0 for a leaf.
    pub(crate) level: u32,
    /// Its number among the pages of its level.
    pub(crate) number: u64,
}

impl Node {
    /// Returns the root of a snapshot's manifest, or none if the image is all zero.
    pub(crate) fn root(record: &Record) -> Option<Self> {
        record.root.map(|page| Self::root_of(page, record.size_bytes))
    }

    /// Returns the root of the manifest of an image of this length.
    pub(crate) fn root_of(page: PageRef, image_bytes: u64) -> Self {
        Self { page, level: tree_height(image_bytes), number: 0 }
    }

    /// Returns the numbers of the leaves below it, or its own if it is a leaf.
    pub(crate) fn leaves(&self) -> Range<u64> {
        let first = |number: u64| number << (LEVEL_BITS * self.level);
        first(self.number)..first(self.number + 1)
    }

    /// Returns the number of the first leaf below it, or its own if it is a leaf.
    pub(crate) fn first_leaf(&self) -> LeafNumber {
        LeafNumber(self.leaves().start)
    }

    /// Returns the offset in the image at which the node's part begins.
    pub(crate) fn offset(&self) -> u64 {
        self.first_leaf().offset()
    }

    /// Returns the part of an image of `image_bytes` that the node maps.
    pub(crate) fn range(&self, image_bytes: u64) -> Range<u64> {
        let end = LeafNumber(self.leaves().end).offset().min(image_bytes);
        self.offset().min(end)..end
    }

    /// Returns which child of an inner page leads to a leaf below it.
    fn child_towards(&self, leaf: u64) -> u64 {
        number_at(leaf, self.level - 1) % FANOUT as u64
    }

    fn child(&self, at: u64, page: PageRef) -> Self {
        Self { page, level: self.level - 1, number: self.number * FANOUT as u64 + at }
    }
}

/// Returns the number, within `level`, of the page above leaf `leaf`.
pub(crate) fn number_at(leaf: u64, level: u32) -> u64 {
    leaf.checked_shr(LEVEL_BITS * level).unwrap_or(0)
}

/// The source of a cursor's pages.
pub(crate) trait Pages {
    type Leaf;

    /// Returns the inner page at a node.
    fn inner(&self, node: &Node) -> Result<Arc<Inner>>;

    /// Returns the leaf at a node.
    fn leaf(&self, node: &Node) -> Result<Self::Leaf>;
}

/// A page that cannot be read, and why.
pub(crate) struct Unread {
    pub(crate) node: Node,
    pub(crate) error: Error,
}

/// A position in a tree of pages. It keeps the inner pages on the path to that position.
pub(crate) struct Cursor<P> {
    pages: P,
    root: Option<Node>,
    /// Whether the root comes next.
    at_root: bool,
    /// The inner pages that are open, from the root down.
    path: Vec<Open>,
    /// The leaf last sought: the cursor returns nothing before it.
    from: u64,
}

struct Open {
    node: Node,
    inner: Arc<Inner>,
    /// The child to continue with, if it has data.
    next: u64,
}

impl<P: Pages> Cursor<P> {
    /// Creates a cursor at the root of a tree; without a root it returns nothing.
    pub(crate) fn new(pages: P, root: Option<Node>) -> Self {
        Self { pages, root, at_root: true, path: Vec::new(), from: 0 }
    }

    /// Returns the next page and moves behind it, unless the caller [reads](Self::read) the page.
    pub(crate) fn next(&mut self) -> Option<Node> {
        let node = self.peek()?;
        match self.path.last_mut() {
            Some(open) => open.next = node.number % FANOUT as u64 + 1,
            None => self.at_root = false,
        }
        Some(node)
    }

    fn peek(&mut self) -> Option<Node> {
        if self.at_root {
            return self.root;
        }
        while let Some(open) = self.path.last() {
            if let Some((at, page)) = open.inner.next_child(open.next) {
                return Some(open.node.child(at, page));
            }
            self.path.pop();
        }
        None
    }

    /// Reads the page returned last. A leaf is returned; an inner page's children come next.
    pub(crate) fn read(&mut self, node: &Node) -> Result<Option<P::Leaf>> {
        if node.level == 0 {
            return self.pages.leaf(node).map(Some);
        }
        let inner = self.pages.inner(node)?;
        let next = if node.leaves().contains(&self.from) { node.child_towards(self.from) } else { 0 };
        self.path.push(Open { node: *node, inner, next });
        Ok(None)
    }

    /// Moves to the place of the leaf numbered `from`, in either direction. Reads nothing yet.
    pub(crate) fn seek(&mut self, from: LeafNumber) {
        let LeafNumber(from) = from;
        self.from = from;
        while self.path.pop_if(|open| !open.node.leaves().contains(&from)).is_some() {}
        self.at_root = self.path.is_empty() && self.root.is_some_and(|root| root.leaves().contains(&from));
        for open in &mut self.path {
            open.next = open.node.child_towards(from) + 1;
        }
        if let Some(last) = self.path.last_mut() {
            last.next -= 1;
        }
    }

    /// Returns the next leaf with data, without reading it. After an error, the search continues
    /// behind the page at fault.
    pub(crate) fn next_leaf(&mut self) -> Result<Option<Node>, Unread> {
        while let Some(node) = self.next() {
            if node.level == 0 {
                return Ok(Some(node));
            }
            self.read(&node).map_err(|error| Unread { node, error })?;
        }
        Ok(None)
    }

    /// Returns the leaf with this number without reading it, or none if it is all zero. Reads only
    /// the pages on the way to it.
    pub(crate) fn find(&mut self, leaf: LeafNumber) -> Result<Option<Node>, Unread> {
        self.seek(leaf);
        while let Some(node) = self.next().filter(|node| node.leaves().contains(&leaf.0)) {
            if node.level == 0 {
                return Ok(Some(node));
            }
            self.read(&node).map_err(|error| Unread { node, error })?;
        }
        Ok(None)
    }
}

/// Two cursors that walk their trees in step.
pub(crate) struct Pair<P>(pub(crate) [Cursor<P>; 2]);

impl<P: Pages> Pair<P> {
    /// Returns the next page of either tree, or of both if they have one in the same place. If two
    /// pages overlap otherwise because the trees differ in height, the larger comes first.
    pub(crate) fn next(&mut self) -> Option<[Option<Node>; 2]> {
        let [one, other] = &mut self.0;
        let place = |node: &Node| (node.leaves().start, std::cmp::Reverse(node.level));
        let places = [one.peek(), other.peek()].map(|node| node.as_ref().map(place));
        let first = places.into_iter().flatten().min()?;
        let mut of = |side: usize| self.0[side].next();
        Some([0, 1].map(|side| if places[side] == Some(first) { of(side) } else { None }))
    }
}

/// Reads pages as they are stored.
impl Pages for &Store {
    type Leaf = Leaf;

    fn inner(&self, node: &Node) -> Result<Arc<Inner>> {
        load_inner(self, &node.page.id, node.level).map(Arc::new)
    }

    fn leaf(&self, node: &Node) -> Result<Leaf> {
        load_leaf(self, &node.page.id)
    }
}

/// A source of checked pages: each has the content that its parent names, and nothing below it lies
/// beyond the image.
pub(crate) struct CheckedPages<'a> {
    pub(crate) store: &'a Store,
    pub(crate) image_bytes: u64,
}

/// Starts at the root of a snapshot's manifest and checks its pages.
impl<'a> Cursor<CheckedPages<'a>> {
    pub(crate) fn checked(store: &'a Store, record: &Record) -> Self {
        Self::new(CheckedPages { store, image_bytes: record.size_bytes }, Node::root(record))
    }
}

impl CheckedPages<'_> {
    fn wrong(node: &Node, what: &str) -> Error {
        Error::corrupt(format!("manifest page {} has {what}", node.page.id))
    }
}

impl Pages for CheckedPages<'_> {
    type Leaf = Leaf;

    fn inner(&self, node: &Node) -> Result<Arc<Inner>> {
        let inner = self.store.inner(node)?;
        if inner.content(&self.store.files.hasher) != node.page.content {
            return Err(Self::wrong(node, "another content than its parent says"));
        }
        match inner.children().last().map(|(at, page)| node.child(at, page).offset()) {
            Some(last) if last >= self.image_bytes => Err(Self::wrong(node, "children beyond the image")),
            _ => Ok(inner),
        }
    }

    fn leaf(&self, node: &Node) -> Result<Leaf> {
        let leaf = self.store.leaf(node)?;
        if leaf.content(&self.store.files.hasher) == node.page.content {
            Ok(leaf)
        } else {
            Err(Self::wrong(node, "another content than its parent says"))
        }
    }
}

/// A source of stored pages that keeps the last few inner ones, so a cursor that follows closely
/// behind need not read them again.
pub(crate) struct RecentPages<'a> {
    store: &'a Store,
    kept_max: usize,
    kept: Mutex<VecDeque<(PageId, Arc<Inner>)>>,
}

impl<'a> RecentPages<'a> {
    pub(crate) fn new(store: &'a Store, kept_max: usize) -> Self {
        Self { store, kept_max, kept: Mutex::default() }
    }

    /// Returns a page that must be an inner page of this level.
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

impl Pages for Arc<RecentPages<'_>> {
    type Leaf = Leaf;

    fn inner(&self, node: &Node) -> Result<Arc<Inner>> {
        self.load(&node.page.id, node.level)
    }

    fn leaf(&self, node: &Node) -> Result<Leaf> {
        self.store.leaf(node)
    }
}

/// Calls `each` with the leaves of a snapshot's manifest and their numbers, in the order of the
/// image. Several threads read them. Skips each page that `wants` refuses, with everything below
/// it. Asks `wants` about a page before `each` gets the leaves before it.
///
/// # Errors
/// `Corrupt`, with the snapshot, if a page is missing or damaged; whatever `each` returns.
pub(crate) fn each_leaf(
    store: &Store,
    record: &Record,
    wants: &mut dyn FnMut(&PageRef) -> bool,
    each: &mut dyn FnMut(LeafNumber, &Leaf) -> Result<()>,
) -> Result<()> {
    let mut read = |batch: &mut Vec<Node>| -> Result<()> {
        let leaves = batch.par_iter().map(|node| store.leaf(node)).collect::<Result<Vec<Leaf>>>()?;
        let nodes = batch.drain(..);
        nodes.zip(&leaves).try_for_each(|(node, leaf)| each(node.first_leaf(), leaf))
    };
    let mut batch = Vec::with_capacity(BATCH);
    let mut cursor = Cursor::new(store, Node::root(record));
    let mut go = || -> Result<()> {
        while let Some(node) = cursor.next() {
            match node.level {
                _ if !wants(&node.page) => {}
                0 => batch.push(node),
                _ => drop(cursor.read(&node)?),
            }
            if batch.len() == BATCH {
                read(&mut batch)?;
            }
        }
        read(&mut batch)
    };
    go().map_err(|error| name_snapshot(record, error))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::collections::HashMap;
    use std::collections::HashSet;
    use std::hash::DefaultHasher;
    use std::hash::Hash;
    use std::hash::Hasher;

    use proptest::collection::btree_map;
    use proptest::collection::hash_set;
    use proptest::prelude::*;

    use super::*;
    use crate::words::ids::NodeDigest;

    /// Leaves by number, each with a number that stands for its content.
    type Leaves = BTreeMap<u64, u8>;

    /// A tree in memory that notes which pages are read.
    #[derive(Default)]
    struct Tree {
        root: Option<Node>,
        nodes: Vec<Node>,
        inner: HashMap<PageId, Arc<Inner>>,
        broken: HashSet<(u32, u64)>,
        read: RefCell<Vec<Node>>,
    }

    impl Tree {
        fn new(height: u32, leaves: &Leaves, broken: &[(u32, u64)]) -> Self {
            let mut tree = Self { broken: broken.iter().copied().collect(), ..Self::default() };
            tree.root = tree.add(Node { page: page(0, 0, &()), level: height, number: 0 }, leaves);
            tree
        }

        /// Adds a page and everything below it, if there is data.
        fn add(&mut self, mut node: Node, leaves: &Leaves) -> Option<Node> {
            if node.level == 0 {
                node.page = page(0, node.number, leaves.get(&node.number)?);
            } else {
                leaves.range(node.leaves()).next()?;
                let child = |at: u8| (at, node.child(u64::from(at), node.page));
                let below = (0..128).map(child).filter_map(|(at, it)| Some((at, self.add(it, leaves)?.page)));
                let children: Vec<(u8, PageRef)> = below.collect();
                let contents: Vec<[u8; 16]> = children.iter().map(|(_, child)| child.content.0).collect();
                node.page = page(node.level, node.number, &contents);
                let inner = Inner::new(u8::try_from(node.level).unwrap(), &children);
                self.inner.insert(node.page.id, Arc::new(inner));
            }
            self.nodes.push(node);
            Some(node)
        }

        fn load<T>(&self, node: &Node, found: T) -> Result<T> {
            self.read.borrow_mut().push(*node);
            match self.broken.contains(&(node.level, node.number)) {
                true => Err(Error::corrupt("broken")),
                false => Ok(found),
            }
        }

        fn cursor(&self) -> Cursor<&Self> {
            Cursor::new(self, self.root)
        }

        /// Returns, in order, the pages that come at or after leaf `from` when each page of
        /// `wanted` is read.
        fn from(&self, from: u64, wanted: impl Fn(&Node) -> bool) -> Vec<Node> {
            let above = |node: &Node, other: &Node| {
                other.level > node.level && other.leaves().contains(&node.leaves().start)
            };
            let comes = |node: &&Node| {
                node.leaves().end > from
                    && self.nodes.iter().all(|other| !above(node, other) || wanted(other))
            };
            let mut nodes: Vec<Node> = self.nodes.iter().filter(comes).copied().collect();
            nodes.sort_by_key(|node| (node.leaves().start, std::cmp::Reverse(node.level)));
            nodes
        }
    }

    impl Pages for &Tree {
        type Leaf = u64;

        fn inner(&self, node: &Node) -> Result<Arc<Inner>> {
            self.load(node, Arc::clone(&self.inner[&node.page.id]))
        }

        fn leaf(&self, node: &Node) -> Result<u64> {
            self.load(node, node.number)
        }
    }

    /// Returns a page with its own id, and content that depends on `content`.
    fn page(level: u32, number: u64, content: &impl Hash) -> PageRef {
        let mut hash = DefaultHasher::new();
        content.hash(&mut hash);
        let (mut id, mut digest) = ([0; 16], [0; 16]);
        id[..8].copy_from_slice(&number.to_le_bytes());
        id[8..12].copy_from_slice(&level.to_le_bytes());
        digest[..8].copy_from_slice(&hash.finish().to_le_bytes());
        PageRef { id: PageId(id), content: NodeDigest(digest) }
    }

    /// The numbers of leaves at the edges of pages of each level.
    fn number() -> impl Strategy<Value = u64> {
        let near = prop::sample::select(vec![0, 126, 127, 128, 300, 16_382, 16_384, 20_000, 2_097_148]);
        (near, 0..4_u64).prop_map(|(near, more)| near + more)
    }

    fn leaves() -> impl Strategy<Value = Leaves> {
        btree_map(number(), 0..3_u8, 0..12)
    }

    /// Returns those of the leaves that fit in a tree of this height.
    fn within(height: u32, mut leaves: Leaves) -> Leaves {
        leaves.retain(|number, _| number_at(*number, height) == 0);
        leaves
    }

    proptest! {
        #[test]
        fn what_is_not_read_is_passed_over_and_all_else_comes_once_in_order(
            height in 0..=3_u32, leaves in leaves(), skipped in hash_set((0..=3_u32, number()), 0..4),
        ) {
            let leaves = within(height, leaves);
            let tree = Tree::new(height, &leaves, &[]);
            let wanted = |node: &Node| skipped.iter().all(|(level, leaf)| {
                (*level, number_at(*leaf, *level)) != (node.level, node.number)
            });
            let (mut cursor, mut came, mut found) = (tree.cursor(), Vec::new(), Vec::new());
            while let Some(node) = cursor.next() {
                came.push(node);
                if wanted(&node) {
                    found.extend(cursor.read(&node).unwrap());
                }
            }
            let expected = tree.from(0, wanted);
            let read: Vec<Node> = expected.iter().copied().filter(wanted).collect();
            prop_assert_eq!(&came, &expected);
            prop_assert_eq!(found, read.iter().filter(|node| node.level == 0).map(|node| node.number).collect::<Vec<_>>());
            prop_assert_eq!(&*tree.read.borrow(), &read);
        }

        #[test]
        fn a_search_goes_on_behind_pages_that_cannot_be_read(
            height in 0..=3_u32, leaves in leaves(), broken in hash_set((1..=3_u32, number()), 0..3),
            seeks in prop::collection::vec((number(), 0..6_usize), 1..6),
        ) {
            let broken: Vec<(u32, u64)> =
                broken.into_iter().map(|(level, leaf)| (level, number_at(leaf, level))).collect();
            let tree = Tree::new(height, &within(height, leaves), &broken);
            let mut cursor = tree.cursor();
            for (from, steps) in seeks {
                let is_sound = |node: &Node| !broken.contains(&(node.level, node.number));
                let comes = tree.from(from, is_sound);
                let mut expected = comes.iter().filter(|node| node.level == 0 || !is_sound(node));
                cursor.seek(LeafNumber(from));
                for _ in 0..steps {
                    match (cursor.next_leaf(), expected.next()) {
                        (Ok(found), wanted) => prop_assert_eq!(found.as_ref(), wanted),
                        (Err(unread), wanted) => prop_assert_eq!(Some(&unread.node), wanted),
                    }
                }
            }
        }

        #[test]
        fn a_leaf_is_found_by_the_pages_that_lead_to_it(
            height in 0..=3_u32, leaves in leaves(), wanted in prop::collection::vec(number(), 1..8),
        ) {
            let leaves = within(height, leaves);
            let tree = Tree::new(height, &leaves, &[]);
            let mut cursor = tree.cursor();
            for leaf in wanted {
                tree.read.borrow_mut().clear();
                let found = cursor.find(LeafNumber(leaf)).map_err(|unread| unread.error).unwrap();
                let is_there = leaves.contains_key(&leaf).then_some(leaf);
                prop_assert_eq!(found.map(|node| node.number), is_there);
                prop_assert!(tree.read.borrow().iter().all(|node| node.leaves().contains(&leaf)));
            }
        }

        #[test]
        fn two_trees_are_read_in_step_where_they_differ(
            heights in (0..=3_u32, 0..=3_u32), one in leaves(), changes in leaves(), equal in any::<bool>(),
        ) {
            let mut other = one.clone();
            other.extend(changes);
            if equal {
                other.clone_from(&one);
            }
            let sides = [within(heights.0, one), within(heights.1, other)];
            let trees = [Tree::new(heights.0, &sides[0], &[]), Tree::new(heights.1, &sides[1], &[])];
            let mut pair = Pair([trees[0].cursor(), trees[1].cursor()]);
            let mut differ = Vec::new();
            while let Some(nodes) = pair.next() {
                let content = nodes.map(|node| node.map(|node| node.page.content));
                if content[0] == content[1] {
                    continue;
                }
                let leaves = [0, 1].map(|side| nodes[side].and_then(|node| pair.0[side].read(&node).unwrap()));
                differ.extend(leaves.into_iter().flatten().max());
            }
            let numbers = sides[0].keys().chain(sides[1].keys()).copied().collect::<std::collections::BTreeSet<u64>>();
            let expected = numbers.into_iter().filter(|number| sides[0].get(number) != sides[1].get(number));
            prop_assert_eq!(differ, expected.collect::<Vec<u64>>());
            let place = |node: &Node| (node.level, node.number);
            for (side, tree) in trees.iter().enumerate() {
                let distinct: HashSet<_> = tree.read.borrow().iter().map(place).collect();
                prop_assert_eq!(distinct.len(), tree.read.borrow().len());
                if heights.0 == heights.1 {
                    let same = |node: &Node| trees[1 - side].nodes.contains(node);
                    prop_assert!(!tree.read.borrow().iter().any(same));
                }
            }
        }
    }
}
