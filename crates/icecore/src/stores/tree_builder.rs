//! Builds the manifest of an image from its leaves, given in order. Regions without data cost nothing.

use crate::format::page::Inner;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::pure::hash::Hasher;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::sizes::FANOUT;
use crate::words::sizes::tree_height;

/// Takes an encoded page and stores it unless it is stored already.
pub(crate) type PageSink<'a> = dyn FnMut(&PageRef, Vec<u8>) -> Result<()> + 'a;

/// Encodes a page, gives it to `sink`, and returns the reference to it.
pub(crate) fn emit_page(hasher: &Hasher, page: &Page, sink: &mut PageSink<'_>) -> Result<PageRef> {
    let content = match page {
        Page::Leaf(leaf) => leaf.content(hasher),
        Page::Inner(inner) => inner.content(hasher),
    };
    let bytes = page
        .encode()
        .map_err(|error| Error::corrupt(format!("a manifest page cannot be encoded: {error}")))?;
    let page = PageRef { id: hasher.page(&bytes), content };
    sink(&page, bytes)?;
    Ok(page)
}

/// The inner pages that are not complete yet, one for each level.
pub(crate) struct TreeBuilder<'a> {
    hasher: &'a Hasher,
    open: Vec<Open>,
    /// The page that stands above all others, once there is one.
    root: Option<PageRef>,
}

#[derive(Default)]
struct Open {
    number: u64,
    children: Vec<(u8, PageRef)>,
}

impl<'a> TreeBuilder<'a> {
    pub(crate) fn new(hasher: &'a Hasher, size_bytes: u64) -> Self {
        let open = (0..tree_height(size_bytes)).map(|_| Open::default()).collect();
        Self { hasher, open, root: None }
    }

    /// Adds leaf `number`; numbers grow from call to call.
    pub(crate) fn push(&mut self, number: u64, page: PageRef, sink: &mut PageSink<'_>) -> Result<()> {
        if self.open.is_empty() {
            self.root = Some(page);
            return Ok(());
        }
        self.put(0, number, page, sink)
    }

    /// Adds child `number` to the open page of the level above `below`, which is closed first if it is another one.
    fn put(&mut self, below: usize, number: u64, page: PageRef, sink: &mut PageSink<'_>) -> Result<()> {
        let parent = number / FANOUT as u64;
        if self.open[below].number != parent && !self.open[below].children.is_empty() {
            self.close(below, sink)?;
        }
        let slot = u8::try_from(number % FANOUT as u64).unwrap_or(0);
        self.open[below].number = parent;
        self.open[below].children.push((slot, page));
        Ok(())
    }

    fn close(&mut self, below: usize, sink: &mut PageSink<'_>) -> Result<()> {
        let Open { number, children } = std::mem::take(&mut self.open[below]);
        if children.is_empty() {
            return Ok(());
        }
        let level = u8::try_from(below + 1).unwrap_or(u8::MAX);
        let page = emit_page(self.hasher, &Page::Inner(Inner::new(level, &children)), sink)?;
        if below + 1 == self.open.len() {
            self.root = Some(page);
            return Ok(());
        }
        self.put(below + 1, number, page, sink)
    }

    /// Closes all pages and returns the root; none where there were no leaves.
    pub(crate) fn finish(mut self, sink: &mut PageSink<'_>) -> Result<Option<PageRef>> {
        (0..self.open.len()).try_for_each(|below| self.close(below, sink))?;
        Ok(self.root)
    }
}
