//! Actions. The database records each before it begins and when it has ended. If a server stops in
//! between, the next one repeats the action, or ends it. The caller supplies the work of an action.

use std::sync::Arc;
use std::time::Duration;

use icecore_host::clock::Clock;
use serde::Serialize;
use uuid::Uuid;

use crate::db::Action;
use crate::db::Db;
use crate::db::NewAction;
use crate::service::accounts::Who;
use crate::service::jobs::JobProgress;
use crate::service::jobs::Jobs;
use crate::service::jobs::Lane;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// How long a request waits for what it began: most of it is done by then, and its client need not
/// ask again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is called to do an action.
type Perform = Box<dyn FnOnce(&Action, &JobProgress) -> ApiResult<()> + Send>;

/// What an action does.
pub(crate) struct Work {
    /// What stands in the database while it is not done.
    noted: String,
    /// The threads that do it; none where it takes no time.
    lane: Option<Lane>,
    perform: Perform,
}

impl Work {
    /// Calls `perform` on a thread of `lane`, or at once where there is none. `noted` tells the
    /// next server what was to be done.
    pub(super) fn new(
        noted: &impl Serialize,
        lane: Option<Lane>,
        perform: impl FnOnce(&Action, &JobProgress) -> ApiResult<()> + Send + 'static,
    ) -> ApiResult<Self> {
        let noted = serde_json::to_string(noted).map_err(ApiError::server)?;
        Ok(Self { noted, lane, perform: Box::new(perform) })
    }
}

/// The actions of all accounts.
#[derive(Clone)]
pub(crate) struct Actions {
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    jobs: Arc<Jobs>,
}

impl Actions {
    pub(super) fn new(db: &Arc<Db>, clock: &Arc<dyn Clock>, jobs: &Arc<Jobs>) -> Self {
        Self { db: Arc::clone(db), clock: Arc::clone(clock), jobs: Arc::clone(jobs) }
    }

    /// Returns an action of an account.
    pub(crate) fn get(&self, who: &Who, id: &str) -> ApiResult<Action> {
        let id = id.parse().map_err(|_| ApiError::not_found())?;
        self.db.action(&who.0, id)?.ok_or_else(ApiError::not_found)
    }

    /// Returns an action of a resource.
    pub(crate) fn of(&self, who: &Who, resource: Uuid, id: &str) -> ApiResult<Action> {
        let action = self.get(who, id)?;
        if action.resource == resource { Ok(action) } else { Err(ApiError::not_found()) }
    }

    /// Returns how many actions there are, of one resource or all, and some of them, newest first.
    pub(crate) fn list(
        &self,
        who: &Who,
        resource: Option<Uuid>,
        offset: usize,
        count: usize,
    ) -> ApiResult<(usize, Vec<Action>)> {
        self.db.actions(&who.0, resource, offset, count)
    }

    /// Begins an action and does it. What takes long goes on in the background after a while.
    ///
    /// # Errors
    /// 422 if another action of the resource is not done. What goes wrong with the action itself
    /// stands in the action.
    pub(super) fn act(&self, new: &NewAction<'_>, work: Work) -> ApiResult<Action> {
        let mut begun = [self.start(new, work)?];
        self.wait(&mut begun);
        let [action] = begun;
        Ok(action)
    }

    /// Begins an action, and does it at once where that takes no time.
    ///
    /// # Errors
    /// As of [`act`](Self::act).
    pub(super) fn start(&self, new: &NewAction<'_>, work: Work) -> ApiResult<Action> {
        let action = self.db.begin_action(&NewAction { job: Some(work.noted.clone()), ..new.clone() })?;
        self.go_on(&action, work);
        Ok(action)
    }

    /// Waits for a while until these actions are done, and makes them what they are then.
    pub(super) fn wait(&self, begun: &mut [Action]) {
        self.jobs.wait_for(&begun.iter().map(|action| action.id).collect::<Vec<_>>(), PATIENCE);
        for action in begun {
            // A failed lookup does not fail the action.
            if let Ok(Some(now)) = self.db.action(&action.account, action.id) {
                *action = now;
            }
        }
    }

    /// Does an action that has begun.
    pub(super) fn go_on(&self, action: &Action, work: Work) {
        let Some(lane) = work.lane else {
            self.run(action, work, &JobProgress::default());
            return;
        };
        let (actions, action) = (self.clone(), action.clone());
        self.jobs.start(lane, action.id, Box::new(move |progress| actions.run(&action, work, progress)));
    }

    /// Does an action and notes that it has ended, unless the end of the server interrupted it.
    fn run(&self, action: &Action, work: Work, progress: &JobProgress) {
        let done = (work.perform)(action, progress);
        let problem = match done {
            Ok(()) => None,
            Err(_) if self.is_stopping() => return,
            Err(error) => Some(error.message),
        };
        if let Some(problem) = &problem {
            tracing::warn!(action = action.id, kind = action.kind, problem, "an action failed");
        }
        if let Err(error) = self.end(action, problem.as_deref()) {
            tracing::error!(action = action.id, %error, "could not record the end of an action");
        }
    }

    /// Notes that an action has ended, and why it failed if it did.
    pub(super) fn end(&self, action: &Action, problem: Option<&str>) -> ApiResult<()> {
        self.db.end_action(action.id, problem, self.clock.now_unix_ms()).map(drop)
    }

    /// Asks an action to end soon.
    pub(super) fn cancel(&self, action: &Action) {
        self.jobs.cancel(action.id);
    }

    /// Tells whether the server is being stopped.
    pub(super) fn is_stopping(&self) -> bool {
        self.jobs.is_stopping()
    }

    /// Returns how many bytes of an action that runs or waits are done, and of how many, as far as
    /// that is known.
    pub(crate) fn progress(&self, action: i64) -> Option<(u64, u64)> {
        self.jobs.progress(action)
    }
}
