//! The architecture, as a list: imports go down it only, and of the engine only two traits are known.

use std::fs;
use std::path::Path;

/// All modules, from the bottom up. A module imports what stands on lines above its own.
const LAYERS: &[&[&str]] = &[
    // Words.
    &["address", "clock", "disk", "errno", "events", "limits", "sync"],
    // Bytes.
    &["wire"],
    // The world: a client, and memory.
    &["channel", "memory"],
    &["input", "output", "session"],
    &["extents", "pace"],
    // What is said before an export is used, and then.
    &["handshake", "requests"],
    &["connection"],
    &["server"],
];

/// What the server may know of the engine: something that is read and written at an offset.
const OF_THE_ENGINE: &[&str] = &["ReadAt", "WriteAt"];

/// Returns what is wrong with the imports of a module.
fn problems(module: &str, source: &str) -> Vec<String> {
    let level = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let code = source.split_once("\nmod tests {").map_or(source, |(code, _)| code);
    let own = level(module);
    let mut problems = Vec::new();
    if own.is_none() && module != "lib" {
        problems.push(format!("{module} is not in the list"));
    }
    for line in code.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let path =
            line.trim_start_matches("pub ").strip_prefix("use ").map(|path| path.trim_end_matches(';'));
        let wrong = match path.map(|path| path.split("::").collect::<Vec<_>>()).as_deref() {
            Some([.., last]) if last.contains(['{', '*']) => true,
            Some(["icecore", "image", name]) => !OF_THE_ENGINE.contains(name),
            Some(["crate", to, ..]) => level(to).is_none() || own.is_some() && level(to) >= own,
            Some(["super" | "self" | "icecore", ..]) => true,
            Some(_) => false,
            None => line.contains("crate::") || line.contains("icecore::"),
        };
        if wrong {
            problems.push(format!("src/{module}.rs: {line}"));
        }
    }
    problems
}

#[test]
fn imports_go_down_only_and_the_engine_is_two_traits() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for file in fs::read_dir(src).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        wrong.extend(problems(&module, &fs::read_to_string(&path).unwrap()));
        found.push(module);
    }
    let known = LAYERS.iter().copied().flatten();
    let gone = known.filter(|module| !found.contains(&(**module).to_owned()));
    wrong.extend(gone.map(|module| format!("{module} is in the list and there is no such file")));
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn what_the_layer_test_forbids_is_found() {
    assert!(
        problems("pace", "use crate::wire::Request;\nuse icecore::image::ReadAt;\nuse std::io;").is_empty()
    );
    for (module, source) in [
        ("pace", "use icecore::repository::Repository;"),
        ("pace", "use icecore::fuzzing::seal;"),
        ("pace", "use icecore::{ReadAt, Repository};"),
        ("pace", "fn f(repository: &icecore::repository::Repository)"),
        ("pace", "use crate::server::Server;"),
        ("pace", "use crate::extents::of;"),
        ("pace", "use super::wire;"),
        ("unlisted", ""),
    ] {
        assert!(!problems(module, source).is_empty(), "{module}: {source}");
    }
}
