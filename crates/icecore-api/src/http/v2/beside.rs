//! What the cloud has and this server has none of: lists that are always empty. Clients ask for them
//! on their way to something else, and take a 404 for a failure.

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::routing::any;
use axum::routing::get;
use serde_json::Value;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use crate::http::blocking::blocking;
use crate::http::page::Page;
use crate::service::App;
use crate::service::accounts::Who;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::time::rfc3339;

/// Each empty list: its path, its key in the answer, and what it would have.
const LISTS: [(&str, &str, &str); 31] = [
    ("/v2/1-clicks", "1_clicks", "1-Click applications"),
    ("/v2/apps", "apps", "apps"),
    ("/v2/byoip_prefixes", "byoip_prefixes", "BYOIP prefixes"),
    ("/v2/cdn/endpoints", "endpoints", "CDN endpoints"),
    ("/v2/certificates", "certificates", "certificates"),
    ("/v2/customers/my/billing_history", "billing_history", "bills"),
    ("/v2/customers/my/invoices", "invoices", "invoices"),
    ("/v2/databases", "databases", "databases"),
    ("/v2/domains", "domains", "domains"),
    ("/v2/droplets/autoscale", "autoscale_pools", "autoscale pools"),
    ("/v2/firewalls", "firewalls", "firewalls"),
    ("/v2/floating_ips", "floating_ips", "floating IPs"),
    ("/v2/functions/namespaces", "namespaces", "functions"),
    ("/v2/gen-ai/agents", "agents", "agents"),
    ("/v2/gen-ai/knowledge_bases", "knowledge_bases", "knowledge bases"),
    ("/v2/gen-ai/models", "models", "models"),
    ("/v2/kubernetes/clusters", "kubernetes_clusters", "Kubernetes clusters"),
    ("/v2/load_balancers", "load_balancers", "load balancers"),
    ("/v2/monitoring/alerts", "policies", "alert policies"),
    ("/v2/nfs", "shares", "NFS shares"),
    ("/v2/nfs/snapshots", "snapshots", "NFS snapshots"),
    ("/v2/partner_network_connect/attachments", "partner_attachments", "partner attachments"),
    ("/v2/registries", "registries", "container registries"),
    ("/v2/reserved_ips", "reserved_ips", "reserved IPs"),
    ("/v2/reserved_ipv6", "reserved_ipv6s", "reserved IPv6 addresses"),
    ("/v2/security/scans", "scans", "security scans"),
    ("/v2/spaces/keys", "keys", "Spaces keys"),
    ("/v2/uptime/checks", "checks", "uptime checks"),
    ("/v2/vpc_nat_gateways", "vpc_nat_gateways", "NAT gateways"),
    ("/v2/vpc_peerings", "vpc_peerings", "VPC peerings"),
    ("/v2/reports/droplet_neighbors_ids", "neighbor_ids", "neighbors"),
];
/// The same for lists below a Droplet.
const OF_DROPLETS: [(&str, &str); 3] =
    [("kernels", "kernels"), ("neighbors", "droplets"), ("firewalls", "firewalls")];

/// Returns these paths. They are not in the OpenAPI document.
pub(super) fn router() -> OpenApiRouter<App> {
    let mut router = OpenApiRouter::new()
        .route("/v2/customers/my/balance", get(balance))
        .route("/v2/databases/options", get(|| async { Json(json!({"options": {}})) }))
        .route("/v2/kubernetes/options", get(kubernetes_options));
    for (path, key, what) in LISTS {
        let list = get(move |page: Page| async move { Json(empty(&page, key)) });
        let list = if path.starts_with("/v2/reports/") { list } else { list.post(move || refuse(what)) };
        router = router
            .route(path, list)
            .route(&format!("{path}/{{id}}"), any(none))
            .route(&format!("{path}/{{id}}/{{*rest}}"), any(none));
    }
    for (name, key) in OF_DROPLETS {
        let of = move |app, who, id, page| of_droplet(app, who, id, page, key);
        router = router.route(&format!("/v2/droplets/{{id}}/{name}"), get(of));
    }
    router
}

/// Returns an empty list under a key.
fn empty(page: &Page, key: &str) -> Value {
    let page = page.with(Vec::<Value>::new(), 0);
    json!({key: page.items, "links": page.links, "meta": page.meta})
}

/// An empty list of a Droplet that exists.
async fn of_droplet(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    page: Page,
    key: &'static str,
) -> ApiResult<Json<Value>> {
    blocking(move || app.droplets.get(&who, &id).map(|_| Json(empty(&page, key)))).await
}

/// Refuses to create one.
async fn refuse(what: &'static str) -> ApiError {
    ApiError::unprocessable(format!("This server has no {what} and cannot create any."))
}

/// There is no single one.
async fn none() -> ApiError {
    ApiError::not_found()
}

/// What an account owes: nothing.
async fn balance(State(app): State<App>) -> Json<Value> {
    let now = rfc3339(app.clock.now_unix_ms());
    Json(json!({
        "month_to_date_balance": "0.00",
        "account_balance": "0.00",
        "month_to_date_usage": "0.00",
        "generated_at": now,
    }))
}

/// What Kubernetes clusters could be made of.
async fn kubernetes_options() -> Json<Value> {
    Json(json!({"options": {"regions": [], "versions": [], "sizes": []}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_names_all_of_them() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md"));
        for (path, _, _) in LISTS {
            assert!(text.contains(&format!("`{path}`")), "{path}");
        }
    }
}
