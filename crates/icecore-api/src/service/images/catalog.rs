//! Images: the sources of Droplets. Snapshots of Droplets are images, under the same numbers.

use std::sync::Arc;

use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore_host::config::Config;
use uuid::Uuid;

use crate::db::Db;
use crate::db::Import;
use crate::db::Numbered;
use crate::pool::Pools;
use crate::pool::labels;
use crate::service::accounts::Who;
use crate::service::images::item::ImageItem;
use crate::service::images::item::ImageStatus;
use crate::service::images::item::ImageType;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::items::gigabytes;
use crate::service::parts::Parts;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Listed;
use crate::service::snapshot_lists::Part;
use crate::service::snapshot_lists::Wanted;
use crate::service::snapshots::Snapshots;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::ids;

/// The images of all accounts.
pub(crate) struct Images {
    config: Arc<Config>,
    db: Arc<Db>,
    pools: Arc<Pools>,
    snapshots: Arc<Snapshots>,
}

impl Images {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            pools: Arc::clone(&parts.pools),
            snapshots: Arc::clone(&parts.snapshots),
        }
    }

    /// Returns the base images, the imported ones, and the newest snapshots, at most this many,
    /// oldest first.
    pub(crate) fn newest(&self, who: &Who, most: usize) -> ApiResult<Vec<ImageItem>> {
        let classes: &[Class] = &[Class::Custom, Class::Base];
        let mut images =
            self.page(who, &Wanted { base: true, classes, ..Wanted::own() }, 0, usize::MAX)?.items;
        let classes: &[Class] = &[Class::Proper, Class::Backup, Class::Other];
        let kind = Some(ResourceKind::Droplet);
        let taken = self.snapshots.page(who, &Wanted { kind, classes, ..Wanted::own() }, true, 0, most)?;
        images.extend(taken.items.into_iter().filter_map(|item| self.image_of_snapshot(item)));
        images.sort_by_key(|image| (image.created_unix_ms, image.number));
        Ok(images)
    }

    /// Returns a part of the images that an account sees, oldest first.
    pub(crate) fn page(
        &self,
        who: &Who,
        wanted: &Wanted,
        skip: usize,
        most: usize,
    ) -> ApiResult<Part<ImageItem>> {
        let wanted = &Wanted { kind: Some(ResourceKind::Droplet), ..wanted.clone() };
        let mut imports = Vec::new();
        let are_wanted = wanted.own && wanted.of.is_none();
        for import in if are_wanted { self.db.imports(&who.0)? } else { Vec::new() } {
            let is_tagged = |tag: &String| tags_of(&import).iter().any(|own| own.eq_ignore_ascii_case(tag));
            if wanted.tag.as_ref().is_none_or(is_tagged) && self.snapshots.seen(who, import.uuid)?.is_none() {
                imports.push((import.created_unix_ms, import));
            }
        }
        let Part { items, total } = self.snapshots.page_with(who, wanted, imports, skip, most)?;
        let mut images = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Listed::Snapshot(item) => images.extend(self.image_of_snapshot(item)),
                Listed::Other(import) => images.push(self.image_of_import(&import)?),
            }
        }
        Ok(Part { items: images, total })
    }

    /// Returns the image with a number, or the base image with a slug. Several slugs may mean the same
    /// image, which is then shown with the one that was asked for.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<ImageItem> {
        let base = self.config.base_snapshot(id);
        let found = match (base, ids::number(id)) {
            (Some(base), _) => self.snapshots.seen(who, base)?,
            (None, Some(number)) => self.snapshots.image(who, number)?,
            (None, None) => None,
        };
        if let Some(image) = found.and_then(|found| self.image_of_snapshot(found)) {
            let slug = if base.is_some() { Some(id.to_owned()) } else { image.slug };
            return Ok(ImageItem { slug, ..image });
        }
        let uuid = ids::number(id).map(|number| self.db.numbered(number)).transpose()?.flatten();
        let import = uuid.map(|uuid| self.db.import(uuid)).transpose()?.flatten();
        let import = import.filter(|import| import.account == who.0).ok_or_else(ApiError::not_found)?;
        self.image_of_import(&import)
    }

    /// Returns an available image by the id of its snapshot.
    pub(crate) fn of_snapshot(&self, who: &Who, snapshot: Uuid) -> ApiResult<Option<ImageItem>> {
        let found = self.snapshots.seen(who, snapshot)?;
        Ok(found.and_then(|found| self.image_of_snapshot(found)))
    }

    /// Returns an image that the account owns and may change.
    pub(crate) fn own(&self, who: &Who, id: &str) -> ApiResult<ImageItem> {
        let image = self.get(who, id)?;
        if image.is_public() {
            return Err(ApiError::forbidden("You do not have access for the attempted action."));
        }
        Ok(image)
    }

    /// Returns the snapshot with an id, if it is a proper snapshot and no other kind of image.
    pub(crate) fn proper_snapshot(&self, who: &Who, id: &str) -> ApiResult<SnapshotItem> {
        match self.snapshots.get(who, id) {
            Ok(item) if item.is_proper() => Ok(item),
            Err(error) if self.get(who, id).is_err() => Err(error),
            _ => Err(ApiError::bad_request("the resource is not a snapshot")),
        }
    }

    /// Returns a Droplet's snapshot as an image.
    fn image_of_snapshot(&self, item: SnapshotItem) -> Option<ImageItem> {
        let snapshot = &item.snapshot;
        let base = self.config.base_image(snapshot.id.0);
        let label = |key: &str| labels::text(&snapshot.labels, key).unwrap_or_default();
        let kind = match (base, labels::image_type(&snapshot.labels)) {
            (Some(_), _) => ImageType::Base,
            (None, labels::TYPE_BACKUP) => ImageType::Backup,
            (None, labels::TYPE_CUSTOM) => ImageType::Custom,
            _ => ImageType::Snapshot,
        };
        let configured =
            |text: &str, usual: &str| if text.is_empty() { usual.to_owned() } else { text.to_owned() };
        Some(ImageItem {
            uuid: snapshot.id.0,
            number: item.number?,
            name: configured(base.map_or("", |base| &base.name), &snapshot.name),
            kind,
            distribution: configured(base.map_or("", |base| &base.distribution), label(labels::DISTRIBUTION)),
            description: label(labels::DESCRIPTION).to_owned(),
            slug: base.map(|base| base.slug.clone()),
            created_unix_ms: snapshot.created_unix_ms,
            min_disk_gib: snapshot.min_disk_gib(),
            size_gigabytes: item.size_gigabytes(),
            tags: if base.is_some() { Vec::new() } else { snapshot.tags.clone() },
            status: ImageStatus::Available,
            pools: item.pools,
        })
    }

    fn image_of_import(&self, import: &Import) -> ApiResult<ImageItem> {
        Ok(ImageItem {
            uuid: import.uuid,
            number: self.db.number(import.uuid)?,
            name: import.name.clone(),
            kind: ImageType::Custom,
            distribution: import.distribution.clone(),
            description: import.description.clone(),
            slug: None,
            pools: self.pools.get(&import.region).map(Arc::clone).into_iter().collect(),
            created_unix_ms: import.created_unix_ms,
            min_disk_gib: 0,
            size_gigabytes: 0.0,
            tags: tags_of(import),
            status: match &import.problem {
                None => ImageStatus::New,
                Some(problem) => ImageStatus::Deleted(problem.clone()),
            },
        })
    }

    /// Returns a stand-in for the deleted image that a disk was made from.
    pub(crate) fn deleted(&self, origin: &Snapshot) -> ApiResult<ImageItem> {
        let noted = Numbered { uuid: origin.id.0, noted: labels::number(&origin.labels) };
        let number = self.db.numbers(&[noted])?.get(&origin.id.0).copied();
        let item = SnapshotItem {
            snapshot: origin.clone(),
            pools: Vec::new(),
            number,
            resource_id: labels::text(&origin.labels, labels::RESOURCE_NUMBER).unwrap_or_default().to_owned(),
        };
        let image = self.image_of_snapshot(item).ok_or_else(ApiError::not_found)?;
        Ok(ImageItem { status: ImageStatus::Deleted(String::new()), tags: Vec::new(), ..image })
    }

    /// Returns an image for a disk that was made from none: in the API every Droplet has one.
    pub(crate) fn blank(&self, disk: &VolumeItem) -> ApiResult<ImageItem> {
        let uuid = Uuid::new_v5(&disk.id(), b"image");
        Ok(ImageItem {
            uuid,
            number: self.db.number(uuid)?,
            name: "Blank disk".to_owned(),
            kind: ImageType::Custom,
            distribution: "Unknown".to_owned(),
            description: String::new(),
            slug: None,
            pools: Vec::new(),
            created_unix_ms: disk.info.created_unix_ms,
            min_disk_gib: 0,
            size_gigabytes: gigabytes(0),
            tags: Vec::new(),
            status: ImageStatus::Deleted(String::new()),
        })
    }
}

fn tags_of(import: &Import) -> Vec<String> {
    import.tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}
