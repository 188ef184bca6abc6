//! Errors.

use serde::Serialize;
use utoipa::ToSchema;

/// An error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// A word for programs.
    pub(crate) id: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
    /// The id of the request, as in the server's log.
    pub(crate) request_id: String,
}
