//! What a request sets is in every later answer. Terraform compares both, and destroys and makes
//! anew what came back otherwise.

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::contract::id;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::droplets::image_file;
use crate::ssh_keys::KEY;
use crate::support::IMPORT;
use crate::support::Server;
use crate::support::USUAL;
use crate::tools;

/// Returns what Terraform's provider reads from a Droplet's networks: the public and the private
/// address, and the public one of version 6.
fn addresses(droplet: &Value) -> [Option<String>; 3] {
    let first = |version: &str, kind: &str| {
        let all = droplet["networks"][version].as_array().unwrap();
        let found = all.iter().find(|network| network["type"] == kind)?;
        Some(found["ip_address"].as_str().unwrap().to_owned())
    };
    [first("v4", "public"), first("v4", "private"), first("v6", "public")]
}

fn shown(server: &Server, droplet: &Value) -> Value {
    let one = server.get(&format!("/v2/droplets/{}", droplet["id"])).expect(200)["droplet"].take();
    let all = server.get("/v2/droplets?per_page=200").expect(200);
    let listed = all["droplets"].as_array().unwrap().iter().find(|other| other["id"] == one["id"]);
    let (mut one, mut listed) = (one, listed.unwrap().clone());
    // A window for backups may begin in between.
    let windows = [&mut one, &mut listed].map(|shown| shown["next_backup_window"].take());
    assert_eq!(windows[0].is_null(), windows[1].is_null());
    assert_eq!(listed, one, "the list shows something else");
    one
}

/// Arguments of a Droplet: what the request has, and what every later answer must have.
fn arguments(volume: &Value, vpc: &Value, key: &Value) -> Vec<(Value, Vec<(&'static str, Value)>)> {
    let none: [&str; 0] = [];
    vec![
        (
            json!({}),
            vec![
                ("features", json!(none)),
                ("tags", json!(none)),
                ("volume_ids", json!(none)),
                ("ssh_keys", json!(none)),
                ("user_data", Value::Null),
                ("with_droplet_agent", Value::Null),
                ("vpc_uuid", vpc.clone()),
            ],
        ),
        (json!({"monitoring": true}), vec![("features", json!(["monitoring"]))]),
        (json!({"ipv6": true}), vec![("features", json!(["ipv6"]))]),
        (json!({"private_networking": true}), vec![("features", json!(["private_networking"]))]),
        (
            json!({"backups": true}),
            vec![
                ("features", json!(["backups"])),
                ("backup_policy", json!({"plan": "weekly", "weekday": "SUN", "hour": 0})),
            ],
        ),
        (
            json!({"backups": true, "backup_policy": {"plan": "daily", "hour": 20}}),
            vec![("backup_policy", json!({"plan": "daily", "weekday": null, "hour": 20}))],
        ),
        (
            json!({"backups": true, "backup_policy": {"plan": "daily", "weekday": "TUE", "hour": 4}}),
            vec![("backup_policy", json!({"plan": "daily", "weekday": "TUE", "hour": 4}))],
        ),
        (
            json!({"backups": true, "backup_policy": {"plan": "weekly", "weekday": "MON", "hour": 4}}),
            vec![("backup_policy", json!({"plan": "weekly", "weekday": "MON", "hour": 4}))],
        ),
        (
            json!({"monitoring": true, "ipv6": true, "private_networking": true, "backups": true}),
            vec![("features", json!(["monitoring", "backups", "ipv6", "private_networking"]))],
        ),
        (
            json!({"monitoring": false, "ipv6": false, "private_networking": false, "backups": false}),
            vec![("features", json!(none))],
        ),
        (json!({"public_networking": false}), vec![("features", json!(none))]),
        (json!({"public_networking": true}), vec![("features", json!(none))]),
        (json!({"vpc_uuid": vpc}), vec![("vpc_uuid", vpc.clone())]),
        (json!({"vpc_uuid": ""}), vec![("vpc_uuid", vpc.clone())]),
        (json!({"user_data": "#cloud-config\n\u{e4}"}), vec![("user_data", json!("#cloud-config\n\u{e4}"))]),
        (json!({"user_data": "x".repeat(65_536)}), vec![("user_data", json!("x".repeat(65_536)))]),
        (json!({"ssh_keys": [key["id"]]}), vec![("ssh_keys", json!([key["id"]]))]),
        (json!({"ssh_keys": [key["fingerprint"]]}), vec![("ssh_keys", json!([key["fingerprint"]]))]),
        (json!({"with_droplet_agent": false}), vec![("with_droplet_agent", json!(false))]),
        (json!({"with_droplet_agent": true}), vec![("with_droplet_agent", json!(true))]),
        (json!({"tags": ["b", "a"]}), vec![("tags", json!(["a", "b"]))]),
        (
            json!({"size": "large"}),
            vec![("size_slug", json!("large")), ("disk", json!(3)), ("vcpus", json!(2))],
        ),
        (json!({"volumes": [{"id": volume["id"]}]}), vec![("volume_ids", json!([volume["id"]]))]),
    ]
}

#[test]
fn what_a_droplet_was_made_with_is_in_every_later_answer() {
    let mut server = Server::with_import();
    let image = image(&server, "base", 1);
    let vpc = droplet(&server, "first", image, &json!({}))["vpc_uuid"].clone();
    assert!(vpc.as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{vpc}");
    let data = volume(&server, "data", &json!({}));
    let key =
        server.post("/v2/account/keys", &json!({"name": "ann", "public_key": KEY})).expect(201)["ssh_key"]
            .take();
    let mut made = Vec::new();
    for (n, (more, expected)) in arguments(&data, &vpc, &key).into_iter().enumerate() {
        let name = format!("web-{n}");
        let answer = droplet(&server, &name, image, &more);
        let later = shown(&server, &answer);
        for (key, value) in &expected {
            assert_eq!((&answer[key], &later[key]), (value, value), "{key} of {more}");
        }
        let [public, private, v6] = addresses(&later);
        assert_eq!(public.is_some(), more["public_networking"] != false, "{more}: {later}");
        assert!(private.is_some(), "{more}: {later}");
        assert_eq!(v6.is_some(), more["ipv6"] == true, "{more}: {later}");
        made.push(later);
    }
    // So does the next server.
    server.stop();
    let server = Server::start_in(server.dir.clone(), &format!("{USUAL}{IMPORT}"));
    for later in &made {
        assert_eq!(shown(&server, later), *later);
    }
    // No two Droplets have an address in common.
    let mut all: Vec<String> = made.iter().flat_map(addresses).flatten().collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn what_a_droplet_cannot_be_made_with_is_refused_by_name() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let mut cases = Vec::new();
    for (more, says) in [
        (json!({"vpc_uuid": "nothing"}), "vpc_uuid"),
        (json!({"vpc_uuid": uuid::Uuid::nil().to_string()}), "vpc_uuid"),
        (json!({"public_networking": false, "ipv6": true}), "ipv6"),
        (json!({"user_data": "x".repeat(65_537)}), "user_data"),
        (json!({"gpu_partition_mode": "PARTITION_MODE_SPX_NPS1"}), "gpu_partition_mode"),
        (json!({"ssh_keys": [999]}), "999"),
        (json!({"backups": true, "backup_policy": {"plan": "hourly"}}), "backup_policy.plan"),
        (json!({"backups": true, "backup_policy": {"weekday": "SOMEDAY"}}), "backup_policy.weekday"),
        (
            json!({"backups": true, "backup_policy": {"plan": "daily", "weekday": "SOMEDAY"}}),
            "backup_policy.weekday",
        ),
        (json!({"backups": true, "backup_policy": {"hour": 3}}), "backup_policy.hour"),
        (json!({"monitoring": "perhaps"}), "monitoring"),
        (json!({"volumes": [{}]}), "volumes"),
        (json!({"volumes": [{"name": "nothing"}]}), "volumes"),
    ] {
        let mut body = json!({"name": "web", "region": "here", "size": "small", "image": image});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        cases.push(("POST", "/v2/droplets", body, 422, says));
    }
    holds(&server, &cases);
    assert_eq!(server.get("/v2/droplets").expect(200)["droplets"], json!([]));
    // A VPC of another account or region is none.
    let droplet = droplet(&server, "web", image, &json!({}));
    let body = json!({"name": "other", "region": "here", "size": "small", "image": image, "vpc_uuid": droplet["vpc_uuid"]});
    let bob = server.token_of("bob");
    let answer = server.send("POST", "/v2/droplets", Some(&bob), Some(&body.to_string()));
    assert_eq!(answer.status, 422, "{}", answer.text);
}

/// Actions on a Droplet with monitoring and weekly backups, one after another, and what each changes.
fn updates(snapshot: &Value, image: i64) -> Vec<(Value, Vec<(&'static str, Value)>)> {
    let weekly = json!({"plan": "weekly", "weekday": "SUN", "hour": 0});
    let daily = json!({"plan": "daily", "weekday": null, "hour": 8});
    let features = |all: &[&str]| json!(all);
    vec![
        (json!({"type": "enable_ipv6"}), vec![("features", features(&["monitoring", "backups", "ipv6"]))]),
        (json!({"type": "enable_ipv6"}), vec![]),
        (
            json!({"type": "enable_private_networking"}),
            vec![("features", features(&["monitoring", "backups", "ipv6", "private_networking"]))],
        ),
        (
            json!({"type": "disable_monitoring"}),
            vec![("features", features(&["backups", "ipv6", "private_networking"]))],
        ),
        (
            json!({"type": "enable_monitoring"}),
            vec![("features", features(&["monitoring", "backups", "ipv6", "private_networking"]))],
        ),
        (json!({"type": "password_reset"}), vec![]),
        (json!({"type": "power_off"}), vec![("status", json!("off"))]),
        (
            json!({"type": "resize", "size": "large", "disk": false}),
            vec![("size_slug", json!("large")), ("vcpus", json!(2)), ("memory", json!(1024))],
        ),
        (json!({"type": "resize", "size": "large", "disk": true}), vec![("disk", json!(3))]),
        (json!({"type": "power_on"}), vec![("status", json!("active"))]),
        (json!({"type": "reboot"}), vec![]),
        (json!({"type": "power_cycle"}), vec![]),
        (json!({"type": "rename", "name": "other"}), vec![("name", json!("other"))]),
        (json!({"type": "restore", "image": snapshot}), vec![]),
        (json!({"type": "rebuild", "image": image}), vec![]),
        (
            json!({"type": "change_backup_policy", "backup_policy": {"plan": "daily", "hour": 8}}),
            vec![("backup_policy", daily)],
        ),
        (
            json!({"type": "disable_backups"}),
            vec![
                ("backup_policy", Value::Null),
                ("features", features(&["monitoring", "ipv6", "private_networking"])),
            ],
        ),
        (
            json!({"type": "enable_backups"}),
            vec![
                ("backup_policy", weekly),
                ("features", features(&["monitoring", "backups", "ipv6", "private_networking"])),
            ],
        ),
        (json!({"type": "shutdown"}), vec![("status", json!("off"))]),
    ]
}

#[test]
fn actions_change_what_they_say_and_nothing_else() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let vpc = droplet(&server, "first", image, &json!({}))["vpc_uuid"].clone();
    let more = json!({
        "monitoring": true, "vpc_uuid": vpc, "user_data": "data", "tags": ["a"], "backups": true,
    });
    let made = droplet(&server, "web", image, &more);
    let path = format!("/v2/droplets/{}/actions", made["id"]);
    let taken = server.act(&path, &json!({"type": "snapshot", "name": "s"}));
    assert_eq!(taken["resource_id"], made["id"]);
    let mut before = shown(&server, &made);
    let snapshot = before["snapshot_ids"][0].clone();
    for (body, changes) in updates(&snapshot, image) {
        let done = server.act(&path, &body);
        assert_eq!((&done["type"], &done["resource_id"]), (&body["type"], &made["id"]), "{done}");
        let after = shown(&server, &made);
        for (key, value) in &changes {
            assert_eq!(after[key], *value, "{key} after {body}");
            before[key] = value.clone();
        }
        // What follows from these.
        for key in ["networks", "size", "image"] {
            before[key] = after[key].clone();
        }
        assert_eq!(after, before, "{body}");
    }
    let new = crate::droplets::image(&server, "new", 2);
    server.act(&path, &json!({"type": "rebuild", "image": new}));
    let after = shown(&server, &made);
    assert_eq!(after["image"]["id"], new, "the image of the last rebuild");
    assert!(addresses(&after).iter().all(Option::is_some), "{after}");
    assert_eq!(addresses(&after)[..2], addresses(&made)[..2], "addresses stay");
    holds(
        &server,
        &[
            ("POST", &path, json!({"type": "change_kernel"}), 422, "kernel"),
            ("POST", &path, json!({"type": "change_kernel", "kernel": 12_389_723}), 422, "kernel 12389723"),
        ],
    );
    let private = droplet(&server, "private", image, &json!({"public_networking": false}));
    let path = format!("/v2/droplets/{}/actions", private["id"]);
    holds(&server, &[("POST", &path, json!({"type": "enable_ipv6"}), 422, "ipv6")]);
}

#[test]
fn actions_on_tagged_droplets_change_each_of_them() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let both = ["a", "b"].map(|name| droplet(&server, name, image, &json!({"tags": ["web"]})));
    let other = droplet(&server, "c", image, &json!({}));
    let path = "/v2/droplets/actions?tag_name=web";
    for kind in ["enable_ipv6", "enable_private_networking"] {
        let begun = server.post(path, &json!({"type": kind})).expect(201);
        assert_eq!(begun["actions"].as_array().unwrap().len(), 2, "{begun}");
        begun["actions"].as_array().unwrap().iter().for_each(|action| drop(server.until_done(action)));
    }
    for droplet in &both {
        assert_eq!(shown(&server, droplet)["features"], json!(["ipv6", "private_networking"]));
    }
    assert_eq!(shown(&server, &other)["features"], json!([]));
    for kind in ["password_reset", "change_kernel", "enable_monitoring"] {
        holds(&server, &[("POST", path, json!({"type": kind, "kernel": 1}), 422, kind)]);
    }
}

#[test]
fn a_deleted_droplet_leaves_nothing_of_its_first_start() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let made = droplet(&server, "web", image, &json!({"user_data": "secret"}));
    assert_eq!(server.delete(&format!("/v2/droplets/{}", id(&made))).status, 204);
    let database = rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap();
    let kept: i64 = database.query_row("SELECT count(*) FROM first_boot", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
}

/// Checks what a resource shows, alone and in its list, and returns it.
#[track_caller]
fn shows(server: &Server, path: &str, one: &str, list: &str, expected: &[(&str, Value)]) -> Value {
    let shown = server.get(path).expect(200)[one].take();
    for (key, value) in expected {
        assert_eq!(shown[key], *value, "{key} of {path}");
    }
    let parent = path.rsplit_once('/').unwrap().0.replace("/volumes/snapshots", "/snapshots");
    let all = server.get(&format!("{parent}?per_page=200")).expect(200);
    let identity = if shown["id"].is_null() { "name" } else { "id" };
    let found = all[list].as_array().unwrap().iter().find(|other| other[identity] == shown[identity]);
    assert_eq!(found, Some(&shown), "the list shows something else");
    shown
}

#[test]
fn what_a_volume_was_made_with_is_in_every_later_answer() {
    let server = Server::with_import();
    let mut arguments = vec![
        json!({"size_gigabytes": 7}),
        json!({"region": "there"}),
        json!({"description": "for a test\nof two lines"}),
        json!({"tags": ["a", "b"]}),
    ];
    if tools::have(&["mkfs.ext4", "mkfs.xfs"]) {
        arguments.push(json!({"filesystem_type": "ext4", "filesystem_label": "a-label"}));
        arguments.push(json!({"filesystem_type": "xfs"}));
    }
    for (n, more) in arguments.into_iter().enumerate() {
        let mut expected = json!({
            "name": format!("v{n}"), "size_gigabytes": 1, "description": "", "tags": [], "droplet_ids": [],
            "filesystem_type": "", "filesystem_label": "",
        });
        let made = volume(&server, &format!("v{n}"), &more);
        expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let region = expected.as_object_mut().unwrap().remove("region").unwrap_or(json!("here"));
        let expected: Vec<_> = expected.as_object().unwrap().iter().collect();
        let expected: Vec<_> = expected.iter().map(|(key, value)| (key.as_str(), (*value).clone())).collect();
        let shown = shows(&server, &format!("/v2/volumes/{}", id(&made)), "volume", "volumes", &expected);
        assert_eq!((&shown, &shown["region"]["slug"]), (&made, &region));
        // So has its snapshot, and the volume of that.
        let taken = snapshot(&server, &made, "s");
        let copy = json!({"snapshot_id": taken["id"], "region": region, "size_gigabytes": 1,
            "filesystem_type": shown["filesystem_type"], "filesystem_label": shown["filesystem_label"]});
        let copy = volume(&server, &format!("copy-{n}"), &copy);
        for key in ["size_gigabytes", "filesystem_type", "filesystem_label"] {
            assert_eq!(copy[key], shown[key], "{key} of {more}");
        }
    }
}

#[test]
fn updates_of_volumes_and_their_snapshots_change_what_they_say_and_nothing_else() {
    let server = Server::with_import();
    let image = image(&server, "base", 1);
    let web = droplet(&server, "web", image, &json!({}))["id"].clone();
    let more = json!({"description": "data", "tags": ["a"]});
    let mut before = volume(&server, "data", &more);
    let path = format!("/v2/volumes/{}", id(&before));
    let tag = |method: &str, tag: &str, kind: &str, id: &str| {
        let body = json!({"resources": [{"resource_id": id, "resource_type": kind}]});
        server.post("/v2/tags", &json!({"name": tag})).expect(201);
        server.ask(method, &format!("/v2/tags/{tag}/resources"), Some(&body)).expect(204);
    };
    let act = |body: &Value| server.post(&format!("{path}/actions"), body).expect(202);
    let volume_id = id(&before);
    let steps: [(&dyn Fn(), &str, Value); 5] = [
        (&|| drop(act(&json!({"type": "attach", "droplet_id": web}))), "droplet_ids", json!([web])),
        (
            &|| drop(act(&json!({"type": "resize", "size_gigabytes": 3, "region": "here"}))),
            "size_gigabytes",
            json!(3),
        ),
        (&|| drop(act(&json!({"type": "detach", "droplet_id": web}))), "droplet_ids", json!([])),
        (&|| tag("POST", "b", "volume", &volume_id), "tags", json!(["a", "b"])),
        (&|| tag("DELETE", "a", "volume", &volume_id), "tags", json!(["b"])),
    ];
    for (step, key, value) in steps {
        step();
        before[key] = value.clone();
        let after = shows(&server, &path, "volume", "volumes", &[(key, value)]);
        assert_eq!(after, before);
    }
    // A snapshot of it.
    let body = json!({"name": "s", "tags": ["x"]});
    let mut before = server.post(&format!("{path}/snapshots"), &body).expect(201)["snapshot"].take();
    let expected = [
        ("name", json!("s")),
        ("tags", json!(["x"])),
        ("resource_id", json!(volume_id)),
        ("resource_type", json!("volume")),
        ("regions", json!(["here"])),
        ("min_disk_size", json!(3)),
    ];
    let paths = ["snapshots", "volumes/snapshots"].map(|of| format!("/v2/{of}/{}", id(&before)));
    for path in &paths {
        assert_eq!(shows(&server, path, "snapshot", "snapshots", &expected), before);
    }
    let snapshot_id = id(&before);
    for (method, name, tags) in [("POST", "y", json!(["x", "y"])), ("DELETE", "x", json!(["y"]))] {
        tag(method, name, "volume_snapshot", &snapshot_id);
        before["tags"] = tags;
        for path in &paths {
            assert_eq!(shows(&server, path, "snapshot", "snapshots", &[]), before);
        }
    }
}

#[test]
fn what_an_image_or_a_droplet_snapshot_was_made_with_is_in_every_later_answer() {
    let server = Server::with_import();
    for (n, (more, expected)) in [
        (json!({}), vec![("distribution", json!("")), ("description", json!("")), ("tags", json!([]))]),
        (json!({"distribution": "Unknown"}), vec![("distribution", json!("Unknown"))]),
        (json!({"description": "for a test"}), vec![("description", json!("for a test"))]),
        (json!({"tags": ["b", "a"]}), vec![("tags", json!(["a", "b"]))]),
        (json!({"region": "there"}), vec![("regions", json!(["there"]))]),
    ]
    .into_iter()
    .enumerate()
    {
        let url = image_file(&server, &format!("{n}.raw"), 1);
        let mut body = json!({"name": format!("image {n}"), "url": url, "region": "here"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = server.post("/v2/images", &body).expect(202)["image"].take();
        let number = made["id"].as_i64().unwrap();
        server.until_image(number, "available");
        let path = format!("/v2/images/{number}");
        let shown = shows(&server, &path, "image", "images", &expected);
        for (key, value) in
            [("name", json!(format!("image {n}"))), ("type", json!("custom")), ("public", json!(false))]
        {
            assert_eq!((&shown[key], &made[key]), (&value, &value), "{key} of {more}");
        }
        // Each update changes what it says.
        let mut before = shown;
        for (key, value) in [("name", "new name"), ("distribution", "Debian"), ("description", "new text")] {
            server.ask("PUT", &path, Some(&json!({key: value}))).expect(200);
            before[key] = json!(value);
            assert_eq!(shows(&server, &path, "image", "images", &[]), before);
        }
        let target = if more["region"] == "there" { "here" } else { "there" };
        server.act(&format!("{path}/actions"), &json!({"type": "transfer", "region": target}));
        before["regions"] = json!(["here", "there"]);
        assert_eq!(shows(&server, &path, "image", "images", &[]), before);
    }
    // A snapshot of a Droplet is found by the time of its action, as a snapshot and as an image.
    let image = image(&server, "base", 1);
    let web = droplet(&server, "web", image, &json!({}));
    let actions = format!("/v2/droplets/{}/actions", web["id"]);
    let action = server.act(&actions, &json!({"type": "snapshot", "name": "Before, 2 pm"}));
    let shown = server.get(&format!("/v2/droplets/{}", web["id"])).expect(200)["droplet"].take();
    let number = &shown["snapshot_ids"][0];
    for (path, one, list, expected) in [
        (
            "snapshots",
            "snapshot",
            "snapshots",
            [("id", json!(number.to_string())), ("resource_id", json!(id(&web)))],
        ),
        ("images", "image", "images", [("id", number.clone()), ("type", json!("snapshot"))]),
    ] {
        let shown = shows(&server, &format!("/v2/{path}/{number}"), one, list, &expected);
        for (key, value) in [
            ("name", json!("Before, 2 pm")),
            ("created_at", action["started_at"].clone()),
            ("regions", json!(["here"])),
            ("min_disk_size", json!(1)),
        ] {
            assert_eq!(shown[key], value, "{key} of {path}");
        }
    }
}

#[test]
fn a_tag_is_called_as_it_was_made() {
    let server = Server::start();
    server.post("/v2/tags", &json!({"name": "Web:1_a-b"})).expect(201);
    let shown = shows(&server, "/v2/tags/Web:1_a-b", "tag", "tags", &[("name", json!("Web:1_a-b"))]);
    assert_eq!(shown["resources"]["count"], 0);
}

#[test]
fn sizes_have_prices_and_droplets_show_them() {
    let own = "[[size]]\nslug = \"s-1vcpu-1gb\"\ndisk = 25\n\n[[size]]\nslug = \"own\"\ndisk = 2\nprice_monthly = 3.5\nprice_hourly = 0.25\n";
    let dir = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    std::fs::create_dir(dir.path().join("import")).unwrap();
    let server = Server::start_in(dir, &format!("{USUAL}{IMPORT}{own}"));
    let sizes = server.get("/v2/sizes").expect(200)["sizes"].take();
    let image = image(&server, "base", 1);
    for (slug, monthly, hourly) in [("s-1vcpu-1gb", 6.0, 0.00893), ("own", 3.5, 0.25), ("small", 0.0, 0.0)] {
        let size = sizes.as_array().unwrap().iter().find(|size| size["slug"] == slug).unwrap();
        assert_eq!(
            (&size["price_monthly"], &size["price_hourly"]),
            (&json!(monthly), &json!(hourly)),
            "{slug}"
        );
        assert_eq!(&droplet(&server, "web", image, &json!({"size": slug}))["size"], size);
    }
}
