//! The entries of a schedule: a task and its times.

use icecore_host::config::ScheduleConfig;
use icecore_host::cron::When;

/// What is done at its time.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// What the configuration says.
    Configured(Box<ScheduleConfig>),
    /// A sample of what the repositories take.
    Usage,
    /// A backup of a Droplet of an account, by the number of that.
    Backup { account: String, droplet: String },
}

/// Something, and its times.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// By which its last run is remembered.
    pub(super) name: String,
    pub(super) when: When,
    /// Whether it can be done at the moment.
    pub(super) ready: bool,
    pub(super) what: What,
}
