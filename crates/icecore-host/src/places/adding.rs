//! Writing a repository into the configuration, beside everything that people wrote there.

use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use icecore::Error;
use icecore::ErrorKind;
use icecore::Result;
use toml_edit::DocumentMut;
use toml_edit::Item;
use toml_edit::Table;
use toml_edit::Value;

use crate::clock::random_id;
use crate::places::named;
use crate::places::named::ADDRESS;
use crate::places::named::TABLE;

/// Writes a repository into a file, which is made if it is missing. Comments, and the order of what
/// is there, stay.
///
/// # Errors
/// `AlreadyExists` if the file has this name; `InvalidInput` if the name, the address or a key
/// cannot be; what keeps the file from being written.
pub(crate) fn add(file: &Path, name: &str, address: &str, options: Vec<(&str, Value)>) -> Result<()> {
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io(format!("reading {}", file.display()), error)),
    };
    let after = added(&before, file, name, address, options)?;
    replace(file, &after).map_err(|error| Error::io(format!("writing {}", file.display()), error))
}

/// Returns the text of a file with one more repository.
fn added(
    before: &str,
    file: &Path,
    name: &str,
    address: &str,
    options: Vec<(&str, Value)>,
) -> Result<String> {
    if named::read(before, file)?.iter().any(|named| named.name == name) {
        let message = format!("{} names a repository {name} already", file.display());
        return Err(Error::new(ErrorKind::AlreadyExists, message)
            .with_hint("choose another name, or change the file with an editor"));
    }
    let mut document: DocumentMut = before.parse().map_err(|error: toml_edit::TomlError| {
        Error::new(ErrorKind::InvalidInput, error.to_string()).in_context(file.display())
    })?;
    let mut entry = Table::new();
    entry.insert(ADDRESS, toml_edit::value(address));
    for (key, value) in options {
        entry.insert(key, Item::Value(value));
    }
    let all = document.entry(TABLE).or_insert_with(|| {
        let mut all = Table::new();
        // Its tables say all there is to say.
        all.set_implicit(true);
        Item::Table(all)
    });
    let Some(all) = all.as_table_like_mut() else {
        let message = format!("{}: `{TABLE}` is not a table", file.display());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    };
    all.insert(name, Item::Table(entry));
    let after = document.to_string();
    named::read(&after, file)?;
    Ok(after)
}

/// Writes the file whole, or not at all.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    // Through a link to where the file is, as where people keep such files elsewhere.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let dir = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", random_id().simple()));
    let new = dir.join(name);
    let write = || {
        let mut written = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        if let Ok(about) = file.metadata() {
            written.set_permissions(about.permissions())?;
        }
        written.write_all(text.as_bytes())?;
        written.sync_all()?;
        std::fs::rename(&new, &file)
    };
    write().inspect_err(|_| {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_as_it_was_and_what_is_added_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("icecore/config.toml");
        add(&file, "one", "/srv/one", Vec::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[repositories.one]\naddress = \"/srv/one\"\n");
        let written = "# Ours.\n[repositories.one]   # the first\naddress = '/srv/one'\n\n# The end.\n";
        std::fs::write(&file, written).unwrap();
        let options = vec![("region", Value::from("x")), ("allow_http", Value::from(true))];
        let added = add(&file, "two", "/srv/two", options);
        #[cfg(feature = "bucket")]
        {
            added.unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            for line in written.lines() {
                assert!(text.contains(line), "{line} is not in {text}");
            }
            let all = named::read(&text, &file).unwrap();
            assert_eq!(all.iter().map(|named| &*named.name).collect::<Vec<_>>(), ["one", "two"]);
            assert_eq!(all[1].options.region.as_deref(), Some("x"));
        }
        #[cfg(not(feature = "bucket"))]
        added.unwrap();
        let left: Vec<_> = std::fs::read_dir(file.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_name_is_given_once_and_a_wrong_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        add(&file, "one", "/srv/one", Vec::new()).unwrap();
        let before = std::fs::read(&file).unwrap();
        let kind = |name: &str, address: &str| add(&file, name, address, Vec::new()).unwrap_err().kind();
        assert_eq!(kind("one", "/srv/other"), ErrorKind::AlreadyExists);
        assert_eq!(kind("a b", "/srv/other"), ErrorKind::InvalidInput);
        assert_eq!(kind("two", "sftp://x"), ErrorKind::InvalidInput);
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}
