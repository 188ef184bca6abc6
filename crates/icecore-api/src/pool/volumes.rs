//! The volumes of a region, as their records say. Records are read again only when they change, so
//! that a request costs the same however many volumes there are.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::Repository;
use icecore::volume::VolumeId;
use icecore::volume::VolumeInfo;
use uuid::Uuid;

use crate::pool::watch::Changed;
use crate::pool::watch::Watch;

/// The volumes of a region at one moment, in several orders.
#[derive(Default, Clone)]
pub(crate) struct VolumeTable {
    /// By creation.
    sorted: Vec<Arc<VolumeInfo>>,
    by_id: Vec<Arc<VolumeInfo>>,
    by_name: Vec<Arc<VolumeInfo>>,
}

impl VolumeTable {
    fn new(volumes: Vec<VolumeInfo>) -> Self {
        let mut by_name: Vec<_> = volumes.into_iter().map(Arc::new).collect();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut sorted, mut by_id) = (by_name.clone(), by_name.clone());
        sorted.sort_by_key(|volume| place(volume));
        by_id.sort_by_key(|volume| volume.id);
        Self { sorted, by_id, by_name }
    }

    /// Takes a volume out.
    fn remove(&mut self, volume: &VolumeInfo) {
        let Ok(at) = self.by_name.binary_search_by(|other| other.name.as_str().cmp(&volume.name)) else {
            return;
        };
        let gone = self.by_name.remove(at);
        if let Ok(at) = self.sorted.binary_search_by_key(&place(&gone), |other| place(other)) {
            self.sorted.remove(at);
        }
        if let Ok(at) = self.by_id.binary_search_by_key(&gone.id, |other| other.id) {
            self.by_id.remove(at);
        }
    }

    /// Puts a volume in the place of one with its name.
    fn insert(&mut self, volume: VolumeInfo) {
        self.remove(&volume);
        let volume = Arc::new(volume);
        let at = self.by_name.partition_point(|other| other.name < volume.name);
        self.by_name.insert(at, Arc::clone(&volume));
        let at = self.sorted.partition_point(|other| place(other) < place(&volume));
        self.sorted.insert(at, Arc::clone(&volume));
        let at = self.by_id.partition_point(|other| other.id < volume.id);
        self.by_id.insert(at, volume);
    }

    /// Returns all volumes, oldest first.
    pub(crate) fn all(&self) -> &[Arc<VolumeInfo>] {
        &self.sorted
    }

    /// Returns a volume by its id.
    pub(crate) fn get(&self, id: Uuid) -> Option<&Arc<VolumeInfo>> {
        let at = self.by_id.binary_search_by_key(&VolumeId(id), |volume| volume.id).ok()?;
        self.by_id.get(at)
    }

    /// Returns a volume by its name in the engine.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<VolumeInfo>> {
        let at = self.by_name.binary_search_by(|volume| volume.name.as_str().cmp(name)).ok()?;
        self.by_name.get(at)
    }

    /// Returns the names of the volumes that differ from another table's.
    pub(crate) fn differing(&self, other: &Self) -> BTreeSet<String> {
        let (mut own, mut others) = (self.by_name.iter().peekable(), other.by_name.iter().peekable());
        let mut differing = BTreeSet::new();
        loop {
            let next = match (own.peek(), others.peek()) {
                (None, None) => return differing,
                (Some(own), None) => &own.name,
                (None, Some(other)) => &other.name,
                (Some(own), Some(other)) => (&own.name).min(&other.name),
            };
            let (own, other) = (own.next_if(|it| it.name == *next), others.next_if(|it| it.name == *next));
            if !own.zip(other).is_some_and(|(own, other)| Arc::ptr_eq(own, other)) {
                differing.insert(next.clone());
            }
        }
    }
}

/// Returns the place of a volume in the order of creation.
fn place(volume: &VolumeInfo) -> (i64, VolumeId) {
    (volume.created_unix_ms, volume.id)
}

/// What is known of the volumes of a region.
#[derive(Default)]
pub(super) struct Volumes(Mutex<Known>);

#[derive(Default)]
struct Known {
    watch: Option<Watch>,
    table: Arc<VolumeTable>,
    /// The names of the volumes in directories.
    names: HashMap<String, String>,
}

impl Volumes {
    /// Returns the volumes as they are now. `dir` has the repository's local files.
    pub(super) fn now(&self, repo: &Repository, dir: &Path) -> Result<Arc<VolumeTable>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After an error, all is read again.
        let mut watch = known.watch.take();
        match watch.as_mut().map_or(Changed::Unknown, Watch::changed) {
            Changed::In(changed) if changed.is_empty() => {}
            Changed::In(changed) => {
                let mut table = VolumeTable::clone(&known.table);
                for dir in changed {
                    if let Some(old) = known.names.get(&dir).and_then(|name| table.named(name)).cloned() {
                        table.remove(&old);
                    }
                    match read(repo, &dir) {
                        Ok(volume) => {
                            known.names.insert(dir, volume.name.clone());
                            table.insert(volume);
                        }
                        Err(error) if says_nothing(&error) => return Err(error),
                        Err(error) => {
                            known.names.remove(&dir);
                            // What cannot be read may be readable the next time.
                            watch = watch.filter(|_| error.kind() == ErrorKind::NotFound);
                        }
                    }
                }
                known.table = Arc::new(table);
            }
            Changed::Unknown => {
                let (below, file) = icecore::volume::watched_files();
                // Watched first, so that nothing is missed that changes meanwhile.
                watch = Watch::start(dir.join(below), file);
                let listing = icecore::volume::list_volumes(repo)?;
                watch = watch.filter(|_| listing.unreadable.is_empty());
                let name = |volume: &VolumeInfo| {
                    let dir = icecore::volume::volume_dir(repo, &volume.name);
                    (dir.rsplit('/').next().unwrap_or_default().to_owned(), volume.name.clone())
                };
                known.names = listing.volumes.iter().map(name).collect();
                known.table = Arc::new(VolumeTable::new(listing.volumes));
            }
        }
        known.watch = watch;
        Ok(Arc::clone(&known.table))
    }
}

fn read(repo: &Repository, dir: &str) -> Result<VolumeInfo> {
    icecore::volume::volume_in(repo, dir).map_err(|error| match error.kind() {
        // What has no name of a volume belongs to somebody else.
        ErrorKind::InvalidInput => Error::new(ErrorKind::NotFound, error.to_string()),
        _ => error,
    })
}

/// Tells whether an error is about this process, and not about what is stored.
fn says_nothing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::OutOfResources | ErrorKind::PermissionDenied)
}
