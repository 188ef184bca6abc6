//! Examines every file of the journal.

use std::sync::Arc;

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal::catalog::Catalog;
use crate::stores::journal::files;
use crate::stores::journal::files::Numbers;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;

/// What is wrong with the journal.
#[derive(Default)]
pub(crate) struct Audit {
    /// Damaged checkpoints, and entries that are lost or damaged, each with the reason. As long as
    /// the catalog can be read, nothing is lost with them.
    pub(crate) wrong: Vec<(String, Error)>,
    /// The entries after the newest checkpoint that are lost or damaged and have a sound copy.
    pub(crate) copied: Vec<u64>,
    /// The entries after the newest checkpoint without a sound copy.
    pub(crate) without_copy: Vec<u64>,
    /// The newest sound checkpoint.
    pub(crate) newest: Option<Arc<Catalog>>,
}

/// Examines the journal.
///
/// # Errors
/// `OutOfResources` and `PermissionDenied`: then nothing is known.
pub(crate) fn audit(files: &RepositoryFiles) -> Result<Audit> {
    loop {
        let checkpoints = files::checkpoints(files)?;
        let audit = audit_from(files, &checkpoints)?;
        // Otherwise entries may have been removed meanwhile.
        if files::checkpoints(files)?.newest() == checkpoints.newest() {
            return Ok(audit);
        }
    }
}

fn audit_from(files: &RepositoryFiles, checkpoints: &Numbers) -> Result<Audit> {
    let mut audit = Audit::default();
    let mut sound = Vec::new();
    for number in &checkpoints.0 {
        match files::read_checkpoint(files, *number).and_then(|catalog| catalog.prove().map(|()| catalog)) {
            Ok(catalog) => sound.push(Arc::new(catalog)),
            Err(error) => audit.note(layout::numbered(layout::CHECKPOINTS, *number), error)?,
        }
    }
    audit.newest = sound.last().cloned();
    let newest = audit.newest.as_ref().map_or(0, |catalog| catalog.number);
    let from = match checkpoints.kept_from() {
        Some(from) => from,
        // Of two checkpoints, one may be lost.
        None if files::has_entry(files, 1)? => 0,
        None => checkpoints.newest().unwrap_or(0),
    };
    let last = files::last_entry(files, 0)?;
    let copies = files::numbers(files, layout::COPIES)?;
    let mut before = sound.iter().find(|catalog| catalog.number == from).map(|catalog| catalog.digest());
    for number in from + 1..=last {
        let has_copy = has_copy(files, &copies, number)?;
        let read = files::read_entry_in(files, layout::JOURNAL, number);
        let follows = match &read {
            Ok((entry, digest, _)) => {
                let follows = before.is_none_or(|before| before == entry.before);
                before = Some(*digest);
                follows
            }
            Err(_) => {
                before = None;
                true
            }
        };
        if number > newest && !has_copy {
            audit.without_copy.push(number);
        }
        let error = match read {
            Ok(_) if follows => continue,
            Ok(_) => Error::corrupt(format!("it does not follow entry {}", number - 1)),
            Err(error) if error.kind() == ErrorKind::NotFound => Error::corrupt("it is lost"),
            Err(error) => error,
        };
        audit.note(layout::numbered(layout::JOURNAL, number), error)?;
        if number > newest && has_copy {
            audit.copied.push(number);
        }
    }
    Ok(audit)
}

/// Tells whether an entry has a sound copy.
fn has_copy(files: &RepositoryFiles, copies: &Numbers, number: u64) -> Result<bool> {
    if !copies.0.contains(&number) {
        return Ok(false);
    }
    match files::read_entry_in(files, layout::COPIES, number) {
        Err(error) if error.says_nothing_of_what_is_stored() => Err(error),
        read => Ok(read.is_ok()),
    }
}

impl Audit {
    fn note(&mut self, file: String, error: Error) -> Result<()> {
        match error.kind() {
            _ if error.says_nothing_of_what_is_stored() => Err(error),
            // Another one took its place meanwhile.
            ErrorKind::NotFound => Ok(()),
            _ => {
                self.wrong.push((file, error));
                Ok(())
            }
        }
    }
}
