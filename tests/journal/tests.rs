//! The configurations that are searched. What is asserted is that a search visited all states,
//! never how many there are.

use std::collections::BTreeSet;

use crate::promises::FORGOTTEN;
use crate::promises::GOALS;
use crate::promises::LOST;
use crate::promises::NO_SPARE;
use crate::protocol::Protocol;
use crate::protocol::Role;
use crate::protocol::Role::Checkpointer;
use crate::protocol::Role::Gc;
use crate::protocol::Role::Writer;
use crate::protocol::Rule;
use crate::search::Outcome;
use crate::search::search;

#[test]
fn two_writers_a_gc_and_a_checkpointer_keep_every_promise() {
    holds(&[Writer, Writer, Gc, Checkpointer(1)], 1, false);
}

#[test]
fn two_gcs_beside_a_writer_and_a_checkpointer_keep_every_promise() {
    holds(&[Writer, Gc, Gc, Checkpointer(1)], 1, false);
}

#[test]
fn two_gcs_and_two_checkpointers_beside_a_writer_keep_every_promise() {
    holds(&[Writer, Gc, Gc, Checkpointer(1), Checkpointer(1)], 0, false);
}

#[test]
fn with_two_checkpoints_the_newest_can_be_lost_at_any_time() {
    holds(&[Writer, Writer, Gc, Checkpointer(2)], 0, true);
    holds(&[Writer, Gc, Checkpointer(2)], 1, true);
}

#[test]
fn a_gc_that_deletes_before_its_entry_loses_a_snapshot() {
    breaks(Rule::EntryBeforeDeletion, LOST);
}

#[test]
fn a_writer_that_refers_to_condemned_packs_loses_its_snapshot() {
    breaks(Rule::HeedCondemned, LOST);
}

#[test]
fn a_writer_that_loads_the_index_before_it_reads_the_journal_loses_its_snapshot() {
    breaks(Rule::JournalBeforeIndex, LOST);
}

#[test]
fn a_put_without_a_look_at_the_newest_checkpoint_makes_an_entry_that_does_not_exist() {
    breaks(Rule::LookAtCheckpoint, FORGOTTEN);
}

#[test]
fn a_checkpoint_without_the_condemned_packs_loses_a_snapshot() {
    breaks(Rule::KeepCondemned, LOST);
}

#[test]
fn a_writer_that_does_not_know_the_low_mark_refers_to_a_pack_that_is_forgotten() {
    breaks(Rule::LowMark, LOST);
}

#[test]
fn a_pack_stored_again_with_the_name_of_one_that_goes_is_deleted() {
    breaks(Rule::UniqueNames, LOST);
}

#[test]
fn a_reader_that_is_slower_than_a_checkpointer_believes_an_entry_that_does_not_exist() {
    breaks(Rule::CheckAfterReading, LOST);
}

#[test]
fn a_put_without_an_answer_may_not_have_happened() {
    breaks(Rule::ReadBack, FORGOTTEN);
}

#[test]
fn an_entry_that_is_read_back_may_be_that_of_another_process() {
    breaks(Rule::CompareTokens, FORGOTTEN);
}

#[test]
fn entries_removed_up_to_the_newest_checkpoint_leave_no_spare_of_it() {
    let broken = outcome(&[Writer, Gc, Checkpointer(2)], 0, true, Some(Rule::KeepTail));
    assert!(matches!(broken, Outcome::Broken { promise: NO_SPARE, .. }));
}

fn outcome(roles: &[Role], unanswered: u8, two_checkpoints: bool, without: Option<Rule>) -> Outcome {
    search(&Protocol { roles: roles.to_vec(), unanswered, two_checkpoints, without })
}

fn holds(roles: &[Role], unanswered: u8, two_checkpoints: bool) {
    match outcome(roles, unanswered, two_checkpoints, None) {
        Outcome::Exhausted { states, reached } => {
            assert_eq!(reached, BTreeSet::from(GOALS), "in {states} states");
        }
        Outcome::Broken { promise, history } => panic!("{promise}:\n{}", history.join("\n")),
    }
}

/// What two writers, a gc and a checkpointer break when they do not keep a rule.
fn breaks(without: Rule, expected: &str) {
    match outcome(&[Writer, Writer, Gc, Checkpointer(1)], 1, false, Some(without)) {
        Outcome::Broken { promise, history } => {
            assert_eq!(promise, expected, "after:\n{}", history.join("\n"));
        }
        Outcome::Exhausted { states, .. } => panic!("nothing breaks in {states} states without {without:?}"),
    }
}
