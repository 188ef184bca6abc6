//! Images are renamed, deleted, copied to other regions, and made of backups.

use std::sync::Arc;

use icecore::repository::Repository;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::SnapshotId;
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
            names::check_description(what, text.as_deref().unwrap_or_default())?;
        }
        // An import that ends looks whether this has changed.
        self.locks.alone(image.uuid, || match self.db().import(image.uuid)? {
            Some(import) => self.db().rename_import(&Import {
                name: change.name.clone().unwrap_or(import.name),
                distribution: change.distribution.clone().unwrap_or(import.distribution),
                description: change.description.clone().unwrap_or(import.description),
                ..import
            }),
            None => Ok(()),
        })?;
        let set: Labels =
            texts.iter().filter_map(|(key, text)| Some(((*key).to_owned(), (*text).clone()?))).collect();
        self.in_all_regions(image.uuid, |repo, id| {
            if let Some(name) = &change.name {
                let options = icecore::snapshot::RenameOptions { name_may_repeat: true };
                icecore::snapshot::rename(repo, id, name, options)?;
            }
            icecore::snapshot::relabel(repo, id, &set, &[]).map(drop)
        })?;
        self.image(who, id)
    }

    /// Deletes an image, in all regions. One that is being imported is given up.
    pub(crate) fn delete_image(&self, who: &Who, id: &str) -> ApiResult<()> {
        let image = self.own_image(who, id)?;
        if image.status == ImageStatus::New {
            // In this order: an import that ends looks whether it is still wanted.
            self.db().forget_import(image.uuid)?;
            let unfinished = self.db().unfinished_actions()?;
            unfinished.iter().filter(|action| action.resource == image.uuid).for_each(|action| {
                self.jobs().cancel(action.id);
            });
            return Ok(());
        }
        self.delete_everywhere(image.uuid)
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
        let id = SnapshotId(snapshot);
        if !self.has_snapshot(&target.slug, snapshot)? {
            let (source, target) = (Arc::new(source.another_handle()?), target.another_handle()?);
            let options = CopyOptions { name_may_repeat: true, ..CopyOptions::default() };
            icecore::snapshot::copy(&source, id, &target, &options, progress)?;
        }
        self.locks.alone(snapshot, || bring_up_to_date(source.repo(), target.repo(), id))?;
        Ok(())
    }

    /// Does what [`convert_image`](Self::convert_image) has begun.
    pub(crate) fn convert(&self, snapshot: Uuid) -> ApiResult<()> {
        let kind = [labels::TYPE.to_owned()];
        let relabel =
            |repo: &Repository, id| icecore::snapshot::relabel(repo, id, &Labels::new(), &kind).map(drop);
        self.in_all_regions(snapshot, relabel)?;
        Ok(())
    }

    /// Tells whether a region has a snapshot. One that is not configured any more has none.
    pub(crate) fn has_snapshot(&self, region: &str, id: Uuid) -> ApiResult<bool> {
        let Some(pool) = self.pools().get(region) else { return Ok(false) };
        Ok(icecore::snapshot::list(pool.repo())?.snapshots.iter().any(|snapshot| snapshot.id.0 == id))
    }
}

/// Notes with a copy what is noted with the snapshot that it is of: that may have changed while it was copied.
fn bring_up_to_date(source: &Repository, target: &Repository, id: SnapshotId) -> icecore::Result<()> {
    let [now, copy] = [
        icecore::snapshot::find(source, &id.to_string())?,
        icecore::snapshot::find(target, &id.to_string())?,
    ];
    icecore::snapshot::rename(
        target,
        id,
        &now.name,
        icecore::snapshot::RenameOptions { name_may_repeat: true },
    )?;
    let gone: Vec<_> = copy.labels.into_keys().filter(|key| !now.labels.contains_key(key)).collect();
    icecore::snapshot::relabel(target, id, &now.labels, &gone)?;
    let gone: Vec<_> = copy.tags.into_iter().filter(|tag| !now.tags.contains(tag)).collect();
    icecore::snapshot::retag(target, id, &now.tags, &gone).map(drop)
}
