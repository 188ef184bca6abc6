//! The jobs behind actions on images. A server may end at any moment, so each can be repeated from
//! the beginning.

use std::sync::Arc;

use icecore::repository::Repository;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::SnapshotId;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::db::Action;
use crate::pool;
use crate::pool::Pool;
use crate::pool::Pools;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Who;
use crate::service::actions::Work;
use crate::service::images::import::Imports;
use crate::service::jobs::JobProgress;
use crate::service::jobs::Lane;
use crate::service::parts::Parts;
use crate::service::snapshots::Snapshots;
use crate::words::error::ApiResult;

/// The work of an action on an image. The database keeps it as JSON until the action is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job")]
pub(crate) enum ImageJob {
    /// Makes a snapshot from a file.
    #[serde(rename = "import-image")]
    Import,
    /// Copies a snapshot to another region.
    #[serde(rename = "transfer-image")]
    Transfer { from: String },
    /// Makes a snapshot from a backup.
    #[serde(rename = "convert-image")]
    Convert,
}

/// The service that carries out jobs.
#[derive(Clone)]
pub(crate) struct ImageJobs {
    pools: Arc<Pools>,
    snapshots: Arc<Snapshots>,
    imports: Arc<Imports>,
}

impl ImageJobs {
    pub(crate) fn new(parts: &Parts, imports: &Arc<Imports>) -> Self {
        Self {
            pools: Arc::clone(&parts.pools),
            snapshots: Arc::clone(&parts.snapshots),
            imports: Arc::clone(imports),
        }
    }

    /// Returns a job as the work of an action.
    pub(crate) fn work(&self, job: ImageJob) -> ApiResult<Work> {
        let lane = match job {
            ImageJob::Import | ImageJob::Transfer { .. } => Some(Lane::Long),
            ImageJob::Convert => None,
        };
        let jobs = self.clone();
        Work::new(&job.clone(), lane, move |action, progress| jobs.perform(action, &job, progress))
    }

    fn perform(&self, action: &Action, job: &ImageJob, progress: &JobProgress) -> ApiResult<()> {
        let pool = &pool::find(&self.pools, &action.region)?.on_behalf_of(&action.account);
        match job {
            ImageJob::Import => self.imports.import(pool, action, progress),
            ImageJob::Transfer { from } => self.transfer(from, pool, action.resource, progress),
            ImageJob::Convert => self.convert(action),
        }
    }

    fn transfer(
        &self,
        from: &str,
        target: &Arc<Pool>,
        snapshot: Uuid,
        progress: &JobProgress,
    ) -> ApiResult<()> {
        let source = pool::find(&self.pools, from)?;
        let id = SnapshotId(snapshot);
        if !self.snapshots.is_in(&target.slug, snapshot)? {
            let (source, target) = (Arc::new(source.another_handle()), target.another_handle());
            let options = CopyOptions { name_may_repeat: true, ..CopyOptions::default() };
            icecore::snapshot::copy(&source, id, &target, &options, progress)?;
        }
        self.snapshots.alone(snapshot, || bring_up_to_date(source.repo(), target.repo(), id))?;
        Ok(())
    }

    fn convert(&self, action: &Action) -> ApiResult<()> {
        let kind = [labels::TYPE.to_owned()];
        let relabel =
            |repo: &Repository, id| icecore::snapshot::relabel(repo, id, &Labels::new(), &kind).map(drop);
        self.snapshots.in_all_regions(&Who(action.account.clone()), action.resource, relabel)?;
        Ok(())
    }
}

/// Copies the current labels of a snapshot to its copy: they may have changed during the copying.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_before_has_noted_is_read() {
        for (text, job) in [
            (r#"{"job":"import-image"}"#, ImageJob::Import),
            (r#"{"job":"transfer-image","from":"ams"}"#, ImageJob::Transfer { from: "ams".to_owned() }),
            (r#"{"job":"convert-image"}"#, ImageJob::Convert),
        ] {
            assert_eq!(serde_json::to_string(&job).unwrap(), text);
            assert_eq!(serde_json::from_str::<ImageJob>(text).unwrap(), job);
        }
    }
}
