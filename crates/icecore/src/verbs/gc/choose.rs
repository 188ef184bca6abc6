//! Chooses which packs gc removes, rewrites and keeps. Also defines the options and the totals of a
//! gc.

use std::collections::HashSet;

use crate::format::pack::EntryKind;
use crate::format::pack::PackKind;
use crate::stores::pack::file::PackFile;
use crate::verbs::gc::mark::PackUse;
use crate::words::error::Result;
use crate::words::ids::PackId;

/// The most small packs of one kind that may exist before gc merges them into larger ones.
const SMALL_PACKS_MAX: usize = 12;

/// How thorough a gc is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GcOptions {
    /// The part of the packs' bytes that may stay unused, 0.0 to 1.0. Gc rewrites packs until no
    /// more than that is unused.
    pub max_unused: f64,
    /// Whether packs that are sealed with keys of an older epoch are rewritten, however much of them
    /// is used.
    pub reseal: bool,
    /// Where other machines write too: for how long a pack stays that nothing needs, and one that
    /// was condemned, in milliseconds. So a capture elsewhere need not store it again, and a reader
    /// elsewhere can read on. Nothing that is kept depends on it.
    pub grace_ms: u64,
}

impl GcOptions {
    /// Returns options with the usual grace, which rewrite nothing for the sake of newer keys.
    pub fn new(max_unused: f64) -> Self {
        Self { max_unused, reseal: false, grace_ms: GRACE_MS }
    }
}

/// The usual grace: 24 hours.
pub const GRACE_MS: u64 = 24 * 60 * 60 * 1000;

/// The totals of a plan or of a completed gc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GcTotals {
    /// Packs in the repository before.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Bytes of chunks and pages that some snapshot uses.
    pub used_bytes: u64,
    /// Removed packs, which nothing uses.
    pub packs_removed: u64,
    /// Rewritten packs, of which only a part is used; the rest is dropped.
    pub packs_rewritten: u64,
    /// Chunks that lose some of their slots.
    pub chunks_punched: u64,
    /// Bytes freed. In a plan, the best estimate.
    pub freed_bytes: u64,
    /// Unused bytes that stay, because rewriting their packs is not worth it.
    pub unused_bytes_kept: u64,
    /// Packs that were condemned and stay for now, for readers on other machines.
    pub packs_condemned: u64,
    /// Packs that were to go and stay, because the store keeps its objects for a time. A gc after that
    /// removes them.
    pub packs_retained: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Removed files of dead processes (temporary files, locks).
    pub leftovers_removed: u64,
}

/// The used and unused parts of a pack, in bytes of records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weighed {
    pub(crate) id: PackId,
    pub(crate) kind: PackKind,
    /// The size of the whole file.
    pub(crate) bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) unused_bytes: u64,
    /// Chunks with both used and unused slots.
    pub(crate) partly_used: u64,
    /// Whether it is to be sealed with newer keys.
    pub(crate) outdated: bool,
}

/// The decision about each pack.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) remove: Vec<PackId>,
    pub(crate) rewrite: Vec<PackId>,
}

/// Adds up the used parts of a pack.
/// `epoch` is that of the newest keys if those of older ones are to go.
pub(crate) fn weigh(pack: &PackFile, used: &PackUse, epoch: Option<u32>) -> Result<Weighed> {
    let mut weighed = Weighed {
        id: pack.id,
        kind: pack.header().kind,
        bytes: pack.bytes,
        used_bytes: 0,
        unused_bytes: 0,
        partly_used: 0,
        outdated: pack.header().epoch < epoch,
    };
    for number in 0..pack.entries() {
        let entry = pack.entry(number)?;
        let bytes = entry.record_bytes() as u64 + u64::from(entry.stored_bytes);
        let part = match entry.kind() {
            EntryKind::Page => bytes * u64::from(used.needs_entry(number)),
            // That of a deleted snapshot is dropped with other things, and is no reason to write a
            // pack anew.
            EntryKind::Record if !used.needs_entry(number) => continue,
            EntryKind::Record => bytes,
            EntryKind::Chunk => {
                let present = pack.present_slots(&entry);
                let slots =
                    present.iter().filter(|slot| used.slots.has(entry.first_block + u32::from(**slot)));
                let slots = slots.count();
                weighed.partly_used += u64::from(slots > 0 && slots < present.len());
                match slots {
                    // The only needed part of a chunk may be its directory entry, which names its
                    // blocks.
                    0 if used.needs_entry(number) => entry.record_bytes() as u64,
                    _ => bytes * slots as u64 / present.len().max(1) as u64,
                }
            }
        };
        weighed.used_bytes += part;
        weighed.unused_bytes += bytes - part;
    }
    Ok(weighed)
}

/// Chooses packs in three steps. Packs that nothing uses are removed. Then the packs with the
/// largest unused part are rewritten until no more than `max_unused` of all used bytes stays
/// unused. Then small packs, those below `small_bytes`, are merged if there are many. Packs in
/// `damaged` are not rewritten, because a repair recovers more of them.
pub(crate) fn choose(
    packs: &[Weighed],
    damaged: &HashSet<PackId>,
    max_unused: f64,
    small_bytes: u64,
    totals: &mut GcTotals,
) -> Choice {
    let mut choice = Choice::default();
    let mut stay = Vec::new();
    for pack in packs {
        totals.packs += 1;
        totals.pack_bytes += pack.bytes;
        totals.used_bytes += pack.used_bytes;
        if pack.used_bytes == 0 {
            choice.remove.push(pack.id);
            totals.packs_removed += 1;
            totals.freed_bytes += pack.bytes;
        } else if damaged.contains(&pack.id) {
            totals.unused_bytes_kept += pack.unused_bytes;
        } else if pack.outdated {
            rewrite(pack, &mut choice, totals);
        } else {
            stay.push(*pack);
        }
    }
    let part = |pack: &Weighed| u128::from(pack.unused_bytes) * 1_000_000_000 / u128::from(pack.bytes.max(1));
    stay.sort_by_key(|pack| (std::cmp::Reverse(part(pack)), pack.id));
    let mut unused: u64 = stay.iter().map(|pack| pack.unused_bytes).sum();
    let mut rest = Vec::new();
    for pack in stay {
        if unused as f64 > totals.used_bytes as f64 * max_unused && pack.unused_bytes > 0 {
            unused -= pack.unused_bytes;
            rewrite(&pack, &mut choice, totals);
        } else {
            rest.push(pack);
        }
    }
    for kind in [PackKind::Data, PackKind::Pages, PackKind::Mixed] {
        let small: Vec<_> =
            rest.iter().filter(|pack| pack.kind == kind && pack.bytes < small_bytes).collect();
        if small.len() > SMALL_PACKS_MAX {
            unused -= small.iter().map(|pack| pack.unused_bytes).sum::<u64>();
            small.iter().for_each(|pack| rewrite(pack, &mut choice, totals));
        }
    }
    totals.unused_bytes_kept += unused;
    choice
}

fn rewrite(pack: &Weighed, choice: &mut Choice, totals: &mut GcTotals) {
    choice.rewrite.push(pack.id);
    totals.packs_rewritten += 1;
    totals.chunks_punched += pack.partly_used;
    totals.freed_bytes += pack.unused_bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: u64 = 1000;

    fn pack(number: u8, kind: PackKind, used_bytes: u64, unused_bytes: u64) -> Weighed {
        let bytes = used_bytes + unused_bytes;
        Weighed {
            id: PackId([number; 32]),
            kind,
            bytes,
            used_bytes,
            unused_bytes,
            partly_used: 1,
            outdated: false,
        }
    }

    /// Returns the numbers of the removed and of the rewritten packs, and the reported totals.
    fn chosen(packs: &[Weighed], damaged: &[u8], max_unused: f64) -> (Vec<u8>, Vec<u8>, GcTotals) {
        let damaged = damaged.iter().map(|number| PackId([*number; 32])).collect();
        let mut totals = GcTotals::default();
        let choice = choose(packs, &damaged, max_unused, SMALL, &mut totals);
        let numbers = |ids: Vec<PackId>| ids.iter().map(|id| id.0[0]).collect();
        (numbers(choice.remove), numbers(choice.rewrite), totals)
    }

    #[test]
    fn what_is_unused_goes_and_the_least_used_are_rewritten_until_little_enough_stays_unused() {
        let data = PackKind::Data;
        let packs = [
            pack(1, data, 9_000, 1_000),
            pack(2, data, 0, 7_000),
            pack(3, data, 2_000, 8_000),
            pack(4, data, 6_000, 4_000),
            pack(5, data, 3_000, 9_000),
            pack(6, data, 10_000, 0),
        ];
        // Pack 5 is damaged: its unused bytes do not count as reclaimable. 30 000 bytes are used.
        let (removed, rewritten, totals) = chosen(&packs, &[5], 0.0);
        assert_eq!((removed, rewritten), (vec![2], vec![3, 4, 1]), "6 has nothing unused");
        assert_eq!((totals.packs, totals.packs_removed, totals.packs_rewritten), (6, 1, 3));
        assert_eq!((totals.freed_bytes, totals.unused_bytes_kept), (7_000 + 13_000, 9_000));
        assert_eq!((totals.used_bytes, totals.pack_bytes, totals.chunks_punched), (30_000, 59_000, 3));
        // 5000 of the 13 000 bytes may stay: exactly that remains once pack 3 is rewritten.
        let (_, rewritten, totals) = chosen(&packs, &[5], 5_000.0 / 30_000.0);
        assert_eq!((rewritten, totals.unused_bytes_kept), (vec![3], 9_000 + 5_000));
        let (_, rewritten, totals) = chosen(&packs, &[5], 4_999.0 / 30_000.0);
        assert_eq!((rewritten, totals.unused_bytes_kept), (vec![3, 4], 9_000 + 1_000));
        assert!(chosen(&packs, &[5], 1.0).1.is_empty());
    }

    #[test]
    fn packs_with_keys_of_an_older_epoch_are_rewritten_unless_they_are_damaged() {
        let outdated = |number, used| Weighed { outdated: true, ..pack(number, PackKind::Data, used, 10) };
        let packs = [pack(1, PackKind::Data, 500, 0), outdated(2, 500), outdated(3, 0), outdated(4, 500)];
        let (removed, rewritten, totals) = chosen(&packs, &[4], 1.0);
        assert_eq!((removed, rewritten), (vec![3], vec![2]));
        assert_eq!((totals.packs_rewritten, totals.unused_bytes_kept), (1, 10));
    }

    #[test]
    fn small_packs_of_one_kind_are_put_together_where_they_are_more_than_some() {
        let smalls = |count: u8, from: u8, kind: PackKind| -> Vec<Weighed> {
            (from..from + count).map(|number| pack(number, kind, SMALL - 11, 10)).collect()
        };
        let many = u8::try_from(SMALL_PACKS_MAX).unwrap();
        // The largest packs that still count as small, a few of the other kind, and some that are
        // not small.
        let mut packs = smalls(many + 1, 1, PackKind::Pages);
        packs.extend(smalls(many, 100, PackKind::Data));
        packs.push(pack(200, PackKind::Data, SMALL - 10, 10));
        packs.push(pack(201, PackKind::Pages, SMALL - 10, 10));
        let (removed, rewritten, totals) = chosen(&packs, &[], 1.0);
        assert_eq!((removed, rewritten), (vec![], (1..=many + 1).collect()));
        assert_eq!(totals.unused_bytes_kept, 10 * (u64::from(many) + 2));
        packs.remove(0);
        assert!(chosen(&packs, &[], 1.0).1.is_empty());
    }
}
