//! The architecture, as a list: imports go down it only.

use icecore_testing::layers::Layers;

/// All modules, from the bottom up. A module imports what stands on lines above its own.
const LAYERS: &[&[&str]] = &[
    // Words.
    &["address", "fetch", "profile", "refusal"],
    // How a bucket is reached.
    &["settings"],
    &["aws", "transport"],
    &["clouds", "trouble"],
    // Requests, and trying them again.
    &["runtime"],
    &["attempts"],
    &["remote"],
    &["put"],
    // The cache.
    &["cache/flights", "cache/piece", "cache/space"],
    &["cache"],
    // What the engine knows.
    &["known", "staged"],
    &["object", "upload"],
    &["bucket"],
    &["probe"],
];

#[test]
fn imports_go_down_only() {
    Layers(LAYERS).check(env!("CARGO_MANIFEST_DIR")).unwrap_or_else(|problems| panic!("{problems}"));
}
