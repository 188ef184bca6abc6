//! A repository in a bucket, and its local files on this machine.
//!
//! The local files are in a directory of the user's state, which is named after the bytes of the
//! config: another repository at the same address has other ones, and one repository with two
//! addresses has the same.

use std::fmt;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use icecore::repository::About;
use icecore::storage::Directory;
use icecore::storage::FsStorage;
use icecore::storage::Objects;
use icecore::storage::Place;
use icecore::storage::Storage;
use icecore_bucket::Bucket;
use icecore_bucket::Cache;
use icecore_bucket::Keep;
use icecore_bucket::Probe;
use icecore_bucket::Settings;

use crate::clock::random_id;
use crate::machine::host_name;
use crate::places::beginning::Beginning;
use crate::places::store::Store;

/// The object that a repository begins with.
const CONFIG: &str = "config";
/// The object that names the machine which alone may write.
const ONE_MACHINE: &str = "one-machine";
/// The most bytes of a mark.
const MARK_BYTES_MAX: u64 = 512;
/// What the probe leaves where it may not delete.
const PROBES: &str = "local-probe";
/// In the directory of local files: the address. What is known of the repository was written before
/// it.
const ADDRESS: &str = "address";

/// A repository in a bucket.
pub(crate) struct InBucket {
    bucket: Bucket,
    /// The directory of the local files of all repositories.
    state: PathBuf,
    found: OnceLock<Found>,
    /// The mark that this process has made.
    own: OnceLock<Mark>,
    /// What was read from buckets, and what of it is kept.
    cache: Option<(Arc<Cache>, Keep)>,
}

/// What says that one machine alone may write: its name, and a word that only its local files know.
/// Machines may have the same name.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    host: String,
    token: String,
}

impl Mark {
    fn text(&self) -> String {
        format!("{}\n{}\n", self.host, self.token)
    }

    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let mut line = || lines.next().unwrap_or_default().to_owned();
        Self { host: line(), token: line() }
    }
}

/// What is known once a repository was found.
struct Found {
    root: PathBuf,
    /// The machine that alone may write, if it is not this one.
    only_writer: Option<String>,
    /// The config, until somebody opens the repository.
    config: Mutex<Option<Vec<u8>>>,
}

impl InBucket {
    /// Returns what is at an address. Nothing is sent.
    ///
    /// # Errors
    /// `InvalidInput` for settings that are wrong or incomplete.
    pub(crate) fn new(
        url: &str,
        settings: &Settings,
        state: PathBuf,
        cache: Option<(Arc<Cache>, Keep)>,
    ) -> Result<Self> {
        let address = url.parse().map_err(|error: icecore_bucket::AddressError| {
            Error::new(ErrorKind::InvalidInput, error.to_string())
        })?;
        let nowhere = Arc::new(FsStorage::new(&state));
        let bucket = Bucket::open(&address, settings, nowhere)
            .map_err(|error| Error::io("opening the bucket of a repository", error))?;
        Ok(Self { bucket, state, found: OnceLock::new(), own: OnceLock::new(), cache })
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn near_bytes_max(&self) -> u64 {
        self.cache.as_ref().map_or(0, |(cache, _)| cache.room_bytes())
    }

    pub(crate) fn place(&self) -> Result<Place> {
        let root = self.local_root()?;
        let mut bucket = self.bucket.clone();
        if let Ok(found) = self.found() {
            // The name of the directory tells this repository from all others.
            if let (Some((cache, keep)), Some(name)) = (&self.cache, root.file_name()) {
                let name = name.to_string_lossy();
                bucket = bucket.read_through(|bucket| cache.before(&name, *keep, bucket));
            }
            if let Some(config) = found.config.lock().unwrap_or_else(PoisonError::into_inner).take() {
                bucket = bucket.with_known(CONFIG, config);
            }
        }
        Ok(over(bucket, &root))
    }

    pub(crate) fn local_root(&self) -> Result<PathBuf> {
        match self.found() {
            Ok(found) => Ok(found.root.clone()),
            // Without a config, it is not known which repository it is. A repair brings it back.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let root = self.state.join(format!("lost-{}", digest(self.to_string().as_bytes())));
                make_private(&root).map(|()| root)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn about(&self) -> Result<About> {
        icecore::repository::about(over(self.bucket.clone(), &self.state))
    }

    pub(crate) fn is_vacant(&self) -> Result<bool> {
        match self.found() {
            Ok(_) => Ok(false),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Ok(true),
                ErrorKind::Corrupt | ErrorKind::Unsupported => Ok(false),
                _ => Err(error.in_context(format!("looking for a repository in {self}"))),
            },
        }
    }

    pub(crate) fn only_writer(&self) -> Result<Option<String>> {
        Ok(self.found()?.only_writer.clone())
    }

    pub(crate) fn probe(&self) -> Result<Store> {
        let probe = self
            .bucket
            .probe(&random_id().simple().to_string())
            .map_err(|error| Error::io(format!("trying the store of {self}"), error))?;
        let Probe { deletes: may_delete, retains, .. } = probe;
        Ok(Store { many_may_write: probe.many_may_write(), may_delete, retains })
    }

    pub(crate) fn mark_for_one_machine(&self) -> Result<()> {
        let mark = Mark { host: host_name(), token: random_id().simple().to_string() };
        // One that is there is of an attempt to make a repository.
        self.bucket
            .put_hint(ONE_MACHINE, mark.text().as_bytes())
            .map_err(|error| Error::io(format!("noting the machine that uses {self}"), error))?;
        let _ = self.own.set(mark);
        Ok(())
    }

    pub(crate) fn stranger(&self) -> Result<Option<String>> {
        let names = self.bucket.entries().map_err(|error| Error::io(format!("listing {self}"), error))?;
        let is_ours = |name: &String| {
            icecore::repository::may_be_in_a_repository(name)
                || [ONE_MACHINE, PROBES].contains(&name.as_str())
        };
        Ok(names.into_iter().find(|name| !is_ours(name)))
    }

    pub(crate) fn begin(&self) -> Result<Beginning> {
        let root = self.state.join(format!("new-{}", random_id().simple()));
        make_private(&root)?;
        Ok(Beginning { place: over(self.bucket.clone(), &root), temporary: Some(root) })
    }

    fn found(&self) -> Result<&Found> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let about = self.about()?;
        let root = self.state.join(digest(&about.config));
        let only_writer = match std::fs::metadata(root.join(ADDRESS)) {
            Ok(_) => noted(&root)?,
            Err(_) => self.settle(&root)?,
        };
        let config = Mutex::new(Some(about.config));
        Ok(self.found.get_or_init(|| Found { root, only_writer, config }))
    }

    /// Makes the directory of local files, and notes what matters each time. Returns the machine
    /// that alone may write, if it is not this one.
    fn settle(&self, root: &Path) -> Result<Option<String>> {
        let only = match self.bucket.open(ONE_MACHINE) {
            Ok(object) => {
                let mut text = vec![0; usize::try_from(object.len().min(MARK_BYTES_MAX)).unwrap_or(0)];
                object
                    .read_at(0, &mut text)
                    .map_err(|error| Error::io(format!("reading {self}/{ONE_MACHINE}"), error))?;
                Some(Mark::read(&String::from_utf8_lossy(&text))).filter(|mark| self.own.get() != Some(mark))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(format!("reading {self}/{ONE_MACHINE}"), error)),
        };
        make_private(root)?;
        let noting = |error| local_error(root, error);
        let only = only.map(|mark| mark.host);
        if let Some(host) = &only {
            write(root, ONE_MACHINE, host).map_err(noting)?;
        }
        write(root, ADDRESS, &format!("{self}\n")).map_err(noting)?;
        Ok(only)
    }
}

impl fmt::Display for InBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bucket.address().fmt(f)
    }
}

/// Returns the place with local files in a directory.
fn over(bucket: Bucket, root: &Path) -> Place {
    let local: Arc<dyn Storage> = Arc::new(FsStorage::new(root));
    let bucket = bucket.with_spool(Arc::clone(&local));
    Place::new(Arc::new(bucket), Arc::clone(&local), Arc::new(Directory::new(local)))
}

/// Returns what was noted of the machine that alone may write.
fn noted(root: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(root.join(ONE_MACHINE)) {
        Ok(host) => Ok(Some(host)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(local_error(root, error)),
    }
}

/// Returns the first 32 hexadecimal digits of a digest.
fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().chars().take(32).collect()
}

fn make_private(dir: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| local_error(dir, error))
}

fn local_error(dir: &Path, error: io::Error) -> Error {
    Error::io(format!("keeping the local files of the repository in {}", dir.display()), error)
        .with_hint("set XDG_STATE_HOME to a directory that you can write to")
}

/// Writes a small file whole.
fn write(root: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = root.join(format!("{name}.{}", random_id().simple()));
    let mut file = std::fs::File::create_new(&temporary)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(temporary, root.join(name))
}
