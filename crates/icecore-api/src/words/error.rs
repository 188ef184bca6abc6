//! Errors in the form that clients see.

use std::fmt;

use icecore::ErrorKind;

use crate::words::hints::hint;

/// An error answer: a status, a word for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The word for programs.
    pub id: &'static str,
    /// The sentence for people.
    pub message: String,
    /// The number of seconds after which the client may try again.
    pub retry_after: Option<u64>,
}

/// The result of a client's request.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: u16, id: &'static str, message: impl Into<String>) -> Self {
        Self { status, id, message: message.into(), retry_after: None }
    }

    /// Returns the error for a request that cannot be read.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad_request", message)
    }

    /// Returns the error for a missing or wrong token.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "unauthorized", "Unable to authenticate you.")
    }

    /// Returns the error for a request that is not allowed, or has no room.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "forbidden", message)
    }

    /// Returns the error for a resource that does not exist.
    pub(crate) fn not_found() -> Self {
        Self::new(404, "not_found", "The resource you requested could not be found.")
    }

    /// Returns the error for a Droplet that does not exist. Clients look for this message.
    pub(crate) fn no_droplet() -> Self {
        Self::new(404, "not_found", "The resource you were accessing could not be found.")
    }

    /// Returns the error for a resource that does not exist, with a message that names it.
    pub(crate) fn not_found_saying(message: impl Into<String>) -> Self {
        Self::new(404, "not_found", message)
    }

    /// Returns the error for a resource that already exists or is in use.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "conflict", message)
    }

    /// Returns the error for a resource that must first be emptied.
    pub(crate) fn precondition_failed(message: impl Into<String>) -> Self {
        Self::new(412, "precondition_failed", message)
    }

    /// Returns the error for a request that cannot be fulfilled.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "unprocessable_entity", message)
    }

    /// Returns the error for too many requests.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(429, "too_many_requests", message) }
    }

    /// Returns the error for a refusal by the engine. A resource that another program uses gets a
    /// 422, so that clients can tell it from a conflict of names.
    pub(crate) fn busy(error: icecore::Error) -> Self {
        match error.kind() {
            ErrorKind::InUse => Self::unprocessable(told(&error)),
            _ => error.into(),
        }
    }

    /// Returns the error for a bug. Clients repeat any request after it, so it must never follow a
    /// change.
    pub(crate) fn server(why: impl fmt::Display) -> Self {
        tracing::error!(error = %why, "unexpected");
        Self::new(500, "server_error", "Unexpected server-side error")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// Returns the message of an error, with advice on what to do.
fn told(error: &icecore::Error) -> String {
    match error.next_step().and_then(hint) {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// Clients repeat a request after a 5xx, even if it was half done. So none of these errors is one.
impl From<icecore::Error> for ApiError {
    fn from(error: icecore::Error) -> Self {
        let message = told(&error);
        match error.kind() {
            ErrorKind::NotFound => Self::not_found_saying(message),
            ErrorKind::AlreadyExists | ErrorKind::InUse => Self::conflict(message),
            ErrorKind::NoSpace => Self::forbidden(format!("capacity limit exceeded: {message}")),
            ErrorKind::PermissionDenied => Self::forbidden(message),
            _ => {
                tracing::warn!(%error, "the engine refused");
                Self::unprocessable(message)
            }
        }
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
            return Self::forbidden("capacity limit exceeded: there is no space for the server's database");
        }
        Self::server(error)
    }
}
