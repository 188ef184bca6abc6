//! Errors.

use serde::Serialize;
use utoipa::ToSchema;

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// A word for programs.
    pub(crate) id: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
    /// The id of the request, which is in the log of the server.
    pub(crate) request_id: String,
}
