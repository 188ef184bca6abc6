//! What actions do. Each is noted in the database before it begins and when it has ended; one that
//! a server did not end is done, or ended, by the next.

mod perform;
mod queue;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::db::Action;
use crate::db::NewAction;
use crate::pool::labels::Labels;
use crate::service::Service;
pub(crate) use crate::service::jobs::queue::JobProgress;
pub(crate) use crate::service::jobs::queue::Jobs;
use crate::service::jobs::queue::Lane;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// How long a request waits for what it began: most of it is done by then, and its client need not
/// ask again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an action does. It stands in the database as JSON while the action is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub(crate) enum Job {
    /// Makes the disk of a Droplet of a snapshot, and attaches volumes.
    CreateDroplet { name: String, size_bytes: u64, snapshot: Uuid, labels: Labels, volumes: Vec<Uuid> },
    /// Deletes a Droplet and its backups, and detaches its volumes.
    DestroyDroplet,
    /// Takes a snapshot of a Droplet's disk.
    SnapshotDroplet { id: Uuid, name: String, tags: Vec<String>, labels: Labels },
    /// Gives a Droplet's disk the content of a snapshot.
    RestoreDroplet { snapshot: Uuid },
    /// Gives a Droplet another size, and its disk too if one is named.
    ResizeDroplet { size: String, size_bytes: Option<u64> },
    /// Changes what is noted with a Droplet; an empty text is removed.
    LabelDroplet { labels: BTreeMap<String, String> },
    /// Makes a snapshot of a file.
    ImportImage,
    /// Copies a snapshot to another region.
    TransferImage { from: String },
    /// Makes a snapshot of a backup.
    ConvertImage,
}

impl Job {
    /// Returns the threads that do it; none where it takes no time.
    fn lane(&self) -> Option<Lane> {
        match self {
            Self::SnapshotDroplet { .. } => Some(Lane::Short),
            Self::ImportImage | Self::TransferImage { .. } => Some(Lane::Long),
            Self::CreateDroplet { .. }
            | Self::DestroyDroplet
            | Self::RestoreDroplet { .. }
            | Self::ResizeDroplet { .. }
            | Self::LabelDroplet { .. }
            | Self::ConvertImage => None,
        }
    }
}

impl Service {
    /// Begins an action and does it. What takes long goes on in the background after a while.
    ///
    /// # Errors
    /// 422 if another action of the resource is not done. What goes wrong with the action itself
    /// stands in the action.
    pub(crate) fn act(self: &Arc<Self>, new: &NewAction<'_>, job: Job) -> ApiResult<Action> {
        let mut begun = [self.start(new, job)?];
        self.wait(&mut begun);
        let [action] = begun;
        Ok(action)
    }

    /// Begins an action, and does it at once where that takes no time.
    ///
    /// # Errors
    /// As of [`act`](Self::act).
    pub(crate) fn start(self: &Arc<Self>, new: &NewAction<'_>, job: Job) -> ApiResult<Action> {
        let text = serde_json::to_string(&job).map_err(ApiError::server)?;
        let action = self.db().begin_action(&NewAction { job: Some(text), ..new.clone() })?;
        self.go_on(&action, job);
        Ok(action)
    }

    /// Waits for a while until these actions are done, and makes them what they are then.
    pub(crate) fn wait(&self, begun: &mut [Action]) {
        self.jobs().wait_for(&begun.iter().map(|action| action.id).collect::<Vec<_>>(), PATIENCE);
        for action in begun {
            // A failure to look is none of the action.
            if let Ok(Some(now)) = self.db().action(&action.account, action.id) {
                *action = now;
            }
        }
    }

    fn go_on(self: &Arc<Self>, action: &Action, job: Job) {
        let Some(lane) = job.lane() else {
            self.run(action, &job, &JobProgress::default());
            return;
        };
        let (service, action) = (Arc::clone(self), action.clone());
        let jobs = Arc::clone(self.jobs());
        jobs.start(lane, action.id, Box::new(move |progress| service.run(&action, &job, progress)));
    }

    /// Does an action, and notes that it has ended: all but one that the end of the server has
    /// interrupted.
    fn run(&self, action: &Action, job: &Job, progress: &JobProgress) {
        let done = self.perform(action, job, progress);
        let problem = match done {
            Ok(()) => None,
            Err(_) if self.jobs().is_stopping() => return,
            Err(error) => Some(error.message),
        };
        if let Some(problem) = &problem {
            tracing::warn!(action = action.id, kind = action.kind, problem, "an action failed");
        }
        if let Err(error) = self.db().end_action(action.id, problem.as_deref(), self.now_unix_ms()) {
            tracing::error!(action = action.id, %error, "could not record the end of an action");
        }
    }

    /// Goes on with what a server before has begun and not ended. What it cannot go on with is
    /// undone.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) fn resume(self: &Arc<Self>) -> ApiResult<()> {
        self.end_accepted_offers()?;
        self.end_lost_imports()?;
        for action in self.db().unfinished_actions()? {
            let job = action.job.as_deref().map(serde_json::from_str::<Job>);
            match job {
                Some(Ok(Job::SnapshotDroplet { id, .. })) => self.end_snapshot(&action, id)?,
                Some(Ok(job)) => self.go_on(&action, job),
                _ => {
                    let problem = "the server stopped before this ended: check whether it was done, and repeat it if not";
                    self.db().end_action(action.id, Some(problem), self.now_unix_ms())?;
                }
            }
        }
        Ok(())
    }

    /// Ends a snapshot that was being taken when the server ended: it is there whole or not at all,
    /// and its moment is over.
    fn end_snapshot(&self, action: &Action, id: Uuid) -> ApiResult<()> {
        let taken = self.has_snapshot(&action.region, id)?;
        let problem = (!taken).then_some("the server stopped before it took the snapshot: take another one");
        self.db().end_action(action.id, problem, self.now_unix_ms())?;
        Ok(())
    }

    /// Returns how far an action is that runs or waits, in bytes: how many are done, and of how
    /// many, as far as that is known.
    pub(crate) fn progress(&self, action: i64) -> Option<(u64, u64)> {
        self.jobs().progress(action)
    }

    /// Ends all jobs in order. The next server goes on with them.
    pub(crate) fn stop_jobs(&self) {
        self.jobs().stop();
    }
}
