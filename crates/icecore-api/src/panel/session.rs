//! The session of a request, found by its cookie.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::OriginalUri;
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::response::Redirect;
use axum::response::Response;

use crate::http::auth::trust;
use crate::http::blocking::blocking;
use crate::http::connection::Encrypted;
use crate::panel::reply::problem;
use crate::panel::visitor::Visitor;
use crate::panel::visitor::cookie_name;
use crate::service::App;
use crate::words::error::ApiError;
use crate::words::text::in_query;

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
    let visitor = blocking(move || {
        let session = asked.sessions.get(&secret)?;
        Ok(session.map(|session| Visitor { session, secret, at, encrypted }))
    })
    .await?;
    if visitor.is_some() {
        trust(&parts.extensions);
    }
    Ok(visitor)
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
