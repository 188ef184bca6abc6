//! `icecore log`.

use std::collections::HashMap;
use std::collections::HashSet;

use clap::ValueEnum;
use icecore::Result;
use icecore::maintenance::Author;
use icecore::maintenance::Event;
use icecore::maintenance::LogEntry;
use icecore::repository::Repository;
use icecore::snapshot::Snapshot;
use icecore::snapshot::SnapshotId;

use crate::app::App;
use crate::exit::Verdict;
use crate::host;
use crate::json;
use crate::ui;
use crate::ui::Column;
use crate::units;
use crate::units::Since;

/// The fewest characters of an id prefix.
const PREFIX_CHARS_MIN: usize = 4;

/// Show who changed what in the repository, and when
///
/// One line for each event, the newest last. Who is the machine, or ACCOUNT@MACHINE for what an
/// account asked of `icecore serve`; the time is that of the machine's clock. The log keeps at least
/// the last 64 entries, and more in a repository with many snapshots.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Only the last N entries; what one command did together is one entry
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Only events of this snapshot, deleted or not: an id, a prefix of an id, a name, or
    /// RESOURCE@latest
    #[arg(long, value_name = "SNAP")]
    snapshot: Option<String>,
    /// Only events of the droplet or volume with this name, and of its snapshots
    #[arg(long, value_name = "RESOURCE")]
    of: Option<String>,
    /// Only what this account of `icecore serve` asked for
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// Only what was done on this machine
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only events since a time: a date, a date and time (in UTC, unless it names an offset), or an
    /// age such as 14d or 12h
    #[arg(long, value_name = "TIME", value_parser = units::parse_since)]
    since: Option<Since>,
    /// Only events of this kind; can be repeated
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<EventKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EventKind {
    /// A snapshot was made: captured, copied or imported
    Made,
    /// A snapshot was renamed, tagged, labelled, protected or unprotected
    Changed,
    /// A snapshot was deleted
    Deleted,
    /// A deleted snapshot was restored
    Restored,
    /// Gc removed packs
    Collected,
    /// A capture put small packs together
    Joined,
    /// A repair moved damaged packs out of the way
    Repaired,
    /// A volume was created, restored or deleted, or stands on a new snapshot
    Volume,
    /// Parity was turned on, changed or turned off
    Parity,
    /// A key slot was added or removed, or a new epoch of keys began
    Keys,
}

impl EventKind {
    fn of(event: &Event) -> Self {
        match event {
            Event::Made(_) => Self::Made,
            Event::Changed { .. } => Self::Changed,
            Event::Deleted(_) => Self::Deleted,
            Event::Restored(_) => Self::Restored,
            Event::Collected { .. } => Self::Collected,
            Event::Joined { .. } => Self::Joined,
            Event::PutAside(_) => Self::Repaired,
            Event::VolumeStandsOn { .. } | Event::VolumeGone { .. } => Self::Volume,
            Event::ParitySet(_) => Self::Parity,
            Event::KeysChanged { .. } => Self::Keys,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Restored => "restored",
            Self::Collected => "collected",
            Self::Joined => "joined",
            Self::Repaired => "repaired",
            Self::Volume => "volume",
            Self::Parity => "parity",
            Self::Keys => "keys",
        }
    }
}

impl LogArgs {
    pub(crate) fn run(&self, app: &App) -> Result<Verdict> {
        let repo = app.open()?;
        let mut log = icecore::maintenance::log(&repo)?;
        let oldest_unix_ms = log.first().map(|entry| entry.created_unix_ms);
        let complete = log.first().is_none_or(|entry| entry.number == 1);
        let names = names(&log);
        let ids = self.snapshot.as_ref().map(|spec| named(&repo, &log, spec)).transpose()?;
        let since_unix_ms = self.since.map_or(i64::MIN, |since| since.unix_ms(host::now_unix_ms()));
        for entry in &mut log {
            let wanted = entry.created_unix_ms >= since_unix_ms && self.wants_author(&entry.author);
            let events = std::mem::take(&mut entry.events).into_iter().filter(|_| wanted);
            entry.events = events.filter_map(|event| self.wanted(event, ids.as_ref())).collect();
        }
        log.retain(|entry| !entry.events.is_empty());
        if let Some(last) = self.last {
            log.drain(..log.len().saturating_sub(last));
        }
        app.ui.result(&json::LogResult::new(&log, oldest_unix_ms, complete), &table(&log, &names))?;
        if let Some(oldest) = oldest_unix_ms.filter(|_| !complete) {
            let oldest = units::time_for_people(oldest);
            app.ui.note(&format!("the log reaches back to {oldest}; older entries are not kept"));
        } else {
            app.ui.note("the log reaches back to the creation of the repository");
        }
        Ok(Verdict::Clean)
    }

    fn wants_author(&self, author: &Author) -> bool {
        self.host.as_ref().is_none_or(|host| *host == author.host)
            && self.account.as_ref().is_none_or(|account| author.account.as_ref() == Some(account))
    }

    /// Returns what is wanted of an event.
    fn wanted(&self, event: Event, ids: Option<&HashSet<SnapshotId>>) -> Option<Event> {
        if !self.kinds.is_empty() && !self.kinds.contains(&EventKind::of(&event)) {
            return None;
        }
        let has = |id: SnapshotId| ids.is_none_or(|ids| ids.contains(&id));
        let of = |name: &str| self.of.as_ref().is_none_or(|of| of == name);
        let wants = |snapshot: &Snapshot| has(snapshot.id) && of(&snapshot.resource);
        let of_nothing = ids.is_none() && self.of.is_none();
        let all = |mut snapshots: Vec<Snapshot>, event: fn(Vec<Snapshot>) -> Event| {
            snapshots.retain(wants);
            (!snapshots.is_empty()).then(|| event(snapshots))
        };
        match event {
            Event::Deleted(snapshots) => all(snapshots, Event::Deleted),
            Event::Restored(snapshots) => all(snapshots, Event::Restored),
            Event::Made(ref snapshot) => wants(snapshot).then_some(event),
            Event::Changed { ref after, .. } => wants(after).then_some(event),
            Event::VolumeStandsOn { ref name, origin, ref bases, .. } => {
                let stands = ids.is_none() || origin.iter().chain(bases).any(|id| has(*id));
                (stands && of(name)).then_some(event)
            }
            Event::VolumeGone { ref name, .. } => (ids.is_none() && of(name)).then_some(event),
            Event::Collected { .. }
            | Event::Joined { .. }
            | Event::PutAside(_)
            | Event::ParitySet(_)
            | Event::KeysChanged { .. } => of_nothing.then_some(event),
        }
    }
}

/// Returns all snapshots in an event.
fn snapshots(event: &Event) -> Vec<&Snapshot> {
    match event {
        Event::Made(snapshot) => vec![snapshot],
        Event::Changed { before, after } => vec![before, after],
        Event::Deleted(snapshots) | Event::Restored(snapshots) => snapshots.iter().collect(),
        Event::Collected { .. }
        | Event::Joined { .. }
        | Event::PutAside(_)
        | Event::VolumeStandsOn { .. }
        | Event::VolumeGone { .. }
        | Event::ParitySet(_)
        | Event::KeysChanged { .. } => Vec::new(),
    }
}

/// Returns the ids of the snapshots that `spec` names, or named at any time in the log.
///
/// # Errors
/// `NotFound` if there are none.
fn named(repo: &Repository, log: &[LogEntry], spec: &str) -> Result<HashSet<SnapshotId>> {
    let all: Vec<&Snapshot> = log.iter().flat_map(|entry| &entry.events).flat_map(snapshots).collect();
    let by = |is: &dyn Fn(&Snapshot) -> bool| -> HashSet<SnapshotId> {
        all.iter().filter(|snapshot| is(snapshot)).map(|snapshot| snapshot.id).collect()
    };
    let mut ids = by(&|snapshot| snapshot.name == spec);
    if ids.is_empty() && spec.len() >= PREFIX_CHARS_MIN {
        ids = by(&|snapshot| snapshot.id.to_string().starts_with(spec));
    }
    match icecore::snapshot::find(repo, spec) {
        Ok(found) => ids.extend([found.id]),
        Err(error) if ids.is_empty() => return Err(error),
        Err(_) => {}
    }
    Ok(ids)
}

/// Returns the last known names of the snapshots in the log.
fn names(log: &[LogEntry]) -> HashMap<SnapshotId, String> {
    let all = log.iter().flat_map(|entry| &entry.events).flat_map(snapshots);
    all.map(|snapshot| (snapshot.id, snapshot.name.clone())).collect()
}

fn table(log: &[LogEntry], names: &HashMap<SnapshotId, String>) -> String {
    let columns = ["Time", "Who", "Event", "What"].map(Column::Text);
    let mut rows = Vec::new();
    for entry in log {
        for event in &entry.events {
            for line in lines(event, names) {
                rows.push(vec![
                    units::time_for_people(entry.created_unix_ms),
                    who(&entry.author),
                    EventKind::of(event).word().to_owned(),
                    line,
                ]);
            }
        }
    }
    ui::table(&columns, &rows, true)
}

fn who(author: &Author) -> String {
    let host = if author.host.is_empty() { "-" } else { &author.host };
    author.account.as_ref().map_or_else(|| host.to_owned(), |account| format!("{account}@{host}"))
}

/// Returns what an event says, a line for each object.
fn lines(event: &Event, names: &HashMap<SnapshotId, String>) -> Vec<String> {
    match event {
        Event::Made(snapshot) => vec![of_resource(snapshot)],
        Event::Changed { before, after } => {
            vec![format!("{}: {}", of_resource(before), changes(before, after).join(", "))]
        }
        Event::Deleted(snapshots) | Event::Restored(snapshots) => snapshots.iter().map(of_resource).collect(),
        Event::Collected { packs } | Event::Joined { packs } => vec![units::count(*packs, "pack")],
        Event::PutAside(packs) => packs.iter().map(|pack| format!("pack {pack}")).collect(),
        Event::VolumeStandsOn { name, origin, bases, .. } => vec![match bases.last().or(origin.as_ref()) {
            Some(base) => {
                let base = names.get(base).cloned().unwrap_or_else(|| base.to_string());
                format!("{name}, on {base}")
            }
            None => format!("{name}, empty"),
        }],
        Event::VolumeGone { name, .. } => vec![format!("{name}, deleted")],
        Event::ParitySet(scheme) => {
            vec![scheme.map_or_else(|| "off".to_owned(), |scheme| scheme.to_string())]
        }
        Event::KeysChanged { added, removed, epoch } => {
            let added = added.iter().map(|slot| format!("slot {slot} added"));
            let removed = removed.iter().map(|slot| format!("slot {slot} removed"));
            added.chain(removed).chain(epoch.map(|epoch| format!("epoch {epoch} began"))).collect()
        }
    }
}

fn of_resource(snapshot: &Snapshot) -> String {
    format!("{} of {}", snapshot.name, snapshot.resource)
}

/// Returns what is new of a snapshot.
fn changes(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut changes = Vec::new();
    if before.name != after.name {
        changes.push(format!("renamed to {}", after.name));
    }
    let lacks = |tags: &[String], tag: &String| !tags.contains(tag);
    changes.extend(after.tags.iter().filter(|tag| lacks(&before.tags, tag)).map(|tag| format!("+{tag}")));
    changes.extend(before.tags.iter().filter(|tag| lacks(&after.tags, tag)).map(|tag| format!("-{tag}")));
    if before.protected != after.protected {
        changes.push(if after.protected { "protected" } else { "unprotected" }.to_owned());
    }
    for (key, value) in &after.labels {
        if before.labels.get(key) != Some(value) {
            changes.push(format!("{key}={value}"));
        }
    }
    let gone = before.labels.keys().filter(|key| !after.labels.contains_key(*key));
    changes.extend(gone.map(|key| format!("{key} removed")));
    changes
}
