//! The bytes of every structure, written out. A change of a line here is a new version of the
//! format, not a fix: `docs/format.md` describes these bytes.

use crate::format::checkpoint::Checkpoint;
use crate::format::checkpoint::Head as CheckpointHead;
use crate::format::checkpoint::Stood;
use crate::format::checkpoint::config_in;
use crate::format::checkpoint::keys_of;
use crate::format::checkpoint_writer::Content;
use crate::format::checkpoint_writer::encode_whole as encode_checkpoint;
use crate::format::config::Config;
use crate::format::config::Features;
use crate::format::config::Geometry;
use crate::format::config::SEALED;
use crate::format::config::Secret;
use crate::format::config::SlotNote;
use crate::format::dirty_map::MAP_ENTRY_BYTES;
use crate::format::dirty_map::RegionStates;
use crate::format::dirty_map::STATE_WORDS;
use crate::format::dirty_map::decode_map_entry;
use crate::format::dirty_map::encode_map_entry;
use crate::format::journal::Author;
use crate::format::journal::Change;
use crate::format::journal::Condemnation;
use crate::format::journal::Entry as JournalEntry;
use crate::format::journal::Patch;
use crate::format::journal::Settings;
use crate::format::journal::Standing;
use crate::format::layout;
use crate::format::notes::CheckedEntry;
use crate::format::notes::DamageEntry;
use crate::format::notes::decode_checked;
use crate::format::notes::decode_damage;
use crate::format::notes::encode_checked;
use crate::format::notes::encode_damage;
use crate::format::pack::Directory;
use crate::format::pack::Entry;
use crate::format::pack::Header as PackHeader;
use crate::format::pack::PackKind;
use crate::format::pack::SlotBitmap;
use crate::format::pack::Trailer;
use crate::format::page::Extent;
use crate::format::page::Inner;
use crate::format::page::Leaf;
use crate::format::page::Page;
use crate::format::page::PageRef;
use crate::format::page::Place;
use crate::format::page_delta::Delta;
use crate::format::page_delta::Difference;
use crate::format::page_delta::leaf_difference;
use crate::format::parity::Head;
use crate::format::parity::Member;
use crate::format::reads::Reads;
use crate::format::reads::SpanRange;
use crate::format::record::CaptureStats;
use crate::format::record::FileIdentity;
use crate::format::record::Record;
use crate::format::run::Header as RunHeader;
use crate::format::run::Run;
use crate::format::run_filter::filter_lines;
use crate::format::run_table::Entry as RunEntry;
use crate::format::run_table::Key;
use crate::format::run_table::buckets;
use crate::format::sealed::Header as SealedHeader;
use crate::format::serial;
use crate::format::volume::VolumeRecord;
use crate::pure::compress::Codec;
use crate::pure::hash::Hasher;
use crate::pure::keys::Salt;
use crate::words::ids::BlockId;
use crate::words::ids::ChunkId;
use crate::words::ids::Digest;
use crate::words::ids::GroupId;
use crate::words::ids::NodeDigest;
use crate::words::ids::PackId;
use crate::words::ids::PageId;
use crate::words::ids::RepositoryId;
use crate::words::ids::RunId;
use crate::words::ids::SlotId;
use crate::words::ids::SnapshotId;
use crate::words::ids::VolumeId;
use crate::words::names::Labels;
use crate::words::names::ResourceKind;
use crate::words::parity::ParityScheme;

pub(crate) const CONFIG: &str = "
    494345434f4e460a | magic
    0300 | major
    0000 | minor
    4d000000 | body length
    000102030405060708090a0b0c0d0e0f | id
    fd00bcacdc43030000 | created, zigzag
    00fbfb00fc00000100 | features
    fb0010104080 | geometry
    0d | level, zigzag
    00 | the repository is plain
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f | key
    010a02 | parity: 10+2
    cd66a63c1ad80cd94fffff4c8127f22906f804f5ac9ef7c3a71a074472631f2e | checksum
";

pub(crate) const SEALED_CONFIG: &str = "
    494345434f4e460a | magic
    0300 | major
    0000 | minor
    64000000 | body length
    000102030405060708090a0b0c0d0e0f | id
    fd00bcacdc43030000 | created, zigzag
    01fbfb00fc00000100 | features
    fb0010104080 | geometry
    0d | level, zigzag
    01 | the repository is sealed; its first key slot:
    707172737475767778797a7b7c7d7e7f | id
    eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee | digest
    fdf4bcacdc43030000 | created, zigzag
    00 | no parity
    e84840f6b40b2c417b56aab42cb9c20ca5eb616b160892a86ad5d2bd274749cb | checksum
";

pub(crate) const CHECKED: &str = "
    49434543484b440a | magic
    0100 | version
    0000 | reserved
    01000000 | entries
    abababababababababababababababababababababababababababababababab | pack
    0068e5cf8b010000 | time
    9083ca7ab3a3cc44c77f97dc1b977992d2ce8b4c334bf76fcf74b7ea7d5b3405 | checksum
";

pub(crate) const READS: &str = "
    494345524541440a | magic
    0100 | version
    0000 | reserved
    02000000 | ranges
    404142434445464748494a4b4c4d4e4f | snapshot
    0200020000000000 | first span
    03000000 | spans
    0000000000000000 | first span
    02000000 | spans
    2b0ef64d486b681613bcd764dad45fb67d1aad1e62a262505035af382977b7cf | checksum
";

pub(crate) const DAMAGE: &str = "
    494345444d47440a | magic
    0100 | version
    0000 | reserved
    02000000 | entries
    abababababababababababababababababababababababababababababababab | pack
    ffffffff | all of it
    00000000000000000000000000000000 | no id
    ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff | slots
    acacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacac | pack
    07000000 | number of the entry
    202122232425262728292a2b2c2d2e2f | its id
    0102000000000000000000000000000000000000000000000000000000000000 | slots
    3de809ac6b8f2739e8811ddf86b0f4581580de0001c7a416c83263d83ff44660 | checksum
";

pub(crate) const RECORD: &str = "
    494345534e41500a | magic
    0300 | major
    0000 | minor
    b4000000 | body length
    101112131415161718191a1b1c1d1e1f | id
    fdf6bcacdc43030000 | created, zigzag
    076e696768746c79 | name
    01 | kind: volume
    08646f6e6ec3a96573 | resource
    02 | tags
    0161 |
    08656e763a70726f64 |
    01 | protected
    01303132333435363738393a3b3c3d3e3f | parent
    fd0000004001000000 | size
    01 | root
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | page id
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb | content digest
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc | content
    fafbfb00fbfffffc00000100 | stats
    01fb0108fcfffffffffd00000040010000000102 | source
    00 | labels
    25081bdbd321caf0ce85494ddc61c88492cb9d19b367458c35df895ad31ae74e | checksum
";

/// A record with labels.
pub(crate) const LABELLED_RECORD: &str = "
    494345534e41500a | magic
    0300 | major
    0000 | minor
    c4000000 | body length
    101112131415161718191a1b1c1d1e1f | id
    fdf6bcacdc43030000 | created, zigzag
    076e696768746c79 | name
    01 | kind: volume
    08646f6e6ec3a96573 | resource
    02 | tags
    0161 |
    08656e763a70726f64 |
    01 | protected
    01303132333435363738393a3b3c3d3e3f | parent
    fd0000004001000000 | size
    01 | root
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | page id
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb | content digest
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc | content
    fafbfb00fbfffffc00000100 | stats
    01fb0108fcfffffffffd00000040010000000102 | source
    02 | labels
    05646f2d6964 | key
    0137 | value
    046e6f7465 | key
    02c3a9 | value
    ac0846acb7e5a1d1d02977ee1d3b8c7f6672f476f85401f7aeedad728a0409de | checksum
";

pub(crate) const EMPTY_RECORD: &str = "
    494345534e41500a | magic
    0300 | major
    0000 | minor
    3f000000 | body length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    3ad0f82e3f87aee057aeaeb4f42bef430e6a448346bb9c4ecd126d202d01c759 | checksum
";

pub(crate) const LEAF: &str = "
    00 | leaf
    fd0100000000000080 | spans with data: the first and the last
    02 | digests
    11111111111111111111111111111111 |
    22222222222222222222222222222222 |
    02 | chunks
    33333333333333333333333333333333 |
    44444444444444444444444444444444 |
    05 | extents
    100105 | 16 blocks: the next chunk, 0, from slot 5
    fbe00300 | 992 blocks: zero
    0301fa | 3 blocks: the next chunk, 1, from slot 250
    0c00 | 12 blocks: zero
    01020100 | 1 block: the chunk before the last new one, 0, from slot 0
";

pub(crate) const INNER: &str = "
    01 | inner
    02 | level
    08fd0000000000000080 | children with data: 3 and 127
    02 | children
    55555555555555555555555555555555 | page id
    66666666666666666666666666666666 | content digest
    77777777777777777777777777777777 | page id
    88888888888888888888888888888888 | content digest
";

pub(crate) const LEAF_DELTA: &str = "
    06 | number
    99999999999999999999999999999999 | base
    0000 | not compressed
    00 | leaf
    fb0102 | spans that differ: 0 and 9
    fb0002 | of these, with data: 9
    01 | digests
    55555555555555555555555555555555 |
    02 | chunks
    11111111111111111111111111111111 |
    22222222222222222222222222222222 |
    05 | extents
    1001 | 16 blocks: zero
    0300 | 3 blocks: as in the base
    0202fe | 2 blocks: the next chunk, 0, from slot 254
    0a0200 | 10 blocks: the next chunk, 1, from slot 0
    01030107 | 1 block: the chunk before the last new one, 0, from slot 7
";

pub(crate) const INNER_DELTA: &str = "
    01 | number
    99999999999999999999999999999999 | base
    0000 | not compressed
    01 | inner
    08fd0000000000000080 | children that differ: 3 and 127
    0800 | of these, with data: 3
    01 | children
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | page id
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb | content digest
";

pub(crate) const PACK_HEADER: &str = "
    4943455041434b0a | magic
    0300 | version
    01 | data
    00 | no cipher
    00000000 | zero
    000102030405060708090a0b0c0d0e0f | repository
    d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7 | salt
    00000000 | zero
    9eb819d7 | CRC-32
";

pub(crate) const PAGES_HEADER: &str = "
    4943455041434b0a | magic
    0300 | version
    02 | pages
    00 | no cipher
    00000000 | zero
    000102030405060708090a0b0c0d0e0f | repository
    d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7 | salt
    00000000 | zero
    cc943b80 | CRC-32
";

pub(crate) const MIXED_HEADER: &str = "
    4943455041434b0a | magic
    0300 | version
    03 | chunks and pages
    00 | no cipher
    00000000 | zero
    000102030405060708090a0b0c0d0e0f | repository
    d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7 | salt
    00000000 | zero
    3d8d0a04 | CRC-32
";

pub(crate) const SEALED_HEADER: &str = "
    4943455041434b0a | magic
    0300 | version
    01 | chunks
    01 | AES-256-GCM
    02000000 | epoch
    000102030405060708090a0b0c0d0e0f | repository
    d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7 | salt
    00000000 | zero
    354e2223 | CRC-32
";

pub(crate) const SEALED_TRAILER: &str = "
    49434550454e440a | magic
    02000000 | entries
    04000000 | block ids
    01000000 | bitmaps
    04030201 | CRC-32 of the directory
    e913000000000000 | offset of the directory
    02000000 | epoch
    d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7 | salt
    47c6084f | CRC-32
";

pub(crate) const SEALED_FILE: &str = "
    4943455345414c0a | magic
    0100 | version
    01 | AES-256-GCM
    00 | zero
    02000000 | epoch
    d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7 | salt
";

/// The record of a copy of a snapshot's record, and its directory entry.
pub(crate) const COPY_RECORD: &str = "
    49434552 | magic
    01 | zstd
    02 | flags: copy of a record
    0000 | slots
    2c010000 | raw bytes
    78000000 | stored bytes
    09080706 | CRC-32 of the stored bytes
    101112131415161718191a1b1c1d1e1f | id of the snapshot
    82e450f3 | CRC-32
";

const COPY_ENTRY: &str = "
    101112131415161718191a1b1c1d1e1f | id of the snapshot
    68000000 | offset
    78000000 | stored bytes
    2c010000 | raw bytes
    09080706 | CRC-32 of the stored bytes
    00000000 | first block id
    ffffffff | no bitmap
    0000 | slots
    01 | zstd
    02 | flags: copy of a record
";

pub(crate) const RAW_RECORD: &str = "
    49434552 | magic
    00 | raw
    00 | flags
    0100 | slots
    00100000 | raw bytes
    00100000 | stored bytes
    efbeadde | CRC-32 of the stored bytes
    abababababababababababababababab | id
    b793ddd2 | CRC-32
";

pub(crate) const PUNCHED_RECORD: &str = "
    49434552 | magic
    01 | zstd
    01 | flags: punched
    0300 | slots
    00200000 | raw bytes
    09030000 | stored bytes
    04030201 | CRC-32 of the stored bytes
    cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd | id
    3277fce1 | CRC-32
";

pub(crate) const DIRECTORY: &str = "
    abababababababababababababababab | id
    68000000 | offset
    00100000 | stored bytes
    00100000 | raw bytes
    efbeadde | CRC-32 of the stored bytes
    00000000 | first block id
    ffffffff | no bitmap
    0100 | slots
    00 | raw
    00 | flags
    cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd | id
    e0100000 | offset
    09030000 | stored bytes
    00200000 | raw bytes
    04030201 | CRC-32 of the stored bytes
    01000000 | first block id
    00000000 | bitmap
    0300 | slots
    01 | zstd
    01 | flags: punched
    b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0 | block ids
    b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1 |
    b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2 |
    b3b3b3b3b3b3b3b3b3b3b3b3b3b3b3b3 |
    0500000000000000000000000000000000000000000000000000000000000000 | bitmap: slots 0 and 2
";

pub(crate) const TRAILER: &str = "
    49434550454e440a | magic
    02000000 | entries
    04000000 | block ids
    01000000 | bitmaps
    e99ff51e | CRC-32 of the directory
    e913000000000000 | offset of the directory
    00000000000000000000000000000000000000000000000000000000 | zero
    d218c3e0 | CRC-32
";

pub(crate) const RUN_HEADER: &str = "
    49434552554e310a | magic
    0200 | version
    00 | chunk bucket bits
    01 | block bucket bits
    03000000 | number of packs
    0200000000000000 | chunk entries
    0300000000000000 | block entries
    a5715da9 | CRC-32 of the rest
    01000000 | filter lines
    0000000000000000000000000000000000000000 | zero
    fca6dc25 | CRC-32
";

pub(crate) const RUN_BODY: &str = "
    a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0 | packs
    a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1 |
    a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2 |
    0000000000000000000000000000000000000000000000000000000000000000 | zero
    0100000000000000000000000000000000000000000000000000000000000000 | filter: bits 383, 447 and 479,
    0000000000000000000000000000008000000000000000800000008000000080 | 0, 0 and 0, 511, 511 and 511
    00000000 | chunk buckets
    02000000 |
    010101010101 | chunk key
    010000 | pack
    0302 | entry
    0f | 16 slots with data
    fefefefefefe | page key
    000000 | pack
    0700 | entry
    00 | a page
    00000000 | block buckets
    01000000 |
    03000000 |
    7f7f7f7f7f7f | block key
    020000 | pack
    0900 | entry
    0f | slot
    000000000080 | block key
    000000 | pack
    0100 | entry
    00 | slot
    ffffffffffff | block key
    010000 | pack
    0200 | entry
    ff | slot
";

pub(crate) const PARITY_HEAD: &str = "
    494345504152490a | magic
    0100 | version
    02 | packs
    03 | parity shards
    01 | this shard
    000000 | zero
    000102030405060708090a0b0c0d0e0f | repository
    de37f70d | CRC-32 of the table
    000000000000000000000000000000000000000000000000 | zero
    98ad6e4c | CRC-32
    9191919191919191919191919191919191919191919191919191919191919191 | pack
    e803000000000000 | length
    9292929292929292929292929292929292929292929292929292929292929292 | pack
    0100010000000000 | length
";

pub(crate) const VOLUME: &str = "
    494345564f4c550a | magic
    0300 | major
    0000 | minor
    29010000 | body length
    505152535455565758595a5b5c5d5e5f | id
    057765622d31 | name
    fdf8bcacdc43030000 | created, zigzag
    00 | kind: droplet
    fd0000008001000000 | size
    01 | origin, a snapshot record:
    b4 | its length
    101112131415161718191a1b1c1d1e1f | id
    fdf6bcacdc43030000 | created, zigzag
    076e696768746c79 | name
    01 | kind: volume
    08646f6e6ec3a96573 | resource
    02 | tags
    0161 |
    08656e763a70726f64 |
    01 | protected
    01303132333435363738393a3b3c3d3e3f | parent
    fd0000004001000000 | size
    01 | root
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | page id
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb | content digest
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc | content
    fafbfb00fbfffffc00000100 | stats
    01fb0108fcfffffffffd00000040010000000102 | source
    00 | labels
    01 | base, a snapshot record:
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    0203c8 | sealed overlays
    c9 | active overlay
    00 | labels
    fb2c01 | the entry that says what it stands on
    02 | epoch
    fc3e82fd8970a6a6a934760780bba00102d7b419166e2da26838dd8207e93ddd | checksum
";

/// A volume with labels, created from a snapshot that has some.
pub(crate) const LABELLED_VOLUME: &str = "
    494345564f4c550a | magic
    0300 | major
    0000 | minor
    3c010000 | body length
    505152535455565758595a5b5c5d5e5f | id
    057765622d31 | name
    fdf8bcacdc43030000 | created, zigzag
    00 | kind: droplet
    fd0000008001000000 | size
    01 | origin, a snapshot record:
    c4 | its length
    101112131415161718191a1b1c1d1e1f | id
    fdf6bcacdc43030000 | created, zigzag
    076e696768746c79 | name
    01 | kind: volume
    08646f6e6ec3a96573 | resource
    02 | tags
    0161 |
    08656e763a70726f64 |
    01 | protected
    01303132333435363738393a3b3c3d3e3f | parent
    fd0000004001000000 | size
    01 | root
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | page id
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb | content digest
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc | content
    fafbfb00fbfffffc00000100 | stats
    01fb0108fcfffffffffd00000040010000000102 | source
    02 | labels
    05646f2d6964 | key
    0137 | value
    046e6f7465 | key
    02c3a9 | value
    01 | base, a snapshot record:
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    0203c8 | sealed overlays
    c9 | active overlay
    01 | labels
    0161 | key
    00 | value
    fb2c01 | the entry that says what it stands on
    02 | epoch
    7a7144dcfc6da2a2252817ef18ca3169508d4a15e0bfe6b2119ceb79d7949e6e | checksum
";

pub(crate) const EMPTY_VOLUME: &str = "
    494345564f4c550a | magic
    0300 | major
    0000 | minor
    1e000000 | body length
    00000000000000000000000000000000 | id
    0176 | name
    00 | created, zigzag
    01 | kind: volume
    fb0010 | size
    00 | no origin
    00 | no base
    00 | sealed overlays
    00 | active overlay
    00 | labels
    00 | the entry that says what it stands on
    00 | epoch
    369f2f63343e12e1016d9150b2717799dab77b1ad5de3107ac11fa461b3761b8 | checksum
";

/// An entry with one change of each kind.
pub(crate) const ENTRY: &str = "
    4943454a524e4c0a | magic
    0300 | major
    0000 | minor
    60030000 | body length
    4f000000 | length of the head
    fb2c01 | number
    dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd | digest of the entry before
    fdfabcacdc43030000 | created, zigzag
    036c6162 | host
    09696365636f72652031 | program
    01036f7073 | account
    606162636465666768696a6b6c6d6e6f | token
    0100 | made, a snapshot record:
    b4000000 | length
    101112131415161718191a1b1c1d1e1f | id
    fdf6bcacdc43030000 | created, zigzag
    076e696768746c79 | name
    01 | kind: volume
    08646f6e6ec3a96573 | resource
    02 | tags
    0161 |
    08656e763a70726f64 |
    01 | protected
    01303132333435363738393a3b3c3d3e3f | parent
    fd0000004001000000 | size
    01 | root
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | page id
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb | content digest
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc | content
    fafbfb00fbfffffc00000100 | stats
    01fb0108fcfffffffffd00000040010000000102 | source
    00 | labels
    0200 | changed
    1f000000 | length
    101112131415161718191a1b1c1d1e1f | snapshot
    01016e | name
    01010174 | tags
    010101610162 | labels
    0100 | protected: no
    0200 | changed
    14000000 | length
    303132333435363738393a3b3c3d3e3f | snapshot
    00000000 | nothing
    0300 | deleted
    21000000 | length
    02 | snapshots
    101112131415161718191a1b1c1d1e1f |
    303132333435363738393a3b3c3d3e3f |
    0400 | restored
    11000000 | length
    01 | snapshots
    303132333435363738393a3b3c3d3e3f |
    0500 | condemned
    21000000 | length
    01 | packs
    abababababababababababababababababababababababababababababababab |
    0600 | put aside
    21000000 | length
    01 | packs
    acacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacac |
    0700 | stands on
    dc000000 | length
    505152535455565758595a5b5c5d5e5f | volume
    057765622d31 | its name
    036c6162 | host
    01 | origin, a snapshot record:
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    02 | bases, each a snapshot record:
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    0800 | stands on nothing any more
    10000000 | length
    505152535455565758595a5b5c5d5e5f | volume
    0900 | config
    43000000 | length
    0001fbfb00 | features
    010a02 | parity: 10 packs, 2 files
    02 | epoch
    01 | key slots
    707172737475767778797a7b7c7d7e7f | id
    eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee | digest
    fdf4bcacdc43030000 | created, zigzag
    0a00 | joined
    41000000 | length
    02 | packs
    adadadadadadadadadadadadadadadadadadadadadadadadadadadadadadadad |
    aeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeaeae |
    8bad738224c4b76ce716cf082d9db9af04ac91829ce24a3285f6ce2c06adbd0c | checksum: the digest of the entry
";

/// A checkpoint with a live and a deleted snapshot, a condemned pack and a volume.
pub(crate) const CHECKPOINT: &str = "
    494345434b50540a | magic
    0300 | major
    0000 | minor
    0f000000 | length of the config
    7468652066696c6520636f6e666967 | config
    7e000000 | length of the head
    fb2c01 | number
    dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd | digest of the entry
    07 | low
    0001fbfb00 | features
    010a02 | parity: 10 packs, 2 files
    02 | epoch
    01 | key slots
    707172737475767778797a7b7c7d7e7f | id
    eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee | digest
    fdf4bcacdc43030000 | created, zigzag
    01606162636465666768696a6b6c6d6e6f | tokens
    02 | rows
    06 | keys
    02 | condemned
    01 | volumes
    e8 | bytes of volumes
    f3 | bytes of records
    00000000000000000000000000000000 | row: id
    ffffffffffffffff | created
    7e5e56eea1010000 | deleted
    0000000000000000 | offset of the record
    3f000000 | its length
    101112131415161718191a1b1c1d1e1f | row: id
    7b5e56eea1010000 | created
    0000000000000080 | not deleted
    3f00000000000000 | offset of the record
    b4000000 | its length
    1af2ee60c435ac08 | key
    ffffffffffffffff | created
    00000000 | row
    af4057b48c7e131f | key
    7b5e56eea1010000 | created
    01000000 | row
    2b8f8d792fb9dc8f | key
    7b5e56eea1010000 | created
    01000000 | row
    a79504e3a2640392 | key
    7b5e56eea1010000 | created
    01000000 | row
    9d0ee03522dfdcae | key
    ffffffffffffffff | created
    00000000 | row
    a067dc05c4d231e5 | key
    ffffffffffffffff | created
    00000000 | row
    abababababababababababababababababababababababababababababababab | condemned
    2a01000000000000 | by this entry
    00 | with what it held
    adadadadadadadadadadadadadadadadadadadadadadadadadadadadadadadad | condemned
    2c01000000000000 | by this entry
    01 | what it held is elsewhere
    2b01000000000000 | volume: number of the entry
    dc000000 | length
    505152535455565758595a5b5c5d5e5f | volume
    057765622d31 | its name
    036c6162 | host
    01 | origin, a snapshot record:
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    02 | bases, each a snapshot record:
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    3f | its length
    00000000000000000000000000000000 | id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    00000000000000000000000000000000 | record: id
    01 | created, zigzag
    00 | name
    00 | kind: droplet
    00 | resource
    00 | tags
    00 | protected
    00 | no parent
    00 | size
    00 | no root
    0000000000000000000000000000000000000000000000000000000000000000 | content
    00000000 | stats
    00 | no source
    00 | labels
    101112131415161718191a1b1c1d1e1f | record: id
    fdf6bcacdc43030000 | created, zigzag
    076e696768746c79 | name
    01 | kind: volume
    08646f6e6ec3a96573 | resource
    02 | tags
    0161 |
    08656e763a70726f64 |
    01 | protected
    01303132333435363738393a3b3c3d3e3f | parent
    fd0000004001000000 | size
    01 | root
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | page id
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb | content digest
    cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc | content
    fafbfb00fbfffffc00000100 | stats
    01fb0108fcfffffffffd00000040010000000102 | source
    00 | labels
    0a4baf474aa56a00b1caa25172f2d93b2e68b10b884d05b3f6374b2d374abbc4 | digest of the only block
    4943454350454e0a | magic
    9e03000000000000 | length
    d43bba33eef38956e82bbc2efea412fa25f7e0b9dc053ec0e62d0c495c0b3905 | digest of the digests
";

pub(crate) const MAP_ENTRY: &str = "
    49444d31 | signature
    e72b42bf | CRC-32
    0500000000000000 | region
    0900000000000000 | states of the blocks 0 to 31: 1, 2
    0400000000000000 | of 32 to 63: 0, 1
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 |
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 |
    0000000000000080 | of 992 to 1023: the last is 2
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 | zero
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 |
";

const DIGESTS: &str = "
    cc3c2ab4186511a21276bcddd9f7f63cfaa5dfd26bc911e9718cc8a862f0593e | a block
    5ed10d0c72f9337c7ece73cb9bc9ed1f4654a901d483ccaa71bce67525ccc8c9 | a block of zeros
    c832718195ee68e04ff1212d88cef403 | a span
    2a889e1cefeded43263f5670ccabe55a | a chunk
    8a027e050825150d2ff103b7c4cde700 | a page
    ce8cd6cc7ef14cdf190c2655677f78376fe476ffef2028822cddd42665507dba | a pack
    4cefa27aedcd5d60a1e2398e0b79f08a79641eb2b133fee2 | a salt
    b66be711adf587cae88ba479aec6cb145139ae515803a11d5a1da5b779f131a0 | an index run
    cf8a891c4c58eea01fb5c3e8954b884c | the content of a leaf
    6af4bc13a17793ab2555dd5dfeef5085 | the content of an inner page
    d02deae97d3fcb8db53e8aa827643669e07d735dfb03d98c181191823b5ec979 | an image
    03c4543a992b771e524fd59ca9886b16a53ff750f197062b0dafbe748f49bd47 | an image of zeros
    9df3719d455d67b8080dd55f87b9b3e5fcc8a6f912cce531d504bf395e5ed507 | the checksum of a record
    16fb10ca1278aa67df4500bccecd7c9e815503cb7331ff640627488198b1dd8a | an entry of the journal
    42b2942a67f0492a6df7899bcc09684775f27b4329d2ce8994eb923a6c9fa5ed | a part of a checkpoint
    0974fc0130ccca53 | the names abc and d
    b8935dc0b895ec8f151e8f420dc92818 | a slice
    3235a526a264a1adeb817be0b497aba40159c3a34cb58c96a2180193025a911a | a parity group
";

/// Returns the bytes of a listing: hexadecimal digits, and notes from `|` to the end of the line.
pub(crate) fn bytes(listing: &str) -> Vec<u8> {
    let digits: String = listing.lines().filter_map(|line| line.split('|').next()).collect();
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| u8::try_from(high << 4 | low).unwrap()).collect()
}

/// Returns `N` bytes that count up from `first`.
fn count_from<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|i| first + u8::try_from(i).unwrap())
}

pub(crate) fn hasher() -> Hasher {
    Hasher::new(&[1; 32])
}

pub(crate) fn config() -> Config {
    Config {
        id: RepositoryId::from(count_from(0)),
        created_unix_ms: 1_795_000_000_000,
        features: Features { incompatible: 0, read_only_compatible: 251, compatible: 65536 },
        geometry: Geometry::V1,
        level: -7,
        secret: Secret::Plain(count_from(0x20)),
        parity: Some(ParityScheme::new(10, 2).unwrap()),
    }
}

pub(crate) fn sealed_config() -> Config {
    let features = Features { incompatible: SEALED, ..config().features };
    Config { features, secret: Secret::Sealed(slot_note()), parity: None, ..config() }
}

fn slot_note() -> SlotNote {
    let id = SlotId::from(count_from(0x70));
    SlotNote { id, digest: Digest([0xee; 32]), created_unix_ms: 1_795_000_000_122 }
}

pub(crate) fn parity_head() -> Head {
    let member = |pack, bytes| Member { pack: PackId([pack; 32]), bytes };
    Head {
        repository: RepositoryId::from(count_from(0)),
        members: vec![member(0x91, 1000), member(0x92, 65_537)],
        shards: 3,
        shard: 1,
    }
}

pub(crate) fn record() -> Record {
    Record {
        id: SnapshotId::from(count_from(0x10)),
        created_unix_ms: 1_795_000_000_123,
        name: "nightly".to_owned(),
        kind: ResourceKind::Volume,
        resource: "données".to_owned(),
        tags: vec!["a".to_owned(), "env:prod".to_owned()],
        protected: true,
        parent: Some(SnapshotId::from(count_from(0x30))),
        size_bytes: 5 << 30,
        root: Some(PageRef { id: PageId([0xaa; 16]), content: NodeDigest([0xbb; 16]) }),
        content: Digest([0xcc; 32]),
        stats: CaptureStats { data_bytes: 250, new_bytes: 251, stored_bytes: 65535, manifest_bytes: 65536 },
        source: Some(FileIdentity {
            device: 2049,
            inode: 0xffff_ffff,
            size_bytes: 5 << 30,
            mtime_ns: -1,
            ctime_ns: 1,
        }),
        labels: Labels::new(),
    }
}

fn labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn labelled_record() -> Record {
    Record { labels: labels(&[("do-id", "7"), ("note", "é")]), ..record() }
}

pub(crate) fn labelled_volume() -> VolumeRecord {
    VolumeRecord { origin: Some(labelled_record()), labels: labels(&[("a", "")]), ..volume() }
}

fn empty_record() -> Record {
    Record::new(SnapshotId::from([0; 16]), -1, ResourceKind::Droplet, "", "")
}

pub(crate) fn volume() -> VolumeRecord {
    VolumeRecord {
        id: VolumeId::from(count_from(0x50)),
        name: "web-1".to_owned(),
        created_unix_ms: 1_795_000_000_124,
        kind: ResourceKind::Droplet,
        size_bytes: 6 << 30,
        origin: Some(record()),
        base: Some(empty_record()),
        sealed: vec![3, 200],
        active: 201,
        labels: Labels::new(),
        stands_at: 300,
        epoch: 2,
    }
}

fn empty_volume() -> VolumeRecord {
    VolumeRecord {
        id: VolumeId::from([0; 16]),
        name: "v".to_owned(),
        created_unix_ms: 0,
        kind: ResourceKind::Volume,
        size_bytes: 4096,
        origin: None,
        base: None,
        sealed: Vec::new(),
        active: 0,
        labels: Labels::new(),
        stands_at: 0,
        epoch: 0,
    }
}

/// Returns the states of region 5: block 0 is there, block 1 is zero, block 33 is there, the last
/// one is zero.
pub(crate) fn map_states() -> RegionStates {
    let mut states = [0; STATE_WORDS];
    (states[0], states[1], states[31]) = (0b10_01, 0b01_00, 0b10 << 62);
    states
}

pub(crate) fn leaf() -> Leaf {
    let zero = |blocks| Extent { blocks, place: Place::Zero };
    let data = |blocks, chunk, slot| Extent { blocks, place: Place::Chunk { chunk, slot } };
    Leaf {
        data_spans: 1 | 1 << 63,
        digests: vec![NodeDigest([0x11; 16]), NodeDigest([0x22; 16])],
        chunks: vec![ChunkId([0x33; 16]), ChunkId([0x44; 16])],
        extents: vec![data(16, 0, 5), zero(992), data(3, 1, 250), zero(12), data(1, 0, 0)],
    }
}

pub(crate) fn inner() -> Inner {
    let child = |id, content| PageRef { id: PageId([id; 16]), content: NodeDigest([content; 16]) };
    Inner::new(2, &[(3, child(0x55, 0x66)), (127, child(0x77, 0x88))])
}

fn pack_header(kind: PackKind) -> PackHeader {
    PackHeader { kind, epoch: None, repository: RepositoryId::from(count_from(0)), salt: count_from(0xd0) }
}

pub(crate) fn raw_entry() -> Entry {
    Entry {
        id: [0xab; 16],
        offset: 104,
        stored_bytes: 4096,
        raw_bytes: 4096,
        crc: 0xdead_beef,
        codec: Codec::Raw,
        slots: 1,
        is_record: false,
        first_block: 0,
        bitmap: None,
    }
}

pub(crate) fn punched_entry() -> Entry {
    Entry {
        id: [0xcd; 16],
        offset: 4320,
        stored_bytes: 777,
        raw_bytes: 8192,
        crc: 0x0102_0304,
        codec: Codec::Zstd,
        slots: 3,
        is_record: false,
        first_block: 1,
        bitmap: Some(0),
    }
}

pub(crate) fn copy_entry() -> Entry {
    Entry {
        id: count_from(0x10),
        offset: 104,
        stored_bytes: 120,
        raw_bytes: 300,
        crc: 0x0607_0809,
        codec: Codec::Zstd,
        slots: 0,
        is_record: true,
        first_block: 0,
        bitmap: None,
    }
}

pub(crate) fn trailer() -> Trailer {
    let crc = crc32fast::hash(&bytes(DIRECTORY));
    let salt = Salt::default();
    Trailer { entries: 2, block_ids: 4, bitmaps: 1, crc, directory_offset: 5097, epoch: 0, salt }
}

pub(crate) fn run_header() -> RunHeader {
    let crc = crc32fast::hash(&bytes(RUN_BODY));
    RunHeader {
        packs: 3,
        chunk_bucket_bits: 0,
        block_bucket_bits: 1,
        chunks: 2,
        blocks: 3,
        crc,
        filter_lines: 1,
    }
}

/// Returns an id of a chunk, page or block with this key.
fn id_of(key: [u8; 6]) -> [u8; 16] {
    std::array::from_fn(|i| key.get(i).copied().unwrap_or(0x99))
}

fn run_entry(key: [u8; 6], pack: u32, entry: u16, detail: u8) -> RunEntry {
    RunEntry { key: Key::of(&id_of(key)), pack, entry, detail }
}

fn chunk_entries() -> [RunEntry; 2] {
    [run_entry([1; 6], 1, 0x0203, 15), run_entry([0xfe; 6], 0, 7, 0)]
}

fn block_entries() -> [RunEntry; 3] {
    [
        run_entry([0x7f; 6], 2, 9, 15),
        run_entry([0, 0, 0, 0, 0, 0x80], 0, 1, 0),
        run_entry([0xff; 6], 1, 2, 255),
    ]
}

#[test]
fn what_says_how_something_is_sealed_is_these_bytes() {
    let (epoch, salt) = (2, count_from(0xd0));
    let header = PackHeader { epoch: Some(epoch), ..pack_header(PackKind::Data) };
    assert_eq!(header.encode()[..], bytes(SEALED_HEADER));
    assert_eq!(PackHeader::decode(&bytes(SEALED_HEADER)), Ok(header));
    let trailer = Trailer { crc: 0x0102_0304, epoch, salt, ..trailer() };
    assert_eq!(trailer.encode()[..], bytes(SEALED_TRAILER));
    assert_eq!(Trailer::decode(&bytes(SEALED_TRAILER)), Ok(trailer));
    let file = SealedHeader { epoch, salt };
    assert_eq!(file.encode(), bytes(SEALED_FILE));
    assert_eq!(SealedHeader::decode(&bytes(SEALED_FILE)), Ok(file));
}

#[test]
fn the_config_is_these_bytes() {
    for (config, hasher, listing) in
        [(config(), None, CONFIG), (sealed_config(), Some(&hasher()), SEALED_CONFIG)]
    {
        assert_eq!(config.encode(hasher).unwrap(), bytes(listing));
        assert_eq!(Config::told(&bytes(listing)), Ok((config.id, hasher.is_some())));
        assert_eq!(Config::decode(&bytes(listing), hasher), Ok((config, 0)));
    }
    let other = Hasher::new(&[2; 32]);
    for (listing, hasher) in [(CONFIG, Some(&hasher())), (SEALED_CONFIG, None), (SEALED_CONFIG, Some(&other))]
    {
        assert!(Config::decode(&bytes(listing), hasher).is_err());
    }
}

/// A config whose checksum is right and whose feature is not.
#[test]
fn a_config_with_a_key_is_not_that_of_a_sealed_repository() {
    let plain = Config { secret: config().secret, ..sealed_config() };
    let sealed = Config { secret: sealed_config().secret, ..config() };
    for config in [plain, sealed] {
        for hasher in [None, Some(&hasher())] {
            assert!(Config::decode(&config.encode(hasher).unwrap(), hasher).is_err());
        }
    }
}

#[test]
fn snapshot_records_are_these_bytes() {
    let all = [(record(), RECORD), (empty_record(), EMPTY_RECORD), (labelled_record(), LABELLED_RECORD)];
    for (record, listing) in all {
        assert_eq!(record.encode(&hasher()).unwrap(), bytes(listing));
        assert_eq!(Record::decode(&bytes(listing), &hasher()), Ok((record, 0)));
    }
}

pub(crate) fn standing() -> Standing {
    Standing {
        volume: VolumeId::from(count_from(0x50)),
        name: "web-1".to_owned(),
        host: "lab".to_owned(),
        origin: Some(empty_record()),
        bases: vec![empty_record(), empty_record()],
    }
}

fn settings() -> Settings {
    let features = Features { incompatible: 0, read_only_compatible: 1, compatible: 251 };
    let mut settings = Settings::default().with_parity(ParityScheme::new(10, 2).ok());
    (settings.features, settings.epoch, settings.slots) = (features, 2, vec![slot_note()]);
    settings
}

pub(crate) fn journal_entry() -> JournalEntry {
    let ids = vec![SnapshotId::from(count_from(0x10)), SnapshotId::from(count_from(0x30))];
    JournalEntry {
        number: 300,
        before: Digest([0xdd; 32]),
        created_unix_ms: 1_795_000_000_125,
        author: Author {
            host: "lab".to_owned(),
            program: "icecore 1".to_owned(),
            account: Some("ops".to_owned()),
        },
        token: count_from(0x60),
        changes: vec![
            Change::Made(Box::new(record())),
            Change::Changed(
                SnapshotId::from(count_from(0x10)),
                Patch {
                    name: Some("n".to_owned()),
                    tags: Some(vec!["t".to_owned()]),
                    labels: Some(labels(&[("a", "b")])),
                    protected: Some(false),
                },
            ),
            Change::Changed(SnapshotId::from(count_from(0x30)), Patch::default()),
            Change::Deleted(ids.clone()),
            Change::Restored(ids[1..].to_vec()),
            Change::Condemned(vec![PackId([0xab; 32])]),
            Change::PutAside(vec![PackId([0xac; 32])]),
            Change::StandsOn(Box::new(standing())),
            Change::NoLonger(VolumeId::from(count_from(0x50))),
            Change::Config(settings()),
            Change::Joined(vec![PackId([0xad; 32]), PackId([0xae; 32])]),
        ],
    }
}

fn condemned() -> Vec<(PackId, Condemnation)> {
    vec![
        (PackId([0xab; 32]), Condemnation { entry: 298, joined: false }),
        (PackId([0xad; 32]), Condemnation { entry: 300, joined: true }),
    ]
}

pub(crate) fn checkpoint() -> Vec<u8> {
    let stood = Stood { number: 299, of: standing() };
    let head = CheckpointHead {
        number: 300,
        entry: [0xdd; 32],
        low: 7,
        settings: settings(),
        tokens: vec![count_from(0x60)],
        ..CheckpointHead::default()
    };
    let content = Content {
        config: b"the file config",
        snapshots: vec![(empty_record(), Some(1_795_000_000_126)), (record(), None)],
        condemned: condemned(),
        volumes: vec![&stood],
    };
    encode_checkpoint(head, &content, &hasher()).unwrap()
}

#[test]
fn an_entry_of_the_journal_is_these_bytes() {
    let (encoded, digest) = journal_entry().encode(&hasher()).unwrap();
    assert_eq!(encoded, bytes(ENTRY));
    assert_eq!(JournalEntry::decode(&bytes(ENTRY), &hasher()), Ok((journal_entry(), digest, 0)));
    assert!(encoded.ends_with(&digest.0));
}

#[test]
fn a_checkpoint_is_these_bytes() {
    assert_eq!(checkpoint(), bytes(CHECKPOINT));
    let bytes = bytes(CHECKPOINT);
    assert_eq!(config_in(&bytes), Ok(&b"the file config"[..]));
    let found = Checkpoint::open(&bytes[..], &hasher()).unwrap();
    assert_eq!((found.head.number, found.head.entry, found.head.low), (300, [0xdd; 32], 7));
    assert_eq!(found.head.settings, settings());
    assert_eq!(found.condemned(), Ok(condemned()));
    assert_eq!(found.volumes(), Ok(vec![Stood { number: 299, of: standing() }]));
    let row = found.find(record().id).unwrap().unwrap();
    assert_eq!((row.deleted_unix_ms, found.record(&row)), (None, Ok(record())));
    let row = found.find(empty_record().id).unwrap().unwrap();
    assert_eq!((row.deleted_unix_ms, found.record(&row)), (Some(1_795_000_000_126), Ok(empty_record())));
    for key in keys_of(&hasher(), &record()) {
        assert_eq!(found.with_key(key), Ok(vec![1]));
    }
    assert_eq!(found.with_key(7), Ok(Vec::new()));
}

#[test]
fn records_of_volumes_are_these_bytes() {
    let all = [(volume(), VOLUME), (empty_volume(), EMPTY_VOLUME), (labelled_volume(), LABELLED_VOLUME)];
    for (volume, listing) in all {
        assert_eq!(volume.encode(&hasher()).unwrap(), bytes(listing));
        assert_eq!(VolumeRecord::decode(&bytes(listing), &hasher()), Ok((volume, 0)));
    }
}

#[test]
fn an_entry_of_a_dirty_map_is_these_bytes() {
    let entry: [u8; MAP_ENTRY_BYTES] = bytes(MAP_ENTRY).try_into().unwrap();
    assert_eq!(encode_map_entry(5, &map_states()), entry);
    assert_eq!(decode_map_entry(&entry, 5), Ok(Some(map_states())));
}

#[test]
fn manifest_pages_are_these_bytes() {
    for (page, listing) in [(Page::Leaf(leaf()), LEAF), (Page::Inner(inner()), INNER)] {
        assert_eq!(page.encode().unwrap(), bytes(listing));
        assert_eq!(Page::decode(&bytes(listing)), Ok(page));
    }
}

#[test]
fn pack_headers_are_these_bytes() {
    for (kind, listing) in
        [(PackKind::Data, PACK_HEADER), (PackKind::Pages, PAGES_HEADER), (PackKind::Mixed, MIXED_HEADER)]
    {
        assert_eq!(pack_header(kind).encode(), *bytes(listing));
        assert_eq!(PackHeader::decode(&bytes(listing)), Ok(pack_header(kind)));
    }
}

#[test]
fn pack_records_are_these_bytes() {
    assert_eq!(raw_entry().encode_record(), *bytes(RAW_RECORD));
    assert_eq!(punched_entry().encode_record(), *bytes(PUNCHED_RECORD));
    assert_eq!(Entry::decode_record(&bytes(RAW_RECORD), 64), Ok(raw_entry()));
    assert_eq!(copy_entry().encode_record(), *bytes(COPY_RECORD));
    assert_eq!(Entry::decode_record(&bytes(COPY_RECORD), 64), Ok(copy_entry()));
    assert_eq!(copy_entry().encode(), *bytes(COPY_ENTRY));
    // A record lacks what only the directory knows.
    let alone = Entry { first_block: 0, ..punched_entry() };
    assert_eq!(Entry::decode_record(&bytes(PUNCHED_RECORD), 64 + 40 + 4096), Ok(alone));
}

#[test]
fn a_pack_directory_and_its_trailer_are_these_bytes() {
    let bitmap = SlotBitmap::from_slots([0, 2].into_iter());
    let ids = [BlockId([0xb0; 16]), BlockId([0xb1; 16]), BlockId([0xb2; 16]), BlockId([0xb3; 16])];
    let mut encoded = [raw_entry().encode(), punched_entry().encode()].concat();
    ids.iter().for_each(|id| encoded.extend(id.0));
    encoded.extend(bitmap.0);
    assert_eq!(encoded, bytes(DIRECTORY));
    assert_eq!(trailer().encode(), *bytes(TRAILER));
    assert_eq!(Trailer::decode(&bytes(TRAILER)), Ok(trailer()));

    assert_eq!(trailer().directory_bytes(), encoded.len() as u64);
    let directory = Directory::new(&encoded, &trailer()).unwrap();
    assert_eq!(directory.entry(0, &trailer()), Ok(raw_entry()));
    assert_eq!(directory.entry(1, &trailer()), Ok(punched_entry()));
    assert!(directory.entry(2, &trailer()).is_err());
    assert_eq!(directory.block_id(&raw_entry(), 0), Some(ids[0]));
    assert_eq!(directory.block_id(&raw_entry(), 1), None);
    assert_eq!(directory.block_id(&punched_entry(), 2), Some(ids[3]));
    assert_eq!(directory.bitmap(&raw_entry()), None);
    assert_eq!(directory.bitmap(&punched_entry()), Some(bitmap));
    assert_eq!(bitmap.count(), 2);
    assert!(bitmap.has(2) && !bitmap.has(1) && !bitmap.has(255));
}

#[test]
fn an_index_run_is_these_bytes() {
    let whole = [bytes(RUN_HEADER), bytes(RUN_BODY)].concat();
    assert_eq!(run_header().encode(), *bytes(RUN_HEADER));
    assert_eq!(RunHeader::decode(&whole, whole.len() as u64), Ok(run_header()));
    let mut tables = filter_lines(1, block_entries().map(|entry| entry.key).into_iter()).flatten().collect();
    for (bits, entries) in [(0, &chunk_entries()[..]), (1, &block_entries()[..])] {
        tables = [tables, buckets(bits, entries.iter().map(|entry| entry.key))].concat();
        entries.iter().for_each(|entry| entry.encode(bits, &mut tables));
    }
    assert_eq!(tables, whole[64 + 128..], "filter and tables");

    let run = Run::new(&whole, &run_header()).unwrap();
    assert!(run.chunks.entries().eq(chunk_entries()));
    assert!(run.blocks.entries().eq(block_entries()));
    assert!(run.packs().eq([PackId([0xa0; 32]), PackId([0xa1; 32]), PackId([0xa2; 32])]));
    assert_eq!((run.pack(1), run.pack(3)), (Some(PackId([0xa1; 32])), None));
    for (key, entry) in [[1; 6], [0xfe; 6]].into_iter().zip(chunk_entries()) {
        assert_eq!(run.find_chunk(&id_of(key)).collect::<Vec<_>>(), [entry]);
    }
    assert_eq!(run.find_chunk(&[0xff; 16]).count(), 0);
    let keys = [[0; 6], [0x7f; 6], [0, 0, 0, 0, 0, 0x80], [0xff; 6]];
    let mut found = Vec::new();
    run.find_blocks(&keys.map(|key| BlockId(id_of(key))), |at, entry| found.push((at, entry)));
    assert_eq!(found, (1..).zip(block_entries()).collect::<Vec<_>>(), "all but the first are there");
}

#[test]
fn entries_of_a_run_leave_out_the_bytes_of_the_key_that_their_bucket_gives() {
    let entry = run_entry([0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6], 0x00b1_b2b3, 0xc1c2, 0xd1);
    for (bits, listing) in [
        (0, "a1a2a3a4a5a6 b3b2b1 c2c1 d1"),
        (7, "a1a2a3a4a5a6 b3b2b1 c2c1 d1"),
        (8, "a1a2a3a4a5 b3b2b1 c2c1 d1"),
        (15, "a1a2a3a4a5 b3b2b1 c2c1 d1"),
        (16, "a1a2a3a4 b3b2b1 c2c1 d1"),
        (23, "a1a2a3a4 b3b2b1 c2c1 d1"),
        (24, "a1a2a3 b3b2b1 c2c1 d1"),
        (28, "a1a2a3 b3b2b1 c2c1 d1"),
    ] {
        let mut encoded = Vec::new();
        entry.encode(bits, &mut encoded);
        assert_eq!(encoded, bytes(listing), "{bits} bits");
    }
}

#[test]
fn the_front_of_a_parity_file_is_these_bytes() {
    let head = parity_head();
    assert_eq!(head.encode(), bytes(PARITY_HEAD));
    assert_eq!(Head::decode(&bytes(PARITY_HEAD)), Ok(head.clone()));
    // 64 KiB and one byte, rounded up to 64: two slices.
    assert_eq!((head.shard_bytes(), head.slices()), (65_600, 2));
    assert_eq!((head.slice_bytes(0), head.slice_bytes(1)), (65_536, 64));
    assert_eq!((head.shard_offset(), head.digests_offset()), (144, 144 + 65_600));
    assert_eq!(head.file_bytes(), 144 + 65_600 + 2 * 5 * 16);
}

#[test]
fn numbers_texts_options_and_lists_are_encoded_as_described() {
    fn check<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        value: T,
        hex: &str,
    ) {
        assert_eq!(serial::encode(&value).unwrap(), bytes(hex), "{value:?}");
        assert_eq!(serial::decode::<T>(&bytes(hex)), Ok(value));
    }
    check(0_u64, "00");
    check(250_u64, "fa");
    check(251_u64, "fb fb00");
    check(65535_u16, "fb ffff");
    check(65536_u32, "fc 00000100");
    check(u64::from(u32::MAX), "fc ffffffff");
    check(1_u64 << 32, "fd 0000000001000000");
    check(u64::MAX, "fd ffffffffffffffff");
    check(255_u8, "ff");
    check(0_i64, "00");
    check(-1_i64, "01");
    check(1_i64, "02");
    check(i64::MIN, "fd ffffffffffffffff");
    check(-126_i32, "fb fb00");
    check(true, "01");
    check("é".to_owned(), "02 c3a9");
    check(Some(7_u8), "01 07");
    check(None::<u8>, "00");
    check(vec![1_u16, 300], "02 01 fb2c01");
    check([1_u16, 300], "01 fb2c01");
    assert!(serial::decode::<bool>(&[2]).is_err());
    assert!(serial::decode::<u8>(&[1, 0]).is_err(), "nothing may follow");
}

#[test]
fn deltas_are_these_bytes() {
    let base = PageId([0x99; 16]);
    let page = |inner: Inner| Page::Inner(inner).encode().unwrap();
    let child = PageRef { id: PageId([0xaa; 16]), content: NodeDigest([0xbb; 16]) };
    let of_inner = Difference::between(&page(inner()), &page(Inner::new(2, &[(3, child)]))).unwrap();
    let of_leaf = serial::encode_page(&leaf_difference()).unwrap();
    for (number, body, listing) in [(6, of_leaf, LEAF_DELTA), (1, of_inner, INNER_DELTA)] {
        let delta = Delta { number, base, raw_bytes: 0, body: &body };
        assert_eq!(delta.encode(), bytes(listing));
        assert_eq!(Delta::decode(&bytes(listing)), Ok(delta));
    }
    assert_eq!(serial::decode_page(&bytes(LEAF_DELTA)[19..]), Ok(leaf_difference()));
}

#[test]
fn digests_are_these_bytes() {
    let hasher = hasher();
    let block: [u8; 4096] = std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap());
    let digest = hasher.blocks(&[&block])[0];
    let mut of_span = [hasher.zero_block(); 16];
    of_span[0] = digest;
    let run_head = [bytes(RUN_HEADER), bytes(RUN_BODY)[..3 * 32].to_vec()].concat();
    let inner_page = Inner {
        children: vec![
            PageRef { content: leaf().content(&hasher), ..inner().children[0] },
            inner().children[1],
        ],
        ..inner()
    };
    let root = inner_page.content(&hasher);
    let found = [
        digest.0.to_vec(),
        hasher.zero_block().0.to_vec(),
        hasher.span(&of_span).0.to_vec(),
        hasher.chunk(&[digest.block_id(), hasher.zero_block().block_id()]).0.to_vec(),
        hasher.page(&bytes(LEAF)).0.to_vec(),
        hasher.pack(&bytes(PACK_HEADER), &bytes(DIRECTORY), &bytes(TRAILER)).0.to_vec(),
        hasher.salt("0123456789abcdef0123456789abcdef", 1, 2).to_vec(),
        hasher.run(&run_head).0.to_vec(),
        leaf().content(&hasher).0.to_vec(),
        root.0.to_vec(),
        hasher.image(1 << 40, root).0.to_vec(),
        hasher.image(4096, NodeDigest::ZERO).0.to_vec(),
        hasher.record(b"abc").0.to_vec(),
        hasher.entry(b"abc").0.to_vec(),
        hasher.checkpoint(b"abc").0.to_vec(),
        hasher.name(&["abc", "d"]).to_le_bytes().to_vec(),
        hasher.slice(b"abc").to_vec(),
        parity_head().group(&hasher, &[0xd1; 160]).0.to_vec(),
    ];
    let hex = |digest: &Vec<u8>| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let listed = DIGESTS.lines().filter_map(|line| Some(line.split_once('|')?.0.trim()));
    assert_eq!(found.iter().map(hex).collect::<Vec<_>>(), listed.collect::<Vec<_>>());
    assert_eq!(hasher.node(&[NodeDigest::ZERO; 64]), NodeDigest::ZERO);
}

fn checked_entry() -> CheckedEntry {
    CheckedEntry { pack: PackId([0xab; 32]), unix_ms: 1_700_000_000_000 }
}

fn damage_entries() -> [DamageEntry; 2] {
    let all = SlotBitmap([0xff; 32]);
    [
        DamageEntry { pack: PackId([0xab; 32]), number: None, id: [0; 16], slots: all },
        DamageEntry {
            pack: PackId([0xac; 32]),
            number: Some(7),
            id: count_from(0x20),
            slots: SlotBitmap::from_slots([0, 9].into_iter()),
        },
    ]
}

#[test]
fn notes_are_these_bytes() {
    assert_eq!(encode_checked(&[checked_entry()], &hasher()), bytes(CHECKED));
    assert_eq!(decode_checked(&bytes(CHECKED), &hasher()), Ok(vec![checked_entry()]));
    assert_eq!(encode_damage(&damage_entries(), &hasher()), bytes(DAMAGE));
    assert_eq!(decode_damage(&bytes(DAMAGE), &hasher()), Ok(damage_entries().to_vec()));
    let mut lies = bytes(DAMAGE);
    let end = lies.len() - 32;
    lies[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let checksum = hasher().record(&lies[..end]).0;
    lies[end..].copy_from_slice(&checksum);
    assert!(decode_damage(&lies, &hasher()).is_err(), "more entries than there are bytes");
}

fn reads() -> Reads {
    let ranges = vec![SpanRange { first: 131_074, spans: 3 }, SpanRange { first: 0, spans: 2 }];
    Reads { snapshot: SnapshotId::from(count_from(0x40)), ranges }
}

/// Returns a record of reads with other bytes at an offset, and the checksum that fits them.
fn changed_reads(at: usize, with: &[u8]) -> Vec<u8> {
    let mut changed = bytes(READS);
    let end = changed.len() - 32;
    changed[at..at + with.len()].copy_from_slice(with);
    let checksum = hasher().record(&changed[..end]).0;
    changed[end..].copy_from_slice(&checksum);
    changed
}

#[test]
fn records_of_reads_are_these_bytes() {
    assert_eq!(reads().encode(&hasher()), bytes(READS));
    assert_eq!(Reads::decode(&bytes(READS), &hasher()), Ok(reads()));
    let none = Reads { ranges: Vec::new(), ..reads() };
    assert_eq!(Reads::decode(&none.encode(&hasher()), &hasher()), Ok(none));
    let key = hasher().reads(reads().snapshot).to_string();
    assert_eq!(key, "450f9a6f989bec671dd98e998576c10d");
    let refused = [
        ("more ranges than there are bytes", changed_reads(12, &u32::MAX.to_le_bytes())),
        ("a version of the future", changed_reads(8, &2_u16.to_le_bytes())),
        ("a range of nothing", changed_reads(40, &[0; 4])),
        ("more than a record may have", changed_reads(40, &[0, 0, 1, 0])),
        ("beyond the end of any image", changed_reads(32, &((1_u64 << 46) - 2).to_le_bytes())),
        ("two ranges that are one", changed_reads(44, &131_077_u64.to_le_bytes())),
    ];
    for (what, bytes) in refused {
        assert!(Reads::decode(&bytes, &hasher()).is_err(), "{what}");
    }
    let last = changed_reads(32, &((1_u64 << 46) - 3).to_le_bytes());
    assert!(Reads::decode(&last, &hasher()).is_ok());
}

#[test]
fn files_have_these_names() {
    let hex = "abababababababababababababababababababababababababababababababab";
    assert_eq!(layout::numbered(layout::JOURNAL, 0x12ab), "journal/00000000000012ab");
    assert_eq!(layout::numbered(layout::COPIES, 1), "journal-copies/0000000000000001");
    assert_eq!(layout::numbered(layout::CHECKPOINTS, 0), "checkpoint/0000000000000000");
    assert_eq!(layout::number_of("00000000000012ab"), Some(0x12ab));
    assert_eq!(["12ab", "00000000000012AB", "+0000000000012ab", ""].map(layout::number_of), [None; 4]);
    assert_eq!(layout::pack(PackId([0xab; 32])), format!("packs/{hex}"));
    assert_eq!(layout::damaged(hex), format!("damaged/{hex}"));
    assert_eq!(layout::run(RunId([0xab; 32])), format!("index/{hex}"));
    assert_eq!(layout::parity(GroupId([0xab; 32]), 11), format!("parity/{hex}-11"));
    assert_eq!(layout::shard_of_parity(&format!("{hex}-11")), Some((GroupId([0xab; 32]), 11)));
    assert_eq!(layout::shard_of_parity(&format!("{hex}-011")), None);
    let id = "40414243-4445-4647-4849-4a4b4c4d4e4f";
    assert_eq!(layout::reads(id, 12), format!("reads/{id}-0012"));
    assert_eq!(layout::reads(id, 12345), format!("reads/{id}-12345"));
    assert_eq!(layout::key_of_reads(&format!("{id}-0012")), Some((id, 12)));
    let wrong = [format!("{id}-12"), format!("{id}-"), format!("{id}-00012"), "0012".to_owned()];
    assert_eq!(wrong.each_ref().map(|file| layout::key_of_reads(file)), [None; 4]);
    assert_eq!(layout::volume_record("web-1"), "local/volumes/web-1/record");
    assert_eq!(layout::volume_record_temp("web-1"), "local/volumes/web-1/record.new");
    assert_eq!(layout::overlay("web-1", 12, 0), "local/volumes/web-1/overlay-12");
    assert_eq!(layout::overlay("web-1", 12, 1), "local/volumes/web-1/overlay-12-1");
    assert_eq!(layout::dirty_map("web-1", 12), "local/volumes/web-1/map-12");
    assert_eq!(["overlay-12", "overlay-12-1", "map-12"].map(layout::overlay_of), [Some(12); 3]);
    assert_eq!(["record", "record.new", "overlay-", "map-x", "other-1"].map(layout::overlay_of), [None; 5]);
    assert_eq!(layout::temp("session", 7), "local/tmp/session-7");
}
