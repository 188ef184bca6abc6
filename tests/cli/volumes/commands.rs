//! The commands that make and change volumes.

use std::os::unix::fs::FileExt;

use serde_json::json;

use crate::support::Fixture;
use crate::support::IMAGE_BYTES;
use crate::support::noise;
use crate::volumes::server::Server;
use crate::volumes::tools;

fn names(fixture: &Fixture) -> Vec<String> {
    let done = fixture.run(&["volume", "list", "--no-header"]).exits(0);
    done.out.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// Writes bytes to a volume through the server.
#[track_caller]
pub(crate) fn write(fixture: &Fixture, volume: &str, offset: u64, bytes: &[u8]) {
    let server = Server::start(fixture, &[volume]);
    std::fs::write(fixture.path("bytes"), bytes).unwrap();
    let text = format!("h.pwrite(open({:?}, 'rb').read(), {offset})", fixture.path("bytes"));
    tools::script(&server.uri(volume), &text);
    server.stop();
}

#[test]
fn a_volume_has_what_its_snapshot_has_and_zeros_beyond() {
    let fixture = Fixture::with_snapshot();
    let done = fixture.run(&["volume", "create", "same", "--snapshot", "base"]).exits(0);
    assert!(done.out.contains("volume same: 3.0 MiB, created from base"), "{done:?}");
    assert!(done.err.contains("icecore volume serve same"), "{done:?}");
    fixture.run(&["volume", "export", "same", "same.raw"]).exits(0);
    fixture.assert_equal("same.raw", "disk.raw");

    let made = fixture.result(&["volume", "create", "larger", "--snapshot", "base", "--size", "8M"]);
    assert_eq!(made["volume"]["size_bytes"], 8 << 20);
    fixture.run(&["volume", "export", "larger", "larger.raw"]).exits(0);
    let mut expected = std::fs::read(fixture.path("disk.raw")).unwrap();
    expected.resize(8 << 20, 0);
    assert!(std::fs::read(fixture.path("larger.raw")).unwrap() == expected);

    fixture.run(&["volume", "create", "zeros", "--size", "1M"]).exits(0);
    fixture.run(&["volume", "export", "zeros", "zeros.raw"]).exits(0);
    assert!(std::fs::read(fixture.path("zeros.raw")).unwrap() == vec![0; 1 << 20]);
    assert_eq!(names(&fixture), ["larger", "same", "zeros"]);
}

#[test]
fn a_volume_that_cannot_be_is_not_made() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "none"]).exits(2).says(&["--snapshot"]);
    fixture.run(&["volume", "create", "none", "--snapshot", "nope"]).exits(3).says(&["nope", "hint:"]);
    fixture.run(&["volume", "create", "none", "--snapshot", "base", "--size", "1M"]).exits(2).says(&["3"]);
    for name in ["a/b", "..", "a b", "", ".hidden"] {
        fixture.run(&["volume", "create", name, "--size", "1M"]).exits(2);
    }
    fixture.run(&["volume", "create", "web", "--size", "1M"]).exits(0);
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(4).says(&["web", "hint:"]);
    assert_eq!(names(&fixture), ["web"]);
}

#[test]
fn a_volume_may_be_the_first_thing_in_the_default_repository() {
    let fixture = Fixture::bare();
    let run = |arguments: &[&str]| {
        crate::support::finish(fixture.program().env_remove("ICECORE_REPO").args(arguments))
    };
    run(&["volume", "list"]).exits(3);
    run(&["volume", "create", "web", "--size", "1M"]).exits(0);
    assert!(run(&["volume", "list"]).exits(0).out.contains("web"));
}

#[test]
fn volumes_are_listed_and_told() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web-1", "--snapshot", "base"]).exits(0);
    fixture.run(&["volume", "create", "db", "--size", "1G", "--droplet"]).exits(0);
    let table = fixture.run(&["volume", "list"]).exits(0).out;
    let lines: Vec<&str> = table.lines().collect();
    let words = ["Name", "Size", "Written", "Base", "Created", "Type", "Served"];
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), words);
    assert!(lines[1].starts_with("db") && lines[1].contains("droplet"), "{table}");
    assert!(lines[2].starts_with("web-1") && lines[2].contains("base"), "{table}");
    let only = fixture.result(&["volume", "list", "web*"]);
    assert_eq!(only["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(only["volumes"][0]["origin"]["name"], "base");
    assert_eq!(only["volumes"][0]["served"], false);
    assert_eq!(only["volumes"][0]["size_bytes"], IMAGE_BYTES);
    let told = fixture.run(&["volume", "get", "web-1"]).exits(0).out;
    assert!(told.contains("Origin") && told.contains(&format!("{IMAGE_BYTES} bytes")), "{told}");
    fixture.run(&["volume", "get", "nope"]).exits(3).says(&["nope", "hint:"]);
}

#[test]
fn what_was_written_is_dropped_by_a_reset_and_a_restore() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.image("other.raw", 50);
    let file = std::fs::File::options().write(true).open(fixture.path("other.raw")).unwrap();
    file.set_len(4 << 20).unwrap();
    fixture.run(&["snapshot", "create", "other.raw", "--name", "other"]).exits(0);
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    write(&fixture, "web", 5000, &noise(7, 9000));
    let told = fixture.result(&["volume", "get", "web"]);
    assert_eq!(told["volumes"][0]["written_bytes"], 3 * 4096);

    fixture.run(&["volume", "reset", "web"]).exits(2).says(&["--force"]);
    let reset = fixture.result(&["volume", "reset", "web", "--force"]);
    assert_eq!(reset["volume"]["written_bytes"], 0);
    fixture.run(&["volume", "export", "web", "reset.raw"]).exits(0);
    fixture.assert_equal("reset.raw", "disk.raw");

    write(&fixture, "web", 100, &noise(8, 100));
    fixture.run(&["volume", "restore", "web", "other"]).exits(2).says(&["--force"]);
    fixture.run(&["volume", "restore", "web", "nope", "--force"]).exits(3);
    let restored = fixture.result(&["volume", "restore", "web", "other", "--force"]);
    assert_eq!(restored["volume"]["size_bytes"], 4 << 20);
    assert_eq!(restored["volume"]["base"]["name"], "other");
    fixture.run(&["volume", "export", "web", "restored.raw"]).exits(0);
    fixture.assert_equal("restored.raw", "other.raw");
}

#[test]
fn a_volume_grows_and_does_not_shrink() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    fixture.run(&["volume", "resize", "web", "1M"]).exits(2).says(&["smaller"]);
    let grown = fixture.result(&["volume", "resize", "web", "5M"]);
    assert_eq!(grown["volume"]["size_bytes"], 5 << 20);
    fixture.run(&["volume", "export", "web", "grown.raw"]).exits(0);
    let mut expected = std::fs::read(fixture.path("disk.raw")).unwrap();
    expected.resize(5 << 20, 0);
    assert!(std::fs::read(fixture.path("grown.raw")).unwrap() == expected);
}

#[test]
fn a_volume_is_deleted_only_for_sure() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    fixture.run(&["volume", "create", "db", "--size", "1M"]).exits(0);
    fixture.run(&["volume", "delete", "web"]).exits(2).says(&["--force"]);
    fixture.run(&["volume", "delete", "web", "nope", "--force"]).exits(3);
    assert_eq!(names(&fixture), ["db", "web"]);
    let deleted = fixture.result(&["volume", "delete", "web", "db", "web", "--force"]);
    assert_eq!(deleted["deleted"].as_array().unwrap().len(), 2);
    assert_eq!(names(&fixture), Vec::<String>::new());
    fixture.run(&["volume", "create", "web", "--size", "1M"]).exits(0);
}

#[test]
fn an_export_is_what_a_restore_of_a_snapshot_of_it_is() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    write(&fixture, "web", 1 << 20, &noise(3, 70_001));
    let taken = fixture.result(&["volume", "snapshot", "web", "--name", "one", "--tag", "t"]);
    assert_eq!((&taken["snapshot"]["name"], &taken["unchanged"]), (&json!("one"), &json!(false)));
    assert_eq!(taken["snapshot"]["tags"], json!(["t"]));
    assert!(taken["read_bytes"].as_u64().unwrap() < 300_000, "{taken}");
    fixture.run(&["volume", "export", "web", "exported.raw"]).exits(0);
    fixture.run(&["volume", "export", "web", "exported.raw"]).exits(4).says(&["--force"]);
    fixture.run(&["volume", "export", "web", "exported.raw", "--force"]).exits(0);
    fixture.run(&["restore", "one", "restored.raw"]).exits(0);
    fixture.assert_equal("exported.raw", "restored.raw");
    let mut expected = std::fs::read(fixture.path("disk.raw")).unwrap();
    expected[1 << 20..][..70_001].copy_from_slice(&noise(3, 70_001));
    assert!(std::fs::read(fixture.path("exported.raw")).unwrap() == expected);
    // Nothing was written since: the next one reads nothing.
    let again = fixture.result(&["volume", "snapshot", "web"]);
    assert_eq!((&again["read_bytes"], &again["unchanged"]), (&json!(0), &json!(true)));
    assert!(again["snapshot"]["name"].as_str().unwrap().starts_with("web-"), "{again}");
    let told = fixture.result(&["volume", "get", "web"]);
    assert_eq!(told["volumes"][0]["written_bytes"], 0);
    assert_eq!(told["volumes"][0]["origin"]["name"], "base");
    fixture.run(&["volume", "snapshot", "web", "--name", "one"]).exits(4);
    fixture.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn a_snapshot_stays_while_a_volume_is_made_of_it() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    fixture.run(&["snapshot", "delete", "base", "--force"]).exits(5).says(&["web", "hint:"]);
    fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
    fixture.assert_equal("web.raw", "disk.raw");
    fixture.run(&["snapshot", "delete", "base", "--force", "--keep-clones"]).exits(0);
    fixture.run(&["gc", "--max-unused", "0%"]).exits(0);
    fixture.run(&["volume", "reset", "web", "--force"]).exits(0);
    fixture.run(&["volume", "export", "web", "again.raw"]).exits(0);
    fixture.assert_equal("again.raw", "disk.raw");
    fixture.run(&["volume", "delete", "web", "--force"]).exits(0);
}

#[test]
fn a_volume_with_a_damaged_record_is_told_and_others_work() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    fixture.run(&["volume", "create", "bad", "--snapshot", "base"]).exits(0);
    let dir = std::fs::read_dir(fixture.path("repo/local/volumes/bad")).unwrap();
    for file in dir.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        if file.metadata().unwrap().len() > 0 {
            let file = std::fs::File::options().write(true).open(file).unwrap();
            file.write_all_at(b"rubbish", 0).unwrap();
        }
    }
    let listed = fixture.run(&["-o", "json", "volume", "list"]).exits(1).json();
    assert_eq!(listed["result"]["volumes"][0]["name"], "web");
    assert_eq!(listed["result"]["unreadable"][0]["file"], "bad");
    fixture.run(&["volume", "get", "bad"]).exits(6);
    fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
}
