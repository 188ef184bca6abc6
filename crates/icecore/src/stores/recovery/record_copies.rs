//! Reads the copies of records that packs hold: the last resort when the catalog is lost.

use std::sync::Arc;

use crate::format::record::Record;
use crate::stores::chunks::Located;
use crate::stores::files::RepositoryFiles;
use crate::stores::pack::file::PackFile;
use crate::stores::recovery::is_of_the_place;
use crate::stores::recovery::reader::with_reader;
use crate::words::error::Result;

/// Returns the records of which a pack holds sound copies. A copy says what was known when its
/// capture wrote the pack: the snapshot can have got another time or name since, or can be deleted,
/// or never have come to be.
pub(crate) fn record_copies(files: &RepositoryFiles, pack: &Arc<PackFile>) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for number in 0..pack.entries() {
        let Ok(entry) = pack.entry(number) else { continue };
        if !entry.is_record {
            continue;
        }
        let located = Located { pack: Arc::clone(pack), number, entry };
        match with_reader(|reader| reader.record(files, &located)) {
            Ok(record) => records.push(record),
            Err(error) if is_of_the_place(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}
