//! The entries of a schedule: a task and its times.

use icecore_host::config::ScheduleConfig;
use icecore_host::cron::When;

/// The task of an entry.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A schedule from the configuration.
    Configured(Box<ScheduleConfig>),
    /// A usage sample of the repositories.
    Usage,
    /// A backup of an account's Droplet, given by its number.
    Backup { account: String, droplet: String },
}

/// A task and its times.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key under which its last run is recorded.
    pub(super) name: String,
    pub(super) when: When,
    /// Whether it can run at the moment.
    pub(super) ready: bool,
    pub(super) what: What,
}
