//! Stores the manifest pages of a capture, each once.

use std::collections::HashSet;
use std::io;

use crate::format::pack::PackKind;
use crate::format::page::PageRef;
use crate::format::page_delta::Delta;
use crate::format::page_delta::Difference;
use crate::format::page_delta::next_number;
use crate::format::record::Record;
use crate::pure::compress::Codec;
use crate::pure::compress::Encoded;
use crate::pure::compress::Encoder;
use crate::stores::chunks::Store;
use crate::stores::pack::writer::Item;
use crate::stores::recovery::pages::has_its_bases;
use crate::stores::recovery::pages::read_page;
use crate::stores::recovery::pages::read_series;
use crate::verbs::capture::packing::Compression;
use crate::verbs::capture::packing::Packer;
use crate::verbs::capture::packing::Publisher;
use crate::verbs::capture::packing::Rest;
use crate::verbs::capture::packing::Stored;
use crate::verbs::capture::packing::merge_runs;
use crate::verbs::capture::packing::publish;
use crate::verbs::capture::packing::publish_few;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::sizes::to_u64;

/// The stored bytes from which on a page is worth a delta of it. The roots of most images are
/// smaller, and so no snapshot needs the root of another one.
const DELTA_FROM_BYTES: u32 = 1024;

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

    /// Stores a page, unless it is already stored. `before` is a page that it may resemble.
    pub(crate) fn put(&mut self, page: &PageRef, bytes: &[u8], before: Option<PageId>) -> Result<()> {
        if self.unpublished.contains(&page.id) || self.is_known(&page.id, before)? {
            return Ok(());
        }
        let failed = |error| Error::io(format!("compressing manifest page {}", page.id), error);
        let encoded = match self.delta(bytes, before).map_err(failed)? {
            Some(delta) => delta,
            None => self.encoder.encode(bytes).map_err(failed)?,
        };
        self.unpublished.insert(page.id);
        if let Some(pack) = self.packer.append(Item::new(page.id.0, encoded, bytes.len(), Vec::new()))? {
            publish(self.store, self.publisher, pack)?;
            self.unpublished.clear();
        }
        Ok(())
    }

    /// Returns what differs from the page before, or from one that it is made from, if that is worth
    /// it.
    fn delta(&mut self, bytes: &[u8], before: Option<PageId>) -> io::Result<Option<Encoded>> {
        // While something is damaged, pages are not made to depend on others.
        let Some(before) = before.filter(|_| !self.distrusts) else { return Ok(None) };
        // A page that cannot be read is of no use here; whoever needs it reports it.
        let Ok(Some(found)) = self.store.find_page(&before) else { return Ok(None) };
        if found.entry.codec != Codec::Delta && found.entry.stored_bytes < DELTA_FROM_BYTES {
            return Ok(None);
        }
        let series = read_series(self.store, &before).unwrap_or_default();
        let (Some(full), Some(last)) = (series.first(), series.last()) else { return Ok(None) };
        let Some((number, base_number)) = next_number(last.number) else { return Ok(None) };
        let base = series.iter().find(|page| page.number == base_number);
        let Some(base) = base.filter(|_| full.number == 0) else { return Ok(None) };
        let Some(difference) = Difference::between(&base.bytes, bytes) else { return Ok(None) };
        let Ok(raw_bytes) = u16::try_from(difference.len()) else { return Ok(None) };
        let body = self.encoder.encode(&difference)?;
        let raw_bytes = if body.codec == Codec::Raw { 0 } else { raw_bytes };
        let delta = Delta { number, base: base.id, raw_bytes, body: &body.bytes }.encode();
        let is_worth_it = to_u64(delta.len()) * 4 <= u64::from(full.stored_bytes) * 3;
        Ok(is_worth_it.then_some(Encoded { codec: Codec::Delta, bytes: delta }))
    }

    fn is_known(&self, id: &PageId, before: Option<PageId>) -> Result<bool> {
        match self.store.find_page(id)? {
            None => Ok(false),
            Some(_) if self.distrusts => Ok(read_page(self.store, id).is_ok()),
            // A snapshot needs it, and so gc keeps what it is made from.
            Some(_) if before == Some(*id) => Ok(true),
            Some(found) => match has_its_bases(self.store, &found) {
                Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
                has => has,
            },
        }
    }

    /// Returns the totals of what was stored.
    pub(crate) fn stored(&self) -> Stored {
        self.packer.stored
    }

    /// Publishes what is left of the pages, with `chunks` if they are few too, and with a copy of
    /// the record at the end. New `data` triggers merges of index runs; without any, the runs are
    /// merged now.
    pub(crate) fn finish(mut self, data: Stored, chunks: Vec<Item>, record: &Record) -> Result<()> {
        let pages = self.packer.stored.items > 0 && self.publisher.is_some();
        let copy = if pages { vec![self.copy_of(record)?] } else { Vec::new() };
        match self.packer.finish() {
            Rest::Few(pages) => {
                let kind = if chunks.is_empty() { PackKind::Pages } else { PackKind::Mixed };
                let items: Vec<Item> = chunks.into_iter().chain(pages).chain(copy).collect();
                return publish_few(self.store, self.publisher, kind, &items);
            }
            Rest::Pack(pack) => {
                if !chunks.is_empty() {
                    publish_few(self.store, self.publisher, PackKind::Data, &chunks)?;
                }
                match pack {
                    Some(mut pack) => {
                        copy.iter().try_for_each(|copy| pack.append(copy))?;
                        publish(self.store, self.publisher, *pack)?;
                    }
                    // The last page filled its pack.
                    None if pages => publish_few(self.store, self.publisher, PackKind::Pages, &copy)?,
                    None => {}
                }
            }
        }
        if pages && data.items == 0 { merge_runs(self.store) } else { Ok(()) }
    }

    /// Returns the entry of a pack that repeats a record.
    fn copy_of(&mut self, record: &Record) -> Result<Item> {
        let of_record = |error: String| Error::corrupt(format!("the record cannot be encoded: {error}"));
        let bytes = record.encode(&self.store.files.hasher).map_err(|error| of_record(error.to_string()))?;
        let encoded = self
            .encoder
            .encode(&bytes)
            .map_err(|error| Error::io("compressing the copy of a record", error))?;
        Ok(Item { is_record: true, ..Item::new(record.id.into(), encoded, bytes.len(), Vec::new()) })
    }
}
