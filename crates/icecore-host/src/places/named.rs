//! Repositories that have names: the files `icecore/config.toml`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;

use crate::places::address::Address;
use crate::places::address::is_name;

/// How a bucket is reached, beside its address.
#[cfg(feature = "bucket")]
pub use icecore_bucket::Options as BucketOptions;
/// How a bucket is reached, for a program that reaches none.
#[cfg(not(feature = "bucket"))]
pub type BucketOptions = toml::Table;

/// The table of repositories.
pub(crate) const TABLE: &str = "repositories";
/// The key of the address.
pub(crate) const ADDRESS: &str = "address";
/// The keys of a repository.
const KEYS: [&str; 12] = [
    ADDRESS,
    "endpoint",
    "region",
    "profile",
    "path_style",
    "allow_http",
    "anonymous",
    "account",
    "credentials_file",
    "ca_file",
    "request_seconds",
    "retry_seconds",
];

/// A repository of the configuration.
#[derive(Debug, Clone)]
pub struct Named {
    /// What people call it, after `@`.
    pub name: String,
    /// Where it is. This is no name again.
    pub address: Address,
    /// How it is reached, if it is in a bucket.
    pub options: BucketOptions,
    /// The file that says so.
    pub file: PathBuf,
}

/// Returns the repositories of these files by their names. The first file that has a name counts; a
/// missing file has none.
///
/// # Errors
/// `InvalidInput` if a file says what cannot be; what keeps it from being read.
pub(crate) fn read_all(files: &[PathBuf]) -> Result<BTreeMap<String, Named>> {
    let mut all = BTreeMap::new();
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                continue;
            }
            Err(error) => return Err(Error::io(format!("reading {}", file.display()), error)),
        };
        for named in read(&text, file)? {
            all.entry(named.name.clone()).or_insert(named);
        }
    }
    Ok(all)
}

/// Returns the repositories in a file of this text.
///
/// # Errors
/// `InvalidInput` if it says what cannot be.
pub(crate) fn read(text: &str, file: &Path) -> Result<Vec<Named>> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidInput, message).in_context(file.display());
    let table: toml::Table = toml::from_str(text)
        .map_err(|error: toml::de::Error| invalid(error.to_string().trim_end().to_owned()))?;
    let mut all = Vec::new();
    for (key, value) in table {
        if key != TABLE {
            return Err(unknown(&key, &[TABLE]).in_context(file.display()));
        }
        let repositories = value
            .try_into::<BTreeMap<String, toml::Table>>()
            .map_err(|error| invalid(format!("`{TABLE}`: {error}").trim_end().to_owned()))?;
        for (name, entry) in repositories {
            let of_entry =
                |error: Error| error.in_context(format!("[{TABLE}.{name}]")).in_context(file.display());
            all.push(one(&name, entry, file).map_err(of_entry)?);
        }
    }
    Ok(all)
}

fn one(name: &str, mut entry: toml::Table, file: &Path) -> Result<Named> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidInput, message);
    if !is_name(name) {
        return Err(
            invalid(format!("{name:?} is not a valid name")).with_hint("use letters, digits, -, _ and .")
        );
    }
    if let Some(key) = entry.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(unknown(key, &KEYS));
    }
    let Some(address) = entry.remove(ADDRESS) else {
        return Err(invalid("there is no `address`".to_owned())
            .with_hint("add one: address = \"s3://BUCKET/PREFIX\""));
    };
    let toml::Value::String(address) = address else {
        return Err(invalid("`address` is not a text".to_owned()).with_hint("write it in quotes"));
    };
    let mut address = Address::parse(address.as_ref()).map_err(|error| error.in_context("`address`"))?;
    if matches!(address, Address::Named(_)) {
        return Err(invalid("`address` is a name again".to_owned()).with_hint("write the address itself"));
    }
    let dir = file.parent().unwrap_or(Path::new("/"));
    address.begin_in(dir);
    for key in ["credentials_file", "ca_file"] {
        if let Some(toml::Value::String(path)) = entry.get_mut(key)
            && !path.starts_with("~/")
            && let Some(absolute) = dir.join(&path).to_str()
        {
            *path = absolute.to_owned();
        }
    }
    let options = entry
        .try_into::<BucketOptions>()
        .map_err(|error| invalid(error.to_string().trim_end().to_owned()))?;
    Ok(Named { name: name.to_owned(), address, options, file: file.to_owned() })
}

fn unknown(key: &str, known: &[&str]) -> Error {
    let error = Error::new(ErrorKind::InvalidInput, format!("the key `{key}` is unknown"));
    match nearest(key, known.iter().copied()) {
        Some(nearest) => error.with_hint(format!("the nearest key that exists is `{nearest}`")),
        None => error,
    }
}

/// Returns the word that takes the fewest changes to become.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.min_by_key(|other| distance(word, other))
}

/// Returns how many letters must be inserted, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> &'static Path {
        Path::new("/etc/icecore/config.toml")
    }

    #[test]
    fn a_file_names_repositories() {
        let all =
            read("[repositories.b]\naddress = \"/srv/b\"\n[repositories.a]\naddress = \"disks\"\n", file())
                .unwrap();
        let told: Vec<_> = all.iter().map(|named| (named.name.as_str(), named.address.to_string())).collect();
        assert_eq!(told, [("a", "/etc/icecore/disks".to_owned()), ("b", "/srv/b".to_owned())]);
        assert!(read("# nothing\n", file()).unwrap().is_empty());
    }

    #[cfg(feature = "bucket")]
    #[test]
    fn every_option_of_a_bucket_is_a_key() {
        let text = "[repositories.lab]\naddress = \"s3://lab/disks\"\nendpoint = \"https://x\"\nregion = \"r\"\n\
                    profile = \"p\"\npath_style = true\nallow_http = true\nanonymous = false\naccount = \"a\"\n\
                    credentials_file = \"c\"\nca_file = \"~/ca\"\nrequest_seconds = 1\nretry_seconds = 2\n";
        let [lab] = read(text, file()).unwrap().try_into().unwrap();
        let expected = BucketOptions {
            endpoint: Some("https://x".into()),
            region: Some("r".into()),
            profile: Some("p".into()),
            path_style: Some(true),
            allow_http: Some(true),
            anonymous: Some(false),
            account: Some("a".into()),
            credentials_file: Some("/etc/icecore/c".into()),
            ca_file: Some("~/ca".into()),
            request_seconds: Some(1),
            retry_seconds: Some(2),
        };
        assert_eq!(lab.options, expected);
    }

    #[test]
    fn what_cannot_be_names_the_file_the_table_and_what_to_do() {
        let lab = |keys: &str| format!("[repositories.lab]\n{keys}");
        for (text, parts) in [
            ("repositry = 1".to_owned(), &["config.toml", "`repositry`"][..]),
            (lab("adress = \"x\""), &["[repositories.lab]", "`adress`"]),
            (lab("address = \"x\"\nendpont = \"y\""), &["`endpont`"]),
            (lab("endpoint = \"x\""), &["there is no `address`"]),
            (lab("address = 1"), &["not a text"]),
            (lab("address = \"@other\""), &["a name again"]),
            (lab("address = \"sftp://x\""), &["`address`", "sftp://x"]),
            ("[repositories.\"a b\"]\naddress = \"x\"".to_owned(), &["not a valid name"]),
            ("repositories = 1".to_owned(), &["`repositories`"]),
            ("[".to_owned(), &["config.toml"]),
        ] {
            let error = read(&text, file()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            for part in parts {
                assert!(error.to_string().contains(part), "{text}: {error}");
            }
        }
        let hint = read(&lab("endpont = \"y\""), file()).unwrap_err();
        assert!(format!("{:?}", hint.next_step()).contains("`endpoint`"), "{hint:?}");
    }

    #[test]
    fn the_nearest_word_takes_the_fewest_changes() {
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("a", "a")), (3, 3, 0));
        assert_eq!(nearest("regoin", KEYS.into_iter()), Some("region"));
    }
}
