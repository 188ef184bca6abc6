//! The sizes of a repository's files.

use std::io;

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::world::storage::StoredFile;

/// The sizes of the files of a repository, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileSizes {
    /// Packs.
    pub(crate) pack_bytes: u64,
    /// The index, the records, the config, records of reads, and notes.
    pub(crate) metadata_bytes: u64,
    /// Parity.
    pub(crate) parity_bytes: u64,
    /// The allocated space of volumes: their overlays have holes.
    pub(crate) volume_bytes: u64,
    /// Other files: locks, unfinished files, the reserve, damaged packs.
    pub(crate) other_bytes: u64,
}

impl FileSizes {
    /// Measures all files. Leaves out a file that disappears meanwhile.
    pub(crate) fn of(files: &RepositoryFiles) -> Result<Self> {
        let mut sizes = Self::default();
        for told in files.list_told(layout::PACKS)? {
            if layout::id_of::<PackId>(&told.name).is_some() {
                add(&mut sizes.pack_bytes, told.bytes);
            }
        }
        let config = files.open(layout::CONFIG);
        sizes.metadata_bytes = length_of(layout::CONFIG, config, |file| Ok(file.len()))?;
        for name in [layout::CHECKED, layout::DAMAGE] {
            add(&mut sizes.metadata_bytes, local_bytes(files, name)?);
        }
        for dir in [
            layout::INDEX,
            layout::JOURNAL,
            layout::COPIES,
            layout::CHECKPOINTS,
            layout::KEYS,
            layout::KEY_COPIES,
            layout::READS,
        ] {
            add(&mut sizes.metadata_bytes, dir_bytes(files, dir)?);
        }
        sizes.parity_bytes = dir_bytes(files, layout::PARITY)?;
        for volume in files
            .place
            .local
            .list_dirs(layout::VOLUMES)
            .map_err(|error| Error::stored_io(format!("listing {}", layout::VOLUMES), error))?
        {
            let dir = layout::volume_dir(&volume);
            for name in files.list_local(&dir)? {
                let name = format!("{dir}/{name}");
                let bytes = length_of(&name, files.open_local(&name), |file| file.allocated_bytes())?;
                add(&mut sizes.volume_bytes, bytes);
            }
        }
        sizes.other_bytes = dir_bytes(files, layout::DAMAGED)?;
        add(&mut sizes.other_bytes, local_bytes(files, layout::RESERVE)?);
        for dir in [layout::LOCKS, layout::TMP] {
            for name in files.list_local(dir)? {
                add(&mut sizes.other_bytes, local_bytes(files, &format!("{dir}/{name}"))?);
            }
        }
        Ok(sizes)
    }

    /// Returns the length of all of them.
    pub(crate) fn total_bytes(&self) -> u64 {
        let Self { pack_bytes, metadata_bytes, parity_bytes, volume_bytes, other_bytes } = *self;
        let parts = [pack_bytes, metadata_bytes, parity_bytes, volume_bytes, other_bytes];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

fn dir_bytes(files: &RepositoryFiles, dir: &str) -> Result<u64> {
    let mut sum = 0;
    files.list_told(dir)?.iter().for_each(|told| add(&mut sum, told.bytes));
    Ok(sum)
}

/// Adds a length. A few sparse files can together exceed any number, so it saturates.
fn add(sum: &mut u64, bytes: u64) {
    *sum = sum.saturating_add(bytes);
}

fn local_bytes(files: &RepositoryFiles, name: &str) -> Result<u64> {
    length_of(name, files.open_local(name), |file| Ok(file.len()))
}

fn length_of(
    name: &str,
    file: io::Result<Box<dyn StoredFile>>,
    length: impl Fn(&dyn StoredFile) -> io::Result<u64>,
) -> Result<u64> {
    match file.and_then(|file| length(&*file)) {
        Ok(bytes) => Ok(bytes),
        // It is gone, or has no length.
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::InvalidData].contains(&error.kind()) => Ok(0),
        Err(error) => Err(Error::stored_io(format!("opening {name}"), error)),
    }
}
