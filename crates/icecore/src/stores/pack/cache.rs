//! The cache of open packs: it closes the least recently used ones when they hold much.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::PoisonError;

use crate::stores::files::RepositoryFiles;
use crate::stores::pack::file::PackFile;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::sizes::to_u64;
use crate::words::sync::Mutex;

/// The most memory of open packs, in bytes. A full pack has a directory of about 1 MiB.
const HELD_BYTES_MAX: u64 = 96 << 20;
/// The most open files of packs. Small packs are in memory, and need none.
const FILES_MAX: usize = 96;
/// The part of both that stays when there is more: the oldest are looked for once for many packs.
const STAYS: (u64, u64) = (3, 4);

#[derive(Default)]
pub(crate) struct PackCache(Mutex<OpenPacks>);

#[derive(Default)]
struct OpenPacks {
    /// Each pack with the time of its last use, which no two share.
    packs: HashMap<PackId, (Arc<PackFile>, u64)>,
    clock: u64,
    held_bytes: u64,
    files: usize,
    /// The number of times that all packs were forgotten.
    cleared: u64,
}

impl PackCache {
    /// Returns a pack, opened if it is not open.
    pub(crate) fn get(&self, files: &RepositoryFiles, id: PackId) -> Result<Arc<PackFile>> {
        let cleared = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(pack) = open.touch(id) {
                return Ok(pack);
            }
            open.cleared
        };
        let pack = Arc::new(PackFile::open(files, id)?);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The pack may be gone by now: a thread that forgot all packs must not find it here.
        if open.cleared == cleared {
            open.add(Arc::clone(&pack));
        }
        Ok(pack)
    }

    /// Forgets all packs, so that removed ones are noticed.
    pub(crate) fn clear(&self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *open = OpenPacks { cleared: open.cleared + 1, ..OpenPacks::default() };
    }
}

impl OpenPacks {
    /// Returns an open pack, which becomes the most recently used one.
    fn touch(&mut self, id: PackId) -> Option<Arc<PackFile>> {
        let (pack, used) = self.packs.get_mut(&id)?;
        self.clock += 1;
        *used = self.clock;
        Some(Arc::clone(pack))
    }

    /// Adds a pack, and closes others if they hold too much. The pack that was added stays.
    fn add(&mut self, pack: Arc<PackFile>) {
        self.remove(pack.id);
        self.clock += 1;
        self.held_bytes += pack.held_bytes();
        self.files += usize::from(pack.has_file());
        self.packs.insert(pack.id, (pack, self.clock));
        if self.held_bytes <= HELD_BYTES_MAX && self.files <= FILES_MAX {
            return;
        }
        let mut by_use: Vec<(u64, PackId)> = self.packs.iter().map(|(id, (_, used))| (*used, *id)).collect();
        by_use.sort_unstable();
        by_use.pop();
        let stays = |most: u64| most * STAYS.0 / STAYS.1;
        for (_, oldest) in by_use {
            if self.held_bytes <= stays(HELD_BYTES_MAX) && to_u64(self.files) <= stays(to_u64(FILES_MAX)) {
                break;
            }
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: PackId) {
        if let Some((pack, _)) = self.packs.remove(&id) {
            self.held_bytes -= pack.held_bytes();
            self.files -= usize::from(pack.has_file());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::pack::PackKind;
    use crate::pure::compress::Codec;
    use crate::pure::compress::Encoded;
    use crate::pure::hash::Hasher;
    use crate::stores::locks::Writer;
    use crate::stores::pack::file::IN_MEMORY_BYTES_MAX;
    use crate::stores::pack::writer::Item;
    use crate::stores::pack::writer::PackWriter;
    use crate::words::ids::RepositoryId;
    use crate::words::sizes::to_usize;
    use crate::world::memory::MemoryStorage;

    /// Publishes packs with one page each, of `bytes` bytes.
    fn packs(files: &RepositoryFiles, count: u64, bytes: usize) -> Vec<PackId> {
        let writer = Writer::begin(files).unwrap();
        let publish = |number: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_le_bytes());
            let encoded = Encoded { codec: Codec::Raw, bytes: vec![1; bytes] };
            let mut pack = PackWriter::begin(files, PackKind::Pages).unwrap();
            pack.append(&Item::new(id, encoded, bytes, Vec::new())).unwrap();
            pack.finish(&writer).unwrap().id
        };
        (0..count).map(publish).collect()
    }

    fn files() -> RepositoryFiles {
        RepositoryFiles::new(
            Arc::new(MemoryStorage::new()),
            Hasher::new(&[1; 32]),
            RepositoryId::from([0; 16]),
            "test".to_owned(),
        )
    }

    fn open(cache: &PackCache) -> (Vec<PackId>, usize, u64) {
        let open = cache.0.lock().unwrap();
        let held: u64 = open.packs.values().map(|(pack, _)| pack.held_bytes()).sum();
        assert_eq!(held, open.held_bytes);
        let mut ids: Vec<PackId> = open.packs.keys().copied().collect();
        ids.sort_by_key(|id| open.packs[id].1);
        (ids, open.files, held)
    }

    #[test]
    fn the_packs_that_were_used_last_stay_open_and_small_ones_need_no_file() {
        let files = files();
        let small = packs(&files, 300, 100);
        let large = packs(&files, to_u64(FILES_MAX) + 1, to_usize(IN_MEMORY_BYTES_MAX));
        let cache = PackCache::default();
        let get = |id: &PackId| cache.get(&files, *id).unwrap();
        small.iter().for_each(|id| drop(get(id)));
        assert_eq!((open(&cache).0, open(&cache).1), (small.clone(), 0));
        large[..FILES_MAX].iter().for_each(|id| drop(get(id)));
        assert_eq!(open(&cache).0, [&small[..], &large[..FILES_MAX]].concat(), "there is room for all");
        // One more, and the oldest are closed: the small ones, and large ones until some room is free.
        [small[7], large[3], large[FILES_MAX]].iter().for_each(|id| drop(get(id)));
        let (ids, file_count, _) = open(&cache);
        assert_eq!(file_count, FILES_MAX * 3 / 4);
        assert_eq!(ids[ids.len() - 3..], [small[7], large[3], large[FILES_MAX]]);
        let first = large.iter().position(|id| *id == ids[0]).unwrap();
        assert_eq!(ids[..ids.len() - 3], large[first..FILES_MAX], "those that were used last");
        cache.clear();
        assert_eq!(open(&cache), (Vec::new(), 0, 0));
    }

    #[test]
    fn a_pack_is_read_the_same_with_and_without_a_file() {
        let files = files();
        for bytes in [1, to_usize(IN_MEMORY_BYTES_MAX)] {
            let id = packs(&files, 1, bytes)[0];
            let pack = PackFile::open(&files, id).unwrap();
            assert_eq!(pack.has_file(), bytes > 1);
            let mut stored = Vec::new();
            pack.read_encoded(0, &pack.entry(0).unwrap(), &mut stored).unwrap();
            assert_eq!(stored, vec![1; bytes]);
            pack.check_record(&pack.entry(0).unwrap()).unwrap();
            assert!(pack.read_at(pack.bytes - 1, &mut [0; 2]).is_err(), "beyond its end");
        }
    }
}
