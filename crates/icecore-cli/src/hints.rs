//! Hints: next steps in the words of the command line.

use icecore::Error;
use icecore::NextStep;
use icecore::maintenance::Finding;

/// Returns the hint of an error, if it has one.
pub(crate) fn hint_of(error: &Error) -> Option<String> {
    error.next_step().map(hint)
}

/// Returns the problem of a finding with its hint.
pub(crate) fn problem_of(finding: &Finding) -> String {
    match &finding.next {
        Some(next) => format!("{}; {}", finding.problem, hint(next)),
        None => finding.problem.clone(),
    }
}

/// Returns a next step as a clause that names commands and flags.
#[expect(clippy::too_many_lines, reason = "one text for each step")]
fn hint(step: &NextStep) -> String {
    let fixed = match step {
        NextStep::Advice(advice) => advice,
        NextStep::InitRepository => "create one with `icecore init`",
        NextStep::ListSnapshots { too_short: true } => {
            "a prefix of an id needs at least 4 characters; `icecore snapshot list` lists the snapshots"
        }
        NextStep::ListSnapshots { too_short: false } => "`icecore snapshot list` lists the snapshots",
        NextStep::ListDeleted => {
            "`icecore snapshot list --deleted` lists the deleted snapshots that can still be restored"
        }
        NextStep::GetSnapshot => "show it with `icecore snapshot get`",
        NextStep::UnprotectSnapshot(id) => {
            return format!("to delete it anyway, run `icecore snapshot unprotect {id}` first");
        }
        NextStep::KeepClones { snapshot, volume } => {
            return format!(
                "to let the volume keep the data it needs, run `icecore snapshot delete --keep-clones {snapshot}`; or delete the \
                 volume first, or replace its content with `icecore volume restore {volume} SNAPSHOT`"
            );
        }
        NextStep::ListVolumes => "`icecore volume list` lists the volumes",
        NextStep::ResetVolume(volume) => {
            return format!(
                "everything written to the volume since its last snapshot is lost; `icecore volume reset {volume}` makes it \
                 usable again"
            );
        }
        NextStep::UnshareVolume(volume) => {
            return format!(
                "remove the other copy, or make each named file independent: `cp -a --sparse=always FILE FILE.new && mv \
                 FILE.new FILE`; `icecore volume reset {volume}` discards all changes to the volume"
            );
        }
        NextStep::FreeRepositorySpace => {
            "free some space on the repository's file system, for example with `icecore snapshot delete` and `icecore gc`"
        }
        NextStep::FreeSpaceForSnapshot => {
            "free some space, for example with `icecore gc`, and take the snapshot again"
        }
        NextStep::RepairCatalog => {
            "run `icecore repair catalog`, which restores what is lost or damaged from its copies"
        }
        NextStep::RepairIndex => "run `icecore repair index` to rebuild the index from the packs",
        NextStep::RepairIndexOfBadMedium => {
            "check the medium; `icecore repair index` rebuilds the index from the packs"
        }
        NextStep::RepairIndexWithoutFile => {
            "check the medium; if the file stays unreadable, move it out of the repository and run `icecore repair index`"
        }
        NextStep::RecoverPack => "run `icecore repair index` to save the readable part of the pack",
        NextStep::VerifyThenRepairIndex => {
            "run `icecore verify` to see which snapshots are affected, then `icecore repair index`"
        }
        NextStep::RepairIndexThenVerify => "run `icecore repair index`, then `icecore verify`",
        NextStep::FindMissing => {
            "run `icecore repair index`; if it stays missing, `icecore repair snapshots` reports what is lost"
        }
        NextStep::RepairOrDelete => {
            "run `icecore repair index`, then `icecore repair packs`, which report what is lost; or delete the snapshots \
             that cannot be saved"
        }
        NextStep::RepairThenVerify => {
            "run `icecore repair index` and `icecore repair packs`, then verify again"
        }
        NextStep::VerifyData => "run `icecore verify --read-data`",
        NextStep::VerifyDataThenRepairPacks => {
            "run `icecore verify --read-data` to see all damage and the affected snapshots, then `icecore repair packs` to \
             recover what it can"
        }
        NextStep::RepairPacksOrGoOn => {
            "run `icecore verify --read-data` to see all damage; `icecore repair packs` recovers what it can, and \
             --keep-going restores everything else"
        }
        NextStep::RepairPacks => {
            "run `icecore repair packs` to recover what it can and to report what is lost"
        }
        NextStep::RepairPackRecords => {
            "no data is lost while the pack's directory is sound; `icecore repair packs` repairs it"
        }
        NextStep::RepairParity => "run `icecore repair packs` to recompute the parity",
        NextStep::FindLost => "run `icecore repair snapshots` to see what is lost",
        NextStep::PutBackOrFindLost => {
            "put back a copy of the file if there is one; otherwise `icecore repair snapshots` reports what is lost"
        }
        NextStep::ConvertImage(command) => {
            return format!(
                "convert it to a raw disk with `{command}`, or use --format raw to take it as it is"
            );
        }
        NextStep::NewFile => "leave out --in-place to create a new file",
        NextStep::ReplaceOrWriteInto => "use --force to replace it, or --in-place to write into it",
        NextStep::WriteInto => "use --in-place to write into it",
        NextStep::FollowLink => "name the file it points to, or use --in-place to write into that",
        NextStep::OtherFileSystem => "restore to another file system, or to a block device with --in-place",
        NextStep::WriteToOutput => "use - to write to standard output",
    };
    fixed.to_owned()
}
