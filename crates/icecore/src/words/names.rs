//! Names that users give: of snapshots, resources, tags, volumes and labels.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::words::error::Error;
use crate::words::error::ErrorKind;
use crate::words::error::Result;

/// The longest name or tag, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// The most tags of a snapshot.
pub(crate) const TAGS_MAX: usize = 64;

/// The kind of resource that a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// A machine's disk.
    Droplet,
    /// A data disk.
    Volume,
}

impl ResourceKind {
    /// Returns the word for this kind: `droplet` or `volume`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Droplet => "droplet",
            Self::Volume => "volume",
        }
    }
}

/// Checks the name of a snapshot or of a resource; `what` says which, for the error.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let bad = |why: &str| {
        Err(Error::new(ErrorKind::InvalidInput, format!("the {what} {name:?} {why}"))
            .with_hint("use 1 to 255 bytes of printable text that does not begin or end with a space"))
    };
    if name.is_empty() {
        return bad("is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return bad("is longer than 255 bytes");
    }
    if name.chars().any(char::is_control) {
        return bad("contains control characters");
    }
    if name.contains(|c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
        return bad("contains characters that change the direction of text");
    }
    if name.trim() != name {
        return bad("begins or ends with white space");
    }
    Ok(())
}

/// The longest name of a copy-on-write volume, in bytes.
const VOLUME_NAME_BYTES_MAX: usize = 64;

/// Checks the name of a copy-on-write volume. It is the name of a directory and appears in URIs:
/// ASCII letters, digits, `-`, `_` and `.`, beginning with a letter or a digit, up to 64 bytes.
pub(crate) fn check_volume_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = name.chars().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if first && name.len() <= VOLUME_NAME_BYTES_MAX && name.chars().all(good) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("{name:?} is not a valid volume name"))
        .with_hint("use 1 to 64 ASCII letters, digits and - _ . and begin with a letter or a digit"))
}

/// Checks a tag: letters, digits, `:`, `-`, `_`, `.` and `=`, as clouds allow, up to 255 bytes.
pub(crate) fn check_tag(tag: &str) -> Result<()> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '=');
    if tag.is_empty() || tag.len() > NAME_BYTES_MAX || !tag.chars().all(good) {
        return Err(Error::new(ErrorKind::InvalidInput, format!("{tag:?} is not a valid tag"))
            .with_hint("a tag has 1 to 255 bytes of letters, digits and : - _ . ="));
    }
    Ok(())
}

/// The labels of a snapshot or a volume, by key.
pub(crate) type Labels = BTreeMap<String, String>;

/// The most labels of a snapshot or a volume.
pub(crate) const LABELS_MAX: usize = 32;
/// The longest key of a label, in bytes.
const LABEL_KEY_BYTES_MAX: usize = 32;
/// The longest value of a label, in bytes.
const LABEL_VALUE_BYTES_MAX: usize = 1024;

fn is_label_key(key: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let first = key.chars().next().is_some_and(|first| first.is_ascii_lowercase());
    first && key.len() <= LABEL_KEY_BYTES_MAX && key.chars().all(good)
}

/// Checks the key of a label: lower-case ASCII letters, digits and `-`, beginning with a letter, up
/// to 32 bytes.
pub(crate) fn check_label_key(key: &str) -> Result<()> {
    if is_label_key(key) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("{key:?} is not a valid label key"))
        .with_hint("use 1 to 32 lower-case ASCII letters, digits and - and begin with a letter"))
}

/// Checks labels: the form of their keys, the length of their values, and their number.
pub(crate) fn check_labels(labels: &Labels) -> Result<()> {
    for (key, value) in labels {
        check_label_key(key)?;
        if value.len() > LABEL_VALUE_BYTES_MAX {
            let message = format!("the label {key} has a value of {} bytes", value.len());
            return Err(Error::new(ErrorKind::InvalidInput, message)
                .with_hint(format!("the value of a label has at most {LABEL_VALUE_BYTES_MAX} bytes")));
        }
    }
    if labels.len() > LABELS_MAX {
        let message = format!("{} labels are too many", labels.len());
        return Err(Error::new(ErrorKind::InvalidInput, message)
            .with_hint(format!("a snapshot or volume has at most {LABELS_MAX}; remove some first")));
    }
    Ok(())
}

/// Removes some labels and then sets others.
pub(crate) fn change_labels(labels: &mut Labels, set: &Labels, remove: &[String]) -> Result<()> {
    remove.iter().try_for_each(|key| check_label_key(key))?;
    labels.retain(|key, _| !remove.contains(key));
    labels.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
    check_labels(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_listing_are_refused() {
        assert!(check_name("name", "nightly 2026-11-24").is_ok());
        for bad in ["", " a", "a ", "a\nb", "\u{1b}[31m", "a\u{202e}b", "a\u{2028}b", &"x".repeat(256)] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_volumes_are_names_of_directories() {
        for good in ["a", "web-1", "Web_1.test", "0", &"x".repeat(64)] {
            assert!(check_volume_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "\u{e4}", "a\0", &"x".repeat(65)] {
            assert!(check_volume_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_have_short_keys_and_bounded_values_and_are_not_many() {
        let one = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
        let most: Labels = (0..LABELS_MAX).map(|n| (format!("k{n}"), String::new())).collect();
        for good in [one("a", ""), one("droplet-id2", "a\nb"), one(&"k".repeat(32), &"v".repeat(1024))] {
            assert!(check_labels(&good).is_ok(), "{good:?}");
        }
        for bad in ["", "A", "1a", "-a", "a_b", "a b", "\u{e4}", &"k".repeat(33)] {
            assert!(check_labels(&one(bad, "")).is_err(), "{bad:?}");
            assert!(change_labels(&mut Labels::new(), &Labels::new(), &[bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert!(check_labels(&one("a", &"v".repeat(1025))).is_err());
        let mut full = most;
        check_labels(&full).unwrap();
        change_labels(&mut full, &one("new", "1"), &["k0".to_owned(), "none".to_owned()]).unwrap();
        assert_eq!((full.len(), full.get("new").map(String::as_str)), (LABELS_MAX, Some("1")));
        assert!(change_labels(&mut full, &one("more", ""), &[]).is_err());
    }

    #[test]
    fn tags_are_single_words() {
        assert!(check_tag("env:prod").is_ok());
        for bad in ["", "a b", "a,b", "+a", &"x".repeat(256)] {
            assert!(check_tag(bad).is_err(), "{bad:?}");
        }
    }
}
