//! Paths are bytes: spaces, ends of lines and what is no text in them, and links, wherever a path
//! may stand.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Runs the program with arguments of any bytes.
fn run(fixture: &Fixture, arguments: &[&[u8]]) -> Done {
    let arguments = arguments.iter().map(|bytes| OsStr::from_bytes(bytes));
    finish(fixture.program().args(arguments))
}

/// Names that are all right for a file: with a space, an end of a line, bytes that are no text, as
/// an option, not of ASCII.
const NAMES: [&[u8]; 5] = [b"a b ", b"two\nlines", b"\xff\xfe\x80", b"-rf", "\u{65e5}\u{672c}".as_bytes()];

#[test]
fn images_targets_and_repositories_may_have_any_name() {
    for name in NAMES {
        let fixture = Fixture::bare();
        let named = |end: &[u8]| [b"./".as_slice(), name, end].concat();
        let (repo, image, target) = (named(b""), named(b".raw"), named(b".out"));
        fixture.image("disk.raw", 1);
        std::fs::copy(fixture.path("disk.raw"), fixture.path("").join(path(&image))).unwrap();
        let of_target = || std::fs::read(fixture.path("").join(path(&target))).unwrap();
        let of_image = std::fs::read(fixture.path("disk.raw")).unwrap();

        run(&fixture, &[b"--repo", &repo, b"init"]).exits(0);
        let create: [&[u8]; 9] =
            [b"--repo", &repo, b"snapshot", b"create", &image, b"--volume", b"v", b"--name", b"n"];
        run(&fixture, &create).exits(0);
        run(&fixture, &[b"--repo", &repo, b"-o", b"json", b"restore", b"n", &target]).exits(0).json();
        assert!(of_target() == of_image, "{name:?}");
        std::fs::write(fixture.path("").join(path(&target)), b"other").unwrap();
        run(&fixture, &[b"--repo", &repo, b"restore", b"n", &target, b"--in-place"]).exits(0);
        assert!(of_target() == of_image, "{name:?}");
        std::fs::write(fixture.path("").join(path(&target)), b"other").unwrap();
        run(&fixture, &[b"--repo", &repo, b"volume", b"create", b"v", b"--snapshot", b"n"]).exits(0);
        run(&fixture, &[b"--repo", &repo, b"volume", b"export", b"v", &target, b"--force"]).exits(0);
        assert!(of_target() == of_image, "{name:?}");
        // Nothing else has appeared: no temporary name, and none that was made text.
        let mut there: Vec<_> =
            std::fs::read_dir(fixture.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        there.sort();
        let mut wanted = ["disk.raw".into(), name.to_vec(), image[2..].to_vec(), target[2..].to_vec()];
        wanted.sort();
        assert_eq!(there, wanted.map(|name| OsStr::from_bytes(&name).to_owned()));
    }
}

#[test]
fn a_name_of_a_file_that_makes_none_for_a_snapshot_is_told_and_another_can_be_given() {
    let fixture = Fixture::new();
    for name in [&b"two\nlines.raw"[..], b"\xff.raw", b"\x1b[2J.raw"] {
        fixture.image("disk.raw", 1);
        std::fs::rename(fixture.path("disk.raw"), fixture.path("").join(path(name))).unwrap();
        run(&fixture, &[b"snapshot", b"create", name]).exits(2).says(&["hint:"]);
        assert_eq!(fixture.run(&["snapshot", "list", "--no-header"]).out, "");
        run(&fixture, &[b"snapshot", b"create", name, b"--volume", b"v"]).exits(0);
        fixture.run(&["snapshot", "delete", "--force", "v@latest"]).exits(0);
    }
}

#[test]
fn a_link_to_an_image_is_the_image_and_never_replaced() {
    let fixture = Fixture::with_snapshot();
    fixture.image("other.raw", 5);
    symlink("other.raw", fixture.path("link.raw")).unwrap();
    symlink("nowhere.raw", fixture.path("dangling.raw")).unwrap();
    fixture.run(&["snapshot", "create", "link.raw", "--name", "of-link"]).exits(0);
    fixture.run(&["restore", "of-link", "new.raw"]).exits(0);
    fixture.assert_equal("other.raw", "new.raw");
    fixture.run(&["snapshot", "create", "dangling.raw"]).exits(3);

    for (link, how) in [
        ("link.raw", &[][..]),
        ("link.raw", &["--force"]),
        ("dangling.raw", &[]),
        ("dangling.raw", &["--force"]),
    ] {
        let done = fixture.run(&[&["restore", "base", link], how].concat());
        assert!([2, 4].contains(&done.code), "{done:?}");
        assert!(fixture.path(link).is_symlink() && !fixture.path("nowhere.raw").exists());
        fixture.assert_equal("other.raw", "new.raw");
    }
    fixture.run(&["restore", "base", "link.raw", "--in-place"]).exits(0);
    assert!(fixture.path("link.raw").is_symlink());
    fixture.assert_equal("other.raw", "disk.raw");
    fixture.run(&["restore", "base", "dangling.raw", "--in-place"]).exits(3);
}
