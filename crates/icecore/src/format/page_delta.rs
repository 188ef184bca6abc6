//! The stored form of a page that is kept as a delta: what differs from another page, its base.

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::format::page::NamedChunks;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::serial;
use crate::format::serial::Decode;
use crate::format::serial::Encode;
use crate::words::ids::ChunkId;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;
use crate::words::sizes::FANOUT;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;
use crate::words::sizes::to_u8;
use crate::words::sizes::to_u16;
use crate::words::sizes::to_usize;

/// The largest number of a delta.
const NUMBER_MAX: u8 = 63;

/// A page's delta as it is stored. Its base may be a delta too, with a smaller
/// [depth](Delta::depth).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delta<'a> {
    /// Its place in a series of pages, each made from the one before: 1 to 63. Page 0 of a series is
    /// stored in full.
    pub(crate) number: u8,
    pub(crate) base: PageId,
    /// The length of the encoded [`Difference`] if it is compressed, otherwise 0.
    pub(crate) raw_bytes: u16,
    /// The encoded difference, or a zstd frame of it.
    pub(crate) body: &'a [u8],
}

impl<'a> Delta<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&[self.number][..], &self.base.0, &self.raw_bytes.to_le_bytes(), self.body].concat()
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let number = fields.u8()?;
        if number == 0 || number > NUMBER_MAX {
            return Err(DecodeError::bad("the number of a delta", number));
        }
        Ok(Self { number, base: PageId(fields.array()?), raw_bytes: fields.u16()?, body: fields.0 })
    }

    /// Returns how many deltas a reader meets before a page stored in full, if the base is the one
    /// that [`next_number`] says.
    pub(crate) fn depth(&self) -> u32 {
        self.number.count_ones()
    }
}

/// Returns the numbers of the delta of the page that follows page `number` of a series, and of its
/// base; none if that page is stored in full.
///
/// The base of page n is page n without its lowest bit. So every second delta holds one step, every
/// fourth two, and so on: a page is at most six deltas away from the full one, and a step is stored
/// in few of them.
pub(crate) fn next_number(number: u8) -> Option<(u8, u8)> {
    let next = number.checked_add(1).filter(|next| *next <= NUMBER_MAX)?;
    Some((next, next & (next - 1)))
}

/// What differs between a page and its base.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Difference {
    Leaf(LeafDifference),
    Inner(InnerDifference),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LeafDifference {
    /// Bit `i` is set if span `i` differs.
    spans: u64,
    /// Which of these have data.
    data_spans: u64,
    /// The digests of those.
    digests: Vec<NodeDigest>,
    /// The chunks that the extents name, in the order of their first use.
    chunks: Vec<ChunkId>,
    /// The extents: they cover the blocks of the spans that differ, in order.
    extents: Vec<Extent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Extent {
    blocks: u16,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
enum Place {
    /// Where the base has the blocks.
    Kept,
    Zero,
    /// The next chunk, which no extent before names.
    Next {
        slot: u8,
    },
    /// A chunk that an extent before names, counted back from the last new one.
    Again {
        back: u16,
        slot: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct InnerDifference {
    /// Bit `i` of the 128 is set if child `i` differs.
    changed: [u64; 2],
    /// Which of these have data.
    data_children: [u64; 2],
    /// Those.
    children: Vec<PageRef>,
}

/// The places of the blocks of a leaf.
type Places = Vec<Option<(ChunkId, u8)>>;

impl Difference {
    /// Returns the encoded difference of two encoded pages; none if there is no way to tell one from
    /// the other by it.
    pub(crate) fn between(base: &[u8], page: &[u8]) -> Option<Vec<u8>> {
        let difference = match (Page::decode(base).ok()?, Page::decode(page).ok()?) {
            (Page::Leaf(base), Page::Leaf(page)) => Self::Leaf(LeafDifference::between(&base, &page)),
            (Page::Inner(base), Page::Inner(page)) => Self::Inner(InnerDifference::between(&base, &page)),
            _ => return None,
        };
        let encoded = serial::encode_page(&difference).ok()?;
        (Self::apply(base, &encoded).ok()? == page).then_some(encoded)
    }

    /// Returns the encoded page that differs from an encoded base so.
    pub(crate) fn apply(base: &[u8], difference: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut page = Unfolded::of(Page::decode(base)?);
        page.apply(difference)?;
        page.folded().encode()
    }
}

/// A page in a form that takes differences one after another.
pub(crate) enum Unfolded {
    Leaf { digests: Box<[NodeDigest; LEAF_SPANS]>, places: Places },
    Inner(Inner),
}

impl Unfolded {
    pub(crate) fn of(page: Page) -> Self {
        match page {
            Page::Leaf(leaf) => Self::Leaf { digests: Box::new(leaf.span_digests()), places: places(&leaf) },
            Page::Inner(inner) => Self::Inner(inner),
        }
    }

    /// Turns it into the page that differs from it so. After an error it must not be used.
    pub(crate) fn apply(&mut self, difference: &[u8]) -> Result<(), DecodeError> {
        match (self, serial::decode_page(difference)?) {
            (Self::Leaf { digests, places }, Difference::Leaf(difference)) => {
                difference.apply(digests, places)
            }
            (Self::Inner(inner), Difference::Inner(difference)) => {
                *inner = difference.apply(inner)?;
                Ok(())
            }
            (base, _) => {
                Err(DecodeError::bad("the kind of a base", u8::from(matches!(base, Self::Leaf { .. }))))
            }
        }
    }

    /// Returns the page.
    pub(crate) fn folded(self) -> Page {
        match self {
            Self::Leaf { digests, places } => Page::Leaf(Leaf::of(&digests, places.into_iter())),
            Self::Inner(inner) => Page::Inner(inner),
        }
    }
}

fn places(leaf: &Leaf) -> Places {
    let place = |(chunk, slot)| Some((*leaf.chunks.get(usize::from(chunk))?, slot));
    leaf.places().map(|at: Option<(u16, u8)>| at.and_then(place)).collect()
}

fn marked(mask: u64) -> impl Iterator<Item = usize> {
    (0..LEAF_SPANS).filter(move |bit| mask >> bit & 1 == 1)
}

impl LeafDifference {
    fn between(base: &Leaf, page: &Leaf) -> Self {
        let (old, new) = (places(base), places(page));
        let (old_digests, new_digests) = (base.span_digests(), page.span_digests());
        let blocks = |span: usize| span * SPAN_BLOCKS..(span + 1) * SPAN_BLOCKS;
        let differs = |span: &usize| {
            old_digests[*span] != new_digests[*span] || old[blocks(*span)] != new[blocks(*span)]
        };
        let spans = (0..LEAF_SPANS).filter(differs).fold(0, |mask, span| mask | 1 << span);
        let data_spans = spans & page.data_spans;
        let digests = marked(data_spans).map(|span| new_digests[span]).collect();
        let (mut chunks, mut extents) = (NamedChunks::default(), Vec::<Extent>::new());
        // The chunk and the slot that would continue the last extent.
        let mut next = None;
        for block in marked(spans).flat_map(blocks) {
            let kind = match new[block] {
                same if same == old[block] => Place::Kept,
                None => Place::Zero,
                Some((id, slot)) => match chunks.find(&id) {
                    Some(at) => Place::Again { back: to_u16(chunks.ids.len() - 1 - at), slot },
                    None => {
                        chunks.add(id);
                        Place::Next { slot }
                    }
                },
            };
            let in_chunk = matches!(kind, Place::Next { .. } | Place::Again { .. });
            match extents.last_mut() {
                Some(last) if in_chunk && next == new[block] => last.blocks += 1,
                Some(last) if !in_chunk && last.place == kind => last.blocks += 1,
                _ => extents.push(Extent { blocks: 1, place: kind }),
            }
            let following = |(id, slot): (ChunkId, u8)| Some((id, slot.checked_add(1)?));
            next = new[block].filter(|_| in_chunk).and_then(following);
        }
        Self { spans, data_spans, digests, chunks: chunks.ids, extents }
    }

    fn apply(&self, digests: &mut [NodeDigest; LEAF_SPANS], places: &mut Places) -> Result<(), DecodeError> {
        if self.data_spans & !self.spans != 0 || self.digests.len() != self.data_spans.count_ones() as usize {
            return Err(DecodeError::bad("the number of span digests", self.digests.len() as u64));
        }
        marked(self.spans).for_each(|span| digests[span] = NodeDigest::ZERO);
        marked(self.data_spans).zip(&self.digests).for_each(|(span, digest)| digests[span] = *digest);
        places.resize(LEAF_BLOCKS, None);
        let mut blocks = marked(self.spans).flat_map(|span| span * SPAN_BLOCKS..(span + 1) * SPAN_BLOCKS);
        let mut named = 0_usize;
        for Extent { blocks: count, place } in &self.extents {
            let start = match *place {
                Place::Kept | Place::Zero => None,
                Place::Next { slot } => {
                    named += 1;
                    Some((named - 1, slot))
                }
                Place::Again { back, slot } => {
                    let chunk = named.checked_sub(usize::from(back) + 1);
                    Some((chunk.ok_or(DecodeError::bad("the chunk of an extent", back))?, slot))
                }
            };
            for more in 0..*count {
                let block = blocks.next().ok_or(DecodeError::bad("the length of an extent", *count))?;
                let place = match start {
                    None if *place == Place::Kept => continue,
                    None => None,
                    Some((chunk, slot)) => {
                        let id = self
                            .chunks
                            .get(chunk)
                            .ok_or(DecodeError::bad("the chunk of an extent", chunk as u64))?;
                        let slot = u8::try_from(u16::from(slot).saturating_add(more));
                        Some((*id, slot.map_err(|_| DecodeError::bad("the slot of an extent", more))?))
                    }
                };
                places[block] = place;
            }
        }
        if blocks.next().is_some() || named != self.chunks.len() {
            return Err(DecodeError::bad("the number of chunks", self.chunks.len() as u64));
        }
        Ok(())
    }
}

/// Returns the child of a page at each index.
fn children(inner: &Inner) -> [Option<PageRef>; FANOUT] {
    let mut children = [None; FANOUT];
    inner.children().for_each(|(at, child)| children[to_usize(at)] = Some(child));
    children
}

impl InnerDifference {
    fn between(base: &Inner, page: &Inner) -> Self {
        let (old, new) = (children(base), children(page));
        let (mut changed, mut data_children, mut children) = ([0; 2], [0; 2], Vec::new());
        for at in (0..FANOUT).filter(|at| old[*at] != new[*at]) {
            changed[at / 64] |= 1 << (at % 64);
            if let Some(child) = new[at] {
                data_children[at / 64] |= 1 << (at % 64);
                children.push(child);
            }
        }
        Self { changed, data_children, children }
    }

    fn apply(&self, base: &Inner) -> Result<Inner, DecodeError> {
        let has = |mask: &[u64; 2], at: usize| mask[at / 64] >> (at % 64) & 1 == 1;
        let (old, mut changed) = (children(base), self.children.iter());
        let mut children = Vec::with_capacity(FANOUT);
        for (at, kept) in old.into_iter().enumerate() {
            let child = match (has(&self.changed, at), has(&self.data_children, at)) {
                (false, false) => kept,
                (true, false) => None,
                (true, true) => changed.next().copied(),
                (false, true) => return Err(DecodeError::bad("a child that does not differ", at as u64)),
            };
            children.extend(child.map(|child| (to_u8(at), child)));
        }
        let marked: u32 = self.data_children.iter().map(|half| half.count_ones()).sum();
        if self.children.len() != marked as usize {
            return Err(DecodeError::bad("the number of children", self.children.len() as u64));
        }
        Ok(Inner::new(base.level, &children))
    }
}

/// Returns a difference with extents of all kinds.
#[cfg(test)]
pub(crate) fn leaf_difference() -> Difference {
    let extent = |blocks, place| Extent { blocks, place };
    Difference::Leaf(LeafDifference {
        spans: 1 | 1 << 9,
        data_spans: 1 << 9,
        digests: vec![NodeDigest([0x55; 16])],
        chunks: vec![ChunkId([0x11; 16]), ChunkId([0x22; 16])],
        extents: vec![
            extent(16, Place::Zero),
            extent(3, Place::Kept),
            extent(2, Place::Next { slot: 254 }),
            extent(10, Place::Next { slot: 0 }),
            extent(1, Place::Again { back: 1, slot: 7 }),
        ],
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_page_of_a_series_is_at_most_six_deltas_from_the_full_one() {
        let mut base_of = vec![0_u8];
        while let Some((number, base)) = next_number(u8::try_from(base_of.len() - 1).unwrap()) {
            assert_eq!(usize::from(number), base_of.len());
            base_of.push(base);
        }
        assert_eq!(base_of.len(), 64, "the next page is stored in full");
        let mut stored = vec![0; base_of.len()];
        for number in 1..=NUMBER_MAX {
            let delta = Delta { number, base: PageId([0; 16]), raw_bytes: 0, body: &[] };
            let (mut at, mut depth) = (number, 0);
            while at > 0 {
                let base = base_of[usize::from(at)];
                assert!(base < at);
                (at, depth) = (base, depth + 1);
            }
            assert_eq!(delta.depth(), depth, "{number}");
            assert!(depth <= 6);
            // The steps that a delta holds: all since its base.
            (base_of[usize::from(number)]..number).for_each(|step| stored[usize::from(step)] += 1);
        }
        assert!(stored.iter().all(|times| *times <= 6), "{stored:?}");
        let steps: usize = stored.iter().sum();
        assert_eq!(steps, 192, "a delta holds three steps on average");
    }

    #[test]
    fn a_delta_with_a_number_that_none_has_is_refused() {
        let delta = Delta { number: 63, base: PageId([7; 16]), raw_bytes: 9, body: b"frame" };
        assert_eq!(Delta::decode(&delta.encode()), Ok(delta));
        for number in [0, 64, 255] {
            assert!(
                Delta::decode(&[&[number][..], &[7; 16], &[9, 0], b"frame"].concat()).is_err(),
                "{number}"
            );
        }
        for len in 0..19 {
            assert!(Delta::decode(&delta.encode()[..len]).is_err(), "{len}");
        }
    }

    /// A leaf of few chunks, so that extents are of all kinds and lengths, in its two forms.
    fn leaf() -> impl Strategy<Value = (Places, Vec<u8>)> {
        let run = (1..40_u16, prop::option::of((0..6_u8, 0..=255_u8)));
        (vec(run, 60..100), vec(0..3_u8, LEAF_SPANS), any::<u8>()).prop_map(|(runs, digests, more)| {
            let mut places: Places = vec![Some((ChunkId([more; 16]), more)); LEAF_BLOCKS];
            let mut at = 0;
            for (blocks, from) in runs {
                for offset in 0..usize::from(blocks) {
                    let Some(place) = places.get_mut(at) else { break };
                    *place = from.and_then(|(chunk, slot)| {
                        Some((ChunkId([chunk; 16]), slot.checked_add(u8::try_from(offset).ok()?)?))
                    });
                    at += 1;
                }
            }
            let spans = std::array::from_fn(|span| NodeDigest([digests[span]; 16]));
            for span in marked(u64::MAX).filter(|span| spans[*span] == NodeDigest::ZERO) {
                places[span * SPAN_BLOCKS..(span + 1) * SPAN_BLOCKS].fill(None);
            }
            let leaf = Leaf::of(&spans, places.iter().copied());
            (places, Page::Leaf(leaf).encode().unwrap())
        })
    }

    fn inner() -> impl Strategy<Value = Vec<u8>> {
        let child = (0..2_u8).prop_map(|at| PageRef { id: PageId([at; 16]), content: NodeDigest([at; 16]) });
        btree_map(0..128_u8, child, 1..=128).prop_map(|children| {
            let children: Vec<(u8, PageRef)> = children.into_iter().collect();
            Page::Inner(Inner::new(2, &children)).encode().unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_leaf_has_the_places_and_digests_it_was_made_of((found, bytes) in leaf()) {
            let Page::Leaf(leaf) = Page::decode(&bytes).unwrap() else { panic!("not a leaf") };
            prop_assert_eq!(places(&leaf), found);
            prop_assert_eq!(Leaf::of(&leaf.span_digests(), places(&leaf).into_iter()), leaf);
        }

        #[test]
        fn a_page_is_what_differs_from_its_base(
            (_, base) in leaf(), (_, page) in leaf(), inner in inner(), other in inner(), some in any::<u64>(),
        ) {
            // Leaves that differ in some spans, as those of successive snapshots do.
            let [old, new] = [&base, &page].map(|page| match Page::decode(page).unwrap() {
                Page::Leaf(leaf) => leaf,
                Page::Inner(_) => panic!("not a leaf"),
            });
            let (mut digests, mut mixed) = (old.span_digests(), places(&old));
            for span in marked(some) {
                digests[span] = new.span_digests()[span];
                let blocks = span * SPAN_BLOCKS..(span + 1) * SPAN_BLOCKS;
                mixed[blocks.clone()].copy_from_slice(&places(&new)[blocks]);
            }
            let mixed = Leaf::of(&digests, mixed.into_iter());
            prop_assume!(mixed.data_spans != 0);
            let mixed = Page::Leaf(mixed).encode().unwrap();
            let pairs = [(&base, &page), (&base, &base), (&base, &mixed), (&mixed, &page), (&inner, &other)];
            for (base, page) in pairs {
                let difference = Difference::between(base, page).unwrap();
                prop_assert_eq!(&Difference::apply(base, &difference).unwrap(), page);
            }
            prop_assert!(Difference::between(&base, &inner).is_none());
            let of_leaf = Difference::between(&base, &page).unwrap();
            prop_assert!(Difference::apply(&inner, &of_leaf).is_err());
        }

        #[test]
        fn no_difference_makes_a_decoder_panic((_, base) in leaf(), bytes in vec(any::<u8>(), 0..300), at in 0..200_usize) {
            let _ = Difference::apply(&base, &bytes);
            let _ = Difference::apply(&base, &[&[0], &bytes[..]].concat());
            let mut leaf = Difference::between(&[&base[..]].concat(), &base).unwrap();
            if let Some(byte) = leaf.get_mut(at) {
                *byte = byte.wrapping_add(1);
            }
            let _ = Difference::apply(&base, &leaf);
        }
    }

    fn difference() -> LeafDifference {
        match leaf_difference() {
            Difference::Leaf(difference) => difference,
            Difference::Inner(_) => panic!("not of a leaf"),
        }
    }

    #[test]
    fn differences_that_no_encoder_writes_are_refused() {
        let spans = std::array::from_fn(|_| NodeDigest([3; 16]));
        let base = Leaf::of(&spans, (0..LEAF_BLOCKS).map(|_| Some((ChunkId([4; 16]), 0))));
        let applies = |difference: &LeafDifference| {
            difference.apply(&mut base.span_digests(), &mut places(&base)).is_ok()
        };
        assert!(applies(&difference()));
        let changes: [fn(&mut LeafDifference); 9] = [
            |it| it.data_spans = 1 << 3,
            |it| it.data_spans = 0,
            |it| it.spans = 1 << 9,
            |it| it.spans |= 1 << 20,
            |it| it.extents[2].blocks = 3,
            |it| it.extents[4].place = Place::Again { back: 2, slot: 0 },
            |it| it.extents[4].place = Place::Next { slot: 0 },
            |it| it.chunks.push(ChunkId([9; 16])),
            |it| it.extents.push(Extent { blocks: 1, place: Place::Kept }),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut difference = difference();
            change(&mut difference);
            assert!(!applies(&difference), "change {at}");
        }
    }
}
