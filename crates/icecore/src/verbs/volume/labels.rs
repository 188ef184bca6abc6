//! What programs note about a volume is changed, whether or not it is open.

use std::collections::BTreeMap;

use crate::repository::Repository;
use crate::stores::config::note_labels;
use crate::stores::locks;
use crate::stores::volumes;
use crate::verbs::volume::info::VolumeInfo;
use crate::words::error::Result;
use crate::words::names::change_labels;
use crate::words::names::check_volume_name;

/// Removes labels of a volume and then sets others. The others stay as they are. The volume may be
/// open, here or in another process.
///
/// # Errors
/// `NotFound` if there is none of this name; `InvalidInput` for a key or a value that cannot be, or
/// if there would be more than 32 labels.
pub fn relabel_volume(
    repo: &Repository,
    name: &str,
    set: &BTreeMap<String, String>,
    remove: &[String],
) -> Result<VolumeInfo> {
    check_volume_name(name)?;
    repo.check_writable()?;
    let files = repo.files();
    // Before a lock, whose file would be made.
    volumes::load(files, name)?;
    // It is not deleted meanwhile.
    let _commit = locks::lock_commit(files)?;
    let record = volumes::save_labels(files, name, |labels| {
        change_labels(labels, set, remove)?;
        note_labels(files, labels)
    })?;
    Ok(record.into())
}
