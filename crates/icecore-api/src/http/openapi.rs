//! The OpenAPI document, made from the handlers.

use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use utoipa::OpenApi;

use crate::http::v2;
use crate::words::error::ApiError;

/// What the document says of all paths together.
#[derive(OpenApi)]
#[openapi(info(
    title = "icecore",
    description = "The part of DigitalOcean's API that is about snapshots, for local repositories"
))]
struct Document;

/// Returns the document as JSON.
///
/// # Errors
/// None that can come of what is written in this crate.
pub fn document() -> serde_json::Result<String> {
    let mut document = Document::openapi();
    document.merge(v2::router().into_openapi());
    document.to_pretty_json()
}

/// Shows the document, to whoever asks.
pub(crate) async fn show() -> Response {
    match document() {
        Ok(document) => ([(header::CONTENT_TYPE, "application/json")], document).into_response(),
        Err(error) => ApiError::server(error).into_response(),
    }
}
