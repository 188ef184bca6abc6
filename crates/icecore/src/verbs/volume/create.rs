//! Creates a volume: a record and an empty overlay, whatever the size.

use std::collections::BTreeMap;

use crate::format::journal::Change;
use crate::format::layout;
use crate::format::volume::VolumeRecord;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::volumes;
use crate::stores::volumes::overlay::Overlay;
use crate::verbs::volume::info::VolumeInfo;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::ids::VolumeId;
use crate::words::names::ResourceKind;
use crate::words::names::check_labels;
use crate::words::names::check_volume_name;
use crate::words::sizes::IMAGE_BYTES_MAX;
use crate::words::time::check_time;
use crate::world::storage;

/// The options of a new volume.
#[derive(Debug, Clone)]
pub struct VolumeOptions {
    /// Its id: a fresh UUID of version 7.
    pub id: VolumeId,
    /// Its name: ASCII letters, digits, and `-`, `_` and `.`, unique in the repository.
    pub name: String,
    /// The time, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// The kind of resource that its snapshots are of; if none is given, the kind of its own
    /// snapshot.
    pub kind: Option<ResourceKind>,
    /// The snapshot with its content; if none is given, the volume is all zeros.
    pub snapshot: Option<SnapshotId>,
    /// Its size in bytes, at least the snapshot's; if none is given, the snapshot's size.
    pub size_bytes: Option<u64>,
    /// Labels set by programs.
    pub labels: BTreeMap<String, String>,
}

/// Creates a volume. When it returns, the volume survives a power cut.
///
/// # Errors
/// `AlreadyExists` if the name is taken; `NotFound` if there is no such snapshot; `InvalidInput`
/// for an invalid name or size.
pub fn create_volume(repo: &Repository, options: &VolumeOptions) -> Result<VolumeInfo> {
    check_volume_name(&options.name)?;
    check_labels(&options.labels)?;
    check_time(options.created_unix_ms)?;
    repo.check_writable()?;
    let files = repo.files();
    let name = &options.name;
    check_free(files, name)?;
    make_dir(files, layout::VOLUMES)?;
    let _lock = volumes::lock(files, name)?;
    check_free(files, name)?;
    volumes::note_own(files, name, options.id)?;
    // The journal says first what the volume stands on, so that no gc removes it.
    let (catalog, (snapshot, size_bytes)) = repo.commit(|catalog| {
        let snapshot = options.snapshot.map(|id| catalog.get(id)).transpose()?;
        let size_bytes = size_of(options, snapshot.as_ref().map(|snapshot| snapshot.size_bytes))?;
        let stands = snapshot.iter().map(|snapshot| {
            let standing = repo.standing(options.id, name, Some(snapshot.clone()), Vec::new());
            Change::StandsOn(Box::new(standing))
        });
        Ok((stands.collect(), (snapshot, size_bytes)))
    })?;
    let kind = options.kind.or(snapshot.as_ref().map(|snapshot| snapshot.kind));
    let mut record = VolumeRecord {
        id: options.id,
        name: name.clone(),
        created_unix_ms: options.created_unix_ms,
        kind: kind.unwrap_or(ResourceKind::Volume),
        size_bytes,
        origin: snapshot.clone(),
        base: snapshot,
        sealed: Vec::new(),
        active: 0,
        labels: options.labels.clone(),
        stands_at: catalog.number,
        epoch: files.seals.epoch().unwrap_or(0),
    };
    make_dir(files, &layout::volume_dir(&files.volume_key(name)))?;
    new_overlay(files, &record, |_| true)?;
    volumes::save(files, &mut record)?;
    Ok(record.into())
}

fn check_free(files: &RepositoryFiles, name: &str) -> Result<()> {
    match volumes::load(files, name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
        _ => Err(Error::new(ErrorKind::AlreadyExists, format!("there is already a volume {name:?}"))
            .with_hint("choose another name, or delete it first")),
    }
}

fn size_of(options: &VolumeOptions, snapshot: Option<u64>) -> Result<u64> {
    let bad = |message: String, hint: &str| Err(Error::new(ErrorKind::InvalidInput, message).with_hint(hint));
    let Some(size_bytes) = options.size_bytes.or(snapshot) else {
        return bad("a volume without a snapshot needs a size".to_owned(), "give it one, such as 10GiB");
    };
    if size_bytes == 0 || size_bytes > IMAGE_BYTES_MAX {
        return bad(format!("a volume cannot have {size_bytes} bytes"), "give it another size");
    }
    match snapshot.filter(|snapshot| *snapshot > size_bytes) {
        Some(snapshot) => bad(
            format!("a volume of {size_bytes} bytes is too small for a snapshot of {snapshot} bytes"),
            "leave out the size, or make it larger",
        ),
        None => Ok(size_bytes),
    }
}

/// Creates a directory and makes its name durable.
fn make_dir(files: &RepositoryFiles, dir: &str) -> Result<()> {
    let making = |error| Error::stored_io(format!("creating the directory {dir}"), error);
    storage::make_dir(&*files.place.local, dir).map_err(making)
}

/// Creates the current overlay of a volume durably, and empty, after removing the overlays whose
/// numbers `goes` selects.
pub(crate) fn new_overlay(
    files: &RepositoryFiles,
    volume: &VolumeRecord,
    goes: impl Fn(u64) -> bool,
) -> Result<()> {
    let name = &volume.name;
    let removing = |error| Error::stored_io(format!("removing old files of volume {name}"), error);
    Overlay::remove_files(files, name, goes).map_err(removing)?;
    Overlay::create(files, volume, volume.active)?;
    files.sync_local(&layout::volume_dir(&files.volume_key(name)))
}
