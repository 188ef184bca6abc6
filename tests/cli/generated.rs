//! What is made from the model of the command line.

use std::path::Path;

use crate::support::Fixture;

const CLI_MD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");

/// With ICECORE_BLESS set, the page is written instead.
#[test]
fn the_reference_is_what_the_program_says() {
    let now = Fixture::bare().run(&["markdown"]).exits(0).out;
    if std::env::var_os("ICECORE_BLESS").is_some() {
        std::fs::write(CLI_MD, &now).unwrap();
    }
    let committed = std::fs::read_to_string(CLI_MD).unwrap();
    assert!(committed == now, "docs/cli.md is out of date; write it again with `just docs-cli`");
}

#[test]
fn every_command_has_a_manual_page_and_the_first_lists_the_exit_codes() {
    let fixture = Fixture::bare();
    fixture.run(&["man", "man1"]).exits(0);
    let page = |name: &str| std::fs::read_to_string(fixture.path("man1").join(name)).unwrap();
    assert!(page("icecore.1").contains("130  interrupted"));
    for command in [
        "snapshot-create",
        "snapshot-diff",
        "snapshot-map",
        "snapshot-prune",
        "restore",
        "verify",
        "gc",
        "repair-index",
        "stats",
        "demo",
        "volume-serve",
        "serve",
        "token-create",
        "key-change-password",
    ] {
        assert!(page(&format!("icecore-{command}.1")).contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(!Path::new(&fixture.path("man1/icecore-markdown.1")).exists());
}

#[test]
fn shells_can_complete_commands() {
    let fixture = Fixture::bare();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = fixture.run(&["completions", shell]).exits(0).out;
        assert!(script.contains("unprotect"), "{shell}");
    }
    fixture.run(&["completions", "dos"]).exits(2);
}

#[test]
fn every_help_can_be_read() {
    let fixture = Fixture::bare();
    for command in [
        &["--help"][..],
        &["help"],
        &["-h"],
        &["--version"],
        &["snapshot", "--help"],
        &["snapshot", "create", "--help"],
        &["help", "restore"],
    ] {
        let done = fixture.run(command).exits(0);
        assert!(!done.out.is_empty() && done.err.is_empty(), "{done:?}");
    }
}
