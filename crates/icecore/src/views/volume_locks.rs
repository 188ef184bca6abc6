//! The locks of an open volume within its process, and the order in which threads take them.
//!
//! A thread that holds one of them takes only those further down this list:
//!
//! 1. `snapshots`, while a snapshot is taken;
//! 2. `published`, from the change of the record until the stack matches the record;
//! 3. `turn`, by a thread that waits to change the stack;
//! 4. `stack`, shared by threads that read or write, exclusive for the moment of a change;
//! 5. one of the stripes, by a thread that changes which blocks of a region an overlay has.

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

/// The number of stripes: two regions whose numbers differ by less can be written at once.
const STRIPES: usize = 64;

/// The state of an open volume that its threads share.
pub(super) struct VolumeLocks {
    snapshots: Mutex<()>,
    published: Mutex<Published>,
    /// A request of several steps passes through here between two of them. Without this, a thread
    /// that releases `stack` and takes it again at once could keep all others out.
    turn: Mutex<()>,
    /// The stack that requests read and write now.
    stack: RwLock<Stack>,
    stripes: [Mutex<()>; STRIPES],
}

/// The state of a volume on the medium.
pub(super) struct Published {
    /// The record last published.
    pub(super) record: VolumeRecord,
    /// An empty overlay that is not used yet: the newest that the record names, or the next one.
    pub(super) spare: Option<Arc<Overlay>>,
    /// Whether the record on the medium may leave out overlays of the stack, because a failed
    /// publication may have replaced it or not. These overlays take no writes then.
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

    /// Keeps others from taking a snapshot while the guard lives.
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

    /// Waits for its turn, and until no thread reads or writes.
    pub(super) fn stack_mut(&self) -> RwLockWriteGuard<'_, Stack> {
        let _turn = self.turn();
        self.stack.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other threads from writing to a region.
    pub(super) fn stripe(&self, region: LeafNumber) -> MutexGuard<'_, ()> {
        self.stripes[to_usize(region.0) % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a thread changes the stack or waits to.
    #[cfg(test)]
    pub(super) fn is_awaited(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// Calls `look` with the stack, if no thread changes it or waits to.
    #[cfg(test)]
    pub(super) fn try_stack(&self, look: impl FnOnce(&Stack) -> bool) -> bool {
        self.stack.try_read().is_ok_and(|stack| look(&stack))
    }
}
