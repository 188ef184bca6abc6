//! The location of a repository: what an address leads to.

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::About;
use icecore::storage::FsStorage;
use icecore::storage::Place;

use crate::machine::memory_bytes;
use crate::places::beginning::Beginning;
#[cfg(feature = "bucket")]
use crate::places::bucket::InBucket;
use crate::places::store::Store;

/// Where a repository is, or will be. Clones share what they know of it.
#[derive(Clone)]
pub struct Location(Kind);

#[derive(Clone)]
enum Kind {
    Directory(PathBuf),
    #[cfg(feature = "bucket")]
    Bucket(Arc<InBucket>),
}

impl Location {
    /// Returns the location of a directory.
    pub fn directory(dir: impl Into<PathBuf>) -> Self {
        Self(Kind::Directory(dir.into()))
    }

    #[cfg(feature = "bucket")]
    pub(crate) fn of(bucket: InBucket) -> Self {
        Self(Kind::Bucket(Arc::new(bucket)))
    }

    /// Returns the directory, unless it is a bucket.
    pub fn as_directory(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Directory(dir) => Some(dir),
            #[cfg(feature = "bucket")]
            Kind::Bucket(_) => None,
        }
    }

    /// Returns what kind of place it is, as a word.
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Kind::Directory(_) => "directory",
            #[cfg(feature = "bucket")]
            Kind::Bucket(_) => "bucket",
        }
    }

    /// Returns the place, for the engine.
    ///
    /// # Errors
    /// `NotFound` if a bucket has no repository there: only with one it is known which local files
    /// belong to it. What keeps these from being made.
    pub fn place(&self) -> Result<Place> {
        match &self.0 {
            Kind::Directory(dir) => Ok(Arc::new(FsStorage::new(dir)).into()),
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.place(),
        }
    }

    /// Returns the directory of this machine in which the local files are. The engine's names for
    /// them begin there.
    ///
    /// # Errors
    /// As [`place`](Self::place).
    pub fn local_root(&self) -> Result<PathBuf> {
        match &self.0 {
            Kind::Directory(dir) => Ok(dir.clone()),
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.local_root(),
        }
    }

    /// Returns the directory that has all files of the repository on this machine, and maybe those
    /// of others: nobody else writes there.
    pub fn guarded(&self) -> &Path {
        match &self.0 {
            Kind::Directory(dir) => dir,
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.state(),
        }
    }

    /// Returns how many bytes can be brought near (`icecore::volume::Prefetch`) without driving each
    /// other out: a part of what the cache of a bucket takes, and, for a directory, half of the
    /// memory.
    pub fn near_bytes_max(&self) -> u64 {
        match &self.0 {
            Kind::Directory(_) => memory_bytes() / 2,
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.near_bytes_max(),
        }
    }

    /// Returns what the repository says of itself without its keys.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Corrupt` or `Unsupported` if its config cannot be read.
    pub fn about(&self) -> Result<About> {
        match &self.0 {
            Kind::Directory(dir) => icecore::repository::about(Arc::new(FsStorage::new(dir))),
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.about(),
        }
    }

    /// Tells whether there is no repository, not even one that has lost its config.
    ///
    /// # Errors
    /// `PermissionDenied` if that cannot be looked up: then nothing is known.
    pub fn is_vacant(&self) -> Result<bool> {
        match &self.0 {
            Kind::Directory(dir) => match dir.join("config").try_exists() {
                Ok(there) => {
                    Ok(!there && !icecore::repository::has_lost_config(Arc::new(FsStorage::new(dir))))
                }
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
                Err(error) => Err(self.looking(error)),
            },
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.is_vacant(),
        }
    }

    /// Returns the machine that alone may write, if the store does not keep apart what several
    /// write, and this is another one.
    ///
    /// # Errors
    /// As [`place`](Self::place).
    pub fn only_writer(&self) -> Result<Option<String>> {
        match &self.0 {
            Kind::Directory(_) => Ok(None),
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.only_writer(),
        }
    }

    /// Tries what a store keeps; none for a directory, which needs no trial. Where the credentials
    /// may not delete, a few small objects stay.
    ///
    /// # Errors
    /// `NotFound` or `PermissionDenied` if the store cannot be used.
    pub fn probe(&self) -> Result<Option<Store>> {
        match &self.0 {
            Kind::Directory(_) => Ok(None),
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.probe().map(Some),
        }
    }

    /// Marks the location as one that only this machine writes to. A repository is made there next.
    ///
    /// # Errors
    /// What keeps that from being noted.
    pub fn mark_for_one_machine(&self) -> Result<()> {
        match &self.0 {
            Kind::Directory(_) => Ok(()),
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.mark_for_one_machine(),
        }
    }

    /// Checks that a new repository can be here: the location is in no repository, and has nothing
    /// of anybody else.
    ///
    /// # Errors
    /// `AlreadyExists` if it has; `InvalidInput` if the directory is inside of a repository.
    pub(crate) fn check_free(&self) -> Result<()> {
        let stranger = match &self.0 {
            Kind::Directory(dir) => {
                icecore::image::check_outside_repository(&dir.join(".."), None)?;
                self.stranger(dir)?
            }
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.stranger()?,
        };
        let Some(name) = stranger else { return Ok(()) };
        let message = format!("{self} is not a repository, and is not empty: it contains {name}");
        let hint = match &self.0 {
            Kind::Directory(_) => "name a repository, or a new or an empty directory",
            #[cfg(feature = "bucket")]
            Kind::Bucket(_) => "name a repository, or a prefix that nothing else uses",
        };
        Err(Error::new(ErrorKind::AlreadyExists, message).with_hint(hint))
    }

    /// Returns the name of something in the directory that cannot be part of a repository. What
    /// another program that makes one at this moment has there, or one that was killed while it
    /// did, can be.
    fn stranger(&self, dir: &Path) -> Result<Option<String>> {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.looking(error)),
        };
        let mut names =
            entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
        Ok(names.find(|name| !icecore::repository::may_be_in_a_repository(name)))
    }

    /// Returns a place to make a repository in.
    ///
    /// # Errors
    /// What keeps its local files from being made.
    pub(crate) fn begin(&self) -> Result<Beginning> {
        match &self.0 {
            Kind::Directory(dir) => {
                Ok(Beginning { place: Arc::new(FsStorage::new(dir)).into(), temporary: None })
            }
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.begin(),
        }
    }

    fn looking(&self, error: io::Error) -> Error {
        let doing = format!("looking for a repository in {self}");
        match error.kind() {
            io::ErrorKind::PermissionDenied => Error::io(doing, error).with_hint(
                "the directory or one above it belongs to another user: run as that user, or choose another place",
            ),
            _ => Error::io(doing, error),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Directory(dir) => dir.display().fmt(f),
            #[cfg(feature = "bucket")]
            Kind::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl From<PathBuf> for Location {
    fn from(dir: PathBuf) -> Self {
        Self::directory(dir)
    }
}
