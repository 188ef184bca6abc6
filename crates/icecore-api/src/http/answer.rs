//! Answers: every answer gets an id, and an error gets its body.

use axum::Json;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use icecore_host::clock::random_id;

use crate::http::connection::is_of_api;
use crate::http::rate::tell_usual;
use crate::service::App;
use crate::wire::error::ErrorBody;
use crate::words::error::ApiError;

/// The header with the id of a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `finish` writes the body, because it knows the id of the request.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = status.into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}

/// Gives a request an id, and its answer the same id and a body.
pub(crate) async fn finish(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = random_id().to_string();
    let of_api = is_of_api(request.uri().path());
    let mut answer = next.run(request).await;
    if of_api {
        note_error(&mut answer);
    }
    if let Some(error) = answer.extensions_mut().remove::<ApiError>() {
        let body = ErrorBody { id: error.id, message: error.message, request_id: id.clone() };
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        let extensions = std::mem::take(answer.extensions_mut());
        answer = (status, Json(body)).into_response();
        *answer.extensions_mut() = extensions;
        let length = |name: &HeaderName| *name == header::CONTENT_LENGTH || *name == header::CONTENT_TYPE;
        let kept = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
        answer.headers_mut().extend(kept.filter(|(name, _)| !length(name)));
        if let Some(seconds) = error.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
    }
    let headers = answer.headers_mut();
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, json);
    }
    tell_usual(headers, app.clock.now_unix_ms());
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    answer
}

/// Gives an error of the router itself, such as that of a path that is not UTF-8, the form of ours.
fn note_error(answer: &mut Response) {
    let status = answer.status();
    let is_json = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("application/json")));
    if !(status.is_client_error() || status.is_server_error())
        || is_json
        || answer.extensions().get::<ApiError>().is_some()
    {
        return;
    }
    let error = match status.as_u16() {
        400 => ApiError::bad_request("the path or the query of the request is malformed"),
        404 => ApiError::not_found(),
        other => ApiError {
            status: other,
            id: if status.is_server_error() { "server_error" } else { "bad_request" },
            message: status.canonical_reason().unwrap_or("the request was refused").to_owned(),
            retry_after: None,
        },
    };
    answer.extensions_mut().insert(error);
}

/// Answers a request for an unknown path.
pub(crate) async fn unknown() -> ApiError {
    ApiError::not_found()
}

/// Answers a request with a method that the path does not have.
pub(crate) async fn wrong_method() -> ApiError {
    ApiError {
        status: 405,
        id: "method_not_allowed",
        message: "This path does not support that method.".to_owned(),
        retry_after: None,
    }
}
