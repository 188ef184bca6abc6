//! The static files of the pages, built into the program. Each address contains the digest of its
//! file, so browsers may cache it forever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::words::error::ApiError;

struct Asset {
    /// `name-DIGEST.kind`
    file: String,
    etag: String,
    kind: &'static str,
    content: &'static str,
}

/// The address of each file.
pub(crate) struct Addresses {
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("panel", "css", "text/css; charset=utf-8", include_str!("assets/panel.css")),
        asset("panel", "js", "text/javascript; charset=utf-8", include_str!("assets/panel.js")),
        asset("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ]
});

static ADDRESSES: LazyLock<Addresses> = LazyLock::new(|| {
    let [style, script, icon] = ASSETS.each_ref().map(|asset| format!("/assets/{}", asset.file));
    Addresses { style, script, icon }
});

fn asset(name: &str, ending: &str, kind: &'static str, content: &'static str) -> Asset {
    let digest = blake3::hash(content.as_bytes()).to_hex();
    let digest = digest.as_str().get(..16).unwrap_or_default();
    Asset { file: format!("{name}-{digest}.{ending}"), etag: format!("\"{digest}\""), kind, content }
}

/// Returns the addresses of all files.
pub(crate) fn addresses() -> &'static Addresses {
    &ADDRESSES
}

/// Answers with a file.
pub(crate) async fn get(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.file == file) else {
        return ApiError::not_found().into_response();
    };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = known.is_some_and(|known| known.split(',').any(|etag| etag.trim() == asset.etag));
    let mut answer =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { asset.content.into_response() };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        headers.insert(header::ETAG, etag);
    }
    answer
}
