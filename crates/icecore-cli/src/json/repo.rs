//! JSON of the commands on repositories that have names, and on their stores.

use serde::Serialize;

/// What was read from buckets and is kept, or was until now.
#[cfg(feature = "bucket")]
#[derive(Serialize)]
pub(crate) struct CacheResult {
    /// Where it is.
    pub(crate) directory: String,
    /// The repositories of which anything is there.
    pub(crate) repositories: u64,
    /// The pieces.
    pub(crate) pieces: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// A repository that has a name.
#[derive(Serialize)]
pub(crate) struct NamedRepository {
    /// Its name, without `@`.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) address: String,
    /// The file that says so.
    pub(crate) file: String,
}

/// The result of `repo list`.
#[derive(Serialize)]
pub(crate) struct RepoListResult {
    /// The repositories, by name.
    pub(crate) repositories: Vec<NamedRepository>,
}

/// The result of `repo add`.
#[derive(Serialize)]
pub(crate) struct RepoAddResult {
    /// The new one.
    pub(crate) repository: NamedRepository,
}

/// What a store keeps.
#[derive(Serialize)]
pub(crate) struct Store {
    /// Whether it keeps apart what several machines write.
    many_may_write: bool,
    /// Whether the credentials may delete.
    may_delete: bool,
    /// Whether it keeps objects for a time.
    retains: bool,
}

impl From<icecore_host::places::Store> for Store {
    fn from(store: icecore_host::places::Store) -> Self {
        Self { many_may_write: store.many_may_write, may_delete: store.may_delete, retains: store.retains }
    }
}

impl From<&Store> for icecore_host::places::Store {
    fn from(store: &Store) -> Self {
        Self { many_may_write: store.many_may_write, may_delete: store.may_delete, retains: store.retains }
    }
}

/// What was found at an address.
#[derive(Serialize)]
pub(crate) struct Checked {
    /// Its name, if it was checked by its name.
    pub(crate) name: Option<String>,
    /// Where it is.
    pub(crate) address: String,
    /// Its id.
    pub(crate) id: Option<String>,
    /// Whether it is sealed.
    pub(crate) sealed: Option<bool>,
    /// The machine that alone may write to it, if that is another one.
    pub(crate) only_writer: Option<String>,
    /// What its store keeps, if it is in a bucket and was tried.
    pub(crate) store: Option<Store>,
    /// What is wrong.
    pub(crate) problem: Option<String>,
}

/// The result of `repo check`.
#[derive(Serialize)]
pub(crate) struct RepoCheckResult {
    /// What was found, in the order of the arguments.
    pub(crate) repositories: Vec<Checked>,
}
