//! Repositories in buckets: every verb does what it does in a directory, from several machines, and
//! errors say what to do.

use std::path::Path;
use std::time::Duration;

use icecore_testing_s3::Credential;
use icecore_testing_s3::Options;
use icecore_testing_s3::Rights;
use icecore_testing_s3::Server as Store;
use serde_json::Value;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;
use crate::volumes::server::Server;
use crate::volumes::tools;

/// Starts a store with the bucket `lab`.
pub(crate) fn store() -> Store {
    store_with(Options::default())
}

fn store_with(options: Options) -> Store {
    Store::start(&Options { buckets: vec!["lab".to_owned()], ..options }).unwrap()
}

/// A machine that uses the repository in a prefix of the bucket, which may not exist.
pub(crate) fn machine(store: &Store, prefix: &str) -> Fixture {
    let mut fixture = Fixture::bare();
    fixture.set("AWS_ACCESS_KEY_ID", "test");
    fixture.set("AWS_SECRET_ACCESS_KEY", "secret");
    fixture.set("AWS_REGION", "us-east-1");
    fixture.set("AWS_EC2_METADATA_DISABLED", "true");
    fixture.set("AWS_ENDPOINT_URL", store.endpoint());
    fixture.set("ICECORE_REPO", format!("s3://lab/{prefix}"));
    fixture
}

/// A machine with the repository `disks` and the snapshot `base`, as of [`Fixture::with_snapshot`].
fn with_snapshot(store: &Store) -> Fixture {
    let fixture = machine(store, "disks");
    fixture.run(&["init"]).exits(0);
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture
}

/// Runs a command in a directory and in a bucket, and compares what the pointers lead to.
#[track_caller]
fn both(places: &[Fixture; 2], arguments: &[&str], code: i32, pointers: &[&str]) {
    let told = places.each_ref().map(|fixture| {
        let done = fixture.run(&[&["-o", "json"], arguments].concat()).exits(code);
        let result = done.json()["result"].take();
        pointers.iter().map(|pointer| result.pointer(pointer).cloned()).collect::<Vec<Option<Value>>>()
    });
    assert!(told[0].iter().all(Option::is_some), "{arguments:?}: {told:?}");
    assert_eq!(told[0], told[1], "{arguments:?}");
}

fn names(fixture: &Fixture) -> Vec<String> {
    let list = fixture.result(&["snapshot", "list"]);
    let mut names: Vec<String> = list["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| snapshot["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn snapshots_are_the_same_as_in_a_directory() {
    let store = store();
    let places = [Fixture::bare(), machine(&store, "disks")];
    both(&places, &["init"], 0, &["/sealed"]);
    places.iter().for_each(|fixture| fixture.image("disk.raw", 1));
    let of_new = ["/snapshot/size_bytes", "/snapshot/data_bytes", "/snapshot/name", "/snapshot/resource"];
    both(&places, &["snapshot", "create", "disk.raw", "--name", "base"], 0, &of_new);
    places.iter().for_each(|fixture| fixture.scribble("disk.raw", 8192, 4096));
    both(&places, &["snapshot", "create", "disk.raw", "--name", "next", "--tag", "t"], 0, &of_new);
    both(&places, &["snapshot", "list"], 0, &["/snapshots/0/name", "/snapshots/1/name", "/snapshots/1/tags"]);
    both(&places, &["snapshot", "get", "base"], 0, &["/snapshots/0/size_bytes"]);
    both(&places, &["snapshot", "diff", "base", "next"], 0, &["/ranges", "/totals"]);
    both(&places, &["snapshot", "map", "next", "--against", "base", "--width", "4"], 0, &["/cells"]);
    both(&places, &["snapshot", "tag", "base", "+x"], 0, &["/snapshot/tags"]);
    both(&places, &["snapshot", "protect", "base"], 0, &["/snapshot/protected"]);
    both(&places, &["snapshot", "unprotect", "base"], 0, &["/snapshot/protected"]);
    both(&places, &["snapshot", "rename", "base", "first"], 0, &["/snapshot/name"]);
    both(&places, &["verify", "--read-data"], 0, &["/snapshots", "/chunks", "/chunks_read", "/findings"]);
    both(&places, &["verify", "--sample", "50%"], 0, &["/findings"]);
    both(
        &places,
        &["stats"],
        0,
        &["/repository/snapshots", "/repository/data_bytes", "/repository/unique_bytes"],
    );
    both(&places, &["snapshot", "delete", "-f", "first"], 0, &["/deleted/0/name"]);
    both(&places, &["snapshot", "undelete", "first"], 0, &["/restored/0/name"]);
    both(&places, &["snapshot", "prune", "--keep-last", "1", "--force"], 0, &["/deleted/0/name"]);
    both(&places, &["gc", "--max-unused", "0%", "--grace", "0s"], 0, &["/dry_run"]);
    both(&places, &["verify", "--read-data"], 0, &["/snapshots", "/findings"]);
    both(&places, &["log"], 0, &["/entries/0/events/0/kind"]);
}

#[test]
fn an_image_comes_back_into_a_file_in_place_and_through_a_pipe() {
    let store = store();
    let fixture = with_snapshot(&store);
    fixture.run(&["restore", "base", "new.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "new.raw");
    fixture.scribble("new.raw", 100_000, 50_000);
    fixture.run(&["restore", "base", "new.raw", "--in-place"]).exits(0);
    fixture.assert_equal("disk.raw", "new.raw");
    let out = std::fs::File::create(fixture.path("piped.raw")).unwrap();
    let status = fixture.program().args(["-q", "restore", "base", "-"]).stdout(out).status().unwrap();
    assert!(status.success());
    fixture.assert_equal("disk.raw", "piped.raw");
}

#[test]
fn upkeep_is_the_same_as_in_a_directory() {
    let store = store();
    let places = [Fixture::bare(), machine(&store, "disks")];
    both(&places, &["init", "--parity", "3+1"], 0, &["/sealed"]);
    places.iter().for_each(|fixture| fixture.image("disk.raw", 1));
    both(&places, &["snapshot", "create", "disk.raw", "--name", "base"], 0, &["/snapshot/name"]);
    both(&places, &["parity"], 0, &["/scheme", "/packs", "/packs_without", "/groups"]);
    both(&places, &["repair", "index"], 0, &["/packs", "/chunks", "/blocks"]);
    both(&places, &["repair", "packs"], 0, &["/packs", "/lost"]);
    both(&places, &["repair", "snapshots"], 0, &["/snapshots", "/lost"]);
    both(&places, &["repair", "catalog"], 0, &["/mended", "/lost_entries", "/snapshots"]);
    both(&places, &["parity", "off"], 0, &["/scheme", "/groups"]);
    both(&places, &["verify"], 0, &["/findings"]);
}

#[test]
fn a_volume_has_its_overlay_here_and_its_base_in_the_bucket() {
    let store = store();
    let fixture = with_snapshot(&store);
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "web.raw");
    if !tools::have(&["qemu-io"]) {
        return;
    }
    let server = Server::start(&fixture, &["web"]);
    let uri = server.uri("web");
    assert!(uri.contains("/home/.local/state/icecore/"), "{uri}");
    let io = |command: &str| {
        let told = tools::works("qemu-io", &["-f", "raw", "-c", command, &uri]);
        assert!(!told.contains("fail"), "{told}");
    };
    io("read -P 0 2097152 65536");
    io("write -P 7 8192 4096");
    io("flush");
    assert_eq!(fixture.result(&["volume", "list"])["volumes"][0]["served"], true);
    let taken = fixture.result(&["volume", "snapshot", "web", "--name", "live"]);
    assert_eq!(taken["snapshot"]["name"], "live");
    io("read -P 7 8192 4096");
    server.stop();
    fixture.run(&["restore", "live", "live.raw"]).exits(0);
    let mut expected = std::fs::read(fixture.path("disk.raw")).unwrap();
    expected[8192..12288].fill(7);
    assert_eq!(std::fs::read(fixture.path("live.raw")).unwrap(), expected);
    fixture.run(&["volume", "reset", "-f", "web"]).exits(0);
    fixture.run(&["volume", "delete", "-f", "web"]).exits(0);
    assert!(!store.objects("lab").iter().any(|(key, _)| key.contains("overlay")));
}

#[test]
fn snapshots_are_copied_between_directories_and_buckets_in_all_directions() {
    let store = store();
    let fixture = with_snapshot(&store);
    for (name, repo) in [("two", "s3://lab/two"), ("three", "three"), ("four", "s3://lab/four")] {
        fixture.run(&["--repo", repo, "init"]).exits(0);
        fixture.run(&["repo", "add", name, repo]).exits(0);
    }
    // From a bucket to a bucket and to a directory; from that to another bucket, by its name.
    fixture.run(&["snapshot", "copy", "base", "--to", "s3://lab/two"]).exits(0);
    fixture.run(&["--repo", "@two", "snapshot", "copy", "base", "--to", "three"]).exits(0);
    fixture.run(&["--repo", "@three", "snapshot", "copy", "base", "--to", "@four"]).exits(0);
    for repo in ["@two", "@three", "@four"] {
        let file = format!("{}.raw", &repo[1..]);
        fixture.run(&["--repo", repo, "restore", "base", &file]).exits(0);
        fixture.assert_equal("disk.raw", &file);
        fixture.run(&["--repo", repo, "verify", "--read-data"]).exits(0);
    }
}

#[test]
fn a_sealed_repository_in_a_bucket_needs_its_password() {
    let store = store();
    let mut fixture = machine(&store, "sealed");
    fixture.set("ICECORE_PASSWORD", "open sesame");
    fixture.set("ICECORE_NEW_PASSWORD", "another");
    assert_eq!(fixture.result(&["init"])["sealed"], true);
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["key", "add"]).exits(0);
    assert_eq!(fixture.result(&["key", "list"])["keys"].as_array().unwrap().len(), 2);
    fixture.run(&["key", "rotate"]).exits(0);
    fixture.set("ICECORE_PASSWORD", "another");
    fixture.run(&["restore", "base", "new.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "new.raw");
    fixture.set("ICECORE_PASSWORD", "wrong");
    fixture.run(&["snapshot", "list"]).exits(10).says(&["s3://lab/sealed"]);
    // Whoever has no password still learns what it is.
    fixture.unset("ICECORE_PASSWORD");
    let checked = fixture.result(&["repo", "check", "--no-probe", "s3://lab/sealed"]);
    assert_eq!(checked["repositories"][0]["sealed"], true);
}

#[test]
fn two_machines_use_one_repository_at_once() {
    let store = store();
    let [one, two] = [machine(&store, "disks"), machine(&store, "disks")];
    one.run(&["init"]).exits(0);
    one.image("one.raw", 1);
    two.image("two.raw", 50);
    let capture = |fixture: &Fixture, file: &str| {
        for name in ["a", "b", "c"] {
            let name = format!("{file}-{name}");
            fixture.scribble(file, 4096, 4096);
            fixture.run(&["snapshot", "create", file, "--name", &name]).exits(0);
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(|| capture(&one, "one.raw"));
        threads.spawn(|| capture(&two, "two.raw"));
    });
    assert_eq!(names(&one).len(), 6);
    assert_eq!(names(&one), names(&two));
    two.run(&["restore", "one.raw-c", "copy.raw"]).exits(0);
    let [first, copy] = [one.path("one.raw"), two.path("copy.raw")].map(|path| std::fs::read(path).unwrap());
    assert!(first == copy);
    one.run(&["snapshot", "delete", "-f", "two.raw-a"]).exits(0);
    assert!(!names(&two).contains(&"two.raw-a".to_owned()));
    two.run(&["gc", "--grace", "0s", "--max-unused", "0%"]).exits(0);
    one.run(&["verify", "--read-data"]).exits(0);
}

/// Returns the directories of local files of a machine.
fn local_dirs(fixture: &Fixture) -> Vec<String> {
    let entries = std::fs::read_dir(fixture.path("home/.local/state/icecore")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn local_files_belong_to_the_repository_and_not_to_its_address() {
    let store = store();
    let fixture = with_snapshot(&store);
    let [first] = local_dirs(&fixture).try_into().unwrap();
    assert_eq!(first.len(), 32, "{first}");
    // Under another address of the same.
    fixture.run(&["--repo", "s3://lab/disks/", "snapshot", "list"]).exits(0);
    assert_eq!(local_dirs(&fixture), std::slice::from_ref(&first));
    fixture.run(&["--repo", "s3://lab/other", "init"]).exits(0);
    assert_eq!(local_dirs(&fixture).len(), 2);
}

#[test]
fn a_repository_that_has_lost_its_config_is_not_taken_for_none_and_gets_it_back() {
    let store = store();
    let fixture = with_snapshot(&store);
    delete(&store, "disks/config");
    fixture.run(&["snapshot", "list"]).exits(6).says(&["lost its config", "repair catalog"]);
    fixture.run(&["init"]).exits(4);
    fixture.run(&["repair", "catalog"]).exits(1);
    assert_eq!(names(&fixture), ["base"]);
}

/// Deletes an object behind everybody's back.
fn delete(store: &Store, key: &str) {
    let endpoint = store.endpoint();
    let url = format!("{endpoint}/lab/{key}");
    let done = tools::run(
        "curl",
        &[
            "-sf",
            "-X",
            "DELETE",
            "--aws-sigv4",
            "aws:amz:us-east-1:s3",
            "--user",
            "test:secret",
            "-H",
            "x-amz-content-sha256: UNSIGNED-PAYLOAD",
            &url,
        ],
    );
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn there_is_a_repository_or_there_is_none() {
    let store = store();
    let fixture = machine(&store, "disks");
    let missing =
        ["there is no repository in s3://lab/disks", "icecore --repo s3://lab/disks init", "bucket"];
    fixture.run(&["snapshot", "list"]).exits(3).says(&missing);
    fixture.run(&["repair", "catalog"]).exits(3).says(&missing[..1]);
    let done = fixture.run(&["init"]).exits(0);
    assert!(done.out.contains("any number of them can use it"), "{done:?}");
    fixture.run(&["init"]).exits(4).says(&["already a repository in s3://lab/disks"]);
    // A prefix that has something else in it.
    fixture.run(&["--repo", "s3://lab", "init"]).exits(4).says(&["s3://lab", "it contains disks"]);
    fixture.run(&["snapshot", "copy", "x", "--to", "s3://lab/none"]).exits(3);
    assert!(!store.objects("lab").iter().any(|(key, _)| key.contains("probe")), "the probe leaves nothing");
}

#[test]
fn errors_of_a_store_say_what_to_do() {
    let store = store_with(Options { region: Some("eu-1".to_owned()), ..Options::default() });
    let mut fixture = machine(&store, "disks");
    fixture.run(&["init"]).exits(2).says(&["eu-1", "AWS_REGION"]);
    fixture.set("AWS_REGION", "eu-1");
    fixture.run(&["--repo", "s3://none/x", "init"]).exits(2).says(&["there is no bucket s3://none"]);
    fixture
        .run(&["--repo", "s3://none/x", "snapshot", "list"])
        .exits(2)
        .says(&["there is no bucket s3://none"]);
    fixture.set("AWS_SECRET_ACCESS_KEY", "wrong");
    let denied = fixture.run(&["snapshot", "list"]).exits(10).says(&["the secret does not belong"]);
    assert!(!denied.err.contains("run as the user"), "{denied:?}");
    fixture.unset("AWS_ACCESS_KEY_ID");
    fixture.unset("AWS_SECRET_ACCESS_KEY");
    fixture.run(&["snapshot", "list"]).exits(2).says(&["AWS_ACCESS_KEY_ID"]);
    fixture.set("AWS_ENDPOINT_URL", "http://203.0.113.1:1");
    fixture.run(&["snapshot", "list"]).exits(2).says(&["no TLS", "https://"]);
    config(
        &fixture,
        "[repositories.off]\naddress = \"s3://lab/x\"\nendpoint = \"http://127.0.0.1:1\"\nretry_seconds = 0\n",
    );
    fixture.set("AWS_ACCESS_KEY_ID", "test");
    fixture.set("AWS_SECRET_ACCESS_KEY", "secret");
    fixture.run(&["--repo", "@off", "snapshot", "list"]).exits(9).says(&["cannot connect", "endpoint"]);
}

fn config(fixture: &Fixture, text: &str) {
    std::fs::create_dir_all(fixture.path("home/.config/icecore")).unwrap();
    std::fs::write(fixture.path("home/.config/icecore/config.toml"), text).unwrap();
}

#[test]
fn names_of_the_configuration_stand_for_addresses() {
    let store = store();
    let mut fixture = machine(&store, "disks");
    fixture.unset("ICECORE_REPO");
    fixture.unset("AWS_ENDPOINT_URL");
    fixture.unset("AWS_REGION");
    config(&fixture, "# Ours.\n[repositories.old]\naddress = \"/srv/old\" # the first\n");
    let endpoint = store.endpoint();
    let add = ["repo", "add", "lab", "s3://lab/disks", "--endpoint", &endpoint, "--region", "us-east-1"];
    assert_eq!(fixture.result(&add)["repository"]["name"], "lab");
    fixture.run(&add).exits(4).says(&["lab", "already"]);
    let text = std::fs::read_to_string(fixture.path("home/.config/icecore/config.toml")).unwrap();
    assert!(text.starts_with("# Ours.") && text.contains("# the first"), "{text}");
    fixture.run(&["--repo", "@lab", "init"]).exits(0);
    fixture.run(&["--repo", "@lab", "snapshot", "list"]).exits(0);
    fixture.run(&["--repo", "@lap", "snapshot", "list"]).exits(3).says(&["lap", "@lab"]);
    let listed = fixture.result(&["repo", "list"]);
    let told: Vec<_> = listed["repositories"].as_array().unwrap().iter().map(|one| &one["address"]).collect();
    assert_eq!(told, ["s3://lab/disks", "/srv/old"]);
    let checked = fixture.run(&["-o", "json", "repo", "check"]).exits(1).json();
    let [lab, old] = [0, 1].map(|number| checked["result"]["repositories"][number].clone());
    assert_eq!((&lab["problem"], &lab["sealed"]), (&Value::Null, &false.into()));
    assert_eq!(
        lab["store"],
        serde_json::json!({"many_may_write": true, "may_delete": true, "retains": false})
    );
    assert!(lab["id"].is_string() && old["problem"].as_str().unwrap().contains("no repository"), "{checked}");
    let shown = fixture.run(&["repo", "check", "@lab"]).exits(0);
    assert!(shown.out.contains("any number of them"), "{shown:?}");
    config(&fixture, "[repositories.lab]\naddress = \"s3://lab/disks\"\nendpont = \"x\"\n");
    let wrong = ["config.toml", "[repositories.lab]", "`endpont`", "`endpoint`"];
    fixture.run(&["--repo", "@lab", "snapshot", "list"]).exits(2).says(&wrong);
}

#[test]
fn a_store_that_overwrites_is_for_one_machine() {
    let store = store_with(Options { ignore_conditions: true, ..Options::default() });
    let [one, two] = [machine(&store, "disks"), machine(&store, "disks")];
    one.run(&["init"]).exits(7).says(&["keep apart", "--one-machine"]);
    assert!(store.objects("lab").is_empty());
    let made = one.run(&["init", "--one-machine"]).exits(0);
    assert!(made.out.contains("one machine only"), "{made:?}");
    let own = one.run(&["snapshot", "list"]).exits(0);
    assert!(!own.err.contains("warning"), "{own:?}");
    // The other one is told each time, not only at first.
    for _ in 0..2 {
        two.run(&["snapshot", "list"]).exits(0).says(&["warning", "only the machine"]);
    }
}

#[test]
fn credentials_without_the_right_to_delete_capture_and_do_not_gc() {
    let credentials = vec![
        Credential::new("test", "secret", Rights::ALL),
        Credential::new("capture", "secret", Rights::CAPTURE),
    ];
    let store = store_with(Options { credentials, ..Options::default() });
    let mut fixture = machine(&store, "disks");
    fixture.set("AWS_ACCESS_KEY_ID", "capture");
    let made = fixture.run(&["init"]).exits(0);
    assert!(made.out.contains("may not delete"), "{made:?}");
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "next"]).exits(0);
    fixture.run(&["restore", "base", "new.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "new.raw");
    fixture.run(&["snapshot", "delete", "-f", "base", "next"]).exits(0);
    fixture.run(&["gc", "--grace", "0s", "--max-unused", "0%"]).exits(10).says(&["s3:DeleteObject"]);
    fixture.set("AWS_ACCESS_KEY_ID", "test");
    fixture.run(&["gc", "--grace", "0s", "--max-unused", "0%"]).exits(0);
}

#[test]
fn a_retention_breaks_nothing_and_gc_says_what_stays() {
    const DAY: Duration = Duration::from_secs(86_400);
    let store = store_with(Options { retain: Some(30 * DAY), ..Options::default() });
    let fixture = machine(&store, "disks");
    let made = fixture.run(&["init", "--parity", "3+1"]).exits(0);
    assert!(made.out.contains("any number of them") && made.out.contains("retention"), "{made:?}");
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.scribble("disk.raw", 8192, 70_000);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "next"]).exits(0);
    fixture.run(&["volume", "create", "web", "--snapshot", "next"]).exits(0);
    fixture.run(&["volume", "snapshot", "web", "--name", "live"]).exits(0);
    fixture.run(&["volume", "delete", "-f", "web"]).exits(0);
    fixture.run(&["snapshot", "delete", "-f", "base"]).exits(0);
    let objects = store.objects("lab").len();
    let gc = ["gc", "--grace", "0s", "--max-unused", "0%"];
    let told = fixture.result(&gc);
    assert!(told["packs_retained"].as_u64().unwrap() > 0, "{told}");
    assert_eq!((&told["freed_bytes"], &told["packs_removed"]), (&0.into(), &0.into()), "{told}");
    let shown = fixture.run(&gc).exits(0);
    assert!(shown.out.contains("until the store's retention ends"), "{shown:?}");
    assert!(store.objects("lab").len() >= objects, "nothing can go");
    for name in ["next", "live"] {
        fixture.run(&["restore", name, "new.raw", "-f"]).exits(0);
        fixture.assert_equal("disk.raw", "new.raw");
    }
    fixture.run(&["verify", "--read-data"]).exits(0);

    store.advance_clock(30 * DAY);
    let told = fixture.result(&gc);
    assert!(told["freed_bytes"].as_u64().unwrap() > 60_000, "{told}");
    assert_eq!(told["packs_retained"], 0, "{told}");
    assert_eq!(fixture.result(&["stats"])["repository"]["unused_bytes"], 0);
    machine(&store, "disks").run(&["restore", "next", "new.raw"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);
}

#[test]
fn a_url_of_a_file_is_a_directory() {
    let fixture = Fixture::bare();
    let url = format!("file://{}", fixture.path("there").display());
    fixture.run(&["--repo", &url, "init"]).exits(0);
    assert!(fixture.path("there/config").exists());
    fixture.run(&["--repo", "there", "snapshot", "list"]).exits(0);
}

#[test]
fn nothing_is_written_into_the_local_files() {
    let store = store();
    let fixture = with_snapshot(&store);
    let [dir] = local_dirs(&fixture).try_into().unwrap();
    let inside = fixture.path(&format!("home/.local/state/icecore/{dir}/new.raw"));
    let inside = Path::to_str(&inside).unwrap();
    fixture.run(&["restore", "base", inside]).exits(2).says(&["part of the repository"]);
    let _: Done = finish(fixture.program().args(["repo", "list"])).exits(0);
}
