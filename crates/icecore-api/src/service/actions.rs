//! Actions. The database records each before it begins and when it has ended. If a server stops in
//! between, the next one repeats or ends the action. The caller supplies the work.

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
use crate::words::ids;

/// How long a request waits for the action it began. Most actions are done by then, so the client
/// need not ask again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The function that carries out an action.
type Perform = Box<dyn FnOnce(&Action, &JobProgress) -> ApiResult<()> + Send>;

/// The work of an action.
pub(crate) struct Work {
    /// The description kept in the database until the action is done.
    noted: String,
    /// The threads that run it, or none if it takes no time.
    lane: Option<Lane>,
    perform: Perform,
}

impl Work {
    /// Returns work that calls `perform` on a thread of `lane`, or at once without a lane. `noted`
    /// tells the next server what to do if this one stops.
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
        let id = ids::number(id).ok_or_else(ApiError::not_found)?;
        self.db.action(&who.0, id)?.ok_or_else(ApiError::not_found)
    }

    /// Returns an action of a resource.
    pub(crate) fn of(&self, who: &Who, resource: Uuid, id: &str) -> ApiResult<Action> {
        let action = self.get(who, id)?;
        if action.resource == resource { Ok(action) } else { Err(ApiError::not_found()) }
    }

    /// Returns the number of actions, of one resource or all, and one page of them, newest first.
    pub(crate) fn list(
        &self,
        who: &Who,
        resource: Option<Uuid>,
        offset: usize,
        count: usize,
    ) -> ApiResult<(usize, Vec<Action>)> {
        self.db.actions(&who.0, resource, offset, count)
    }

    /// Begins an action and waits a while for it. A longer one continues in the background.
    ///
    /// # Errors
    /// 422 if another action of the resource is unfinished. If the action itself fails, the action
    /// records the error.
    pub(super) fn act(&self, new: &NewAction<'_>, work: Work) -> ApiResult<Action> {
        let mut begun = [self.start(new, work)?];
        self.wait(&mut begun);
        let [action] = begun;
        Ok(action)
    }

    /// Begins an action, and carries it out at once if it takes no time.
    ///
    /// # Errors
    /// As for [`act`](Self::act).
    pub(super) fn start(&self, new: &NewAction<'_>, work: Work) -> ApiResult<Action> {
        let action = self.db.begin_action(&NewAction { job: Some(work.noted.clone()), ..new.clone() })?;
        self.go_on(&action, work);
        Ok(action)
    }

    /// Waits a while for these actions to end, and updates them to their current state.
    pub(super) fn wait(&self, begun: &mut [Action]) {
        self.jobs.wait_for(&begun.iter().map(|action| action.id).collect::<Vec<_>>(), PATIENCE);
        for action in begun {
            // A failed lookup does not fail the action.
            if let Ok(Some(now)) = self.db.action(&action.account, action.id) {
                *action = now;
            }
        }
    }

    /// Carries out an action that has begun.
    pub(super) fn go_on(&self, action: &Action, work: Work) {
        let Some(lane) = work.lane else {
            self.run(action, work, &JobProgress::default());
            return;
        };
        let (actions, action) = (self.clone(), action.clone());
        self.jobs.start(lane, action.id, Box::new(move |progress| actions.run(&action, work, progress)));
    }

    /// Carries out an action and records its end, unless the server's shutdown interrupted it.
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

    /// Records that an action has ended, and why it failed if it did.
    pub(super) fn end(&self, action: &Action, problem: Option<&str>) -> ApiResult<()> {
        self.db.end_action(action.id, problem, self.clock.now_unix_ms()).map(drop)
    }

    /// Asks an action to end soon.
    pub(super) fn cancel(&self, action: &Action) {
        self.jobs.cancel(action.id);
    }

    /// Returns whether the server is stopping.
    pub(super) fn is_stopping(&self) -> bool {
        self.jobs.is_stopping()
    }

    /// Returns how many bytes of a running or waiting action are done, and of how many, if known.
    pub(crate) fn progress(&self, action: i64) -> Option<(u64, u64)> {
        self.jobs.progress(action)
    }
}
