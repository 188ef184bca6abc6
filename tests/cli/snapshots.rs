//! Snapshots are made, shown and changed.

use crate::support::Fixture;
use crate::support::bare_program;
use crate::support::finish;

#[test]
fn the_first_snapshot_makes_the_default_repository_and_says_so() {
    let fixture = Fixture::bare();
    fixture.image("web.raw", 1);
    let run = |arguments: &[&str]| finish(bare_program(&fixture.path("")).args(arguments));
    let first = run(&["snapshot", "create", "web.raw"]).exits(0);
    assert!(
        first.err.contains("created a plain repository in")
            && first.err.contains("home/.local/share/icecore"),
        "{first:?}"
    );
    assert!(!run(&["snapshot", "create", "web.raw"]).exits(0).err.contains("created a "));
    let list = run(&["snapshot", "list", "--format", "Resource,Type", "--no-header"]).exits(0);
    assert_eq!(list.out, "web   volume\nweb   volume\n");
}

#[test]
fn a_dry_run_makes_neither_a_snapshot_nor_the_default_repository() {
    let fixture = Fixture::bare();
    fixture.image("web.raw", 1);
    let run = |arguments: &[&str]| finish(bare_program(&fixture.path("")).args(arguments));
    let done = run(&["snapshot", "create", "web.raw", "--dry-run"]).exits(0);
    assert!(done.out.contains("nothing was written"), "{done:?}");
    assert!(!fixture.path("home").exists());
    let fixture = Fixture::with_snapshot();
    fixture.run(&["snapshot", "create", "disk.raw", "--dry-run"]).exits(0);
    assert_eq!(fixture.result(&["snapshot", "list"])["snapshots"].as_array().unwrap().len(), 1);
}

#[test]
fn names_that_are_made_are_unique_for_their_resource() {
    let fixture = Fixture::new();
    fixture.image("web.raw", 1);
    for _ in 0..3 {
        fixture.run(&["snapshot", "create", "web.raw"]).exits(0);
    }
    let list = fixture.run(&["snapshot", "list", "--format", "Name", "--no-header"]).exits(0);
    let mut names: Vec<&str> = list.out.lines().collect();
    assert!(names.iter().all(|name| name.starts_with("web-2")), "{names:?}");
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_list_is_narrowed_by_name_type_resource_and_tag() {
    let fixture = Fixture::new();
    fixture.image("disk.raw", 1);
    fixture
        .run(&[
            "snapshot",
            "create",
            "disk.raw",
            "--name",
            "n1",
            "--droplet",
            "web",
            "--tag",
            "x",
            "--tag",
            "y",
        ])
        .exits(0);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "n2", "--volume", "db", "--tag", "x"]).exits(0);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "m3", "--volume", "web2"]).exits(0);
    let names = |arguments: &[&str]| {
        let all = [&["snapshot", "ls", "--format", "Name", "--no-header"], arguments].concat();
        fixture.run(&all).exits(0).out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[]), "n1 n2 m3");
    assert_eq!(names(&["n*"]), "n1 n2");
    assert_eq!(names(&["n1", "m?"]), "n1 m3");
    assert_eq!(names(&["--resource", "droplet"]), "n1");
    assert_eq!(names(&["--of", "db"]), "n2");
    assert_eq!(names(&["--tag", "x"]), "n1 n2");
    assert_eq!(names(&["--tag", "x", "--tag", "y"]), "n1");
    assert_eq!(names(&["n*", "--resource", "volume"]), "n2");
    assert_eq!(names(&["none*"]), "");
}

#[test]
fn the_columns_are_doctls() {
    let fixture = Fixture::with_snapshot();
    let list = fixture.run(&["snapshot", "list"]).exits(0);
    let mut lines = list.out.lines();
    let header: Vec<&str> =
        lines.next().unwrap().split("   ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(header, ["ID", "Name", "Created", "Resource", "Type", "Min Disk Size", "Size", "Tags"]);
    let row: Vec<&str> =
        lines.next().unwrap().split("   ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(row[1], "base");
    assert!(row[2].ends_with('Z') && row[2].len() == 20, "{row:?}");
    assert_eq!(row[3..6], ["disk", "volume", "1 GiB"]);
}

#[test]
fn a_snapshot_is_found_by_name_id_beginning_of_id_and_as_the_latest() {
    let fixture = Fixture::with_snapshot();
    let id = fixture.result(&["snapshot", "get", "base"])["snapshots"][0]["id"].as_str().unwrap().to_owned();
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "other", "--volume", "v"]).exits(0);
    let all = fixture.result(&["snapshot", "get", &id, "disk@latest"]);
    assert_eq!(all["snapshots"].as_array().unwrap().len(), 1, "each is shown once");
    let get =
        fixture.run(&["snapshot", "get", "disk@latest", "--format", "ID,ImageBytes", "--no-header"]).exits(0);
    assert_eq!(get.out.split_whitespace().collect::<Vec<_>>(), [id.as_str(), "3146728"]);
}

#[test]
fn a_snapshot_is_renamed_tagged_and_protected() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["snapshot", "rename", "base", "nightly"]).exits(0);
    fixture.run(&["snapshot", "tag", "nightly", "+b", "+a", "+c"]).exits(0);
    let tags = fixture.run(&["snapshot", "tag", "nightly", "-b"]).exits(0);
    assert!(tags.out.ends_with("a,c\n"), "{tags:?}");
    fixture.run(&["snapshot", "protect", "nightly"]).exits(0);
    let snapshot = &fixture.result(&["snapshot", "get", "nightly"])["snapshots"][0];
    assert_eq!(snapshot["tags"], serde_json::json!(["a", "c"]));
    assert_eq!(snapshot["protected"], true);
    fixture.run(&["snapshot", "delete", "--force", "nightly"]).exits(5).says(&["unprotect"]);
    fixture.run(&["snapshot", "unprotect", "nightly"]).exits(0);
    fixture.run(&["snapshot", "rm", "-f", "nightly"]).exits(0);
    assert_eq!(fixture.run(&["snapshot", "list", "--no-header"]).exits(0).out, "");
}

#[test]
fn nothing_is_deleted_without_a_terminal_to_ask_on_or_force() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["snapshot", "delete", "base"]).exits(2).says(&["--force"]);
    fixture.run(&["snapshot", "delete", "-f", "base", "no-such"]).exits(3);
    fixture.run(&["snapshot", "get", "base"]).exits(0);
}

#[test]
fn what_a_capture_did_is_told() {
    let fixture = Fixture::with_snapshot();
    let again = fixture.run(&["snapshot", "create", "disk.raw"]).exits(0);
    assert!(again.out.contains("new      nothing: the image is unchanged"), "{again:?}");
    fixture.scribble("disk.raw", 8192, 4096);
    let changed = fixture.result(&[
        "snapshot",
        "create",
        "disk.raw",
        "--level",
        "-7",
        "--no-check",
        "--parent",
        "none",
    ]);
    assert_eq!(changed["snapshot"]["new_bytes"], 4096);
    assert_eq!(changed["parent"], serde_json::Value::Null);
    assert_eq!(changed["unchanged"], false);
    let pinned = fixture.result(&["snapshot", "create", "disk.raw", "--parent", "base"]);
    let base = fixture.result(&["snapshot", "get", "base"])["snapshots"][0]["id"].clone();
    assert_eq!(pinned["parent"], base);
}

#[test]
fn a_diff_shows_ranges_and_sums() {
    let fixture = Fixture::with_snapshot();
    fixture.scribble("disk.raw", 8192, 4096);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "next"]).exits(0);
    let diff = fixture.run(&["snapshot", "diff", "base", "next"]).exits(0);
    let lines: Vec<Vec<&str>> = diff.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[..2], [vec!["Offset", "Bytes", "Change"], vec!["8192", "4096", "data"]]);
    assert!(
        diff.out.ends_with("1 range: 4.0 KiB of different data, 0 B became zero, 0 B gone\n"),
        "{diff:?}"
    );
    let same = fixture.run(&["snapshot", "diff", "base", "base", "--summary"]).exits(0);
    assert_eq!(same.out, "the images are equal\n");
}

#[test]
fn a_map_shows_data_shared_data_and_changes() {
    let fixture = Fixture::with_snapshot();
    let picture = |arguments: &[&str]| {
        let done = fixture.run(&[&["snapshot", "map"], arguments].concat()).exits(0);
        let lines = done.out.lines().skip(2).take_while(|line| !line.is_empty());
        let cells = |line: &str| line.split_once("  ").map(|_| line[12..].to_owned()).unwrap();
        (lines.map(cells).collect::<String>(), done.out)
    };
    // Data of 300 000 bytes, and of 70 000 up to the end; 769 blocks in all, and cells of one
    // block.
    let (cells, text) = picture(&["base", "--width", "100"]);
    assert_eq!(cells, format!("{}{}{}", "#".repeat(74), ".".repeat(677), "#".repeat(18)));
    assert!(text.contains("a character is 4.0 KiB") && text.contains("\n 400.0 KiB  "), "{text}");
    assert!(text.contains("# own data, 365.0 KiB") && !text.contains("changed"), "{text}");
    fixture.scribble("disk.raw", 8192, 4096);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "next"]).exits(0);
    let (cells, _) = picture(&["next", "--width", "100"]);
    assert_eq!(cells, format!("ss#{}{}{}", "s".repeat(71), ".".repeat(677), "s".repeat(18)));
    let (cells, text) = picture(&["next", "--width", "100", "--against", "base"]);
    assert_eq!(cells, format!("ss+{}{}{}", "s".repeat(71), ".".repeat(677), "s".repeat(18)));
    assert!(text.contains("+ changed since base"), "{text}");
    assert_eq!(picture(&["next", "--width", "1"]).0.len(), 24);
    fixture.run(&["snapshot", "map", "next", "--width", "0"]).exits(2);
    fixture.run(&["snapshot", "map", "next", "--against", "nope"]).exits(3).says(&["nope"]);
}
