//! What to do next, in the words of an HTTP API: its clients have its calls, and whoever runs the server has the rest.

use icecore::NextStep;

/// Returns a next step as a clause for a client; none where a client has nothing to do about it.
pub(crate) fn hint(step: &NextStep) -> Option<String> {
    let fixed = match step {
        NextStep::Advice(advice) => advice,
        NextStep::ListSnapshots { .. } | NextStep::GetSnapshot => "GET /v2/snapshots shows what is there",
        NextStep::ListVolumes => "GET /v2/volumes shows what is there",
        NextStep::UnprotectSnapshot(_) => "whoever runs this server can take its protection away",
        NextStep::KeepClones { volume, .. } => return Some(format!("delete the volume {volume} first")),
        NextStep::ResetVolume(_) => {
            "what was written since its last snapshot is lost; whoever runs this server can make it usable again"
        }
        NextStep::FreeRepositorySpace | NextStep::FreeSpaceForSnapshot => {
            "delete snapshots or volumes that are not needed; whoever runs this server frees their space"
        }
        NextStep::InitRepository => "whoever runs this server has to make its repository",
        NextStep::UnshareVolume(_) => "whoever runs this server has to give it files of its own",
        NextStep::RepairIndex
        | NextStep::RepairIndexOfBadMedium
        | NextStep::RepairIndexWithoutFile
        | NextStep::SalvagePack
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
        | NextStep::PutBackOrFindLost => "whoever runs this server has to verify and repair its repository",
        NextStep::ConvertImage(command) => return Some(format!("make a raw disk of it with `{command}`")),
        // Those that come of what a command line says about its target.
        NextStep::NewFile
        | NextStep::ReplaceOrWriteInto
        | NextStep::WriteInto
        | NextStep::FollowLink
        | NextStep::OtherFileSystem
        | NextStep::WriteToOutput => return None,
    };
    Some(fixed.to_owned())
}
