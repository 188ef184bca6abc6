//! Damaged and hostile bytes: every decoder returns an error or a value, and never panics.

use proptest::collection::SizeRange;
use proptest::collection::btree_map;
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use crate::format::bytes::DecodeError;
use crate::format::checkpoint::Checkpoint;
use crate::format::checkpoint::Head as CheckpointHead;
use crate::format::checkpoint::keys_of;
use crate::format::checkpoint_writer::Content;
use crate::format::checkpoint_writer::encode_whole as encode_checkpoint;
use crate::format::config::Config;
use crate::format::dirty_map::decode_map_entry;
use crate::format::golden;
use crate::format::golden::bytes;
use crate::format::journal::Entry as JournalEntry;
use crate::format::notes::decode_checked;
use crate::format::notes::decode_damage;
use crate::format::pack::Directory;
use crate::format::pack::Entry;
use crate::format::pack::Header as PackHeader;
use crate::format::pack::Trailer;
use crate::format::page::Extent;
use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::parity::Head;
use crate::format::reads::Reads;
use crate::format::record::Record;
use crate::format::run::Header as RunHeader;
use crate::format::run::Run;
use crate::format::volume::VolumeRecord;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::NodeDigest;
use crate::words::ids::PageId;
use crate::words::ids::SnapshotId;
use crate::words::names::NAME_BYTES_MAX;
use crate::words::names::ResourceKind;
use crate::words::sizes::IMAGE_BYTES_MAX;

/// Decodes, and returns whether that succeeded.
type Check = fn(&[u8]) -> bool;

fn run_header(bytes: &[u8]) -> Result<RunHeader, DecodeError> {
    RunHeader::decode(bytes, 64 + golden_run_body_len())
}

fn golden_run_body_len() -> u64 {
    bytes(golden::RUN_BODY).len() as u64
}

/// Every structure with its own checksum.
const SEALED: &[(&str, &str, Check)] = &[
    ("config", golden::CONFIG, |bytes| Config::decode(bytes, None).is_ok()),
    ("record", golden::RECORD, |bytes| Record::decode(bytes, &golden::hasher()).is_ok()),
    ("labelled record", golden::LABELLED_RECORD, |bytes| Record::decode(bytes, &golden::hasher()).is_ok()),
    ("empty record", golden::EMPTY_RECORD, |bytes| Record::decode(bytes, &golden::hasher()).is_ok()),
    ("pack header", golden::PACK_HEADER, |bytes| PackHeader::decode(bytes).is_ok()),
    ("sealed pack header", golden::SEALED_HEADER, |bytes| PackHeader::decode(bytes).is_ok()),
    ("pages header", golden::PAGES_HEADER, |bytes| PackHeader::decode(bytes).is_ok()),
    ("raw record", golden::RAW_RECORD, |bytes| Entry::decode_record(bytes, 64).is_ok()),
    ("punched record", golden::PUNCHED_RECORD, |bytes| Entry::decode_record(bytes, 4200).is_ok()),
    ("front of a parity file", golden::PARITY_HEAD, |bytes| Head::decode(bytes).is_ok()),
    ("trailer", golden::TRAILER, |bytes| Trailer::decode(bytes).is_ok()),
    ("run header", golden::RUN_HEADER, |bytes| run_header(bytes).is_ok()),
    ("checked", golden::CHECKED, |bytes| decode_checked(bytes, &golden::hasher()).is_ok()),
    ("journal entry", golden::ENTRY, |bytes| JournalEntry::decode(bytes, &golden::hasher()).is_ok()),
    ("checkpoint", golden::CHECKPOINT, |bytes| {
        // The config has a checksum of its own as well.
        Checkpoint::open(bytes, &golden::hasher()).is_ok_and(|checkpoint| checkpoint.prove().is_ok())
    }),
    ("volume record", golden::VOLUME, |bytes| VolumeRecord::decode(bytes, &golden::hasher()).is_ok()),
    ("labelled volume record", golden::LABELLED_VOLUME, |bytes| {
        VolumeRecord::decode(bytes, &golden::hasher()).is_ok()
    }),
    ("empty volume record", golden::EMPTY_VOLUME, |bytes| {
        VolumeRecord::decode(bytes, &golden::hasher()).is_ok()
    }),
    ("entry of a dirty map", golden::MAP_ENTRY, |bytes| {
        bytes.try_into().is_ok_and(|entry| decode_map_entry(entry, 5).is_ok_and(|states| states.is_some()))
    }),
    ("record of reads", golden::READS, |bytes| Reads::decode(bytes, &golden::hasher()).is_ok()),
    ("damage", golden::DAMAGE, |bytes| decode_damage(bytes, &golden::hasher()).is_ok()),
];

/// Calls `check` with `whole` with one byte changed, for every byte and several changes.
fn each_flip(whole: &[u8], mut check: impl FnMut(usize, &[u8])) {
    for at in 0..whole.len() {
        for mask in [0x01, 0x10, 0x80, 0xff] {
            let mut changed = whole.to_vec();
            changed[at] ^= mask;
            check(at, &changed);
        }
    }
}

#[test]
fn no_damaged_byte_of_a_sealed_structure_is_accepted() {
    for (name, listing, decodes) in SEALED {
        let whole = bytes(listing);
        assert!(decodes(&whole), "{name}");
        each_flip(&whole, |at, changed| assert!(!decodes(changed), "{name}, byte {at}"));
    }
}

#[test]
fn each_block_of_a_long_checkpoint_is_proven() {
    let record = |number: u16| {
        let id = SnapshotId(Uuid::from_u128(number.into()));
        Record::new(id, number.into(), ResourceKind::Volume, "disk", format!("number {number}"))
    };
    let content = Content {
        config: b"config",
        snapshots: (0..3000).map(|number| (record(number), None)).collect(),
        condemned: Vec::new(),
        volumes: Vec::new(),
    };
    let whole = encode_checkpoint(CheckpointHead::default(), &content, &golden::hasher()).unwrap();
    assert!(whole.len() > 3 * (64 << 10));
    let proven = |bytes: &[u8]| {
        Checkpoint::open(bytes, &golden::hasher()).is_ok_and(|checkpoint| checkpoint.prove().is_ok())
    };
    assert!(proven(&whole));
    for at in (0..whole.len()).step_by(1999) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(!proven(&changed), "byte {at}");
    }
    // What is looked up is proven first.
    let found = Checkpoint::open(&whole[..], &golden::hasher()).unwrap();
    for number in 0..3000 {
        let row = found.find(record(number).id).unwrap().unwrap();
        assert_eq!(found.record(&row), Ok(record(number)));
        let key = keys_of(&golden::hasher(), &record(number))[0];
        assert_eq!(found.with_key(key), Ok(vec![u32::from(number)]));
    }
    let of_disk = keys_of(&golden::hasher(), &record(0))[1];
    let newest: Vec<u32> = found.newest_with_key(of_disk).unwrap().map(Result::unwrap).collect();
    assert_eq!(newest, (0..3000).rev().collect::<Vec<_>>());
}

#[test]
fn no_truncation_is_accepted() {
    let pages: [(&str, &str, Check); 2] = [
        ("leaf", golden::LEAF, |bytes| Page::decode(bytes).is_ok()),
        ("inner page", golden::INNER, |bytes| Page::decode(bytes).is_ok()),
    ];
    for (name, listing, decodes) in SEALED.iter().chain(&pages) {
        let whole = bytes(listing);
        for len in 0..whole.len() {
            assert!(!decodes(&whole[..len]), "{name}, {len} bytes");
        }
    }
    let directory = bytes(golden::DIRECTORY);
    for len in 0..directory.len() {
        assert!(Directory::new(&directory[..len], &golden::trailer()).is_err(), "{len} bytes");
    }
    let run = [bytes(golden::RUN_HEADER), bytes(golden::RUN_BODY)].concat();
    for len in 0..run.len() {
        assert!(RunHeader::decode(&run[..len], len as u64).is_err(), "{len} bytes");
        assert!(Run::new(&run[..len], &golden::run_header()).is_err(), "{len} bytes");
    }
}

#[test]
fn nothing_may_follow_a_config_a_record_or_a_page() {
    let with_more = |listing| [bytes(listing), vec![0]].concat();
    assert!(Config::decode(&with_more(golden::CONFIG), None).is_err());
    assert!(Record::decode(&with_more(golden::RECORD), &golden::hasher()).is_err());
    assert!(Record::decode(&with_more(golden::LABELLED_RECORD), &golden::hasher()).is_err());
    assert!(VolumeRecord::decode(&with_more(golden::LABELLED_VOLUME), &golden::hasher()).is_err());
    assert!(VolumeRecord::decode(&with_more(golden::VOLUME), &golden::hasher()).is_err());
    assert!(Page::decode(&with_more(golden::LEAF)).is_err());
    assert!(Page::decode(&with_more(golden::INNER)).is_err());
}

#[test]
fn a_record_of_a_volume_that_cannot_be_is_refused() {
    let refused = |change: fn(&mut VolumeRecord)| {
        let mut volume = golden::volume();
        change(&mut volume);
        VolumeRecord::decode(&volume.encode(&golden::hasher()).unwrap(), &golden::hasher()).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|volume| volume.size_bytes = IMAGE_BYTES_MAX + 1));
    assert!(refused(|volume| volume.size_bytes = (5 << 30) - 1), "smaller than its origin");
    assert!(refused(|volume| volume.name = "n".repeat(NAME_BYTES_MAX + 1)));
    assert!(refused(|volume| volume.sealed = vec![200, 3]), "not in order");
    assert!(refused(|volume| volume.sealed = vec![3, 3]), "twice the same");
    assert!(refused(|volume| volume.active = 200), "sealed and written to");
    assert!(refused(|volume| (volume.sealed, volume.active) = ((0..65).collect(), 65)), "too many");
}

#[test]
fn a_page_with_a_changed_byte_is_another_page_or_none() {
    for (page, listing) in
        [(Page::Leaf(golden::leaf()), golden::LEAF), (Page::Inner(golden::inner()), golden::INNER)]
    {
        each_flip(&bytes(listing), |at, changed| {
            assert_ne!(Page::decode(changed), Ok(page.clone()), "byte {at}")
        });
    }
}

#[test]
fn a_directory_entry_with_a_changed_byte_is_another_entry_or_none() {
    let (directory, trailer) = (bytes(golden::DIRECTORY), golden::trailer());
    each_flip(&directory, |at, changed| {
        let directory = Directory::new(changed, &trailer).unwrap();
        let entries = [directory.entry(0, &trailer), directory.entry(1, &trailer)];
        let good = [Ok(golden::raw_entry()), Ok(golden::punched_entry())];
        assert_eq!(entries == good, at >= 88, "byte {at}");
        entries.iter().flatten().for_each(|entry| {
            (0..=255).for_each(|slot| {
                assert!(directory.block_id(entry, slot).is_some() == (u16::from(slot) < entry.slots))
            });
            directory.bitmap(entry);
        });
    });
}

#[test]
fn a_damaged_run_gives_other_hints_and_no_panic() {
    let whole = [bytes(golden::RUN_HEADER), bytes(golden::RUN_BODY)].concat();
    each_flip(&whole, |_, changed| search(&Run::new(changed, &golden::run_header()).unwrap()));
}

/// Calls all functions of a run that an index uses.
fn search(run: &Run<'_>) {
    for byte in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
        let found = run.find_chunk(&[byte; 16]).map(|entry| entry.pack);
        found.for_each(|pack| assert!(run.pack(pack).is_none_or(|id| run.packs().any(|named| named == id))));
        run.find_blocks(&[BlockId([byte; 16])], |_, entry| {
            assert!(run.pack(entry.pack).is_none_or(|id| run.packs().any(|named| named == id)));
        });
    }
    assert!(run.packs().count() + run.chunks.entries().count() + run.blocks.entries().count() <= 1 << 20);
}

#[test]
fn versions_that_are_not_known_are_told_apart_from_damage() {
    let at_8 = |listing, value: u8| {
        let mut changed = bytes(listing);
        changed[8] = value;
        changed
    };
    for other in [1, 4] {
        let refused = |known| Err(DecodeError::BadVersion { found: u16::from(other), known });
        assert_eq!(Config::decode(&at_8(golden::CONFIG, other), None).map(drop), refused(3));
        assert_eq!(Record::decode(&at_8(golden::RECORD, other), &golden::hasher()).map(drop), refused(3));
        assert_eq!(run_header(&at_8(golden::RUN_HEADER, other)).map(drop), refused(2));
        assert_eq!(PackHeader::decode(&resealed(at_8(golden::PACK_HEADER, other))).map(drop), refused(3));
    }
}

#[test]
fn a_newer_minor_version_is_reported_and_read_without_what_it_appended() {
    let with_minor = |minor, more: &[u8]| {
        let whole = bytes(golden::CONFIG);
        let body = [&whole[16..whole.len() - 32], more].concat();
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let mut config = [&whole[..10], &[minor, 0], &length, &body].concat();
        config.extend(blake3::hash(&config).as_bytes());
        Config::decode(&config, None)
    };
    assert_eq!(with_minor(7, &[]), Ok((golden::config(), 7)));
    assert_eq!(with_minor(7, &[1, 2, 3]), Ok((golden::config(), 7)));
    assert!(with_minor(0, &[1]).is_err(), "this version has nothing more to say");
}

#[test]
fn numbers_that_ask_for_more_memory_than_there_are_bytes_are_refused() {
    let huge = "fd ffffffffffffff0f";
    // A leaf with that many digests, one with that many extents, an inner page with that many
    // children.
    for listing in [format!("00 01 {huge}"), format!("00 01 00 00 {huge}"), format!("01 01 01 00 {huge}")] {
        assert!(Page::decode(&bytes(&listing)).is_err());
    }
    let trailer = Trailer { entries: u32::MAX, ..golden::trailer() };
    assert!(Trailer::decode(&trailer.encode()).is_err());
    let header = RunHeader { chunks: u64::MAX, blocks: u64::MAX, ..golden::run_header() };
    assert!(RunHeader::decode(&header.encode(), u64::MAX).is_err());
    for header in [
        RunHeader { chunk_bucket_bits: 64, ..golden::run_header() },
        RunHeader { block_bucket_bits: 29, ..golden::run_header() },
        RunHeader { filter_lines: u32::MAX, ..golden::run_header() },
        RunHeader { packs: 1 << 24, ..golden::run_header() },
    ] {
        assert!(run_header(&header.encode()).is_err());
    }
}

#[test]
fn pages_that_no_encoder_writes_are_refused() {
    let change = |change: fn(&mut Leaf)| {
        let mut leaf = golden::leaf();
        change(&mut leaf);
        Page::decode(&Page::Leaf(leaf).encode().unwrap())
    };
    assert!(change(|_| {}).is_ok());
    assert!(change(|leaf| leaf.data_spans = 1).is_err(), "two digests for one span");
    assert!(change(|leaf| leaf.data_spans = 1 | 1 << 62).is_err(), "data in a span that is marked as zero");
    assert!(change(|leaf| leaf.extents.truncate(4)).is_err(), "not all blocks are covered");
    assert!(
        change(|leaf| leaf.extents.push(Extent { blocks: 1, place: Place::Zero })).is_err(),
        "too many blocks"
    );
    assert!(change(|leaf| leaf.extents[1].blocks = 0).is_err(), "an extent without blocks");
    assert!(
        change(|leaf| leaf.extents[2].place = Place::Chunk { chunk: 2, slot: 0 }).is_err(),
        "no such chunk"
    );
    assert!(
        change(|leaf| leaf.extents[2].place = Place::Chunk { chunk: 1, slot: 254 }).is_err(),
        "no such slot"
    );
    assert!(change(|leaf| leaf.chunks.push(ChunkId([1; 16]))).is_err(), "a chunk that no extent uses");
    let zero = Leaf { data_spans: 0, digests: Vec::new(), chunks: Vec::new(), extents: Vec::new() };
    assert!(Page::decode(&Page::Leaf(zero).encode().unwrap()).is_err(), "a leaf of zeros");
    for inner in [
        Inner { level: 0, ..golden::inner() },
        Inner { level: 9, ..golden::inner() },
        Inner { data_children: [1, 0], ..golden::inner() },
        Inner { level: 1, data_children: [0, 0], children: Vec::new() },
    ] {
        assert!(Page::decode(&Page::Inner(inner).encode().unwrap()).is_err());
    }
}

/// Corrects the CRC-32 of a fixed structure.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn digests(count: impl Into<SizeRange>) -> impl Strategy<Value = Vec<NodeDigest>> {
    vec(any::<[u8; 16]>().prop_map(NodeDigest), count)
}

/// A leaf with data in at least one span: some zero blocks at the front of each, then one extent.
fn any_leaf() -> impl Strategy<Value = Leaf> {
    let spans = vec((0..16_u16, any::<u16>(), 0..=240_u8), 64);
    let chunks = vec(any::<[u8; 16]>().prop_map(ChunkId), 1..9);
    (1..=u64::MAX, digests(64), chunks, spans).prop_map(|(data_spans, mut digests, mut chunks, spans)| {
        digests.truncate(data_spans.count_ones() as usize);
        let (mut extents, mut named): (Vec<Extent>, u16) = (Vec::new(), 0);
        let zero = |extents: &mut Vec<Extent>, blocks| match extents.last_mut() {
            _ if blocks == 0 => {}
            Some(last) if last.place == Place::Zero => last.blocks += blocks,
            _ => extents.push(Extent { blocks, place: Place::Zero }),
        };
        for (span, (zeros, chunk, slot)) in spans.into_iter().enumerate() {
            if data_spans >> span & 1 == 0 {
                zero(&mut extents, 16);
                continue;
            }
            zero(&mut extents, zeros);
            // The chunks named before, and the next one.
            let chunk = chunk % (named + 1).min(u16::try_from(chunks.len()).unwrap());
            named = named.max(chunk + 1);
            extents.push(Extent { blocks: 16 - zeros, place: Place::Chunk { chunk, slot } });
        }
        chunks.truncate(named.into());
        Leaf { data_spans, digests, chunks, extents }
    })
}

fn any_inner() -> impl Strategy<Value = Inner> {
    let child = (any::<[u8; 16]>(), any::<[u8; 16]>());
    let child = child.prop_map(|(id, content)| PageRef { id: PageId(id), content: NodeDigest(content) });
    (1..=8_u8, btree_map(0..128_u8, child, 1..=128))
        .prop_map(|(level, children)| Inner::new(level, &children.into_iter().collect::<Vec<_>>()))
}

proptest! {
    #[test]
    fn every_leaf_comes_back(leaf in any_leaf()) {
        let page = Page::Leaf(leaf);
        prop_assert_eq!(Page::decode(&page.encode().unwrap()), Ok(page));
    }

    #[test]
    fn every_inner_page_comes_back_and_keeps_the_places_of_its_children(inner in any_inner()) {
        let page = Page::Inner(inner.clone());
        prop_assert_eq!(Page::decode(&page.encode().unwrap()), Ok(page));
        let children: Vec<_> = inner.children().map(|(at, child)| (u8::try_from(at).unwrap(), child)).collect();
        prop_assert_eq!(Inner::new(inner.level, &children), inner);
    }

    #[test]
    fn random_bytes_are_no_reason_to_panic(bytes in vec(any::<u8>(), 0..512)) {
        let _ = Page::decode(&bytes);
        for tag in [0, 1] {
            let _ = Page::decode(&[&[tag], &bytes[..]].concat());
        }
        for (_, listing, decodes) in SEALED {
            prop_assert!(!decodes(&bytes));
            // The same after a valid beginning.
            prop_assert!(!decodes(&[&golden::bytes(listing)[..12], &bytes].concat()));
        }
        let (directory, trailer) = ([&bytes[..], &[0; 240]].concat(), golden::trailer());
        let directory = Directory::new(&directory, &trailer).unwrap();
        prop_assert!(directory.entry(2, &trailer).is_err());
        let _ = (directory.entry(0, &trailer), directory.entry(1, &trailer));
    }

    #[test]
    fn hostile_numbers_under_a_right_checksum_are_no_reason_to_panic(noise in vec(any::<u8>(), 64), at in 8..56_usize) {
        for (_, listing, decodes) in SEALED {
            let mut bytes = bytes(listing);
            let end = (at + 8).min(bytes.len() - 4);
            let at = at.min(end);
            bytes[at..end].copy_from_slice(&noise[at..end]);
            let bytes = resealed(bytes);
            decodes(&bytes);
            if let Ok(header) = RunHeader::decode(&bytes, u64::MAX) {
                let whole = [&bytes[..], &noise, &noise, &noise].concat();
                Run::new(&whole, &header).iter().for_each(search);
            }
            if let Ok(header) = RunHeader::decode(&bytes, 64 + golden_run_body_len()) {
                let whole = [&bytes[..], &golden::bytes(golden::RUN_BODY)].concat();
                search(&Run::new(&whole, &header).unwrap());
            }
        }
    }

    #[test]
    fn hostile_bodies_under_a_right_checksum_are_no_reason_to_panic(body in vec(any::<u8>(), 0..300), at in 0..200_usize) {
        let hasher = golden::hasher();
        let seal = |listing, body: &[u8], checksum: &dyn Fn(&[u8]) -> [u8; 32]| {
            let whole = bytes(listing);
            let good = &whole[16..whole.len() - 32];
            let body = [&good[..at.min(good.len())], body].concat();
            let length = u32::try_from(body.len()).unwrap().to_le_bytes();
            let mut bytes = [&whole[..12], &length, &body].concat();
            bytes.extend(checksum(&bytes));
            bytes
        };
        let config = seal(golden::CONFIG, &body, &|bytes| *blake3::hash(bytes).as_bytes());
        let record = seal(golden::RECORD, &body, &|bytes| hasher.record(bytes).0);
        let _ = Config::decode(&config, None);
        let _ = Record::decode(&record, &hasher);
    }
}
