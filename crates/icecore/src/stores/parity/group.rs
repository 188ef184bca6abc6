//! The parity groups of a repository, and packs read through the rest of their group.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::format::bytes::DecodeError;
use crate::format::layout;
use crate::format::parity::Digests;
use crate::format::parity::HEADER_BYTES;
use crate::format::parity::Head;
use crate::format::parity::MEMBER_BYTES;
use crate::format::parity::SLICE_BYTES;
use crate::pure::erasure;
use crate::pure::hash::Hasher;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::GroupId;
use crate::words::ids::PackId;
use crate::words::sizes::to_u64;
use crate::world::storage::Mapped;
use crate::world::storage::StoredFile;

/// A group, as described by its parity files.
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) head: Head,
    /// The numbers of the shards whose files exist, with a sound front and the right length.
    pub(crate) shards: Vec<u8>,
}

/// The groups of a repository.
#[derive(Default)]
pub(crate) struct Groups {
    pub(crate) all: Vec<Group>,
    /// Unsound files in `parity/`, with the reason.
    pub(crate) unsound: Vec<(String, Error)>,
}

impl Group {
    pub(crate) fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.head.members.iter().map(|member| member.pack)
    }

    /// Returns whether all parity shards exist.
    pub(crate) fn has_all_shards(&self) -> bool {
        self.shards.len() == usize::from(self.head.shards)
    }

    /// Returns the length of all members together.
    pub(crate) fn bytes(&self) -> u64 {
        self.head.members.iter().map(|member| member.bytes).sum()
    }
}

impl Groups {
    /// Reads the fronts of all parity files.
    pub(crate) fn load(files: &RepositoryFiles) -> Result<Self> {
        let mut groups: BTreeMap<GroupId, Group> = BTreeMap::new();
        let mut unsound = Vec::new();
        for file in files.list(layout::PARITY)? {
            // Other files are foreign.
            let Some((id, shard)) = layout::shard_of_parity(&file) else { continue };
            match read_head(files, id, shard) {
                Ok(head) => {
                    let shard = head.shard;
                    let head = Head { shard: 0, ..head };
                    let group = groups.entry(id).or_insert_with(|| Group {
                        id,
                        head: head.clone(),
                        shards: Vec::new(),
                    });
                    match group.head == head {
                        true => group.shards.push(shard),
                        false => unsound.push((
                            file,
                            Error::corrupt("its content and its name belong to different groups"),
                        )),
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.says_nothing_of_what_is_stored() => return Err(error),
                Err(error) => unsound.push((file, error)),
            }
        }
        Ok(Self { all: groups.into_values().collect(), unsound })
    }

    /// Returns a pack read through each of its groups; first the groups with the least missing:
    /// while gc removes packs, some of an old group are gone.
    pub(crate) fn rebuilt(&self, files: &RepositoryFiles, pack: PackId) -> Vec<RebuiltFile> {
        let with_it = self.all.iter().filter(|group| group.packs().any(|member| member == pack));
        let mut rebuilt: Vec<RebuiltFile> =
            with_it.filter_map(|group| RebuiltFile::open(files, group, pack).ok()).collect();
        rebuilt.sort_by_key(|file| file.group.missing());
        rebuilt
    }
}

/// Reads the front of a parity file and checks it, and the length of the file.
fn read_head(files: &RepositoryFiles, id: GroupId, shard: u8) -> Result<Head> {
    let name = layout::parity(id, shard);
    let failed = |error| Error::stored_io(format!("reading {name}"), error);
    let file = files.open(&name).map_err(failed)?;
    let damaged = |error: DecodeError| {
        let kind = match error {
            DecodeError::BadVersion { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Corrupt,
        };
        Error::new(kind, format!("{name} is damaged: {error}"))
    };
    if file.len() < to_u64(HEADER_BYTES) {
        return Err(damaged(DecodeError::Truncated { need: to_u64(HEADER_BYTES), got: file.len() }));
    }
    let mut header = [0; HEADER_BYTES];
    file.read_at(0, &mut header).map_err(failed)?;
    let members = usize::from(Head::members_of(&header).map_err(damaged)?);
    let mut front = vec![0; HEADER_BYTES + MEMBER_BYTES * members];
    if file.len() < to_u64(front.len()) {
        return Err(damaged(DecodeError::Truncated { need: to_u64(front.len()), got: file.len() }));
    }
    file.read_at(0, &mut front).map_err(failed)?;
    let head = Head::decode(&front).map_err(damaged)?;
    if head.repository != files.repository {
        return Err(Error::corrupt(format!("{name} belongs to another repository, {}", head.repository)));
    }
    if head.shard != shard {
        return Err(Error::corrupt(format!("{name} is the parity shard {}", head.shard)));
    }
    if file.len() != head.file_bytes() {
        return Err(damaged(DecodeError::Truncated { need: head.file_bytes(), got: file.len() }));
    }
    Ok(head)
}

/// Returns the digests that a parity file has, if they are those of its group.
fn read_digests(hasher: &Hasher, head: &Head, id: GroupId, file: &dyn StoredFile) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(head.digests_bytes()).ok()?];
    file.read_at(head.digests_offset(), &mut bytes).ok()?;
    (head.group(hasher, &bytes) == id).then_some(bytes)
}

/// The existing files of a group, open for reading. Every slice it returns matches the digest from
/// when the parity was made, so later damage never passes for sound data.
pub(crate) struct GroupReader {
    pub(crate) head: Head,
    digests: Digests,
    hasher: Hasher,
    packs: Vec<Option<Box<dyn StoredFile>>>,
    shards: Vec<Option<Box<dyn StoredFile>>>,
}

impl GroupReader {
    /// Opens all files of a group that can be opened.
    ///
    /// # Errors
    /// `Corrupt` if none of the parity files has sound digests.
    pub(crate) fn open(files: &RepositoryFiles, group: &Group) -> Result<Self> {
        let open = |name: String| files.open(&name).ok();
        let shards: Vec<Option<Box<dyn StoredFile>>> = (0..group.head.shards)
            .map(|shard| {
                group.shards.contains(&shard).then(|| open(layout::parity(group.id, shard))).flatten()
            })
            .collect();
        let head = group.head.clone();
        let digests =
            shards.iter().flatten().find_map(|file| read_digests(&files.hasher, &head, group.id, &**file));
        let Some(digests) = digests else {
            return Err(Error::corrupt(format!("the digests of parity group {} are damaged", group.id)));
        };
        let packs = group.packs().map(|pack| open(layout::pack(pack))).collect();
        Ok(Self {
            head,
            digests: Digests::new(&group.head, digests),
            hasher: files.hasher.clone(),
            packs,
            shards,
        })
    }

    /// Returns the number of its files that cannot be opened.
    fn missing(&self) -> usize {
        let gone = |files: &[Option<Box<dyn StoredFile>>]| files.iter().filter(|file| file.is_none()).count();
        gone(&self.packs) + gone(&self.shards)
    }

    /// Returns whether the digests in the file of this shard are those of the group.
    pub(crate) fn has_sound_digests(&self, shard: usize, id: GroupId) -> bool {
        let file = self.shards.get(shard).and_then(Option::as_ref);
        file.is_some_and(|file| read_digests(&self.hasher, &self.head, id, &**file).is_some())
    }

    /// Returns whether the file of a member has its recorded length.
    pub(crate) fn has_length(&self, member: usize) -> bool {
        let file = self.packs.get(member).and_then(Option::as_ref);
        file.zip(self.head.members.get(member)).is_some_and(|(file, member)| file.len() == member.bytes)
    }

    /// Returns a slice of a member from the pack's file, without padding; none if it does not match
    /// its digest.
    pub(crate) fn read_member(&self, member: usize, slice: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; Head::slice_of(self.head.members.get(member)?.bytes, slice)];
        if !bytes.is_empty() {
            let file = self.packs.get(member)?.as_ref()?;
            file.read_at(slice * to_u64(SLICE_BYTES), &mut bytes).ok()?;
            self.is_member(member, slice, &bytes).then_some(())?;
        }
        Some(bytes)
    }

    fn is_member(&self, member: usize, slice: u64, bytes: &[u8]) -> bool {
        self.digests.of_member(slice, member) == Some(self.hasher.slice(bytes))
    }

    /// Returns a slice of a parity shard; none if it does not match its digest.
    pub(crate) fn read_shard(&self, shard: usize, slice: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.head.slice_bytes(slice)];
        let file = self.shards.get(shard)?.as_ref()?;
        file.read_at(self.head.shard_offset() + slice * to_u64(SLICE_BYTES), &mut bytes).ok()?;
        (self.digests.of_shard(slice, shard) == Some(self.hasher.slice(&bytes))).then_some(bytes)
    }

    /// Returns a slice of a member: from its file, or else from the other members and parity.
    pub(crate) fn member(&self, member: usize, slice: u64) -> io::Result<Vec<u8>> {
        match self.read_member(member, slice) {
            Some(bytes) => Ok(bytes),
            None => self.decode(member, slice),
        }
    }

    fn decode(&self, member: usize, slice: u64) -> io::Result<Vec<u8>> {
        let bytes = self.head.slice_bytes(slice);
        let padded = |mut slice: Vec<u8>| {
            slice.resize(bytes, 0);
            slice
        };
        let members = self.head.members.len();
        let others: Vec<Option<Vec<u8>>> = (0..members)
            .map(|other| if other == member { None } else { self.read_member(other, slice).map(padded) })
            .collect();
        let mut missing = others.iter().filter(|other| other.is_none()).count();
        let mut parity = Vec::with_capacity(self.shards.len());
        for shard in 0..self.shards.len() {
            let read = if missing > 0 { self.read_shard(shard, slice) } else { None };
            missing -= usize::from(read.is_some());
            parity.push(read);
        }
        if missing > 0 {
            let why = "too many packs of the parity group are damaged at the same place";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let mut decoded = erasure::decode(&others, &parity, member)?;
        decoded.truncate(Head::slice_of(self.head.members[member].bytes, slice));
        if self.is_member(member, slice, &decoded) {
            Ok(decoded)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the data computed from parity does not match its digest",
            ))
        }
    }
}

/// A pack's file, read through its parity group: damaged or missing parts are computed from the
/// other packs.
pub(crate) struct RebuiltFile {
    group: GroupReader,
    member: usize,
    /// The slice that was read last: records are read one after another.
    last: Mutex<(u64, Arc<Vec<u8>>)>,
}

impl RebuiltFile {
    pub(crate) fn open(files: &RepositoryFiles, group: &Group, pack: PackId) -> Result<Self> {
        let reader = GroupReader::open(files, group)?;
        let member = reader.head.members.iter().position(|member| member.pack == pack);
        let Some(member) = member else {
            return Err(Error::corrupt(format!("pack {pack} is not in parity group {}", group.id)));
        };
        Ok(Self { group: reader, member, last: Mutex::new((u64::MAX, Arc::default())) })
    }

    fn slice(&self, slice: u64) -> io::Result<Arc<Vec<u8>>> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let (number, bytes) = &*last()
            && *number == slice
        {
            return Ok(Arc::clone(bytes));
        }
        let bytes = Arc::new(self.group.member(self.member, slice)?);
        *last() = (slice, Arc::clone(&bytes));
        Ok(bytes)
    }
}

impl StoredFile for RebuiltFile {
    fn len(&self) -> u64 {
        self.group.head.members[self.member].bytes
    }

    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let slice = self.slice(offset / to_u64(SLICE_BYTES))?;
            let begin = usize::try_from(offset % to_u64(SLICE_BYTES)).unwrap_or(SLICE_BYTES);
            let part = slice.get(begin..).unwrap_or_default();
            let bytes = part.len().min(buffer.len());
            if bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = buffer.split_at_mut(bytes);
            now.copy_from_slice(&part[..bytes]);
            offset += to_u64(bytes);
            buffer = later;
        }
        Ok(())
    }

    fn map(&self, range: std::ops::Range<u64>) -> io::Result<Mapped> {
        // At most as long as the group says: packs are below 4 GiB, and directories far smaller.
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        self.read_at(range.start, &mut bytes)?;
        Ok(Mapped::new(bytes))
    }
}
