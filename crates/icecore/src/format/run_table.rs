//! The tables of an index run: entries sorted by key, and the start of each bucket.
//!
//! The key of a chunk, page or block is the first 48 bits of its id, as a number. Its highest bits
//! choose its bucket. An entry leaves out the bytes of the key that the number of its bucket
//! implies, and so gets smaller as the table grows.
//!
//! ```text
//! buckets  u32 each, 2^bits + 1 of them: the first entry of each bucket, and at last the number of entries
//! entries  9 to 12 bytes each: the lowest 3 to 6 bytes of the key | pack u24 | entry u16 | detail u8
//! ```

use crate::format::bytes::table_entry;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;

const KEY_BYTES: usize = 6;
const PLACE_BYTES: usize = 6;
/// The most leading bits of a key that choose its bucket.
pub(crate) const BUCKET_BITS_MAX: u8 = 28;
/// The cache line of most processors.
const CACHE_LINE_BYTES: usize = 64;
/// The fewest entries per bucket on average.
const BUCKET_ENTRIES: u64 = 8;

/// The part of an id that a run keeps: its first 48 bits, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) const BITS: u32 = 48;

    /// Returns the key of a chunk, page or block with this id.
    pub(crate) fn of(id: &[u8; 16]) -> Self {
        let [b0, b1, b2, b3, b4, b5, ..] = *id;
        Self(u64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0]))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    fn bucket(self, bits: u8) -> usize {
        to_usize(self.0 >> (Self::BITS - u32::from(bits)))
    }
}

/// The possible place of a chunk, page or block. Entries are sorted by their fields in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// The number of a pack in the run's table.
    pub(crate) pack: u32,
    /// The number of an entry in that pack's directory.
    pub(crate) entry: u16,
    /// For a block, its slot; for a chunk, the number of its slots that have their data there,
    /// minus one; for a page, zero.
    pub(crate) detail: u8,
}

impl Entry {
    /// Appends the entry in the form of a table with this many bucket bits.
    pub(crate) fn encode(&self, bits: u8, bytes: &mut Vec<u8>) {
        bytes.extend(&self.key.0.to_le_bytes()[..kept_bytes(bits)]);
        bytes.extend(&self.pack.to_le_bytes()[..3]);
        bytes.extend(self.entry.to_le_bytes());
        bytes.push(self.detail);
    }

    fn decode(key: Key, place: [u8; PLACE_BYTES]) -> Self {
        let [p0, p1, p2, e0, e1, detail] = place;
        let (pack, entry) = (u32::from_le_bytes([p0, p1, p2, 0]), u16::from_le_bytes([e0, e1]));
        Self { key, pack, entry, detail }
    }
}

/// Returns the number of leading bits of a key that choose its bucket in a table of `entries`.
pub(crate) fn bucket_bits(entries: u64) -> u8 {
    let bits = (entries / BUCKET_ENTRIES).checked_ilog2().unwrap_or(0);
    u8::try_from(bits).unwrap_or(BUCKET_BITS_MAX).min(BUCKET_BITS_MAX)
}

/// Returns the number of bytes of the key that an entry keeps: all except those that the bucket
/// implies.
fn kept_bytes(bits: u8) -> usize {
    KEY_BYTES - usize::from(bits.min(BUCKET_BITS_MAX) / 8)
}

fn kept_mask(bits: u8) -> u64 {
    (1 << (8 * kept_bytes(bits))) - 1
}

fn entry_bytes(bits: u8) -> usize {
    kept_bytes(bits) + PLACE_BYTES
}

/// Returns the lengths of the two sections of a table: buckets and entries.
pub(crate) fn section_bytes(bits: u8, entries: u64) -> [u64; 2] {
    [((1_u64 << bits) + 1) * 4, entries * to_u64(entry_bytes(bits))]
}

/// Returns the bucket section of a table with these sorted keys.
pub(crate) fn buckets(bits: u8, keys: impl Iterator<Item = Key>) -> Vec<u8> {
    let count = (1_usize << bits) + 1;
    let mut buckets = Vec::with_capacity(count * 4);
    let mut entries = 0_u32;
    for key in keys {
        // This bucket and the empty ones before it begin here, unless they have begun.
        let open = key.bucket(bits) + 1;
        while buckets.len() < open * 4 {
            buckets.extend(entries.to_le_bytes());
        }
        entries = entries.saturating_add(1);
    }
    while buckets.len() < count * 4 {
        buckets.extend(entries.to_le_bytes());
    }
    buckets
}

/// One table of a run, as its encoded bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    bits: u8,
    buckets: &'a [u8],
    entries: &'a [u8],
}

impl<'a> Table<'a> {
    pub(crate) fn new(bits: u8, buckets: &'a [u8], entries: &'a [u8]) -> Self {
        Self { bits, buckets, entries }
    }

    /// Returns the entries with a key.
    pub(crate) fn find(self, key: Key) -> impl Iterator<Item = Entry> + use<'a> {
        self.in_bucket(key, self.bucket(key))
    }

    /// Calls `found` with each entry for one of the keys, and the number given with that key.
    ///
    /// It looks up many keys at once because each lookup waits for memory twice: in steps, the
    /// waits of different keys overlap.
    pub(crate) fn find_all(self, keys: &[(usize, Key)], mut found: impl FnMut(usize, Entry)) {
        let buckets: Vec<_> = keys.iter().map(|(_, key)| self.bucket(*key)).collect();
        // A byte of each cache line of a bucket.
        let touch = |bucket: &&[u8]| {
            let lines = bucket.iter().step_by(CACHE_LINE_BYTES).chain(bucket.last());
            lines.map(|byte| u64::from(*byte)).sum::<u64>()
        };
        std::hint::black_box(buckets.iter().map(touch).sum::<u64>());
        for ((at, key), bucket) in keys.iter().zip(buckets) {
            self.in_bucket(*key, bucket).for_each(|entry| found(*at, entry));
        }
    }

    /// Returns all entries, sorted.
    pub(crate) fn entries(self) -> impl Iterator<Item = Entry> + use<'a> {
        let (mut bucket, buckets) = (0, 1_usize << self.bits);
        self.entries.chunks_exact(entry_bytes(self.bits)).zip(0..).filter_map(move |(bytes, at)| {
            while bucket + 1 < buckets && self.bucket_begin(bucket + 1) <= at {
                bucket += 1;
            }
            // Where bits of the bucket and bytes of the key overlap, they are equal.
            let lead = (to_u64(bucket) >> (self.bits % 8)) << (8 * kept_bytes(self.bits));
            Some(Entry::decode(Key(lead | self.kept_key(bytes)), *bytes.last_chunk()?))
        })
    }

    fn in_bucket(self, key: Key, bucket: &'a [u8]) -> impl Iterator<Item = Entry> + use<'a> {
        let wanted = key.0 & kept_mask(self.bits);
        let entries = bucket.chunks_exact(entry_bytes(self.bits));
        let same = entries.filter(move |bytes| self.kept_key(bytes) == wanted);
        same.filter_map(move |bytes| Some(Entry::decode(key, *bytes.last_chunk()?)))
    }

    /// Returns the bytes of a key that an entry keeps, as a number. An entry is never shorter than
    /// a `u64`.
    fn kept_key(&self, entry: &[u8]) -> u64 {
        entry.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)) & kept_mask(self.bits)
    }

    /// Returns the entries in the bucket of `key`; none if the table of buckets is damaged.
    fn bucket(&self, key: Key) -> &'a [u8] {
        let (number, bytes) = (key.bucket(self.bits), entry_bytes(self.bits));
        let at = |bucket| self.bucket_begin(bucket).saturating_mul(bytes);
        self.entries.get(at(number)..at(number + 1)).unwrap_or(&[])
    }

    fn bucket_begin(&self, number: usize) -> usize {
        table_entry::<4>(self.buckets, number).map_or(0, |begin| u32::from_le_bytes(*begin) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Returns the two sections of a table.
    fn table_of(bits: u8, entries: &[Entry]) -> (Vec<u8>, Vec<u8>) {
        let mut encoded = Vec::new();
        entries.iter().for_each(|entry| entry.encode(bits, &mut encoded));
        (buckets(bits, entries.iter().map(|entry| entry.key)), encoded)
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        // Some keys begin with the same bits, and so are in one bucket.
        let key = (0..1_u64 << 48, prop_oneof![Just(48), Just(20), Just(0)])
            .prop_map(|(key, bits)| Key(key & ((1 << bits) - 1)));
        (key, 0..1_u32 << 24, any::<u16>(), any::<u8>()).prop_map(|(key, pack, entry, detail)| Entry {
            key,
            pack,
            entry,
            detail,
        })
    }

    proptest! {
        #[test]
        fn every_entry_comes_back_and_is_found(
            mut entries in vec(any_entry(), 0..200),
            bits in prop_oneof![Just(0_u8), Just(1), Just(7), Just(8), Just(9), Just(16), Just(17)],
        ) {
            entries.sort_unstable();
            let (buckets, encoded) = table_of(bits, &entries);
            let lengths = [buckets.len() as u64, encoded.len() as u64];
            prop_assert_eq!(section_bytes(bits, entries.len() as u64), lengths);
            let table = Table::new(bits, &buckets, &encoded);
            prop_assert_eq!(table.entries().collect::<Vec<_>>(), &entries[..]);
            let keys: Vec<_> = entries.iter().map(|entry| entry.key).enumerate().collect();
            let mut found = vec![Vec::new(); keys.len()];
            table.find_all(&keys, |at, entry| found[at].push(entry));
            for (found, entry) in found.iter().zip(&entries) {
                let same = entries.iter().filter(|other| other.key == entry.key).copied();
                prop_assert_eq!(found, &same.collect::<Vec<_>>());
                prop_assert!(table.find(entry.key).eq(found.iter().copied()));
            }
        }

        #[test]
        fn a_key_that_is_not_there_is_not_found(key in 0..1_u64 << 48, bit in 0..48_u32, bits in 0..18_u8) {
            let entry = Entry { key: Key(key), pack: 0, entry: 0, detail: 0 };
            let (buckets, encoded) = table_of(bits, &[entry]);
            let table = Table::new(bits, &buckets, &encoded);
            prop_assert_eq!(table.find(Key(key ^ 1 << bit)).count(), 0);
            prop_assert_eq!(table.find(Key(key)).count(), 1);
        }
    }

    #[test]
    fn buckets_have_eight_entries_or_a_few_more() {
        for (entries, bits) in [(0, 0), (7, 0), (16, 1), (31, 1), (32, 2), (100_000_000, 23), (u64::MAX, 28)]
        {
            assert_eq!(bucket_bits(entries), bits, "{entries}");
        }
    }
}
