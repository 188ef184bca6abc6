//! The architecture, as a list: imports go down it only, and of the engine only two traits are
//! known.

use icecore_testing::layers;
use icecore_testing::layers::Layers;
use icecore_testing::layers::without_tests;

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

/// Returns what of the engine a module names and may not.
fn strangers(source: &str) -> Vec<&str> {
    let lines = without_tests(source).lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    let allowed =
        |line: &str| OF_THE_ENGINE.iter().any(|name| line == format!("use icecore::image::{name};"));
    lines.filter(|line| line.contains("icecore::") && !allowed(line)).collect()
}

#[test]
fn imports_go_down_only() {
    Layers(LAYERS).check(env!("CARGO_MANIFEST_DIR")).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn the_engine_is_two_traits() {
    for (name, source) in layers::sources(env!("CARGO_MANIFEST_DIR")).unwrap() {
        assert!(strangers(&source).is_empty(), "{name}: {:?}", strangers(&source));
    }
    assert!(
        strangers("use icecore::image::ReadAt;\nuse std::io; // icecore::repository::Repository").is_empty()
    );
    for line in [
        "use icecore::repository::Repository;",
        "use icecore::fuzzing::seal;",
        "use icecore::{ReadAt, Repository};",
        "pub use icecore::image::ReadAt;",
        "fn f(repository: &icecore::repository::Repository)",
    ] {
        assert_eq!(strangers(line), [line]);
    }
}
