//! What a restore tells of itself.

/// What a restore did, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// The size of the snapshot's image.
    pub image_bytes: u64,
    /// Data in it.
    pub data_bytes: u64,
    /// Data written to the target.
    pub written_bytes: u64,
    /// Data in the target that was right already.
    pub kept_bytes: u64,
    /// Bytes of the target that were made zero: what was not, and of a device also large regions that it makes zero unread.
    pub zeroed_bytes: u64,
    /// Stored bytes read from packs.
    pub stored_bytes_read: u64,
    /// Packs that were missing or damaged and that parity put back in order.
    pub packs_healed: u64,
}
