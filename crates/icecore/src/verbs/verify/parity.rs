//! Looks at parity: that its files are what they were when they were made.

use rayon::prelude::*;

use crate::format::layout;
use crate::repository::Repository;
use crate::stores::parity_group::Group;
use crate::stores::parity_group::GroupReader;
use crate::stores::parity_group::Groups;
use crate::verbs::verify::findings::Findings;
use crate::verbs::verify::findings::Object;
use crate::verbs::verify::findings::problem_of;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::progress::Progress;

const NEXT: &str = "run `icecore repair packs`: it makes parity again";

/// Checks all parity files, and with `whole` every byte of them.
pub(crate) fn check_parity(
    repo: &Repository,
    whole: bool,
    findings: &mut Findings,
    progress: &dyn Progress,
) -> Result<()> {
    let groups = Groups::load(repo.base())?;
    for (file, error) in &groups.unsound {
        findings.add(Object::File(format!("{}/{file}", layout::PARITY)), || problem_of(error, NEXT));
    }
    for group in &groups.all {
        if progress.cancelled() {
            return Err(Error::interrupted());
        }
        let missing = |shard: &u8| !group.shards.contains(shard);
        for shard in (0..group.head.shards).filter(missing) {
            let object = Object::File(layout::parity(group.id, shard));
            let error = Error::corrupt("it is missing");
            findings.add(object, || problem_of(&error, NEXT));
        }
        if whole {
            check_group(repo, group, findings);
        }
    }
    Ok(())
}

fn check_group(repo: &Repository, group: &Group, findings: &mut Findings) {
    let damaged = |shard: u8| Object::File(layout::parity(group.id, shard));
    let reader = match GroupReader::open(repo.base(), group) {
        Ok(reader) => reader,
        Err(error) => {
            for shard in &group.shards {
                findings.add(damaged(*shard), || problem_of(&error, NEXT));
            }
            return;
        }
    };
    for shard in &group.shards {
        let sound = |slice| reader.read_shard(usize::from(*shard), slice).is_some();
        let all_sound = (0..group.head.slices()).into_par_iter().all(sound);
        if !all_sound || !reader.has_sound_digests(usize::from(*shard), group.id) {
            let error = Error::corrupt("it is damaged: its parity is not what was written");
            findings.add(damaged(*shard), || problem_of(&error, NEXT));
        }
    }
}
