//! The context of every command: the terminal and the repository.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::repository::Session;
use icecore::repository::Unlock;
use icecore::storage::FsStorage;
use icecore_host::keys;
use icecore_host::keys::sources::Sources;
use icecore_host::repository;
use icecore_host::repository::COMMAND_LINE;
use icecore_host::repository::NewRepository;

use crate::host;
use crate::ui::Ui;

/// The context of a command.
pub(crate) struct App {
    /// The terminal.
    pub(crate) ui: Ui,
    /// The model of the command line, to generate completions and pages from it.
    pub(crate) model: fn() -> clap::Command,
    /// The repository's directory, if the user named one.
    pub(crate) repo: Option<PathBuf>,
}

/// The place of the repository.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Whether this is the default place.
    pub(crate) is_default: bool,
}

impl Place {
    /// Returns whether the place holds no repository yet.
    ///
    /// # Errors
    /// `PermissionDenied` if the directory cannot be searched: then the answer is unknown.
    pub(crate) fn is_vacant(&self) -> Result<bool> {
        repository::is_vacant(&self.dir)
    }

    fn missing(&self) -> Error {
        let dir = self.dir.display();
        let error = Error::new(ErrorKind::NotFound, format!("there is no repository in {dir}"));
        error.with_hint(if self.is_default {
            "the first `icecore snapshot create IMAGE` creates it; --repo DIR or ICECORE_REPO names another"
                .to_owned()
        } else {
            format!("create one with `icecore --repo {dir} init`, or check the directory")
        })
    }
}

impl App {
    /// Returns the place of the repository, which may not exist yet.
    pub(crate) fn place(&self) -> Result<Place> {
        if let Some(dir) = &self.repo {
            icecore::repository::check_directory(dir).map_err(|error| match dir.as_os_str().is_empty() {
                true => Error::new(ErrorKind::InvalidInput, "--repo or ICECORE_REPO is empty")
                    .with_hint("name a directory, or `unset ICECORE_REPO` to use the default repository"),
                false => error,
            })?;
            return Ok(Place { dir: dir.clone(), is_default: false });
        }
        let home = host::data_home().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "HOME is not set, so there is no default repository")
                .with_hint("name one with --repo DIR or ICECORE_REPO")
        })?;
        Ok(Place { dir: home.join("icecore"), is_default: true })
    }

    /// Refuses to write to a path inside a repository, by whatever name the path reaches it.
    ///
    /// # Errors
    /// `InvalidInput` if it does.
    pub(crate) fn check_outside(&self, path: &Path) -> Result<()> {
        let own = self.place().ok();
        icecore::image::check_outside_repository(path, own.as_ref().map(|place| &*place.dir))
    }

    /// Opens the repository. Warns if a password is set, and it is plain.
    pub(crate) fn open(&self) -> Result<Repository> {
        let sources = host::key_sources();
        let repo = self.open_with(&sources)?;
        warn_if_plain(self.ui, &repo, &self.place()?.dir, &sources);
        Ok(repo)
    }

    /// Opens the repository with a password or an identity from these sources.
    pub(crate) fn open_with(&self, sources: &Sources) -> Result<Repository> {
        let place = self.place()?;
        if place.is_vacant()? {
            return Err(place.missing());
        }
        self.ui.detail(&format!("repository: {}", place.dir.display()));
        repository::open_with(&place.dir, COMMAND_LINE, unlock(self.ui, of_dir(sources, &place.dir)))
    }

    /// Returns the repository's storage and a new session, to work where it cannot be opened.
    pub(crate) fn storage(&self) -> Result<(Arc<FsStorage>, Session)> {
        let place = self.place()?;
        if place.is_vacant()? {
            return Err(place.missing());
        }
        let unlock = unlock(self.ui, of_dir(&host::key_sources(), &place.dir));
        let session = Session { unlock, ..repository::session(COMMAND_LINE) };
        Ok((Arc::new(FsStorage::new(&place.dir)), session))
    }

    /// Opens the repository, or creates the default one if it does not exist yet. Returns whether
    /// it created one.
    pub(crate) fn open_or_make(&self) -> Result<(Repository, bool)> {
        let place = self.place()?;
        if !place.is_default || !place.is_vacant()? {
            return Ok((self.open()?, false));
        }
        let new = NewRepository { created_unix_ms: host::now_unix_ms(), level: DEFAULT_LEVEL, parity: None };
        let sources = host::key_sources();
        let (repo, made) = if sources.are_set() {
            forbid_core_dumps(self.ui);
            let unlock = unlock(self.ui, sources.clone());
            repository::open_or_init_sealed(&place.dir, COMMAND_LINE, new, &sources, unlock)?
        } else {
            repository::open_or_init(&place.dir, COMMAND_LINE, new)?
        };
        if made {
            let kind = if sources.are_set() { "sealed" } else { "plain" };
            self.ui.note(&format!("created a {kind} repository in {}", place.dir.display()));
        }
        Ok((repo, made))
    }
}

/// Returns the same sources, which name the directory when they ask for a password.
pub(crate) fn of_dir(sources: &Sources, dir: &Path) -> Sources {
    sources.clone().of(format!("the repository in {}", dir.display()))
}

/// Warns if a password is set for a repository, and it is plain: somebody may have put it in the
/// place of a sealed one.
pub(crate) fn warn_if_plain(ui: Ui, repo: &Repository, dir: &Path, sources: &Sources) {
    let is_plain = icecore::keys::master_key(repo).is_err();
    if let Some(source) = sources.first_set().filter(|_| is_plain) {
        ui.warn(&format!(
            "{source} is set, but the repository in {} is plain: everybody who can read its files can read its data\n  \
             hint: if it was sealed before, somebody has replaced it; otherwise unset {source}",
            dir.display()
        ));
    }
}

/// Returns how to open a sealed repository.
fn unlock(ui: Ui, sources: Sources) -> Unlock {
    let unlock = keys::unlock::with(sources);
    Unlock::new(move |slots, fits| {
        forbid_core_dumps(ui);
        unlock.open(slots, fits)
    })
}

/// From now on there are keys in memory.
fn forbid_core_dumps(ui: Ui) {
    if let Err(error) = keys::core_dumps::forbid() {
        ui.warn(&format!("a crash of this program may write keys to the disk: {error}"));
    }
}

/// Opens a repository other than the command's, with a password or an identity from these sources.
pub(crate) fn open_other(ui: Ui, dir: &Path, sources: &Sources) -> Result<Repository> {
    icecore::repository::check_directory(dir)?;
    let place = Place { dir: dir.to_owned(), is_default: false };
    if place.is_vacant()? {
        Err(place.missing())
    } else {
        repository::open_with(dir, COMMAND_LINE, unlock(ui, of_dir(sources, dir)))
    }
}

/// Creates a sealed repository in `dir`, which must be empty or missing.
pub(crate) fn make_sealed_at(
    ui: Ui,
    dir: &Path,
    level: i32,
    parity: Option<ParityScheme>,
    sources: &Sources,
) -> Result<Repository> {
    forbid_core_dumps(ui);
    let new = NewRepository { created_unix_ms: host::now_unix_ms(), level, parity };
    repository::init_sealed(dir, COMMAND_LINE, new, &of_dir(sources, dir))
}

/// Creates a plain repository in `dir`, which must be empty or missing.
pub(crate) fn make_at(dir: &Path, level: i32, parity: Option<ParityScheme>) -> Result<Repository> {
    let new = NewRepository { created_unix_ms: host::now_unix_ms(), level, parity };
    repository::init(dir, COMMAND_LINE, new)
}
