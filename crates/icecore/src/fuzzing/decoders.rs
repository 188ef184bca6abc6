//! The properties that each decoder must have for any bytes: it does not panic, and it accepts only
//! bytes that an encoder would have written.
//!
//! Each function checks the bytes as they are, and again with their signature, version and checksum
//! put right, so that a fuzzer gets past these.

use std::hint::black_box;
use std::sync::Arc;

use crate::format::checkpoint::Checkpoint;
use crate::format::checkpoint::config_in;
use crate::format::checkpoint::keys_of;
use crate::format::config::Config;
use crate::format::config::FORMAT_MINOR;
use crate::format::dirty_map::MAP_ENTRY_BYTES;
use crate::format::dirty_map::decode_map_entry;
use crate::format::dirty_map::encode_map_entry;
use crate::format::journal::Entry;
use crate::format::pack;
use crate::format::pack::Directory;
use crate::format::pack::Entry as PackEntry;
use crate::format::pack::Trailer;
use crate::format::page::Inner;
use crate::format::page::Page;
use crate::format::page_delta::Delta;
use crate::format::page_delta::Difference;
use crate::format::parity;
use crate::format::parity::Head;
use crate::format::reads::Reads;
use crate::format::reads::SpanRange;
use crate::format::record::Record;
use crate::format::run;
use crate::format::run::Run;
use crate::format::sealed::Header as SealedHeader;
use crate::format::volume::VolumeRecord;
use crate::fuzzing::seal;
use crate::pure::compress::Codec;
use crate::pure::compress::Decoder;
use crate::pure::compress::Encoder;
use crate::pure::hash::Hasher;
use crate::pure::keys::MasterKey;
use crate::pure::keys::Salt;
use crate::pure::record_cipher::Kind;
use crate::stores::seals::Seals;
use crate::words::ids::BlockId;
use crate::words::sizes::LEAF_BLOCKS;
use crate::words::sizes::to_u8;
use crate::words::sizes::to_u32;
use crate::words::sizes::to_u64;

/// The most rows of a hostile checkpoint that are looked at.
const ROWS_MAX: u32 = 64;
/// The key of the repository that all this data belongs to.
const KEY: [u8; 32] = [1; 32];

/// Checks the decoder of the file `config`.
pub fn config(bytes: &[u8]) {
    let hasher = Hasher::new(&KEY);
    let plain = seal::envelope(*b"ICECONF\n", bytes, &seal::plain);
    let keyed = seal::envelope(*b"ICECONF\n", bytes, &|bytes| hasher.record(bytes).0);
    for (bytes, hasher) in [
        (Some(bytes.to_vec()), None),
        (plain, None),
        (Some(bytes.to_vec()), Some(&hasher)),
        (keyed, Some(&hasher)),
    ] {
        let Some(bytes) = bytes else { continue };
        if let Ok((config, minor)) = Config::decode(&bytes, hasher) {
            assert_eq!(Config::told(&bytes).map(|(_, is_sealed)| is_sealed), Ok(hasher.is_some()));
            assert_body(&bytes, config.encode(hasher).ok(), minor > FORMAT_MINOR);
        }
    }
}

/// Checks the decoder of a snapshot record.
pub fn record(bytes: &[u8]) {
    let hasher = Hasher::new(&KEY);
    let sealed = seal::envelope(*b"ICESNAP\n", bytes, &|bytes| hasher.record(bytes).0);
    for bytes in [Some(bytes.to_vec()), sealed].iter().flatten() {
        if let Ok((record, minor)) = Record::decode(bytes, &hasher) {
            assert_body(bytes, record.encode(&hasher).ok(), minor > FORMAT_MINOR);
        }
    }
}

/// Checks what opens sealed files and records: what it opens is what was sealed.
pub fn sealed(bytes: &[u8]) {
    let seals = Seals::new(Arc::new(MasterKey::new(&std::array::from_fn(to_u8))));
    if let Ok(header) = SealedHeader::decode(bytes) {
        assert!(bytes.starts_with(&header.encode()), "a header has one form");
    }
    for (kind, number) in [(Kind::Entry, 300), (Kind::Local, 0), (Kind::Reads, 3)] {
        if let Ok(file) = seals.open(kind, number, bytes.to_vec()) {
            let header = SealedHeader::decode(bytes).map(|header| (header.epoch, header.salt));
            let (epoch, salt) = header.unwrap_or_default();
            seals.enter(epoch);
            assert_eq!(seals.seal(kind, number, salt, file).as_deref(), Ok(bytes), "sealed again");
        }
    }
    let chosen: Salt = std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0));
    for codec in [Codec::Raw, Codec::Zstd] {
        let entry = PackEntry {
            id: [0; 16],
            offset: 0,
            stored_bytes: to_u32(bytes.len()),
            raw_bytes: 4096,
            crc: 0,
            codec,
            slots: 1,
            is_record: false,
            first_block: 0,
            bitmap: None,
        };
        let Ok(pack) = seals.of_pack(Some(1), &chosen) else { continue };
        let mut buffer = Vec::new();
        if let Ok(stored) = pack.seal(258, &entry, bytes, &mut buffer) {
            let mut stored = stored.to_vec();
            assert_eq!(pack.open(258, &entry, &mut stored), Ok(()), "what was sealed opens");
            assert_eq!(stored, bytes);
        }
        let mut hostile = bytes.to_vec();
        assert!(pack.open(258, &entry, &mut hostile).is_err(), "nobody knows the key");
    }
}

/// Checks the decoder of an entry of the journal.
pub fn entry(bytes: &[u8]) {
    let hasher = Hasher::new(&KEY);
    let sealed = seal::envelope(*b"ICEJRNL\n", bytes, &|bytes| hasher.entry(bytes).0);
    for bytes in [Some(bytes.to_vec()), sealed].iter().flatten() {
        // A newer entry can have changes that are left out.
        if let Ok((entry, _, FORMAT_MINOR)) = Entry::decode(bytes, &hasher) {
            assert_body(bytes, entry.encode(&hasher).ok().map(|(encoded, _)| encoded), false);
        }
    }
}

/// Checks the decoder of a checkpoint: whatever it says is found by id, and by its keys.
pub fn checkpoint(bytes: &[u8]) {
    let hasher = Hasher::new(&KEY);
    let mut sealed = bytes.to_vec();
    seal::checkpoint(&mut sealed, &hasher);
    for bytes in [bytes, &sealed] {
        let _ = config_in(bytes);
        let Ok(checkpoint) = Checkpoint::open(bytes, &hasher) else { continue };
        let _ = checkpoint.prove();
        let (_, _) = (black_box(checkpoint.condemned()), black_box(checkpoint.volumes()));
        for number in 0..checkpoint.rows().min(ROWS_MAX) {
            let Ok(row) = checkpoint.row(number) else { continue };
            let _ = black_box(checkpoint.find(row.id));
            if let Ok(record) = checkpoint.record(&row) {
                assert_eq!(record.id, row.id);
                for key in keys_of(&hasher, &record) {
                    let _ = black_box(checkpoint.with_key(key));
                    let newest = checkpoint.newest_with_key(key).map(Iterator::count);
                    assert_eq!(newest.ok(), checkpoint.with_key(key).ok().map(|rows| rows.len()));
                }
            }
        }
    }
}

/// Checks the decoder of a volume's record.
pub fn volume(bytes: &[u8]) {
    let hasher = Hasher::new(&KEY);
    let sealed = seal::envelope(*b"ICEVOLU\n", bytes, &|bytes| hasher.record(bytes).0);
    for bytes in [Some(bytes.to_vec()), sealed].iter().flatten() {
        if let Ok((volume, minor)) = VolumeRecord::decode(bytes, &hasher) {
            assert!(volume.sealed.iter().all(|number| *number < volume.active));
            assert_body(bytes, volume.encode(&hasher).ok(), minor > FORMAT_MINOR);
        }
    }
}

/// Checks the decoder of a record of reads.
pub fn reads(bytes: &[u8]) {
    let hasher = Hasher::new(&KEY);
    for bytes in [Some(bytes.to_vec()), seal::reads(bytes, &hasher)].iter().flatten() {
        if let Ok(reads) = Reads::decode(bytes, &hasher) {
            assert_eq!(reads.encode(&hasher), *bytes, "not the only encoding");
            let end = |spans: &SpanRange| spans.first + u64::from(spans.spans);
            assert!(reads.ranges.iter().all(|range| end(range) <= 1 << 46), "beyond any image");
        }
    }
}

/// Checks the decoder of a dirty map's entry. Fills up short input with zeros.
pub fn map_entry(bytes: &[u8]) {
    let mut entry = [0; MAP_ENTRY_BYTES];
    entry.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    let mut sealed = entry;
    seal::map_entry(&mut sealed);
    for entry in [entry, sealed] {
        let region = entry[8..16].first_chunk().map_or(0, |number| u64::from_le_bytes(*number));
        if let Ok(Some(states)) = decode_map_entry(&entry, region) {
            assert_eq!(encode_map_entry(region, &states), entry, "not the only encoding");
            assert!(decode_map_entry(&entry, region ^ 1).is_err(), "an entry in the place of another");
        }
    }
}

/// Fails unless the body of an envelope is the encoding of the decoded value. A newer version may
/// have more behind it.
fn assert_body(bytes: &[u8], encoded: Option<Vec<u8>>, is_newer: bool) {
    let body = |bytes: &[u8]| bytes.get(16..bytes.len() - 32).map(<[u8]>::to_vec);
    let (found, encoded) = (body(bytes), encoded.as_deref().and_then(body));
    match (found, encoded) {
        (Some(found), Some(encoded)) if !is_newer => assert_eq!(found, encoded, "not the only encoding"),
        (Some(found), Some(encoded)) => assert!(found.starts_with(&encoded), "not the only encoding"),
        (found, encoded) => assert_eq!(found, encoded, "it cannot be encoded"),
    }
}

/// Checks the decoder of a manifest page.
pub fn page(bytes: &[u8]) {
    let Ok(page) = Page::decode(bytes) else { return };
    assert_eq!(page.encode().as_deref(), Ok(bytes), "not the only encoding");
    let hasher = Hasher::new(&KEY);
    match page {
        Page::Leaf(leaf) => {
            assert_eq!(leaf.places().count(), LEAF_BLOCKS);
            let known = |(chunk, _): (u16, u8)| usize::from(chunk) < leaf.chunks.len();
            assert!(leaf.places().flatten().all(known), "a chunk that the leaf does not name");
            black_box(leaf.content(&hasher));
        }
        Page::Inner(inner) => {
            let children: Vec<_> = inner.children().collect();
            assert_eq!(children.len(), inner.children.len());
            let placed: Vec<_> = children.iter().map(|(at, child)| (to_u8(*at), *child)).collect();
            assert_eq!(Inner::new(inner.level, &placed), inner);
            black_box(inner.content(&hasher));
        }
    }
}

/// Checks the decoders of a whole pack: header, records, directory, trailer.
pub fn pack(bytes: &[u8]) {
    let header = |bytes: &[u8]| {
        if let Ok(header) = pack::Header::decode(bytes) {
            let mut encoded = header.encode();
            // An encoder writes zeros to the reserved bytes, which a decoder must ignore.
            encoded[56..].copy_from_slice(&bytes[56..pack::HEADER_BYTES]);
            assert_eq!(encoded, bytes[..pack::HEADER_BYTES], "not the only header");
        }
    };
    header(bytes);
    let mut sealed = bytes.to_vec();
    seal::pack(&mut sealed);
    header(&sealed);
    for bytes in [bytes, &sealed] {
        records(bytes);
        directory(bytes);
    }
}

/// Walks the records of a pack as far as they lead.
fn records(bytes: &[u8]) {
    let mut at = pack::HEADER_BYTES;
    while let Some(record) = bytes.get(at..).and_then(|rest| rest.get(..pack::RECORD_BYTES)) {
        let begin = to_u32(at);
        let Ok(entry) = pack::Entry::decode_record(record, begin) else { return };
        assert!(entry.offset as usize >= at + pack::RECORD_BYTES, "stored bytes before their record");
        let mut encoded = entry.encode_record();
        // Keep the flags that have no meaning yet.
        encoded[5] |= record[5] & !3;
        assert_eq!(encoded[..36], record[..36], "not the only record");
        at = entry.offset as usize + entry.stored_bytes as usize;
    }
}

fn directory(bytes: &[u8]) {
    let Some(end) = bytes.len().checked_sub(pack::TRAILER_BYTES) else { return };
    let Ok(trailer) = Trailer::decode(&bytes[end..]) else { return };
    let mut encoded = trailer.encode();
    encoded[32..].copy_from_slice(&bytes[end + 32..]);
    assert_eq!(encoded, bytes[end..], "not the only trailer");
    let begin = usize::try_from(trailer.directory_offset).unwrap_or(usize::MAX).min(end);
    let Ok(directory) = Directory::new(&bytes[begin..end], &trailer) else { return };
    for number in 0..=trailer.entries {
        let Ok(entry) = directory.entry(number, &trailer) else { continue };
        assert!(number < trailer.entries, "an entry behind the last one");
        let stored = &bytes[begin + number as usize * pack::ENTRY_BYTES..][..pack::ENTRY_BYTES];
        assert_eq!(entry.encode(), stored, "not the only entry");
        assert!(u64::from(entry.offset) + u64::from(entry.stored_bytes) <= trailer.directory_offset);
        let ids = (0..=u8::MAX).filter(|slot| directory.block_id(&entry, *slot).is_some()).count();
        assert_eq!(ids, usize::from(entry.slots).min(256));
        assert_eq!(directory.bitmap(&entry).is_some(), entry.bitmap.is_some());
    }
}

/// Checks the decoder of a whole index run, and lookups in it.
pub fn run(bytes: &[u8]) {
    look_up(bytes);
    let mut sealed = bytes.to_vec();
    seal::run(&mut sealed);
    look_up(&sealed);
}

fn look_up(bytes: &[u8]) {
    let Ok(header) = run::Header::decode(bytes, to_u64(bytes.len())) else { return };
    let mut encoded = header.encode();
    encoded[40..].copy_from_slice(&bytes[40..run::HEADER_BYTES]);
    assert_eq!(encoded, bytes[..run::HEADER_BYTES], "not the only header");
    let run = Run::new(bytes, &header);
    assert!(run.is_ok(), "the sections do not fill a file of the right length");
    let Ok(run) = run else { return };
    assert_eq!(to_u64(run.packs().count()), u64::from(header.packs));
    assert_eq!(to_u64(run.chunks.entries().count()), header.chunks);
    assert_eq!(to_u64(run.blocks.entries().count()), header.blocks);
    // Use ids of which some are in the run: a run ends with entries, and these begin with bytes of
    // ids.
    let ids: Vec<BlockId> =
        bytes.rchunks(9).take(64).filter_map(|part| part.first_chunk().map(|lead| short(*lead))).collect();
    for id in &ids {
        let found = run.find_chunk(&id.0).map(|entry| entry.pack);
        found.for_each(|pack| assert_eq!(run.pack(pack).is_some(), pack < header.packs));
    }
    run.find_blocks(&ids, |at, entry| {
        assert!(at < ids.len());
        assert_eq!(run.pack(entry.pack).is_some(), entry.pack < header.packs);
    });
}

fn short(lead: [u8; 6]) -> BlockId {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&lead);
    BlockId(id)
}

/// Checks the decoder of a parity file's front.
pub fn parity(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::parity(&mut sealed);
    for bytes in [bytes, &sealed] {
        let Ok(head) = Head::decode(bytes) else { continue };
        let mut encoded = head.encode();
        // Keep the space that has no meaning yet, and the checksum over it.
        encoded[36..parity::HEADER_BYTES].copy_from_slice(&bytes[36..parity::HEADER_BYTES]);
        assert_eq!(encoded, bytes, "not the only encoding");
        let slices: u64 = (0..head.slices()).map(|slice| to_u64(head.slice_bytes(slice))).sum();
        assert_eq!(slices, head.shard_bytes(), "the slices do not fill the shard");
        for member in &head.members {
            let slices = (0..head.slices()).map(|slice| to_u64(Head::slice_of(member.bytes, slice)));
            assert_eq!(slices.sum::<u64>(), member.bytes, "the slices do not fill the pack");
        }
        assert!(head.file_bytes() > head.digests_offset() || head.slices() == 0);
    }
}

/// Checks the decoder of stored bytes. The input is a `u32` that claims the decoded length, a `u8`
/// that tells the encoding, then the stored bytes.
pub fn stored(bytes: &[u8]) {
    let Some(([l0, l1, l2, l3, codec], stored)) = bytes.split_first_chunk() else { return };
    // A directory entry cannot claim more than this.
    let raw_bytes = (u32::from_le_bytes([*l0, *l1, *l2, *l3]) % (pack::RAW_BYTES_MAX + 1)) as usize;
    let codec = [Codec::Raw, Codec::Zstd, Codec::Delta][usize::from(codec % 3)];
    let (Ok(mut decoder), Ok(mut encoder)) = (Decoder::new(), Encoder::new(1, true)) else { return };
    if codec == Codec::Delta {
        delta(stored, &mut decoder);
    }
    if let Ok(raw) = decoder.decode(codec, stored, raw_bytes) {
        assert_eq!(raw.len(), raw_bytes);
        let raw = raw.to_vec();
        let again = encoder.encode(&raw).ok();
        let decoded =
            again.as_ref().and_then(|again| decoder.decode(again.codec, &again.bytes, raw.len()).ok());
        assert_eq!(decoded, Some(&raw[..]), "what was encoded again is another");
    }
    assert!(decoder.capacity() <= 2 * pack::RAW_BYTES_MAX as usize, "it took more memory than it may");
    // Now take the same bytes as content.
    let encoded = encoder.encode(stored).ok();
    let decoded = encoded.as_ref().and_then(|it| decoder.decode(it.codec, &it.bytes, stored.len()).ok());
    assert_eq!(decoded, Some(stored), "what was encoded is another");
}

/// Checks the decoder of a delta. The input is the length of the base as a `u16`, the base, then the
/// delta.
fn delta(stored: &[u8], decoder: &mut Decoder) {
    let Some((length, rest)) = stored.split_first_chunk() else { return };
    let (base, stored) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let Ok(delta) = Delta::decode(stored) else { return };
    assert_eq!(delta.encode(), stored, "not the only encoding");
    let difference = match delta.raw_bytes {
        0 => delta.body,
        raw_bytes => match decoder.decode(Codec::Zstd, delta.body, raw_bytes.into()) {
            Ok(difference) => difference,
            Err(_) => return,
        },
    };
    if let Ok(page) = Difference::apply(base, difference)
        && Page::decode(&page).is_ok()
    {
        let again = Difference::between(base, &page).and_then(|it| Difference::apply(base, &it).ok());
        assert_eq!(again, Some(page), "the page is not what differs from its base");
    }
}
