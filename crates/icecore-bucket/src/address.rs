//! The address of a repository in a bucket.

use std::fmt;
use std::str::FromStr;

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// S3, or anything that speaks it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage. A bucket is called a container there.
    Azure,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::S3, Self::Google, Self::Azure];

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3://",
            Self::Google => "gs://",
            Self::Azure => "az://",
        }
    }
}

/// Where a repository is: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. An
/// empty prefix is the whole bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    cloud: Cloud,
    bucket: String,
    prefix: String,
}

impl Address {
    /// Returns whether a text is meant as the address of a bucket, rather than as a directory.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        Cloud::ALL.iter().any(|cloud| text.starts_with(cloud.scheme()))
    }

    /// Returns the kind of store.
    #[must_use]
    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// Returns the name of the bucket or container.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the prefix, without `/` at its ends.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the key of an object of the repository; the key of the empty name is the prefix.
    pub(crate) fn key(&self, name: &str) -> String {
        match (self.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        }
    }

    /// Returns the address of an object of the repository.
    pub(crate) fn of(&self, name: &str) -> String {
        match self.key(name).as_str() {
            "" => self.whole_bucket(),
            key => format!("{}/{key}", self.whole_bucket()),
        }
    }

    /// Returns the address of the bucket itself.
    pub(crate) fn whole_bucket(&self) -> String {
        format!("{}{}", self.cloud.scheme(), self.bucket)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of(""))
    }
}

/// Why a text is not the address of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins otherwise.
    #[error("the address of a bucket begins with s3://, gs:// or az://")]
    Scheme,
    /// There is no bucket in it.
    #[error("no bucket is named: write s3://BUCKET/PREFIX")]
    NoBucket,
    /// It holds a user or a password.
    #[error("credentials do not belong into an address: set them in the environment or in a profile")]
    Credentials,
    /// It has a query or a fragment.
    #[error("an address has no `?` or `#`: options belong into the configuration")]
    Query,
    /// The name of the bucket has other characters than those of buckets.
    #[error("the name of a bucket consists of letters, digits, `-`, `_` and `.`")]
    BucketName,
    /// A component of the prefix is empty, `.` or `..`.
    #[error("the prefix has a component that is empty, `.` or `..`")]
    Component,
    /// The prefix has characters that stores treat differently.
    #[error(
        "the prefix has a character that not every store accepts; letters, digits and `-_.=+@ ` are fine"
    )]
    Character,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parts = Cloud::ALL.iter().find_map(|&cloud| Some((cloud, text.strip_prefix(cloud.scheme())?)));
        let (cloud, rest) = parts.ok_or(AddressError::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(AddressError::Query);
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains(['@', ':']) {
            return Err(AddressError::Credentials);
        }
        if bucket.is_empty() {
            return Err(AddressError::NoBucket);
        }
        let of_buckets = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !bucket.chars().all(of_buckets) || matches!(bucket, "." | "..") {
            return Err(AddressError::BucketName);
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(AddressError::Component);
        }
        // Stores agree on these without any encoding.
        let of_prefixes = |c: char| of_buckets(c) || matches!(c, '/' | '=' | '+' | '@' | ' ');
        if !prefix.chars().all(of_prefixes) {
            return Err(AddressError::Character);
        }
        Ok(Self { cloud, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["s3://lab", "gs://lab/a", "az://lab/a/b.c", "s3://my.bucket_1/x=1/a b"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let address: Address = "s3://lab/a/b/".parse().unwrap();
        assert_eq!((address.cloud(), address.bucket(), address.prefix()), (Cloud::S3, "lab", "a/b"));
        assert_eq!("s3://lab/".parse::<Address>().unwrap().to_string(), "s3://lab");
    }

    #[test]
    fn keys_are_below_the_prefix() {
        let address: Address = "s3://lab/a/b".parse().unwrap();
        assert_eq!((address.key("packs/1"), address.key("")), ("a/b/packs/1".to_owned(), "a/b".to_owned()));
        assert_eq!(address.of("packs/1"), "s3://lab/a/b/packs/1");
        let whole: Address = "gs://lab".parse().unwrap();
        assert_eq!((whole.key("packs/1"), whole.key("")), ("packs/1".to_owned(), String::new()));
        assert_eq!(whole.of("config"), "gs://lab/config");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", AddressError::Scheme),
            ("/srv/repo", AddressError::Scheme),
            ("file:///srv/repo", AddressError::Scheme),
            ("S3://lab", AddressError::Scheme),
            ("s3://", AddressError::NoBucket),
            ("s3:///a", AddressError::NoBucket),
            ("s3://key:secret@lab/a", AddressError::Credentials),
            ("s3://lab/a?region=x", AddressError::Query),
            ("s3://lab/a#b", AddressError::Query),
            ("s3://l ab/a", AddressError::BucketName),
            ("s3://../a", AddressError::BucketName),
            ("s3://lab//a", AddressError::Component),
            ("s3://lab/a//", AddressError::Component),
            ("s3://lab/../a", AddressError::Component),
            ("s3://lab/./a", AddressError::Component),
            ("s3://lab/a\n", AddressError::Character),
            ("s3://lab/a%2e", AddressError::Character),
            ("s3://lab/ä", AddressError::Character),
        ] {
            assert_eq!(text.parse::<Address>(), Err(reason), "{text}");
        }
        assert!(
            Address::is_meant("s3://") && !Address::is_meant("s3:/lab") && !Address::is_meant("/s3://lab")
        );
    }
}
