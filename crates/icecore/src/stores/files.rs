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
            sizes.pack_bytes += file_bytes(base, &layout::pack(id))?;
        }
        for file in [layout::CONFIG, layout::GENERATION, layout::CHECKED, layout::DAMAGE] {
            sizes.metadata_bytes += file_bytes(base, file)?;
        }
        for dir in [layout::INDEX, layout::SNAPSHOTS] {
            sizes.metadata_bytes += dir_bytes(base, dir)?;
        }
        sizes.parity_bytes = dir_bytes(base, layout::PARITY)?;
        sizes.other_bytes = file_bytes(base, layout::RESERVE)?;
        for dir in [layout::LOCKS, layout::TMP, layout::DAMAGED] {
            sizes.other_bytes += dir_bytes(base, dir)?;
        }
        Ok(sizes)
    }
}

fn dir_bytes(base: &Base, dir: &str) -> Result<u64> {
    base.list(dir)?.iter().map(|name| file_bytes(base, &format!("{dir}/{name}"))).sum()
}

fn file_bytes(base: &Base, name: &str) -> Result<u64> {
    match base.storage.open(name) {
        Ok(file) => Ok(file.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io(format!("opening {name}"), error)),
    }
}
