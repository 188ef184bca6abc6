//! Who is at work on a repository. It saves work, and keeps from deletion what somebody reads; what
//! the catalog says never depends on it.

use std::io;

use crate::format::layout;
use crate::words::ids::SnapshotId;
use crate::world::storage::LockGuard;
use crate::world::storage::LockMode;
use crate::world::storage::Wait;

/// Work that one session does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Committing an entry of the journal.
    Commit,
    /// Changing the notes of verifications.
    Notes,
    /// Gc or a repair.
    Gc,
    /// Putting small packs together, which is short, and keeps gc and repairs waiting.
    Join,
    /// Replacing index runs.
    Index,
    /// Merging index runs, until the merged ones are removed.
    Merge,
    /// Putting packs with parity into other groups.
    Parity,
}

impl Work {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Commit, Self::Notes, Self::Gc, Self::Join, Self::Index, Self::Merge, Self::Parity];
}

/// What a session lays claim to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim<'a> {
    /// To be the only one that does some work.
    Only(Work),
    /// A volume, to use or change it.
    Volume(&'a str),
    /// The record of a volume, to replace it.
    VolumeRecord(&'a str),
    /// To be a living writer, by the name of the session. It announces packs by appending their ids.
    Writer(&'a str),
    /// A snapshot: readers share it, its deletion needs it alone.
    Snapshot(SnapshotId),
}

impl Claim<'_> {
    /// Returns the file that is locked in a directory.
    pub(crate) fn file(self) -> String {
        match self {
            Self::Only(Work::Commit) => layout::lock("journal"),
            Self::Only(Work::Notes) => layout::lock("notes"),
            Self::Only(Work::Gc) => layout::lock("gc"),
            Self::Only(Work::Join) => layout::lock("join"),
            Self::Only(Work::Index) => layout::lock("index"),
            Self::Only(Work::Merge) => layout::lock("merge"),
            Self::Only(Work::Parity) => layout::lock("parity"),
            Self::Volume(name) => layout::lock(&format!("volume-{name}")),
            Self::VolumeRecord(name) => layout::lock(&format!("record-{name}")),
            Self::Writer(session) => layout::lock(&format!("writer-{session}")),
            Self::Snapshot(id) => layout::lock(&format!("pin-{id}")),
        }
    }
}

/// The claims of sessions. The claims of a session that died are free.
pub trait Sessions: Send + Sync {
    /// Lays a claim, until the guard is dropped. None with [`Wait::No`] if another session has it.
    fn claim(&self, claim: Claim<'_>, mode: LockMode, wait: Wait) -> io::Result<Option<Box<dyn LockGuard>>>;

    /// Returns the sessions that claim to be writers. Some may be dead.
    fn writers(&self) -> io::Result<Vec<String>>;

    /// Returns what a writer has announced. `NotFound` if it has ended.
    fn announced(&self, writer: &str) -> io::Result<Vec<u8>>;

    /// Returns the traces of claims, but for those of the session `own`.
    fn traces(&self, own: &str) -> io::Result<Vec<String>>;

    /// Removes a trace, unless the claim is alive. Returns whether it did.
    fn remove_trace(&self, trace: &str) -> io::Result<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_these_files() {
        let id = SnapshotId::from([0x10; 16]);
        let name = |claim: Claim<'_>| claim.file();
        assert_eq!(
            Work::ALL.map(|work| name(Claim::Only(work))),
            ["journal", "notes", "gc", "join", "index", "merge", "parity"]
                .map(|name| format!("local/locks/{name}"))
        );
        assert_eq!(name(Claim::Volume("web-1")), "local/locks/volume-web-1");
        assert_eq!(name(Claim::VolumeRecord("web-1")), "local/locks/record-web-1");
        assert_eq!(name(Claim::Writer("session")), "local/locks/writer-session");
        assert_eq!(name(Claim::Snapshot(id)), "local/locks/pin-10101010-1010-1010-1010-101010101010");
    }
}
