//! The architecture of the command line, as a list; and the only files that write to the terminal,
//! and that ask the system.

use icecore_testing::layers;
use icecore_testing::layers::Layers;
use icecore_testing::layers::without_tests;

/// All modules, from the bottom up. A module imports what stands on lines above its own.
const LAYERS: &[&[&str]] = &[
    &["exit", "hints", "host"],
    &["units"],
    // What is printed: JSON, and text for people.
    &["json/bench", "json/key", "json/repo", "json/server", "json/snapshot"],
    &["json/log", "json/prune", "json/upkeep", "json/volume"],
    &["json"],
    &["ui/out"],
    &["ui/progress", "ui/table"],
    &["ui"],
    &["app"],
    // What all commands need, the commands, and those that have others below them.
    &["commands"],
    &[
        "commands/bench/tables",
        "commands/demo/files",
        "commands/demo/tools",
        "commands/serve/config",
        "commands/snapshot/columns",
        "commands/snapshot/new",
        "commands/volume/columns",
        "commands/volume/prefetch",
        "commands/volume/serve/exports",
        "commands/volume/serve/record",
        "commands/volume/serve/sockets",
    ],
    &["commands/bench/picture", "commands/demo/image", "commands/snapshot/create", "commands/volume/serve"],
    &[
        "commands/bench",
        "commands/cache",
        "commands/completions",
        "commands/demo",
        "commands/gc",
        "commands/init",
        "commands/key/add",
        "commands/key/change_password",
        "commands/key/list",
        "commands/key/remove",
        "commands/key/rotate",
        "commands/log",
        "commands/man",
        "commands/markdown",
        "commands/parity",
        "commands/repair",
        "commands/repo/add",
        "commands/repo/list",
        "commands/restore",
        "commands/serve",
        "commands/snapshot/copy",
        "commands/snapshot/delete",
        "commands/snapshot/diff",
        "commands/snapshot/get",
        "commands/snapshot/list",
        "commands/snapshot/map",
        "commands/snapshot/protect",
        "commands/snapshot/rename",
        "commands/snapshot/tag",
        "commands/snapshot/undelete",
        "commands/stats",
        "commands/token",
        "commands/verify",
        "commands/volume/change",
        "commands/volume/create",
        "commands/volume/delete",
        "commands/volume/export",
        "commands/volume/get",
        "commands/volume/snapshot",
    ],
    &["commands/repo/check", "commands/snapshot/prune", "commands/volume/list"],
    &["commands/key", "commands/repo", "commands/snapshot", "commands/volume"],
    &["args"],
    &["fuzzing"],
];

/// The only files that write to the terminal.
const TERMINAL: [&str; 3] = ["ui/mod", "ui/out", "ui/progress"];
/// The only file that reads the clock, the environment and randomness.
const HOST: &str = "host";

#[test]
fn imports_go_down_only() {
    Layers(LAYERS).check(env!("CARGO_MANIFEST_DIR")).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn one_place_writes_to_the_terminal_and_one_asks_the_system() {
    let mut problems = Vec::new();
    for (name, source) in layers::sources(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let code = without_tests(&source);
        let mut forbid = |words: &[&str]| {
            let found = words.iter().filter(|word| code.contains(**word));
            problems.extend(found.map(|word| format!("{name}: {word}")));
        };
        if !TERMINAL.contains(&name.as_str()) {
            forbid(&["stdout()", "stderr()", "stdin()", "println!", "print!", "TermLike"]);
        }
        if name != HOST {
            forbid(&[
                "std::env::",
                "Timestamp::now",
                "SystemTime",
                "Instant",
                "new_v4",
                "now_v7",
                "getrandom",
            ]);
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
