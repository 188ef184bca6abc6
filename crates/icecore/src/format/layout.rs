//! The names of files and directories in a repository.

use std::fmt::Display;
use std::str::FromStr;

use crate::words::ids::GroupId;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::ids::SlotId;
use crate::words::ids::VolumeId;

pub(crate) const CONFIG: &str = "config";
/// The entries of the journal.
pub(crate) const JOURNAL: &str = "journal";
/// A second copy of each entry that no checkpoint has taken in.
pub(crate) const COPIES: &str = "journal-copies";
/// The catalog after some entries.
pub(crate) const CHECKPOINTS: &str = "checkpoint";
/// The key slots of a sealed repository.
pub(crate) const KEYS: &str = "keys";
/// A second copy of each key slot.
pub(crate) const KEY_COPIES: &str = "keys-copies";
pub(crate) const PACKS: &str = "packs";
pub(crate) const INDEX: &str = "index";
/// The directory of parity files.
pub(crate) const PARITY: &str = "parity";
/// Records of what clients read of snapshots.
pub(crate) const READS: &str = "reads";
/// Packs that `repair` took out of use, kept for inspection.
pub(crate) const DAMAGED: &str = "damaged";
/// Where other machines write too: objects that a gc makes for a moment to learn the time.
pub(crate) const SESSIONS: &str = "sessions";
/// What only this machine needs: a copy of the repository is whole without it.
pub(crate) const LOCAL: &str = "local";
pub(crate) const LOCKS: &str = "local/locks";
pub(crate) const TMP: &str = "local/tmp";
/// Copy-on-write volumes, one directory each.
pub(crate) const VOLUMES: &str = "local/volumes";
/// In a repository that other machines use too: which volumes were made on this one.
pub(crate) const OWN_VOLUMES: &str = "local/own-volumes";
/// The record of a volume, in its directory.
pub(crate) const RECORD: &str = "record";
/// The times at which verifications have read each pack whole.
pub(crate) const CHECKED: &str = "local/checked";
/// The damage that verifications have found; see `docs/durability.md`.
pub(crate) const DAMAGE: &str = "local/damage";
/// Space that is given back when the disk is full, so that delete and gc can work.
pub(crate) const RESERVE: &str = "local/reserve";
/// All names that can be in the directory of a repository.
pub(crate) const ROOT: [&str; 13] = [
    CHECKPOINTS,
    CONFIG,
    DAMAGED,
    INDEX,
    JOURNAL,
    COPIES,
    KEYS,
    KEY_COPIES,
    LOCAL,
    PACKS,
    PARITY,
    READS,
    SESSIONS,
];
/// The size of [`RESERVE`].
pub(crate) const RESERVE_BYTES: usize = 256 << 10;

/// Returns the file of a lock.
pub(crate) fn lock(name: &str) -> String {
    format!("{LOCKS}/{name}")
}

/// Returns the file of an entry, its copy, or a checkpoint.
pub(crate) fn numbered(dir: &str, number: u64) -> String {
    format!("{dir}/{}", number_name(number))
}

/// Returns the name of an entry or a checkpoint in its directory.
pub(crate) fn number_name(number: u64) -> String {
    format!("{number:016x}")
}

/// Returns the number of an entry or a checkpoint if `file` has the form of its name.
pub(crate) fn number_of(file: &str) -> Option<u64> {
    let number = u64::from_str_radix(file, 16).ok()?;
    (number_name(number) == file).then_some(number)
}

/// Returns the file of a key slot, in one of its places.
pub(crate) fn slot(place: &str, id: SlotId) -> String {
    format!("{place}/{id}")
}

pub(crate) fn pack(id: PackId) -> String {
    format!("{PACKS}/{id}")
}

pub(crate) fn run(id: RunId) -> String {
    format!("{INDEX}/{id}")
}

/// Returns the file of one of the parity shards of a group.
pub(crate) fn parity(group: GroupId, shard: u8) -> String {
    format!("{PARITY}/{group}-{shard}")
}

/// Returns the group and the number of the shard if `file` in `parity/` is a parity file.
pub(crate) fn shard_of_parity(file: &str) -> Option<(GroupId, u8)> {
    let (group, shard) = file.split_once('-')?;
    let (group, shard) = (group.parse().ok()?, shard.parse().ok()?);
    (parity(group, shard).strip_prefix(PARITY)?.strip_prefix('/')? == file).then_some((group, shard))
}

/// Returns a record of reads. `key` stands for the snapshot: see `stores::reads`.
pub(crate) fn reads(key: &str, number: u64) -> String {
    format!("{READS}/{key}-{number:04}")
}

/// Returns what stands for the snapshot, and the number, if `file` in `reads/` has the form of a
/// record's name.
pub(crate) fn key_of_reads(file: &str) -> Option<(&str, u64)> {
    let (key, number) = file.rsplit_once('-')?;
    let number = number.parse().ok()?;
    (reads(key, number).strip_prefix(READS)?.strip_prefix('/')? == file).then_some((key, number))
}

/// Returns the id in a file's name; none if the name does not have exactly that form.
pub(crate) fn id_of<T: FromStr + Display>(file: &str) -> Option<T> {
    file.parse::<T>().ok().filter(|id| id.to_string() == file)
}

/// Returns the file that says that a volume was made on this machine.
pub(crate) fn own_volume(id: VolumeId) -> String {
    format!("{OWN_VOLUMES}/{id}")
}

/// Returns the directory of a volume's files. What stands for the name of a volume here and in the
/// functions below is not always the name: see `RepositoryFiles::volume_key`.
pub(crate) fn volume_dir(name: &str) -> String {
    format!("{VOLUMES}/{name}")
}

/// Returns the record of a volume, which exists as long as the volume does.
pub(crate) fn volume_record(name: &str) -> String {
    format!("{VOLUMES}/{name}/{RECORD}")
}

/// Returns the name of an unfinished record of a volume.
pub(crate) fn volume_record_temp(name: &str) -> String {
    format!("{VOLUMES}/{name}/record.new")
}

/// Returns a file of an overlay's data. A file holds at most 8 TiB: some file systems allow at most
/// 16 TiB.
pub(crate) fn overlay(name: &str, number: u64, part: u64) -> String {
    match part {
        0 => format!("{VOLUMES}/{name}/overlay-{number}"),
        _ => format!("{VOLUMES}/{name}/overlay-{number}-{part}"),
    }
}

/// Returns the dirty map of an overlay.
pub(crate) fn dirty_map(name: &str, number: u64) -> String {
    format!("{VOLUMES}/{name}/map-{number}")
}

/// Returns the number of the overlay to which a file of a volume belongs, if any.
pub(crate) fn overlay_of(file: &str) -> Option<u64> {
    let number = match file.strip_prefix("map-") {
        Some(number) => number,
        None => file.strip_prefix("overlay-")?.split('-').next()?,
    };
    number.parse().ok()
}

/// Returns the place where a damaged pack is kept; `file` is its old name, or one derived from it.
pub(crate) fn damaged(file: &str) -> String {
    format!("{DAMAGED}/{file}")
}

/// Returns a name for an unfinished file; `writer` is unique to its writer.
pub(crate) fn temp(writer: &str, number: u64) -> String {
    format!("{TMP}/{writer}-{number}")
}
