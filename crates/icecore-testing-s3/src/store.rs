//! All buckets, behind one lock: what is decided under it is atomic.

use crate::bucket::Bucket;
use crate::bucket::Conditions;
use crate::bucket::Object;
use crate::clock::Clock;
use crate::clock::millis;
use crate::options::Options;
use s3s::S3Result;
use s3s::s3_error;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;

/// The store of a server.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) clock: Clock,
    pub(crate) ignore_conditions: bool,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    retain: Option<Duration>,
    dir: Option<TempDir>,
    names: AtomicU64,
}

impl Store {
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let dir =
            options.dir.as_ref().map(|dir| tempfile::Builder::new().prefix("s3-double-").tempdir_in(dir));
        let store = Self {
            clock: Clock::new(),
            ignore_conditions: options.ignore_conditions,
            buckets: Mutex::default(),
            retain: options.retain,
            dir: dir.transpose()?,
            names: AtomicU64::new(0),
        };
        for bucket in &options.buckets {
            store.make_bucket(bucket);
        }
        Ok(store)
    }

    /// The directory for bodies.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(TempDir::path)
    }

    /// Returns a name that no other upload of this server has.
    pub(crate) fn unique_name(&self) -> String {
        format!("upload-{:08}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Works on all buckets.
    pub(crate) fn with_buckets<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Bucket>) -> T) -> T {
        work(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works on a bucket.
    pub(crate) fn with<T>(&self, bucket: &str, work: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        self.with_buckets(|buckets| match buckets.get_mut(bucket) {
            Some(bucket) => work(bucket),
            None => Err(s3_error!(NoSuchBucket)),
        })
    }

    /// Makes a bucket, and returns whether it was not there.
    pub(crate) fn make_bucket(&self, name: &str) -> bool {
        let made_ms = self.clock.now_ms();
        self.with_buckets(|buckets| {
            let new = !buckets.contains_key(name);
            if new {
                buckets.insert(name.to_owned(), Bucket::new(made_ms, self.retain));
            }
            new
        })
    }

    /// Returns an object.
    pub(crate) fn object(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        self.with(bucket, |bucket| bucket.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey)))
    }

    /// Puts an object, dated now, and locked for as long as the bucket's objects are unless it says
    /// otherwise itself.
    pub(crate) fn put(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        conditions: &Conditions,
    ) -> S3Result<()> {
        let conditions = if self.ignore_conditions { &Conditions::default() } else { conditions };
        self.with(bucket, |bucket| {
            let object = self.dated(bucket, object);
            bucket.put(key, object, conditions, self.clock.now_ms())
        })
    }

    /// Returns an object as it will stand in a bucket.
    pub(crate) fn dated(&self, bucket: &Bucket, mut object: Object) -> Object {
        object.modified_ms = self.clock.now_ms();
        let by_bucket = bucket.retain.map(|retain| object.modified_ms.saturating_add(millis(retain)));
        object.retain_until_ms = object.retain_until_ms.or(by_bucket);
        object
    }
}
