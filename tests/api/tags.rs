//! Tags, as the contract says.

use serde_json::Value;
use serde_json::json;

use crate::contract::all_pages;
use crate::contract::droplet;
use crate::contract::holds;
use crate::contract::id;
use crate::contract::volume;
use crate::support::Server;

fn resources(of: &[(&str, &str)]) -> Value {
    let each = of.iter().map(|(kind, id)| json!({"resource_id": id, "resource_type": kind}));
    json!({"resources": each.collect::<Vec<_>>()})
}

#[test]
fn tags_are_made_once_and_spelt_as_they_were_first() {
    let server = Server::start();
    let made = server.post("/v2/tags", &json!({"name": "Prod"})).expect(201)["tag"].take();
    let none = json!({"count": 0});
    let expected = json!({"name": "Prod", "resources": {"count": 0, "droplets": none, "images": none, "volumes": none,
        "volume_snapshots": none, "databases": none}});
    assert_eq!(made, expected);
    assert_eq!(server.post("/v2/tags", &json!({"name": "PROD"})).expect(201)["tag"], expected);
    assert_eq!(server.get("/v2/tags/prod").expect(200)["tag"], expected);
    assert_eq!(server.get("/v2/tags").expect(200)["tags"], json!([expected]));
    let data = volume(&server, "data", &json!({"tags": ["pROD", "prod", "new"]}));
    assert_eq!(data["tags"], json!(["Prod", "new"]));
    for name in ["", "a b", "a/b", "a.b", &"x".repeat(256)] {
        holds(&server, &[("POST", "/v2/tags", json!({"name": name}), 422, "tag name")]);
    }
    holds(
        &server,
        &[
            ("POST", "/v2/tags", json!({}), 422, "tag name"),
            ("GET", "/v2/tags/none", Value::Null, 404, "could not be found"),
            ("DELETE", "/v2/tags/none", Value::Null, 404, "could not be found"),
            ("DELETE", "/v2/tags/prod", Value::Null, 204, ""),
            ("GET", "/v2/tags/Prod", Value::Null, 404, "could not be found"),
            ("POST", "/v2/tags", json!({"name": "env:a_b-c"}), 201, ""),
            ("GET", "/v2/tags/env:a_b-c", Value::Null, 200, ""),
        ],
    );
    let data = server.get(&format!("/v2/volumes/{}", id(&data))).expect(200);
    assert_eq!(data["volume"]["tags"], json!(["new"]), "a deleted tag is taken away");
}

#[test]
fn everything_that_can_have_a_tag_gets_and_loses_it() {
    let server = Server::start();
    droplet(&server, "here", 41);
    let data = volume(&server, "data", &json!({}));
    let path = format!("/v2/volumes/{}/snapshots", id(&data));
    let taken = server.post(&path, &json!({"name": "s", "tags": ["web"]})).expect(201)["snapshot"].take();
    let (data, taken) = (id(&data), id(&taken));
    let all = [("droplet", "41"), ("volume", data.as_str()), ("volume_snapshot", taken.as_str())];
    let tag = "/v2/tags/WEB/resources";
    let says = "could not be found";
    holds(
        &server,
        &[
            ("POST", "/v2/tags/none/resources", resources(&all), 404, says),
            ("POST", tag, resources(&[all[1], ("volume", &taken)]), 404, says),
            ("POST", tag, resources(&[all[1], ("volume_snapshot", &data)]), 404, says),
            ("POST", tag, resources(&[all[1], ("droplet", "42")]), 404, says),
            ("POST", tag, resources(&[all[1], ("image", "41")]), 404, says),
            ("POST", tag, resources(&[all[1], ("image", &taken)]), 404, says),
            ("POST", tag, resources(&[all[1], ("database", "1")]), 404, says),
            ("POST", tag, resources(&[all[1], ("kernel", "1")]), 422, "resource_type"),
            ("POST", tag, json!({"resources": [{"resource_id": true, "resource_type": "volume"}]}), 422, ""),
        ],
    );
    let count = || {
        let tag = server.get("/v2/tags/web").expect(200)["tag"]["resources"].take();
        ["droplets", "volumes", "volume_snapshots"].map(|kind| tag[kind]["count"].as_u64().unwrap())
    };
    assert_eq!(count(), [0, 0, 1], "what fails in part does nothing");
    server.post(tag, &resources(&all)).expect(204);
    server.post(tag, &json!({"resources": [{"resource_id": 41, "resource_type": "droplet"}]})).expect(204);
    assert_eq!(count(), [1, 1, 1], "to tag again changes nothing");
    let tagged = server.get("/v2/tags/web").expect(200)["tag"]["resources"].take();
    assert_eq!(tagged["count"], 3);
    let uri = format!("http://{}/v2/volumes/{data}", server.address);
    assert_eq!(tagged["volumes"]["last_tagged_uri"], uri);
    assert_eq!(tagged["droplets"]["last_tagged_uri"], format!("http://{}/v2/droplets/41", server.address));
    let shown = server.get(&format!("/v2/volumes/snapshots/{taken}")).expect(200);
    assert_eq!(shown["snapshot"]["tags"], json!(["web"]));
    // A DELETE with a body.
    let answer = server.ask("DELETE", tag, Some(&resources(&[all[0], all[2]])));
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(count(), [0, 1, 0]);
    server.ask("DELETE", tag, Some(&resources(&all))).expect(204);
    assert_eq!(count(), [0, 0, 0]);
    server.post(tag, &resources(&all)).expect(204);
    server.delete("/v2/tags/web").expect(204);
    for path in [format!("/v2/volumes/{data}"), format!("/v2/volumes/snapshots/{taken}")] {
        assert!(!server.get(&path).text.contains("web"), "{path}");
    }
    let bob = server.token_of("bob");
    assert_eq!(server.send("GET", "/v2/tags", Some(&bob), None).expect(200)["tags"], json!([]));
}

#[test]
fn nobody_tags_what_is_not_his() {
    let server = Server::start();
    let data = id(&volume(&server, "data", &json!({"tags": ["mine"]})));
    let bob = server.token_of("bob");
    let of_bob = |method: &str, path: &str, body: &Value| {
        server.send(method, path, Some(&bob), Some(&body.to_string())).status
    };
    assert_eq!(of_bob("POST", "/v2/tags", &json!({"name": "his"})), 201);
    assert_eq!(of_bob("POST", "/v2/tags/his/resources", &resources(&[("volume", &data)])), 404);
    assert_eq!(of_bob("POST", "/v2/tags/mine/resources", &json!({"resources": []})), 404);
    assert_eq!(of_bob("DELETE", "/v2/tags/mine", &json!({})), 404);
    assert_eq!(server.get("/v2/tags").expect(200)["meta"]["total"], 1);
    assert_eq!(server.get(&format!("/v2/volumes/{data}")).expect(200)["volume"]["tags"], json!(["mine"]));
}

#[test]
fn a_volume_has_as_many_and_as_long_tags_as_a_snapshot() {
    let server = Server::start();
    let long: Vec<String> = (0..65).map(|number| format!("{number:02}{}", "x".repeat(253))).collect();
    let data = volume(&server, "data", &json!({"tags": long[..64]}));
    assert_eq!(data["tags"], json!(long[..64]));
    let path = format!("/v2/volumes/{}/snapshots", id(&data));
    let taken = server.post(&path, &json!({"name": "s", "tags": long[..64]})).expect(201);
    assert_eq!(taken["snapshot"]["tags"], json!(long[..64]));
    let new = json!({"name": "more", "region": "here", "size_gigabytes": 1, "tags": long});
    server.post("/v2/tags", &json!({"name": long[64]})).expect(201);
    let tag = format!("/v2/tags/{}/resources", long[64]);
    let snapshot = id(&taken["snapshot"]);
    holds(
        &server,
        &[
            ("POST", "/v2/volumes", new, 422, "at most 64 tags"),
            ("POST", &tag, resources(&[("volume", &id(&data))]), 422, "at most 64 tags"),
            ("POST", &tag, resources(&[("volume_snapshot", &snapshot)]), 422, "at most 64 tags"),
        ],
    );
    assert_eq!(server.get("/v2/tags").expect(200)["meta"]["total"], 65);
}

#[test]
fn more_than_a_page_of_tags_is_listed_whole() {
    let server = Server::start();
    let names: Vec<String> = (0..205).map(|number| format!("t{number:03}")).collect();
    for name in &names {
        server.post("/v2/tags", &json!({"name": name})).expect(201);
    }
    assert_eq!(all_pages(&server, "/v2/tags", "tags", names.len(), 200), names);
}
