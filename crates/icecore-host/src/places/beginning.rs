//! A place in which a repository is being made.

use std::path::PathBuf;

use icecore::storage::Place;

/// A place in which a repository is being made. Its local files are gone when this is dropped, if
/// they can only have their place once the repository is there.
pub(crate) struct Beginning {
    /// The place.
    pub(crate) place: Place,
    /// What is removed.
    pub(crate) temporary: Option<PathBuf>,
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Some(dir) = &self.temporary {
            // Whoever makes the next repository does not need its space.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}
