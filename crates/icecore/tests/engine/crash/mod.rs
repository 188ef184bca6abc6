//! Everything that a power cut may leave of each operation, and what must hold then: the repository
//! opens, verifies, has each snapshot that was there with every byte, and the next capture and the
//! next gc succeed.
//!
//! Beside each operation stands a list of breaks: each sync left out, neighbouring steps in the
//! other order. Each must be found, or says why it harms nobody; so a sync or an order that is lost
//! by a change of the engine is found, too.

pub(crate) mod capture;
pub(crate) mod catalog;
pub(crate) mod collect;
mod fixture;
mod mend;
mod mutate;
mod parity;
mod volume_fixture;
mod volumes;

use icecore_testing::crash_states::Bounds;
use icecore_testing::random::Random;

use crate::crash::fixture::Fixture;
use crate::crash::mutate::Kind;
use crate::crash::mutate::publications;

const CHUNK: usize = 64 << 10;

const BLOCK: usize = 4096;

const LEAF: usize = 4 << 20;

/// Returns how many times as many states as usual the environment asks for.
fn times() -> usize {
    std::env::var("ICECORE_CRASH_STATES").ok().map_or(1, |times| times.parse().unwrap())
}

/// Returns which states are made.
fn bounds(combinations_max: usize, samples: usize) -> Bounds {
    Bounds {
        combinations_max: combinations_max * times(),
        samples: samples * times(),
        seed: 1,
        loose: &["local/tmp", "local/locks"],
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

/// Returns an image of two leaves with some chunks in the first and one in the second.
fn image(seed: u64, chunks: usize) -> Vec<u8> {
    let mut image = vec![0; LEAF + CHUNK];
    let (first, second) = image.split_at_mut(LEAF);
    first[..chunks * CHUNK].copy_from_slice(&noise(seed, chunks * CHUNK));
    second.copy_from_slice(&noise(seed + 1, CHUNK));
    image
}

fn kinds(fixture: &Fixture) -> Vec<Kind> {
    publications(&fixture.storage().log().changes).iter().map(|publication| publication.kind).collect()
}

fn count(fixture: &Fixture, kind: Kind) -> usize {
    kinds(fixture).iter().filter(|other| **other == kind).count()
}

const HINTS: &str = "a run holds hints, and one that leads to nothing is not followed";

const NO_READER_LEFT: &str = "only captures that run look at it, and none runs any more after a cut. It is synced all the \
    same, as every file: a capture can outlive the power of a disk in an enclosure of its own";
