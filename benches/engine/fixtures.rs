//! Where the measured repositories are, and what goes on in them.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use icecore::NoProgress;
use icecore::image::ReadAt;
use icecore::repository::InitOptions;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::snapshot::CaptureOptions;
use icecore::snapshot::DeleteOptions;
use icecore::snapshot::Parent;
use icecore::snapshot::ResourceKind;
use icecore::snapshot::SnapshotId;
use icecore::storage::FsStorage;
use icecore::storage::MemoryStorage;
use icecore::storage::Storage;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const KEY: [u8; 32] = [7; 32];

fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn session() -> Uuid {
    Uuid::from_u128(u128::from(fresh()))
}

/// A repository and where it is: it goes away with this.
pub(crate) struct Fixture {
    pub(crate) repo: Repository,
    kind: Kind,
}

enum Kind {
    Memory(MemoryStorage),
    Directory(TempDir),
}

impl Kind {
    fn storage(&self) -> Arc<dyn Storage> {
        match self {
            Self::Memory(storage) => Arc::new(storage.clone()),
            Self::Directory(dir) => Arc::new(FsStorage::new(dir.path())),
        }
    }
}

impl Fixture {
    /// Makes an empty repository, in memory or in a directory.
    pub(crate) fn new(in_memory: bool) -> Self {
        let kind = if in_memory {
            Kind::Memory(MemoryStorage::new())
        } else {
            Kind::Directory(tempfile::tempdir().unwrap())
        };
        let options = InitOptions {
            id: RepositoryId(Uuid::from_u128(1)),
            secrets: Secrets::Plain(KEY),
            created_unix_ms: 1_764_000_000_000,
            level: icecore::repository::DEFAULT_LEVEL,
            parity: None,
        };
        Self { repo: Repository::init(kind.storage(), session(), &options).unwrap(), kind }
    }

    /// Returns a repository with the same content.
    pub(crate) fn copy(&self) -> Self {
        let kind = match &self.kind {
            Kind::Memory(storage) => {
                let copy = MemoryStorage::new();
                storage.files().into_iter().for_each(|(name, bytes)| copy.put(&name, bytes));
                Kind::Memory(copy)
            }
            Kind::Directory(dir) => {
                let copy = tempfile::tempdir().unwrap();
                copy_dir(dir.path(), copy.path());
                Kind::Directory(copy)
            }
        };
        Self { repo: Repository::open(kind.storage(), session()).unwrap(), kind }
    }

    /// Opens the repository once more, as another process would.
    pub(crate) fn open(&self) -> Repository {
        Repository::open(self.kind.storage(), session()).unwrap()
    }

    pub(crate) fn capture(&self, image: &dyn ReadAt) -> SnapshotId {
        self.capture_as(image, Parent::Newest, true)
    }

    pub(crate) fn capture_as(&self, image: &dyn ReadAt, parent: Parent, check: bool) -> SnapshotId {
        let number = fresh();
        let options = CaptureOptions {
            parent,
            check,
            ..CaptureOptions::new(
                SnapshotId(Uuid::from_u128(u128::from(number) << 64)),
                1_764_000_000_000 + i64::try_from(number).unwrap(),
                ResourceKind::Volume,
                "disk",
                format!("snapshot-{number}"),
            )
        };
        icecore::snapshot::capture(&self.repo, image, &options, &NoProgress).unwrap().snapshot.id
    }

    /// Deletes all snapshots but one. What they stored stays.
    pub(crate) fn keep_only(&self, kept: SnapshotId) {
        for snapshot in icecore::snapshot::list(&self.repo).unwrap() {
            if snapshot.id != kept {
                icecore::snapshot::delete(&self.repo, snapshot.id, DeleteOptions::default()).unwrap();
            }
        }
    }
}

/// Packs and index runs never change, so that another name for each is a copy of it.
fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let copy: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&copy).unwrap();
            copy_dir(&entry.path(), &copy);
        } else if from.ends_with("locks") {
            fs::copy(entry.path(), copy).unwrap();
        } else {
            fs::hard_link(entry.path(), copy).unwrap();
        }
    }
}
