//! Calls from asynchronous handlers to services, which block.

use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// Runs a blocking call on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    match tokio::task::spawn_blocking(what).await {
        Ok(done) => done,
        Err(error) => Err(ApiError::server(error)),
    }
}
