//! Repositories: opened, and made where there is none.

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

use crate::clock::new_id;
use crate::clock::random_id;
use crate::clock::system_unix_ms;
use crate::keys::content::SlotContent;
use crate::keys::sources::Sources;
use crate::machine::host_name;
use crate::places::Location;

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

/// Opens the repository at a location, for `program`.
///
/// # Errors
/// `NotFound` if there is none; `Unsupported` if this program cannot read it.
pub fn open(at: &Location, program: &str) -> Result<Repository> {
    open_with(at, program, Unlock::none())
}

/// Opens the repository at a location, for `program`. If it is sealed, `unlock` opens a key slot of
/// it: see [`crate::keys::unlock`].
///
/// # Errors
/// As [`open`]; `PermissionDenied` if nothing opens it.
pub fn open_with(at: &Location, program: &str, unlock: Unlock) -> Result<Repository> {
    Repository::open(at.place()?, Session { unlock, ..session(program) })
}

/// Opens a repository once more, for `program`, so that what is done with one handle does not wait
/// for the other. Nothing is read.
#[must_use]
pub fn open_beside(repo: &Repository, program: &str) -> Repository {
    repo.open_beside(session(program))
}

/// Makes a sealed repository at a location that is empty or missing. Its first key slot is for the
/// first of the sources that is set.
///
/// # Errors
/// As [`init`], and those of the sources.
pub fn init_sealed(
    at: &Location,
    program: &str,
    new: NewRepository,
    sources: &Sources,
) -> Result<Repository> {
    at.check_free()?;
    make(at, program, &sealed_options(new, sources)?)
}

/// Opens the repository at a location, and makes a sealed one where there is none. Returns whether
/// it was made.
///
/// # Errors
/// As [`open_with`] and [`init_sealed`].
pub fn open_or_init_sealed(
    at: &Location,
    program: &str,
    new: NewRepository,
    sources: &Sources,
    unlock: Unlock,
) -> Result<(Repository, bool)> {
    at.check_free()?;
    make_or_open(at, program, &sealed_options(new, sources)?, unlock)
}

/// Makes a repository at a location that is empty or missing.
///
/// # Errors
/// `AlreadyExists` if there is one, or anything else; `InvalidInput` if a directory is inside of
/// a repository.
pub fn init(at: &Location, program: &str, new: NewRepository) -> Result<Repository> {
    at.check_free()?;
    make(at, program, &options(new)?)
}

/// Opens the repository at a location, and makes it where there is none. Returns whether it was
/// made.
///
/// # Errors
/// As [`open`] and [`init`].
pub fn open_or_init(at: &Location, program: &str, new: NewRepository) -> Result<(Repository, bool)> {
    at.check_free()?;
    make_or_open(at, program, &options(new)?, Unlock::none())
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

/// Opens the repository, or makes it. Of several that try it at once, one makes it and the others
/// open that.
fn make_or_open(
    at: &Location,
    program: &str,
    options: &InitOptions,
    unlock: Unlock,
) -> Result<(Repository, bool)> {
    let beginning = at.begin()?;
    if beginning.temporary.is_none() {
        let session = Session { unlock, ..session(program) };
        return Repository::open_or_init(beginning.place.clone(), session, options);
    }
    // The one that somebody else has made has other local files.
    drop(beginning);
    match make(at, program, options) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok((open_with(at, program, unlock)?, false))
        }
        made => Ok((made?, true)),
    }
}

fn make(at: &Location, program: &str, options: &InitOptions) -> Result<Repository> {
    let beginning = at.begin()?;
    let made = Repository::init(beginning.place.clone(), session(program), options)?;
    if beginning.temporary.is_none() {
        return Ok(made);
    }
    // Now that it is there, it is known where its local files belong.
    drop(made);
    drop(beginning);
    let unlock = match &options.secrets {
        Secrets::Plain(_) => Unlock::none(),
        Secrets::Sealed(master, _) => {
            let master = Arc::clone(master);
            Unlock::new(move |_, _| Ok(MasterKey::new(master.expose())))
        }
    };
    open_with(at, program, unlock)
}

fn options(new: NewRepository) -> Result<InitOptions> {
    let NewRepository { created_unix_ms, level, parity } = new;
    Ok(InitOptions {
        id: RepositoryId(random_id()),
        secrets: Secrets::Plain(secret()?),
        created_unix_ms,
        level,
        parity,
    })
}

fn sealed_options(new: NewRepository, sources: &Sources) -> Result<InitOptions> {
    let mut options = options(new)?;
    let key = Zeroizing::new(secret()?);
    let content = SlotContent { repository: options.id, master: MasterKey::new(&key) };
    let slot = KeySlot { id: SlotId(new_id()), bytes: sources.new_slot(&content)? };
    options.secrets = Secrets::Sealed(Arc::new(content.master), slot);
    Ok(options)
}
