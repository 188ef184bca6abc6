//! Ids: a type for each kind, so that none is taken for another.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

macro_rules! byte_id {
    ($(#[$doc:meta])* $vis:vis $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        $vis struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadHex;

            fn from_str(text: &str) -> Result<Self, BadHex> {
                let mut id = [0; $len];
                if text.len() != 2 * $len || !text.is_ascii() {
                    return Err(BadHex);
                }
                for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
                    *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| BadHex)?;
                }
                Ok(Self(id))
            }
        }
    };
}

/// The error for text that is not the hexadecimal form of an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hexadecimal id of the right length")]
pub struct BadHex;

byte_id!(
    /// A keyed BLAKE3 digest of content.
    pub Digest, 32
);
byte_id!(
    /// The digest of a span or of a node of the content tree above: the first 128 bits.
    pub(crate) NodeDigest, 16
);
byte_id!(
    /// The id of a block: the first 128 bits of its digest.
    pub BlockId, 16
);
byte_id!(
    /// The id of a chunk: the first 128 bits of the digest of the ids of its blocks.
    pub ChunkId, 16
);
byte_id!(
    /// The id of a manifest page: the first 128 bits of the digest of its encoded bytes.
    pub(crate) PageId, 16
);
byte_id!(
    /// The id of a pack file: the digest of its header, its directory and its trailer.
    pub PackId, 32
);
byte_id!(
    /// The id of an index run: the digest of its header and table of packs.
    pub(crate) RunId, 32
);

byte_id!(
    /// The id of a parity group: the digest of its content.
    pub(crate) GroupId, 32
);

byte_id!(
    /// What stands for a volume's name in the names of a sealed repository's files.
    pub(crate) VolumeKey, 16
);

byte_id!(
    /// What stands for a snapshot in the names of a sealed repository's records of reads.
    pub(crate) ReadsKey, 16
);

/// A map from ids that are digests: their first bytes serve as the hash.
pub(crate) type IdMap<I, T> = HashMap<I, T, BuildHasherDefault<IdHasher>>;

/// The hasher of an [`IdMap`].
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of an id says nothing.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl NodeDigest {
    /// The digest of content that is all zero; no digest of real content has this value.
    pub(crate) const ZERO: Self = Self([0; 16]);
}

impl Digest {
    /// No digest of real content has this value.
    pub const ZERO: Self = Self([0; 32]);

    /// Returns the id of the block with this digest.
    pub fn block_id(&self) -> BlockId {
        BlockId(self.short())
    }

    /// Returns the first 128 bits, which are the ids of blocks, chunks and pages.
    pub(crate) fn short(&self) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.0[..16]);
        short
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "[u8; 16]", into = "[u8; 16]")]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl From<$name> for [u8; 16] {
            fn from(id: $name) -> Self {
                id.0.into_bytes()
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// The id of a snapshot: a UUID of version 7. Ids sort by the time that the clock showed, which
    /// is not always the order of snapshots.
    SnapshotId
);
impl SnapshotId {
    /// Returns the time in the id, in milliseconds since 1970: what the clock showed when it was
    /// made.
    pub(crate) fn unix_ms(self) -> Option<i64> {
        let time = self.0.get_timestamp().filter(|_| self.0.get_version_num() == 7)?;
        let (seconds, nanos) = time.to_unix();
        let ms = seconds.checked_mul(1000)?.checked_add(u64::from(nanos / 1_000_000))?;
        i64::try_from(ms).ok()
    }
}

uuid_id!(
    /// The id of a repository, in its config and in the header of each of its packs.
    RepositoryId
);

uuid_id!(
    /// The id of a copy-on-write volume: a UUID of version 7.
    VolumeId
);

uuid_id!(
    /// The id of a key slot of a sealed repository: a UUID of version 7.
    SlotId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form_and_nothing_else_parses() {
        let id = BlockId(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff");
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("00".parse::<BlockId>(), Err(BadHex));
        assert_eq!("zz0102030405060708090a0b0c0d0eff".parse::<BlockId>(), Err(BadHex));
        assert_eq!("é00102030405060708090a0b0c0d0ef".parse::<BlockId>(), Err(BadHex));
    }
}
