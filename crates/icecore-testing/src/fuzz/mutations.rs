//! A sound repository with some bytes changed: every read from it must return the right data or an
//! error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;

use icecore::NoProgress;
use icecore::fuzzing::seal;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use uuid::Uuid;

use crate::fuzz::input::Input;
use crate::fuzz::verbs;
use crate::random::Random;
use crate::repository::TestRepository;
use crate::repository::init_options;
use crate::repository::options;
use crate::repository::session;

/// The key of test repositories.
const KEY: [u8; 32] = [3; 32];
const CHANGES_MAX: usize = 8;

/// A repository before any change.
struct Sound {
    files: BTreeMap<String, Vec<u8>>,
    images: BTreeMap<SnapshotId, Vec<u8>>,
}

/// Returns a repository with everything a repository can have: several packs of both kinds, punched
/// chunks, zeros, and two levels of pages.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let storage = MemoryStorage::new();
        // The names of packs depend on the session, and on these what a change hits.
        let repo = Repository::init(Arc::new(storage.clone()), Uuid::from_u128(81), &init_options());
        let bench = TestRepository { storage, repo: repo.unwrap() };
        let mut image = vec![0; (4 << 20) + 50_000];
        Random::new(81).fill(&mut image[..150_000]);
        image[80_000..110_000].fill(7);
        let gone = bench.snapshot("disk", &image);
        let mut images = BTreeMap::new();
        for at in [9000, (4 << 20) + 3000] {
            Random::new(82).fill(&mut image[at..at + 20_000]);
            images.insert(bench.snapshot("disk", &image), image.clone());
        }
        images.insert(bench.snapshot("other", &image[..70_000].to_vec()), image[..70_000].to_vec());
        icecore::snapshot::delete(&bench.repo, gone, DeleteOptions::default()).unwrap();
        let plan = icecore::maintenance::gc::plan(
            &bench.repo,
            &icecore::maintenance::gc::GcOptions::new(0.0),
            &NoProgress,
        )
        .unwrap();
        let totals = icecore::maintenance::gc::apply(&bench.repo, plan, &NoProgress).unwrap();
        assert!(totals.chunks_punched > 0, "no chunk is punched");
        let mut files = bench.storage.files();
        // It has no meaning, but most of the bytes.
        files.remove("local/reserve");
        Sound { files, images }
    })
}

pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let sound = sound();
    let mut files = sound.files.clone();
    // With the key anyone can write an entry with any content.
    let (mut forged, mut config) = (false, false);
    for _ in 0..=input.below(CHANGES_MAX) {
        let Some(name) = files.keys().nth(input.below(files.len())).cloned() else { break };
        config |= name == "config";
        let reseal = change(&mut files, &name, &mut input);
        if reseal && let Some(mut bytes) = files.remove(&name) {
            let named = seal::file(&KEY, &name, &mut bytes);
            files.insert(named, bytes);
            forged |= name.starts_with("journal") || name.starts_with("checkpoint/");
        }
    }
    let storage = MemoryStorage::new();
    files.into_iter().for_each(|(name, bytes)| storage.put(&name, bytes));
    let Ok(repo) = Repository::open(Arc::new(storage), session()) else { return };
    let all = verbs::read_all(&repo, !forged);
    for (snapshot, image) in &all {
        if let (Some(image), Some(right), false) = (image, sound.images.get(&snapshot.id), config || forged) {
            assert!(image == right, "{} has another content", snapshot.name);
        }
    }
    verbs::change_all(&repo, &all);
    let image = Random::new(83).bytes(30_000);
    if let Ok(taken) = icecore::snapshot::capture(&repo, &image, &options("new"), &NoProgress) {
        let found = verbs::image(&repo, taken.snapshot.id);
        assert!(found.as_ref().ok() == Some(&image), "a new snapshot: {:?}", found.err());
    }
}

/// Changes a file, and returns whether its checksums should be corrected afterwards.
fn change(files: &mut BTreeMap<String, Vec<u8>>, name: &str, input: &mut Input<'_>) -> bool {
    let other = files.values().nth(input.below(files.len())).cloned().unwrap_or_default();
    let Some(bytes) = files.get_mut(name) else { return false };
    if bytes.is_empty() {
        bytes.extend(input.bytes(16));
        return false;
    }
    // The most important bytes are at the end of a pack and at the beginning of any other file.
    let at = match input.below(3) {
        0 => input.below(128.min(bytes.len())),
        1 => bytes.len() - 1 - input.below(1024.min(bytes.len())),
        _ => input.below(bytes.len().min(1 << 16)),
    };
    match input.below(8) {
        0 => bytes[at] ^= 1 << (input.byte() % 8),
        1 => bytes[at] = input.byte(),
        2 => {
            for (byte, new) in bytes[at..].iter_mut().zip(input.bytes(8)) {
                *byte = *new;
            }
        }
        3 => bytes.truncate(at),
        4 => bytes.extend(input.bytes(16)),
        5 => {
            let end = (at + 1 + input.below(64)).min(bytes.len());
            bytes[at..end].fill(0);
        }
        6 => *bytes = other,
        _ => drop(files.remove(name)),
    }
    input.flag()
}
