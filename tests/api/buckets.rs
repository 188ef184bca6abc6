//! A region in a bucket, of two servers at once.

use std::sync::Arc;

use icecore_testing_s3::Options;
use icecore_testing_s3::Server as Store;
use serde_json::json;
use tempfile::TempDir;

use crate::contract::id;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::support::Server;
use crate::support::USUAL;

/// Starts a server whose region `here` is in a bucket of the store.
fn server(store: &Store) -> Server {
    let dir = Arc::new(TempDir::new().unwrap());
    let credentials = "[default]\naws_access_key_id = test\naws_secret_access_key = secret\n";
    std::fs::write(dir.path().join("credentials"), credentials).unwrap();
    let bucket = format!(
        "[regions.here]\nrepository = \"s3://lab/disks\"\n[regions.here.bucket]\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
         credentials_file = \"credentials\"\n",
        store.endpoint()
    );
    let text = USUAL.replace("[regions.here]\nrepository = \"here\"\n", &bucket);
    assert_ne!(text, USUAL);
    Server::start_in(dir, &text)
}

#[test]
fn two_servers_have_one_region_and_see_what_the_other_does() {
    let store = Store::start(&Options { buckets: vec!["lab".to_owned()], ..Options::default() }).unwrap();
    let [one, two] = [server(&store), server(&store)];
    assert_eq!(one.get("/healthz").expect(200)["status"], "ok");
    let disk = volume(&one, "data", &json!({}));
    let taken = snapshot(&one, &disk, "first");
    let path = format!("/v2/snapshots/{}", id(&taken));
    assert_eq!(two.get(&path).expect(200)["snapshot"]["name"], "first");
    // What is written to a volume is on the disk of its server.
    assert_eq!(two.get("/v2/volumes").expect(200)["volumes"], json!([]));
    let clone = volume(&two, "clone", &json!({"snapshot_id": id(&taken)}));
    assert_eq!(clone["size_gigabytes"], disk["size_gigabytes"]);
    two.delete(&format!("/v2/volumes/{}", id(&clone))).expect(204);
    two.delete(&path).expect(204);
    assert_eq!(one.get(&path).status, 404);
    assert_eq!(one.get("/v2/snapshots").expect(200)["snapshots"], json!([]));
    assert!(one.path("state").read_dir().unwrap().count() > 1);
}
