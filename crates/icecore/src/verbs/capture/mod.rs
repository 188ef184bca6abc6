//! Capture: turns an image into a snapshot.

mod buffers;
mod changed;
mod choose;
mod commit;
mod draft;
#[cfg(feature = "shuttle")]
#[cfg(test)]
mod model;
mod options;
mod packing;
mod pages;
mod parent;
mod pipeline;
mod regions;
mod scan;

#[cfg(feature = "testing")]
use std::ops::Range;

use crate::format::record::Record;
use crate::repository::Repository;
use crate::stores::journal::catalog::Catalog;
use crate::stores::locks;
use crate::stores::notes::Damage;
pub(crate) use crate::verbs::capture::changed::Changed;
use crate::verbs::capture::commit::Commit;
pub(crate) use crate::verbs::capture::commit::Dating;
pub(crate) use crate::verbs::capture::commit::Ending;
pub(crate) use crate::verbs::capture::commit::all_there;
use crate::verbs::capture::commit::commit;
pub use crate::verbs::capture::options::CaptureOptions;
pub use crate::verbs::capture::options::CopyOptions;
pub use crate::verbs::capture::options::Parent;
pub use crate::verbs::capture::options::VolumeSnapshotOptions;
use crate::verbs::capture::options::check;
use crate::verbs::capture::options::record_of;
use crate::verbs::capture::packing::Compression;
use crate::verbs::capture::packing::Publisher;
use crate::verbs::capture::pipeline::Captured;
use crate::verbs::capture::pipeline::Plan;
use crate::verbs::capture::regions::data_bytes_at_most;
use crate::verbs::capture::scan::size_changed;
use crate::verbs::catalog::Snapshot;
use crate::verbs::catalog::check_name_is_free;
use crate::verbs::gc::is_due;
use crate::verbs::gc::join_small_packs;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::pool;
use crate::words::progress::Meter;
use crate::words::progress::Progress;
use crate::words::sizes::IMAGE_BYTES_MAX;
use crate::words::time::check_time;
use crate::world::io::ImageState;
use crate::world::io::ReadAt;
use crate::world::sessions::Work;

/// How often an image is read again because gc removed data that the snapshot needs. On the last
/// attempt, gc has to wait.
const ATTEMPTS: usize = 3;

/// The result of a capture.
#[derive(Debug, Clone)]
pub struct CaptureReport {
    /// The new snapshot. Its `stats` count the bytes of data, new data and stored data.
    pub snapshot: Snapshot,
    /// The snapshot that the image was compared with.
    pub parent: Option<SnapshotId>,
    /// The newest snapshot of the resource, if the new one had to be dated after it. If the new
    /// snapshot's time is later than the clock, the clock is behind now or was ahead when the other
    /// snapshot was made. Otherwise the other one was started later.
    pub dated_after: Option<SnapshotId>,
    /// Bytes of the image that were read.
    pub read_bytes: u64,
    /// Whether the image is identical to the parent.
    pub unchanged: bool,
    /// Whether the image was not read because its file identity matched the parent's.
    pub trusted_mtime: bool,
    /// Whether the image was written to during the read: the snapshot may mix old and new blocks.
    pub changed_while_read: bool,
}

/// Captures `image` as a new snapshot. When it returns, the snapshot survives a power cut.
///
/// It works on the threads of rayon's pool. If a worker of a pool calls it, it starts its own
/// threads. Captures through one handle of a repository wait for each other.
///
/// # Errors
/// `AlreadyExists` if the resource has a snapshot of that name; `InvalidInput` for a time before
/// 1970 or after 9999; `ImageChanged` if the image changed in size; `Io` with the offset if a part
/// of it cannot be read; `Interrupted` if `progress` says so. The next capture reuses whatever was
/// stored before the error.
pub fn capture(
    repo: &Repository,
    image: &dyn ReadAt,
    options: &CaptureOptions,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    check_time(options.created_unix_ms)?;
    capture_dated(repo, image, options, &Ending::default(), progress)
}

/// Does the same as [`capture`], with a time that is given or decided here.
pub(crate) fn capture_dated(
    repo: &Repository,
    image: &dyn ReadAt,
    options: &CaptureOptions,
    ending: &Ending,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    let read = |job: &Job<'_>| {
        let parent = choose_parent(job.catalog, options)?;
        // If something is damaged, the image is read, because it may still hold the lost data.
        let trusted = trusted_parent(parent.as_ref(), &job.image, options).filter(|_| job.damage.is_empty());
        let trusted = match trusted {
            Some(parent) if repo.store.has_all_packs()? => Some(parent),
            _ => None,
        };
        let trusted_mtime = trusted.is_some();
        let captured = match trusted {
            Some(parent) => unread(parent),
            None => {
                progress.total(Meter::Scanned, data_bytes_at_most(image)?);
                pipeline::run(job.plan(parent.as_ref(), None), &job.record_of(parent.as_ref()))?
            }
        };
        Ok(Read { captured, parent, trusted_mtime })
    };
    pool::apart(|| attempt(repo, image, options, ending, progress, &read))
}

/// Captures `image`, which equals `base` except in the ranges of `changed`, and reads only those.
/// Unchanged ranges beyond the end of `base` are zero. Without a base, all unchanged ranges are
/// zero. The result is the same snapshot that [`capture`] would make, with `base` as its parent.
/// `base` may be gone from the repository as long as gc keeps its data.
///
/// # Errors
/// As for [`capture`]; `InvalidInput` if the image is shorter than `base`, and `Corrupt` if a
/// manifest page above a changed range cannot be read. If a leaf page cannot be read or names lost
/// chunks, the image is read instead.
pub(crate) fn capture_changed(
    repo: &Repository,
    image: &dyn ReadAt,
    base: Option<&Record>,
    changed: &Changed,
    options: &CaptureOptions,
    ending: &Ending,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    let base_bytes = base.map_or(0, |base| base.size_bytes);
    if image.len() < base_bytes {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("an image of {} bytes is shorter than its base of {base_bytes}", image.len()),
        ));
    }
    let read = |job: &Job<'_>| {
        progress.total(Meter::Scanned, changed.bytes_at_most(image.len()));
        let captured = pipeline::run(job.plan(base, Some(changed)), &job.record_of(base))?;
        Ok(Read { captured, parent: base.cloned(), trusted_mtime: false })
    };
    pool::apart(|| attempt(repo, image, options, ending, progress, &read))
}

/// A snapshot that a test keeps as a base, as a volume does.
#[cfg(feature = "testing")]
pub struct KeptBase(Record);

#[cfg(feature = "testing")]
impl KeptBase {
    /// Keeps a snapshot, which may then be deleted.
    ///
    /// # Errors
    /// `NotFound` if no snapshot has that id.
    pub fn load(repo: &Repository, id: SnapshotId) -> Result<Self> {
        repo.catalog()?.get(id).map(Self)
    }

    /// Returns the id of its manifest's root page.
    pub fn root(&self) -> Option<[u8; 16]> {
        self.0.root.map(|root| root.id.0)
    }
}

/// Calls `capture_changed` for a test, with byte ranges in order.
///
/// # Errors
/// As for `capture_changed`.
#[cfg(feature = "testing")]
pub fn capture_ranges(
    repo: &Repository,
    image: &dyn ReadAt,
    base: Option<&KeptBase>,
    ranges: &[Range<u64>],
    options: &CaptureOptions,
    progress: &dyn Progress,
) -> Result<CaptureReport> {
    let mut changed = Changed::default();
    ranges.iter().try_for_each(|range| changed.add(range.clone()))?;
    capture_changed(repo, image, base.map(|base| &base.0), &changed, options, &Ending::default(), progress)
}

/// The result of reading an image.
struct Read {
    captured: Captured,
    parent: Option<Record>,
    trusted_mtime: bool,
}

/// One attempt to capture an image.
struct Job<'a> {
    repo: &'a Repository,
    catalog: &'a Catalog,
    source: &'a dyn ReadAt,
    /// The known state of the image.
    image: ImageState,
    damage: &'a Damage,
    publisher: Option<&'a Publisher<'a>>,
    options: &'a CaptureOptions,
    progress: &'a dyn Progress,
}

impl<'a> Job<'a> {
    fn plan(&self, parent: Option<&'a Record>, changed: Option<&'a Changed>) -> Plan<'a> {
        let level = self.options.level.unwrap_or(self.repo.config.level);
        Plan {
            store: &self.repo.store,
            damage: self.damage,
            image: self.source,
            parent,
            changed,
            publisher: self.publisher,
            compression: Compression { level, check: self.options.check },
            progress: self.progress,
        }
    }

    /// Returns what makes the record of the snapshot, before it gets its time.
    fn record_of(&self, parent: Option<&Record>) -> impl Fn(&Captured) -> Record {
        move |captured| record_of(self.options, parent, captured, &self.image)
    }
}

/// Has `read` store the image and then creates the record. Then puts small packs together if it is
/// time to.
fn attempt(
    repo: &Repository,
    image: &dyn ReadAt,
    options: &CaptureOptions,
    ending: &Ending,
    progress: &dyn Progress,
    read: &dyn Fn(&Job<'_>) -> Result<Read>,
) -> Result<CaptureReport> {
    let (report, joins) = store(repo, image, options, ending, progress, read)?;
    if joins {
        // The snapshot exists, whatever comes of this. A later capture tries again.
        let _ = join_small_packs(repo);
    }
    Ok(report)
}

/// Has `read` store the image and then creates the record. Repeats that if gc has meanwhile removed
/// anything that the record needs. Also tells whether it is time to put small packs together.
fn store(
    repo: &Repository,
    image: &dyn ReadAt,
    options: &CaptureOptions,
    ending: &Ending,
    progress: &dyn Progress,
    read: &dyn Fn(&Job<'_>) -> Result<Read>,
) -> Result<(CaptureReport, bool)> {
    check(options)?;
    let before = image.state().map_err(|error| Error::io("looking at the image", error))?;
    if before.size_bytes > IMAGE_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("an image of {} bytes is too large", before.size_bytes),
        ));
    }
    let files = repo.files();
    let (publisher, mut read_before) = if options.dry_run {
        (None, None)
    } else {
        let catalog = repo.check_writable()?;
        (Some(Publisher::begin(files, catalog.settings.parity())?), Some(catalog))
    };
    for attempt in 1..=ATTEMPTS {
        let _gc_waits = match attempt {
            ATTEMPTS if publisher.is_some() => Some(locks::only(files, Work::Gc)?),
            _ => None,
        };
        // The journal is read before the index: what the index then has is not condemned yet, or
        // an entry after this one condemns it.
        let catalog = read_before.take().map_or_else(|| repo.catalog(), Ok)?;
        repo.store.reload()?;
        if !options.name_may_repeat {
            check_name_is_free(&catalog, &options.draft())?;
        }
        let damage = Damage::load(files);
        let publisher = publisher.as_ref();
        let job = Job {
            repo,
            catalog: &catalog,
            source: image,
            image: before,
            damage: &damage,
            publisher,
            options,
            progress,
        };
        let Read { captured, parent, trusted_mtime } = read(&job)?;
        let after = image.state().map_err(|error| Error::io("looking at the image", error))?;
        if after.size_bytes != before.size_bytes {
            return Err(size_changed(before.size_bytes, after.size_bytes, ""));
        }
        let mut record = job.record_of(parent.as_ref())(&captured);
        publisher.map_or(Ok(()), |publisher| publisher.finish_parity(progress))?;
        let committed = match publisher {
            Some(_) => commit(repo, &mut record, ending, options.name_may_repeat, catalog.number)?,
            None => Commit::Done { entry: catalog.number, dated_after: None },
        };
        let Commit::Done { entry, dated_after } = committed else { continue };
        let joins = is_due(catalog.number, entry);
        let report = CaptureReport {
            parent: parent.as_ref().map(|parent| parent.id),
            dated_after,
            read_bytes: captured.read_bytes,
            unchanged: parent.as_ref().is_some_and(|parent| parent.content == captured.content),
            trusted_mtime,
            changed_while_read: before.was_written(&after),
            snapshot: record,
        };
        return Ok((report, joins));
    }
    Err(Error::new(ErrorKind::InUse, "gc removed again and again what this capture needs")
        .with_hint("capture the image again when gc has ended"))
}

fn choose_parent(catalog: &Catalog, options: &CaptureOptions) -> Result<Option<Record>> {
    match options.parent {
        Parent::None => Ok(None),
        Parent::Snapshot(id) => catalog.get(id).map(Some),
        Parent::Newest => catalog.newest_of(options.kind, &options.resource),
    }
}

/// Returns the parent if the image need not be read: it is the same file that the parent was
/// captured from, and unchanged.
fn trusted_parent<'a>(
    parent: Option<&'a Record>,
    image: &ImageState,
    options: &CaptureOptions,
) -> Option<&'a Record> {
    let parent = parent.filter(|_| options.trust_mtime)?;
    (image.identity.is_some() && parent.source == image.identity && parent.size_bytes == image.size_bytes)
        .then_some(parent)
}

fn unread(parent: &Record) -> Captured {
    Captured {
        root: parent.root,
        content: parent.content,
        read_bytes: 0,
        data_bytes: parent.stats.data_bytes,
        new_bytes: 0,
        data: Default::default(),
        pages: Default::default(),
    }
}
