//! The notes of verifications: damaged chunks and pages, so that captures do not build on them and
//! gc keeps other copies, and the time when each pack was last read. They are hints.

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
use crate::pure::record_cipher::Kind;
use crate::stores::config;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::world::sessions::Work;
use crate::world::storage::read_all;

/// Marks every slot.
pub(crate) const ALL_SLOTS: SlotBitmap = SlotBitmap([0xff; 32]);

/// The noted damage.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    entries: BTreeMap<(PackId, u32), ([u8; 16], SlotBitmap)>,
    packs: HashSet<PackId>,
    /// The ids of all chunks and pages in `entries`.
    ids: HashSet<[u8; 16]>,
}

impl Damage {
    /// Returns the noted damage; none if the file is unreadable.
    pub(crate) fn load(files: &RepositoryFiles) -> Self {
        let bytes = read_notes(files, layout::DAMAGE);
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

    /// Notes a pack that is unusable as a whole.
    pub(crate) fn add_pack(&mut self, pack: PackId) {
        self.packs.insert(pack);
    }

    /// Returns whether a slot of a chunk is noted as damaged.
    pub(crate) fn has_slot(&self, pack: PackId, number: u32, slot: u8) -> bool {
        self.entries.get(&(pack, number)).is_some_and(|(_, slots)| slots.has(slot))
    }

    /// Returns whether a pack is noted as unusable as a whole.
    pub(crate) fn has_pack(&self, pack: PackId) -> bool {
        self.packs.contains(&pack)
    }

    /// Returns whether some copy of a chunk or a page is noted as damaged.
    pub(crate) fn has_id(&self, id: &[u8; 16]) -> bool {
        self.ids.contains(id)
    }

    /// Returns the packs with noted damage.
    pub(crate) fn packs(&self) -> HashSet<PackId> {
        self.entries.keys().map(|(pack, _)| *pack).chain(self.packs.iter().copied()).collect()
    }

    /// Returns the noted damage of a pack: numbers, ids and slots.
    pub(crate) fn of(&self, pack: PackId) -> impl Iterator<Item = (u32, [u8; 16], SlotBitmap)> + '_ {
        let of_pack = self.entries.range((pack, 0)..=(pack, u32::MAX));
        of_pack.map(|((_, number), (id, slots))| (*number, *id, *slots))
    }

    /// Forgets notes that `keep` rejects; it gets the pack and the number of the entry, if there is
    /// one.
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

/// The times when each pack was last read whole, in milliseconds since 1970.
pub(crate) type Checked = BTreeMap<PackId, i64>;

/// Returns the noted times; none if the file is unreadable.
pub(crate) fn load_checked(files: &RepositoryFiles) -> Checked {
    let bytes = read_notes(files, layout::CHECKED);
    let entries = decode_checked(&bytes, &files.hasher).unwrap_or_default();
    entries.into_iter().map(|entry| (entry.pack, entry.unix_ms)).collect()
}

/// Returns the bytes of a file of notes; none if it is unreadable.
fn read_notes(files: &RepositoryFiles, name: &str) -> Vec<u8> {
    let stored = read_all(files.open_local(name), NOTES_BYTES_MAX).unwrap_or_default();
    files.seals.open(Kind::Local, 0, stored).unwrap_or_default()
}

fn write_notes(files: &RepositoryFiles, name: &str, notes: Vec<u8>) -> Result<()> {
    files.write_local(name, &files.seal(Kind::Local, 0, notes)?)
}

/// Changes the notes. It reads them again under the lock, so that notes of other processes are not
/// lost.
pub(crate) fn change(files: &RepositoryFiles, change: impl FnOnce(&mut Damage, &mut Checked)) -> Result<()> {
    let _notes = locks::only(files, Work::Notes)?;
    config::check_again(files)?;
    let (damage_before, checked_before) = (Damage::load(files), load_checked(files));
    let (mut damage, mut checked) = (damage_before.clone(), checked_before.clone());
    change(&mut damage, &mut checked);
    if damage != damage_before {
        write_notes(files, layout::DAMAGE, damage.encode(files))?;
    }
    if checked != checked_before {
        let entries: Vec<CheckedEntry> =
            checked.into_iter().map(|(pack, unix_ms)| CheckedEntry { pack, unix_ms }).collect();
        write_notes(files, layout::CHECKED, encode_checked(&entries, &files.hasher))?;
    }
    Ok(())
}
