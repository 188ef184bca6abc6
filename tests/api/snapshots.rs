//! Snapshots: of volumes, and all there are, as the contract says.

use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeSnapshotOptions;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use crate::contract::all_pages;
use crate::contract::disk;
use crate::contract::holds;
use crate::contract::id;
use crate::contract::open;
use crate::contract::repository;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::panel::Browser;
use crate::support::Server;

/// An id that nothing has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Takes a snapshot of a disk of the engine without the server, as the command line does.
fn beside_the_server(server: &Server, disk: &str, name: &str, labels: &[(&str, &str)]) -> Uuid {
    let volume = open(server, "here", disk);
    let options = VolumeSnapshotOptions {
        name_may_repeat: true,
        tags: vec!["cli".to_owned()],
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..VolumeSnapshotOptions::new(SnapshotId(Uuid::now_v7()), 4_000_000_000_000, name)
    };
    icecore::volume::snapshot_volume(&volume, &options, &icecore::NoProgress).unwrap().snapshot.id.0
}

#[test]
fn a_snapshot_of_a_volume_has_the_fields_that_clients_read() {
    let server = Server::start();
    let made = volume(&server, "data", &json!({"size_gigabytes": 3}));
    // As godo sends it.
    let body =
        json!({"volume_id": id(&made), "name": "Before the upgrade", "description": "", "tags": ["k8s"]});
    let taken = server.post(&format!("/v2/volumes/{}/snapshots", id(&made)), &body).expect(201);
    let taken = &taken["snapshot"];
    for (key, value) in [
        ("name", json!("Before the upgrade")),
        ("regions", json!(["here"])),
        ("resource_id", made["id"].clone()),
        ("resource_type", json!("volume")),
        ("min_disk_size", json!(3)),
        ("tags", json!(["k8s"])),
    ] {
        assert_eq!(taken[key], value, "{key}");
    }
    assert!(taken["min_disk_size"].is_u64() && taken["size_gigabytes"].is_number());
    assert!(taken["id"].as_str().unwrap().parse::<Uuid>().is_ok());
    assert!(taken["created_at"].as_str().unwrap().ends_with('Z'));
    let upper = taken["id"].as_str().unwrap().to_uppercase();
    for path in [
        format!("/v2/snapshots/{}", id(taken)),
        format!("/v2/snapshots/{upper}"),
        format!("/v2/volumes/snapshots/{}", id(taken)),
    ] {
        assert_eq!(server.get(&path).expect(200)["snapshot"], *taken, "{path}");
    }
    for path in [
        format!("/v2/volumes/{}/snapshots", id(&made)),
        "/v2/snapshots".to_owned(),
        "/v2/snapshots?resource_type=volume&region=here".to_owned(),
    ] {
        let list = server.get(&path).expect(200);
        assert_eq!((&list["snapshots"], &list["meta"]["total"]), (&json!([taken]), &json!(1)), "{path}");
    }
}

#[test]
fn names_of_snapshots_are_unique_in_their_volume_only() {
    let server = Server::start();
    let [one, two] = ["one", "two"].map(|name| volume(&server, name, &json!({})));
    let path = |volume: &Value| format!("/v2/volumes/{}/snapshots", id(volume));
    let named = |name: &str| json!({"name": name});
    let first = snapshot(&server, &one, "same");
    holds(
        &server,
        &[
            ("POST", &path(&one), named("same"), 409, "already exists"),
            ("POST", &path(&two), named("same"), 201, ""),
            ("POST", &path(&one), named(""), 422, "name"),
            ("POST", &path(&one), json!({}), 422, "name"),
            ("POST", &path(&one), named(" x"), 422, "name"),
            ("POST", &path(&one), named("a\u{202e}b"), 422, "name"),
            ("POST", &path(&one), named(&"x".repeat(256)), 422, "name"),
            ("POST", &path(&one), json!({"name": "x", "tags": ["a b"]}), 422, "tag name"),
            ("POST", &path(&one), json!({"name": 1}), 422, ""),
            ("POST", &format!("/v2/volumes/{NOBODY}/snapshots"), named("x"), 404, "could not be found"),
            ("GET", &format!("/v2/volumes/{NOBODY}/snapshots"), Value::Null, 404, "could not be found"),
        ],
    );
    // A new volume of a name that another one had is another one.
    server.delete(&format!("/v2/volumes/{}", id(&one))).expect(204);
    let again = volume(&server, "one", &json!({}));
    assert_eq!(server.get(&path(&again)).expect(200)["snapshots"], json!([]));
    holds(
        &server,
        &[
            ("GET", &path(&one), Value::Null, 404, "could not be found"),
            ("POST", &path(&again), named("same"), 201, ""),
        ],
    );
    let kept = server.get(&format!("/v2/snapshots/{}", id(&first))).expect(200);
    assert_eq!(kept["snapshot"]["resource_id"], one["id"], "it still says what it was taken of");
    assert_eq!(server.get("/v2/snapshots").expect(200)["meta"]["total"], 3);
}

#[test]
fn snapshots_are_deleted_once_under_either_path() {
    let server = Server::start();
    let made = volume(&server, "data", &json!({}));
    for (number, at) in ["/v2/snapshots", "/v2/volumes/snapshots"].into_iter().enumerate() {
        let taken = snapshot(&server, &made, &format!("s{number}"));
        let path = format!("{at}/{}", id(&taken));
        holds(
            &server,
            &[
                ("DELETE", &path, Value::Null, 204, ""),
                ("DELETE", &path, Value::Null, 404, "could not be found"),
                ("GET", &path, Value::Null, 404, "could not be found"),
                ("GET", &format!("{at}/abc"), Value::Null, 404, "could not be found"),
                ("GET", &format!("{at}/{NOBODY}"), Value::Null, 404, "could not be found"),
                ("GET", &format!("{at}/{}", id(&made)), Value::Null, 404, "could not be found"),
            ],
        );
    }
    assert_eq!(server.get("/v2/snapshots").expect(200)["snapshots"], json!([]));
    holds(&server, &[("GET", "/v2/snapshots?resource_type=image", Value::Null, 422, "droplet or volume")]);
}

#[test]
fn images_that_are_no_snapshots_are_told_apart() {
    let server = Server::start();
    let droplet = disk(
        &repository(&server, "here"),
        "web",
        ResourceKind::Droplet,
        &[("account", "ann"), ("number", "70")],
    );
    let resource = droplet.id.to_string();
    let of = |number: &str, kind: &str| {
        let labels = [
            ("account", "ann"),
            ("number", number),
            ("type", kind),
            ("resource", &resource),
            ("resource-number", "70"),
        ];
        beside_the_server(&server, "web", "image", &labels);
    };
    of("71", "snapshot");
    of("72", "backup");
    of("73", "custom");
    of("74", "base");
    let taken = snapshot(&server, &volume(&server, "data", &json!({})), "s");
    let list = |query: &str| {
        let body = server.get(&format!("/v2/snapshots{query}")).expect(200);
        body["snapshots"].as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(list("?resource_type=droplet"), ["71"]);
    assert_eq!(list("?resource_type=volume"), [id(&taken)]);
    assert_eq!(list("?region=there"), Vec::<String>::new());
    assert_eq!(list("").len(), 2);
    let image = server.get("/v2/snapshots/71").expect(200)["snapshot"].take();
    assert_eq!(
        (&image["id"], &image["resource_id"], &image["resource_type"]),
        (&json!("71"), &json!("70"), &json!("droplet"))
    );
    for number in [72, 73, 74] {
        for method in ["GET", "DELETE"] {
            let path = format!("/v2/snapshots/{number}");
            holds(&server, &[(method, &path, Value::Null, 400, "the resource is not a snapshot")]);
        }
    }
    holds(
        &server,
        &[
            ("GET", "/v2/volumes/snapshots/71", Value::Null, 404, "could not be found"),
            ("DELETE", "/v2/volumes/snapshots/71", Value::Null, 404, "could not be found"),
            ("POST", "/v2/volumes", json!({"name": "x", "snapshot_id": "71"}), 404, "could not be found"),
            ("DELETE", "/v2/snapshots/71", Value::Null, 204, ""),
            ("GET", "/v2/snapshots/71", Value::Null, 404, "could not be found"),
        ],
    );
}

#[test]
fn limits_of_snapshots_are_told_apart() {
    let server = Server::start_with("\n[limits]\nsnapshots_per_volume = 2\n");
    let made = volume(&server, "data", &json!({}));
    let path = format!("/v2/volumes/{}/snapshots", id(&made));
    let first = snapshot(&server, &made, "a");
    snapshot(&server, &made, "b");
    holds(
        &server,
        &[
            ("POST", &path, json!({"name": "c"}), 422, "at most 2 snapshots"),
            ("POST", &path, json!({"name": "b"}), 409, "already exists"),
            ("DELETE", &format!("/v2/snapshots/{}", id(&first)), Value::Null, 204, ""),
            ("POST", &path, json!({"name": "c"}), 201, ""),
        ],
    );
    let server = Server::start_with("\n[limits]\nsnapshot_interval_seconds = 7200\n");
    let made = volume(&server, "data", &json!({}));
    let path = format!("/v2/volumes/{}/snapshots", id(&made));
    snapshot(&server, &made, "a");
    let answer = server.post(&path, &json!({"name": "b"}));
    let message = "failed to create snapshot: this operation is rate-limited - one request per 2h0m0s";
    assert_eq!(answer.expect(429)["message"], message);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((3600..=7200).contains(&wait), "{wait}");
    snapshot(&server, &volume(&server, "other", &json!({})), "a");
    assert_eq!(server.get(&path).expect(200)["meta"]["total"], 1);
}

#[test]
fn what_the_command_line_takes_is_there_at_once_and_stays_with_its_owner() {
    let server = Server::start();
    let bob = server.token_of("bob");
    let body = json!({"name": "shop", "region": "here", "size_gigabytes": 1}).to_string();
    let of_bob = |method: &str, path: &str, body: Option<&str>| server.send(method, path, Some(&bob), body);
    let made = of_bob("POST", "/v2/volumes", Some(&body)).expect(201)["volume"].take();
    let taken = beside_the_server(&server, "shop", "by hand", &[]).to_string();
    let check = || {
        let list = of_bob("GET", "/v2/snapshots", None).expect(200)["snapshots"].take();
        assert_eq!((list.as_array().unwrap().len(), id(&list[0])), (1, taken.clone()));
        assert_eq!((&list[0]["resource_id"], &list[0]["tags"]), (&made["id"], &json!(["cli"])));
        assert_eq!(server.get("/v2/snapshots").expect(200)["snapshots"], json!([]), "ann does not see it");
        assert_eq!(server.get(&format!("/v2/snapshots/{taken}")).status, 404);
    };
    check();
    of_bob("DELETE", &format!("/v2/volumes/{}", id(&made)), None).expect(204);
    check();
    // Nor does another volume of that name in the engine get it.
    volume(&server, "shop", &json!({}));
    check();
    // What has no owner anywhere is that of the first account.
    disk(&repository(&server, "here"), "loose", ResourceKind::Volume, &[]);
    let loose = beside_the_server(&server, "loose", "by hand", &[]);
    assert_eq!(server.get(&format!("/v2/snapshots/{loose}")).expect(200)["snapshot"]["name"], "by hand");
    assert_eq!(server.get("/v2/volumes?name=loose").expect(200)["meta"]["total"], 1);
}

#[test]
fn more_than_a_page_of_snapshots_is_listed_whole() {
    let server = Server::start();
    let made = volume(&server, "data", &json!({}));
    let names: Vec<String> = (0..201).map(|number| format!("s{number}")).collect();
    for name in &names {
        snapshot(&server, &made, name);
    }
    let of_volume = format!("/v2/volumes/{}/snapshots", id(&made));
    for path in ["/v2/snapshots", &of_volume] {
        assert_eq!(all_pages(&server, path, "snapshots", names.len(), 100), names);
    }
}

#[test]
fn a_volume_that_another_program_has_open_is_left_alone() {
    let server = Server::start();
    let made = volume(&server, "data", &json!({}));
    let path = format!("/v2/volumes/{}", id(&made));
    let resize = json!({"type": "resize", "size_gigabytes": 2});
    let opened = open(&server, "here", "data");
    // 409 would say that there is a snapshot of that name, and 5xx that it is worth trying again.
    holds(
        &server,
        &[
            ("POST", &format!("{path}/snapshots"), json!({"name": "s"}), 422, "volume data"),
            ("POST", &format!("{path}/actions"), resize.clone(), 422, "volume data"),
            ("DELETE", &path, Value::Null, 409, "volume data"),
            ("GET", &path, Value::Null, 200, ""),
        ],
    );
    let failed = server.get(&format!("{path}/actions")).expect(200)["actions"][0].take();
    assert_eq!((&failed["status"], &failed["type"]), (&json!("errored"), &json!("resize_volume")));
    drop(opened);
    holds(
        &server,
        &[
            ("POST", &format!("{path}/snapshots"), json!({"name": "s"}), 201, ""),
            ("POST", &format!("{path}/actions"), resize, 202, ""),
            ("DELETE", &path, Value::Null, 204, ""),
        ],
    );
}

#[test]
fn usage_counts_snapshots_for_whom_they_belong_to() {
    let server = Server::start();
    let bob = server.token_of("bob");
    let body = json!({"name": "shop", "region": "here", "size_gigabytes": 1}).to_string();
    server.send("POST", "/v2/volumes", Some(&bob), Some(&body)).expect(201);
    beside_the_server(&server, "shop", "by hand", &[]);
    assert_eq!(Browser::sign_in(&server, &bob).get("/usage").status, 200);
    let database = rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap();
    for (account, expected) in [("ann", (0, 0)), ("bob", (1, 1))] {
        let sql = "SELECT sum(snapshots), sum(disks) FROM usage WHERE account = ?";
        let counted: (i64, i64) =
            database.query_row(sql, [account], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(counted, expected, "{account}");
    }
}
