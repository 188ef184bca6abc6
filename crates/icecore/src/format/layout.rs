//! The names of files and directories in a repository.

use std::fmt::Display;
use std::str::FromStr;

use crate::words::ids::GroupId;
use crate::words::ids::PackId;
use crate::words::ids::RunId;
use crate::words::ids::SnapshotId;

pub(crate) const CONFIG: &str = "config";
pub(crate) const SNAPSHOTS: &str = "snapshots";
pub(crate) const PACKS: &str = "packs";
pub(crate) const INDEX: &str = "index";
/// Parity of groups of packs, where it is kept.
pub(crate) const PARITY: &str = "parity";
pub(crate) const LOCKS: &str = "locks";
pub(crate) const TMP: &str = "tmp";
/// Copy-on-write volumes, a directory each.
pub(crate) const VOLUMES: &str = "volumes";
/// Packs that `repair` took out of use, kept for a person to look at.
pub(crate) const DAMAGED: &str = "damaged";
/// Counts how often gc has removed something; see `docs/concurrency.md`.
pub(crate) const GENERATION: &str = "generation";
/// When each pack was last read whole, as verifications have noted it.
pub(crate) const CHECKED: &str = "checked";
/// What verifications have found damaged; see `docs/durability.md`.
pub(crate) const DAMAGE: &str = "damage";
/// Takes up room that is given back when the disk is full, so that delete and gc can work.
pub(crate) const RESERVE: &str = "reserve";
/// All that can be in the directory of a repository.
pub(crate) const ROOT: [&str; 13] = [
    CHECKED, CONFIG, DAMAGE, DAMAGED, GENERATION, INDEX, LOCKS, PACKS, PARITY, RESERVE, SNAPSHOTS, TMP,
    VOLUMES,
];
/// How large [`RESERVE`] is.
pub(crate) const RESERVE_BYTES: usize = 256 << 10;

/// Held shortly and alone while a record is published, changed or removed.
pub(crate) const LOCK_COMMIT: &str = "locks/commit";
/// Held by the one gc or repair that may run.
pub(crate) const LOCK_GC: &str = "locks/gc";
/// Held by the one process that may replace index runs.
pub(crate) const LOCK_INDEX: &str = "locks/index";
/// Held by the one capture that may merge index runs, until those that it has merged are removed.
pub(crate) const LOCK_MERGE: &str = "locks/merge";

/// Held by the one process that may put packs that have parity into other groups.
pub(crate) const LOCK_PARITY: &str = "locks/parity";

/// The lock that a writer holds while it lives; its content lists the packs that it has published.
pub(crate) fn writer_lock(writer: &str) -> String {
    format!("{LOCKS}/writer-{writer}")
}

/// Returns the writer's name if `file` in `locks/` is a writer's lock.
pub(crate) fn writer_of_lock(file: &str) -> Option<&str> {
    file.strip_prefix("writer-")
}

/// The lock that everyone who reads a snapshot shares, and who deletes it needs alone.
pub(crate) fn pin_lock(id: SnapshotId) -> String {
    format!("{LOCKS}/pin-{id}")
}

pub(crate) fn snapshot(id: SnapshotId) -> String {
    format!("{SNAPSHOTS}/{id}")
}

/// The directory of a pack: packs are spread over 256 of them by the first byte of their id.
pub(crate) fn pack_dir(id: PackId) -> String {
    format!("{PACKS}/{:02x}", id.0[0])
}

pub(crate) fn pack(id: PackId) -> String {
    format!("{}/{id}", pack_dir(id))
}

pub(crate) fn run(id: RunId) -> String {
    format!("{INDEX}/{id}")
}

/// The file of one of the parity shards of a group.
pub(crate) fn parity(group: GroupId, shard: u8) -> String {
    format!("{PARITY}/{group}-{shard}")
}

/// Returns the group and the number of the shard if `file` in `parity/` is a parity file.
pub(crate) fn shard_of_parity(file: &str) -> Option<(GroupId, u8)> {
    let (group, shard) = file.split_once('-')?;
    let (group, shard) = (group.parse().ok()?, shard.parse().ok()?);
    (parity(group, shard).strip_prefix(PARITY)?.strip_prefix('/')? == file).then_some((group, shard))
}

/// Returns the id that a file is named after; none where the name is anything but the one form that such names have.
pub(crate) fn id_of<T: FromStr + Display>(file: &str) -> Option<T> {
    file.parse::<T>().ok().filter(|id| id.to_string() == file)
}

/// The directory of a volume.
pub(crate) fn volume_dir(name: &str) -> String {
    format!("{VOLUMES}/{name}")
}

/// The record of a volume, which exists with it.
pub(crate) fn volume_record(name: &str) -> String {
    format!("{VOLUMES}/{name}/record")
}

/// A record of a volume that is not finished yet.
pub(crate) fn volume_record_temp(name: &str) -> String {
    format!("{VOLUMES}/{name}/record.new")
}

/// The data of an overlay. A file has 8 TiB of it at most: some file systems have none that is larger than 16 TiB.
pub(crate) fn overlay(name: &str, number: u64, part: u64) -> String {
    match part {
        0 => format!("{VOLUMES}/{name}/overlay-{number}"),
        _ => format!("{VOLUMES}/{name}/overlay-{number}-{part}"),
    }
}

/// The dirty map of an overlay.
pub(crate) fn dirty_map(name: &str, number: u64) -> String {
    format!("{VOLUMES}/{name}/map-{number}")
}

/// Returns the number of the overlay that a file of a volume belongs to, if it belongs to one.
pub(crate) fn overlay_of(file: &str) -> Option<u64> {
    let number = match file.strip_prefix("map-") {
        Some(number) => number,
        None => file.strip_prefix("overlay-")?.split('-').next()?,
    };
    number.parse().ok()
}

/// The lock of whoever has a volume open, or changes it.
pub(crate) fn volume_lock(name: &str) -> String {
    format!("{LOCKS}/volume-{name}")
}

/// The lock of whoever replaces the record of a volume, for that moment.
pub(crate) fn volume_record_lock(name: &str) -> String {
    format!("{LOCKS}/record-{name}")
}

/// Where a file is kept that was no sound pack; `file` is the name it had, or one made from that.
pub(crate) fn damaged(file: &str) -> String {
    format!("{DAMAGED}/{file}")
}

/// A name for a file that is not finished yet; `writer` is unique to whoever writes it.
pub(crate) fn temp(writer: &str, number: u64) -> String {
    format!("{TMP}/{writer}-{number}")
}
