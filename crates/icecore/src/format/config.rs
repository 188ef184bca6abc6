//! The file `config`: the identity and the fixed properties of a repository.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::envelope::Envelope;
use crate::format::serial;
use crate::format::serial::SERIAL_BYTES_MAX;
use crate::words::ids::RepositoryId;
use crate::words::parity::ParityScheme;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::FANOUT;
use crate::words::sizes::LEAF_SPANS;
use crate::words::sizes::SPAN_BLOCKS;

/// The major version of the format.
pub(crate) const FORMAT_MAJOR: u16 = 3;
/// The minor version: additions that an older program can skip when it reads, and must not write.
pub(crate) const FORMAT_MINOR: u16 = 0;

/// The first bytes of the file.
pub(crate) const MAGIC: [u8; 8] = *b"ICECONF\n";

const ENVELOPE: Envelope = Envelope {
    what: "repository config",
    magic: MAGIC,
    major: FORMAT_MAJOR,
    minor: FORMAT_MINOR,
    bytes_max: SERIAL_BYTES_MAX,
};

/// Feature bits, by what a program may do without knowing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Features {
    /// A program must know these to open the repository.
    pub(crate) incompatible: u64,
    /// A program must know these to write; others may read.
    pub(crate) read_only_compatible: u64,
    /// A program may ignore these.
    pub(crate) compatible: u64,
}

/// The sizes that are fixed when a repository is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Geometry {
    pub(crate) block_bytes: u32,
    pub(crate) span_blocks: u32,
    pub(crate) leaf_spans: u32,
    pub(crate) fanout: u32,
}

impl Geometry {
    /// The only geometry that this version knows.
    #[expect(clippy::cast_possible_truncation, reason = "constants, all below 2^32")]
    pub(crate) const V1: Self = Self {
        block_bytes: BLOCK_BYTES as u32,
        span_blocks: SPAN_BLOCKS as u32,
        leaf_spans: LEAF_SPANS as u32,
        fanout: FANOUT as u32,
    };
}

/// The content of the file `config`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) id: RepositoryId,
    pub(crate) created_unix_ms: i64,
    pub(crate) features: Features,
    pub(crate) geometry: Geometry,
    /// The default zstd level for new chunks.
    pub(crate) level: i32,
    /// The secret behind every digest. Never printed.
    pub(crate) key: [u8; 32],
    /// The parity to keep, if any.
    pub(crate) parity: Option<ParityScheme>,
}

/// The fields in their order. The last is the number of packs and of parity files of a group.
#[derive(Serialize, Deserialize)]
struct Body(RepositoryId, i64, Features, Geometry, i32, [u8; 32], Option<(u8, u8)>);

impl Config {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let Self { id, created_unix_ms, features, geometry, level, key, parity } = *self;
        let parity = parity.map(|scheme| (scheme.packs(), scheme.files()));
        let body = Body(id, created_unix_ms, features, geometry, level, key, parity);
        ENVELOPE.seal(&serial::encode(&body)?, |bytes| *blake3::hash(bytes).as_bytes())
    }

    /// Returns the config and the minor version of the format it was written with.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| *blake3::hash(bytes).as_bytes())?;
        let Body(id, created_unix_ms, features, geometry, level, key, parity) = opened.value()?;
        let scheme = |(packs, files)| {
            ParityScheme::new(packs, files)
                .map_err(|_| DecodeError::bad("the number of packs in a parity group", packs))
        };
        let parity = parity.map(scheme).transpose()?;
        Ok((Self { id, created_unix_ms, features, geometry, level, key, parity }, opened.minor))
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, created_unix_ms, features, geometry, level, key: _, parity } = self;
        f.debug_struct("Config")
            .field("id", id)
            .field("created_unix_ms", created_unix_ms)
            .field("features", features)
            .field("geometry", geometry)
            .field("level", level)
            .field("parity", parity)
            .finish_non_exhaustive()
    }
}
