//! The address of a repository, as people write it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use serde::Deserialize;
use serde::Deserializer;
use serde::de;

/// How to write an address.
const FORMS: &str = "write a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or @NAME of \
                     the configuration; for a directory that really has this name, write ./ before it";

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket, and a prefix in it: `s3://lab/disks`.
    Bucket(String),
    /// What the configuration calls by this name.
    Named(String),
}

impl Address {
    /// Reads an address: a path, `file:///dir`, `s3://bucket/prefix`, `gs://` and `az://` in the
    /// same way, or `@name`.
    ///
    /// # Errors
    /// `InvalidInput` if it is none of these; `Unsupported` for a bucket in a program that was built
    /// without them.
    pub fn parse(text: &OsStr) -> Result<Self> {
        if let Some(name) = text.as_bytes().strip_prefix(b"@") {
            let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
            return name.map(|name| Self::Named(name.to_owned())).ok_or_else(|| {
                let message = format!("{} is not the name of a repository", text.display());
                Error::new(ErrorKind::InvalidInput, message).with_hint(FORMS)
            });
        }
        match text.to_str() {
            Some(url) if is_of_bucket(url) => bucket(url),
            Some(url) if url.starts_with("file://") => file(url),
            _ => {
                let dir = Path::new(text);
                icecore::repository::check_directory(dir).map_err(|error| match text.is_empty() {
                    true => error,
                    false => {
                        let message = format!("{} is a URL, but not one of a repository", text.display());
                        Error::new(ErrorKind::InvalidInput, message).with_hint(FORMS)
                    }
                })?;
                Ok(Self::Directory(dir.to_owned()))
            }
        }
    }

    /// Makes a path that is not absolute begin in `dir`.
    pub fn begin_in(&mut self, dir: &Path) {
        if let Self::Directory(path) = self {
            *path = dir.join(&path);
        }
    }
}

/// Returns whether a text can be the name of a repository in the configuration.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(fits)
}

fn is_of_bucket(text: &str) -> bool {
    ["s3://", "gs://", "az://"].iter().any(|scheme| text.starts_with(scheme))
}

fn file(url: &str) -> Result<Address> {
    let bad = |message: String| Err(Error::new(ErrorKind::InvalidInput, message).with_hint(FORMS));
    match url.strip_prefix("file://") {
        Some(path) if path.contains('%') => {
            bad(format!("{url} may mean two directories, with % or with what it stands for"))
        }
        Some(path) if path.starts_with('/') => Ok(Address::Directory(PathBuf::from(path))),
        _ => bad(format!("{url} names no absolute path: write file:///DIR")),
    }
}

#[cfg(feature = "bucket")]
fn bucket(url: &str) -> Result<Address> {
    let address: icecore_bucket::Address = url.parse().map_err(|error: icecore_bucket::AddressError| {
        Error::new(ErrorKind::InvalidInput, format!("{url} is not the address of a bucket"))
            .with_hint(error.to_string())
    })?;
    Ok(Address::Bucket(address.to_string()))
}

#[cfg(not(feature = "bucket"))]
fn bucket(url: &str) -> Result<Address> {
    let message = format!("{url} is in a bucket, and this program was built without buckets");
    Err(Error::new(ErrorKind::Unsupported, message).with_hint("build it with the feature `bucket`"))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket(url) => f.write_str(url),
            Self::Named(name) => write!(f, "@{name}"),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(OsStr::new(&text)).map_err(|error| {
            let hint = error.next_step().map(|next| match next {
                icecore::NextStep::Advice(advice) => format!("; {advice}"),
                _ => String::new(),
            });
            de::Error::custom(format!("{error}{}", hint.unwrap_or_default()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(OsStr::new(text))
    }

    #[test]
    fn paths_and_names_are_told_apart() {
        for (text, path) in [
            ("repo", "repo"),
            ("/srv/x", "/srv/x"),
            ("file:///srv/x", "/srv/x"),
            ("./@lab", "./@lab"),
            ("./s3://x", "./s3://x"),
        ] {
            assert_eq!(parse(text).unwrap(), Address::Directory(PathBuf::from(path)), "{text}");
        }
        assert_eq!(parse("@lab-1.x").unwrap(), Address::Named("lab-1.x".to_owned()));
        for wrong in ["", "@", "@a b", "@a/b", "file://srv", "file:///a%20b", "sftp://host/x", "S3://x"] {
            assert_eq!(parse(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }

    #[cfg(feature = "bucket")]
    #[test]
    fn buckets_have_one_spelling() {
        assert_eq!(parse("s3://lab/disks/").unwrap(), Address::Bucket("s3://lab/disks".to_owned()));
        assert_eq!(parse("gs://lab").unwrap().to_string(), "gs://lab");
        for wrong in ["s3://", "az://x//y", "s3://key:secret@lab/x"] {
            let error = parse(wrong).unwrap_err();
            assert_eq!(
                (error.kind(), error.next_step().is_some()),
                (ErrorKind::InvalidInput, true),
                "{wrong}"
            );
        }
    }

    #[cfg(not(feature = "bucket"))]
    #[test]
    fn a_program_without_buckets_says_so() {
        assert_eq!(parse("s3://lab/disks").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn only_paths_begin_somewhere() {
        let in_etc = |text: &str| {
            let mut address = parse(text).unwrap();
            address.begin_in(Path::new("/etc"));
            address.to_string()
        };
        assert_eq!((in_etc("x"), in_etc("/x"), in_etc("@x")), ("/etc/x".into(), "/x".into(), "@x".into()));
    }
}
