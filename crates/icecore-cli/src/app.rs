//! What every command starts from: the terminal and the repository.

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
    /// The model of the command line, for what is made from it.
    pub(crate) model: fn() -> clap::Command,
    /// The repository's directory, if the user named one.
    pub(crate) repo: Option<PathBuf>,
}

/// Where the repository is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Whether nobody chose it.
    pub(crate) is_default: bool,
}

impl Place {
    /// Tells whether there is nothing yet that could be a repository.
    ///
    /// # Errors
    /// `PermissionDenied` where looking is not allowed: nothing is known then.
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
            "the first `icecore snapshot create IMAGE` makes it; --repo DIR or ICECORE_REPO names another"
                .to_owned()
        } else {
            format!("make one with `icecore --repo {dir} init`, or check the directory")
        })
    }
}

impl App {
    /// Returns where the repository is or would be.
    pub(crate) fn place(&self) -> Result<Place> {
        if let Some(dir) = &self.repo {
            icecore::repository::check_directory(dir).map_err(|error| match dir.as_os_str().is_empty() {
                true => Error::new(ErrorKind::InvalidInput, "--repo or ICECORE_REPO is empty").with_hint(
                    "name a directory; without both, the default repository is used (`unset ICECORE_REPO`)",
                ),
                false => error,
            })?;
            return Ok(Place { dir: dir.clone(), is_default: false });
        }
        let home = host::data_home().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "no repository is named, and HOME is not set to find the default one",
            )
            .with_hint("name one with --repo DIR or ICECORE_REPO")
        })?;
        Ok(Place { dir: home.join("icecore"), is_default: true })
    }

    /// Refuses to write to a path that leads into a repository, into that of the command by whatever name.
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

    /// Opens the repository, or makes the default one if it does not exist yet. Tells whether it did.
    pub(crate) fn open_or_make(&self) -> Result<(Repository, bool)> {
        let place = self.place()?;
        if !place.is_default || !place.is_vacant()? {
            return Ok((self.open()?, false));
        }
        let (storage, options) = prepare(&place.dir, DEFAULT_LEVEL, None)?;
        let (repo, made) = Repository::open_or_init(storage, host::new_session(), &options)?;
        if made {
            self.ui.note(&format!("made a repository in {}", place.dir.display()));
        }
        Ok((repo, made))
    }
}

/// Opens another repository than that of the command.
pub(crate) fn open_other(dir: &Path) -> Result<Repository> {
    icecore::repository::check_directory(dir)?;
    let place = Place { dir: dir.to_owned(), is_default: false };
    if place.is_vacant()? { Err(place.missing()) } else { open_at(dir) }
}

/// Opens the repository in `dir`.
pub(crate) fn open_at(dir: &Path) -> Result<Repository> {
    Repository::open(Arc::new(FsStorage::new(dir)), host::new_session())
}

/// Makes a repository in `dir`, which must be empty or not there.
pub(crate) fn make_at(dir: &Path, level: i32, parity: Option<ParityScheme>) -> Result<Repository> {
    let (storage, options) = prepare(dir, level, parity)?;
    Repository::init(storage, host::new_session(), &options)
}

/// Returns what a repository in `dir` is made of, which must be empty or not there.
fn prepare(dir: &Path, level: i32, parity: Option<ParityScheme>) -> Result<(Arc<FsStorage>, InitOptions)> {
    icecore::image::check_outside_repository(&dir.join(".."), None)?;
    if let Some(name) = stranger(dir)? {
        let message = format!("{} is not empty: {name} is in it", dir.display());
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

/// Returns the name of something in `dir` that is not part of a repository.
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
            "it, or a directory above it, belongs to another user: run as that one, or choose another place",
        ),
        _ => Error::io(doing, error),
    }
}
