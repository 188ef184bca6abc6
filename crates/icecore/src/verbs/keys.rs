//! The key slots and the epochs of a sealed repository.

use std::sync::Arc;

use crate::format::config::SlotNote;
use crate::format::journal::Change;
use crate::format::journal::SLOTS_MAX;
use crate::pure::keys::MasterKey;
use crate::repository::Repository;
use crate::stores::slots;
use crate::stores::slots::KeySlot;
use crate::stores::slots::SlotInfo;
use crate::stores::slots::SlotState;
use crate::stores::slots::states;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SlotId;

/// What to change about the key slots.
#[derive(Debug, Default)]
pub struct SlotChanges {
    /// A slot to add, under a fresh id.
    pub add: Option<KeySlot>,
    /// When it is added, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// Slots to remove.
    pub remove: Vec<SlotId>,
}

/// Returns the master key of a sealed repository, to make a slot with it.
///
/// # Errors
/// `Unsupported` if the repository is not sealed.
pub fn master_key(repo: &Repository) -> Result<Arc<MasterKey>> {
    repo.files().seals.master().cloned().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "the repository is not sealed, so it has no keys")
            .with_hint("copy its snapshots to a sealed repository")
    })
}

/// Returns the key slots, oldest first, then those that the journal does not know.
///
/// # Errors
/// `Unsupported` if the repository is not sealed.
pub fn list_slots(repo: &Repository) -> Result<Vec<SlotInfo>> {
    master_key(repo)?;
    states(repo.files(), &repo.catalog()?.settings.slots)
}

/// Adds and removes key slots, in one entry of the journal. A new password is a new slot in place of
/// the one that it replaces.
///
/// # Errors
/// `NotFound` if there is no slot to remove; `InvalidInput` if no sound slot would be left, or too
/// many; `Unsupported` if the repository is not sealed.
pub fn change_slots(repo: &Repository, changes: &SlotChanges) -> Result<()> {
    master_key(repo)?;
    repo.check_writable()?;
    let files = repo.files();
    changed(repo, &repo.catalog()?.settings.slots, changes)?;
    // The slot is there before the journal knows it.
    changes.add.iter().try_for_each(|slot| slots::write_slot(files, slot))?;
    repo.commit(|catalog| {
        let mut settings = catalog.settings.clone();
        settings.slots = changed(repo, &settings.slots, changes)?;
        let is_new = settings != catalog.settings;
        Ok((is_new.then_some(Change::Config(settings)).into_iter().collect(), ()))
    })?;
    changes.remove.iter().try_for_each(|id| slots::remove_slot(files, *id))
}

/// Returns the notes of the slots after the changes.
fn changed(repo: &Repository, notes: &[SlotNote], changes: &SlotChanges) -> Result<Vec<SlotNote>> {
    let files = repo.files();
    let known = states(files, notes)?;
    let missing = changes.remove.iter().find(|id| known.iter().all(|slot| slot.id != **id));
    if let Some(id) = missing {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no key slot {id}")));
    }
    let stays = |id: &SlotId| !changes.remove.contains(id);
    let opens = |slot: &&SlotInfo| matches!(slot.state, SlotState::Sound | SlotState::OneCopy);
    if changes.add.is_none() && !known.iter().filter(opens).any(|slot| stays(&slot.id)) {
        let message = "this would leave no sound key slot, and nobody could open the repository any more";
        return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("add another slot first"));
    }
    let mut notes: Vec<SlotNote> = notes.iter().filter(|note| stays(&note.id)).copied().collect();
    let added = changes.add.as_ref().map(|slot| slot.note(&files.hasher, changes.created_unix_ms));
    notes.extend(added);
    if notes.len() > SLOTS_MAX {
        let message = format!("a repository has at most {SLOTS_MAX} key slots");
        return Err(Error::new(ErrorKind::InvalidInput, message).with_hint("remove others first"));
    }
    Ok(notes)
}

/// Returns the epoch whose keys new data is sealed with.
///
/// # Errors
/// `Unsupported` if the repository is not sealed.
pub fn epoch(repo: &Repository) -> Result<u32> {
    master_key(repo)?;
    Ok(repo.catalog()?.settings.epoch)
}

/// Begins a new epoch: from now on, new data is sealed with other keys. What is there stays as it
/// is, until gc writes it again. Returns the number of the epoch.
///
/// # Errors
/// `Unsupported` if the repository is not sealed.
pub fn rotate(repo: &Repository) -> Result<u32> {
    master_key(repo)?;
    repo.check_writable()?;
    let (_, epoch) = repo.commit(|catalog| {
        let mut settings = catalog.settings.clone();
        let message = "there are no more epochs";
        let next =
            settings.epoch.checked_add(1).ok_or_else(|| Error::new(ErrorKind::Unsupported, message))?;
        settings.epoch = next;
        Ok((vec![Change::Config(settings)], next))
    })?;
    repo.files().seals.enter(epoch);
    Ok(epoch)
}
