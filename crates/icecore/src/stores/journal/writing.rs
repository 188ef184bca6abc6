//! Writing a catalog down as a checkpoint.

use crate::format::checkpoint::Head;
use crate::format::checkpoint::Row;
use crate::format::checkpoint_writer;
use crate::format::checkpoint_writer::Content;
use crate::stores::journal::catalog::Catalog;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// Returns the bytes of a checkpoint of a catalog. `is_there` tells which condemned packs are still
/// to be kept in mind.
pub(crate) fn encode(
    catalog: &Catalog,
    config: &[u8],
    is_there: impl Fn(PackId) -> Result<bool>,
) -> Result<Vec<u8>> {
    let mut condemned = Vec::new();
    for (pack, condemnation) in &*catalog.condemned {
        if is_there(*pack)? {
            condemned.push((*pack, *condemnation));
        }
    }
    let low = if condemned.len() == catalog.condemned.len() { catalog.low } else { catalog.number };
    let head = Head {
        number: catalog.number,
        entry: catalog.digest.0,
        low,
        settings: catalog.settings.clone(),
        tokens: catalog.tokens.clone(),
        ..Head::default()
    };
    let content = Content {
        config,
        snapshots: catalog.changed().collect(),
        condemned,
        volumes: catalog.volumes.values().map(|stood| &**stood).collect(),
    };
    let failed = |error| Error::new(ErrorKind::InvalidInput, format!("cannot encode a checkpoint: {error}"));
    let of_base = catalog.in_base(|base| {
        let stays = |row: &Row| catalog.leaves(row);
        Ok(checkpoint_writer::encode(head.clone(), &content, Some((base, &stays)), &catalog.hasher))
    })?;
    let whole = || checkpoint_writer::encode_whole(head.clone(), &content, &catalog.hasher);
    of_base.unwrap_or_else(whole).map_err(failed)
}
