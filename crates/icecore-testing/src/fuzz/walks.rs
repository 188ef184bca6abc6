//! Manifests that no capture would write: misplaced, truncated or repeated pages, and pages of
//! wrong levels and sizes, all with the right ids.

use icecore::fuzzing::forge::Forge;
use icecore::fuzzing::forge::Run;
use icecore::storage::MemoryStorage;

use crate::fuzz::input::Input;
use crate::fuzz::verbs;
use crate::repository::init;
use crate::repository::open;

const PAGES_MAX: usize = 24;
const SNAPSHOTS_MAX: u8 = 3;
/// The number of blocks in a leaf.
const LEAF_BLOCKS: u16 = 1024;

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let storage = MemoryStorage::new();
    let maker = init(storage.clone());
    let mut forge = Forge::new(&maker).unwrap();
    forge.chunk(&[1, 2, 3, 4]).unwrap();
    forge.chunk(&[5; 16]).unwrap();
    let mut honest = true;
    for _ in 0..=input.below(PAGES_MAX) {
        honest &= page(&mut forge, &mut input);
    }
    forge.publish().unwrap();
    for number in 1..=1 + input.byte() % SNAPSHOTS_MAX {
        let (size, root) = (size(&mut input), input.below(forge.pages() + 1));
        // Most often the last page, which stands on top of all others.
        let root = if root == forge.pages() { None } else { Some(forge.pages() - 1 - root) };
        let right = input.byte() % 8 != 7;
        forge.record(number, size, root, right).unwrap();
        honest &= right;
    }
    let repo = open(storage.clone());
    let all = verbs::read_all(&repo, honest);
    verbs::change_all(&repo, &all);
}

/// Adds a page, and returns whether its content is true.
fn page(forge: &mut Forge<'_>, input: &mut Input<'_>) -> bool {
    let mut honest = true;
    match input.below(4) {
        0 => {
            let len = input.below(64);
            forge.bytes(input.bytes(len)).unwrap();
        }
        1 => {
            let runs = runs(input);
            honest = input.byte() % 8 != 7;
            // A page that cannot be encoded is skipped.
            let _ = forge.leaf(&runs, honest);
        }
        _ => {
            let level = input.byte() % 10;
            // One child in many places is cheap to write but expensive to walk.
            let many = input.byte() % 8 == 7;
            let count = if many { 128 } else { 1 + input.below(6) };
            let same = input.below(forge.pages() + 1);
            let child = |at: usize, input: &mut Input<'_>| match many {
                true => (u8::try_from(at).unwrap(), same),
                false => (input.byte(), forge.pages().saturating_sub(input.below(forge.pages() + 1))),
            };
            let children: Vec<(u8, usize)> = (0..count).map(|at| child(at, input)).collect();
            honest = input.byte() % 8 != 7;
            forge.inner(level, &children, honest).unwrap();
        }
    }
    honest
}

/// Returns the runs of a leaf: most often with the right number of blocks.
fn runs(input: &mut Input<'_>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut left = LEAF_BLOCKS;
    for _ in 0..input.below(12) {
        let source = match input.below(4) {
            0 => None,
            1 => Some((0, input.byte() % 5)),
            2 => Some((1, input.byte() % 17)),
            _ => Some((u16::from(input.byte() % 4), input.byte())),
        };
        let blocks = match input.below(4) {
            0 => 1,
            1 => u16::from(input.byte() % 17),
            2 => 16,
            _ => input.u16() % LEAF_BLOCKS,
        };
        left = left.saturating_sub(blocks);
        runs.push((blocks, source));
    }
    if input.byte() % 8 != 7 && left > 0 {
        runs.push((left, None));
    }
    runs
}

fn size(input: &mut Input<'_>) -> u64 {
    let more = u64::from(input.byte());
    match input.below(6) {
        0 => 4 << 20,
        1 => more * 4096,
        2 => (8 << 20) + more,
        3 => 512 << 20,
        4 => (1 << (more % 64)) + more,
        _ => input.u64(),
    }
}
