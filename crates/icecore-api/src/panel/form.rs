//! Submitted forms, and the check that they come from one of our pages.

use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;

use crate::http::page::origin;
use crate::panel::reply::problem;
use crate::panel::visitor::CSRF;
use crate::panel::visitor::Visitor;
use crate::service::App;
use crate::words::error::ApiError;

/// The largest form, in bytes: all texts in it are short.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// The fields of a submitted form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Returns a form with one field set.
    pub(crate) fn with(name: &str, value: &str) -> Self {
        Self(vec![(name.to_owned(), value.to_owned())])
    }

    /// Returns the text of a field, without surrounding white space; empty if it was left blank.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }

    /// Returns the text of a field, unless it was left blank.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Returns the number in a field.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.get(name).parse().ok()
    }

    /// Returns the words in a field, separated by commas or spaces.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        let words = self.get(name).split([',', ' ']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }
}

/// Reads a form, if the browser says that it comes from a page of this server.
pub(crate) async fn read_form(request: Request) -> Result<Fields, ApiError> {
    let (parts, body) = request.into_parts();
    check_origin(&parts)?;
    let bytes = axum::body::to_bytes(body, FORM_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| ApiError::bad_request("The form is too large or incomplete."))?;
    let form = axum::http::Request::builder()
        .method("POST")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(axum::body::Body::from(bytes))
        .map_err(ApiError::server)?;
    let form = axum::Form::<Vec<(String, String)>>::from_request(form, &()).await;
    let form = form.map_err(|_| ApiError::bad_request("The form is malformed."))?;
    Ok(Fields(form.0))
}

/// Rejects forms from other sites, whatever cookies they carry. It ignores the scheme: behind a
/// proxy that terminates TLS the browser says `https`, and this server cannot know that.
fn check_origin(parts: &Parts) -> Result<(), ApiError> {
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_ascii_lowercase());
    let site = header("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let from = header("origin").is_none_or(|from| host(from).is_some() && host(from) == host(&origin(parts)));
    if site && from {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "Another site sent this form. Open the page in the panel and send the form from there.",
    ))
}

/// A form sent from a page of a signed-in visitor's session.
pub(crate) struct Posted {
    pub(crate) visitor: Visitor,
    pub(crate) fields: Fields,
}

impl FromRequest<App> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app).await?;
        let read = read_form(Request::from_parts(parts, body)).await;
        let fields = read.map_err(|error| problem(Some(&visitor), &error))?;
        if !visitor.session.is_of_form(fields.get(CSRF)) {
            let error = ApiError::forbidden(
                "This form belongs to another session. Reload the page and send it again.",
            );
            return Err(problem(Some(&visitor), &error));
        }
        Ok(Self { visitor, fields })
    }
}
