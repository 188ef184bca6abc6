//! The query of a URL.

use axum::extract::FromRequestParts;
use axum::extract::Query;
use axum::http::request::Parts;

use crate::http::slash::EmptyId;
use crate::words::error::ApiError;

/// The parameters of a request. Unknown ones are ignored; if one is repeated, the last counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(pub(crate) Vec<(String, String)>);

impl Params {
    /// Returns a parameter, or none if it is blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rfind(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    /// Reads the parameters. Only lists and deletions of several things have any, so a path that
    /// ends with an empty id is none of these.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if parts.extensions.get::<EmptyId>().is_some() {
            return Err(ApiError::not_found());
        }
        let read = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        read.map(|Query(pairs)| Self(pairs)).map_err(|_| ApiError::bad_request("error parsing the query"))
    }
}
