//! A session: an export as one client uses it.

use std::sync::Arc;

use crate::disk::Disk;
use crate::wire::transmission;

/// The metadata context that every export has.
pub(crate) const ALLOCATION: &str = "base:allocation";

/// The agreement with a client.
pub(crate) struct Session {
    /// The name as the client gave it.
    pub(crate) export: String,
    pub(crate) disk: Arc<dyn Disk>,
    /// The size reported to the client, in bytes.
    pub(crate) size: u64,
    /// Whether replies have chunks.
    pub(crate) structured: bool,
    /// The metadata contexts that the client selected: number and name.
    pub(crate) contexts: Vec<(u32, &'static str)>,
}

/// Returns the flags that tell clients what they may do with a disk.
pub(crate) fn flags(disk: &dyn Disk) -> u16 {
    use transmission as can;
    // All connections see the same disk, and a flush covers the whole disk.
    let all = can::HAS_FLAGS | can::SEND_FLUSH | can::SEND_DF | can::CAN_MULTI_CONN | can::SEND_CACHE;
    let written = match disk.writable() {
        Some(_) => can::SEND_FUA | can::SEND_TRIM | can::SEND_WRITE_ZEROES,
        None => can::READ_ONLY,
    };
    all | written
}

/// Returns numbers and names of the contexts of a disk.
pub(crate) fn contexts(disk: &dyn Disk) -> impl Iterator<Item = (u32, &'static str)> {
    (1..).zip([ALLOCATION].into_iter().chain(disk.contexts().iter().copied()))
}
