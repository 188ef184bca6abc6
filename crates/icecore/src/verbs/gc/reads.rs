//! Removes the records of reads that are of no use any more.

use crate::format::layout;
use crate::repository::Repository;
use crate::stores::config;
use crate::stores::live_records::all_that_is_kept;
use crate::stores::reads;
use crate::verbs::gc::grace::Grace;
use crate::words::error::Result;

/// Removes the records whose snapshot is gone or that have a newer one, but for young ones where
/// other machines write too, and those that their place keeps for a time. Returns how many are gone.
pub(crate) fn remove_reads(repo: &Repository, grace: Option<&Grace>) -> Result<u64> {
    let files = repo.files();
    // Listed first: whatever was recorded of a snapshot that comes later is not among them.
    let told = files.list_told(layout::READS)?;
    if told.is_empty() {
        return Ok(0);
    }
    let kept = all_that_is_kept(&repo.store)?;
    let mut useless = reads::useless(files, kept.iter().map(|record| record.id), told);
    useless.retain(|told| grace.is_none_or(|grace| !grace.is_young(told.made_unix_ms)));
    if useless.is_empty() {
        return Ok(0);
    }
    config::check_again(files)?;
    let mut removed = 0;
    for told in &useless {
        removed += u64::from(files.delete_unneeded(&format!("{}/{}", layout::READS, told.name))?);
    }
    files.sync(layout::READS)?;
    Ok(removed)
}
