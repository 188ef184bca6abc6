//! A bucket: its objects, its uploads in parts, and its newest changes.

use crate::content::Content;
use s3s::S3Result;
use s3s::dto::ETag;
use s3s::dto::ETagCondition;
use s3s::dto::Metadata;
use s3s::s3_error;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many changes a stale list can go back.
const CHANGES: usize = 1024;

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) content: Content,
    pub(crate) etag: String,
    pub(crate) modified_ms: u64,
    /// Until then it is neither deleted nor overwritten.
    pub(crate) retain_until_ms: Option<u64>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) content_type: Option<String>,
}

/// Objects by key.
pub(crate) type Objects = BTreeMap<String, Arc<Object>>;

/// An upload in parts that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) parts: BTreeMap<i32, (String, Content)>,
    pub(crate) retain_until_ms: Option<u64>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) content_type: Option<String>,
}

/// What must be so for a write to happen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

/// A bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) made_ms: u64,
    /// How long new objects are locked.
    pub(crate) retain: Option<Duration>,
    pub(crate) objects: Objects,
    pub(crate) uploads: BTreeMap<String, Upload>,
    /// What stood under a key before each change, the newest last.
    changes: VecDeque<(String, Option<Arc<Object>>)>,
}

impl Bucket {
    /// Returns an empty bucket.
    pub(crate) fn new(made_ms: u64, retain: Option<Duration>) -> Self {
        Self { made_ms, retain, ..Self::default() }
    }

    /// Puts an object, if it may be.
    pub(crate) fn put(
        &mut self,
        key: &str,
        object: Object,
        conditions: &Conditions,
        now_ms: u64,
    ) -> S3Result<()> {
        let old = self.objects.get(key);
        check_write(old.map(|old| &**old), conditions)?;
        if let Some(old) = old {
            check_lock(old, now_ms)?;
        }
        let old = self.objects.insert(key.to_owned(), Arc::new(object));
        self.note(key, old);
        Ok(())
    }

    /// Deletes an object, if it may be. One that is not there is no error.
    pub(crate) fn delete(&mut self, key: &str, conditions: &Conditions, now_ms: u64) -> S3Result<()> {
        let old = self.objects.get(key);
        if conditions.if_match.is_some() {
            check_write(old.map(|old| &**old), conditions)?;
        }
        let Some(old) = old else { return Ok(()) };
        check_lock(old, now_ms)?;
        let old = self.objects.remove(key);
        self.note(key, old);
        Ok(())
    }

    fn note(&mut self, key: &str, old: Option<Arc<Object>>) {
        if self.changes.len() == CHANGES {
            self.changes.pop_front();
        }
        // Its bytes would fill memory or disk.
        let listed = |old: Arc<Object>| {
            Arc::new(Object { content: Content::Gone(old.content.len()), ..(*old).clone() })
        };
        self.changes.push_back((key.to_owned(), old.map(listed)));
    }

    /// Returns the objects as they were some changes ago.
    pub(crate) fn objects_before(&self, changes: usize) -> Objects {
        let mut objects = self.objects.clone();
        for (key, old) in self.changes.iter().rev().take(changes) {
            match old {
                Some(old) => objects.insert(key.clone(), Arc::clone(old)),
                None => objects.remove(key),
            };
        }
        objects
    }
}

/// Checks the conditions of a write by what is there.
fn check_write(old: Option<&Object>, conditions: &Conditions) -> S3Result<()> {
    let same = |old: &Object, condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.as_strong() == Some(&old.etag),
    };
    match (old, &conditions.if_match) {
        (None, Some(_)) => return Err(s3_error!(NoSuchKey)),
        (Some(old), Some(condition)) if !same(old, condition) => return Err(s3_error!(PreconditionFailed)),
        _ => {}
    }
    match (old, &conditions.if_none_match) {
        (Some(old), Some(condition)) if same(old, condition) => Err(s3_error!(PreconditionFailed)),
        _ => Ok(()),
    }
}

/// Checks that an object is not locked.
fn check_lock(old: &Object, now_ms: u64) -> S3Result<()> {
    if old.retain_until_ms.is_some_and(|until_ms| now_ms < until_ms) {
        return Err(s3_error!(AccessDenied, "Access Denied because object protected by object lock."));
    }
    Ok(())
}

/// Checks the conditions of a read.
pub(crate) fn check_read(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let same = |etag: &ETag| etag.value() == object.etag;
    if let Some(ETagCondition::ETag(etag)) = if_match
        && !same(etag)
    {
        return Err(s3_error!(PreconditionFailed));
    }
    match if_none_match {
        Some(ETagCondition::ETag(etag)) if !same(etag) => Ok(()),
        Some(_) => Err(s3_error!(NotModified)),
        None => Ok(()),
    }
}
