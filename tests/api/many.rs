//! Lists a page at a time, beside other programs that change the same repositories.

use std::sync::Arc;

use icecore::NoProgress;
use icecore::repository::Repository;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CopyOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::volume::VolumeId;
use icecore::volume::VolumeOptions;
use icecore_host::clock::new_id;
use serde_json::Value;
use serde_json::json;

use crate::contract::id;
use crate::contract::repository;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::support::Server;

/// Takes a snapshot as another program does.
fn take(
    repo: &Repository,
    kind: ResourceKind,
    resource: &str,
    name: &str,
    labels: &[(&str, &str)],
) -> SnapshotId {
    let mut options = CaptureOptions::new(SnapshotId(new_id()), 1_700_000_000_000, kind, resource, name);
    options.name_may_repeat = true;
    options.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    icecore::snapshot::capture(repo, &vec![1; 4096], &options, &NoProgress).unwrap().snapshot.id
}

/// Returns the names on a page, and the total.
fn page(server: &Server, path: &str, list: &str) -> (Vec<String>, u64) {
    let shown = server.get(path).expect(200);
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    let names = shown[list].as_array().unwrap().iter().map(name).collect();
    (names, shown["meta"]["total"].as_u64().unwrap())
}

#[track_caller]
fn shows(server: &Server, path: &str, list: &str, names: &[&str], total: u64) {
    assert_eq!(
        page(server, path, list),
        (names.iter().map(|name| (*name).to_owned()).collect(), total),
        "{path}"
    );
}

#[test]
fn what_another_program_does_to_snapshots_is_in_the_next_answer() {
    let server = Server::start();
    let repo = Arc::new(repository(&server, "here"));
    shows(&server, "/v2/snapshots", "snapshots", &[], 0);
    let of = ResourceKind::Volume;
    let ids: Vec<SnapshotId> =
        ["a", "b", "c", "d", "e"].map(|name| take(&repo, of, "data", name, &[])).into();
    let image = take(&repo, ResourceKind::Droplet, "web", "image", &[("type", "backup")]);
    // Of somebody else.
    take(&repo, of, "data", "bob's", &[("account", "bob")]);
    shows(&server, "/v2/snapshots?per_page=2", "snapshots", &["a", "b"], 5);
    shows(&server, "/v2/snapshots?per_page=2&page=3", "snapshots", &["e"], 5);
    shows(&server, "/v2/snapshots?per_page=2&page=4", "snapshots", &[], 5);
    shows(&server, "/v2/snapshots?resource_type=droplet", "snapshots", &[], 0);
    shows(&server, "/v2/images", "images", &["image"], 1);
    shows(&server, "/v2/snapshots?region=there", "snapshots", &[], 0);
    // Another region gets a copy: it is one snapshot.
    let there = repository(&server, "there");
    icecore::snapshot::copy(&repo, ids[1], &there, &CopyOptions::default(), &NoProgress).unwrap();
    shows(&server, "/v2/snapshots?region=there", "snapshots", &["b"], 1);
    shows(&server, "/v2/snapshots?region=here&per_page=1&page=2", "snapshots", &["b"], 5);
    let shown = server.get(&format!("/v2/snapshots/{}", ids[1])).expect(200);
    assert_eq!(shown["snapshot"]["regions"], json!(["here", "there"]));
    // It changes, and goes, in one region after the other.
    icecore::snapshot::rename(&repo, ids[0], "first", RenameOptions::default()).unwrap();
    icecore::snapshot::retag(&repo, ids[2], &["Red".to_owned()], &[]).unwrap();
    icecore::snapshot::retag(&repo, image, &["red".to_owned()], &[]).unwrap();
    icecore::snapshot::delete_all(&repo, &[ids[1], ids[3]], DeleteOptions::default()).unwrap();
    shows(&server, "/v2/snapshots", "snapshots", &["first", "b", "c", "e"], 4);
    shows(&server, "/v2/images?tag_name=RED", "images", &["image"], 1);
    let tag = server.get("/v2/tags/red").expect(200)["tag"]["resources"].take();
    assert_eq!(
        (tag["images"]["count"].as_u64(), tag["volume_snapshots"]["count"].as_u64()),
        (Some(1), Some(1))
    );
    icecore::snapshot::delete(&there, ids[1], DeleteOptions::default()).unwrap();
    icecore::snapshot::undelete(&repo, &[ids[3]], RenameOptions::default()).unwrap();
    shows(&server, "/v2/snapshots", "snapshots", &["first", "c", "d", "e"], 4);
    server.get(&format!("/v2/snapshots/{}", ids[1])).expect(404);
    // The tag goes from all of them.
    server.delete("/v2/tags/red").expect(204);
    shows(&server, "/v2/images?tag_name=red", "images", &[], 0);
    server.get("/v2/tags/red").expect(404);
    // The owner changes.
    let bob = std::collections::BTreeMap::from([("account".to_owned(), "bob".to_owned())]);
    icecore::snapshot::relabel(&repo, ids[2], &bob, &[]).unwrap();
    shows(&server, "/v2/snapshots", "snapshots", &["first", "d", "e"], 3);
}

#[test]
fn what_another_program_does_to_volumes_is_in_the_next_answer() {
    let server = Server::start();
    let repo = repository(&server, "here");
    shows(&server, "/v2/volumes", "volumes", &[], 0);
    let own = volume(&server, "own", &json!({}));
    let taken = take(&repo, ResourceKind::Volume, "theirs", "taken", &[]);
    let of = |id: &SnapshotId| {
        server.get(&format!("/v2/snapshots/{id}")).expect(200)["snapshot"]["resource_id"].take()
    };
    let before = of(&taken);
    let options = VolumeOptions {
        id: VolumeId(new_id()),
        name: "theirs".to_owned(),
        created_unix_ms: 1_600_000_000_000,
        kind: None,
        snapshot: None,
        size_bytes: Some(1 << 30),
        labels: Default::default(),
    };
    let theirs = icecore::volume::create_volume(&repo, &options).unwrap();
    shows(&server, "/v2/volumes", "volumes", &["theirs", "own"], 2);
    // The snapshot without labels is of the volume that has its name now.
    assert_ne!(before, json!(theirs.id.0));
    assert_eq!(of(&taken), json!(theirs.id.0));
    let path = format!("/v2/volumes/{}/snapshots", theirs.id);
    shows(&server, &path, "snapshots", &["taken"], 1);
    let labels =
        |key: &str, value: &str| std::collections::BTreeMap::from([(key.to_owned(), value.to_owned())]);
    icecore::volume::relabel_volume(&repo, "theirs", &labels("tags", "red,green"), &[]).unwrap();
    assert_eq!(server.get("/v2/tags/green").expect(200)["tag"]["resources"]["volumes"]["count"], 1);
    icecore::volume::resize_volume(&repo, "theirs", 3 << 30).unwrap();
    let shown = server.get(&format!("/v2/volumes/{}", theirs.id)).expect(200);
    assert_eq!(shown["volume"]["size_gigabytes"], 3);
    // It belongs to somebody else, with the snapshots that are known to be of it.
    icecore::volume::relabel_volume(&repo, "theirs", &labels("account", "bob"), &[]).unwrap();
    shows(&server, "/v2/volumes", "volumes", &["own"], 1);
    shows(&server, "/v2/snapshots", "snapshots", &[], 0);
    icecore::volume::delete_volume(&repo, "theirs").unwrap();
    shows(&server, "/v2/snapshots", "snapshots", &["taken"], 1);
    assert_eq!(of(&taken), before);
    // What the server itself does is seen as well.
    snapshot(&server, &own, "second");
    shows(&server, &format!("/v2/volumes/{}/snapshots", id(&own)), "snapshots", &["second"], 1);
    server.delete(&format!("/v2/volumes/{}", id(&own))).expect(204);
    shows(&server, "/v2/volumes", "volumes", &[], 0);
}
