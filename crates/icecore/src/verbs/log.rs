//! The log of a repository: who did what, and when.

pub use crate::format::journal::Author;

use crate::format::config::SlotNote;
use crate::format::journal::Change;
use crate::format::journal::Entry;
use crate::format::journal::Settings;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::journal::catalog::Catalog;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::ids::SlotId;
use crate::words::ids::SnapshotId;
use crate::words::ids::VolumeId;
use crate::words::parity::ParityScheme;

/// Things that happened together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The number of the entry in the journal.
    pub number: u64,
    /// When it was made, in milliseconds since 1970, by the clock of the machine that made it.
    pub created_unix_ms: i64,
    /// Who made it.
    pub author: Author,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A snapshot was made.
    Made(Box<Record>),
    /// A snapshot was renamed, tagged, labelled, protected, or the like.
    Changed {
        /// The snapshot as it was.
        before: Box<Record>,
        /// The snapshot as it was from then on.
        after: Box<Record>,
    },
    /// Snapshots were deleted.
    Deleted(Vec<Record>),
    /// Deleted snapshots were restored.
    Restored(Vec<Record>),
    /// Gc removed this many packs.
    Collected {
        /// The number of packs.
        packs: u64,
    },
    /// A capture put this many small packs together.
    Joined {
        /// The number of packs that went.
        packs: u64,
    },
    /// A repair put damaged packs aside.
    PutAside(Vec<PackId>),
    /// A volume was made, restored, or has a new snapshot under it.
    VolumeStandsOn {
        /// The volume.
        volume: VolumeId,
        /// Its name.
        name: String,
        /// The machine that has it.
        host: String,
        /// The snapshot it was created from or restored to.
        origin: Option<SnapshotId>,
        /// The snapshots below its overlays, oldest first.
        bases: Vec<SnapshotId>,
    },
    /// A volume was deleted.
    VolumeGone {
        /// The volume.
        volume: VolumeId,
        /// Its name.
        name: String,
    },
    /// From now on this much parity is kept.
    ParitySet(Option<ParityScheme>),
    /// The keys of a sealed repository changed.
    KeysChanged {
        /// The key slots that were added.
        added: Vec<SlotId>,
        /// The key slots that were removed.
        removed: Vec<SlotId>,
        /// The epoch that began, if one did.
        epoch: Option<u32>,
    },
}

/// Returns what the journal still has, oldest first. It keeps at least the last 64 entries, and
/// more in a repository with many snapshots.
///
/// # Errors
/// `Corrupt` if a part of the journal is lost or damaged.
pub fn log(repo: &Repository) -> Result<Vec<LogEntry>> {
    let mut log = Vec::new();
    repo.store.journal.replay(repo.files(), &mut |before, entry, after| {
        log.push(told(before, entry, after)?);
        Ok(())
    })?;
    Ok(log)
}

/// Returns what an entry says, given the catalog before and after it.
fn told(before: &Catalog, entry: &Entry, after: &Catalog) -> Result<LogEntry> {
    let mut events = Vec::new();
    for change in &entry.changes {
        events.extend(event(before, change, after)?);
    }
    let Entry { number, created_unix_ms, ref author, .. } = *entry;
    Ok(LogEntry { number, created_unix_ms, author: author.clone(), events })
}

fn event(before: &Catalog, change: &Change, after: &Catalog) -> Result<Option<Event>> {
    let all = |catalog: &Catalog, ids: &[SnapshotId]| -> Result<Vec<Record>> {
        ids.iter().filter_map(|id| catalog.find(*id).transpose()).collect()
    };
    Ok(Some(match change {
        Change::Made(record) => Event::Made(record.clone()),
        Change::Changed(id, patch) => {
            let Some(before) = before.find(*id)? else { return Ok(None) };
            let mut after = before.clone();
            patch.apply(&mut after);
            Event::Changed { before: Box::new(before), after: Box::new(after) }
        }
        Change::Deleted(ids) => Event::Deleted(all(before, ids)?),
        Change::Restored(ids) => Event::Restored(all(after, ids)?),
        Change::Condemned(packs) => Event::Collected { packs: packs.len() as u64 },
        Change::Joined(packs) => Event::Joined { packs: packs.len() as u64 },
        Change::PutAside(packs) => Event::PutAside(packs.clone()),
        Change::StandsOn(standing) => Event::VolumeStandsOn {
            volume: standing.volume,
            name: standing.name.clone(),
            host: standing.host.clone(),
            origin: standing.origin.as_ref().map(|origin| origin.id),
            bases: standing.bases.iter().map(|base| base.id).collect(),
        },
        Change::NoLonger(volume) => {
            let name = before.volumes().get(volume).map(|stood| stood.of.name.clone());
            Event::VolumeGone { volume: *volume, name: name.unwrap_or_default() }
        }
        Change::Config(settings) => {
            keys_changed(&before.settings, settings).unwrap_or_else(|| Event::ParitySet(settings.parity()))
        }
    }))
}

/// Returns what settings change about keys, if anything.
fn keys_changed(before: &Settings, after: &Settings) -> Option<Event> {
    let missing = |slots: &[SlotNote], others: &[SlotNote]| -> Vec<SlotId> {
        slots.iter().map(|slot| slot.id).filter(|id| others.iter().all(|other| other.id != *id)).collect()
    };
    let added = missing(&after.slots, &before.slots);
    let removed = missing(&before.slots, &after.slots);
    let epoch = (after.epoch != before.epoch).then_some(after.epoch);
    let is_any = !added.is_empty() || !removed.is_empty() || epoch.is_some();
    is_any.then_some(Event::KeysChanged { added, removed, epoch })
}
