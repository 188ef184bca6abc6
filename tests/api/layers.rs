//! The direction of imports in the server, and how long a handler may be.

use std::path::Path;

/// The modules, from the bottom up. A module imports what stands before it, and its own parts.
const LAYERS: [&str; 10] =
    ["words", "db", "pool", "service", "wire", "http", "panel", "ops", "server", "lib"];
/// Lines of a handler, from `async fn` to its closing brace.
const HANDLER_LINES_MAX: usize = 25;

fn for_each_source(dir: &Path, each: &mut dyn FnMut(&str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_source(&path, each);
        } else if path.extension().is_some_and(|end| end == "rs") {
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
    assert!(all.len() > 30);
    all
}

/// Returns what is wrong with the imports of one file.
fn problems_of(name: &str, code: &str) -> Vec<String> {
    let layer = |module: &str| LAYERS.iter().position(|known| *known == module);
    let own = name.split(['/', '.']).next().unwrap();
    let from = layer(own).unwrap_or_else(|| panic!("{own} is not in LAYERS"));
    let mut problems = Vec::new();
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
    // Time and ids come from below.
    let words = ["Timestamp::now", "SystemTime::now", "new_v4", "now_v7", "std::env::", "println!"];
    problems.extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{name}: {word}")));
    problems
}

#[test]
fn imports_go_down_only() {
    let problems: Vec<String> = sources().iter().flat_map(|(name, code)| problems_of(name, code)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    for bad in ["use crate::http::App;", "use crate::words::{a, b};", "Timestamp::now()"] {
        assert_eq!(problems_of("db/x.rs", bad).len(), 1, "{bad}");
    }
}

#[test]
fn handlers_are_short() {
    let mut long = Vec::new();
    for (name, code) in sources().iter().filter(|(name, _)| name.starts_with("http/v2/")) {
        let lines: Vec<&str> = code.lines().collect();
        for (begin, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("async fn ")) {
            let length = lines[begin..].iter().position(|line| *line == "}").unwrap();
            if length > HANDLER_LINES_MAX {
                long.push(format!("{name}: {} has {length} lines", line.trim()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}
