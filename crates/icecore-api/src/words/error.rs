//! Errors, in the form for clients.

use std::fmt;

use icecore::ErrorKind;

use crate::words::hints::hint;

/// An answer that is not the one asked for: status, a word for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The word for programs.
    pub id: &'static str,
    /// The sentence for people.
    pub message: String,
    /// After how many seconds it may be tried again.
    pub retry_after: Option<u64>,
}

/// The result of everything that a client asks for.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: u16, id: &'static str, message: impl Into<String>) -> Self {
        Self { status, id, message: message.into(), retry_after: None }
    }

    /// The request cannot be read.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad_request", message)
    }

    /// The token is missing or wrong.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "unauthorized", "Unable to authenticate you.")
    }

    /// It is not allowed, or there is no room for it.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "forbidden", message)
    }

    /// There is no such thing.
    pub(crate) fn not_found() -> Self {
        Self::new(404, "not_found", "The resource you requested could not be found.")
    }

    /// There is no such thing, and the client wants to read which.
    pub(crate) fn not_found_saying(message: impl Into<String>) -> Self {
        Self::new(404, "not_found", message)
    }

    /// There is such a thing already, or it is in use.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "conflict", message)
    }

    /// What is asked for cannot be.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "unprocessable_entity", message)
    }

    /// Asked too often.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(429, "too_many_requests", message) }
    }

    /// What the engine refuses. Where another program has what is needed, that is no conflict of
    /// names, and is told apart.
    pub(crate) fn busy(error: icecore::Error) -> Self {
        match error.kind() {
            ErrorKind::InUse => Self::unprocessable(told(&error)),
            _ => error.into(),
        }
    }

    /// A bug. Clients try again, whatever they asked for: so it is never said after something was
    /// changed.
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

/// Returns what an error says, and what to do about it.
fn told(error: &icecore::Error) -> String {
    match error.next_step().and_then(hint) {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

/// Clients try again on a 5xx, even what was half done: so that none of these errors is one.
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
