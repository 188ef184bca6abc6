//! Key slots: small files that hold the master key of a sealed repository, each sealed for somebody
//! who may open it. This crate stores them; a program makes and opens them.
//!
//! Each slot is there twice, because nothing brings back a lost master key.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::format::config::SlotNote;
use crate::format::layout;
use crate::pure::hash::Hasher;
use crate::pure::keys::MasterKey;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::RepositoryId;
use crate::words::ids::SlotId;
use crate::world::objects::Objects;
use crate::world::objects::Put;
use crate::world::storage::read_all;

/// The most bytes of a key slot. Most have some hundred, those of post-quantum recipients some
/// thousand.
pub const SLOT_BYTES_MAX: usize = 1 << 20;

/// The places of each slot.
pub(crate) const PLACES: [&str; 2] = [layout::KEYS, layout::KEY_COPIES];

/// A key slot, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Its id, which is the name of its file.
    pub id: SlotId,
    /// Its bytes. They are no secret without the password or the key that opens it.
    pub bytes: Vec<u8>,
}

impl KeySlot {
    /// Returns what is noted of the slot.
    pub(crate) fn note(&self, hasher: &Hasher, created_unix_ms: i64) -> SlotNote {
        SlotNote { id: self.id, digest: hasher.record(&self.bytes), created_unix_ms }
    }
}

/// A key slot, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its id.
    pub id: SlotId,
    /// When it was added, in milliseconds since 1970; none if the journal does not know it.
    pub created_unix_ms: Option<i64>,
    /// Whether it is as it was added.
    pub state: SlotState,
    /// Its bytes, as far as there are any. They say whom it is for.
    pub bytes: Vec<u8>,
}

/// Whether a key slot is as it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// It is.
    Sound,
    /// It is, but one of its two files is not: `repair catalog` mends that.
    OneCopy,
    /// Its files are lost.
    Lost,
    /// Its files have other content.
    Damaged,
    /// The journal does not know it: adding it was interrupted, or somebody else has put it there.
    Unknown,
}

/// Tells whether a master key is that of the repository. A slot says which repository it is of.
pub type Fits<'a> = &'a (dyn Fn(RepositoryId, &MasterKey) -> bool + Sync);

/// A program's way to open key slots.
#[derive(Clone)]
pub struct Unlock(Arc<UnlockSlots>);

type UnlockSlots = dyn Fn(&[KeySlot], Fits<'_>) -> Result<MasterKey> + Send + Sync;

impl Unlock {
    /// Returns a way to open slots: `unlock` returns a master key that is in one of the slots and
    /// fits. It fails with `PermissionDenied` if it can open none of them, and with `Corrupt` if
    /// what it opens does not fit.
    pub fn new(unlock: impl Fn(&[KeySlot], Fits<'_>) -> Result<MasterKey> + Send + Sync + 'static) -> Self {
        Self(Arc::new(unlock))
    }

    /// Opens one of these slots.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn open(&self, slots: &[KeySlot], fits: Fits<'_>) -> Result<MasterKey> {
        (self.0)(slots, fits)
    }

    /// Returns the way of a program that opens plain repositories only.
    pub fn none() -> Self {
        Self::new(|_, _| {
            Err(Error::new(
                ErrorKind::PermissionDenied,
                "the repository is sealed, and this program has no key to it",
            ))
        })
    }
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unlock")
    }
}

/// Returns the master key of a sealed repository.
///
/// # Errors
/// `Corrupt` if there are no slots; those of `unlock`.
pub(crate) fn master_key(objects: &dyn Objects, unlock: &Unlock, fits: Fits<'_>) -> Result<Arc<MasterKey>> {
    let slots = read_all_slots(objects)?;
    if slots.is_empty() {
        return Err(Error::corrupt("the repository is sealed, and has lost its key slots")
            .with_hint("bring the files of keys/ back from a backup"));
    }
    unlock.open(&slots, fits).map(Arc::new)
}

/// Returns the slots that can be read, each content once.
fn read_all_slots(objects: &dyn Objects) -> Result<Vec<KeySlot>> {
    let mut slots: Vec<KeySlot> = Vec::new();
    for place in PLACES {
        for id in ids_in(objects, place)? {
            match read_slot(objects, place, id) {
                Ok(slot) if !slots.contains(&slot) => slots.push(slot),
                Err(error) if error.kind() == ErrorKind::OutOfResources => return Err(error),
                // Another slot may open the repository.
                _ => {}
            }
        }
    }
    Ok(slots)
}

/// Returns the ids of the slots in a place, sorted. Other files are left out.
pub(crate) fn ids_in(objects: &dyn Objects, place: &str) -> Result<Vec<SlotId>> {
    let listing = |error| Error::stored_io(format!("listing {place}"), error);
    let mut ids: Vec<SlotId> =
        objects.list(place).map_err(listing)?.iter().filter_map(|file| layout::id_of(file)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Returns a slot as it is in a place.
pub(crate) fn read_slot(objects: &dyn Objects, place: &str, id: SlotId) -> Result<KeySlot> {
    let name = layout::slot(place, id);
    let bytes = read_all(objects.open(&name), SLOT_BYTES_MAX as u64)
        .map_err(|error| Error::stored_io(format!("reading {name}"), error))?;
    Ok(KeySlot { id, bytes })
}

/// Writes a new slot to both places, durably.
///
/// # Errors
/// `AlreadyExists` if there is another slot with this id.
pub(crate) fn write_slot(files: &RepositoryFiles, slot: &KeySlot) -> Result<()> {
    for place in PLACES {
        let is_same = || read_slot(&*files.place.objects, place, slot.id).is_ok_and(|there| there == *slot);
        if files.put_new(&layout::slot(place, slot.id), &slot.bytes)? == Put::Exists && !is_same() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is another key slot {}", slot.id),
            ));
        }
    }
    Ok(())
}

/// Removes a slot from both places, durably.
pub(crate) fn remove_slot(files: &RepositoryFiles, id: SlotId) -> Result<()> {
    PLACES.iter().try_for_each(|place| {
        files.delete(&layout::slot(place, id))?;
        files.sync(place)
    })
}

/// Makes the places of slots in a new repository, and removes what an attempt to make one has left
/// there.
pub(crate) fn make_places(files: &RepositoryFiles) -> Result<()> {
    for place in PLACES {
        let making = |error| Error::stored_io(format!("creating the directory {place}"), error);
        files.place.objects.prepare(place).map_err(making)?;
        // Elsewhere they may be those of a machine that makes one now.
        if !files.are_shared() {
            for id in ids_in(&*files.place.objects, place)? {
                files.delete(&layout::slot(place, id))?;
            }
        }
    }
    // Before the config: a repository without slots is lost.
    files.sync("")
}

/// Returns the state of the noted slots, and of those that nobody has noted.
pub(crate) fn states(files: &RepositoryFiles, notes: &[SlotNote]) -> Result<Vec<SlotInfo>> {
    let mut all: Vec<SlotInfo> = notes.iter().map(|note| state(files, note)).collect::<Result<_>>()?;
    let mut others = BTreeSet::new();
    for place in PLACES {
        others.extend(ids_in(&*files.place.objects, place)?);
    }
    for id in others.into_iter().filter(|id| notes.iter().all(|note| note.id != *id)) {
        let bytes = places(files, id)?.into_iter().flatten().next().map(|slot| slot.bytes);
        all.push(SlotInfo {
            id,
            created_unix_ms: None,
            state: SlotState::Unknown,
            bytes: bytes.unwrap_or_default(),
        });
    }
    Ok(all)
}

fn state(files: &RepositoryFiles, note: &SlotNote) -> Result<SlotInfo> {
    let places = places(files, note.id)?;
    let is_sound = |slot: &&KeySlot| files.hasher.record(&slot.bytes) == note.digest;
    let sound: Vec<&KeySlot> = places.iter().flatten().filter(is_sound).collect();
    let (state, slot) = match (sound.first(), places.iter().flatten().next()) {
        (Some(slot), _) if sound.len() == places.len() => (SlotState::Sound, Some(*slot)),
        (Some(slot), _) => (SlotState::OneCopy, Some(*slot)),
        (None, Some(slot)) => (SlotState::Damaged, Some(slot)),
        (None, None) => (SlotState::Lost, None),
    };
    Ok(SlotInfo {
        id: note.id,
        created_unix_ms: Some(note.created_unix_ms),
        state,
        bytes: slot.map(|slot| slot.bytes.clone()).unwrap_or_default(),
    })
}

/// Returns a slot as each of its places has it.
///
/// # Errors
/// `OutOfResources` and `PermissionDenied`: then nothing is known of it.
fn places(files: &RepositoryFiles, id: SlotId) -> Result<Vec<Option<KeySlot>>> {
    let read = |place| match read_slot(&*files.place.objects, place, id) {
        Err(error) if error.says_nothing_of_what_is_stored() => Err(error),
        read => Ok(read.ok()),
    };
    PLACES.into_iter().map(read).collect()
}

/// Writes the places of noted slots anew that are lost or damaged where the other place is sound.
/// Returns the names of their files.
pub(crate) fn mend_copies(files: &RepositoryFiles, notes: &[SlotNote], dry_run: bool) -> Result<Vec<String>> {
    let mut mended = Vec::new();
    for note in notes {
        let places = places(files, note.id)?;
        let is_sound = |slot: &Option<KeySlot>| {
            slot.as_ref().is_some_and(|slot| slot.note(&files.hasher, note.created_unix_ms) == *note)
        };
        let Some(sound) = places.iter().find(|slot| is_sound(slot)).cloned().flatten() else { continue };
        for (place, _) in PLACES.iter().zip(&places).filter(|(_, slot)| !is_sound(slot)) {
            let name = layout::slot(place, note.id);
            if !dry_run {
                files.put_back(&name, &sound.bytes)?;
            }
            mended.push(name);
        }
    }
    Ok(mended)
}
