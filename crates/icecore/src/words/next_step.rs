//! What to do about an error or a finding, as data: each front words it for its own users.

use serde::Deserialize;
use serde::Serialize;

use crate::words::ids::SnapshotId;

/// The next step for the person who meets an error. What icecore itself can do is named here, and not how it is called:
/// a command line has commands for it, and a server has calls, or an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// Something outside of icecore, or the same for everybody: a clause without a period.
    Advice(String),

    /// Make a repository: there is none.
    InitRepository,
    /// See which snapshots there are.
    ListSnapshots {
        /// Whether what was looked for is too short for the beginning of an id.
        too_short: bool,
    },
    /// Look at the snapshot that is there already.
    GetSnapshot,
    /// Take the protection from a snapshot first, if it really is to go.
    UnprotectSnapshot(SnapshotId),
    /// Delete a snapshot that a volume stands on so that the volume keeps what it needs, or change the volume first.
    KeepClones {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The volume that stands on it.
        volume: String,
    },
    /// See which volumes there are.
    ListVolumes,
    /// Go back to the base of a volume: what was written since its last snapshot is lost.
    ResetVolume(String),
    /// Give the files of a volume, which another copy of the repository shares, files of their own.
    UnshareVolume(String),

    /// Make room where the repository is.
    FreeRepositorySpace,
    /// Make room, then take the snapshot again.
    FreeSpaceForSnapshot,

    /// Make the index again from the packs.
    RepairIndex,
    /// The same, once the medium was looked at.
    RepairIndexOfBadMedium,
    /// The same, once the file was moved out, if it stays unreadable.
    RepairIndexWithoutFile,
    /// Make the index again, which saves what can be read of a pack.
    SalvagePack,
    /// Verify to see which snapshots are affected, then make the index again.
    VerifyThenRepairIndex,
    /// Make the index again, then verify.
    RepairIndexThenVerify,
    /// Make the index again; what stays missing is lost, and a look at all snapshots says what that is.
    FindMissing,
    /// Make the index again and repair the packs, which say what is lost, or delete the snapshots that cannot be saved.
    RepairOrDelete,
    /// Repair index and packs, then verify again: there is more damage than was told.
    RepairThenVerify,

    /// Read all data to see what is damaged.
    VerifyData,
    /// Read all data to see what is damaged, then repair the packs.
    VerifyDataThenRepairPacks,
    /// The same; a restore that goes on has everything else.
    RepairPacksOrGoOn,
    /// Repair the packs: that brings back what it can, and says what is lost.
    RepairPacks,
    /// Repair the packs, although nothing is lost while the pack's directory is sound.
    RepairPackRecords,
    /// Repair the packs, which makes parity again.
    RepairParity,
    /// See which snapshots lost something.
    FindLost,
    /// Put back a copy of the file, or else see which snapshots lost something.
    PutBackOrFindLost,

    /// Make a raw disk of a file of another format with this command line, or take the file as it is.
    ConvertImage(String),
    /// Make a new file instead of writing into one that is not there.
    NewFile,
    /// Replace the file that is there, or write into it.
    ReplaceOrWriteInto,
    /// Write into the device.
    WriteInto,
    /// Name the file that a link leads to, or write into that.
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
