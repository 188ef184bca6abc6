//! The labels that store the API's data with snapshots and volumes in the repository.

use std::collections::BTreeMap;

use uuid::Uuid;

/// The labels of a snapshot or a volume.
pub(crate) type Labels = BTreeMap<String, String>;

/// The account that owns the snapshot or volume.
pub(crate) const ACCOUNT: &str = "account";
/// The name in the API, where it differs from the engine's.
pub(crate) const NAME: &str = "name";
/// Text for people.
pub(crate) const DESCRIPTION: &str = "description";
/// Of a volume: the file system that the client asked for.
pub(crate) const FILESYSTEM_TYPE: &str = "filesystem-type";
/// Of a volume: the label of its file system.
pub(crate) const FILESYSTEM_LABEL: &str = "filesystem-label";
/// Of a volume or Droplet: its tags, separated by commas, continued in `tags-2` and so on if there
/// are many. Snapshots have tags of their own.
pub(crate) const TAGS: &str = "tags";
/// Of a volume: the id of the Droplet's disk (a volume of the engine) that it is attached to.
pub(crate) const ATTACHED: &str = "attached-to";
/// Of a snapshot: the id of the engine's volume that it was taken from.
pub(crate) const RESOURCE: &str = "resource";
/// The integer id in the API.
pub(crate) const NUMBER: &str = "number";
/// Of a snapshot: the integer id of the Droplet that it was taken from.
pub(crate) const RESOURCE_NUMBER: &str = "resource-number";
/// Of a Droplet's snapshot: the type of image. A missing label means a snapshot.
pub(crate) const TYPE: &str = "type";
/// The [`TYPE`] of a snapshot that somebody asked for.
pub(crate) const TYPE_SNAPSHOT: &str = "snapshot";
/// The [`TYPE`] of a snapshot taken by a Droplet's backup plan.
pub(crate) const TYPE_BACKUP: &str = "backup";
/// The [`TYPE`] of an imported image.
pub(crate) const TYPE_CUSTOM: &str = "custom";
/// The [`TYPE`] of an image that all accounts may use.
pub(crate) const TYPE_BASE: &str = "base";
/// Of an image: the operating system in it.
pub(crate) const DISTRIBUTION: &str = "distribution";
/// Of a Droplet: the slug of its size.
pub(crate) const SIZE: &str = "size";
/// Of a Droplet: `active` or `off`. A missing label means active.
pub(crate) const STATUS: &str = "status";
/// Of a Droplet: the times of its backups, as `weekly SUN 8` or `daily 8`.
pub(crate) const BACKUPS: &str = "backups";
/// Of a Droplet: the slug that its base image was asked for by, where an image has several.
pub(crate) const IMAGE_SLUG: &str = "image-slug";
/// Of a Droplet: the id of its VPC. A missing label means the default VPC of its account and region.
pub(crate) const VPC: &str = "vpc";
/// Of a Droplet: the network of its VPC. A missing label means 10.0.0.0/8.
pub(crate) const NETWORK: &str = "network";
/// Of a Droplet: [`YES`] if the client asked for this feature.
pub(crate) const MONITORING: &str = "monitoring";
/// Of a Droplet: [`YES`] if the client asked for this feature.
pub(crate) const IPV6: &str = "ipv6";
/// Of a Droplet: [`YES`] if the client asked for this feature.
pub(crate) const PRIVATE_NETWORKING: &str = "private-networking";
/// Of a Droplet: [`NO`] if the client asked for no public network.
pub(crate) const PUBLIC_NETWORKING: &str = "public-networking";
/// Of a volume that is still being made. Such a volume is hidden, and removed if the server ends
/// before it is finished.
pub(crate) const UNFINISHED: &str = "unfinished";

/// The text of a label that says yes.
pub(crate) const YES: &str = "yes";
/// The text of a label that says no.
pub(crate) const NO: &str = "no";

/// The most tags that a resource can have.
pub(crate) const TAGS_MAX: usize = 64;
/// The most labels that hold tags: one label has room for four tags of the greatest length.
const TAG_LABELS: usize = TAGS_MAX / 4;
/// The longest value of a label, in bytes.
const VALUE_BYTES_MAX: usize = 1024;

/// Returns the text of a label, or none if it is missing or empty.
pub(crate) fn text<'a>(labels: &'a Labels, key: &str) -> Option<&'a str> {
    labels.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// Returns the id in a label.
pub(crate) fn id(labels: &Labels, key: &str) -> Option<Uuid> {
    text(labels, key)?.parse().ok()
}

/// Returns the integer id in the labels.
pub(crate) fn number(labels: &Labels) -> Option<i64> {
    text(labels, NUMBER)?.parse().ok()
}

/// Returns the integer id of the Droplet that a snapshot was taken from, if the labels have it.
pub(crate) fn resource_number(labels: &Labels) -> Option<i64> {
    text(labels, RESOURCE_NUMBER)?.parse().ok()
}

/// Returns the image type of a Droplet's snapshot.
pub(crate) fn image_type(labels: &Labels) -> &str {
    text(labels, TYPE).unwrap_or(TYPE_SNAPSHOT)
}

/// Returns whether there are tags in the labels.
pub(crate) fn has_tags(labels: &Labels) -> bool {
    labels.keys().any(|key| key.starts_with(TAGS))
}

/// Returns the tags in the labels.
pub(crate) fn tags(labels: &Labels) -> Vec<String> {
    let there = labels.keys().filter(|key| key.starts_with(TAGS)).count();
    let held = tag_keys().filter_map(|key| text(labels, &key).map(str::to_owned)).take(there);
    held.flat_map(|tags| tags.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Returns the keys of the labels that hold tags.
pub(crate) fn tag_keys() -> impl Iterator<Item = String> {
    (1..=TAG_LABELS).map(|part| if part == 1 { TAGS.to_owned() } else { format!("{TAGS}-{part}") })
}

/// Sets a label. An empty text removes it.
pub(crate) fn set(labels: &mut Labels, key: &str, value: &str) {
    if value.is_empty() {
        labels.remove(key);
    } else {
        labels.insert(key.to_owned(), value.to_owned());
    }
}

/// Replaces the tags in the labels; at most [`TAGS_MAX`].
pub(crate) fn set_tags(labels: &mut Labels, tags: &[String]) {
    let mut parts = vec![String::new()];
    for tag in tags.iter().take(TAGS_MAX) {
        match parts.last_mut() {
            Some(part) if part.is_empty() => part.push_str(tag),
            Some(part) if part.len() + 1 + tag.len() <= VALUE_BYTES_MAX => {
                part.push(',');
                part.push_str(tag);
            }
            _ => parts.push(tag.clone()),
        }
    }
    for (at, key) in tag_keys().enumerate() {
        set(labels, &key, parts.get(at).map_or("", String::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_and_longest_tags_are_read_as_they_were_noted() {
        let long = |n: usize| format!("{n:02}{}", "x".repeat(253));
        for many in [0, 1, 4, 5, TAGS_MAX] {
            let tags: Vec<String> = (0..many).map(long).collect();
            let mut noted = Labels::new();
            set_tags(&mut noted, &(0..TAGS_MAX).map(long).collect::<Vec<_>>());
            set_tags(&mut noted, &tags);
            assert_eq!(super::tags(&noted), tags);
            assert!(noted.len() <= TAG_LABELS && noted.values().all(|value| value.len() <= 1024));
        }
    }
}
