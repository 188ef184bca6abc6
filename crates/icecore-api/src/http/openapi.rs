//! The OpenAPI document, made from the handlers.

use utoipa::OpenApi;

use crate::http::v2;

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
