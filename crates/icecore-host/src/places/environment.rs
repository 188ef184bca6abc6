//! What a program knows of its user: the variables of the environment, and the directories that
//! follow from them.

use std::path::PathBuf;
#[cfg(feature = "bucket")]
use std::sync::Arc;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
#[cfg(feature = "bucket")]
use icecore_bucket::Cache;
#[cfg(feature = "bucket")]
use icecore_bucket::Keep;
use toml_edit::Value;

use crate::keys::sources::Lookup;
use crate::places::adding;
use crate::places::address::Address;
#[cfg(feature = "bucket")]
use crate::places::bucket::InBucket;
use crate::places::location::Location;
use crate::places::named;
use crate::places::named::BucketOptions;
use crate::places::named::Named;
use crate::places::named::nearest;

/// The most bytes that are kept of what was read from buckets.
pub const CACHE_BYTES_MAX: u64 = 10 << 30;

/// The surroundings of a program, in which addresses of repositories have a meaning.
#[derive(Clone)]
pub struct Environment {
    variable: Lookup,
    state: Option<PathBuf>,
    #[cfg_attr(not(feature = "bucket"), expect(dead_code, reason = "only buckets are read in ways"))]
    reading: Reading,
}

/// What a program does with what it reads from buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// It keeps what is likely to be read again.
    #[default]
    Usual,
    /// It keeps everything, as it serves disks.
    Served,
    /// It takes nothing that was kept, as it checks what is stored.
    Checked,
}

impl Environment {
    /// Returns the environment with these variables.
    pub fn new(variable: Lookup) -> Self {
        Self { variable, state: None, reading: Reading::default() }
    }

    /// Returns the same environment, where local files of repositories in buckets are in `dir`
    /// rather than in the user's directory for state.
    #[must_use]
    pub fn with_state_in(self, dir: PathBuf) -> Self {
        Self { state: Some(dir), ..self }
    }

    /// Returns the same environment, for a program that reads so.
    #[must_use]
    pub fn with_reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// Returns a directory that a variable names, else one below the home directory.
    fn dir(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        self.absolute(name).or_else(|| self.home().map(|home| home.join(below_home)))
    }

    fn absolute(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME")
    }

    /// Returns the directory below which the local files of repositories in buckets are:
    /// `$XDG_STATE_HOME/icecore`, by default `~/.local/state/icecore`.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let usual = || self.dir("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("icecore"));
        self.state.clone().or_else(usual)
    }

    /// Returns the directory for what was read from buckets: `$XDG_CACHE_HOME/icecore`, by default
    /// `~/.cache/icecore`.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        self.dir("XDG_CACHE_HOME", ".cache").map(|dir| dir.join("icecore"))
    }

    /// Returns the files that may name repositories, the user's first.
    pub fn config_files(&self) -> Vec<PathBuf> {
        let own = self.dir("XDG_CONFIG_HOME", ".config");
        own.into_iter().chain([PathBuf::from("/etc")]).map(|dir| dir.join("icecore/config.toml")).collect()
    }

    /// Returns the repositories that have names, in the order of these.
    ///
    /// # Errors
    /// `InvalidInput` if a file says what cannot be; what keeps it from being read.
    pub fn repositories(&self) -> Result<Vec<Named>> {
        Ok(named::read_all(&self.config_files())?.into_values().collect())
    }

    /// Gives a repository a name, in the user's file, which it returns.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one of this name; `InvalidInput` if the name, the address or an
    /// option cannot be; what keeps the file from being written.
    pub fn add(&self, name: &str, address: &Address, options: Vec<(&str, Value)>) -> Result<PathBuf> {
        if let Some(there) = named::read_all(&self.config_files())?.get(name) {
            let message = format!("{} names a repository {name} already", there.file.display());
            return Err(Error::new(ErrorKind::AlreadyExists, message)
                .with_hint("choose another name, or change the file with an editor"));
        }
        let Some(file) = self.dir("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("icecore/config.toml"))
        else {
            return Err(no_home("the configuration"));
        };
        adding::add(&file, name, &address.to_string(), options)?;
        Ok(file)
    }

    /// Returns where an address leads. Nothing is read there. The options are those of a bucket.
    ///
    /// # Errors
    /// `NotFound` if the configuration has no such name; `InvalidInput` if options are wrong, or
    /// beside an address that takes none.
    pub fn locate(&self, address: &Address, options: &BucketOptions) -> Result<Location> {
        match address {
            Address::Bucket(url) => self.bucket(url, options),
            _ if *options != BucketOptions::default() => {
                let message = format!("{address} is no address of a bucket, so it takes no options of one");
                Err(Error::new(ErrorKind::InvalidInput, message).with_hint(
                    "leave them out; the options of a repository with a name belong into config.toml",
                ))
            }
            Address::Directory(dir) => Ok(Location::directory(dir)),
            Address::Named(name) => {
                let all = named::read_all(&self.config_files())?;
                let Some(named) = all.get(name) else { return Err(self.unknown(name, all.keys())) };
                self.locate(&named.address, &named.options)
                    .map_err(|error| error.in_context(format!("@{name}")))
            }
        }
    }

    fn unknown<'a>(&self, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
        let error = Error::new(ErrorKind::NotFound, format!("the configuration names no repository {name}"));
        match nearest(name, known.map(String::as_str)) {
            Some(nearest) => error.with_hint(format!(
                "the nearest name is @{nearest}; `icecore repo list` lists all, and `icecore repo add` adds one"
            )),
            None => error.with_hint(format!("add it with `icecore repo add {name} ADDRESS`")),
        }
    }

    #[cfg(feature = "bucket")]
    fn bucket(&self, url: &str, options: &BucketOptions) -> Result<Location> {
        let state = self.state_dir().ok_or_else(|| no_home("the local files of a repository in a bucket"))?;
        let environment = |name: &str| (self.variable)(name)?.into_string().ok();
        let settings = icecore_bucket::Settings::new(&environment, self.home().as_deref());
        let mut options = options.clone();
        for path in options.credentials_file.iter_mut().chain(&mut options.ca_file) {
            if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), self.home()) {
                *path = home.join(rest);
            }
        }
        let keep = match self.reading {
            Reading::Usual => Keep::Some,
            Reading::Served => Keep::All,
            Reading::Checked => Keep::Fresh,
        };
        let cache = self.cache().map(|cache| (cache, keep));
        InBucket::new(url, &settings.with(options), state, cache).map(Location::of)
    }

    /// Returns what is kept of what was read from buckets. None without a directory for it.
    #[cfg(feature = "bucket")]
    pub fn cache(&self) -> Option<Arc<Cache>> {
        self.cache_dir().map(|dir| Cache::new(&dir.join("buckets"), CACHE_BYTES_MAX))
    }

    #[cfg(not(feature = "bucket"))]
    fn bucket(&self, url: &str, _options: &BucketOptions) -> Result<Location> {
        // Such an address cannot have been read.
        Err(Error::new(ErrorKind::Unsupported, format!("{url} is in a bucket")))
    }
}

fn no_home(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("HOME is not set, so there is no directory for {what}"))
        .with_hint("set HOME, or the variables of the XDG directories")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    fn environment(variables: &[(&str, &Path)]) -> Environment {
        let all: Vec<(String, OsString)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_os_str().to_owned()))
            .collect();
        Environment::new(Arc::new(move |name| {
            all.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
        }))
    }

    #[test]
    fn directories_follow_from_the_variables() {
        let home = environment(&[("HOME", Path::new("/home/ann"))]);
        assert_eq!(home.state_dir(), Some("/home/ann/.local/state/icecore".into()));
        assert_eq!(home.cache_dir(), Some("/home/ann/.cache/icecore".into()));
        let files = ["/home/ann/.config/icecore/config.toml", "/etc/icecore/config.toml"];
        assert_eq!(home.config_files(), files.map(PathBuf::from));
        let state = environment(&[("XDG_STATE_HOME", Path::new("/s")), ("HOME", Path::new("relative"))]);
        assert_eq!((state.state_dir(), state.cache_dir()), (Some("/s/icecore".into()), None));
        assert_eq!(state.clone().with_state_in("/var".into()).state_dir(), Some("/var".into()));
        assert_eq!(state.config_files().len(), 1);
    }

    #[test]
    fn names_lead_to_what_the_files_say() {
        let dir = tempfile::tempdir().unwrap();
        let environment = environment(&[("XDG_CONFIG_HOME", dir.path())]);
        let lab = Address::Named("lab".to_owned());
        let locate = |address: &Address| environment.locate(address, &BucketOptions::default());
        let unknown = locate(&lab).err().map(|error| error.kind());
        assert_eq!(unknown, Some(ErrorKind::NotFound));
        let there = Address::Directory("/srv/lab".into());
        let file = environment.add("lab", &there, Vec::new()).unwrap();
        assert_eq!(file, dir.path().join("icecore/config.toml"));
        assert_eq!(locate(&lab).unwrap().as_directory(), Some(Path::new("/srv/lab")));
        let again = environment.add("lab", &there, Vec::new()).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let names: Vec<_> = environment.repositories().unwrap().into_iter().map(|named| named.name).collect();
        assert!(names.contains(&"lab".to_owned()));
    }

    #[cfg(feature = "bucket")]
    #[test]
    fn options_are_for_buckets_only() {
        let state = environment(&[("XDG_STATE_HOME", Path::new("/s"))]);
        let options = BucketOptions { region: Some("x".to_owned()), ..BucketOptions::default() };
        let kind = |address: &Address| state.locate(address, &options).err().map(|error| error.kind());
        assert_eq!(kind(&Address::Directory("/x".into())), Some(ErrorKind::InvalidInput));
        assert_eq!(kind(&Address::Named("x".into())), Some(ErrorKind::InvalidInput));
        assert_eq!(kind(&Address::Bucket("s3://lab/x".into())), None);
        let homeless = environment(&[]);
        let nowhere = homeless.locate(&Address::Bucket("s3://lab/x".into()), &options).err();
        assert_eq!(nowhere.map(|error| error.kind()), Some(ErrorKind::InvalidInput));
    }
}
