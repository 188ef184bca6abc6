//! The context of every command: the terminal and the repository.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::DEFAULT_LEVEL;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::repository::Session;
use icecore::repository::Unlock;
use icecore::storage;
use icecore_host::keys;
use icecore_host::keys::sources::Sources;
use icecore_host::places::Address;
use icecore_host::places::BucketOptions;
use icecore_host::places::Location;
use icecore_host::places::Reading;
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
    /// The address of the repository, if the user named one.
    repo: Option<OsString>,
    /// How it is read, if it is in a bucket.
    reading: Reading,
    /// The place that the address leads to, once somebody has asked.
    place: OnceCell<Place>,
}

/// The place of the repository.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Where it is.
    pub(crate) at: Location,
    /// How the user called it, for advice.
    called: String,
    /// Whether this is the default place.
    pub(crate) is_default: bool,
}

impl Place {
    /// Returns the place that an address leads to.
    ///
    /// # Errors
    /// `InvalidInput` if it is no address; `NotFound` if it is a name that nothing has.
    pub(crate) fn at(address: &OsStr) -> Result<Self> {
        let at = host::surroundings().locate(&Address::parse(address)?, &BucketOptions::default())?;
        Ok(Self { at, called: address.display().to_string(), is_default: false })
    }

    /// Returns whether the place holds no repository yet.
    ///
    /// # Errors
    /// `PermissionDenied` if it cannot be searched: then the answer is unknown.
    pub(crate) fn is_vacant(&self) -> Result<bool> {
        self.at.is_vacant()
    }

    fn missing(&self) -> Error {
        let error = Error::new(ErrorKind::NotFound, format!("there is no repository in {}", self.at));
        error.with_hint(if self.is_default {
            "the first `icecore snapshot create IMAGE` creates it; --repo or ICECORE_REPO names another"
                .to_owned()
        } else {
            let (called, kind) = (&self.called, self.at.kind());
            format!("create one with `icecore --repo {called} init`, or check the {kind}")
        })
    }
}

impl App {
    /// Returns the context of a command for a repository at this address.
    pub(crate) fn new(
        ui: Ui,
        model: fn() -> clap::Command,
        repo: Option<OsString>,
        reading: Reading,
    ) -> Self {
        Self { ui, model, repo, reading, place: OnceCell::new() }
    }

    /// Returns the address of the repository, if the user named one.
    ///
    /// # Errors
    /// `InvalidInput` if it is none.
    pub(crate) fn address(&self) -> Result<Option<Address>> {
        let Some(text) = &self.repo else { return Ok(None) };
        let address = Address::parse(text).map_err(|error| match text.is_empty() {
            true => Error::new(ErrorKind::InvalidInput, "--repo or ICECORE_REPO is empty")
                .with_hint("name a repository, or `unset ICECORE_REPO` to use the default one"),
            false => error,
        })?;
        Ok(Some(address))
    }

    /// Returns the place of the repository, which may not exist yet.
    pub(crate) fn place(&self) -> Result<Place> {
        if let Some(place) = self.place.get() {
            return Ok(place.clone());
        }
        let place = match self.address()? {
            Some(address) => Place {
                at: host::surroundings()
                    .with_reading(self.reading)
                    .locate(&address, &BucketOptions::default())?,
                called: self.repo.as_deref().unwrap_or_default().display().to_string(),
                is_default: false,
            },
            None => {
                let home = host::data_home().ok_or_else(|| {
                    Error::new(ErrorKind::InvalidInput, "HOME is not set, so there is no default repository")
                        .with_hint("name one with --repo or ICECORE_REPO")
                })?;
                let dir = home.join("icecore");
                Place { called: dir.display().to_string(), at: Location::directory(dir), is_default: true }
            }
        };
        Ok(self.place.get_or_init(|| place).clone())
    }

    /// Returns the directory of a volume's files on this machine.
    ///
    /// # Errors
    /// Those of finding the repository.
    pub(crate) fn volume_dir(&self, repo: &Repository, volume: &str) -> Result<PathBuf> {
        Ok(self.place()?.at.local_root()?.join(icecore::volume::volume_dir(repo, volume)))
    }

    /// Refuses to write to a path inside a repository, by whatever name the path reaches it.
    ///
    /// # Errors
    /// `InvalidInput` if it does.
    pub(crate) fn check_outside(&self, path: &Path) -> Result<()> {
        let own = self.place().ok();
        icecore::image::check_outside_repository(path, own.as_ref().map(|place| place.at.guarded()))
    }

    /// Opens the repository. Warns if a password is set, and it is plain.
    pub(crate) fn open(&self) -> Result<Repository> {
        let sources = host::key_sources();
        let repo = self.open_with(&sources)?;
        warn_if_plain(self.ui, &repo, &self.place()?.at, &sources);
        Ok(repo)
    }

    /// Opens the repository with a password or an identity from these sources.
    pub(crate) fn open_with(&self, sources: &Sources) -> Result<Repository> {
        let place = self.place()?;
        self.ui.detail(&format!("repository: {}", place.at));
        open_at(self.ui, &place, sources)
    }

    /// Returns the repository's place and a new session, to work where it cannot be opened.
    pub(crate) fn storage(&self) -> Result<(storage::Place, Session)> {
        let place = self.place()?;
        if place.is_vacant()? {
            return Err(place.missing());
        }
        let unlock = unlock(self.ui, of_place(&host::key_sources(), &place.at));
        let session = Session { unlock, ..repository::session(COMMAND_LINE) };
        Ok((place.at.place()?, session))
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
            repository::open_or_init_sealed(&place.at, COMMAND_LINE, new, &sources, unlock)?
        } else {
            repository::open_or_init(&place.at, COMMAND_LINE, new)?
        };
        if made {
            let kind = if sources.are_set() { "sealed" } else { "plain" };
            self.ui.note(&format!("created a {kind} repository in {}", place.at));
        }
        Ok((repo, made))
    }
}

/// Returns the same sources, which name the place when they ask for a password.
pub(crate) fn of_place(sources: &Sources, at: &Location) -> Sources {
    sources.clone().of(format!("the repository in {at}"))
}

/// Warns if a password is set for a repository, and it is plain: somebody may have put it in the
/// place of a sealed one.
pub(crate) fn warn_if_plain(ui: Ui, repo: &Repository, at: &Location, sources: &Sources) {
    let is_plain = icecore::keys::master_key(repo).is_err();
    if let Some(source) = sources.first_set().filter(|_| is_plain) {
        ui.warn(&format!(
            "{source} is set, but the repository in {at} is plain: everybody who can read its files can read its data\n  \
             hint: if it was sealed before, somebody has replaced it; otherwise unset {source}",
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

/// Opens the repository in a place with a password or an identity from these sources. Warns if only
/// another machine may write to it.
pub(crate) fn open_at(ui: Ui, place: &Place, sources: &Sources) -> Result<Repository> {
    if place.is_vacant()? {
        return Err(place.missing());
    }
    let at = &place.at;
    let repo = repository::open_with(at, COMMAND_LINE, unlock(ui, of_place(sources, at)))?;
    if let Some(host) = at.only_writer()? {
        ui.warn(&format!(
            "only the machine {host} may write to the repository in {at}: its store does not keep apart what several write\n  \
             hint: read it from here, and nothing else"
        ));
    }
    Ok(repo)
}

/// Creates a sealed repository in a place, which must be empty or missing.
pub(crate) fn make_sealed_at(
    ui: Ui,
    at: &Location,
    level: i32,
    parity: Option<ParityScheme>,
    sources: &Sources,
) -> Result<Repository> {
    forbid_core_dumps(ui);
    let new = NewRepository { created_unix_ms: host::now_unix_ms(), level, parity };
    repository::init_sealed(at, COMMAND_LINE, new, &of_place(sources, at))
}

/// Creates a plain repository in a place, which must be empty or missing.
pub(crate) fn make_at(at: &Location, level: i32, parity: Option<ParityScheme>) -> Result<Repository> {
    let new = NewRepository { created_unix_ms: host::now_unix_ms(), level, parity };
    repository::init(at, COMMAND_LINE, new)
}
