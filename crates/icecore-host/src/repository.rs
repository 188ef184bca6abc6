//! Repositories in directories: opened, and made where there is none.

use std::io;
use std::path::Path;
use std::sync::Arc;

use age::secrecy::zeroize::Zeroizing;
use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::InitOptions;
use icecore::repository::KeySlot;
use icecore::repository::MasterKey;
use icecore::repository::ParityScheme;
use icecore::repository::Repository;
use icecore::repository::RepositoryId;
use icecore::repository::Secrets;
use icecore::repository::Session;
use icecore::repository::SlotId;
use icecore::repository::Unlock;
use icecore::storage::FsStorage;

use crate::clock::new_id;
use crate::clock::random_id;
use crate::clock::system_unix_ms;
use crate::keys::content::SlotContent;
use crate::keys::sources::Sources;
use crate::machine::host_name;

/// The program at work, as the log of a repository names it: the command line.
pub const COMMAND_LINE: &str = concat!("icecore ", env!("CARGO_PKG_VERSION"));
/// The program at work, as the log of a repository names it: the server.
pub const SERVER: &str = concat!("icecore serve ", env!("CARGO_PKG_VERSION"));

/// What is chosen for a new repository.
#[derive(Debug, Clone, Copy)]
pub struct NewRepository {
    /// When it is made, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// The zstd level for new data.
    pub level: i32,
    /// The parity that is kept of packs, if any is.
    pub parity: Option<ParityScheme>,
}

/// Returns a new session of `program` on this machine, which opens plain repositories.
pub fn session(program: &str) -> Session {
    Session {
        id: random_id(),
        host: host_name(),
        program: program.to_owned(),
        clock: system_unix_ms,
        unlock: Unlock::none(),
    }
}

/// Opens the repository in a directory, for `program`.
///
/// # Errors
/// `NotFound` if there is none; `Unsupported` if this program cannot read it.
pub fn open(dir: &Path, program: &str) -> Result<Repository> {
    Repository::open(Arc::new(FsStorage::new(dir)), session(program))
}

/// Opens the repository in a directory, for `program`. If it is sealed, `unlock` opens a key slot of
/// it: see [`crate::keys::unlock`].
///
/// # Errors
/// As [`open`]; `PermissionDenied` if nothing opens it.
pub fn open_with(dir: &Path, program: &str, unlock: Unlock) -> Result<Repository> {
    Repository::open(Arc::new(FsStorage::new(dir)), Session { unlock, ..session(program) })
}

/// Opens a repository once more, for `program`, so that what is done with one handle does not wait
/// for the other. It takes a moment, however much is in the repository.
///
/// # Errors
/// Those of reading the index.
pub fn open_beside(repo: &Repository, program: &str) -> Result<Repository> {
    repo.open_beside(session(program))
}

/// Makes a sealed repository in a directory that is empty or missing. Its first key slot is for the
/// first of the sources that is set.
///
/// # Errors
/// As [`init`], and those of the sources.
pub fn init_sealed(dir: &Path, program: &str, new: NewRepository, sources: &Sources) -> Result<Repository> {
    let options = sealed_options(dir, new, sources)?;
    Repository::init(Arc::new(FsStorage::new(dir)), session(program), &options)
}

/// Opens the repository in a directory, and makes a sealed one where there is none. Returns whether
/// it was made.
///
/// # Errors
/// As [`open_with`] and [`init_sealed`].
pub fn open_or_init_sealed(
    dir: &Path,
    program: &str,
    new: NewRepository,
    sources: &Sources,
    unlock: Unlock,
) -> Result<(Repository, bool)> {
    let options = sealed_options(dir, new, sources)?;
    let session = Session { unlock, ..session(program) };
    Repository::open_or_init(Arc::new(FsStorage::new(dir)), session, &options)
}

/// Makes a repository in a directory that is empty or missing.
///
/// # Errors
/// `AlreadyExists` if there is one, or anything else; `InvalidInput` if the directory is inside of
/// a repository.
pub fn init(dir: &Path, program: &str, new: NewRepository) -> Result<Repository> {
    Repository::init(Arc::new(FsStorage::new(dir)), session(program), &options(dir, new)?)
}

/// Opens the repository in a directory, and makes it where there is none. Returns whether it was
/// made.
///
/// # Errors
/// As [`open`] and [`init`].
pub fn open_or_init(dir: &Path, program: &str, new: NewRepository) -> Result<(Repository, bool)> {
    Repository::open_or_init(Arc::new(FsStorage::new(dir)), session(program), &options(dir, new)?)
}

/// Tells whether there is no repository in a directory, not even one that has lost its config.
///
/// # Errors
/// `PermissionDenied` if the directory cannot be searched: then nothing is known.
pub fn is_vacant(dir: &Path) -> Result<bool> {
    match dir.join("config").try_exists() {
        Ok(there) => Ok(!there && !icecore::repository::has_lost_config(Arc::new(FsStorage::new(dir)))),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(looking(dir, error)),
    }
}

/// Returns 32 random bytes, for a key or a token.
///
/// # Errors
/// `Io` if the system has none.
pub fn secret() -> Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot get random numbers from the system: {error}"))
    })?;
    Ok(secret)
}

fn options(dir: &Path, new: NewRepository) -> Result<InitOptions> {
    icecore::image::check_outside_repository(&dir.join(".."), None)?;
    if let Some(name) = stranger(dir)? {
        let message = format!("{} is not a repository, and is not empty: it contains {name}", dir.display());
        return Err(Error::new(ErrorKind::AlreadyExists, message)
            .with_hint("name a repository, or a new or an empty directory"));
    }
    let NewRepository { created_unix_ms, level, parity } = new;
    Ok(InitOptions {
        id: RepositoryId(random_id()),
        secrets: Secrets::Plain(secret()?),
        created_unix_ms,
        level,
        parity,
    })
}

fn sealed_options(dir: &Path, new: NewRepository, sources: &Sources) -> Result<InitOptions> {
    let mut options = options(dir, new)?;
    let key = Zeroizing::new(secret()?);
    let content = SlotContent { repository: options.id, master: MasterKey::new(&key) };
    let slot = KeySlot { id: SlotId(new_id()), bytes: sources.new_slot(&content)? };
    options.secrets = Secrets::Sealed(Arc::new(content.master), slot);
    Ok(options)
}

/// Returns the name of something in a directory that cannot be part of a repository. What another
/// program that makes one at this moment has there, or one that was killed while it did, can be.
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
