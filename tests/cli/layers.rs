//! The direction of imports in the command line.

use std::path::Path;

/// The modules of the program, from the bottom up. A module imports what stands before it, and its own parts.
const LAYERS: [&str; 12] =
    ["exit", "hints", "host", "units", "json", "ui", "app", "commands", "args", "fuzzing", "lib", "main"];

/// The only files that write to the terminal.
const TERMINAL: [&str; 3] = ["ui/mod.rs", "ui/out.rs", "ui/progress.rs"];
/// The only file that reads the clock, the environment and randomness.
const HOST: &str = "host.rs";

/// Calls `each` with the path and the text of every source file, tests left out.
fn for_each_source(dir: &Path, each: &mut dyn FnMut(&str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_source(&path, each);
        } else {
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.split_once("\n#[cfg(test)]").map_or(source.as_str(), |(code, _)| code);
            each(path.strip_prefix(&root).unwrap().to_str().unwrap(), code);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for_each_source(&src, &mut |name, code| all.push((name.to_owned(), code.to_owned())));
    assert!(all.len() > 20);
    all
}

#[test]
fn imports_go_down_only() {
    let layer = |module: &str| LAYERS.iter().position(|known| *known == module);
    let mut problems = Vec::new();
    for (name, code) in sources() {
        let own = name.split(['/', '.']).next().unwrap().to_owned();
        let from = layer(&own).unwrap_or_else(|| panic!("{own} is not in LAYERS"));
        for line in code.lines().map(str::trim) {
            if line.starts_with("use ") && line.contains(['{', '*']) || line.starts_with("use super") {
                problems.push(format!("{name}: `{line}` is not one path from the top"));
            }
            for path in line.split("crate::").skip(1) {
                let to = path.split([':', ';']).next().unwrap();
                if to != own && layer(to).is_none_or(|to| to >= from) {
                    problems.push(format!("{name}: `{line}` leads up"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn one_place_writes_to_the_terminal_and_one_asks_the_system() {
    let mut problems = Vec::new();
    for (name, code) in sources() {
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
