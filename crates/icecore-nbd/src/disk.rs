//! The interface to the served disks.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use icecore::image::ReadAt;
use icecore::image::WriteAt;

/// The content of one export. Its length must not change while it is open.
pub trait Disk: ReadAt {
    /// Returns the interface for writing, or none for a read-only export.
    fn writable(&self) -> Option<&dyn WriteAt>;

    /// Returns the names of further metadata contexts than `base:allocation`, such as
    /// `icecore:dirty`.
    fn contexts(&self) -> &[&'static str] {
        &[]
    }

    /// Returns extents (length in bytes, flags) in one of [`contexts`](Self::contexts): at least
    /// one, the first beginning where `range` does. They may end before `range` does, or after.
    fn status(&self, context: &str, range: Range<u64>) -> io::Result<Vec<(u64, u32)>>;
}

/// An entry in the list of exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportName {
    /// Its name.
    pub name: String,
    /// A description for people; may be empty.
    pub description: String,
}

/// The reason why an export is not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// There is no export with that name.
    Unknown,
    /// The export exists, but not for this client. The text is for the client.
    Denied(String),
    /// The export exists, but cannot be opened. The text is for the client.
    Failed(String),
}

/// A set of exports.
pub trait Exports: Send + Sync {
    /// Returns the exports to list.
    fn list(&self) -> Vec<ExportName>;

    /// Opens an export. The empty name is that of the default export.
    fn open(&self, name: &str) -> Result<Arc<dyn Disk>, OpenError>;
}
