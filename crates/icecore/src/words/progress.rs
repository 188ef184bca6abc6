//! How far an operation has come, told to whoever wants to show it.

/// What is counted while an operation runs, in bytes unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Of the image's data (what is not a hole), scanned so far.
    Scanned,
    /// Of the image's data, new to the repository.
    New,
    /// Written to packs, after compression.
    Stored,
    /// Of the snapshot's data, restored so far.
    Restored,
    /// Of packs or manifests, checked so far.
    Checked,
    /// Pages of manifests visited; not bytes.
    Pages,
    /// Of packs, rewritten so far.
    Rewritten,
    /// Of packs, read so far to make their parity.
    Protected,
}

/// Receives counts from an operation, and may stop it. Called from many threads.
pub trait Progress: Sync {
    /// Tells the total that `meter` will reach, as far as it is known; may be called again when it is known better.
    fn total(&self, meter: Meter, total: u64);

    /// Tells that `meter` went on by `amount`.
    fn advance(&self, meter: Meter, amount: u64);

    /// Tells whether the operation should stop as soon as it can leave things in order.
    fn cancelled(&self) -> bool {
        false
    }

    /// Tells whether the time that the operation was given is over: it ends soon then, in order, with what it has done.
    /// Asked by operations that can be done in parts, as [`verify_and_note`](crate::verify_and_note).
    fn time_is_up(&self) -> bool {
        false
    }
}

/// Shows nothing and never stops anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}
}
