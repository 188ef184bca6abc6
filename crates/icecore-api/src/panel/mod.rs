//! The control panel: pages for people. They are made here; a little script adds what is nice to have, and nothing needs it.

mod account;
mod activity;
mod ask;
mod assets;
mod chart;
mod disk;
mod done;
mod droplet;
mod droplet_verbs;
mod droplets;
mod form;
mod images;
mod layout;
mod list;
mod map;
mod reply;
mod session;
mod sign_in;
mod snapshot;
mod snapshot_verbs;
mod snapshots;
mod text;
mod usage;
mod visitor;
mod volume;
mod volumes;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::header;
use axum::middleware::Next;
use axum::middleware::from_fn;
use axum::response::Redirect;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;

use crate::service::App;

/// What a page may load and do: what comes from this server, and nothing that stands in the page itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Headers of every answer of the panel. The browser must tell where a form comes from, so that the referrer is not kept
/// from this server itself.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Returns all pages.
pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/droplets")))
        .route("/assets/{file}", get(assets::get))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/volumes", get(volumes::list).post(volumes::create))
        .route("/volumes/new", get(volumes::new))
        .route("/volumes/{id}", get(volume::page))
        .route("/volumes/{id}/{verb}", get(volume::ask).post(volume::act))
        .route("/droplets", get(droplets::list).post(droplets::create))
        .route("/droplets/new", get(droplets::new))
        .route("/droplets/{id}", get(droplet::page))
        .route("/droplets/{id}/{verb}", get(droplet_verbs::ask).post(droplet_verbs::act))
        .route("/snapshots", get(snapshots::of_droplets))
        .route("/snapshots/volumes", get(snapshots::of_volumes))
        .route("/backups", get(snapshots::backups))
        .route("/snapshots/{id}", get(snapshot::page))
        .route("/snapshots/{id}/{verb}", get(snapshot_verbs::ask).post(snapshot_verbs::act))
        .route("/offers/{id}/{verb}", post(snapshot_verbs::answer_offer))
        .route("/images", get(images::list).post(images::create))
        .route("/images/new", get(images::new))
        .route("/activity", get(activity::list))
        .route("/events", get(activity::events))
        .route("/usage", get(usage::page))
        .route("/account", get(account::page))
        .layer(from_fn(protect))
        .with_state(Arc::clone(app))
}

/// Gives an answer the headers that protect a page.
async fn protect(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    // Pages are of one person, and of now; files say of themselves how long they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}
