//! What each verb asks of a store, so that it cannot grow unseen: requests cost time on a link, and
//! money.

use icecore_testing_s3::Counters;
use icecore_testing_s3::Server as Store;

use crate::buckets::machine;
use crate::buckets::store;
use crate::support::Fixture;

/// What one command may ask for.
struct Bound {
    command: &'static str,
    requests: u64,
    /// Bytes to the store.
    up: u64,
    /// Bytes from it.
    down: u64,
}

const fn bound(command: &'static str, requests: u64, up: u64, down: u64) -> Bound {
    Bound { command, requests, up, down }
}

/// Runs commands and returns all that asked for more than they may.
fn excesses(store: &Store, fixture: &Fixture, bounds: &[Bound]) -> Vec<String> {
    let mut excesses = Vec::new();
    for Bound { command, requests, up, down } in bounds {
        store.reset_log();
        fixture.run(&command.split(' ').collect::<Vec<_>>()).exits(0);
        let counted = store.counters();
        if counted.requests > *requests || counted.bytes_up > *up || counted.bytes_down > *down {
            excesses.push(format!("{command}: {}", told(&counted)));
        }
    }
    excesses
}

fn told(counted: &Counters) -> String {
    let Counters { requests, bytes_up, bytes_down, operations, .. } = counted;
    format!("{requests} requests {operations:?}, {bytes_up} bytes up, {bytes_down} bytes down")
}

#[test]
fn a_verb_asks_for_no_more_than_it_needs() {
    let store = store();
    let one = machine(&store, "disks");
    one.run(&["init"]).exits(0);
    one.image("disk.raw", 1);
    let first = [bound("snapshot create disk.raw --name first", 15, 600_000, 6_000)];
    let mut seen = excesses(&store, &one, &first);
    let unchanged = [
        bound("snapshot create disk.raw --name second", 18, 2_000, 1_000_000),
        bound("snapshot create disk.raw --name third", 12, 2_000, 8_000),
    ];
    seen.extend(excesses(&store, &one, &unchanged));
    one.scribble("disk.raw", 8192, 4096);
    let verbs = [
        bound("snapshot create disk.raw --name fourth", 16, 10_000, 8_000),
        bound("snapshot list", 8, 0, 7_000),
        bound("snapshot get fourth", 7, 0, 6_000),
        bound("snapshot diff third fourth", 15, 0, 17_000),
        bound("snapshot map fourth", 12, 0, 10_000),
        bound("snapshot rename first 1st", 11, 2_000, 7_000),
        bound("snapshot tag fourth +x", 12, 2_000, 8_000),
        bound("snapshot delete -f third", 12, 2_000, 9_000),
        bound("snapshot undelete third", 12, 2_000, 9_000),
        bound("snapshot prune --keep-last 3 --force", 12, 2_000, 10_000),
        bound("volume create web --snapshot fourth", 13, 2_000, 11_000),
        bound("volume list", 3, 0, 2_000),
        bound("volume delete -f web", 12, 2_000, 11_000),
        bound("restore fourth new.raw", 11, 0, 12_000),
        bound("log", 7, 0, 10_000),
        bound("stats", 22, 0, 100_000),
        bound("verify", 81, 0, 1_300_000),
        bound("verify --read-data", 85, 0, 1_800_000),
        bound("gc --grace 0s --max-unused 0%", 32, 4_000, 100_000),
    ];
    seen.extend(excesses(&store, &one, &verbs));
    // Another machine, which knows nothing yet.
    let verbs = [
        bound("snapshot list", 20, 0, 14_000),
        bound("volume create web --snapshot fourth", 12, 2_000, 12_000),
        bound("restore fourth new.raw", 17, 0, 1_000_000),
    ];
    seen.extend(excesses(&store, &machine(&store, "disks"), &verbs));
    assert!(seen.is_empty(), "{seen:#?}");
}
