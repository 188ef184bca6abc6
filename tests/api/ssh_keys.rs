//! SSH keys: kept and echoed, and checked where Droplets are made with them.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::Server;
use crate::support::USUAL;

/// The example in the documentation of the cloud's API, and its fingerprint.
pub(crate) const KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQDDHr/jh2Jy4yALcK4JyWbVkPRaWmhck3IgCoeOO3z1e2dBowLh64QAM+Qb72pxekALga2oi4GvT+TlWNhzPH4V example";
const FINGERPRINT: &str = "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa";

fn new(server: &Server) -> Value {
    let made = server.post("/v2/account/keys", &json!({"name": "My key", "public_key": KEY}));
    made.expect(201)["ssh_key"].take()
}

#[test]
fn a_key_is_kept_and_found_by_id_and_by_fingerprint() {
    let mut server = Server::start();
    let key = new(&server);
    let id = key["id"].as_i64().unwrap();
    assert_eq!(key, json!({"id": id, "name": "My key", "public_key": KEY, "fingerprint": FINGERPRINT}));
    let (by_id, by_print) = (format!("/v2/account/keys/{id}"), format!("/v2/account/keys/{FINGERPRINT}"));
    assert_eq!(server.get(&by_id).expect(200)["ssh_key"], key);
    assert_eq!(server.get(&by_print).expect(200)["ssh_key"], key);
    let listed = server.get("/v2/account/keys").expect(200);
    assert_eq!(listed, json!({"ssh_keys": [key], "links": {}, "meta": {"total": 1}}));

    let renamed = server.ask("PUT", &by_print, Some(&json!({"name": "Other"}))).expect(200);
    assert_eq!(renamed["ssh_key"]["name"], "Other");
    server.stop();
    let server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(server.get(&by_id).expect(200), renamed);
    server.delete(&by_id).expect(204);
    assert_eq!(server.get(&by_print).status, 404);
    assert_ne!(new(&server)["id"], id, "an id is never another key's");
}

#[test]
fn a_key_belongs_to_one_account() {
    let server = Server::start();
    let id = new(&server)["id"].as_i64().unwrap();
    let bob = server.token_of("bob");
    let of_bob = |method: &str, path: &str, body: Option<&str>| server.send(method, path, Some(&bob), body);
    assert_eq!(of_bob("GET", "/v2/account/keys", None).expect(200)["ssh_keys"], json!([]));
    for path in [format!("/v2/account/keys/{id}"), format!("/v2/account/keys/{FINGERPRINT}")] {
        of_bob("GET", &path, None).expect(404);
        of_bob("PUT", &path, Some("{\"name\": \"x\"}")).expect(404);
        of_bob("DELETE", &path, None).expect(404);
    }
    let body = json!({"name": "bob's", "public_key": KEY}).to_string();
    of_bob("POST", "/v2/account/keys", Some(&body)).expect(201);
    assert_eq!(server.get("/v2/account/keys").expect(200)["meta"]["total"], 1);
}

#[test]
fn what_is_no_key_or_there_already_is_refused() {
    let server = Server::start();
    new(&server);
    let invalid = "Key invalid, key should be of the format";
    let cases = [
        (json!({"name": "again", "public_key": format!("{KEY} of another comment")}), "already in use"),
        (json!({"name": "x", "public_key": "ssh-rsa AAAA"}), invalid),
        (json!({"name": "x", "public_key": ""}), invalid),
        (json!({"name": "x"}), invalid),
        (json!({"public_key": KEY}), "name"),
        (json!({"name": "x", "public_key": format!("{KEY} {}", "x".repeat(8192))}), "8192"),
    ];
    let cases = cases.map(|(body, says)| ("POST", "/v2/account/keys", body, 422, says));
    holds(&server, &cases);
    holds(
        &server,
        &[
            ("GET", "/v2/account/keys/999", Value::Null, 404, "could not be found"),
            ("GET", "/v2/account/keys/x", Value::Null, 404, "could not be found"),
            ("DELETE", "/v2/account/keys/00:00", Value::Null, 404, "could not be found"),
        ],
    );
    assert_eq!(server.get("/v2/account/keys").expect(200)["meta"]["total"], 1);
}

#[test]
fn droplets_are_made_with_keys_by_id_and_by_fingerprint() {
    let server = Server::with_import();
    let (key, image) = (new(&server), image(&server, "base", 1));
    for keys in [json!([key["id"]]), json!([key["id"].to_string(), FINGERPRINT]), Value::Null] {
        droplet(&server, "web", image, &json!({"ssh_keys": keys}));
    }
    // Another account's keys are unknown.
    let body = json!({"name": "web", "size": "small", "image": image, "ssh_keys": [key["id"]]}).to_string();
    let bob = server.token_of("bob");
    assert_eq!(server.send("POST", "/v2/droplets", Some(&bob), Some(&body)).status, 422);
}

#[test]
fn an_id_has_one_spelling() {
    let server = Server::with_import();
    let (key, image) = (new(&server), image(&server, "base", 1));
    let (droplet, key) = (droplet(&server, "web", image, &json!({}))["id"].clone(), key["id"].clone());
    let action = server.get("/v2/actions").expect(200)["actions"][0]["id"].clone();
    for (list, id) in
        [("droplets", droplet), ("images", json!(image)), ("account/keys", key), ("actions", action)]
    {
        server.get(&format!("/v2/{list}/{id}")).expect(200);
        for bad in [format!("0{id}"), format!("+{id}"), format!("%20{id}"), format!("{id}.0")] {
            server.get(&format!("/v2/{list}/{bad}")).expect(404);
            server.get(&format!("/v2/{list}/{bad}/actions")).expect(404);
        }
    }
}
