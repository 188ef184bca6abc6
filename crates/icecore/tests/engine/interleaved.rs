//! Operations at once, as several processes would do them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use icecore::MemoryStorage;
use icecore::NoProgress;
use icecore::Repository;
use icecore::capture;

use crate::hooked::Hooked;
use crate::noise::Noise;
use crate::support::assert_same;
use crate::support::assert_sound;
use crate::support::image_of;
use crate::support::init;
use crate::support::meanwhile;
use crate::support::open;
use crate::support::options;

const SPAN: usize = 64 << 10;

#[test]
fn a_run_that_another_capture_merges_at_once_is_no_error() {
    // A capture opened the run that it had published by its name, and another one had merged and removed it by then.
    let storage = MemoryStorage::new();
    let mut image = Noise(81).bytes(3 * SPAN);
    let take =
        |repo: &Repository, image: &Vec<u8>| capture(repo, image, &options("disk"), &NoProgress).unwrap();
    take(&init(storage.clone()), &image);
    image.rotate_left(SPAN);
    take(&open(storage.clone()), &image);
    let merged = Arc::new(AtomicUsize::new(0));
    let hook = {
        let (storage, image, merged) = (storage.clone(), image.clone(), Arc::clone(&merged));
        move |call: &'static str, name: &str| {
            if (call, name) == ("sync_dir", "index") && merged.fetch_add(1, Ordering::SeqCst) == 0 {
                let mut image = image.clone();
                image.rotate_left(SPAN);
                meanwhile(|| drop(take(&open(storage.clone()), &image)));
                let runs = storage.files().keys().filter(|name| name.starts_with("index/")).count();
                assert_eq!(runs, 1, "all were merged");
            }
        }
    };
    let hooked = Hooked::new(storage.clone(), Arc::new(hook));
    let other = Noise(82).bytes(SPAN);
    let repo = open(hooked);
    let taken = take(&repo, &other);
    assert!(merged.load(Ordering::SeqCst) > 0);
    assert_same(&image_of(&repo, taken.snapshot.id), &other, "the handle that was overtaken");
    assert_sound(&open(storage), "afterwards");
}
