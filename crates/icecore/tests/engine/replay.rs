//! Plays the corpora of the fuzzing targets, and everything that a fuzzer ever found.

use std::fs;
use std::path::Path;

use icecore::fuzzing::decoders;
use icecore_testing::fuzz::histories;
use icecore_testing::fuzz::mutations;
use icecore_testing::fuzz::names;
use icecore_testing::fuzz::walks;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 13] = [
    ("config", decoders::config),
    ("record", decoders::record),
    ("volume", decoders::volume),
    ("map_entry", decoders::map_entry),
    ("page", decoders::page),
    ("pack", decoders::pack),
    ("parity", decoders::parity),
    ("run", decoders::run),
    ("stored", decoders::stored),
    ("names", names::run),
    ("walks", walks::run),
    ("mutations", mutations::run),
    ("histories", histories::run),
];

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

macro_rules! replays {
    ($($test:ident: $($name:literal),+;)+) => {
        $(#[test]
        fn $test() {
            for name in [$($name),+] {
                let target = TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
                assert!(replay(target) > 0, "there is no corpus of {name}");
            }
        })+
    };
}

replays! {
    decoders_take_what_fuzzers_made_up: "config", "record", "volume", "map_entry", "page", "pack", "parity", "run", "stored", "names";
    verbs_take_manifests_that_fuzzers_made_up: "walks";
    verbs_take_repositories_that_fuzzers_damaged: "mutations";
    histories_that_fuzzers_made_up_lose_nothing: "histories";
}

#[test]
fn every_target_is_replayed() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let mut files: Vec<String> = fs::read_dir(top)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !name.starts_with("cli_") && !name.starts_with("nbd_"))
        .collect();
    let mut known: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    files.sort();
    known.sort();
    assert_eq!(files, known);
}
