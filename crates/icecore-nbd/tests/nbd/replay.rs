//! Plays the corpora of the fuzzing targets, and everything that a fuzzer ever found.

use std::fs;
use std::path::Path;

use icecore_testing::nbd::handshake;
use icecore_testing::nbd::requests;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 2] = [("nbd_handshake", handshake::run), ("nbd_requests", requests::run)];

/// Plays all inputs of a target, and returns how many there are.
fn replay((name, target): Target) -> usize {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut played = 0;
    for kind in ["corpus", "found"] {
        let Ok(inputs) = fs::read_dir(top.join(kind).join(name)) else { continue };
        for input in inputs {
            let path = input.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert!(std::panic::catch_unwind(|| target(&bytes)).is_ok(), "{} fails", path.display());
            played += 1;
        }
    }
    played
}

#[test]
fn hostile_clients_that_fuzzers_made_up_do_no_harm() {
    for target in TARGETS {
        assert!(replay(target) > 0, "there is no corpus of {}", target.0);
    }
}

#[test]
fn every_target_is_replayed() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let files = fs::read_dir(top).unwrap().map(|file| file.unwrap().file_name().to_str().unwrap().to_owned());
    let mut files: Vec<_> = files.filter(|name| name.starts_with("nbd_")).collect();
    files.sort();
    assert_eq!(files, TARGETS.map(|(name, _)| format!("{name}.rs")));
}
