//! Tags and their resources. Volumes and Droplets keep their tags in their labels; snapshots have
//! tags of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::snapshot::ResourceKind;

use crate::db::Db;
use crate::service::accounts::Who;
use crate::service::disks::Disks;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::parts::Parts;
use crate::service::snapshot_lists::Wanted;
use crate::service::snapshots::Snapshots;
use crate::service::tag_names::add_to_disk;
use crate::service::tag_names::change_on_disk;
use crate::service::tag_names::is_same;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names::check_tag;

/// The kinds of resources that can have tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TagKind {
    Droplet,
    Image,
    Volume,
    VolumeSnapshot,
}

impl TagKind {
    /// Returns the API's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Droplet => "droplet",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::VolumeSnapshot => "volume_snapshot",
        }
    }
}

/// A volume or a Droplet with tags.
struct TaggedThing {
    kind: TagKind,
    /// Its id in the API.
    id: String,
    tags: Vec<String>,
    created_unix_ms: i64,
}

/// A tag in its first spelling, with the resources that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagItem {
    pub(crate) name: String,
    pub(crate) uses: BTreeMap<TagKind, TagUse>,
}

/// The number of resources of one kind with a tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TagUse {
    pub(crate) count: usize,
    /// The newest of them: its creation time and id.
    pub(crate) newest: (i64, String),
}

/// A resource to tag, as the client names it.
#[derive(Debug, Clone)]
pub(crate) struct TagTarget {
    /// `droplet`, `image`, `volume` or `volume_snapshot`.
    pub(crate) kind: String,
    pub(crate) id: String,
}

/// The resource that a client named.
enum Target {
    Disk(Box<VolumeItem>),
    Snapshot(Box<SnapshotItem>),
}

impl Target {
    fn disk(item: VolumeItem) -> Self {
        Self::Disk(Box::new(item))
    }

    fn snapshot(item: SnapshotItem) -> Self {
        Self::Snapshot(Box::new(item))
    }
}

/// The tags of accounts, and the resources that have them.
pub(crate) struct Tags {
    db: Arc<Db>,
    disks: Arc<Disks>,
    snapshots: Arc<Snapshots>,
}

impl Tags {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            db: Arc::clone(&parts.db),
            disks: Arc::clone(&parts.disks),
            snapshots: Arc::clone(&parts.snapshots),
        }
    }

    /// Creates a tag, or returns the existing one.
    pub(crate) fn create(&self, who: &Who, name: &str) -> ApiResult<TagItem> {
        check_tag(name)?;
        match self.get(who, name) {
            Err(error) if error.status == 404 => {
                let name = self.db.make_tag(&who.0, name)?;
                Ok(TagItem { name, uses: BTreeMap::new() })
            }
            found => found,
        }
    }

    /// Returns a tag, in whatever spelling the client uses.
    pub(crate) fn get(&self, who: &Who, name: &str) -> ApiResult<TagItem> {
        let mut all = self.list(who)?.into_iter();
        all.find(|tag| is_same(&tag.name, name)).ok_or_else(ApiError::not_found)
    }

    /// Returns all tags of an account by name: created ones, and those that a resource has.
    pub(crate) fn list(&self, who: &Who) -> ApiResult<Vec<TagItem>> {
        let mut found = BTreeMap::<String, TagItem>::new();
        let mut of = |name: &str, kind: Option<TagKind>, count: usize, newest: (i64, String)| {
            let new = || TagItem { name: name.to_owned(), uses: BTreeMap::new() };
            let tag = found.entry(name.to_ascii_lowercase()).or_insert_with(new);
            if let Some(kind) = kind {
                let uses = tag.uses.entry(kind).or_default();
                uses.count += count;
                uses.newest = std::mem::take(&mut uses.newest).max(newest);
            }
        };
        for name in self.db.tags(&who.0)? {
            of(&name, None, 0, (0, String::new()));
        }
        for thing in self.tagged_disks(who)? {
            for name in &thing.tags {
                of(name, Some(thing.kind), 1, (thing.created_unix_ms, thing.id.clone()));
            }
        }
        for tag in self.snapshots.tags(who)? {
            of(&tag.name, Some(kind_of_snapshot(tag.kind)), tag.count, tag.newest);
        }
        Ok(found.into_values().collect())
    }

    /// Returns the tags of an account that a resource has, each with the time of its oldest use, in
    /// any order and spelling.
    pub(super) fn in_use(&self, who: &Who) -> ApiResult<Vec<(i64, String)>> {
        let mut tags = Vec::new();
        for thing in self.tagged_disks(who)? {
            tags.extend(thing.tags.into_iter().map(|tag| (thing.created_unix_ms, tag)));
        }
        let of_snapshots = self.snapshots.tags(who)?.into_iter();
        tags.extend(of_snapshots.map(|tag| (tag.oldest_unix_ms, tag.name)));
        Ok(tags)
    }

    /// Returns the volumes and Droplets of an account that have tags.
    fn tagged_disks(&self, who: &Who) -> ApiResult<Vec<TaggedThing>> {
        let mut things = Vec::new();
        for item in self.disks.tagged(who)? {
            let (kind, id) = match item.info.kind {
                ResourceKind::Volume => (TagKind::Volume, item.id().to_string()),
                ResourceKind::Droplet => match self.disks.droplet_number(who, item.id())? {
                    Some(number) => (TagKind::Droplet, number.to_string()),
                    None => continue,
                },
            };
            let (tags, created_unix_ms) = (item.tags(), item.info.created_unix_ms);
            things.push(TaggedThing { kind, id, tags, created_unix_ms });
        }
        things.retain(|thing| !thing.tags.is_empty());
        Ok(things)
    }

    /// Adds an existing tag to all of these resources, or to none if any of them is missing.
    pub(crate) fn give(&self, who: &Who, name: &str, targets: &[TagTarget]) -> ApiResult<()> {
        let tag = self.get(who, name)?.name;
        for target in self.targets(who, targets)? {
            match target {
                Target::Disk(disk) => {
                    let _changes = disk.pool.changes();
                    add_to_disk(&disk, std::slice::from_ref(&tag))?;
                }
                Target::Snapshot(item) => self.retag(who, &item, Some(&tag), &tag)?,
            }
        }
        Ok(())
    }

    /// Removes a tag from all of these resources.
    pub(crate) fn take_away(&self, who: &Who, name: &str, targets: &[TagTarget]) -> ApiResult<()> {
        let tag = self.get(who, name)?.name;
        self.targets(who, targets)?.iter().try_for_each(|target| self.untag(who, target, &tag))
    }

    /// Removes a tag from all resources, and deletes it.
    pub(crate) fn delete(&self, who: &Who, name: &str) -> ApiResult<()> {
        let tag = self.get(who, name)?.name;
        let wanted = Wanted { tag: Some(tag.clone()), ..Wanted::own() };
        for item in self.snapshots.list(who, &wanted)? {
            match self.retag(who, &item, None, &tag) {
                // It was deleted meanwhile.
                Err(error) if error.status == 404 => {}
                done => done?,
            }
        }
        for thing in self.tagged_disks(who)? {
            if !thing.tags.iter().any(|has| is_same(has, &tag)) {
                continue;
            }
            let kind = thing.kind.as_str().to_owned();
            match self.target(who, &TagTarget { kind, id: thing.id }) {
                Ok(target) => self.untag(who, &target, &tag)?,
                // The resource was deleted meanwhile.
                Err(error) if error.status == 404 => {}
                Err(error) => return Err(error),
            }
        }
        self.db.forget_tag(&who.0, &tag)
    }

    fn targets(&self, who: &Who, targets: &[TagTarget]) -> ApiResult<Vec<Target>> {
        targets.iter().map(|target| self.target(who, target)).collect()
    }

    fn target(&self, who: &Who, target: &TagTarget) -> ApiResult<Target> {
        let id = target.id.as_str();
        match target.kind.as_str() {
            "volume" => self.disks.volume(who, id).map(Target::disk),
            "volume_snapshot" => self.snapshots.of_a_volume(who, id).map(Target::snapshot),
            "droplet" => self.disks.of_droplet(who, id).map(Target::disk),
            "image" => {
                let found = self.snapshots.get(who, id)?;
                if found.number.is_none() {
                    return Err(ApiError::not_found());
                }
                Ok(Target::snapshot(found))
            }
            // There are no databases.
            "database" => Err(ApiError::not_found()),
            _ => Err(ApiError::unprocessable(
                "resource_type must be droplet, image, volume or volume_snapshot",
            )),
        }
    }

    fn untag(&self, who: &Who, target: &Target, tag: &str) -> ApiResult<()> {
        match target {
            Target::Disk(disk) => {
                let _changes = disk.pool.changes();
                change_on_disk(disk, |tags| tags.retain(|has| !is_same(has, tag)))
            }
            Target::Snapshot(item) => self.retag(who, item, None, tag),
        }
    }

    /// Removes a tag from a snapshot, in whatever spelling it has there, and adds another one.
    fn retag(&self, who: &Who, item: &SnapshotItem, add: Option<&String>, remove: &str) -> ApiResult<()> {
        let tags = item.snapshot.tags.iter();
        let remove: Vec<String> = tags.filter(|has| is_same(has, remove)).cloned().collect();
        let add: Vec<String> = add.cloned().into_iter().collect();
        let found = self.snapshots.in_all_regions(who, item.snapshot.id.0, |repo, id| {
            icecore::snapshot::retag(repo, id, &add, &remove).map(drop)
        })?;
        if found { Ok(()) } else { Err(ApiError::not_found()) }
    }
}

fn kind_of_snapshot(kind: ResourceKind) -> TagKind {
    match kind {
        ResourceKind::Volume => TagKind::VolumeSnapshot,
        ResourceKind::Droplet => TagKind::Image,
    }
}
