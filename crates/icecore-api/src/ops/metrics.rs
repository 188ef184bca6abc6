//! `/metrics`: numbers for Prometheus.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use axum::extract::Request;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use icecore_host::config::is_loopback;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::http::auth::trust;
use crate::http::blocking::blocking;
use crate::http::connection::Peer;
use crate::pool::Pool;
use crate::service::App;
use crate::service::Service;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// Upper bounds, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    method: String,
    path: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPath {
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRegion {
    region: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSchedule {
    schedule: String,
    result: String,
}

/// The counters.
pub(crate) struct Meters {
    registry: Mutex<Registry>,
    requests: Family<OfRequest, Counter>,
    seconds: Family<OfPath, Histogram>,
    connections: Gauge,
    closed_for_room: Counter,
    nbd_connections: Gauge,
    actions: Family<OfStatus, Gauge>,
    up: Family<OfRegion, Gauge>,
    bytes: Family<OfRegion, Gauge>,
    snapshots: Family<OfRegion, Gauge>,
    volumes: Family<OfRegion, Gauge>,
    open_disks: Family<OfRegion, Gauge>,
    schedule_runs: Family<OfSchedule, Counter>,
}

impl Default for Meters {
    fn default() -> Self {
        let mut meters = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            connections: Gauge::default(),
            closed_for_room: Counter::default(),
            nbd_connections: Gauge::default(),
            actions: Family::default(),
            up: Family::default(),
            bytes: Family::default(),
            snapshots: Family::default(),
            volumes: Family::default(),
            open_disks: Family::default(),
            schedule_runs: Family::default(),
        };
        let mut all = Registry::with_prefix("icecore");
        all.register("http_requests", "Requests answered", meters.requests.clone());
        all.register("http_request_seconds", "Duration of requests in seconds", meters.seconds.clone());
        all.register("http_connections", "Current connections", meters.connections.clone());
        let closed = "Connections closed or refused to make room for others";
        all.register("http_connections_closed_for_room", closed, meters.closed_for_room.clone());
        all.register("nbd_connections", "Current NBD connections", meters.nbd_connections.clone());
        all.register("actions", "Actions, by status", meters.actions.clone());
        all.register("region_up", "Whether the repository can be read", meters.up.clone());
        all.register("repository_bytes", "Size of a repository on its disk", meters.bytes.clone());
        all.register("snapshots", "Snapshots of a region", meters.snapshots.clone());
        all.register("volumes", "Volumes and Droplets of a region", meters.volumes.clone());
        all.register("open_disks", "Open disks of volumes and Droplets", meters.open_disks.clone());
        all.register("schedule_runs", "Runs of schedules, by result", meters.schedule_runs.clone());
        meters.registry = Mutex::new(all);
        meters
    }
}

impl Meters {
    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    /// Counts connections that had to go because there was no room for all.
    pub(crate) fn closed_for_room(&self, count: usize) {
        self.closed_for_room.inc_by(count as u64);
    }

    /// Counts a request that no handler got, because it could not be read.
    pub(crate) fn refused(&self, status: u16) {
        let (method, path) = ("other".to_owned(), "other".to_owned());
        self.requests.get_or_create(&OfRequest { method, path, status }).inc();
    }

    pub(crate) fn nbd_connected(&self) {
        self.nbd_connections.inc();
    }

    pub(crate) fn nbd_disconnected(&self) {
        self.nbd_connections.dec();
    }

    /// Counts an answered request, under the API's pattern of its path: the number of patterns is
    /// limited.
    pub(super) fn answered(&self, method: &str, pattern: Option<&str>, status: u16, took: Duration) {
        let path = pattern.unwrap_or("other").to_owned();
        // A client can send any method, and each would become a time series of its own.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method);
        let method = if known { method } else { "other" }.to_owned();
        self.seconds.get_or_create(&OfPath { path: path.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&OfRequest { method, path, status }).inc();
    }

    /// Counts a run of a schedule.
    pub(super) fn ran(&self, schedule: &str, well: bool) {
        let result = if well { "ok" } else { "failed" }.to_owned();
        self.schedule_runs.get_or_create(&OfSchedule { schedule: schedule.to_owned(), result }).inc();
    }

    /// Measures a region. Values that cannot be determined are left out.
    fn look_at(&self, slug: &str, pool: &Pool) {
        let region = OfRegion { region: slug.to_owned() };
        let set = |family: &Family<OfRegion, Gauge>, number: u64| {
            family.get_or_create(&region).set(i64::try_from(number).unwrap_or(i64::MAX));
        };
        set(&self.open_disks, pool.disks().open_count() as u64);
        match count(pool) {
            Ok((snapshots, volumes)) => {
                set(&self.up, 1);
                set(&self.snapshots, snapshots);
                set(&self.volumes, volumes);
                set(&self.bytes, pool.disk_bytes());
            }
            Err(error) => {
                tracing::error!(region = slug, %error, "the repository cannot be read");
                set(&self.up, 0);
                for family in [&self.snapshots, &self.volumes, &self.bytes] {
                    family.remove(&region);
                }
            }
        }
    }

    /// Measures everything that is not counted as it happens, and returns all metrics as text.
    fn text(&self, service: &Service) -> ApiResult<String> {
        self.actions.clear();
        for (status, count) in service.db.count_actions()? {
            self.actions.get_or_create(&OfStatus { status }).set(count);
        }
        for (slug, pool) in &*service.pools {
            self.look_at(slug, pool);
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut text, &registry).map_err(ApiError::server)?;
        Ok(text)
    }
}

/// Counts the snapshots and volumes in a repository, if it can be read, as `/healthz` reports.
fn count(pool: &Pool) -> icecore::Result<(u64, u64)> {
    pool.check_readable()?;
    let snapshots = icecore::snapshot::now(pool.repo())?.count()?;
    Ok((snapshots, pool.volumes()?.all().len() as u64))
}

/// Shows the metrics to clients with the configured token, or, without one, to clients on this
/// machine.
pub(super) async fn show(
    State((app, meters)): State<(App, Arc<Meters>)>,
    request: Request,
) -> Result<Response, ApiError> {
    let allowed = match &app.config.metrics.token {
        Some(token) => {
            let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
            // Comparing digests takes a time that reveals nothing about the token.
            let is_it = blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes());
            if is_it {
                trust(request.extensions());
            }
            is_it
        }
        None => request.extensions().get::<Peer>().is_some_and(|peer| is_loopback(peer.0)),
    };
    if !allowed {
        return Err(ApiError::unauthorized());
    }
    let text = blocking(move || meters.text(&app)).await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}
