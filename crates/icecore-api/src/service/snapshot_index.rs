//! An index of the snapshots of all regions: by id, number, resource and tag, and by owner and kind
//! in the order of creation. It has what lists are filtered by, and nothing else of a snapshot.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeInfo;
use uuid::Uuid;

use crate::db::Numbered;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::pool::volumes::VolumeTable;
use crate::service::items::id_of_name;

/// The place of a snapshot among others: when it was created, in milliseconds since 1970, and its
/// id.
pub(super) type Key = (i64, SnapshotId);

/// Snapshots, oldest first.
pub(super) type Keys = BTreeSet<Key>;

/// A text that many snapshots share, or a list of regions, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Word(u32);

/// The sort of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// A proper one.
    Proper,
    Backup,
    Custom,
    /// One with a type that the API does not know.
    Other,
    /// A base image, which all accounts see.
    Base,
}

/// What snapshots of a list have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    /// The account that owns them.
    pub(super) owner: Word,
    pub(super) kind: ResourceKind,
    pub(super) class: Class,
    /// The regions that have them.
    regions: Word,
}

/// What the index knows of a snapshot.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) created_unix_ms: i64,
    pub(super) group: Group,
    /// The id of the disk that it was taken from.
    pub(super) resource: Uuid,
    /// The integer ids of the snapshot and of that disk, if it is a Droplet's.
    pub(super) numbers: Option<(i64, i64)>,
    tags: Box<[Word]>,
    /// The name of the resource, if the labels do not say which one it is.
    loose: Option<Word>,
}

/// The texts in an index.
#[derive(Default)]
struct Words {
    words: HashMap<Arc<str>, Word>,
    texts: Vec<Arc<str>>,
}

impl Words {
    fn add(&mut self, text: &str) -> Word {
        if let Some(word) = self.words.get(text) {
            return *word;
        }
        let (word, text) =
            (Word(u32::try_from(self.texts.len()).unwrap_or(u32::MAX)), Arc::<str>::from(text));
        self.texts.push(Arc::clone(&text));
        self.words.insert(text, word);
        word
    }
}

/// A snapshot without numbers.
pub(super) struct Unnumbered {
    at: (SnapshotId, Word),
    pub(super) snapshot: Numbered,
    pub(super) resource: Numbered,
}

/// The index.
#[derive(Default)]
pub(super) struct Index {
    words: Words,
    regions: Vec<Box<[usize]>>,
    entries: BTreeMap<(SnapshotId, Word), Entry>,
    groups: BTreeMap<Group, Keys>,
    resources: BTreeMap<(Word, ResourceKind, Uuid), Keys>,
    /// By owner, kind and tag.
    tags: BTreeMap<(Word, ResourceKind, Word), Keys>,
    numbers: HashMap<i64, SnapshotId>,
    loose: BTreeMap<(ResourceKind, Word), BTreeSet<SnapshotId>>,
    unnumbered: Vec<Unnumbered>,
}

impl Index {
    /// Adds a snapshot that a region has; `first` is the first account.
    pub(super) fn add(
        &mut self,
        snapshot: &Snapshot,
        region: usize,
        volumes: &VolumeTable,
        is_base: bool,
        first: &str,
    ) {
        let owner = if is_base { "" } else { owner(snapshot, volumes, first) };
        let owner = self.words.add(owner);
        let at = (snapshot.id, owner);
        if let Some(mut known) = self.remove_entry(at) {
            let mut regions = self.regions_of(&known).to_vec();
            regions.push(region);
            known.group.regions = self.word_of_regions(&regions);
            return self.insert(at, known);
        }
        let noted = labels::id(&snapshot.labels, labels::RESOURCE);
        let resource = noted.or_else(|| origin(volumes, snapshot).map(|volume| volume.id.0));
        let resource = resource.unwrap_or_else(|| id_of_name(snapshot.kind, &snapshot.resource));
        let (kind, regions) = (snapshot.kind, self.word_of_regions(&[region]));
        let group = Group { owner, kind, class: class(snapshot, is_base), regions };
        let loose = (!knows_its_origin(snapshot)).then(|| self.words.add(&snapshot.resource));
        let tags = snapshot.tags.iter().map(|tag| self.words.add(tag)).collect();
        let created_unix_ms = snapshot.created_unix_ms;
        self.insert(at, Entry { created_unix_ms, group, resource, numbers: None, tags, loose });
        if kind == ResourceKind::Droplet {
            self.unnumbered.push(Unnumbered {
                at,
                snapshot: Numbered { uuid: snapshot.id.0, noted: labels::number(&snapshot.labels) },
                resource: Numbered { uuid: resource, noted: labels::resource_number(&snapshot.labels) },
            });
        }
    }

    /// Removes a snapshot, whoever owns it.
    pub(super) fn remove(&mut self, id: SnapshotId) {
        let all: Vec<_> = self.owned(id).map(|(at, _)| *at).collect();
        for at in all {
            if let Some((number, _)) = self.remove_entry(at).and_then(|entry| entry.numbers) {
                self.numbers.remove(&number);
            }
        }
    }

    fn owned(&self, id: SnapshotId) -> impl Iterator<Item = (&(SnapshotId, Word), &Entry)> {
        self.entries.range((id, Word(0))..=(id, Word(u32::MAX)))
    }

    fn insert(&mut self, at: (SnapshotId, Word), entry: Entry) {
        let (owner, kind, key) = (at.1, entry.group.kind, (entry.created_unix_ms, at.0));
        self.groups.entry(entry.group).or_default().insert(key);
        self.resources.entry((owner, kind, entry.resource)).or_default().insert(key);
        for tag in &entry.tags {
            self.tags.entry((owner, kind, *tag)).or_default().insert(key);
        }
        if let Some(name) = entry.loose {
            self.loose.entry((kind, name)).or_default().insert(at.0);
        }
        self.entries.insert(at, entry);
    }

    fn remove_entry(&mut self, at: (SnapshotId, Word)) -> Option<Entry> {
        let entry = self.entries.remove(&at)?;
        let (owner, kind, key) = (at.1, entry.group.kind, (entry.created_unix_ms, at.0));
        take_out(&mut self.groups, &entry.group, &key);
        take_out(&mut self.resources, &(owner, kind, entry.resource), &key);
        for tag in &entry.tags {
            take_out(&mut self.tags, &(owner, kind, *tag), &key);
        }
        if let Some(name) = entry.loose {
            take_out(&mut self.loose, &(kind, name), &at.0);
        }
        Some(entry)
    }

    fn word_of_regions(&mut self, regions: &[usize]) -> Word {
        let known = self.regions.iter().position(|known| **known == *regions);
        let number = known.unwrap_or_else(|| {
            self.regions.push(regions.into());
            self.regions.len() - 1
        });
        Word(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Returns the numbers of the regions that have a snapshot.
    pub(super) fn regions_of(&self, entry: &Entry) -> &[usize] {
        self.regions_in(&entry.group)
    }

    /// Returns the numbers of the regions that have the snapshots of a group.
    pub(super) fn regions_in(&self, group: &Group) -> &[usize] {
        self.regions.get(group.regions.0 as usize).map_or(&[], |regions| regions)
    }

    /// Returns the snapshots whose labels do not say what they were taken from, but that may be of
    /// a volume with this name.
    pub(super) fn loose(&self, name: &str) -> Vec<SnapshotId> {
        let Some(word) = self.words.words.get(name) else { return Vec::new() };
        let kinds = [ResourceKind::Droplet, ResourceKind::Volume].into_iter();
        kinds.filter_map(|kind| self.loose.get(&(kind, *word))).flatten().copied().collect()
    }

    /// Returns the snapshots that need numbers.
    pub(super) fn unnumbered(&mut self) -> Vec<Unnumbered> {
        std::mem::take(&mut self.unnumbered)
    }

    /// Returns how many snapshots need numbers.
    pub(super) fn unnumbered_count(&self) -> usize {
        self.unnumbered.len()
    }

    /// Sets the numbers of snapshots and of what they were taken from.
    pub(super) fn set_numbers(&mut self, of: &[Unnumbered], numbers: &HashMap<Uuid, i64>) {
        for Unnumbered { at, snapshot, resource } in of {
            let (Some(own), Some(of)) = (numbers.get(&snapshot.uuid), numbers.get(&resource.uuid)) else {
                continue;
            };
            if let Some(entry) = self.entries.get_mut(at) {
                entry.numbers = Some((*own, *of));
                self.numbers.insert(*own, at.0);
            }
        }
    }

    /// Returns the word of an account, if it owns anything. Base images belong to the account
    /// without a name.
    pub(super) fn owner(&self, account: &str) -> Option<Word> {
        self.words.words.get(account).copied()
    }

    /// Returns a snapshot of an account.
    pub(super) fn get(&self, id: SnapshotId, owner: Word) -> Option<&Entry> {
        self.entries.get(&(id, owner))
    }

    /// Returns the snapshot with a number, if there is one.
    pub(super) fn numbered(&self, number: i64) -> Option<SnapshotId> {
        self.numbers.get(&number).copied()
    }

    /// Returns the snapshots of each group.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Group, &Keys)> {
        self.groups.iter()
    }

    /// Returns the snapshots of a disk that an account owns.
    pub(super) fn of_resource(&self, owner: Word, kind: ResourceKind, id: Uuid) -> Option<&Keys> {
        self.resources.get(&(owner, kind, id))
    }

    /// Returns the tags on snapshots of an account, each in every spelling, with those that have it.
    pub(super) fn tags(&self, owner: Word) -> impl Iterator<Item = (ResourceKind, &str, &Keys)> {
        let all = self.tags.range((owner, ResourceKind::Droplet, Word(0))..);
        let own = all.take_while(move |((of, ..), _)| *of == owner);
        own.filter_map(|((_, kind, tag), keys)| {
            Some((*kind, self.words.texts.get(tag.0 as usize)?.as_ref(), keys))
        })
    }
}

fn take_out<K: Ord, T: Ord>(sets: &mut BTreeMap<K, BTreeSet<T>>, key: &K, item: &T) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(item);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

fn class(snapshot: &Snapshot, is_base: bool) -> Class {
    match labels::image_type(&snapshot.labels) {
        _ if is_base => Class::Base,
        labels::TYPE_SNAPSHOT => Class::Proper,
        labels::TYPE_BACKUP => Class::Backup,
        labels::TYPE_CUSTOM => Class::Custom,
        _ => Class::Other,
    }
}

/// Returns whether the labels of a snapshot name the volume it was taken from.
fn knows_its_origin(snapshot: &Snapshot) -> bool {
    snapshot.labels.contains_key(labels::RESOURCE)
}

/// Returns the volume that a snapshot was taken from, if its labels do not say. Other programs set
/// no labels, so the volume's name decides.
fn origin<'a>(volumes: &'a VolumeTable, snapshot: &Snapshot) -> Option<&'a VolumeInfo> {
    let named = if knows_its_origin(snapshot) { None } else { volumes.named(&snapshot.resource) };
    let volume = named
        .filter(|volume| volume.kind == snapshot.kind && volume.created_unix_ms <= snapshot.created_unix_ms);
    volume.map(AsRef::as_ref)
}

/// Returns the account that owns a snapshot, from its own labels or from those of the volume it was
/// taken from. If neither names one, the first account owns it.
pub(super) fn owner<'a>(snapshot: &'a Snapshot, volumes: &'a VolumeTable, first: &'a str) -> &'a str {
    let noted = |labels: &'a Labels| labels::text(labels, labels::ACCOUNT);
    let owner = noted(&snapshot.labels).or_else(|| noted(&origin(volumes, snapshot)?.labels));
    owner.unwrap_or(first)
}

/// Returns a part of sets that are taken together in order, newest first if so wanted.
pub(super) fn part<T: Copy>(
    sets: &[(T, &Keys)],
    newest_first: bool,
    skip: usize,
    most: usize,
) -> Vec<(T, Key)> {
    fn walk<'a>(set: &'a Keys, newest_first: bool) -> Box<dyn Iterator<Item = Key> + 'a> {
        let forward = set.iter().copied();
        if newest_first { Box::new(forward.rev()) } else { Box::new(forward) }
    }
    if let [(of, set)] = sets {
        return walk(set, newest_first).skip(skip).take(most).map(|key| (*of, key)).collect();
    }
    let mut all: Vec<_> = sets.iter().map(|(of, set)| (*of, walk(set, newest_first).peekable())).collect();
    let mut part = Vec::new();
    let mut passed = 0;
    while part.len() < most {
        let keys = all.iter_mut().enumerate().filter_map(|(at, (_, keys))| Some((*keys.peek()?, at)));
        let next = if newest_first { keys.max() } else { keys.min() };
        let Some((key, at)) = next else { break };
        let Some((of, keys)) = all.get_mut(at) else { break };
        keys.next();
        passed += 1;
        if passed > skip {
            part.push((*of, key));
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(id: u128, kind: ResourceKind, tags: &[&str], labels: &[(&str, &str)]) -> Snapshot {
        let id = SnapshotId(Uuid::from_u128(id));
        let mut snapshot = Snapshot::new(id, 7, kind, "disk", "name");
        snapshot.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        snapshot.labels = labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        snapshot
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let (mut index, volumes) = (Index::default(), VolumeTable::default());
        let add = |index: &mut Index, id: u128, region: usize, account: &str| {
            let kind = if id.is_multiple_of(2) { ResourceKind::Droplet } else { ResourceKind::Volume };
            let tags: &[&str] = if id.is_multiple_of(3) { &["a", "b"] } else { &["b"] };
            let snapshot = snapshot(id, kind, tags, &[("account", account)]);
            index.add(&snapshot, region, &volumes, id == 4, "first");
        };
        for id in 1..20 {
            add(&mut index, id, 0, if id.is_multiple_of(5) { "bob" } else { "ann" });
            add(&mut index, id, 1, if id.is_multiple_of(7) { "bob" } else { "ann" });
        }
        let ann = index.owner("ann").unwrap();
        let count = |index: &Index, wanted: &dyn Fn(&Group) -> bool| -> usize {
            index.groups().filter(|(group, _)| wanted(group)).map(|(_, keys)| keys.len()).sum()
        };
        // Seven and fourteen are Ann's in one region, and five, ten and fifteen in the other.
        assert_eq!(count(&index, &|group| group.owner == ann), 18);
        assert_eq!(count(&index, &|group| group.owner == ann && index.regions_in(group).len() == 2), 13);
        assert_eq!(count(&index, &|group| group.class == Class::Base), 1);
        let tagged = index.tags(ann).map(|(kind, name, keys)| (kind.as_str(), name, keys.len()));
        let tagged: Vec<_> = tagged.collect();
        assert_eq!(
            tagged,
            [("droplet", "b", 8), ("droplet", "a", 3), ("volume", "b", 10), ("volume", "a", 3)]
        );
        assert_eq!(index.loose("disk").len(), 19);
        let unnumbered = index.unnumbered();
        let numbers = unnumbered.iter().zip(1..).map(|(of, number)| (of.snapshot.uuid, number));
        let mut numbers: HashMap<Uuid, i64> = numbers.collect();
        numbers.extend(unnumbered.iter().map(|of| (of.resource.uuid, 100)));
        index.set_numbers(&unnumbered, &numbers);
        assert!(numbers.values().all(|number| *number == 100 || index.numbered(*number).is_some()));
        (1..20).for_each(|id| index.remove(SnapshotId(Uuid::from_u128(id))));
        assert_eq!((index.groups().count(), index.tags(ann).count(), index.loose("disk")), (0, 0, vec![]));
        assert!(index.entries.is_empty() && index.resources.is_empty() && index.numbers.is_empty());
    }

    #[test]
    fn a_part_of_several_sets_is_a_part_of_all_that_is_in_them() {
        let key = |number: u128| (1, SnapshotId(Uuid::from_u128(number)));
        let set = |numbers: &[u128]| numbers.iter().map(|number| key(*number)).collect::<Keys>();
        let sets = [set(&[1, 5, 9]), set(&[]), set(&[2, 3, 4, 8]), set(&[6, 7])];
        for most in 1..=sets.len() {
            let sets: Vec<(usize, &Keys)> = sets[..most].iter().enumerate().collect();
            let mut all: Vec<(usize, Key)> =
                sets.iter().flat_map(|(of, set)| set.iter().map(|key| (*of, *key))).collect();
            for newest_first in [false, true] {
                all.sort_by_key(|(_, key)| *key);
                if newest_first {
                    all.reverse();
                }
                for skip in 0..=all.len() + 1 {
                    for size in [0, 1, 2, 100] {
                        let wanted: Vec<_> = all.iter().skip(skip).take(size).copied().collect();
                        assert_eq!(part(&sets, newest_first, skip, size), wanted);
                    }
                }
            }
        }
    }
}
