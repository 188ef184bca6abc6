//! Tags are given and taken away. Those of volumes and Droplets stand in labels, those of snapshots with the snapshots.

use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::tags::TagKind;
use crate::service::tags::check_count;
use crate::service::tags::is_same;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// Something that is to be tagged, as clients name it.
#[derive(Debug, Clone)]
pub(crate) struct TagTarget {
    /// `droplet`, `image`, `volume` or `volume_snapshot`.
    pub(crate) kind: String,
    pub(crate) id: String,
}

/// What that is.
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

impl Service {
    /// Gives a tag, which must be there, to all of these or, if one is not there, to none.
    pub(crate) fn tag_resources(&self, who: &Who, name: &str, targets: &[TagTarget]) -> ApiResult<()> {
        let tag = self.tag(who, name)?.name;
        for target in self.targets(who, targets)? {
            match target {
                Target::Disk(disk) => {
                    let _changes = disk.pool.changes();
                    self.add_tags_to_disk(&disk, std::slice::from_ref(&tag))?;
                }
                Target::Snapshot(item) => self.retag(&item, Some(&tag), &tag)?,
            }
        }
        Ok(())
    }

    /// Takes a tag away from all of these.
    pub(crate) fn untag_resources(&self, who: &Who, name: &str, targets: &[TagTarget]) -> ApiResult<()> {
        let tag = self.tag(who, name)?.name;
        self.targets(who, targets)?.iter().try_for_each(|target| self.untag(target, &tag))
    }

    /// Takes a tag away from everything, and forgets it.
    pub(crate) fn delete_tag(&self, who: &Who, name: &str) -> ApiResult<()> {
        let tag = self.tag(who, name)?.name;
        for thing in self.tagged_things(who)? {
            if !thing.tags.iter().any(|has| is_same(has, &tag)) {
                continue;
            }
            let kind = thing.kind.as_str().to_owned();
            match self.target(who, &TagTarget { kind, id: thing.id }) {
                Ok(target) => self.untag(&target, &tag)?,
                // Deleted meanwhile.
                Err(error) if error.status == 404 => {}
                Err(error) => return Err(error),
            }
        }
        self.db().forget_tag(&who.0, &tag)
    }

    fn targets(&self, who: &Who, targets: &[TagTarget]) -> ApiResult<Vec<Target>> {
        targets.iter().map(|target| self.target(who, target)).collect()
    }

    fn target(&self, who: &Who, target: &TagTarget) -> ApiResult<Target> {
        let id = target.id.as_str();
        match target.kind.as_str() {
            "volume" => self.volume(who, id).map(Target::disk),
            "volume_snapshot" => self.volume_snapshot(who, id).map(Target::snapshot),
            "droplet" => self.disk_of_droplet(who, id).map(Target::disk),
            "image" => {
                let found = self.snapshot(who, id)?;
                if found.number.is_none() {
                    return Err(ApiError::not_found());
                }
                Ok(Target::snapshot(found))
            }
            // There are none.
            "database" => Err(ApiError::not_found()),
            _ => Err(ApiError::unprocessable(
                "resource_type must be droplet, image, volume or volume_snapshot",
            )),
        }
    }

    /// Gives tags to a disk beside those that it has. The caller holds [`Pool::changes`].
    ///
    /// [`Pool::changes`]: crate::pool::Pool::changes
    pub(super) fn add_tags_to_disk(&self, disk: &VolumeItem, more: &[String]) -> ApiResult<()> {
        change_tags(disk, |tags| {
            for tag in more {
                tags.retain(|has| !is_same(has, tag));
                tags.push(tag.clone());
            }
        })
    }

    fn untag(&self, target: &Target, tag: &str) -> ApiResult<()> {
        match target {
            Target::Disk(disk) => {
                let _changes = disk.pool.changes();
                change_tags(disk, |tags| tags.retain(|has| !is_same(has, tag)))
            }
            Target::Snapshot(item) => self.retag(item, None, tag),
        }
    }

    /// Removes a tag of a snapshot, however it is spelt there, and gives it another one.
    fn retag(&self, item: &SnapshotItem, add: Option<&String>, remove: &str) -> ApiResult<()> {
        let tags = item.snapshot.tags.iter();
        let remove: Vec<String> = tags.filter(|has| is_same(has, remove)).cloned().collect();
        let add: Vec<String> = add.cloned().into_iter().collect();
        let found = self.in_all_regions(item.snapshot.id.0, |repo, id| {
            icecore::snapshot::retag(repo, id, &add, &remove).map(drop)
        })?;
        if found { Ok(()) } else { Err(ApiError::not_found()) }
    }
}

/// Changes the tags that a disk has now.
fn change_tags(disk: &VolumeItem, how: impl FnOnce(&mut Vec<String>)) -> ApiResult<()> {
    let (repo, name) = (disk.pool.repo(), &disk.info.name);
    let before = icecore::volume::find_volume(repo, name)?.labels;
    let mut tags = labels::tags(&before);
    how(&mut tags);
    tags.sort();
    check_count(tags.len())?;
    let mut set = Labels::new();
    labels::set_tags(&mut set, &tags);
    let remove: Vec<String> =
        labels::tag_keys().filter(|key| before.contains_key(key) && !set.contains_key(key)).collect();
    if remove.is_empty() && set.iter().all(|(key, value)| before.get(key) == Some(value)) {
        return Ok(());
    }
    icecore::volume::relabel_volume(repo, name, &set, &remove)?;
    Ok(())
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
