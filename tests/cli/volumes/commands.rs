//! The commands that make and change volumes.

use std::os::unix::fs::FileExt;

use serde_json::json;

use crate::support::IMAGE_BYTES;
use crate::support::Place;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;

fn names(place: &Place) -> Vec<String> {
    let done = place.run(&["volume", "list", "--no-header"]).exits(0);
    done.out.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// Writes bytes to a volume through the server.
#[track_caller]
pub(crate) fn write(place: &Place, volume: &str, offset: u64, bytes: &[u8]) {
    let server = Server::start(place, &[volume]);
    std::fs::write(place.path("bytes"), bytes).unwrap();
    let text = format!("h.pwrite(open({:?}, 'rb').read(), {offset})", place.path("bytes"));
    tools::script(&server.uri(volume), &text);
    server.stop();
}

#[test]
fn a_volume_has_what_its_snapshot_has_and_zeros_beyond() {
    let place = Place::with_snapshot();
    let done = place.run(&["volume", "create", "same", "--snapshot", "base"]).exits(0);
    assert!(done.out.contains("volume same: 3.0 MiB, created from base"), "{done:?}");
    assert!(done.err.contains("icecore volume serve same"), "{done:?}");
    place.run(&["volume", "export", "same", "same.raw"]).exits(0);
    place.assert_equal("same.raw", "disk.raw");

    let made = place.result(&["volume", "create", "larger", "--snapshot", "base", "--size", "8M"]);
    assert_eq!(made["volume"]["size_bytes"], 8 << 20);
    place.run(&["volume", "export", "larger", "larger.raw"]).exits(0);
    let mut expected = std::fs::read(place.path("disk.raw")).unwrap();
    expected.resize(8 << 20, 0);
    assert!(std::fs::read(place.path("larger.raw")).unwrap() == expected);

    place.run(&["volume", "create", "zeros", "--size", "1M"]).exits(0);
    place.run(&["volume", "export", "zeros", "zeros.raw"]).exits(0);
    assert!(std::fs::read(place.path("zeros.raw")).unwrap() == vec![0; 1 << 20]);
    assert_eq!(names(&place), ["larger", "same", "zeros"]);
}

#[test]
fn a_volume_that_cannot_be_is_not_made() {
    let place = Place::with_snapshot();
    place.run(&["volume", "create", "none"]).exits(2).says(&["--snapshot"]);
    place.run(&["volume", "create", "none", "--snapshot", "nope"]).exits(3).says(&["nope", "hint:"]);
    place.run(&["volume", "create", "none", "--snapshot", "base", "--size", "1M"]).exits(2).says(&["3"]);
    for name in ["a/b", "..", "a b", "", ".hidden"] {
        place.run(&["volume", "create", name, "--size", "1M"]).exits(2);
    }
    place.run(&["volume", "create", "web", "--size", "1M"]).exits(0);
    place.run(&["volume", "create", "web", "--snapshot", "base"]).exits(4).says(&["web", "hint:"]);
    assert_eq!(names(&place), ["web"]);
}

#[test]
fn a_volume_may_be_the_first_thing_in_the_default_repository() {
    let place = Place::bare();
    let run = |arguments: &[&str]| {
        crate::support::finish(place.program().env_remove("ICECORE_REPO").args(arguments))
    };
    run(&["volume", "list"]).exits(3);
    run(&["volume", "create", "web", "--size", "1M"]).exits(0);
    assert!(run(&["volume", "list"]).exits(0).out.contains("web"));
}

#[test]
fn volumes_are_listed_and_told() {
    let place = Place::with_snapshot();
    place.run(&["volume", "create", "web-1", "--snapshot", "base"]).exits(0);
    place.run(&["volume", "create", "db", "--size", "1G", "--droplet"]).exits(0);
    let table = place.run(&["volume", "list"]).exits(0).out;
    let lines: Vec<&str> = table.lines().collect();
    let words = ["Name", "Size", "Written", "Base", "Created", "Type", "Served"];
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), words);
    assert!(lines[1].starts_with("db") && lines[1].contains("droplet"), "{table}");
    assert!(lines[2].starts_with("web-1") && lines[2].contains("base"), "{table}");
    let only = place.result(&["volume", "list", "web*"]);
    assert_eq!(only["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(only["volumes"][0]["origin"]["name"], "base");
    assert_eq!(only["volumes"][0]["served"], false);
    assert_eq!(only["volumes"][0]["size_bytes"], IMAGE_BYTES);
    let told = place.run(&["volume", "get", "web-1"]).exits(0).out;
    assert!(told.contains("Origin") && told.contains(&format!("{IMAGE_BYTES} bytes")), "{told}");
    place.run(&["volume", "get", "nope"]).exits(3).says(&["nope", "hint:"]);
}

#[test]
fn what_was_written_is_dropped_by_a_reset_and_a_restore() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let place = Place::with_snapshot();
    place.image("other.raw", 50);
    let file = std::fs::File::options().write(true).open(place.path("other.raw")).unwrap();
    file.set_len(4 << 20).unwrap();
    place.run(&["snapshot", "create", "other.raw", "--name", "other"]).exits(0);
    place.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    write(&place, "web", 5000, &noise(7, 9000));
    let told = place.result(&["volume", "get", "web"]);
    assert_eq!(told["volumes"][0]["written_bytes"], 3 * 4096);

    place.run(&["volume", "reset", "web"]).exits(2).says(&["--force"]);
    let reset = place.result(&["volume", "reset", "web", "--force"]);
    assert_eq!(reset["volume"]["written_bytes"], 0);
    place.run(&["volume", "export", "web", "reset.raw"]).exits(0);
    place.assert_equal("reset.raw", "disk.raw");

    write(&place, "web", 100, &noise(8, 100));
    place.run(&["volume", "restore", "web", "other"]).exits(2).says(&["--force"]);
    place.run(&["volume", "restore", "web", "nope", "--force"]).exits(3);
    let restored = place.result(&["volume", "restore", "web", "other", "--force"]);
    assert_eq!(restored["volume"]["size_bytes"], 4 << 20);
    assert_eq!(restored["volume"]["base"]["name"], "other");
    place.run(&["volume", "export", "web", "restored.raw"]).exits(0);
    place.assert_equal("restored.raw", "other.raw");
}

#[test]
fn a_volume_grows_and_does_not_shrink() {
    let place = Place::with_snapshot();
    place.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    place.run(&["volume", "resize", "web", "1M"]).exits(2).says(&["smaller"]);
    let grown = place.result(&["volume", "resize", "web", "5M"]);
    assert_eq!(grown["volume"]["size_bytes"], 5 << 20);
    place.run(&["volume", "export", "web", "grown.raw"]).exits(0);
    let mut expected = std::fs::read(place.path("disk.raw")).unwrap();
    expected.resize(5 << 20, 0);
    assert!(std::fs::read(place.path("grown.raw")).unwrap() == expected);
}

#[test]
fn a_volume_is_deleted_only_for_sure() {
    let place = Place::with_snapshot();
    place.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    place.run(&["volume", "create", "db", "--size", "1M"]).exits(0);
    place.run(&["volume", "delete", "web"]).exits(2).says(&["--force"]);
    place.run(&["volume", "delete", "web", "nope", "--force"]).exits(3);
    assert_eq!(names(&place), ["db", "web"]);
    let deleted = place.result(&["volume", "delete", "web", "db", "web", "--force"]);
    assert_eq!(deleted["deleted"].as_array().unwrap().len(), 2);
    assert_eq!(names(&place), Vec::<String>::new());
    place.run(&["volume", "create", "web", "--size", "1M"]).exits(0);
}

#[test]
fn an_export_is_what_a_restore_of_a_snapshot_of_it_is() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let place = Place::with_snapshot();
    place.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    write(&place, "web", 1 << 20, &noise(3, 70_001));
    let taken = place.result(&["volume", "snapshot", "web", "--name", "one", "--tag", "t"]);
    assert_eq!((&taken["snapshot"]["name"], &taken["unchanged"]), (&json!("one"), &json!(false)));
    assert_eq!(taken["snapshot"]["tags"], json!(["t"]));
    assert!(taken["read_bytes"].as_u64().unwrap() < 300_000, "{taken}");
    place.run(&["volume", "export", "web", "exported.raw"]).exits(0);
    place.run(&["volume", "export", "web", "exported.raw"]).exits(4).says(&["--force"]);
    place.run(&["volume", "export", "web", "exported.raw", "--force"]).exits(0);
    place.run(&["restore", "one", "restored.raw"]).exits(0);
    place.assert_equal("exported.raw", "restored.raw");
    let mut expected = std::fs::read(place.path("disk.raw")).unwrap();
    expected[1 << 20..][..70_001].copy_from_slice(&noise(3, 70_001));
    assert!(std::fs::read(place.path("exported.raw")).unwrap() == expected);
    // Nothing was written since: the next one reads nothing.
    let again = place.result(&["volume", "snapshot", "web"]);
    assert_eq!((&again["read_bytes"], &again["unchanged"]), (&json!(0), &json!(true)));
    assert!(again["snapshot"]["name"].as_str().unwrap().starts_with("web-"), "{again}");
    let told = place.result(&["volume", "get", "web"]);
    assert_eq!(told["volumes"][0]["written_bytes"], 0);
    assert_eq!(told["volumes"][0]["origin"]["name"], "base");
    place.run(&["volume", "snapshot", "web", "--name", "one"]).exits(4);
    place.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn a_snapshot_stays_while_a_volume_is_made_of_it() {
    let place = Place::with_snapshot();
    place.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    place.run(&["snapshot", "delete", "base", "--force"]).exits(5).says(&["web", "hint:"]);
    place.run(&["gc", "--max-unused", "0%"]).exits(0);
    place.run(&["volume", "export", "web", "web.raw"]).exits(0);
    place.assert_equal("web.raw", "disk.raw");
    place.run(&["snapshot", "delete", "base", "--force", "--keep-clones"]).exits(0);
    place.run(&["gc", "--max-unused", "0%"]).exits(0);
    place.run(&["volume", "reset", "web", "--force"]).exits(0);
    place.run(&["volume", "export", "web", "again.raw"]).exits(0);
    place.assert_equal("again.raw", "disk.raw");
    place.run(&["volume", "delete", "web", "--force"]).exits(0);
}

#[test]
fn a_volume_with_a_damaged_record_is_told_and_others_work() {
    let place = Place::with_snapshot();
    place.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    place.run(&["volume", "create", "bad", "--snapshot", "base"]).exits(0);
    let dir = std::fs::read_dir(place.path("repo/local/volumes/bad")).unwrap();
    for file in dir.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        if file.metadata().unwrap().len() > 0 {
            let file = std::fs::File::options().write(true).open(file).unwrap();
            file.write_all_at(b"rubbish", 0).unwrap();
        }
    }
    let listed = place.run(&["-o", "json", "volume", "list"]).exits(1).json();
    assert_eq!(listed["result"]["volumes"][0]["name"], "web");
    assert_eq!(listed["result"]["unreadable"][0]["file"], "bad");
    place.run(&["volume", "get", "bad"]).exits(6);
    place.run(&["volume", "export", "web", "web.raw"]).exits(0);
}
