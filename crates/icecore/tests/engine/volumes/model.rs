//! Random histories of a volume, beside a plain image.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use icecore::ErrorKind;
use icecore::image::ReadAt;
use icecore::image::WriteAt;
use icecore::repository::Repository;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::SnapshotId;
use icecore::storage::MemoryStorage;
use icecore::volume::Volume;
use icecore_testing::bytes::is_zero;
use icecore_testing::random::Random;
use icecore_testing::repository::TestRepository;
use icecore_testing::repository::collect;
use icecore_testing::repository::options;
use icecore_testing::repository::restores;
use proptest::prelude::*;

use crate::volumes::support::content;
use crate::volumes::support::open;
use crate::volumes::support::snapshot;
use crate::volumes::support::volume_options;

const NAME: &str = "scratch";
const BASE_BYTES: usize = (9 << 20) + 1234;

#[derive(Debug, Clone)]
enum Step {
    Write {
        at: usize,
        bytes: usize,
        seed: u64,
    },
    Zero {
        at: usize,
        bytes: usize,
    },
    Sync,
    Snapshot,
    Reopen,
    Reset,
    Restore,
    Grow {
        bytes: usize,
    },
    GrowOpen {
        bytes: usize,
    },
    Gc,
    DeleteOldest,
    /// What it was made from goes while it is open.
    DeleteOrigin,
    Label {
        key: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at = || prop_oneof![0..BASE_BYTES, (0..BASE_BYTES / 4096).prop_map(|block| block * 4096)];
    let bytes = || prop_oneof![1..20_000_usize, Just(4096), Just(65536), 1..5_000_000_usize];
    prop_oneof![
        8 => (at(), bytes(), any::<u64>()).prop_map(|(at, bytes, seed)| Step::Write { at, bytes, seed }),
        4 => (at(), bytes()).prop_map(|(at, bytes)| Step::Zero { at, bytes }),
        1 => Just(Step::Sync),
        3 => Just(Step::Snapshot),
        2 => Just(Step::Reopen),
        1 => Just(Step::Reset),
        1 => Just(Step::Restore),
        1 => (1..6_000_000_usize).prop_map(|bytes| Step::Grow { bytes }),
        2 => (1..3_000_000_usize).prop_map(|bytes| Step::GrowOpen { bytes }),
        1 => Just(Step::Gc),
        1 => Just(Step::DeleteOldest),
        1 => Just(Step::DeleteOrigin),
        2 => (0..5_u8).prop_map(|key| Step::Label { key }),
    ]
}

struct ModelledVolume {
    repo: Arc<Repository>,
    volume: Option<Volume>,
    image: Vec<u8>,
    origin: Vec<u8>,
    base: SnapshotId,
    taken: Vec<(SnapshotId, Vec<u8>)>,
    labels: BTreeMap<String, String>,
}

impl ModelledVolume {
    fn new() -> Self {
        let bench = TestRepository::new();
        let origin = Random::new(5).disk(BASE_BYTES);
        let base = bench.snapshot("base", &origin);
        let repo = Arc::new(bench.another());
        icecore::volume::create_volume(&repo, &volume_options(NAME, Some(base), None)).unwrap();
        Self {
            repo,
            volume: None,
            image: origin.clone(),
            origin,
            base,
            taken: Vec::new(),
            labels: BTreeMap::new(),
        }
    }

    fn volume(&mut self) -> &Volume {
        let repo = &self.repo;
        self.volume.get_or_insert_with(|| open(repo, NAME).unwrap())
    }

    fn range(&self, at: usize, bytes: usize) -> Range<usize> {
        let at = at.min(self.image.len() - 1);
        at..(at + bytes).min(self.image.len())
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { at, bytes, seed } => {
                let range = self.range(at, bytes);
                let bytes = Random::new(seed).bytes(range.len());
                self.volume().write_at(range.start as u64, &bytes).unwrap();
                self.image[range].copy_from_slice(&bytes);
            }
            Step::Zero { at, bytes } => {
                let range = self.range(at, bytes);
                self.volume().zero_at(range.start as u64..range.end as u64).unwrap();
                self.image[range].fill(0);
            }
            Step::Sync => self.volume().sync().unwrap(),
            Step::Snapshot => {
                let id = snapshot(self.volume()).unwrap();
                self.taken.push((id, self.image.clone()));
            }
            Step::Reopen => {
                self.volume().sync().unwrap();
                self.volume = None;
            }
            Step::Reset => {
                self.volume = None;
                icecore::volume::reset_volume(&self.repo, NAME).unwrap();
                let len = std::mem::replace(&mut self.image, self.origin.clone()).len();
                self.image.resize(len, 0);
            }
            Step::Restore => {
                let Some((id, image)) = self.taken.last().cloned() else { return };
                self.volume = None;
                icecore::volume::restore_volume(&self.repo, NAME, id).unwrap();
                let len = self.image.len();
                (self.origin, self.image) = (image.clone(), image);
                self.image.resize(len, 0);
                self.base = id;
            }
            Step::Grow { bytes } => {
                let len = (self.image.len() + bytes).min(2 * BASE_BYTES);
                self.volume().sync().unwrap();
                self.volume = None;
                icecore::volume::resize_volume(&self.repo, NAME, len as u64).unwrap();
                self.image.resize(len, 0);
            }
            Step::GrowOpen { bytes } => {
                let len = (self.image.len() + bytes).min(2 * BASE_BYTES);
                self.volume().grow(len as u64).unwrap();
                self.image.resize(len, 0);
            }
            Step::Gc => drop(collect(&self.repo).unwrap()),
            Step::DeleteOldest => {
                if let Some(at) = self.taken.iter().position(|(id, _)| *id != self.base) {
                    let oldest = self.taken.remove(at).0;
                    icecore::snapshot::delete(&self.repo, oldest, DeleteOptions::default()).unwrap();
                }
            }
            Step::DeleteOrigin => {
                let options = DeleteOptions { clones_keep_it: true };
                if let Err(error) = icecore::snapshot::delete(&self.repo, self.base, options) {
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                }
                self.taken.retain(|(id, _)| *id != self.base);
            }
            Step::Label { key } => {
                let set = BTreeMap::from([(format!("k{key}"), self.labels.len().to_string())]);
                let gone = format!("k{}", (key + 1) % 5);
                icecore::volume::relabel_volume(&self.repo, NAME, &set, std::slice::from_ref(&gone)).unwrap();
                self.labels.extend(set);
                self.labels.remove(&gone);
            }
        }
    }

    fn check(&mut self) {
        assert_eq!(icecore::volume::find_volume(&self.repo, NAME).unwrap().labels, self.labels);
        let image = self.image.clone();
        let volume = self.volume();
        assert!(content(volume).unwrap() == image, "the volume differs from the model");
        // What is not data is zero, and all data is found.
        let (mut at, mut covered) = (0, 0);
        while let Some(data) = volume.next_data(at).unwrap() {
            assert!(
                data.start >= at && data.start < data.end && data.end <= image.len() as u64,
                "{data:?} from {at}"
            );
            assert!(is_zero(&image[usize::try_from(at).unwrap()..usize::try_from(data.start).unwrap()]));
            covered += data.end - data.start;
            at = data.end;
        }
        assert!(is_zero(&image[usize::try_from(at).unwrap()..]));
        assert!(covered > 0 || is_zero(&image));
    }

    fn check_all(&self) {
        for (id, image) in &self.taken {
            restores(&self.repo, *id, image).unwrap();
            // A snapshot that was patched is the one that a capture of the whole image makes.
            let whole =
                icecore::snapshot::capture(&self.repo, image, &options("whole"), &icecore::NoProgress)
                    .unwrap()
                    .snapshot;
            let patched = icecore::snapshot::find(&self.repo, &id.to_string()).unwrap();
            assert_eq!((patched.content, patched.stats.data_bytes), (whole.content, whole.stats.data_bytes));
        }
    }
}

#[test]
pub(crate) fn random_histories_of_a_volume_are_those_of_a_plain_image() {
    let mut config =
        ProptestConfig { source_file: Some(file!()), max_shrink_iters: 2000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 24;
    }
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..40))| {
        let mut modelled = ModelledVolume::new();
        for step in &steps {
            modelled.take(step);
            modelled.check();
        }
        modelled.check_all();
    });
}

#[test]
fn an_overlay_that_is_damaged_or_cut_is_not_opened() {
    // The doubles must not hide that a file of an overlay is gone.
    let bench = TestRepository::new();
    let base = bench.snapshot("base", &Random::new(1).disk(1 << 20));
    let repo = Arc::new(bench.another());
    icecore::volume::create_volume(&repo, &volume_options(NAME, Some(base), None)).unwrap();
    let volume = open(&repo, NAME).unwrap();
    volume.write_at(0, &[1; 4096]).unwrap();
    volume.sync().unwrap();
    drop(volume);
    let storage: &MemoryStorage = &bench.storage;
    for (file, bytes) in
        storage.files().into_iter().filter(|(name, _)| name.starts_with("local/volumes/scratch/"))
    {
        let damaged = if bytes.is_empty() { vec![1] } else { vec![bytes[0] ^ 1] };
        storage.put(&file, damaged);
        let error = open(&repo, NAME).err().unwrap_or_else(|| panic!("{file} was not missed"));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{file}: {error}");
        storage.put(&file, bytes);
    }
    assert!(open(&repo, NAME).is_ok());
}
