//! Snapshots of an open volume. A snapshot seals the written overlays; they are folded into it, or
//! unsealed again.
//!
//! The record that names the new overlay is published before the overlay takes writes. While the
//! overlay is unused, the stack shows the same with it and without it. So a seal that fails, or a
//! crash, leaves nothing to undo on the medium.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::format::layout;
use crate::format::record::Record;
use crate::format::volume::SEALED_MAX;
use crate::stores::config;
use crate::stores::volumes::overlay::Overlay;
use crate::views::cache::BlockCache;
use crate::views::stack::Stack;
use crate::views::volume::Volume;
use crate::views::volume::disk_of;
use crate::views::volume_locks::Published;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;

/// The volume as it was at one moment, for a snapshot.
pub(crate) struct Frozen {
    /// The number of the snapshot among those of this volume.
    pub(crate) number: u64,
    /// The image to read. It reads its base through a cache beside the volume's: data that it reads
    /// once does not displace data that clients return to.
    pub(crate) image: Stack,
    pub(crate) base: Option<Record>,
}

impl Frozen {
    /// Returns the numbers of the overlays that the snapshot takes in; empty if nothing was
    /// written.
    fn sealed(&self) -> Vec<u64> {
        self.image.overlays.iter().map(|overlay| overlay.number).collect()
    }

    /// Tells whether the snapshot's image differs from the volume's base.
    pub(crate) fn has_changed(&self) -> bool {
        let grown = self.base.as_ref().is_some_and(|base| base.size_bytes < self.image.size_bytes);
        grown || !self.image.overlays.is_empty()
    }
}

impl Volume {
    /// Seals everything written so far: it no longer changes, and a new overlay takes the writes
    /// from now on. Readers and writers wait only for a moment in memory. The caller keeps others
    /// from taking a snapshot, and calls [`fold`](Self::fold) or [`thaw`](Self::thaw) at the end.
    pub(crate) fn freeze(&self) -> Result<Frozen> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let frozen = self.try_freeze(number);
        if frozen.is_err() {
            self.thaw();
        }
        frozen
    }

    fn try_freeze(&self, number: u64) -> Result<Frozen> {
        let mut published = self.locks.published();
        let is_sealed = {
            let stack = self.locks.stack();
            stack.newest().is_unused() && stack.newest().number == published.record.active
        };
        let next = if is_sealed { None } else { Some(self.next_overlay(&mut published, number)?) };
        let base = published.record.base.clone();
        let apart = disk_of(&self.repo, base.as_ref(), &BlockCache::beside(&self.cache))?;
        let image = {
            let mut stack = self.locks.stack_mut();
            if let Some(next) = next {
                stack.overlays.insert(0, next);
                published.spare = None;
            }
            stack.frozen = Some(number);
            let below = stack.below();
            Stack { base: apart.or(below.base), ..below }
        };
        // If this fails, the medium may hold anything, and the snapshot would read that.
        image.sync().map_err(|error| {
            Error::stored_io(format!("sealing the writes to volume {}", self.name), error)
        })?;
        Ok(Frozen { number, image, base })
    }

    /// Returns an unused overlay that the record on the medium names as the newest.
    fn next_overlay(&self, published: &mut Published, number: u64) -> Result<Arc<Overlay>> {
        if let Some(spare) = &published.spare
            && spare.number == published.record.active
        {
            return Ok(Arc::clone(spare));
        }
        if published.record.sealed.len() >= SEALED_MAX {
            self.merge(published, number)?;
        }
        let files = self.repo.files();
        let mut record = published.record.clone();
        record.sealed.push(record.active);
        record.active += 1;
        let next = match &published.spare {
            Some(spare) => Arc::clone(spare),
            None => {
                // A crash may have undone a seal and left an overlay of this number, with a
                // non-empty map.
                Overlay::remove_files(files, &self.name, |left| left == record.active).map_err(|error| {
                    Error::stored_io(format!("removing old files of volume {}", self.name), error)
                })?;
                let next = Arc::new(Overlay::create(files, &record, record.active)?);
                files.sync_local(&layout::volume_dir(&files.volume_key(&self.name)))?;
                // From here on the record may name it, even if the next step fails.
                published.spare = Some(Arc::clone(&next));
                next
            }
        };
        self.publish(published, record)?;
        Ok(next)
    }

    /// Merges two adjacent overlays when the record can name no more of them.
    fn merge(&self, published: &mut Published, number: u64) -> Result<()> {
        let overlays = {
            let mut stack = self.locks.stack_mut();
            stack.frozen = Some(number);
            stack.below().overlays
        };
        let pairs = overlays.windows(2).filter_map(|pair| <&[Arc<Overlay>; 2]>::try_from(pair).ok());
        let Some([upper, lower]) = pairs.min_by_key(|[upper, _]| upper.data_blocks()) else { return Ok(()) };
        upper
            .pour_into(lower)
            .map_err(|error| Error::stored_io(format!("merging overlays of volume {}", self.name), error))?;
        let mut record = published.record.clone();
        record.sealed.retain(|sealed| *sealed != upper.number);
        self.publish(published, record)?;
        self.locks.stack_mut().overlays.retain(|overlay| overlay.number != upper.number);
        // Whatever this leaves is removed at the next opening of the volume.
        let _ = Overlay::remove_files(self.repo.files(), &self.name, |number| number == upper.number);
        Ok(())
    }

    /// Lets the sealed overlays take writes again, because no snapshot reads them.
    pub(crate) fn thaw(&self) {
        let mut published = self.locks.published();
        if !self.names_all(&mut published) {
            return;
        }
        let mut stack = self.locks.stack_mut();
        stack.frozen = None;
        if stack.overlays.len() > 1 && stack.newest().is_unused() {
            published.spare = Some(stack.overlays.remove(0));
        }
    }

    /// Puts a snapshot of the volume in place of the overlays that it took in and of everything
    /// below them. If the snapshot was deleted meanwhile, or there is no space to record it, the
    /// volume stays as it is.
    pub(crate) fn fold(&self, frozen: &Frozen, snapshot: SnapshotId) -> Result<()> {
        let folded = self.try_fold(frozen, snapshot);
        if folded.is_err() {
            self.thaw();
        }
        match folded {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NoSpace) => Ok(()),
            folded => folded,
        }
    }

    fn try_fold(&self, frozen: &Frozen, snapshot: SnapshotId) -> Result<()> {
        let files = self.repo.files();
        let sealed = frozen.sealed();
        let snapshot = self.repo.catalog()?.get(snapshot)?;
        let disk = disk_of(&self.repo, Some(&snapshot), &self.cache)?;
        {
            config::check_again(files)?;
            let catalog = self.repo.catalog()?;
            let mut published = self.locks.published();
            let mut record = published.record.clone();
            // The entry of the snapshot says that the volume stands on it, so gc keeps what it
            // needs even if it was deleted meanwhile.
            let stood = catalog.volumes().get(&record.id).filter(|stood| {
                stood.of.bases.iter().any(|base| base.manifest_key() == snapshot.manifest_key())
            });
            let Some(stood) = stood else {
                let message = format!("snapshot {} was replaced by a different one", snapshot.id);
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            record.stands_at = stood.number;
            record.base = Some(snapshot);
            // This clears them all: nothing is sealed during a snapshot.
            record.sealed.clear();
            match self.publish(&mut published, record.clone()) {
                // This frees more space than the reserve holds.
                Err(error) if error.kind() == ErrorKind::NoSpace && files.give_back_reserve()? => {
                    self.publish(&mut published, record)?;
                }
                published => published?,
            }
            let mut stack = self.locks.stack_mut();
            stack.overlays.retain(|overlay| !sealed.contains(&overlay.number));
            stack.base = disk;
            stack.frozen = None;
        }
        // Whatever this leaves is removed at the next opening of the volume.
        let _ = Overlay::remove_files(files, &self.name, |number| sealed.contains(&number));
        Ok(())
    }
}
