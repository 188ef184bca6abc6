//! The control panel: pages for people. The server makes them; a small script adds conveniences,
//! and no page needs it.

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
mod verbs;
mod visitor;
mod volume;
mod volume_verbs;
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

use crate::panel::droplets::NewDroplet;
use crate::panel::images::NewImage;
use crate::panel::volumes::NewVolume;
use crate::service::App;
use crate::service::droplets::item::DropletItem;
use crate::service::items::SnapshotItem;
use crate::service::items::VolumeItem;

/// The content security policy: a page may load only files from this server, and use no inline
/// scripts or styles.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The headers of every answer. The referrer is kept for this server, because the browser must
/// report which page a form comes from.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Returns the routes of all pages.
pub(crate) fn router(app: &App) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/droplets")))
        .route("/assets/{file}", get(assets::get))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/volumes", get(volumes::list).post(verbs::create::<NewVolume>))
        .route("/volumes/new", get(verbs::new::<NewVolume>))
        .route("/volumes/{id}", get(volume::page))
        .route("/volumes/{id}/{verb}", get(verbs::ask::<VolumeItem>).post(verbs::act::<VolumeItem>))
        .route("/droplets", get(droplets::list).post(verbs::create::<NewDroplet>))
        .route("/droplets/new", get(verbs::new::<NewDroplet>))
        .route("/droplets/{id}", get(droplet::page))
        .route("/droplets/{id}/{verb}", get(verbs::ask::<DropletItem>).post(verbs::act::<DropletItem>))
        .route("/snapshots", get(snapshots::of_droplets))
        .route("/snapshots/volumes", get(snapshots::of_volumes))
        .route("/backups", get(snapshots::backups))
        .route("/snapshots/{id}", get(snapshot::page))
        .route("/snapshots/{id}/{verb}", get(verbs::ask::<SnapshotItem>).post(verbs::act::<SnapshotItem>))
        .route("/offers/{id}/{verb}", post(snapshot_verbs::answer_offer))
        .route("/images", get(images::list).post(verbs::create::<NewImage>))
        .route("/images/new", get(verbs::new::<NewImage>))
        .route("/activity", get(activity::list))
        .route("/events", get(activity::events))
        .route("/usage", get(usage::page))
        .route("/account", get(account::page))
        .layer(from_fn(protect))
        .with_state(Arc::clone(app))
}

/// Adds the headers that protect a page.
async fn protect(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    // A page is for one visitor and one moment; files set their own lifetime.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}
