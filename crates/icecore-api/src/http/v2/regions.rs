//! `/v2/regions`, `/v2/sizes`

use axum::Json;
use axum::extract::State;

use crate::http::page::Page;
use crate::service::App;
use crate::wire::region::RegionJson;
use crate::wire::region::RegionsBody;
use crate::wire::region::SizeJson;
use crate::wire::region::SizesBody;

/// The regions.
#[utoipa::path(get, path = "/v2/regions", tag = "Regions", params(Page), responses((status = 200, body = RegionsBody)))]
pub(crate) async fn list(State(app): State<App>, page: Page) -> Json<RegionsBody> {
    let pools = app.pools.values().collect();
    Json(page.of(pools, |pool| RegionJson::new(&app.config, pool)).into())
}

/// The sizes of Droplets.
#[utoipa::path(get, path = "/v2/sizes", tag = "Sizes", params(Page), responses((status = 200, body = SizesBody)))]
pub(crate) async fn list_sizes(State(app): State<App>, page: Page) -> Json<SizesBody> {
    let regions: Vec<String> = app.pools.keys().cloned().collect();
    let sizes = app.config.sizes.iter().collect();
    Json(page.of(sizes, |size| SizeJson::new(size, regions.clone())).into())
}
