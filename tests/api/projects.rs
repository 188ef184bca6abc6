//! Projects, and the resources in them.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::contract::id;
use crate::contract::volume;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::Server;
use crate::support::USUAL;

fn urns(server: &Server, project: &str) -> Vec<String> {
    let shown = server.get(&format!("/v2/projects/{project}/resources?per_page=200")).expect(200);
    let all = shown["resources"].as_array().unwrap();
    assert_eq!(shown["meta"]["total"], all.len());
    assert!(all.iter().all(|resource| resource["status"] == "ok"), "{shown}");
    all.iter().map(|resource| resource["urn"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn there_is_a_default_project() {
    let server = Server::start();
    let project = server.get("/v2/projects/default").expect(200)["project"].take();
    assert_eq!(project["is_default"], true);
    let path = format!("/v2/projects/{}", id(&project));
    assert_eq!(server.get(&path).expect(200)["project"], project);
    let listed = server.get("/v2/projects").expect(200);
    assert_eq!(listed, json!({"projects": [project], "links": {}, "meta": {"total": 1}}));
    let account = server.get("/v2/account").expect(200);
    assert_eq!(project["owner_uuid"], account["account"]["uuid"]);
    let bob = server.token_of("bob");
    server.send("GET", &path, Some(&bob), None).expect(404);
    let of_bob = server.send("GET", "/v2/projects/default", Some(&bob), None).expect(200);
    assert_ne!(of_bob["project"]["id"], project["id"]);
}

#[test]
fn a_project_is_what_it_was_made_as_and_changed_to() {
    let mut server = Server::start();
    // As godo sends it.
    let body = json!({"name": "My project", "description": "", "purpose": "Web Application", "environment": "development"});
    let made = server.post("/v2/projects", &body).expect(201)["project"].take();
    for (key, value) in [
        ("name", "My project"),
        ("description", ""),
        ("purpose", "Web Application"),
        ("environment", "Development"),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    assert_eq!(made["is_default"], false);
    let path = format!("/v2/projects/{}", id(&made));
    let body =
        json!({"name": "New", "description": null, "purpose": null, "environment": "", "is_default": false});
    let changed = server.ask("PATCH", &path, Some(&body)).expect(200)["project"].take();
    assert_eq!(
        (&changed["name"], &changed["purpose"], &changed["environment"]),
        (&json!("New"), &made["purpose"], &json!(""))
    );
    let body = json!({"name": "New", "purpose": "Service or API", "environment": "Staging"});
    let changed = server.ask("PUT", &path, Some(&body)).expect(200)["project"].take();
    assert_eq!((&changed["purpose"], &changed["environment"]), (&json!("Service or API"), &json!("Staging")));
    server.stop();
    let server = Server::start_in(Arc::clone(&server.dir), USUAL);
    assert_eq!(server.get(&path).expect(200)["project"], changed);

    server.ask("PATCH", &path, Some(&json!({"is_default": true}))).expect(200);
    assert_eq!(server.get("/v2/projects/default").expect(200)["project"]["id"], made["id"]);
    let listed = server.get("/v2/projects").expect(200);
    let defaults = listed["projects"].as_array().unwrap().iter().filter(|one| one["is_default"] == true);
    assert_eq!(defaults.count(), 1);
    let new = |name: &str| json!({"name": name, "purpose": "x", "environment": ""});
    holds(
        &server,
        &[
            ("POST", "/v2/projects", new("New"), 409, "already in use"),
            ("POST", "/v2/projects", new(""), 422, "name"),
            ("POST", "/v2/projects", new(&"x".repeat(256)), 422, "at most 255"),
            ("POST", "/v2/projects", json!({"name": "x"}), 422, "purpose"),
            (
                "POST",
                "/v2/projects",
                json!({"name": "x", "purpose": "x", "environment": "x"}),
                422,
                "Staging",
            ),
            ("DELETE", &path, Value::Null, 412, "default project"),
            ("PATCH", "/v2/projects/x", json!({}), 404, ""),
            ("DELETE", "/v2/projects/x", Value::Null, 404, ""),
        ],
    );
}

#[test]
fn a_resource_is_in_one_project() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let web = droplet(&server, "web", image, &json!({}));
    let data = volume(&server, "data", &json!({}));
    let urn = |kind: &str, thing: &Value| format!("do:{kind}:{}", id(thing));
    let (web_urn, data_urn) = (urn("droplet", &web), urn("volume", &data));
    assert_eq!(urns(&server, "default"), [web_urn.clone(), data_urn.clone()]);

    let body = json!({"name": "p", "purpose": "Web Application"});
    let project = id(&server.post("/v2/projects", &body).expect(201)["project"]);
    let path = format!("/v2/projects/{project}");
    assert_eq!(urns(&server, &project), [""; 0]);
    let assign = |to: &str, urns: &Value| {
        let done = server.post(&format!("/v2/projects/{to}/resources"), &json!({"resources": urns}));
        let done = done.expect(200);
        let all = done["resources"].as_array().unwrap();
        all.iter().map(|resource| resource["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let asked = json!([data_urn, "do:volume:00000000-0000-7000-8000-000000000000", "do:domain:example.com"]);
    assert_eq!(assign(&project, &asked), ["assigned", "not_found", "not_found"]);
    assert_eq!(assign(&project, &json!([data_urn])), ["already_assigned"]);
    assert_eq!(urns(&server, &project), [data_urn.as_str()]);
    assert_eq!(urns(&server, "default"), [web_urn.as_str()]);
    holds(
        &server,
        &[
            ("DELETE", &path, Value::Null, 412, "cannot delete a project with resources"),
            ("POST", &format!("{path}/resources"), json!({"resources": ["x"]}), 422, "URN"),
        ],
    );
    // Another account's resources are not there.
    let bob = server.token_of("bob");
    let body = json!({"resources": [data_urn]}).to_string();
    let stolen = server.send("POST", "/v2/projects/default/resources", Some(&bob), Some(&body)).expect(200);
    assert_eq!(stolen["resources"][0]["status"], "not_found");

    assert_eq!(assign("default", &json!([data_urn])), ["assigned"]);
    server.delete(&path).expect(204);
    server.get(&path).expect(404);
    server.get(&format!("{path}/resources")).expect(404);
    assert_eq!(urns(&server, "default"), [web_urn.clone(), data_urn.clone()]);
    // What is deleted is in no project.
    server.delete(&format!("/v2/volumes/{}", id(&data))).expect(204);
    assert_eq!(urns(&server, "default"), [web_urn]);
}
