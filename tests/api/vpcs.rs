//! VPCs: records that Droplets are in.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::contract::id;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::Server;
use crate::support::USUAL;

fn new(server: &Server, body: &Value) -> Value {
    server.post("/v2/vpcs", body).expect(201)["vpc"].take()
}

#[test]
fn each_region_has_a_default_vpc() {
    let mut server = Server::start();
    let listed = server.get("/v2/vpcs").expect(200);
    let vpcs = listed["vpcs"].as_array().unwrap();
    assert_eq!(listed["meta"]["total"], 2);
    for (vpc, region) in vpcs.iter().zip(["here", "there"]) {
        assert_eq!((&vpc["region"], &vpc["default"]), (&json!(region), &json!(true)));
        assert_eq!(vpc["name"], format!("default-{region}"));
        assert_eq!(vpc["urn"], format!("do:vpc:{}", id(vpc)));
        assert_eq!(server.get(&format!("/v2/vpcs/{}", id(vpc))).expect(200)["vpc"], *vpc);
    }
    assert_ne!(vpcs[0]["ip_range"], vpcs[1]["ip_range"]);
    let bob = server.token_of("bob");
    let path = format!("/v2/vpcs/{}", id(&vpcs[0]));
    server.send("GET", &path, Some(&bob), None).expect(404);
    server.send("DELETE", &path, Some(&bob), None).expect(404);
    // They are the same after every start, also of a server that lost its database.
    let ids = |server: &Server| {
        let all = server.get("/v2/vpcs").expect(200);
        all["vpcs"].as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    let before = ids(&server);
    server.stop();
    let mut server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(server.get("/v2/vpcs").expect(200)["vpcs"], listed["vpcs"]);
    server.stop();
    std::fs::remove_dir_all(server.path("state")).unwrap();
    let server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(ids(&server), before);
}

#[test]
fn a_vpc_is_what_it_was_made_as_and_changed_to() {
    let mut server = Server::start();
    let body = json!({"name": "net-1.a", "region": "here", "description": "x", "ip_range": "10.10.10.0/24"});
    let vpc = new(&server, &body);
    for (key, value) in body.as_object().unwrap() {
        assert_eq!(vpc[key], *value, "{key}");
    }
    assert_eq!(vpc["default"], false);
    assert!(vpc["created_at"].as_str().unwrap().ends_with('Z'));
    let path = format!("/v2/vpcs/{}", id(&vpc));
    let changed = server.ask("PATCH", &path, Some(&json!({"name": "two"}))).expect(200)["vpc"].take();
    assert_eq!((&changed["name"], &changed["description"]), (&json!("two"), &json!("x")));
    // As Terraform does: a description that is left out is gone.
    let body = json!({"name": "three", "default": false});
    let changed = server.ask("PUT", &path, Some(&body)).expect(200)["vpc"].take();
    assert_eq!((&changed["name"], &changed["description"]), (&json!("three"), &json!("")));
    assert_eq!(changed["ip_range"], "10.10.10.0/24");
    server.stop();
    let server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(server.get(&path).expect(200)["vpc"], changed);
    server.delete(&path).expect(204);
    server.get(&path).expect(404);
    assert_eq!(server.get("/v2/vpcs").expect(200)["meta"]["total"], 2);
}

#[test]
fn what_cannot_be_a_vpc_is_refused() {
    let server = Server::start();
    new(&server, &json!({"name": "one", "region": "here", "ip_range": "10.10.10.0/24"}));
    let mut cases = Vec::new();
    for (change, says) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "a b"}), "letters, digits, dashes and periods"),
        (json!({"name": "x".repeat(256)}), "at most 255"),
        (json!({"name": "one"}), "same name"),
        (json!({"region": "nowhere"}), "nowhere"),
        (json!({"region": ""}), "region"),
        (json!({"ip_range": "10.10.0.0/16"}), "overlaps"),
        (json!({"ip_range": "10.10.10.1/24"}), "ip_range"),
        (json!({"ip_range": "8.8.8.0/24"}), "ip_range"),
        (json!({"ip_range": "10.0.0.0/8"}), "ip_range"),
        (json!({"description": 1}), "description must be a string"),
    ] {
        let mut body = json!({"name": "two", "region": "here", "ip_range": "10.11.0.0/24"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        cases.push(("POST", "/v2/vpcs", body, 422, says));
    }
    holds(&server, &cases);
    let all = server.get("/v2/vpcs").expect(200);
    let default = format!("/v2/vpcs/{}", id(&all["vpcs"][0]));
    holds(
        &server,
        &[
            ("DELETE", &default, Value::Null, 403, "default"),
            ("PATCH", &default, json!({"name": "one"}), 422, "same name"),
            ("PUT", &default, json!({"description": "x"}), 422, "name is required"),
            ("GET", "/v2/vpcs/x", Value::Null, 404, ""),
            ("PATCH", "/v2/vpcs/x", json!({}), 404, ""),
        ],
    );
}

#[test]
fn droplets_are_in_the_vpc_that_they_were_made_in() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let vpc = new(&server, &json!({"name": "net", "region": "here"}));
    let path = format!("/v2/vpcs/{}", id(&vpc));
    let web = droplet(&server, "web", image, &json!({"vpc_uuid": vpc["id"]}));
    let other = droplet(&server, "other", image, &json!({}));
    assert_eq!(web["vpc_uuid"], vpc["id"]);
    assert_ne!(other["vpc_uuid"], vpc["id"]);
    let members = server.get(&format!("{path}/members?resource_type=droplet")).expect(200);
    assert_eq!(members["meta"]["total"], 1);
    let member = &members["members"][0];
    assert_eq!(member["urn"], format!("do:droplet:{}", web["id"]));
    assert_eq!((&member["name"], &member["created_at"]), (&json!("web"), &web["created_at"]));
    let databases = server.get(&format!("{path}/members?resource_type=database")).expect(200);
    assert_eq!(databases["meta"]["total"], 0);
    holds(&server, &[("DELETE", &path, Value::Null, 409, "members")]);

    // A new default takes the place of the old one, which then can go.
    let old = format!("/v2/vpcs/{}", other["vpc_uuid"].as_str().unwrap());
    server.ask("PATCH", &path, Some(&json!({"default": true}))).expect(200);
    assert_eq!(server.get(&old).expect(200)["vpc"]["default"], false);
    assert_eq!(droplet(&server, "third", image, &json!({}))["vpc_uuid"], vpc["id"]);
    holds(&server, &[("DELETE", &old, Value::Null, 409, "members")]);
    server.delete(&format!("/v2/droplets/{}", other["id"])).expect(204);
    server.delete(&old).expect(204);

    let elsewhere = new(&server, &json!({"name": "far", "region": "there"}));
    let gone = old.rsplit('/').next().unwrap();
    for bad in [&elsewhere["id"], &json!(gone), &json!("x")] {
        let body = json!({"name": "web", "region": "here", "size": "small", "image": image, "vpc_uuid": bad});
        holds(&server, &[("POST", "/v2/droplets", body, 422, "vpc_uuid")]);
    }
}
