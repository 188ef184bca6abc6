//! What a request sets is in every later answer. Terraform compares both, and destroys and makes
//! anew what came back otherwise.

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::contract::id;
use crate::contract::volume;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::support::IMPORT;
use crate::support::Server;
use crate::support::USUAL;

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
    assert_eq!(listed, Some(&one), "the list shows something else");
    one
}

/// Arguments of a Droplet: what the request has, and what every later answer must have.
fn arguments(volume: &Value, vpc: &Value) -> Vec<(Value, Vec<(&'static str, Value)>)> {
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
    let mut made = Vec::new();
    for (n, (more, expected)) in arguments(&data, &vpc).into_iter().enumerate() {
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
    let weekly = json!({"plan": "weekly", "weekday": "SUN", "hour": 0});
    let daily = json!({"plan": "daily", "weekday": null, "hour": 8});
    let features = |all: &[&str]| json!(all);
    for (body, changes) in [
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
                ("next_backup_window", Value::Null),
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
    ] {
        let done = server.act(&path, &body);
        assert_eq!((&done["type"], &done["resource_id"]), (&body["type"], &made["id"]), "{done}");
        let after = shown(&server, &made);
        for (key, value) in &changes {
            assert_eq!(after[key], *value, "{key} after {body}");
            before[key] = value.clone();
        }
        // What follows from these: the networks, the size and the next backup.
        for key in ["networks", "size", "next_backup_window", "image"] {
            before[key] = after[key].clone();
        }
        assert_eq!(after, before, "{body}");
    }
    let after = shown(&server, &made);
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
