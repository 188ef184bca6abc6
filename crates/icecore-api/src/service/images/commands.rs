//! The operations on images: import, rename, delete, copy to another region, convert a backup.

use std::sync::Arc;

use icecore_host::clock::Clock;
use icecore_host::clock::new_id;
use icecore_host::config::Config;

use crate::db::Action;
use crate::db::Db;
use crate::db::Import;
use crate::db::NewAction;
use crate::pool;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Who;
use crate::service::actions::Actions;
use crate::service::images::catalog::Images;
use crate::service::images::import::CREATE;
use crate::service::images::item::ImageItem;
use crate::service::images::item::ImageStatus;
use crate::service::images::item::ImageType;
use crate::service::images::jobs::ImageJob;
use crate::service::images::jobs::ImageJobs;
use crate::service::images::probe::probe;
use crate::service::images::remote::Remote;
use crate::service::images::remote::is_remote;
use crate::service::images::source::Source;
use crate::service::parts::Parts;
use crate::service::snapshots::Snapshots;
use crate::service::tag_names::TagNames;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names;

/// A request to import an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImportRequest {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) region: String,
    pub(crate) distribution: String,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
}

/// A request to change an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageChange {
    pub(crate) name: Option<String>,
    pub(crate) distribution: Option<String>,
    pub(crate) description: Option<String>,
}

/// The service that carries out these operations.
pub(crate) struct ImageCommands {
    config: Arc<Config>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    pools: Arc<Pools>,
    actions: Actions,
    snapshots: Arc<Snapshots>,
    images: Arc<Images>,
    jobs: ImageJobs,
    tag_names: Arc<TagNames>,
}

impl ImageCommands {
    pub(crate) fn new(parts: &Parts, images: &Arc<Images>, jobs: &ImageJobs) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            clock: Arc::clone(&parts.clock),
            pools: Arc::clone(&parts.pools),
            actions: parts.actions.clone(),
            snapshots: Arc::clone(&parts.snapshots),
            images: Arc::clone(images),
            jobs: jobs.clone(),
            tag_names: Arc::clone(&parts.tag_names),
        }
    }

    /// Begins to import an image, waits a moment, and returns it.
    pub(crate) fn import(&self, who: &Who, request: &ImportRequest) -> ApiResult<ImageItem> {
        names::check_text("name", &request.name)?;
        names::check_description("distribution", &request.distribution)?;
        names::check_description("description", &request.description)?;
        let pool = pool::find(&self.pools, &request.region)?;
        // Problems that can be found at once are reported at once.
        if is_remote(&request.url) {
            Remote::find(&self.config.import, &request.url)?;
        } else {
            let source = Source::find(&self.config.import.folders, &request.url)?;
            probe(&source.open()?, &source.name)?;
        }
        let tags = self.tag_names.for_new(who, &request.tags)?;
        let uuid = new_id();
        let number = self.db.number(uuid)?;
        let now_unix_ms = self.clock.now_unix_ms();
        let import = Import {
            uuid,
            account: who.0.clone(),
            region: pool.slug.clone(),
            created_unix_ms: now_unix_ms,
            name: request.name.clone(),
            url: request.url.clone(),
            distribution: request.distribution.clone(),
            description: request.description.clone(),
            tags: tags.join(","),
            problem: None,
        };
        self.db.begin_import(&import)?;
        let new = NewAction {
            account: &who.0,
            kind: CREATE,
            now_unix_ms,
            resource_type: "image",
            resource: uuid,
            resource_id: Some(number),
            region: &pool.slug,
            job: None,
        };
        if let Err(error) = self.jobs.work(ImageJob::Import).and_then(|work| self.actions.act(&new, work)) {
            // The import cannot begin, so its record goes.
            self.db.forget_import(uuid)?;
            return Err(error);
        }
        self.images.get(who, &number.to_string())
    }

    /// Changes the name, the distribution and the description of an image.
    pub(crate) fn update(&self, who: &Who, id: &str, change: &ImageChange) -> ApiResult<ImageItem> {
        let image = self.images.own(who, id)?;
        if let Some(name) = &change.name {
            names::check_text("name", name)?;
        }
        let texts =
            [(labels::DISTRIBUTION, &change.distribution), (labels::DESCRIPTION, &change.description)];
        for (what, text) in texts {
            names::check_description(what, text.as_deref().unwrap_or_default())?;
        }
        // An import checks at its end whether its record has changed.
        self.snapshots.alone(image.uuid, || match self.db.import(image.uuid)? {
            Some(import) => self.db.rename_import(&Import {
                name: change.name.clone().unwrap_or(import.name),
                distribution: change.distribution.clone().unwrap_or(import.distribution),
                description: change.description.clone().unwrap_or(import.description),
                ..import
            }),
            None => Ok(()),
        })?;
        let set: Labels =
            texts.iter().filter_map(|(key, text)| Some(((*key).to_owned(), (*text).clone()?))).collect();
        self.snapshots.in_all_regions(who, image.uuid, |repo, id| {
            if let Some(name) = &change.name {
                let options = icecore::snapshot::RenameOptions { name_may_repeat: true };
                icecore::snapshot::rename(repo, id, name, options)?;
            }
            icecore::snapshot::relabel(repo, id, &set, &[]).map(drop)
        })?;
        self.images.get(who, id)
    }

    /// Deletes an image in all regions. If it is being imported, the import is cancelled.
    pub(crate) fn delete(&self, who: &Who, id: &str) -> ApiResult<()> {
        let image = self.images.own(who, id)?;
        if image.status == ImageStatus::New {
            // In this order: an import checks at its end whether its record still exists.
            self.db.forget_import(image.uuid)?;
            let unfinished = self.db.unfinished_actions()?;
            let of_this = unfinished.iter().filter(|action| action.resource == image.uuid);
            of_this.for_each(|action| self.actions.cancel(action));
            return Ok(());
        }
        self.snapshots.delete(who, image.uuid)
    }

    /// Copies an image to another region.
    pub(crate) fn transfer(&self, who: &Who, id: &str, region: &str) -> ApiResult<Action> {
        let image = self.images.get(who, id)?;
        let can = matches!(image.kind, ImageType::Snapshot | ImageType::Custom) && image.is_available();
        let source = image.pools.first().filter(|_| can);
        let source = source.ok_or_else(|| ApiError::unprocessable("This image cannot be transferred."))?;
        let target = pool::find(&self.pools, region)?;
        if image.pools.iter().any(|pool| pool.slug == target.slug) {
            return Err(ApiError::unprocessable(format!(
                "The image is already available in the region {region}."
            )));
        }
        self.act(who, "transfer", &image, target, ImageJob::Transfer { from: source.slug.clone() })
    }

    /// Makes a snapshot of a backup.
    pub(crate) fn convert(&self, who: &Who, id: &str) -> ApiResult<Action> {
        let image = self.images.get(who, id)?;
        let pool = image.pools.first().filter(|_| image.kind == ImageType::Backup);
        let pool =
            pool.ok_or_else(|| ApiError::unprocessable("Only backups can be converted to snapshots."))?;
        self.act(who, "convert", &image, pool, ImageJob::Convert)
    }

    fn act(&self, who: &Who, kind: &str, image: &ImageItem, pool: &Pool, job: ImageJob) -> ApiResult<Action> {
        let new = NewAction {
            account: &who.0,
            kind,
            now_unix_ms: self.clock.now_unix_ms(),
            resource_type: "image",
            resource: image.uuid,
            resource_id: Some(image.number),
            region: &pool.slug,
            job: None,
        };
        self.actions.act(&new, self.jobs.work(job)?)
    }
}
