//! Parity: reports how much a repository keeps, and changes how much it should keep.

use crate::format::journal::Change;
use crate::repository::Repository;
use crate::stores::files::RepositoryFiles;
use crate::stores::locks;
use crate::stores::parity::cover::ParityState;
use crate::stores::parity::cover::cover;
use crate::stores::parity::cover::remove_superfluous;
use crate::words::error::Result;
use crate::words::ids::PackId;
use crate::words::parity::ParityScheme;
use crate::words::progress::Progress;
use crate::world::sessions::Work;

/// The parity that a repository keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParityReport {
    /// The share that it should keep for each group of packs, if any.
    pub scheme: Option<ParityScheme>,
    /// Packs in the repository.
    pub packs: u64,
    /// Packs without the parity that they should have: it is damaged, or their capture was
    /// interrupted.
    pub packs_without: u64,
    /// Groups of packs.
    pub groups: u64,
    /// The total size of all parity files.
    pub parity_bytes: u64,
    /// Damaged packs, each with its problem. No parity was made from them now.
    pub refused: Vec<(PackId, String)>,
}

/// Returns how much parity there is.
///
/// # Errors
/// The errors of reading the repository.
pub fn parity_report(repo: &Repository) -> Result<ParityReport> {
    report(repo.files(), repo.parity()?)
}

fn report(files: &RepositoryFiles, scheme: Option<ParityScheme>) -> Result<ParityReport> {
    let state = ParityState::load(files)?;
    let groups = &state.groups.all;
    Ok(ParityReport {
        scheme,
        packs: state.packs() as u64,
        packs_without: scheme.map_or(0, |scheme| state.uncovered(scheme).len() as u64),
        groups: groups.len() as u64,
        parity_bytes: groups.iter().map(|group| group.head.file_bytes() * group.shards.len() as u64).sum(),
        refused: Vec::new(),
    })
}

/// Makes a repository keep this much parity from now on, also for its existing packs.
///
/// # Errors
/// `Interrupted` if `progress` says so: the parity made until then is kept, and the next capture or
/// gc continues.
pub fn set_parity(
    repo: &Repository,
    scheme: Option<ParityScheme>,
    progress: &dyn Progress,
) -> Result<ParityReport> {
    repo.check_writable()?;
    let files = repo.files();
    let _parity = locks::only(files, Work::Parity)?;
    repo.commit(|catalog| {
        let settings = catalog.settings.with_parity(scheme);
        let changes = if settings == catalog.settings { Vec::new() } else { vec![Change::Config(settings)] };
        Ok((changes, ()))
    })?;
    let mut refused = Vec::new();
    if let Some(scheme) = scheme {
        refused = cover(files, scheme, &ParityState::load(files)?, progress)?.refused;
    }
    remove_superfluous(files, scheme, &ParityState::load(files)?)?;
    let refused = refused.into_iter().map(|(pack, error)| (pack, error.to_string())).collect();
    Ok(ParityReport { refused, ..report(files, scheme)? })
}
