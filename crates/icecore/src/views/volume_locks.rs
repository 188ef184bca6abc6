//! The locks of an open volume within its process, and the order in which they are taken.
//!
//! A thread that holds one of them takes only those that come behind it in this list:
//!
//! 1. `snapshots`, as long as a snapshot is taken;
//! 2. the repository's `commit`, where the snapshot takes the place of what it was made of;
//! 3. `published`, from the change of the record until the stack is what the record says;
//! 4. `turn`, by whoever waits to change the stack;
//! 5. `stack`, shared by whoever reads or writes, alone for the moment in which it changes;
//! 6. one of the stripes, by whoever changes which blocks of a region an overlay has.

use std::sync::Arc;
use std::sync::PoisonError;

use crate::format::volume::VolumeRecord;
use crate::stores::volumes::overlay::Overlay;
use crate::views::stack::Stack;
use crate::words::sizes::to_usize;
use crate::words::sync::Mutex;
use crate::words::sync::MutexGuard;
use crate::words::sync::RwLock;
use crate::words::sync::RwLockReadGuard;
use crate::words::sync::RwLockWriteGuard;
use crate::words::units::LeafNumber;

/// Regions of 4 MiB whose numbers differ by less than this can be written to at the same time.
const STRIPES: usize = 64;

/// What threads share of an open volume.
pub(super) struct VolumeLocks {
    snapshots: Mutex<()>,
    published: Mutex<Published>,
    /// What takes several steps goes through here between two of them: a lock that is let go and
    /// taken again at once might never be had by another thread.
    turn: Mutex<()>,
    /// What is read and written now.
    stack: RwLock<Stack>,
    stripes: [Mutex<()>; STRIPES],
}

/// What the medium knows of a volume.
pub(super) struct Published {
    /// The record, as it was last published.
    pub(super) record: VolumeRecord,
    /// An overlay with nothing in it that is not used yet: the newest that the record names, or the
    /// one that comes next.
    pub(super) spare: Option<Arc<Overlay>>,
    /// Whether the record on the medium may be one that leaves out overlays of the stack, since it
    /// could not be said whether it was replaced. These take no writes then.
    pub(super) in_doubt: bool,
}

impl VolumeLocks {
    pub(super) fn new(record: VolumeRecord, stack: Stack) -> Self {
        Self {
            snapshots: Mutex::default(),
            published: Mutex::new(Published { record, spare: None, in_doubt: false }),
            turn: Mutex::default(),
            stack: RwLock::new(stack),
            stripes: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Keeps others from taking a snapshot meanwhile.
    pub(super) fn one_snapshot(&self) -> MutexGuard<'_, ()> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stack(&self) -> RwLockReadGuard<'_, Stack> {
        self.stack.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn, and until nobody reads or writes.
    pub(super) fn stack_mut(&self) -> RwLockWriteGuard<'_, Stack> {
        let _turn = self.turn();
        self.stack.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps others from writing to a region.
    pub(super) fn stripe(&self, region: LeafNumber) -> MutexGuard<'_, ()> {
        self.stripes[to_usize(region.0) % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether somebody waits to change the stack, or changes it.
    #[cfg(test)]
    pub(super) fn is_awaited(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// Calls `look` with the stack, if nobody changes it or waits to.
    #[cfg(test)]
    pub(super) fn try_stack(&self, look: impl FnOnce(&Stack) -> bool) -> bool {
        self.stack.try_read().is_ok_and(|stack| look(&stack))
    }
}
