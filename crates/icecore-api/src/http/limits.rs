//! Limits on the size and time of request bodies.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::service::App;
use crate::words::error::ApiError;

/// Reads the whole body of a request before handling it, so that a slow or endless client holds
/// nothing but its connection.
pub(crate) async fn take_body(State(app): State<App>, request: Request, next: Next) -> Response {
    let limits = &app.config.requests;
    let (head, body) = request.into_parts();
    if head.method == Method::GET || head.method == Method::HEAD {
        return next.run(Request::from_parts(head, Body::empty())).await;
    }
    let length = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits.body_bytes) {
        return refuse(too_large(limits.body_bytes));
    }
    match timeout(Duration::from_secs(limits.body_seconds), read(body, limits.body_bytes)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(error)) => refuse(error),
        Err(_) => refuse(ApiError {
            status: 408,
            id: "request_timeout",
            message: format!("the body of the request did not arrive within {} s", limits.body_seconds),
            retry_after: None,
        }),
    }
}

async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    let mut parts = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| {
            ApiError::bad_request(format!("the body of the request cannot be read: {error}"))
        })?;
        if part.len() > bytes_max - bytes.len() {
            return Err(too_large(bytes_max));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> ApiError {
    ApiError {
        status: 413,
        id: "payload_too_large",
        message: format!("the body of a request can have {limit} bytes at most"),
        retry_after: None,
    }
}

/// Refuses a request. Its remaining body is not read, so the connection cannot be used again.
fn refuse(error: ApiError) -> Response {
    let mut answer = error.into_response();
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
