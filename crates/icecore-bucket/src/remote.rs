//! The objects of a bucket, and who waits for them.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use object_store::GetOptions;
use object_store::GetRange;
use object_store::ObjectMeta;
use object_store::ObjectStoreExt;
use object_store::PutMode;
use object_store::PutOptions;
use object_store::path::Path;
use tokio::runtime::Handle;

use crate::address::Address;
use crate::address::Cloud;
use crate::attempts::Attempts;
use crate::clouds::Store;
use crate::fetch::Fetch;
use crate::fetch::Tail;
use crate::trouble::Trouble;
use crate::trouble::Verb;

/// Longer ranges are read in parts, of which several are on their way at once.
const PART_BYTES: u64 = PART as u64;
const PART: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;

/// The bytes of one name in a list, for the time that a list may take: a page has a thousand.
const LIST_BYTES: u64 = 1 << 20;

/// A bucket, as its store has it.
pub(crate) struct Remote {
    pub(crate) store: Arc<dyn Store>,
    /// The same store, with a checksum for each body, if it does not always get one.
    pub(crate) with_checksums: Option<Arc<dyn Store>>,
    /// Whether the store has asked for checksums.
    pub(crate) wants_checksums: AtomicBool,
    pub(crate) address: Address,
    pub(crate) attempts: Attempts,
    pub(crate) handle: &'static Handle,
}

/// What became of a request to make an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is made.
    Made,
    /// Its name was taken before the first attempt.
    Taken,
    /// Its name was taken when it was tried again: perhaps by the attempt before.
    Unknown,
}

impl Remote {
    /// Waits for a request. Not from within a runtime, but any of its blocking threads will do.
    pub(crate) fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        self.handle.block_on(request)
    }

    pub(crate) fn path(&self, name: &str) -> Result<Path, Trouble> {
        Path::parse(self.address.key(name)).map_err(|error| Trouble::Other(error.to_string()))
    }

    pub(crate) fn error(&self, trouble: &Trouble, verb: Verb, name: &str) -> io::Error {
        trouble.at(&self.address, verb, name)
    }

    /// Returns the store to put objects into.
    pub(crate) fn writer(&self) -> &Arc<dyn Store> {
        let with_checksums = self.with_checksums.as_ref();
        with_checksums.filter(|_| self.wants_checksums.load(Ordering::Relaxed)).unwrap_or(&self.store)
    }

    /// Puts an object as the store wants it: with a checksum if it asks for one.
    async fn put_as_wanted(&self, path: &Path, body: &Bytes, mode: &PutMode) -> Result<(), Trouble> {
        let options = || PutOptions { mode: mode.clone(), ..PutOptions::default() };
        let put = self.writer().put_opts(path, body.clone().into(), options()).await.map_err(Trouble::from);
        match (put, &self.with_checksums) {
            (Err(trouble), Some(store)) if trouble.wants_checksum() => {
                self.wants_checksums.store(true, Ordering::Relaxed);
                let put = store.put_opts(path, body.clone().into(), options()).await;
                put.map(drop).map_err(Trouble::from)
            }
            (put, _) => put.map(drop),
        }
    }

    async fn part(&self, path: &Path, range: Range<u64>) -> Result<Bytes, Trouble> {
        let bytes = range.end - range.start;
        self.attempts
            .run(bytes, async |_| {
                let options =
                    GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                let answer = self.store.get_opts(path, options).await?;
                if answer.meta.size < range.end {
                    return Err(Trouble::Ends(answer.meta.size));
                }
                whole(answer.bytes().await?, bytes)
            })
            .await
    }

    /// Returns a range of an object.
    pub(crate) async fn range(&self, name: &str, range: Range<u64>) -> Result<Bytes, Trouble> {
        let path = self.path(name)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = range.end - range.start;
        if bytes <= 2 * PART_BYTES {
            return self.part(&path, range).await;
        }
        let starts = (0..bytes.div_ceil(PART_BYTES)).map(|number| range.start + number * PART_BYTES);
        let parts = starts.map(|start| self.part(&path, start..range.end.min(start + PART_BYTES)));
        let mut parts = futures_util::stream::iter(parts).buffered(PARTS_AT_ONCE);
        let mut joined = Vec::with_capacity(usize::try_from(bytes).map_err(|_| Trouble::Ends(bytes))?);
        while let Some(part) = parts.try_next().await? {
            joined.extend_from_slice(&part);
        }
        Ok(joined.into())
    }

    /// Returns the length of an object and its last bytes.
    pub(crate) async fn end(&self, name: &str, bytes_max: u64) -> Result<Tail, Trouble> {
        let path = self.path(name)?;
        // Azure knows no ranges from the end.
        if bytes_max > 0 && self.address.cloud() != Cloud::Azure {
            let read = self.attempts.run(bytes_max.min(PART_BYTES), async |_| {
                let options =
                    GetOptions { range: Some(GetRange::Suffix(bytes_max)), ..GetOptions::default() };
                let answer = self.store.get_opts(&path, options).await?;
                let object_bytes = answer.meta.size;
                let bytes = whole(answer.bytes().await?, object_bytes.min(bytes_max))?;
                Ok(Tail { object_bytes, bytes })
            });
            match read.await {
                // An empty object has no last byte, and some stores know no ranges from the end.
                Err(trouble) if trouble.is_outside() || matches!(trouble, Trouble::Other(_)) => {}
                read => return read,
            }
        }
        let object_bytes = self.length(name).await?;
        let bytes = self.range(name, object_bytes - bytes_max.min(object_bytes)..object_bytes).await?;
        Ok(Tail { object_bytes, bytes })
    }

    /// Returns the length of an object.
    pub(crate) async fn length(&self, name: &str) -> Result<u64, Trouble> {
        let path = self.path(name)?;
        self.attempts.run(0, async |_| Ok(self.store.head(&path).await?.size)).await
    }

    /// Makes an object if there is none, or puts it in the place of what is there.
    pub(crate) async fn put(&self, name: &str, body: &Bytes, mode: PutMode) -> Result<Sent, Trouble> {
        let path = self.path(name)?;
        self.attempts
            .run(body.len() as u64, async |attempt| match self.put_as_wanted(&path, body, &mode).await {
                Ok(()) => Ok(Sent::Made),
                Err(Trouble::Exists) if attempt == 0 => Ok(Sent::Taken),
                Err(Trouble::Exists) => Ok(Sent::Unknown),
                Err(trouble) => Err(trouble),
            })
            .await
    }

    /// Returns whether an object is exactly this.
    pub(crate) async fn is(&self, name: &str, body: &Bytes) -> Result<bool, Trouble> {
        if self.length(name).await? != body.len() as u64 {
            return Ok(false);
        }
        for (number, part) in (0..).zip(body.chunks(PART)) {
            let start = number * PART_BYTES;
            if self.range(name, start..start + part.len() as u64).await? != part {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes an object, if there is one.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Trouble> {
        let path = self.path(name)?;
        let delete = async |_| match self.store.delete(&path).await.map_err(Trouble::from) {
            Err(Trouble::Missing) => Ok(()),
            deleted => deleted,
        };
        self.attempts.run(0, delete).await
    }

    /// Returns the names below the prefix up to their first `/`.
    pub(crate) async fn entries(&self) -> Result<Vec<String>, Trouble> {
        let key = self.address.key("");
        let prefix = (!key.is_empty()).then(|| self.path("")).transpose()?;
        let list = async |_| Ok(self.store.list_with_delimiter(prefix.as_ref()).await?);
        let listed = self.attempts.run(LIST_BYTES, list).await?;
        let objects = listed.objects.into_iter().map(|object| object.location);
        let start = if key.is_empty() { 0 } else { key.len() + 1 };
        let named = objects.chain(listed.common_prefixes).filter_map(|path| {
            Some(path.as_ref().get(start..)?.trim_end_matches('/').to_owned()).filter(|name| !name.is_empty())
        });
        Ok(named.collect())
    }

    /// Returns the objects in a directory that come after a name there (all, for the empty one), each
    /// with its name there.
    pub(crate) async fn list(&self, dir: &str, after: &str) -> Result<Vec<(String, ObjectMeta)>, Trouble> {
        let key = self.address.key(dir);
        let prefix = (!key.is_empty()).then(|| self.path(dir)).transpose()?;
        let mut found: Vec<ObjectMeta> = Vec::new();
        // The root has all the other directories below it. They need not be walked through.
        if dir.is_empty() {
            let list = async |_| Ok(self.store.list_with_delimiter(prefix.as_ref()).await?.objects);
            found = self.attempts.run(LIST_BYTES, list).await?;
        } else {
            let first = (!after.is_empty()).then(|| self.path(&format!("{dir}/{after}"))).transpose()?;
            // An attempt goes on where the one before ended.
            let list = async |_| {
                let mut objects = match found.last().map(|last| &last.location).or(first.as_ref()) {
                    Some(last) => self.store.list_with_offset(prefix.as_ref(), last),
                    None => self.store.list(prefix.as_ref()),
                };
                while let Some(object) = objects.try_next().await? {
                    found.push(object);
                }
                Ok(())
            };
            self.attempts.run(LIST_BYTES, list).await?;
        }
        let start = if key.is_empty() { 0 } else { key.len() + 1 };
        let named = found.into_iter().filter_map(|object| {
            let name = object.location.as_ref().get(start..)?.to_owned();
            (name.as_str() > after && !name.contains('/')).then_some((name, object))
        });
        Ok(named.collect())
    }
}

/// Returns the bytes if they are all there.
fn whole(bytes: Bytes, expected: u64) -> Result<Bytes, Trouble> {
    match bytes.len() as u64 {
        found if found == expected => Ok(bytes),
        found => Err(Trouble::Cut(format!("{found} bytes came instead of {expected}"))),
    }
}

impl Fetch for Remote {
    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        self.wait(self.range(name, range)).map_err(|trouble| self.error(&trouble, Verb::Get, name))
    }

    fn tail(&self, name: &str, bytes_max: u64) -> io::Result<Tail> {
        self.wait(self.end(name, bytes_max)).map_err(|trouble| self.error(&trouble, Verb::Get, name))
    }

    fn head(&self, name: &str) -> io::Result<u64> {
        self.wait(self.length(name)).map_err(|trouble| self.error(&trouble, Verb::Get, name))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::double::Double;
    use crate::double::Fault;
    use crate::runtime::runtime;

    const LONG: Duration = Duration::from_secs(3600);

    fn put(double: &Double, key: &str, bytes: Vec<u8>) {
        runtime().unwrap().block_on(double.inner.put(&Path::from(key), bytes.into())).unwrap();
    }

    #[test]
    fn a_long_range_is_read_in_parts() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        let bytes: Vec<u8> = (0..20 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
        put(&double, "a/packs/1", bytes.clone());
        let range = 100..(20 << 20) - 100;
        let read = bucket.remote().get("packs/1", range.clone()).unwrap();
        assert_eq!(read, bytes[100..(20 << 20) - 100]);
        assert_eq!(double.calls().len(), 3);
        assert_eq!(bucket.remote().get("packs/1", 7..9).unwrap(), bytes[7..9]);
        assert_eq!(double.calls().len(), 1);
        assert_eq!(bucket.remote().get("packs/1", 7..7).unwrap().len(), 0);
        assert_eq!(double.calls().len(), 0);
    }

    #[test]
    fn a_body_that_is_not_whole_is_read_again() {
        for fault in [Fault::Truncated, Fault::Shorter(1), Fault::Status(500, ""), Fault::ResetAfter] {
            let double = Double::default();
            let bucket = double.bucket(LONG);
            put(&double, "a/packs/1", b"0123456789".to_vec());
            double.fail("get", &[fault, fault]);
            assert_eq!(bucket.remote().get("packs/1", 2..6).unwrap(), "2345", "{fault:?}");
            assert_eq!(double.calls().len(), 3, "{fault:?}");
            double.fail("get", &[fault]);
            let tail = Tail { object_bytes: 10, bytes: Bytes::from_static(b"6789") };
            assert_eq!(bucket.remote().tail("packs/1", 4).unwrap(), tail, "{fault:?}");
            double.fail("get", &[fault, fault, fault, fault]);
            assert!(bucket.remote().get("packs/1", 2..6).is_err(), "{fault:?}");
        }
    }

    #[test]
    fn an_answer_that_never_comes_is_asked_for_again() {
        let double = Double::default();
        let bucket = double.bucket(Duration::from_secs(1));
        put(&double, "a/packs/1", b"0123456789".to_vec());
        double.fail("get", &[Fault::Silence]);
        assert_eq!(bucket.remote().get("packs/1", 2..6).unwrap(), "2345");
    }

    #[test]
    fn ends_of_objects_of_any_length() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        put(&double, "a/config", b"0123".to_vec());
        let tail = |bytes_max| bucket.remote().tail("config", bytes_max).unwrap().bytes;
        assert_eq!((tail(2), tail(4), tail(100)), ("23".into(), "0123".into(), "0123".into()));
        assert_eq!(tail(0), "");
        assert_eq!(bucket.remote().head("config").unwrap(), 4);
        // As stores answer for an empty object.
        put(&double, "a/empty", Vec::new());
        double.fail("get", &[Fault::Status(416, "InvalidRange")]);
        let empty = bucket.remote().tail("empty", 10).unwrap();
        assert_eq!(empty, Tail { object_bytes: 0, bytes: Bytes::new() });
        let error = bucket.remote().get("config", 2..5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        for error in [
            bucket.remote().get("gone", 2..5).unwrap_err(),
            bucket.remote().tail("gone", 5).unwrap_err(),
            bucket.remote().head("gone").unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert_eq!(error.to_string(), "s3://lab/a/gone: there is no such object");
        }
    }

    fn names(double: &Double, dir: &str) -> Vec<String> {
        let bucket = double.bucket(LONG);
        let listed = bucket.remote().wait(bucket.remote().list(dir, "")).unwrap();
        listed.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_directory_has_its_own_names_only() {
        let double = Double::default();
        for key in ["a/config", "a/packs/1", "a/packs/2", "a/packs/x/3", "a/packs2/4", "ab/packs/5", "config"]
        {
            put(&double, key, Vec::new());
        }
        assert_eq!(names(&double, "packs"), ["1", "2"]);
        assert_eq!(names(&double, ""), ["config"]);
        assert_eq!(names(&double, "journal"), [""; 0]);
    }

    #[test]
    fn a_list_that_breaks_goes_on_where_it_was() {
        let double = Double::default();
        for name in ["1", "2", "3"] {
            put(&double, &format!("a/packs/{name}"), Vec::new());
        }
        double.fail("list", &[Fault::Status(503, "SlowDown"), Fault::Truncated, Fault::Truncated]);
        assert_eq!(names(&double, "packs"), ["1", "2", "3"]);
        assert_eq!(
            double.calls(),
            ["list a/packs", "list a/packs", "list after a/packs/1", "list after a/packs/2"]
        );
    }
}
