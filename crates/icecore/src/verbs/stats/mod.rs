//! Stats: the contents of a repository and the cost of each snapshot.

mod kept_pages;
mod own;
mod owners;
mod tally;

use std::collections::HashSet;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::file_sizes::FileSizes;
use crate::stores::journal::catalog::Catalog;
use crate::stores::live_records::all_that_is_kept;
use crate::stores::live_records::each_below_volumes;
use crate::stores::live_records::walk_unpinned;
use crate::verbs::catalog::Snapshot;
pub use crate::verbs::stats::own::OwnBytes;
pub use crate::verbs::stats::own::own_bytes;
use crate::verbs::stats::own::own_of;
use crate::verbs::stats::tally::Own;
use crate::verbs::stats::tally::Tally;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Progress;
use crate::words::sizes::to_u64;
use crate::words::units::block_bytes;

/// The totals of all snapshots, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepositoryStats {
    /// Snapshots.
    pub snapshots: u64,
    /// The sizes of their images.
    pub logical_bytes: u64,
    /// Data in their images, excluding holes and zeros.
    pub data_bytes: u64,
    /// Unique data in them: each block counted once.
    pub unique_bytes: u64,
    /// The compressed size of the unique data in data packs.
    pub stored_bytes: u64,
    /// Manifests, pack directories, index and records.
    pub metadata_bytes: u64,
    /// Parity of packs.
    pub parity_bytes: u64,
    /// The space that volumes use: all writes since the snapshots below them.
    pub volume_bytes: u64,
    /// Chunks and pages in packs that no snapshot uses; gc can free most of it.
    pub unused_bytes: u64,
    /// All files of the repository.
    pub total_bytes: u64,
}

/// The size of one snapshot, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStats {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Data in its image.
    pub data_bytes: u64,
    /// Unique data in it: each block counted once.
    pub unique_bytes: u64,
    /// The part of the unique data that no other snapshot has.
    pub own_bytes: u64,
    /// The part of the unique data that others also have.
    pub shared_bytes: u64,
    /// The stored size of its own data in packs: about what deleting it frees.
    pub own_stored_bytes: u64,
}

impl SnapshotStats {
    /// Returns the sizes of a snapshot with this many different blocks.
    fn new(snapshot: Snapshot, blocks: u64, own: &Own) -> Self {
        Self {
            data_bytes: snapshot.stats.data_bytes,
            unique_bytes: block_bytes(blocks),
            own_bytes: block_bytes(own.blocks),
            shared_bytes: block_bytes(blocks - own.blocks.min(blocks)),
            own_stored_bytes: own.stored_bytes,
            snapshot,
        }
    }
}

/// The result of [`stats`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsReport {
    /// The totals.
    pub repository: RepositoryStats,
    /// Each snapshot, oldest first.
    pub snapshots: Vec<SnapshotStats>,
}

/// Counts the contents of the repository. Reads manifests and directories, but no data.
///
/// Snapshots that are created or deleted meanwhile may or may not be counted.
///
/// # Errors
/// `Corrupt` if a record cannot be read or something that a snapshot needs is missing;
/// `Interrupted`.
pub fn stats(repo: &Repository, progress: &dyn Progress) -> Result<StatsReport> {
    walk_unpinned(&repo.store, |catalog| stats_of(repo, catalog, progress))
}

fn stats_of(repo: &Repository, catalog: &Catalog, progress: &dyn Progress) -> Result<StatsReport> {
    let mut records = catalog.all()?;
    // Snapshots of one resource come together, so that each differs little from the one before.
    records.sort_by(|a, b| {
        let key = |record: &Record| (record.kind, record.created_unix_ms, record.id);
        a.resource.cmp(&b.resource).then_with(|| key(a).cmp(&key(b)))
    });
    let of_volumes = all_that_is_kept(&repo.store)?.len();
    let mut tally = Tally::new(&repo.store, records.len().saturating_add(of_volumes));
    let (mut counted, mut known) = (Vec::new(), HashSet::new());
    let mut before: Option<Record> = None;
    for record in records {
        let same = |other: &&Record| (other.kind, &other.resource) == (record.kind, &record.resource);
        let blocks = tally.add(before.as_ref().filter(same), &record, progress)?;
        known.insert(record.manifest_key());
        counted.push((record.clone(), blocks));
        before = Some(record);
    }
    let is_counted = |key| known.contains(&key);
    each_below_volumes(&repo.store, &is_counted, &mut |record| tally.add(None, record, progress).map(drop))?;
    let sizes = FileSizes::of(repo.files())?;
    let sums = tally.sums(progress)?;
    let mut snapshots: Vec<SnapshotStats> = counted
        .into_iter()
        .zip(sums.own)
        .map(|((snapshot, blocks), own)| SnapshotStats::new(snapshot, blocks, &own))
        .collect();
    snapshots.sort_by_key(|stats| (stats.snapshot.created_unix_ms, stats.snapshot.id));
    let repository = RepositoryStats {
        snapshots: to_u64(snapshots.len()),
        logical_bytes: sum(&snapshots, |stats| stats.snapshot.size_bytes),
        data_bytes: sum(&snapshots, |stats| stats.data_bytes),
        unique_bytes: block_bytes(sums.blocks),
        stored_bytes: sums.stored_bytes,
        metadata_bytes: sums.pack_metadata_bytes.saturating_add(sizes.metadata_bytes),
        parity_bytes: sizes.parity_bytes,
        volume_bytes: sizes.volume_bytes,
        unused_bytes: sums.unused_bytes,
        total_bytes: sizes.total_bytes(),
    };
    Ok(StatsReport { repository, snapshots })
}

/// Counts one snapshot, as [`stats`] does for all of them, but faster.
///
/// # Errors
/// `NotFound` if there is no such snapshot; `Corrupt` if a record cannot be read or something that
/// a snapshot needs is missing; `Interrupted`.
pub fn snapshot_stats(repo: &Repository, id: SnapshotId, progress: &dyn Progress) -> Result<SnapshotStats> {
    let (record, blocks, own) = own_of(repo, id, progress)?;
    Ok(SnapshotStats::new(record, blocks, &own))
}

/// Adds up values from records, which may be false.
fn sum(snapshots: &[SnapshotStats], of: impl Fn(&SnapshotStats) -> u64) -> u64 {
    snapshots.iter().map(of).fold(0, u64::saturating_add)
}
