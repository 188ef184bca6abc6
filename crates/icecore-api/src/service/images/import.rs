//! Imports: an action that reads a file in an import folder and makes a snapshot of it.

use std::path::PathBuf;
use std::sync::Arc;

use icecore::image::ImageFile;
use icecore::image::ReadAt;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::Parent;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore_host::config::Config;
use tempfile::NamedTempFile;

use crate::db::Action;
use crate::db::Db;
use crate::db::Import;
use crate::pool::Pool;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::actions::Actions;
use crate::service::images::convert::Conversion;
use crate::service::images::convert::check_size;
use crate::service::images::download::Download;
use crate::service::images::item::ImageType;
use crate::service::images::probe::Format;
use crate::service::images::probe::probe;
use crate::service::images::remote::Remote;
use crate::service::images::remote::is_remote;
use crate::service::images::source::Source;
use crate::service::images::spool::Spool;
use crate::service::items::GIB;
use crate::service::jobs::JobProgress;
use crate::service::parts::Parts;
use crate::service::scratch::Scratch;
use crate::service::snapshots::Snapshots;
use crate::service::snapshots::delete_if_there;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The type of import actions.
pub(super) const CREATE: &str = "create";

/// The service that imports images.
pub(crate) struct Imports {
    config: Arc<Config>,
    db: Arc<Db>,
    actions: Actions,
    scratch: Scratch,
    spool: Spool,
    snapshots: Arc<Snapshots>,
}

impl Imports {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            config: Arc::clone(&parts.config),
            db: Arc::clone(&parts.db),
            actions: parts.actions.clone(),
            scratch: parts.scratch.clone(),
            spool: Spool::new(&parts.config),
            snapshots: Arc::clone(&parts.snapshots),
        }
    }

    /// Makes a snapshot from a file that a client has named.
    pub(super) fn import(&self, pool: &Arc<Pool>, action: &Action, progress: &JobProgress) -> ApiResult<()> {
        let done = self.make(pool, action, progress);
        // The next server continues an interrupted download.
        if done.is_ok() || !self.actions.is_stopping() {
            self.spool.delete(action.resource);
        }
        done
    }

    fn make(&self, pool: &Arc<Pool>, action: &Action, progress: &JobProgress) -> ApiResult<()> {
        let uuid = action.resource;
        let given_up = || ApiError::unprocessable("the image was deleted before the import");
        let Some(import) = self.db.import(uuid)? else {
            delete_if_there(pool, uuid)?;
            return Err(given_up());
        };
        if !self.snapshots.is_in(&pool.slug, uuid)?
            && let Err(error) = self.capture(pool, &import, progress)
        {
            if !self.actions.is_stopping() {
                self.db.fail_import(uuid, &error.message)?;
            }
            return Err(error);
        }
        self.snapshots.alone(uuid, || {
            if let Some(now) = self.db.import(uuid)? {
                self.note_changes(pool, &now)?;
            }
            if !self.db.forget_import(uuid)? {
                delete_if_there(pool, uuid)?;
                return Err(given_up());
            }
            Ok(())
        })
    }

    /// Ends imports that have no action, because the server stopped just before it began or just
    /// after it had ended.
    pub(crate) fn end_lost(&self) -> ApiResult<()> {
        let actions = self.db.unfinished_actions()?;
        for import in self.db.unfinished_imports()? {
            if actions.iter().any(|action| action.resource == import.uuid && action.kind == CREATE) {
                continue;
            }
            if self.snapshots.is_in(&import.region, import.uuid)? {
                self.db.forget_import(import.uuid)?;
            } else {
                self.db.fail_import(
                    import.uuid,
                    "the server stopped before the import ended: import it again",
                )?;
            }
        }
        let unfinished = self.db.unfinished_imports()?;
        self.spool.keep_only(&unfinished.iter().map(|import| import.uuid).collect());
        Ok(())
    }

    /// Copies the image's name and texts, which may have changed during the import, to its
    /// snapshot.
    fn note_changes(&self, pool: &Pool, import: &Import) -> ApiResult<()> {
        let (id, options) =
            (SnapshotId(import.uuid), icecore::snapshot::RenameOptions { name_may_repeat: true });
        icecore::snapshot::rename(pool.repo(), id, &import.name, options)?;
        let labels = self.labels_of_import(import)?;
        let about = [labels::DISTRIBUTION, labels::DESCRIPTION].map(str::to_owned).into_iter();
        let cleared: Vec<String> = about.filter(|key| !labels.contains_key(key)).collect();
        icecore::snapshot::relabel(pool.repo(), id, &labels, &cleared)?;
        Ok(())
    }

    fn labels_of_import(&self, import: &Import) -> ApiResult<Labels> {
        let mut labels = Labels::from([(labels::ACCOUNT.to_owned(), import.account.clone())]);
        labels::set(&mut labels, labels::TYPE, ImageType::Custom.label());
        labels::set(&mut labels, labels::NUMBER, &self.db.number(import.uuid)?.to_string());
        labels::set(&mut labels, labels::DISTRIBUTION, &import.distribution);
        labels::set(&mut labels, labels::DESCRIPTION, &import.description);
        Ok(labels)
    }

    fn capture(&self, pool: &Arc<Pool>, import: &Import, progress: &JobProgress) -> ApiResult<()> {
        let source = self.source(import, progress)?;
        let before = source.state()?;
        let (path, _temporaries) = self.raw_file(&source, progress)?;
        if before.was_written(&source.state()?) {
            return Err(written_to(&source));
        }
        let image = ImageFile::open(&path)?;
        check_size(image.len(), self.config.import.max_gigabytes.saturating_mul(GIB))?;
        let options = CaptureOptions {
            name_may_repeat: true,
            tags: import.tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            labels: self.labels_of_import(import)?,
            parent: Parent::None,
            ..CaptureOptions::new(
                SnapshotId(import.uuid),
                import.created_unix_ms,
                ResourceKind::Droplet,
                import.name.clone(),
                import.name.clone(),
            )
        };
        progress.begin(0);
        let done = icecore::snapshot::capture(&pool.another_handle(), &image, &options, progress)?;
        if done.changed_while_read || before.was_written(&source.state()?) {
            delete_if_there(pool, import.uuid)?;
            return Err(written_to(&source));
        }
        Ok(())
    }

    /// Finds the file to import, after downloading it if it is on another machine.
    fn source(&self, import: &Import, progress: &JobProgress) -> ApiResult<Source> {
        let config = &self.config.import;
        if !is_remote(&import.url) {
            return Source::find(&config.folders, &import.url);
        }
        let remote = Remote::find(config, &import.url)?;
        let name = remote.name.clone();
        Download { config, spool: &self.spool, import: import.uuid, remote, progress }.run()?;
        Source::of_server(&self.spool.path(import.uuid), &name)
    }

    /// Returns the path of a raw file: the source itself, or a converted copy. The copy is deleted
    /// when the returned temporary files are dropped.
    fn raw_file(&self, source: &Source, progress: &JobProgress) -> ApiResult<(PathBuf, Vec<NamedTempFile>)> {
        let mut made = Vec::new();
        let mut path = source.path();
        let mut file = source.open()?;
        loop {
            let format = probe(&file, &source.name)?;
            if format == Format::Raw {
                return Ok((path, made));
            }
            if made.len() == 2 {
                return Err(ApiError::unprocessable(format!("{} is compressed more than once", source.name)));
            }
            let to = self.scratch.file()?;
            let bytes_max = self.config.import.max_gigabytes.saturating_mul(GIB);
            Conversion { from: &file, to: to.path(), bytes_max, progress }.run(format)?;
            file = to
                .reopen()
                .map_err(|error| icecore::Error::io(format!("opening {}", to.path().display()), error))?;
            path = to.path().to_owned();
            made.push(to);
            // The converted file is a raw disk, whatever bytes it begins with.
            if matches!(format, Format::Qemu(_)) {
                return Ok((path, made));
            }
        }
    }
}

fn written_to(source: &Source) -> ApiError {
    ApiError::unprocessable(format!(
        "{} was written to during the import: import it again when nothing writes to it",
        source.name
    ))
}
