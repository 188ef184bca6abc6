//! The parity cover of a repository: which packs have parity, and parity for those that have none.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::format::layout;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks;
use crate::stores::pack::file::PackFile;
use crate::stores::pack::list::list_packs;
use crate::stores::parity::group::Group;
use crate::stores::parity::group::Groups;
use crate::stores::parity::writer::Refused;
use crate::stores::parity::writer::write_group;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::GroupId;
use crate::words::ids::PackId;
use crate::words::parity::ParityScheme;
use crate::words::progress::Meter;
use crate::words::progress::NoProgress;
use crate::words::progress::Progress;
use crate::world::sessions::Work;

/// A group of few packs is joined with new ones up to this many bytes, even if they are fewer:
/// these bytes are read again.
const JOINED_BYTES: u64 = 64 << 20;

/// The result of covering packs.
#[derive(Default)]
pub(crate) struct Covered {
    pub(crate) groups_made: u64,
    /// The packs that got parity.
    pub(crate) packs: u64,
    /// The damaged packs that got none, each with the problem.
    pub(crate) refused: Vec<(PackId, Error)>,
}

/// The packs and the parity of a repository at a moment.
pub(crate) struct ParityState {
    pub(crate) groups: Groups,
    /// The packs that stay.
    packs: BTreeSet<PackId>,
    /// Those of running writers, which write their parity themselves.
    of_others: BTreeSet<PackId>,
}

impl ParityState {
    pub(crate) fn load(files: &RepositoryFiles) -> Result<Self> {
        // The order matters: a group is made after its packs, so that one that is listed without
        // its packs has lost them.
        let groups = Groups::load(files)?;
        let packs = list_packs(files)?.into_iter().collect();
        let of_others = locks::packs_of_other_writers(files)?.into_iter().collect();
        Ok(Self { groups, packs, of_others })
    }

    /// Returns the state after the removal of `going`.
    pub(crate) fn without(mut self, going: &[PackId]) -> Self {
        going.iter().for_each(|pack| {
            self.packs.remove(pack);
        });
        self
    }

    /// Returns the number of packs.
    pub(crate) fn packs(&self) -> usize {
        self.packs.len()
    }

    /// Returns whether a group gives its packs all the parity that the scheme demands.
    fn is_whole(&self, group: &Group, scheme: ParityScheme) -> bool {
        group.head.shards == scheme.files()
            && group.head.members.len() <= usize::from(scheme.packs())
            && group.has_all_shards()
            && group.packs().all(|pack| self.packs.contains(&pack))
    }

    /// Returns the packs that no whole group has.
    pub(crate) fn uncovered(&self, scheme: ParityScheme) -> BTreeSet<PackId> {
        let whole = self.groups.all.iter().filter(|group| self.is_whole(group, scheme));
        let covered: BTreeSet<PackId> = whole.flat_map(Group::packs).collect();
        self.packs.difference(&covered).copied().collect()
    }

    /// Returns small groups that new packs can join.
    fn small(&self, scheme: ParityScheme) -> Vec<&Group> {
        let is_small = |group: &&Group| {
            self.is_whole(group, scheme)
                && group.head.members.len() < usize::from(scheme.packs())
                && !group.packs().any(|pack| self.of_others.contains(&pack))
        };
        let mut small: Vec<&Group> = self.groups.all.iter().filter(is_small).collect();
        small.sort_by_key(|group| (group.bytes(), group.id));
        small
    }
}

/// Computes parity for the packs that have none. The caller holds the parity lock.
pub(crate) fn cover(
    files: &RepositoryFiles,
    scheme: ParityScheme,
    state: &ParityState,
    progress: &dyn Progress,
) -> Result<Covered> {
    let mut covered = Covered::default();
    let mut pool: BTreeMap<PackId, u64> = BTreeMap::new();
    for id in state.uncovered(scheme).into_iter().filter(|pack| !state.of_others.contains(pack)) {
        match PackFile::open(files, id) {
            Ok(pack) => {
                pool.insert(id, pack.bytes);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => covered.refused.push((id, error)),
            Err(error) => return Err(error),
        }
    }
    let bytes = pool.values().sum::<u64>();
    progress.total(Meter::Protected, bytes);
    let size = usize::from(scheme.packs());
    let mut joined = 0;
    for group in state.small(scheme) {
        joined += group.bytes();
        let last = pool.len() % size;
        if last == 0 || last + group.head.members.len() > size || joined > JOINED_BYTES.max(2 * bytes) {
            break;
        }
        pool.extend(group.head.members.iter().map(|member| (member.pack, member.bytes)));
    }
    progress.total(Meter::Protected, pool.values().sum());
    // A group's parity is as long as its longest pack: packs of about the same length go together.
    let mut pool: Vec<(PackId, u64)> = pool.into_iter().collect();
    pool.sort_by_key(|(id, bytes)| (std::cmp::Reverse(*bytes), *id));
    for packs in pool.chunks(size) {
        cover_group(files, scheme, packs.iter().map(|(id, _)| *id).collect(), &mut covered, progress)?;
    }
    Ok(covered)
}

/// Computes parity of one group, without the packs that turn out to be damaged.
fn cover_group(
    files: &RepositoryFiles,
    scheme: ParityScheme,
    mut packs: Vec<PackId>,
    covered: &mut Covered,
    progress: &dyn Progress,
) -> Result<()> {
    while !packs.is_empty() {
        match write_group(files, &packs, scheme.files(), progress) {
            Ok(_) => {
                covered.groups_made += 1;
                covered.packs += packs.len() as u64;
                return Ok(());
            }
            Err(Refused::Member(id, error))
                if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) =>
            {
                packs.retain(|pack| *pack != id);
                covered.refused.push((id, error));
            }
            Err(Refused::Member(_, error) | Refused::Failed(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Removes useless parity: groups whose packs are all gone or have parity in another, whole group,
/// and everything if the repository keeps no parity. Returns the number of removed files. The
/// caller holds the parity lock.
pub(crate) fn remove_superfluous(
    files: &RepositoryFiles,
    scheme: Option<ParityScheme>,
    state: &ParityState,
) -> Result<u64> {
    let groups = &state.groups;
    let whole = |group: &&Group| scheme.is_some_and(|scheme| state.is_whole(group, scheme));
    let mut whole: Vec<&Group> = groups.all.iter().filter(whole).collect();
    // The larger groups first: their packs need not be in smaller ones.
    whole.sort_by_key(|group| (std::cmp::Reverse(group.head.members.len()), group.id));
    let (mut kept, mut covered) = (BTreeSet::new(), BTreeSet::new());
    for group in whole {
        if group.packs().any(|pack| !covered.contains(&pack)) {
            covered.extend(group.packs());
            kept.insert(group.id);
        }
    }
    let of_use = |pack: PackId| scheme.is_some() && state.packs.contains(&pack) && !covered.contains(&pack);
    let mut going: Vec<(GroupId, u8)> = Vec::new();
    for group in groups.all.iter().filter(|group| !kept.contains(&group.id)) {
        if !group.packs().any(of_use) {
            going.extend(group.shards.iter().map(|shard| (group.id, *shard)));
        }
    }
    // A damaged file may still be useful while there are packs without other parity.
    if scheme.is_none() || state.packs.is_subset(&covered) {
        going.extend(groups.unsound.iter().filter_map(|(file, _)| layout::shard_of_parity(file)));
    }
    if !going.is_empty() {
        config::check_again(files)?;
        for (group, shard) in &going {
            files.delete_unneeded(&layout::parity(*group, *shard))?;
        }
        files.sync(layout::PARITY)?;
    }
    Ok(going.len() as u64)
}

/// Parity for the packs of one writer, as they are published.
pub(crate) struct ParityKeeper<'a> {
    files: &'a RepositoryFiles,
    scheme: ParityScheme,
    /// Published, without parity yet.
    waiting: Mutex<Vec<PackId>>,
}

impl<'a> ParityKeeper<'a> {
    pub(crate) fn new(files: &'a RepositoryFiles, scheme: ParityScheme) -> Self {
        Self { files, scheme, waiting: Mutex::default() }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<PackId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a newly published pack. Computes the parity of a full group at once.
    pub(crate) fn add(&self, pack: PackId) -> Result<()> {
        let full = {
            let mut waiting = self.waiting();
            waiting.push(pack);
            match waiting.len() >= usize::from(self.scheme.packs()) {
                true => std::mem::take(&mut *waiting),
                false => return Ok(()),
            }
        };
        // What stops the capture stops it before its next pack.
        self.write(&full, &NoProgress)
    }

    /// Computes parity for the waiting packs, joined with small groups. When this returns, all of
    /// them have parity.
    pub(crate) fn finish(&self, progress: &dyn Progress) -> Result<()> {
        let rest = std::mem::take(&mut *self.waiting());
        if rest.is_empty() {
            return Ok(());
        }
        // If gc or another capture holds the lock, existing groups stay as they are.
        let Some(_lock) = locks::try_only(self.files, Work::Parity)? else {
            return self.write(&rest, progress);
        };
        let covered = cover(self.files, self.scheme, &ParityState::load(self.files)?, progress)?;
        if let Some((_, error)) = covered.refused.into_iter().find(|(pack, _)| rest.contains(pack)) {
            return Err(error.in_context("cannot read back data that was just written"));
        }
        remove_superfluous(self.files, Some(self.scheme), &ParityState::load(self.files)?).map(|_| ())
    }

    fn write(&self, packs: &[PackId], progress: &dyn Progress) -> Result<()> {
        match write_group(self.files, packs, self.scheme.files(), progress) {
            Ok(_) => Ok(()),
            Err(Refused::Member(_, error)) => {
                Err(error.in_context("cannot read back data that was just written"))
            }
            Err(Refused::Failed(error)) => Err(error),
        }
    }
}
