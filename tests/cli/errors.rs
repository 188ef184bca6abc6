//! What goes wrong is told, with a next step and an exit code.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::Done;
use crate::support::Fixture;
use crate::support::bare_program;
use crate::support::finish;

#[test]
fn a_repository_that_is_named_is_never_made_by_itself() {
    let fixture = Fixture::bare();
    fixture.image("disk.raw", 1);
    for arguments in
        [&["snapshot", "list"][..], &["stats"], &["snapshot", "create", "disk.raw"], &["restore", "a", "b"]]
    {
        fixture.run(arguments).exits(3).says(&["there is no repository in", "init"]);
    }
    assert!(!fixture.path("repo").exists());
}

#[test]
fn without_a_home_the_default_repository_is_nowhere() {
    let fixture = Fixture::bare();
    let done = finish(bare_program(&fixture.path("")).env_remove("HOME").args(["snapshot", "list"]));
    done.exits(2).says(&["HOME", "--repo"]);
}

#[test]
fn the_option_wins_over_the_environment_and_an_empty_one_is_an_error() {
    let fixture = Fixture::bare();
    let other = fixture.path("other");
    fixture.run(&["--repo", other.to_str().unwrap(), "init"]).exits(0);
    assert!(other.join("config").exists() && !fixture.path("repo").exists());
    // A script whose variable is not set must not work on another repository.
    let done = finish(fixture.program().env("ICECORE_REPO", "").args(["snapshot", "list"]));
    done.exits(2).says(&["ICECORE_REPO is empty", "unset ICECORE_REPO"]);
    fixture.run(&["--repo", "", "init"]).exits(2).says(&["empty"]);
    finish(fixture.program().env("ICECORE_REPO", "").args(["completions", "bash"])).exits(0);
    let unset = finish(fixture.program().env_remove("ICECORE_REPO").args(["snapshot", "list"]));
    unset.exits(3).says(&["home/.local/share/icecore"]);
}

#[test]
fn a_url_is_no_directory() {
    let fixture = Fixture::with_snapshot();
    for url in ["sftp://host/x", "rest:http://host/x"] {
        fixture.run(&["--repo", url, "init"]).exits(2).says(&[url, "is a URL", "hint:"]);
        fixture.run(&["snapshot", "copy", "base", "--to", url]).exits(2).says(&["is a URL"]);
    }
    for url in ["s3://bucket/x", "sftp://host/x", "file:///srv/x"] {
        fixture.run(&["man", url]).exits(2).says(&["is a URL"]);
        fixture.run(&["demo", "--keep", url]).exits(2).says(&["is a URL"]);
    }
    for made in ["s3:", "sftp:", "rest:http:", "file:"] {
        assert!(!fixture.path(made).exists(), "{made}");
    }
    fixture.run(&["--repo", "./s3://bucket", "init"]).exits(0);
}

#[test]
fn nothing_is_written_into_a_repository() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "v", "--snapshot", "base"]).exits(0);
    std::os::unix::fs::symlink(fixture.path("repo"), fixture.path("link")).unwrap();
    let pack = fixture.data_pack();
    let pack_name = pack.strip_prefix(fixture.path("repo")).unwrap().to_str().unwrap();
    std::fs::hard_link(&pack, fixture.path("hard.raw")).unwrap();
    let before = std::fs::read(&pack).unwrap();
    for dir in ["repo", "link", "./home/../repo", "repo/packs/.."] {
        std::fs::create_dir_all(fixture.path("home")).unwrap();
        let at = |name: &str| format!("{dir}/{name}");
        for arguments in [
            &["restore", "base", &at("new.raw")][..],
            &["restore", "--force", "base", &at("config")],
            &["restore", "--force", "base", &at(pack_name)],
            &["restore", "--in-place", "base", &at(pack_name)],
            &["restore", "--in-place", "base", &at("local/volumes/v/volume")],
            &["volume", "export", "v", &at("new.raw")],
            &["volume", "export", "--force", "v", &at("config")],
            &["man", &at("man")],
            &["bench", "disk.raw", "--plot", &at("config")],
            &["bench", "disk.raw", "--work", &at("local/tmp")],
            &["demo", "--keep", &at("demo")],
            &["volume", "serve", "v", "--socket", &at("socket")],
            &["--repo", &at("another"), "init"],
        ] {
            fixture.run(arguments).exits(2).says(&["is part of the repository", "hint:"]);
        }
    }
    fixture.run(&["restore", "--in-place", "base", "hard.raw"]).exits(2).says(&["is part of the repository"]);
    assert!(std::fs::read(&pack).unwrap() == before);
    fixture.run(&["verify", "--read-data"]).exits(0);
    // A file of that name that replaces the link leaves the pack alone.
    fixture.run(&["restore", "--force", "base", "hard.raw"]).exits(0);
    fixture.run(&["verify", "--read-data"]).exits(0);
}

/// Runs as somebody who is not root, where the tests are root's.
fn as_nobody(program: &mut Command) -> Option<Done> {
    if rustix::process::geteuid().is_root() {
        program.uid(65534).gid(65534);
    }
    // Where it cannot even be started, there is nothing to learn.
    let output = program.current_dir("/").output().ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Done { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) })
}

#[test]
fn a_place_that_cannot_be_looked_at_is_not_taken_for_a_repository() {
    let fixture = Fixture::bare();
    let set = |mode| std::fs::set_permissions(fixture.path("closed"), std::fs::Permissions::from_mode(mode));
    std::fs::create_dir(fixture.path("closed")).unwrap();
    set(0).unwrap();
    for arguments in [&["init"][..], &["snapshot", "list"]] {
        let mut program = fixture.program();
        program.env("ICECORE_REPO", fixture.path("closed/repo")).args(arguments);
        if let Some(done) = as_nobody(&mut program) {
            let done = done.exits(10).says(&["closed/repo", "ermission denied", "another user"]);
            assert!(!done.err.contains("already"), "{done:?}");
        }
    }
    set(0o700).unwrap();
    std::fs::write(fixture.path("file"), b"").unwrap();
    fixture.run(&["--repo", "file", "init"]).exits(2).says(&["file"]);
}

#[test]
fn a_repository_is_not_made_twice() {
    let fixture = Fixture::new();
    fixture.run(&["init"]).exits(4).says(&["already"]);
}

#[test]
fn a_repository_is_not_made_among_other_files() {
    let fixture = Fixture::bare();
    std::fs::create_dir(fixture.path("repo")).unwrap();
    std::fs::write(fixture.path("repo/letter.txt"), b"dear").unwrap();
    fixture.run(&["init"]).exits(4).says(&["letter.txt", "empty directory"]);
    std::fs::remove_file(fixture.path("repo/letter.txt")).unwrap();
    fixture.run(&["init"]).exits(0);
    let done = fixture.run(&["--repo", fixture.path("repo/config").to_str().unwrap(), "snapshot", "list"]);
    done.exits(3).says(&["there is no repository in"]);
}

#[test]
fn an_image_that_is_not_there_makes_no_repository() {
    let fixture = Fixture::bare();
    let done = finish(bare_program(&fixture.path("")).args(["snapshot", "create", "no-such.raw"]));
    done.exits(3).says(&["no-such.raw"]);
    assert!(!fixture.path("home").exists());
}

#[test]
fn a_directory_is_no_image() {
    let fixture = Fixture::new();
    fixture.run(&["snapshot", "create", "."]).exits(2);
}

#[test]
fn a_snapshot_that_is_not_there_is_told_by_its_name() {
    let fixture = Fixture::with_snapshot();
    for arguments in [
        &["snapshot", "get", "nope"][..],
        &["snapshot", "delete", "-f", "nope"],
        &["snapshot", "rename", "nope", "x"],
        &["snapshot", "tag", "nope", "+x"],
        &["snapshot", "protect", "nope"],
        &["snapshot", "diff", "base", "nope"],
        &["snapshot", "create", "disk.raw", "--parent", "nope"],
        &["restore", "nope", "x.raw"],
        &["verify", "nope"],
        &["stats", "nope"],
    ] {
        fixture.run(arguments).exits(3).says(&["nope", "hint: "]);
    }
}

#[test]
fn a_name_that_fits_two_snapshots_is_not_enough() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base", "--volume", "other"]).exits(0);
    fixture.run(&["snapshot", "get", "base"]).exits(2).says(&["hint: "]);
}

#[test]
fn a_name_is_taken_once_for_a_resource() {
    let fixture = Fixture::with_snapshot();
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(4).says(&["base"]);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "other"]).exits(0);
    fixture.run(&["snapshot", "rename", "other", "base"]).exits(4);
}

#[test]
fn wrong_arguments_exit_with_2() {
    let fixture = Fixture::with_snapshot();
    for arguments in [
        &["nonsense"][..],
        &["snapshot"],
        &["snapshot", "create"],
        &["snapshot", "create", "-"],
        &["snapshot", "create", "disk.raw", "--level", "20"],
        &["snapshot", "create", "disk.raw", "--level", "-8"],
        &["snapshot", "create", "disk.raw", "--droplet", "a", "--volume", "b"],
        &["snapshot", "create", "disk.raw", "--name", ""],
        &["snapshot", "create", "disk.raw", "--tag", "a b"],
        &["snapshot", "list", "["],
        &["snapshot", "list", "--format", "Region"],
        &["snapshot", "list", "--resource", "disk"],
        &["snapshot", "tag", "base"],
        &["snapshot", "tag", "base", "x"],
        &["snapshot", "tag", "base", "+x", "-o", "json"],
        &["snapshot", "rename", "base", " x"],
        &["verify", "--sample", "5"],
        &["verify", "--sample", "5%", "--read-data"],
        &["gc", "--max-unused", "101%"],
        &["restore", "base", "x.raw", "--size", "10X"],
        &["-q", "-v", "snapshot", "list"],
        &["-o", "yaml", "snapshot", "list"],
    ] {
        let done = fixture.run(arguments).exits(2);
        assert!(!done.err.is_empty() && done.out.is_empty(), "{arguments:?}: {done:?}");
    }
}

#[test]
fn something_that_is_no_repository_is_refused() {
    let fixture = Fixture::bare();
    std::fs::create_dir(fixture.path("repo")).unwrap();
    std::fs::write(fixture.path("repo/config"), b"not a config").unwrap();
    fixture.run(&["snapshot", "list"]).exits(6);
}

#[test]
fn a_place_that_may_not_be_written_can_still_be_read() {
    let fixture = Fixture::with_snapshot();
    let set = |mode| {
        for dir in [
            "repo",
            "repo/checkpoint",
            "repo/journal",
            "repo/journal-copies",
            "repo/packs",
            "repo/index",
            "repo/local",
            "repo/local/tmp",
            "repo/local/locks",
        ] {
            std::fs::set_permissions(fixture.path(dir), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o500);
    // For root, who may do everything, this is no place to learn something.
    if std::fs::write(fixture.path("repo/probe"), b"").is_err() {
        fixture.image("more.raw", 7);
        fixture.run(&["snapshot", "list"]).exits(0);
        fixture.run(&["snapshot", "create", "more.raw"]).exits(10);
    }
    set(0o700);
}

#[test]
fn a_demonstration_without_its_tools_says_which_package_has_them() {
    let fixture = Fixture::bare();
    let done = finish(fixture.program().env("PATH", "/nonexistent").arg("demo"));
    done.exits(3).says(&["is not installed", "apt install"]);
}

#[test]
fn a_demonstration_leaves_a_directory_alone_that_has_something_in_it() {
    let fixture = Fixture::bare();
    std::fs::write(fixture.path("letter.txt"), b"dear").unwrap();
    let done = fixture.run(&["demo", "--keep", "."]);
    // 3 if mke2fs is not installed.
    assert!([3, 4].contains(&done.code), "{done:?}");
    assert!(!fixture.path("v1.raw").exists());
}
