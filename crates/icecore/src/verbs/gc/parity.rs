//! Parity during a gc: packs that stay keep all their parity, and the parity of removed packs goes.

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
use crate::world::sessions::Work;

/// The keeper of a repository's parity while gc removes packs.
pub(crate) struct Parity<'a> {
    files: &'a RepositoryFiles,
    scheme: Option<ParityScheme>,
    /// Held throughout, so that no capture groups its own packs with packs that are about to go.
    _lock: Held,
}

impl<'a> Parity<'a> {
    pub(crate) fn begin(files: &'a RepositoryFiles, scheme: Option<ParityScheme>) -> Result<Self> {
        let lock = locks::only(files, Work::Parity)?;
        Ok(Self { files, scheme, _lock: lock })
    }

    /// Makes parity for all packs that stay, as if the packs in `going` were gone. They are removed
    /// afterwards.
    pub(crate) fn cover_without(&self, going: &[PackId], progress: &dyn Progress) -> Result<()> {
        let Some(scheme) = self.scheme else { return Ok(()) };
        let staying = ParityState::load(self.files)?.without(going);
        cover(self.files, scheme, &staying, progress).map(|_| ())
    }

    /// Removes useless parity after packs were removed, and makes the missing parity of packs that
    /// stayed unexpectedly. On a full disk these keep the parity that they have.
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
