//! Images are renamed, deleted, copied to other regions, and made of backups.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore::CopyOptions;
use icecore::ErrorKind;
use icecore::SnapshotId;
use uuid::Uuid;

use crate::db::Action;
use crate::db::Import;
use crate::db::NewAction;
use crate::pool::Pool;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::Service;
use crate::service::Who;
use crate::service::images::ImageItem;
use crate::service::images::ImageStatus;
use crate::service::images::ImageType;
use crate::service::jobs::Job;
use crate::service::jobs::JobProgress;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;

/// What of an image is changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageChange {
    pub(crate) name: Option<String>,
    pub(crate) distribution: Option<String>,
    pub(crate) description: Option<String>,
}

/// The longest text about an image, in bytes.
const TEXT_MAX: usize = 1024;

/// Checks a text about an image.
pub(super) fn check_about(what: &str, text: &str) -> ApiResult<()> {
    if text.len() > TEXT_MAX || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ApiError::unprocessable(format!(
            "{what} must have at most {TEXT_MAX} bytes of printable text"
        )));
    }
    Ok(())
}

impl Service {
    /// Changes what an image is called, and what is said of it.
    pub(crate) fn update_image(&self, who: &Who, id: &str, change: &ImageChange) -> ApiResult<ImageItem> {
        let image = self.own_image(who, id)?;
        if let Some(name) = &change.name {
            names::check_text("name", name)?;
        }
        let texts =
            [(labels::DISTRIBUTION, &change.distribution), (labels::DESCRIPTION, &change.description)];
        for (what, text) in texts {
            check_about(what, text.as_deref().unwrap_or_default())?;
        }
        if let Some(import) = self.db().import(image.uuid)?.filter(|_| !image.is_available()) {
            self.db().rename_import(&Import {
                name: change.name.clone().unwrap_or(import.name),
                distribution: change.distribution.clone().unwrap_or(import.distribution),
                description: change.description.clone().unwrap_or(import.description),
                ..import
            })?;
        }
        let set: Labels =
            texts.iter().filter_map(|(key, text)| Some(((*key).to_owned(), (*text).clone()?))).collect();
        let snapshot = SnapshotId(image.uuid);
        for pool in image.pools.iter().filter(|_| image.is_available()) {
            if let Some(name) = &change.name {
                let options = icecore::RenameOptions { name_may_repeat: true };
                icecore::rename_with(pool.repo(), snapshot, name, options)?;
            }
            if !set.is_empty() {
                icecore::relabel(pool.repo(), snapshot, &set, &[])?;
            }
        }
        self.image(who, id)
    }

    /// Deletes an image, in all regions. One that is being imported is given up.
    pub(crate) fn delete_image(&self, who: &Who, id: &str) -> ApiResult<()> {
        let image = self.own_image(who, id)?;
        if let Some(offer) = self.db().offer(image.uuid)? {
            self.db().withdraw_offer(offer.id)?;
        }
        if image.status == ImageStatus::New {
            // In this order: an import that ends looks whether it is still wanted.
            self.db().forget_import(image.uuid)?;
            let unfinished = self.db().unfinished_actions()?;
            unfinished.iter().filter(|action| action.resource == image.uuid).for_each(|action| {
                self.jobs().cancel(action.id);
            });
            return Ok(());
        }
        self.delete_everywhere(&image)
    }

    /// Deletes the snapshot of an image in all regions. What was made from it stays.
    pub(crate) fn delete_everywhere(&self, image: &ImageItem) -> ApiResult<()> {
        self.db().forget_import(image.uuid)?;
        if image.is_available() {
            for pool in &image.pools {
                delete_if_there(pool, image.uuid)?;
            }
        }
        Ok(())
    }

    /// Copies an image to another region.
    pub(crate) fn transfer_image(self: &Arc<Self>, who: &Who, id: &str, region: &str) -> ApiResult<Action> {
        let image = self.image(who, id)?;
        let can = matches!(image.kind, ImageType::Snapshot | ImageType::Custom) && image.is_available();
        let source = image.pools.first().filter(|_| can);
        let source = source.ok_or_else(|| ApiError::unprocessable("This image cannot be transferred."))?;
        let target = self.pool(region)?;
        if image.pools.iter().any(|pool| pool.slug == target.slug) {
            return Err(ApiError::unprocessable(format!(
                "The image is already available in the region {region}."
            )));
        }
        let job = Job::TransferImage { from: source.slug.clone() };
        self.act(&self.action_of_image(who, "transfer", &image, target), job)
    }

    /// Makes a snapshot of a backup.
    pub(crate) fn convert_image(self: &Arc<Self>, who: &Who, id: &str) -> ApiResult<Action> {
        let image = self.image(who, id)?;
        let pool = image.pools.first().filter(|_| image.kind == ImageType::Backup);
        let pool =
            pool.ok_or_else(|| ApiError::unprocessable("Only backups can be converted to snapshots."))?;
        self.act(&self.action_of_image(who, "convert", &image, pool), Job::ConvertImage)
    }

    /// Returns what an action of an image begins as.
    pub(super) fn action_of_image<'a>(
        &self,
        who: &'a Who,
        kind: &'a str,
        image: &ImageItem,
        pool: &'a Pool,
    ) -> NewAction<'a> {
        NewAction {
            account: &who.0,
            kind,
            now_unix_ms: self.now_unix_ms(),
            resource_type: "image",
            resource: image.uuid,
            resource_id: Some(image.number),
            region: &pool.slug,
            job: None,
        }
    }

    /// Does what [`transfer_image`](Self::transfer_image) has begun.
    pub(crate) fn transfer(
        &self,
        from: &str,
        target: &Arc<Pool>,
        snapshot: Uuid,
        progress: &JobProgress,
    ) -> ApiResult<()> {
        let source = self.pool(from)?;
        if self.has_snapshot(&target.slug, snapshot)? {
            return Ok(());
        }
        let (source, target) = (Arc::new(source.another_handle()?), target.another_handle()?);
        let options = CopyOptions { level: None, check: true, name_may_repeat: true };
        icecore::copy(&source, SnapshotId(snapshot), &target, &options, progress)?;
        Ok(())
    }

    /// Does what [`convert_image`](Self::convert_image) has begun.
    pub(crate) fn convert(&self, snapshot: Uuid) -> ApiResult<()> {
        for pool in self.pools().values() {
            let kind = [labels::TYPE.to_owned()];
            match icecore::relabel(pool.repo(), SnapshotId(snapshot), &BTreeMap::new(), &kind) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells whether a region has a snapshot.
    pub(crate) fn has_snapshot(&self, region: &str, id: Uuid) -> ApiResult<bool> {
        let all = icecore::list(self.pool(region)?.repo())?.snapshots;
        Ok(all.iter().any(|snapshot| snapshot.id.0 == id))
    }
}

/// Deletes a snapshot in a region, where it may be gone already. What was made from it stays.
pub(super) fn delete_if_there(pool: &Pool, snapshot: Uuid) -> ApiResult<()> {
    let options = icecore::DeleteOptions { clones_keep_it: true };
    match icecore::delete_with(pool.repo(), SnapshotId(snapshot), options) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.map(drop).map_err(ApiError::from),
    }
}
