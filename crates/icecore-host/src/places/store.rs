//! What a store keeps.

/// What a store keeps of what a repository with several machines needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// Whether of several objects of one name one is made, is read as it was written, and is in the
    /// list at once. Otherwise one machine only may write.
    pub many_may_write: bool,
    /// Whether the credentials may delete.
    pub may_delete: bool,
    /// Whether it keeps objects for a time, whoever wants to delete them.
    pub retains: bool,
}
