//! The paths of version 2 of the API.

mod account;
mod actions;
mod regions;
mod volumes;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::App;

/// Returns all paths, and what is to be told of them.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(account::get))
        .routes(routes!(regions::list))
        .routes(routes!(regions::list_sizes))
        .routes(routes!(actions::list))
        .routes(routes!(actions::get))
        .routes(routes!(volumes::list, volumes::create))
        .routes(routes!(volumes::get, volumes::delete))
}
