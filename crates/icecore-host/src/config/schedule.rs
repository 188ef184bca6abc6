//! Schedules: what the configuration says of them, checked.

use globset::Glob;
use globset::GlobSet;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::snapshot::retention::Policy;

use crate::config::names::is_word;
use crate::config::operation::KeepConfig;
use crate::config::operation::ScheduleConfig;
use crate::config::operation::Task;
use crate::config::settings::Config;
use crate::cron::When;

impl KeepConfig {
    /// Returns it as the engine has it.
    ///
    /// # Errors
    /// `InvalidInput` if it keeps nothing, or says a length of time that is none.
    pub fn policy(&self) -> Result<Policy> {
        let policy = Policy {
            keep_last: self.last,
            keep_hourly: self.hourly,
            keep_daily: self.daily,
            keep_weekly: self.weekly,
            keep_monthly: self.monthly,
            keep_yearly: self.yearly,
            keep_within: self.within.as_deref().map(str::parse).transpose()?,
            keep_tags: self.tags.clone(),
        };
        policy.check()?;
        Ok(policy)
    }
}

impl ScheduleConfig {
    /// Returns when it runs.
    pub fn when(&self) -> Result<When> {
        When::parse(&self.cron, &self.timezone)
    }

    /// Returns which names it wants; it is empty where that is any.
    pub fn globs(&self) -> Result<GlobSet> {
        let wrong = |error| {
            Error::new(ErrorKind::InvalidInput, format!("not a valid pattern for names: {error}"))
                .with_hint("write names with *, ?, [a-z] and {a,b}")
        };
        let mut set = GlobSet::builder();
        for pattern in &self.names {
            set.add(Glob::new(pattern).map_err(wrong)?);
        }
        set.build().map_err(wrong)
    }

    fn check(&self, config: &Config) -> Result<()> {
        let bad =
            |message: String, hint: &str| Err(Error::new(ErrorKind::InvalidInput, message).with_hint(hint));
        self.when()?;
        self.globs()?;
        if let Some(region) = self.regions.iter().find(|region| !config.regions.contains_key(*region)) {
            return bad(format!("there is no region {region:?}"), "name one of [regions]");
        }
        if let Some(account) = self.accounts.iter().find(|account| config.account(account).is_none()) {
            return bad(format!("there is no account {account:?}"), "name one of [[account]]");
        }
        if let Some(key) = self.idle_key() {
            let task = self.task.word();
            return bad(format!("`{key}` has no effect with the task `{task}`"), "leave it out");
        }
        match (&self.keep, self.task) {
            (Some(keep), _) => drop(keep.policy()?),
            (None, Task::Prune) => {
                return bad("it does not say which snapshots to keep".to_owned(), "add `keep`");
            }
            (None, _) => {}
        }
        if let Some(share) = self.share.filter(|share| !(0.0..=1.0).contains(share)) {
            return bad(format!("{share} is not a valid share of the data"), "write a number from 0 to 1");
        }
        if self.minutes.is_some() && self.share.is_some_and(|share| share < 1.0) {
            return bad(
                "`minutes` has no effect if `share` is less than 1".to_owned(),
                "leave out one of them",
            );
        }
        Ok(())
    }

    /// Returns a key that stands there, and that the task does not ask for.
    fn idle_key(&self) -> Option<&'static str> {
        let of_snapshots = [
            ("of", !self.of.is_empty()),
            ("names", !self.names.is_empty()),
            ("tags", !self.tags.is_empty()),
            ("accounts", !self.accounts.is_empty()),
            ("keep", self.keep.is_some()),
        ];
        let of_verify = [("share", self.share.is_some()), ("minutes", self.minutes.is_some())];
        let (about_snapshots, verifies) =
            (matches!(self.task, Task::Snapshot | Task::Prune), self.task == Task::Verify);
        let idle =
            |about: bool| move |(key, given): &(&'static str, bool)| (*given && !about).then_some(*key);
        of_snapshots
            .iter()
            .find_map(idle(about_snapshots))
            .or_else(|| of_verify.iter().find_map(idle(verifies)))
    }
}

/// Checks all schedules.
pub(super) fn check(config: &Config) -> Result<()> {
    for (index, schedule) in config.schedules.iter().enumerate() {
        let name = &schedule.name;
        if !is_word(name) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{name:?} is not a valid schedule name"),
            )
            .with_hint("use lower-case letters, digits and -"));
        }
        if config.schedules.iter().skip(index + 1).any(|other| other.name == *name) {
            return Err(Error::new(ErrorKind::InvalidInput, format!("the schedule {name} appears twice"))
                .with_hint("give each schedule a unique name"));
        }
        schedule.check(config).map_err(|error| error.in_context(format!("schedule {name}")))?;
    }
    Ok(())
}
