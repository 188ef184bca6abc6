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

use crate::http::blocking::blocking;
use crate::service::App;
use crate::service::accounts::Who;
use crate::words::error::ApiError;

/// The number of the token in a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenId(pub(crate) i64);

/// Accepts a request with a valid token, and adds the token's account to it.
pub(crate) async fn check_token(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| value.split_once(' '));
    let token =
        bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let Some(token) = token.map(str::to_owned) else { return ApiError::unauthorized().into_response() };
    let asked = Arc::clone(&app);
    match blocking(move || asked.accounts.of_token(&token)).await {
        Ok((id, who)) => {
            request.extensions_mut().insert(TokenId(id));
            request.extensions_mut().insert(who.clone());
            let mut answer = next.run(request).await;
            // For the log.
            answer.extensions_mut().insert(who);
            answer
        }
        Err(error) => error.into_response(),
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::unauthorized)
    }
}
