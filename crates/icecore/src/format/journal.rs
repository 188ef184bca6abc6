//! A file of `journal/`: an entry, which holds changes of the catalog that happen together.
//!
//! ```text
//! envelope (checksum: the digest of the entry)
//!     head      its length, u32, and its fields
//!     changes   one after another: kind, u16; length, u32; fields
//! ```

use serde::Deserialize;
use serde::Serialize;

use crate::format::bytes::DecodeError;
use crate::format::bytes::Fields;
use crate::format::config::Config;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::config::Features;
use crate::format::config::Secret;
use crate::format::config::SlotNote;
use crate::format::envelope::Envelope;
use crate::format::record::Record;
use crate::format::serial;
use crate::format::serial::Decoder;
use crate::pure::hash::Hasher;
use crate::words::ids::Digest;
use crate::words::ids::PackId;
use crate::words::ids::SnapshotId;
use crate::words::ids::VolumeId;
use crate::words::names::Labels;
use crate::words::names::NAME_BYTES_MAX;
use crate::words::parity::ParityScheme;
use crate::words::sizes::to_u32;

/// The longest entry, without its envelope.
pub(crate) const ENTRY_BYTES_MAX: usize = 16 << 20;
/// The largest kind of a change.
const KIND_MAX: u16 = 10;
/// The most ids in one change; a longer list takes several.
const IDS_MAX: usize = 1 << 14;
/// The most key slots.
pub(crate) const SLOTS_MAX: usize = 64;

const ENVELOPE: Envelope = Envelope {
    what: "journal entry",
    magic: *b"ICEJRNL\n",
    major: FORMAT_MAJOR,
    minor: FORMAT_MINOR,
    bytes_max: ENTRY_BYTES_MAX,
};

/// Who made an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Author {
    /// The name of the machine.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// The account of the server, if the change was asked for over HTTP.
    pub account: Option<String>,
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number: the first entry is 1.
    pub(crate) number: u64,
    /// The digest of the entry before it, or zero.
    pub(crate) before: Digest,
    /// When it was made, in milliseconds since 1970.
    pub(crate) created_unix_ms: i64,
    pub(crate) author: Author,
    /// A number that no other entry has: it tells a writer whether an entry is its own.
    pub(crate) token: [u8; 16],
    pub(crate) changes: Vec<Change>,
}

/// What an entry changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A snapshot was made.
    Made(Box<Record>),
    /// A snapshot has something new.
    Changed(SnapshotId, Patch),
    /// Snapshots were deleted. They can be restored until packs are condemned.
    Deleted(Vec<SnapshotId>),
    /// Snapshots are there again.
    Restored(Vec<SnapshotId>),
    /// No snapshot may refer to these packs any more.
    Condemned(Vec<PackId>),
    /// Damaged packs are no longer in their place. Whoever has found anything in them looks again.
    PutAside(Vec<PackId>),
    /// What a volume stands on now.
    StandsOn(Box<Standing>),
    /// A volume is gone.
    NoLonger(VolumeId),
    /// What holds for the repository.
    Config(Settings),
    /// No snapshot needs these packs any more, as all that they hold is in others.
    Joined(Vec<PackId>),
}

/// Why no snapshot may refer to a pack any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condemnation {
    /// The number of the entry.
    pub(crate) entry: u64,
    /// Whether all that the pack held is in other packs.
    pub(crate) joined: bool,
}

/// What is new of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Patch {
    pub(crate) name: Option<String>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) labels: Option<Labels>,
    pub(crate) protected: Option<bool>,
}

/// What a volume stands on: gc keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) volume: VolumeId,
    /// The name of the volume.
    pub(crate) name: String,
    /// The machine that has the volume.
    pub(crate) host: String,
    /// The snapshot it was created from or restored to.
    pub(crate) origin: Option<Record>,
    /// The snapshots below its overlays: the base of before, and the one that takes its place.
    pub(crate) bases: Vec<Record>,
}

/// What holds for a repository and can change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) features: Features,
    /// The number of packs and of parity files of a group.
    parity: Option<(u8, u8)>,
    /// The epoch of the keys that a sealed repository writes with.
    pub(crate) epoch: u32,
    /// The key slots of a sealed repository.
    pub(crate) slots: Vec<SlotNote>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    number: u64,
    before: Digest,
    created_unix_ms: i64,
    author: Author,
    token: [u8; 16],
}

/// The fields of a standing. The records come with their lengths, so that a later version can add
/// to them.
#[derive(Serialize, Deserialize)]
struct StandingFields {
    volume: VolumeId,
    name: String,
    host: String,
    origin: Option<Vec<u8>>,
    bases: Vec<Vec<u8>>,
}

impl Settings {
    /// Returns the settings that the config of a repository gives it.
    pub(crate) fn of(config: &Config) -> Self {
        let slots = match config.secret {
            Secret::Plain(_) => Vec::new(),
            Secret::Sealed(first) => vec![first],
        };
        Self { slots, ..Self::default() }.with_parity(config.parity)
    }

    /// Returns the same settings with this parity.
    pub(crate) fn with_parity(&self, parity: Option<ParityScheme>) -> Self {
        Self { parity: parity.map(|scheme| (scheme.packs(), scheme.files())), ..self.clone() }
    }

    /// Returns the parity that is kept of packs, if any is.
    pub(crate) fn parity(&self) -> Option<ParityScheme> {
        self.parity.and_then(|(packs, files)| ParityScheme::new(packs, files).ok())
    }

    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        if self.slots.len() > SLOTS_MAX {
            return Err(DecodeError::bad("the number of key slots", self.slots.len() as u64));
        }
        match self.parity {
            Some((packs, files)) if ParityScheme::new(packs, files).is_err() => {
                Err(DecodeError::bad("the number of packs in a parity group", packs))
            }
            _ => Ok(()),
        }
    }
}

impl Patch {
    pub(crate) fn apply(&self, record: &mut Record) {
        let Self { name, tags, labels, protected } = self.clone();
        record.name = name.unwrap_or_else(|| std::mem::take(&mut record.name));
        record.tags = tags.unwrap_or_else(|| std::mem::take(&mut record.tags));
        record.labels = labels.unwrap_or_else(|| std::mem::take(&mut record.labels));
        record.protected = protected.unwrap_or(record.protected);
    }
}

impl Standing {
    /// Returns the records of everything that the volume stands on.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.origin.iter().chain(&self.bases)
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        serial::encode(&StandingFields {
            volume: self.volume,
            name: self.name.clone(),
            host: self.host.clone(),
            origin: self.origin.as_ref().map(serial::encode).transpose()?,
            bases: self.bases.iter().map(serial::encode).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn decode(bytes: &[u8], decoder: Decoder) -> Result<Self, DecodeError> {
        let fields: StandingFields = decoder.value(bytes)?;
        let StandingFields { volume, name, host, origin, bases } = fields;
        check_text(&name)?;
        check_text(&host)?;
        let record = |bytes: Vec<u8>| decode_record(&bytes, decoder);
        let origin = origin.map(record).transpose()?;
        let bases = bases.into_iter().map(record).collect::<Result<_, _>>()?;
        Ok(Self { volume, name, host, origin, bases })
    }
}

/// Decodes a snapshot that a file holds with its length.
pub(crate) fn decode_record(bytes: &[u8], decoder: Decoder) -> Result<Record, DecodeError> {
    let record: Record = decoder.value(bytes)?;
    record.check()?;
    Ok(record)
}

impl Change {
    /// Returns the changes that delete snapshots.
    pub(crate) fn deleted(ids: &[SnapshotId]) -> Vec<Self> {
        ids.chunks(IDS_MAX).map(|ids| Self::Deleted(ids.to_vec())).collect()
    }

    /// Returns the changes that restore deleted snapshots.
    pub(crate) fn restored(ids: &[SnapshotId]) -> Vec<Self> {
        ids.chunks(IDS_MAX).map(|ids| Self::Restored(ids.to_vec())).collect()
    }

    /// Returns the changes that say that packs were put aside.
    pub(crate) fn put_aside(packs: &[PackId]) -> Vec<Self> {
        packs.chunks(IDS_MAX).map(|packs| Self::PutAside(packs.to_vec())).collect()
    }

    /// Returns the changes that condemn packs.
    pub(crate) fn condemned(packs: &[PackId]) -> Vec<Self> {
        packs.chunks(IDS_MAX).map(|packs| Self::Condemned(packs.to_vec())).collect()
    }

    /// Returns the changes that say that all of these packs is in others now.
    pub(crate) fn joined(packs: &[PackId]) -> Vec<Self> {
        packs.chunks(IDS_MAX).map(|packs| Self::Joined(packs.to_vec())).collect()
    }

    fn encode(&self) -> Result<(u16, Vec<u8>), DecodeError> {
        Ok(match self {
            Self::Made(record) => (1, serial::encode(&**record)?),
            Self::Changed(id, patch) => (2, serial::encode(&(*id, patch.clone()))?),
            Self::Deleted(ids) => (3, serial::encode(ids)?),
            Self::Restored(ids) => (4, serial::encode(ids)?),
            Self::Condemned(packs) => (5, serial::encode(packs)?),
            Self::PutAside(packs) => (6, serial::encode(packs)?),
            Self::StandsOn(standing) => (7, standing.encode()?),
            Self::NoLonger(volume) => (8, serial::encode(volume)?),
            Self::Config(settings) => (9, serial::encode(settings)?),
            Self::Joined(packs) => (10, serial::encode(packs)?),
        })
    }

    fn decode(kind: u16, bytes: &[u8], decoder: Decoder) -> Result<Self, DecodeError> {
        let change = match kind {
            1 => Self::Made(Box::new(decode_record(bytes, decoder)?)),
            2 => {
                let (id, patch) = decoder.value::<(SnapshotId, Patch)>(bytes)?;
                Self::Changed(id, patch)
            }
            3 => Self::Deleted(decoder.value(bytes)?),
            4 => Self::Restored(decoder.value(bytes)?),
            5 => Self::Condemned(decoder.value(bytes)?),
            6 => Self::PutAside(decoder.value(bytes)?),
            7 => Self::StandsOn(Box::new(Standing::decode(bytes, decoder)?)),
            8 => Self::NoLonger(decoder.value(bytes)?),
            9 => {
                let settings: Settings = decoder.value(bytes)?;
                settings.check()?;
                Self::Config(settings)
            }
            10 => Self::Joined(decoder.value(bytes)?),
            _ => return Err(DecodeError::bad("the kind of a change", kind)),
        };
        Ok(change)
    }
}

impl Entry {
    /// Returns the bytes of the file, and the digest of the entry.
    pub(crate) fn encode(&self, hasher: &Hasher) -> Result<(Vec<u8>, Digest), DecodeError> {
        let head = serial::encode(&Head {
            number: self.number,
            before: self.before,
            created_unix_ms: self.created_unix_ms,
            author: self.author.clone(),
            token: self.token,
        })?;
        let mut body = to_u32(head.len()).to_le_bytes().to_vec();
        body.extend(head);
        for change in &self.changes {
            let (kind, bytes) = change.encode()?;
            body.extend(kind.to_le_bytes());
            body.extend(to_u32(bytes.len()).to_le_bytes());
            body.extend(bytes);
        }
        let bytes = ENVELOPE.seal(&body, |bytes| hasher.entry(bytes).0)?;
        let digest = bytes.last_chunk().map_or(Digest::ZERO, |digest| Digest(*digest));
        Ok((bytes, digest))
    }

    /// Returns the entry, its digest, and the minor version of the format it was written with.
    pub(crate) fn decode(bytes: &[u8], hasher: &Hasher) -> Result<(Self, Digest, u16), DecodeError> {
        let opened = ENVELOPE.open(bytes, |bytes| hasher.entry(bytes).0)?;
        let mut fields = Fields(opened.body);
        let length = fields.u32()? as usize;
        let Head { number, before, created_unix_ms, author, token } =
            opened.decoder.value(fields.slice(length)?)?;
        [&author.host, &author.program]
            .into_iter()
            .chain(&author.account)
            .try_for_each(|text| check_text(text))?;
        let mut changes = Vec::new();
        while !fields.0.is_empty() {
            let kind = fields.u16()?;
            let length = fields.u32()? as usize;
            let bytes = fields.slice(length)?;
            // What a newer minor version has added can be left out by a reader.
            if kind <= KIND_MAX || !opened.decoder.is_newer {
                changes.push(Change::decode(kind, bytes, opened.decoder)?);
            }
        }
        let entry = Self { number, before, created_unix_ms, author, token, changes };
        Ok((entry, Digest(opened.checksum), opened.minor))
    }
}

fn check_text(text: &str) -> Result<(), DecodeError> {
    match text.len() > NAME_BYTES_MAX {
        true => Err(DecodeError::bad("the length of a name", text.len() as u64)),
        false => Ok(()),
    }
}
