//! JSON of `log`.

use icecore::maintenance::Event;
use icecore::maintenance::LogEntry;
use icecore::repository::SlotId;
use serde::Serialize;

use crate::json::snapshot::Snapshot;
use crate::units;

/// The result of `log`.
#[derive(Serialize)]
pub(crate) struct LogResult {
    entries: Vec<Entry>,
    oldest_entry: Option<String>,
    complete: bool,
}

#[derive(Serialize)]
struct Entry {
    number: u64,
    time: Option<String>,
    host: String,
    program: String,
    account: Option<String>,
    events: Vec<OneEvent>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum OneEvent {
    Made { snapshot: Box<Snapshot> },
    Changed { before: Box<Snapshot>, after: Box<Snapshot> },
    Deleted { snapshots: Vec<Snapshot> },
    Restored { snapshots: Vec<Snapshot> },
    Collected { packs: u64 },
    Joined { packs: u64 },
    Repaired { damaged_packs: Vec<String> },
    Volume { volume: String, name: String, gone: bool, origin: Option<String>, bases: Vec<String> },
    Parity { scheme: Option<String> },
    Keys { added: Vec<String>, removed: Vec<String>, epoch: Option<u32> },
}

impl LogResult {
    /// `oldest_unix_ms` is the time of the oldest entry in the whole log, and `complete` tells
    /// whether the log begins with the repository.
    pub(crate) fn new(entries: &[LogEntry], oldest_unix_ms: Option<i64>, complete: bool) -> Self {
        let entry = |entry: &LogEntry| Entry {
            number: entry.number,
            time: units::time_exact(entry.created_unix_ms),
            host: entry.author.host.clone(),
            program: entry.author.program.clone(),
            account: entry.author.account.clone(),
            events: entry.events.iter().map(OneEvent::from).collect(),
        };
        Self {
            entries: entries.iter().map(entry).collect(),
            oldest_entry: oldest_unix_ms.and_then(units::time_exact),
            complete,
        }
    }
}

impl From<&Event> for OneEvent {
    fn from(event: &Event) -> Self {
        let all = |snapshots: &[icecore::snapshot::Snapshot]| snapshots.iter().map(Snapshot::from).collect();
        let boxed = |snapshot: &icecore::snapshot::Snapshot| Box::new(Snapshot::from(snapshot));
        match event {
            Event::Made(snapshot) => Self::Made { snapshot: boxed(snapshot) },
            Event::Changed { before, after } => Self::Changed { before: boxed(before), after: boxed(after) },
            Event::Deleted(snapshots) => Self::Deleted { snapshots: all(snapshots) },
            Event::Restored(snapshots) => Self::Restored { snapshots: all(snapshots) },
            Event::Collected { packs } => Self::Collected { packs: *packs },
            Event::Joined { packs } => Self::Joined { packs: *packs },
            Event::PutAside(packs) => {
                Self::Repaired { damaged_packs: packs.iter().map(ToString::to_string).collect() }
            }
            Event::VolumeStandsOn { volume, name, origin, bases, .. } => Self::Volume {
                volume: volume.to_string(),
                name: name.clone(),
                gone: false,
                origin: origin.map(|id| id.to_string()),
                bases: bases.iter().map(ToString::to_string).collect(),
            },
            Event::VolumeGone { volume, name } => Self::Volume {
                volume: volume.to_string(),
                name: name.clone(),
                gone: true,
                origin: None,
                bases: Vec::new(),
            },
            Event::ParitySet(scheme) => Self::Parity { scheme: scheme.as_ref().map(ToString::to_string) },
            Event::KeysChanged { added, removed, epoch } => {
                let texts = |slots: &[SlotId]| slots.iter().map(ToString::to_string).collect();
                Self::Keys { added: texts(added), removed: texts(removed), epoch: *epoch }
            }
        }
    }
}
