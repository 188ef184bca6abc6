//! An object that is open for reading.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use icecore::storage::Mapped;
use icecore::storage::StoredFile;

use crate::fetch::Fetch;
use crate::fetch::Tail;
use crate::staged::Staged;

/// The part of a large object that is read when it is opened: its length comes with it, and most
/// often all that is needed to find one's way in it. A full pack has a directory of about 1 MiB.
const TAIL_BYTES: u64 = 1 << 20;

/// The part of a pack at its beginning that is read at the same time.
const HEAD_BYTES: u64 = 4 << 10;

/// Objects in other directories are read whole when they are opened, up to this length.
const WHOLE_BYTES_MAX: u64 = 8 << 20;

/// The directories of large objects, which are read in parts.
const LARGE: [&str; 4] = ["packs/", "index/", "parity/", "damaged/"];

/// An open object. What was read when it was opened stays readable.
pub(crate) struct Object {
    fetch: Arc<dyn Fetch>,
    name: String,
    tail: Tail,
    staged: Staged,
}

impl Object {
    /// Opens an object, in the time of one request.
    pub(crate) fn open(fetch: &Arc<dyn Fetch>, name: &str) -> io::Result<Self> {
        let staged = Staged::default();
        if name.starts_with("packs/") {
            staged.begin(fetch, name, 0..HEAD_BYTES);
        }
        let large = LARGE.iter().any(|dir| name.starts_with(dir));
        let tail = fetch.tail(name, if large { TAIL_BYTES } else { WHOLE_BYTES_MAX })?;
        Ok(Self { fetch: Arc::clone(fetch), name: name.to_owned(), tail, staged })
    }

    fn get(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.start > range.end || range.end > self.tail.object_bytes {
            let (name, bytes) = (&self.name, self.tail.object_bytes);
            let text = format!("{name} has {bytes} bytes, and none up to {}", range.end);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        match self.tail.part(&range).or_else(|| self.staged.read(&range)) {
            Some(bytes) => Ok(bytes),
            None => self.fetch.get(&self.name, range),
        }
    }
}

impl StoredFile for Object {
    fn len(&self) -> u64 {
        self.tail.object_bytes
    }

    fn will_read(&self, range: Range<u64>) {
        let range = range.start..range.end.min(self.tail.object_bytes);
        if range.start < range.end && self.tail.part(&range).is_none() {
            self.staged.begin(&self.fetch, &self.name, range);
        }
    }

    /// Reads it through the cache, which keeps it, and forgets it.
    fn bring_near(&self, range: Range<u64>) -> io::Result<()> {
        let range = range.start..range.end.min(self.tail.object_bytes);
        match range.start < range.end && self.tail.part(&range).is_none() {
            true => self.fetch.get(&self.name, range).map(drop),
            false => Ok(()),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(offset..end)?;
        if bytes.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Reads the range into memory: nothing of it breaks later.
    fn map(&self, range: Range<u64>) -> io::Result<Mapped> {
        self.get(range).map(Mapped::new)
    }
}
