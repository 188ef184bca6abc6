//! The next step after an error or a finding, as data: each front words it for its users.

use serde::Deserialize;
use serde::Serialize;

use crate::words::ids::SnapshotId;

/// The next step for the person who meets an error. It names an operation of icecore, not a way to
/// call it: the command line has commands for it, and the server has calls, or an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// A step outside icecore, or one that is the same in all fronts: a clause without a period.
    Advice(String),

    /// Create a repository: there is none.
    InitRepository,
    /// List the snapshots.
    ListSnapshots {
        /// Whether the text is too short for a prefix of an id.
        too_short: bool,
    },
    /// List the deleted snapshots that can be restored.
    ListDeleted,
    /// Show the snapshot that already exists.
    GetSnapshot,
    /// Unprotect the snapshot first, to delete it anyway.
    UnprotectSnapshot(SnapshotId),
    /// Delete the snapshot so that a volume that stands on it keeps its data, or change the volume
    /// first.
    KeepClones {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The volume that stands on it.
        volume: String,
    },
    /// List the volumes.
    ListVolumes,
    /// Reset the volume: everything written since its last snapshot is lost.
    ResetVolume(String),
    /// Make the files of the volume independent of another copy of the repository that shares them.
    UnshareVolume(String),

    /// Free space on the repository's file system.
    FreeRepositorySpace,
    /// Free space, then take the snapshot again.
    FreeSpaceForSnapshot,

    /// Repair the catalog: a part of its journal is lost or damaged.
    RepairCatalog,
    /// Rebuild the index from the packs.
    RepairIndex,
    /// The same, after a check of the medium.
    RepairIndexOfBadMedium,
    /// The same, after moving the file out if it stays unreadable.
    RepairIndexWithoutFile,
    /// Rebuild the index, which saves the readable part of a pack.
    RecoverPack,
    /// Verify to see which snapshots are affected, then rebuild the index.
    VerifyThenRepairIndex,
    /// Rebuild the index, then verify.
    RepairIndexThenVerify,
    /// Rebuild the index. What stays missing is lost, and `repair snapshots` reports it.
    FindMissing,
    /// Rebuild the index and repair the packs, which report what is lost, or delete the snapshots
    /// that cannot be saved.
    RepairOrDelete,
    /// Repair index and packs, then verify again: there is more damage than was reported.
    RepairThenVerify,

    /// Read all data to see all damage.
    VerifyData,
    /// Read all data to see all damage, then repair the packs.
    VerifyDataThenRepairPacks,
    /// The same; a restore that continues after damage gives everything else.
    RepairPacksOrGoOn,
    /// Repair the packs, which recovers what it can and reports what is lost.
    RepairPacks,
    /// Repair the packs, although no data is lost while the pack's directory is sound.
    RepairPackRecords,
    /// Repair the packs, which recomputes parity.
    RepairParity,
    /// See which snapshots have lost data.
    FindLost,
    /// Put back a copy of the file, or else see which snapshots have lost data.
    PutBackOrFindLost,

    /// Convert a file of another format to a raw disk with this command, or take the file as it is.
    ConvertImage(String),
    /// Create a new file instead of writing into a missing one.
    NewFile,
    /// Replace the existing file, or write into it.
    ReplaceOrWriteInto,
    /// Write into the device.
    WriteInto,
    /// Name the file that the link leads to, or write into that file.
    FollowLink,
    /// Restore to another file system, or into a device.
    OtherFileSystem,
    /// Write to standard output.
    WriteToOutput,
}

impl<T: Into<String>> From<T> for NextStep {
    fn from(advice: T) -> Self {
        Self::Advice(advice.into())
    }
}
