//! Confirmations, shown on the next page.

/// The confirmation of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Created,
    Deleted,
    Renamed,
    Resized,
    SnapshotTaken,
    Attached,
    Detached,
    Started,
    Changed,
    Offered,
}

impl Done {
    const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::Created, "created", "Created."),
        (Self::Deleted, "deleted", "Deleted."),
        (Self::Renamed, "renamed", "Renamed."),
        (Self::Resized, "resized", "Resized. Grow its file system as well."),
        (Self::SnapshotTaken, "snapshot", "The snapshot was taken."),
        (Self::Attached, "attached", "Attached."),
        (Self::Detached, "detached", "Detached."),
        (Self::Started, "started", "Started. Activity shows its progress."),
        (Self::Changed, "changed", "Changed."),
        (Self::Offered, "offered", "Offered. It moves when the other account accepts it."),
    ];

    /// Returns its word in an address.
    pub(crate) fn key(self) -> &'static str {
        Self::ALL.iter().find(|(done, ..)| *done == self).map_or("", |(_, key, _)| key)
    }

    /// Returns the sentence for a word in an address; none for a word that somebody made up.
    pub(crate) fn sentence(key: &str) -> Option<&'static str> {
        Self::ALL.iter().find(|(_, known, _)| *known == key).map(|(.., sentence)| *sentence)
    }
}
