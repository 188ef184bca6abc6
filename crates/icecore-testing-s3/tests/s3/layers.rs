//! The architecture, as a list.

use icecore_testing::layers::Layers;

/// The modules from the bottom up: imports go down this list only.
const LAYERS: Layers<'_> = Layers(&[
    &["clock", "rights", "faults", "log", "content"],
    &["options", "bucket", "intake", "target", "bodies"],
    &["link", "store", "auth", "calls/values"],
    &["calls/reading", "calls/writing", "calls/listing", "calls/parts"],
    &["calls/service", "front"],
    &["control"],
    &["server"],
]);

#[test]
fn imports_go_down_only() -> Result<(), String> {
    LAYERS.check(env!("CARGO_MANIFEST_DIR"))
}
