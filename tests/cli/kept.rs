//! Repositories that earlier versions have made, in `fixtures/`: every later version reads them, and
//! can go on with them. They are never made again; a new version adds its own.
//!
//! `ICECORE_MAKE_FIXTURES=DIR cargo test -p icecore-cli --test cli kept` makes those of this version
//! in DIR.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use serde_json::json;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;
use crate::support::noise;

/// The password of the sealed ones.
const PASSWORD: &str = "the password of the fixtures";
/// The file beside a repository that says what it holds.
const EXPECTED: &str = "expected.json";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

fn run(place: &Fixture, arguments: &[&str]) -> Done {
    finish(place.program().env("ICECORE_PASSWORD", PASSWORD).args(arguments))
}

#[track_caller]
fn result(place: &Fixture, arguments: &[&str]) -> Value {
    run(place, &[&["-o", "json"], arguments].concat()).exits(0).json()["result"].clone()
}

fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// Copies a repository to where it can be changed.
fn copy_of(kept: &Path) -> Fixture {
    let place = Fixture::bare();
    let copied = Command::new("cp").arg("-r").arg(kept.join("repo")).arg(place.path("repo")).status();
    assert!(copied.unwrap().success());
    place
}

/// Returns the snapshots of a repository with what a later version must still say of each.
fn told(snapshots: &Value) -> Vec<Value> {
    let fields = ["id", "name", "created", "resource", "type", "size_bytes", "tags", "protected", "content"];
    let told = |snapshot: &Value| {
        Value::Object(fields.iter().map(|field| ((*field).to_owned(), snapshot[field].clone())).collect())
    };
    snapshots.as_array().unwrap().iter().map(told).collect()
}

fn reads_and_goes_on(kept: &Path) {
    let expected: Value = serde_json::from_slice(&fs::read(kept.join(EXPECTED)).unwrap()).unwrap();
    let place = copy_of(kept);
    let listed = result(&place, &["snapshot", "list"]);
    assert_eq!(told(&listed["snapshots"]), *expected["snapshots"].as_array().unwrap());
    run(&place, &["verify", "--read-data"]).exits(0);
    let restored = |place: &Fixture, name: &str| {
        let _ = fs::remove_file(place.path("restored.raw"));
        run(place, &["restore", name, "restored.raw"]).exits(0);
        sha256(&place.path("restored.raw"))
    };
    for (name, sum) in expected["restored"].as_object().unwrap() {
        assert_eq!(restored(&place, name), *sum, "{name}");
    }
    let log = result(&place, &["log"]);
    let kinds = |entry: &Value| entry["events"].as_array().unwrap().len();
    assert_eq!(
        log["entries"].as_array().unwrap().iter().map(kinds).sum::<usize>() as u64,
        expected["events"].as_u64().unwrap()
    );

    // What was deleted comes back, known data is known, and gc takes what is not needed.
    let (deleted, sum) = expected["deleted"].as_object().unwrap().iter().next().unwrap();
    run(&place, &["snapshot", "undelete", deleted]).exits(0);
    assert_eq!(restored(&place, deleted), *sum);
    let again = ["snapshot", "create", "restored.raw", "--volume", "again", "--format", "raw"];
    assert_eq!(result(&place, &again)["snapshot"]["new_bytes"].as_u64(), Some(0));
    for name in expected["restored"].as_object().unwrap().keys().take(2) {
        run(&place, &["snapshot", "unprotect", name]).exits(0);
        run(&place, &["snapshot", "delete", "-f", name]).exits(0);
    }
    run(&place, &["gc"]).exits(0);
    run(&place, &["verify", "--read-data"]).exits(0);
    assert_eq!(restored(&place, deleted), *sum);
    // All of the catalog can be found again.
    fs::remove_file(place.path("repo/config")).unwrap();
    run(&place, &["repair", "catalog"]).exits(1);
    run(&place, &["repair", "index"]).exits(0);
    assert_eq!(restored(&place, deleted), *sum);
}

#[test]
fn a_repository_of_version_3_is_read_and_gone_on_with() {
    reads_and_goes_on(&fixtures().join("v3/plain"));
}

#[test]
fn a_sealed_repository_of_version_3_is_read_and_gone_on_with() {
    let kept = fixtures().join("v3/sealed");
    let refused =
        finish(copy_of(&kept).program().env("ICECORE_PASSWORD", "another").args(["snapshot", "list"]));
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.out.is_empty() && refused.err.contains("password"), "{refused:?}");
    reads_and_goes_on(&kept);
}

/// Makes the fixtures of this version, if somebody asks for them.
#[test]
fn fixtures_can_be_made() {
    let Some(into) = std::env::var_os("ICECORE_MAKE_FIXTURES") else { return };
    make(&Path::new(&into).join("plain"), &["init", "--no-seal"]);
    make(&Path::new(&into).join("sealed"), &["init", "--seal"]);
}

fn make(into: &Path, init: &[&str]) {
    let place = Fixture::bare();
    run(&place, init).exits(0);
    let text: Vec<u8> = (0_u32..150_000).flat_map(|number| format!("{number:x}\n").into_bytes()).collect();
    let mut image = [&noise(1, 300_000)[..], &text, &vec![0; 900_000], &noise(2, 700_000)].concat();
    let take = |image: &[u8], arguments: &[&str]| {
        fs::write(place.path("disk.raw"), image).unwrap();
        let create = ["snapshot", "create", "disk.raw", "--format", "raw"];
        run(&place, &[&create[..], arguments].concat()).exits(0);
        sha256(&place.path("disk.raw"))
    };
    let mut restored = serde_json::Map::new();
    let first = take(&image, &["--droplet", "web-1", "--name", "first", "--tag", "env:prod", "--tag", "a"]);
    restored.insert("first".to_owned(), first.into());
    // Small ones, of which some are put together, and after which there are checkpoints.
    let mut deleted = serde_json::Map::new();
    for number in 0..70 {
        let at = number * 4096;
        image[at..at + 4096].copy_from_slice(&noise(100 + number as u64, 4096));
        let name = format!("small-{number}");
        let sum = take(&image, &["--droplet", "web-1", "--name", &name]);
        match number {
            30 | 69 => drop(restored.insert(name, sum.into())),
            60 => drop(deleted.insert(name, sum.into())),
            _ => {}
        }
    }
    let most: Vec<String> = (0..30).chain(31..60).map(|number| format!("small-{number}")).collect();
    let most: Vec<&str> = most.iter().map(String::as_str).collect();
    run(&place, &[&["snapshot", "delete", "-f"], &most[..]].concat()).exits(0);
    run(&place, &["gc"]).exits(0);
    run(&place, &["parity", "8+1"]).exits(0);
    if init.contains(&"--seal") {
        run(&place, &["key", "rotate"]).exits(0);
    }
    image.rotate_left(512 * 1024);
    let other = take(&image, &["--volume", "données", "--name", "other"]);
    restored.insert("other".to_owned(), other.into());
    run(&place, &["snapshot", "rename", "small-69", "renamed"]).exits(0);
    let sum = restored.remove("small-69").unwrap();
    restored.insert("renamed".to_owned(), sum);
    run(&place, &["snapshot", "tag", "other", "+kept"]).exits(0);
    run(&place, &["snapshot", "protect", "other"]).exits(0);
    run(&place, &["snapshot", "delete", "-f", "small-60"]).exits(0);
    run(&place, &["verify", "--read-data"]).exits(0);

    let listed = result(&place, &["snapshot", "list"]);
    let log = result(&place, &["log"]);
    let events =
        log["entries"].as_array().unwrap().iter().map(|entry| entry["events"].as_array().unwrap().len());
    let expected = json!({
        "snapshots": told(&listed["snapshots"]),
        "restored": restored,
        "deleted": deleted,
        "events": events.sum::<usize>(),
    });
    fs::remove_dir_all(place.path("repo/local")).unwrap();
    fs::create_dir_all(into).unwrap();
    let copied = Command::new("cp").arg("-r").arg(place.path("repo")).arg(into).status();
    assert!(copied.unwrap().success());
    fs::write(into.join(EXPECTED), serde_json::to_vec_pretty(&expected).unwrap()).unwrap();
}
