//! Plays the corpora of the fuzzing targets, and everything that a fuzzer ever found.

use icecore::fuzzing::decoders;
use icecore_testing::fuzz::histories;
use icecore_testing::fuzz::mutations;
use icecore_testing::fuzz::names;
use icecore_testing::fuzz::replay::Target;
use icecore_testing::fuzz::replay::all_targets;
use icecore_testing::fuzz::replay::replay;
use icecore_testing::fuzz::walks;

const TARGETS: [Target; 17] = [
    ("config", decoders::config),
    ("record", decoders::record),
    ("journal_entry", decoders::entry),
    ("checkpoint", decoders::checkpoint),
    ("volume", decoders::volume),
    ("reads", decoders::reads),
    ("sealed", decoders::sealed),
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

macro_rules! replays {
    ($($test:ident: $($name:literal),+;)+) => {
        $(#[test]
        fn $test() {
            for name in [$($name),+] {
                replay(TARGETS.into_iter().find(|(known, _)| *known == name).unwrap());
            }
        })+
    };
}

replays! {
    decoders_take_what_fuzzers_made_up: "config", "record", "journal_entry", "checkpoint", "volume", "reads", "sealed", "map_entry", "page", "pack", "parity", "run", "stored", "names";
    verbs_take_manifests_that_fuzzers_made_up: "walks";
    verbs_take_repositories_that_fuzzers_damaged: "mutations";
    histories_that_fuzzers_made_up_lose_nothing: "histories";
}

#[test]
fn every_target_is_replayed() {
    let mut files = all_targets();
    files.retain(|name| !name.starts_with("cli_") && !name.starts_with("nbd_"));
    let mut known: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    assert_eq!(files, known);
}
