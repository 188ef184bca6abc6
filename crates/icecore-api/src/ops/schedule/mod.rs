//! Recurring work: the schedules of the configuration, backups of Droplets, samples for the charts.
//!
//! One thread watches the clock, and each run has its own thread, so a run of hours delays no
//! other. The database records up to which time the runs of a schedule are done. One run makes up
//! for those missed while no server ran.

mod backups;
mod entry;
mod tasks;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use icecore::Error;
use icecore::Result;
use icecore_host::cron::When;

use crate::ops::metrics::Meters;
use crate::ops::schedule::entry::Entry;
use crate::ops::schedule::entry::What;
use crate::service::Service;
use crate::words::error::ApiResult;

/// The longest sleep between two looks at the clock, which somebody may have set.
const LOOK_MS: u64 = 60_000;
/// The schedule of usage samples.
const USAGE: &str = "@hourly";

/// The scheduler: it runs every entry at its time.
pub(crate) struct Scheduler {
    service: Arc<Service>,
    meters: Arc<Meters>,
    /// All entries but backups, which come and go.
    fixed: Vec<Entry>,
    running: Mutex<BTreeSet<String>>,
    /// The times up to which runs are done, while the database cannot record them.
    unwritten: Mutex<BTreeMap<String, i64>>,
    /// Signals that a run has ended, or that all should end.
    changed: Condvar,
    stopping: AtomicBool,
}

impl Scheduler {
    /// Reads the schedules; nothing runs yet.
    pub(crate) fn new(service: Arc<Service>, meters: Arc<Meters>) -> Result<Self> {
        let mut fixed = vec![Entry {
            // The slash keeps it apart from configured names, which have none.
            name: "/usage".to_owned(),
            when: When::parse(USAGE, "UTC")?,
            ready: true,
            what: What::Usage,
        }];
        for schedule in &service.config.schedules {
            fixed.push(Entry {
                name: schedule.name.clone(),
                when: schedule.when()?,
                ready: true,
                what: What::Configured(Box::new(schedule.clone())),
            });
        }
        Ok(Self {
            service,
            meters,
            fixed,
            running: Mutex::default(),
            unwritten: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Starts the thread that watches the clock.
    pub(crate) fn start(self: &Arc<Self>) -> Result<JoinHandle<()>> {
        let scheduler = Arc::clone(self);
        let looking = move || {
            while !scheduler.is_stopping() {
                let wait = scheduler.begin_what_is_due();
                let running = scheduler.lock();
                if !scheduler.is_stopping() {
                    drop(scheduler.changed.wait_timeout(running, wait));
                }
            }
        };
        let thread = thread::Builder::new().name("schedules".to_owned()).spawn(looking);
        thread.map_err(Error::no_thread)
    }

    /// Stops all runs cleanly, and waits for them. The next server does the rest.
    pub(crate) fn stop(&self) {
        let mut running = self.lock();
        self.stopping.store(true, Ordering::SeqCst);
        self.changed.notify_all();
        while !running.is_empty() {
            running = self.changed.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the runs that are due, and the jobs that could not get a thread. Returns how long
    /// until the next run is due.
    fn begin_what_is_due(self: &Arc<Self>) -> Duration {
        self.service.jobs.look_again();
        let now = self.service.clock.now_unix_ms();
        match self.due(now) {
            Ok(due) => due.into_iter().for_each(|entry| self.begin(entry, now)),
            Err(error) => tracing::error!(%error, "cannot determine which schedules are due"),
        }
        let next = self.fixed.iter().filter_map(|entry| entry.when.next_after(now)).min();
        let wait = next.and_then(|next| u64::try_from(next.saturating_sub(now)).ok()).unwrap_or(LOOK_MS);
        Duration::from_millis(wait.clamp(1, LOOK_MS))
    }

    /// Returns the entries that should run now. An entry that has never run counts from now on.
    fn due(&self, now: i64) -> ApiResult<Vec<Entry>> {
        // Read before the times that are done: otherwise a run that ends in between would start
        // again.
        let running = self.lock().clone();
        self.write_down();
        let db = &self.service.db;
        let mut due = Vec::new();
        let backups = backups::entries(&self.service)?;
        for entry in self.fixed.iter().chain(&backups.entries) {
            let unwritten = self.unwritten().get(&entry.name).copied();
            match unwritten.map_or_else(|| db.schedule_done(&entry.name), |done| Ok(Some(done)))? {
                None => self.note_done(&entry.name, now),
                Some(done) if entry.when.next_after(done).is_some_and(|next| next <= now) => {
                    due.extend((entry.ready && !running.contains(&entry.name)).then(|| entry.clone()));
                }
                // The clock was set back: the schedule counts from the new time.
                Some(done) if done > now => self.note_done(&entry.name, now),
                Some(_) => {}
            }
        }
        if backups.complete {
            let all = self.fixed.iter().chain(&backups.entries);
            let names: Vec<&str> = all.map(|entry| entry.name.as_str()).collect();
            self.unwritten().retain(|name, _| names.contains(&name.as_str()));
            if let Err(error) = db.forget_schedules_but(&names) {
                tracing::warn!(%error, "could not remove records of deleted schedules");
            }
        }
        Ok(due)
    }

    fn unwritten(&self) -> MutexGuard<'_, BTreeMap<String, i64>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the time up to which a schedule's runs are done; in memory only if the database
    /// cannot.
    fn note_done(&self, name: &str, now: i64) {
        let mut unwritten = self.unwritten();
        match self.service.db.set_schedule_done(name, now) {
            Ok(()) => drop(unwritten.remove(name)),
            Err(error) => {
                tracing::error!(schedule = name, %error, "could not record the run of a schedule");
                unwritten.insert(name.to_owned(), now);
            }
        }
    }

    /// Writes to the database what could not be recorded earlier.
    fn write_down(&self) {
        let waiting = self.unwritten().clone();
        for (name, done) in waiting {
            self.note_done(&name, done);
        }
    }

    /// Starts an entry on its own thread, unless its previous run is still going.
    fn begin(self: &Arc<Self>, entry: Entry, now: i64) {
        let name = entry.name.clone();
        let mut running = self.lock();
        if self.is_stopping() || !running.insert(name.clone()) {
            return;
        }
        drop(running);
        let scheduler = Arc::clone(self);
        let run = move || scheduler.run(&entry, now);
        if let Err(error) = thread::Builder::new().name("schedule".to_owned()).spawn(run) {
            tracing::error!(schedule = name, %error, "could not start a thread for a schedule");
            self.lock().remove(&name);
        }
    }

    /// Runs an entry and records it as done, even if it failed: its next time is soon enough.
    fn run(&self, entry: &Entry, now: i64) {
        let _running = Mark(self, &entry.name);
        let done = tasks::perform(&self.service, &self.stopping, &entry.what, entry.when.zone(), now);
        if self.is_stopping() && done.is_err() {
            return;
        }
        match &done {
            Ok(()) => tracing::info!(schedule = entry.name, "done"),
            Err(error) => tracing::error!(schedule = entry.name, %error, "a schedule failed"),
        }
        if matches!(entry.what, What::Configured(_)) {
            self.meters.ran(&entry.name, done.is_ok());
        }
        self.note_done(&entry.name, now);
    }
}

/// A mark that an entry is running, until it is dropped.
struct Mark<'a>(&'a Scheduler, &'a str);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(self.1);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
