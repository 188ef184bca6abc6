//! The functions that are fuzzed and need more than a decoder: the same sources as in the tests, where the
//! inputs that are kept are replayed.

#[path = "../../crates/icecore/tests/engine/fuzz/mod.rs"]
mod fuzz;
#[path = "../../crates/icecore/tests/engine/history.rs"]
mod history;
#[path = "../../crates/icecore-nbd/tests/nbd/hostile/mod.rs"]
mod hostile;
#[path = "../../crates/icecore/tests/engine/support.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod support;

/// Random histories, see `fuzz/histories.rs` in the engine's tests.
pub fn histories(bytes: &[u8]) {
    fuzz::histories::run(bytes);
}

/// Damaged repositories.
pub fn mutations(bytes: &[u8]) {
    fuzz::mutations::run(bytes);
}

/// What people write for a snapshot.
pub fn names(bytes: &[u8]) {
    fuzz::names::run(bytes);
}

/// A client that says anything to the NBD server.
pub fn nbd_handshake(bytes: &[u8]) {
    hostile::handshake::run(bytes);
}

/// Requests to the NBD server.
pub fn nbd_requests(bytes: &[u8]) {
    hostile::requests::run(bytes);
}

/// Hostile manifests.
pub fn walks(bytes: &[u8]) {
    fuzz::walks::run(bytes);
}
