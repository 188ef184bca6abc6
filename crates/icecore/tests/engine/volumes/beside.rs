//! Snapshots of a volume while others delete what they find and collect, between any two calls of
//! the storage.

use std::sync::Arc;
use std::sync::Mutex;

use icecore::ErrorKind;
use icecore::image::WriteAt;
use icecore::snapshot::DeleteOptions;
use icecore::storage::MemoryStorage;
use icecore_testing::bytes::assert_same;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::assert_sound;
use icecore_testing::repository::collect;
use icecore_testing::repository::meanwhile;
use icecore_testing::repository::open as open_repo;
use icecore_testing::repository::restores;

use crate::at_once::hooked::Watch;
use crate::at_once::hooked::hooked;
use crate::volumes::support::content;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

const NAME: &str = "disk";
const BLOCK: usize = 4096;
/// More than a snapshot makes.
const CALLS_MAX: usize = 1000;

/// Does something before a call, by its number among those at which no lock is held that others
/// wait for.
struct At<F> {
    call: usize,
    what: F,
    /// How many there were, how many locks are held, and whether it was done.
    seen: Mutex<(usize, usize, bool)>,
}

fn is_waited_for(name: &str) -> bool {
    ["local/locks/journal", "local/locks/notes", "local/locks/index", "local/locks/parity", "local/locks/gc"]
        .contains(&name)
}

impl<F: Fn() + Send + Sync> Watch for Arc<At<F>> {
    fn before(&self, call: &'static str, name: &str) {
        let mut seen = self.seen.lock().unwrap();
        if seen.1 == 0 {
            seen.0 += 1;
            if seen.0 == self.call + 1 {
                seen.2 = true;
                (self.what)();
            }
        }
        seen.1 += usize::from(call == "lock" && is_waited_for(name));
    }

    fn released(&self, name: &str) {
        self.seen.lock().unwrap().1 -= usize::from(is_waited_for(name));
    }
}

/// Deletes all snapshots that may be deleted, and collects.
fn delete_all(files: &MemoryStorage) {
    let repo = open_repo(files.clone());
    for taken in icecore::snapshot::list(&repo).unwrap() {
        match icecore::snapshot::delete(&repo, taken.id, DeleteOptions::default()) {
            Err(error) if matches!(error.kind(), ErrorKind::InUse | ErrorKind::NotFound) => {}
            deleted => drop(deleted.unwrap()),
        }
    }
    collect(&repo).unwrap();
}

#[test]
fn a_snapshot_that_is_deleted_before_the_volume_stands_on_it_takes_nothing_with_it() {
    let mut deleted = 0;
    for call in 0..CALLS_MAX {
        let bench = TestRepository::new();
        let mut image = Random::new(51).bytes(20 * BLOCK);
        let base = bench.snapshot("origin", &image);
        let repo = Arc::new(bench.another());
        icecore::volume::create_volume(&repo, &volume_options(NAME, Some(base), None)).unwrap();
        let files = bench.storage.clone();
        let at = Arc::new(At {
            call,
            what: move || meanwhile(|| delete_all(&files)),
            seen: Mutex::new((0, 0, false)),
        });
        let repo = Arc::new(open_repo(hooked(bench.storage.clone(), Arc::new(Arc::clone(&at)))));
        let volume = open(&repo, NAME).unwrap();
        Random::new(52).fill(&mut image[3 * BLOCK..9 * BLOCK]);
        volume.write_at(3 * BLOCK as u64, &image[3 * BLOCK..9 * BLOCK]).unwrap();
        let id = snapshot(&volume).unwrap();
        let told = format!("before call {call}");
        assert_same(&content(&volume).unwrap(), &image, &told);
        volume.write_at(0, &[7; 100]).unwrap();
        volume.sync().unwrap();
        image[..100].fill(7);
        let is_done = at.seen.lock().unwrap().2;
        drop(volume);
        let repo = Arc::new(open_repo(bench.storage.clone()));
        match icecore::snapshot::find(&repo, &id.to_string()) {
            Err(error) if error.kind() == ErrorKind::NotFound => deleted += 1,
            found => {
                let mut taken = image.clone();
                taken[..100].copy_from_slice(&Random::new(51).bytes(100));
                restores(&repo, found.unwrap().id, &taken).unwrap();
            }
        }
        assert_same(&content(&open(&repo, NAME).unwrap()).unwrap(), &image, &told);
        collect(&repo).unwrap();
        assert_same(&content(&open(&repo, NAME).unwrap()).unwrap(), &image, &told);
        assert_sound(&repo, &told);
        if !is_done {
            assert!(deleted > 0, "it was never deleted");
            return;
        }
    }
    panic!("it never ends");
}
