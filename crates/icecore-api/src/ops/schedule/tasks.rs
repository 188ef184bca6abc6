//! The tasks of schedules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use globset::GlobSet;
use icecore::Error;
use icecore::ErrorKind;
use icecore::maintenance::Depth;
use icecore::maintenance::gc;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::Snapshot;
use icecore::snapshot::retention;
use icecore::snapshot::retention::Policy;
use icecore_host::config::Resource;
use icecore_host::config::ScheduleConfig;
use icecore_host::config::Task;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::ops::schedule::backups;
use crate::ops::schedule::entry::What;
use crate::pool::Pool;
use crate::pool::labels;
use crate::service::Service;
use crate::service::accounts::Who;
use crate::service::droplets::commands::Command;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;
use crate::service::snapshot_index::Class;
use crate::service::snapshot_lists::Wanted;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The digits of the time in a snapshot's name: of the date, and of the time of day.
const DIGITS: [usize; 2] = [8, 6];
/// The fraction of packs that may stay unused, as for `icecore gc`.
const MAX_UNUSED: f64 = 0.05;
const MINUTE_MS: i64 = 60_000;

/// Runs a task. An error with one snapshot, volume or region does not stop the others.
pub(super) fn perform(
    service: &Arc<Service>,
    stopping: &AtomicBool,
    what: &What,
    zone: &TimeZone,
    now: i64,
) -> ApiResult<()> {
    match what {
        What::Usage => service.usage.sample(),
        What::Backup { account, droplet } => backups::perform(service, account, droplet),
        What::Configured(schedule) => {
            let run = Run { service, stopping, schedule, zone, now };
            match schedule.task {
                Task::Snapshot => run.snapshot(),
                Task::Prune => run.prune(|_| true),
                Task::Gc => run.for_each_region(|pool| run.gc(pool)),
                Task::Verify => run.for_each_region(|pool| run.verify(pool)),
            }
        }
    }
}

/// A run of a configured schedule.
struct Run<'a> {
    service: &'a Arc<Service>,
    stopping: &'a AtomicBool,
    schedule: &'a ScheduleConfig,
    zone: &'a TimeZone,
    now: i64,
}

/// A limit that cancels slow work when the schedules stop or its time is over.
struct Until<'a> {
    service: &'a Service,
    stopping: &'a AtomicBool,
    end_unix_ms: Option<i64>,
}

impl icecore::Progress for Until<'_> {
    fn total(&self, _meter: icecore::Meter, _total: u64) {}
    fn advance(&self, _meter: icecore::Meter, _amount: u64) {}

    fn cancelled(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn time_is_up(&self) -> bool {
        self.end_unix_ms.is_some_and(|end| self.service.clock.now_unix_ms() >= end)
    }
}

/// The number of failures, and the first reason.
#[derive(Default)]
struct Failures {
    count: usize,
    first: Option<ApiError>,
}

impl Failures {
    fn note<T>(&mut self, of: &str, done: ApiResult<T>) {
        if let Err(error) = done {
            tracing::warn!(of, %error, "skipped by a schedule");
            self.count += 1;
            self.first.get_or_insert(error);
        }
    }

    fn result(self) -> ApiResult<()> {
        match self.first {
            None => Ok(()),
            Some(error) if self.count == 1 => Err(error),
            Some(error) => {
                let message = format!("{} failed, the first with: {}", self.count, error.message);
                Err(ApiError { message, ..error })
            }
        }
    }
}

impl Run<'_> {
    fn accounts(&self) -> Vec<Who> {
        let all = self.service.config.accounts.iter().map(|account| &account.name);
        let wanted =
            |name: &&String| self.schedule.accounts.is_empty() || self.schedule.accounts.contains(name);
        all.filter(wanted).cloned().map(Who).collect()
    }

    fn wants_region(&self, slug: &str) -> bool {
        self.schedule.regions.is_empty() || self.schedule.regions.iter().any(|region| region == slug)
    }

    fn wants_kind(&self, kind: ResourceKind) -> bool {
        let of = match kind {
            ResourceKind::Droplet => Resource::Droplet,
            ResourceKind::Volume => Resource::Volume,
        };
        self.schedule.of.is_empty() || self.schedule.of.contains(&of)
    }

    fn wants_tags(&self, tags: &[String]) -> bool {
        let wanted = &self.schedule.tags;
        wanted.is_empty()
            || wanted.iter().any(|wanted| tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
    }

    fn go_on(&self) -> ApiResult<()> {
        match self.stopping.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Interrupted, "the server is stopping").into()),
            false => Ok(()),
        }
    }

    /// Takes a snapshot of each disk, and deletes old snapshots of this schedule.
    fn snapshot(&self) -> ApiResult<()> {
        let globs = self.schedule.globs()?;
        let name = snapshot_name(&self.schedule.name, self.now);
        let mut failures = Failures::default();
        for who in self.accounts() {
            let done = self.snapshot_account(&who, &globs, &name, &mut failures);
            failures.note(&who.0, done);
        }
        if self.schedule.keep.is_some() {
            failures
                .note("prune", self.prune(|snapshot| is_of_schedule(&snapshot.name, &self.schedule.name)));
        }
        failures.result()
    }

    fn snapshot_account(
        &self,
        who: &Who,
        globs: &GlobSet,
        name: &str,
        failures: &mut Failures,
    ) -> ApiResult<()> {
        let disks = self.disks(who, globs)?;
        let droplets = self.service.disks.droplet_numbers(who)?;
        for disk in disks {
            self.go_on()?;
            let taken = match disk.info.kind {
                ResourceKind::Volume => {
                    self.service.volume_snapshots.take(who, &disk.id().to_string(), name, &[]).map(drop)
                }
                ResourceKind::Droplet => self.snapshot_droplet(who, droplets.get(&disk.id()).copied(), name),
            };
            failures.note(disk.name(), taken);
        }
        Ok(())
    }

    /// Starts a snapshot of a Droplet. Its action records the outcome.
    fn snapshot_droplet(&self, who: &Who, number: Option<i64>, name: &str) -> ApiResult<()> {
        let number = number.ok_or_else(ApiError::not_found)?.to_string();
        let command = Command::Snapshot { name: Some(name.to_owned()) };
        self.service.droplet_commands.command(who, &number, &command).map(drop)
    }

    fn disks(&self, who: &Who, globs: &GlobSet) -> ApiResult<Vec<VolumeItem>> {
        let mut found = Vec::new();
        for kind in [ResourceKind::Volume, ResourceKind::Droplet] {
            if self.wants_kind(kind) {
                found.extend(self.service.disks.list(who, kind)?);
            }
        }
        found.retain(|disk| {
            self.wants_region(&disk.pool.slug)
                && (globs.is_empty() || globs.is_match(disk.name()))
                && self.wants_tags(&disk.tags())
        });
        Ok(found)
    }

    /// Deletes the snapshots that `choose` selects and the policy does not keep.
    fn prune(&self, choose: impl Fn(&Snapshot) -> bool) -> ApiResult<()> {
        let policy = match &self.schedule.keep {
            Some(keep) => keep.policy()?,
            None => return Ok(()),
        };
        let mut failures = Failures::default();
        for who in self.accounts() {
            failures.note(&who.0, self.prune_account(&who, &policy, &choose));
        }
        failures.result()
    }

    fn prune_account(&self, who: &Who, policy: &Policy, choose: impl Fn(&Snapshot) -> bool) -> ApiResult<()> {
        let globs = self.schedule.globs()?;
        let disks = self.disks_by_id(who)?;
        let wanted = Wanted { classes: &[Class::Proper], ..Wanted::own() };
        let items = self.service.snapshots.list_where(who, &wanted, |item| {
            choose(&item.snapshot) && self.wants_snapshot(item, &globs, &disks)
        })?;
        let snapshots: Vec<Snapshot> = items.iter().map(|item| item.snapshot.clone()).collect();
        self.log_future(&snapshots);
        let plan = retention::plan(&snapshots, policy, self.now, self.zone)?;
        let mut failures = Failures::default();
        for going in plan.going() {
            self.go_on()?;
            match self.service.snapshots.delete(who, going.id.0) {
                // The snapshot is gone, or somebody is reading it: the next run is soon enough.
                Err(error) if matches!(error.status, 404 | 409) => {
                    tracing::info!(snapshot = %going.id, %error, "not deleted by a schedule");
                }
                done => {
                    if done.is_ok() {
                        tracing::info!(snapshot = %going.id, name = going.name, schedule = self.schedule.name, "deleted");
                    }
                    failures.note(&going.name, done);
                }
            }
        }
        failures.result()
    }

    /// Logs which snapshots have a time in the future, because of a wrong clock.
    fn log_future(&self, snapshots: &[Snapshot]) {
        let future = snapshots.iter().filter(|snapshot| snapshot.is_from_the_future(self.now));
        for Snapshot { id, name, resource, .. } in future {
            tracing::warn!(snapshot = %id, name, resource, schedule = self.schedule.name, "dated later than now");
        }
    }

    /// Returns the existing disks, by id as text.
    fn disks_by_id(&self, who: &Who) -> ApiResult<BTreeMap<String, VolumeItem>> {
        let mut disks = BTreeMap::new();
        for kind in [ResourceKind::Volume, ResourceKind::Droplet] {
            for disk in self.service.disks.list(who, kind)? {
                disks.insert(disk.id().to_string(), disk);
            }
        }
        Ok(disks)
    }

    /// Returns whether this schedule covers a snapshot. A tag counts if the snapshot has it, or the
    /// disk that it was taken from.
    fn wants_snapshot(
        &self,
        item: &SnapshotItem,
        globs: &GlobSet,
        disks: &BTreeMap<String, VolumeItem>,
    ) -> bool {
        let snapshot = &item.snapshot;
        let of = labels::id(&snapshot.labels, labels::RESOURCE).map(|id| id.to_string());
        let disk = disks.get(of.as_deref().unwrap_or(&item.resource_id));
        let name = disk.map_or(snapshot.resource.as_str(), VolumeItem::name);
        let kind = labels::text(&snapshot.labels, labels::TYPE).unwrap_or(labels::TYPE_SNAPSHOT);
        kind == labels::TYPE_SNAPSHOT
            && self.wants_kind(snapshot.kind)
            && item.pools.iter().all(|pool| self.wants_region(&pool.slug))
            && (globs.is_empty() || globs.is_match(name))
            && (self.wants_tags(&snapshot.tags) || disk.is_some_and(|disk| self.wants_tags(&disk.tags())))
    }

    fn for_each_region(&self, act: impl Fn(&Pool) -> icecore::Result<()>) -> ApiResult<()> {
        let mut failures = Failures::default();
        for (slug, pool) in &*self.service.pools {
            if self.wants_region(slug) {
                self.go_on()?;
                failures.note(slug, act(pool).map_err(ApiError::from));
            }
        }
        failures.result()
    }

    fn until(&self, end_unix_ms: Option<i64>) -> Until<'_> {
        Until { service: self.service, stopping: self.stopping, end_unix_ms }
    }

    fn gc(&self, pool: &Pool) -> icecore::Result<()> {
        let repo = pool.another_handle();
        let progress = self.until(None);
        let plan = gc::plan(&repo, &gc::GcOptions::new(MAX_UNUSED), &progress)?;
        let totals = gc::apply(&repo, plan, &progress)?;
        tracing::info!(region = pool.slug, freed_bytes = totals.freed_bytes, "freed space");
        Ok(())
    }

    fn verify(&self, pool: &Pool) -> icecore::Result<()> {
        let repo = pool.another_handle();
        let length_ms = |minutes: u64| i64::try_from(minutes).unwrap_or(i64::MAX).saturating_mul(MINUTE_MS);
        let begun = self.service.clock.now_unix_ms();
        let end_unix_ms = self.schedule.minutes.map(|minutes| begun.saturating_add(length_ms(minutes)));
        let progress = self.until(end_unix_ms);
        let depth = match self.schedule.share.unwrap_or(1.0) {
            share if share >= 1.0 => Depth::ReadData,
            share if share > 0.0 => Depth::Sample { part: share, seed: self.now.unsigned_abs() },
            _ => Depth::Structure,
        };
        let report = icecore::maintenance::verify_and_note(&repo, None, depth, self.now, &progress)?;
        for finding in &report.findings {
            tracing::error!(region = pool.slug, object = %finding.object, problem = %finding.problem, "damage");
        }
        match report.findings.len() {
            0 => Ok(()),
            count => {
                let message = format!("{count} findings in the repository of region {}", pool.slug);
                Err(Error::new(ErrorKind::Corrupt, message)
                    .with_hint("the log lists them; `icecore verify` names the affected snapshots"))
            }
        }
    }
}

/// Returns the name of a snapshot that a schedule takes at a time. The time is in UTC, which never
/// repeats an hour.
fn snapshot_name(schedule: &str, unix_ms: i64) -> String {
    let time = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{schedule}-{}", time.strftime("%Y%m%d-%H%M%S"))
}

/// Returns whether a schedule has given this name. A renamed snapshot no longer belongs to its
/// schedule.
fn is_of_schedule(name: &str, schedule: &str) -> bool {
    let Some(time) = name.strip_prefix(schedule).and_then(|rest| rest.strip_prefix('-')) else {
        return false;
    };
    let parts: Vec<&str> = time.split('-').collect();
    let is_time = |(part, digits): (&&str, usize)| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    parts.len() == DIGITS.len() && parts.iter().zip(DIGITS).all(is_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_knows_its_own_snapshots_by_their_names() {
        let name = snapshot_name("nightly", 1_595_954_862_000);
        assert_eq!(name, "nightly-20200728-164742");
        assert!(is_of_schedule(&name, "nightly"));
        for other in [
            "nightly",
            "nightly-",
            "nightly-20200728",
            "nightly-2-20200728-164742",
            "nightly-20200728-16474x",
        ] {
            assert!(!is_of_schedule(other, "nightly"), "{other}");
        }
    }
}
