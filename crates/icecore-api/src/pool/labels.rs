//! What the API notes with snapshots and volumes in the repository, so that nothing but the repository is needed to know it.

use std::collections::BTreeMap;

use uuid::Uuid;

/// The labels of a snapshot or a volume.
pub(crate) type Labels = BTreeMap<String, String>;

/// The account that owns it.
pub(crate) const ACCOUNT: &str = "account";
/// The name that the API knows it by, where the engine's differs.
pub(crate) const NAME: &str = "name";
/// Text for people.
pub(crate) const DESCRIPTION: &str = "description";
/// Of a volume: what it was asked to be formatted with.
pub(crate) const FILESYSTEM_TYPE: &str = "filesystem-type";
/// Of a volume: the label of its file system.
pub(crate) const FILESYSTEM_LABEL: &str = "filesystem-label";
/// Of a volume or Droplet: its tags, with commas between them. Snapshots have tags of their own.
pub(crate) const TAGS: &str = "tags";
/// Of a volume: the id of the engine's volume that is the disk of the Droplet that it is attached to.
pub(crate) const ATTACHED: &str = "attached-to";
/// Of a snapshot: the id of the engine's volume that it was taken of.
pub(crate) const RESOURCE: &str = "resource";
/// The integer id in the API.
pub(crate) const NUMBER: &str = "number";

/// Returns the text of a label; none where it is missing or empty.
pub(crate) fn text<'a>(labels: &'a Labels, key: &str) -> Option<&'a str> {
    labels.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// Returns the id that a label names.
pub(crate) fn id(labels: &Labels, key: &str) -> Option<Uuid> {
    text(labels, key)?.parse().ok()
}

/// Returns the integer id that is noted.
pub(crate) fn number(labels: &Labels) -> Option<i64> {
    text(labels, NUMBER)?.parse().ok()
}

/// Returns the tags that a label has.
pub(crate) fn tags(labels: &Labels) -> Vec<String> {
    text(labels, TAGS).map(|tags| tags.split(',').map(str::to_owned).collect()).unwrap_or_default()
}

/// Notes a text; an empty one is not noted.
pub(crate) fn set(labels: &mut Labels, key: &str, value: &str) {
    if value.is_empty() {
        labels.remove(key);
    } else {
        labels.insert(key.to_owned(), value.to_owned());
    }
}

/// Notes tags.
pub(crate) fn set_tags(labels: &mut Labels, tags: &[String]) {
    set(labels, TAGS, &tags.join(","));
}
