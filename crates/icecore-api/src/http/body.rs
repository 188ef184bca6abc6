//! Bodies of requests: JSON, whatever their content type says.

use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::Request;
use serde::de::DeserializeOwned;

use crate::words::error::ApiError;

/// The body of a request, read.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| ApiError::bad_request("error parsing request body"))?;
        let value: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|_| ApiError::bad_request("error parsing request body"))?;
        if !value.is_object() {
            return Err(ApiError::bad_request("error parsing request body"));
        }
        serde_json::from_value(value).map(Self).map_err(|error| ApiError::unprocessable(error.to_string()))
    }
}
