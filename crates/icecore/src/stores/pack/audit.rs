//! The audit of a pack: its ends and its directory must match its id, and every entry must make sense.

use crate::format::pack::Entry;
use crate::format::pack::EntryKind;
use crate::stores::files::RepositoryFiles;
use crate::stores::pack::file::PackFile;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::ChunkId;
use crate::words::ids::PackId;
use crate::words::next_step::NextStep;
use crate::words::sizes::BLOCK_BYTES;
use crate::words::sizes::to_u64;

/// Opens a pack that must be sound as a whole.
pub(crate) fn open_sound(files: &RepositoryFiles, id: PackId) -> Result<PackFile> {
    let pack = PackFile::open(files, id)?;
    check_pack(files, &pack, |_, _| {})?;
    Ok(pack)
}

/// Checks everything about an open pack that can be known without reading its records, and calls
/// `each` for every entry.
pub(crate) fn check_pack(
    files: &RepositoryFiles,
    pack: &PackFile,
    mut each: impl FnMut(u32, &Entry),
) -> Result<()> {
    if !pack.has_its_id(files) {
        return Err(wrong(pack, "its header, directory or trailer does not match its name"));
    }
    for number in 0..pack.entries() {
        let entry = pack.entry(number)?;
        check_entry(files, pack, &entry)?;
        each(number, &entry);
    }
    Ok(())
}

fn check_entry(files: &RepositoryFiles, pack: &PackFile, entry: &Entry) -> Result<()> {
    let kind = entry.kind();
    if !pack.header().kind.may_hold(kind) {
        let of_kind = format!("entry {} is not of the kind of the pack", ChunkId(entry.id));
        return Err(wrong(pack, &of_kind));
    }
    let fits = match kind {
        EntryKind::Page | EntryKind::Record => entry.bitmap.is_none(),
        EntryKind::Chunk => {
            let present = to_u64(pack.present_slots(entry).len() * BLOCK_BYTES);
            // A punched chunk may have nothing left but the ids of its blocks, by which they are
            // found elsewhere.
            (present > 0 || entry.bitmap.is_some()) && present == u64::from(entry.raw_bytes)
        }
    };
    if !fits {
        return Err(wrong(pack, &format!("the slots of entry {} do not match", ChunkId(entry.id))));
    }
    if kind == EntryKind::Chunk && files.hasher.chunk(&pack.block_ids_of(entry)).0 != entry.id {
        return Err(wrong(
            pack,
            &format!("the block ids of chunk {} do not match its id", ChunkId(entry.id)),
        ));
    }
    Ok(())
}

fn wrong(pack: &PackFile, why: &str) -> Error {
    Error::corrupt(format!("pack {} is damaged: {why}", pack.id)).with_hint(NextStep::RecoverPack)
}
