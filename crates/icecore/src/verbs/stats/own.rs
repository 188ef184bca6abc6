//! The data that only some given snapshots have.

use std::collections::BTreeSet;
use std::collections::HashSet;

use crate::format::record::ManifestKey;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::live_records::each_other;
use crate::stores::live_records::walk_unpinned;
use crate::stores::volumes;
use crate::verbs::stats::tally::Own;
use crate::verbs::stats::tally::Tally;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Progress;
use crate::words::units::block_bytes;

/// Owner numbers in a tally: the snapshots in question, and all others.
const THESE: u32 = 0;
const OTHERS: u32 = 1;

/// The bytes that would be unused without some snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnBytes {
    /// Unique data that only they have: each block counted once.
    pub data_bytes: u64,
    /// The stored size of that data in packs. A chunk that others use in part counts in proportion.
    pub stored_bytes: u64,
    /// The size of the manifest pages in packs that only they have.
    pub manifest_bytes: u64,
}

/// Counts the bytes that gc could free if these snapshots were deleted together. Data that volumes
/// are based on stays in use. Reads the manifests of the repository, and no data.
///
/// # Errors
/// `NotFound` if there is no such snapshot; `Corrupt` if a record cannot be read or something that
/// a snapshot needs is missing; `Interrupted`.
pub fn own_bytes(repo: &Repository, ids: &[SnapshotId], progress: &dyn Progress) -> Result<OwnBytes> {
    let mut of_volumes = HashSet::new();
    for (name, volume) in volumes::load_all(repo.files())? {
        let volume = volume.map_err(|error| error.in_context(format!("volume {name}")))?;
        of_volumes.extend(volume.origin.into_iter().chain(volume.base).map(|below| below.manifest_key()));
    }
    let ids: BTreeSet<SnapshotId> = ids.iter().copied().collect();
    let own = walk_unpinned(&repo.store, |catalog| {
        let mut these: Vec<Record> = ids.iter().map(|id| catalog.get(*id)).collect::<Result<_>>()?;
        these.retain(|record| !of_volumes.contains(&record.manifest_key()));
        let keys: Vec<ManifestKey> = these.iter().map(Record::manifest_key).collect();
        let mut tally = Tally::new(&repo.store, 2);
        these.iter().try_for_each(|record| tally.mark(THESE, record, progress))?;
        each_other(&repo.store, catalog, &keys, &mut |record| tally.mark(OTHERS, record, progress))?;
        own_of_these(&tally, progress)
    })?;
    Ok(OwnBytes {
        data_bytes: block_bytes(own.blocks),
        stored_bytes: own.stored_bytes,
        manifest_bytes: own.page_bytes,
    })
}

/// Returns a snapshot's record, the number of its different blocks, and the data that only it has.
pub(crate) fn own_of(
    repo: &Repository,
    id: SnapshotId,
    progress: &dyn Progress,
) -> Result<(Record, u64, Own)> {
    walk_unpinned(&repo.store, |catalog| {
        let record = catalog.get(id)?;
        let mut tally = Tally::new(&repo.store, 2);
        let blocks = tally.add(None, &record, progress)?;
        let these = [record.manifest_key()];
        each_other(&repo.store, catalog, &these, &mut |other| tally.mark(OTHERS, other, progress))?;
        Ok((record, blocks, own_of_these(&tally, progress)?))
    })
}

fn own_of_these(tally: &Tally<'_>, progress: &dyn Progress) -> Result<Own> {
    Ok(tally.sums(progress)?.own.first().copied().unwrap_or_default())
}
