//! Nothing that is written to a sealed repository can be read there.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;

use icecore::NoProgress;
use icecore::image::WriteAt;
use icecore::maintenance::Depth;
use icecore::maintenance::repair_catalog;
use icecore::maintenance::repair_index;
use icecore::maintenance::repair_packs;
use icecore::maintenance::set_parity;
use icecore::maintenance::verify_and_note;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::repository::Secrets;
use icecore::scale::checkpoint_after;
use icecore::snapshot::BlockCache;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::RenameOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use icecore::volume::Volume;
use icecore_testing::random::Random;
use icecore_testing::repository::collect;
use icecore_testing::repository::options;
use icecore_testing::repository::sealed;
use icecore_testing::repository::session;
use icecore_testing::repository::with_small_packs;

use crate::at_once::hooked::hooked;
use crate::sealed::support::repository;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

/// As much in a row can be read only if nobody has hidden it.
const LEN: usize = 16;

const NAME: &str = "the name of a snapshot, which nobody may read";
const NEW_NAME: &str = "another-name-of-the-same-snapshot";
const RESOURCE: &str = "the-machine-that-was-captured";
const TAG: &str = "a-tag-that-is-long-enough";
const KEY: &str = "a-key-that-is-long-enough";
const LABEL: &str = "the text of a label of a snapshot";
const VOLUME: &str = "a-volume-with-a-long-name";

/// What must not be read: the windows of all secret texts.
fn windows(texts: &[&[u8]]) -> HashSet<[u8; LEN]> {
    let all = texts.iter().flat_map(|text| text.windows(LEN));
    // Zeros are no secret.
    all.filter_map(|window| window.try_into().ok()).filter(|window| *window != [0; LEN]).collect()
}

/// A text that compresses, and hardly repeats.
fn text(random: &mut Random, len: usize) -> Vec<u8> {
    let letters = b"abcdefghijklmnop";
    random.bytes(len).iter().map(|byte| letters[usize::from(byte % 16)]).collect()
}

/// Looks into every file that a storage has or had.
struct Search {
    secret: HashSet<[u8; LEN]>,
    searched: Mutex<HashMap<String, Arc<Vec<u8>>>>,
    found: Mutex<BTreeSet<String>>,
}

impl Search {
    fn look_at(&self, storage: &MemoryStorage) {
        let mut searched = self.searched.lock().unwrap();
        for (name, bytes) in storage.shared_files() {
            if searched.get(&name).is_some_and(|same| Arc::ptr_eq(same, &bytes)) {
                continue;
            }
            for part in [name.as_bytes(), &**bytes] {
                if part.windows(LEN).any(|window| self.secret.contains(window)) {
                    let kind: String = name.chars().filter(|c| !c.is_ascii_digit()).take(16).collect();
                    self.found.lock().unwrap().insert(kind);
                }
            }
            searched.insert(name, bytes);
        }
    }
}

/// Uses a repository in all ways. Returns where secrets were found.
fn found_in(secrets: Secrets) -> BTreeSet<String> {
    let mut random = Random::new(3);
    let image = [text(&mut random, 300_000), random.bytes(200_000)].concat();
    let written = text(&mut random, 70_000);
    let texts = [NAME, NEW_NAME, RESOURCE, TAG, KEY, LABEL, VOLUME].map(str::as_bytes);
    let mut all = texts.to_vec();
    all.extend([&*image, &*written]);
    let search =
        Arc::new(Search { secret: windows(&all), searched: Mutex::default(), found: Mutex::default() });
    let storage = MemoryStorage::new();
    let watched: Arc<dyn Storage> = {
        let (files, search) = (storage.clone(), Arc::clone(&search));
        // A file is whole when it gets its name, and an overlay when it is synced.
        let watch = move |call: &'static str, _: &str| {
            if !matches!(call, "list" | "list_dirs" | "open" | "open_random") {
                search.look_at(&files);
            }
        };
        Arc::new(hooked(storage.clone(), Arc::new(watch)))
    };
    let again = |tail| {
        let mut repo = with_small_packs(Repository::open(Arc::clone(&watched), session())).unwrap();
        checkpoint_after(&mut repo, tail);
        repo
    };
    Repository::init(Arc::clone(&watched), session(), &repository(secrets)).unwrap();
    use_snapshots(&again(2), &image);
    use_volumes(&Arc::new(again(64)), &written);
    let mut changed = image.clone();
    changed[100_000..100_500].copy_from_slice(&written[..500]);
    icecore::snapshot::capture(&again(64), &changed, &options(RESOURCE), &NoProgress).unwrap();
    mend(&storage, &watched);
    search.look_at(&storage);
    search.found.lock().unwrap().clone()
}

fn use_snapshots(repo: &Repository, image: &Vec<u8>) {
    let take = |image: &Vec<u8>, name: &str| -> SnapshotId {
        let mut options = CaptureOptions { resource: RESOURCE.to_owned(), ..options(RESOURCE) };
        options.name = name.to_owned();
        options.tags = vec![TAG.to_owned()];
        options.labels = [(KEY.to_owned(), LABEL.to_owned())].into();
        icecore::snapshot::capture(repo, image, &options, &NoProgress).unwrap().snapshot.id
    };
    let first = take(image, NAME);
    let mut changed = image.clone();
    changed[5000..9000].copy_from_slice(&image[105_000..109_000]);
    let second = take(&changed, "b");
    set_parity(repo, ParityScheme::new(4, 1).ok(), &NoProgress).unwrap();
    icecore::snapshot::rename(repo, second, NEW_NAME, RenameOptions::default()).unwrap();
    icecore::snapshot::retag(repo, second, &[TAG.to_owned()], &[]).unwrap();
    icecore::snapshot::delete(repo, first, DeleteOptions::default()).unwrap();
    collect(repo).unwrap();
}

fn use_volumes(repo: &Arc<Repository>, written: &[u8]) {
    let base = icecore::snapshot::list(repo).unwrap()[0].id;
    let mut options = volume_options(VOLUME, Some(base), Some(9 << 20));
    options.labels = [(KEY.to_owned(), LABEL.to_owned())].into();
    icecore::volume::create_volume(repo, &options).unwrap();
    let volume = Volume::open(Arc::clone(repo), VOLUME, BlockCache::new(1 << 20)).unwrap();
    for offset in [0, 123, 4096, (4 << 20) - 1000, (9 << 20) - 70_000] {
        volume.write_at(offset, written).unwrap();
        volume.write_at(offset + 60_000, &written[..700]).unwrap();
        volume.sync().unwrap();
    }
    volume.zero_at(8192..16384).unwrap();
    snapshot(&volume).unwrap();
    volume.write_at(5, written).unwrap();
    volume.sync().unwrap();
    drop(volume);
    icecore::volume::resize_volume(repo, VOLUME, 10 << 20).unwrap();
}

/// Damages what can be mended, and mends it.
fn mend(storage: &MemoryStorage, watched: &Arc<dyn Storage>) {
    let open = || with_small_packs(Repository::open(Arc::clone(watched), session())).unwrap();
    let pack = storage.files().into_keys().find(|name| name.starts_with("packs/")).unwrap();
    let mut bytes = storage.files().remove(&pack).unwrap();
    bytes[200] ^= 1;
    storage.put(&pack, bytes);
    verify_and_note(&open(), None, Depth::ReadData, 1, &NoProgress).unwrap();
    repair_packs(&open(), false, &NoProgress).unwrap();
    repair_index(&open(), &NoProgress).unwrap();
    for lost in ["config", "checkpoint/"] {
        let name = storage.files().into_keys().rfind(|name| name.starts_with(lost)).unwrap();
        storage.remove(&name).unwrap();
        repair_catalog(Arc::clone(watched), session(), false).unwrap();
    }
}

#[test]
fn nothing_is_in_the_clear_in_any_file_that_a_sealed_repository_has_or_had() {
    assert_eq!(found_in(sealed()), BTreeSet::new());
    let plain = found_in(Secrets::Plain([3; 32]));
    let places = ["packs", "journal", "checkpoint", "local/volumes"];
    assert!(places.iter().all(|place| plain.iter().any(|name| name.starts_with(place))), "{plain:?}");
}
