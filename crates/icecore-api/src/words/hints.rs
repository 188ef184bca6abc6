//! Hints: next steps in terms of the HTTP API. Its clients can make calls; the server's operator
//! does the rest.

use icecore::NextStep;

/// Returns a next step as a clause for a client; none if the client can do nothing about it.
pub(crate) fn hint(step: &NextStep) -> Option<String> {
    let fixed = match step {
        NextStep::Advice(advice) => advice,
        NextStep::ListSnapshots { .. } | NextStep::ListDeleted | NextStep::GetSnapshot => {
            "GET /v2/snapshots lists the snapshots"
        }
        NextStep::ListVolumes => "GET /v2/volumes lists the volumes",
        NextStep::UnprotectSnapshot(_) => "the operator of this server can remove its protection",
        NextStep::KeepClones { volume, .. } => return Some(format!("delete the volume {volume} first")),
        NextStep::ResetVolume(_) => {
            "everything written since its last snapshot is lost; the operator of this server can make it usable again"
        }
        NextStep::FreeRepositorySpace | NextStep::FreeSpaceForSnapshot => {
            "delete snapshots or volumes that you do not need; the operator of this server frees their space"
        }
        NextStep::InitRepository => "the operator of this server must create its repository",
        NextStep::UnshareVolume(_) => "the operator of this server must make its files independent",
        NextStep::RepairCatalog
        | NextStep::RepairIndex
        | NextStep::RepairIndexOfBadMedium
        | NextStep::RepairIndexWithoutFile
        | NextStep::RecoverPack
        | NextStep::VerifyThenRepairIndex
        | NextStep::RepairIndexThenVerify
        | NextStep::FindMissing
        | NextStep::RepairOrDelete
        | NextStep::RepairThenVerify
        | NextStep::VerifyData
        | NextStep::VerifyDataThenRepairPacks
        | NextStep::RepairPacksOrGoOn
        | NextStep::RepairPacks
        | NextStep::RepairPackRecords
        | NextStep::RepairParity
        | NextStep::FindLost
        | NextStep::PutBackOrFindLost => "the operator of this server must verify and repair its repository",
        NextStep::ConvertImage(command) => return Some(format!("convert it to a raw disk with `{command}`")),
        // Steps about the target of a command line.
        NextStep::NewFile
        | NextStep::ReplaceOrWriteInto
        | NextStep::WriteInto
        | NextStep::FollowLink
        | NextStep::OtherFileSystem
        | NextStep::WriteToOutput => return None,
    };
    Some(fixed.to_owned())
}
