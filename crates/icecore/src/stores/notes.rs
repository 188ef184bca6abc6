//! What verifications have noted: which chunks and pages are damaged, so that captures do not build on them and gc keeps
//! other copies, and when each pack was last read. All of it are hints.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;

use crate::format::layout;
use crate::format::notes::CheckedEntry;
use crate::format::notes::DamageEntry;
use crate::format::notes::NOTES_BYTES_MAX;
use crate::format::notes::decode_checked;
use crate::format::notes::decode_damage;
use crate::format::notes::encode_checked;
use crate::format::notes::encode_damage;
use crate::format::pack::SlotBitmap;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::world::storage::read_all;

/// Marks every slot.
pub(crate) const ALL_SLOTS: SlotBitmap = SlotBitmap([0xff; 32]);

/// What is known to be damaged.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    entries: BTreeMap<(PackId, u32), ([u8; 16], SlotBitmap)>,
    packs: HashSet<PackId>,
    /// The ids of all chunks and pages in `entries`.
    ids: HashSet<[u8; 16]>,
}

impl Damage {
    /// Returns what was noted; nothing where it cannot be read.
    pub(crate) fn load(files: &RepositoryFiles) -> Self {
        let bytes = read_all(&*files.storage, layout::DAMAGE, NOTES_BYTES_MAX).unwrap_or_default();
        let mut damage = Self::default();
        for entry in decode_damage(&bytes, &files.hasher).unwrap_or_default() {
            match entry.number {
                Some(number) => damage.add(entry.pack, number, entry.id, entry.slots),
                None => damage.add_pack(entry.pack),
            }
        }
        damage
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.packs.is_empty()
    }

    /// Notes slots of a chunk, or a page.
    pub(crate) fn add(&mut self, pack: PackId, number: u32, id: [u8; 16], slots: SlotBitmap) {
        self.entries.insert((pack, number), (id, slots));
        self.ids.insert(id);
    }

    /// Notes a pack that cannot be used as a whole.
    pub(crate) fn add_pack(&mut self, pack: PackId) {
        self.packs.insert(pack);
    }

    /// Tells whether a slot of a chunk is damaged.
    pub(crate) fn has_slot(&self, pack: PackId, number: u32, slot: u8) -> bool {
        self.entries.get(&(pack, number)).is_some_and(|(_, slots)| slots.has(slot))
    }

    /// Tells whether a pack cannot be used as a whole.
    pub(crate) fn has_pack(&self, pack: PackId) -> bool {
        self.packs.contains(&pack)
    }

    /// Tells whether some copy of a chunk or a page is damaged.
    pub(crate) fn has_id(&self, id: &[u8; 16]) -> bool {
        self.ids.contains(id)
    }

    /// Returns the packs of which something is damaged.
    pub(crate) fn packs(&self) -> HashSet<PackId> {
        self.entries.keys().map(|(pack, _)| *pack).chain(self.packs.iter().copied()).collect()
    }

    /// Returns what is damaged of a pack: numbers, ids and slots.
    pub(crate) fn of(&self, pack: PackId) -> impl Iterator<Item = (u32, [u8; 16], SlotBitmap)> + '_ {
        let of_pack = self.entries.range((pack, 0)..=(pack, u32::MAX));
        of_pack.map(|((_, number), (id, slots))| (*number, *id, *slots))
    }

    /// Forgets what does not fit `keep`, which gets the pack and the number of an entry, if it is one.
    pub(crate) fn retain(&mut self, keep: impl Fn(PackId, Option<u32>) -> bool) {
        self.entries.retain(|(pack, number), _| keep(*pack, Some(*number)));
        self.packs.retain(|pack| keep(*pack, None));
        self.ids = self.entries.values().map(|(id, _)| *id).collect();
    }

    fn encode(&self, files: &RepositoryFiles) -> Vec<u8> {
        let packs: BTreeSet<PackId> = self.packs.iter().copied().collect();
        let whole =
            packs.into_iter().map(|pack| DamageEntry { pack, number: None, id: [0; 16], slots: ALL_SLOTS });
        let parts = self.entries.iter().map(|((pack, number), (id, slots))| DamageEntry {
            pack: *pack,
            number: Some(*number),
            id: *id,
            slots: *slots,
        });
        encode_damage(&whole.chain(parts).collect::<Vec<_>>(), &files.hasher)
    }
}

/// When each pack was last read whole, in milliseconds since 1970.
pub(crate) type Checked = BTreeMap<PackId, i64>;

/// Returns what was noted of reading packs; nothing where that cannot be read.
pub(crate) fn load_checked(files: &RepositoryFiles) -> Checked {
    let bytes = read_all(&*files.storage, layout::CHECKED, NOTES_BYTES_MAX).unwrap_or_default();
    let entries = decode_checked(&bytes, &files.hasher).unwrap_or_default();
    entries.into_iter().map(|entry| (entry.pack, entry.unix_ms)).collect()
}

/// Changes the notes. What another process noted meanwhile is not lost: it is read again under the lock.
pub(crate) fn change(files: &RepositoryFiles, change: impl FnOnce(&mut Damage, &mut Checked)) -> Result<()> {
    let _commit = locks::lock_commit(files)?;
    let (damage_before, checked_before) = (Damage::load(files), load_checked(files));
    let (mut damage, mut checked) = (damage_before.clone(), checked_before.clone());
    change(&mut damage, &mut checked);
    if damage != damage_before {
        files.publish_bytes(layout::DAMAGE, &damage.encode(files))?;
    }
    if checked != checked_before {
        let entries: Vec<CheckedEntry> =
            checked.into_iter().map(|(pack, unix_ms)| CheckedEntry { pack, unix_ms }).collect();
        files.publish_bytes(layout::CHECKED, &encode_checked(&entries, &files.hasher))?;
    }
    Ok(())
}
