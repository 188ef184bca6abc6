//! What the cloud has and the server has none of.

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::Server;

#[test]
fn lists_of_what_is_not_there_are_empty() {
    let server = Server::start();
    for (path, key) in [
        ("1-clicks", "1_clicks"),
        ("apps", "apps"),
        ("cdn/endpoints", "endpoints"),
        ("certificates", "certificates"),
        ("customers/my/billing_history", "billing_history"),
        ("customers/my/invoices", "invoices"),
        ("databases", "databases"),
        ("domains", "domains"),
        ("droplets/autoscale", "autoscale_pools"),
        ("firewalls", "firewalls"),
        ("floating_ips", "floating_ips"),
        ("functions/namespaces", "namespaces"),
        ("kubernetes/clusters", "kubernetes_clusters"),
        ("load_balancers", "load_balancers"),
        ("monitoring/alerts", "policies"),
        ("registries", "registries"),
        ("reserved_ips", "reserved_ips"),
        ("reserved_ipv6", "reserved_ipv6s"),
        ("spaces/keys", "keys"),
        ("uptime/checks", "checks"),
        ("vpc_peerings", "vpc_peerings"),
    ] {
        let path = format!("/v2/{path}");
        let expected = json!({key: [], "links": {}, "meta": {"total": 0}});
        assert_eq!(server.get(&format!("{path}?page=3&per_page=200")).expect(200), expected, "{path}");
        assert_eq!(server.send("GET", &path, None, None).status, 401, "{path}");
        let missing = "could not be found";
        holds(
            &server,
            &[
                ("POST", &path, json!({"name": "x"}), 422, "cannot create any"),
                ("GET", &format!("{path}/"), Value::Null, 404, missing),
                ("GET", &format!("{path}/7"), Value::Null, 404, missing),
                ("DELETE", &format!("{path}/7"), Value::Null, 404, missing),
                ("PUT", &format!("{path}/7"), json!({}), 404, missing),
                ("POST", &format!("{path}/7/actions"), json!({}), 404, missing),
            ],
        );
        assert_eq!(server.ask("PUT", &path, Some(&json!({}))).expect(405)["id"], "method_not_allowed");
    }
    let balance = server.get("/v2/customers/my/balance").expect(200);
    assert_eq!(balance["month_to_date_balance"], "0.00");
    assert!(balance["generated_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_droplet_has_no_kernels_and_no_neighbors() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let id = droplet(&server, "web", image, &json!({}))["id"].clone();
    for (name, key) in [("kernels", "kernels"), ("neighbors", "droplets"), ("firewalls", "firewalls")] {
        let shown = server.get(&format!("/v2/droplets/{id}/{name}")).expect(200);
        assert_eq!(shown, json!({key: [], "links": {}, "meta": {"total": 0}}));
        server.get(&format!("/v2/droplets/999/{name}")).expect(404);
    }
}

/// A list there would be taken for a single thing.
#[test]
fn an_empty_id_is_of_nothing() {
    let server = Server::start();
    for list in ["snapshots", "volumes", "droplets", "images", "tags", "actions", "account/keys", "regions"] {
        holds(&server, &[("GET", &format!("/v2/{list}/"), Value::Null, 404, "could not be found")]);
        // Some clients list so.
        assert_eq!(server.get(&format!("/v2/{list}/?per_page=200")).status, 200, "{list}");
        server.get(&format!("/v2/{list}")).expect(200);
    }
    for list in ["volumes", "droplets"] {
        server.delete(&format!("/v2/{list}/")).expect(404);
    }
    let made = server.post("/v2/volumes/", &json!({"name": "v", "region": "here", "size_gigabytes": 1}));
    let id = made.expect(201)["volume"]["id"].as_str().unwrap().to_owned();
    server.get(&format!("/v2/volumes/{id}/")).expect(200);
    server.get(&format!("/v2/volumes/{id}/snapshots/")).expect(404);
    server.get(&format!("/v2/volumes/{id}/actions/")).expect(404);
    server.delete(&format!("/v2/volumes/{id}/")).expect(204);
}

#[test]
fn every_refusal_is_in_the_form_of_the_api() {
    let server = Server::start();
    for (method, path, status) in [
        ("GET", "/v2/volumes/%ff", 400),
        ("GET", "/v2/droplets/%c3%28/actions", 400),
        ("DELETE", "/v2/tags/%fe", 400),
        ("GET", "/v2/volumes?name=%ff", 200),
        ("GET", "/v2", 404),
        ("GET", "/v2/x/%ff", 404),
        ("PATCH", "/v2/account", 405),
        ("OPTIONS", "/v2/volumes", 405),
        ("DELETE", "/v2/firewalls", 405),
    ] {
        let answer = server.ask(method, path, None);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert_eq!(answer.header("content-type").unwrap(), "application/json; charset=utf-8", "{path}");
        if status != 200 {
            let body = answer.json();
            assert!(body["id"].is_string() && body["message"].is_string(), "{path}: {body}");
            assert_eq!(body["request_id"], answer.header("x-request-id").unwrap());
        }
    }
}
