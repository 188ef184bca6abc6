//! Authentication: the bearer token of a request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::extract::State;
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::http::admission::Guest;
use crate::http::blocking::blocking;
use crate::http::connection::is_of_api;
use crate::service::App;
use crate::service::accounts::Who;
use crate::words::error::ApiError;

/// The number of the token in a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenId(pub(crate) i64);

/// Why a token was not accepted.
#[derive(Debug, Clone)]
struct Refused(ApiError);

/// Looks up the token of a request for the API, before its body is read: a connection that has shown
/// a valid one keeps its place.
pub(crate) async fn look_up_token(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(token) = bearer(&request).filter(|_| is_of_api(request.uri().path())) {
        match blocking(move || app.accounts.of_token(&token)).await {
            Ok((id, who)) => {
                trust(request.extensions());
                request.extensions_mut().insert(TokenId(id));
                request.extensions_mut().insert(who);
            }
            Err(error) => drop(request.extensions_mut().insert(Refused(error))),
        }
    }
    next.run(request).await
}

fn bearer(request: &Request) -> Option<String> {
    let header = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Notes that the connection of a request has shown a valid secret.
pub(crate) fn trust(of_request: &axum::http::Extensions) {
    if let Some(guest) = of_request.get::<Arc<Guest>>() {
        guest.trust();
    }
}

/// Accepts a request with a valid token.
pub(crate) async fn check_token(request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    if let Some(Refused(error)) = extensions.get() {
        return error.clone().into_response();
    }
    let Some(who) = extensions.get::<Who>().cloned() else {
        return ApiError::unauthorized().into_response();
    };
    let mut answer = next.run(request).await;
    // For the log.
    answer.extensions_mut().insert(who);
    answer
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::unauthorized)
    }
}
