//! `/healthz`: whether the server can work. Anyone may ask.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::http::blocking::blocking;
use crate::ops::metrics::Meters;
use crate::service::App;
use crate::service::Service;
use crate::words::error::ApiError;

/// The health of the server.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    /// `ok` or `failing`.
    status: &'static str,
    /// The failing parts: `database`, or a region.
    failing: Vec<String>,
}

/// Answers 200 if the database and all repositories can be read, and 503 otherwise.
pub(super) async fn check(
    State((app, _)): State<(App, Arc<Meters>)>,
) -> Result<(StatusCode, Json<Health>), ApiError> {
    let failing = blocking(move || Ok(failing(&app))).await?;
    let (code, status) = match failing.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    Ok((code, Json(Health { status, failing })))
}

fn failing(service: &Service) -> Vec<String> {
    let mut failing = Vec::new();
    if !service.db.is_alive() {
        tracing::error!("the database does not respond");
        failing.push("database".to_owned());
    }
    for (slug, pool) in &*service.pools {
        if let Err(error) = pool.check_readable() {
            tracing::error!(region = slug, %error, "the repository cannot be read");
            failing.push(format!("region {slug}"));
        }
    }
    failing
}
