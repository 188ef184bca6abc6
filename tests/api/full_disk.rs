//! A region on a disk that is full.

use std::sync::Arc;

use icecore_testing::disk;
use icecore_testing::disk::Disk;
use icecore_testing::disk::Kind;
use serde_json::json;
use tempfile::TempDir;

use crate::contract::id;
use crate::contract::snapshot;
use crate::contract::volume;
use crate::support::Server;
use crate::support::USUAL;
use crate::tools::have;
use crate::tools::nbdsh;
use crate::tools::uri;
use crate::tools::works;

/// Returns a script that begins with `data`, so many bytes that cannot be compressed.
fn with_data(seed: u64, script: &str) -> String {
    format!("import random\ndata = random.Random({seed}).randbytes(8 << 20)\n{script}")
}

/// Returns how many bytes are free on a disk.
fn free_bytes(disk: &Disk) -> u64 {
    let said = works("df", &["--output=avail", "-B1", disk.point.to_str().unwrap()]);
    said.lines().last().unwrap().trim().parse().unwrap()
}

#[test]
fn a_volume_works_on_after_snapshots_that_found_no_room() {
    if !have(&["nbdsh", "df"]) {
        return;
    }
    let Some(disk) = Disk::get(Kind { mib: 24, ..disk::EXT4 }) else { return };
    let place = format!("repository = \"{}\"", disk.path("here").display());
    let text = USUAL.replace("repository = \"here\"", &place);
    let server = Server::start_in(Arc::new(TempDir::new().unwrap()), &text);
    let web = volume(&server, "web", &json!({}));
    let write = |seed| nbdsh(&uri(&web), &with_data(seed, "h.pwrite(data, 0)\nh.flush()"));
    write(1);
    for seed in 2..5 {
        disk.fill(100 << 10);
        let refused = server.post(&format!("/v2/volumes/{}/snapshots", id(&web)), &json!({"name": "full"}));
        assert!(refused.expect(403)["message"].as_str().unwrap().contains("capacity"), "{refused:?}");
        assert_eq!(server.get("/v2/snapshots").expect(200)["snapshots"], json!([]));
        // What it wrote took the rest.
        disk.fill(0);
        write(seed);
    }
    let free = free_bytes(&disk);
    nbdsh(&uri(&web), "h.trim(4 << 20, 0)\nh.flush()");
    let given_back = free_bytes(&disk) - free;
    assert!(given_back > 3 << 20, "a trim gave back {given_back} bytes");
    disk.fill(0);
    let there = "assert h.pread(8 << 20, 0) == bytes(4 << 20) + data[4 << 20:]";
    nbdsh(&uri(&web), &with_data(4, there));
    disk.drain();
    let taken = snapshot(&server, &web, "whole");
    let body = json!({"name": "clone", "snapshot_id": taken["id"], "size_gigabytes": 1, "region": ""});
    let clone = server.post("/v2/volumes", &body).expect(201)["volume"].take();
    nbdsh(&uri(&clone), &with_data(4, there));
}
