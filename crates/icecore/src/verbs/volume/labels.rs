//! Changes the labels of a volume, whether or not it is open.

use std::collections::BTreeMap;

use crate::repository::Repository;
use crate::stores::volumes;
use crate::verbs::volume::info::VolumeInfo;
use crate::words::error::Result;
use crate::words::names::change_labels;
use crate::words::names::check_volume_name;

/// Removes labels of a volume, then sets others. All other labels stay. The volume may be open,
/// here or in another process.
///
/// # Errors
/// `NotFound` if no volume has this name; `InvalidInput` for an invalid key or value, or for more
/// than 32 labels in the end.
pub fn relabel_volume(
    repo: &Repository,
    name: &str,
    set: &BTreeMap<String, String>,
    remove: &[String],
) -> Result<VolumeInfo> {
    check_volume_name(name)?;
    repo.check_writable()?;
    let files = repo.files();
    // Checked before locking, because locking would create the lock file.
    volumes::load(files, name)?;
    let record = volumes::save_labels(files, name, |labels| change_labels(labels, set, remove))?;
    Ok(record.into())
}
