//! Lists of snapshots, from an index of them: what is on a page is read afterwards.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use icecore::snapshot::Moment;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use uuid::Uuid;

use crate::pool::Pool;
use crate::pool::volumes::VolumeTable;
use crate::service::accounts::Who;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_index::Entry;
use crate::service::snapshot_index::Index;
use crate::service::snapshot_index::Key;
use crate::service::snapshot_index::Keys;
use crate::service::snapshot_index::Word;
use crate::service::snapshot_index::part;
use crate::service::tag_names::is_same;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The newest snapshots of a volume that may be more recent than the others, whatever the clock
/// was.
const NEWEST: usize = 8;

/// What a list has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// The account's own snapshots and images.
    pub(crate) own: bool,
    /// The base images.
    pub(crate) base: bool,
    pub(crate) kind: Option<ResourceKind>,
    /// Sorts of snapshots, or none for all of them.
    pub(crate) classes: &'static [Class],
    /// The slug of a region that has them.
    pub(crate) region: Option<String>,
    /// A tag of theirs; only own ones have any.
    pub(crate) tag: Option<String>,
    /// The id of the disk that they were taken from, with its kind.
    pub(crate) of: Option<(ResourceKind, Uuid)>,
}

/// An entry of a list.
pub(crate) enum Listed<S, T> {
    Snapshot(S),
    /// Something else that is in the list.
    Other(T),
}

/// A part of a list.
pub(crate) struct Part<T> {
    pub(crate) items: Vec<T>,
    /// The number of items in the whole list.
    pub(crate) total: usize,
}

/// A tag on snapshots of one kind.
pub(crate) struct TagOnSnapshots {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
    pub(crate) count: usize,
    /// When the oldest that has it was created.
    pub(crate) oldest_unix_ms: i64,
    /// When the newest that has it was created, and its id in the API.
    pub(crate) newest: (i64, String),
}

/// The snapshots of a volume, as far as another one depends on them.
pub(crate) struct Taken {
    pub(crate) count: usize,
    /// Whether one has the name.
    pub(crate) name_is_taken: bool,
    /// Some of the newest.
    pub(crate) newest: Vec<Snapshot>,
}

type Sets<'a> = Vec<(Word, Cow<'a, Keys>)>;

impl Wanted {
    /// Returns the snapshots of an account, including backups and imported images.
    pub(crate) fn own() -> Self {
        Self { own: true, ..Self::default() }
    }

    fn has_class(&self, class: Class) -> bool {
        self.classes.is_empty() || self.classes.contains(&class)
    }

    fn sets<'a>(&self, known: &'a Known, who: &Who) -> Sets<'a> {
        let (own, nobody) = (known.index.owner(&who.0), known.index.owner(""));
        if let Some((kind, id)) = self.of {
            let found = own.and_then(|own| Some((own, known.index.of_resource(own, kind, id)?)));
            let some = |(own, keys): (Word, &'a Keys)| {
                let is_wanted = |key: &&Key| {
                    known.index.get(key.1, own).is_some_and(|entry| self.has_class(entry.group.class))
                };
                match self.classes {
                    [] => (own, Cow::Borrowed(keys)),
                    _ => (own, Cow::Owned(keys.iter().filter(is_wanted).copied().collect())),
                }
            };
            return found.map(some).into_iter().collect();
        }
        if let Some(tag) = &self.tag {
            let Some(own) = own.filter(|_| self.own) else { return Vec::new() };
            let tagged = known.index.tags(own).filter(|(kind, name, _)| {
                self.kind.is_none_or(|wanted| wanted == *kind) && is_same(name, tag)
            });
            let mut sets: Sets<'a> = tagged.map(|(.., keys)| (own, Cow::Borrowed(keys))).collect();
            if sets.len() > 1 {
                // Different spellings: one snapshot may have several.
                let all = sets.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
                sets = vec![(own, Cow::Owned(all))];
            }
            return sets;
        }
        let region = self.region.as_ref();
        let region = region.map(|slug| known.regions.iter().position(|region| region.pool.slug == *slug));
        let groups = known.index.groups().filter(|(group, _)| {
            (self.own && Some(group.owner) == own && group.class != Class::Base
                || self.base && Some(group.owner) == nobody && group.class == Class::Base)
                && self.kind.is_none_or(|kind| kind == group.kind)
                && self.has_class(group.class)
                && region.is_none_or(|region| {
                    region.is_some_and(|region| known.index.regions_in(group).contains(&region))
                })
        });
        groups.map(|(group, keys)| (group.owner, Cow::Borrowed(keys))).collect()
    }
}

/// What is known of all snapshots: an index, and the regions as they were when it was made.
#[derive(Default)]
pub(super) struct Known {
    pub(super) index: Index,
    /// In the order of the slugs; none until the index is whole.
    pub(super) regions: Vec<Region>,
}

/// A region as it was at one moment.
pub(super) struct Region {
    pub(super) pool: Arc<Pool>,
    pub(super) moment: Moment,
    pub(super) volumes: Arc<VolumeTable>,
}

/// What the index says of a snapshot, from which the rest can be read.
pub(super) struct Found {
    id: SnapshotId,
    moment: Moment,
    pools: Vec<Arc<Pool>>,
    pub(super) number: Option<i64>,
    resource_id: String,
}

impl Found {
    /// Reads the snapshot.
    pub(super) fn read(self) -> ApiResult<SnapshotItem> {
        let Self { id, moment, pools, number, resource_id } = self;
        let snapshot = moment.find(id)?.ok_or_else(ApiError::not_found)?;
        Ok(SnapshotItem { snapshot, pools, number, resource_id })
    }
}

impl Known {
    /// Returns what is known of a snapshot of an account; `owner` is empty for base images.
    pub(super) fn find(&self, owner: &str, id: SnapshotId) -> Option<Found> {
        self.found(id, self.index.get(id, self.index.owner(owner)?)?)
    }

    /// Returns the id of the disk that a snapshot of an account was taken from.
    pub(super) fn disk_of(&self, who: &Who, id: SnapshotId) -> Option<Uuid> {
        Some(self.index.get(id, self.index.owner(&who.0)?)?.resource)
    }

    /// Returns what is known of a snapshot that an account sees: its own, or a base image.
    pub(super) fn seen(&self, who: &Who, id: SnapshotId) -> Option<Found> {
        self.find(&who.0, id).or_else(|| self.find("", id))
    }

    fn found(&self, id: SnapshotId, entry: &Entry) -> Option<Found> {
        let regions = self.index.regions_of(entry).iter();
        let regions: Vec<&Region> = regions.filter_map(|region| self.regions.get(*region)).collect();
        Some(Found {
            id,
            moment: regions.first()?.moment.clone(),
            pools: regions.iter().map(|region| Arc::clone(&region.pool)).collect(),
            number: entry.numbers.map(|(number, _)| number),
            resource_id: match entry.numbers {
                Some((_, resource)) => resource.to_string(),
                None => entry.resource.to_string(),
            },
        })
    }

    /// Returns the snapshots that may have changed; none if that is unknown.
    pub(super) fn changed(&self, now: &[Region]) -> Option<BTreeSet<SnapshotId>> {
        if self.regions.len() != now.len() {
            return None;
        }
        let mut changed = BTreeSet::new();
        for (old, new) in self.regions.iter().zip(now) {
            changed.extend(icecore::snapshot::changed_between(new.pool.repo(), &old.moment, &new.moment)?);
            if !Arc::ptr_eq(&old.volumes, &new.volumes) {
                let names = new.volumes.differing(&old.volumes).into_iter();
                changed.extend(names.flat_map(|name| self.index.loose(&name)));
            }
        }
        Some(changed)
    }

    /// Returns a part of a list, oldest or newest first.
    pub(super) fn part(
        &self,
        who: &Who,
        wanted: &Wanted,
        newest_first: bool,
        skip: usize,
        most: usize,
    ) -> Part<Found> {
        let sets = wanted.sets(self, who);
        let sets: Vec<(Word, &Keys)> = sets.iter().map(|(owner, keys)| (*owner, &**keys)).collect();
        Part { items: self.all_found(part(&sets, newest_first, skip, most)), total: count(&sets) }
    }

    /// Returns a part of a list, oldest first, with other items that have their time of creation,
    /// oldest first too.
    pub(super) fn part_with<T>(
        &self,
        who: &Who,
        wanted: &Wanted,
        others: Vec<(i64, T)>,
        skip: usize,
        most: usize,
    ) -> Part<Listed<Found, T>> {
        let sets = wanted.sets(self, who);
        let sets: Vec<(Word, &Keys)> = sets.iter().map(|(owner, keys)| (*owner, &**keys)).collect();
        let total = count(&sets);
        // The others come after the snapshots of their time. They tend to be new, so counting from
        // the end is fast.
        let later = |time: i64| -> usize {
            let from = (time.saturating_add(1), SnapshotId(Uuid::nil()));
            sets.iter().map(|(_, keys)| keys.range(from..).count()).sum()
        };
        let places = others.into_iter().enumerate();
        let mut places: BTreeMap<usize, T> =
            places.map(|(number, (time, other))| (total - later(time) + number, other)).collect();
        let (total, before) = (total + places.len(), places.range(..skip).count());
        let mut own = self.all_found(part(&sets, false, skip - before, most)).into_iter();
        let places = (skip..total.min(skip.saturating_add(most))).map_while(|place| {
            let other = places.remove(&place).map(Listed::Other);
            other.or_else(|| own.next().map(Listed::Snapshot))
        });
        Part { items: places.collect(), total }
    }

    fn all_found(&self, part: Vec<(Word, Key)>) -> Vec<Found> {
        let each = part.into_iter();
        each.filter_map(|(owner, (_, id))| self.found(id, self.index.get(id, owner)?)).collect()
    }

    /// Returns the numbers of the snapshots and of the backups of a Droplet's disk, oldest first.
    pub(super) fn numbers_of_droplet(&self, who: &Who, disk: Uuid) -> [Vec<i64>; 2] {
        let mut taken = [Vec::new(), Vec::new()];
        let Some(owner) = self.index.owner(&who.0) else { return taken };
        for (_, id) in self.index.of_resource(owner, ResourceKind::Droplet, disk).into_iter().flatten() {
            let Some(entry) = self.index.get(*id, owner) else { continue };
            let number = entry.numbers.map(|(number, _)| number);
            match entry.group.class {
                Class::Backup => taken[1].extend(number),
                Class::Proper | Class::Other => taken[0].extend(number),
                Class::Custom | Class::Base => {}
            }
        }
        taken
    }

    /// Returns what another snapshot of a volume depends on.
    pub(super) fn taken_of(&self, who: &Who, volume: &VolumeItem, name: &str) -> ApiResult<Taken> {
        let mut taken = Taken { count: 0, name_is_taken: false, newest: Vec::new() };
        let Some(owner) = self.index.owner(&who.0) else { return Ok(taken) };
        let kind = ResourceKind::Volume;
        let Some(keys) = self.index.of_resource(owner, kind, volume.id()) else { return Ok(taken) };
        taken.count = keys.len();
        for region in &self.regions {
            let named = region.moment.named(kind, &volume.info.name, name)?;
            taken.name_is_taken |=
                named.iter().any(|found| keys.contains(&(found.created_unix_ms, found.id)));
        }
        for found in self.all_found(part(&[(owner, keys)], true, 0, NEWEST)) {
            taken.newest.push(found.read()?.snapshot);
        }
        Ok(taken)
    }

    /// Returns the tags on the snapshots of an account.
    pub(super) fn tags(&self, who: &Who) -> Vec<TagOnSnapshots> {
        let Some(owner) = self.index.owner(&who.0) else { return Vec::new() };
        let tags = self.index.tags(owner).filter_map(|(kind, name, keys)| {
            let (oldest, newest) = (keys.first()?, keys.last()?);
            let numbers = self.index.get(newest.1, owner)?.numbers;
            let id = numbers.map_or_else(|| newest.1.to_string(), |(number, _)| number.to_string());
            let (count, name) = (keys.len(), name.to_owned());
            Some(TagOnSnapshots { kind, name, count, oldest_unix_ms: oldest.0, newest: (newest.0, id) })
        });
        tags.collect()
    }
}

fn count(sets: &[(Word, &Keys)]) -> usize {
    sets.iter().map(|(_, keys)| keys.len()).sum()
}
