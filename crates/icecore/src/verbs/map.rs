//! Map: where in an image data is, what of it other snapshots have too, and what changed since another one.

use std::ops::Range;

use crate::format::page::Leaf;
use crate::format::page::PageRef;
use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::chunks::Store;
use crate::stores::manifest::load_leaf;
use crate::stores::pinned::name_snapshot;
use crate::stores::pinned::pinned;
use crate::stores::records;
use crate::stores::sharing::Sharing;
use crate::stores::walk::Visitor;
use crate::stores::walk::walk;
use crate::verbs::catalog::Snapshot;
use crate::verbs::diff::ChangedRange;
use crate::verbs::diff::diff;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PageId;
use crate::words::ids::SnapshotId;
use crate::words::sizes::BLOCK_U64;
use crate::words::sizes::to_u64;
use crate::words::sizes::to_usize;

/// The most cells that a map can have.
pub const MAP_CELLS_MAX: usize = 1 << 16;
/// How many chunks are looked at together: 128 GiB of data, and 40 bytes of memory for each. Of a larger image, the other manifests are
/// read more than once.
const CHUNKS_MAX: usize = 1 << 21;
/// How many leaves are looked at together: 256 GiB of the image.
const LEAVES_MAX: usize = 1 << 16;

/// A part of an image, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MapCell {
    /// Blocks of 4 KiB that are not zero. The last one of the image may be shorter.
    pub data_bytes: u64,
    /// What of that other snapshots name in their manifests too, anywhere in their images, or what volumes stand on.
    pub shared_bytes: u64,
    /// What is other data, or zeros, than in the snapshot that it was compared with; 0 if there is none.
    pub changed_bytes: u64,
}

/// An image, divided into cells of equal size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMap {
    /// Of which snapshot.
    pub snapshot: Snapshot,
    /// The one that it was compared with.
    pub against: Option<Snapshot>,
    /// The size of a cell, a multiple of 4 KiB. The last one ends with the image.
    pub cell_bytes: u64,
    /// The cells, in order; none of an empty image.
    pub cells: Vec<MapCell>,
}

impl ImageMap {
    /// Returns all cells together.
    pub fn total(&self) -> MapCell {
        self.cells.iter().fold(MapCell::default(), |sum, cell| MapCell {
            data_bytes: sum.data_bytes + cell.data_bytes,
            shared_bytes: sum.shared_bytes + cell.shared_bytes,
            changed_bytes: sum.changed_bytes + cell.changed_bytes,
        })
    }

    /// Adds bytes of the image to the cells that they are in.
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

/// Draws the map of a snapshot in up to `cells` cells, 1 to [`MAP_CELLS_MAX`], and compares it with another snapshot if one is given.
/// Reads the manifests of the repository, each page once or twice, and no data.
///
/// Snapshots that are made or deleted meanwhile may be left out or counted.
///
/// # Errors
/// `InvalidInput` for another number of cells; `NotFound` if there is no such snapshot; `Corrupt` if a record cannot be read or something
/// of a manifest is missing.
pub fn image_map(
    repo: &Repository,
    id: SnapshotId,
    cells: usize,
    against: Option<SnapshotId>,
) -> Result<ImageMap> {
    if !(1..=MAP_CELLS_MAX).contains(&cells) {
        let message = format!("a map of {cells} cells cannot be drawn");
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint(format!("choose 1 to {MAP_CELLS_MAX} cells")));
    }
    let (_pin, record) = pinned(&repo.store, id)?;
    let cell_bytes = record.size_bytes.div_ceil(to_u64(cells)).next_multiple_of(BLOCK_U64).max(BLOCK_U64);
    let mut map = ImageMap {
        snapshot: Snapshot::from(record.clone()),
        against: None,
        cell_bytes,
        cells: vec![MapCell::default(); to_usize(record.size_bytes.div_ceil(cell_bytes))],
    };
    if let Some(other) = against {
        map.against = Some(records::load(repo.base(), other)?.into());
        diff(repo, other, id, &mut |range: ChangedRange| {
            // What is gone is behind the last cell.
            map.add(range.offset..range.offset + range.bytes, |cell| &mut cell.changed_bytes);
            Ok(())
        })?;
    }
    let mut drawing =
        Drawing { store: &repo.store, record: &record, map, sharing: Sharing::default(), leaves: Vec::new() };
    walk(&repo.store, &record, &mut drawing).map_err(|error| name_snapshot(&record, error))?;
    drawing.share()?;
    Ok(drawing.map)
}

struct Drawing<'a> {
    store: &'a Store,
    record: &'a Record,
    map: ImageMap,
    /// The blocks of the leaves that follow.
    sharing: Sharing,
    /// Leaves of which the shared blocks are not yet in the map, each with its offset in the image.
    leaves: Vec<(u64, PageId)>,
}

impl Drawing<'_> {
    /// Adds what others share of the leaves that were gone through.
    fn share(&mut self) -> Result<()> {
        let mut sharing = std::mem::take(&mut self.sharing);
        sharing.mark_others(self.store, self.record.id)?;
        let leaves = std::mem::take(&mut self.leaves);
        if !sharing.is_any_shared() {
            return Ok(());
        }
        for (offset, page) in leaves {
            let leaf = load_leaf(self.store, &page).map_err(|error| name_snapshot(self.record, error))?;
            sharing.each_shared(&leaf, |blocks| {
                self.map.add(bytes_of(offset, &blocks), |cell| &mut cell.shared_bytes);
            });
        }
        Ok(())
    }
}

impl Visitor for Drawing<'_> {
    fn enter(&mut self, _page: &PageRef, _range: &Range<u64>) -> Result<bool> {
        Ok(true)
    }

    fn leaf(&mut self, page: &PageRef, leaf: &Leaf, offset: u64) -> Result<()> {
        let map = &mut self.map;
        self.sharing.add(leaf, |blocks| map.add(bytes_of(offset, &blocks), |cell| &mut cell.data_bytes));
        self.leaves.push((offset, page.id));
        match self.sharing.len() >= CHUNKS_MAX || self.leaves.len() >= LEAVES_MAX {
            true => self.share(),
            false => Ok(()),
        }
    }

    fn broken(&mut self, _page: &PageRef, _range: &Range<u64>, error: Error) -> Result<()> {
        Err(error)
    }
}

/// Returns where blocks of a leaf are in the image.
fn bytes_of(leaf_offset: u64, blocks: &Range<u16>) -> Range<u64> {
    leaf_offset + u64::from(blocks.start) * BLOCK_U64..leaf_offset + u64::from(blocks.end) * BLOCK_U64
}
