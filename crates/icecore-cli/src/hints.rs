//! What to do next, in the words of the command line.

use icecore::Error;
use icecore::NextStep;
use icecore::maintenance::Finding;

/// Returns what the person who reads an error can do about it, if that is known.
pub(crate) fn hint_of(error: &Error) -> Option<String> {
    error.next_step().map(hint)
}

/// Returns what is wrong with what a verification found, and what to do about it.
pub(crate) fn problem_of(finding: &Finding) -> String {
    match &finding.next {
        Some(next) => format!("{}; {}", finding.problem, hint(next)),
        None => finding.problem.clone(),
    }
}

/// Returns a next step as a clause that names commands and flags.
fn hint(step: &NextStep) -> String {
    let fixed = match step {
        NextStep::Advice(advice) => advice,
        NextStep::InitRepository => "make one with `icecore init`",
        NextStep::ListSnapshots { too_short: true } => {
            "an id can be shortened to 4 characters or more; `icecore snapshot list` shows what is there"
        }
        NextStep::ListSnapshots { too_short: false } => "`icecore snapshot list` shows what is there",
        NextStep::GetSnapshot => "look at it with `icecore snapshot get`",
        NextStep::UnprotectSnapshot(id) => {
            return format!("`icecore snapshot unprotect {id}` first, if it really is to go");
        }
        NextStep::KeepClones { snapshot, volume } => {
            return format!(
                "let the volume keep what it needs of it: `icecore snapshot delete --keep-clones {snapshot}`; or delete the \
                 volume first, or give it another base: `icecore volume restore {volume} SNAPSHOT`"
            );
        }
        NextStep::ListVolumes => "`icecore volume list` shows what is there",
        NextStep::ResetVolume(volume) => {
            return format!(
                "what was written to the volume since its last snapshot is lost with it; `icecore volume reset {volume}` \
                 makes it usable again"
            );
        }
        NextStep::UnshareVolume(volume) => {
            return format!(
                "remove the other copy, or give this one a file of its own, for each file that is named: \
                 `cp -a --sparse=always FILE FILE.new && mv FILE.new FILE`; `icecore volume reset {volume}` drops what was \
                 written"
            );
        }
        NextStep::FreeRepositorySpace => {
            "free some space on the repository's file system, for example with `icecore snapshot delete` and `icecore gc`"
        }
        NextStep::FreeSpaceForSnapshot => {
            "free some space, for example with `icecore gc`, and take the snapshot again"
        }
        NextStep::RepairIndex => "run `icecore repair index`: it makes the index again from the packs",
        NextStep::RepairIndexOfBadMedium => {
            "look at the medium; `icecore repair index` makes the index again from the packs"
        }
        NextStep::RepairIndexWithoutFile => {
            "look at the medium; if the file stays unreadable, move it out of the repository, and run `icecore repair index`"
        }
        NextStep::SalvagePack => "run `icecore repair index`: it saves what can be read of the pack",
        NextStep::VerifyThenRepairIndex => {
            "run `icecore verify` to see which snapshots are affected, then `icecore repair index`"
        }
        NextStep::RepairIndexThenVerify => "run `icecore repair index`, then `icecore verify`",
        NextStep::FindMissing => {
            "run `icecore repair index`; if it stays missing, `icecore repair snapshots` says what is lost"
        }
        NextStep::RepairOrDelete => {
            "run `icecore repair index`, then `icecore repair packs`, which say what is lost; or delete the snapshots that \
             cannot be saved"
        }
        NextStep::RepairThenVerify => {
            "run `icecore repair index` and `icecore repair packs`, then verify again"
        }
        NextStep::VerifyData => "run `icecore verify --read-data`",
        NextStep::VerifyDataThenRepairPacks => {
            "run `icecore verify --read-data` to see all that is damaged and which snapshots are affected, then `icecore \
             repair packs`, which brings back what it can"
        }
        NextStep::RepairPacksOrGoOn => {
            "run `icecore verify --read-data` to see all that is damaged; `icecore repair packs` brings back what it can, \
             and --keep-going restores everything else"
        }
        NextStep::RepairPacks => {
            "run `icecore repair packs`: it brings back what it can, and says what is lost"
        }
        NextStep::RepairPackRecords => {
            "nothing is lost by that while the pack's directory is sound; `icecore repair packs` mends it"
        }
        NextStep::RepairParity => "run `icecore repair packs`: it makes parity again",
        NextStep::FindLost => "run `icecore repair snapshots` to see what is lost",
        NextStep::PutBackOrFindLost => {
            "if there is a copy of the file, put it back; else `icecore repair snapshots` says what is lost"
        }
        NextStep::ConvertImage(command) => {
            return format!("make a raw disk of it with `{command}`; --format raw takes it as it is");
        }
        NextStep::NewFile => "leave out --in-place to make a new file",
        NextStep::ReplaceOrWriteInto => "use --force to replace it, or --in-place to write into it",
        NextStep::WriteInto => "use --in-place to write into it",
        NextStep::FollowLink => "name the file it points to, or use --in-place to write into that",
        NextStep::OtherFileSystem => "restore to another file system, or to a block device with --in-place",
        NextStep::WriteToOutput => "use - to write to standard output",
    };
    fixed.to_owned()
}
