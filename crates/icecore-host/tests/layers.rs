//! The architecture, as a list.

use icecore_testing::layers::Layers;

/// All modules, from the bottom up. A module imports what stands on lines above its own.
const LAYERS: &[&[&str]] = &[
    &["clock", "control", "exports", "machine", "zone"],
    &["keys/content", "keys/core_dumps", "keys/words"],
    &["keys/answers", "keys/prompt"],
    &["keys/recipient"],
    &["keys/slot"],
    &["keys/identity"],
    &["keys/sources"],
    &["keys/unlock"],
    &["keys/manage"],
    &["places/address", "places/beginning", "places/store"],
    &["places/named"],
    &["places/adding"],
    &["places/bucket"],
    &["places/location"],
    &["places/environment"],
    &["places"],
    &["repository"],
    // Of a server.
    &["cron"],
    &["config/names", "config/operation"],
    &["config/settings"],
    &["config/prices"],
    &["config/schedule"],
    &["config/load"],
    &["config"],
];

#[test]
fn imports_go_down_only() {
    Layers(LAYERS).check(env!("CARGO_MANIFEST_DIR")).unwrap_or_else(|problems| panic!("{problems}"));
}
