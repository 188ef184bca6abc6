//! The context of every command: the terminal and the repository.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::InitOptions;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::storage::FsStorage;

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
        match self.dir.join("config").try_exists() {
            Ok(there) => Ok(!there),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
            Err(error) => Err(looking(&self.dir, error)),
        }
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

    /// Opens the repository.
    pub(crate) fn open(&self) -> Result<Repository> {
        let place = self.place()?;
        if place.is_vacant()? {
            return Err(place.missing());
        }
        self.ui.detail(&format!("repository: {}", place.dir.display()));
        open_at(&place.dir)
    }

    /// Opens the repository, or creates the default one if it does not exist yet. Returns whether
    /// it created one.
    pub(crate) fn open_or_make(&self) -> Result<(Repository, bool)> {
        let place = self.place()?;
        if !place.is_default || !place.is_vacant()? {
            return Ok((self.open()?, false));
        }
        let (storage, options) = prepare(&place.dir, DEFAULT_LEVEL, None)?;
        let (repo, made) = Repository::open_or_init(storage, host::new_session(), &options)?;
        if made {
            self.ui.note(&format!("created a repository in {}", place.dir.display()));
        }
        Ok((repo, made))
    }
}

/// Opens a repository other than the command's.
pub(crate) fn open_other(dir: &Path) -> Result<Repository> {
    icecore::repository::check_directory(dir)?;
    let place = Place { dir: dir.to_owned(), is_default: false };
    if place.is_vacant()? { Err(place.missing()) } else { open_at(dir) }
}

/// Opens the repository in `dir`.
pub(crate) fn open_at(dir: &Path) -> Result<Repository> {
    Repository::open(Arc::new(FsStorage::new(dir)), host::new_session())
}

/// Creates a repository in `dir`, which must be empty or missing.
pub(crate) fn make_at(dir: &Path, level: i32, parity: Option<ParityScheme>) -> Result<Repository> {
    let (storage, options) = prepare(dir, level, parity)?;
    Repository::init(storage, host::new_session(), &options)
}

/// Returns the storage and the options for a new repository in `dir`, which must be empty or
/// missing.
fn prepare(dir: &Path, level: i32, parity: Option<ParityScheme>) -> Result<(Arc<FsStorage>, InitOptions)> {
    icecore::image::check_outside_repository(&dir.join(".."), None)?;
    if let Some(name) = stranger(dir)? {
        let message = format!("{} is not empty: it contains {name}", dir.display());
        return Err(
            Error::new(ErrorKind::AlreadyExists, message).with_hint("name a new or an empty directory")
        );
    }
    let options = InitOptions {
        id: host::new_repository_id(),
        key: host::new_key()?,
        created_unix_ms: host::now_unix_ms(),
        level,
        parity,
    };
    Ok((Arc::new(FsStorage::new(dir)), options))
}

/// Returns the name of an entry of `dir` that cannot be part of a repository.
fn stranger(dir: &Path) -> Result<Option<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(looking(dir, error)),
    };
    let mut names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    Ok(names.find(|name| !icecore::repository::may_be_in_a_repository(name)))
}

fn looking(dir: &Path, error: io::Error) -> Error {
    let doing = format!("looking for a repository in {}", dir.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::io(doing, error).with_hint(
            "the directory or one above it belongs to another user: run as that user, or choose another place",
        ),
        _ => Error::io(doing, error),
    }
}
