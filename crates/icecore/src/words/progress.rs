//! Progress of operations, for callers that show it.

/// A counter of a running operation, in bytes unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Data of the image (without holes) scanned so far.
    Scanned,
    /// Data of the image that is new to the repository.
    New,
    /// Bytes written to packs, after compression.
    Stored,
    /// Data of the snapshot restored so far.
    Restored,
    /// Bytes of packs or manifests checked so far.
    Checked,
    /// Pages of manifests visited; not bytes.
    Pages,
    /// Bytes of packs rewritten so far.
    Rewritten,
    /// Bytes of packs read so far to compute their parity.
    Protected,
    /// Stored bytes brought near so far.
    Fetched,
}

/// A receiver of an operation's progress, which may stop it. Many threads call it.
pub trait Progress: Sync {
    /// Reports the total that `meter` will reach, as far as it is known; may be called again with a
    /// better value.
    fn total(&self, meter: Meter, total: u64);

    /// Reports that `meter` advanced by `amount`.
    fn advance(&self, meter: Meter, amount: u64);

    /// Returns whether the operation should stop as soon as it can do so cleanly.
    fn cancelled(&self) -> bool {
        false
    }

    /// Returns whether the operation's time is over: it then ends soon, cleanly, with what it has
    /// done. Operations that can be done in parts ask this, such as
    /// `verify_and_note`.
    fn time_is_up(&self) -> bool {
        false
    }
}

/// A receiver that shows nothing and never stops an operation.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn total(&self, _meter: Meter, _total: u64) {}
    fn advance(&self, _meter: Meter, _amount: u64) {}
}
