//! What must hold in every state, and what must be possible in some.

use std::collections::BTreeSet;

use crate::protocol::Protocol;
use crate::protocol::Role;
use crate::state::At;
use crate::state::OLD;
use crate::state::State;

pub(crate) const LOST: &str = "a live snapshot refers to a deleted pack";
pub(crate) const FORGOTTEN: &str = "a snapshot that its writer has reported is not in the journal";
pub(crate) const WAITS: &str = "a process does not end while the others stand still";
pub(crate) const NO_SPARE: &str = "the older checkpoint and the entries do not say what the newest says";

/// What must be possible, once every writer has made its snapshot.
pub(crate) const GOALS: [&str; 4] = [
    "a snapshot refers to the old pack",
    "all snapshots refer to uploaded packs",
    "gc has deleted the old pack",
    "entries that checkpoints cover are removed",
];

/// More steps than any process needs to end.
const STEPS_ALONE: usize = 20;

/// The promise that a state breaks.
pub(crate) fn broken(protocol: &Protocol, state: &State) -> Option<&'static str> {
    let truth = state.truth();
    if truth.used() & !state.packs != 0 {
        return Some(LOST);
    }
    let mut writers = writers(protocol).zip(truth.live);
    if writers.any(|(who, live)| state.processes[who].at == At::Done && live == 0) {
        return Some(FORGOTTEN);
    }
    let spare = state.older.unwrap_or(truth).folded(&state.journal);
    if (spare.at, spare.live) != (truth.at, truth.live) {
        return Some(NO_SPARE);
    }
    let waits = (0..protocol.roles.len()).any(|who| !ends_alone(protocol, *state, who));
    waits.then_some(WAITS)
}

/// Adds the goals that a state reaches.
pub(crate) fn reached(protocol: &Protocol, state: &State, goals: &mut BTreeSet<&'static str>) {
    if writers(protocol).all(|who| state.processes[who].at == At::Done) {
        let truth = state.truth();
        let refers = truth.used() & OLD != 0;
        let deleted = state.packs & OLD == 0;
        let removed = truth.at > 0 && state.entry(1).is_none();
        let are = GOALS.into_iter().zip([refers, !refers, deleted, removed]);
        goals.extend(are.filter(|(_, is)| *is).map(|(goal, _)| goal));
    }
}

/// The writers are the first processes.
fn writers(protocol: &Protocol) -> impl Iterator<Item = usize> {
    (0..).zip(&protocol.roles).take_while(|(_, role)| **role == Role::Writer).map(|(who, _)| who)
}

/// Whether a process ends if nobody else does anything. A checkpointer without new entries is back
/// where it began, which counts.
fn ends_alone(protocol: &Protocol, mut state: State, who: usize) -> bool {
    for _ in 0..STEPS_ALONE {
        let Some((_, next)) = protocol.next(&state, who) else { return true };
        state = next;
        let begins = state.processes[who].at == At::LoadCheckpoint;
        if begins && matches!(protocol.roles[who], Role::Checkpointer(_)) {
            return true;
        }
    }
    false
}
