//! The life of a Droplet, from a real file system to the other region. What its disk holds is
//! compared byte for byte, over NBD, by programs that others have written.

use serde_json::Value;
use serde_json::json;

use crate::support::Server;
use crate::tools;

const GIB: u64 = 1 << 30;

/// Imports a file, and returns the integer id of the image.
fn import(server: &Server, file: &str, name: &str) -> i64 {
    let url = format!("file://{}", server.dir.path().join("import").join(file).display());
    let made = server.post("/v2/images", &json!({"name": name, "url": url, "region": "here"})).expect(202);
    let id = made["image"]["id"].as_i64().unwrap();
    server.until_image(id, "available");
    id
}

fn droplet(server: &Server, name: &str, image: &Value, region: &str) -> Value {
    let body = json!({"name": name, "region": region, "size": "small", "image": image});
    let made = server.post("/v2/droplets", &body).expect(202);
    let link = &made["links"]["actions"][0];
    assert_eq!(link["rel"], "create");
    let path = link["href"].as_str().unwrap().split_once("/v2").unwrap().1;
    assert_eq!(server.get(&format!("/v2{path}")).expect(200)["action"]["status"], "completed");
    assert_eq!(made["droplet"]["status"], "active");
    made["droplet"].clone()
}

#[test]
fn a_droplet_lives() {
    if !tools::have(&["mkfs.ext4", "qemu-img", "qemu-io", "nbdcopy"]) {
        return;
    }
    let server = Server::with_import();
    let original = server.path("import/disk.raw");
    tools::file_system(&original, 24 << 20);
    let image = import(&server, "disk.raw", "A disk");
    let made = droplet(&server, "web-1.example.com", &json!(image), "here");
    let (id, uri) = (made["id"].as_i64().unwrap(), made["nbd_uri"].as_str().unwrap().to_owned());
    assert_eq!((&made["disk"], &made["image"]["id"]), (&json!(1), &json!(image)));
    // The disk is that of the size, and the image is at its beginning.
    let model = server.path("model.raw");
    std::fs::copy(&original, &model).unwrap();
    std::fs::File::options().write(true).open(&model).unwrap().set_len(GIB).unwrap();
    tools::same(&model, &uri);
    let act = |body: &Value| server.act(&format!("/v2/droplets/{id}/actions"), body);
    // Written to, and a snapshot taken.
    tools::write(&[uri.as_str(), model.to_str().unwrap()], 0x51, 5 << 20, 300_000);
    let taken = act(&json!({"type": "snapshot", "name": "Before the upgrade"}));
    let snapshots = server.get(&format!("/v2/droplets/{id}/snapshots")).expect(200);
    let snapshot = &snapshots["snapshots"][0];
    assert_eq!((&snapshot["name"], &snapshot["type"]), (&json!("Before the upgrade"), &json!("snapshot")));
    assert_eq!(snapshot["created_at"], taken["started_at"]);
    let snapshot = snapshot["id"].as_i64().unwrap();
    let then = server.path("then.raw");
    std::fs::copy(&model, &then).unwrap();
    tools::write(&[uri.as_str(), model.to_str().unwrap()], 0x52, 5 << 20, 900_000);
    tools::write(&[uri.as_str(), model.to_str().unwrap()], 0x53, 700 << 20, 70_000);
    tools::same(&model, &uri);
    // Back, while a client is connected: it is told, and who connects anew sees the snapshot.
    let mut client = tools::Client::connect(&uri);
    assert!(client.reads(0, 4096));
    act(&json!({"type": "restore", "image": snapshot}));
    assert!(!client.reads(0, 4096), "its disk was replaced");
    drop(client);
    tools::same(&then, &uri);
    // All new.
    act(&json!({"type": "rebuild", "image": image}));
    std::fs::File::options().write(true).open(&original).unwrap().set_len(GIB).unwrap();
    tools::same(&original, &uri);
    assert_eq!(
        server.get(&format!("/v2/droplets/{id}")).expect(200)["droplet"]["snapshot_ids"],
        json!([snapshot])
    );
    // In the other region.
    server.act(&format!("/v2/images/{snapshot}/actions"), &json!({"type": "transfer", "region": "there"}));
    let regions = &server.get(&format!("/v2/images/{snapshot}")).expect(200)["image"]["regions"];
    assert_eq!(regions, &json!(["here", "there"]));
    let there = droplet(&server, "web-2", &json!(snapshot), "there");
    tools::same(&then, &tools::uri(&there));
    // What is deleted takes nothing with it.
    server.delete(&format!("/v2/images/{image}")).expect(204);
    server.delete(&format!("/v2/snapshots/{snapshot}"));
    server.delete(&format!("/v2/images/{snapshot}"));
    tools::same(&then, &tools::uri(&there));
    tools::same(&original, &uri);
    let shown = server.get(&format!("/v2/droplets/{id}")).expect(200);
    assert_eq!(
        (&shown["droplet"]["image"]["id"], &shown["droplet"]["image"]["status"]),
        (&json!(image), &json!("deleted"))
    );
    server.delete(&format!("/v2/droplets/{id}")).expect(204);
    server.get(&format!("/v2/droplets/{id}")).expect(404);
    tools::same(&then, &tools::uri(&there));
}
