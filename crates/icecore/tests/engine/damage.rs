//! A small repository in memory to be damaged by tests, and the damages.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use icecore::Error;
use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::maintenance::Depth;
use icecore::maintenance::LostRange;
use icecore::maintenance::VerifyReport;
use icecore::maintenance::verify;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::scale::keep_pages_apart;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::CaptureReport;
use icecore::snapshot::OnDamage;
use icecore::snapshot::RestoreTo;
use icecore::snapshot::SnapshotId;
use icecore::snapshot::capture;
use icecore::snapshot::restore;
use icecore::storage::Call;
use icecore::storage::MemoryStorage;
use icecore::storage::Op;
use icecore::storage::Storage;
use icecore::storage::Watch;
use icecore::storage::Watched;
use icecore_testing::random::Random;
use icecore_testing::repository::options;
use icecore_testing::repository::session;
use uuid::Uuid;

pub(crate) const BLOCK: usize = 4096;
pub(crate) const CHUNK: usize = 16 * BLOCK;
pub(crate) const LEAF: usize = 4 << 20;
pub(crate) const PACK_HEADER: usize = 64;
pub(crate) const RECORD_HEADER: usize = 40;

/// A repository with snapshots, and what each is of.
pub(crate) struct Fixture {
    pub(crate) storage: MemoryStorage,
    pub(crate) images: Vec<(SnapshotId, Vec<u8>)>,
    /// The pack of the data and the pack of the pages that each capture added, by path.
    pub(crate) packs: Vec<(String, String)>,
}

/// Returns bytes that no other seed gives and that compress to about a half.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).compressible(len)
}

/// Opens the repository in a storage as another process would. Its captures put chunks and pages
/// into packs of their own, so that each can be damaged by itself.
pub(crate) fn open(storage: &(impl Storage + Clone + 'static)) -> Result<Repository, Error> {
    let mut repo = Repository::open(Arc::new(storage.clone()), session())?;
    keep_pages_apart(&mut repo);
    Ok(repo)
}

/// Captures an image of a volume; the number gives the snapshot its id and its time.
pub(crate) fn take(repo: &Repository, number: u32, volume: &str, image: &dyn ReadAt) -> CaptureReport {
    let options = CaptureOptions {
        id: SnapshotId(Uuid::from_u128(number.into())),
        created_unix_ms: number.into(),
        name: format!("number {number}"),
        ..options(volume)
    };
    capture(repo, image, &options, &NoProgress).unwrap()
}

/// Returns the image of a snapshot.
pub(crate) fn read(repo: &Repository, id: SnapshotId) -> Result<Vec<u8>, Error> {
    let mut image = Vec::new();
    restore(repo, id, RestoreTo::Stream(&mut image), OnDamage::Stop, &NoProgress)?;
    Ok(image)
}

impl Fixture {
    /// Captures images one after another, each as a snapshot of the volume it is given with.
    pub(crate) fn new(images: Vec<(&str, Vec<u8>)>) -> Self {
        Self::with_key([7; 32], images)
    }

    /// The same in a repository of its own.
    pub(crate) fn with_key(key: [u8; 32], images: Vec<(&str, Vec<u8>)>) -> Self {
        let storage = MemoryStorage::new();
        let id = RepositoryId(Uuid::from_u128(70 + u128::from(key[0])));
        let options =
            InitOptions { id, secrets: Secrets::Plain(key), created_unix_ms: 0, level: 1, parity: None };
        Repository::init(Arc::new(storage.clone()), Uuid::from_u128(0), &options).unwrap();
        let mut fixture = Self { storage, images: Vec::new(), packs: Vec::new() };
        for (number, (volume, image)) in (1..).zip(images) {
            let before = fixture.files("packs/");
            let report = take(&open(&fixture.storage).unwrap(), number, volume, &image);
            let new: Vec<_> = fixture.files("packs/").difference(&before).cloned().collect();
            let of_kind = |kind| new.iter().find(|path| fixture.bytes(path)[10] == kind).cloned();
            let packs = (of_kind(1).unwrap_or_default(), of_kind(2).unwrap_or_default());
            fixture.packs.push(packs);
            fixture.images.push((report.snapshot.id, image));
        }
        fixture
    }

    /// Three snapshots: a volume of three leaves, the same with block 3 changed, and another
    /// volume.
    pub(crate) fn three() -> Self {
        let first = noise(1, 2 * LEAF + 5 * CHUNK + 1000);
        let mut second = first.clone();
        second[3 * BLOCK..4 * BLOCK].copy_from_slice(&noise(2, BLOCK));
        Self::new(vec![("a", first), ("a", second), ("b", noise(3, LEAF + CHUNK))])
    }

    /// Captures an image while nothing is known of what is stored: what it has in common with
    /// others is stored twice, in different packs. Returns the pack of the data and the pack of the
    /// pages.
    pub(crate) fn add_unaware(&mut self, volume: &str, image: Vec<u8>) -> (String, String) {
        let known: Vec<String> = ["index/", "packs/"].iter().flat_map(|dir| self.files(dir)).collect();
        let hide = |path: &str| format!("local/tmp/{}", path.replace('/', "-"));
        known.iter().for_each(|path| self.storage.rename(path, &hide(path)).unwrap());
        let number = u32::try_from(self.images.len() + 1).unwrap();
        let id = take(&open(&self.storage).unwrap(), number, volume, &image).snapshot.id;
        let new: Vec<String> = self.files("packs/").into_iter().collect();
        known.iter().for_each(|path| self.storage.rename(&hide(path), path).unwrap());
        self.images.push((id, image));
        let of_kind = |kind| new.iter().find(|path| self.bytes(path)[10] == kind).cloned().unwrap();
        let packs = (of_kind(1), of_kind(2));
        self.packs.push(packs.clone());
        packs
    }

    pub(crate) fn id(&self, index: usize) -> SnapshotId {
        self.images[index].0
    }

    pub(crate) fn open(&self) -> Repository {
        open(&self.storage).unwrap()
    }

    /// Returns the paths of files that begin with `prefix`.
    pub(crate) fn files(&self, prefix: &str) -> BTreeSet<String> {
        self.storage.files().into_keys().filter(|path| path.starts_with(prefix)).collect()
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        self.storage.files().remove(path).unwrap()
    }

    pub(crate) fn flip(&self, path: &str, at: usize) {
        let mut bytes = self.bytes(path);
        bytes[at] ^= 0x10;
        self.storage.put(path, bytes);
    }

    /// Returns where the records of a pack begin.
    pub(crate) fn records(&self, path: &str) -> Vec<usize> {
        let bytes = self.bytes(path);
        let mut starts = Vec::new();
        let mut at = PACK_HEADER;
        while bytes[at..].starts_with(b"ICER") {
            // All but copies of records.
            if bytes[at + 5] & 2 == 0 {
                starts.push(at);
            }
            let field = |from: usize| {
                let bytes: [u8; 4] = bytes[at + from..][..4].try_into().unwrap();
                usize::try_from(u32::from_le_bytes(bytes)).unwrap()
            };
            at += RECORD_HEADER + field(12);
        }
        starts
    }

    pub(crate) fn verify(&self, depth: Depth) -> VerifyReport {
        verify(&self.open(), None, depth, &NoProgress).unwrap()
    }

    pub(crate) fn assert_restores(&self, index: usize) {
        let (id, image) = &self.images[index];
        let restored = read(&self.open(), *id).unwrap();
        assert!(restored == *image, "snapshot {index} has another content");
    }

    /// Asserts that all snapshots can be restored and that nothing is wrong.
    pub(crate) fn assert_sound(&self) {
        (0..self.images.len()).for_each(|index| self.assert_restores(index));
        assert_eq!(self.verify(Depth::ReadData).findings, []);
    }

    /// Returns a lost range as it is told.
    pub(crate) fn lost(&self, index: usize, range: Range<usize>) -> LostRange {
        let bytes = |n: usize| u64::try_from(n).unwrap();
        LostRange {
            snapshot: self.id(index),
            name: format!("number {}", index + 1),
            offset: bytes(range.start),
            bytes: bytes(range.len()),
        }
    }
}

/// Returns a storage with a file of which a part cannot be read.
pub(crate) fn bad_sector(
    inner: &MemoryStorage,
    path: &str,
    bad: Range<u64>,
) -> Watched<MemoryStorage, BadSector> {
    Watched::new(inner.clone(), BadSector { path: path.to_owned(), bad })
}

pub(crate) struct BadSector {
    path: String,
    bad: Range<u64>,
}

impl Watch for BadSector {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        let is_bad = call.range.start < self.bad.end && call.range.end > self.bad.start;
        match call.op == Op::Read && call.name == self.path && is_bad {
            true => Err(io::Error::other("bad sector")),
            false => Ok(()),
        }
    }
}
