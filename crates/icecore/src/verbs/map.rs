//! Map: the parts of an image that hold data, that other snapshots share, and that changed since
//! another snapshot.

use std::ops::Range;

use crate::format::record::ManifestKey;
use crate::repository::Repository;
use crate::stores::live_records::pinned;
use crate::stores::manifest::cursor::each_leaf;
use crate::stores::manifest::shared_blocks::SharedBlocks;
use crate::verbs::catalog::Snapshot;
use crate::verbs::diff::ChangedRange;
use crate::verbs::diff::diff;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::progress::Progress;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;
use crate::words::units::block_bytes;

/// The most cells of a map.
pub const MAP_CELLS_MAX: usize = 1 << 16;

/// A part of an image, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapCell {
    /// The bytes of 4 KiB blocks that are not zero. The image's last block may be shorter.
    pub data_bytes: u64,
    /// The part of that data that is also in use elsewhere: other snapshots name it in their
    /// manifests, anywhere in their images, or volumes are based on it.
    pub shared_bytes: u64,
    /// The bytes that are other data, or zeros, than in the snapshot compared with; 0 if there is
    /// none. As in a diff, everything beyond the end of that snapshot is new.
    pub changed_bytes: u64,
}

/// An image, divided into cells of equal size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMap {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The snapshot that it was compared with.
    pub against: Option<Snapshot>,
    /// The size of a cell, a multiple of 4 KiB. The last one ends with the image.
    pub cell_bytes: u64,
    /// The cells, in order; an empty image has none.
    pub cells: Vec<MapCell>,
}

impl ImageMap {
    /// Returns the sum of all cells.
    pub fn total(&self) -> MapCell {
        self.cells.iter().fold(MapCell::default(), |sum, cell| MapCell {
            data_bytes: sum.data_bytes + cell.data_bytes,
            shared_bytes: sum.shared_bytes + cell.shared_bytes,
            changed_bytes: sum.changed_bytes + cell.changed_bytes,
        })
    }

    /// Adds a range of the image to the cells that it touches.
    fn add(&mut self, range: Range<u64>, to: impl Fn(&mut MapCell) -> &mut u64) {
        let mut begin = range.start;
        let end = range.end.min(self.snapshot.size_bytes);
        while begin < end {
            let number = begin / self.cell_bytes;
            let part_end = end.min((number + 1) * self.cell_bytes);
            if let Some(cell) = self.cells.get_mut(to_usize(number)) {
                *to(cell) += part_end - begin;
            }
            begin = part_end;
        }
    }
}

/// The options of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapOptions {
    /// The most cells: 1 to [`MAP_CELLS_MAX`].
    pub cells: usize,
    /// The snapshot to compare with.
    pub against: Option<SnapshotId>,
    /// Whether to read all other snapshots to find shared data. Without it, nothing counts as
    /// shared.
    pub sharing: bool,
}

/// Draws the map of a snapshot. Reads manifests and no data. To find shared blocks, it reads the
/// manifests of the whole repository: each page once, or once for each 96 GiB of data in the image.
///
/// Snapshots that are created or deleted meanwhile may or may not be counted.
///
/// # Errors
/// `InvalidInput` for an invalid number of cells; `NotFound` if there is no such snapshot;
/// `Corrupt` if a record cannot be read or part of a manifest is missing; `Interrupted` if
/// `progress` says so.
pub fn image_map(
    repo: &Repository,
    id: SnapshotId,
    options: &MapOptions,
    progress: &dyn Progress,
) -> Result<ImageMap> {
    let cells = options.cells;
    if !(1..=MAP_CELLS_MAX).contains(&cells) {
        let message = format!("cannot draw a map of {cells} cells");
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint(format!("choose 1 to {MAP_CELLS_MAX} cells")));
    }
    let (_pin, record) = pinned(&repo.store, id)?;
    let cell_bytes =
        record.size_bytes.div_ceil(to_u64(cells)).next_multiple_of(block_bytes(1)).max(block_bytes(1));
    let mut map = ImageMap {
        snapshot: record.clone(),
        against: None,
        cell_bytes,
        cells: vec![MapCell::default(); to_usize(record.size_bytes.div_ceil(cell_bytes))],
    };
    if let Some(other) = options.against {
        map.against = Some(repo.catalog()?.get(other)?);
        diff(repo, other, id, &mut |range: ChangedRange| {
            // Ranges that are gone lie beyond the last cell.
            map.add(range.offset..range.offset + range.bytes, |cell| &mut cell.changed_bytes);
            go_on(progress)
        })?;
    }
    let share = |sharing: SharedBlocks, map: &mut ImageMap| {
        if options.sharing { share(repo, record.manifest_key(), map, sharing, progress) } else { Ok(()) }
    };
    let mut sharing = SharedBlocks::default();
    each_leaf(&repo.store, &record, &mut |_| true, &mut |number, leaf| {
        go_on(progress)?;
        sharing.add(number, leaf, |range| map.add(range, |cell| &mut cell.data_bytes));
        if sharing.is_full() { share(std::mem::take(&mut sharing), &mut map) } else { Ok(()) }
    })?;
    share(sharing, &mut map)?;
    Ok(map)
}

fn go_on(progress: &dyn Progress) -> Result<()> {
    if progress.cancelled() { Err(Error::interrupted()) } else { Ok(()) }
}

/// Adds the blocks, of those walked so far, that others have too.
fn share(
    repo: &Repository,
    of: ManifestKey,
    map: &mut ImageMap,
    mut sharing: SharedBlocks,
    progress: &dyn Progress,
) -> Result<()> {
    sharing.mark_others(&repo.store, of, &|| go_on(progress))?;
    sharing.each_shared(|range| map.add(range, |cell| &mut cell.shared_bytes));
    Ok(())
}
