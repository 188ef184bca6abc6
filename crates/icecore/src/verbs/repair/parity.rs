//! Rebuilds packs from parity, and remakes damaged or missing parity.

use std::collections::BTreeSet;

use rayon::prelude::*;

use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::pack::audit::open_sound;
use crate::stores::parity::cover::ParityState;
use crate::stores::parity::cover::cover;
use crate::stores::parity::cover::remove_superfluous;
use crate::stores::parity::group::Group;
use crate::stores::parity::group::GroupReader;
use crate::stores::parity::group::Groups;
use crate::stores::parity::writer::Refused;
use crate::stores::parity::writer::write_group;
use crate::stores::recovery::rebuilt_packs::rebuilt;
use crate::stores::recovery::rebuilt_packs::write_back;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::progress::Progress;

/// How thoroughly packs are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Only whether their directories are sound.
    Directories,
    /// Every byte.
    Whole,
}

/// Puts back all missing or damaged packs that parity can rebuild completely. With `dry_run` it
/// only lists them. The caller holds the gc lock.
pub(crate) fn put_back(
    repo: &Repository,
    look: Look,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<Vec<PackId>> {
    let files = repo.files();
    let groups = Groups::load(files)?;
    let (mut seen, mut put_back) = (BTreeSet::new(), Vec::new());
    for group in &groups.all {
        let Ok(reader) = GroupReader::open(files, group) else { continue };
        for (pack, member) in group.packs().zip(0..) {
            if progress.cancelled() {
                return Err(Error::interrupted());
            }
            if !seen.insert(pack) || is_sound(files, &reader, pack, member, look) {
                continue;
            }
            let Some(rebuilt) = rebuilt(files, &groups, pack) else { continue };
            // If parity cannot rebuild a pack completely, it is recovered record by record.
            if dry_run || write_back(files, &rebuilt).is_ok() {
                put_back.push(pack);
            }
        }
    }
    if !put_back.is_empty() && !dry_run {
        repo.store.reload()?;
    }
    Ok(put_back)
}

fn is_sound(files: &RepositoryFiles, reader: &GroupReader, pack: PackId, member: usize, look: Look) -> bool {
    match look {
        Look::Directories => open_sound(files, pack).is_ok(),
        Look::Whole => {
            let slices = (0..reader.head.slices()).into_par_iter();
            slices.all(|slice| reader.read_member(member, slice).is_some()) && reader.has_length(member)
        }
    }
}

/// Remakes damaged or missing parity. Returns how many groups were made. The caller holds the
/// parity lock.
pub(crate) fn renew(repo: &Repository, progress: &dyn Progress) -> Result<u64> {
    let files = repo.files();
    let Some(scheme) = repo.parity()? else { return Ok(0) };
    let mut made = 0;
    for group in ParityState::load(files)?.groups.all.iter().filter(|group| !is_whole(files, group)) {
        let packs: Vec<PackId> = group.packs().collect();
        match write_group(files, &packs, scheme.files(), progress) {
            Ok(_) => made += 1,
            // The remaining packs of the group go into other groups.
            Err(Refused::Member(..)) => {}
            Err(Refused::Failed(error)) => return Err(error),
        }
    }
    made += cover(files, scheme, &ParityState::load(files)?, progress)?.groups_made;
    remove_superfluous(files, Some(scheme), &ParityState::load(files)?)?;
    Ok(made)
}

/// Tells whether all parity of a group exists as it was made.
fn is_whole(files: &RepositoryFiles, group: &Group) -> bool {
    let Ok(reader) = GroupReader::open(files, group) else { return false };
    (0..group.head.shards).all(|shard| {
        let slices = (0..group.head.slices()).into_par_iter();
        reader.has_sound_digests(shard.into(), group.id)
            && slices.all(|slice| reader.read_shard(shard.into(), slice).is_some())
    })
}
