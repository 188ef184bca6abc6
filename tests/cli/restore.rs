//! Images come back.

use std::fs::DirEntry;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;

use crate::devices::Loop;
use crate::support::Fixture;
use crate::support::IMAGE_BYTES;
use crate::support::finish;
use crate::support::noise;

#[test]
fn a_new_file_is_equal_and_has_holes() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["restore", "base", "new.raw"]).exits(0);
    fixture.assert_equal("disk.raw", "new.raw");
    let about = std::fs::metadata(fixture.path("new.raw")).unwrap();
    assert!(about.blocks() * 512 < IMAGE_BYTES / 2, "{} blocks", about.blocks());
}

#[test]
fn an_existing_file_is_only_touched_when_that_was_asked_for() {
    let fixture = Fixture::with_snapshot();
    std::fs::write(fixture.path("old.raw"), b"precious").unwrap();
    fixture.run(&["restore", "base", "old.raw"]).exits(4).says(&["old.raw", "--in-place", "--force"]);
    assert_eq!(std::fs::read(fixture.path("old.raw")).unwrap(), b"precious");
    fixture.run(&["restore", "base", "old.raw", "--force"]).exits(0);
    fixture.assert_equal("disk.raw", "old.raw");
}

#[test]
fn in_place_writes_only_what_differs() {
    let fixture = Fixture::with_snapshot();
    std::fs::copy(fixture.path("disk.raw"), fixture.path("copy.raw")).unwrap();
    fixture.scribble("copy.raw", 4096, 4096);
    fixture.scribble("copy.raw", 2 << 20, 4096);
    let result = fixture.result(&["restore", "base", "copy.raw", "--in-place"]);
    fixture.assert_equal("disk.raw", "copy.raw");
    assert_eq!(result["mode"], "in_place");
    assert!(result["written_bytes"].as_u64().unwrap() <= 65536, "{result}");
    assert!(result["zeroed_bytes"].as_u64().unwrap() >= 4096, "{result}");
}

#[test]
fn in_place_a_file_gets_the_size_of_the_image_or_the_one_that_is_asked_for() {
    let fixture = Fixture::with_snapshot();
    let image = std::fs::read(fixture.path("disk.raw")).unwrap();
    let (image_bytes, before) = (image.len(), noise(7, 8 << 20));
    for (size, len) in [("", image_bytes), ("6MiB", 6 << 20), ("8MiB", 8 << 20), ("9MiB", 9 << 20)] {
        std::fs::write(fixture.path("old.raw"), &before).unwrap();
        let options: &[&str] = if size.is_empty() { &[] } else { &["--size", size] };
        let restore = [&["restore", "base", "old.raw", "--in-place"], options].concat();
        let result = fixture.result(&restore);
        let after = std::fs::read(fixture.path("old.raw")).unwrap();
        assert_eq!(after.len(), len, "{size}");
        assert!(
            after[..image_bytes] == image && after[image_bytes..].iter().all(|byte| *byte == 0),
            "{size}"
        );
        assert_eq!(result["cut_bytes"], before.len().saturating_sub(len), "{result}");
        assert_eq!(result["left_bytes"], 0, "{result}");
        std::fs::write(fixture.path("old.raw"), &before).unwrap();
        let done = fixture.run(&restore).exits(0);
        assert_eq!(done.out.contains("cut off"), len < before.len(), "{done:?}");
    }
}

#[test]
fn in_place_a_file_is_not_cut_before_all_of_the_image_is_in_it() {
    let fixture = Fixture::with_snapshot();
    let pack = fixture.data_pack();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[64 + 40 + 500] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    std::fs::write(fixture.path("old.raw"), noise(7, 8 << 20)).unwrap();
    fixture.run(&["restore", "base", "old.raw", "--in-place"]).exits(6);
    assert!(std::fs::read(fixture.path("old.raw")).unwrap()[4 << 20..] == noise(7, 8 << 20)[4 << 20..]);
}

#[test]
fn in_place_what_a_device_has_beyond_the_size_is_left_alone_and_the_result_says_so() {
    let fixture = Fixture::with_snapshot();
    let image = std::fs::read(fixture.path("disk.raw")).unwrap();
    let before = noise(7, 8 << 20);
    for (size, end) in [("", image.len()), ("6MiB", 6 << 20), ("8MiB", 8 << 20)] {
        std::fs::write(fixture.path("below.raw"), &before).unwrap();
        let Some(device) = Loop::over(&fixture.path("below.raw"), 512) else { return };
        let options: &[&str] = if size.is_empty() { &[] } else { &["--size", size] };
        let restore = [&["restore", "base", &device.0, "--in-place"], options].concat();
        let result = fixture.result(&restore);
        let mut wanted = before.clone();
        wanted[..end].fill(0);
        wanted[..image.len()].copy_from_slice(&image);
        assert!(std::fs::read(&device.0).unwrap() == wanted, "{size}");
        assert_eq!((&result["cut_bytes"], &result["left_bytes"]), (&0.into(), &(before.len() - end).into()));
        let done = fixture.run(&restore).exits(0);
        assert_eq!(done.out.contains("left unchanged"), end < before.len(), "{done:?}");
    }
}

#[test]
fn the_standard_output_gets_the_image_and_nothing_else() {
    let fixture = Fixture::with_snapshot();
    let out = File::create(fixture.path("out.raw")).unwrap();
    let done =
        fixture.program().args(["restore", "base", "-"]).stdout(out).stderr(Stdio::piped()).output().unwrap();
    assert!(done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("restored base"), "{done:?}");
    fixture.assert_equal("disk.raw", "out.raw");
    let out = File::create(fixture.path("out2.raw")).unwrap();
    let done = fixture.program().args(["-o", "json", "restore", "base", "-"]).stdout(out).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&done.stderr).unwrap();
    assert_eq!(json["result"]["mode"], "stdout");
    fixture.assert_equal("disk.raw", "out2.raw");
}

#[test]
fn a_target_can_be_larger_and_never_smaller() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["restore", "base", "large.raw", "--size", "8MiB"]).exits(0);
    let large = std::fs::read(fixture.path("large.raw")).unwrap();
    let image = std::fs::read(fixture.path("disk.raw")).unwrap();
    assert_eq!(large.len(), 8 << 20);
    assert_eq!(large[..image.len()], image);
    assert!(large[image.len()..].iter().all(|byte| *byte == 0));
    fixture.run(&["restore", "base", "small.raw", "--size", "1M"]).exits(2).says(&["not enough"]);
    assert!(!fixture.path("small.raw").exists());
}

#[test]
fn options_that_cannot_be_followed_are_refused() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["restore", "base", "-", "--force"]).exits(2);
    fixture.run(&["restore", "base", "x.raw", "--in-place"]).exits(3).says(&["does not exist", "--in-place"]);
    fixture.run(&["restore", "base", "x.raw", "--in-place", "--force"]).exits(2);
    fixture.run(&["restore", "base", "."]).exits(4);
    fixture.run(&["restore", "base", "/dev/null", "--in-place"]).exits(2);
    fixture.run(&["restore", "base", "no/such/dir/x.raw"]).exits(3);
}

#[test]
fn keep_going_completes_the_file_says_what_is_bad_and_exits_as_corrupt() {
    let fixture = Fixture::with_snapshot();
    let pack = fixture.data_pack();
    let mut bytes = std::fs::read(&pack).unwrap();
    // The image is noise, which is stored as it is: one byte costs one block, the first.
    bytes[64 + 40 + 500] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    fixture.run(&["restore", "base", "new.raw"]).exits(6).says(&["--keep-going"]);
    assert!(!fixture.path("new.raw").exists());
    let done = fixture.run(&["restore", "base", "new.raw", "--keep-going"]).exits(6);
    assert!(done.out.contains("INCOMPLETE") && done.out.contains("4.0 KiB at byte 0: "), "{done:?}");
    let mut expected = std::fs::read(fixture.path("disk.raw")).unwrap();
    expected[..4096].fill(0);
    assert!(std::fs::read(fixture.path("new.raw")).unwrap() == expected);
    let done = fixture.run(&["-o", "json", "restore", "base", "again.raw", "--keep-going"]).exits(6);
    let result = &done.json()["result"];
    assert_eq!(result["bad_bytes"], 4096);
    assert_eq!((&result["bad"][0]["offset"], &result["bad"][0]["bytes"]), (&0.into(), &4096.into()));
    // A target that has the block already keeps it.
    std::fs::copy(fixture.path("disk.raw"), fixture.path("copy.raw")).unwrap();
    fixture.run(&["restore", "base", "copy.raw", "--in-place", "--keep-going"]).exits(0);
    fixture.assert_equal("disk.raw", "copy.raw");
}

/// Stops a restore when it has its target open, or does nothing if it has ended by then.
fn stop_in_the_middle(child: &mut Child, target: &Path) {
    let is_target = |open: std::io::Result<DirEntry>| {
        let to = open.and_then(|open| std::fs::read_link(open.path())).unwrap_or_default();
        // A new file has no name yet.
        let is_nameless = to.as_os_str().as_bytes().ends_with(b" (deleted)");
        to == target || is_nameless && to.parent() == target.parent()
    };
    while child.try_wait().unwrap().is_none() {
        let open = std::fs::read_dir(format!("/proc/{}/fd", child.id()));
        if open.is_ok_and(|mut open| open.any(is_target)) {
            let _ = kill_process(Pid::from_child(child), Signal::STOP);
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn of_two_restores_into_one_target_at_once_the_target_has_one_whole_image() {
    let fixture = Fixture::new();
    for (number, name) in (1..).zip(["one", "two"]) {
        let image = format!("{name}.raw");
        std::fs::write(fixture.path(&image), noise(number, 16 << 20)).unwrap();
        fixture.run(&["snapshot", "create", &image, "--name", name]).exits(0);
    }
    let target = fixture.path("target.raw");
    for (how, code) in [(None, 4), (Some("--force"), 5), (Some("--in-place"), 5)] {
        let mut first = fixture.program();
        first.args(["restore", "one", "target.raw"]).args(how).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut first = first.spawn().unwrap();
        stop_in_the_middle(&mut first, &target);
        let second = finish(fixture.program().args(["restore", "two", "target.raw"]).args(how));
        let _ = kill_process(Pid::from_child(&first), Signal::CONT);
        let first = first.wait_with_output().unwrap();
        let first = first.status.code().unwrap();
        // Either is the first one, but what ends with 0 last is what is there, and whole.
        assert!(
            [0, code].contains(&first) && [0, code].contains(&second.code),
            "{how:?}: {first}, {second:?}"
        );
        let found = std::fs::read(&target).unwrap();
        let is = |image: &str| std::fs::read(fixture.path(image)).unwrap() == found;
        let by_first = first == 0 && is("one.raw");
        assert!(by_first || second.code == 0 && is("two.raw"), "{how:?}: {first}, {second:?}");
        if how.is_none() {
            assert!(first != second.code, "one has made it: {first}, {second:?}");
        }
        let names = std::fs::read_dir(fixture.path("")).unwrap().count();
        assert_eq!(names, 4, "the repository, two images, and the target");
    }
}
