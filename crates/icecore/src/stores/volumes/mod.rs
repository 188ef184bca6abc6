//! The records of copy-on-write volumes, each in its own directory.

pub(crate) mod blocks;
pub(crate) mod dirty_map;
pub(crate) mod overlay;

use crate::format::config::FORMAT_MINOR;
use crate::format::journal::Standing;
use crate::format::layout;
use crate::format::record::Record;
use crate::format::volume::VolumeRecord;
use crate::pure::record_cipher::Kind;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks;
use crate::stores::locks::Held;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::VolumeId;
use crate::words::names::Labels;
use crate::words::names::check_volume_name;
use crate::words::next_step::NextStep;
use crate::words::sizes::IMAGE_BYTES_MAX;
use crate::world::storage::read_all;
use crate::world::storage::replace;

/// The longest record of a volume: two snapshot records and a few numbers.
const RECORD_BYTES_MAX: u64 = 2 << 20;
/// The longest note of a volume of this machine: the name of its directory.
const OWN_BYTES_MAX: u64 = 1 << 10;

/// Returns the record of a volume.
///
/// # Errors
/// `NotFound` if no volume has this name; `Corrupt` if the record cannot be read.
pub(crate) fn load(files: &RepositoryFiles, name: &str) -> Result<VolumeRecord> {
    read(files, name).map(|(record, _)| record)
}

/// Returns the record in the directory of a volume.
///
/// # Errors
/// As for [`load`].
pub(crate) fn load_in(files: &RepositoryFiles, dir: &str) -> Result<VolumeRecord> {
    read_in(files, dir, dir).map(|(record, _)| record)
}

/// Returns the record and the minor version of the format in which it was written.
fn read(files: &RepositoryFiles, name: &str) -> Result<(VolumeRecord, u16)> {
    let (record, minor) = read_in(files, &files.volume_key(name), name)?;
    if record.name != name {
        return Err(Error::corrupt(format!("the record of volume {name} belongs to volume {}", record.name)));
    }
    Ok((record, minor))
}

/// Returns the record in the directory of a volume that is called `name` in errors.
fn read_in(files: &RepositoryFiles, dir: &str, name: &str) -> Result<(VolumeRecord, u16)> {
    let stored = read_all(files.open_local(&layout::volume_record(dir)), RECORD_BYTES_MAX).map_err(
        |error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Error::new(ErrorKind::NotFound, format!("there is no volume {name:?}"))
                    .with_hint(NextStep::ListVolumes)
            }
            _ => Error::stored_io(format!("reading the record of volume {name}"), error),
        },
    )?;
    let opened = files.seals.open(Kind::Local, 0, stored);
    let decoded = opened.and_then(|bytes| VolumeRecord::decode(&bytes, &files.hasher));
    let (record, minor) = decoded.map_err(|error| {
        Error::corrupt(format!("the record of volume {name} is damaged: {error}")).with_hint(
            "the volume's data may still exist: keep its directory unchanged and look for a copy of the record, or \
             remove the directory",
        )
    })?;
    if files.volume_key(&record.name) != dir {
        return Err(Error::corrupt(format!("the record of volume {name} belongs to volume {}", record.name)));
    }
    Ok((record, minor))
}

/// Returns all records with the names of their volumes, sorted by name. Where a record cannot be
/// read, the name is that of the directory. Skips a directory
/// without a record, and a directory whose name is not a valid volume name: it belongs to somebody
/// else.
///
/// # Errors
/// `OutOfResources` and `PermissionDenied`: then nothing is known of the volumes.
pub(crate) fn load_all(files: &RepositoryFiles) -> Result<Vec<(String, Result<VolumeRecord>)>> {
    let listing = |error| Error::stored_io(format!("listing {}", layout::VOLUMES), error);
    let mut dirs = files.place.local.list_dirs(layout::VOLUMES).map_err(listing)?;
    dirs.retain(|dir| check_volume_name(dir).is_ok());
    let mut loaded: Vec<(String, Result<VolumeRecord>)> = Vec::with_capacity(dirs.len());
    for dir in dirs {
        let record = read_in(files, &dir, &dir).map(|(record, _)| record);
        let name = record.as_ref().map_or(dir, |record| record.name.clone());
        loaded.push((name, record));
    }
    loaded.sort_by(|(a, _), (b, _)| a.cmp(b));
    let there = |(_, record): &(String, Result<VolumeRecord>)| {
        !record.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let known = |(name, record): (String, Result<VolumeRecord>)| match record {
        Err(error) if error.says_nothing_of_what_is_stored() => Err(error),
        record => Ok((name, record)),
    };
    loaded.into_iter().filter(there).map(known).collect()
}

/// Publishes a record: when this returns, the volume exists or is changed. The caller holds the
/// volume's lock. If the record names snapshots that it did not name before, an entry of the journal
/// already says that the volume stands on them.
/// Labels come from the record being replaced, if there is one, because others may change them.
pub(crate) fn save(files: &RepositoryFiles, record: &mut VolumeRecord) -> Result<()> {
    replacing(files, &record.name.clone(), || {
        match load_to_replace(files, &record.name) {
            Ok(found) if found.id == record.id => record.labels = found.labels,
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                return Err(error);
            }
            // A new volume, or the open volume's record replacing an unreadable one.
            _ => {}
        }
        publish(files, record)
    })
}

/// Changes the labels of a volume, which may be open meanwhile. Nobody deletes the volume
/// meanwhile.
pub(crate) fn save_labels(
    files: &RepositoryFiles,
    name: &str,
    change: impl FnOnce(&mut Labels) -> Result<()>,
) -> Result<VolumeRecord> {
    replacing(files, name, || {
        let mut record = load_to_replace(files, name)?;
        let before = record.labels.clone();
        change(&mut record.labels)?;
        if record.labels != before {
            publish(files, &record)?;
        }
        Ok(record)
    })
}

/// Removes the record of a volume, durably. Without it the volume no longer exists.
pub(crate) fn remove_record(files: &RepositoryFiles, name: &str) -> Result<()> {
    replacing(files, name, || {
        let dir = files.volume_key(name);
        files.remove_local(&layout::volume_record(&dir))?;
        files.sync_local(&layout::volume_dir(&dir))
    })
}

/// Notes that a volume is made on this machine, before an entry says what it stands on. Without that,
/// nobody could tell later whether it is on another machine, or gone. The caller holds its lock.
pub(crate) fn note_own(files: &RepositoryFiles, name: &str, id: VolumeId) -> Result<()> {
    match files.are_shared() {
        true => files.write_local(&layout::own_volume(id), files.volume_key(name).as_bytes()),
        false => Ok(()),
    }
}

/// Forgets that a volume was made on this machine, once it stands on nothing any more. A note that
/// stays is of no harm, and gc removes it.
pub(crate) fn forget_own(files: &RepositoryFiles, id: VolumeId) {
    if files.are_shared() {
        let _ = files.remove_local(&layout::own_volume(id));
    }
}

/// Forgets the volumes of which no entry was ever made, and that nobody is making.
pub(crate) fn forget_unmade(
    files: &RepositoryFiles,
    stands: impl Fn(VolumeId) -> Result<bool>,
) -> Result<()> {
    for file in files.list_local(layout::OWN_VOLUMES)? {
        let Some(id) = layout::id_of::<VolumeId>(&file) else { continue };
        if stands(id)? {
            continue;
        }
        let Ok(key) = read_all(files.open_local(&layout::own_volume(id)), OWN_BYTES_MAX) else { continue };
        let key = String::from_utf8_lossy(&key);
        let Ok(Some(lock)) = locks::try_volume(files, &key) else { continue };
        // An empty volume stands on nothing until its first snapshot.
        let is_there = load_in(files, &key).is_ok_and(|record| record.id == id);
        if !is_there && !stands(id)? {
            forget_own(files, id);
        }
        lock.dismiss();
    }
    Ok(())
}

/// Tells whether the volume that stands on something is gone, and nobody is making it.
pub(crate) fn is_lost(files: &RepositoryFiles, standing: &Standing) -> Result<bool> {
    // It may be on another machine.
    if files.are_shared() && files.open_local(&layout::own_volume(standing.volume)).is_err() {
        return Ok(false);
    }
    let name = &standing.name;
    let is_there = || match load(files, name) {
        Ok(record) => Ok(record.id == standing.volume),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        // A record that cannot be read may be of this volume.
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(true),
        Err(error) => Err(error),
    };
    if is_there()? {
        return Ok(false);
    }
    match locks::try_volume(files, &files.volume_key(name)) {
        Ok(Some(lock)) => {
            let lost = is_there().map(|there| !there);
            lock.dismiss();
            lost
        }
        Ok(None) => Ok(false),
        Err(error) if matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::PermissionDenied) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the record of the volume, grown to `size_bytes`.
///
/// # Errors
/// `InvalidInput` if the size is smaller than the current one.
pub(crate) fn grown(record: &VolumeRecord, size_bytes: u64) -> Result<VolumeRecord> {
    let (name, now) = (&record.name, record.size_bytes);
    if size_bytes < now || size_bytes > IMAGE_BYTES_MAX {
        let message = format!("volume {name} has {now} bytes and cannot shrink to {size_bytes} bytes");
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint("volumes only grow; for a smaller disk, create a new volume and copy the files"));
    }
    Ok(VolumeRecord { size_bytes, ..record.clone() })
}

/// Returns a record that the caller is about to replace.
///
/// # Errors
/// `Unsupported` if a newer program wrote it, perhaps after this one opened the repository:
/// replacing it would lose what that program noted in it.
fn load_to_replace(files: &RepositoryFiles, name: &str) -> Result<VolumeRecord> {
    let (record, minor) = read(files, name)?;
    if minor > FORMAT_MINOR {
        let message = format!("a newer version of icecore wrote the record of volume {name}");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("use a newer version of icecore to change it"));
    }
    Ok(record)
}

/// Keeps others from replacing a volume's record meanwhile. `replace` waits for no other lock.
fn replacing<T>(files: &RepositoryFiles, name: &str, replace: impl FnOnce() -> Result<T>) -> Result<T> {
    let lock = locks::volume_record(files, &files.volume_key(name))?;
    let replaced = replace();
    lock.dismiss();
    replaced
}

fn publish(files: &RepositoryFiles, record: &VolumeRecord) -> Result<()> {
    let bytes = record.encode(&files.hasher).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("cannot encode the record of a volume: {error}"))
    })?;
    let bytes = files.seal(Kind::Local, 0, bytes)?;
    let dir = files.volume_key(&record.name);
    let (temp, name) = (layout::volume_record_temp(&dir), layout::volume_record(&dir));
    // The temporary file has a path of its own: whoever has a volume open must not wait for other
    // writers.
    let _ = files.place.local.remove(&temp);
    replace(&*files.place.local, &temp, &name, &bytes)
        .map_err(|error| Error::stored_io(format!("writing the record of volume {}", record.name), error))
}

/// Takes a volume's lock. Whoever has the volume open or changes it holds this lock.
///
/// # Errors
/// `InUse` if somebody else holds it.
pub(crate) fn lock(files: &RepositoryFiles, name: &str) -> Result<Held> {
    locks::try_volume(files, &files.volume_key(name))?.ok_or_else(|| {
        Error::new(ErrorKind::InUse, format!("volume {name} is in use by another process"))
            .with_hint("stop the process that serves it, or wait until the other command ends")
    })
}

/// Removes overlays that no record names: those of a volume whose deletion was cut off, and those
/// that a crash left of a snapshot or a reset. Returns the number of files removed. Skips a volume
/// that somebody has open, changes or creates.
pub(crate) fn remove_leftovers(files: &RepositoryFiles) -> Result<u64> {
    let listing = |error| Error::stored_io(format!("listing {}", layout::VOLUMES), error);
    let mut removed = 0;
    for name in files.place.local.list_dirs(layout::VOLUMES).map_err(listing)? {
        // Most volumes have no leftovers. Check first, so that nobody who opens a volume finds its
        // lock held for nothing.
        if check_volume_name(&name).is_err() || leftovers(files, &name)?.is_none() {
            continue;
        }
        let lock = match locks::try_volume(files, &name) {
            Ok(Some(lock)) => lock,
            Ok(None) => continue,
            // The lock's file cannot be created just now; the next gc tries again.
            Err(error) if error.kind() == ErrorKind::NoSpace => continue,
            Err(error) => return Err(error),
        };
        config::check_again(files)?;
        let dir = layout::volume_dir(&name);
        let left = leftovers(files, &name)?.unwrap_or_default();
        for file in &left {
            files.remove_local(&format!("{dir}/{file}"))?;
            removed += 1;
        }
        // The volume may have been removed meanwhile by whoever was deleting it.
        if !left.is_empty() {
            files.sync_local(&dir)?;
        }
        // The directory stays if it holds anything else.
        let _ = files.place.local.remove_dir(&dir);
        lock.dismiss();
    }
    Ok(removed)
}

/// Returns the files in a directory of a volume that nothing names, or none if the directory is as
/// it should be or its record is damaged.
fn leftovers(files: &RepositoryFiles, name: &str) -> Result<Option<Vec<String>>> {
    let record = match read_in(files, name, name) {
        Ok((record, _)) => Some(record),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_named = |number| {
        record.as_ref().is_some_and(|record| record.active == number || record.sealed.contains(&number))
    };
    let dir = layout::volume_dir(name);
    let is_record = |file: &str| layout::volume_record_temp(name) == format!("{dir}/{file}");
    let mut left = files.list_local(&dir)?;
    left.retain(|file| match layout::overlay_of(file) {
        Some(number) => !is_named(number),
        None => record.is_none() && is_record(file),
    });
    Ok(Some(left).filter(|left| record.is_none() || !left.is_empty()))
}

/// Refuses to delete a snapshot from which one of the `volumes` of the catalog was made.
pub(crate) fn check_no_clone_of<'a>(
    files: &RepositoryFiles,
    snapshot: &Record,
    volumes: impl Iterator<Item = &'a Standing>,
) -> Result<()> {
    let is_origin = |origin: &Option<Record>| origin.as_ref().is_some_and(|origin| origin.id == snapshot.id);
    for standing in volumes.filter(|standing| is_origin(&standing.origin)) {
        let Standing { name, host, .. } = standing;
        let volume = match load(files, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // A volume record that cannot be read could name any snapshot.
            volume => Some(volume.map_err(|error| error.in_context(format!("volume {name}")))?),
        };
        let (is_clone, place) = match volume.filter(|volume| volume.id == standing.volume) {
            Some(volume) => (is_origin(&volume.origin), String::new()),
            // It is gone, and another one may have its name; or it is on another machine.
            None => (files.are_shared(), format!(" on {host}")),
        };
        if is_clone {
            let (id, called) = (snapshot.id, &snapshot.name);
            let message = format!("volume {name}{place} was created from snapshot {id} ({called})");
            return Err(Error::new(ErrorKind::InUse, message)
                .with_hint(NextStep::KeepClones { snapshot: id, volume: name.clone() }));
        }
    }
    Ok(())
}
