//! The file `config`: the identity and the fixed properties of a repository.

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::envelope::Envelope;
use crate::format::serial;
use crate::format::serial::SERIAL_BYTES_MAX;
use crate::pure::hash::Hasher;
use crate::words::ids::Digest;
use crate::words::ids::RepositoryId;
use crate::words::ids::SlotId;
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

/// The incompatible feature of sealed repositories.
pub(crate) const SEALED: u64 = 1;

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
    pub(crate) secret: Secret,
    /// The parity to keep, if any.
    pub(crate) parity: Option<ParityScheme>,
}

/// Where the key of a repository is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Secret {
    /// Here: the repository is plain. Never printed.
    Plain([u8; 32]),
    /// In key slots, of which this is the first: the repository is sealed.
    Sealed(SlotNote),
}

/// What is noted of a key slot, to notice when it is lost, damaged or made by somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotNote {
    pub(crate) id: SlotId,
    /// The record digest of its file.
    pub(crate) digest: Digest,
    /// When it was made, in milliseconds since 1970.
    pub(crate) created_unix_ms: i64,
}

/// The fields in their order. The last is the number of packs and of parity files of a group.
#[derive(Serialize, Deserialize)]
struct Body(RepositoryId, i64, Features, Geometry, i32, Secret, Option<(u8, u8)>);

impl Config {
    /// Returns the bytes of the file. `hasher` is that of the repository if it is sealed.
    pub(crate) fn encode(&self, hasher: Option<&Hasher>) -> Result<Vec<u8>, DecodeError> {
        let Self { id, created_unix_ms, features, geometry, level, secret, parity } = self.clone();
        let parity = parity.map(|scheme| (scheme.packs(), scheme.files()));
        let body = Body(id, created_unix_ms, features, geometry, level, secret, parity);
        ENVELOPE.seal(&serial::encode(&body)?, |bytes| checksum(hasher, bytes))
    }

    /// Returns the config and the minor version of the format it was written with. Without the
    /// hasher of the repository, only the config of a plain one can be decoded.
    pub(crate) fn decode(bytes: &[u8], hasher: Option<&Hasher>) -> Result<(Self, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| checksum(hasher, bytes))?;
        let Body(id, created_unix_ms, features, geometry, level, secret, parity) = opened.value()?;
        let scheme = |(packs, files)| {
            ParityScheme::new(packs, files)
                .map_err(|_| DecodeError::bad("the number of packs in a parity group", packs))
        };
        let parity = parity.map(scheme).transpose()?;
        let config = Self { id, created_unix_ms, features, geometry, level, secret, parity };
        let is_sealed = features.incompatible & SEALED != 0;
        if is_sealed != matches!(config.secret, Secret::Sealed(_)) || is_sealed != hasher.is_some() {
            return Err(DecodeError::bad("the feature of sealed repositories", u8::from(is_sealed)));
        }
        Ok((config, opened.minor))
    }

    /// Returns the id of the repository, and whether it seems to be sealed. Nothing is proven.
    pub(crate) fn told(bytes: &[u8]) -> Result<(RepositoryId, bool), DecodeError> {
        let Body(id, _, features, ..) = ENVELOPE.open_unproven(bytes)?.value()?;
        Ok((id, features.incompatible & SEALED != 0))
    }
}

/// Returns the checksum of a config: keyed in a sealed repository, so that nobody changes it
/// unnoticed.
fn checksum(hasher: Option<&Hasher>, bytes: &[u8]) -> [u8; 32] {
    match hasher {
        Some(hasher) => hasher.record(bytes).0,
        None => *blake3::hash(bytes).as_bytes(),
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, created_unix_ms, features, geometry, level, secret: _, parity } = self;
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
