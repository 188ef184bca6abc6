//! Stores the manifest pages of a capture, each once.

use std::collections::HashSet;

use crate::format::pack::PackKind;
use crate::format::page::PageRef;
use crate::pure::compress::Encoder;
use crate::stores::chunks::Store;
use crate::stores::pack::writer::Item;
use crate::stores::recovery::read_page;
use crate::verbs::capture::packing::Compression;
use crate::verbs::capture::packing::Packer;
use crate::verbs::capture::packing::Publisher;
use crate::verbs::capture::packing::Stored;
use crate::verbs::capture::packing::merge_runs;
use crate::verbs::capture::packing::publish;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;

/// A store that collects manifest pages in packs.
pub(crate) struct PageStore<'a> {
    store: &'a Store,
    /// Whether existing pages are read before they count as known.
    pub(crate) distrusts: bool,
    publisher: Option<&'a Publisher<'a>>,
    encoder: Encoder,
    packer: Packer<'a>,
    /// Pages in the open pack.
    unpublished: HashSet<PageId>,
}

impl<'a> PageStore<'a> {
    pub(crate) fn new(
        store: &'a Store,
        publisher: Option<&'a Publisher<'a>>,
        compression: Compression,
        distrusts: bool,
    ) -> Result<Self> {
        let encoder = Encoder::new(compression.level, compression.check)
            .map_err(|error| Error::io("preparing the compression of manifest pages", error))?;
        Ok(Self {
            store,
            distrusts,
            encoder,
            publisher,
            packer: Packer::new(store, PackKind::Pages, publisher.is_some()),
            unpublished: HashSet::new(),
        })
    }

    /// Stores a page, unless it is already stored.
    pub(crate) fn put(&mut self, page: &PageRef, bytes: &[u8]) -> Result<()> {
        if self.unpublished.contains(&page.id) || self.is_known(&page.id)? {
            return Ok(());
        }
        let encoded = self
            .encoder
            .encode(bytes)
            .map_err(|error| Error::io(format!("compressing manifest page {}", page.id), error))?;
        self.unpublished.insert(page.id);
        if let Some(pack) = self.packer.append(&Item::new(page.id.0, encoded, bytes.len(), Vec::new()))? {
            publish(self.store, self.publisher, pack)?;
            self.unpublished.clear();
        }
        Ok(())
    }

    fn is_known(&self, id: &PageId) -> Result<bool> {
        let found = self.store.find_page(id)?.is_some();
        Ok(found && (!self.distrusts || read_page(self.store, id).is_ok()))
    }

    /// Publishes the open pack and returns the totals of what was stored. New `data` triggers
    /// merges of index runs; without any, the runs are merged now.
    pub(crate) fn finish(mut self, data: Stored) -> Result<Stored> {
        if let Some(pack) = self.packer.take() {
            publish(self.store, self.publisher, pack)?;
            if data.items == 0 {
                merge_runs(self.store)?;
            }
        }
        Ok(self.packer.stored)
    }
}
