//! A file of `parity/`: one parity shard of a group of packs, and the description of the group.
//!
//! ```text
//! header    64
//! members   40 each   pack id, length of its file
//! shard               the parity itself, slice by slice
//! digests   16 each   for each slice: of the members' bytes, then of the parity shards' bytes
//! ```

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::bytes::table_entry;
use crate::pure::hash::Hasher;
use crate::words::ids::GroupId;
use crate::words::ids::PackId;
use crate::words::ids::RepositoryId;
use crate::words::sizes::to_u8;
use crate::words::sizes::to_u64;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const MEMBER_BYTES: usize = 40;
pub(crate) const DIGEST_BYTES: usize = 16;
/// Packs and parity shards are cut into slices of this length; what is damaged is told and repaired
/// slice by slice.
pub(crate) const SLICE_BYTES: usize = 64 << 10;
/// The unit of the code: the length of a shard is a multiple of it.
pub(crate) const SHARD_UNIT: u64 = 64;
/// The most packs in a group.
pub(crate) const MEMBERS_MAX: u8 = 64;
/// The most parity shards of a group.
pub(crate) const SHARDS_MAX: u8 = 16;

const MAGIC: [u8; 8] = *b"ICEPARI\n";
const VERSION: u16 = 1;

/// A pack in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pack: PackId,
    pub(crate) bytes: u64,
}

/// The front of a parity file: the packs of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) repository: RepositoryId,
    pub(crate) members: Vec<Member>,
    /// The number of parity shards of the group.
    pub(crate) shards: u8,
    /// The number of the shard in this file.
    pub(crate) shard: u8,
}

impl Head {
    /// Returns the length of each parity shard: that of the longest pack, rounded up.
    pub(crate) fn shard_bytes(&self) -> u64 {
        let longest = self.members.iter().map(|member| member.bytes).max().unwrap_or(0);
        longest.next_multiple_of(SHARD_UNIT)
    }

    /// Returns the number of slices of a shard.
    pub(crate) fn slices(&self) -> u64 {
        self.shard_bytes().div_ceil(to_u64(SLICE_BYTES))
    }

    /// Returns the length of a slice: all except the last are [`SLICE_BYTES`] long.
    pub(crate) fn slice_bytes(&self, slice: u64) -> usize {
        let begin = slice.saturating_mul(to_u64(SLICE_BYTES));
        usize::try_from(self.shard_bytes().saturating_sub(begin))
            .map_or(SLICE_BYTES, |rest| rest.min(SLICE_BYTES))
    }

    /// Returns the length of the part of a slice that lies in a pack of this length.
    pub(crate) fn slice_of(bytes: u64, slice: u64) -> usize {
        let begin = slice.saturating_mul(to_u64(SLICE_BYTES));
        usize::try_from(bytes.saturating_sub(begin)).map_or(SLICE_BYTES, |rest| rest.min(SLICE_BYTES))
    }

    /// Returns the offset of the shard in the file.
    pub(crate) fn shard_offset(&self) -> u64 {
        to_u64(HEADER_BYTES + MEMBER_BYTES * self.members.len())
    }

    /// Returns the offset of the digests in the file.
    pub(crate) fn digests_offset(&self) -> u64 {
        self.shard_offset() + self.shard_bytes()
    }

    /// Returns the number of digests of each slice.
    pub(crate) fn digests_of_slice(&self) -> usize {
        self.members.len() + usize::from(self.shards)
    }

    /// Returns the length of all digests.
    pub(crate) fn digests_bytes(&self) -> u64 {
        self.slices() * to_u64(self.digests_of_slice() * DIGEST_BYTES)
    }

    /// Returns the length of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.digests_offset() + self.digests_bytes()
    }

    /// Returns the id of the group with these digests.
    pub(crate) fn group(&self, hasher: &Hasher, digests: &[u8]) -> GroupId {
        hasher.group(&[&[self.shards], &self.encode_members(), digests])
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let members = self.encode_members();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([to_u8(self.members.len()), self.shards, self.shard, 0, 0, 0]);
        bytes.extend(<[u8; 16]>::from(self.repository));
        bytes.extend(crc32fast::hash(&members).to_le_bytes());
        bytes.resize(HEADER_BYTES - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(members);
        bytes
    }

    fn encode_members(&self) -> Vec<u8> {
        self.members
            .iter()
            .flat_map(|member| member.pack.0.into_iter().chain(member.bytes.to_le_bytes()))
            .collect()
    }

    /// Returns the number of members that a header states, so that the rest of the front can be
    /// read.
    pub(crate) fn members_of(header: &[u8; HEADER_BYTES]) -> Result<u8, DecodeError> {
        Header::decode(header).map(|header| header.members)
    }

    /// Decodes the header and the table of members.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let header = Header::decode(&fields.array()?)?;
        let table = fields.slice(MEMBER_BYTES * usize::from(header.members))?;
        if !fields.0.is_empty() {
            return Err(DecodeError::Trailing { bytes: fields.0.len() });
        }
        if crc32fast::hash(table) != header.members_crc {
            return Err(DecodeError::BadChecksum { what: "table of packs" });
        }
        let mut members: Vec<Member> = Vec::with_capacity(usize::from(header.members));
        let mut rest = Fields(table);
        while !rest.0.is_empty() {
            let member = Member { pack: PackId(rest.array()?), bytes: rest.u64()? };
            if member.bytes > u64::from(u32::MAX) {
                return Err(DecodeError::bad("the length of a pack", member.bytes));
            }
            if members.iter().any(|other| other.pack == member.pack) {
                return Err(DecodeError::bad("a pack that is twice in the group", u64::from(header.members)));
            }
            members.push(member);
        }
        Ok(Self { repository: header.repository, members, shards: header.shards, shard: header.shard })
    }
}

struct Header {
    members: u8,
    shards: u8,
    shard: u8,
    repository: RepositoryId,
    members_crc: u32,
}

impl Header {
    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        if fields.array()? != MAGIC {
            return Err(DecodeError::BadMagic { what: "parity file" });
        }
        let version = fields.u16()?;
        if version != VERSION {
            return Err(DecodeError::BadVersion { found: version, known: VERSION });
        }
        if crc32fast::hash(&bytes[..HEADER_BYTES - 4]) != u32::from_le_bytes(last_four(bytes)) {
            return Err(DecodeError::BadChecksum { what: "header" });
        }
        let [members, shards, shard, zeros @ ..]: [u8; 6] = fields.array()?;
        if zeros != [0; 3] {
            return Err(DecodeError::bad("a reserved byte", 1_u8));
        }
        if !(1..=MEMBERS_MAX).contains(&members) {
            return Err(DecodeError::bad("the number of packs in the group", members));
        }
        if !(1..=SHARDS_MAX).contains(&shards) || shard >= shards {
            return Err(DecodeError::bad("the number of a parity shard", shard));
        }
        let repository = RepositoryId::from(fields.array::<16>()?);
        Ok(Self { members, shards, shard, repository, members_crc: fields.u32()? })
    }
}

fn last_four(bytes: &[u8; HEADER_BYTES]) -> [u8; 4] {
    bytes.last_chunk().copied().unwrap_or_default()
}

/// The digests of all slices of a group.
pub(crate) struct Digests {
    bytes: Vec<u8>,
    of_slice: usize,
    members: usize,
}

impl Digests {
    pub(crate) fn new(head: &Head, bytes: Vec<u8>) -> Self {
        Self { bytes, of_slice: head.digests_of_slice(), members: head.members.len() }
    }

    /// Returns the digest of a slice of the pack with this number in the group.
    pub(crate) fn of_member(&self, slice: u64, member: usize) -> Option<[u8; DIGEST_BYTES]> {
        let at = usize::try_from(slice).ok()?.checked_mul(self.of_slice)?;
        table_entry(&self.bytes, at.checked_add(member)?).copied()
    }

    /// Returns the digest of a slice of a parity shard.
    pub(crate) fn of_shard(&self, slice: u64, shard: usize) -> Option<[u8; DIGEST_BYTES]> {
        self.of_member(slice, self.members + shard)
    }
}
