//! Computation of the parity of a group of packs.

use std::io;

use rayon::prelude::*;

use crate::format::layout;
use crate::format::pack::Entry;
use crate::format::parity::DIGEST_BYTES;
use crate::format::parity::Head;
use crate::format::parity::Member;
use crate::format::parity::SLICE_BYTES;
use crate::pure::erasure;
use crate::stores::files::RepositoryFiles;
use crate::stores::files::TempFile;
use crate::stores::pack::audit::check_pack;
use crate::stores::pack::file::PackFile;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::GroupId;
use crate::words::ids::PackId;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::to_u64;

/// The number of slices of each pack in memory at a time.
const SLICES_AT_ONCE: u64 = 16;

/// The reason why a group was not made.
pub(crate) enum Refused {
    /// This pack is damaged or gone: parity of it would keep the damage.
    Member(PackId, Error),
    /// Another failure.
    Failed(Error),
}

/// A pack being read from beginning to end, and proven on the way.
struct PackScan {
    pack: PackFile,
    /// In the order of their offsets.
    entries: Vec<Entry>,
    next: usize,
    crc: crc32fast::Hasher,
}

/// The same stretch of all packs: a few slices.
type Slices = Vec<Vec<u8>>;

impl PackScan {
    fn open(files: &RepositoryFiles, id: PackId) -> Result<Self> {
        let pack = PackFile::open(files, id)?;
        let mut entries = Vec::new();
        check_pack(files, &pack, |_, entry| entries.push(*entry))?;
        entries.iter().try_for_each(|entry| pack.check_record(entry))?;
        entries.sort_by_key(|entry| entry.offset);
        Ok(Self { pack, entries, next: 0, crc: crc32fast::Hasher::new() })
    }

    /// Reads the slices of a stretch.
    fn read(&mut self, slices: std::ops::Range<u64>) -> Result<Slices> {
        slices
            .map(|slice| {
                let mut bytes = vec![0; Head::slice_of(self.pack.bytes, slice)];
                if bytes.is_empty() {
                    return Ok(bytes);
                }
                let offset = slice * to_u64(SLICE_BYTES);
                self.pack.read_at(offset, &mut bytes)?;
                self.prove(offset, &bytes)?;
                Ok(bytes)
            })
            .collect()
    }

    /// Checks the stored bytes of the records that end in `bytes`, and begins with those that begin
    /// there.
    fn prove(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset + to_u64(bytes.len());
        while let Some(entry) = self.entries.get(self.next) {
            let (begin, stop) =
                (u64::from(entry.offset), u64::from(entry.offset) + u64::from(entry.stored_bytes));
            let [from, to] = [begin.clamp(offset, end), stop.clamp(offset, end)]
                .map(|at| usize::try_from(at - offset).unwrap_or(bytes.len()));
            self.crc.update(&bytes[from..to]);
            if stop > end {
                return Ok(());
            }
            if std::mem::take(&mut self.crc).finalize() != entry.crc {
                return Err(Error::corrupt(format!(
                    "pack {} is damaged: the checksum of its stored bytes at offset {begin} does not match",
                    self.pack.id
                )));
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// Writes `shards` parity files for these packs. It reads each pack once and proves it on the way.
pub(crate) fn write_group(
    files: &RepositoryFiles,
    packs: &[PackId],
    shards: u8,
    progress: &dyn Progress,
) -> std::result::Result<GroupId, Refused> {
    let mut sources = Vec::with_capacity(packs.len());
    for id in packs {
        sources.push(PackScan::open(files, *id).map_err(|error| Refused::Member(*id, error))?);
    }
    let members =
        sources.iter().map(|source| Member { pack: source.pack.id, bytes: source.pack.bytes }).collect();
    let head = Head { repository: files.repository, members, shards, shard: 0 };
    let mut shards = begin_shards(files, &head).map_err(Refused::Failed)?;
    let mut digests = Vec::new();
    let mut slice = 0;
    while slice < head.slices() {
        if progress.cancelled() {
            return Err(Refused::Failed(Error::interrupted()));
        }
        let stretch = slice..head.slices().min(slice + SLICES_AT_ONCE);
        let read: Vec<Result<Slices>> =
            sources.par_iter_mut().map(|source| source.read(stretch.clone())).collect();
        let mut members = Vec::with_capacity(read.len());
        for (slices, id) in read.into_iter().zip(packs) {
            members.push(slices.map_err(|error| Refused::Member(*id, error))?);
        }
        progress.advance(Meter::Protected, members.iter().flatten().map(|bytes| to_u64(bytes.len())).sum());
        add_stretch(files, &head, stretch.clone(), members, &mut shards, &mut digests)
            .map_err(Refused::Failed)?;
        slice = stretch.end;
    }
    let id = head.group(&files.hasher, &digests);
    for (mut file, shard) in shards.into_iter().zip(0..) {
        file.append(&digests).map_err(Refused::Failed)?;
        file.publish(&layout::parity(id, shard)).map_err(Refused::Failed)?;
    }
    Ok(id)
}

fn begin_shards<'a>(files: &'a RepositoryFiles, head: &Head) -> Result<Vec<TempFile<'a>>> {
    (0..head.shards)
        .map(|shard| {
            let mut file = files.temp_file()?;
            file.append(&Head { shard, ..head.clone() }.encode())?;
            Ok(file)
        })
        .collect()
}

/// Computes the parity of a stretch and adds it to the shards, and the digests of everything in it
/// to `digests`.
fn add_stretch(
    files: &RepositoryFiles,
    head: &Head,
    stretch: std::ops::Range<u64>,
    mut members: Vec<Slices>,
    shards: &mut [TempFile<'_>],
    digests: &mut Vec<u8>,
) -> Result<()> {
    // By slice, not by pack.
    let mut by_slice: Vec<Slices> = Vec::new();
    for _ in stretch.clone() {
        by_slice.push(members.iter_mut().map(|slices| slices.remove(0)).collect());
    }
    let done: Vec<io::Result<(Vec<u8>, Slices)>> = stretch
        .zip(by_slice)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(slice, mut members)| {
            let digest = |bytes: &Vec<u8>| files.hasher.slice(bytes);
            let none = [0; DIGEST_BYTES];
            let mut digests: Vec<u8> = members
                .iter()
                .flat_map(|bytes| if bytes.is_empty() { none } else { digest(bytes) })
                .collect();
            members.iter_mut().for_each(|bytes| bytes.resize(head.slice_bytes(slice), 0));
            let parts: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
            let parity = erasure::encode(&parts, usize::from(head.shards))?;
            digests.extend(parity.iter().flat_map(digest));
            Ok((digests, parity))
        })
        .collect();
    for slice in done {
        let (of_slice, parity) = slice.map_err(|error| Error::stored_io("computing parity", error))?;
        digests.extend(of_slice);
        for (file, bytes) in shards.iter_mut().zip(&parity) {
            file.append(bytes)?;
        }
    }
    Ok(())
}
