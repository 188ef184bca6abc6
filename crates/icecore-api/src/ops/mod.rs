//! Operation: log, metrics, health and schedules.

mod health;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod schedule;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::http::header;
use axum::middleware::Next;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::ops::metrics::Meters;
use crate::service::App;

/// Returns the routes for operators.
pub(crate) fn router(app: &App, meters: &Arc<Meters>) -> Router {
    Router::new()
        .route("/healthz", get(health::check))
        .route("/metrics", get(metrics::show))
        .with_state((Arc::clone(app), Arc::clone(meters)))
}

/// Logs and counts every request. It ends event streams when `ending` becomes true, because nothing
/// else ends them.
pub(crate) fn around(router: Router, meters: &Arc<Meters>, ending: watch::Receiver<bool>) -> Router {
    let router = router.layer(from_fn_with_state(ending, end_events));
    router.layer(from_fn_with_state(Arc::clone(meters), log::request))
}

async fn end_events(
    State(mut ending): State<watch::Receiver<bool>>,
    request: Request,
    next: Next,
) -> Response {
    let answer = next.run(request).await;
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        return answer;
    }
    let ended = async move {
        // If the sender is gone, the stream ends too.
        let _ = ending.wait_for(|ending| *ending).await;
    };
    answer.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))))
}
