//! Reads manifest pages, each proven by its id, and puts them together from deltas.

use crate::format::bytes::DecodeError;
use crate::format::page::Page;
use crate::format::page_delta::Delta;
use crate::format::page_delta::Unfolded;
use crate::pure::compress::Codec;
use crate::stores::chunks::Located;
use crate::stores::chunks::Store;
use crate::stores::recent_pages::RecentPage;
use crate::stores::recovery::is_of_the_place;
use crate::stores::recovery::other_copies;
use crate::stores::recovery::reader::with_reader;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::next_step::NextStep;

/// Records that are read for one page. A page takes one for each delta and one for the full page,
/// and more only where some are damaged.
const READS_MAX: u32 = 64;
/// More than the depth of any delta.
const ANY_DEPTH: u32 = u8::BITS;

/// A page that was read on the way to another.
pub(crate) struct KnownPage {
    pub(crate) id: PageId,
    /// Its number in its series, 0 if it is stored in full.
    pub(crate) number: u8,
    /// The length of its stored bytes.
    pub(crate) stored_bytes: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Reads a manifest page. If it is damaged, takes another copy.
pub(crate) fn read_page(store: &Store, id: &PageId) -> Result<Vec<u8>> {
    let mut search = Search { takes_recent: true, ..Search::new(store) };
    search.page(id, ANY_DEPTH)?;
    search.pages.pop().map(|page| page.bytes).ok_or_else(|| lost(id))
}

/// Reads and decodes a manifest page. If it is damaged, takes another copy.
pub(crate) fn read_decoded(store: &Store, id: &PageId) -> Result<Page> {
    if let Some(page) = read_at_once(store, id)? {
        return Ok(page);
    }
    let bytes = read_page(store, id)?;
    Page::decode(&bytes).map_err(|error| {
        Error::corrupt(format!("manifest page {id} is damaged: {error}")).with_hint(NextStep::FindLost)
    })
}

/// Reads a page and all deltas that it is made from, and proves only the page: that proves what it
/// is made from too. Returns none if anything is amiss, as then it has to be found out what.
///
/// # Errors
/// Those of looking the page up: a part of the index that has become unreadable says so only once.
fn read_at_once(store: &Store, id: &PageId) -> Result<Option<Page>> {
    let place = match store.recent_pages.get(id) {
        Some(_) => None,
        None => Some(store.need_page(id)?),
    };
    Ok(put_together(store, id, place))
}

/// Does it from the page's first place, unless it was read before.
fn put_together(store: &Store, id: &PageId, mut first: Option<Located>) -> Option<Page> {
    let (mut deltas, mut at) = (Vec::new(), *id);
    let (mut page, mut number) = loop {
        if let Some(RecentPage { number, bytes }) = store.recent_pages.get(&at) {
            break (Page::decode(&bytes).ok()?, number);
        }
        let place = match first.take() {
            Some(place) => place,
            None => store.need_page(&at).ok()?,
        };
        if place.entry.codec != Codec::Delta {
            let bytes = with_reader(|reader| reader.page(&store.files, &place).map(<[u8]>::to_vec)).ok()?;
            let page = Page::decode(&bytes).ok()?;
            store.recent_pages.add(at, RecentPage { number: 0, bytes: bytes.into() });
            break (page, 0);
        }
        let mut stored = Vec::new();
        place.pack.read_encoded(place.number, &place.entry, &mut stored).ok()?;
        let delta = Delta::decode(&stored).ok()?;
        at = delta.base;
        deltas.push((place, stored));
        if deltas.len() > ANY_DEPTH as usize {
            return None;
        }
    };
    if deltas.is_empty() {
        return Some(page);
    }
    let mut unfolded = Unfolded::of(page);
    for (place, stored) in deltas.iter().rev() {
        let delta = Delta::decode(stored).ok()?;
        // The depth falls from each page to the one that it is made from.
        if delta.depth() <= number.count_ones() {
            return None;
        }
        number = delta.number;
        with_reader(|reader| {
            let difference = reader.difference(place, &delta)?;
            unfolded.apply(difference).map_err(|error| bad_delta(place, &error))
        })
        .ok()?;
    }
    page = unfolded.folded();
    let bytes = page.encode().ok()?;
    if store.files.hasher.page(&bytes) != *id {
        return None;
    }
    store.recent_pages.add(*id, RecentPage { number, bytes: bytes.into() });
    Some(page)
}

/// Reads a manifest page and returns it last, after the pages that it is made from, the full one
/// first.
pub(crate) fn read_series(store: &Store, id: &PageId) -> Result<Vec<KnownPage>> {
    let mut search = Search::new(store);
    search.page(id, ANY_DEPTH)?;
    Ok(search.pages)
}

/// Reads a page in one place, and the pages that it is made from in any place.
pub(crate) fn check_page(store: &Store, place: &Located) -> Result<()> {
    Search::new(store).read(place, ANY_DEPTH)
}

/// Returns the id of the page that a stored page is made from, and its depth; none and 0 if it is
/// stored in full.
pub(crate) fn delta_base(place: &Located) -> Result<(Option<PageId>, u32)> {
    if place.entry.codec != Codec::Delta {
        return Ok((None, 0));
    }
    let mut stored = Vec::new();
    place.pack.read_encoded(place.number, &place.entry, &mut stored)?;
    let delta = Delta::decode(&stored).map_err(|error| bad_delta(place, &error))?;
    Ok((Some(delta.base), delta.depth()))
}

/// Tells whether the pages are there that a page is made from, each in one place. A page that no
/// snapshot needs may be left without them: gc keeps them for what is needed only.
pub(crate) fn has_its_bases(store: &Store, page: &Located) -> Result<bool> {
    let mut base = delta_base(page)?.0;
    for _ in 0..READS_MAX {
        let Some(id) = base else { return Ok(true) };
        let Some(found) = store.find_page(&id)? else { return Ok(false) };
        base = delta_base(&found)?.0;
    }
    Ok(false)
}

/// Tells whether a page is a delta whose own record is sound, so that at most its base is lost.
pub(crate) fn is_sound_delta(place: &Located) -> bool {
    place.entry.codec == Codec::Delta
        && delta_base(place).is_ok()
        && place.pack.check_record(&place.entry).is_ok()
}

fn bad_delta(place: &Located, why: &DecodeError) -> Error {
    place.damaged().in_context(why.to_string())
}

fn lost(id: &PageId) -> Error {
    Error::corrupt(format!("manifest page {id} cannot be put together"))
}

/// The search for one page.
struct Search<'a> {
    store: &'a Store,
    reads_left: u32,
    /// Whether pages that were read before serve as well. Otherwise each comes from its place.
    takes_recent: bool,
    /// The pages read so far; the last page found is the last one.
    pages: Vec<KnownPage>,
}

impl<'a> Search<'a> {
    fn new(store: &'a Store) -> Self {
        Self { store, reads_left: READS_MAX, takes_recent: false, pages: Vec::new() }
    }

    /// Finds a page in a place where its depth is below `depth`.
    fn page(&mut self, id: &PageId, depth: u32) -> Result<()> {
        let fits = |page: &RecentPage| page.number.count_ones() < depth;
        if self.takes_recent
            && let Some(RecentPage { number, bytes }) = self.store.recent_pages.get(id).filter(fits)
        {
            self.pages.push(KnownPage { id: *id, number, stored_bytes: 0, bytes: bytes.to_vec() });
            return Ok(());
        }
        let found = self.store.need_page(id)?;
        let first = match self.read(&found, depth) {
            Err(error) if is_of_the_place(&error) => error,
            done => return done,
        };
        let rebuilt = std::iter::once_with(|| self.store.rebuilt_copies(&id.0)).flatten();
        let others = other_copies(self.store, &found).into_iter().chain(rebuilt);
        for copy in others.collect::<Vec<_>>() {
            if self.read(&copy, depth).is_ok() {
                return Ok(());
            }
        }
        Err(first)
    }

    fn read(&mut self, place: &Located, depth: u32) -> Result<()> {
        let id = PageId(place.entry.id);
        self.reads_left = self.reads_left.checked_sub(1).ok_or_else(|| lost(&id))?;
        let files = &self.store.files;
        let (number, bytes) = if place.entry.codec == Codec::Delta {
            let mut stored = Vec::new();
            place.pack.read_encoded(place.number, &place.entry, &mut stored)?;
            let delta = Delta::decode(&stored).map_err(|error| bad_delta(place, &error))?;
            // Copies of pages may be made from each other in a circle, but not with falling depth.
            if delta.depth() >= depth {
                return Err(lost(&id));
            }
            self.page(&delta.base, delta.depth())
                .map_err(|error| error.in_context(format!("reading what manifest page {id} is made from")))?;
            let base = self.pages.last().ok_or_else(|| lost(&id))?;
            let bytes = with_reader(|reader| reader.delta(files, place, &delta, &base.bytes))?;
            (delta.number, bytes)
        } else {
            (0, with_reader(|reader| reader.page(files, place).map(<[u8]>::to_vec))?)
        };
        if self.takes_recent {
            self.store.recent_pages.add(id, RecentPage { number, bytes: bytes.as_slice().into() });
        }
        self.pages.push(KnownPage { id, number, stored_bytes: place.entry.stored_bytes, bytes });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::format::pack::PackKind;
    use crate::format::page::Leaf;
    use crate::format::page_delta::Difference;
    use crate::pure::compress::Encoded;
    use crate::pure::compress::Encoder;
    use crate::repository::InitOptions;
    use crate::repository::Repository;
    use crate::repository::Secrets;
    use crate::stores::index::writer::write_run_of;
    use crate::stores::locks::Writer;
    use crate::stores::pack::writer::Item;
    use crate::stores::pack::writer::PackWriter;
    use crate::words::ids::ChunkId;
    use crate::words::ids::NodeDigest;
    use crate::words::ids::RepositoryId;
    use crate::world::memory::MemoryStorage;

    /// A copy of a page: in full, or with a number and a base.
    type Copy<'a> = (&'a [u8], Option<(u8, &'a [u8])>);

    struct Fixture {
        repo: Repository,
    }

    impl Fixture {
        fn new() -> Self {
            let options = InitOptions {
                id: RepositoryId::from([0; 16]),
                created_unix_ms: 0,
                secrets: Secrets::Plain([1; 32]),
                level: 1,
                parity: None,
            };
            let storage = Arc::new(MemoryStorage::new());
            Self { repo: Repository::init(storage, Uuid::from_u128(1), &options).unwrap() }
        }

        fn id(&self, page: &[u8]) -> PageId {
            self.repo.store.files.hasher.page(page)
        }

        /// Writes copies of pages to a pack.
        fn put(&self, copies: &[Copy<'_>]) {
            let files = &self.repo.store.files;
            let writer = Writer::begin(files).unwrap();
            let mut pack = PackWriter::begin(files, PackKind::Pages).unwrap();
            let mut encoder = Encoder::new(1, true).unwrap();
            for (page, from) in copies {
                let encoded = match from {
                    None => encoder.encode(page).unwrap(),
                    Some((number, base)) => {
                        let body = Difference::between(base, page).unwrap();
                        let delta = Delta { number: *number, base: self.id(base), raw_bytes: 0, body: &body };
                        Encoded { codec: Codec::Delta, bytes: delta.encode() }
                    }
                };
                pack.append(&Item::new(self.id(page).0, encoded, page.len(), Vec::new())).unwrap();
            }
            let pack = pack.finish(&writer).unwrap();
            self.repo.store.replace_runs(write_run_of(files, &pack).unwrap(), &[]);
        }

        fn read(&self, page: &[u8]) -> bool {
            match read_page(&self.repo.store, &self.id(page)) {
                Ok(found) => found == page,
                Err(_) => false,
            }
        }
    }

    /// Returns a leaf that differs from others of this function in one span.
    fn page(number: u8) -> Vec<u8> {
        let mut spans = std::array::from_fn(|_| NodeDigest([1; 16]));
        spans[5] = NodeDigest([number.wrapping_add(1); 16]);
        let places = (0..=u8::MAX).cycle().take(1024).map(|slot| Some((ChunkId([8; 16]), slot)));
        Page::Leaf(Leaf::of(&spans, places)).encode().unwrap()
    }

    #[test]
    fn a_page_comes_with_all_that_it_is_made_from() {
        let fixture = Fixture::new();
        let pages: Vec<Vec<u8>> = (0..64).map(page).collect();
        let base = |number: usize| number & number.saturating_sub(1);
        let copies: Vec<Copy<'_>> = (0..64)
            .map(|at| {
                let from = (at > 0).then(|| (u8::try_from(at).unwrap(), pages[base(at)].as_slice()));
                (pages[at].as_slice(), from)
            })
            .collect();
        fixture.put(&copies);
        for (at, page) in pages.iter().enumerate() {
            let series = read_series(&fixture.repo.store, &fixture.id(page)).unwrap();
            let mut expected = vec![at];
            while expected[0] > 0 {
                expected.insert(0, base(expected[0]));
            }
            assert_eq!(series.iter().map(|page| usize::from(page.number)).collect::<Vec<_>>(), expected);
            assert!(series.iter().zip(&expected).all(|(found, at)| found.bytes == pages[*at]));
        }
    }

    #[test]
    fn pages_that_are_made_from_each_other_are_errors_unless_one_is_there_in_full() {
        let fixture = Fixture::new();
        let (a, b) = (page(1), page(2));
        fixture.put(&[(&a, Some((1, &b))), (&b, Some((3, &a)))]);
        assert!(!fixture.read(&a) && !fixture.read(&b));
        fixture.put(&[(&a, Some((1, &a)))]);
        assert!(!fixture.read(&a));
        // Two programs stored the same two pages at once, each in another order.
        fixture.put(&[(&b, None), (&a, None)]);
        assert!(fixture.read(&a) && fixture.read(&b));
    }

    #[test]
    fn a_base_must_be_less_deep_and_only_so_much_is_read_for_a_page() {
        let fixture = Fixture::new();
        let pages: Vec<Vec<u8>> = (0..3).map(page).collect();
        // The base of page 1 has as many bits in its number: it could lead anywhere.
        fixture.put(&[
            (&pages[0], None),
            (&pages[2], Some((2, &pages[0]))),
            (&pages[1], Some((1, &pages[2]))),
        ]);
        assert!(fixture.read(&pages[2]) && !fixture.read(&pages[1]));
        // Many copies of each page of a series whose full page is missing: without a limit, 40^6
        // reads.
        let series: Vec<Vec<u8>> = (10..17).map(page).collect();
        for copy in 0..40 {
            let other = page(100 + copy);
            let mut copies: Vec<Copy<'_>> = vec![(&other, None)];
            for (at, number) in [1, 3, 7, 15, 31, 63].into_iter().enumerate() {
                copies.push((&series[at + 1], Some((number, &series[at]))));
            }
            fixture.put(&copies);
        }
        assert!(!fixture.read(&series[6]));
        fixture.put(&[(&series[0], None)]);
        assert!(fixture.read(&series[6]));
    }
}
