//! What is served: disks, and where they come from.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use icecore::image::ReadAt;
use icecore::image::WriteAt;

/// The content of one export. Its length must not change while it is open.
pub trait Disk: ReadAt {
    /// Returns how it is written, or none for an export that is only read.
    fn writable(&self) -> Option<&dyn WriteAt>;

    /// Returns the names of metadata contexts beside `base:allocation`, such as `icecore:dirty`.
    fn contexts(&self) -> &[&'static str] {
        &[]
    }

    /// Returns extents (length in bytes, flags) in one of [`contexts`](Self::contexts): at least one, the first beginning
    /// where `range` does. They may end before `range` does, or after.
    fn status(&self, context: &str, range: Range<u64>) -> io::Result<Vec<(u64, u32)>>;
}

/// An export as clients see it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportName {
    /// What clients call it.
    pub name: String,
    /// What people should know of it; may be empty.
    pub description: String,
}

/// Why an export is not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// There is none of that name.
    Unknown,
    /// There is one, and it is not for this client. The text is for the client.
    Denied(String),
    /// There is one, and it cannot be opened. The text is for the client.
    Failed(String),
}

/// All exports.
pub trait Exports: Send + Sync {
    /// Returns the exports to be listed.
    fn list(&self) -> Vec<ExportName>;

    /// Opens an export. The empty name is that of the default export.
    fn open(&self, name: &str) -> Result<Arc<dyn Disk>, OpenError>;
}
