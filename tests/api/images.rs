//! Images: imported from files of all formats, changed, copied, and given to others.

use std::path::Path;

use serde_json::Value;
use serde_json::json;

use crate::contract::holds;
use crate::droplets::droplet;
use crate::droplets::image;
use crate::droplets::image_file;
use crate::support::Answer;
use crate::support::Server;
use crate::tools;

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Begins to import a file, and returns the id of the image.
#[track_caller]
fn begin(server: &Server, url: &str) -> i64 {
    let body =
        json!({"name": "An image", "url": url, "region": "here", "description": "of a test", "tags": ["a"]});
    let made = server.post("/v2/images", &body).expect(202)["image"].take();
    assert_eq!(
        (&made["type"], &made["public"], &made["tags"]),
        (&json!("custom"), &json!(false), &json!(["a"]))
    );
    made["id"].as_i64().unwrap()
}

#[test]
fn files_of_all_formats_are_imported() {
    if !tools::have(&["qemu-img", "mkfs.ext4", "gzip", "bzip2", "xz", "zstd"]) {
        return;
    }
    let server = Server::with_import();
    let folder = server.path("import");
    let raw = folder.join("disk.raw");
    tools::file_system(&raw, 16 << 20);
    let text = raw.to_str().unwrap();
    let mut files = vec![raw.clone()];
    for format in ["qcow2", "vmdk", "vhdx", "vdi"] {
        let file = folder.join(format!("disk.{format}"));
        tools::works("qemu-img", &["convert", "-O", format, text, file.to_str().unwrap()]);
        files.push(file);
    }
    let stream = folder.join("stream.vmdk");
    let optimized = ["convert", "-O", "vmdk", "-o", "subformat=streamOptimized"];
    tools::works("qemu-img", &[&optimized[..], &[text, stream.to_str().unwrap()]].concat());
    files.push(stream);
    for (program, end) in [("gzip", "gz"), ("bzip2", "bz2"), ("xz", "xz"), ("zstd", "zst")] {
        tools::works("sh", &["-c", &format!("{program} -1 -c {text} > {text}.{end}")]);
        files.push(folder.join(format!("disk.raw.{end}")));
    }
    let both = folder.join("disk.qcow2.gz");
    tools::works(
        "sh",
        &["-c", &format!("gzip -1 -c {} > {}", folder.join("disk.qcow2").display(), both.display())],
    );
    files.push(both);
    // All at once: they wait for each other.
    let images: Vec<i64> = files.iter().map(|file| begin(&server, &url(file))).collect();
    for (file, image) in files.iter().zip(images) {
        let shown = server.until_image(image, "available")["image"].take();
        assert_eq!(
            (&shown["min_disk_size"], &shown["description"]),
            (&json!(1), &json!("of a test")),
            "{}",
            file.display()
        );
        assert!(shown["size_gigabytes"].as_f64().unwrap() > 0.0);
        let made = droplet(&server, "web", image, &json!({}));
        tools::same(&raw, &tools::uri(&made));
        let action = server.get(&format!("/v2/images/{image}/actions")).expect(200)["actions"][0].take();
        assert_eq!((&action["type"], &action["resource_type"]), (&json!("create"), &json!("image")));
        let path = format!("/v2/images/{image}/actions/{}", action["id"]);
        assert_eq!(server.get(&path).expect(200)["action"]["status"], "completed");
    }
    let left = std::fs::read_dir(server.path("state/tmp")).unwrap().count();
    assert_eq!(left, 0, "temporary files are gone");
}

#[test]
fn what_cannot_be_imported_is_refused() {
    if !tools::have(&["qemu-img"]) {
        return;
    }
    let server = Server::with_import();
    let folder = server.path("import");
    let good = image_file(&server, "good.raw", 1);
    let secret = server.path("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, folder.join("link")).unwrap();
    let over = folder.join("over.qcow2");
    let (file, backing) = (over.to_str().unwrap(), secret.to_str().unwrap());
    tools::works("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, file]);
    let flat = folder.join("flat.vmdk");
    tools::works(
        "qemu-img",
        &["create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", flat.to_str().unwrap(), "1M"],
    );
    let import = |name: &str, url: &str, region: &str| json!({"name": name, "url": url, "region": region});
    let mut cases = vec![
        (import("", &good, "here"), "name"),
        (import("a", "", "here"), "url"),
        (import("a", &good, ""), "region"),
        (import("a", &good, "nowhere"), "nowhere"),
        (import("a", "https://example.com/disk.raw", "here"), "not allowed"),
        (import("a", &url(&secret), "here"), "no file"),
        (import("a", "file:///etc/passwd", "here"), "no file"),
        (import("a", &url(&folder.join("../secret")), "here"), "no file"),
        (import("a", &url(&folder.join("link")), "here"), "no file"),
        (import("a", &url(&folder.join("missing")), "here"), "no file"),
        (import("a", &url(&folder), "here"), "neither a file"),
        (import("a", &url(&over), "here"), "backing file"),
        (import("a", &url(&flat), "here"), "only lists"),
    ];
    let mut bad = import("a", &good, "here");
    bad["tags"] = json!(["a b"]);
    cases.push((bad, "tag"));
    let cases: Vec<_> =
        cases.into_iter().map(|(body, says)| ("POST", "/v2/images", body, 422, says)).collect();
    holds(&server, &cases);
    assert_eq!(server.get("/v2/images").expect(200)["meta"]["total"], 0);
}

#[test]
fn what_turns_out_to_be_bad_is_told_and_can_be_deleted() {
    if !tools::have(&["qemu-img", "gzip"]) {
        return;
    }
    let server = Server::with_import();
    let folder = server.path("import");
    let raw = folder.join("raw");
    std::fs::write(&raw, vec![7; 3 << 20]).unwrap();
    for format in ["qcow2", "vmdk", "vdi"] {
        let (whole, cut) = (folder.join("whole"), folder.join(format!("cut.{format}")));
        tools::works("qemu-img", &["convert", "-O", format, raw.to_str().unwrap(), whole.to_str().unwrap()]);
        let bytes = std::fs::read(&whole).unwrap();
        // Programs that read it take what is missing for zeros.
        std::fs::write(cut, &bytes[..bytes.len() - 100_000]).unwrap();
    }
    std::fs::write(folder.join("cut.gz"), b"\x1f\x8b\x08\0nonsense").unwrap();
    std::fs::write(folder.join("empty.raw"), b"").unwrap();
    let huge = folder.join("huge.qcow2");
    tools::works("qemu-img", &["create", "-q", "-f", "qcow2", huge.to_str().unwrap(), "9T"]);
    let cut_vdi = json!({"name": "a", "url": url(&folder.join("cut.vdi")), "region": "here"});
    holds(&server, &[("POST", "/v2/images", cut_vdi, 422, "truncated")]);
    for (name, says) in [
        ("cut.qcow2", "qemu-img"),
        ("cut.vmdk", "qemu-img"),
        ("cut.gz", "gzip"),
        ("empty.raw", "empty"),
        ("huge.qcow2", "2048 GB"),
    ] {
        let image = begin(&server, &url(&folder.join(name)));
        let shown = server.until_image(image, "deleted")["image"].take();
        assert!(shown["error_message"].as_str().unwrap().contains(says), "{shown}");
        let action = server.get(&format!("/v2/images/{image}/actions")).expect(200)["actions"][0].take();
        assert_eq!(action["status"], "errored");
        assert!(action["message"].as_str().unwrap().contains(says), "{action}");
        let body = json!({"name": "new", "region": "here", "size": "small", "image": image});
        holds(&server, &[("POST", "/v2/droplets", body, 422, "invalid image")]);
        let listed = server.get("/v2/images?private=true").expect(200)["images"].take();
        assert!(listed.as_array().unwrap().contains(&shown), "{listed}");
        server.delete(&format!("/v2/images/{image}")).expect(204);
        server.get(&format!("/v2/images/{image}")).expect(404);
    }
    assert_eq!(std::fs::read_dir(server.path("state/tmp")).unwrap().count(), 0);
    assert!(icecore::snapshot::list(&crate::contract::repository(&server, "here")).unwrap().is_empty());
}

#[test]
fn an_image_can_be_deleted_while_it_is_imported() {
    let server = Server::with_import();
    let file = server.path("import/large.raw");
    tools::noise(&file, 200 << 20);
    let image = begin(&server, &url(&file));
    server.delete(&format!("/v2/images/{image}")).expect(204);
    server.get(&format!("/v2/images/{image}")).expect(404);
    // Whichever was first, nothing is left.
    let actions = server.until("/v2/actions", |all| all["actions"][0]["status"] != "in-progress");
    assert_eq!(actions["actions"].as_array().unwrap().len(), 1);
    assert!(icecore::snapshot::list(&crate::contract::repository(&server, "here")).unwrap().is_empty());
    server.get(&format!("/v2/images/{image}")).expect(404);
}

#[test]
fn images_are_renamed_and_listed() {
    let server = Server::with_import();
    let one = image(&server, "one", 1);
    image(&server, "two", 2);
    let path = format!("/v2/images/{one}");
    let body = json!({"name": "A new name", "distribution": "Fedora", "description": "Text"});
    let changed = server.ask("PUT", &path, Some(&body)).expect(200)["image"].take();
    for key in ["name", "distribution", "description"] {
        assert_eq!(changed[key], body[key]);
    }
    assert_eq!(server.get(&path).expect(200)["image"], changed);
    let names = |query: &str| {
        let listed = server.get(&format!("/v2/images{query}")).expect(200)["images"].take();
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("?private=true"), ["A new name", "two"]);
    assert_eq!(names("?per_page=1&page=2"), ["two"]);
    assert!(names("?type=distribution").is_empty() && names("?tag_name=none").is_empty());
    let bob = server.token_of("bob");
    assert_eq!(server.send("GET", "/v2/images", Some(&bob), None).expect(200)["meta"]["total"], 0);
    for method in ["GET", "DELETE"] {
        assert_eq!(server.send(method, &path, Some(&bob), None).status, 404);
    }
    holds(
        &server,
        &[
            ("PUT", path.as_str(), json!({"name": "a\nb"}), 422, "name"),
            ("PUT", "/v2/images/999", json!({"name": "a"}), 404, ""),
            ("GET", "/v2/images/999", Value::Null, 404, ""),
            ("GET", "/v2/images/debian", Value::Null, 404, ""),
            ("GET", "/v2/images/999/actions", Value::Null, 404, ""),
            ("GET", format!("{path}/actions/999").as_str(), Value::Null, 404, ""),
            ("GET", "/v2/images?type=x", Value::Null, 422, "type"),
            ("DELETE", "/v2/images/999", Value::Null, 404, ""),
            ("POST", "/v2/images/999/actions", json!({"type": "transfer", "region": "there"}), 404, ""),
            ("POST", format!("{path}/actions").as_str(), json!({"type": "fly"}), 404, "not available"),
            ("POST", format!("{path}/actions").as_str(), json!({}), 422, "type"),
            ("POST", format!("{path}/actions").as_str(), json!({"type": "transfer"}), 422, "region"),
            (
                "POST",
                format!("{path}/actions").as_str(),
                json!({"type": "transfer", "region": "mars"}),
                422,
                "mars",
            ),
            (
                "POST",
                format!("{path}/actions").as_str(),
                json!({"type": "transfer", "region": "here"}),
                422,
                "already",
            ),
            (
                "GET",
                format!("/v2/snapshots/{one}").as_str(),
                Value::Null,
                400,
                "the resource is not a snapshot",
            ),
        ],
    );
}

#[test]
fn an_image_in_both_regions_is_changed_in_both() {
    let server = Server::with_import();
    let one = image(&server, "one", 1);
    let path = format!("/v2/images/{one}");
    let done = server.act(&format!("{path}/actions"), &json!({"type": "transfer", "region": "there"}));
    assert_eq!(
        (&done["type"], &done["resource_id"], &done["region_slug"]),
        (&json!("transfer"), &json!(one), &json!("there"))
    );
    assert_eq!(server.get(&path).expect(200)["image"]["regions"], json!(["here", "there"]));
    server.ask("PUT", &path, Some(&json!({"name": "both"}))).expect(200);
    for region in ["here", "there"] {
        let repo = crate::contract::repository(&server, region);
        assert!(
            icecore::snapshot::list(&repo).unwrap().iter().any(|snapshot| snapshot.name == "both"),
            "{region}"
        );
    }
    server.delete(&path).expect(204);
    server.delete(&path).expect(404);
    let repo = crate::contract::repository(&server, "there");
    assert!(icecore::snapshot::list(&repo).unwrap().is_empty());
}

#[test]
fn a_snapshot_moves_to_another_account_that_accepts_it() {
    let server = Server::with_import();
    let bob = server.token_of("bob");
    let of_bob = |method: &str, path: &str, body: Option<&Value>| {
        server.send(method, path, Some(&bob), body.map(Value::to_string).as_deref())
    };
    let base = image(&server, "base", 1);
    let web = droplet(&server, "web", base, &json!({}))["id"].clone();
    server.act(&format!("/v2/droplets/{web}/actions"), &json!({"type": "snapshot", "name": "s"}));
    let id = server.get(&format!("/v2/droplets/{web}/snapshots")).expect(200)["snapshots"][0]["id"].clone();
    let path = format!("/v2/images/{id}");
    server.act(&format!("{path}/actions"), &json!({"type": "transfer", "region": "there"}));
    let resources = json!({"resources": [{"resource_id": id.to_string(), "resource_type": "image"}]});
    server.post("/v2/tags", &json!({"name": "mine"})).expect(201);
    server.post("/v2/tags/mine/resources", &resources).expect(204);
    let offer = format!("{path}/account_transfer");
    let to_bob = json!({"recipient_email": "BOB@example.com"});
    let make = || server.post(&offer, &to_bob).expect(201)["transfer_id"].clone();
    let number = make();
    assert!(number.as_i64().unwrap() > 0);
    holds(&server, &[("POST", offer.as_str(), to_bob.clone(), 400, "already on offer")]);
    // Who offers cannot accept, and who accepts must know the number.
    let wrong = json!({"transfer_id": number.as_i64().unwrap() + 1});
    let right = json!({"transfer_id": number});
    let accept = format!("{offer}/accept");
    holds(&server, &[("POST", accept.as_str(), right.clone(), 404, "")]);
    assert_eq!(of_bob("POST", &accept, Some(&wrong)).status, 404);
    assert_eq!(of_bob("GET", &path, None).status, 404, "it is not bob's yet");
    assert_eq!(of_bob("POST", &format!("{offer}/cancel"), Some(&right)).status, 404);
    server.post(&format!("{offer}/cancel"), &right).expect(204);
    assert_eq!(of_bob("POST", &accept, Some(&right)).status, 404);
    let right = json!({"transfer_id": make()});
    assert_eq!(of_bob("POST", &format!("{offer}/decline"), Some(&right)).status, 204);
    let account = of_bob("GET", "/v2/account", None).expect(200);
    let by_uuid = json!({"recipient_uuid": account["account"]["uuid"]});
    let right = json!({"transfer_id": server.post(&offer, &by_uuid).expect(201)["transfer_id"]});
    assert_eq!(of_bob("POST", &accept, Some(&right)).expect(201), json!({"transfer_id": 0}));
    server.get(&path).expect(404);
    let moved = of_bob("GET", &path, None).expect(200)["image"].take();
    assert_eq!((&moved["regions"], &moved["tags"]), (&json!(["here", "there"]), &json!([])));
    let body = json!({"name": "bobs", "region": "there", "size": "small", "image": id});
    of_bob("POST", "/v2/droplets", Some(&body)).expect(202);
}

#[test]
fn offers_that_cannot_be_are_refused() {
    let server = Server::with_import();
    let base = image(&server, "base", 1);
    let web = droplet(&server, "web", base, &json!({}))["id"].clone();
    server.act(&format!("/v2/droplets/{web}/actions"), &json!({"type": "snapshot", "name": "s"}));
    let id = server.get(&format!("/v2/droplets/{web}/snapshots")).expect(200)["snapshots"][0]["id"].clone();
    let offer = format!("/v2/images/{id}/account_transfer");
    let to_bob = json!({"recipient_email": "bob@example.com"});
    holds(
        &server,
        &[
            ("POST", offer.as_str(), json!({}), 400, "recipient"),
            ("POST", offer.as_str(), json!({"recipient_email": "nobody@example.com"}), 400, "recipient"),
            ("POST", offer.as_str(), json!({"recipient_email": "ann@example.com"}), 400, "recipient"),
            (
                "POST",
                format!("/v2/images/{base}/account_transfer").as_str(),
                to_bob.clone(),
                400,
                "only snapshots",
            ),
            ("POST", "/v2/images/999/account_transfer", to_bob.clone(), 404, ""),
            ("POST", format!("{offer}/cancel").as_str(), json!({"transfer_id": 1}), 404, ""),
        ],
    );
}

/// A server with a snapshot that ann offers bob: its path, its id in the engine, and the body of
/// who accepts it.
fn an_offer(server: &Server) -> (String, uuid::Uuid, Value) {
    let base = image(server, "base", 1);
    let web = droplet(server, "web", base, &json!({}))["id"].clone();
    server.act(&format!("/v2/droplets/{web}/actions"), &json!({"type": "snapshot", "name": "s"}));
    let id = server.get(&format!("/v2/droplets/{web}/snapshots")).expect(200)["snapshots"][0]["id"].clone();
    let all = icecore::snapshot::list(&crate::contract::repository(server, "here")).unwrap();
    let uuid = all.iter().find(|snapshot| snapshot.name == "s").unwrap().id.0;
    let to_bob = json!({"recipient_email": "bob@example.com"});
    let offer = server.post(&format!("/v2/images/{id}/account_transfer"), &to_bob).expect(201);
    (id.to_string(), uuid, json!({"transfer_id": offer["transfer_id"]}))
}

/// Accepts an offer, as bob.
fn accept(server: &Server, id: &str, right: &Value) -> Answer {
    let path = format!("/v2/images/{id}/account_transfer/accept");
    server.send("POST", &path, Some(&server.token_of("bob")), Some(&right.to_string()))
}

#[test]
fn what_could_not_be_deleted_stays_on_offer() {
    let server = Server::with_import();
    let (id, uuid, right) = an_offer(&server);
    let repo = std::sync::Arc::new(crate::contract::repository(&server, "here"));
    let snapshot = icecore::snapshot::SnapshotId(uuid);
    let reader =
        icecore::snapshot::SnapshotDisk::open(repo, snapshot, icecore::snapshot::BlockCache::usual())
            .unwrap();
    server.delete(&format!("/v2/images/{id}")).expect(409);
    drop(reader);
    accept(&server, &id, &right).expect(201);
}

#[test]
fn what_is_deleted_is_on_offer_no_longer() {
    let server = Server::with_import();
    let (id, _, right) = an_offer(&server);
    server.delete(&format!("/v2/snapshots/{id}")).expect(204);
    accept(&server, &id, &right).expect(404);
}

#[test]
fn an_image_that_something_is_done_to_is_not_handed_over() {
    let server = Server::with_import();
    let bob = server.token_of("bob");
    let (id, uuid, right) = an_offer(&server);
    let database = rusqlite::Connection::open(server.path("state/icecore.sqlite")).unwrap();
    let begin =
        "INSERT INTO action (account, status, type, started_ms, resource_type, resource, resource_id, region)
                 VALUES ('ann', 'in-progress', 'transfer', 1764000000000, 'image', ?, 1, 'there')";
    database.execute(begin, [uuid.as_bytes()]).unwrap();
    let accept = format!("/v2/images/{id}/account_transfer/accept");
    let accept = || server.send("POST", &accept, Some(&bob), Some(&right.to_string()));
    let refused = accept();
    assert!(
        refused.status == 422 && refused.text.contains("Image already has a pending event."),
        "{refused:?}"
    );
    server.get(&format!("/v2/images/{id}")).expect(200);
    database.execute("UPDATE action SET status = 'completed'", []).unwrap();
    accept().expect(201);
    server.get(&format!("/v2/images/{id}")).expect(404);
}

#[test]
fn of_two_who_delete_an_image_at_once_one_is_told_that_it_is_gone() {
    let server = Server::with_import();
    for seed in 0..4 {
        let path = format!("/v2/images/{}", image(&server, "base", seed));
        let mut statuses = std::thread::scope(|scope| {
            let asked = [(); 2].map(|()| scope.spawn(|| server.delete(&path).status));
            asked.map(|asked| asked.join().unwrap())
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 404]);
    }
}
