//! Pages that a tally reads several times: for an image that comes, for its owner, and for the same
//! image when it goes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::stores::manifest::cursor::CheckedPages;
use crate::stores::manifest::cursor::Node;
use crate::stores::manifest::cursor::Pages;
use crate::words::error::Result;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;

/// The most pages to keep of each type. A leaf takes some 20 KiB at most.
const KEPT_MAX: usize = 512;

/// A page, its level, what its parent says of it, and the length of the image: what a check depends
/// on.
type Key = (PageId, u32, NodeDigest, u64);

/// Decoded pages that were checked.
#[derive(Default)]
pub(crate) struct KeptPages {
    leaves: RefCell<HashMap<Key, Rc<Leaf>>>,
    inner: RefCell<HashMap<Key, Arc<Inner>>>,
}

/// Checked pages, of which the last ones are kept.
pub(crate) struct TallyPages<'a> {
    pub(crate) kept: Rc<KeptPages>,
    pub(crate) checked: CheckedPages<'a>,
}

impl TallyPages<'_> {
    fn keep<T: Clone>(
        &self,
        kept: &RefCell<HashMap<Key, T>>,
        node: &Node,
        read: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let key = (node.page.id, node.level, node.page.content, self.checked.image_bytes);
        if let Some(page) = kept.borrow().get(&key) {
            return Ok(page.clone());
        }
        let page = read()?;
        let mut kept = kept.borrow_mut();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, page.clone());
        Ok(page)
    }
}

impl Pages for TallyPages<'_> {
    type Leaf = Rc<Leaf>;

    fn inner(&self, node: &Node) -> Result<Arc<Inner>> {
        self.keep(&self.kept.inner, node, || self.checked.inner(node))
    }

    fn leaf(&self, node: &Node) -> Result<Rc<Leaf>> {
        self.keep(&self.kept.leaves, node, || self.checked.leaf(node).map(Rc::new))
    }
}
