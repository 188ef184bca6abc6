//! What the last entries have changed, so that whoever knows the catalog before them need not
//! compare all of it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::format::journal::Change;
use crate::format::journal::Entry;
use crate::words::ids::Digest;
use crate::words::ids::SnapshotId;

/// The number of entries that are remembered.
const ENTRIES_MAX: usize = 4096;

/// An entry: its number and its digest, which tells it from another one that had its number.
type Place = (u64, Digest);

/// The last entries that were read or put. Some may not count: then none that does builds on them.
#[derive(Default)]
pub(crate) struct Recent(BTreeMap<Place, Step>);

struct Step {
    /// The digest of the entry before.
    before: Digest,
    snapshots: Vec<SnapshotId>,
}

impl Recent {
    /// Remembers an entry.
    pub(crate) fn note(&mut self, entry: &Entry, digest: Digest) {
        let mut snapshots = Vec::new();
        for change in &entry.changes {
            match change {
                Change::Made(record) => snapshots.push(record.id),
                Change::Changed(id, _) => snapshots.push(*id),
                Change::Deleted(ids) | Change::Restored(ids) => snapshots.extend(ids),
                Change::Condemned(_)
                | Change::Joined(_)
                | Change::PutAside(_)
                | Change::StandsOn(_)
                | Change::NoLonger(_)
                | Change::Config(_) => {}
            }
        }
        self.0.insert((entry.number, digest), Step { before: entry.before, snapshots });
        while self.0.len() > ENTRIES_MAX {
            self.0.pop_first();
        }
    }

    /// Returns the snapshots that may differ between two places; none if not all entries between
    /// them are remembered, or the later one does not build on the earlier one.
    pub(crate) fn between(&self, earlier: Place, later: Place) -> Option<BTreeSet<SnapshotId>> {
        let (mut at, mut snapshots) = (later, BTreeSet::new());
        while at.0 > earlier.0 {
            let step = self.0.get(&at)?;
            snapshots.extend(&step.snapshots);
            at = (at.0 - 1, step.before);
        }
        (at == earlier).then_some(snapshots)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::format::journal::Author;

    fn entry(number: u64, before: u8, snapshot: u128) -> Entry {
        let changes = vec![Change::Deleted(vec![SnapshotId(Uuid::from_u128(snapshot))])];
        let (author, before) = (Author::default(), Digest([before; 32]));
        Entry { number, before, created_unix_ms: 0, author, token: [0; 16], changes }
    }

    #[test]
    fn only_an_unbroken_row_of_entries_tells_what_has_changed() {
        let mut recent = Recent::default();
        let place = |number, digest| (number, Digest([digest; 32]));
        recent.note(&entry(2, 1, 20), Digest([2; 32]));
        recent.note(&entry(3, 2, 30), Digest([3; 32]));
        // It came to nothing: another one has its number.
        recent.note(&entry(3, 2, 31), Digest([9; 32]));
        let ids =
            |numbers: &[u128]| Some(numbers.iter().map(|id| SnapshotId(Uuid::from_u128(*id))).collect());
        assert_eq!(recent.between(place(3, 3), place(3, 3)), ids(&[]));
        assert_eq!(recent.between(place(1, 1), place(3, 3)), ids(&[20, 30]));
        assert_eq!(recent.between(place(2, 2), place(3, 9)), ids(&[31]));
        for (earlier, later) in [((0, 0), (3, 3)), ((3, 9), (3, 3)), ((2, 5), (3, 3)), ((3, 3), (2, 2))] {
            assert_eq!(recent.between(place(earlier.0, earlier.1), place(later.0, later.1)), None);
        }
    }
}
