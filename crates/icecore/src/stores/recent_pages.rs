//! The manifest pages that were read last. Pages of successive snapshots are made from the same
//! ones.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::words::ids::PageId;
use crate::words::sync::Mutex;

/// The most bytes of pages to keep.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Pages by their ids, which prove them.
#[derive(Default)]
pub(crate) struct RecentPages(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    pages: HashMap<PageId, RecentPage>,
    /// In the order in which they were added.
    ids: VecDeque<PageId>,
    bytes: usize,
}

/// A page that was read.
#[derive(Clone)]
pub(crate) struct RecentPage {
    /// Its number in its series, 0 if it is stored in full.
    pub(crate) number: u8,
    pub(crate) bytes: Arc<[u8]>,
}

impl RecentPages {
    pub(crate) fn get(&self, id: &PageId) -> Option<RecentPage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pages.get(id).cloned()
    }

    /// Adds a page. The oldest ones go if they are too many.
    pub(crate) fn add(&self, id: PageId, page: RecentPage) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = page.bytes.len();
        if kept.pages.insert(id, page).is_none() {
            kept.ids.push_back(id);
            kept.bytes += bytes;
        }
        while kept.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = kept.ids.pop_front()
        {
            let gone = kept.pages.remove(&oldest).map_or(0, |page| page.bytes.len());
            kept.bytes -= gone;
        }
    }

    /// Forgets all of them: they may be gone from the repository.
    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_pages_go_when_they_are_too_many() {
        let recent = RecentPages::default();
        let page = RecentPage { number: 0, bytes: vec![1; KEPT_BYTES_MAX / 4].into() };
        (0..6).for_each(|id| recent.add(PageId([id; 16]), page.clone()));
        recent.add(PageId([5; 16]), page);
        let there = |id: &u8| recent.get(&PageId([*id; 16])).is_some();
        assert_eq!((0..6).filter(there).collect::<Vec<_>>(), [2, 3, 4, 5]);
        recent.clear();
        assert_eq!((0..6).filter(there).count(), 0);
    }
}
