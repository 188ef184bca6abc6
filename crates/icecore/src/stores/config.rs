//! The file `config` of a repository: reading it, replacing it, and what it forbids this program.
//!
//! A newer program may add a feature while this one has the repository open. So the config is read
//! again before any change or removal, under the commit lock wherever that is held.

use std::io;

use crate::format::bytes::DecodeError;
use crate::format::config::Config;
use crate::format::config::FORMAT_MAJOR;
use crate::format::config::FORMAT_MINOR;
use crate::format::config::Features;
use crate::format::config::Geometry;
use crate::format::layout;
use crate::stores::files::RepositoryFiles;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::next_step::NextStep;
use crate::world::storage::Storage;
use crate::world::storage::read_all;

/// The longest config file.
const CONFIG_BYTES_MAX: u64 = 64 << 10;

/// Returns the config and the minor version of the format it was written with.
pub(crate) fn read(storage: &dyn Storage) -> Result<(Config, u16)> {
    let bytes = read_all(storage, layout::CONFIG, CONFIG_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, "there is no repository").with_hint(NextStep::InitRepository)
        }
        _ => Error::stored_io("reading the repository's config", error),
    })?;
    Config::decode(&bytes).map_err(|error| damaged(&error))
}

/// Publishes the config. The caller holds the commit lock, or is the only user of the repository.
pub(crate) fn write(files: &RepositoryFiles, config: &Config) -> Result<()> {
    files.publish_bytes(layout::CONFIG, &encoded(config)?)
}

/// Publishes the config of a new repository: with it, the repository exists.
///
/// # Errors
/// `AlreadyExists` if there is one, which stays unchanged.
pub(crate) fn write_first(files: &RepositoryFiles, config: &Config) -> Result<()> {
    files.publish_new_bytes(layout::CONFIG, &encoded(config)?).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists_already(),
        _ => error,
    })
}

/// Fails if there is already a repository.
pub(crate) fn check_vacant(storage: &dyn Storage) -> Result<()> {
    match storage.open(layout::CONFIG) {
        Ok(_) => Err(exists_already()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::stored_io("looking for a repository's config", error)),
    }
}

fn exists_already() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is already a repository")
        .with_hint("use it, or choose another directory")
}

fn encoded(config: &Config) -> Result<Vec<u8>> {
    config.encode().map_err(|error| Error::corrupt(format!("encoding the config: {error}")))
}

/// Refuses a repository that this program cannot read.
pub(crate) fn check_readable(config: &Config) -> Result<()> {
    if config.geometry == Geometry::V1 && config.features.incompatible == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "the repository needs features that this program lacks: {:?}, {:?}",
            config.features, config.geometry
        ),
    )
    .with_hint("use a newer version of icecore"))
}

/// Refuses a repository that this program can read but must not write.
pub(crate) fn check_writable(config: &Config, minor: u16) -> Result<()> {
    let is_newer = minor > FORMAT_MINOR;
    if !is_newer && config.features.read_only_compatible & !Features::VOLUMES == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "the repository is read-only: a newer version of icecore wrote it (format {FORMAT_MAJOR}.{minor}, {:?})",
            config.features
        ),
    )
    .with_hint("use a newer version of icecore to change it"))
}

/// Reads the config again, and fails if this program must no longer change the repository.
///
/// # Errors
/// `Unsupported` if a newer program has added something; `NotFound` if the repository is gone, or
/// another one is in its place; `Corrupt` or `Io` if the config has become unreadable.
pub(crate) fn check_again(files: &RepositoryFiles) -> Result<()> {
    let (config, minor) = read(&*files.storage).map_err(|error| {
        error.in_context("nothing is changed while the repository's config is unreadable")
    })?;
    if config.id != files.repository {
        return Err(Error::new(
            ErrorKind::NotFound,
            "the repository is gone, and another one is in its place",
        )
        .with_hint("restart this program to work on the new one"));
    }
    check_readable(&config)?;
    check_writable(&config, minor)
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
            .with_hint("put back a copy of the file `config`: without the key in it, nothing can be read"),
    }
}
