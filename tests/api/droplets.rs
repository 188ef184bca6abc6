//! Droplets: each path, what it answers, and what it changes.

use std::collections::BTreeMap;

use icecore::snapshot::CaptureOptions;
use icecore::snapshot::Parent;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::contract::disk;
use crate::contract::holds;
use crate::contract::patiently;
use crate::contract::repository;
use crate::contract::volume;
use crate::support::IMPORT;
use crate::support::Server;
use crate::support::USUAL;

/// Writes a raw image of some bytes, with the same ones for the same seed.
pub(crate) fn image_file(server: &Server, name: &str, seed: u8) -> String {
    let mut bytes = vec![0; 300_000];
    bytes
        .iter_mut()
        .enumerate()
        .for_each(|(at, byte)| *byte = seed.wrapping_add(u8::try_from(at % 251).unwrap()));
    let path = server.path("import").join(name);
    std::fs::write(&path, bytes).unwrap();
    format!("file://{}", path.display())
}

/// Imports a small image, and returns its id.
pub(crate) fn image(server: &Server, name: &str, seed: u8) -> i64 {
    let url = image_file(server, &format!("{name}.raw"), seed);
    let body = json!({"name": name, "url": url, "region": "here", "distribution": "Debian"});
    let id = server.post("/v2/images", &body).expect(202)["image"]["id"].as_i64().unwrap();
    server.until_image(id, "available");
    id
}

/// Makes a Droplet as the body says beside the usual, and returns it.
#[track_caller]
pub(crate) fn droplet(server: &Server, name: &str, image: i64, more: &Value) -> Value {
    let mut body = json!({"name": name, "region": "here", "size": "small", "image": image});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/v2/droplets", &body).expect(202)["droplet"].take()
}

#[test]
fn a_new_droplet_has_what_clients_look_for() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let made = droplet(
        &server,
        "web-1",
        image,
        &json!({"tags": ["b", "a"], "backups": true, "ssh_keys": [], "ipv6": null}),
    );
    for (key, value) in [
        ("name", json!("web-1")),
        ("status", json!("active")),
        ("locked", json!(false)),
        ("memory", json!(512)),
        ("vcpus", json!(1)),
        ("disk", json!(1)),
        ("size_slug", json!("small")),
        ("tags", json!(["a", "b"])),
        ("features", json!(["backups"])),
        ("backup_ids", json!([])),
        ("snapshot_ids", json!([])),
        ("volume_ids", json!([])),
        ("kernel", Value::Null),
        ("backup_policy", json!({"plan": "weekly", "weekday": "SUN", "hour": 0})),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    assert!(made["id"].as_i64().unwrap() >= 1);
    assert_eq!((&made["region"]["slug"], &made["size"]["slug"]), (&json!("here"), &json!("small")));
    assert_eq!((&made["image"]["id"], &made["image"]["distribution"]), (&json!(image), &json!("Debian")));
    assert_eq!(server.get(&format!("/v2/droplets/{}", made["id"])).expect(200)["droplet"], made);
    // The action that made it.
    let actions = server.get(&format!("/v2/droplets/{}/actions", made["id"])).expect(200);
    let action = &actions["actions"][0];
    for (key, value) in [
        ("type", json!("create")),
        ("status", json!("completed")),
        ("resource_type", json!("droplet")),
        ("resource_id", made["id"].clone()),
        ("region_slug", json!("here")),
    ] {
        assert_eq!(action[key], value, "{key}");
    }
    assert_eq!(action["started_at"], made["created_at"]);
    let path = format!("/v2/droplets/{}/actions/{}", made["id"], action["id"]);
    assert_eq!(&server.get(&path).expect(200)["action"], action);
    // Several at once, of an id that is text.
    let body = json!({"names": ["two", "three"], "size": "small", "image": image.to_string()});
    let made = server.post("/v2/droplets", &body).expect(202);
    assert_eq!(
        (made["droplets"].as_array().unwrap().len(), made["links"]["actions"].as_array().unwrap().len()),
        (2, 2)
    );
    assert_eq!(made["links"]["actions"][1]["rel"], "create");
}

#[test]
fn droplets_that_cannot_be_made_are_refused() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let big = server.path("import/big.raw");
    std::fs::File::create(&big).unwrap().set_len(2 << 30).unwrap();
    let url = format!("file://{}", big.display());
    let made = server.post("/v2/images", &json!({"name": "big", "url": url, "region": "here"})).expect(202);
    let big = made["image"]["id"].as_i64().unwrap();
    server.until_image(big, "available");
    let taken = volume(&server, "taken", &json!({}));
    let other = volume(&server, "other", &json!({"region": "there"}));
    droplet(&server, "owner", image, &json!({"volumes": [taken["id"]]}));
    let wrong_image = "You specified an invalid image for Droplet creation.";
    let mut cases = Vec::new();
    for (change, says) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "a b"}), "hostname"),
        (json!({"names": vec!["a"; 11]}), "names"),
        (json!({"size": ""}), "size"),
        (json!({"size": "huge"}), "invalid size"),
        (json!({"image": null}), wrong_image),
        (json!({"image": 0}), wrong_image),
        (json!({"image": 999}), wrong_image),
        (json!({"image": "debian"}), wrong_image),
        (json!({"image": ""}), wrong_image),
        (json!({"image": {}}), ""),
        (json!({"image": big}), "needs a disk of 2 GB"),
        (json!({"region": "nowhere"}), "nowhere"),
        (json!({"region": "there"}), "Transfer it there first"),
        (json!({"tags": ["a b"]}), "tag"),
        (json!({"volumes": ["x"]}), "there is no volume x"),
        (json!({"volumes": [taken["id"]]}), "This volume is already attached"),
        (json!({"volumes": [{"id": other["id"]}]}), "region there"),
        (json!({"ssh_keys": [999, "00:11"]}), "999, 00:11 are invalid key identifiers for Droplet creation."),
        (json!({"backup_policy": {"plan": "hourly"}}), "plan"),
        (json!({"backup_policy": {"hour": 5}}), "hour"),
    ] {
        let mut body = json!({"name": "new", "region": "here", "size": "small", "image": image});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        cases.push(("POST", "/v2/droplets", body, 422, says));
    }
    holds(&server, &cases);
    assert_eq!(server.get("/v2/droplets").expect(200)["meta"]["total"], 1, "none was made");
}

#[test]
fn the_limit_of_droplets_is_kept() {
    let dir = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    std::fs::create_dir(dir.path().join("import")).unwrap();
    let server = Server::start_in(dir, &format!("{USUAL}{IMPORT}[limits]\ndroplets = 2\n"));
    let image = image(&server, "base", 1);
    droplet(&server, "one", image, &json!({}));
    let body = json!({"names": ["two", "three"], "size": "small", "image": image});
    holds(&server, &[("POST", "/v2/droplets", body, 403, "droplet limit")]);
    droplet(&server, "two", image, &json!({}));
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = Server::with_import();
    let mut cases = Vec::new();
    let paths: Vec<String> = ["999", "abc", "0", "-1", "99999999999999999999"]
        .iter()
        .flat_map(|id| {
            ["", "/snapshots", "/backups", "/actions", "/actions/1"]
                .map(|rest| format!("/v2/droplets/{id}{rest}"))
        })
        .collect();
    cases.extend(paths.iter().map(|path| ("GET", path.as_str(), Value::Null, 404, "")));
    cases.push(("DELETE", "/v2/droplets/999", Value::Null, 404, ""));
    cases.push(("POST", "/v2/droplets/999/actions", json!({"type": "snapshot"}), 404, ""));
    cases.push(("POST", "/v2/droplets/999/actions", json!({"type": "nonsense"}), 404, "resource"));
    cases.push(("DELETE", "/v2/droplets?tag_name=nothing", Value::Null, 404, ""));
    cases.push(("DELETE", "/v2/droplets", Value::Null, 422, "tag_name"));
    cases.push(("POST", "/v2/droplets/actions?tag_name=nothing", json!({"type": "power_off"}), 404, ""));
    holds(&server, &cases);
}

#[test]
fn actions_change_what_they_say() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let id = droplet(&server, "web", image, &json!({}))["id"].clone();
    let path = format!("/v2/droplets/{id}");
    let shown = |key: &str| server.get(&path).expect(200)["droplet"][key].clone();
    for (body, key, after) in [
        (json!({"type": "power_off"}), "status", json!("off")),
        (json!({"type": "power_on"}), "status", json!("active")),
        (json!({"type": "shutdown"}), "status", json!("off")),
        (json!({"type": "reboot"}), "status", json!("active")),
        (json!({"type": "power_cycle"}), "status", json!("active")),
        (json!({"type": "rename", "name": "New.Name"}), "name", json!("New.Name")),
        (json!({"type": "enable_backups"}), "features", json!(["backups"])),
        (
            json!({"type": "change_backup_policy", "backup_policy": {"plan": "daily", "hour": 8}}),
            "backup_policy",
            json!({"plan": "daily", "weekday": null, "hour": 8}),
        ),
        (json!({"type": "disable_backups"}), "features", json!([])),
        (json!({"type": "resize", "size": "large", "disk": false}), "size_slug", json!("large")),
        (json!({"type": "resize", "size": "large"}), "disk", json!(1)),
        (json!({"type": "resize", "size": "small"}), "size_slug", json!("small")),
        (json!({"type": "resize", "size": "large", "disk": true}), "disk", json!(3)),
        (json!({"type": "rebuild", "image": image}), "disk", json!(3)),
    ] {
        // Some clients add pages to a POST.
        let done =
            server.post(&format!("{path}/actions?per_page=20&page=1"), &body).expect(201)["action"].take();
        assert_eq!((&done["status"], &done["type"]), (&json!("completed"), &body["type"]), "{body}");
        assert_eq!((&done["resource_id"], &done["region"]["slug"]), (&id, &json!("here")));
        assert_eq!(shown(key), after, "{body}");
    }
    let taken = server.act(&format!("{path}/actions"), &json!({"type": "snapshot"}));
    let snapshots = server.get(&format!("{path}/snapshots")).expect(200)["snapshots"].take();
    let name = snapshots[0]["name"].as_str().unwrap();
    let (begin, time) = name.rsplit_once('-').unwrap();
    assert!(begin == "New.Name" && time.len() == 13 && time.parse::<u64>().is_ok(), "{name}");
    assert_eq!(snapshots[0]["created_at"], taken["started_at"]);
    assert!(snapshots[0]["id"].is_i64() && snapshots[0]["size_gigabytes"].is_f64());
    assert_eq!(snapshots[0]["min_disk_size"], 3);
    // The same name again is all right.
    server.act(&format!("{path}/actions"), &json!({"type": "snapshot", "name": name}));
    assert_eq!(shown("snapshot_ids").as_array().unwrap().len(), 2);
    let total = server.get(&format!("{path}/actions?per_page=1")).expect(200)["meta"]["total"].clone();
    assert_eq!(total, 1 + 14 + 2, "the creation, and each of these");
    // Seen in all three lists, as text and as numbers.
    let id = &snapshots[0]["id"];
    let listed = server.get("/v2/snapshots?resource_type=droplet").expect(200);
    assert_eq!(listed["snapshots"][0]["id"], id.to_string());
    let listed = server.get("/v2/images?private=true").expect(200)["images"].take();
    let listed: Vec<_> = listed.as_array().unwrap().iter().map(|image| &image["id"]).collect();
    assert!(listed.contains(&id), "{listed:?}");
}

#[test]
fn actions_that_cannot_be_are_refused() {
    let server = Server::with_import();
    let [one, two] = [1, 2].map(|seed| image(&server, &format!("base-{seed}"), seed));
    let web = droplet(&server, "web", one, &json!({}))["id"].clone();
    let db = droplet(&server, "db", two, &json!({"size": "large"}))["id"].clone();
    let path = format!("/v2/droplets/{web}/actions");
    server.act(&format!("/v2/droplets/{db}/actions"), &json!({"type": "snapshot", "name": "of db"}));
    let of_db = server.get(&format!("/v2/droplets/{db}/snapshots")).expect(200)["snapshots"][0]["id"].clone();
    let of_db_path = format!("/v2/droplets/{db}/actions");
    let cases: Vec<(&str, &str, Value, u16, &str)> = [
        (json!({}), 422, "type"),
        (json!({"type": "fly"}), 404, "The specified action type is not available."),
        (json!({"type": "restore"}), 422, "image"),
        (json!({"type": "restore", "image": 999}), 422, "invalid image"),
        (json!({"type": "restore", "image": one}), 422, "neither a backup nor a snapshot of this Droplet"),
        (json!({"type": "restore", "image": of_db}), 422, "disk of 3 GB"),
        (json!({"type": "rebuild"}), 422, "image"),
        (json!({"type": "rebuild", "image": "debian"}), 422, "invalid image"),
        (json!({"type": "rebuild", "image": of_db}), 422, "disk of 3 GB"),
        (json!({"type": "resize"}), 422, "size"),
        (json!({"type": "resize", "size": "huge"}), 422, "invalid size"),
        (json!({"type": "rename"}), 422, "name"),
        (json!({"type": "rename", "name": "a b"}), 422, "hostname"),
        (json!({"type": "snapshot", "name": " a"}), 422, "name"),
        (json!({"type": "change_backup_policy"}), 422, "not enabled"),
        (json!({"type": "enable_backups", "backup_policy": {"plan": "x"}}), 422, "plan"),
    ]
    .map(|(body, status, says)| ("POST", path.as_str(), body, status, says))
    .to_vec();
    holds(&server, &cases);
    let smaller = json!({"type": "resize", "size": "small", "disk": true});
    holds(&server, &[("POST", of_db_path.as_str(), smaller, 422, "smaller disk")]);
    let (bob, text) = (server.token_of("bob"), r#"{"type":"power_off"}"#);
    assert_eq!(server.send("POST", &path, Some(&bob), Some(text)).status, 404);
    for (method, path) in [("GET", "/v2/droplets/"), ("DELETE", "/v2/droplets/")] {
        assert_eq!(server.send(method, &format!("{path}{web}"), Some(&bob), None).status, 404);
    }
    assert_eq!(server.send("GET", "/v2/droplets", Some(&bob), None).expect(200)["meta"]["total"], 0);
    // Another one's action is not one of this Droplet.
    let action = server.get(&of_db_path).expect(200)["actions"][0]["id"].clone();
    holds(&server, &[("GET", format!("{path}/{action}").as_str(), Value::Null, 404, "")]);
}

#[test]
fn lists_are_filtered_and_tagged_droplets_act_together() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    for (name, tags) in [("web-1", json!(["web", "all"])), ("Web-2", json!(["web"])), ("db", json!(["all"]))]
    {
        droplet(&server, name, image, &json!({"tags": tags}));
    }
    for (query, names) in [
        ("", vec!["web-1", "Web-2", "db"]),
        ("?name=WEB-2", vec!["Web-2"]),
        ("?tag_name=WEB", vec!["web-1", "Web-2"]),
        ("?tag_name=nothing", vec![]),
        ("?type=droplets", vec!["web-1", "Web-2", "db"]),
        ("?type=gpus", vec![]),
        ("?per_page=1&page=3", vec!["db"]),
    ] {
        let listed = server.get(&format!("/v2/droplets{query}")).expect(200)["droplets"].take();
        let listed: Vec<_> =
            listed.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(listed, names, "{query}");
    }
    let bulk = server.post("/v2/droplets/actions?tag_name=web", &json!({"type": "power_off"})).expect(201);
    assert_eq!(bulk["actions"].as_array().unwrap().len(), 2);
    let statuses = server.get("/v2/droplets").expect(200)["droplets"].take();
    let statuses: Vec<_> =
        statuses.as_array().unwrap().iter().map(|item| item["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["off", "off", "active"]);
    let resize = json!({"type": "resize", "size": "large"});
    holds(&server, &[("POST", "/v2/droplets/actions?tag_name=web", resize, 422, "several Droplets")]);
    server.delete("/v2/droplets?tag_name=web").expect(204);
    assert_eq!(server.get("/v2/droplets").expect(200)["meta"]["total"], 1);
    server.delete("/v2/droplets?tag_name=web").expect(204);
}

/// Makes backups of snapshots, as those that are made by a plan.
pub(crate) fn make_backups(server: &Server, names: &[&str]) {
    let repo = repository(server, "here");
    let kind = BTreeMap::from([("type".to_owned(), "backup".to_owned())]);
    for snapshot in icecore::snapshot::list(&repo).unwrap() {
        if names.contains(&snapshot.name.as_str()) {
            icecore::snapshot::relabel(&repo, snapshot.id, &kind, &[]).unwrap();
        }
    }
}

#[test]
fn a_deleted_droplet_leaves_snapshots_and_volumes_and_takes_its_backups() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let volumes = ["one", "two"].map(|name| volume(&server, name, &json!({}))["id"].clone());
    let both = json!({"volumes": [volumes[0], {"id": volumes[1], "name": ""}]});
    let id = droplet(&server, "web", image, &both)["id"].clone();
    let path = format!("/v2/droplets/{id}");
    let attached = server.get(&path).expect(200)["droplet"]["volume_ids"].clone();
    assert_eq!(attached.as_array().unwrap().len(), 2);
    for name in ["kept", "converted", "lost"] {
        server.act(&format!("{path}/actions"), &json!({"type": "snapshot", "name": name}));
    }
    // Two of them are backups, as those that are made by a plan.
    make_backups(&server, &["converted", "lost"]);
    let ids = |list: &str| -> BTreeMap<String, i64> {
        let listed = server.get(&format!("{path}/{list}")).expect(200)[list].take();
        let one = |item: &Value| (item["name"].as_str().unwrap().to_owned(), item["id"].as_i64().unwrap());
        listed.as_array().unwrap().iter().map(one).collect()
    };
    let (kept, backups) = (ids("snapshots")["kept"], ids("backups"));
    assert_eq!((ids("snapshots").len(), backups.len()), (1, 2));
    let (converted, lost) = (backups["converted"], backups["lost"]);
    holds(
        &server,
        &[
            (
                "GET",
                format!("/v2/snapshots/{lost}").as_str(),
                Value::Null,
                400,
                "the resource is not a snapshot",
            ),
            (
                "POST",
                format!("/v2/images/{lost}/actions").as_str(),
                json!({"type": "transfer", "region": "there"}),
                422,
                "cannot be transferred",
            ),
            (
                "POST",
                format!("/v2/images/{kept}/actions").as_str(),
                json!({"type": "convert"}),
                422,
                "Only backups",
            ),
        ],
    );
    let done = server.act(&format!("/v2/images/{converted}/actions"), &json!({"type": "convert"}));
    assert_eq!((&done["resource_type"], &done["resource_id"]), (&json!("image"), &json!(converted)));
    assert_eq!(
        server.get(&format!("/v2/snapshots/{converted}")).expect(200)["snapshot"]["name"],
        "converted"
    );
    server.act(&format!("{path}/actions"), &json!({"type": "restore", "image": lost}));
    server.delete(&path).expect(204);
    server.delete(&path).expect(404);
    for (image, status) in [(kept, 200), (converted, 200), (lost, 404)] {
        assert_eq!(server.get(&format!("/v2/images/{image}")).status, status);
    }
    // They still say what they are of.
    let shown = server.get(&format!("/v2/snapshots/{kept}")).expect(200)["snapshot"].take();
    assert_eq!((&shown["resource_id"], &shown["resource_type"]), (&json!(id.to_string()), &json!("droplet")));
    for volume in &volumes {
        let path = format!("/v2/volumes/{}", volume.as_str().unwrap());
        assert_eq!(server.get(&path).expect(200)["volume"]["droplet_ids"], json!([]));
        server.delete(&path).expect(204);
    }
}

#[test]
fn what_the_command_line_makes_is_a_droplet_too() {
    let server = Server::with_import();
    let repo = repository(&server, "here");
    disk(&repo, "by-hand", ResourceKind::Droplet, &[]);
    let listed = server.get("/v2/droplets").expect(200)["droplets"].take();
    let made = &listed[0];
    assert_eq!(
        (&made["name"], &made["size_slug"], &made["disk"]),
        (&json!("by-hand"), &json!("small"), &json!(1))
    );
    assert!(made["image"]["id"].as_i64().unwrap() >= 1, "there is always an image");
    let path = format!("/v2/droplets/{}", made["id"]);
    server.act(&format!("{path}/actions"), &json!({"type": "snapshot", "name": "s"}));
    assert_eq!(server.get(&path).expect(200)["droplet"]["snapshot_ids"].as_array().unwrap().len(), 1);
    // Larger than any size.
    patiently(|| icecore::volume::resize_volume(&repo, "by-hand", 9 << 40));
    assert_eq!(server.get(&path).expect(200)["droplet"]["size"]["disk"], 9 << 10);
}

/// Takes a snapshot of a file without the server, as the command line does.
fn capture(server: &Server, name: &str) -> Uuid {
    let id = Uuid::now_v7();
    let options = CaptureOptions {
        parent: Parent::None,
        ..CaptureOptions::new(SnapshotId(id), 1_764_000_000_000, ResourceKind::Droplet, name, name)
    };
    let file = server.path(name);
    std::fs::write(&file, vec![9; 50_000]).unwrap();
    let image = icecore::image::ImageFile::open(&file).unwrap();
    icecore::snapshot::capture(&repository(server, "here"), &image, &options, &icecore::NoProgress).unwrap();
    id
}

#[test]
fn base_images_are_for_all_accounts_and_changed_by_none() {
    let mut server = Server::with_import();
    let id = capture(&server, "debian");
    server.stop();
    let more =
        format!("[[image]]\nslug = \"debian-13-x64\"\nsnapshot = \"{id}\"\ndistribution = \"Debian\"\n");
    // Another name of the same.
    let more = format!("{more}[[image]]\nslug = \"debian-x64\"\nsnapshot = \"{id}\"\n");
    let server = Server::start_in(server.dir.clone(), &format!("{USUAL}{IMPORT}{more}"));
    let bob = server.token_of("bob");
    let [one, other] = ["debian-13-x64", "debian-x64"]
        .map(|slug| server.get(&format!("/v2/images/{slug}")).expect(200)["image"].take());
    assert_eq!((&one["slug"], &other["slug"]), (&json!("debian-13-x64"), &json!("debian-x64")));
    assert_eq!((&one["id"], &one["distribution"]), (&other["id"], &other["distribution"]));
    assert_eq!(server.get("/v2/images").expect(200)["meta"]["total"], 1, "it is one image");
    let body = json!({"name": "web", "size": "small", "image": "debian-x64"});
    let made = server.post("/v2/droplets", &body).expect(202);
    let path = format!("/v2/droplets/{}", made["droplet"]["id"]);
    assert_eq!(
        server.get(&path).expect(200)["droplet"]["image"]["slug"],
        "debian-x64",
        "as it was asked for"
    );
    let of_bob = |method: &str, path: &str, body: Option<&str>| server.send(method, path, Some(&bob), body);
    for path in ["/v2/images/debian-13-x64", "/v2/images?type=distribution", "/v2/images"] {
        let shown = of_bob("GET", path, None).expect(200);
        let shown = if shown["image"].is_null() { &shown["images"][0] } else { &shown["image"] };
        for (key, value) in [
            ("slug", json!("debian-13-x64")),
            ("public", json!(true)),
            ("type", json!("base")),
            ("distribution", json!("Debian")),
        ] {
            assert_eq!(shown[key], value, "{path}: {key}");
        }
    }
    assert_eq!(of_bob("GET", "/v2/images?private=true", None).expect(200)["meta"]["total"], 0);
    assert_eq!(of_bob("GET", "/v2/images?type=application", None).expect(200)["meta"]["total"], 0);
    assert_eq!(server.get("/v2/snapshots").expect(200)["meta"]["total"], 0, "it is none");
    let number = server.get("/v2/images/debian-13-x64").expect(200)["image"]["id"].clone();
    let path = format!("/v2/images/{number}");
    holds(
        &server,
        &[
            ("DELETE", path.as_str(), Value::Null, 403, ""),
            ("PUT", path.as_str(), json!({"name": "mine"}), 403, ""),
            (
                "POST",
                format!("{path}/actions").as_str(),
                json!({"type": "transfer", "region": "there"}),
                422,
                "",
            ),
            (
                "GET",
                format!("/v2/snapshots/{number}").as_str(),
                Value::Null,
                400,
                "the resource is not a snapshot",
            ),
            (
                "DELETE",
                format!("/v2/snapshots/{number}").as_str(),
                Value::Null,
                400,
                "the resource is not a snapshot",
            ),
        ],
    );
    let body = r#"{"name":"web","size":"small","image":"debian-13-x64"}"#;
    let made = of_bob("POST", "/v2/droplets", Some(body)).expect(202);
    assert_eq!(made["droplet"]["image"]["slug"], "debian-13-x64");
}

#[test]
fn one_action_at_a_time() {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    let id = droplet(&server, "web", base, &json!({"tags": ["web"]}))["id"].clone();
    let path = format!("/v2/droplets/{id}");
    // One that is not done, as another thread of the server would have noted it.
    let disk = icecore::volume::find_volume(&repository(&server, "here"), "web").unwrap().id.0;
    let database = rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap();
    let begin =
        "INSERT INTO action (account, status, type, started_ms, resource_type, resource, resource_id, region)
                 VALUES ('ann', 'in-progress', 'snapshot', 1764000000000, 'droplet', ?, ?, 'here')";
    database.execute(begin, rusqlite::params![disk.as_bytes(), id.as_i64()]).unwrap();
    let pending = "Droplet already has a pending event.";
    let actions = format!("{path}/actions");
    holds(
        &server,
        &[
            ("POST", actions.as_str(), json!({"type": "power_off"}), 422, pending),
            ("POST", actions.as_str(), json!({"type": "rebuild", "image": base}), 422, pending),
            ("DELETE", path.as_str(), Value::Null, 422, pending),
        ],
    );
    let shown = server.get(&path).expect(200)["droplet"].take();
    assert_eq!((&shown["locked"], &shown["status"]), (&json!(true), &json!("active")));
    let bulk = server.post("/v2/droplets/actions?tag_name=web", &json!({"type": "power_off"})).expect(201);
    assert_eq!(bulk["actions"], json!([]), "it is busy");
    database.execute("UPDATE action SET status = 'errored'", []).unwrap();
    server.delete(&path).expect(204);
}

#[test]
fn many_clients_at_once_lose_nothing() {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    let shared = droplet(&server, "shared", base, &json!({}))["id"].clone();
    let of_shared = format!("/v2/droplets/{shared}/actions");
    let bad = std::sync::Mutex::new(Vec::new());
    let taken = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..32 {
            let (server, bad, taken, of_shared) = (&server, &bad, &taken, &of_shared);
            scope.spawn(move || {
                let snapshot = server.post(of_shared, &json!({"type": "snapshot", "name": "same"}));
                match snapshot.status {
                    201 => drop(taken.fetch_add(1, std::sync::atomic::Ordering::SeqCst)),
                    422 if snapshot.text.contains("pending event") => {}
                    _ => bad.lock().unwrap().push(snapshot),
                }
                let own = droplet(server, &format!("web-{number}"), base, &json!({}))["id"].clone();
                let path = format!("/v2/droplets/{own}");
                server.act(&format!("{path}/actions"), &json!({"type": "snapshot", "name": "own"}));
                server.act(&format!("{path}/actions"), &json!({"type": "rebuild", "image": base}));
                if number % 2 == 0 {
                    server.delete(&path).expect(204);
                }
            });
        }
    });
    assert!(bad.lock().unwrap().is_empty(), "{bad:?}");
    let done =
        |all: &Value| all["actions"].as_array().unwrap().iter().all(|it| it["status"] != "in-progress");
    let all = server.until("/v2/actions?per_page=200", done);
    assert!(all["actions"].as_array().unwrap().iter().all(|it| it["status"] == "completed"), "{all}");
    assert_eq!(server.get("/v2/droplets?per_page=200").expect(200)["meta"]["total"], 1 + 16);
    let snapshots = server.get("/v2/snapshots?per_page=200").expect(200)["meta"]["total"].as_u64().unwrap();
    let taken = u64::try_from(taken.into_inner()).unwrap();
    assert!(taken >= 1 && snapshots == 32 + taken, "{snapshots}, {taken}");
}

#[test]
fn the_limit_of_droplets_is_kept_when_many_ask_at_once() {
    let dir = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    std::fs::create_dir(dir.path().join("import")).unwrap();
    let server = Server::start_in(dir, &format!("{USUAL}{IMPORT}[limits]\ndroplets = 3\n"));
    let image = image(&server, "base", 1);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..12)
            .map(|number| {
                let body = json!({"name": format!("web-{number}"), "size": "small", "image": image});
                let server = &server;
                scope.spawn(move || server.post("/v2/droplets", &body).status)
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 9, "{statuses:?}");
}

#[test]
fn all_of_a_tag_are_snapshotted_at_once_and_none_is_left_out() {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    for number in 0..8 {
        droplet(&server, &format!("web-{number}"), base, &json!({"tags": ["web"]}));
    }
    let snapshot = json!({"type": "snapshot", "name": "s"});
    let begun = server.post("/v2/droplets/actions?tag_name=web", &snapshot).expect(201)["actions"].take();
    assert_eq!(begun.as_array().unwrap().len(), 8);
    for action in begun.as_array().unwrap() {
        assert_eq!(server.until_done(action)["status"], "completed");
    }
    assert_eq!(server.get("/v2/snapshots").expect(200)["meta"]["total"], 8);
}

#[test]
fn clients_that_act_on_a_tag_at_once_do_not_stop_each_other() {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    for number in 0..8 {
        droplet(&server, &format!("web-{number}"), base, &json!({"tags": ["web"]}));
    }
    let path = "/v2/droplets/actions?tag_name=web";
    let at_once = |what: &(dyn Fn() -> u16 + Sync)| -> Vec<u16> {
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..8).map(|_| scope.spawn(what)).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        })
    };
    let off = at_once(&|| server.post(path, &json!({"type": "power_off"})).status);
    assert_eq!(off, [201; 8]);
    let shown = server.get("/v2/droplets").expect(200)["droplets"].take();
    assert!(shown.as_array().unwrap().iter().all(|droplet| droplet["status"] == "off"), "{shown}");
}
