//! How the server runs: TLS, limits, logs, metrics, schedules.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// The certificate. It is read again on SIGHUP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// A PEM file with the certificate, and those that it is signed with.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// What clients may do to the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestConfig {
    /// Connections at once. One more takes the place of one that has shown no valid token.
    pub connections: usize,
    /// Connections of one address that have shown no valid token; one more takes the place of the
    /// oldest. Those from this machine are not counted.
    pub connections_per_peer: usize,
    /// Seconds for a request's head, for a TLS handshake, and that a connection may wait for its
    /// next request.
    pub head_seconds: u64,
    /// Seconds for a request's body.
    pub body_seconds: u64,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Requests of one token in an hour; 0 where there is no limit.
    pub per_hour: u64,
    /// Requests of one token in a minute; 0 where there is no limit.
    pub per_minute: u64,
}

impl Default for RequestConfig {
    fn default() -> Self {
        Self {
            connections: 1000,
            connections_per_peer: 250,
            head_seconds: 30,
            body_seconds: 30,
            head_bytes: 32 << 10,
            body_bytes: 1 << 20,
            per_hour: 0,
            per_minute: 0,
        }
    }
}

/// What is written to the standard error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// In which form.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed because of the server.
    Error,
    /// What somebody should look at.
    Warn,
    /// Each request too.
    #[default]
    Info,
    /// More.
    Debug,
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// The bearer token for it. Where none is given, only clients on this machine may.
    pub token: Option<String>,
}

/// Work that is done again and again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// A word, by which its last run is remembered.
    pub name: String,
    /// When: minute, hour, day of the month, month, day of the week, as in crontab.
    pub cron: String,
    /// The time zone of that, and of the days and weeks of `keep`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What.
    pub task: Task,
    /// Only in these regions; in all where none is given.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Of volumes, of Droplets, or of both where none is given.
    #[serde(default)]
    pub of: Vec<Resource>,
    /// Only those whose names fit one of these patterns (`*`, `?`, `[a-z]`, `{a,b}`).
    #[serde(default)]
    pub names: Vec<String>,
    /// Only those with one of these tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Only those of these accounts.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Which snapshots stay. With `snapshot`, others that this schedule has taken are deleted; with
    /// `prune`, any others.
    #[serde(default)]
    pub keep: Option<KeepConfig>,
    /// With `verify`: which part of all data is read, from 0 to 1; all of it where that is not
    /// given.
    #[serde(default)]
    pub share: Option<f64>,
    /// With `verify`: how long at most, where the share is 1. The next run goes on with what was
    /// not read for the longest time.
    #[serde(default)]
    pub minutes: Option<u64>,
}

/// What a schedule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Takes a snapshot of each.
    Snapshot,
    /// Deletes the snapshots that `keep` does not keep.
    Prune,
    /// Gives back the space of what nothing needs any more.
    Gc,
    /// Reads a part of the data and checks it.
    Verify,
}

impl Task {
    /// Returns the word that stands for it in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Prune => "prune",
            Self::Gc => "gc",
            Self::Verify => "verify",
        }
    }
}

/// What a schedule works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Disks of Droplets.
    Droplet,
    /// Volumes.
    Volume,
}

/// Which snapshots stay: those that one of these rules keeps.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// The newest.
    pub last: Option<u32>,
    /// The newest of each of the last hours that have any.
    pub hourly: Option<u32>,
    /// The same of days.
    pub daily: Option<u32>,
    /// The same of ISO weeks.
    pub weekly: Option<u32>,
    /// The same of months.
    pub monthly: Option<u32>,
    /// The same of years.
    pub yearly: Option<u32>,
    /// Those not older than this: numbers with y, mo, w, d, h, min or s. A bare `m` is refused.
    pub within: Option<String>,
    /// Those with one of these tags.
    pub tags: Vec<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Tells whether only clients on this machine can reach an address.
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
