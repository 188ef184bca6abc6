//! Tags: which there are, and what has them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use icecore::snapshot::ResourceKind;

use crate::pool::labels;
use crate::service::Service;
use crate::service::Who;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;
use crate::words::names::check_tag;

/// What can have a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TagKind {
    Droplet,
    Image,
    Volume,
    VolumeSnapshot,
}

/// Something that has tags.
pub(crate) struct TaggedThing {
    pub(crate) kind: TagKind,
    /// Its id in the API.
    pub(crate) id: String,
    pub(crate) tags: Vec<String>,
    pub(crate) created_unix_ms: i64,
}

/// A tag, as it was spelt first, and what has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagItem {
    pub(crate) name: String,
    pub(crate) uses: BTreeMap<TagKind, TagUse>,
}

/// How many of one kind have a tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TagUse {
    pub(crate) count: usize,
    /// The newest of them: when it was made, and its id.
    pub(crate) newest: (i64, String),
}

/// Tells whether two spellings are of the same tag.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Checks that something may have so many tags.
pub(super) fn check_count(tags: usize) -> ApiResult<()> {
    if tags > labels::TAGS_MAX {
        return Err(ApiError::unprocessable(format!("there are at most {} tags", labels::TAGS_MAX)));
    }
    Ok(())
}

impl Service {
    /// Notes tags that something is made with, and returns them as they were spelt first, sorted.
    pub(crate) fn tags_for_new(&self, who: &Who, wanted: &[String]) -> ApiResult<Vec<String>> {
        wanted.iter().try_for_each(|tag| check_tag(tag))?;
        let different: BTreeSet<_> = wanted.iter().map(|tag| tag.to_ascii_lowercase()).collect();
        check_count(different.len())?;
        let mut tags =
            wanted.iter().map(|tag| self.db().make_tag(&who.0, tag)).collect::<ApiResult<Vec<_>>>()?;
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    /// Makes a tag, or finds the one that there is.
    pub(crate) fn create_tag(&self, who: &Who, name: &str) -> ApiResult<TagItem> {
        check_tag(name)?;
        match self.tag(who, name) {
            Err(error) if error.status == 404 => {
                let name = self.db().make_tag(&who.0, name)?;
                Ok(TagItem { name, uses: BTreeMap::new() })
            }
            found => found,
        }
    }

    /// Returns a tag, however it is spelt.
    pub(crate) fn tag(&self, who: &Who, name: &str) -> ApiResult<TagItem> {
        let mut all = self.tags(who)?.into_iter();
        all.find(|tag| is_same(&tag.name, name)).ok_or_else(ApiError::not_found)
    }

    /// Returns all tags of an account, by name: those that were made, and those that something has.
    pub(crate) fn tags(&self, who: &Who) -> ApiResult<Vec<TagItem>> {
        let mut found = BTreeMap::new();
        for name in self.db().tags(&who.0)? {
            found.insert(name.to_ascii_lowercase(), TagItem { name, uses: BTreeMap::new() });
        }
        for thing in self.tagged_things(who)? {
            for name in thing.tags {
                let key = name.to_ascii_lowercase();
                let tag = found.entry(key).or_insert_with(|| TagItem { name, uses: BTreeMap::new() });
                let uses = tag.uses.entry(thing.kind).or_default();
                uses.count += 1;
                uses.newest = uses.newest.clone().max((thing.created_unix_ms, thing.id.clone()));
            }
        }
        Ok(found.into_values().collect())
    }

    /// Returns everything of an account that has tags.
    pub(crate) fn tagged_things(&self, who: &Who) -> ApiResult<Vec<TaggedThing>> {
        let mut things = Vec::new();
        let numbers = self.droplet_numbers(who)?;
        for kind in [ResourceKind::Droplet, ResourceKind::Volume] {
            for item in self.disks(who, kind)? {
                let (kind, id) = match kind {
                    ResourceKind::Volume => (TagKind::Volume, item.id().to_string()),
                    ResourceKind::Droplet => match numbers.get(&item.id()) {
                        Some(number) => (TagKind::Droplet, number.to_string()),
                        None => continue,
                    },
                };
                let (tags, created_unix_ms) = (item.tags(), item.info.created_unix_ms);
                things.push(TaggedThing { kind, id, tags, created_unix_ms });
            }
        }
        for item in self.snapshots(who)? {
            let kind = match item.snapshot.kind {
                ResourceKind::Volume => TagKind::VolumeSnapshot,
                ResourceKind::Droplet => TagKind::Image,
            };
            let (id, created_unix_ms) = (item.id(), item.snapshot.created_unix_ms);
            things.push(TaggedThing { kind, id, tags: item.snapshot.tags, created_unix_ms });
        }
        things.retain(|thing| !thing.tags.is_empty());
        Ok(things)
    }
}
