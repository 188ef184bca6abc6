//! The catalog of snapshots: list, find, rename, tag, protect, delete.

use std::collections::BTreeMap;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::locks;
use crate::stores::locks::Pin;
use crate::stores::records;
use crate::stores::volumes;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::names::ResourceKind;
use crate::words::names::TAGS_MAX;
use crate::words::names::change_labels;
use crate::words::names::check_name;
use crate::words::names::check_tag;
use crate::words::next_step::NextStep;

pub use crate::format::record::Record as Snapshot;

/// The fewest characters of an id prefix that may name a snapshot.
const PREFIX_CHARS_MIN: usize = 4;

/// Returns how many milliseconds the clock is behind the time of a snapshot that was just made, if
/// that is more than a second. An older snapshot then had a later time than the clock shows now:
/// either the clock is behind, or it was ahead at that time.
pub fn clock_behind_ms(snapshot: &Snapshot, now_unix_ms: i64) -> Option<u64> {
    let behind = snapshot.created_unix_ms.saturating_sub(now_unix_ms);
    u64::try_from(behind).ok().filter(|behind| *behind > 1000)
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The name of its file in `snapshots/`.
    pub file: String,
    /// The reason.
    pub reason: String,
}

/// All snapshots of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The snapshots with readable records, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// The unreadable records.
    pub unreadable: Vec<Unreadable>,
}

/// Returns all snapshots.
pub fn list(repo: &Repository) -> Result<Listing> {
    let mut listing = Listing::default();
    for (file, record) in records::load_all(repo.files())? {
        match record {
            Ok(record) => listing.snapshots.push(record),
            Err(error) => listing.unreadable.push(Unreadable { file, reason: error.to_string() }),
        }
    }
    listing.snapshots.sort_by_key(|snapshot: &Snapshot| (snapshot.created_unix_ms, snapshot.id));
    listing.unreadable.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(listing)
}

/// Returns the snapshot that `spec` names: an id, a unique prefix of an id (4 characters or more),
/// a name, or `RESOURCE@latest`. A name takes precedence over a prefix.
///
/// # Errors
/// `NotFound`; `InvalidInput` if several snapshots match. If an unreadable record may be the one
/// that is meant, the error from reading it.
pub fn find(repo: &Repository, spec: &str) -> Result<Snapshot> {
    let (mut all, mut unread) = (Vec::<Snapshot>::new(), Vec::new());
    for (file, record) in records::load_all(repo.files())? {
        match record {
            Ok(record) => all.push(record),
            Err(error) => unread.push((file, error)),
        }
    }
    all.sort_by_key(|snapshot| (snapshot.created_unix_ms, snapshot.id));
    if let Some(resource) = spec.strip_suffix("@latest") {
        return newest_of(resource, &all, unread, spec);
    }
    if let Some(snapshot) = all.iter().find(|snapshot| snapshot.id.to_string() == spec) {
        return Ok(snapshot.clone());
    }
    let named = all.iter().filter(|snapshot| snapshot.name == spec).collect::<Vec<_>>();
    let begun =
        || all.iter().filter(|snapshot| snapshot.id.to_string().starts_with(spec)).collect::<Vec<_>>();
    let fitting = match named.len() {
        0 if spec.len() >= PREFIX_CHARS_MIN => begun(),
        _ => named,
    };
    match fitting.as_slice() {
        [snapshot] => Ok((*snapshot).clone()),
        [] => {
            // A damaged record no longer tells the name of its snapshot.
            unread.retain(|(_, error)| error.kind() != ErrorKind::Corrupt);
            Err(missing(unread, spec, &format!("there is no snapshot {spec:?}")))
        }
        several => {
            let each = several.iter().map(|snapshot| format!("{} ({})", snapshot.id, snapshot.resource));
            let each = each.collect::<Vec<_>>().join(", ");
            Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{spec:?} matches more than one snapshot: {each}"),
            )
            .with_hint("use the id of the snapshot"))
        }
    }
}

/// Returns the newest snapshot of a resource. `all` is sorted by age.
fn newest_of(
    resource: &str,
    all: &[Snapshot],
    mut unread: Vec<(String, Error)>,
    spec: &str,
) -> Result<Snapshot> {
    let newest = all.iter().rfind(|snapshot| snapshot.resource == resource);
    if let Some(newest) = newest {
        // Ids come from clocks, which can go back, so a smaller id alone does not make a snapshot
        // older. It is older if another snapshot was compared with it.
        let has_child = |id| all.iter().any(|snapshot| snapshot.parent == Some(id));
        let is_older = |id: SnapshotId| id < newest.id && has_child(id);
        unread.retain(|(file, _)| !file.parse().is_ok_and(is_older));
    }
    match newest {
        Some(newest) if unread.is_empty() => Ok(newest.clone()),
        _ => Err(missing(unread, spec, &format!("there is no snapshot of a resource {resource:?}"))),
    }
}

/// Returns the error for a snapshot that is not among the readable records.
fn missing(unread: Vec<(String, Error)>, spec: &str, message: &str) -> Error {
    match unread.into_iter().next() {
        None => not_found(spec, message),
        Some((file, error)) => {
            let context = format!("{spec:?} may be the snapshot {file}, whose record is unreadable");
            error.in_context(context).with_hint("name a readable snapshot by its id")
        }
    }
}

fn not_found(spec: &str, message: &str) -> Error {
    let too_short = spec.len() < PREFIX_CHARS_MIN;
    Error::new(ErrorKind::NotFound, message).with_hint(NextStep::ListSnapshots { too_short })
}

/// The options of a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenameOptions {
    /// Whether another snapshot of the resource may have the same name.
    pub name_may_repeat: bool,
}

/// Gives a snapshot another name.
///
/// # Errors
/// `AlreadyExists` if its resource has a snapshot of that name, unless the options allow it.
pub fn rename(repo: &Repository, id: SnapshotId, name: &str, options: RenameOptions) -> Result<Snapshot> {
    check_name("name", name)?;
    change(repo, id, |record, all| {
        record.name = name.to_owned();
        if options.name_may_repeat { Ok(()) } else { check_record_name_is_free(all, record) }
    })
}

/// Removes labels of a snapshot, then sets others. All other labels stay.
///
/// # Errors
/// `NotFound` if the snapshot does not exist; `InvalidInput` for an invalid key or value, or for
/// more than 32 labels in the end.
pub fn relabel(
    repo: &Repository,
    id: SnapshotId,
    set: &BTreeMap<String, String>,
    remove: &[String],
) -> Result<Snapshot> {
    change(repo, id, |record, _| change_labels(&mut record.labels, set, remove))
}

/// Adds and removes tags of a snapshot.
pub fn retag(repo: &Repository, id: SnapshotId, add: &[String], remove: &[String]) -> Result<Snapshot> {
    add.iter().chain(remove).try_for_each(|tag| check_tag(tag))?;
    change(repo, id, |record, _| {
        record.tags.retain(|tag| !remove.contains(tag));
        record.tags.extend_from_slice(add);
        record.tags.sort();
        record.tags.dedup();
        match record.tags.len() > TAGS_MAX {
            true => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("a snapshot can have at most {TAGS_MAX} tags"),
            )),
            false => Ok(()),
        }
    })
}

/// Protects a snapshot from deletion, or removes the protection.
pub fn set_protected(repo: &Repository, id: SnapshotId, protected: bool) -> Result<Snapshot> {
    change(repo, id, |record, _| {
        record.protected = protected;
        Ok(())
    })
}

fn change(
    repo: &Repository,
    id: SnapshotId,
    how: impl FnOnce(&mut Record, &[records::Loaded]) -> Result<()>,
) -> Result<Snapshot> {
    repo.check_writable()?;
    let files = repo.files();
    let _lock = locks::lock_commit(files)?;
    let mut record = records::load(files, id)?;
    let before = record.clone();
    how(&mut record, &records::load_all(files)?)?;
    if record != before {
        records::save(files, &record)?;
    }
    Ok(record)
}

/// The options of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// Whether to delete it even if volumes were created from it. Open or not, they go on as before
    /// and keep the data that they need.
    pub clones_keep_it: bool,
}

/// Deletes a snapshot. The next gc frees its space.
///
/// # Errors
/// `InUse` if it is protected, if something is reading it, or if a volume was created from it and
/// the options do not allow that.
pub fn delete(repo: &Repository, id: SnapshotId, options: DeleteOptions) -> Result<Snapshot> {
    repo.check_writable()?;
    let files = repo.files();
    let _lock = locks::lock_commit(files)?;
    let record = records::load(files, id)?;
    if record.protected {
        return Err(Error::new(ErrorKind::InUse, format!("snapshot {id} ({}) is protected", record.name))
            .with_hint(NextStep::UnprotectSnapshot(id)));
    }
    let Some(_pin) = Pin::take_alone(files, id)? else {
        return Err(Error::new(ErrorKind::InUse, format!("snapshot {id} ({}) is being read", record.name))
            .with_hint("wait until its restore or verification ends, or stop the process that serves it"));
    };
    if !options.clones_keep_it {
        volumes::check_no_clone_of(files, &record)?;
    }
    records::remove(files, id)?;
    Ok(record)
}

/// Checks that no snapshot of the resource has the name that a capture wants.
pub(crate) fn check_name_is_free(
    all: &[records::Loaded],
    kind: ResourceKind,
    resource: &str,
    name: &str,
    except: SnapshotId,
) -> Result<()> {
    let taken = all.iter().filter_map(|(_, record)| record.as_ref().ok()).find(|other| {
        other.id != except && other.kind == kind && other.resource == resource && other.name == name
    });
    match taken {
        None => Ok(()),
        Some(other) => Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("{} {resource} already has a snapshot named {name:?}: {}", kind.as_str(), other.id),
        )
        .with_hint("choose another name")),
    }
}

/// Checks that no other snapshot of the resource has a record's name.
pub(crate) fn check_record_name_is_free(all: &[records::Loaded], record: &Record) -> Result<()> {
    check_name_is_free(all, record.kind, &record.resource, &record.name, record.id)
}
