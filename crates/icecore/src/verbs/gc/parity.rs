//! Parity through a gc: what stays keeps all the parity that it had, and parity of what is gone
//! goes.

use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks;
use crate::stores::locks::Held;
use crate::stores::parity::cover::ParityState;
use crate::stores::parity::cover::cover;
use crate::stores::parity::cover::remove_superfluous;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::parity::ParityScheme;
use crate::words::progress::NoProgress;
use crate::words::progress::Progress;
use crate::world::storage::LockMode;

/// Sees to the parity of a repository while packs are taken out of it.
pub(crate) struct Parity<'a> {
    files: &'a RepositoryFiles,
    scheme: Option<ParityScheme>,
    /// Held while it is kept, so that no capture joins packs that are about to go with its own.
    _lock: Held,
}

impl<'a> Parity<'a> {
    pub(crate) fn begin(files: &'a RepositoryFiles, scheme: Option<ParityScheme>) -> Result<Self> {
        let lock = locks::lock(files, layout::LOCK_PARITY, LockMode::Exclusive)?;
        Ok(Self { files, scheme, _lock: lock })
    }

    /// Makes parity for everything that stays, as if `going` were gone. They are removed after
    /// this.
    pub(crate) fn cover_without(&self, going: &[PackId], progress: &dyn Progress) -> Result<()> {
        let Some(scheme) = self.scheme else { return Ok(()) };
        let staying = ParityState::load(self.files)?.without(going);
        cover(self.files, scheme, &staying, progress).map(|_| ())
    }

    /// Removes parity that is of no use any more, after packs were removed, and makes what is
    /// missing for those that stayed against expectation. On a full disk they keep what parity they
    /// have.
    pub(crate) fn finish(self) -> Result<()> {
        let Some(scheme) = self.scheme else { return self.remove_superfluous() };
        match cover(self.files, scheme, &ParityState::load(self.files)?, &NoProgress) {
            Err(error) if error.kind() != ErrorKind::NoSpace => Err(error),
            _ => self.remove_superfluous(),
        }
    }

    fn remove_superfluous(&self) -> Result<()> {
        remove_superfluous(self.files, self.scheme, &ParityState::load(self.files)?).map(|_| ())
    }
}
