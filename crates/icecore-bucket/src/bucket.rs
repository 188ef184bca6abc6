//! A bucket as a place of objects.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use icecore::storage::NewObject;
use icecore::storage::Objects;
use icecore::storage::Put;
use icecore::storage::Storage;
use icecore::storage::StoredFile;
use icecore::storage::Told;

use crate::address::Address;
use crate::attempts::Attempts;
use crate::attempts::Pace;
use crate::clouds;
use crate::clouds::Stores;
use crate::fetch::Fetch;
use crate::known::Known;
use crate::object::Object;
use crate::put;
use crate::remote::Remote;
use crate::runtime::runtime;
use crate::settings::Settings;
use crate::trouble::Trouble;
use crate::trouble::Verb;
use crate::upload::Upload;

/// What a link moves in the time that one more request takes.
const GAP_BYTES: u64 = 1 << 20;

/// The objects of a repository in a bucket. Clones share everything.
///
/// All calls block. They may come from any thread but those that run asynchronous tasks.
#[derive(Clone)]
pub struct Bucket {
    remote: Arc<Remote>,
    fetch: Arc<dyn Fetch>,
    spool: Arc<dyn Storage>,
}

impl Bucket {
    /// Opens a bucket. Nothing is sent: whether it is there, and may be used, shows with the first
    /// request. `spool` is storage of this machine, for objects that are being written.
    ///
    /// # Errors
    /// `InvalidInput` for settings that are wrong or incomplete, with what to do; those of starting
    /// threads.
    pub fn open(address: &Address, settings: &Settings, spool: Arc<dyn Storage>) -> io::Result<Self> {
        let stores = clouds::stores(address, settings)
            .map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: {text}")))?;
        Self::over(stores, address, Pace::new(settings.request(), settings.whole()), spool)
    }

    /// Returns the bucket of a store.
    pub(crate) fn over(
        stores: Stores,
        address: &Address,
        pace: Pace,
        spool: Arc<dyn Storage>,
    ) -> io::Result<Self> {
        let handle = runtime()?;
        let remote = Arc::new(Remote {
            store: stores.store,
            with_checksums: stores.with_checksums,
            wants_checksums: AtomicBool::new(false),
            address: address.clone(),
            attempts: Attempts::new(pace),
            handle,
        });
        Ok(Self { fetch: Arc::clone(&remote) as _, remote, spool })
    }

    /// Returns the same bucket, read through something else, such as a cache. What it is given reads
    /// from the bucket.
    #[must_use]
    pub fn read_through(mut self, between: impl FnOnce(Arc<dyn Fetch>) -> Arc<dyn Fetch>) -> Self {
        self.fetch = between(self.fetch);
        self
    }

    /// Returns the same bucket, with an object that the caller has just read: the next one who opens
    /// it gets these bytes.
    #[must_use]
    pub fn with_known(self, name: &str, object: Vec<u8>) -> Self {
        self.read_through(|behind| Arc::new(Known::new(name, object, behind)))
    }

    /// Returns the same bucket, where objects that are being written are kept in other storage of
    /// this machine.
    #[must_use]
    pub fn with_spool(self, spool: Arc<dyn Storage>) -> Self {
        Self { spool, ..self }
    }

    /// Returns all names below the prefix up to their first `/`, whoever has put them there.
    ///
    /// # Errors
    /// The store's.
    pub fn entries(&self) -> io::Result<Vec<String>> {
        let listed = self.remote.wait(self.remote.entries());
        listed.map_err(|trouble| self.remote.error(&trouble, Verb::List, ""))
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.remote.address
    }

    /// Ends all requests of this bucket and its clones, and those to come: they fail. An object that
    /// is on its way is then made wholly, or not at all.
    pub fn cancel(&self) {
        self.remote.attempts.cancel();
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.remote.address)
    }
}

impl Objects for Bucket {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.list_after(dir, "")
    }

    fn list_after(&self, dir: &str, after: &str) -> io::Result<Vec<String>> {
        let listed = self.remote.wait(self.remote.list(dir, after));
        let listed = listed.map_err(|trouble| self.remote.error(&trouble, Verb::List, dir))?;
        Ok(listed.into_iter().map(|(name, _)| name).collect())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn gap_bytes(&self) -> u64 {
        GAP_BYTES
    }

    fn list_told(&self, dir: &str) -> io::Result<Vec<Told>> {
        let listed = self.remote.wait(self.remote.list(dir, ""));
        let listed = listed.map_err(|trouble| self.remote.error(&trouble, Verb::List, dir))?;
        let told = listed.into_iter().map(|(name, object)| Told {
            name,
            bytes: object.size,
            made_unix_ms: u64::try_from(object.last_modified.timestamp_millis()).ok(),
        });
        Ok(told.collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(Object::open(&self.fetch, name)?))
    }

    /// Reads several at once.
    fn read_many(&self, names: &[String], bytes_max: u64) -> Vec<io::Result<Vec<u8>>> {
        let read = |name: String| {
            let fetch = Arc::clone(&self.fetch);
            self.remote.handle.spawn_blocking(move || {
                let object = Object::open(&fetch, &name)?;
                match object.len() <= bytes_max {
                    true => object.load(0..object.len()).map(|bytes| bytes.to_vec()),
                    false => Err(io::ErrorKind::InvalidData.into()),
                }
            })
        };
        let reads: Vec<_> = names.iter().cloned().map(read).collect();
        let mut found = Vec::with_capacity(reads.len());
        for read in reads {
            found.push(self.remote.wait(read).unwrap_or_else(|error| Err(io::Error::other(error))));
        }
        found
    }

    fn begin(&self, spool: &str) -> io::Result<Box<dyn NewObject>> {
        Ok(Box::new(Upload::begin(&self.remote, &self.spool, spool)?))
    }

    fn put_new(&self, name: &str, bytes: &[u8], _spool: &str) -> io::Result<Put> {
        put::put_new(&self.remote, name, &Bytes::copy_from_slice(bytes), put::CUT)
    }

    /// Overwrites only what differs: who may not overwrite can still make what is missing.
    fn put_hint(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let body = Bytes::copy_from_slice(bytes);
        if put::put_new(&self.remote, name, &body, put::CUT)? == Put::Made {
            return Ok(());
        }
        let same = self.remote.wait(self.remote.is(name, &body));
        match same {
            Ok(true) => Ok(()),
            Ok(false) | Err(Trouble::Missing) => put::overwrite(&self.remote, name, &body, put::CUT),
            Err(trouble) => Err(self.remote.error(&trouble, Verb::Get, name)),
        }
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let deleted = self.remote.wait(self.remote.delete(name));
        deleted.map_err(|trouble| self.remote.error(&trouble, Verb::Delete, name))
    }

    /// Copies it, and deletes the old one then. What a crash in between has left is completed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let bytes = self.remote.wait(async {
            let length = self.remote.length(from).await?;
            self.remote.range(from, 0..length).await
        });
        let bytes = bytes.map_err(|trouble| self.remote.error(&trouble, Verb::Get, from))?;
        if put::put_new(&self.remote, to, &bytes, put::CUT)? == Put::Exists {
            let same = self.remote.wait(self.remote.is(to, &bytes));
            if !same.map_err(|trouble| self.remote.error(&trouble, Verb::Get, to))? {
                return Err(self.remote.error(&Trouble::Exists, Verb::Put, to));
            }
        }
        self.delete(from)
    }

    /// What was answered is durable.
    fn sync(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::time::Duration;

    use icecore::storage::MemoryStorage;
    use icecore_testing::roles::assert_objects;

    use super::*;
    use crate::double::Double;
    use crate::double::Fault;
    use crate::fetch::Tail;

    const LONG: Duration = Duration::from_secs(3600);

    fn read(bucket: &Bucket, name: &str) -> io::Result<Vec<u8>> {
        let file = bucket.open(name)?;
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
        file.read_at(0, &mut bytes)?;
        assert_eq!(*file.map(0..file.len())?, bytes);
        Ok(bytes)
    }

    #[test]
    fn a_bucket_is_such_as_the_engine_needs() {
        assert_objects(&Double::default().bucket(LONG), "a bucket");
    }

    #[test]
    fn an_object_is_written_in_a_local_file_that_goes_with_it() {
        let (double, local) = (Double::default(), MemoryStorage::new());
        let bucket = double.bucket_with(LONG, &local);
        let mut object = bucket.begin("local/tmp/1").unwrap();
        object.append(b"two ").unwrap();
        object.append(b"pieces").unwrap();
        object.sync().unwrap();
        assert_eq!(*object.open().unwrap().map(0..10).unwrap(), *b"two pieces");
        assert_eq!(double.calls(), [""; 0]);
        assert_eq!(local.list("local/tmp").unwrap(), ["1"]);
        assert_eq!(object.publish("packs/1").unwrap(), Put::Made);
        drop(object);
        assert_eq!(local.list("local/tmp").unwrap(), [""; 0]);
        assert_eq!(read(&bucket, "packs/1").unwrap(), b"two pieces");

        let mut other = bucket.begin("local/tmp/2").unwrap();
        other.append(b"other").unwrap();
        assert_eq!(other.publish("packs/1").unwrap(), Put::Exists);
        assert_eq!(read(&bucket, "packs/1").unwrap(), b"two pieces");
        other.mend("packs/1").unwrap();
        assert_eq!(read(&bucket, "packs/1").unwrap(), b"other");

        let mut empty = bucket.begin("local/tmp/3").unwrap();
        assert_eq!(empty.publish("packs/0").unwrap(), Put::Made);
        drop(bucket.begin("local/tmp/4").unwrap());
        assert_eq!(bucket.list("packs").unwrap(), ["0", "1"]);
    }

    #[test]
    fn both_ends_of_a_pack_come_with_opening_it() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        bucket.put_new("packs/1", &vec![1; 3 << 20], "").unwrap();
        bucket.put_new("checkpoint/1", &vec![2; 100 << 10], "").unwrap();
        double.calls();
        let pack = bucket.open("packs/1").unwrap();
        assert_eq!(pack.len(), 3 << 20);
        pack.map(0..10).unwrap();
        pack.map(2 << 20..3 << 20).unwrap();
        assert_eq!(double.calls(), ["get a/packs/1"; 2]);
        pack.map(1 << 20..2 << 20).unwrap();
        assert_eq!(double.calls(), ["get a/packs/1"]);
        // What was said to be read next is asked for once.
        pack.will_read(5000..900_000);
        pack.will_read(2 << 20..5 << 20);
        pack.map(6000..7000).unwrap();
        pack.map(5000..900_000).unwrap();
        assert_eq!(double.calls(), ["get a/packs/1"]);
        // What was brought near is for the cache alone, and nothing is asked for that is not there.
        pack.bring_near(1 << 20..9 << 20).unwrap();
        pack.bring_near(3 << 20..4 << 20).unwrap();
        pack.map(1 << 20..2 << 20).unwrap();
        assert_eq!(double.calls(), ["get a/packs/1"; 2]);
        assert_eq!(pack.map(0..(3 << 20) + 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(pack.map(Range { start: 5, end: 4 }).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        read(&bucket, "checkpoint/1").unwrap();
        assert_eq!(double.calls(), ["get a/checkpoint/1"]);
    }

    #[test]
    fn what_the_caller_has_read_is_not_asked_for_and_only_once() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        bucket.put_new("config", b"there", "").unwrap();
        double.calls();
        let bucket = bucket.with_known("config", b"known".to_vec());
        assert_eq!(read(&bucket, "config").unwrap(), b"known");
        assert_eq!(double.calls(), [""; 0]);
        assert_eq!(read(&bucket, "config").unwrap(), b"there");
    }

    #[test]
    fn many_objects_are_read_at_once_and_each_has_its_own_answer() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        let names: Vec<String> = (0..50).map(|number| format!("journal/{number}")).collect();
        for name in names.iter().filter(|name| *name != "journal/7") {
            bucket.put_new(name, name.as_bytes(), "").unwrap();
        }
        bucket.put_new("journal/long", &[0; 100], "").unwrap();
        let all = [names.clone(), vec!["journal/long".to_owned()]].concat();
        for (name, read) in all.iter().zip(bucket.read_many(&all, 99)) {
            match &**name {
                "journal/7" => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::NotFound),
                "journal/long" => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData),
                _ => assert_eq!(read.unwrap(), name.as_bytes()),
            }
        }
    }

    #[test]
    fn a_hint_is_overwritten_only_if_it_differs() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        bucket.put_hint("checkpoint/1", b"one").unwrap();
        assert_eq!(double.calls(), ["put a/checkpoint/1"]);
        bucket.put_hint("checkpoint/1", b"one").unwrap();
        double.fail("put", &[Fault::None, Fault::Status(403, "AccessDenied")]);
        let denied = bucket.put_hint("checkpoint/1", b"two").unwrap_err();
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(read(&bucket, "checkpoint/1").unwrap(), b"one");
        bucket.put_hint("checkpoint/1", b"two").unwrap();
        assert_eq!(read(&bucket, "checkpoint/1").unwrap(), b"two");
    }

    #[test]
    fn a_rename_keeps_what_is_there_and_completes_itself() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        bucket.put_new("packs/1", b"one", "").unwrap();
        bucket.put_new("damaged/2", b"two", "").unwrap();
        let taken = bucket.rename("packs/1", "damaged/2").unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&bucket, "damaged/2").unwrap(), b"two");
        double.fail("delete", &[Fault::Status(403, "AccessDenied")]);
        assert!(bucket.rename("packs/1", "damaged/1").is_err());
        bucket.rename("packs/1", "damaged/1").unwrap();
        assert_eq!(bucket.list("packs").unwrap(), [""; 0]);
        assert_eq!(read(&bucket, "damaged/1").unwrap(), b"one");
        assert_eq!(bucket.rename("packs/1", "damaged/3").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn entries_are_objects_and_directories_of_anybody() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        assert_eq!(bucket.entries().unwrap(), [""; 0]);
        for name in ["config", "packs/1", "packs/2", "photos/1/2"] {
            bucket.put_new(name, b"x", "").unwrap();
        }
        let mut entries = bucket.entries().unwrap();
        entries.sort_unstable();
        assert_eq!(entries, ["config", "packs", "photos"]);
    }

    #[test]
    fn deleting_twice_is_fine() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        bucket.put_new("packs/1", b"one", "").unwrap();
        double.fail("delete", &[Fault::ResetAfter]);
        bucket.delete("packs/1").unwrap();
        bucket.delete("packs/1").unwrap();
        assert_eq!(bucket.open("packs/1").err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_list_begins_after_a_name() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        for name in ["journal/1", "journal/2", "journal/3", "config"] {
            bucket.put_new(name, b"x", "").unwrap();
        }
        double.calls();
        assert_eq!(bucket.list_after("journal", "1").unwrap(), ["2", "3"]);
        assert_eq!(bucket.list_after("journal", "11").unwrap(), ["2", "3"]);
        assert_eq!(bucket.list_after("journal", "3").unwrap(), [""; 0]);
        assert_eq!(double.calls(), ["1", "11", "3"].map(|name| format!("list after a/journal/{name}")));
        assert_eq!(bucket.list_after("", "a").unwrap(), ["config"]);
    }

    #[test]
    fn lists_tell_lengths_and_the_time_of_the_store() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        bucket.put_new("packs/1", b"one", "").unwrap();
        let told = bucket.list_told("packs").unwrap();
        let [Told { name, bytes: 3, made_unix_ms: Some(made) }] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(name, "1");
        // The double asks the system, whose clock is after the year 2020.
        assert!(*made > 1_577_836_800_000);
    }

    #[test]
    fn reads_go_through_what_stands_between() {
        struct Zeros(Arc<dyn Fetch>);
        impl Fetch for Zeros {
            fn get(&self, _: &str, range: Range<u64>) -> io::Result<Bytes> {
                Ok(vec![0; usize::try_from(range.end - range.start).unwrap()].into())
            }
            fn tail(&self, name: &str, _: u64) -> io::Result<Tail> {
                Ok(Tail { object_bytes: self.0.head(name)?, bytes: Bytes::new() })
            }
            fn head(&self, name: &str) -> io::Result<u64> {
                self.0.head(name)
            }
        }
        let double = Double::default();
        let bucket = double.bucket(LONG).read_through(|fetch| Arc::new(Zeros(fetch)));
        bucket.put_new("packs/1", b"one", "").unwrap();
        assert_eq!(read(&bucket, "packs/1").unwrap(), [0; 3]);
    }

    #[test]
    fn calls_come_from_threads_of_rayon_and_blocking_ones_of_a_runtime() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (one, two) =
            pool.join(|| bucket.put_new("1", b"", "").unwrap(), || bucket.put_new("2", b"", "").unwrap());
        assert_eq!((one, two), (Put::Made, Put::Made));
        let server =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let of_server = bucket.clone();
        let listed = server.block_on(async { tokio::task::spawn_blocking(move || of_server.list("")).await });
        assert_eq!(listed.unwrap().unwrap(), ["1", "2"]);
    }

    #[test]
    fn an_upload_that_is_cancelled_ends() {
        let double = Double::default();
        let bucket = double.bucket(LONG);
        double.fail("put", &[Fault::Silence]);
        let ended = std::thread::scope(|scope| {
            let upload = scope.spawn(|| bucket.put_new("packs/1", b"one", ""));
            while double.calls().is_empty() {
                std::thread::yield_now();
            }
            bucket.cancel();
            upload.join().unwrap()
        });
        assert_eq!(ended.unwrap_err().to_string(), "s3://lab/a/packs/1: the transfer was cancelled");
        assert_eq!(bucket.remote().wait(double.content("a/packs/1")), None);
        assert!(bucket.list("").is_err());
    }
}
