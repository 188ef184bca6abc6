//! The OpenAPI document, generated from the handlers.

use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use utoipa::OpenApi;
use utoipa::openapi::Components;
use utoipa::openapi::ContentBuilder;
use utoipa::openapi::Ref;
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::HttpBuilder;
use utoipa::openapi::security::SecurityScheme;

use crate::http::v2;
use crate::wire::error::ErrorBody;
use crate::words::error::ApiError;

/// The name of the token's security scheme in the document.
const TOKEN: &str = "token";

/// What the document says of all paths together.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "icecore",
        description = "The part of DigitalOcean's API that concerns snapshots, for local repositories"
    ),
    components(schemas(ErrorBody))
)]
struct Document;

/// Returns the document as JSON.
///
/// # Errors
/// None, with the types in this crate.
pub fn document() -> serde_json::Result<String> {
    let mut document = Document::openapi();
    document.merge(v2::router().into_openapi());
    tell_of_errors(&mut document);
    tell_of_tokens(&mut document);
    document.to_pretty_json()
}

/// Adds the one form of errors to every path.
fn tell_of_errors(document: &mut utoipa::openapi::OpenApi) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    let error = ResponseBuilder::new().description("The error").content("application/json", body).build();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("default".to_owned(), error.clone().into());
        }
    }
}

fn tell_of_tokens(document: &mut utoipa::openapi::OpenApi) {
    let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_with(Components::new).add_security_scheme(TOKEN, scheme);
    document.security = Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
}

/// Shows the document to anyone.
pub(crate) async fn show() -> Response {
    match document() {
        Ok(document) => ([(header::CONTENT_TYPE, "application/json")], document).into_response(),
        Err(error) => ApiError::server(error).into_response(),
    }
}
