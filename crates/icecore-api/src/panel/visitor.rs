//! Who looks at a page, and whether a form comes from one of our pages.

use std::sync::Arc;

use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::OriginalUri;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;

use crate::http::App;
use crate::http::answer::blocking;
use crate::http::page::Encrypted;
use crate::http::page::origin;
use crate::panel::reply::problem;
use crate::service::Who;
use crate::service::sessions::SESSION_SECONDS;
use crate::service::sessions::Session;
use crate::words::error::ApiError;
use crate::words::text::in_query;

/// The name of the field of each form that says of which session it is.
pub(crate) const CSRF: &str = "csrf";
/// The largest form, in bytes: all texts in it are short.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// Somebody who has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) session: Session,
    /// What the cookie has.
    pub(crate) secret: String,
    /// The path and query that is looked at.
    pub(crate) at: String,
    /// Whether it came over TLS.
    pub(crate) encrypted: bool,
}

impl Visitor {
    /// Returns the account.
    pub(crate) fn who(&self) -> &Who {
        &self.session.who
    }
}

/// Returns the name of the cookie. Over TLS the browser lets no other host set it, and does not send it without TLS.
fn cookie_name(encrypted: bool) -> &'static str {
    if encrypted { "__Host-icecore" } else { "icecore" }
}

/// Returns the header that sets the cookie, or takes it away where there is no secret.
pub(crate) fn cookie(secret: Option<&str>, encrypted: bool) -> String {
    let (name, secure) = (cookie_name(encrypted), if encrypted { "; Secure" } else { "" });
    let (value, age) = secret.map_or(("", 0), |secret| (secret, SESSION_SECONDS));
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

fn secret_in<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

/// Returns the session of a request, if it has one.
pub(crate) async fn session_of(app: &App, parts: &Parts) -> Result<Option<Visitor>, ApiError> {
    let encrypted = parts.extensions.get::<Encrypted>().is_some();
    let Some(secret) = secret_in(&parts.headers, cookie_name(encrypted)).map(str::to_owned) else {
        return Ok(None);
    };
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    let at = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let asked = Arc::clone(app);
    blocking(move || {
        let session = asked.session(&secret)?;
        Ok(session.map(|session| Visitor { session, secret, at, encrypted }))
    })
    .await
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match session_of(app, parts).await {
            Ok(Some(visitor)) => Ok(visitor),
            Ok(None) => {
                let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                let next = if parts.method.is_safe() { next } else { "/" };
                Err(Redirect::to(&format!("/sign-in?next={}", in_query(next))).into_response())
            }
            Err(error) => Err(problem(None, &error)),
        }
    }
}

/// What was filled into a form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Returns what a field has, without white space around it; an empty text where it was left blank.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }

    /// Returns what a field has, unless it was left blank.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Returns the number in a field.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.get(name).parse().ok()
    }

    /// Returns the words in a field that commas or spaces stand between.
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
    let bytes = bytes.map_err(|_| ApiError::bad_request("The form is too large or was cut off."))?;
    let form = axum::http::Request::builder()
        .method("POST")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(axum::body::Body::from(bytes))
        .map_err(ApiError::server)?;
    let form = axum::Form::<Vec<(String, String)>>::from_request(form, &()).await;
    let form = form.map_err(|_| ApiError::bad_request("The form cannot be read."))?;
    Ok(Fields(form.0))
}

/// Refuses what another site sends, with whatever cookies. The scheme is not looked at: where a proxy has the TLS, the browser says
/// `https`, and nothing here can know it.
fn check_origin(parts: &Parts) -> Result<(), ApiError> {
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_ascii_lowercase());
    let site = header("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let from = header("origin").is_none_or(|from| host(from).is_some() && host(from) == host(&origin(parts)));
    if site && from {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "This form was sent by another site. Open the page in the panel and send it from there.",
    ))
}

/// A form that was sent by somebody who has signed in, from a page of that session.
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
                "This form is not of this session. Open the page anew and send it again.",
            );
            return Err(problem(Some(&visitor), &error));
        }
        Ok(Self { visitor, fields })
    }
}
