//! The catalog of snapshots: list, find, rename, tag, protect, delete, restore what was deleted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;

use crate::format::journal::Change;
use crate::format::journal::Patch;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal::catalog::Catalog;
use crate::stores::locks::Pin;
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
pub use crate::stores::journal::catalog::DeletedSnapshot;

/// The fewest characters of an id prefix that may name a snapshot.
const PREFIX_CHARS_MIN: usize = 4;

/// Returns how many milliseconds the clock is behind the time of a snapshot that was just made, if
/// that is more than a second. An older snapshot then had a later time than the clock shows now:
/// either the clock is behind, or it was ahead at that time.
pub fn clock_behind_ms(snapshot: &Snapshot, now_unix_ms: i64) -> Option<u64> {
    let behind = snapshot.created_unix_ms.saturating_sub(now_unix_ms);
    u64::try_from(behind).ok().filter(|behind| *behind > 1000)
}

/// Returns all snapshots, oldest first.
pub fn list(repo: &Repository) -> Result<Vec<Snapshot>> {
    repo.catalog()?.all()
}

/// All snapshots, as they are at one moment. It takes little memory, and finds one fast.
#[derive(Clone)]
pub struct Moment(Arc<Catalog>);

impl Moment {
    /// Returns a snapshot, or none if there is none with this id.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the catalog has become unreadable.
    pub fn find(&self, id: SnapshotId) -> Result<Option<Snapshot>> {
        self.0.find(id)
    }

    /// Returns the snapshots of a resource that have this name, oldest first.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn named(&self, kind: ResourceKind, resource: &str, name: &str) -> Result<Vec<Snapshot>> {
        self.0.named_of(kind, resource, name)
    }

    /// Returns the snapshots of a resource, oldest first.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn of(&self, kind: ResourceKind, resource: &str) -> Result<Vec<Snapshot>> {
        self.0.all_of(kind, resource)
    }

    /// Returns how many snapshots there are.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn count(&self) -> Result<u64> {
        self.0.count()
    }

    /// Calls `each` with every snapshot, one at a time, in no order.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn for_each(&self, each: impl FnMut(Snapshot)) -> Result<()> {
        self.0.for_each(each)
    }
}

/// Looks at the snapshots as they are now.
///
/// # Errors
/// Those of reading the journal.
pub fn now(repo: &Repository) -> Result<Moment> {
    repo.catalog().map(Moment)
}

/// Returns the snapshots that may differ between two moments of a repository, or none if too much
/// has happened in between to tell.
pub fn changed_between(repo: &Repository, earlier: &Moment, later: &Moment) -> Option<BTreeSet<SnapshotId>> {
    repo.changed_between(&earlier.0, &later.0)
}

/// Returns the snapshot that `spec` names: an id, a unique prefix of an id (4 characters or more),
/// a name, or `RESOURCE@latest`. A name takes precedence over a prefix.
///
/// # Errors
/// `NotFound`; `InvalidInput` if several snapshots match.
pub fn find(repo: &Repository, spec: &str) -> Result<Snapshot> {
    find_in(&*repo.catalog()?, spec)
}

fn find_in(catalog: &Catalog, spec: &str) -> Result<Snapshot> {
    if let Some(resource) = spec.strip_suffix("@latest") {
        let missing = || not_found(spec, &format!("there is no snapshot of a resource {resource:?}"));
        return catalog.newest_of_either(resource)?.ok_or_else(missing);
    }
    if let Ok(id) = spec.parse::<SnapshotId>()
        && id.to_string() == spec
        && let Some(snapshot) = catalog.find(id)?
    {
        return Ok(snapshot);
    }
    let mut fitting = catalog.named(spec)?;
    if fitting.is_empty() && spec.len() >= PREFIX_CHARS_MIN {
        fitting = catalog.with_prefix(spec)?;
    }
    match fitting.as_slice() {
        [snapshot] => Ok(snapshot.clone()),
        [] => Err(not_found(spec, &format!("there is no snapshot {spec:?}"))),
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
    change(repo, id, |record, catalog| {
        record.name = name.to_owned();
        if options.name_may_repeat { Ok(()) } else { check_name_is_free(catalog, record) }
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
    how: impl Fn(&mut Record, &Catalog) -> Result<()>,
) -> Result<Snapshot> {
    let (_, record) = repo.commit(|catalog| {
        let before = catalog.get(id)?;
        let mut record = before.clone();
        how(&mut record, catalog)?;
        let changes =
            if record == before { Vec::new() } else { vec![Change::Changed(id, patch(&before, &record))] };
        Ok((changes, record))
    })?;
    Ok(record)
}

/// Returns what is new of a record.
fn patch(before: &Record, record: &Record) -> Patch {
    fn new<T: PartialEq + Clone>(before: &T, now: &T) -> Option<T> {
        (before != now).then(|| now.clone())
    }
    Patch {
        name: new(&before.name, &record.name),
        tags: new(&before.tags, &record.tags),
        labels: new(&before.labels, &record.labels),
        protected: new(&before.protected, &record.protected),
    }
}

/// The options of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// Whether to delete it even if volumes were created from it. Open or not, they go on as before
    /// and keep the data that they need.
    pub clones_keep_it: bool,
}

/// Deletes a snapshot. It can be restored with [`undelete`] until a gc frees its space.
///
/// # Errors
/// `InUse` if it is protected, if something is reading it, or if a volume was created from it and
/// the options do not allow that.
pub fn delete(repo: &Repository, id: SnapshotId, options: DeleteOptions) -> Result<Snapshot> {
    let mut deleted = delete_all(repo, &[id], options)?;
    deleted.pop().ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}")))
}

/// Deletes snapshots, all of them or none.
///
/// # Errors
/// As for [`delete`], for any of them.
pub fn delete_all(repo: &Repository, ids: &[SnapshotId], options: DeleteOptions) -> Result<Vec<Snapshot>> {
    let files = repo.files();
    let mut seen = HashSet::new();
    let ids: Vec<SnapshotId> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
    let (_, (deleted, _pins)) = repo.commit(|catalog| {
        let mut deleted = Vec::with_capacity(ids.len());
        let mut pins = Vec::with_capacity(ids.len());
        for id in &ids {
            let record = catalog.get(*id)?;
            pins.push(check_deletable(files, catalog, &record, options)?);
            deleted.push(record);
        }
        Ok((Change::deleted(&ids), (deleted, pins)))
    })?;
    Ok(deleted)
}

/// What [`delete_free`] did.
#[derive(Debug, Default)]
pub struct FreeDeleted {
    /// The deleted snapshots.
    pub deleted: Vec<Snapshot>,
    /// Those that stay because they are in use, each with the reason.
    pub in_use: Vec<(Snapshot, Error)>,
}

/// Deletes those of some snapshots that are not in use, together. It skips those that are gone.
///
/// # Errors
/// Those of reading and writing the journal.
pub fn delete_free(repo: &Repository, ids: &[SnapshotId], options: DeleteOptions) -> Result<FreeDeleted> {
    let files = repo.files();
    let (_, (done, _pins)) = repo.commit(|catalog| {
        let (mut done, mut pins) = (FreeDeleted::default(), Vec::with_capacity(ids.len()));
        for id in ids {
            let Some(record) = catalog.find(*id)? else { continue };
            match check_deletable(files, catalog, &record, options) {
                Ok(pin) => {
                    pins.push(pin);
                    done.deleted.push(record);
                }
                Err(error) if error.kind() == ErrorKind::InUse => done.in_use.push((record, error)),
                Err(error) => return Err(error),
            }
        }
        let free: Vec<SnapshotId> = done.deleted.iter().map(|record| record.id).collect();
        Ok((Change::deleted(&free), (done, pins)))
    })?;
    Ok(done)
}

/// Checks that a snapshot can be deleted. Nobody begins to read it as long as the pin exists.
fn check_deletable(
    files: &RepositoryFiles,
    catalog: &Catalog,
    record: &Record,
    options: DeleteOptions,
) -> Result<Pin> {
    let id = record.id;
    if record.protected {
        return Err(Error::new(ErrorKind::InUse, format!("snapshot {id} ({}) is protected", record.name))
            .with_hint(NextStep::UnprotectSnapshot(id)));
    }
    let Some(pin) = Pin::take_alone(files, id)? else {
        return Err(Error::new(ErrorKind::InUse, format!("snapshot {id} ({}) is being read", record.name))
            .with_hint("wait until its restore or verification ends, or stop the process that serves it"));
    };
    if !options.clones_keep_it {
        volumes::check_no_clone_of(files, record, catalog.volumes().values().map(|stood| &stood.of))?;
    }
    Ok(pin)
}

/// Returns the deleted snapshots that can still be restored, in the order of their deletion.
pub fn list_deleted(repo: &Repository) -> Result<Vec<DeletedSnapshot>> {
    repo.catalog()?.deleted()
}

/// Returns the deleted snapshot that `spec` names: an id, a unique prefix of an id (4 characters or
/// more), or a name.
///
/// # Errors
/// `NotFound` if there is none, or a gc has freed its space; `InvalidInput` if several match.
pub fn find_deleted(repo: &Repository, spec: &str) -> Result<DeletedSnapshot> {
    let mut all = list_deleted(repo)?;
    let is_named = |deleted: &DeletedSnapshot| deleted.snapshot.name == spec;
    let begins = |deleted: &DeletedSnapshot| deleted.snapshot.id.to_string().starts_with(spec);
    if all.iter().any(is_named) {
        all.retain(is_named);
    } else {
        all.retain(|deleted| spec.len() >= PREFIX_CHARS_MIN && begins(deleted));
    }
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => Err(Error::new(ErrorKind::NotFound, format!("there is no deleted snapshot {spec:?}"))
            .with_hint(NextStep::ListDeleted)),
        _ => {
            let each: Vec<String> = all.iter().map(|deleted| deleted.snapshot.id.to_string()).collect();
            let message = format!("{spec:?} matches more than one deleted snapshot: {}", each.join(", "));
            Err(Error::new(ErrorKind::InvalidInput, message).with_hint("use the id of the snapshot"))
        }
    }
}

/// Restores deleted snapshots, all of them or none.
///
/// # Errors
/// `NotFound` if one was not deleted, or a gc has freed its space; `AlreadyExists` if its resource
/// has another snapshot of its name by now, unless the options allow it.
pub fn undelete(repo: &Repository, ids: &[SnapshotId], options: RenameOptions) -> Result<Vec<Snapshot>> {
    let (_, restored) = repo.commit(|catalog| {
        let mut restored = Vec::with_capacity(ids.len());
        for id in ids {
            let deleted = catalog.find_deleted(*id)?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("there is no deleted snapshot {id}"))
                    .with_hint(NextStep::ListDeleted)
            })?;
            if !options.name_may_repeat {
                check_name_is_free(catalog, &deleted.snapshot)?;
            }
            restored.push(deleted.snapshot);
        }
        Ok((Change::restored(ids), restored))
    })?;
    Ok(restored)
}

/// Checks that no other snapshot of the resource has a record's name.
pub(crate) fn check_name_is_free(catalog: &Catalog, record: &Record) -> Result<()> {
    let named = catalog.named_of(record.kind, &record.resource, &record.name)?;
    match named.iter().find(|other| other.id != record.id) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            ErrorKind::AlreadyExists,
            format!(
                "{} {} already has a snapshot named {:?}: {}",
                record.kind.as_str(),
                record.resource,
                record.name,
                other.id
            ),
        )
        .with_hint("choose another name")),
    }
}
