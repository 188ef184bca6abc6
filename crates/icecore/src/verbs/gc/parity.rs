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
    /// Packs that are there and needed by nobody.
    condemned: Vec<PackId>,
    /// Held throughout, so that no capture groups its own packs with packs that are about to go.
    _lock: Held,
}

impl<'a> Parity<'a> {
    pub(crate) fn begin(
        files: &'a RepositoryFiles,
        scheme: Option<ParityScheme>,
        condemned: Vec<PackId>,
    ) -> Result<Self> {
        let lock = locks::only(files, Work::Parity)?;
        Ok(Self { files, scheme, condemned, _lock: lock })
    }

    /// Returns the state of all packs that are not condemned.
    fn state(&self) -> Result<ParityState> {
        Ok(ParityState::load(self.files)?.without(&self.condemned))
    }

    /// Makes parity for all packs that stay, as if the packs in `going` were gone. They are removed
    /// afterwards.
    pub(crate) fn cover_without(&self, going: &[PackId], progress: &dyn Progress) -> Result<()> {
        let Some(scheme) = self.scheme else { return Ok(()) };
        let staying = self.state()?.without(going);
        cover(self.files, scheme, &staying, progress).map(|_| ())
    }

    /// Removes useless parity after packs were removed, and makes the missing parity of packs that
    /// stayed unexpectedly. On a full disk these keep the parity that they have.
    pub(crate) fn finish(mut self, condemned: &[PackId]) -> Result<()> {
        self.condemned.extend(condemned);
        let Some(scheme) = self.scheme else { return self.remove_superfluous() };
        match cover(self.files, scheme, &self.state()?, &NoProgress) {
            Err(error) if error.kind() != ErrorKind::NoSpace => Err(error),
            _ => self.remove_superfluous(),
        }
    }

    fn remove_superfluous(&self) -> Result<()> {
        remove_superfluous(self.files, self.scheme, &self.state()?).map(|_| ())
    }
}
