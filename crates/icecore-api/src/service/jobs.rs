//! Runs queued jobs. It does not know what a job does.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use icecore::Meter;
use icecore::Progress;

/// The function to call. It must not panic; a panic is logged.
pub(crate) type Task = Box<dyn FnOnce(&JobProgress) + Send>;

/// A queue of jobs. Jobs of one lane wait for each other, but not for those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Jobs that people wait for: snapshots.
    Short,
    /// Jobs that may take hours: imports and copies.
    Long,
}

/// The progress of a job, and whether it should continue.
#[derive(Debug, Default)]
pub(crate) struct JobProgress {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

impl JobProgress {
    /// Restarts the count, towards a new total.
    pub(crate) fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Sets how much of the total is done.
    pub(crate) fn set_done(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Returns the bytes done, and the total.
    fn counts(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed).min(total), total)
    }
}

impl Progress for JobProgress {
    fn total(&self, meter: Meter, total: u64) {
        if meter == Meter::Scanned {
            self.total.store(total, Ordering::Relaxed);
        }
    }

    fn advance(&self, meter: Meter, amount: u64) {
        if meter == Meter::Scanned {
            self.done.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

/// The running and waiting jobs, by the numbers of their actions.
pub(crate) struct Jobs {
    at_once: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lanes: [LaneState; 2],
    /// The progress of those that run or wait.
    jobs: HashMap<i64, Arc<JobProgress>>,
    stopping: bool,
}

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<(i64, Task)>,
    threads: usize,
}

impl Jobs {
    /// Returns a queue that runs up to this many jobs at once in each lane.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a task. After [`stop`](Self::stop) it drops the task: the next server finds it in the
    /// database.
    pub(crate) fn start(self: &Arc<Self>, lane: Lane, id: i64, task: Task) {
        let mut state = self.lock();
        if state.stopping {
            return;
        }
        state.jobs.insert(id, Arc::default());
        let of_lane = &mut state.lanes[lane as usize];
        of_lane.waiting.push_back((id, task));
        if of_lane.threads < self.at_once {
            self.start_thread(lane, of_lane);
        }
    }

    /// Starts a thread for waiting jobs that have none, because the system refused one earlier.
    pub(crate) fn look_again(self: &Arc<Self>) {
        let mut state = self.lock();
        for lane in [Lane::Short, Lane::Long] {
            let of_lane = &mut state.lanes[lane as usize];
            if of_lane.threads == 0 && !of_lane.waiting.is_empty() {
                self.start_thread(lane, of_lane);
            }
        }
    }

    fn start_thread(self: &Arc<Self>, lane: Lane, of_lane: &mut LaneState) {
        let jobs = Arc::clone(self);
        let thread = thread::Builder::new().name("job".to_owned()).spawn(move || jobs.work(lane));
        match thread {
            Ok(_) => of_lane.threads += 1,
            // Another thread of the lane, or one started later, takes the job.
            Err(error) => tracing::error!(%error, "could not start a thread for a job"),
        }
    }

    fn work(&self, lane: Lane) {
        loop {
            let (id, task, progress) = {
                let mut state = self.lock();
                let next = if state.stopping { None } else { state.lanes[lane as usize].waiting.pop_front() };
                let Some((id, task)) = next else {
                    state.lanes[lane as usize].threads -= 1;
                    self.changed.notify_all();
                    return;
                };
                let progress = state.jobs.get(&id).map(Arc::clone).unwrap_or_default();
                (id, task, progress)
            };
            if catch_unwind(AssertUnwindSafe(|| task(&progress))).is_err() {
                tracing::error!(action = id, "a job panicked");
            }
            self.lock().jobs.remove(&id);
            self.changed.notify_all();
        }
    }

    /// Waits until all these jobs are done, at most for `patience`.
    pub(crate) fn wait_for(&self, ids: &[i64], patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.lock();
        while ids.iter().any(|id| state.jobs.contains_key(id)) {
            let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) else {
                return;
            };
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Asks a job to end soon.
    pub(crate) fn cancel(&self, id: i64) {
        if let Some(job) = self.lock().jobs.get(&id) {
            job.cancelled.store(true, Ordering::SeqCst);
        }
    }

    /// Returns the bytes of a job that are done, and the total; none if it neither runs nor waits.
    pub(crate) fn progress(&self, id: i64) -> Option<(u64, u64)> {
        self.lock().jobs.get(&id).map(|job| job.counts())
    }

    /// Returns whether the jobs are being stopped.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Stops all jobs cleanly, and waits for them. The next server finds the unfinished ones in
    /// the database.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        for job in state.jobs.values() {
            job.cancelled.store(true, Ordering::SeqCst);
        }
        while state.lanes.iter().any(|lane| lane.threads > 0) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Waiting jobs have not begun, so they can be dropped.
        for lane in &mut state.lanes {
            lane.waiting.clear();
        }
        state.jobs.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn jobs_wait_for_each_other_and_not_for_those_of_another_lane() {
        let jobs = Arc::new(Jobs::new(1));
        let (go, gone) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let say = |word: &'static str| {
            let tell = tell.clone();
            Box::new(move |_: &JobProgress| tell.send(word).unwrap()) as Task
        };
        jobs.start(Lane::Long, 1, Box::new(move |_| gone.recv().unwrap()));
        jobs.start(Lane::Long, 2, say("second"));
        jobs.start(Lane::Short, 3, say("short"));
        jobs.wait_for(&[3], LONG);
        assert_eq!(told.recv_timeout(LONG).unwrap(), "short");
        assert!(jobs.progress(2).is_some(), "it waits");
        go.send(()).unwrap();
        jobs.wait_for(&[2], LONG);
        assert_eq!(told.recv_timeout(LONG).unwrap(), "second");
        assert!(jobs.progress(1).is_none() && jobs.progress(2).is_none());
    }

    #[test]
    fn a_job_that_panics_ends_and_the_next_one_runs() {
        let jobs = Arc::new(Jobs::new(1));
        jobs.start(Lane::Short, 1, Box::new(|_| panic!("of a test")));
        let (tell, told) = mpsc::channel();
        jobs.start(Lane::Short, 2, Box::new(move |_| tell.send(()).unwrap()));
        told.recv_timeout(LONG).unwrap();
        jobs.wait_for(&[1], LONG);
        assert!(jobs.progress(1).is_none());
    }

    #[test]
    fn stopping_cancels_what_runs_and_drops_what_waits() {
        let jobs = Arc::new(Jobs::new(1));
        let (tell, told) = mpsc::channel();
        let until_cancelled = move |progress: &JobProgress| {
            tell.send(()).unwrap();
            while !progress.cancelled() {
                thread::yield_now();
            }
        };
        jobs.start(Lane::Long, 1, Box::new(until_cancelled));
        jobs.start(Lane::Long, 2, Box::new(|_| panic!("it must not begin")));
        told.recv_timeout(LONG).unwrap();
        jobs.stop();
        assert!(jobs.is_stopping() && jobs.progress(1).is_none() && jobs.progress(2).is_none());
        jobs.start(Lane::Long, 3, Box::new(|_| panic!("it must not begin")));
        assert!(jobs.progress(3).is_none());
    }
}
