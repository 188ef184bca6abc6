//! The stored form of tags: each in its first spelling.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::db::Db;
use crate::pool::labels;
use crate::pool::labels::Labels;
use crate::service::accounts::Who;
use crate::service::items::VolumeItem;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names::check_tag;

/// The names of all tags.
pub(super) struct TagNames {
    db: Arc<Db>,
}

impl TagNames {
    pub(super) fn new(db: &Arc<Db>) -> Self {
        Self { db: Arc::clone(db) }
    }

    /// Records the tags of a new resource, and returns them in their first spelling, sorted.
    pub(super) fn for_new(&self, who: &Who, wanted: &[String]) -> ApiResult<Vec<String>> {
        wanted.iter().try_for_each(|tag| check_tag(tag))?;
        let different: BTreeSet<_> = wanted.iter().map(|tag| tag.to_ascii_lowercase()).collect();
        check_count(different.len())?;
        let mut tags =
            wanted.iter().map(|tag| self.db.make_tag(&who.0, tag)).collect::<ApiResult<Vec<_>>>()?;
        tags.sort();
        tags.dedup();
        Ok(tags)
    }
}

/// Returns whether two spellings mean the same tag.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Checks that a resource may have this many tags.
fn check_count(tags: usize) -> ApiResult<()> {
    if tags > labels::TAGS_MAX {
        return Err(ApiError::unprocessable(format!("there are at most {} tags", labels::TAGS_MAX)));
    }
    Ok(())
}

/// Adds tags to those of a disk. The caller holds [`Pool::changes`].
///
/// [`Pool::changes`]: crate::pool::Pool::changes
pub(super) fn add_to_disk(disk: &VolumeItem, more: &[String]) -> ApiResult<()> {
    change_on_disk(disk, |tags| {
        for tag in more {
            tags.retain(|has| !is_same(has, tag));
            tags.push(tag.clone());
        }
    })
}

/// Changes the current tags of a disk. The caller holds [`Pool::changes`].
///
/// [`Pool::changes`]: crate::pool::Pool::changes
pub(super) fn change_on_disk(disk: &VolumeItem, how: impl FnOnce(&mut Vec<String>)) -> ApiResult<()> {
    let (repo, name) = (disk.pool.repo(), &disk.info.name);
    let before = icecore::volume::find_volume(repo, name)?.labels;
    let mut tags = labels::tags(&before);
    how(&mut tags);
    tags.sort();
    check_count(tags.len())?;
    let mut set = Labels::new();
    labels::set_tags(&mut set, &tags);
    let remove: Vec<String> =
        labels::tag_keys().filter(|key| before.contains_key(key) && !set.contains_key(key)).collect();
    if remove.is_empty() && set.iter().all(|(key, value)| before.get(key) == Some(value)) {
        return Ok(());
    }
    icecore::volume::relabel_volume(repo, name, &set, &remove)?;
    Ok(())
}
