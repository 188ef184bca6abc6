//! Plays the corpora of the fuzzing targets, and everything that a fuzzer ever found.

use icecore_testing::fuzz::replay::Target;
use icecore_testing::fuzz::replay::all_targets;
use icecore_testing::fuzz::replay::replay;
use icecore_testing::nbd::handshake;
use icecore_testing::nbd::requests;

const TARGETS: [Target; 2] = [("nbd_handshake", handshake::run), ("nbd_requests", requests::run)];

#[test]
fn hostile_clients_that_fuzzers_made_up_do_no_harm() {
    TARGETS.into_iter().for_each(replay);
}

#[test]
fn every_target_is_replayed() {
    let mut files = all_targets();
    files.retain(|name| name.starts_with("nbd_"));
    assert_eq!(files, TARGETS.map(|(name, _)| name));
}
