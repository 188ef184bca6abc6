//! Regions whose repositories are sealed.

use std::path::Path;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore_api::Controls;
use icecore_host::clock::SystemClock;
use icecore_host::config;
use icecore_host::repository;
use icecore_host::repository::SERVER;
use serde_json::json;
use tempfile::TempDir;

use crate::contract::id;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::support::Server;
use crate::support::USUAL;
use crate::support::config_in;
use crate::tools::copy;
use crate::tools::have;
use crate::tools::real_image;
use crate::tools::same;
use crate::tools::uri;
use crate::tools::write_image;

/// Returns the usual configuration, with a password for the region `here`.
fn with_password() -> String {
    USUAL.replace("repository = \"here\"", "repository = \"here\"\npassword_file = \"password\"")
}

fn dir_with(password: &str) -> Arc<TempDir> {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("password"), password).unwrap();
    Arc::new(dir)
}

/// Returns how the start of a server in this directory fails.
fn fails(dir: &Path, text: &str) -> icecore::Error {
    let config = config_in(dir, text);
    icecore_api::serve(config, Arc::new(SystemClock), |_| panic!("it serves"), &Controls::default())
        .unwrap_err()
}

fn is_sealed(dir: &Path, region: &str) -> bool {
    match repository::open(&dir.join(region).into(), SERVER) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            true
        }
    }
}

#[test]
fn a_region_with_a_password_is_sealed_and_works_as_any_other() {
    if !have(&["nbdcopy", "qemu-img", "qemu-io", "nbdsh", "mkfs.ext4", "e2fsck"]) {
        return;
    }
    let dir = dir_with("open sesame\n");
    let mut server = Server::start_in(Arc::clone(&dir), &with_password());
    assert!(is_sealed(dir.path(), "here") && !is_sealed(dir.path(), "there"));
    let image = real_image(dir.path(), 512);
    let source = volume(&server, "source", &json!({}));
    write_image(&image, &uri(&source));
    let taken = snapshot(&server, &source, "first");
    // The key stays in memory: the file is not needed again.
    std::fs::remove_file(dir.path().join("password")).unwrap();
    let body = json!({"name": "clone", "snapshot_id": taken["id"], "size_gigabytes": 1});
    let clone = server.post("/v2/volumes", &body).expect(201)["volume"].take();
    let copied = dir.path().join("copied.raw");
    copy(&uri(&clone), &copied);
    same(&image, copied.to_str().unwrap());
    server.delete(&format!("/v2/volumes/{}", id(&source))).expect(204);
    assert_eq!(server.get("/healthz").json()["status"], "ok");
    // A snapshot moves between a sealed region and a plain one.
    let listed = server.get(&format!("/v2/snapshots/{}", id(&taken))).expect(200);
    assert_eq!(listed["snapshot"]["name"], "first");
    server.stop();

    std::fs::write(dir.path().join("password"), "open sesame").unwrap();
    let server = Server::start_in(Arc::clone(&dir), &with_password());
    assert_eq!(server.get("/v2/volumes").expect(200)["volumes"][0]["name"], "clone");
}

#[test]
fn a_server_without_the_password_does_not_start_and_says_what_to_set() {
    let dir = dir_with("open sesame");
    drop(Server::start_in(Arc::clone(&dir), &with_password()));
    let error = fails(dir.path(), USUAL);
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let said = format!("{error} {:?}", error.next_step());
    assert!(said.contains("region here") && said.contains("[regions.here]"), "{said}");

    std::fs::write(dir.path().join("password"), "open barley").unwrap();
    let error = fails(dir.path(), &with_password());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let said = format!("{error} {:?}", error.next_step());
    assert!(said.contains("the password is wrong") && !said.contains("barley"), "{said}");

    std::fs::remove_file(dir.path().join("password")).unwrap();
    let error = fails(dir.path(), &with_password());
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("password"), "{error}");
}

#[test]
fn a_region_can_have_a_private_key_instead_but_not_both() {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/sealing/keys/age");
    let text =
        USUAL.replace("repository = \"here\"", &format!("repository = \"here\"\nidentity_file = {key:?}"));
    let dir = dir_with("open sesame");
    for _ in 0..2 {
        let server = Server::start_in(Arc::clone(&dir), &text);
        volume(&server, &format!("disk-{}", server.address.port()), &json!({}));
        assert!(is_sealed(dir.path(), "here"));
    }
    let both = with_password().replace("password_file", &format!("identity_file = {key:?}\npassword_file"));
    let error = config::parse(&both, dir.path()).unwrap_err();
    assert!(error.to_string().contains("identity_file"), "{error}");
}
