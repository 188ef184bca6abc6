//! Passwords and identities: where they come from, who sees them, and what a wrong one opens.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use crate::hostile::tree;
use crate::support::Done;
use crate::support::Fixture;
use crate::support::finish;

/// Text that stands nowhere but in passwords.
const PASSWORD: &str = "swordfish-0451";

/// Returns the file of a key of the tests.
pub(crate) fn key(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/sealing/keys")).join(name)
}

/// Runs the program without a terminal to ask on.
pub(crate) fn detached(fixture: &Fixture, arguments: &[&str]) -> Done {
    let mut program = fixture.program_through("setsid", &["--wait"]);
    finish(program.args(arguments))
}

#[test]
fn every_source_seals_a_new_repository_and_opens_it() {
    let file = |fixture: &Fixture| fixture.path("password").into_os_string();
    type Value<'a> = &'a dyn Fn(&Fixture) -> OsString;
    let sources: [(&'static str, Value<'_>); 6] = [
        ("ICECORE_PASSWORD", &|_| PASSWORD.into()),
        ("ICECORE_PASSWORD_FILE", &file),
        ("ICECORE_PASSWORD_COMMAND", &|fixture| {
            format!("cat '{}'", fixture.path("password").display()).into()
        }),
        ("ICECORE_IDENTITY", &|_| key("age").into()),
        ("ICECORE_IDENTITY", &|_| key("ed25519").into()),
        ("CREDENTIALS_DIRECTORY", &|fixture| fixture.path("credentials").into()),
    ];
    for (name, value) in sources {
        let mut fixture = Fixture::bare();
        std::fs::write(fixture.path("password"), format!("{PASSWORD}\n")).unwrap();
        std::fs::create_dir(fixture.path("credentials")).unwrap();
        std::fs::copy(fixture.path("password"), fixture.path("credentials/icecore-password")).unwrap();
        fixture.set(name, value(&fixture));
        let done = fixture.run(&["init"]).exits(0);
        assert!(done.out.contains("it is sealed"), "{name}: {done:?}");
        fixture.image("disk.raw", 1);
        fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
        fixture.run(&["restore", "base", "copy.raw"]).exits(0);
        fixture.assert_equal("disk.raw", "copy.raw");
        fixture.unset(name);
        let says = ["is sealed, and there is no password", "ICECORE_PASSWORD_FILE"];
        detached(&fixture, &["snapshot", "list"]).exits(10).says(&says);
    }
    let plain = Fixture::bare();
    assert!(plain.run(&["init"]).exits(0).out.contains("it is plain"));
}

#[test]
fn the_first_snapshot_says_whether_its_new_repository_is_sealed() {
    for (variable, kind) in [("ICECORE_PASSWORD", "sealed"), ("NOTHING", "plain")] {
        let mut fixture = Fixture::bare();
        fixture.set(variable, PASSWORD);
        fixture.image("disk.raw", 1);
        let mut program = fixture.program();
        program.env_remove("ICECORE_REPO").args(["snapshot", "create", "disk.raw"]);
        finish(&mut program).exits(0).says(&[&format!("created a {kind} repository in ")]);
    }
}

#[test]
fn a_password_set_for_a_plain_repository_is_a_warning() {
    let mut fixture = Fixture::with_snapshot();
    fixture.set("ICECORE_PASSWORD", PASSWORD);
    let done = fixture.run(&["snapshot", "list"]).exits(0);
    let done = done.says(&["warning: ICECORE_PASSWORD is set", "is plain", "hint: "]);
    assert!(!done.err.contains(PASSWORD), "{done:?}");
    detached(&fixture, &["key", "list"]).exits(7).says(&["not sealed", "hint: "]);
    fixture.run(&["gc", "--reseal"]).exits(7).says(&["--reseal", "not sealed"]);
    let done = fixture.run(&["--repo", "other", "init", "--no-seal"]).exits(0);
    assert!(done.out.contains("it is plain"), "{done:?}");
}

/// Every command that opens a repository, with what it needs to do so.
const COMMANDS: &[&[&str]] = &[
    &["snapshot", "create", "disk.raw"],
    &["snapshot", "create", "disk.raw", "--dry-run"],
    &["snapshot", "list"],
    &["snapshot", "list", "--deleted"],
    &["snapshot", "get", "base"],
    &["snapshot", "delete", "--force", "base"],
    &["snapshot", "undelete", "base"],
    &["snapshot", "rename", "base", "other"],
    &["snapshot", "tag", "base", "+t"],
    &["snapshot", "protect", "base"],
    &["snapshot", "unprotect", "base"],
    &["snapshot", "diff", "base", "base"],
    &["snapshot", "map", "base"],
    &["snapshot", "prune", "--keep-last", "1", "--force"],
    &["snapshot", "copy", "base", "--to", "repo"],
    &["restore", "base", "new.raw"],
    &["restore", "base", "-"],
    &["volume", "create", "clone", "--snapshot", "base"],
    &["volume", "list"],
    &["volume", "get", "web"],
    &["volume", "resize", "web", "5M"],
    &["volume", "reset", "--force", "web"],
    &["volume", "restore", "--force", "web", "base"],
    &["volume", "snapshot", "web"],
    &["volume", "export", "web", "new.raw"],
    &["volume", "delete", "--force", "web"],
    &["volume", "serve", "web"],
    &["log"],
    &["verify"],
    &["verify", "--read-data"],
    &["gc"],
    &["repair", "index"],
    &["repair", "packs"],
    &["repair", "snapshots"],
    &["repair", "catalog"],
    &["parity"],
    &["parity", "3+1"],
    &["stats"],
    &["key", "list"],
    &["key", "add", "--recipient", "age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z"],
    &["key", "remove", "--force", "0123"],
    &["key", "change-password"],
    &["key", "rotate"],
    &["serve", "--listen", "0"],
];

#[test]
fn a_wrong_password_or_key_opens_nothing_and_changes_nothing() {
    let mut fixture = Fixture::sealed();
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    let before = tree(&fixture.path("repo"));
    let refused = |fixture: &Fixture, command: &[&str], says: &str| {
        let done = fixture.run(command).exits(10).says(&[says, "repo", "hint: "]);
        assert!(done.out.is_empty() && !done.err.contains(PASSWORD), "{command:?}: {done:?}");
        assert!(!fixture.path("new.raw").exists(), "{command:?}");
        assert!(tree(&fixture.path("repo")) == before, "{command:?} changed something");
    };
    fixture.unset("ICECORE_PASSWORD_FILE");
    fixture.set("ICECORE_PASSWORD", PASSWORD);
    for command in [&["snapshot", "list"][..], &["restore", "base", "new.raw"], &["key", "rotate"]] {
        refused(&fixture, command, "the password is wrong");
    }
    let error = fixture.run(&["-o", "json", "stats"]).exits(10).json();
    assert_eq!(error["error"]["kind"], "permission_denied");
    // A key needs no time to be refused.
    fixture.unset("ICECORE_PASSWORD");
    fixture.set("ICECORE_IDENTITY", key("age"));
    fixture.set("ICECORE_NEW_PASSWORD", PASSWORD);
    for command in COMMANDS {
        refused(&fixture, command, "the identity opens no key slot");
    }
}

#[test]
fn nobody_who_lists_processes_sees_a_password() {
    let mut fixture = Fixture::bare();
    std::fs::write(fixture.path("password"), PASSWORD).unwrap();
    std::fs::write(fixture.path("new"), format!("{PASSWORD}-new")).unwrap();
    // The program that prints the password looks at all processes first.
    let command = |file: &str| {
        let [file, seen] = [file, "seen"].map(|name| fixture.path(name).display().to_string());
        format!("sh -c 'cat /proc/[0-9]*/cmdline >> {seen} 2> {seen}-not; cat {file}'")
    };
    let (password, new) = (command("password"), command("new"));
    fixture.set("ICECORE_PASSWORD_COMMAND", password);
    fixture.set("ICECORE_NEW_PASSWORD_COMMAND", new);
    fixture.run(&["init"]).exits(0);
    fixture.run(&["key", "add"]).exits(0);
    let seen = String::from_utf8_lossy(&std::fs::read(fixture.path("seen")).unwrap()).into_owned();
    assert!(seen.contains("key\0add\0"), "{seen}");
    assert!(!seen.contains(PASSWORD), "{seen}");
}

#[test]
fn no_option_takes_a_password() {
    let reference = Fixture::bare().run(&["markdown"]).exits(0).out;
    let words = reference.split([' ', '\n', '`', '[', ']', '<', '>', '=', ',']);
    let options: Vec<&str> = words.filter(|word| word.starts_with('-')).collect();
    assert!(options.contains(&"--repo") && options.contains(&"--recipient"));
    let takes_one = |option: &&&str| ["pass", "secret", "identity"].iter().any(|word| option.contains(word));
    assert_eq!(options.iter().filter(takes_one).count(), 0);
}

#[test]
fn a_program_that_prints_no_password_is_named_and_what_it_says_is_seen() {
    let mut fixture = Fixture::sealed();
    for (command, says) in [
        ("sh -c 'echo no such entry >&2; exit 1'", "no such entry"),
        ("/nonexistent/program", "cannot be started"),
        ("true", "ICECORE_PASSWORD_COMMAND is empty"),
        ("echo 'unfinished", "check its quotes"),
    ] {
        fixture.set("ICECORE_PASSWORD_COMMAND", command);
        fixture.run(&["stats"]).exits(2).says(&[says]);
    }
}

#[test]
fn an_image_on_standard_output_has_no_word_of_the_program_that_prints_the_password() {
    let mut fixture = Fixture::sealed();
    fixture.image("disk.raw", 1);
    fixture.run(&["snapshot", "create", "disk.raw", "--name", "base"]).exits(0);
    fixture.set("ICECORE_PASSWORD_COMMAND", format!("cat '{}'", fixture.path("password").display()));
    let to = std::fs::File::create(fixture.path("copy.raw")).unwrap();
    let mut program = fixture.program();
    let done = program.args(["restore", "base", "-"]).stdout(to).stderr(Stdio::piped()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    fixture.assert_equal("disk.raw", "copy.raw");
}
