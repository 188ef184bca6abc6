//! Snapshots of an open volume: what was written is sealed for one, and folded into it or taken
//! back.
//!
//! The record that names the new overlay is published before that takes writes, and while it is
//! unused the two ways to see the stack, with it and without, are the same. So a seal that fails,
//! or a crash, leaves nothing to undo on the medium.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::format::layout;
use crate::format::record::Record;
use crate::format::volume::SEALED_MAX;
use crate::stores::locks;
use crate::stores::records;
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

/// The volume as it was at a moment, for a snapshot.
pub(crate) struct Frozen {
    /// The number of the snapshot among those of this volume.
    pub(crate) number: u64,
    /// Reads its base beside the cache of the volume: what it reads once does not displace what
    /// clients come back to.
    pub(crate) image: Stack,
    pub(crate) base: Option<Record>,
}

impl Frozen {
    /// Returns the numbers of the overlays that the snapshot takes in; none where nothing was
    /// written.
    fn sealed(&self) -> Vec<u64> {
        self.image.overlays.iter().map(|overlay| overlay.number).collect()
    }

    /// Tells whether the snapshot is another image than what the volume stood on.
    pub(crate) fn has_changed(&self) -> bool {
        let grown = self.base.as_ref().is_some_and(|base| base.size_bytes < self.image.size_bytes);
        grown || !self.image.overlays.is_empty()
    }
}

impl Volume {
    /// Seals what was written so far: it does not change any more, and a new overlay takes what is
    /// written from now on. Who reads or writes meanwhile waits for a moment in memory only. The
    /// caller keeps others from taking a snapshot, and calls [`fold`](Self::fold) or
    /// [`thaw`](Self::thaw) at the end.
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
        // What cannot be synced may be anything on the medium, and so it may be when the snapshot
        // reads it.
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
                // One of this number may be left of a seal that a crash has undone, with a map that
                // says something.
                Overlay::remove_files(&*files.storage, &self.name, |left| left == record.active).map_err(
                    |error| Error::stored_io(format!("removing old files of volume {}", self.name), error),
                )?;
                let next = Arc::new(Overlay::create(&files.storage, &self.name, record.active)?);
                files.sync_dir(&layout::volume_dir(&self.name))?;
                // From here on the record may name it, whatever the result of the next step says.
                published.spare = Some(Arc::clone(&next));
                next
            }
        };
        self.publish(published, record)?;
        Ok(next)
    }

    /// Makes one of two overlays that follow each other, where the record can name no more of them.
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
        // What stays is removed when the volume is opened the next time.
        let _ =
            Overlay::remove_files(&*self.repo.files().storage, &self.name, |number| number == upper.number);
        Ok(())
    }

    /// Lets what was sealed take writes again: there is no snapshot that reads it.
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

    /// Puts a snapshot of the volume in the place of the overlays that it has taken in, and of what
    /// lay below them. Where the snapshot was deleted meanwhile, or there is no room to note it,
    /// the volume stays as it is.
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
        let snapshot = records::load(files, snapshot)?;
        let disk = disk_of(&self.repo, Some(&snapshot), &self.cache)?;
        {
            let _commit = locks::lock_commit(files)?;
            // While it has a record, gc keeps what it needs; once the volume has it, too.
            if records::load(files, snapshot.id)?.root != snapshot.root {
                let message = format!("snapshot {} was replaced by a different one", snapshot.id);
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            let mut published = self.locks.published();
            let mut record = published.record.clone();
            record.base = Some(snapshot);
            // All of them: nothing is sealed while a snapshot is taken.
            record.sealed.clear();
            match self.publish(&mut published, record.clone()) {
                // What goes now is more than what the reserve has.
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
        // What stays is removed when the volume is opened the next time.
        let _ = Overlay::remove_files(&*files.storage, &self.name, |number| sealed.contains(&number));
        Ok(())
    }
}
