//! Where a repository is.

use std::sync::Arc;

use crate::world::directory::Directory;
use crate::world::noticing::Shortages;
use crate::world::objects::Objects;
use crate::world::sessions::Sessions;
use crate::world::storage::Storage;
use crate::world::watched::Watched;

/// Where a repository is, in three roles. All that matters is objects. What only this machine needs
/// is local files, whose names begin with `local/`: overlays, notes, unfinished files. Sessions say
/// who is at work.
#[derive(Clone)]
pub struct Place {
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) local: Arc<dyn Storage>,
    pub(crate) sessions: Arc<dyn Sessions>,
    /// Recorded shortages of descriptors or memory: code that finds damage checks whether they are
    /// the cause.
    pub(crate) shortages: Shortages,
}

impl Place {
    /// Returns a place of these parts. The objects are elsewhere than the local files.
    pub fn new(objects: Arc<dyn Objects>, local: Arc<dyn Storage>, sessions: Arc<dyn Sessions>) -> Self {
        let shortages = Shortages::default();
        let local = Arc::new(Watched::over(local, shortages.clone()));
        Self { objects, local, sessions, shortages }
    }
}

/// All of it in one directory tree.
impl From<Arc<dyn Storage>> for Place {
    fn from(storage: Arc<dyn Storage>) -> Self {
        let shortages = Shortages::default();
        let local: Arc<dyn Storage> = Arc::new(Watched::over(storage, shortages.clone()));
        let directory = Arc::new(Directory::new(Arc::clone(&local)));
        Self { objects: Arc::clone(&directory) as _, local, sessions: directory, shortages }
    }
}

impl<S: Storage + 'static> From<Arc<S>> for Place {
    fn from(storage: Arc<S>) -> Self {
        Self::from(storage as Arc<dyn Storage>)
    }
}
