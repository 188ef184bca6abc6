//! Checks that parity files are unchanged since they were made.

use rayon::prelude::*;

use crate::format::layout;
use crate::repository::Repository;
use crate::stores::parity::cover::ParityState;
use crate::stores::parity::group::Group;
use crate::stores::parity::group::GroupReader;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::problem_of;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::next_step::NextStep;
use crate::words::progress::Progress;
use crate::words::sizes::to_u64;

/// Checks all parity files, and with `whole` every byte of them. Returns how many packs lack the
/// parity that they should have. This is not a finding: an interrupted capture leaves such packs,
/// and the next capture or gc makes the parity.
pub(crate) fn check_parity(
    repo: &Repository,
    whole: bool,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<u64> {
    let state = ParityState::load(repo.files())?;
    for (file, error) in &state.groups.unsound {
        findings.add(Object::File(format!("{}/{file}", layout::PARITY)), || {
            problem_of(error, NextStep::RepairParity)
        });
    }
    for group in state.groups.all.iter().filter(|_| whole) {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        check_group(repo, group, findings);
    }
    // What is wrong with the catalog is a finding of its own.
    let scheme = repo.parity().unwrap_or(repo.config.parity);
    Ok(scheme.map_or(0, |scheme| to_u64(state.uncovered(scheme).len())))
}

fn check_group(repo: &Repository, group: &Group, findings: &mut Findings) {
    let files = repo.files();
    let reader = GroupReader::open(files, group);
    for shard in &group.shards {
        let name = layout::parity(group.id, *shard);
        let error = match &reader {
            Ok(reader) if is_whole(reader, group, (*shard).into()) => continue,
            Ok(_) => &Error::corrupt("it is damaged: its parity does not match its digest"),
            Err(error) => error,
        };
        // Gc and captures remove groups when other groups replace them.
        if files.open(&name).is_ok() {
            findings.add(Object::File(name), || problem_of(error, NextStep::RepairParity));
        }
    }
}

fn is_whole(reader: &GroupReader, group: &Group, shard: usize) -> bool {
    let slices = (0..group.head.slices()).into_par_iter();
    slices.all(|slice| reader.read_shard(shard, slice).is_some()) && reader.has_sound_digests(shard, group.id)
}
