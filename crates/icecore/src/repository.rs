//! The handle of a repository, and what names and describes one.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

pub use crate::pure::compress::DEFAULT_LEVEL;
pub use crate::pure::compress::LEVELS;
pub use crate::pure::keys::MASTER_KEY_BYTES;
pub use crate::pure::keys::MasterKey;
pub use crate::stores::slots::Fits;
pub use crate::stores::slots::KeySlot;
pub use crate::stores::slots::SLOT_BYTES_MAX;
pub use crate::stores::slots::Unlock;
pub use crate::words::directory::check_directory;
pub use crate::words::ids::RepositoryId;
pub use crate::words::ids::SlotId;
pub use crate::words::parity::BadScheme;
pub use crate::words::parity::ParityScheme;

use crate::format::config::Config;
use crate::format::config::Features;
use crate::format::config::Geometry;
use crate::format::config::SEALED;
use crate::format::config::Secret;
use crate::format::journal::Author;
use crate::format::journal::Change;
use crate::format::journal::Settings;
use crate::format::journal::Standing;
use crate::format::layout;
use crate::format::record::Record;
use crate::pure::hash::Hasher;
use crate::stores::chunks::Store;
use crate::stores::config;
use crate::stores::config::Opened;
use crate::stores::files::RepositoryFiles;
use crate::stores::journal;
use crate::stores::journal::Journal;
use crate::stores::journal::catalog::Catalog;
use crate::stores::locks;
use crate::stores::seals::Seals;
use crate::stores::slots;
use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;
use crate::words::ids::SnapshotId;
use crate::words::ids::VolumeId;
use crate::words::time::check_time;
use crate::world::place::Place;
use crate::world::sessions::Work;

/// The directories of a new repository's objects, and the root.
const OBJECT_DIRS: [&str; 7] =
    ["", layout::CHECKPOINTS, layout::JOURNAL, layout::COPIES, layout::PACKS, layout::INDEX, layout::PARITY];

/// What a new repository is made of.
#[derive(Clone)]
pub struct InitOptions {
    /// Its id, random.
    pub id: RepositoryId,
    /// Its secrets, random.
    pub secrets: Secrets,
    /// The time, in milliseconds since 1970.
    pub created_unix_ms: i64,
    /// The zstd level for new data where a capture does not choose another.
    pub level: i32,
    /// The parity that is kept of packs, if any is.
    pub parity: Option<ParityScheme>,
}

/// The secrets of a new repository.
#[derive(Clone)]
pub enum Secrets {
    /// The repository is plain: everybody who can read its files can read its data. The key is
    /// behind every digest in it: whoever knows it can aim at collisions.
    Plain([u8; 32]),
    /// The repository is sealed with a master key, which the slot holds.
    Sealed(Arc<MasterKey>, KeySlot),
}

/// Who opens a repository.
#[derive(Debug, Clone)]
pub struct Session {
    /// A random id that no other handle uses: it names temporary files and locks.
    pub id: Uuid,
    /// The name of the machine, for the journal.
    pub host: String,
    /// The program and its version, for the journal.
    pub program: String,
    /// The clock: milliseconds since 1970.
    pub clock: fn() -> i64,
    /// How to open a sealed repository.
    pub unlock: Unlock,
}

/// A session of which the journal says nothing but that it was of this library. It opens plain
/// repositories.
impl From<Uuid> for Session {
    fn from(id: Uuid) -> Self {
        let program = concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { id, host: String::new(), program, clock: || 0, unlock: Unlock::none() }
    }
}

/// An open repository. Verbs are functions over it.
pub struct Repository {
    pub(crate) store: Arc<Store>,
    pub(crate) config: Config,
    account: Option<String>,
}

impl Repository {
    /// Makes a repository in a place that must not hold one.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one.
    pub fn init(place: impl Into<Place>, session: impl Into<Session>, options: &InitOptions) -> Result<Self> {
        let (place, session) = (place.into(), session.into());
        check_level(options.level)?;
        check_time(options.created_unix_ms)?;
        config::check_vacant(&*place.objects)?;
        let making = |dir: &'static str| {
            move |error| {
                Error::stored_io(format!("creating the repository's directory {dir}").trim_end(), error)
            }
        };
        for dir in ["", layout::LOCAL, layout::LOCKS, layout::TMP] {
            place.local.make_dir(dir).map_err(making(dir))?;
        }
        for dir in OBJECT_DIRS {
            place.objects.prepare(dir).map_err(making(dir))?;
        }
        // Before the config, so that a new repository has all of them after a power cut too.
        place
            .objects
            .sync("")
            .map_err(|error| Error::stored_io("syncing the repository's directory", error))?;
        let opened = new_config(options);
        let files = files_of(place.clone(), session.id, &opened);
        let bytes = config::encoded(&opened)?;
        // So that these locks can be taken on a full disk too.
        for work in Work::ALL.into_iter().filter(|work| *work != Work::Commit) {
            locks::try_only(&files, work)?;
        }
        {
            // Nobody else makes one meanwhile, and who finds the config changes nothing before it
            // is durable.
            let _turn = locks::only(&files, Work::Commit)?;
            config::check_vacant(&*place.objects)?;
            fill_reserve(&files)?;
            if let Secrets::Sealed(_, slot) = &options.secrets {
                slots::make_places(&files)?;
                slots::write_slot(&files, slot)?;
            }
            // The first checkpoint holds a copy of the config.
            journal::begin(&files, &bytes, Settings::of(&opened.config))?;
            // The config comes last: with it, the repository exists. Where locks do not work, it
            // replaces none all the same.
            config::write_first(&files, &bytes)?;
        }
        Self::opened(place, session, opened)
    }

    /// Opens the repository in a place, or makes it where there is none. Tells whether it made
    /// it. Of several that try it at once, one makes it and the others open that.
    ///
    /// # Errors
    /// As those of [`init`](Self::init), but for `AlreadyExists`, and [`open`](Self::open).
    pub fn open_or_init(
        place: impl Into<Place>,
        session: impl Into<Session>,
        options: &InitOptions,
    ) -> Result<(Self, bool)> {
        let (place, session) = (place.into(), session.into());
        match Self::init(place.clone(), session.clone(), options) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Ok((Self::open(place, session)?, false))
            }
            made => Ok((made?, true)),
        }
    }

    /// Opens the repository in a place.
    ///
    /// # Errors
    /// `NotFound` if there is none; `Unsupported` if it needs a newer program; `Corrupt` if its
    /// config is damaged; `PermissionDenied` if it is sealed, and the session has no key to it.
    pub fn open(place: impl Into<Place>, session: impl Into<Session>) -> Result<Self> {
        let (place, session) = (place.into(), session.into());
        let opened = config::open(&*place.objects, &session.unlock)?;
        Self::opened(place, session, opened)
    }

    fn opened(place: Place, session: Session, opened: Opened) -> Result<Self> {
        let Session { id, host, program, clock, unlock: _ } = session;
        config::check_readable(&opened.config.features, opened.config.geometry)?;
        let settings = Settings::of(&opened.config);
        let journal = Journal::new(Author { host, program, account: None }, clock, settings);
        let store = Arc::new(Store::new(files_of(place, id, &opened), journal));
        Ok(Self { store, config: opened.config, account: None })
    }

    /// Opens the same repository once more, for another session of the same process. Both handles
    /// know what either has read of the catalog, and do not wait for each other.
    #[must_use]
    pub fn open_beside(&self, session: impl Into<Session>) -> Self {
        let Session { id, host, program, clock, unlock: _ } = session.into();
        let journal = self.store.journal.beside(Author { host, program, account: None }, clock);
        let own = self.files();
        let mut files = RepositoryFiles::new(
            own.place.clone(),
            own.hasher.clone(),
            own.repository,
            id.simple().to_string(),
        );
        files.seals = own.seals.clone();
        let store = Arc::new(self.store.beside(files, journal));
        Self { store, config: self.config.clone(), account: None }
    }

    /// Returns the same handle for what is done on behalf of an account: the journal names it.
    #[must_use]
    pub fn on_behalf_of(&self, account: &str) -> Self {
        Self {
            store: Arc::clone(&self.store),
            config: self.config.clone(),
            account: Some(account.to_owned()),
        }
    }

    /// Returns the repository's id.
    pub fn id(&self) -> RepositoryId {
        self.config.id
    }

    /// Returns when it was made, in milliseconds since 1970.
    pub fn created_unix_ms(&self) -> i64 {
        self.config.created_unix_ms
    }

    /// Returns the parity that it keeps of packs.
    ///
    /// # Errors
    /// Those of reading the journal.
    pub fn parity(&self) -> Result<Option<ParityScheme>> {
        Ok(self.catalog()?.settings.parity())
    }

    pub(crate) fn files(&self) -> &RepositoryFiles {
        &self.store.files
    }

    /// Returns the catalog as it is now.
    ///
    /// # Errors
    /// `Corrupt` if a part of it is lost or damaged; `NotFound` if the repository is gone.
    pub(crate) fn catalog(&self) -> Result<Arc<Catalog>> {
        self.store.catalog()
    }

    /// Returns the snapshots that may differ between two catalogs of this repository, or none if
    /// that is not known any more.
    pub(crate) fn changed_between(&self, earlier: &Catalog, later: &Catalog) -> Option<BTreeSet<SnapshotId>> {
        self.store.journal.between(earlier, later)
    }

    /// Commits the changes that `decide` returns, and what else it returns. It decides again
    /// whenever another entry came first. Without changes, nothing is written.
    ///
    /// # Errors
    /// Those of `decide`; `Unsupported` if a newer program must change the repository; what keeps
    /// the entry from being written.
    pub(crate) fn commit<T>(
        &self,
        decide: impl FnMut(&Catalog) -> Result<(Vec<Change>, T)>,
    ) -> Result<(Arc<Catalog>, T)> {
        self.store.journal.commit(self.files(), self.account.as_deref(), decide)
    }

    /// Commits changes if nothing came after `catalog`. Returns the catalog with them, or none if
    /// something did.
    pub(crate) fn commit_at(&self, catalog: &Catalog, changes: Vec<Change>) -> Result<Option<Arc<Catalog>>> {
        self.store.journal.commit_at(self.files(), self.account.as_deref(), catalog, changes)
    }

    /// Commits an entry without changes, and makes a checkpoint after it.
    pub(crate) fn commit_mark(&self) -> Result<()> {
        self.store.journal.mark(self.files(), self.account.as_deref())
    }

    /// Writes the config of a repository that has lost it.
    pub(crate) fn put_back_config(
        place: &Place,
        session: &Session,
        opened: &Opened,
        bytes: &[u8],
    ) -> Result<()> {
        let files = files_of(place.clone(), session.id, opened);
        let _turn = locks::only(&files, Work::Commit)?;
        files.put_back(layout::CONFIG, bytes)
    }

    /// Returns what a volume of this machine stands on.
    pub(crate) fn standing(
        &self,
        volume: VolumeId,
        name: &str,
        origin: Option<Record>,
        bases: Vec<Record>,
    ) -> Standing {
        let host = self.store.journal.host().to_owned();
        Standing { volume, name: name.to_owned(), host, origin, bases }
    }

    /// Checks that the repository is still in its place, and no other one, and that what every verb
    /// needs of it can be read: the catalog and the index.
    ///
    /// # Errors
    /// `NotFound` if it is gone; `Corrupt` if its config or catalog is damaged; those of reading.
    pub fn check_readable(&self) -> Result<()> {
        config::check_in_place(self.files())?;
        self.catalog()?;
        self.store.load_runs().map(drop)
    }

    /// Refuses to go on where this program must not write. Whatever changes the repository looks
    /// again when it commits; this keeps it from doing much work in vain. Returns the catalog.
    pub(crate) fn check_writable(&self) -> Result<Arc<Catalog>> {
        config::check_again(self.files())?;
        let catalog = self.catalog()?;
        config::check_writable(&catalog.settings.features, catalog.minor)?;
        Ok(catalog)
    }
}

/// Checks a zstd level.
pub(crate) fn check_level(level: i32) -> Result<()> {
    if LEVELS.contains(&level) {
        return Ok(());
    }
    let (low, high) = (LEVELS.start(), LEVELS.end());
    Err(Error::new(ErrorKind::InvalidInput, format!("{level} is not a valid compression level"))
        .with_hint(format!("use a level from {low} (fastest) to {high} (smallest)")))
}

/// Tells whether a repository, or an attempt to make one, has something of this name in its
/// directory; a new file system may have `lost+found`. What else is there belongs to somebody else.
pub fn may_be_in_a_repository(name: &str) -> bool {
    layout::ROOT.contains(&name) || name == "lost+found"
}

/// What a repository says of itself without its keys. Nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its id.
    pub id: RepositoryId,
    /// Whether it is sealed.
    pub is_sealed: bool,
    /// The bytes of its config, which never change, and differ from those of all other repositories.
    pub config: Vec<u8>,
}

/// Returns what the repository in a place says of itself, to tell it from others. It may still be one
/// that cannot be opened.
///
/// # Errors
/// `NotFound` if there is none; `Corrupt` if its config is lost or damaged; `Unsupported` if it needs
/// another version of this program.
pub fn about(place: impl Into<Place>) -> Result<About> {
    let config = config::read_bytes(&*place.into().objects)?;
    let (id, is_sealed) = config::told(&config)?;
    Ok(About { id, is_sealed, config })
}

/// Tells whether a repository has lost its config, so that its directory looks as if it held none.
pub fn has_lost_config(place: impl Into<Place>) -> bool {
    config::is_lost(&*place.into().objects)
}

/// Makes the reserve file, which gc gives back when the disk is full.
pub(crate) fn fill_reserve(files: &RepositoryFiles) -> Result<()> {
    // Not zeros: a file system that compresses would not set room aside for them.
    let noise: Vec<u8> =
        (0..layout::RESERVE_BYTES / 32).flat_map(|n| files.hasher.record(&n.to_le_bytes()).0).collect();
    files.write_local(layout::RESERVE, &noise)
}

/// Makes the reserve again where it was given back. Where there is no room for it now, the next gc
/// or snapshot of a volume tries again.
pub(crate) fn refill_reserve(files: &RepositoryFiles) {
    if files.open_local(layout::RESERVE).is_err() {
        let _ = fill_reserve(files);
    }
}

fn files_of(place: Place, session: Uuid, opened: &Opened) -> RepositoryFiles {
    let Opened { config, hasher, seals } = opened;
    let mut files = RepositoryFiles::new(place, hasher.clone(), config.id, session.simple().to_string());
    files.seals = seals.clone();
    files
}

fn new_config(options: &InitOptions) -> Opened {
    let InitOptions { id, ref secrets, created_unix_ms, level, parity } = *options;
    let (hasher, seals, secret, incompatible) = match secrets {
        Secrets::Plain(key) => (Hasher::new(key), Seals::default(), Secret::Plain(*key), 0),
        Secrets::Sealed(master, slot) => {
            let hasher = Hasher::new(master.id_key().expose());
            let note = slot.note(&hasher, created_unix_ms);
            (hasher, Seals::new(Arc::clone(master)), Secret::Sealed(note), SEALED)
        }
    };
    let features = Features { incompatible, ..Features::default() };
    let config = Config { id, created_unix_ms, features, geometry: Geometry::V1, level, secret, parity };
    Opened { config, hasher, seals }
}
