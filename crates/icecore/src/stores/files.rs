//! The sizes of a repository's files.

use std::io;

use crate::format::layout;
use crate::stores::base::Base;
use crate::stores::packs::list_packs;
use crate::words::error::Error;
use crate::words::error::Result;

/// How long the files of a repository are, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileSizes {
    /// Packs.
    pub(crate) pack_bytes: u64,
    /// The index, the records, the config, and notes.
    pub(crate) metadata_bytes: u64,
    /// Parity.
    pub(crate) parity_bytes: u64,
    /// What is there for other reasons: locks, what is not finished, the reserve, damaged packs.
    pub(crate) other_bytes: u64,
}

impl FileSizes {
    /// Looks at all files. One that disappears meanwhile is left out.
    pub(crate) fn of(base: &Base) -> Result<Self> {
        let mut sizes = Self::default();
        for id in list_packs(base)? {
            add(&mut sizes.pack_bytes, file_bytes(base, &layout::pack(id))?);
        }
        for name in [layout::CONFIG, layout::GENERATION, layout::CHECKED, layout::DAMAGE] {
            add(&mut sizes.metadata_bytes, file_bytes(base, name)?);
        }
        for dir in [layout::INDEX, layout::SNAPSHOTS] {
            add(&mut sizes.metadata_bytes, dir_bytes(base, dir)?);
        }
        sizes.parity_bytes = dir_bytes(base, layout::PARITY)?;
        sizes.other_bytes = file_bytes(base, layout::RESERVE)?;
        for dir in [layout::LOCKS, layout::TMP, layout::DAMAGED] {
            add(&mut sizes.other_bytes, dir_bytes(base, dir)?);
        }
        Ok(sizes)
    }

    /// Returns the length of all of them.
    pub(crate) fn total_bytes(&self) -> u64 {
        let parts = [self.pack_bytes, self.metadata_bytes, self.parity_bytes, self.other_bytes];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

fn dir_bytes(base: &Base, dir: &str) -> Result<u64> {
    let mut sum = 0;
    for name in base.list(dir)? {
        add(&mut sum, file_bytes(base, &format!("{dir}/{name}"))?);
    }
    Ok(sum)
}

/// Adds a length. Anybody can make a few files that are together longer than a number can say.
fn add(sum: &mut u64, bytes: u64) {
    *sum = sum.saturating_add(bytes);
}

fn file_bytes(base: &Base, name: &str) -> Result<u64> {
    match base.storage.open(name) {
        Ok(file) => Ok(file.len()),
        // Gone, or nothing that has a length.
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::InvalidData].contains(&error.kind()) => Ok(0),
        Err(error) => Err(Error::io(format!("opening {name}"), error)),
    }
}
