//! A local copy-on-write block-device snapshot engine. It turns raw disk images into deduplicated,
//! compressed, verified snapshots in a repository, and snapshots back into images.
//!
//! A [`Repository`](repository::Repository) is opened in a [`Place`](storage::Place), most often a
//! directory ([`FsStorage`](storage::FsStorage)). Each operation is a function that
//! takes the repository:
//!
//! * [`snapshot`]: capture an image, restore it, list, find, rename, delete, copy, compare, and
//!   read a snapshot as a disk.
//! * [`volume`]: create a writable disk from a snapshot, serve it, and take snapshots of it while
//!   it is in use.
//! * [`maintenance`]: verify, repair, free the space that no snapshot needs, keep parity, count.
//! * [`bench`](mod@bench): measure all of this with given data.
//! * [`image`]: files and block devices as images, or anything else that implements
//!   [`ReadAt`](image::ReadAt) and [`WriteAt`](image::WriteAt).
//!
//! The library is synchronous and silent: it prints nothing, reads no environment, and takes the
//! time, ids and keys as arguments. It works on all cores through rayon's global pool; call it from
//! threads outside that pool.
//!
//! ```
//! use std::sync::Arc;
//!
//! use icecore::NoProgress;
//! use icecore::image::{ImageFile, NewTarget};
//! use icecore::repository::{DEFAULT_LEVEL, InitOptions, Repository, RepositoryId, Secrets};
//! use icecore::snapshot::{CaptureOptions, OnDamage, ResourceKind, RestoreTo, SnapshotId, capture, restore};
//! use icecore::storage::FsStorage;
//! use uuid::Uuid;
//!
//! # let dir = tempfile::tempdir()?;
//! # let (image, copy) = (dir.path().join("disk.raw"), dir.path().join("copy.raw"));
//! # let (id, snapshot) = (Uuid::from_u128(1), Uuid::from_u128(2));
//! # let (session, key, now) = (Uuid::from_u128(3), [7; 32], 1_764_000_000_000);
//! std::fs::write(&image, b"a very small disk")?;
//!
//! let storage = Arc::new(FsStorage::new(dir.path().join("repository")));
//! let (id, level, secrets) = (RepositoryId(id), DEFAULT_LEVEL, Secrets::Plain(key));
//! let repository = InitOptions { id, secrets, created_unix_ms: now, level, parity: None };
//! let repo = Repository::init(storage, session, &repository)?;
//!
//! let options = CaptureOptions::new(SnapshotId(snapshot), now, ResourceKind::Volume, "disk", "first");
//! let report = capture(&repo, &ImageFile::open(&image)?, &options, &NoProgress)?;
//!
//! let target = NewTarget::create(&copy, report.snapshot.size_bytes, false, session)?;
//! restore(&repo, report.snapshot.id, RestoreTo::Fresh(&target), OnDamage::Stop, &NoProgress)?;
//! target.finish()?;
//! assert_eq!(std::fs::read(&copy)?, b"a very small disk");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod format;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
mod pure;
pub mod repository;
#[cfg(feature = "testing")]
pub mod scale;
#[cfg(feature = "testing")]
pub mod stages;
mod stores;
mod verbs;
mod views;
mod words;
mod world;

pub use crate::words::error::Error;
pub use crate::words::error::ErrorKind;
pub use crate::words::error::Result;
pub use crate::words::ids::BlockId;
pub use crate::words::ids::ChunkId;
pub use crate::words::ids::Digest;
pub use crate::words::ids::PackId;
pub use crate::words::next_step::NextStep;
pub use crate::words::pool::start_workers;
pub use crate::words::progress::Meter;
pub use crate::words::progress::NoProgress;
pub use crate::words::progress::Progress;
pub use crate::words::sizes::BLOCK_BYTES;
pub use crate::words::sizes::IMAGE_BYTES_MAX;
pub use crate::words::sizes::SPAN_BYTES;
pub use crate::world::guard::guard_mappings;

/// Measures icecore's speed and compression with given data on this machine.
pub mod bench {
    pub use crate::verbs::bench::BenchData;
    pub use crate::verbs::bench::BenchOptions;
    pub use crate::verbs::bench::BenchPlace;
    pub use crate::verbs::bench::BenchReport;
    pub use crate::verbs::bench::BenchRun;
    pub use crate::verbs::bench::Layout;
    pub use crate::verbs::bench::LevelSize;
    pub use crate::verbs::bench::RunTime;
    pub use crate::verbs::bench::Stage;
    pub use crate::verbs::bench::StageTime;
    pub use crate::verbs::bench::WhatIf;
    pub use crate::verbs::bench::bench;
}

/// The sources and targets of image data: files, block devices, and anything that implements
/// `ReadAt` and `WriteAt`.
pub mod image {
    pub use crate::format::foreign::ForeignFormat;
    pub use crate::world::image::ImageContent;
    pub use crate::world::image::ImageFile;
    pub use crate::world::in_place::OpenTarget;
    pub use crate::world::in_place::TargetEnd;
    pub use crate::world::inside::check_outside_repository;
    pub use crate::world::io::ImageState;
    pub use crate::world::io::ReadAt;
    pub use crate::world::io::WriteAt;
    pub use crate::world::target::NewTarget;
}

/// The keys of a sealed repository: its slots, and the epochs of what is sealed.
pub mod keys {
    pub use crate::stores::slots::SlotInfo;
    pub use crate::stores::slots::SlotState;
    pub use crate::verbs::keys::SlotChanges;
    pub use crate::verbs::keys::change_slots;
    pub use crate::verbs::keys::epoch;
    pub use crate::verbs::keys::list_slots;
    pub use crate::verbs::keys::master_key;
    pub use crate::verbs::keys::rotate;
}

/// Keeps a repository sound and small: verify, repair, garbage collection, parity, statistics.
pub mod maintenance {
    pub use crate::verbs::gc;
    pub use crate::verbs::log::Author;
    pub use crate::verbs::log::Event;
    pub use crate::verbs::log::LogEntry;
    pub use crate::verbs::log::log;
    pub use crate::verbs::parity::ParityReport;
    pub use crate::verbs::parity::parity_report;
    pub use crate::verbs::parity::set_parity;
    pub use crate::verbs::repair::RepairCatalogReport;
    pub use crate::verbs::repair::RepairIndexReport;
    pub use crate::verbs::repair::RepairPacksReport;
    pub use crate::verbs::repair::RepairSnapshotsReport;
    pub use crate::verbs::repair::repair_catalog;
    pub use crate::verbs::repair::repair_index;
    pub use crate::verbs::repair::repair_packs;
    pub use crate::verbs::repair::repair_snapshots;
    pub use crate::verbs::stats::RepositoryStats;
    pub use crate::verbs::stats::StatsReport;
    pub use crate::verbs::stats::stats;
    pub use crate::verbs::verify::Depth;
    pub use crate::verbs::verify::Finding;
    pub use crate::verbs::verify::LostRange;
    pub use crate::verbs::verify::VerifyReport;
    pub use crate::verbs::verify::verify;
    pub use crate::verbs::verify::verify_and_note;
}

/// Creates, reads, restores and manages snapshots.
pub mod snapshot {
    pub use crate::format::record::CaptureStats;
    pub use crate::format::record::FileIdentity;
    pub use crate::verbs::capture::CaptureOptions;
    pub use crate::verbs::capture::CaptureReport;
    pub use crate::verbs::capture::CopyOptions;
    #[cfg(feature = "testing")]
    pub use crate::verbs::capture::KeptBase;
    pub use crate::verbs::capture::Parent;
    pub use crate::verbs::capture::capture;
    #[cfg(feature = "testing")]
    pub use crate::verbs::capture::capture_ranges;
    pub use crate::verbs::catalog::DeleteOptions;
    pub use crate::verbs::catalog::DeletedSnapshot;
    pub use crate::verbs::catalog::FreeDeleted;
    pub use crate::verbs::catalog::Moment;
    pub use crate::verbs::catalog::RenameOptions;
    pub use crate::verbs::catalog::Snapshot;
    pub use crate::verbs::catalog::changed_between;
    pub use crate::verbs::catalog::clock_behind_ms;
    pub use crate::verbs::catalog::delete;
    pub use crate::verbs::catalog::delete_all;
    pub use crate::verbs::catalog::delete_free;
    pub use crate::verbs::catalog::find;
    pub use crate::verbs::catalog::find_deleted;
    pub use crate::verbs::catalog::list;
    pub use crate::verbs::catalog::list_deleted;
    pub use crate::verbs::catalog::now;
    pub use crate::verbs::catalog::relabel;
    pub use crate::verbs::catalog::rename;
    pub use crate::verbs::catalog::retag;
    pub use crate::verbs::catalog::set_protected;
    pub use crate::verbs::catalog::undelete;
    pub use crate::verbs::copy::CopyReport;
    pub use crate::verbs::copy::copy;
    pub use crate::verbs::diff::Change;
    pub use crate::verbs::diff::ChangedRange;
    pub use crate::verbs::diff::DiffTotals;
    pub use crate::verbs::diff::diff;
    pub use crate::verbs::map::ImageMap;
    pub use crate::verbs::map::MAP_CELLS_MAX;
    pub use crate::verbs::map::MapCell;
    pub use crate::verbs::map::MapOptions;
    pub use crate::verbs::map::image_map;
    pub use crate::verbs::restore::BadRange;
    pub use crate::verbs::restore::BadRanges;
    pub use crate::verbs::restore::OnDamage;
    pub use crate::verbs::restore::RestoreReport;
    pub use crate::verbs::restore::RestoreTo;
    pub use crate::verbs::restore::restore;
    pub use crate::verbs::retention;
    pub use crate::verbs::stats::OwnBytes;
    pub use crate::verbs::stats::SnapshotStats;
    pub use crate::verbs::stats::own_bytes;
    pub use crate::verbs::stats::snapshot_stats;
    pub use crate::views::cache::BlockCache;
    pub use crate::views::snapshot::SnapshotDisk;
    pub use crate::words::ids::SnapshotId;
    pub use crate::words::names::ResourceKind;
}

/// The places of repositories: objects, local files and sessions.
pub mod storage {
    pub use crate::world::directory::Directory;
    pub use crate::world::fs::FsStorage;
    #[cfg(feature = "testing")]
    pub use crate::world::memory::MemoryStorage;
    pub use crate::world::objects::Freeing;
    pub use crate::world::objects::NewObject;
    pub use crate::world::objects::Objects;
    pub use crate::world::objects::Put;
    pub use crate::world::objects::Told;
    pub use crate::world::objects::is_retained;
    pub use crate::world::objects::retained;
    pub use crate::world::place::Place;
    pub use crate::world::sessions::Claim;
    pub use crate::world::sessions::Sessions;
    pub use crate::world::sessions::Work;
    pub use crate::world::storage::LockGuard;
    pub use crate::world::storage::LockMode;
    pub use crate::world::storage::Mapped;
    pub use crate::world::storage::NewFile;
    pub use crate::world::storage::RandomFile;
    pub use crate::world::storage::Storage;
    pub use crate::world::storage::StoredFile;
    pub use crate::world::storage::Wait;
    pub use crate::world::watched::Call;
    pub use crate::world::watched::Op;
    pub use crate::world::watched::Watch;
    pub use crate::world::watched::Watched;
}

/// Writable disks created from snapshots.
pub mod volume {
    pub use crate::verbs::capture::VolumeSnapshotOptions;
    pub use crate::verbs::volume::StoredReads;
    pub use crate::verbs::volume::UnreadableVolume;
    pub use crate::verbs::volume::VolumeInfo;
    pub use crate::verbs::volume::VolumeListing;
    pub use crate::verbs::volume::VolumeOptions;
    pub use crate::verbs::volume::create_volume;
    pub use crate::verbs::volume::delete_volume;
    pub use crate::verbs::volume::export_volume;
    pub use crate::verbs::volume::find_volume;
    pub use crate::verbs::volume::list_volumes;
    pub use crate::verbs::volume::relabel_volume;
    pub use crate::verbs::volume::reset_volume;
    pub use crate::verbs::volume::resize_volume;
    pub use crate::verbs::volume::restore_volume;
    pub use crate::verbs::volume::snapshot_volume;
    pub use crate::verbs::volume::store_reads;
    pub use crate::verbs::volume::volume_dir;
    pub use crate::verbs::volume::volume_in;
    pub use crate::verbs::volume::watched_files;
    pub use crate::verbs::volume::written_bytes;
    pub use crate::views::prefetch::Prefetch;
    pub use crate::views::prefetch::PrefetchEnd;
    pub use crate::views::prefetch::PrefetchExtent;
    pub use crate::views::prefetch::PrefetchReport;
    pub use crate::views::volume::Volume;
    pub use crate::words::ids::VolumeId;
}
