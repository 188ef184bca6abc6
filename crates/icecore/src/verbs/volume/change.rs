//! Changes volumes that nobody has open: resizes, resets and deletes them.

use crate::format::journal::Change;
use crate::format::layout;
use crate::format::record::Record;
use crate::format::volume::VolumeRecord;
use crate::repository::Repository;
use crate::stores::config;
use crate::stores::locks::Held;
use crate::stores::volumes;
use crate::stores::volumes::overlay::Overlay;
use crate::verbs::volume::create::new_overlay;
use crate::verbs::volume::info::VolumeInfo;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::names::check_volume_name;

/// Locks a volume for the caller alone.
fn take(repo: &Repository, name: &str) -> Result<(VolumeRecord, Held)> {
    check_volume_name(name)?;
    repo.check_writable()?;
    // Checked before locking, because locking would create the lock file.
    volumes::load(repo.files(), name)?;
    let lock = volumes::lock(repo.files(), name)?;
    Ok((volumes::load(repo.files(), name)?, lock))
}

/// Makes a volume larger. The new part is zero.
///
/// # Errors
/// `InvalidInput` for a size smaller than the current one; `InUse` if it is open.
pub fn resize_volume(repo: &Repository, name: &str, size_bytes: u64) -> Result<VolumeInfo> {
    let (before, _lock) = take(repo, name)?;
    let mut record = volumes::grown(&before, size_bytes)?;
    if record != before {
        config::check_again(repo.files())?;
        volumes::save(repo.files(), &mut record)?;
    }
    Ok(record.into())
}

/// Drops everything written to a volume since it was created or restored. Snapshots taken of it
/// stay. After a crash the reset is either complete or did not happen.
///
/// # Errors
/// `InUse` if it is open.
pub fn reset_volume(repo: &Repository, name: &str) -> Result<VolumeInfo> {
    let (record, _lock) = take(repo, name)?;
    config::check_again(repo.files())?;
    let origin = record.origin.clone();
    set_back(repo, record, origin)
}

/// Gives a volume the content of a snapshot and drops everything written to it. After a crash the
/// restore is either complete or did not happen. A volume smaller than the snapshot grows to its
/// size.
///
/// # Errors
/// `NotFound` if there is no such snapshot; `InUse` if the volume is open.
pub fn restore_volume(repo: &Repository, name: &str, snapshot: SnapshotId) -> Result<VolumeInfo> {
    let (record, _lock) = take(repo, name)?;
    let (catalog, snapshot) = repo.commit(|catalog| {
        let snapshot = catalog.get(snapshot)?;
        let below = record.origin.iter().chain(&record.base).cloned().collect();
        let standing = repo.standing(record.id, name, Some(snapshot.clone()), below);
        Ok((vec![Change::StandsOn(Box::new(standing))], snapshot))
    })?;
    set_back(repo, VolumeRecord { stands_at: catalog.number, ..record }, Some(snapshot))
}

/// Publishes a record with an empty overlay over `origin`. The caller holds the volume's
/// lock.
fn set_back(repo: &Repository, record: VolumeRecord, origin: Option<Record>) -> Result<VolumeInfo> {
    let files = repo.files();
    let in_use = |number: u64| number == record.active || record.sealed.contains(&number);
    let active = record.active + 1;
    let size_bytes = record.size_bytes.max(origin.as_ref().map_or(0, |origin| origin.size_bytes));
    let mut new = VolumeRecord {
        base: origin.clone(),
        origin,
        sealed: Vec::new(),
        active,
        size_bytes,
        // Nothing that was written with older keys stays.
        epoch: files.seals.epoch().unwrap_or(0),
        ..record.clone()
    };
    new_overlay(files, &new, |number| !in_use(number))?;
    volumes::save(files, &mut new)?;
    // Files that remain are removed when the volume is next opened.
    let _ = Overlay::remove_files(files, &new.name, |number| number != active);
    Ok(new.into())
}

/// Deletes a volume and everything written to it since its last snapshot. Its snapshots stay.
///
/// # Errors
/// `InUse` if it is open.
pub fn delete_volume(repo: &Repository, name: &str) -> Result<VolumeInfo> {
    let (record, lock) = take(repo, name)?;
    let files = repo.files();
    let key = files.volume_key(name);
    config::check_again(files)?;
    volumes::remove_record(files, name)?;
    // The volume is gone. The next gc commits this if it cannot be committed now.
    let forgotten = repo.commit(|catalog| {
        let stands = catalog.volumes().get(&record.id).map(|_| Change::NoLonger(record.id));
        Ok((stands.into_iter().collect(), ()))
    });
    if forgotten.is_ok() {
        volumes::forget_own(files, record.id);
    }
    // The next volume created under its name removes any remaining files.
    let _ = files.place.local.remove(&layout::volume_record_temp(&key));
    let _ = Overlay::remove_files(files, name, |_| true);
    let _ = files.place.local.remove_dir(&layout::volume_dir(&key));
    lock.dismiss();
    Ok(record.into())
}
