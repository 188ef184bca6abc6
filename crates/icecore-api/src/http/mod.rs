//! HTTP: reading requests and writing answers.

pub(crate) mod admission;
pub(crate) mod answer;
pub(crate) mod auth;
pub(crate) mod blocking;
mod body;
pub(crate) mod connection;
mod host;
pub(crate) mod limits;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod params;
mod rate;
mod slash;
mod v2;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use crate::service::App;

/// Returns the routes of the API, and those in `beside`.
pub(crate) fn router(app: &App, beside: Router) -> Router {
    let rates = (Arc::clone(app), Arc::default());
    let api = v2::router().layer(from_fn_with_state(rates, rate::limit)).layer(from_fn(auth::check_token));
    let (api, _) = api.split_for_parts();
    Router::new()
        .merge(api.with_state(Arc::clone(app)))
        .route("/openapi.json", get(openapi::show))
        .merge(beside)
        .fallback(answer::unknown)
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(from_fn_with_state(Arc::clone(app), limits::take_body))
        .layer(from_fn_with_state(Arc::clone(app), auth::look_up_token))
        .layer(from_fn_with_state(Arc::clone(app), host::check))
        .layer(from_fn_with_state(Arc::clone(app), answer::finish))
}

/// Wraps the whole router, because it changes the path before routing.
pub(crate) fn outermost(router: Router) -> Router {
    Router::new().fallback_service(router).layer(from_fn(slash::take_off))
}
