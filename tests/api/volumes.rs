//! Volumes: made, listed, changed, deleted, as the contract says.

use serde_json::Value;
use serde_json::json;

use crate::contract::all_pages;
use crate::contract::droplet;
use crate::contract::holds;
use crate::contract::id;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::support::Server;

/// An id that nothing has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn a_volume_has_the_fields_that_clients_read() {
    let server = Server::start();
    // As godo sends it: every field, empty where it is not set.
    let body = json!({"name": "data-1", "region": "here", "size_gigabytes": 2, "description": "", "snapshot_id": "",
        "filesystem_type": "", "filesystem_label": "", "tags": null, "unknown": 1});
    let made = server.post("/v2/volumes", &body).expect(201)["volume"].take();
    for (key, value) in [
        ("name", json!("data-1")),
        ("description", json!("")),
        ("droplet_ids", json!([])),
        ("filesystem_type", json!("")),
        ("filesystem_label", json!("")),
        ("tags", json!([])),
        ("size_gigabytes", json!(2)),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    assert!(made["size_gigabytes"].is_u64());
    assert_eq!(made["region"]["slug"], "here");
    assert_eq!(made["region"]["available"], true);
    let created = made["created_at"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    assert_eq!(id(&made).len(), 36);
    assert_eq!(server.get(&format!("/v2/volumes/{}", id(&made))).expect(200)["volume"], made);
    assert_eq!(server.get("/v2/volumes").expect(200)["volumes"], json!([made]));
    let rich = json!({"description": "of the shop", "tags": ["web", "Prod"]});
    let rich = volume(&server, "data-2", &rich);
    assert_eq!((&rich["description"], &rich["tags"]), (&json!("of the shop"), &json!(["Prod", "web"])));
    let answer = server.delete(&format!("/v2/volumes/{}", id(&rich)));
    assert_eq!((answer.expect(204), answer.text.as_str()), (Value::Null, ""));
    assert_eq!(server.delete(&format!("/v2/volumes/{}", id(&rich))).status, 404);
}

#[test]
fn what_cannot_be_a_volume_is_refused_with_the_words_of_the_contract() {
    let server = Server::start_with("\n[regions.cold]\nrepository = \"cold\"\nstorage = false\n");
    volume(&server, "taken", &json!({}));
    let name = "names must be lowercase and alphanumeric";
    let storage = "Storage is not supported for this region";
    let with = |more: Value| {
        let mut body = json!({"name": "new", "region": "here", "size_gigabytes": 1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let table = [
        (json!({"name": ""}), 422, name),
        (json!({"name": "Upper"}), 422, name),
        (json!({"name": "1st"}), 422, name),
        (json!({"name": "x".repeat(65)}), 422, "at most 64 characters; this has 65"),
        (json!({"name": 7}), 422, ""),
        (json!({"region": "nowhere"}), 422, storage),
        (json!({"region": "cold"}), 422, storage),
        (json!({"region": null}), 422, "region"),
        (json!({"size_gigabytes": 0}), 422, "between 1 and 16384"),
        (json!({"size_gigabytes": -1}), 422, "between 1 and 16384"),
        (json!({"size_gigabytes": 16385}), 422, "between 1 and 16384"),
        (json!({"size_gigabytes": null}), 422, "between 1 and 16384"),
        (json!({"size_gigabytes": "1"}), 422, ""),
        (json!({"size_gigabytes": 1.5}), 422, ""),
        (json!({"filesystem_type": "ntfs"}), 422, "ext4 or xfs"),
        (json!({"filesystem_label": "data"}), 422, "needs a filesystem_type"),
        (json!({"filesystem_type": "ext4", "filesystem_label": "x".repeat(17)}), 422, "at most 16"),
        (json!({"filesystem_type": "xfs", "filesystem_label": "x".repeat(13)}), 422, "at most 16"),
        (json!({"filesystem_type": "ext4", "filesystem_label": "a b"}), 422, "no spaces"),
        (json!({"description": "x".repeat(1025)}), 422, "1024"),
        (json!({"tags": ["a b"]}), 422, "tag name"),
        (json!({"snapshot_id": NOBODY}), 404, "could not be found"),
        (json!({"snapshot_id": "12"}), 404, "could not be found"),
        (json!({"name": "taken"}), 409, "failed to create volume: already exists"),
    ];
    for (more, status, says) in table {
        holds(&server, &[("POST", "/v2/volumes", with(more), status, says)]);
    }
    holds(&server, &[("POST", "/v2/volumes", json!([]), 400, "error parsing request body")]);
    // The same name elsewhere is another one.
    volume(&server, "taken", &json!({"region": "there"}));
    assert_eq!(server.get("/v2/volumes").expect(200)["meta"]["total"], 2);
    assert_eq!(server.get("/v2/tags").expect(200)["meta"]["total"], 0, "what is refused makes no tags");
}

#[test]
fn volumes_are_found_and_deleted_by_name_and_region() {
    let server = Server::start();
    for (name, region) in [("one", "here"), ("two", "here"), ("one", "there")] {
        volume(&server, name, &json!({"region": region}));
    }
    for (query, total) in [
        ("?name=one", 2),
        ("?region=here", 2),
        ("?name=one&region=there", 1),
        ("?name=&region=", 3),
        ("?name=none", 0),
        ("?region=nowhere", 0),
        ("?per_page=1&page=2", 3),
    ] {
        let found = server.get(&format!("/v2/volumes{query}")).expect(200);
        assert_eq!(found["meta"]["total"], total, "{query}");
    }
    holds(
        &server,
        &[
            ("DELETE", "/v2/volumes", Value::Null, 422, "name and region are required"),
            ("DELETE", "/v2/volumes?name=one", Value::Null, 422, "name and region are required"),
            ("DELETE", "/v2/volumes?region=here", Value::Null, 422, "name and region are required"),
            ("DELETE", "/v2/volumes?name=two&region=there", Value::Null, 404, "could not be found"),
            ("DELETE", "/v2/volumes?name=one&region=here", Value::Null, 204, ""),
            ("DELETE", "/v2/volumes?name=one&region=here", Value::Null, 404, "could not be found"),
        ],
    );
    let left = server.get("/v2/volumes").expect(200);
    assert_eq!(
        (&left["volumes"][0]["name"], &left["volumes"][1]["region"]["slug"]),
        (&json!("two"), &json!("there"))
    );
}

#[test]
fn more_than_a_page_of_volumes_is_listed_whole_and_in_order() {
    let server = Server::start();
    let names: Vec<String> = (0..203).map(|number| format!("v{number}")).collect();
    for name in &names {
        volume(&server, name, &json!({}));
    }
    for per_page in [200, 50] {
        assert_eq!(all_pages(&server, "/v2/volumes", "volumes", names.len(), per_page), names);
    }
    let filtered = server.get("/v2/volumes?region=here&per_page=3&page=2").expect(200);
    let next = filtered["links"]["pages"]["next"].as_str().unwrap();
    assert!(next.ends_with("/v2/volumes?page=3&per_page=3&region=here"), "{next}");
}

#[test]
fn a_quota_is_told_with_the_words_that_clients_look_for() {
    let server = Server::start_with("\n[limits]\nvolumes = 2\nvolume_gigabytes = 10\n");
    let says = "capacity limit exceeded";
    let new = |name: &str, gib: u64| json!({"name": name, "region": "here", "size_gigabytes": gib});
    holds(&server, &[("POST", "/v2/volumes", new("a", 11), 403, says)]);
    let made = volume(&server, "a", &json!({"size_gigabytes": 9}));
    let actions = format!("/v2/volumes/{}/actions", id(&made));
    let resize = |gib: u64| json!({"type": "resize", "size_gigabytes": gib});
    holds(
        &server,
        &[
            ("POST", "/v2/volumes", new("b", 2), 403, says),
            ("POST", &actions, resize(11), 403, says),
            ("POST", "/v2/volumes", new("b", 1), 201, ""),
            ("POST", "/v2/volumes", new("c", 1), 403, says),
            ("POST", &actions, resize(10), 403, says),
            ("DELETE", "/v2/volumes?name=b&region=here", Value::Null, 204, ""),
            ("POST", &actions, resize(10), 202, ""),
        ],
    );
    // What bob has is his own affair.
    let body = new("c", 1).to_string();
    server.send("POST", "/v2/volumes", Some(&server.token_of("bob")), Some(&body)).expect(201);
}

#[test]
fn volumes_are_attached_and_detached_with_the_words_of_the_contract() {
    let server = Server::start();
    droplet(&server, "here", 77);
    droplet(&server, "there", 78);
    let made = volume(&server, "data", &json!({}));
    let actions = format!("/v2/volumes/{}/actions", id(&made));
    let attach = |droplet: i64| json!({"type": "attach", "droplet_id": droplet, "region": "", "tags": null});
    let detach = |droplet: i64| json!({"type": "detach", "droplet_id": droplet});
    holds(
        &server,
        &[
            ("POST", &actions, json!({"type": "attach"}), 422, "droplet_id is required"),
            ("POST", &actions, attach(1), 404, "could not be found"),
            ("POST", &actions, attach(78), 422, "same region"),
            ("POST", &actions, json!({"type": "attach", "droplet_id": 77, "region": "there"}), 422, "region"),
            ("POST", &actions, detach(77), 422, "Attachment not found"),
            (
                "POST",
                &actions,
                json!({"type": "explode"}),
                404,
                "The specified action type is not available.",
            ),
            ("POST", &actions, json!({}), 404, "The specified action type is not available."),
            ("POST", &actions, json!({"type": "attach", "droplet_id": "x"}), 422, ""),
            ("POST", &format!("/v2/volumes/{NOBODY}/actions"), attach(77), 404, "could not be found"),
            ("GET", &actions, Value::Null, 200, ""),
        ],
    );
    assert_eq!(server.get(&actions).expect(200)["actions"], json!([]), "what was refused leaves no action");
    // pydo writes the page into the address of a POST.
    let answer = server.post(&format!("{actions}?per_page=20&page=1"), &attach(77));
    let action = answer.expect(202)["action"].take();
    assert_eq!((&action["status"], &action["type"]), (&json!("completed"), &json!("attach_volume")));
    assert_eq!((&action["resource_id"], &action["resource_type"]), (&Value::Null, &json!("volume")));
    assert_eq!((&action["region"]["slug"], &action["region_slug"]), (&json!("here"), &json!("here")));
    assert!(action["id"].is_u64() && action["completed_at"].is_string());
    for path in [format!("{actions}/{}", id(&action)), format!("/v2/actions/{}", id(&action))] {
        assert_eq!(server.get(&path).expect(200)["action"], action);
    }
    let other = volume(&server, "other", &json!({}));
    let of_other = format!("/v2/volumes/{}/actions/{}", id(&other), id(&action));
    let path = format!("/v2/volumes/{}", id(&made));
    assert_eq!(server.get(&path).expect(200)["volume"]["droplet_ids"], json!([77]));
    assert_eq!(server.get("/v2/volumes?name=data").expect(200)["volumes"][0]["droplet_ids"], json!([77]));
    holds(
        &server,
        &[
            ("GET", &of_other, Value::Null, 404, "could not be found"),
            ("POST", &actions, attach(77), 422, "This volume is already attached"),
            ("POST", &actions, attach(1), 404, "could not be found"),
            ("POST", &actions, detach(78), 422, "Attachment not found"),
            ("DELETE", &path, Value::Null, 409, "attached volume cannot be deleted"),
            (
                "DELETE",
                "/v2/volumes?name=data&region=here",
                Value::Null,
                409,
                "attached volume cannot be deleted",
            ),
            ("POST", &actions, detach(77), 202, ""),
            ("POST", &actions, detach(77), 422, "Attachment not found"),
        ],
    );
    assert_eq!(server.get(&actions).expect(200)["actions"][0]["type"], "detach_volume");
    assert_eq!(server.get(&path).expect(200)["volume"]["droplet_ids"], json!([]));
    assert_eq!(server.delete(&path).status, 204);
}

#[test]
fn volumes_are_attached_by_name() {
    let server = Server::start();
    droplet(&server, "here", 5);
    let made = volume(&server, "data", &json!({}));
    let by_name = |kind: &str, name: &str| json!({"type": kind, "volume_name": name, "region": "here", "droplet_id": 5});
    let path = "/v2/volumes/actions";
    holds(
        &server,
        &[
            ("POST", path, json!({"type": "attach", "droplet_id": 5}), 422, "volume_name and region"),
            ("POST", path, by_name("attach", "none"), 404, "could not be found"),
            ("POST", path, by_name("resize", "data"), 404, "The specified action type is not available."),
            ("POST", path, by_name("attach", "data"), 202, ""),
            ("POST", path, by_name("attach", "data"), 422, "This volume is already attached"),
            ("POST", path, by_name("detach", "data"), 202, ""),
        ],
    );
    let done = server.get(&format!("/v2/volumes/{}/actions", id(&made))).expect(200);
    assert_eq!(done["meta"]["total"], 2);
}

#[test]
fn a_droplet_has_fifteen_volumes_at_most() {
    let server = Server::start();
    droplet(&server, "here", 9);
    let attach = json!({"type": "attach", "droplet_id": 9});
    let paths: Vec<String> = (0..16)
        .map(|number| {
            format!("/v2/volumes/{}/actions", id(&volume(&server, &format!("v{number}"), &json!({}))))
        })
        .collect();
    for path in &paths[..15] {
        server.post(path, &attach).expect(202);
    }
    holds(&server, &[("POST", &paths[15], attach, 422, "cannot attach more volumes to the Droplet")]);
}

#[test]
fn volumes_only_grow() {
    let server = Server::start();
    let made = volume(&server, "data", &json!({"size_gigabytes": 2}));
    let first = snapshot(&server, &made, "small");
    let path = format!("/v2/volumes/{}", id(&made));
    let actions = format!("{path}/actions");
    let resize =
        |gib: Value| json!({"type": "resize", "size_gigabytes": gib, "region": "here", "tags": ["big"]});
    holds(
        &server,
        &[
            ("POST", &actions, resize(json!(null)), 422, "size_gigabytes is required"),
            ("POST", &actions, resize(json!(0)), 422, "only grow"),
            ("POST", &actions, resize(json!(1)), 422, "only grow"),
            ("POST", &actions, resize(json!(2)), 422, "only grow"),
            ("POST", &actions, resize(json!(16385)), 422, "16384"),
            ("POST", &actions, resize(json!("3")), 422, ""),
            ("POST", &actions, resize(json!(3)), 202, ""),
        ],
    );
    assert_eq!(server.get(&actions).expect(200)["actions"][0]["type"], "resize_volume");
    let now = server.get(&path).expect(200)["volume"].take();
    assert_eq!((&now["size_gigabytes"], &now["tags"]), (&json!(3), &json!(["big"])));
    server.post(&actions, &resize(json!(16384))).expect(202);
    let second = snapshot(&server, &made, "large");
    let snapshots = server.get(&format!("{path}/snapshots")).expect(200)["snapshots"].take();
    assert_eq!(snapshots, json!([first, second]));
    assert_eq!((&first["min_disk_size"], &second["min_disk_size"]), (&json!(2), &json!(16384)));
}

#[test]
fn what_is_refused_for_its_tags_was_not_done() {
    let server = Server::start();
    droplet(&server, "here", 77);
    let tags: Vec<String> = (0..64).map(|number| format!("t{number}")).collect();
    let data = volume(&server, "data", &json!({"tags": tags}));
    let actions = format!("/v2/volumes/{}/actions", id(&data));
    let attach = json!({"type": "attach", "droplet_id": 77, "tags": ["more"]});
    holds(&server, &[("POST", &actions, attach, 422, "at most 64 tags")]);
    assert_eq!(server.get(&actions).expect(200)["actions"][0]["status"], "errored");
    let shown = server.get(&format!("/v2/volumes/{}", id(&data))).expect(200)["volume"].take();
    assert_eq!((&shown["droplet_ids"], &shown["tags"]), (&json!([]), &data["tags"]));
}

#[test]
fn a_quota_is_kept_when_many_ask_at_once_in_all_regions() {
    let server = Server::start_with("[limits]\nvolume_gigabytes = 4\n");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16)
            .map(|number| {
                let region = if number % 2 == 0 { "here" } else { "there" };
                let new = json!({"name": format!("v{number}"), "region": region, "size_gigabytes": 1});
                let server = &server;
                scope.spawn(move || server.post("/v2/volumes", &new).status)
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 4, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 12, "{statuses:?}");
}

#[test]
fn a_volume_of_a_snapshot_has_the_file_system_of_that_and_no_other() {
    let server = Server::start();
    let taken = snapshot(&server, &volume(&server, "data", &json!({})), "s");
    let asked = |system: &str, label: &str| {
        json!({"name": "copy", "region": "here", "snapshot_id": taken["id"], "filesystem_type": system,
            "filesystem_label": label})
    };
    holds(
        &server,
        &[
            ("POST", "/v2/volumes", asked("ext4", ""), 422, "filesystem_type"),
            ("POST", "/v2/volumes", asked("ext4", "x"), 422, "filesystem_type"),
        ],
    );
    let made = server.post("/v2/volumes", &asked("", "")).expect(201)["volume"].take();
    assert_eq!((&made["filesystem_type"], &made["filesystem_label"]), (&json!(""), &json!("")));
}
