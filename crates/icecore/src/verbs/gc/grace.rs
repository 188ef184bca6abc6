//! What gc leaves alone for a while where other machines write too: sessions know nothing of them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal::catalog::Catalog;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::world::objects::Told;

/// After so long, no gc needs the object any more that it has made to learn the time.
const CLOCK_MS: u64 = 24 * 60 * 60 * 1000;

/// The packs of a shared repository, and the time, both by the clock of the store.
pub(crate) struct Grace {
    grace_ms: u64,
    now_unix_ms: u64,
    packs: HashMap<PackId, Told>,
}

impl Grace {
    /// Looks at the clock and the packs. None where nobody else writes.
    pub(crate) fn begin(files: &RepositoryFiles, grace_ms: u64) -> Result<Option<Self>> {
        if !files.are_shared() {
            return Ok(None);
        }
        let now_unix_ms = now(files)?;
        let told = files.list_told(layout::PACKS)?.into_iter();
        let packs = told.filter_map(|told| Some((layout::id_of(&told.name)?, told))).collect();
        Ok(Some(Self { grace_ms, now_unix_ms, packs }))
    }

    /// Returns all packs, sorted.
    pub(crate) fn packs(&self) -> Vec<PackId> {
        let mut packs: Vec<PackId> = self.packs.keys().copied().collect();
        packs.sort_unstable();
        packs
    }

    /// Returns the packs that may be of captures which have not ended.
    pub(crate) fn young_packs(&self) -> HashSet<PackId> {
        self.packs.iter().filter(|(_, told)| self.is_young(told.made_unix_ms)).map(|(id, _)| *id).collect()
    }

    /// Returns the condemned packs that no reader should need any more, with their lengths in bytes.
    pub(crate) fn due(&self, files: &RepositoryFiles, catalog: &Catalog) -> Result<Vec<(PackId, u64)>> {
        let times = times_of_entries(files)?;
        let is_due = |entry: u64| {
            // An entry that is gone is no younger than what has come after it.
            let made = times.range(entry..).next().and_then(|(_, made)| *made);
            !self.is_young(made)
        };
        let condemned = catalog.condemned().iter().filter(|(_, condemned)| is_due(condemned.entry));
        Ok(condemned.filter_map(|(id, _)| Some((*id, self.packs.get(id)?.bytes))).collect())
    }

    /// What has no time is young.
    pub(crate) fn is_young(&self, made_unix_ms: Option<u64>) -> bool {
        self.grace_ms > 0
            && made_unix_ms.is_none_or(|made| self.now_unix_ms.saturating_sub(made) < self.grace_ms)
    }
}

/// Returns the time by the clock of the store: that of an object which is made for it, or, if this
/// program may make none, that of the last entry.
fn now(files: &RepositoryFiles) -> Result<u64> {
    let name = format!("{}/{}", layout::SESSIONS, files.session);
    let is_made = files.put_new(&name, b"gc").is_ok();
    let made = match is_made {
        true => files.list_told(layout::SESSIONS)?,
        false => files.list_told(layout::JOURNAL)?,
    };
    let now_unix_ms = made.iter().filter_map(|told| told.made_unix_ms).max().unwrap_or(0);
    if is_made {
        // Also those of gcs that were killed, or that had to leave theirs. One that stays is of no harm.
        let is_done_with = |told: &&Told| {
            let is_own = told.name == files.session;
            is_own || told.made_unix_ms.is_some_and(|made| now_unix_ms.saturating_sub(made) >= CLOCK_MS)
        };
        for told in made.iter().filter(is_done_with) {
            let _ = files.delete(&format!("{}/{}", layout::SESSIONS, told.name));
        }
    }
    Ok(now_unix_ms)
}

/// Returns when each entry and checkpoint was made.
fn times_of_entries(files: &RepositoryFiles) -> Result<BTreeMap<u64, Option<u64>>> {
    let mut times = BTreeMap::new();
    for dir in [layout::CHECKPOINTS, layout::JOURNAL] {
        for told in files.list_told(dir)? {
            if let Some(number) = layout::number_of(&told.name) {
                times.insert(number, told.made_unix_ms);
            }
        }
    }
    Ok(times)
}
