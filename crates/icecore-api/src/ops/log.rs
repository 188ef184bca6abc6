//! The log: lines on standard error, one for each request.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use icecore::Error;
use icecore::ErrorKind;
use icecore_host::clock::Stopwatch;
use icecore_host::config::LogConfig;
use icecore_host::config::LogFormat;
use icecore_host::config::LogLevel;
use tracing_subscriber::filter::LevelFilter;

use crate::http::answer::REQUEST_ID;
use crate::http::connection::Peer;
use crate::ops::metrics::Meters;
use crate::service::accounts::Who;

/// Starts writing the log to standard error.
///
/// # Errors
/// `InvalidInput` if the process already has a log.
pub fn start_log(config: &LogConfig) -> icecore::Result<()> {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let lines =
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    let started = match config.format {
        LogFormat::Text => tracing::subscriber::set_global_default(lines.with_ansi(false).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
    started.map_err(|_| Error::new(ErrorKind::InvalidInput, "this process already has a log"))
}

/// Logs and counts a request. It leaves out the query and the headers, which may contain secrets.
pub(super) async fn request(State(meters): State<Arc<Meters>>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let pattern = request.extensions().get::<MatchedPath>().map(|matched| matched.as_str().to_owned());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let answer = next.run(request).await;
    let (took, status) = (watch.elapsed(), answer.status().as_u16());
    meters.answered(method.as_str(), pattern.as_deref(), status, took);
    let id = answer.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let account = answer.extensions().get::<Who>().map(|who| who.0.as_str());
    let peer = peer.map(tracing::field::display);
    tracing::info!(id, %method, path, status, ms = milliseconds(took), account, peer, "request");
    answer
}

/// Returns the milliseconds, with one decimal.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}
