//! The file `config` of a repository, which never changes, and what features forbid this program.

use std::io;
use std::sync::Arc;

use crate::format::bytes::DecodeError;
use crate::format::config::Config;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::config::Features;
use crate::format::config::Geometry;
use crate::format::config::SEALED;
use crate::format::config::Secret;
use crate::format::layout;
use crate::pure::hash::Hasher;
use crate::pure::keys::MasterKey;
use crate::stores::files::RepositoryFiles;
use crate::stores::seals::Seals;
use crate::stores::slots;
use crate::stores::slots::Unlock;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::RepositoryId;
use crate::words::next_step::NextStep;
use crate::world::objects::Objects;
use crate::world::objects::Put;
use crate::world::storage::read_all;

/// The longest config file.
const CONFIG_BYTES_MAX: u64 = 64 << 10;

/// A config that is proven, and what follows from it and the keys.
pub(crate) struct Opened {
    pub(crate) config: Config,
    pub(crate) hasher: Hasher,
    pub(crate) seals: Seals,
}

/// Reads the config. If the repository is sealed, opens a key slot to prove it.
pub(crate) fn open(objects: &dyn Objects, unlock: &Unlock) -> Result<Opened> {
    let bytes = read_bytes(objects)?;
    if !told(&bytes)?.1 {
        return opened_plain(&bytes);
    }
    let fits = |id, master: &MasterKey| {
        let config = Config::decode(&bytes, Some(&Hasher::new(master.id_key().expose())));
        config.is_ok_and(|(config, _)| config.id == id)
    };
    opened_sealed(&bytes, slots::master_key(objects, unlock, &fits)?)
}

/// Returns the id in the bytes of a config, and whether the repository is sealed. Nothing is proven.
pub(crate) fn told(bytes: &[u8]) -> Result<(RepositoryId, bool)> {
    Config::told(bytes).map_err(|error| damaged(&error))
}

/// Returns the config of a plain repository in these bytes.
pub(crate) fn opened_plain(bytes: &[u8]) -> Result<Opened> {
    let (config, _) = Config::decode(bytes, None).map_err(|error| damaged(&error))?;
    match config.secret {
        Secret::Plain(key) => Ok(Opened { hasher: Hasher::new(&key), seals: Seals::default(), config }),
        Secret::Sealed(_) => Err(damaged(&DecodeError::BadMagic { what: "plain repository" })),
    }
}

/// Returns the config of a sealed repository in these bytes.
pub(crate) fn opened_sealed(bytes: &[u8], master: Arc<MasterKey>) -> Result<Opened> {
    let hasher = Hasher::new(master.id_key().expose());
    let (config, _) = Config::decode(bytes, Some(&hasher)).map_err(|error| damaged(&error))?;
    Ok(Opened { config, hasher, seals: Seals::new(master) })
}

/// Returns the bytes of the config.
pub(crate) fn read_bytes(objects: &dyn Objects) -> Result<Vec<u8>> {
    read_all(objects.open(layout::CONFIG), CONFIG_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if is_lost(objects) => lost(),
        io::ErrorKind::NotFound => no_repository(),
        // The system says so of a file in the way. A place in a bucket words another problem.
        io::ErrorKind::NotADirectory if error.get_ref().is_none() => no_repository(),
        _ => Error::stored_io("reading the repository's config", error),
    })
}

/// Publishes the config of a new repository: with it, the repository exists.
///
/// # Errors
/// `AlreadyExists` if there is one, which stays unchanged.
pub(crate) fn write_first(files: &RepositoryFiles, config: &[u8]) -> Result<()> {
    match files.put_new(layout::CONFIG, config)? {
        Put::Made => Ok(()),
        // Somebody has completed it.
        Put::Exists if read_bytes(&*files.place.objects).is_ok_and(|there| there == config) => Ok(()),
        Put::Exists => Err(exists_already()),
    }
}

/// Fails if there is already a repository.
pub(crate) fn check_vacant(objects: &dyn Objects) -> Result<()> {
    match objects.open(layout::CONFIG) {
        Ok(_) => Err(exists_already()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_lost(objects) => Err(lost()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::stored_io("looking for a repository's config", error)),
    }
}

/// Tells whether a repository that has no config has more than what an attempt to make one leaves:
/// then it has lost its config.
pub(crate) fn is_lost(objects: &dyn Objects) -> bool {
    let names = |dir| objects.list(dir).unwrap_or_default();
    let mut all = names(layout::CHECKPOINTS).into_iter().chain(names(layout::JOURNAL));
    all.any(|name| layout::number_of(&name) > Some(0))
        && matches!(objects.open(layout::CONFIG), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn no_repository() -> Error {
    Error::new(ErrorKind::NotFound, "there is no repository").with_hint(NextStep::InitRepository)
}

fn lost() -> Error {
    Error::corrupt("the repository has lost its config").with_hint(NextStep::RepairCatalog)
}

pub(crate) fn exists_already() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is already a repository")
        .with_hint("use it, or choose another directory")
}

/// Returns the bytes of a config.
pub(crate) fn encoded(opened: &Opened) -> Result<Vec<u8>> {
    let bytes = opened.config.encode(opened.seals.are_used().then_some(&opened.hasher));
    bytes.map_err(|error| Error::corrupt(format!("encoding the config: {error}")))
}

/// Refuses a repository that this program cannot read.
pub(crate) fn check_readable(features: &Features, geometry: Geometry) -> Result<()> {
    if geometry == Geometry::V1 && features.incompatible & !SEALED == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("the repository needs features that this program lacks: {features:?}, {geometry:?}"),
    )
    .with_hint("use a newer version of icecore"))
}

/// Refuses a repository that this program can read but must not write: a newer program uses it.
pub(crate) fn check_writable(features: &Features, minor: u16) -> Result<()> {
    let is_newer = minor > FORMAT_MINOR;
    if !is_newer && features.read_only_compatible == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "the repository is read-only: a newer version of icecore wrote it (format {FORMAT_MAJOR}.{minor}, {features:?})"
        ),
    )
    .with_hint("use a newer version of icecore to change it"))
}

/// Reads the config again, and fails if this program must no longer change the repository.
///
/// # Errors
/// `NotFound` if the repository is gone, or another one is in its place; `Corrupt` or `Io` if the
/// config has become unreadable.
pub(crate) fn check_again(files: &RepositoryFiles) -> Result<()> {
    // It never changes. What forbids writing is in the journal, which another repository does not
    // continue.
    if files.are_shared() {
        return Ok(());
    }
    let (config, minor) = read_again(files).map_err(|error| {
        error.in_context("nothing is changed while the repository's config is unreadable")
    })?;
    check_same(files, &config)?;
    check_readable(&config.features, config.geometry)?;
    check_writable(&config.features, minor)
}

/// Reads the config again, and fails if it is not that of this repository.
///
/// # Errors
/// As for [`check_again`].
pub(crate) fn check_in_place(files: &RepositoryFiles) -> Result<()> {
    read_again(files).and_then(|(config, _)| check_same(files, &config))
}

fn read_again(files: &RepositoryFiles) -> Result<(Config, u16)> {
    let hasher = files.seals.are_used().then_some(&files.hasher);
    let decoded = |bytes: Vec<u8>| Config::decode(&bytes, hasher).map_err(|error| damaged(&error));
    read_bytes(&*files.place.objects).and_then(decoded)
}

fn check_same(files: &RepositoryFiles, config: &Config) -> Result<()> {
    if config.id == files.repository {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, "the repository is gone, and another one is in its place")
        .with_hint("restart this program to work on the new one"))
}

fn damaged(error: &DecodeError) -> Error {
    match error {
        DecodeError::BadVersion { found, known } => {
            Error::new(ErrorKind::Unsupported, format!("the repository cannot be opened: {error}")).with_hint(
                if found > known {
                    "use a newer version of icecore"
                } else {
                    "use the program that created it; this one can create a new repository elsewhere"
                },
            )
        }
        _ => Error::corrupt(format!("the repository's config is damaged: {error}"))
            .with_hint(NextStep::RepairCatalog),
    }
}
